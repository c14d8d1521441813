//! Nodes that are taken away and come back, and what the node controller makes of their silence.
//!
//! Follows `pkg/controller/nodelifecycle` of Kubernetes 1.36.3; zones and queues are those of `plimsoll_eviction`.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_eviction::taint::Taint;
use plimsoll_eviction::timed_queue::{TimedQueue, Turn};
use plimsoll_eviction::zone::{Limiter, Mode, QUEUE_POLL_INTERVAL, ZoneHealth, Zones};

use super::world::{ContainerStage, PodState, Stage, World};
use super::{Event, Happening, Simulation, Sink};
use crate::kubernetes::UNREACHABLE;
use crate::model::assumptions::Range;
use crate::model::curve::{Curve, Micros, SECOND};
use crate::model::prepare::micros;
use crate::plan::NodeChange;

/// How long a pass over the nodes' health takes.
const PASS: Range = Range { least: 1000, most: 20_000 };
/// A kubelet that stood still takes what it last said of a pod for what is so, and looks again so often, in seconds.
/// Upstream: `syncPeriod` of the status manager.
const STATUS_SYNC_SECONDS: i64 = 10;

/// A node that is away.
#[derive(Debug)]
pub(in super::super) struct Outage {
    change: NodeChange,
    since: Micros,
    /// When its kubelet was last heard of.
    heard: Micros,
    /// What its kubelet would have done meanwhile.
    parked: Vec<Event>,
}

/// What the node controller knows of a node.
#[derive(Debug, Default)]
pub(in super::super) struct Health {
    /// When it last saw that something new was heard of the node.
    probed: Micros,
    /// Since when nothing is known of the node; none while something is.
    pub(in super::super) unknown: Option<Micros>,
    /// Since when the node is Ready.
    pub(in super::super) ready_since: Micros,
}

/// The node controller.
#[derive(Debug, Default)]
pub(super) struct NodeController {
    zones: Zones,
    queues: BTreeMap<String, TimedQueue>,
    /// When it last looked at the nodes' health.
    looked: Micros,
    /// Whether a look at the queues is to come.
    polls: bool,
}

impl NodeController {
    /// Whether some node is to be tainted still.
    fn has_waiting(&self) -> bool {
        self.queues.values().any(|queue| queue.waiting().next().is_some())
    }
}

const fn elapsed(now: Micros) -> Duration {
    Duration::from_micros(now.unsigned_abs())
}

impl<S: Sink> Simulation<'_, '_, S> {
    /// Has the node controller look for the first time, where the plan takes nodes away.
    pub(super) fn first_monitoring(&mut self) {
        if let Some(monitor) = &self.world.prepared.monitor {
            let first = self.world.dice.within(Range { least: 0, most: monitor.period });
            self.at(first, Event::Monitor);
        }
    }

    /// A step takes a node away.
    pub(super) fn take_away(&mut self, node: usize, change: NodeChange) {
        let interval = self.world.node_plan(node).status_interval;
        let before = self.world.dice.within(Range { least: 0, most: interval });
        let (since, heard) = (self.world.now, (self.world.now - before).max(0));
        self.world.nodes[node].outage = Some(Outage { change, since, heard, parked: Vec::new() });
        if change != NodeChange::Kill {
            return;
        }
        let own = &mut self.world.nodes[node];
        own.pods.clear();
        own.to_evict.clear();
        own.unnoticed.clear();
        own.awaited = None;
        for pod in self.world.pods.iter_mut().filter(|pod| pod.node == Some(node)) {
            for container in &mut pod.containers {
                container.version += 1;
                container.state = ContainerStage::Waiting;
                container.held = Curve::flat(0);
                container.filled = false;
            }
        }
    }

    /// A step brings a node back; its kubelet is heard of somewhat later.
    pub(super) fn bring_back(&mut self, node: usize) {
        let Some(outage) = &self.world.nodes[node].outage else { return };
        let (change, lasted) = (outage.change, self.world.now - outage.since);
        let mut takes = self.draw(|own| own.returns);
        if change == NodeChange::Cut {
            // Who sends in vain pauses twice as long each time, and so at most as long as it was in vain.
            takes = takes.max(self.world.dice.within(Range { least: 0, most: lasted }));
        }
        self.after(takes, Event::Heard(node));
    }

    /// A node's kubelet is heard of again: it says that it is Ready, and goes on with its pods.
    pub(super) fn heard(&mut self, node: usize) {
        let Some(Outage { change, parked, .. }) = self.world.nodes[node].outage.take() else { return };
        let now = self.world.now;
        let health = &mut self.world.nodes[node].health;
        if health.unknown.take().is_some() {
            health.ready_since = now;
            self.tell(&Happening::Node(node));
            let control = self.draw(|own| own.control);
            self.after(control, Event::Reachable(node));
        }
        for event in parked {
            // What had no power has forgotten what it was about, and its loops begin anew.
            if change != NodeChange::Kill || matches!(event, Event::Look(_) | Event::Status(_)) {
                let soon = self.draw(|own| own.status);
                self.after(soon, event);
            }
        }
        for pod in 0..self.world.pods.len() {
            let own = &self.world.pods[pod];
            if own.node == Some(node) && own.stage != Stage::Ended && !own.seen.is_final() {
                self.go_on(pod, node, change);
            }
        }
    }

    /// The kubelet of a node that was away goes on with a pod.
    fn go_on(&mut self, pod: usize, node: usize, change: NodeChange) {
        let own = &mut self.world.pods[pod];
        let (told, grace) = (own.deletion.is_some(), own.deletion_grace);
        if change == NodeChange::Kill {
            if own.deleted {
                own.stage = Stage::Ended;
                return;
            }
            self.world.nodes[node].pods.push(pod);
            if !told {
                self.world.pods[pod].stage = Stage::Starting;
                let start = self.draw(|own| own.start);
                self.after(start, Event::Start(pod));
                return;
            }
        }
        if told {
            self.stop(pod, grace);
        } else {
            let late = if change == NodeChange::Freeze { STATUS_SYNC_SECONDS * SECOND } else { 0 };
            let late = self.world.dice.within(Range { least: 0, most: late });
            let status = self.draw(|own| own.status);
            self.after(late + status, Event::Report(pod));
        }
    }

    /// Keeps what a kubelet that is away can not do for later; whether it did.
    pub(super) fn park(&mut self, event: Event) -> bool {
        let World { nodes, pods, .. } = &mut self.world;
        let of_pod = |pod: usize| pods[pod].node;
        let (node, of_container) = match event {
            Event::Look(node)
            | Event::Status(node)
            | Event::KillTimeout(node, _)
            | Event::CleanUp(node, _) => (Some(node), false),
            Event::Admit(pod) | Event::Start(pod) | Event::Report(pod) | Event::Remove(pod) => {
                (of_pod(pod), false)
            }
            Event::Restart(pod, ..) | Event::Filled(pod, ..) => (of_pod(pod), false),
            Event::End(pod, ..) => (of_pod(pod), true),
            _ => return false,
        };
        let Some(outage) = node.and_then(|node| nodes[node].outage.as_mut()) else { return false };
        // Containers end without a kubelet, but not where everything stands still.
        if of_container && !matches!(outage.change, NodeChange::Freeze | NodeChange::Kill) {
            return false;
        }
        outage.parked.push(event);
        true
    }

    /// The node controller looks at the nodes' health. Upstream: `Controller.monitorNodeHealth`.
    pub(super) fn monitor(&mut self) {
        let prepared = self.world.prepared;
        let Some(monitor) = &prepared.monitor else { return };
        let (now, looked) = (self.world.now, self.controller.looked);
        let mut health: BTreeMap<String, ZoneHealth> = BTreeMap::new();
        for node in 0..self.world.nodes.len() {
            let own = &mut self.world.nodes[node];
            if own.outage.as_ref().is_none_or(|outage| outage.heard > looked) {
                own.health.probed = now;
            }
            if now > own.health.probed + monitor.grace && own.health.unknown.is_none() {
                self.lose(node);
            }
            let is_unknown = self.world.nodes[node].health.unknown.is_some();
            let name = &prepared.nodes[node].name;
            let zone = &monitor.zones[node];
            let count = health.entry(zone.clone()).or_default();
            if is_unknown {
                count.not_ready += 1;
            } else {
                count.ready += 1;
            }
            let rate = monitor.options.eviction_rate;
            let queue = self.controller.queues.entry(zone.clone());
            let queue = queue.or_insert_with(|| TimedQueue::new(Limiter::new(rate, elapsed(now))));
            if is_unknown {
                queue.add(name, elapsed(now));
            } else if queue.remove(name) || self.world.is_tainted_unreachable(node) {
                let control = self.draw(|own| own.control);
                self.after(control, Event::TakeTaintOff(node));
            }
        }
        let (zones, mode) = self.controller.zones.step(&health, &monitor.options);
        self.controller.zones = zones;
        if mode == Mode::EntersMasterDisruption {
            for node in 0..self.world.nodes.len() {
                if let Some(queue) = self.controller.queues.get_mut(&monitor.zones[node]) {
                    queue.remove(&prepared.nodes[node].name);
                }
                let control = self.draw(|own| own.control);
                self.after(control, Event::TakeTaintOff(node));
            }
        }
        if mode == Mode::LeavesMasterDisruption {
            self.world.nodes.iter_mut().for_each(|own| own.health.probed = now);
        }
        for (zone, queue) in &mut self.controller.queues {
            if let Some((_, rate)) = self.controller.zones.get(zone) {
                queue.swap_limiter(rate, elapsed(now));
            }
        }
        self.controller.looked = now;
        self.poll_queues_soon();
        let pass = self.world.dice.within(PASS);
        self.after(monitor.period + pass, Event::Monitor);
    }

    /// Nothing has been heard of a node for too long. Upstream: `tryUpdateNodeHealth`, `MarkPodsNotReady`.
    fn lose(&mut self, node: usize) {
        self.world.nodes[node].health.unknown = Some(self.world.now);
        self.tell(&Happening::Node(node));
        let control = self.draw(|own| own.control);
        self.after(control, Event::Unreachable(node));
        for pod in 0..self.world.pods.len() {
            let own: &mut PodState<'_> = &mut self.world.pods[pod];
            if own.node == Some(node) && !own.deleted && std::mem::replace(&mut own.ready, false) {
                self.tell(&Happening::Pod(pod));
            }
        }
        self.budgets_soon();
    }

    /// The taint that keeps pods away follows from the node's condition. Upstream: `doNoScheduleTaintingPass`.
    pub(super) fn taint_unreachable(&mut self, node: usize) {
        if self.world.nodes[node].health.unknown.is_some() {
            self.set_taint(node, &unreachable("NoSchedule"), true);
        }
    }

    /// The same, taken off.
    pub(super) fn taint_reachable(&mut self, node: usize) {
        if self.world.nodes[node].health.unknown.is_none() {
            self.set_taint(node, &unreachable("NoSchedule"), false);
        }
    }

    /// The taint that drives pods out is taken off. Upstream: `markNodeAsReachable`.
    pub(super) fn take_taint_off(&mut self, node: usize) {
        self.set_taint(node, &unreachable("NoExecute"), false);
    }

    fn poll_queues_soon(&mut self) {
        if self.controller.has_waiting() && !std::mem::replace(&mut self.controller.polls, true) {
            let poll = micros(QUEUE_POLL_INTERVAL);
            let turn = self.world.dice.within(Range { least: 0, most: poll });
            self.after(turn, Event::PollQueues);
        }
    }

    /// A look at the queues of nodes to be tainted. Upstream: `doNoExecuteTaintingPass`.
    pub(super) fn poll_queues(&mut self) {
        let now = elapsed(self.world.now);
        let mut due: Vec<String> = Vec::new();
        let dice = &mut self.world.dice;
        for queue in self.controller.queues.values_mut() {
            queue.attempt(now, &mut |options: usize| dice.one_of(options), |node| {
                due.push(node.to_owned());
                Turn::Done
            });
        }
        for name in due {
            let Some(node) = self.world.prepared.nodes.iter().position(|node| node.name == name) else {
                continue;
            };
            if self.world.nodes[node].health.unknown.is_some() {
                self.set_taint(node, &unreachable("NoExecute"), true);
            }
        }
        self.controller.polls = self.controller.has_waiting();
        if self.controller.polls {
            self.after(micros(QUEUE_POLL_INTERVAL), Event::PollQueues);
        }
    }
}

fn unreachable(effect: &str) -> Taint {
    Taint { key: UNREACHABLE.to_owned(), value: String::new(), effect: effect.to_owned() }
}

impl World<'_> {
    /// Whether a node has the taint that drives pods out for its silence.
    fn is_tainted_unreachable(&self, node: usize) -> bool {
        let taints = &self.nodes[node].taints;
        taints.iter().any(|(taint, _)| taint.key == UNREACHABLE && taint.effect == "NoExecute")
    }
}
