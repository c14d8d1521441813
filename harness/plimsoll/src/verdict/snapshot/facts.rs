//! What a snapshot holds: figures that vary are masked or in bands, and what may come in any order is sorted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use plimsoll_eviction::message::{Offender, PodMessage};
use plimsoll_eviction::signal::Signal;
use plimsoll_node::report::OomScope;

use super::super::context::{Context, Eviction};
use super::super::ends::PodEnd;
use super::super::expectations::{expects_node_reclaim, reclaimed_by, removed_from};
use super::super::model::{End, LocalStorageLimit, Preemptor};
use super::super::taints::{NO_EXECUTE, spells};
use super::super::words;
use crate::kubernetes::UNREACHABLE;
use crate::observe::{Asked, DrainOutcome, RefusedPod, Timeline};
use crate::plan::{EndKind, Expect, Plan};

/// What stands for a figure that varies.
const MASK: &str = "[amount]";
/// Less than this many bytes is nothing that an eviction gave back.
const NOISE_BYTES: i64 = 1 << 20;
/// Less than this many inodes is nothing.
const NOISE_INODES: i64 = 64;
/// Less than this many process ids is nothing: they are counted on the whole machine.
const NOISE_PIDS: i64 = 256;

/// The facts of a run that stay the same from run to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Evictions in order, those of one expected group together: by workload, with the masked message.
    evicted: Vec<BTreeSet<(String, String)>>,
    /// Pressure conditions by node, as they were raised and cleared.
    conditions: BTreeMap<String, Vec<String>>,
    /// Whom the kernel killed and whose limit that was.
    oom_kills: BTreeSet<String>,
    rejected: BTreeSet<String>,
    /// Who was over a limit of local storage, and what the kubelet said: its figures are the scenario's own.
    over_limit: BTreeSet<String>,
    /// What the kubelet removed from each node that was listened to: images, and ended containers of pods that completed.
    removed: BTreeMap<String, BTreeSet<String>>,
    /// The taint of the planned nodes of which nothing was heard, as it came and went.
    unreachable: BTreeMap<String, Vec<&'static str>>,
    /// How much the evictions of each signal gave back.
    reclaimed: BTreeMap<String, i64>,
    /// What the API server answered to the eviction of each workload's pods, equal answers once.
    answers: BTreeMap<String, BTreeSet<String>>,
    /// What the drains of each node came to.
    drains: BTreeMap<String, BTreeSet<String>>,
    /// How the pods of each workload ended.
    ends: BTreeMap<String, BTreeSet<&'static str>>,
}

impl Facts {
    /// The facts of a run.
    #[must_use]
    pub fn of(plan: &Plan, timeline: &Timeline) -> Self {
        let context = Context::new(plan, timeline);
        let mut ends: BTreeMap<String, BTreeSet<&'static str>> = BTreeMap::new();
        let (mut rejected, mut over_limit) = (BTreeSet::new(), BTreeSet::new());
        for pod in
            context.ends.iter().filter(|pod| !pod.name.is_empty() && !is_refused_by_chance(&context, pod))
        {
            ends.entry(pod.called().to_owned()).or_default().insert(end(&pod.end));
            if let End::LocalStorageLimit { message, .. } = &pod.end {
                over_limit.insert(format!("{}: {}", pod.called(), message.trim_end()));
            }
            if let End::RejectedAtAdmission { reason, message } = &pod.end {
                rejected.insert(format!("{}: {reason}: {}", pod.called(), message.trim_end()));
            }
        }
        Self {
            evicted: evicted(&context),
            conditions: conditions(&context),
            oom_kills: oom_kills(&context),
            rejected,
            over_limit,
            removed: removed(&context),
            unreachable: unreachable(&context),
            reclaimed: reclaimed(&context),
            answers: answers(&context),
            drains: drains(&context),
            ends,
        }
    }

    /// The facts as text. With a snapshot's text beside it, an amount near a band that stands there is written as that
    /// band.
    #[must_use]
    pub fn text(&self, beside: Option<&str>) -> String {
        let mut text = String::new();
        let mut list = |title: &str, items: Vec<String>| {
            // Writing to a string can not fail.
            let _ = if items.is_empty() {
                writeln!(text, "{title}: none")
            } else {
                writeln!(text, "{title}:\n{}", items.join("\n"))
            };
        };
        let evicted = self.evicted.iter().flat_map(|group| {
            group.iter().enumerate().map(|(index, (workload, message))| {
                let bullet = if index == 0 { "-" } else { "  with" };
                format!("{bullet} {workload}: {message}")
            })
        });
        list("evicted", evicted.collect());
        let conditions =
            self.conditions.iter().map(|(node, changes)| format!("  {node}: {}", changes.join(", ")));
        list("conditions", conditions.collect());
        list("oomKills", self.oom_kills.iter().map(|kill| format!("- {kill}")).collect());
        list("rejected", self.rejected.iter().map(|rejected| format!("- {rejected}")).collect());
        // Of most scenarios these are no subject, and so stand only where there is something to say.
        if !self.over_limit.is_empty() {
            list("overLimit", self.over_limit.iter().map(|over| format!("- {over}")).collect());
        }
        if !self.removed.is_empty() {
            let removed = self.removed.iter().map(|(node, removed)| {
                format!("  {node}: {}", removed.iter().cloned().collect::<Vec<_>>().join(", "))
            });
            list("removed", removed.collect());
        }
        if !self.unreachable.is_empty() {
            let nodes = self.unreachable.iter().map(|(node, went)| format!("  {node}: {}", went.join(", ")));
            list("unreachable", nodes.collect());
        }
        let reclaimed = self.reclaimed.iter().map(|(signal, amount)| {
            let kept = beside.and_then(|beside| kept_band(beside, signal));
            let band = kept.filter(|kept| kept.is_near(*amount)).unwrap_or_else(|| Band::of(*amount));
            format!("  {signal}: {}", band.text(signal))
        });
        list("reclaimed", reclaimed.collect());
        for (title, of) in [("answers", &self.answers), ("drains", &self.drains)] {
            let lines = of.iter().map(|(name, what)| {
                format!("  {name}: {}", what.iter().cloned().collect::<Vec<_>>().join("; "))
            });
            if !of.is_empty() {
                list(title, lines.collect());
            }
        }
        let ends = self.ends.iter().map(|(workload, ends)| {
            format!("  {workload}: {}", ends.iter().copied().collect::<Vec<_>>().join(", "))
        });
        list("ends", ends.collect());
        text
    }
}

/// The taint that deletes pods of a node of which nothing is heard.
fn unreachable(context: &Context<'_>) -> BTreeMap<String, Vec<&'static str>> {
    let mut nodes = BTreeMap::new();
    for node in &context.plan.nodes {
        let mut went = Vec::new();
        for spell in spells(&context.history, &node.name) {
            if (spell.key, spell.effect) == (UNREACHABLE, NO_EXECUTE) {
                went.push("tainted");
                went.extend(spell.removed.map(|_| "taken off"));
            }
        }
        if !went.is_empty() {
            nodes.insert(node.name.clone(), went);
        }
    }
    nodes
}

/// Whether a pod is a successor that the kubelet refused: whether the scheduler knows of the pressure before it places a
/// successor is chance, unless the scenario says what is rejected.
fn is_refused_by_chance(context: &Context<'_>, pod: &PodEnd) -> bool {
    let is_refused = |end: &End| matches!(end, End::RejectedAtAdmission { .. });
    let expected = |expect: &Expect| match expect {
        Expect::Rejected(names) => !names.is_empty(),
        Expect::Ended(ended) => ended.workload == pod.called() && ended.kind == EndKind::Rejected,
        _ => false,
    };
    is_refused(&pod.end)
        && context.pods_of(pod.called()).any(|(_, other)| !is_refused(&other.end))
        && !context.plan.expectations.iter().any(|expectation| expected(&expectation.expect))
}

/// Evictions in order. Those that the scenario expects in one group are one set, as are those whose order can not be
/// told.
fn evicted(context: &Context<'_>) -> Vec<BTreeSet<(String, String)>> {
    let expected = context.plan.expectations.iter().find_map(|expectation| match &expectation.expect {
        Expect::Evicted(groups) => Some(groups.as_slice()),
        _ => None,
    });
    let expected = expected.unwrap_or_default();
    let together = |one: &Eviction<'_>, other: &Eviction<'_>| {
        let in_one_group = expected
            .iter()
            .any(|group| group.contains(one.pod.called()) && group.contains(other.pod.called()));
        (in_one_group && one.pod.called() != other.pod.called()) || context.order(one, other).is_none()
    };
    let evictions = context.evictions();
    let groups = evictions.chunk_by(together);
    groups
        .map(|group| {
            let named =
                |eviction: &Eviction<'_>| (eviction.pod.called().to_owned(), masked(context, eviction));
            group.iter().map(named).collect()
        })
        .collect()
}

/// The kubelet's message without the figures that vary. Requests are the scenario's own, and so is a threshold where
/// its resource has but one.
fn masked(context: &Context<'_>, eviction: &Eviction<'_>) -> String {
    let Ok(PodMessage::NodeLow { resource, figures, pod, containers }) =
        format!("{} ", eviction.what.message.trim_end()).parse()
    else {
        return "a message that can not be read".to_owned();
    };
    let signals = Signal::ALL.into_iter().filter(|signal| signal.resource() == resource);
    let thresholds: BTreeSet<i64> = signals
        .flat_map(|signal| context.thresholds(eviction.node(), signal))
        .map(|threshold| threshold.value)
        .collect();
    let mut text = format!("The node was low on resource: {resource}.");
    if let Some(figures) = figures {
        let threshold = if thresholds.len() == 1 { figures.threshold.to_string() } else { MASK.to_owned() };
        let _ = write!(text, " Threshold quantity: {threshold}, available: {MASK}.");
    }
    let offenders =
        pod.iter().map(|pod| ("Pod", pod)).chain(containers.iter().map(|container| ("Container", container)));
    for (kind, Offender { name, request, .. }) in offenders {
        // A controller gives its pods names that vary.
        let name = if kind == "Pod" { "[name]" } else { name };
        let _ = write!(
            text,
            " {kind} {name} was using {MASK}, request is {request}, has larger consumption of {resource}."
        );
    }
    text
}

/// Conditions as they were raised, by node, and as they were cleared where the scenario waits for that: elsewhere it is
/// chance whether the run still sees it.
fn conditions(context: &Context<'_>) -> BTreeMap<String, Vec<String>> {
    let clearing = context.plan.expectations.iter().any(|expectation| match &expectation.expect {
        Expect::Conditions(expected) => expected.iter().any(|expected| expected.cleared),
        _ => false,
    });
    let mut conditions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for change in context.history.pressure_changes() {
        if change.raised || clearing {
            let word = if change.raised { "raised" } else { "cleared" };
            conditions
                .entry(change.node.to_owned())
                .or_default()
                .push(format!("{} {word}", change.condition));
        }
    }
    conditions
}

fn oom_kills(context: &Context<'_>) -> BTreeSet<String> {
    let mut kills = BTreeSet::new();
    for (history, pod) in context.history.pods.iter().zip(&context.ends).filter(|(_, pod)| pod.oom_kills > 0)
    {
        let who = if history.name.is_empty() { "a pod that is not known" } else { pod.called() };
        let scopes: BTreeSet<&str> = history.kills.iter().map(|kill| scope(kill.value.scope)).collect();
        let scopes: Vec<&str> =
            if scopes.is_empty() { vec![scope(OomScope::Unknown)] } else { scopes.into_iter().collect() };
        kills.insert(format!("{who}: {}", scopes.join(", ")));
    }
    let outside = context.history.kills.iter().filter(|(_, kill)| kill.value.pod_uid.is_none());
    kills.extend(outside.map(|(_, kill)| format!("outside every pod: {}", scope(kill.value.scope))));
    kills
}

fn scope(scope: OomScope) -> &'static str {
    match scope {
        OomScope::Container => "the container's limit",
        OomScope::Kubepods => "the limit of all pods",
        OomScope::Node => "the node's memory",
        OomScope::Unknown => "a limit that nothing names",
    }
}

fn removed(context: &Context<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let followed = context.plan.nodes.iter().filter(|node| context.plan.follows_runtime(node));
    let completed =
        |workload: &str| context.ends.iter().any(|pod| pod.called() == workload && pod.end == End::Completed);
    followed
        .map(|node| {
            let removed = removed_from(context, &node.name);
            let images = removed.images.into_keys().map(|name| format!("image {name}"));
            let containers = removed.containers.into_values().map(|(workload, _)| workload);
            // Whether the container of a pod that was evicted is removed in the same run is chance.
            let containers = containers.filter(|workload| completed(workload));
            (node.name.clone(), images.chain(containers.map(|name| format!("ended {name}"))).collect())
        })
        .filter(|(_, removed): &(String, BTreeSet<String>)| !removed.is_empty())
        .collect()
}

/// By workload the answers to the `evict` steps about each of its pods, in order.
fn answers(context: &Context<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut by_pod: BTreeMap<(&str, &str), Vec<u16>> = BTreeMap::new();
    for answer in context.history.answers.iter().map(|seen| seen.value) {
        if !answer.draining && answer.asked == Asked::Evict {
            let workload = answer.workload.as_deref().unwrap_or(&answer.pod);
            by_pod.entry((workload, &answer.pod)).or_default().push(answer.code);
        }
    }
    let mut answers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for ((workload, _), mut codes) in by_pod {
        codes.dedup();
        let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
        answers.entry(workload.to_owned()).or_default().insert(codes.join(", "));
    }
    answers
}

/// By node what its drains came to; a controller gives its pods names that vary.
fn drains(context: &Context<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut drains: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (node, outcome, _) in &context.history.drains {
        let text = match outcome {
            DrainOutcome::Emptied { .. } => "emptied".to_owned(),
            DrainOutcome::TimedOut { .. } => "timed out".to_owned(),
            DrainOutcome::Failed { .. } => "failed".to_owned(),
            DrainOutcome::Refused { pods } => {
                let name = |pod: &RefusedPod| pod.workload.clone().unwrap_or_else(|| pod.pod.clone());
                let pods: BTreeSet<String> =
                    pods.iter().map(|pod| format!("{} ({})", name(pod), pod.obstacle.name())).collect();
                format!("refused for {}", words::list(&pods))
            }
        };
        drains.entry((*node).to_owned()).or_default().insert(text);
    }
    drains
}

fn reclaimed(context: &Context<'_>) -> BTreeMap<String, i64> {
    let mut reclaimed: BTreeMap<String, i64> = BTreeMap::new();
    // Where the kubelet also removes images and containers, which of both a sample shows is chance.
    if expects_node_reclaim(context) {
        return reclaimed;
    }
    for eviction in context.evictions() {
        let Some(signal) = context.main_signal_of(&eviction) else { continue };
        if let Some(amount) = reclaimed_by(context, &eviction, signal) {
            let sum = reclaimed.entry(signal.name().to_owned()).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    for (signal, amount) in &mut reclaimed {
        // What others write and remove meanwhile would be a band of its own in every run.
        let noise = match signal.as_str() {
            "pid.available" => NOISE_PIDS,
            inodes if inodes.ends_with("inodesFree") => NOISE_INODES,
            _ => NOISE_BYTES,
        };
        if amount.abs() < noise {
            *amount = 0;
        }
    }
    reclaimed
}

/// The kind of an end.
fn end(end: &End) -> &'static str {
    match end {
        End::Running => "running",
        End::Pending { .. } => "pending",
        End::EvictedByKubelet(_) => "evicted by the kubelet",
        End::RejectedAtAdmission { .. } => "rejected at admission",
        End::OomKilled { .. } => "OOM-killed",
        End::EvictedThroughApi => "evicted through the API",
        End::DeletedByTaintManager => "deleted by the taint manager",
        End::DeletedByDeviceTaintManager => "deleted for a device's taint",
        End::Preempted { by: Preemptor::Scheduler } => "preempted by the scheduler",
        End::Preempted { by: Preemptor::Kubelet } => "preempted by the kubelet",
        End::LocalStorageLimit { limit: LocalStorageLimit::EmptyDir, .. } => "over an emptyDir's limit",
        End::LocalStorageLimit { limit: LocalStorageLimit::Pod, .. } => "over its local storage limit",
        End::LocalStorageLimit { limit: LocalStorageLimit::Container, .. } => {
            "over a container's local storage limit"
        }
        End::Completed => "completed",
        End::Failed { .. } => "failed",
        End::Deleted => "deleted",
    }
}

/// A coarse range of amounts: from a power of two to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Band {
    /// Not below; 0 for the band of everything below 1.
    from: i64,
}

impl Band {
    fn of(amount: i64) -> Self {
        Self { from: if amount < 1 { 0 } else { 1 << amount.ilog2() } }
    }

    fn to(self) -> i64 {
        if self.from == 0 { 1 } else { self.from.saturating_mul(2) }
    }

    /// Whether an amount lies in the band, or within a quarter of its edges beyond it.
    fn is_near(self, amount: i64) -> bool {
        (self.from - self.from / 4..=self.to().saturating_add(self.to() / 4)).contains(&amount)
            || Self::of(amount) == self
    }

    fn text(self, of: &str) -> String {
        if self.from == 0 {
            return "nothing".to_owned();
        }
        format!("{} to {}", words::amount(of, self.from), words::amount(of, self.to()))
    }
}

/// The band of a signal in a snapshot's text.
fn kept_band(text: &str, signal: &str) -> Option<Band> {
    let line =
        text.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(signal)?.strip_prefix(": "))?;
    (0..i64::BITS - 1)
        .map(|power| Band { from: 1 << power })
        .chain([Band { from: 0 }])
        .find(|band| band.text(signal) == line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_read_back_and_hold_what_lies_near() {
        const MI: i64 = 1 << 20;
        for amount in [-5, 0, 1, 2, 1023, 4096, 700 * MI, i64::MAX / 2] {
            let band = Band::of(amount);
            for signal in ["memory.available", "nodefs.inodesFree"] {
                let text = format!("reclaimed:\n  {signal}: {}\n", band.text(signal));
                assert_eq!(kept_band(&text, signal), Some(band), "{amount}");
            }
            assert!(band.is_near(amount));
        }
        let band = Band::of(700 * MI);
        assert_eq!(band.text("memory.available"), "512Mi to 1024Mi");
        assert!(band.is_near(1200 * MI) && band.is_near(400 * MI));
        assert!(!band.is_near(1300 * MI) && !band.is_near(380 * MI));
    }
}
