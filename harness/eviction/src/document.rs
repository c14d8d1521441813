//! Reading the documents that Kubernetes gives: pod lists, as `kubectl get pods -o json` prints them.
//!
//! Follows `k8s.io/api` and `k8s.io/apimachinery` 0.36.3.

use std::collections::BTreeMap;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::value::RawValue;

use crate::pod::{Container, EmptyDir, Pod, ResourceList, Resources, Toleration, Volume};
use crate::quantity::Quantity;

/// A document that could not be read: where, and why.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct DocumentError {
    /// The path to the field, such as `items[3].spec.containers[0].resources.requests`.
    pub path: String,
    /// What was wrong there, with line and column.
    pub source: serde_json::Error,
}

/// Reads a document as a type of this crate, naming the field of any mistake.
///
/// # Errors
/// [`DocumentError`] if the text is no JSON or a field is not what it should be.
pub fn read_json<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, DocumentError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| DocumentError { path: error.path().to_string(), source: error.into_inner() })?;
    deserializer.end().map_err(|source| DocumentError { path: "after the document".to_owned(), source })?;
    Ok(value)
}

/// A pod of a list, and what the list says of it that plays no part in eviction once it is known to be active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedPod {
    /// The pod.
    pub pod: Pod,
    /// `spec.nodeName`; empty before it is scheduled.
    pub node_name: String,
    /// `status.phase`; empty if the list does not say.
    pub phase: String,
    /// Whether the status shows a container that runs.
    pub runs: bool,
}

impl ListedPod {
    /// Whether its kubelet counts it when it evicts: a pod that has ended counts only as long as a container of it is
    /// still being ended. Upstream: `Kubelet.filterOutInactivePods`.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.runs || !matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether the scheduler has not found a node for it yet.
    #[must_use]
    pub fn is_unscheduled(&self) -> bool {
        self.node_name.is_empty() && self.phase == "Pending"
    }
}

/// Reads a `v1.PodList` and takes every pod in it. Quantities may be texts or numbers, and keep their exact spelling.
///
/// # Errors
/// As for [`read_json`].
pub fn read_pods(text: &str) -> Result<Vec<Pod>, DocumentError> {
    Ok(read_pod_list(text)?.into_iter().map(|listed| listed.pod).collect())
}

/// Reads a `v1.PodList`, or the `v1.List` that kubectl makes of one.
///
/// # Errors
/// As for [`read_json`].
pub fn read_pod_list(text: &str) -> Result<Vec<ListedPod>, DocumentError> {
    let list: PodListDocument = read_json(text)?;
    Ok(list.items.into_iter().map(ListedPod::from).collect())
}

#[derive(serde::Deserialize)]
struct PodListDocument {
    #[serde(default, rename = "kind", deserialize_with = "list_kind")]
    _kind: (),
    #[serde(deserialize_with = "null_as_default")]
    items: Vec<PodDocument>,
}

fn list_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    let kind: String = null_as_default(deserializer)?;
    if matches!(kind.as_str(), "" | "PodList" | "List") {
        Ok(())
    } else {
        Err(D::Error::custom(format!("expected a PodList, or kubectl's List of pods, and found kind {kind}")))
    }
}

fn pod_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    let kind: String = null_as_default(deserializer)?;
    if matches!(kind.as_str(), "" | "Pod") {
        Ok(())
    } else {
        Err(D::Error::custom(format!("expected a Pod, and found kind {kind}")))
    }
}

#[derive(serde::Deserialize)]
struct PodDocument {
    #[serde(default, rename = "kind", deserialize_with = "pod_kind")]
    _kind: (),
    #[serde(default, deserialize_with = "null_as_default")]
    metadata: MetadataDocument,
    #[serde(default, deserialize_with = "null_as_default")]
    spec: SpecDocument,
    #[serde(default, deserialize_with = "null_as_default")]
    status: StatusDocument,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct MetadataDocument {
    #[serde(deserialize_with = "null_as_default")]
    name: String,
    #[serde(deserialize_with = "null_as_default")]
    namespace: String,
    #[serde(deserialize_with = "null_as_default")]
    uid: String,
    #[serde(deserialize_with = "null_as_default")]
    generation: i64,
    #[serde(deserialize_with = "null_as_default")]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecDocument {
    #[serde(deserialize_with = "null_as_default")]
    node_name: String,
    priority: Option<i32>,
    #[serde(deserialize_with = "null_as_default")]
    priority_class_name: String,
    termination_grace_period_seconds: Option<i64>,
    #[serde(deserialize_with = "null_as_default")]
    tolerations: Vec<TolerationDocument>,
    #[serde(deserialize_with = "null_as_default")]
    containers: Vec<ContainerDocument>,
    #[serde(deserialize_with = "null_as_default")]
    init_containers: Vec<ContainerDocument>,
    resources: Option<ResourcesDocument>,
    #[serde(deserialize_with = "null_as_default")]
    overhead: QuantitiesDocument,
    #[serde(deserialize_with = "null_as_default")]
    volumes: Vec<VolumeDocument>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatusDocument {
    #[serde(deserialize_with = "null_as_default")]
    phase: String,
    qos_class: Option<String>,
    #[serde(deserialize_with = "null_as_default")]
    container_statuses: Vec<ContainerStatusDocument>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ContainerStatusDocument {
    #[serde(deserialize_with = "null_as_default")]
    state: ContainerStateDocument,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ContainerStateDocument {
    running: Option<serde::de::IgnoredAny>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TolerationDocument {
    #[serde(deserialize_with = "null_as_default")]
    key: String,
    #[serde(deserialize_with = "null_as_default")]
    operator: String,
    #[serde(deserialize_with = "null_as_default")]
    value: String,
    #[serde(deserialize_with = "null_as_default")]
    effect: String,
    toleration_seconds: Option<i64>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerDocument {
    #[serde(deserialize_with = "null_as_default")]
    name: String,
    #[serde(deserialize_with = "null_as_default")]
    resources: ResourcesDocument,
    restart_policy: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ResourcesDocument {
    #[serde(deserialize_with = "null_as_default")]
    requests: QuantitiesDocument,
    #[serde(deserialize_with = "null_as_default")]
    limits: QuantitiesDocument,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct VolumeDocument {
    #[serde(deserialize_with = "null_as_default")]
    name: String,
    host_path: Option<serde::de::IgnoredAny>,
    git_repo: Option<serde::de::IgnoredAny>,
    config_map: Option<serde::de::IgnoredAny>,
    empty_dir: Option<EmptyDirDocument>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct EmptyDirDocument {
    #[serde(deserialize_with = "null_as_default")]
    medium: String,
    size_limit: Option<QuantityDocument>,
}

/// Amounts by name. A null list is an empty one.
#[derive(Default)]
struct QuantitiesDocument(ResourceList);

impl<'de> Deserialize<'de> for QuantitiesDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantities: BTreeMap<String, QuantityDocument> = null_as_default(deserializer)?;
        Ok(Self(quantities.into_iter().map(|(name, QuantityDocument(quantity))| (name, quantity)).collect()))
    }
}

/// A quantity read from the document's own characters, since a number's spelling counts and its digits may be more
/// than floating point holds. Upstream: `Quantity.UnmarshalJSON`, which takes null for zero.
#[derive(Default)]
struct QuantityDocument(Quantity);

impl<'de> Deserialize<'de> for QuantityDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw == "null" {
            return Ok(Self::default());
        }
        let text = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
        text.trim().parse().map(Self).map_err(D::Error::custom)
    }
}

/// Takes null for the default, as Go does.
pub(crate) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl From<PodDocument> for ListedPod {
    fn from(mut document: PodDocument) -> Self {
        let running = |status: &ContainerStatusDocument| status.state.running.is_some();
        Self {
            node_name: std::mem::take(&mut document.spec.node_name),
            phase: std::mem::take(&mut document.status.phase),
            runs: document.status.container_statuses.iter().any(running),
            pod: document.into(),
        }
    }
}

impl From<PodDocument> for Pod {
    fn from(PodDocument { metadata, spec, status, .. }: PodDocument) -> Self {
        Self {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            generation: metadata.generation,
            annotations: metadata.annotations,
            priority: spec.priority,
            priority_class_name: spec.priority_class_name,
            status_qos_class: status.qos_class.filter(|class| !class.is_empty()),
            termination_grace_period_seconds: spec.termination_grace_period_seconds,
            tolerations: spec.tolerations.into_iter().map(Toleration::from).collect(),
            containers: spec.containers.into_iter().map(Container::from).collect(),
            init_containers: spec.init_containers.into_iter().map(Container::from).collect(),
            resources: spec.resources.map(Resources::from),
            overhead: spec.overhead.0,
            volumes: spec.volumes.into_iter().map(Volume::from).collect(),
        }
    }
}

impl From<TolerationDocument> for Toleration {
    fn from(document: TolerationDocument) -> Self {
        let TolerationDocument { key, operator, value, effect, toleration_seconds } = document;
        Self { key, operator, value, effect, toleration_seconds }
    }
}

impl From<ContainerDocument> for Container {
    fn from(document: ContainerDocument) -> Self {
        Self {
            name: document.name,
            resources: document.resources.into(),
            sidecar: document.restart_policy.as_deref() == Some("Always"),
        }
    }
}

impl From<ResourcesDocument> for Resources {
    fn from(document: ResourcesDocument) -> Self {
        Self { requests: document.requests.0, limits: document.limits.0 }
    }
}

impl From<VolumeDocument> for Volume {
    fn from(document: VolumeDocument) -> Self {
        let on_disk = document.empty_dir.as_ref().is_some_and(|empty_dir| empty_dir.medium.is_empty());
        let other = document.host_path.or(document.git_repo).or(document.config_map);
        Self {
            name: document.name,
            local: on_disk || other.is_some(),
            empty_dir: document.empty_dir.map(|empty_dir| EmptyDir {
                size_limit: empty_dir.size_limit.map(|QuantityDocument(limit)| limit),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_spelling() {
        let pods = read_pods(
            r#"{"items":[{"metadata":{"name":"a","namespace":"b"},"spec":{"containers":[{"name":"c","resources":
            {"requests":{"memory":1e3,"cpu":123456789012345678901234567890,"ephemeral-storage":null}}}]}}]}"#,
        )
        .expect("a pod list");
        let requests = &pods[0].containers[0].resources.requests;
        assert_eq!(requests["memory"].to_string(), "1e3");
        assert_eq!(requests["cpu"].exact(), "123456789012345678901234567890");
        assert!(requests["ephemeral-storage"].is_zero());
    }

    #[test]
    fn a_pod_that_has_ended_counts_while_a_container_runs() {
        let pods = read_pod_list(
            r#"{"kind":"List","items":[
            {"kind":"Pod","spec":{"nodeName":"a"},"status":{"phase":"Running"}},
            {"kind":"Pod","spec":{"nodeName":"a"},"status":{"phase":"Succeeded","containerStatuses":[{"state":{"terminated":{}}}]}},
            {"kind":"Pod","spec":{"nodeName":"a"},"status":{"phase":"Failed","containerStatuses":[{"state":{"running":{}}}]}},
            {"kind":"Pod","spec":{},"status":{"phase":"Pending"}},
            {"kind":"Pod","spec":{}}]}"#,
        )
        .expect("a list");
        let seen: Vec<_> = pods.iter().map(|pod| (pod.is_active(), pod.is_unscheduled())).collect();
        assert_eq!(seen, [(true, false), (false, false), (true, false), (true, true), (true, false)]);
    }

    #[test]
    fn other_kinds_are_refused() {
        for (text, expected) in [
            (r#"{"kind":"Pod","metadata":{}}"#, "kind: expected a PodList"),
            (r#"{"kind":"List","items":[{"kind":"Service"}]}"#, "items[0].kind: expected a Pod"),
            ("{}", "missing field `items`"),
        ] {
            let error = read_pods(text).expect_err("no pods").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn mistakes_are_located() {
        let error =
            read_pods(r#"{"items":[{"spec":{"overhead":{"memory":"12Mb"}}}]}"#).expect_err("no quantity");
        let text = error.to_string();
        assert!(text.starts_with("items[0].spec.overhead.memory: "), "{text}");
        assert!(text.contains("line 1 column"), "{text}");
        assert!(text.contains("\"12Mb\" is not a quantity"), "{text}");
    }
}
