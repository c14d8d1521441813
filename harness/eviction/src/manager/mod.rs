//! The eviction manager's loop as a state machine: what goes in is the clock, the pods and a summary; what comes out is
//! the next state and what the kubelet does.
//!
//! - [`Manager`], [`State`]: the configuration, and what is remembered between passes.
//! - [`Manager::begin`], [`PendingReclaim::finish`]: one pass, which halts where the node itself is to be
//!   reclaimed and the summary read again.
//! - [`Choose`]: the choices that upstream leaves to chance; [`every`] takes all of them.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

mod choice;
mod pass;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

pub use choice::{Choose, First, Path, every};
pub use pass::{Eviction, EvictionCause, MetThreshold, Outcome, Pass, PendingReclaim, Step};

use crate::duration::GoDuration;
use crate::layout::FilesystemLayout;
use crate::observation::Observations;
use crate::signal::NodeCondition;
use crate::threshold::{
    KubeletConfiguration, Threshold, ThresholdError, Thresholds, in_first_pass, with_container_fs,
};

/// How long the loop sleeps after a pass that evicted nothing. Upstream: `evictionMonitoringPeriod`.
pub const MONITORING_INTERVAL: Duration = Duration::from_secs(10);
/// How long the loop waits at most for an evicted pod to be cleaned up, before it goes on without sleeping.
/// Upstream: `podCleanupTimeout`.
pub const POD_CLEANUP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it looks meanwhile. Upstream: `podCleanupPollFreq`.
pub const POD_CLEANUP_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What an eviction manager is told besides its thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagerOptions {
    /// The node's filesystems.
    pub layout: FilesystemLayout,
    /// How long a condition stays after it was last seen.
    pub pressure_transition_period: GoDuration,
    /// The longest grace in seconds of a pod evicted for a soft threshold; it may be negative.
    pub max_pod_grace_period_seconds: i64,
    /// Whether limits on local storage are enforced.
    pub local_storage_capacity_isolation: bool,
}

/// An eviction manager's configuration. Upstream: `managerImpl`, without what it remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Manager {
    options: ManagerOptions,
    /// The thresholds in effect, and after them those that only the first pass sees.
    thresholds: Vec<Threshold>,
    /// How many are in effect, those for containerfs among them.
    effective: usize,
    /// The thresholds that the first pass looks at, by index.
    first_pass: Vec<usize>,
    /// For each threshold the first that upstream's map takes for the same key.
    keys: Vec<usize>,
}

/// What an eviction manager remembers from pass to pass. The default is that of a kubelet that has just started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether a pass was ever begun, so that upstream has put its own thresholds in.
    begun: bool,
    conditions: Vec<NodeCondition>,
    conditions_last_observed: BTreeMap<NodeCondition, Timestamp>,
    /// Thresholds by index, in rising order, and since when each is met.
    first_observed: Vec<(usize, Timestamp)>,
    /// Those of them whose grace period is over.
    met: Vec<usize>,
    last_observations: Observations,
}

impl State {
    /// The node's conditions, in the order of their names.
    #[must_use]
    pub fn conditions(&self) -> &[NodeCondition] {
        &self.conditions
    }

    /// The observations of the last pass that had a summary.
    #[must_use]
    pub fn last_observations(&self) -> &Observations {
        &self.last_observations
    }
}

impl Manager {
    /// A manager with these configured thresholds.
    #[must_use]
    pub fn new(configured: &Thresholds, options: ManagerOptions) -> Self {
        let mut thresholds = with_container_fs(configured, options.layout);
        let effective = thresholds.len();
        let mut first_pass = Vec::new();
        for (at, threshold) in in_first_pass(configured, options.layout).into_iter().enumerate() {
            if thresholds[at] == threshold {
                first_pass.push(at);
            } else {
                first_pass.push(thresholds.len());
                thresholds.push(threshold);
            }
        }
        let first_same =
            |threshold: &Threshold| thresholds.iter().position(|other| other.is_same_key(threshold));
        let keys = thresholds
            .iter()
            .enumerate()
            .map(|(at, threshold)| first_same(threshold).unwrap_or(at))
            .collect();
        Self { options, thresholds, effective, first_pass, keys }
    }

    /// The manager of a kubelet with this configuration.
    ///
    /// # Errors
    /// [`ThresholdError`] for thresholds that a kubelet refuses to start with.
    pub fn from_configuration(
        configuration: &KubeletConfiguration,
        layout: FilesystemLayout,
    ) -> Result<Self, ThresholdError> {
        let thresholds = configuration.threshold_configuration().parse()?;
        Ok(Self::new(
            &thresholds,
            ManagerOptions {
                layout,
                pressure_transition_period: configuration.pressure_transition_period(),
                max_pod_grace_period_seconds: configuration.eviction_max_pod_grace_period.unwrap_or(0).into(),
                local_storage_capacity_isolation: configuration.isolates_local_storage(),
            },
        ))
    }

    /// The thresholds in effect from the second pass on.
    #[must_use]
    pub fn thresholds(&self) -> &[Threshold] {
        &self.thresholds[..self.effective]
    }

    /// What the manager was told besides.
    #[must_use]
    pub const fn options(&self) -> &ManagerOptions {
        &self.options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Observation;
    use crate::signal::Signal;
    use crate::summary::{NodeStats, RlimitStats, Summary};

    /// How many thresholds count as met at each of these amounts of process identifiers left, of 100, 10 seconds apart.
    fn met(hard: &str, soft: &str, minimum_reclaim: Option<&str>, left: &[i64]) -> Vec<usize> {
        let statements = |text: &str| Some([("pid.available".to_owned(), text.to_owned())].into());
        let configuration = KubeletConfiguration {
            eviction_hard: statements(hard),
            eviction_soft: statements(soft),
            eviction_soft_grace_period: statements("0s"),
            eviction_minimum_reclaim: minimum_reclaim.and_then(statements),
            ..KubeletConfiguration::default()
        };
        let manager =
            Manager::from_configuration(&configuration, FilesystemLayout::Single).expect("thresholds");
        let mut state = State::default();
        (0..)
            .zip(left)
            .map(|(pass, left)| {
                let rlimit =
                    RlimitStats { max_pid: Some(100), running_processes: Some(100 - left), time: None };
                let node = NodeStats { rlimit: Some(rlimit), ..NodeStats::default() };
                let summary = Summary { node, ..Summary::default() };
                let now = Timestamp::from_second(1000 + 10 * pass).expect("a time");
                let pass = Pass { now, pods: &[], summary: Some(&summary) };
                let (next, outcome) = manager.step(&state, pass, &mut First, |_| None);
                state = next;
                let seen = state
                    .last_observations()
                    .get(Signal::PidAvailable)
                    .map(|Observation { available, .. }| *available);
                assert_eq!(seen, Some(*left));
                outcome.thresholds_met.len()
            })
            .collect()
    }

    #[test]
    fn equal_percentages_count_once_and_equal_amounts_twice() {
        assert_eq!(met("10%", "10%", None, &[5, 20]), [1, 0]);
        assert_eq!(met("10", "10", None, &[5, 20]), [2, 0]);
        assert_eq!(met("10%", "20%", None, &[5, 15, 25]), [2, 1, 0]);
    }

    #[test]
    fn equal_thresholds_that_are_not_resolved_count_once() {
        assert_eq!(met("10%", "10%", Some("5"), &[5, 12, 15]), [2, 1, 0]);
        assert_eq!(met("10", "10", Some("5"), &[5, 5, 12, 12, 15]), [2, 2, 1, 1, 0]);
    }

    #[test]
    fn only_what_was_met_before_must_reach_its_minimum_reclaim() {
        assert_eq!(met("10", "0%", Some("5"), &[12, 9, 12, 15, 12]), [0, 1, 1, 0, 0]);
    }
}
