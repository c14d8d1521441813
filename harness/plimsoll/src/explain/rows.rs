//! The lines of an explanation's tables, and what is said of one threshold or one place in an order.

use plimsoll_eviction::rank::RankBy;
use plimsoll_eviction::threshold::ThresholdValue;

use super::explanation::{Observed, Order, Ranked, ThresholdState};
use super::reasons::{amount, goes_before};
use crate::verdict::words;

/// What is left of a signal against its threshold.
pub(super) fn standing(state: &ThresholdState) -> String {
    let signal = state.threshold.signal;
    let amount = |amount: i64| words::amount(signal.name(), amount);
    let Some(Observed { available, value, distance, met, .. }) = &state.observed else {
        return format!("{signal}, which was not observed");
    };
    let soft = if state.threshold.is_hard() { "" } else { "soft " };
    let relation = if *met { "below" } else { "above" };
    format!(
        "{signal} is {}, {} {relation} its {soft}threshold of {}",
        amount(*available),
        amount(distance.value().saturating_abs()),
        amount(value.value())
    )
}

pub(super) fn threshold_row(state: &ThresholdState) -> [String; 7] {
    let threshold = &state.threshold;
    let amount = |amount: i64| words::amount(threshold.signal.name(), amount);
    let written = |value: &ThresholdValue| match value {
        ThresholdValue::Quantity(quantity) => amount(quantity.value()),
        // 32 bits hold some seven digits of the fraction that was written.
        ThresholdValue::Percentage(share) => format!("{}%", (f64::from(*share) * 1e8).round() / 1e6),
    };
    let resolved = |value: &ThresholdValue, resolved: i64| match value {
        ThresholdValue::Quantity(_) => written(value),
        ThresholdValue::Percentage(_) => format!("{} = {}", written(value), amount(resolved)),
    };
    let grace = if threshold.is_hard() { "hard".to_owned() } else { threshold.grace_period.to_string() };
    let signal = threshold.signal.name().to_owned();
    let reclaim = threshold.minimum_reclaim.as_ref();
    let Some(observed) = &state.observed else {
        let reclaim = reclaim.map(written).unwrap_or_default();
        let unknown = "?".to_owned();
        return [
            signal,
            unknown,
            written(&threshold.value),
            reclaim,
            String::new(),
            grace,
            "not observed".into(),
        ];
    };
    let distance = observed.distance.value();
    let state = match (observed.met, observed.met_with_minimum_reclaim) {
        (true, _) => "MET",
        (false, true) => "not met; short of its minimum reclaim",
        (false, false) => "not met",
    };
    [
        signal,
        amount(observed.available),
        resolved(&threshold.value, observed.value.value()),
        reclaim
            .zip(observed.minimum_reclaim.as_ref())
            .map(|(reclaim, amount)| resolved(reclaim, amount.value()))
            .unwrap_or_default(),
        if distance < 0 {
            format!("{} below", amount(distance.saturating_neg()))
        } else {
            format!("{} above", amount(distance))
        },
        grace,
        state.to_owned(),
    ]
}

pub(super) fn order_row(
    order: &Order,
    group: usize,
    index: usize,
    place: usize,
    pod: &Ranked,
) -> [String; 7] {
    let equals = order.groups[group].len() > 1;
    let last = index + 1 == order.groups[group].len();
    let because = match (last, why(order, group)) {
        (true, Some(why)) => why,
        (false, _) => "equal to the next one: which of them goes first is open".to_owned(),
        (true, None) => String::new(),
    };
    let requested = match order.by {
        RankBy::Processes => String::new(),
        by => amount(by, pod.requested),
    };
    [
        if equals { format!("{place}=") } else { place.to_string() },
        pod.name.clone(),
        pod.class.clone(),
        pod.priority.to_string(),
        pod.used.map_or_else(|| "?".to_owned(), |used| amount(order.by, used)),
        requested,
        because,
    ]
}

/// Why a group goes before the next one.
pub(super) fn why(order: &Order, group: usize) -> Option<String> {
    let next = order.groups.get(group + 1)?;
    let next = either(next);
    order.reasons[group].map(|reason| goes_before(order.by, reason, &next))
}

/// The pods of a group, of which any may be the one.
pub(super) fn either(group: &[Ranked]) -> String {
    group.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>().join(" or ")
}

/// Who would go first, and why.
pub(super) fn first_words(order: &Order) -> Option<String> {
    let group = order.groups.first()?;
    let who = either(group);
    let because = why(order, 0).map(|why| format!(", {why}")).unwrap_or_default();
    Some(format!("{who} would go first{because}"))
}
