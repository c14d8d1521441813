//! `within`: so long from the first sample below the threshold to the eviction. Where the kubelet evicted before there was one, from the
//! last that was not.

use plimsoll_eviction::signal::Signal;

use super::super::bounds::Bounds;
use super::super::case::Case;
use super::super::context::{Context, Eviction};
use super::super::coverage::STALE_SECONDS;
use super::super::model::Evidence;
use super::super::signals::Threshold;
use super::super::words;
use crate::plan::{Lasting, Until};

pub(super) fn judge(context: &Context<'_>, signal: &str, lasting: &Lasting, case: &mut Case) {
    let Ok(signal) = signal.parse::<Signal>() else {
        case.doubt(format!("{signal} is no eviction signal"), []);
        return;
    };
    let evictions = context.evictions_for(signal);
    if evictions.is_empty() {
        let doubts =
            context.history.absence_doubts(context.plan, |until| matches!(until, Until::Evictions(_)));
        let (nearest, evidence) = context.nearest();
        let text = format!("nobody was evicted for {signal}");
        case.absent(std::iter::once(text).chain(nearest).collect::<Vec<_>>().join("; "), evidence, doubts);
    }
    for (index, eviction) in evictions.iter().enumerate() {
        let (node, name) = (eviction.node(), &eviction.pod.name);
        let Some(threshold) = context.threshold_of(eviction, signal) else {
            case.doubt(format!("node {node} has no threshold for {signal}"), eviction.pod.evidence.clone());
            continue;
        };
        // After an eviction the clock starts again: what was below before is what that eviction was for.
        let before = evictions[..index].iter().rev().find(|before| before.node() == node);
        let from = before.and_then(|before| before.ended()).unwrap_or_else(|| context.history.began());
        let to = eviction.decided.latest;
        let spells = context.history.spells(node, signal, threshold.value, from, to);
        let Some(spell) = spells.last() else {
            // With an eviction before it, this one made up for the minimum reclaim, and nothing was crossed.
            if before.is_none() {
                judge_between_samples(context, eviction, &threshold, lasting, case);
                case.doubts(context.history.unsampled(node, from, to));
            }
            continue;
        };
        let crossed = spell.first.moment();
        case.doubts(context.history.unsampled(node, spell.first.at(), to));
        // The sample before it shows that the crossing was not earlier than told.
        let previous =
            context.history.levels(node, signal, jiff::Timestamp::MIN, spell.first.at()).rev().nth(1);
        let fresh =
            |earlier: jiff::Timestamp| words::seconds_between(earlier, spell.first.at()) <= STALE_SECONDS;
        if !previous.is_some_and(|(sample, _)| fresh(sample.at())) {
            let text = format!("the sample before {signal} of {node} was crossed is missing or stale");
            case.doubt(text, [spell.first.evidence()]);
        }
        let what = format!(
            "{name}, from {signal} at {} to its eviction",
            words::amount(signal.name(), spell.available)
        );
        let evidence = std::iter::once(spell.first.evidence()).chain(eviction.pod.evidence.clone());
        Bounds::between(&context.history, crossed, eviction.decided).judge(&what, lasting, evidence, case);
    }
}

/// Judges an eviction before which no sample shows the threshold crossed.
fn judge_between_samples(
    context: &Context<'_>,
    eviction: &Eviction<'_>,
    threshold: &Threshold,
    lasting: &Lasting,
    case: &mut Case,
) {
    // Of a least time no more is known than that the crossing came after the last sample.
    let bounds = lasting.at_least.is_none().then(|| between_samples(context, eviction, threshold)).flatten();
    let evidence = eviction.pod.evidence.clone();
    if let Some((bounds, what, sample)) = bounds {
        bounds.judge(&what, lasting, std::iter::once(sample).chain(evidence), case);
    } else {
        let text = format!(
            "no sample of {} shows {} below {} before {} was evicted",
            eviction.node(),
            threshold.signal,
            words::amount(threshold.signal.name(), threshold.value),
            eviction.pod.name
        );
        case.doubt(text, evidence);
    }
}

/// The time from a crossing that no sample shows, since the kubelet looked between two of them: its message says what was available
/// then. The crossing came after the last sample before the eviction.
fn between_samples(
    context: &Context<'_>,
    eviction: &Eviction<'_>,
    threshold: &Threshold,
) -> Option<(Bounds, String, Evidence)> {
    let signal = threshold.signal;
    let available = eviction.what.figures.as_ref()?.available?;
    if available >= threshold.value {
        return None;
    }
    let decided = eviction.decided;
    let mut before = context.history.levels(eviction.node(), signal, jiff::Timestamp::MIN, decided.earliest);
    let (sample, above) = before.next_back()?;
    let bounds = Bounds { least: 0.0, most: words::seconds_between(sample.at(), decided.latest).max(0.0) };
    let amount = |amount: i64| words::amount(signal.name(), amount);
    let what = format!(
        "{}, from {signal} at {} by the kubelet's message, which was {} in the last sample, to its eviction",
        eviction.pod.name,
        amount(available),
        amount(above)
    );
    Some((bounds, what, sample.evidence()))
}
