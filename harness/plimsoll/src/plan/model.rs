//! The types of a plan. A plan holds no references to files: what a scenario named is read by then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use plimsoll_hog::report::{Form, Resource};
use plimsoll_node::config::optional_duration_seconds;
pub use plimsoll_node::config::{BallastImage, ControlPlaneSettings, GpuConfig, WholeGpus};

pub use crate::scenario::format::fill::WhenExhausted;
pub use crate::scenario::format::step::{
    ComponentChange, ControlPlaneComponent, GpuChange, NodeChange, ZoneChange,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::disruption::{
    DeletePodsPlan, DrainPlan, DrainedExpectation, EndedExpectation, EvictPlan, FlappingExpectation,
    ScaleDownExpectation, SlowedExpectation, Standing, TaintPlan,
};

/// The label that every object of a run carries: the name under which the scenario knows it.
pub const WORKLOAD_LABEL: &str = "plimsoll.dev/workload";
/// The namespace that a run's namespaced objects live in, unless a manifest names another.
pub const NAMESPACE: &str = "plimsoll";
/// The image of the filler, as it is imported into every node.
pub const HOG_IMAGE: &str = "docker.io/plimsoll/hog:1";
/// The image of the filler of GPU memory, as it is imported into nodes with GPUs.
pub const GPU_HOG_IMAGE: &str = plimsoll_hog::image::GPU_HOG;
/// The image of the pod sandbox, as it is imported into every node.
pub const PAUSE_IMAGE: &str = "docker.io/plimsoll/pause:1";
/// The name of the volume that a filler fills.
pub const FILLED_VOLUME: &str = "filled";

/// A scenario, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The scenario's `metadata.name`.
    pub name: String,
    /// What it shows, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The scenario's `metadata.labels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What people say that it puts to the test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimPlan>,
    /// The Kubernetes version of the bundle to run on, such as `1.36.3`.
    pub kubernetes: String,
    /// How the control plane is set.
    #[serde(default, skip_serializing_if = "is_default")]
    pub control_plane: ControlPlaneSettings,
    /// The nodes, at least one unless there are hollow ones.
    pub nodes: Vec<NodePlan>,
    /// Nodes that exist in the API alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hollow: Option<HollowPlan>,
    /// Objects that are created before the first step, in order: priority classes, then manifests that no
    /// step starts.
    pub objects: Vec<PlannedObject>,
    /// What `start` and `apply` steps create, by name.
    pub workloads: BTreeMap<String, WorkloadPlan>,
    /// What happens, in order.
    pub steps: Vec<PlannedStep>,
    /// What must turn out to be so.
    pub expectations: Vec<Expectation>,
}

impl Plan {
    /// Whether the scenario says what the API server answers to the eviction of this workload's pods, so that a refusal
    /// is no failure of the step.
    #[must_use]
    pub fn expects_answers_of(&self, of: &str) -> bool {
        let about = |expect: &Expect| matches!(expect, Expect::Answered { workload, draining: false, .. } if workload == of);
        self.expectations.iter().any(|expectation| about(&expectation.expect))
    }

    /// Whether the scenario says what drains of this node come to, so that a refusal is no failure of the step.
    #[must_use]
    pub fn expects_drains_of(&self, node: &str) -> bool {
        let about = |expect: &Expect| matches!(expect, Expect::Drained(drained) if drained.node == node);
        self.expectations.iter().any(|expectation| about(&expectation.expect))
    }

    /// Whether a node has the machine's own GPUs.
    #[must_use]
    pub fn has_real_gpus(&self) -> bool {
        self.nodes.iter().any(|node| node.gpus.as_ref().is_some_and(|gpus| gpus.real))
    }

    /// The same plan with the machine's own GPUs where it has simulated ones.
    ///
    /// # Errors
    /// Why it can not have them.
    pub fn with_real_gpus(mut self) -> Result<Self, &'static str> {
        if self.steps.iter().any(|step| matches!(step.action, Action::Gpu { .. })) {
            return Err("a real GPU can not be given an error");
        }
        if self.nodes.iter().filter(|node| node.gpus.is_some()).count() > 1 {
            return Err("the machine's own GPUs can be those of one node only");
        }
        for gpus in self.nodes.iter_mut().filter_map(|node| node.gpus.as_mut()) {
            gpus.real = true;
        }
        Ok(self)
    }

    /// Whether a node's container runtime has to be listened to: something is expected of it, or it has images to lose.
    #[must_use]
    pub fn follows_runtime(&self, node: &NodePlan) -> bool {
        !node.images.is_empty()
            || self.steps.iter().any(
                |step| matches!(&step.action, Action::Load { node: loaded, .. } if *loaded == node.name),
            )
            || self.expectations.iter().any(
                |line| matches!(&line.expect, Expect::NodeReclaimed(reclaimed) if reclaimed.node == node.name),
            )
    }
}

/// Nodes that exist in the API alone, by zone. Programs play their kubelets, one for each group of nodes that fails together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HollowPlan {
    /// The zones.
    pub zones: Vec<HollowZone>,
    /// `nodeLeaseDurationSeconds` of their kubelets; a quarter of it is how often they renew their leases.
    pub node_lease_duration_seconds: u32,
}

/// A zone of hollow nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HollowZone {
    /// Its name: the nodes' label `topology.kubernetes.io/zone`.
    pub name: String,
    /// How many nodes each group has, in the order of the nodes.
    pub groups: Vec<u32>,
}

impl HollowZone {
    /// The nodes of it.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.groups.iter().sum()
    }

    /// The name of one of its groups, by which its program is known too.
    #[must_use]
    pub fn group(&self, index: usize) -> String {
        format!("hollow-{}-{index}", self.name)
    }

    /// The names of the groups that its first nodes make up.
    #[must_use]
    pub fn groups_of(&self, nodes: u32) -> Vec<String> {
        let mut before = 0;
        let mut names = Vec::new();
        for (index, size) in self.groups.iter().enumerate() {
            if before < nodes {
                names.push(self.group(index));
            }
            before += size;
        }
        names
    }
}

/// The label of hollow nodes: their group.
pub const HOLLOW_LABEL: &str = "plimsoll.dev/hollow";
/// The label of a node's zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Something that people say, and whether it is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimPlan {
    /// What they say.
    pub text: String,
    /// Whether it is so, if the scenario holds.
    pub so: Standing,
}

/// One node and its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePlan {
    /// The node's name.
    pub name: String,
    /// Memory in bytes: both the kernel's limit and the capacity that the kubelet sees.
    pub memory: u64,
    /// The filesystem of the kubelet, in bytes.
    pub nodefs: FilesystemPlan,
    /// The filesystem of images and writable layers; absent where one filesystem serves both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imagefs: Option<FilesystemPlan>,
    /// The most processes and threads that it may have: both the kernel's limit and the maximum that the kubelet sees.
    #[serde(default = "default_pids")]
    pub pids: u64,
    /// Images that are there before the kubelet starts and that nothing uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<BallastImage>,
    /// Its GPUs; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<GpuConfig>,
    /// Labels of the Node object.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints that the node registers with, as `core/v1` Taint objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Value>,
    /// The kubelet's `--housekeeping-interval`: how often it measures each container. Absent for its own 10 s, which it
    /// stretches by a random part of up to as much again.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub housekeeping_interval: Option<Duration>,
    /// The scenario's own KubeletConfiguration fields, verbatim. The node adds what it needs for itself
    /// (runtime endpoint, certificates) and never overrides what stands here.
    pub kubelet: Value,
}

/// The most processes and threads of a node that says nothing of them.
pub const DEFAULT_PIDS: u64 = 8192;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn default_pids() -> u64 {
    DEFAULT_PIDS
}

/// Whether a container of this image runs a filler, of whatever.
#[must_use]
pub fn is_filler(image: Option<&str>) -> bool {
    image.is_some_and(|image| [HOG_IMAGE, GPU_HOG_IMAGE].contains(&image))
}

/// The bounds of one filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemPlan {
    /// Size of the backing image in bytes.
    pub size: u64,
    /// Number of inodes; absent for the filesystem's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
}

/// A Kubernetes object to create, whole, with our labels on it and on its pod template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedObject {
    /// `apiVersion`, `kind`, `metadata` and the rest, as plain JSON.
    pub object: Value,
    /// Where the scenario or manifest says it.
    pub location: Location,
}

/// What one name in `start:` stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPlan {
    /// The name.
    pub name: String,
    /// The objects to create, in order.
    pub objects: Vec<PlannedObject>,
    /// What its filler takes, if the scenario gave it one; manifests that run the filler by themselves have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<FillPlan>,
    /// Number of pods that it stands for at first (1 for a pod, `replicas` for a controller).
    pub pods: u32,
}

/// An amount of one resource to take at a rate and hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FillPlan {
    /// What is taken.
    pub resource: Resource,
    /// In which form, where the resource has several.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Where it is put, for what lies in a filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<FillPlace>,
    /// How much to hold in the end: bytes of memory and disk, a number of inodes and pids, thousandths of a processor.
    pub amount: u64,
    /// How much a second; absent for as fast as the machine can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// How much is taken at once, before the pace begins.
    #[serde(default)]
    pub start_at: u64,
    /// How long it is held, after which the filler ends by itself; absent for until it is told to.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub hold: Option<Duration>,
    /// Whether what was written stays when the filler ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// What it does when there is no more, where that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_exhausted: Option<WhenExhausted>,
}

/// Where a filler puts its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FillPlace {
    /// The container's own root.
    WritableLayer,
    /// The pod's emptyDir volume [`FILLED_VOLUME`].
    EmptyDir {
        /// Above this many bytes the kubelet evicts the pod.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_limit: Option<u64>,
        /// Whether it is a tmpfs.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        in_memory: bool,
    },
    /// This folder of the node.
    HostPath(String),
    /// The node's nodefs, for a filler outside every pod.
    Nodefs,
    /// The node's imagefs, for a filler outside every pod.
    Imagefs,
}

/// A place in a file that a person wrote. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Location {
    /// The file, as it was named on the command line or relative to the scenario.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A step and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// Where the scenario says it.
    pub location: Location,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Create the objects of these workloads.
    Start(Vec<String>),
    /// Wait until something is so; a failure to become so in time fails the run's later steps but not the watching.
    Wait(Wait),
    /// Go on watching for this long, so that what must not happen has had time to happen.
    Observe(#[serde(with = "duration_seconds")] Duration),
    /// Change what a running filler holds, or start one on a node outside every pod.
    Fill {
        /// Whose filler.
        target: FillTarget,
        /// What it holds from now on.
        fill: FillPlan,
    },
    /// Import images into a node.
    Load {
        /// The node.
        node: String,
        /// The images.
        images: Vec<BallastImage>,
    },
    /// Create or replace these objects.
    Apply(Vec<PlannedObject>),
    /// Delete the objects of these workloads.
    Delete(Vec<String>),
    /// Take a node away, or bring it back.
    Node {
        /// The node.
        node: String,
        /// What is done to it.
        change: NodeChange,
    },
    /// Let a simulated GPU of a node have an error, or mend it.
    Gpu {
        /// The node.
        node: String,
        /// The GPU, by its index.
        device: u32,
        /// What is done to it.
        change: GpuChange,
        /// The error, for one that is to have one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xid: Option<u64>,
    },
    /// Let the first so many hollow nodes of a zone fall silent, or be heard again.
    Zone {
        /// The zone.
        zone: String,
        /// How many of its nodes.
        nodes: u32,
        /// What is done to them.
        change: ZoneChange,
    },
    /// Stop a component of the control plane, or start it again.
    ControlPlane {
        /// The component.
        component: ControlPlaneComponent,
        /// What is done to it.
        change: ComponentChange,
    },
    /// Ask the eviction API to remove pods.
    Evict(EvictPlan),
    /// Keep new pods off a node, or let them onto it again.
    Cordon {
        /// The nodes.
        nodes: Vec<String>,
        /// Whether they become unschedulable.
        unschedulable: bool,
    },
    /// Empty a node.
    Drain(DrainPlan),
    /// Put a taint on a node or take it off.
    Taint(TaintPlan),
    /// Delete pods by a selector.
    DeletePods(DeletePodsPlan),
}

/// Who fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FillTarget {
    /// The filler of a workload's pods.
    Workload(String),
    /// A process on this node that belongs to no pod.
    Node(String),
}

/// A bounded wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// What must become so.
    pub until: Until,
    /// How long at most.
    #[serde(with = "duration_seconds")]
    pub within: Duration,
}

/// What a wait waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// Every pod of these workloads has phase Running (as many as the workload asks for).
    Running(Vec<String>),
    /// Every pod of these workloads is Ready.
    Ready(Vec<String>),
    /// At least this many pods were evicted by the kubelet since the run began.
    Evictions(u32),
    /// At least this many pods were rejected by the kubelet at admission since the run began.
    Rejections(u32),
    /// At least this many OOM kills happened since the run began.
    OomKills(u32),
    /// A node's condition is true (`raised`) or, having been true, is false again.
    Condition {
        /// The node.
        node: String,
        /// Such as `MemoryPressure`.
        condition: String,
        /// True to wait for it to be raised, false for it to be cleared.
        raised: bool,
    },
    /// As many pods of each of these workloads as it asks for were told to go: they are marked for deletion, or gone.
    Terminating(Vec<String>),
    /// No pod of these workloads is left, or all have ended (Failed or Succeeded).
    Gone(Vec<String>),
    /// The scheduler said of every pod of these workloads that it finds no node for it.
    Unschedulable(Vec<String>),
    /// The fillers of these workloads report that they hold their whole amount.
    Filled(Vec<String>),
    /// Pods of each of these workloads were on this node, and none that is bound to it is left.
    GoneFrom {
        /// The node.
        node: String,
        /// The workloads.
        workloads: Vec<String>,
    },
    /// A node's condition has this status now: `True`, `False` or `Unknown`.
    ConditionStatus {
        /// The node.
        node: String,
        /// Such as `Ready`.
        condition: String,
        /// The status.
        status: String,
    },
    /// A node has a taint now, or had it and has it no more.
    Taint {
        /// The node.
        node: String,
        /// The taint's key.
        key: String,
        /// Its effect; absent for any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effect: Option<String>,
        /// Whether it must be there.
        present: bool,
    },
    /// So many nodes of a zone of hollow nodes have a taint now, or had it and none of the zone has it any more.
    ZoneTaint {
        /// The zone.
        zone: String,
        /// The taint's key.
        key: String,
        /// Its effect; absent for any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effect: Option<String>,
        /// How many nodes at least.
        count: u32,
        /// Whether it must be there.
        present: bool,
    },
    /// So many drains of this node are over.
    Drained {
        /// The node.
        node: String,
        /// How many.
        count: u32,
    },
    /// So much of an extended resource can be given to pods of a node now, as its status says.
    Allocatable {
        /// The node.
        node: String,
        /// Such as `nvidia.com/gpu`.
        resource: String,
        /// How much exactly.
        amount: u32,
    },
}

/// One line of `expect:`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expectation {
    /// Where the scenario says it.
    pub location: Location,
    /// What it says.
    pub expect: Expect,
}

/// What must turn out to be so. Names are names of workloads; they stand for all their pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expect {
    /// Exactly these were evicted by the kubelet for a resource that was low, group after group; inside a group any order.
    /// A workload may stand in several groups (a controller's pods that go one after another).
    Evicted(Vec<BTreeSet<String>>),
    /// Every pod of these workloads ran until the end of the run, with no restart.
    Survive(Vec<String>),
    /// How much the evictions of one signal gave back.
    Reclaimed {
        /// Such as `memory.available`.
        signal: String,
        /// Bytes or counts.
        #[serde(flatten)]
        band: Band,
        /// The least that `available` must be after the last eviction: threshold and minimum reclaim together are met.
        minimum_reclaim: bool,
    },
    /// These conditions were raised and cleared in this order, and no other pressure condition was.
    Conditions(Vec<ConditionExpectation>),
    /// Whom the kernel killed for memory: exactly these workloads; empty means nobody and nothing on the node.
    OomKills(BTreeSet<String>),
    /// Exactly these were rejected by the kubelet at admission.
    Rejected(BTreeSet<String>),
    /// Exactly these were evicted by the kubelet for being over a limit of local storage, each over this one.
    OverLimit(BTreeMap<String, StorageLimit>),
    /// What the kubelet removed from a node to get space back.
    NodeReclaimed(NodeReclaimedExpectation),
    /// What the kubelet said on evicting this workload's pod.
    Message(MessageExpectation),
    /// The kubelet announced the evictions of these workloads' pods, each once, as it announces evictions.
    Announced(Vec<String>),
    /// The ends of these workloads' pods were decided so close together.
    Together {
        /// The workloads.
        workloads: Vec<String>,
        /// From the first decision to the last.
        #[serde(flatten)]
        lasting: Lasting,
    },
    /// So long from the sample at which the signal's threshold was crossed to the eviction.
    Within {
        /// Such as `memory.available`.
        signal: String,
        /// The bounds.
        #[serde(flatten)]
        lasting: Lasting,
    },
    /// So long from the first sign of termination of this workload's pod to its end.
    Terminated {
        /// The workload.
        workload: String,
        /// The bounds.
        #[serde(flatten)]
        lasting: Lasting,
    },
    /// A controller replaced this workload's evicted pods.
    Replaced(ReplacedExpectation),
    /// These nodes got these taints; none: no node got a NoExecute taint.
    Tainted(Vec<TaintedExpectation>),
    /// How long this workload's pods stayed on a node that had got a NoExecute taint.
    Tolerated {
        /// The workload.
        workload: String,
        /// How long from the taint to the deletion; absent where they must never be deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasting: Option<Lasting>,
        /// Where they must never be deleted: for how many seconds they themselves say that they tolerate the taint.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<u64>,
    },
    /// A pod of each of these workloads was to go and its time was over, but it was still there at the end.
    Terminating(Vec<String>),
    /// How a workload's pods ended.
    Ended(EndedExpectation),
    /// What the API server answered to the requests of `evict` steps, or of drains, about each pod of a workload.
    Answered {
        /// The workload.
        workload: String,
        /// HTTP status codes in order; equal ones one after another count once.
        codes: Vec<u16>,
        /// Whether those of drains are meant.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        draining: bool,
    },
    /// What the drains of a node came to.
    Drained(DrainedExpectation),
    /// The scheduler nominated this node for a pod of this workload.
    Nominated {
        /// The workload.
        workload: String,
        /// The node.
        node: String,
    },
    /// Which pods keep a cluster autoscaler from removing a node.
    ScaleDownBlocked(ScaleDownExpectation),
    /// A condition came and went.
    Flapping(FlappingExpectation),
    /// A bystander's work took so much longer beside another workload.
    Slowed(SlowedExpectation),
    /// How many nodes of a zone got a NoExecute taint, and how far apart.
    TaintRate(TaintRateExpectation),
}

impl Expect {
    /// The key under `expect:` that this is written as.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Evicted(_) => "evicted",
            Self::Survive(_) => "survive",
            Self::Reclaimed { .. } => "reclaimed",
            Self::Conditions(_) => "conditions",
            Self::OomKills(_) => "oomKills",
            Self::Rejected(_) => "rejected",
            Self::OverLimit(_) => "overLimit",
            Self::NodeReclaimed(_) => "nodeReclaimed",
            Self::Message(_) => "message",
            Self::Announced(_) => "announced",
            Self::Together { .. } => "together",
            Self::Within { .. } => "within",
            Self::Terminated { .. } => "terminated",
            Self::Replaced(_) => "replaced",
            Self::Tainted(_) => "tainted",
            Self::Tolerated { .. } => "tolerated",
            Self::Terminating(_) => "terminating",
            Self::Ended(_) => "ended",
            Self::Answered { draining: true, .. } => "drainAnswered",
            Self::Answered { .. } => "answered",
            Self::Drained(_) => "drained",
            Self::Nominated { .. } => "nominated",
            Self::ScaleDownBlocked(_) => "scaleDownBlocked",
            Self::Flapping(_) => "flapping",
            Self::Slowed(_) => "slowed",
            Self::TaintRate(_) => "taintRate",
        }
    }
}

/// A limit of local storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StorageLimit {
    /// An emptyDir volume's `sizeLimit`.
    EmptyDir,
    /// The sum of the limits of a pod's containers.
    Pod,
    /// A container's limit of `ephemeral-storage`.
    Container,
}

impl std::fmt::Display for StorageLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EmptyDir => "EmptyDir",
            Self::Pod => "Pod",
            Self::Container => "Container",
        })
    }
}

/// What the kubelet must have removed from a node, as the container runtime tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReclaimedExpectation {
    /// The node.
    pub node: String,
    /// How many of the images that nothing uses; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Band>,
    /// How many containers that had ended, of pods that were still there; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Band>,
    /// The full names of images that were there to the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
}

/// An amount between two bounds, both included, either absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Band {
    /// The least that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<i64>,
    /// The most that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<i64>,
}

impl Band {
    /// Whether the amount lies in the band.
    #[must_use]
    pub fn holds(&self, amount: i64) -> bool {
        self.at_least.is_none_or(|least| amount >= least) && self.at_most.is_none_or(|most| amount <= most)
    }
}

/// A length of time between two bounds, both included, either absent. In seconds where it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lasting {
    /// The least that holds.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub at_least: Option<Duration>,
    /// The most that holds.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub at_most: Option<Duration>,
}

impl Lasting {
    /// No longer than this.
    #[must_use]
    pub fn at_most(limit: Duration) -> Self {
        Self { at_least: None, at_most: Some(limit) }
    }
}

/// A condition that must have been raised and, unless said otherwise, cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionExpectation {
    /// The node.
    pub node: String,
    /// Such as `MemoryPressure`.
    pub condition: String,
    /// The most time from the crossing of a threshold of its signals to the condition.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_duration_seconds")]
    pub raised_within: Option<Duration>,
    /// Whether it must also have cleared before the run ended.
    pub cleared: bool,
    /// How long from raised to cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleared_within: Option<Lasting>,
}

/// What the kubelet must have said. Absent fields are not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageExpectation {
    /// The workload whose eviction it is.
    pub workload: String,
    /// The starved resource, such as `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The threshold quantity in bytes or counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Band>,
    /// What was available, in bytes or counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<Band>,
    /// The container it must name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What the container was using.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub using: Option<Band>,
    /// What it requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Band>,
}

/// What became of a controller's evicted pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplacedExpectation {
    /// The workload, a controller.
    pub workload: String,
    /// Where the successor went; absent when it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<ReplacedOn>,
    /// Whether the last successor runs at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// How many successors there were.
    #[serde(default)]
    pub times: Band,
    /// The most times that a successor came back to the node its predecessor was evicted from, and was evicted again.
    #[serde(default)]
    pub loops: Band,
    /// How long from one eviction on a node to the next in such a loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loop_period: Option<Lasting>,
    /// How long from the decision on each pod to the Running of its successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_within: Option<Lasting>,
    /// A part of what the scheduler says of a successor that went nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A taint that a node must have got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaintedExpectation {
    /// The node.
    pub node: String,
    /// The taint's key.
    pub key: String,
    /// Its effect; absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// The time from the step that took the node away to the taint; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Lasting>,
    /// Whether it had been taken off again at the end; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<bool>,
}

/// How the nodes of a zone are tainted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaintRateExpectation {
    /// The zone.
    pub zone: String,
    /// The time from one node to the next, the middle one of all; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Lasting>,
    /// How many nodes got the taint; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<Band>,
    /// How many had it at the end; absent where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Band>,
}

/// Where a successor went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplacedOn {
    /// The node that its predecessor was evicted from.
    Same,
    /// Another node.
    Other,
    /// This node.
    Node(String),
    /// Nowhere: it stayed Pending.
    Nowhere,
}

/// Durations as seconds, with fractions.
pub mod duration_seconds {
    use super::*;

    /// Writes seconds.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    /// Reads seconds.
    ///
    /// # Errors
    /// When they are not a length of time.
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
