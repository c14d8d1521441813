//! `oomKills`: whom the kernel killed for memory, exactly.

use std::collections::{BTreeMap, BTreeSet};

use super::super::case::Case;
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::history::evidence;
use super::super::model::Evidence;
use super::super::words;
use crate::plan::Until;

pub(super) fn judge(context: &Context<'_>, workloads: &BTreeSet<String>, case: &mut Case) {
    let history = &context.history;
    let mut killed: BTreeMap<&str, Vec<Evidence>> = BTreeMap::new();
    for (pod, end) in history.pods.iter().zip(&context.ends).filter(|(_, end)| end.oom_kills > 0) {
        // A kill whose pod was never seen is told below, with the kernel's words.
        if pod.last().is_some() {
            let told = pod.kills.iter().map(|kill| kill.evidence());
            killed.entry(end.called()).or_default().extend(told.chain(end.evidence.clone()));
        }
    }
    for (name, evidence) in &killed {
        if workloads.contains(*name) {
            case.proven(format!("{name} was OOM-killed"), evidence.clone());
        } else {
            case.violated(format!("{name} was OOM-killed and should not have been"), evidence.clone());
        }
    }
    for (node, kill) in &history.kills {
        let known = |uid: &String| history.pods.iter().any(|pod| pod.uid == uid && pod.last().is_some());
        if kill.value.pod_uid.as_ref().is_some_and(known) {
            continue;
        }
        let text = format!("{node}: {}, outside every pod that is known", words::kill(kill.value));
        if workloads.is_empty() || kill.value.task.is_some() {
            case.violated(text, [kill.evidence()]);
        } else {
            // Only a counter rose: it may be the kill that is expected.
            case.doubt(text, [kill.evidence()]);
        }
    }
    for name in workloads.iter().filter(|name| !killed.contains_key(name.as_str())) {
        let mut doubts = blindness(context);
        doubts.extend(history.script_doubts(context.plan, |until| matches!(until, Until::OomKills(_))));
        let (what, evidence) = context.instead(name);
        case.absent(format!("{name} was not OOM-killed: {what}"), evidence, doubts);
    }
    case.doubts(blindness(context));
    if killed.is_empty() {
        case.proven("the kernel killed nothing for memory", history.finished.map(evidence));
    }
}

/// What keeps "nobody else was killed" from being known: the kernel's log, the counters in the samples, and the pods'
/// statuses must all have been watched throughout.
fn blindness(context: &Context<'_>) -> Vec<super::super::case::Reason> {
    let history = &context.history;
    let (from, to) = (history.began(), history.ended());
    let mut doubts = history.completeness_doubts();
    for node in &context.plan.nodes {
        doubts.extend(history.blind(Source::KernelLog(&node.name), from, to));
        doubts.extend(history.unsampled(&node.name, from, to));
    }
    doubts
}
