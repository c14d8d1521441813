//! Pods, as far as eviction looks at them.
//!
//! Follows `pkg/kubelet/types` of Kubernetes 1.36.3 and `k8s.io/component-helpers` 0.36.3.

use std::collections::BTreeMap;
use std::fmt;

use crate::quantity::Quantity;
use crate::signal::NodeCondition;

/// Amounts by resource name, such as `memory` or `ephemeral-storage`.
pub type ResourceList = BTreeMap<String, Quantity>;

/// The resource name of memory.
pub const MEMORY: &str = "memory";
/// The resource name of CPU time.
pub const CPU: &str = "cpu";
/// The resource name of local disk.
pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";

/// The lowest priority that counts as critical. Upstream: `scheduling.SystemCriticalPriority`.
pub const SYSTEM_CRITICAL_PRIORITY: i32 = 2_000_000_000;

const SOURCE_ANNOTATION: &str = "kubernetes.io/config.source";
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// A pod on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid; statistics belong to the pod by it.
    pub uid: String,
    /// `metadata.generation`, which a DisruptionTarget condition repeats.
    pub generation: i64,
    /// The annotations; those of static and mirror pods matter.
    pub annotations: BTreeMap<String, String>,
    /// `spec.priority`; none counts as 0.
    pub priority: Option<i32>,
    /// `spec.priorityClassName`; empty if it has none.
    pub priority_class_name: String,
    /// `status.qosClass`, if the API server has set it.
    pub status_qos_class: Option<String>,
    /// `spec.terminationGracePeriodSeconds`.
    pub termination_grace_period_seconds: Option<i64>,
    /// The tolerations.
    pub tolerations: Vec<Toleration>,
    /// The regular containers.
    pub containers: Vec<Container>,
    /// The init containers, sidecars among them, in their order.
    pub init_containers: Vec<Container>,
    /// Pod-level requests and limits.
    pub resources: Option<Resources>,
    /// What running the pod costs besides its containers.
    pub overhead: ResourceList,
    /// The volumes, in their order.
    pub volumes: Vec<Volume>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The name.
    pub name: String,
    /// Its requests and limits.
    pub resources: Resources,
    /// Whether it is an init container that keeps running, that is one with restart policy `Always`.
    pub sidecar: bool,
}

/// Requests and limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// What is set aside.
    pub requests: ResourceList,
    /// What must not be exceeded.
    pub limits: ResourceList,
}

/// A volume of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// The name.
    pub name: String,
    /// Whether the node's disk holds it and the kubelet counts it to the pod: hostPath, gitRepo, configMap, or
    /// an emptyDir on disk. Upstream: `localVolumeNames`.
    pub local: bool,
    /// The emptyDir, if it is one, in memory or on disk.
    pub empty_dir: Option<EmptyDir>,
}

/// An emptyDir volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmptyDir {
    /// Its size limit in bytes.
    pub size_limit: Option<Quantity>,
}

/// A toleration of taints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toleration {
    /// The taint's key; empty for every key.
    pub key: String,
    /// `Equal` (also if empty), `Exists`, `Lt` or `Gt`.
    pub operator: String,
    /// The value to compare with the taint's.
    pub value: String,
    /// The taint's effect; empty for every effect.
    pub effect: String,
    /// How long a NoExecute taint is tolerated, in seconds; none for ever.
    pub toleration_seconds: Option<i64>,
}

/// Why a pod is never evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exemption {
    /// It comes from a file or a web server, not from the API server.
    Static,
    /// It is the API server's image of such a pod.
    Mirror,
    /// Its priority is system-critical.
    Priority,
}

impl Exemption {
    /// The name: `static`, `mirror` or `priority`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Mirror => "mirror",
            Self::Priority => "priority",
        }
    }
}

impl fmt::Display for Exemption {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Pod {
    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The priority that orders evictions. Upstream: `corev1helpers.PodPriority`.
    #[must_use]
    pub fn effective_priority(&self) -> i32 {
        self.priority.unwrap_or(0)
    }

    /// Why the kubelet never evicts this pod, the first reason that applies; none if it may.
    /// Upstream: `kubelettypes.IsCriticalPod`.
    #[must_use]
    pub fn exemption(&self) -> Option<Exemption> {
        if self.annotations.get(SOURCE_ANNOTATION).is_some_and(|source| source != "api") {
            Some(Exemption::Static)
        } else if self.annotations.contains_key(MIRROR_ANNOTATION) {
            Some(Exemption::Mirror)
        } else if self.effective_priority() >= SYSTEM_CRITICAL_PRIORITY {
            Some(Exemption::Priority)
        } else {
            None
        }
    }

    /// Whether it tolerates a taint. Upstream: `corev1helpers.TolerationsTolerateTaint`.
    #[must_use]
    pub fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        self.tolerations.iter().any(|toleration| toleration.tolerates(key, value, effect))
    }

    /// Whether it tolerates the NoSchedule taint that a node condition brings.
    #[must_use]
    pub fn tolerates_condition(&self, condition: NodeCondition) -> bool {
        self.tolerates(condition.taint_key(), "", "NoSchedule")
    }
}

impl Toleration {
    /// Whether it covers a taint. Upstream: `Toleration.ToleratesTaint`, whose `Lt` and `Gt` are behind a feature
    /// gate that is off by default.
    #[must_use]
    pub fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        let covers = |own: &str, taint: &str| own.is_empty() || own == taint;
        covers(&self.effect, effect)
            && covers(&self.key, key)
            && match self.operator.as_str() {
                "" | "Equal" => self.value == value,
                "Exists" => true,
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(key: &str, value: &str) -> Pod {
        Pod { annotations: [(key.to_owned(), value.to_owned())].into(), ..Pod::default() }
    }

    #[test]
    fn the_first_reason_for_exemption_counts() {
        assert_eq!(Pod::default().exemption(), None);
        assert_eq!(annotated(SOURCE_ANNOTATION, "api").exemption(), None);
        assert_eq!(annotated(SOURCE_ANNOTATION, "file").exemption(), Some(Exemption::Static));
        assert_eq!(annotated(SOURCE_ANNOTATION, "").exemption(), Some(Exemption::Static));
        assert_eq!(annotated(MIRROR_ANNOTATION, "").exemption(), Some(Exemption::Mirror));
        let with_priority = |priority| Pod { priority: Some(priority), ..Pod::default() };
        assert_eq!(with_priority(1_999_999_999).exemption(), None);
        assert_eq!(with_priority(2_000_000_000).exemption(), Some(Exemption::Priority));
    }

    #[test]
    fn tolerations_cover_what_they_leave_out() {
        let toleration = |key: &str, operator: &str, value: &str, effect: &str| Toleration {
            key: key.to_owned(),
            operator: operator.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
            toleration_seconds: None,
        };
        let covers = |toleration: Toleration| toleration.tolerates("pressure", "", "NoSchedule");
        assert!(covers(toleration("", "Exists", "", "")));
        assert!(covers(toleration("", "", "", "")));
        assert!(covers(toleration("pressure", "Equal", "", "NoSchedule")));
        assert!(!covers(toleration("pressure", "Equal", "x", "NoSchedule")));
        assert!(!covers(toleration("other", "Exists", "", "")));
        assert!(!covers(toleration("pressure", "Exists", "", "NoExecute")));
        assert!(!covers(toleration("pressure", "Lt", "5", "NoSchedule")));
    }
}
