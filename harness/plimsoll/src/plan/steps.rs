//! What a plan does, step after step.

use std::time::Duration;

use plimsoll_node::config::BallastImage;
use serde::{Deserialize, Serialize};

use super::disruption::{DeletePodsPlan, DrainPlan, EvictPlan, TaintPlan};
use super::model::{FillPlan, Location, PlannedObject, duration_seconds};
pub use crate::scenario::format::step::{
    ComponentChange, ControlPlaneComponent, GpuChange, NodeChange, ZoneChange,
};

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
