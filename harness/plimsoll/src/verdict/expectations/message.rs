//! `message`: what the kubelet said on evicting a workload's pod, by its figures.

use super::super::case::Case;
use super::super::context::{Context, Eviction};
use super::super::model::{Consumer, Figures};
use super::super::words;
use crate::plan::{Band, MessageExpectation, Until};

pub(super) fn judge(context: &Context<'_>, expected: &MessageExpectation, case: &mut Case) {
    let workload = expected.workload.as_str();
    let evictions = context.evictions();
    let mut own =
        evictions.iter().filter(|eviction| eviction.pod.workload.as_deref() == Some(workload)).peekable();
    if own.peek().is_none() {
        let doubts =
            context.history.absence_doubts(context.plan, |until| matches!(until, Until::Evictions(_)));
        let (what, evidence) = context.instead(workload);
        let text = format!("{workload} was not evicted, so nothing was said about it: {what}");
        case.absent(text, evidence, doubts);
    }
    for eviction in own {
        judge_one(expected, eviction, case);
    }
}

fn judge_one(expected: &MessageExpectation, eviction: &Eviction<'_>, case: &mut Case) {
    let evidence = || eviction.pod.evidence.clone();
    let (Some(resource), Some(figures)) = (&eviction.what.resource, &eviction.what.figures) else {
        let text = eviction.what.message.trim_end();
        case.doubt(format!("the kubelet's message can not be read: {text:?}"), evidence());
        return;
    };
    let said = |what: &str| format!("the kubelet said {what} of {}", eviction.pod.name);
    if let Some(wanted) = expected.resource.as_deref().filter(|wanted| *wanted != resource.as_str()) {
        case.violated(format!("{} and not {wanted}", said(&format!("resource {resource}"))), evidence());
    }
    let mut check = |what: &str, seen: Option<i64>, wanted: Option<Band>| {
        let Some(wanted) = wanted else { return };
        let wants = words::band(resource, &wanted);
        match seen {
            None => case
                .violated(format!("{} where {wants} was expected", said(&format!("no {what}"))), evidence()),
            Some(seen) => {
                let text = format!(
                    "{} where {wants} was expected",
                    said(&format!("{what} {}", words::amount(resource, seen)))
                );
                if wanted.holds(seen) {
                    case.proven(text, evidence())
                } else {
                    case.violated(text, evidence())
                }
            }
        }
    };
    check("threshold", figures.threshold, expected.threshold);
    check("available", figures.available, expected.available);
    let consumer = consumer(figures, expected.container.as_deref());
    check("using", consumer.map(|consumer| consumer.using), expected.using);
    check("request", consumer.map(|consumer| consumer.request), expected.request);
    if let (Some(container), None) = (&expected.container, consumer) {
        case.violated(
            format!("the kubelet named no container {container} of {}", eviction.pod.name),
            evidence(),
        );
    }
    case.proven(format!("{}: {}", said("this"), eviction.what.message.trim_end()), evidence());
}

/// The sentence that is meant: that of the container, or, where none is named, that of the pod or the only one.
fn consumer<'f>(figures: &'f Figures, container: Option<&str>) -> Option<&'f Consumer> {
    match container {
        Some(_) => figures.consumers.iter().find(|consumer| consumer.container.as_deref() == container),
        None => figures.consumers.first(),
    }
}
