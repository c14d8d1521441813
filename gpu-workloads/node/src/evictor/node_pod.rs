//! A pod of the node, as far as the evictor looks at it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use plimsoll_eviction::kubernetes::PodError;
use plimsoll_eviction::pod::Pod;

/// The type of the condition that a pod gets before it is evicted, with the reason for it. It tells an evictor that starts anew
/// which evictions are its own.
pub const EVICTION_CONDITION: &str = "plimsoll.dev/GPUMemoryEviction";

/// The annotation of a mirror pod with the identifier that its static pod's cgroup is named after. Upstream:
/// `ConfigHashAnnotationKey`.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// A pod of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePod {
    /// As the kubelet's rules see it.
    pub pod: Pod,
    /// The names of its containers by their identifiers in the container runtime.
    pub containers: BTreeMap<String, String>,
    /// When it is to be gone, and how many seconds it was given; none if nobody has deleted it.
    pub deletion: Option<(Timestamp, i64)>,
    /// The message of the evictor's condition while that is true.
    pub evicting: Option<String>,
    /// Whether it has ended, so that it holds nothing.
    pub ended: bool,
    /// What its cgroup is named after, where that is not its uid.
    pub config_hash: Option<String>,
}

impl TryFrom<&v1::Pod> for NodePod {
    type Error = PodError;

    fn try_from(pod: &v1::Pod) -> Result<Self, PodError> {
        let own = Pod::try_from(pod)?;
        let status = pod.status.as_ref();
        let statuses = status.into_iter().flat_map(|status| {
            let lists = [
                &status.container_statuses,
                &status.init_container_statuses,
                &status.ephemeral_container_statuses,
            ];
            lists.into_iter().flatten().flatten()
        });
        let container = |status: &v1::ContainerStatus| {
            let id = status.container_id.as_deref()?;
            // The runtime stands in front: `containerd://<id>`.
            let id = id.split_once("://").map_or(id, |(_, id)| id);
            (!id.is_empty()).then(|| (id.to_owned(), status.name.clone()))
        };
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let evicting = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == EVICTION_CONDITION && condition.status == "True");
        let deletion = pod
            .metadata
            .deletion_timestamp
            .as_ref()
            .map(|time| (time.0, pod.metadata.deletion_grace_period_seconds.unwrap_or(0)));
        let phase = status.and_then(|status| status.phase.as_deref());
        Ok(Self {
            containers: statuses.filter_map(container).collect(),
            deletion,
            evicting: evicting.map(|condition| condition.message.clone().unwrap_or_default()),
            ended: matches!(phase, Some("Succeeded" | "Failed")),
            config_hash: own.annotations.get(CONFIG_HASH).cloned(),
            pod: own,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_of_a_pod_is_read() {
        let pod: v1::Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:30Z",
                "deletionGracePeriodSeconds": 30, "annotations": {"kubernetes.io/config.hash": "h"}},
            "spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "c", "containerID": "containerd://abc", "image": "", "imageID": "", "ready": true, "restartCount": 0}],
                "initContainerStatuses": [{"name": "i", "image": "", "imageID": "", "ready": true, "restartCount": 0}],
                "conditions": [
                    {"type": "Ready", "status": "True", "message": "other"},
                    {"type": EVICTION_CONDITION, "status": "True", "message": "low"},
                ],
            },
        }))
        .expect("a pod");
        let read = NodePod::try_from(&pod).expect("read");
        assert_eq!(read.containers, [("abc".to_owned(), "c".to_owned())].into());
        assert_eq!(read.deletion, Some(("2026-01-01T00:00:30Z".parse().expect("a time"), 30)));
        assert_eq!((read.evicting.as_deref(), read.ended), (Some("low"), false));
        assert_eq!(read.config_hash.as_deref(), Some("h"));
    }
}
