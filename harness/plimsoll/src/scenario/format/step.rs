//! What happens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::disruption::{DeletePodsStep, DrainStep, EvictStep, TaintEffect, TaintStep};
use super::document::BallastImage;
use super::fill::{AnyFill, CpuFill, DiskFill, GpuMemoryFill, InodesFill, MemoryFill, PidsFill};
use super::values::{Count, Names, Time};
use crate::scenario::located::Located;
use crate::scenario::tree::Mark;

/// One step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Create these workloads and manifest objects.
    Start(Names),
    /// Wait until something is so. A wait that runs out is a finding; the run goes on watching, but takes no more steps.
    Wait(Box<Wait>),
    /// Go on watching for this long, so that what must not happen has had time to happen.
    Observe(Located<Time>),
    /// Change what a running filler holds, or fill on a node from outside every pod.
    Fill(Box<FillStep>),
    /// Import images that no pod uses into a node that runs, as if they had been pulled.
    Load(LoadStep),
    /// Create or replace these workloads and manifest objects.
    Apply(Names),
    /// Delete these workloads and manifest objects.
    Delete(Names),
    /// Take a node away as nodes are lost, or bring it back.
    Node(NodeStep),
    /// Stop a component of the control plane, or start it again.
    ControlPlane(ControlPlaneStep),
    /// Ask the eviction API to remove the pods of workloads.
    Evict(Box<EvictStep>),
    /// Keep new pods off these nodes.
    Cordon(Names),
    /// Let new pods onto these nodes again.
    Uncordon(Names),
    /// Empty a node, as `kubectl drain` does.
    Drain(Box<DrainStep>),
    /// Taint a node.
    Taint(TaintStep),
    /// Take a taint off a node.
    Untaint(TaintStep),
    /// Delete the pods that a selector finds.
    DeletePods(DeletePodsStep),
    /// Let hollow nodes of a zone fall silent, or be heard again.
    Zone(ZoneStep),
    /// Let a simulated GPU have an error, or mend it.
    Gpu(GpuStep),
}

/// A wait, with its bound.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wait {
    /// What to wait for.
    #[serde(rename = "for")]
    pub until: Located<WaitFor>,
    /// Whose pods, for Running, Ready, Filled, Terminating, Gone and Unschedulable. Left out: everything that was started so far.
    pub pods: Option<Located<Names>>,
    /// How many at least, for evictions, rejections, oomKills and Drained, counted from the start of the run; for a taint of a
    /// zone, how many of its nodes. Default 1. For allocatable how much exactly, and it has no default.
    pub count: Option<Located<Count>>,
    /// Which node condition, for condition, such as `MemoryPressure` or `Ready`.
    pub condition: Option<Located<String>>,
    /// Which taint, for taint, by its key, such as `node.kubernetes.io/unreachable`.
    pub taint: Option<Located<String>>,
    /// With which effect, for taint. Left out: with any.
    pub effect: Option<Located<TaintEffect>>,
    /// Whether the condition or taint must be raised (the default) or, having been raised, cleared. A condition may also have
    /// to be unknown, as those of a node are of which nothing is heard.
    #[serde(rename = "is")]
    pub state: Option<Located<ConditionState>>,
    /// Which extended resource, for allocatable, such as `nvidia.com/gpu`.
    pub resource: Option<Located<String>>,
    /// Whose condition, taint, drain or allocatable; left out: the only node's. For Gone: only pods on this node are waited for.
    pub node: Option<Located<String>>,
    /// For taint, in place of `node`: of this zone of hollow nodes so many must have it (`count`), or, having had it, none any more.
    pub zone: Option<Located<String>>,
    /// How long at most. Every wait has a bound.
    #[schemars(required)]
    pub within: Option<Located<Time>>,
}

/// What a wait waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum WaitFor {
    /// Every pod is Running.
    Running,
    /// Every pod is Ready.
    Ready,
    /// Every filler holds its whole amount.
    Filled,
    /// Every pod was told to go: it is marked for deletion, or gone.
    Terminating,
    /// Every pod is deleted or has ended.
    Gone,
    /// The scheduler has said of every pod that it finds no node for it.
    Unschedulable,
    /// The kubelet evicted so many pods.
    #[serde(rename = "evictions")]
    Evictions,
    /// The kubelet refused so many pods at admission.
    #[serde(rename = "rejections")]
    Rejections,
    /// The kernel killed so many containers for memory.
    #[serde(rename = "oomKills")]
    OomKills,
    /// A node condition is raised or cleared.
    #[serde(rename = "condition")]
    Condition,
    /// A node gets a taint, or loses it.
    #[serde(rename = "taint")]
    Taint,
    /// So many drains of a node are over.
    Drained,
    /// So much of an extended resource can be given to pods of a node, as its kubelet says: what is on unhealthy devices is no part of it.
    /// The scheduler may hear of it a moment later: an `observe` of some seconds goes before pods that must find nothing there.
    #[serde(rename = "allocatable")]
    Allocatable,
}

impl WaitFor {
    /// The word for it in a scenario.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Ready => "Ready",
            Self::Filled => "Filled",
            Self::Terminating => "Terminating",
            Self::Gone => "Gone",
            Self::Unschedulable => "Unschedulable",
            Self::Evictions => "evictions",
            Self::Rejections => "rejections",
            Self::OomKills => "oomKills",
            Self::Condition => "condition",
            Self::Taint => "taint",
            Self::Drained => "Drained",
            Self::Allocatable => "allocatable",
        }
    }
}

/// Which way a condition goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ConditionState {
    /// It is true.
    Raised,
    /// It was true, and is false again.
    Cleared,
    /// Nobody knows.
    Unknown,
}

/// What becomes of a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeStep {
    /// The node. Left out: the only one.
    pub name: Option<Located<String>>,
    /// What is done to it.
    #[serde(rename = "do")]
    pub change: Located<NodeChange>,
}

/// How a node is taken away, and how it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum NodeChange {
    /// Its kubelet ends; containers run on.
    StopKubelet,
    /// Its kubelet is started again.
    StartKubelet,
    /// Every process of it stands still.
    Freeze,
    /// They go on.
    Thaw,
    /// It is cut off from the network, and runs on.
    Cut,
    /// It is on the network again.
    Mend,
    /// It loses its power: every process of it is gone.
    Kill,
    /// It has power again and boots, with empty disks.
    Start,
}

impl NodeChange {
    /// What brings a node back that this took away; none for what brings one back.
    #[must_use]
    pub const fn undone_by(self) -> Option<Self> {
        match self {
            Self::StopKubelet => Some(Self::StartKubelet),
            Self::Freeze => Some(Self::Thaw),
            Self::Cut => Some(Self::Mend),
            Self::Kill => Some(Self::Start),
            Self::StartKubelet | Self::Thaw | Self::Mend | Self::Start => None,
        }
    }

    /// The word for it in a scenario.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StopKubelet => "stopKubelet",
            Self::StartKubelet => "startKubelet",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Cut => "cut",
            Self::Mend => "mend",
            Self::Kill => "kill",
            Self::Start => "start",
        }
    }
}

/// What becomes of a simulated GPU.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuStep {
    /// The node. Left out: the only one.
    pub node: Option<Located<String>>,
    /// The GPU, by its index. Default 0.
    pub device: Option<Located<Count>>,
    /// What is done to it.
    #[serde(rename = "do")]
    pub change: Located<GpuChange>,
    /// The error that it has, by the driver's number for it. Default 79: it fell off the bus.
    pub xid: Option<Located<Count>>,
}

/// What is done to a simulated GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GpuChange {
    /// The driver tells of an error. What runs on it goes on.
    Fail,
    /// It is as new, and the device plugin is started anew: it learns of no mending otherwise.
    Heal,
}

/// What becomes of a zone of hollow nodes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneStep {
    /// The zone.
    pub name: Located<String>,
    /// How many of its nodes, always the first ones. Left out: all.
    pub nodes: Option<Located<Count>>,
    /// What is done to them.
    #[serde(rename = "do")]
    pub change: Located<ZoneChange>,
}

/// How hollow nodes are taken away, and how they come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ZoneChange {
    /// They fall silent.
    Freeze,
    /// They are heard again.
    Thaw,
}

/// What becomes of a component of the control plane.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlaneStep {
    /// The component.
    pub component: Located<ControlPlaneComponent>,
    /// What is done to it.
    #[serde(rename = "do")]
    pub change: Located<ComponentChange>,
}

/// The components of a control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ControlPlaneComponent {
    /// The API server.
    #[serde(rename = "kube-apiserver")]
    ApiServer,
    /// The controller manager.
    #[serde(rename = "kube-controller-manager")]
    ControllerManager,
    /// The scheduler.
    #[serde(rename = "kube-scheduler")]
    Scheduler,
}

impl ControlPlaneComponent {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

/// Whether a component ends or starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ComponentChange {
    /// It ends, by SIGTERM or within 5 seconds by SIGKILL.
    Stop,
    /// It is started again.
    Start,
}

/// Images for a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadStep {
    /// The node. Left out: the only one.
    pub node: Option<Located<String>>,
    /// The images.
    pub images: Located<Vec<Located<BallastImage>>>,
}

/// A change to what is filled: of a workload's fillers, or on a node. One of the two, and one resource.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FillStep {
    /// The workload whose running fillers are to change.
    pub workload: Option<Located<String>>,
    /// The node on which a process that belongs to no pod is to fill.
    pub node: Option<Located<String>>,
    /// Memory that is held from now on.
    pub memory: Option<Located<MemoryFill>>,
    /// Space of a filesystem that is held from now on.
    pub disk: Option<Located<DiskFill>>,
    /// Inodes that are held from now on.
    pub inodes: Option<Located<InodesFill>>,
    /// Processes that are held from now on.
    pub pids: Option<Located<PidsFill>>,
    /// Processor time that is used from now on.
    pub cpu: Option<Located<CpuFill>>,
    /// GPU memory that is held from now on, by the fillers of a workload.
    pub gpu_memory: Option<Located<GpuMemoryFill>>,
}

impl FillStep {
    /// What it fills, each with the place of its field; a step that is right has one.
    pub fn fills(&self) -> impl Iterator<Item = (Mark, AnyFill<'_>)> {
        let memory = self.memory.as_ref().map(|fill| (fill.key, fill.any()));
        let disk = self.disk.as_ref().map(|fill| (fill.key, fill.any()));
        let inodes = self.inodes.as_ref().map(|fill| (fill.key, fill.any()));
        let pids = self.pids.as_ref().map(|fill| (fill.key, fill.any()));
        let cpu = self.cpu.as_ref().map(|fill| (fill.key, fill.any()));
        let gpu_memory = self.gpu_memory.as_ref().map(|fill| (fill.key, fill.any()));
        [memory, disk, inodes, pids, cpu, gpu_memory].into_iter().flatten()
    }

    /// The one thing that it fills, if it is one.
    #[must_use]
    pub fn fill(&self) -> Option<AnyFill<'_>> {
        let mut fills = self.fills();
        let first = fills.next().map(|(_, fill)| fill);
        first.filter(|_| fills.next().is_none())
    }
}
