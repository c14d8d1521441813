//! The file as a whole, the cluster and its nodes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};

use super::disruption::Standing;
use super::expect::Expect;
use super::gpu::{GpuEviction, Gpus};
use super::step::Step;
use super::values::{Count, Either, Name, Number, Scalar, Size, Time, value_or_mapping};
use super::workload::Workload;
use crate::scenario::located::{Entries, Located};
use crate::scenario::tree::{Node, Tree};

/// The Kubernetes version of a scenario that names none.
pub const DEFAULT_KUBERNETES: &str = "1.36.3";
/// The memory of a node that does not say, and the size of its filesystem: 2Gi.
pub const DEFAULT_SIZE: u64 = 2 << 30;

/// A Plimsoll scenario: Kubernetes nodes with bounds, what is loaded onto them, and what must come of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The version of the format: `plimsoll.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// Always `Scenario`.
    pub kind: Kind,
    /// Its name and what it shows.
    pub metadata: Metadata,
    /// All of it.
    pub spec: Spec,
}

/// The versions of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The only one so far.
    #[serde(rename = "plimsoll.dev/v1alpha1")]
    V1Alpha1,
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Kind {
    /// A scenario.
    Scenario,
}

/// A scenario's name and what it shows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name: says what is shown, in kebab case, such as `usage-over-request-goes-before-qos`.
    pub name: Located<Name>,
    /// What it shows, in a sentence.
    pub description: Option<String>,
    /// Labels to choose scenarios by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What people say that this puts to the test; `plimsoll myths` sets it beside what was observed.
    pub claim: Option<Claim>,
}

/// Something that people say.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claim {
    /// What they say.
    pub text: String,
    /// Whether it is so, by what this scenario expects. What is so instead is its description.
    pub so: Standing,
}

/// What there is, what happens, and what must come of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The Kubernetes version and the nodes. Left out: one node of the default size.
    pub cluster: Option<Cluster>,
    /// Plain Kubernetes objects: files, named relative to the scenario and of one or more documents, or objects
    /// written in place. What a `start` or `apply` step names waits for that step, the rest is created before
    /// the first step.
    #[serde(default)]
    pub manifests: Vec<Located<Manifest>>,
    /// Pods that fill, written briefly. Each becomes a plain Pod or Deployment that runs the filler.
    #[serde(default)]
    pub workloads: Vec<Located<Workload>>,
    /// What happens, in order.
    pub steps: Vec<Located<Step>>,
    /// What must turn out to be so. At least one thing.
    pub expect: Located<Expect>,
}

/// The Kubernetes version and the nodes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// The Kubernetes version, such as `1.36.3` (the default).
    pub kubernetes: Option<Located<String>>,
    /// The nodes. Left out: one node, called `worker`.
    pub nodes: Option<Located<Vec<Located<NodeSpec>>>>,
    /// How soon the control plane acts on nodes that fail. Left out: as Kubernetes does by itself.
    pub control_plane: Option<Located<ControlPlane>>,
    /// Many nodes that exist in the API alone: no pod runs on them, but the control plane treats them as any. With them `nodes`
    /// left out means none.
    pub hollow: Option<Located<Hollow>>,
}

/// The zones of hollow nodes.
#[derive(Debug, Clone)]
pub enum Zones {
    /// So many nodes in each of these.
    Named(Entries<Located<Count>>),
    /// So many zones.
    Number(Count),
}

impl<'de> Deserialize<'de> for Zones {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrEntries;

        impl<'de> Visitor<'de> for NumberOrEntries {
            type Value = Zones;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of zones, or a mapping of zones to numbers of nodes")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Zones, E> {
                Count::read(word).map(Zones::Number).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Zones, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Zones, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Zones, A::Error> {
                Entries::deserialize(MapAccessDeserializer::new(map)).map(Zones::Named)
            }
        }

        deserializer.deserialize_any(NumberOrEntries)
    }
}

impl JsonSchema for Zones {
    fn schema_name() -> Cow<'static, str> {
        "Zones".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let count = generator.subschema_for::<Count>();
        json_schema!({
            "description": "So many nodes in each of these zones, or how many zones there are.",
            "anyOf": [count, { "type": "object", "additionalProperties": count }],
        })
    }
}

/// Nodes that exist in the API alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hollow {
    /// How many there are in all, where `zones` is a number: as evenly spread as they can be.
    pub nodes: Option<Located<Count>>,
    /// By zone, how many; or, with `nodes`, the number of zones, which are called a, b and so on. Node 7 of zone `a` is called
    /// `hollow-a-007`.
    pub zones: Located<Zones>,
    /// `nodeLeaseDurationSeconds` of their kubelets, which say that they live every quarter of it. Default 40, as the kubelet's.
    pub node_lease_duration_seconds: Option<Located<Count>>,
}

/// Flags of the controller manager and of the API server, by their names there. What is left out stays as Kubernetes has it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlane {
    /// How long a node may say nothing before its conditions become Unknown. Kubernetes' own: 50s. A node
    /// here says every second that it lives, unless its `kubelet` sets `nodeStatusUpdateFrequency`.
    pub node_monitor_grace_period: Option<Located<Time>>,
    /// How often the state of all nodes is looked at. Kubernetes' own: 5s.
    pub node_monitor_period: Option<Located<Time>>,
    /// How many nodes of a zone get their NoExecute taint a second, one after another. Kubernetes' own: 0.1, one in 10s.
    pub node_eviction_rate: Option<Located<Number>>,
    /// The same in a zone of which `unhealthyZoneThreshold` or more has failed, and which is large. Kubernetes' own: 0.01.
    pub secondary_node_eviction_rate: Option<Located<Number>>,
    /// The share of a zone's nodes, three at least, from which the zone counts as disrupted. Kubernetes' own: 0.55.
    pub unhealthy_zone_threshold: Option<Located<Number>>,
    /// The most nodes that a zone may have without being large; in a disrupted zone that is not large no node is tainted.
    /// Kubernetes' own: 50.
    pub large_cluster_size_threshold: Option<Located<Count>>,
    /// How many ended pods are kept; 0 keeps all. Kubernetes' own: 12500.
    #[serde(rename = "terminatedPodGCThreshold")]
    pub terminated_pod_gc_threshold: Option<Located<Count>>,
    /// The `tolerationSeconds` for `node.kubernetes.io/not-ready` that the API server gives pods that say nothing. Kubernetes'
    /// own: 300.
    pub default_not_ready_toleration_seconds: Option<Located<Count>>,
    /// The `tolerationSeconds` for `node.kubernetes.io/unreachable` that the API server gives pods that say nothing.
    /// Kubernetes' own: 300.
    pub default_unreachable_toleration_seconds: Option<Located<Count>>,
}

/// A node and its bounds, which hold whatever machine it runs on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Node")]
pub struct NodeSpec {
    /// The node's name.
    pub name: Located<Name>,
    /// All the memory that the node has, its own daemons' share (100 to 200Mi) included. Default 2Gi.
    pub memory: Option<Located<Size>>,
    /// The filesystem of the kubelet: logs, volumes, and without `imagefs` images and writable layers too. Default 2Gi.
    pub nodefs: Option<Located<Filesystem>>,
    /// A filesystem of its own for images and writable layers. Left out: one filesystem serves both.
    pub imagefs: Option<Located<Filesystem>>,
    /// The most processes and threads that the node has, its own 40 to 150 included: the kernel's limit, and what `pid.available` is counted from. Default 8192.
    pub pids: Option<Located<Count>>,
    /// Images that are there before the kubelet starts, which no pod uses: ballast for image garbage collection.
    #[serde(default)]
    pub images: Vec<Located<BallastImage>>,
    /// Its GPUs, and how pods request their memory. Left out: none.
    pub gpus: Option<Located<Gpus>>,
    /// Evicts pods when a GPU runs low on memory. Left out: nobody does.
    pub gpu_eviction: Option<Located<GpuEviction>>,
    /// Labels of the Node object.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints that the node registers with, as Kubernetes writes them.
    #[serde(default)]
    pub taints: Vec<Located<Tree>>,
    /// How often the kubelet measures each container (its flag `--housekeeping-interval`). Left out: its own 10s, which it
    /// stretches by a random part of up to 10s more, so that a pod's usage may be 20s old when pods are ranked. Give 1s
    /// where that is not the subject.
    pub housekeeping_interval: Option<Located<Time>>,
    /// Fields of KubeletConfiguration (kubelet.config.k8s.io/v1beta1), verbatim. A map of thresholds replaces all of
    /// the kubelet's own defaults.
    pub kubelet: Option<Located<Tree>>,
}

/// An image of nothing but weight. The node makes it itself, without a registry.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BallastImage {
    /// Its name; the node knows it as `docker.io/plimsoll/NAME:1`.
    pub name: Located<Name>,
    /// What it takes of its filesystem: half of it packed, half of it unpacked.
    pub size: Located<Size>,
    /// How many empty files are in it, each an inode. Default 0.
    pub files: Option<Located<Count>>,
    /// How many layers it has, none of them shared. Default 1.
    pub layers: Option<Located<Count>>,
    /// Whether it is pinned, so that the kubelet must leave it. Default false.
    #[serde(default)]
    pub pinned: bool,
}

/// A filesystem: its size, or size and number of inodes.
#[derive(Debug, Clone, Copy)]
pub struct Filesystem {
    /// Bytes.
    pub size: Size,
    /// Number of inodes; absent for the filesystem's own choice.
    pub inodes: Option<Count>,
}

/// A filesystem's size and number of inodes.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SizeAndInodes {
    /// The size, such as `2Gi`.
    size: Size,
    /// How many inodes it has. Left out: the filesystem's own choice.
    inodes: Option<Count>,
}

impl<'de> Deserialize<'de> for Filesystem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match value_or_mapping::<Size, SizeAndInodes, D>(deserializer)? {
            Either::Value(size) => Self { size, inodes: None },
            Either::Mapping(SizeAndInodes { size, inodes }) => Self { size, inodes },
        })
    }
}

impl JsonSchema for Filesystem {
    fn schema_name() -> Cow<'static, str> {
        "Filesystem".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A filesystem: its size, or a mapping of size and inodes.",
            "anyOf": [generator.subschema_for::<Size>(), generator.subschema_for::<SizeAndInodes>()],
        })
    }
}

/// Where a Kubernetes object comes from.
#[derive(Debug, Clone)]
pub enum Manifest {
    /// A file of one or more documents.
    File(String),
    /// An object written in place.
    Object(Box<Tree>),
}

impl<'de> Deserialize<'de> for Manifest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileOrObject;

        impl<'de> Visitor<'de> for FileOrObject {
            type Value = Manifest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a file, or a Kubernetes object")
            }

            fn visit_str<E: Error>(self, path: &str) -> Result<Manifest, E> {
                if path.is_empty() || path.contains('\0') {
                    return Err(E::custom("no file has this name: expected one such as ./frontend.yaml"));
                }
                Ok(Manifest::File(path.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Manifest, A::Error> {
                // The place of the whole object is known to whoever asked for a `Located<Manifest>`.
                let node = Node::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Manifest::Object(Box::new(Tree { mark: crate::scenario::tree::Mark::default(), node })))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Manifest, A::Error> {
                Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self))
            }
        }

        deserializer.deserialize_any(FileOrObject)
    }
}

impl JsonSchema for Manifest {
    fn schema_name() -> Cow<'static, str> {
        "Manifest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A file, named relative to the scenario, or a Kubernetes object in place.",
            "anyOf": [
                { "type": "string" },
                {
                    "description": "A Kubernetes object.",
                    "type": "object",
                    "required": ["apiVersion", "kind", "metadata"],
                    "properties": {
                        "apiVersion": { "description": "Such as `v1`.", "type": "string" },
                        "kind": { "description": "Such as `Pod`.", "type": "string" },
                        "metadata": { "description": "Its name, and labels if it has any.", "type": "object" },
                    },
                },
            ],
        })
    }
}
