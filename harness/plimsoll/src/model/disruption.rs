//! Disruptions made ready for runs in virtual time: budgets, requests to the eviction API, drains.

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use plimsoll_eviction::disruption::{Budget, DrainOptions};
use serde_json::Value;

use super::curve::Micros;
use super::prepare::micros;
use crate::kubernetes::selects;
use crate::plan::DrainPlan;

/// A disruption budget's specification.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PreparedBudget {
    /// Which pods it is about: none without a selector.
    selector: Option<LabelSelector>,
    guard: Guard,
    always_allows_unhealthy: bool,
}

/// What a budget guards. Upstream: `getExpectedPodCount`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Guard {
    /// It says nothing, and so allows no disruption.
    #[default]
    Nothing,
    /// So many pods must be healthy.
    MinAvailable(Share),
    /// So many of those that there should be need not be.
    MaxUnavailable(Share),
}

/// A number of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Number(i64),
    /// In hundredths of those that there should be, rounded up.
    Percent(i64),
}

impl Share {
    /// Upstream: `GetScaledValueFromIntOrPercent`.
    fn new(written: &IntOrString) -> Result<Self, String> {
        match written {
            IntOrString::Int(number) => Ok(Self::Number(i64::from(*number))),
            IntOrString::String(text) => {
                let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
                number
                    .map(Self::Percent)
                    .ok_or_else(|| format!("{text} is neither a number nor a percentage"))
            }
        }
    }

    const fn of(self, expected: i64) -> i64 {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => (expected * percent + 99).div_euclid(100),
        }
    }
}

/// The pods that a budget is about, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Covered {
    /// How many there are.
    pub(super) pods: i64,
    /// How many of them are Ready and not on their way out.
    pub(super) healthy: i64,
    /// How many their controllers want; none if one of those has no scale, as a Job or a DaemonSet.
    pub(super) wanted: Option<i64>,
}

impl PreparedBudget {
    /// Reads a PodDisruptionBudget.
    pub(super) fn new(object: &Value) -> Result<Self, String> {
        let read: PodDisruptionBudget =
            serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
        let PodDisruptionBudgetSpec {
            min_available,
            max_unavailable,
            selector,
            unhealthy_pod_eviction_policy,
            ..
        } = read.spec.unwrap_or_default();
        let guard = match (min_available, max_unavailable) {
            (_, Some(most)) => Guard::MaxUnavailable(Share::new(&most)?),
            (Some(least), None) => Guard::MinAvailable(Share::new(&least)?),
            (None, None) => Guard::Nothing,
        };
        let always_allows_unhealthy = unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow");
        Ok(Self { selector, guard, always_allows_unhealthy })
    }

    /// Whether it is about pods with these labels.
    pub(super) fn covers(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.selector.as_ref().is_some_and(|selector| selects(selector, labels))
    }

    /// What its controller writes into its status; `before` is what stands there.
    /// Upstream: `DisruptionController.trySync`, `getExpectedPodCount`, `updatePdbStatus`, `failSafe`.
    pub(super) fn status(&self, covered: Covered, before: Budget) -> Budget {
        let counted = match self.guard {
            Guard::Nothing => Some((0, 0)),
            Guard::MinAvailable(Share::Number(least)) => Some((covered.pods, least)),
            Guard::MinAvailable(least) => covered.wanted.map(|wanted| (wanted, least.of(wanted))),
            Guard::MaxUnavailable(most) => {
                covered.wanted.map(|wanted| (wanted, (wanted - most.of(wanted)).max(0)))
            }
        };
        let Some((expected, desired)) = counted else { return Budget { disruptions_allowed: 0, ..before } };
        let allowed = if expected <= 0 { 0 } else { (covered.healthy - desired).max(0) };
        Budget {
            stale: false,
            disruptions_allowed: allowed,
            current_healthy: covered.healthy,
            desired_healthy: desired,
            disrupted_pods: 0,
            always_allows_unhealthy: self.always_allows_unhealthy,
        }
    }

    /// What stands in its status before its controller has seen it as it is.
    pub(super) fn unseen(&self, before: Budget) -> Budget {
        Budget { stale: true, always_allows_unhealthy: self.always_allows_unhealthy, ..before }
    }
}

/// A request to the eviction API for every pod of some workloads.
#[derive(Debug, Clone)]
pub(super) struct PreparedEvict {
    pub(super) workloads: Vec<EvictedWorkload>,
    pub(super) dry_run: bool,
    /// The grace period in seconds; absent for the pod's own.
    pub(super) grace_seconds: Option<i64>,
    /// How long a pod that a budget protects is asked for again.
    pub(super) retry_for: Micros,
}

/// A workload whose pods are asked to go.
#[derive(Debug, Clone)]
pub(super) struct EvictedWorkload {
    /// By its place.
    pub(super) workload: usize,
    pub(super) name: String,
    /// Its bare pods, with their namespaces, which are asked for even where they are gone.
    pub(super) bare: Vec<(String, String)>,
    /// Whether the scenario says what is answered, so that a refusal is no failure of the step.
    pub(super) refusal_is_told: bool,
}

/// Emptying a node.
#[derive(Debug, Clone)]
pub(super) struct PreparedDrain {
    /// By its place.
    pub(super) node: usize,
    pub(super) options: DrainOptions,
    pub(super) disable_eviction: bool,
    pub(super) grace_seconds: Option<i64>,
    pub(super) timeout: Micros,
    pub(super) background: bool,
    /// Whether the scenario says what it comes to, so that a refusal is no failure of the step.
    pub(super) outcome_is_told: bool,
}

impl PreparedDrain {
    pub(super) fn new(plan: &DrainPlan, node: usize, outcome_is_told: bool) -> Self {
        Self {
            node,
            options: plan.options(),
            disable_eviction: plan.disable_eviction,
            grace_seconds: plan.grace_period_seconds.map(i64::from),
            timeout: micros(plan.timeout),
            background: plan.background,
            outcome_is_told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(spec: Value) -> PreparedBudget {
        PreparedBudget::new(&serde_json::json!({ "spec": spec })).expect("a budget")
    }

    fn allowed(spec: Value, pods: i64, healthy: i64, wanted: Option<i64>) -> (i64, i64) {
        let covered = Covered { pods, healthy, wanted };
        let status = budget(spec).status(covered, Budget::default());
        (status.desired_healthy, status.disruptions_allowed)
    }

    #[test]
    fn what_is_allowed_follows_from_who_is_healthy() {
        use serde_json::json;
        assert_eq!(allowed(json!({"minAvailable": 1}), 1, 1, Some(1)), (1, 0));
        assert_eq!(allowed(json!({"minAvailable": 1}), 2, 2, None), (1, 1), "a number needs no scale");
        assert_eq!(allowed(json!({"minAvailable": 2}), 5, 1, Some(5)), (2, 0));
        // Percentages are of what the controllers want, and are rounded up.
        assert_eq!(allowed(json!({"minAvailable": "50%"}), 3, 3, Some(3)), (2, 1));
        assert_eq!(allowed(json!({"maxUnavailable": "30%"}), 4, 4, Some(4)), (2, 2));
        assert_eq!(allowed(json!({"maxUnavailable": 1}), 4, 3, Some(4)), (3, 0));
        assert_eq!(allowed(json!({"maxUnavailable": 9}), 4, 4, Some(4)), (0, 4));
        // Of pods that have no controller, or nobody at all, nothing can be counted on.
        assert_eq!(allowed(json!({"maxUnavailable": 1}), 1, 1, Some(0)), (0, 0));
        assert_eq!(allowed(json!({"minAvailable": 0}), 0, 0, Some(0)), (0, 0));
        assert_eq!(allowed(json!({}), 4, 4, Some(4)), (0, 0));
        // A controller without a scale leaves the status as it was, but for what is allowed.
        let before = Budget { stale: true, disruptions_allowed: 3, ..Budget::default() };
        let covered = Covered { pods: 1, healthy: 1, wanted: None };
        let after = budget(json!({"maxUnavailable": 1})).status(covered, before);
        assert_eq!(after, Budget { disruptions_allowed: 0, ..before });
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        let object = serde_json::json!({"spec": {"minAvailable": "half"}});
        assert_eq!(PreparedBudget::new(&object), Err("half is neither a number nor a percentage".to_owned()));
    }
}
