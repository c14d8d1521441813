//! One file for each thing that a scenario can expect; a test of another kind goes beside them.

mod announced;
mod answered;
mod conditions;
mod drained;
mod ended;
mod evicted;
mod flapping;
mod message;
mod node_reclaimed;
mod nominated;
mod oom_kills;
mod over_limit;
mod reclaimed;
mod rejected;
mod replaced;
mod scale_down;
mod slowed;
mod survive;
mod taint_rate;
mod tainted;
mod terminated;
mod terminating;
mod together;
mod tolerated;
mod within;

use plimsoll_eviction::signal::Signal;

use super::case::{Case, Judgement};
use super::context::{Context, Eviction};
use super::words;
use crate::plan::{Expect, failure};

/// Judges one expectation.
pub(super) fn judge(context: &Context<'_>, expect: &Expect) -> Judgement {
    let mut case = Case::default();
    match expect {
        Expect::Evicted(groups) => evicted::judge(context, groups, &mut case),
        Expect::Survive(workloads) => survive::judge(context, workloads, &mut case),
        Expect::Reclaimed { signal, band, minimum_reclaim } => {
            reclaimed::judge(context, signal, band, *minimum_reclaim, &mut case);
        }
        Expect::Conditions(expected) => conditions::judge(context, expected, &mut case),
        Expect::OomKills(workloads) => oom_kills::judge(context, workloads, &mut case),
        Expect::Rejected(workloads) => rejected::judge(context, workloads, &mut case),
        Expect::OverLimit(expected) => over_limit::judge(context, expected, &mut case),
        Expect::NodeReclaimed(expected) => node_reclaimed::judge(context, expected, &mut case),
        Expect::Message(expected) => message::judge(context, expected, &mut case),
        Expect::Announced(workloads) => announced::judge(context, workloads, &mut case),
        Expect::Together { workloads, lasting } => together::judge(context, workloads, lasting, &mut case),
        Expect::Within { signal, lasting } => within::judge(context, signal, lasting, &mut case),
        Expect::Terminated { workload, lasting } => terminated::judge(context, workload, lasting, &mut case),
        Expect::Replaced(expected) => replaced::judge(context, expected, &mut case),
        Expect::Tainted(expected) => tainted::judge(context, expected, &mut case),
        Expect::Tolerated { workload, lasting, asked } => {
            tolerated::judge(context, workload, lasting.as_ref(), *asked, &mut case);
        }
        Expect::TaintRate(expected) => taint_rate::judge(context, expected, &mut case),
        Expect::Terminating(workloads) => terminating::judge(context, workloads, &mut case),
        Expect::Ended(expected) => ended::judge(context, expected, &mut case),
        Expect::Answered { workload, codes, draining } => {
            answered::judge(context, workload, codes, *draining, &mut case);
        }
        Expect::Drained(expected) => drained::judge(context, expected, &mut case),
        Expect::Nominated { workload, node } => nominated::judge(context, workload, node, &mut case),
        Expect::ScaleDownBlocked(expected) => scale_down::judge(context, expected, &mut case),
        Expect::Flapping(expected) => flapping::judge(context, expected, &mut case),
        Expect::Slowed(expected) => slowed::judge(context, expected, &mut case),
    }
    case.decide()
}

/// What one eviction gave back of a signal; nothing where a sample is missing or stale.
pub(super) fn reclaimed_by(context: &Context<'_>, eviction: &Eviction<'_>, signal: Signal) -> Option<i64> {
    reclaimed::of_eviction(context, eviction, signal).map(|reclaim| reclaim.amount())
}

/// Whether the scenario says that the kubelet gets space back besides evicting.
pub(super) fn expects_node_reclaim(context: &Context<'_>) -> bool {
    reclaimed::expects_node_reclaim(context)
}

/// The images of a node that the kubelet removed, and the pods whose ended containers it removed.
pub(super) fn removed_from(context: &Context<'_>, node: &str) -> node_reclaimed::Removed {
    node_reclaimed::Removed::of(context, node)
}

/// An expectation in a line.
#[must_use]
pub(super) fn title(expect: &Expect) -> String {
    match expect {
        Expect::Evicted(groups) if groups.is_empty() => "nobody is evicted".to_owned(),
        Expect::Evicted(groups) => {
            let groups: Vec<String> = groups.iter().map(words::list).collect();
            format!("evicted: {}", groups.join(", then "))
        }
        Expect::Survive(workloads) => format!("{} survive{}", words::list(workloads), s(workloads.len())),
        Expect::Reclaimed { signal, band, minimum_reclaim } => {
            let mut wanted = Vec::new();
            if band.at_least.is_some() || band.at_most.is_some() {
                wanted.push(words::band(signal, band));
            }
            if *minimum_reclaim {
                wanted.push("up to the minimum reclaim".to_owned());
            }
            format!(
                "reclaimed of {signal}: {}",
                if wanted.is_empty() { "any".to_owned() } else { wanted.join(", ") }
            )
        }
        Expect::Conditions(expected) if expected.is_empty() => "no pressure condition".to_owned(),
        Expect::Conditions(expected) => {
            let conditions = expected.iter().map(|expected| {
                let cleared = if expected.cleared { " raised and cleared" } else { " raised" };
                format!("{} on {}{cleared}", expected.condition, expected.node)
            });
            conditions.collect::<Vec<_>>().join(", then ")
        }
        Expect::OomKills(workloads) if workloads.is_empty() => "no OOM kill".to_owned(),
        Expect::OomKills(workloads) => format!("OOM-killed: {}", words::list(workloads)),
        Expect::Rejected(workloads) if workloads.is_empty() => "no pod is rejected".to_owned(),
        Expect::Rejected(workloads) => format!("rejected at admission: {}", words::list(workloads)),
        Expect::OverLimit(expected) if expected.is_empty() => "no pod is over a limit".to_owned(),
        Expect::OverLimit(expected) => {
            let over = expected.iter().map(|(name, limit)| format!("{name} ({limit})"));
            format!("over a limit: {}", words::list(over))
        }
        Expect::NodeReclaimed(expected) => format!("reclaimed from {} itself", expected.node),
        Expect::Message(expected) => format!("the kubelet's message about {}", expected.workload),
        Expect::Announced(workloads) => {
            format!("the kubelet announces the eviction of {}", words::list(workloads))
        }
        Expect::Together { workloads, lasting } => {
            format!("{} go together, {lasting} apart", words::list(workloads))
        }
        Expect::Within { signal, lasting } => {
            format!("from crossing the threshold of {signal} to the eviction {lasting}")
        }
        Expect::Terminated { workload, lasting } => format!("{workload} terminates in {lasting}"),
        Expect::Replaced(expected) => format!("{} is replaced", expected.workload),
        Expect::Tainted(expected) if expected.is_empty() => "no node is tainted".to_owned(),
        Expect::Tainted(expected) => {
            let taints = expected.iter().map(failure::tainted).collect::<Vec<_>>();
            format!("tainted: {}", taints.join("; "))
        }
        Expect::Tolerated { workload, lasting: None, asked: None } => {
            format!("{workload} stays on a tainted node")
        }
        Expect::Tolerated { workload, lasting: None, asked: Some(asked) } => {
            format!("{workload} stays on a tainted node, and would for {asked}s")
        }
        Expect::Tolerated { workload, lasting: Some(lasting), .. } => {
            format!("{workload} stays on a tainted node {lasting}")
        }
        Expect::TaintRate(expected) => failure::taint_rate(expected, |band| words::band("pid", band)),
        Expect::Terminating(workloads) => format!("{} still terminating", words::list(workloads)),
        Expect::Ended(expected) => format!("{} ended as {}", expected.workload, expected.kind.name()),
        Expect::Answered { workload, codes, draining } => {
            let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
            let by = if *draining { " by a drain" } else { "" };
            format!("the eviction of {workload}{by} is answered with {}", codes.join(", then "))
        }
        Expect::Drained(expected) => format!("what draining {} comes to", expected.node),
        Expect::Nominated { workload, node } => format!("{node} is nominated for {workload}"),
        Expect::ScaleDownBlocked(expected) => {
            format!("what keeps a cluster autoscaler from removing {}", expected.node)
        }
        Expect::Slowed(expected) => {
            format!("{} slowed by {} {}", expected.workload, expected.by, words::times(expected))
        }
        Expect::Flapping(expected) => format!("{} of {} comes and goes", expected.condition, expected.node),
    }
}

fn s(subjects: usize) -> &'static str {
    if subjects == 1 { "s" } else { "" }
}
