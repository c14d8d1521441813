//! `evicted`: exactly these, group after group.
//!
//! A mention of a workload stands for at least one eviction and at most as many as the workload has pods at first. A
//! workload in several groups is evicted once for each, or in the last as often as is left.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use plimsoll_eviction::signal::Signal;

use super::super::case::Case;
use super::super::context::{Context, Eviction};
use super::super::words;
use crate::plan::Until;

pub(super) fn judge(context: &Context<'_>, groups: &[BTreeSet<String>], case: &mut Case) {
    let evictions = context.evictions();
    let mut by_workload: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, eviction) in evictions.iter().enumerate() {
        match &eviction.pod.workload {
            Some(workload) => by_workload.entry(workload).or_default().push(index),
            // Only an event spoke of it: whose pod it was is not known.
            None if eviction.pod.node.is_none() => {
                case.doubt(
                    format!("whose pod {} was is not known", eviction.pod.name),
                    eviction.pod.evidence.clone(),
                );
            }
            None => {
                case.violated(
                    format!("{} was evicted and belongs to no workload", eviction.pod.name),
                    eviction.pod.evidence.clone(),
                );
            }
        }
    }
    let mentions = mentions(groups);
    for (workload, indexes) in &by_workload {
        if !mentions.contains_key(workload) {
            let evidence = indexes.iter().flat_map(|index| evictions[*index].pod.evidence.clone());
            case.violated(format!("{workload} was evicted and should not have been"), evidence);
        }
    }
    let mut group_of: BTreeMap<usize, usize> = BTreeMap::new();
    for (workload, mentioned) in &mentions {
        let indexes = by_workload.get(workload).map(Vec::as_slice).unwrap_or_default();
        if indexes.len() < mentioned.len() {
            missing(context, workload, indexes.len(), mentioned.len(), case);
        }
        let pods = context.plan.workloads.get(*workload).map_or(1, |workload| workload.pods.max(1)) as usize;
        if indexes.len() > mentioned.len() * pods {
            let evidence = indexes.iter().flat_map(|index| evictions[*index].pod.evidence.clone());
            case.violated(
                format!("{workload} was evicted {} times and not {}", indexes.len(), mentioned.len() * pods),
                evidence,
            );
        }
        for (nth, index) in indexes.iter().enumerate() {
            group_of.insert(*index, mentioned[nth.min(mentioned.len() - 1)]);
        }
    }
    check_order(context, &evictions, &group_of, case);
    case.doubts(context.history.completeness_doubts());
    compare_with_metric(context, evictions.len(), case);
    prove(context, &evictions, case);
}

/// The groups in which each workload stands.
fn mentions(groups: &[BTreeSet<String>]) -> BTreeMap<&str, Vec<usize>> {
    let mut mentions: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (group, names) in groups.iter().enumerate() {
        for name in names {
            mentions.entry(name).or_default().push(group);
        }
    }
    mentions
}

fn missing(context: &Context<'_>, workload: &str, seen: usize, wanted: usize, case: &mut Case) {
    let (what, mut evidence) = context.instead(workload);
    let text = if seen == 0 {
        let (nearest, samples) = context.nearest();
        evidence.extend(samples);
        std::iter::once(format!("{workload} was not evicted: {what}"))
            .chain(nearest)
            .collect::<Vec<_>>()
            .join("; ")
    } else {
        format!("{workload} was evicted {} and not {wanted}", words::count(seen, "time"))
    };
    let doubts = context.history.absence_doubts(context.plan, |until| matches!(until, Until::Evictions(_)));
    case.absent(text, evidence, doubts);
}

fn check_order(
    context: &Context<'_>,
    evictions: &[Eviction<'_>],
    group_of: &BTreeMap<usize, usize>,
    case: &mut Case,
) {
    for (one, group) in group_of {
        for (other, _) in group_of.iter().filter(|(_, later)| *later > group) {
            let (first, second) = (&evictions[*one], &evictions[*other]);
            let evidence = || first.pod.evidence.iter().chain(&second.pod.evidence).cloned();
            let (name, other) = (first.pod.called(), second.pod.called());
            match context.order(first, second) {
                Some(Ordering::Less) => {}
                Some(_) => case.violated(format!("{other} was evicted before {name}"), evidence()),
                None => case.doubt(format!("whether {name} went before {other} can not be told"), evidence()),
            }
        }
    }
}

/// The kubelet's own count, if it is higher than what was seen, shows that something was missed.
fn compare_with_metric(context: &Context<'_>, seen: usize, case: &mut Case) {
    let counts = context.history.metrics.iter().filter(|((_, signal), _)| signal.parse::<Signal>().is_ok());
    let counted: u64 = counts.map(|(_, (count, _))| *count).sum();
    if counted > seen as u64 {
        let evidence = context
            .history
            .metrics
            .values()
            .map(|(_, observation)| super::super::history::evidence(observation));
        case.doubt(format!("the kubelet counts {counted} evictions, and {seen} were seen"), evidence);
    }
}

fn prove(context: &Context<'_>, evictions: &[Eviction<'_>], case: &mut Case) {
    let watched = words::seconds(words::seconds_between(context.history.began(), context.history.ended()));
    if evictions.is_empty() {
        case.proven(
            format!("nobody was evicted in {watched} of watching"),
            context.history.finished.map(super::super::history::evidence),
        );
        return;
    }
    let began = context.history.began();
    let told = evictions.iter().map(|eviction| {
        let after = words::seconds(words::seconds_between(began, eviction.decided.latest));
        format!("{} after {after}", eviction.pod.called())
    });
    let evidence = evictions.iter().flat_map(|eviction| eviction.pod.evidence.clone());
    case.proven(format!("evicted {}; nobody else in {watched}", words::list(told)), evidence);
}
