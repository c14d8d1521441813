//! What is so at a moment of virtual time, and what can be read from it.

use std::borrow::Cow;

use jiff::Timestamp;
use plimsoll_eviction::manager::{Eviction, State as ManagerState};
use plimsoll_eviction::pod::Pod as RulesPod;
use plimsoll_eviction::signal::{NodeCondition, Signal};
use plimsoll_eviction::summary::Summary;
use plimsoll_eviction::taint::{ScheduledDeletion, Taint};

use super::super::assumptions::{Assumptions, Dice, Phase};
use super::super::curve::{Curve, Micros};
use super::super::fill::Kind;
use super::super::node::PreparedNode;
use super::super::prepare::Prepared;
use super::super::template::{ContainerTemplate, PodTemplate, uid};
use super::budgets::BudgetState;
use super::outages::{Health, Outage};
use super::storage::{Machine, NodeStorage};

/// When virtual time is 0, as a wall clock would say it: 2000-01-01T00:00:00Z, which no real run can have.
const EPOCH_SECONDS: i64 = 946_684_800;

/// A moment of virtual time as a wall clock would say it.
#[must_use]
pub fn timestamp(at: Micros) -> Timestamp {
    Timestamp::from_microsecond(EPOCH_SECONDS * 1_000_000 + at).unwrap_or(Timestamp::MAX)
}

/// Memory is taken in pages.
const fn pages(bytes: i64) -> i64 {
    bytes & !4095
}

/// The state of everything.
#[derive(Debug)]
pub struct World<'p> {
    pub(in super::super) prepared: &'p Prepared,
    pub(in super::super) assumptions: &'p Assumptions,
    pub(in super::super) phase: &'p Phase,
    pub(in super::super) now: Micros,
    pub(in super::super) nodes: Vec<NodeState>,
    pub(in super::super) pods: Vec<PodState<'p>>,
    pub(in super::super) controllers: Vec<ControllerState>,
    pub(in super::super) budgets: Vec<BudgetState>,
    pub(in super::super) evictions: u32,
    pub(in super::super) rejections: u32,
    pub(in super::super) oom_kills: u32,
    pub(super) machine: Machine,
    /// How many pods were made of each template.
    pub(super) instances: Vec<u32>,
    pub(super) dice: Dice,
}

/// A node.
#[derive(Debug)]
pub struct NodeState {
    /// What its eviction manager remembers.
    pub(super) manager: ManagerState,
    /// What the node's status says: since when each condition is what it is.
    pub(in super::super) reported: [Condition; NodeCondition::ALL.len()],
    /// The conditions that it is tainted for.
    pub(in super::super) tainted: Vec<NodeCondition>,
    /// Its other taints, and since when it has those that a step set.
    pub(in super::super) taints: Vec<(Taint, Option<Micros>)>,
    /// The keys and effects of all taints that it ever had.
    pub(super) ever_tainted: Vec<(String, String)>,
    /// Whether it is cordoned.
    pub(in super::super) unschedulable: bool,
    /// What is filled of memory outside every pod.
    pub(super) outside: Option<Curve>,
    /// What is on its disks, and what else is filled outside every pod.
    pub(in super::super) storage: NodeStorage,
    /// Whether it is away, and how.
    pub(super) outage: Option<Outage>,
    /// What the node controller knows of it.
    pub(in super::super) health: Health,
    /// The pods that the kubelet runs, stops or has yet to clean up, by place.
    pub(in super::super) pods: Vec<usize>,
    /// Pods that have ended by themselves, which the kubelet still counts as running until a moment.
    pub(super) unnoticed: Vec<(usize, Micros)>,
    /// The statistics, and whose they are.
    pub(super) summary: Summary,
    pub(super) summary_of: Vec<usize>,
    pub(super) status_due: bool,
    /// Pods that a pass has decided to evict and that wait for the one before them to end.
    pub(super) to_evict: Vec<Eviction>,
    /// Whose end the eviction manager waits for, and since when.
    pub(super) awaited: Option<usize>,
    /// When the pods evicted in this pass are cleaned up.
    pub(super) cleaned: Micros,
    /// How many drains of it are over.
    pub(super) drained: u32,
    /// The kubelet's counts of evictions.
    pub(in super::super) counts: Vec<(Signal, u64)>,
}

/// A condition of a node's status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Condition {
    pub(in super::super) raised: bool,
    pub(in super::super) since: Micros,
    pub(super) ever_raised: bool,
}

/// How far a pod is, on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The scheduler has yet to find a node.
    Unscheduled,
    /// Bound; the kubelet has yet to see it, or starts it.
    Starting,
    /// Its containers were started.
    Running,
    /// It is being stopped.
    Ending,
    /// No container of it is left, nor will be.
    Ended,
}

/// What a pod's status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It waits.
    Pending,
    /// It runs.
    Running,
    /// All containers ended well.
    Succeeded,
    /// They did not, or it was evicted or refused.
    Failed,
}

impl Seen {
    /// The phase, as the API has it.
    #[must_use]
    pub const fn phase(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    /// Whether it is final.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// What the kubelet, the taint manager, the eviction API or the scheduler did to a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It evicted it.
    Evicted(Box<Eviction>),
    /// It refused it: the status' reason and message.
    Rejected {
        /// Such as `Evicted`.
        reason: &'static str,
        /// As in the status.
        message: String,
    },
    /// The taint manager deleted it.
    Expelled,
    /// The eviction API deleted it.
    EvictedThroughApi,
    /// The scheduler deleted it, for a pod of higher priority.
    Preempted,
}

/// Why a pod does not fit on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    Unschedulable,
    Taint,
    Affinity,
    Processors,
    Memory,
    Storage,
    Pods,
}

/// Why a pod fits on none of the nodes: how many nodes each of [`Misfit`] holds of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Misfits(pub(super) [u16; 7]);

/// As the scheduler says it. Upstream: `FitError.Error`, with the messages of its filters.
impl std::fmt::Display for Misfits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let reasons = [
            "node(s) were unschedulable",
            "node(s) had untolerated taint(s)",
            "node(s) didn't match Pod's node affinity/selector",
            "Insufficient cpu",
            "Insufficient memory",
            "Insufficient ephemeral-storage",
            "Too many pods",
        ];
        let told = self.0.iter().zip(reasons).filter(|(count, _)| **count > 0);
        let told: Vec<String> = told.map(|(count, reason)| format!("{count} {reason}")).collect();
        write!(f, "0/{} nodes are available: {}.", self.0.iter().sum::<u16>(), told.join(", "))
    }
}

/// A pod.
#[derive(Debug)]
pub struct PodState<'p> {
    pub(in super::super) template: usize,
    pub(in super::super) instance: u32,
    /// The pod of the rules, the template's own for the first that is made of it.
    pub(in super::super) rules: Cow<'p, RulesPod>,
    pub(in super::super) node: Option<usize>,
    pub(super) controller: Option<usize>,
    /// The only node that it may go to, for a DaemonSet's.
    pub(super) pinned: Option<usize>,
    pub(in super::super) containers: Vec<ContainerState>,
    pub(in super::super) stage: Stage,
    pub(in super::super) seen: Seen,
    /// Whether its status says that it is Ready.
    pub(in super::super) ready: bool,
    pub(in super::super) fate: Option<Fate>,
    pub(in super::super) created: Micros,
    pub(in super::super) bound: Option<Micros>,
    pub(in super::super) started: Option<Micros>,
    /// Why no node took it when the scheduler last looked.
    pub(in super::super) unschedulable: Option<Misfits>,
    /// The node on which others go for it.
    pub(in super::super) nominated: Option<usize>,
    /// How often the scheduler looked at it, and when last.
    pub(super) attempts: u32,
    pub(super) attempted: Micros,
    /// When it is to be deleted for the taints of its node.
    pub(super) expulsion: Option<ScheduledDeletion>,
    /// When its deletion was asked for.
    pub(in super::super) deletion: Option<Micros>,
    /// The grace period, in seconds, that it was given then.
    pub(super) deletion_grace: i64,
    /// Whether the object is gone.
    pub(in super::super) deleted: bool,
    /// When it was last measured for statistics, when it is next, and what it used then.
    pub(super) measured: Option<Micros>,
    pub(super) measured_next: Micros,
    pub(super) measured_levels: Vec<i64>,
    pub(super) measured_processes: u64,
    /// When its volumes are measured next.
    pub(super) volumes_next: Micros,
}

/// A container.
#[derive(Debug, Clone)]
pub struct ContainerState {
    pub(in super::super) state: ContainerStage,
    /// What its filler holds.
    pub(in super::super) held: Curve,
    /// What of its fill is still there of when it last ended.
    pub(super) left: i64,
    /// What of its fill was in its layer or its volume when that was last measured.
    pub(super) measured: i64,
    pub(in super::super) restarts: u32,
    pub(in super::super) last: Option<Termination>,
    /// Whether its filler has said that it holds its whole amount.
    pub(in super::super) filled: bool,
    /// What is to happen to it and was decided before this is void.
    pub(super) version: u32,
    /// When it was started.
    pub(in super::super) started: Micros,
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerStage {
    /// It has yet to start, for the first time or again.
    Waiting,
    /// It runs.
    Running,
    /// It ended.
    Ended(Termination),
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Termination {
    /// The exit code.
    pub code: i32,
    /// Whether the kernel killed it at its own limit, as the runtime is told.
    pub oom: bool,
    /// When it had been started.
    pub started: Micros,
    /// When.
    pub at: Micros,
}

/// A controller that has been created.
#[derive(Debug)]
pub struct ControllerState {
    pub(super) object: usize,
    pub(super) replicas: u32,
    pub(super) gone: bool,
    pub(super) failures: u32,
    /// A job makes up for failed pods from then on.
    pub(super) waits_until: Micros,
}

impl<'p> World<'p> {
    /// Virtual time.
    #[must_use]
    pub const fn now(&self) -> Micros {
        self.now
    }

    /// The plan.
    #[must_use]
    pub const fn prepared(&self) -> &'p Prepared {
        self.prepared
    }

    /// A pod.
    #[must_use]
    pub fn pod(&self, pod: usize) -> &PodState<'p> {
        &self.pods[pod]
    }

    /// The workload that a pod belongs to, by its place.
    #[must_use]
    pub fn workload_of(&self, pod: usize) -> Option<usize> {
        self.template(pod).workload
    }

    pub(in super::super) fn template(&self, pod: usize) -> &'p PodTemplate {
        &self.prepared.templates[self.pods[pod].template]
    }

    /// Whether a pod's node is away, so that its kubelet can do nothing for it.
    pub(super) fn is_away(&self, pod: usize) -> bool {
        self.pods[pod].node.is_some_and(|node| self.nodes[node].outage.is_some())
    }

    pub(super) fn node_plan(&self, node: usize) -> &'p PreparedNode {
        &self.prepared.nodes[node]
    }

    pub(super) fn containers(&self, pod: usize) -> &'p [ContainerTemplate] {
        &self.template(pod).containers
    }

    /// The memory that a pod's containers hold.
    #[must_use]
    pub fn pod_memory(&self, pod: usize, at: Micros) -> i64 {
        let containers = self.pods[pod].containers.iter().zip(self.containers(pod));
        containers.map(|(own, template)| self.container_memory(own, template, at)).sum()
    }

    pub(super) fn container_memory(
        &self,
        container: &ContainerState,
        template: &ContainerTemplate,
        at: Micros,
    ) -> i64 {
        let of_memory = template.fill.is_some_and(|fill| fill.kind == Kind::Memory);
        match container.state {
            ContainerStage::Running => {
                pages(if of_memory { container.held.at(at) } else { 0 }) + pages(self.phase.container)
            }
            ContainerStage::Waiting | ContainerStage::Ended(_) => 0,
        }
    }

    /// The memory that all pods of a node hold.
    #[must_use]
    pub fn pods_memory(&self, node: usize, at: Micros) -> i64 {
        self.nodes[node].pods.iter().map(|pod| self.pod_memory(*pod, at)).sum()
    }

    /// The working set of a node that is no pod's.
    #[must_use]
    pub fn other_memory(&self, node: usize, at: Micros) -> i64 {
        let outside = self.nodes[node].outside.map(|curve| pages(curve.at(at)) + pages(self.phase.container));
        pages(self.phase.daemons) + outside.unwrap_or(0)
    }

    /// A node's working set.
    #[must_use]
    pub fn node_memory(&self, node: usize, at: Micros) -> i64 {
        self.other_memory(node, at) + self.pods_memory(node, at)
    }

    /// What is left of a node's memory, as the kubelet counts it.
    #[must_use]
    pub fn memory_available(&self, node: usize, at: Micros) -> i64 {
        self.node_plan(node).memory - self.node_memory(node, at)
    }

    /// Pods of a workload that are there.
    pub(super) fn pods_of(&self, workload: usize) -> impl Iterator<Item = (usize, &PodState<'p>)> {
        let own = move |(_, pod): &(usize, &PodState<'p>)| {
            !pod.deleted && self.prepared.templates[pod.template].workload == Some(workload)
        };
        self.pods.iter().enumerate().filter(own)
    }

    /// The pods that a node's kubelet runs or stops.
    pub fn pods_on(&self, node: usize) -> impl Iterator<Item = usize> {
        self.nodes[node].pods.iter().copied()
    }

    /// A node's statistics as its kubelet last saw them.
    #[must_use]
    pub fn summary(&self, node: usize) -> &Summary {
        &self.nodes[node].summary
    }

    /// Makes a pod of a template.
    pub(super) fn new_pod(
        &mut self,
        template: usize,
        controller: Option<usize>,
        name: Option<String>,
    ) -> usize {
        let own = &self.prepared.templates[template];
        let instance = self.instances[template];
        self.instances[template] += 1;
        let rules = if instance == 0 {
            Cow::Borrowed(own.rules())
        } else {
            let mut rules = own.rules().clone();
            rules.uid = uid(template, instance);
            if let Some(name) = name {
                rules.name = name;
            }
            Cow::Owned(rules)
        };
        let container = |_: &ContainerTemplate| ContainerState {
            state: ContainerStage::Waiting,
            held: Curve::flat(0),
            left: 0,
            measured: 0,
            restarts: 0,
            last: None,
            filled: false,
            version: 0,
            started: 0,
        };
        self.pods.push(PodState {
            template,
            instance,
            rules,
            node: None,
            controller,
            pinned: None,
            containers: own.containers.iter().map(container).collect(),
            stage: Stage::Unscheduled,
            seen: Seen::Pending,
            ready: false,
            fate: None,
            created: self.now,
            bound: None,
            started: None,
            unschedulable: None,
            nominated: None,
            attempts: 0,
            attempted: 0,
            expulsion: None,
            deletion: None,
            deletion_grace: 0,
            deleted: false,
            measured: None,
            measured_next: 0,
            measured_levels: Vec::new(),
            measured_processes: 0,
            volumes_next: Micros::MAX,
        });
        self.pods.len() - 1
    }
}

impl PodState<'_> {
    /// The pod as the rules see it.
    #[must_use]
    pub fn rules(&self) -> &RulesPod {
        &self.rules
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.rules.name
    }

    /// Whether it was evicted by the kubelet.
    #[must_use]
    pub const fn is_evicted(&self) -> bool {
        matches!(self.fate, Some(Fate::Evicted(_)))
    }

    /// Whether a controller still counts on it. Upstream: `IsPodActive`.
    pub(super) const fn is_active(&self) -> bool {
        !self.deleted && !self.seen.is_final() && self.deletion.is_none()
    }

    /// Whether it is as good as gone, though its status says otherwise.
    pub(super) const fn is_going(&self) -> bool {
        self.deletion.is_some() || self.is_evicted()
    }
}

impl NodeState {
    pub(super) fn new(plan: &PreparedNode) -> Self {
        Self {
            manager: ManagerState::default(),
            reported: [Condition::default(); NodeCondition::ALL.len()],
            tainted: Vec::new(),
            taints: plan.taints.iter().map(|taint| (taint.clone(), None)).collect(),
            ever_tainted: Vec::new(),
            unschedulable: false,
            outside: None,
            storage: NodeStorage::default(),
            outage: None,
            health: Health::default(),
            pods: Vec::new(),
            summary: Summary::default(),
            summary_of: Vec::new(),
            status_due: false,
            unnoticed: Vec::new(),
            to_evict: Vec::new(),
            awaited: None,
            cleaned: 0,
            drained: 0,
            counts: Vec::new(),
        }
    }
}
