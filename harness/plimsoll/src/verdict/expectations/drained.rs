//! `drained`: what the drains of a node came to.

use std::collections::BTreeMap;

use super::super::case::Case;
use super::super::context::Context;
use super::super::words;
use crate::observe::{DrainOutcome, RefusedPod};
use crate::plan::{Action, DrainEnd, DrainObstacle, DrainedExpectation, DrainedTo, Until};

pub(super) fn judge(context: &Context<'_>, expected: &DrainedExpectation, case: &mut Case) {
    let node = expected.node.as_str();
    let planned = |action: &Action| matches!(action, Action::Drain(drain) if drain.node == node);
    let planned = context.plan.steps.iter().filter(|step| planned(&step.action)).count();
    let drains: Vec<_> = context.history.drains.iter().filter(|(of, ..)| *of == node).collect();
    for (_, outcome, observation) in &drains {
        let text = format!("drain of {node}: {}", words::drain_words(outcome));
        let evidence = [super::super::history::evidence(observation)];
        let right = match (&expected.to, outcome) {
            (DrainedTo::End(DrainEnd::Emptied), DrainOutcome::Emptied { .. })
            | (DrainedTo::End(DrainEnd::TimedOut), DrainOutcome::TimedOut { .. }) => true,
            (DrainedTo::Refused(pods), DrainOutcome::Refused { pods: seen }) => {
                by_workload(seen) == named(pods)
            }
            _ => false,
        };
        if right {
            case.proven(text, evidence);
        } else {
            case.violated(format!("{text}; expected {}", wanted(&expected.to)), evidence);
        }
    }
    if drains.len() < planned {
        let doubts =
            context.history.undone_doubts(context.plan, |until| matches!(until, Until::Drained { .. }));
        let text = format!("{} of {planned} of {node} came to an end", words::count(drains.len(), "drain"));
        case.absent(text, [], doubts);
    }
    case.doubts(context.history.run_doubts());
}

fn wanted(to: &DrainedTo) -> String {
    match to {
        DrainedTo::End(end) => end.name().to_owned(),
        DrainedTo::Refused(pods) => {
            let pods = pods.iter().map(|(name, why)| format!("{name} ({})", why.name()));
            format!("a refusal for {}", words::list(pods))
        }
    }
}

fn named(pods: &BTreeMap<String, DrainObstacle>) -> BTreeMap<&str, DrainObstacle> {
    pods.iter().map(|(name, why)| (name.as_str(), *why)).collect()
}

fn by_workload(pods: &[RefusedPod]) -> BTreeMap<&str, DrainObstacle> {
    pods.iter().map(|pod| (pod.workload.as_deref().unwrap_or(&pod.pod), pod.obstacle)).collect()
}
