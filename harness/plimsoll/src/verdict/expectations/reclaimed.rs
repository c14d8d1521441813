//! `reclaimed`: how much the evictions of one signal gave back.
//!
//! For each eviction the least that was available from the look that led to it until the pod's end is subtracted from
//! what was available after it. What other pods take or give in between counts too: it is the node that is relieved.
//!
//! Memory and process ids are back when the pod has ended. Disk space and inodes come back later, when the kubelet has removed the
//! pod's volumes, and its container with its log. So of those the most counts that was available until the kubelet decided on
//! another pod, or had waited for the clean-up as long as it does.

use jiff::SignedDuration;
use plimsoll_eviction::signal::{Signal, StarvedResource};

use super::super::case::{Case, Reason};
use super::super::context::{Context, Eviction};
use super::super::coverage::STALE_SECONDS;
use super::super::model::Evidence;
use super::super::signals::{Threshold, level_evidence};
use super::super::words;
use crate::plan::{Band, Expect, Until};

/// How long the kubelet waits for the clean-up of a pod that it evicted. Upstream: `podCleanupTimeout` of `pkg/kubelet/eviction`.
const CLEAN_UP_SECONDS: i64 = 30;

/// What one eviction gave back.
pub(super) struct Reclaim {
    pub(super) before: i64,
    pub(super) after: i64,
    /// Whether the run saw all of it: it went on until the clean-up was over, or the threshold was satisfied.
    pub(super) complete: bool,
    pub(super) evidence: [Evidence; 2],
}

impl Reclaim {
    pub(super) fn amount(&self) -> i64 {
        self.after.saturating_sub(self.before)
    }
}

pub(super) fn judge(
    context: &Context<'_>,
    signal: &str,
    band: &Band,
    minimum_reclaim: bool,
    case: &mut Case,
) {
    let Ok(signal) = signal.parse::<Signal>() else {
        case.doubt(format!("{signal} is no eviction signal"), []);
        return;
    };
    let amount = |amount: i64| words::amount(signal.name(), amount);
    let evictions = context.evictions_for(signal);
    if evictions.is_empty() && expects_node_reclaim(context) {
        judge_node_level(context, signal, band, minimum_reclaim, case);
        return;
    }
    if evictions.is_empty() {
        let doubts =
            context.history.absence_doubts(context.plan, |until| matches!(until, Until::Evictions(_)));
        let (nearest, evidence) = context.nearest();
        let text = format!("nobody was evicted for {signal}, so nothing was reclaimed");
        case.absent(std::iter::once(text).chain(nearest).collect::<Vec<_>>().join("; "), evidence, doubts);
        return;
    }
    let mut sum: i64 = 0;
    let mut cut_short = Vec::new();
    let mut told = Vec::new();
    let mut evidence = Vec::new();
    for eviction in &evictions {
        let Some(reclaim) = of_eviction(context, eviction, signal) else {
            let text =
                format!("{signal} before or after the eviction of {} was not measured", eviction.pod.name);
            case.doubt(text, eviction.pod.evidence.clone());
            continue;
        };
        sum = sum.saturating_add(reclaim.amount());
        if !reclaim.complete {
            let text = format!(
                "the run ended before the kubelet was through with cleaning up after {}",
                eviction.pod.name
            );
            cut_short.push(Reason::new(text, reclaim.evidence.clone()));
        }
        told.push(format!(
            "{} from {} to {}",
            eviction.pod.name,
            amount(reclaim.before),
            amount(reclaim.after)
        ));
        evidence.extend(reclaim.evidence);
    }
    if told.len() == evictions.len() {
        let mut text = format!("{} came back ({})", amount(sum), told.join(", "));
        if *band != Band::default() {
            text.push_str(&format!("; expected {}", words::band(signal.name(), band)));
        }
        if band.holds(sum) {
            case.proven(text, evidence);
        } else if band.at_most.is_some_and(|most| sum > most) {
            case.violated(text, evidence);
        } else {
            // An eviction that was missed would have given back more, and so may one that was seen.
            cut_short.extend(context.history.completeness_doubts());
            case.absent(text, evidence, cut_short);
        }
    }
    if minimum_reclaim {
        judge_minimum(context, &evictions, signal, case);
    }
    case.doubts(context.history.completeness_doubts());
}

/// Whether the scenario says that the kubelet gets space back without evicting.
pub(super) fn expects_node_reclaim(context: &Context<'_>) -> bool {
    context.plan.expectations.iter().any(|line| matches!(line.expect, Expect::NodeReclaimed(_)))
}

/// What came back without an eviction: from the lowest point below the threshold to the highest after it.
fn judge_node_level(
    context: &Context<'_>,
    signal: Signal,
    band: &Band,
    minimum_reclaim: bool,
    case: &mut Case,
) {
    let history = &context.history;
    let (began, ended) = (history.began(), history.ended());
    let amount = |amount: i64| words::amount(signal.name(), amount);
    let mut seen = false;
    for node in &context.plan.nodes {
        let thresholds = context.thresholds(&node.name, signal);
        let Some(threshold) = thresholds.first() else { continue };
        let spells = history.spells(&node.name, signal, threshold.value, began, ended);
        let Some(spell) = spells.last() else { continue };
        seen = true;
        case.doubts(history.unsampled(&node.name, spell.first.at(), ended));
        let lowest = history.least(&node.name, signal, spell.first.at(), spell.last.at());
        let highest = history
            .levels(&node.name, signal, spell.last.at(), ended)
            .max_by_key(|(_, available)| *available);
        let (Some((low, before)), Some((high, after))) = (lowest, highest) else { continue };
        let evidence = || {
            [level_evidence(low, &node.name, signal, before), level_evidence(high, &node.name, signal, after)]
        };
        let back = after.saturating_sub(before);
        let mut text = format!(
            "{} came back on {} without an eviction, from {} to {}",
            amount(back),
            node.name,
            amount(before),
            amount(after)
        );
        if *band != Band::default() {
            text.push_str(&format!("; expected {}", words::band(signal.name(), band)));
        }
        if band.holds(back) {
            case.proven(text, evidence());
        } else if band.at_most.is_some_and(|most| back > most) {
            case.violated(text, evidence());
        } else {
            case.absent(text, evidence(), history.run_doubts());
        }
        if minimum_reclaim {
            let wanted = threshold.value.saturating_add(threshold.minimum_reclaim);
            let text = format!(
                "{} were available on {} afterwards; threshold and minimum reclaim ask for {}",
                amount(after),
                node.name,
                amount(wanted)
            );
            if after >= wanted {
                case.proven(text, evidence());
            } else {
                case.absent(text, evidence(), history.run_doubts());
            }
        }
    }
    if !seen {
        let doubts = history.absence_doubts(context.plan, |_| false);
        let (nearest, evidence) = context.nearest();
        let text = format!("{signal} was never below its threshold");
        case.absent(std::iter::once(text).chain(nearest).collect::<Vec<_>>().join("; "), evidence, doubts);
    }
}

/// What was available before and after one eviction; nothing where a sample is missing or stale.
pub(super) fn of_eviction(context: &Context<'_>, eviction: &Eviction<'_>, signal: Signal) -> Option<Reclaim> {
    let history = &context.history;
    let node = eviction.node();
    let ended = eviction.ended()?;
    if !history.unsampled(node, eviction.decided.earliest, ended).is_empty() {
        return None;
    }
    let stale = SignedDuration::from_secs_f64(STALE_SECONDS);
    let from = eviction.decided.earliest.checked_sub(stale).ok()?;
    // The last sample before the decision opens the stretch; the lowest point in it is what the kubelet was up against.
    let (last, _) = history.levels(node, signal, from, eviction.decided.earliest).next_back()?;
    let (lowest, before) = history.least(node, signal, last.at(), ended)?;
    let first = history.levels(node, signal, ended, ended.checked_add(stale).ok()?).next()?;
    let mut complete = true;
    let (relieved, after) = if signal.resource() == StarvedResource::Memory
        || signal.resource() == StarvedResource::Pids
    {
        first
    } else {
        let waited = ended.checked_add(SignedDuration::from_secs(CLEAN_UP_SECONDS)).ok()?;
        let others = context.evictions();
        let next = others.iter().filter(|other| other.node() == node && other.decided.earliest > ended);
        let until = next.map(|other| other.decided.earliest).min().map_or(waited, |next| next.min(waited));
        // Of equal ones the first.
        let levels = history.levels(node, signal, ended, until);
        let most = levels.fold(first, |most, level| if level.1 > most.1 { level } else { most });
        let satisfied =
            |threshold: Threshold| most.1 >= threshold.value.saturating_add(threshold.minimum_reclaim);
        complete = until <= history.ended() || context.threshold_of(eviction, signal).is_some_and(satisfied);
        most
    };
    let evidence =
        [level_evidence(lowest, node, signal, before), level_evidence(relieved, node, signal, after)];
    Some(Reclaim { before, after, complete, evidence })
}

/// Whether threshold and minimum reclaim together were met after the last eviction on each node.
fn judge_minimum(context: &Context<'_>, evictions: &[Eviction<'_>], signal: Signal, case: &mut Case) {
    for node in &context.plan.nodes {
        let Some(last) = evictions.iter().rev().find(|eviction| eviction.node() == node.name) else {
            continue;
        };
        let Some(threshold) = context.threshold_of(last, signal) else {
            case.doubt(format!("node {} has no threshold for {signal}", node.name), []);
            continue;
        };
        let Some(reclaim) = of_eviction(context, last, signal) else { continue };
        let wanted = threshold.value.saturating_add(threshold.minimum_reclaim);
        let amount = |amount: i64| words::amount(signal.name(), amount);
        let text = format!(
            "{} were available on {} after the last eviction; threshold and minimum reclaim ask for {}",
            amount(reclaim.after),
            node.name,
            amount(wanted),
        );
        if reclaim.after >= wanted {
            case.proven(text, reclaim.evidence);
        } else if reclaim.complete {
            case.violated(text, reclaim.evidence);
        } else {
            case.doubt(format!("{text}, and the run ended before the clean-up did"), reclaim.evidence);
        }
    }
}
