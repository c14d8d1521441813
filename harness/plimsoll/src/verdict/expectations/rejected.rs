//! `rejected`: exactly these were refused by the kubelet at admission.

use std::collections::{BTreeMap, BTreeSet};

use super::super::case::Case;
use super::super::context::Context;
use super::super::ends::PodEnd;
use super::super::history::evidence;
use super::super::model::End;
use super::super::outcome::end_words;
use super::super::words;
use crate::plan::Until;

pub(super) fn judge(context: &Context<'_>, workloads: &BTreeSet<String>, case: &mut Case) {
    let mut rejected: BTreeMap<&str, Vec<&PodEnd>> = BTreeMap::new();
    for pod in context.ends.iter().filter(|pod| matches!(pod.end, End::RejectedAtAdmission { .. })) {
        rejected.entry(pod.called()).or_default().push(pod);
    }
    for (name, pods) in &rejected {
        let evidence = || pods.iter().flat_map(|pod| pod.evidence.clone());
        let times = words::count(pods.len(), "time");
        if workloads.contains(*name) {
            case.proven(format!("{name} was rejected {times}: {}", end_words(&pods[0].end)), evidence());
        } else {
            case.violated(format!("{name} was rejected {times} and should not have been"), evidence());
        }
    }
    for name in workloads.iter().filter(|name| !rejected.contains_key(name.as_str())) {
        let (what, evidence) = context.instead(name);
        let doubts =
            context.history.absence_doubts(context.plan, |until| matches!(until, Until::Rejections(_)));
        case.absent(format!("{name} was not rejected: {what}"), evidence, doubts);
    }
    case.doubts(context.history.completeness_doubts());
    if rejected.is_empty() {
        case.proven("no pod was rejected", context.history.finished.map(evidence));
    }
}
