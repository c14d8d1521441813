//! Why the kubelet took this pod and not another: its rules, applied to the figures of that moment.

use plimsoll_eviction::figures::{PodFigures, StatsByUid, Usage};
use plimsoll_eviction::pod::Pod;
use plimsoll_eviction::rank::{RankBy, rank};
use plimsoll_eviction::reason::reason;
use plimsoll_eviction::signal::Signal;

use super::context::{Context, Eviction};
use super::history::{PodHistory, Seen, evidence};
use super::measure;
use super::model::{Candidate, End, EvictionExplanation, Evidence};
use super::outcome::end_words;
use super::{signals, words};
use crate::explain::reasons::{self, amount};

/// How many of the pods that it went ahead of are told.
const TOLD: usize = 3;

/// A pod that could have gone.
struct Contender<'a> {
    version: Seen<'a, k8s_openapi::api::core::v1::Pod>,
    pod: Pod,
    figures: PodFigures,
}

/// Every eviction, in the order they were decided.
pub(super) fn explanations(context: &Context<'_>) -> Vec<EvictionExplanation> {
    context.evictions().iter().map(|eviction| explain(context, eviction)).collect()
}

fn explain(context: &Context<'_>, eviction: &Eviction<'_>) -> EvictionExplanation {
    let signal = context.signal_of(eviction);
    // Every signal of a resource ranks the same way, but for the filesystem; the one with a threshold is as good.
    let ranked_by = signal.or_else(|| {
        let resource = eviction.what.resource.as_deref();
        Signal::ALL.into_iter().find(|signal| Some(signal.resource().name()) == resource)
    });
    let mut evidence = eviction.pod.evidence.clone();
    let mut explanation = EvictionExplanation {
        pod: eviction.pod.name.clone(),
        uid: eviction.pod.uid.clone(),
        workload: eviction.pod.workload.clone(),
        node: eviction.node().to_owned(),
        at: eviction.decided.latest,
        signal: signal.map(|signal| signal.name().to_owned()),
        candidates: Vec::new(),
        agrees: None,
        sentences: vec![opening(context, eviction, signal)],
        evidence: Vec::new(),
    };
    if let Some(signal) = ranked_by {
        let (contenders, source) = contenders(context, eviction, signal);
        evidence.extend(source.iter().map(|(evidence, _)| evidence.clone()));
        rank_them(context, eviction, signal, contenders, &mut explanation);
        if let Some((_, words)) = source {
            explanation.sentences.push(words);
        }
    }
    explanation.evidence.extend(evidence);
    explanation.evidence.sort();
    explanation.evidence.dedup();
    explanation
}

fn opening(context: &Context<'_>, eviction: &Eviction<'_>, signal: Option<Signal>) -> String {
    let name = &eviction.pod.name;
    let mut text = format!("{name} was {}", end_words(&End::EvictedByKubelet(eviction.what.clone())));
    if let Some(signal) = signal {
        text.push_str(&format!("; the signal was {signal}"));
        // Of several that are below their thresholds the kubelet counts the one that came up.
        let others = Signal::ALL.into_iter().filter(|other| {
            *other != signal && other.resource() == signal.resource() && context.was_below(eviction, *other)
        });
        let others: Vec<&str> = others.map(Signal::name).collect();
        if !others.is_empty() {
            let verb = if others.len() == 1 { "was" } else { "were" };
            text.push_str(&format!(", and {} {verb} below its threshold too", words::list(others)));
        }
    }
    text
}

/// The pods on the node at the decision, with the figures that rank them, and where those come from.
fn contenders<'a>(
    context: &Context<'a>,
    eviction: &Eviction<'_>,
    signal: Signal,
) -> (Vec<Contender<'a>>, Option<(Evidence, String)>) {
    let (history, node, at) = (&context.history, eviction.node(), eviction.decided.latest);
    let summary = measure::summary(history, node, at);
    let stats = summary.as_ref().map(|(summary, _)| StatsByUid::new(summary));
    let mut sampled = None;
    let mut contenders = Vec::new();
    for pod in history.pods.iter().filter(|pod| pod.node() == Some(node)) {
        let Some(version) = version_before(pod, eviction.decided.sequence) else { continue };
        let Some(rules) = measure::pod(version.value) else { continue };
        let mut figures = PodFigures::new(&rules, stats.as_ref().and_then(|stats| stats.get(&rules)));
        if signal.resource().name() == "memory" {
            let said =
                (pod.uid == eviction.pod.uid).then(|| measure::said(eviction.what, version.value)).flatten();
            let mut measured = || {
                let (usage, evidence) = measure::memory(history, node, pod.uid, at)?;
                sampled.get_or_insert(evidence);
                i64::try_from(usage).ok()
            };
            let usage = said.or_else(|| if figures.usage.is_none() { measured() } else { None });
            if let Some(memory) = usage {
                figures.usage = Some(Usage { memory, ..figures.usage.unwrap_or_default() });
            }
        }
        contenders.push(Contender { version, pod: rules, figures });
    }
    let age = |evidence: &Evidence| words::seconds(words::seconds_between(evidence.at, at).max(0.0));
    let source = match (summary, sampled) {
        (Some((_, observation)), _) => {
            let evidence = evidence(observation);
            let words = format!("figures of the kubelet's own stats, read {} before", age(&evidence));
            Some((evidence, words))
        }
        (None, Some(evidence)) => {
            let words = format!(
                "figures of the node's sampler, taken {} before; the kubelet's may be older",
                age(&evidence)
            );
            Some((evidence, words))
        }
        (None, None) => None,
    };
    (contenders, source)
}

/// A pod as it was when the decision was made; nothing if it was not there or had ended.
fn version_before<'a>(
    pod: &PodHistory<'a>,
    sequence: u64,
) -> Option<Seen<'a, k8s_openapi::api::core::v1::Pod>> {
    if pod.deleted.is_some_and(|deleted| deleted.sequence() < sequence) {
        return None;
    }
    // The status that tells of the end is as late as the decision for a pod whose event was missed.
    let before = pod.versions.iter().rev().find(|version| version.sequence() < sequence)?;
    (!matches!(super::ends::phase(before.value), Some("Failed" | "Succeeded"))).then_some(*before)
}

fn rank_them(
    context: &Context<'_>,
    eviction: &Eviction<'_>,
    signal: Signal,
    contenders: Vec<Contender<'_>>,
    explanation: &mut EvictionExplanation,
) {
    let layout = context.node(eviction.node()).map(signals::layout).unwrap_or_default();
    let by = RankBy::signal(signal, layout);
    let (exempt, evictable): (Vec<_>, Vec<_>) =
        contenders.into_iter().partition(|contender| contender.pod.exemption().is_some());
    let figures: Vec<PodFigures> = evictable.iter().map(|contender| contender.figures.clone()).collect();
    let groups = rank(by, &figures);
    for (place, group) in groups.iter().enumerate() {
        let candidates = group.iter().map(|index| candidate(by, &evictable[*index], place));
        explanation.candidates.extend(candidates);
    }
    explanation.candidates.extend(exempt.iter().map(|contender| candidate(by, contender, groups.len())));
    let Some(own) = evictable.iter().position(|contender| contender.pod.uid == eviction.pod.uid) else {
        explanation.sentences.push("the pod was not seen on the node before it was evicted".to_owned());
        return;
    };
    let unmeasured: Vec<&str> = evictable
        .iter()
        .filter(|contender| contender.figures.usage.is_none())
        .map(|contender| contender.pod.name.as_str())
        .collect();
    explanation.sentences.push(figures_words(by, &evictable[own]));
    if !unmeasured.is_empty() {
        let names = words::list(&unmeasured);
        explanation.sentences.push(format!("{names} had not been measured, so the order can not be checked"));
        return;
    }
    let first = groups.first().map(Vec::as_slice).unwrap_or_default();
    explanation.agrees = Some(first.contains(&own));
    if first.contains(&own) {
        tell_order(by, &evictable, &groups, own, explanation);
    } else {
        tell_disagreement(by, &evictable, first, own, explanation);
    }
    for contender in exempt {
        let why = contender.pod.exemption().map_or("", |exemption| exemption.name());
        explanation.sentences.push(format!("{} could not go at all ({why})", contender.pod.name));
    }
}

fn candidate(by: RankBy, contender: &Contender<'_>, place: usize) -> Candidate {
    Candidate {
        pod: contender.pod.name.clone(),
        uid: contender.pod.uid.clone(),
        priority: contender.figures.priority,
        usage: contender.figures.used(by).map(narrow),
        request: contender.figures.requested(by).value(),
        exempt: contender.pod.exemption().is_some(),
        place,
    }
}

/// The nearest 64-bit number.
fn narrow(amount: i128) -> i64 {
    i64::try_from(amount).unwrap_or(if amount < 0 { i64::MIN } else { i64::MAX })
}

fn figures_words(by: RankBy, contender: &Contender<'_>) -> String {
    let (name, priority) = (&contender.pod.name, contender.figures.priority);
    let Some(used) = contender.figures.used(by) else { return format!("{name} has priority {priority}") };
    let (used, requested) = (narrow(used), contender.figures.requested(by).value());
    if by == RankBy::Processes {
        return format!("{name} had {used} processes, priority {priority}");
    }
    let over = used.saturating_sub(requested);
    let relation = if over > 0 {
        format!("{} over", amount(by, over))
    } else {
        format!("{} under", amount(by, over.saturating_neg()))
    };
    let (used, requested) = (amount(by, used), amount(by, requested));
    format!("{name} used {used} and requested {requested}, which is {relation}; priority {priority}")
}

/// Which pods it went ahead of, and what decided.
fn tell_order(
    by: RankBy,
    evictable: &[Contender<'_>],
    groups: &[Vec<usize>],
    own: usize,
    explanation: &mut EvictionExplanation,
) {
    let name = &evictable[own].pod.name;
    let first = groups.first().map(Vec::as_slice).unwrap_or_default();
    let equals: Vec<&str> = first
        .iter()
        .filter(|index| **index != own)
        .map(|index| evictable[*index].pod.name.as_str())
        .collect();
    if !equals.is_empty() {
        let equals = words::list(equals);
        explanation
            .sentences
            .push(format!("{equals} could have gone as well: by the rules they are equal to it"));
    }
    let others: Vec<usize> = groups.iter().skip(1).flatten().copied().collect();
    for other in others.iter().take(TOLD) {
        let other = &evictable[*other];
        let why = why(by, &evictable[own], other);
        let mut text = format!("it went ahead of {}, {why}", other.pod.name);
        let (own_class, other_class) = (evictable[own].pod.qos_class(), other.pod.qos_class());
        if class_rank(own_class) > class_rank(other_class) {
            text.push_str(&format!(
                " (that one is {other_class} and {name} {own_class}: the class plays no part)"
            ));
        }
        explanation.sentences.push(text);
    }
    if others.len() > TOLD {
        let more = words::count(others.len() - TOLD, "pod");
        explanation.sentences.push(format!("and ahead of {more} more"));
    }
    if others.is_empty() && first.len() <= 1 {
        explanation.sentences.push("no other pod of the node could have gone".to_owned());
    }
}

/// The order that guides often tell, from first to last.
fn class_rank(class: &str) -> u8 {
    match class {
        "BestEffort" => 0,
        "Burstable" => 1,
        _ => 2,
    }
}

/// What decides that the one goes before the other.
fn why(by: RankBy, one: &Contender<'_>, other: &Contender<'_>) -> String {
    match reason(by, &one.figures, &other.figures) {
        Some(reason) => reasons::went_ahead_of(by, reason),
        None => "although nothing in the rules says so".to_owned(),
    }
}

/// The kubelet took another pod than the rules name. It is right; what is used here is not.
fn tell_disagreement(
    by: RankBy,
    evictable: &[Contender<'_>],
    first: &[usize],
    own: usize,
    explanation: &mut EvictionExplanation,
) {
    let Some(expected) = first.first().map(|index| &evictable[*index]) else { return };
    let name = &evictable[own].pod.name;
    explanation.sentences.push(format!(
        "by these figures the rules put {} first: it went ahead of {name}, {}",
        expected.pod.name,
        why(by, expected, &evictable[own]),
    ));
    explanation.sentences.push(figures_words(by, expected));
    explanation.sentences.push(
        "the kubelet decided otherwise, and it is right: its figures were others, or the rules here are wrong".to_owned(),
    );
    // The version tells what the pod was; a reader finds it by its place in the timeline.
    explanation.evidence.push(expected.version.evidence());
}
