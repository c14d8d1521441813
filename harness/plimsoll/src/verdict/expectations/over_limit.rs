//! `overLimit`: exactly these were evicted by the kubelet for using more local storage than a limit of their own allows.

use std::collections::BTreeMap;

use super::super::case::Case;
use super::super::context::Context;
use super::super::history::evidence;
use super::super::model::{End, LocalStorageLimit};
use super::super::outcome::end_words;
use crate::plan::{StorageLimit, Until};

impl From<LocalStorageLimit> for StorageLimit {
    fn from(limit: LocalStorageLimit) -> Self {
        match limit {
            LocalStorageLimit::EmptyDir => Self::EmptyDir,
            LocalStorageLimit::Pod => Self::Pod,
            LocalStorageLimit::Container => Self::Container,
        }
    }
}

pub(super) fn judge(context: &Context<'_>, expected: &BTreeMap<String, StorageLimit>, case: &mut Case) {
    let mut over = 0;
    for pod in &context.ends {
        let End::LocalStorageLimit { limit, message } = &pod.end else { continue };
        over += 1;
        let (name, limit, said) = (pod.called(), StorageLimit::from(*limit), message.trim_end());
        let evidence = pod.evidence.clone();
        match expected.get(name) {
            Some(wanted) if *wanted == limit => case.proven(format!("{name}: {said}"), evidence),
            Some(wanted) => {
                case.violated(
                    format!("{name} was over the limit of {limit} and not of {wanted}: {said}"),
                    evidence,
                );
            }
            None => case.violated(format!("{name} was evicted and should not have been: {said}"), evidence),
        }
    }
    for name in expected.keys() {
        let is_over = |end: &End| matches!(end, End::LocalStorageLimit { .. });
        let pods: Vec<_> = context.pods_of(name).map(|(_, pod)| pod).collect();
        let planned = context.plan.workloads.get(name).map_or(1, |workload| workload.pods.max(1)) as usize;
        if pods.iter().filter(|pod| is_over(&pod.end)).count() >= planned {
            continue;
        }
        let (_, evidence) = context.instead(name);
        let mut others: Vec<String> =
            pods.iter().filter(|pod| !is_over(&pod.end)).map(|pod| end_words(&pod.end)).collect();
        if others.is_empty() {
            others.push("no pod of it was seen".to_owned());
        }
        let doubts =
            context.history.absence_doubts(context.plan, |until| matches!(until, Until::Evictions(_)));
        case.absent(
            format!("{name} was not evicted for being over a limit: {}", others.join(", ")),
            evidence,
            doubts,
        );
    }
    case.doubts(context.history.completeness_doubts());
    if over == 0 && expected.is_empty() {
        case.proven(
            "no pod was evicted for being over a limit of local storage",
            context.history.finished.map(evidence),
        );
    }
}
