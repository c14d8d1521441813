//! Plain Kubernetes objects out of manifests: what is needed to create them, and where each stands.

use serde_json::{Map, Value, json};

use super::context::Findings;
use super::names::Names;
use crate::plan::{Location, NAMESPACE, PlannedObject, WORKLOAD_LABEL};
use crate::scenario::format::workload::RestartPolicy;
use crate::scenario::tree::{Mark, Node, Tree, shortened};
use crate::scenario::{Code, ManifestObject};

/// The annotation by which steps know an object by another name than its own, so that a scenario can have two versions of it.
const CALLED: &str = "plimsoll.dev/called";

/// Built-in kinds that live in no namespace.
const CLUSTER_SCOPED: &[&str] = &[
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "ClusterTrustBundle",
    "CustomResourceDefinition",
    "DeviceClass",
    "DeviceTaintRule",
    "FlowSchema",
    "IPAddress",
    "IngressClass",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "ResourceSlice",
    "RuntimeClass",
    "ServiceCIDR",
    "StorageClass",
    "StorageVersion",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
    "VolumeAttachment",
    "VolumeAttributesClass",
];

/// Kinds whose pods are replaced when they end.
const CONTROLLERS: &[&str] =
    &["DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"];

/// Namespaces that a cluster has by itself, and ours.
const NAMESPACES: &[&str] = &["default", "kube-node-lease", "kube-public", "kube-system", NAMESPACE];

/// The registry folder of the images that every node has.
const OUR_IMAGES: &str = "docker.io/plimsoll/";

/// A Kubernetes object of a manifest.
pub(super) struct Object {
    pub(super) kind: String,
    pub(super) name: String,
    /// Where its name stands.
    pub(super) mark: Mark,
    /// The object, without our labels.
    value: Value,
    /// Where the object begins.
    place: Mark,
}

/// What runs in a pod, as far as arithmetic goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pods {
    pub(super) count: u32,
    pub(super) controller: bool,
}

/// Reads every object of the manifests.
pub(super) fn read(manifests: &[ManifestObject], findings: &mut Findings) -> Vec<Object> {
    let mut objects = Vec::new();
    for manifest in manifests {
        read_one(&manifest.tree, &mut objects, findings, 0);
    }
    let made: Vec<&str> = objects
        .iter()
        .filter(|object| object.kind == "Namespace")
        .map(|object| object.name.as_str())
        .collect();
    for object in &objects {
        let Some(namespace) = object.namespace() else { continue };
        if !NAMESPACES.contains(&namespace) && !made.contains(&namespace) {
            findings.say_with_help(
                Code::W0007,
                object.mark,
                format!(
                    "{} `{}` is in namespace `{}`, which nothing makes",
                    object.kind,
                    object.name,
                    shortened(namespace)
                ),
                format!("add a Namespace object, or leave the namespace out: it is `{NAMESPACE}` then"),
            );
        }
    }
    objects
}

fn read_one(tree: &Tree, objects: &mut Vec<Object>, findings: &mut Findings, depth: usize) {
    let not_object = |mark: Mark, what: String, findings: &mut Findings| {
        findings.say(Code::E0014, mark, format!("not a Kubernetes object: {what}"));
        findings.incomplete = true;
    };
    if !matches!(tree.node, Node::Mapping(_)) {
        return not_object(tree.mark, format!("expected a mapping, found {}", tree.in_words()), findings);
    }
    let text = |path: &[&str]| tree.at(path).and_then(Tree::text).filter(|text| !text.is_empty());
    let (Some(api_version), Some(kind)) = (text(&["apiVersion"]), text(&["kind"])) else {
        let lacks = if text(&["apiVersion"]).is_none() { "apiVersion" } else { "kind" };
        return not_object(tree.mark, format!("it lacks `{lacks}`"), findings);
    };
    if api_version.starts_with("plimsoll.dev/") {
        return not_object(tree.mark, "it is a scenario".to_owned(), findings);
    }
    if let (Some(items), "List", true) = (tree.get("items"), kind, depth < 4) {
        for item in items.elements() {
            read_one(item, objects, findings, depth + 1);
        }
        return;
    }
    let Some(name) = text(&["metadata", "name"]) else {
        return not_object(tree.mark, format!("{} lacks `metadata.name`", shortened(kind)), findings);
    };
    let mark = tree.at(&["metadata", "name"]).map_or(tree.mark, |name| name.mark);
    for path in [&["metadata"][..], &["metadata", "labels"], &["spec"]] {
        if let Some(part) = tree.at(path)
            && !matches!(part.node, Node::Mapping(_) | Node::Null)
        {
            return not_object(
                part.mark,
                format!("`{}` must be a mapping, found {}", path.join("."), part.in_words()),
                findings,
            );
        }
    }
    if let Some(pod_spec) = pod_spec(tree, kind) {
        check_images(pod_spec, findings);
    }
    let mut value = tree.to_json();
    if !CLUSTER_SCOPED.contains(&kind)
        && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.entry("namespace").or_insert_with(|| json!(NAMESPACE));
    }
    let name = text(&["metadata", "annotations", CALLED]).unwrap_or(name).to_owned();
    objects.push(Object { kind: kind.to_owned(), name, mark, value, place: tree.mark });
}

fn template_path(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template"]),
        "PodTemplate" => Some(&["template"]),
        kind if CONTROLLERS.contains(&kind) => Some(&["spec", "template"]),
        _ => None,
    }
}

fn pod_spec<'a>(tree: &'a Tree, kind: &str) -> Option<&'a Tree> {
    match template_path(kind) {
        Some(path) => tree.at(path)?.get("spec"),
        None if kind == "Pod" => tree.get("spec"),
        None => None,
    }
}

/// A node can pull nothing: it has the images that were put there, and no others.
fn check_images(pod_spec: &Tree, findings: &mut Findings) {
    for list in ["initContainers", "containers"] {
        for container in pod_spec.get(list).map(Tree::elements).unwrap_or_default() {
            let Some(image) = container.get("image") else { continue };
            let Some(name) = image.text() else { continue };
            let known = [OUR_IMAGES, "plimsoll/"].iter().any(|prefix| name.starts_with(prefix));
            if !known {
                findings.say_with_help(
                    Code::W0003,
                    image.mark,
                    format!("image `{}` is not in the nodes, and they can not pull", shortened(name)),
                    format!("images there are {} and {}", crate::plan::HOG_IMAGE, crate::plan::PAUSE_IMAGE),
                );
            } else if container.get("imagePullPolicy").and_then(Tree::text) == Some("Always") {
                let mark = container.get("imagePullPolicy").map_or(image.mark, |policy| policy.mark);
                findings.say_with_help(
                    Code::W0003,
                    mark,
                    "imagePullPolicy Always pulls, and the nodes have nowhere to pull from",
                    "write IfNotPresent or Never",
                );
            }
        }
    }
}

impl Object {
    /// The namespace that it is created in; none for what lives in no namespace.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.value.pointer("/metadata/namespace").and_then(Value::as_str)
    }

    /// The group and version that it is of.
    pub(super) fn api_version(&self) -> &str {
        self.value.pointer("/apiVersion").and_then(Value::as_str).unwrap_or_default()
    }

    /// How many pods it makes at first, and whether they are replaced.
    pub(super) fn pods(&self, nodes: usize) -> Pods {
        let number = |pointer: &str| {
            let number = self.value.pointer(pointer).map_or(Some(1), Value::as_u64).unwrap_or(1);
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let count = match self.kind.as_str() {
            "Pod" => 1,
            "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet" => number("/spec/replicas"),
            "Job" => number("/spec/parallelism"),
            "DaemonSet" => u32::try_from(nodes).unwrap_or(u32::MAX),
            _ => 0,
        };
        Pods { count, controller: CONTROLLERS.contains(&self.kind.as_str()) }
    }

    /// The object with our label on it and on its pod template.
    pub(super) fn labelled(&self, workload: &str, at: &dyn Fn(Mark) -> Location) -> PlannedObject {
        let mut object = self.value.clone();
        let label = |holder: Option<&mut Value>| {
            let Some(holder) = holder.and_then(Value::as_object_mut) else { return };
            let metadata = holder.entry("metadata").or_insert_with(|| json!({}));
            let Some(metadata) = metadata.as_object_mut() else { return };
            let labels = metadata.entry("labels").or_insert(Value::Null);
            if labels.is_null() {
                *labels = Value::Object(Map::new());
            }
            if let Some(labels) = labels.as_object_mut() {
                labels.insert(WORKLOAD_LABEL.to_owned(), json!(workload));
            }
        };
        label(Some(&mut object));
        if let Some(path) = template_path(&self.kind) {
            label(object.pointer_mut(&format!("/{}", path.join("/"))));
        }
        PlannedObject { object, location: at(self.place) }
    }
}

/// A name as a label's value: what a label can not hold becomes a dash.
pub(super) fn label_value(name: &str) -> String {
    let value: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(63)
        .collect();
    value.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// The objects that no step starts, in order, to be created before the first.
pub(super) fn unstarted(
    objects: &[Object],
    names: &Names,
    at: &dyn Fn(Mark) -> Location,
) -> Vec<PlannedObject> {
    objects
        .iter()
        .enumerate()
        .filter(|(index, _)| !names.waits_for_a_step(*index))
        .map(|(index, object)| object.labelled(&names.label_of(index, object), at))
        .collect()
}

/// What the API would make of a pod's restart policy.
pub(super) fn restart_policy(controller: bool, written: Option<RestartPolicy>) -> RestartPolicy {
    written.unwrap_or(if controller { RestartPolicy::Always } else { RestartPolicy::Never })
}
