//! Reading thresholds as a kubelet is given them.
//!
//! Follows `pkg/kubelet/eviction`, `pkg/kubelet/apis/config/v1beta1` and `cmd/kubelet/app` of Kubernetes 1.36.3.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::percentage::{self, FloatError};
use super::{Operator, Threshold, ThresholdValue, Thresholds};
use crate::duration::{GoDuration, ParseDurationError};
use crate::quantity::{ParseQuantityError, Quantity};
use crate::signal::Signal;

/// The hard thresholds of a kubelet on Linux that is given none. Upstream: `DefaultEvictionHard`.
#[must_use]
pub fn default_hard_thresholds() -> BTreeMap<String, String> {
    [
        (Signal::MemoryAvailable, "100Mi"),
        (Signal::NodeFsAvailable, "10%"),
        (Signal::NodeFsInodesFree, "5%"),
        (Signal::ImageFsAvailable, "15%"),
        (Signal::ImageFsInodesFree, "5%"),
    ]
    .map(|(signal, value)| (signal.name().to_owned(), value.to_owned()))
    .into()
}

/// Those fields of a `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1) that eviction goes by, as written: what is
/// absent has its default put in by the methods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubeletConfiguration {
    /// Hard thresholds by signal.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "statements")]
    pub eviction_hard: Option<BTreeMap<String, String>>,
    /// Soft thresholds by signal.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "statements")]
    pub eviction_soft: Option<BTreeMap<String, String>>,
    /// How long each soft threshold must be met.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "statements")]
    pub eviction_soft_grace_period: Option<BTreeMap<String, String>>,
    /// How much must be freed, by signal.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "statements")]
    pub eviction_minimum_reclaim: Option<BTreeMap<String, String>>,
    /// How long a condition stays after it was last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eviction_pressure_transition_period: Option<GoDuration>,
    /// The longest grace, in seconds, of a pod evicted for a soft threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eviction_max_pod_grace_period: Option<i32>,
    /// Whether the default hard thresholds hold for signals that are not named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_default_eviction_settings: Option<bool>,
    /// Which cgroups get the node's allocatable as their limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforce_node_allocatable: Option<Vec<String>>,
    /// Whether limits on local storage are enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_storage_capacity_isolation: Option<bool>,
}

/// Texts by signal, where null is an empty text, as for Go.
fn statements<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let statements: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(statements.map(|statements| {
        statements.into_iter().map(|(signal, text)| (signal, text.unwrap_or_default())).collect()
    }))
}

impl KubeletConfiguration {
    /// How long a condition stays after it was last seen; 5 minutes if absent or zero.
    #[must_use]
    pub fn pressure_transition_period(&self) -> GoDuration {
        self.eviction_pressure_transition_period
            .filter(|period| !period.is_zero())
            .unwrap_or(GoDuration::from_seconds(300))
    }

    /// Whether limits on local storage are enforced; they are by default.
    #[must_use]
    pub fn isolates_local_storage(&self) -> bool {
        self.local_storage_capacity_isolation.unwrap_or(true)
    }

    /// The thresholds as the kubelet is to parse them, defaults put in. Upstream: `SetDefaults_KubeletConfiguration` and
    /// `loadConfigFile`.
    #[must_use]
    pub fn threshold_configuration(&self) -> ThresholdConfiguration {
        let hard = match &self.eviction_hard {
            None => default_hard_thresholds(),
            Some(hard) if self.merge_default_eviction_settings == Some(true) => {
                let mut merged = default_hard_thresholds();
                merged.extend(hard.clone());
                merged
            }
            Some(hard) => hard.clone(),
        };
        let enforced = self.enforce_node_allocatable.as_ref();
        ThresholdConfiguration {
            hard,
            soft: self.eviction_soft.clone().unwrap_or_default(),
            soft_grace_periods: self.eviction_soft_grace_period.clone().unwrap_or_default(),
            minimum_reclaims: self.eviction_minimum_reclaim.clone().unwrap_or_default(),
            enforces_pods: enforced.is_none_or(|enforced| enforced.iter().any(|cgroup| cgroup == "pods")),
        }
    }
}

/// Thresholds as texts by signal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThresholdConfiguration {
    /// The hard ones.
    pub hard: BTreeMap<String, String>,
    /// The soft ones.
    pub soft: BTreeMap<String, String>,
    /// The grace periods of the soft ones.
    pub soft_grace_periods: BTreeMap<String, String>,
    /// Minimum reclaims.
    pub minimum_reclaims: BTreeMap<String, String>,
    /// Whether the pods' cgroup is limited, so that allocatableMemory.available follows memory.available.
    pub enforces_pods: bool,
}

/// Why a kubelet refuses its thresholds. [`Display`](std::fmt::Display) is upstream's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdError {
    /// A signal that there is not.
    #[error("unsupported eviction signal {signal}")]
    UnsupportedSignal {
        /// Its name.
        signal: String,
    },
    /// A percentage that is no number.
    #[error("{upstream}")]
    Percentage {
        /// The signal.
        signal: Signal,
        /// Go's error text.
        upstream: String,
    },
    /// A percentage below 0.
    #[error("eviction percentage threshold {signal} must be >= 0%: {text}")]
    NegativePercentage {
        /// The signal.
        signal: Signal,
        /// The value as written.
        text: String,
    },
    /// A percentage above 100.
    #[error("eviction percentage threshold {signal} must be <= 100%: {text}")]
    PercentageTooLarge {
        /// The signal.
        signal: Signal,
        /// The value as written.
        text: String,
    },
    /// An amount that is no quantity.
    #[error("{}", .error.upstream_text())]
    Quantity {
        /// The signal.
        signal: Signal,
        /// What is wrong with it.
        error: ParseQuantityError,
    },
    /// An amount that is not above zero.
    #[error("eviction threshold {signal} must be positive: {quantity}")]
    NotPositive {
        /// The signal.
        signal: Signal,
        /// The amount.
        quantity: Quantity,
    },
    /// A grace period that is no duration.
    #[error("{}", .error.upstream_text())]
    GracePeriod {
        /// The signal.
        signal: Signal,
        /// What is wrong with it.
        error: ParseDurationError,
    },
    /// A grace period below zero.
    #[error("invalid eviction grace period specified: {text}, must be a positive value")]
    NegativeGracePeriod {
        /// The signal.
        signal: Signal,
        /// The value as written.
        text: String,
    },
    /// A soft threshold with no grace period.
    #[error("grace period must be specified for the soft eviction threshold {signal}")]
    MissingGracePeriod {
        /// The signal.
        signal: Signal,
    },
    /// A minimum reclaim of no percent, or less.
    #[error("eviction percentage minimum reclaim {signal} must be positive: {text}")]
    ReclaimNotPositive {
        /// The signal.
        signal: Signal,
        /// The value as written.
        text: String,
    },
    /// A minimum reclaim below zero.
    #[error("negative eviction minimum reclaim specified for {signal}")]
    NegativeReclaim {
        /// The signal.
        signal: Signal,
    },
}

impl ThresholdError {
    /// The signal of the statement that is refused, where there is such a signal, for naming the field.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self {
            Self::UnsupportedSignal { .. } => None,
            Self::Percentage { signal, .. }
            | Self::NegativePercentage { signal, .. }
            | Self::PercentageTooLarge { signal, .. }
            | Self::Quantity { signal, .. }
            | Self::NotPositive { signal, .. }
            | Self::GracePeriod { signal, .. }
            | Self::NegativeGracePeriod { signal, .. }
            | Self::MissingGracePeriod { signal }
            | Self::ReclaimNotPositive { signal, .. }
            | Self::NegativeReclaim { signal } => Some(*signal),
        }
    }
}

fn signal(name: &str) -> Result<Signal, ThresholdError> {
    name.parse().map_err(|_| ThresholdError::UnsupportedSignal { signal: name.to_owned() })
}

fn parse_percentage(signal: Signal, text: &str) -> Result<f32, ThresholdError> {
    percentage::parse(text).map_err(|FloatError(upstream)| ThresholdError::Percentage { signal, upstream })
}

fn parse_quantity(signal: Signal, text: &str) -> Result<Quantity, ThresholdError> {
    text.parse().map_err(|error| ThresholdError::Quantity { signal, error })
}

/// The value of one statement; none if it switches the signal off. Upstream: `parseThresholdStatement`.
fn parse_value(signal: Signal, text: &str) -> Result<Option<ThresholdValue>, ThresholdError> {
    if text.ends_with('%') {
        if text == "0%" || text == "100%" {
            return Ok(None);
        }
        let percentage = parse_percentage(signal, text)?;
        if percentage < 0.0 {
            return Err(ThresholdError::NegativePercentage { signal, text: text.to_owned() });
        }
        if percentage > 1.0 {
            return Err(ThresholdError::PercentageTooLarge { signal, text: text.to_owned() });
        }
        return Ok(Some(ThresholdValue::Percentage(percentage)));
    }
    let quantity = parse_quantity(signal, text)?;
    if quantity.sign().is_le() {
        return Err(ThresholdError::NotPositive { signal, quantity });
    }
    Ok(Some(ThresholdValue::Quantity(quantity)))
}

/// Upstream: `parseThresholdStatements`.
fn parse_statements(
    statements: &BTreeMap<String, String>,
    origin: &mut u32,
) -> Result<Vec<Threshold>, ThresholdError> {
    let mut thresholds = Vec::new();
    for (name, text) in statements {
        let signal = signal(name)?;
        if let Some(value) = parse_value(signal, text)? {
            *origin += 1;
            let value_origin = if matches!(value, ThresholdValue::Quantity(_)) { *origin } else { 0 };
            thresholds.push(Threshold { value_origin, ..Threshold::new(signal, value, GoDuration::ZERO) });
        }
    }
    Ok(thresholds)
}

/// Upstream: `parseGracePeriods`.
fn parse_grace_periods(
    statements: &BTreeMap<String, String>,
) -> Result<BTreeMap<Signal, GoDuration>, ThresholdError> {
    statements
        .iter()
        .map(|(name, text)| {
            let signal = signal(name)?;
            let period: GoDuration =
                text.parse().map_err(|error| ThresholdError::GracePeriod { signal, error })?;
            if period < GoDuration::ZERO {
                return Err(ThresholdError::NegativeGracePeriod { signal, text: text.clone() });
            }
            Ok((signal, period))
        })
        .collect()
}

/// Upstream: `parseMinimumReclaims`.
fn parse_minimum_reclaims(
    statements: &BTreeMap<String, String>,
) -> Result<BTreeMap<Signal, ThresholdValue>, ThresholdError> {
    statements
        .iter()
        .map(|(name, text)| {
            let signal = signal(name)?;
            if text.ends_with('%') {
                let percentage = parse_percentage(signal, text)?;
                if percentage <= 0.0 {
                    return Err(ThresholdError::ReclaimNotPositive { signal, text: text.clone() });
                }
                return Ok((signal, ThresholdValue::Percentage(percentage)));
            }
            let quantity = parse_quantity(signal, text)?;
            if quantity.sign().is_lt() {
                return Err(ThresholdError::NegativeReclaim { signal });
            }
            Ok((signal, ThresholdValue::Quantity(quantity)))
        })
        .collect()
}

impl ThresholdConfiguration {
    /// The thresholds that the configuration stands for. Upstream: `ParseThresholdConfig`.
    ///
    /// # Errors
    /// [`ThresholdError`] for what a kubelet refuses to start with. Where several statements are wrong, upstream
    /// names any of them; this names the first by signal.
    pub fn parse(&self) -> Result<Thresholds, ThresholdError> {
        let mut origin = 0;
        let mut thresholds = parse_statements(&self.hard, &mut origin)?;
        let mut soft = parse_statements(&self.soft, &mut origin)?;
        let grace_periods = parse_grace_periods(&self.soft_grace_periods)?;
        let minimum_reclaims = parse_minimum_reclaims(&self.minimum_reclaims)?;
        for threshold in &mut soft {
            threshold.grace_period = *grace_periods
                .get(&threshold.signal)
                .ok_or(ThresholdError::MissingGracePeriod { signal: threshold.signal })?;
        }
        let hard = thresholds.len();
        thresholds.append(&mut soft);
        for (origin, threshold) in (1..).zip(&mut thresholds) {
            if let Some(reclaim) = minimum_reclaims.get(&threshold.signal) {
                threshold.minimum_reclaim = Some(reclaim.clone());
                threshold.reclaim_origin = origin;
            }
        }
        let allocatable = self.enforces_pods.then(|| allocatable_thresholds(&thresholds));
        Ok(Thresholds::joined(thresholds, hard, allocatable))
    }
}

/// Upstream: `addAllocatableThresholds`.
fn allocatable_thresholds(thresholds: &[Threshold]) -> Vec<Threshold> {
    let copied = |threshold: &&Threshold| {
        threshold.signal == Signal::MemoryAvailable
            && threshold.is_hard()
            && threshold.operator == Operator::LessThan
    };
    let copy =
        |threshold: &Threshold| Threshold { signal: Signal::AllocatableMemoryAvailable, ..threshold.clone() };
    thresholds.iter().filter(copied).map(copy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(signal: &str, text: &str) -> BTreeMap<String, String> {
        [(signal.to_owned(), text.to_owned())].into()
    }

    #[test]
    fn a_refusal_names_the_signal_whose_statement_is_wrong() {
        let refused = |configuration: ThresholdConfiguration| {
            configuration.parse().err().map(|error| (error.signal(), error.to_string()))
        };
        let hard = |text: &str| ThresholdConfiguration {
            hard: one("nodefs.available", text),
            ..ThresholdConfiguration::default()
        };
        for text in ["ten%", "-5%", "101%", "5Gib", "0"] {
            let (signal, told) = refused(hard(text)).expect(text);
            assert_eq!(signal, Some(Signal::NodeFsAvailable), "{told}");
        }
        let soft = |grace: Option<&str>| ThresholdConfiguration {
            soft: one("memory.available", "1Gi"),
            soft_grace_periods: grace.map(|grace| one("memory.available", grace)).unwrap_or_default(),
            ..ThresholdConfiguration::default()
        };
        for grace in [None, Some("-1s"), Some("soon")] {
            let (signal, told) = refused(soft(grace)).expect("a refusal");
            assert_eq!(signal, Some(Signal::MemoryAvailable), "{told}");
        }
        for reclaim in ["0%", "-1"] {
            let minimum_reclaims = one("pid.available", reclaim);
            let (signal, told) =
                refused(ThresholdConfiguration { minimum_reclaims, ..hard("10%") }).expect(reclaim);
            assert_eq!(signal, Some(Signal::PidAvailable), "{told}");
        }
        let unknown =
            ThresholdConfiguration { hard: one("memory.free", "1"), ..ThresholdConfiguration::default() };
        let told = "unsupported eviction signal memory.free".to_owned();
        assert_eq!(refused(unknown), Some((None, told)));
        assert_eq!(refused(soft(Some("1m"))), None);
    }
}
