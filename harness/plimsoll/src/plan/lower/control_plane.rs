//! How the control plane is set, and whether the nodes keep up with it.

use std::time::Duration;

use plimsoll_eviction::duration::parse_duration;
use serde_json::Value;

use super::cluster::Node;
use super::context::Findings;
use crate::plan::ControlPlaneSettings;
use crate::scenario::format::document::ControlPlane;
use crate::scenario::format::values::{Number, Time};
use crate::scenario::{Code, Located};

/// How often a node's kubelet reports its status unless the scenario says otherwise.
const NODE_STATUS_UPDATE_FREQUENCY: Duration = Duration::from_secs(1);
/// The kubelet's own `nodeLeaseDurationSeconds`. Upstream: `SetDefaults_KubeletConfiguration`.
const LEASE_SECONDS: u64 = 40;
/// The share of a lease's duration after which the kubelet renews it. Upstream: `nodeLeaseRenewIntervalFraction`.
const RENEWED_AFTER: f64 = 0.25;

/// Resolves the settings, and holds them against how often the nodes say that they live.
pub(super) fn settings(
    written: Option<&Located<ControlPlane>>,
    nodes: &[Node],
    findings: &mut Findings,
) -> ControlPlaneSettings {
    let Some(written) = written else { return ControlPlaneSettings::default() };
    let settings = ControlPlaneSettings {
        node_monitor_grace_period: period(
            "nodeMonitorGracePeriod",
            written.node_monitor_grace_period.as_ref(),
            findings,
        ),
        node_monitor_period: period("nodeMonitorPeriod", written.node_monitor_period.as_ref(), findings),
        node_eviction_rate: written.node_eviction_rate.as_ref().map(|rate| rate.0),
        secondary_node_eviction_rate: written.secondary_node_eviction_rate.as_ref().map(|rate| rate.0),
        unhealthy_zone_threshold: written
            .unhealthy_zone_threshold
            .as_ref()
            .map(|share| self::share(share, findings)),
        large_cluster_size_threshold: written.large_cluster_size_threshold.as_ref().map(|nodes| nodes.0),
        terminated_pod_gc_threshold: written.terminated_pod_gc_threshold.as_ref().map(|pods| pods.0),
        default_not_ready_toleration_seconds: written
            .default_not_ready_toleration_seconds
            .as_ref()
            .map(|seconds| seconds.0),
        default_unreachable_toleration_seconds: written
            .default_unreachable_toleration_seconds
            .as_ref()
            .map(|seconds| seconds.0),
        ..ControlPlaneSettings::default()
    };
    if let Some(grace) = &written.node_monitor_grace_period {
        check_heartbeats(grace, nodes, findings);
    }
    settings
}

fn period(field: &str, written: Option<&Located<Time>>, findings: &mut Findings) -> Option<Duration> {
    let written = written?;
    if written.0.is_zero() {
        findings.say(
            Code::E0006,
            written.mark,
            format!("`{field}` of no time at all: expected more than 0s"),
        );
    }
    Some(written.0)
}

fn share(written: &Located<Number>, findings: &mut Findings) -> f64 {
    if written.0 > 1.0 {
        findings.say_with_help(
            Code::E0006,
            written.mark,
            format!("{} is more than a whole zone: expected a share of at most 1", written.0),
            "such as 0.55 for 55 %",
        );
    }
    written.0
}

/// A node that says less often that it lives than it must is unknown from time to time, though nothing is wrong with it.
fn check_heartbeats(grace: &Located<Time>, nodes: &[Node], findings: &mut Findings) {
    for node in nodes {
        let heartbeat = heartbeat(&node.plan.kubelet);
        if grace.0 <= heartbeat {
            findings.say_with_help(
                Code::W0006,
                grace.mark,
                format!(
                    "the kubelet of `{}` says only every {} s that it lives, so that the node is taken for lost while it is well",
                    node.plan.name,
                    heartbeat.as_secs_f64()
                ),
                "give it longer, or the node a lease that is renewed sooner: `kubelet: {nodeLeaseDurationSeconds: 4}` is, every second",
            );
        }
    }
}

/// The longest that a kubelet which is well says nothing: it renews its lease, and it reports its status, whichever comes first.
/// Upstream: `Kubelet.updateNodeStatus`, `Controller.tryUpdateNodeHealth`.
fn heartbeat(kubelet: &Value) -> Duration {
    let lease = Duration::from_secs(kubelet["nodeLeaseDurationSeconds"].as_u64().unwrap_or(LEASE_SECONDS));
    let given = |field: &str| kubelet[field].as_str().and_then(|text| parse_duration(text).ok());
    let report = given("nodeStatusReportFrequency")
        .or_else(|| given("nodeStatusUpdateFrequency"))
        .unwrap_or(NODE_STATUS_UPDATE_FREQUENCY);
    lease.mul_f64(RENEWED_AFTER).min(report.saturating_mul(2).max(NODE_STATUS_UPDATE_FREQUENCY))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::heartbeat;

    #[test]
    fn a_node_says_that_it_lives_by_its_lease_or_by_its_status() {
        let seconds = Duration::from_secs;
        assert_eq!(heartbeat(&json!({})), seconds(2));
        assert_eq!(heartbeat(&json!({"nodeStatusUpdateFrequency": "10s"})), seconds(10));
        assert_eq!(
            heartbeat(&json!({"nodeStatusReportFrequency": "5m", "nodeLeaseDurationSeconds": 8})),
            seconds(2)
        );
    }
}
