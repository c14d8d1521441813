//! `taintRate`: how many nodes of a zone got a NoExecute taint, and how far apart.

use plimsoll_eviction::zone::{QUEUE_POLL_INTERVAL, ZoneHealth, ZoneOptions, ZoneState, gap};

use super::super::bounds::Bounds;
use super::super::case::{Case, Reason};
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::taints::{NO_EXECUTE, Spell, spells};
use super::super::words;
use crate::observe::StepOutcome;
use crate::plan::{Action, Band, TaintRateExpectation, Until, ZONE_LABEL, ZoneChange};

/// The fewest gaps of which the middle one says something.
const FEWEST_GAPS: usize = 3;
/// How much longer than its interval a pass over the queues takes, on a machine that has little else to do, as measured.
const POLL_STRETCH: f64 = 1.04;

pub(super) fn judge(context: &Context<'_>, expected: &TaintRateExpectation, case: &mut Case) {
    let zone = expected.zone.as_str();
    let mut found = tainted(context, zone);
    found.sort_by_key(|spell| spell.added.sequence());
    case.doubts(doubts(context));
    if let Some(band) = &expected.nodes {
        let text =
            format!("{} of zone {zone} got a taint that deletes pods", words::count(found.len(), "node"));
        // One that was tainted while nobody watched may be missing; none is counted too many.
        count(context, &text, (found.len(), false), band, &found, case);
    }
    if let Some(band) = &expected.left {
        let left: Vec<Spell<'_>> = found.iter().filter(|spell| spell.removed.is_none()).copied().collect();
        let text = format!("{} of zone {zone} had it at the end", words::count(left.len(), "node"));
        count(context, &text, (left.len(), true), band, &left, case);
    }
    let Some(every) = &expected.every else { return };
    let mut gaps: Vec<f64> =
        found.windows(2).map(|pair| words::seconds_between(pair[0].added.at(), pair[1].added.at())).collect();
    if gaps.len() < FEWEST_GAPS {
        let text = format!(
            "{} of zone {zone} got the taint, too few to tell a pace",
            words::count(found.len(), "node")
        );
        case.doubt(text, found.iter().map(|spell| spell.added.evidence()));
        return;
    }
    gaps.sort_by(f64::total_cmp);
    let middle = gaps[gaps.len() / 2];
    let predicted =
        predicted(context, zone).map_or_else(String::new, |text| format!(" (by the rules {text})"));
    let what = format!(
        "from one node of zone {zone} to the next, {} to {}, the middle one of {}{predicted}",
        words::seconds(gaps[0]),
        words::seconds(gaps[gaps.len() - 1]),
        gaps.len(),
    );
    let ends = [found.first(), found.last()].into_iter().flatten();
    let evidence: Vec<_> = ends.map(|spell| spell.added.evidence()).collect();
    Bounds { least: middle, most: middle }.judge(&what, every, evidence, case);
}

/// The first such taint of each node of a zone.
fn tainted<'a>(context: &Context<'a>, zone: &str) -> Vec<Spell<'a>> {
    let of_zone = context.history.nodes.iter().filter(|(_, versions)| {
        let first = versions.first().and_then(|version| version.value.metadata.labels.as_ref());
        first.and_then(|labels| labels.get(ZONE_LABEL)).is_some_and(|label| label == zone)
    });
    of_zone
        .filter_map(|(node, _)| {
            let spells = spells(&context.history, node);
            let first = spells.iter().find(|spell| spell.effect == NO_EXECUTE)?;
            // What was taken off and put on again is there at the end all the same.
            let last = spells.iter().rev().find(|spell| spell.effect == NO_EXECUTE)?;
            Some(Spell { removed: last.removed, ..*first })
        })
        .collect()
}

fn doubts(context: &Context<'_>) -> Vec<Reason> {
    let mut doubts = context.history.run_doubts();
    doubts.extend(context.history.blind(Source::Nodes, context.history.began(), context.history.ended()));
    doubts.extend(
        context.history.script_doubts(context.plan, |until| matches!(until, Until::ZoneTaint { .. })),
    );
    doubts
}

/// Judges a count of nodes. What the watch did not see may have made it larger, or, where it can shrink, smaller.
fn count(
    context: &Context<'_>,
    text: &str,
    (number, shrinks): (usize, bool),
    band: &Band,
    found: &[Spell<'_>],
    case: &mut Case,
) {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let evidence: Vec<_> = found.iter().take(3).map(|spell| spell.added.evidence()).collect();
    let expected = format!("{text}; expected {}", words::band("pid", band));
    if band.holds(number) {
        case.proven(text, evidence);
    } else if !shrinks && band.at_most.is_some_and(|most| number > most) {
        case.violated(expected, evidence);
    } else {
        case.absent(expected, evidence, doubts(context));
    }
}

/// What the node controller's rules say of a zone whose nodes are as the steps left them at their worst.
fn predicted(context: &Context<'_>, zone: &str) -> Option<String> {
    let hollow = context.plan.hollow.as_ref()?;
    let settings = &context.plan.control_plane;
    let defaults = ZoneOptions::default();
    #[expect(clippy::cast_possible_truncation, reason = "upstream's flags are of 32 bits")]
    let given = |setting: Option<f64>, default: f32| setting.map_or(default, |setting| setting as f32);
    let options = ZoneOptions {
        eviction_rate: given(settings.node_eviction_rate, defaults.eviction_rate),
        secondary_eviction_rate: given(
            settings.secondary_node_eviction_rate,
            defaults.secondary_eviction_rate,
        ),
        unhealthy_threshold: given(settings.unhealthy_zone_threshold, defaults.unhealthy_threshold),
        large_zone_threshold: settings.large_cluster_size_threshold.unwrap_or(defaults.large_zone_threshold),
    };
    let silent = |name: &str| {
        let done = context.history.steps.iter().filter(|step| step.outcome == Some(StepOutcome::Done));
        let counts = done.filter_map(|step| match &context.plan.steps.get(step.step)?.action {
            Action::Zone { zone, nodes, change: ZoneChange::Freeze } if zone == name => Some(*nodes),
            _ => None,
        });
        counts.max().unwrap_or(0)
    };
    let state = |zone: &crate::plan::HollowZone| {
        let not_ready = silent(&zone.name).min(zone.nodes());
        ZoneHealth { ready: zone.nodes() - not_ready, not_ready }.state(options.unhealthy_threshold)
    };
    let all = context.plan.nodes.is_empty()
        && hollow.zones.iter().all(|zone| state(zone) == ZoneState::FullDisruption);
    let own = hollow.zones.iter().find(|own| own.name == zone)?;
    let rate = if all { 0.0 } else { options.rate(state(own), own.nodes()) };
    let poll = QUEUE_POLL_INTERVAL.mul_f64(POLL_STRETCH);
    Some(match gap(rate, poll) {
        Some(gap) => format!("one every {}", words::seconds(gap.as_secs_f64())),
        None => "none".to_owned(),
    })
}
