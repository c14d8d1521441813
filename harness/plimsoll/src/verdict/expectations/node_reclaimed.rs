//! `nodeReclaimed`: what the kubelet removed from a node to get space back: images that nothing uses, and containers that
//! had ended. The container runtime's own events show it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plimsoll_node::report::{RuntimeEvent, RuntimeObject};

use super::super::case::{Case, Reason};
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::ends::container_statuses;
use super::super::history::{PodHistory, Seen};
use super::super::model::Evidence;
use super::super::words;
use crate::plan::{Action, Band, NodeReclaimedExpectation};

/// How the kubelet writes which runtime a container is of.
const SCHEME: &str = "containerd://";

/// What was removed from a node while its steps were taken.
pub(crate) struct Removed {
    /// Images that nothing used, by their full names.
    pub(crate) images: BTreeMap<String, Evidence>,
    /// Containers that had ended: the pod's workload or name, by the container's identifier.
    pub(crate) containers: BTreeMap<String, (String, Evidence)>,
}

impl Removed {
    /// What a node's container runtime tells.
    pub(crate) fn of(context: &Context<'_>, node: &str) -> Self {
        let ballast = ballast(context, node);
        let mut removed = Self { images: BTreeMap::new(), containers: BTreeMap::new() };
        let began = context.history.began();
        for event in events(context, node).filter(|event| !event.value.added && event.at() >= began) {
            let name = event.value.name.as_str();
            match event.value.what {
                RuntimeObject::Image if ballast.contains(name) => {
                    removed.images.insert(name.to_owned(), event.evidence());
                }
                RuntimeObject::Container => {
                    let pods = context.history.pods.iter().zip(&context.ends);
                    let ended = |pod: &PodHistory<'_>| had_ended(pod, name) && is_there(pod, event.at());
                    if let Some((_, end)) = pods.into_iter().find(|(pod, _)| ended(pod)) {
                        removed
                            .containers
                            .insert(name.to_owned(), (end.called().to_owned(), event.evidence()));
                    }
                }
                RuntimeObject::Image => {}
            }
        }
        removed
    }
}

pub(super) fn judge(context: &Context<'_>, expected: &NodeReclaimedExpectation, case: &mut Case) {
    let node = expected.node.as_str();
    let history = &context.history;
    let removed = Removed::of(context, node);
    // A runtime that says nothing at all was not heard: the pods that ran made containers.
    if events(context, node).next().is_none() {
        case.doubt(format!("the container runtime of {node} was not heard"), []);
    }
    let blind = || -> Vec<Reason> {
        let mut doubts = history.run_doubts();
        doubts.extend(history.blind(Source::Runtime(node), history.began(), history.ended()));
        doubts.extend(history.script_doubts(context.plan, |_| false));
        doubts
    };
    if let Some(band) = &expected.images {
        let names = removed.images.keys().map(|name| short(name)).collect();
        let evidence = removed.images.values().cloned().collect();
        count("image", names, removed.images.len(), band, evidence, &blind, case);
    }
    if let Some(band) = &expected.containers {
        let whose: BTreeSet<&str> = removed.containers.values().map(|(whose, _)| whose.as_str()).collect();
        let whose = whose.into_iter().map(|whose| format!("of {whose}")).collect();
        let evidence = removed.containers.values().map(|(_, evidence)| evidence.clone()).collect();
        count("ended container", whose, removed.containers.len(), band, evidence, &blind, case);
    }
    for name in &expected.kept {
        if let Some(evidence) = removed.images.get(name) {
            case.violated(
                format!("{} was removed and should have been kept", short(name)),
                [evidence.clone()],
            );
            continue;
        }
        let added = events(context, node).find(|event| {
            event.value.added && event.value.what == RuntimeObject::Image && event.value.name == *name
        });
        match added {
            Some(added) => {
                case.proven(format!("{} was there to the end", short(name)), [added.evidence()]);
            }
            None => case.doubt(format!("{} was never seen on {node}", short(name)), []),
        }
        case.doubts(history.blind(Source::Runtime(node), history.began(), history.ended()));
        case.doubts(history.run_doubts());
    }
}

/// Judges a count: too many is a violation, too few is one only where everything could be seen.
fn count(
    what: &str,
    which: Vec<String>,
    number: usize,
    band: &Band,
    evidence: Vec<Evidence>,
    doubts: &dyn Fn() -> Vec<Reason>,
    case: &mut Case,
) {
    let which = if which.is_empty() { String::new() } else { format!(" ({})", words::list(which)) };
    let were = if number == 1 { "was" } else { "were" };
    let text = format!("{} {were} removed{which}", words::count(number, what));
    let expected = format!("{text}; expected {}", words::band("pid", band));
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    if band.at_most.is_some_and(|most| number > most) {
        case.violated(expected, evidence);
    } else if !band.holds(number) {
        case.absent(expected, evidence, doubts());
    } else {
        case.proven(text, evidence);
        // That there were no more of them is known only where everything could be seen.
        if band.at_most.is_some() {
            case.doubts(doubts());
        }
    }
}

fn events<'c, 'a>(
    context: &'c Context<'a>,
    node: &'c str,
) -> impl Iterator<Item = Seen<'a, RuntimeEvent>> + 'c {
    context.history.runtime.get(node).into_iter().flatten().copied()
}

/// The images of a node that nothing uses.
fn ballast<'c>(context: &'c Context<'_>, node: &str) -> BTreeSet<&'c str> {
    let of_node = context.plan.nodes.iter().filter(|plan| plan.name == node).flat_map(|plan| &plan.images);
    let loaded = context.plan.steps.iter().filter_map(|step| match &step.action {
        Action::Load { node: loaded, images } if loaded == node => Some(images),
        _ => None,
    });
    of_node.chain(loaded.flatten()).map(|image| image.name.as_str()).collect()
}

fn short(name: &str) -> String {
    name.trim_start_matches("docker.io/plimsoll/").trim_end_matches(":1").to_owned()
}

/// Whether a container is one of this pod that ended, by the pod's status.
fn had_ended(pod: &PodHistory<'_>, container: &str) -> bool {
    pod.all_versions().any(|version| {
        container_statuses(version.value).any(|status| {
            let states = [status.state.as_ref(), status.last_state.as_ref()];
            let mut ended = states
                .into_iter()
                .flatten()
                .filter_map(|state| state.terminated.as_ref()?.container_id.as_deref());
            ended.any(|id| id.strip_prefix(SCHEME) == Some(container))
        })
    })
}

/// Whether nobody had asked for the pod's deletion by then, which removes its containers too.
fn is_there(pod: &PodHistory<'_>, at: Timestamp) -> bool {
    let marked = pod.all_versions().find(|version| version.value.metadata.deletion_timestamp.is_some());
    [marked.map(|version| version.at()), pod.deleted.map(|deleted| deleted.at())]
        .into_iter()
        .flatten()
        .all(|deleted| deleted > at)
}
