//! Which pods a node under pressure refuses to start.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3.

use crate::message::PodMessage;
use crate::pod::Pod;
use crate::signal::NodeCondition;

/// The message of a pod's refusal under these conditions of its node; none if it is admitted.
///
/// Pods that are never evicted are always admitted. Memory pressure alone refuses only BestEffort pods that do
/// not tolerate its taint; anything else refuses every pod. Upstream: `managerImpl.Admit`.
#[must_use]
pub fn refusal(pod: &Pod, conditions: &[NodeCondition]) -> Option<PodMessage> {
    if conditions.is_empty() || pod.exemption().is_some() {
        return None;
    }
    if conditions == [NodeCondition::MemoryPressure]
        && (!pod.is_best_effort() || pod.tolerates_condition(NodeCondition::MemoryPressure))
    {
        return None;
    }
    Some(PodMessage::Rejected { conditions: conditions.to_vec() })
}
