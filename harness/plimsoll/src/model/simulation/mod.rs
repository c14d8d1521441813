//! A run in virtual time: nothing is done between two events, and an event costs what it changes.
//!
//! - [`World`]: the state, and what can be read from it.
//! - `kubelet`: its eviction manager's loop, admission, the node's status.
//! - `containers`: how pods start, are stopped, end and start again.
//! - `kernel`: when memory runs out before anybody is evicted, and who is killed.
//! - `control`: controllers, the scheduler, taints.
//! - `storage`: what is on disk, how many processes there are, and what the kubelet knows of both.
//! - `room`: what is left on disk, what is removed to get room, and what comes of a full disk.
//! - `taints`: what taints do, those for conditions and others.
//! - `budgets`: disruption budgets and the eviction API.
//! - `outages`: nodes that are away, and the node controller.
//! - `preemption`: who goes for a pod of higher priority.
//! - `requests`: steps that ask for pods to go, drains among them.
//! - `script`: the steps of the plan.

mod budgets;
mod containers;
mod control;
mod kernel;
mod kubelet;
mod outages;
mod preemption;
mod requests;
mod room;
mod script;
mod storage;
mod taints;
mod world;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use plimsoll_eviction::manager::{Eviction, Outcome};
use plimsoll_node::report::OomScope;

use self::outages::NodeController;
use self::requests::Asker;
use self::script::Script;
pub use self::world::{
    ContainerStage, ContainerState, Fate, NodeState, PodState, Seen, Stage, Termination, World, timestamp,
};
use super::assumptions::{Assumptions, Dice, Phase};
use super::curve::Micros;
use super::prepare::Prepared;
use crate::observe::{Answer, DrainOutcome, StepOutcome};

/// How long after the last step the watches have to tell what is so, as in a real run.
const SETTLE: Micros = 500_000;

/// What happens, as it happens. Pods, nodes and steps are named by their places.
#[derive(Debug)]
pub enum Happening<'a> {
    /// The steps begin.
    Started,
    /// A step began.
    StepBegan(usize),
    /// A step ended.
    StepEnded(usize, StepOutcome),
    /// A pod was created, or its status changed.
    Pod(usize),
    /// A pod's object is gone.
    PodDeleted(usize),
    /// A node's status or taints changed.
    Node(usize),
    /// A kubelet looked.
    Look {
        /// The node.
        node: usize,
        /// What it did.
        outcome: &'a Outcome,
    },
    /// A kubelet evicts a pod.
    Evicted {
        /// The node.
        node: usize,
        /// The pod.
        pod: usize,
        /// Why, and what it says.
        eviction: &'a Eviction,
    },
    /// A kubelet refuses a pod.
    Rejected {
        /// The pod.
        pod: usize,
    },
    /// A kubelet removed something from its node to get room.
    Reclaimed {
        /// The node.
        node: usize,
        /// Containers that had ended: the pod, and the container's place in it.
        containers: &'a [(usize, usize)],
        /// The names of images that nothing used.
        images: &'a [String],
    },
    /// Images were imported into a node.
    Loaded {
        /// The node.
        node: usize,
        /// Their names.
        images: &'a [&'a str],
    },
    /// The kernel killed for memory.
    OomKill {
        /// The node.
        node: usize,
        /// The pod; absent for the filler outside every pod.
        pod: Option<usize>,
        /// Whose limit that was.
        scope: OomScope,
    },
    /// A filler holds its whole amount.
    Filled {
        /// The pod.
        pod: usize,
        /// Its container.
        container: usize,
    },
    /// The API server answered a request that a step made for a pod.
    Answered(&'a Answer),
    /// A drain is over.
    Drained {
        /// The node.
        node: usize,
        /// What it came to.
        outcome: &'a DrainOutcome,
    },
    /// The steps are over.
    Finished,
}

/// Takes what happens.
pub trait Sink {
    /// Time goes on from one moment to the next at which something happens; in between only what is filled changes.
    fn passing(&mut self, world: &World<'_>, from: Micros, to: Micros);

    /// Something happened.
    fn happening(&mut self, world: &World<'_>, happening: &Happening<'_>);
}

/// What is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A kubelet looks.
    Look(usize),
    /// A kubelet reports its node's status.
    Status(usize),
    /// The node controller taints by the conditions of the status.
    Taint(usize),
    /// What the eviction manager waits for has taken too long.
    KillTimeout(usize, usize),
    /// A kubelet has cleaned up a pod that ended.
    CleanUp(usize, usize),
    /// The taint manager deletes a pod, if that is still due.
    Expel(usize),
    /// The scheduler looks at a pod.
    Schedule(usize),
    /// A kubelet sees a pod that was bound to its node.
    Admit(usize),
    /// A pod's containers start.
    Start(usize),
    /// One container starts again.
    Restart(usize, usize, u32),
    /// A container ends with this code.
    End(usize, usize, u32, i32),
    /// The status of a pod is written.
    Report(usize),
    /// A filler says that it holds its whole amount.
    Filled(usize, usize, u32),
    /// A controller looks at its pods.
    Reconcile(usize),
    /// A kubelet has a pod's object removed that ended after it was told to go.
    Remove(usize),
    /// The node controller looks at the nodes' health.
    Monitor,
    /// It taints a node of which nothing is heard, so that no pod comes to it.
    Unreachable(usize),
    /// It takes that taint off.
    Reachable(usize),
    /// It takes the taint off that drives pods out.
    TakeTaintOff(usize),
    /// It looks at its queues of nodes to be tainted.
    PollQueues,
    /// A node that was away is heard of.
    Heard(usize),
    /// A budget's controller counts its pods.
    Count(usize),
    /// A step asks the API server for a pod.
    Ask(usize, usize),
    /// A drain cordons its node.
    DrainCordons(usize),
    /// A drain lists the pods that it takes.
    DrainPicks(usize),
    /// A drain sees that a pod is gone.
    RequestDone(usize, usize),
    /// The time of a drain is over.
    DrainTimesOut(usize),
    /// The fill of a step takes effect.
    Tell,
    /// The time of a step is over.
    StepOver(usize),
    /// Everything is over.
    Finish,
}

struct Simulation<'p, 's, S> {
    world: World<'p>,
    sink: &'s mut S,
    queue: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    serial: u64,
    script: Script,
    /// The steps that ask for pods, in the order in which they began.
    askers: Vec<Asker>,
    controller: NodeController,
    finished: bool,
}

/// Runs a plan once, with everything that is not known taken from one phase of these assumptions.
pub fn simulate(prepared: &Prepared, assumptions: &Assumptions, phase: &Phase, sink: &mut impl Sink) {
    let mut world = World {
        prepared,
        assumptions,
        phase,
        now: 0,
        nodes: prepared.nodes.iter().map(NodeState::new).collect(),
        pods: Vec::new(),
        controllers: Vec::new(),
        budgets: Vec::new(),
        evictions: 0,
        rejections: 0,
        oom_kills: 0,
        instances: vec![0; prepared.templates.len()],
        machine: if prepared.storage || prepared.processes {
            storage::Machine::new(assumptions, phase.seed)
        } else {
            storage::Machine::default()
        },
        dice: Dice::new(phase.seed),
    };
    if prepared.storage {
        for (state, plan) in world.nodes.iter_mut().zip(&prepared.nodes) {
            state.storage = storage::NodeStorage::new(plan, &mut world.dice);
        }
    }
    let mut simulation = Simulation {
        world,
        sink,
        queue: BinaryHeap::with_capacity(32),
        serial: 0,
        script: Script::default(),
        askers: Vec::new(),
        controller: NodeController::default(),
        finished: false,
    };
    simulation.run();
}

impl<S: Sink> Simulation<'_, '_, S> {
    fn run(&mut self) {
        for node in 0..self.world.nodes.len() {
            self.first_look(node);
        }
        self.first_monitoring();
        self.tell(&Happening::Started);
        for object in 0..self.world.prepared.initial.len() {
            self.create(self.world.prepared.initial[object]);
        }
        self.next_step();
        while !self.finished {
            let Some(Reverse((at, _, event))) = self.queue.pop() else { break };
            self.pass_until(at);
            self.handle(event);
            self.check_step();
        }
    }

    /// Lets time go on, and the kernel kill where memory runs out meanwhile.
    fn pass_until(&mut self, at: Micros) {
        while let Some((when, limit)) = self.world.shortage(at) {
            self.advance(when);
            if !self.kill(limit) {
                break;
            }
            self.check_step();
        }
        self.advance(at);
    }

    fn advance(&mut self, to: Micros) {
        let from = self.world.now;
        if to > from {
            self.sink.passing(&self.world, from, to);
            self.world.now = to;
        }
    }

    fn handle(&mut self, event: Event) {
        if self.world.prepared.monitor.is_some() && self.park(event) {
            return;
        }
        match event {
            Event::Look(node) => self.look(node),
            Event::Status(node) => self.report_node(node),
            Event::Taint(node) => self.taint(node),
            Event::KillTimeout(node, pod) => self.kill_timed_out(node, pod),
            Event::CleanUp(node, pod) => self.clean_up(node, pod),
            Event::Expel(pod) => self.expel(pod),
            Event::Schedule(pod) => self.schedule(pod),
            Event::Admit(pod) => self.admit(pod),
            Event::Start(pod) => self.start(pod),
            Event::Restart(pod, container, version) => self.restart(pod, container, version),
            Event::End(pod, container, version, code) => {
                if self.world.pods[pod].containers[container].version == version {
                    self.end_container(pod, container, code, false);
                }
            }
            Event::Report(pod) => self.report(pod),
            Event::Filled(pod, container, version) => self.filled(pod, container, version),
            Event::Reconcile(controller) => self.reconcile(controller),
            Event::Remove(pod) => self.remove(pod),
            Event::Monitor => self.monitor(),
            Event::Unreachable(node) => self.taint_unreachable(node),
            Event::Reachable(node) => self.taint_reachable(node),
            Event::TakeTaintOff(node) => self.take_taint_off(node),
            Event::PollQueues => self.poll_queues(),
            Event::Heard(node) => self.heard(node),
            Event::Count(budget) => self.count(budget),
            Event::Ask(asker, request) => self.ask(asker, request),
            Event::DrainCordons(asker) => self.drain_cordons(asker),
            Event::DrainPicks(asker) => self.drain_picks(asker),
            Event::RequestDone(asker, request) => self.request_done(asker, request),
            Event::DrainTimesOut(asker) => self.drain_times_out(asker),
            Event::Tell => self.take_effect(),
            Event::StepOver(step) => self.step_over(step),
            Event::Finish => {
                self.tell(&Happening::Finished);
                self.finished = true;
            }
        }
    }

    /// Makes something happen after some time.
    fn after(&mut self, time: Micros, event: Event) {
        self.at(self.world.now.saturating_add(time.max(0)), event);
    }

    fn at(&mut self, at: Micros, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse((at.max(self.world.now), self.serial, event)));
    }

    fn tell(&mut self, happening: &Happening<'_>) {
        self.sink.happening(&self.world, happening);
    }

    /// A length of time out of a range of the assumptions.
    fn draw(&mut self, range: fn(&Assumptions) -> super::assumptions::Range) -> Micros {
        let range = range(self.world.assumptions);
        self.world.dice.within(range)
    }
}
