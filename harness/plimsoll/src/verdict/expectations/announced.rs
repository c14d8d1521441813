//! `announced`: the kubelet said of each eviction, once, what others rely on: an event with annotations that repeat the figures of
//! its message, and the pod's DisruptionTarget condition. An eviction over a limit of local storage has neither.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Event;
use plimsoll_eviction::message::{DISRUPTION_TARGET, PodMessage, TERMINATION_BY_KUBELET, annotation};
use plimsoll_eviction::victim::{Annotations, annotations};

use super::super::case::Case;
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::ends::{PodEnd, end_by_event, phase};
use super::super::history::{PodHistory, Seen};
use super::super::model::End;
use crate::plan::Until;

pub(super) fn judge(context: &Context<'_>, workloads: &[String], case: &mut Case) {
    for workload in workloads {
        let is_evicted = |end: &End| matches!(end, End::EvictedByKubelet(_) | End::LocalStorageLimit { .. });
        let mut evicted = context.pods_of(workload).filter(|(_, end)| is_evicted(&end.end)).peekable();
        if evicted.peek().is_none() {
            let doubts =
                context.history.absence_doubts(context.plan, |until| matches!(until, Until::Evictions(_)));
            let (what, evidence) = context.instead(workload);
            let text = format!("{workload} was not evicted, so nothing was announced: {what}");
            case.absent(text, evidence, doubts);
        }
        for (pod, end) in evicted {
            judge_event(context, pod, end, case);
            judge_condition(pod, end, case);
        }
    }
}

fn judge_event(context: &Context<'_>, pod: &PodHistory<'_>, end: &PodEnd, case: &mut Case) {
    let name = &end.name;
    let history = &context.history;
    // An event that happens again is the same object with a higher count; a watch that was resumed shows it anew.
    let mut events: BTreeMap<&str, Seen<'_, Event>> = BTreeMap::new();
    for event in
        pod.events.iter().filter(|event| end_by_event(event.value).is_some_and(|said| said.is_like(&end.end)))
    {
        events.insert(event.value.metadata.name.as_deref().unwrap_or_default(), *event);
    }
    let evidence = || events.values().map(|event| event.evidence()).collect::<Vec<_>>();
    let times: i32 = events.values().map(|event| event.value.count.unwrap_or(1).max(1)).sum();
    match (times, events.values().next()) {
        // An event is sent once and may be lost.
        (_, None) => case.doubt(format!("no event Evicted of {name} was seen"), end.evidence.clone()),
        (1, Some(event)) => {
            let (found, expected) = (annotations_of(event.value), expected(event.value));
            match expected {
                Some(expected) if found == expected => {
                    case.proven(format!("one event Evicted of {name}, {}", words(&found)), evidence());
                }
                Some(expected) => {
                    let text = format!(
                        "the event Evicted of {name} came {}, and its message asks for it {}",
                        words(&found),
                        words(&expected)
                    );
                    case.violated(text, evidence());
                }
                None => case.doubt(format!("the message of {name}'s event can not be read"), evidence()),
            }
        }
        (times, Some(_)) => {
            case.violated(format!("{times} events Evicted of {name} instead of one"), evidence());
        }
    }
    case.doubts(history.blind(Source::Events, history.began(), history.ended()));
}

/// The annotations that the text of an event asks for; nothing for a text that can not be read.
fn expected(event: &Event) -> Option<Annotations> {
    let text = event.message.as_deref().unwrap_or_default();
    let message: PodMessage = format!("{} ", text.trim_end()).parse().ok()?;
    Some(annotations(&message))
}

/// Those that tell of an eviction.
fn annotations_of(event: &Event) -> Annotations {
    const KEYS: [&str; 5] = [
        annotation::STARVED_RESOURCE,
        annotation::OFFENDING_CONTAINERS,
        annotation::OFFENDING_CONTAINERS_USAGE,
        annotation::OFFENDING_POD,
        annotation::OFFENDING_POD_USAGE,
    ];
    let all = event.metadata.annotations.iter().flatten();
    all.filter(|(key, _)| KEYS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn words(annotations: &Annotations) -> String {
    if annotations.is_empty() {
        return "without annotations".to_owned();
    }
    let all: Vec<String> = annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("with {}", all.join(" "))
}

fn judge_condition(pod: &PodHistory<'_>, end: &PodEnd, case: &mut Case) {
    let name = &end.name;
    let found = pod.all_versions().find_map(|version| {
        let conditions = version.value.status.as_ref()?.conditions.as_ref()?;
        let target = conditions
            .iter()
            .find(|condition| condition.type_ == DISRUPTION_TARGET && condition.status == "True")?;
        Some((target.reason.as_deref().unwrap_or_default().to_owned(), version.evidence()))
    });
    let is_for_the_node = matches!(end.end, End::EvictedByKubelet(_));
    let last =
        pod.all_versions().find(|version| matches!(phase(version.value), Some("Failed" | "Succeeded")));
    match (found, last) {
        (Some((reason, evidence)), _) if is_for_the_node && reason == TERMINATION_BY_KUBELET => {
            case.proven(format!("{name} has the condition {DISRUPTION_TARGET}, reason {reason}"), [evidence]);
        }
        (Some((reason, evidence)), _) => {
            case.violated(
                format!("{name} has the condition {DISRUPTION_TARGET}, reason {reason}"),
                [evidence],
            );
        }
        (None, Some(last)) if is_for_the_node => {
            case.violated(
                format!("{name} ended without the condition {DISRUPTION_TARGET}"),
                [last.evidence()],
            );
        }
        (None, Some(last)) => {
            case.proven(format!("{name} ended without the condition {DISRUPTION_TARGET}"), [last.evidence()]);
        }
        (None, None) => {
            case.doubt(format!("the status in which {name} ended was not seen"), end.evidence.clone())
        }
    }
}
