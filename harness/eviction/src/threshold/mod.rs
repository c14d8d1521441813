//! Thresholds: what they are, and when they are met.
//!
//! - [`Threshold`] and [`ThresholdValue`]: one threshold, and its being met.
//! - [`ThresholdConfiguration`]: reading them as a kubelet is given them.
//! - [`Thresholds`]: those of a kubelet, as configured.
//! - [`with_container_fs`]: the containerfs thresholds that the kubelet puts in itself.
//!
//! Follows `pkg/kubelet/eviction` and `pkg/kubelet/eviction/api` of Kubernetes 1.36.3.

mod configuration;
mod container_fs;
mod list;
mod percentage;

pub use configuration::{
    KubeletConfiguration, ThresholdConfiguration, ThresholdError, default_hard_thresholds,
};
pub(crate) use container_fs::in_first_pass;
pub use container_fs::with_container_fs;
pub use list::Thresholds;

use crate::duration::GoDuration;
use crate::observation::{Observation, Observations};
use crate::quantity::Quantity;
use crate::signal::Signal;

/// How a threshold compares what is left with its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Not at all: a placeholder that is never met.
    #[default]
    Never,
    /// Met when less is left than the value.
    LessThan,
}

impl Operator {
    /// Upstream's name of it; empty for a placeholder.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "",
            Self::LessThan => "LessThan",
        }
    }
}

/// An amount, or a share of the capacity. Upstream: `evictionapi.ThresholdValue`.
#[derive(Clone, Debug, PartialEq)]
pub enum ThresholdValue {
    /// Bytes or a count.
    Quantity(Quantity),
    /// A fraction of one, in the 32 bits upstream keeps it in.
    Percentage(f32),
}

impl Default for ThresholdValue {
    fn default() -> Self {
        Self::Percentage(0.0)
    }
}

impl ThresholdValue {
    /// The amount that this is for a capacity. Upstream: `evictionapi.GetThresholdQuantity`.
    #[must_use]
    pub fn resolve(&self, capacity: i64) -> Quantity {
        match self {
            Self::Quantity(quantity) => quantity.clone(),
            Self::Percentage(percentage) => Quantity::from_bytes(share(capacity, *percentage)),
        }
    }
}

/// A share of a capacity in 64-bit floating point, cut to a whole number. What has no 64-bit number becomes the
/// smallest one, as on amd64.
fn share(capacity: i64, percentage: f32) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "upstream multiplies in 64-bit floating point")]
    let product = capacity as f64 * f64::from(percentage);
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "upstream truncates, and the bounds are checked")]
    if (-BOUND..BOUND).contains(&product) { product as i64 } else { i64::MIN }
}

/// A threshold of a signal. Upstream: `evictionapi.Threshold`.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// What is watched.
    pub signal: Signal,
    /// How.
    pub operator: Operator,
    /// The value below which it is met.
    pub value: ThresholdValue,
    /// How long it must be met before a pod is evicted; none at all for a hard threshold.
    pub grace_period: GoDuration,
    /// How far above the value it must come before it counts as resolved.
    pub minimum_reclaim: Option<ThresholdValue>,
    /// Which statement the value came from, where upstream tells amounts apart by address.
    pub(crate) value_origin: u32,
    /// Which threshold the minimum reclaim was made for, likewise.
    pub(crate) reclaim_origin: u32,
}

impl Threshold {
    /// A threshold without minimum reclaim.
    #[must_use]
    pub fn new(signal: Signal, value: ThresholdValue, grace_period: GoDuration) -> Self {
        let operator = Operator::LessThan;
        Self {
            signal,
            operator,
            value,
            grace_period,
            minimum_reclaim: None,
            value_origin: 0,
            reclaim_origin: 0,
        }
    }

    /// The same with a minimum reclaim.
    #[must_use]
    pub fn with_minimum_reclaim(self, reclaim: ThresholdValue) -> Self {
        Self { minimum_reclaim: Some(reclaim), ..self }
    }

    /// Whether it drives evictions at once. Upstream: `isHardEvictionThreshold`, which takes a soft threshold
    /// without a grace period for a hard one.
    #[must_use]
    pub fn is_hard(&self) -> bool {
        self.grace_period.is_zero()
    }

    /// The amount that counts for a capacity, with the minimum reclaim added or not.
    #[must_use]
    pub fn resolve(&self, capacity: i64, with_minimum_reclaim: bool) -> Quantity {
        let value = self.value.resolve(capacity);
        match &self.minimum_reclaim {
            Some(reclaim) if with_minimum_reclaim => value + &reclaim.resolve(capacity),
            _ => value,
        }
    }

    /// Whether less is left than the threshold, or than the threshold and its minimum reclaim.
    /// Upstream: `thresholdsMet`.
    #[must_use]
    pub fn is_met(&self, observation: &Observation, with_minimum_reclaim: bool) -> bool {
        self.operator == Operator::LessThan
            && self.resolve(observation.capacity, with_minimum_reclaim)
                > Quantity::from_bytes(observation.available)
    }

    /// As [`is_met`](Self::is_met); a signal without observation meets nothing.
    #[must_use]
    pub fn is_met_by(&self, observations: &Observations, with_minimum_reclaim: bool) -> bool {
        observations
            .get(self.signal)
            .is_some_and(|observation| self.is_met(observation, with_minimum_reclaim))
    }

    /// Whether upstream takes the two for one when it merges lists. Upstream: `hasThreshold`.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.signal == other.signal
            && self.operator == other.operator
            && self.grace_period == other.grace_period
            && self.value == other.value
    }

    /// Whether the two are one key of the map that holds when a threshold was first met. Upstream compares
    /// percentages by value and amounts by address.
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        self.signal == other.signal
            && self.operator == other.operator
            && self.grace_period == other.grace_period
            && self.value_origin == other.value_origin
            && self.reclaim_origin == other.reclaim_origin
            && self.value == other.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(amount: i64) -> ThresholdValue {
        ThresholdValue::Quantity(Quantity::from_bytes(amount))
    }

    #[test]
    fn a_threshold_is_met_strictly_below_it() {
        let threshold = Threshold::new(Signal::PidAvailable, bytes(100), GoDuration::ZERO)
            .with_minimum_reclaim(bytes(50));
        let met = |available| {
            let observation = Observation { available, capacity: 1000, time: None };
            (threshold.is_met(&observation, false), threshold.is_met(&observation, true))
        };
        assert_eq!(met(99), (true, true));
        assert_eq!(met(100), (false, true));
        assert_eq!(met(149), (false, true));
        assert_eq!(met(150), (false, false));
    }

    #[test]
    fn shares_are_those_of_32_bits() {
        // A tenth in 32 bits is a little more than a tenth.
        assert_eq!(share(100 << 30, 0.1), 10_737_418_400);
        assert_eq!(share(-10, 0.5), -5);
        assert_eq!(share(i64::MAX, 1.0), i64::MIN);
        assert_eq!(share(i64::MIN, 1.0), i64::MIN);
        assert_eq!(share(1, f32::NAN), i64::MIN);
    }

    #[test]
    fn thresholds_are_told_apart_as_upstream_does() {
        let seconds = GoDuration::from_seconds;
        let base =
            Threshold { value_origin: 1, ..Threshold::new(Signal::PidAvailable, bytes(7), seconds(1)) };
        let same = |other: &Threshold| (base.matches(other), base.is_same_key(other));
        assert_eq!(same(&base), (true, true));
        for other in [
            Threshold { signal: Signal::MemoryAvailable, ..base.clone() },
            Threshold { operator: Operator::Never, ..base.clone() },
            Threshold { grace_period: seconds(2), ..base.clone() },
            Threshold { value: bytes(8), ..base.clone() },
            Threshold { value: ThresholdValue::Percentage(7.0), ..base.clone() },
        ] {
            assert_eq!(same(&other), (false, false), "{other:?}");
        }
        assert_eq!(same(&Threshold { value_origin: 2, ..base.clone() }), (true, false));
        assert_eq!(same(&Threshold { reclaim_origin: 2, ..base.clone() }), (true, false));
        assert_eq!(same(&base.clone().with_minimum_reclaim(bytes(1))), (true, true));
    }
}
