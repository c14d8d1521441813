//! Thresholds: what they are, and when they are met.
//!
//! - [`Threshold`] and [`ThresholdValue`]: one threshold, and its being met.
//! - [`ThresholdConfiguration`]: reading them as a kubelet is given them.
//! - [`Thresholds`]: those of a kubelet, as configured.
//! - [`with_container_fs`]: the containerfs thresholds that the kubelet puts in itself.

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
