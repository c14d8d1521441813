//! A kubelet: its eviction manager's loop with its statistics, admission, and the node's status.

use std::time::Duration;

use plimsoll_eviction::admission::refusal;
use plimsoll_eviction::layout::NodeReclaim;
use plimsoll_eviction::manager::{
    Eviction, EvictionCause, MONITORING_INTERVAL, POD_CLEANUP_POLL_INTERVAL, POD_CLEANUP_TIMEOUT, Pass,
};
use plimsoll_eviction::pod::Pod as RulesPod;
use plimsoll_eviction::signal::NodeCondition;
use plimsoll_eviction::summary::{ContainerStats, MemoryStats, Summary};

use super::world::{Condition, Fate, PodState, Seen, Stage, World, timestamp};
use super::{Event, Happening, Simulation, Sink};
use crate::model::assumptions::{Dice, Range};
use crate::model::curve::{Micros, SECOND};
use crate::model::template::uid;

/// The least time that the eviction manager waits for a killed pod, in seconds. Upstream: `killPodNow`.
const KILL_TIMEOUT_SECONDS: i64 = 10;

const fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}

/// How often the kubelet asks its container runtime what runs, and how often it goes on with pods that wait for it. Upstream:
/// `genericPlegRelistPeriod`, `syncTicker` in `Kubelet.syncLoop`.
const TURN: Micros = SECOND;

/// The name of the cgroup of all pods in a summary. Upstream: `SystemContainerPods`.
const PODS: &str = "pods";

impl<S: Sink> Simulation<'_, '_, S> {
    /// The first look of a node's kubelet after the steps began; that of a further node is another part of the interval
    /// later.
    pub(super) fn first_look(&mut self, node: usize) {
        let interval = micros(MONITORING_INTERVAL);
        let offset =
            if node == 0 { 0 } else { self.world.dice.within(Range { least: 0, most: interval - 1 }) };
        let at = (self.world.phase.look + offset) % interval;
        // A node is Ready for a while before the steps begin, so that this is never the very first pass.
        let before = Pass { now: timestamp(at - interval), pods: &[], summary: None };
        let manager = &self.world.node_plan(node).manager;
        let state = &self.world.nodes[node].manager;
        let (state, _) = manager.step(state, before, &mut |_: usize| 0, |_| None);
        self.world.nodes[node].manager = state;
        self.at(at, Event::Look(node));
    }

    /// One pass of the eviction manager. Upstream: `managerImpl.synchronize` and the loop around it.
    pub(super) fn look(&mut self, node: usize) {
        self.world.measure(node);
        let active = self.world.active(node);
        let World { nodes, pods, prepared, dice, now, .. } = &mut self.world;
        let (state, prepared, now) = (&nodes[node], *prepared, *now);
        let own: Vec<&RulesPod> = active.iter().map(|pod| pods[*pod].rules.as_ref()).collect();
        let pass = Pass { now: timestamp(now), pods: &own, summary: Some(&state.summary) };
        let manager = &prepared.nodes[node].manager;
        let reclaim = |what: &[NodeReclaim]| {
            prepared.storage.then(|| World::after_reclaim(prepared, node, state, what, now))
        };
        let (after, outcome) =
            manager.step(&state.manager, pass, &mut |options: usize| dice.one_of(options), reclaim);
        let changed = after.conditions() != state.manager.conditions();
        let evictions = outcome.evictions.iter().rev();
        let evictions: Vec<Eviction> =
            evictions.map(|own| Eviction { pod: active[own.pod], ..own.clone() }).collect();
        self.world.nodes[node].manager = after;
        self.tell(&Happening::Look { node, outcome: &outcome });
        self.reclaim(node, &outcome.node_reclaim);
        if changed {
            self.status_soon(node);
        }
        if evictions.is_empty() {
            let pass = self.draw(|own| own.pass);
            self.after(pass + micros(MONITORING_INTERVAL), Event::Look(node));
        } else {
            self.world.nodes[node].to_evict = evictions;
            self.world.nodes[node].cleaned = self.world.now;
            self.evict_next(node);
        }
    }

    /// Evicts the next pod that the pass decided on, or, after the last, waits for them to be cleaned up and looks again
    /// without sleeping. Upstream: `evictPod`, `waitForPodsCleanup`.
    fn evict_next(&mut self, node: usize) {
        let Some(eviction) = self.world.nodes[node].to_evict.pop() else {
            let now = self.world.now;
            let poll = micros(POD_CLEANUP_POLL_INTERVAL);
            let left = self.world.nodes[node].cleaned - now;
            let polls = (left.max(1) + poll - 1) / poll;
            self.after((polls * poll).min(micros(POD_CLEANUP_TIMEOUT)), Event::Look(node));
            return;
        };
        let pod = eviction.pod;
        self.world.evictions += 1;
        if let EvictionCause::Threshold(signal) = eviction.cause {
            let counts = &mut self.world.nodes[node].counts;
            match counts.iter_mut().find(|(counted, _)| *counted == signal) {
                Some((_, count)) => *count += 1,
                None => counts.push((signal, 1)),
            }
        }
        self.tell(&Happening::Evicted { node, pod, eviction: &eviction });
        let grace = eviction.grace_period_seconds;
        self.world.pods[pod].fate = Some(Fate::Evicted(Box::new(eviction)));
        let timeout = KILL_TIMEOUT_SECONDS.max(grace.saturating_add(grace / 2)).saturating_mul(SECOND);
        self.world.nodes[node].awaited = Some(pod);
        self.after(timeout, Event::KillTimeout(node, pod));
        if self.world.pods[pod].stage == Stage::Ended {
            // It had ended by itself: there is nothing left to wait for.
            let cleanup = self.draw(|own| own.cleanup);
            self.is_killed(node, pod, cleanup);
        } else {
            self.stop(pod, grace);
        }
    }

    /// A pod's last container has ended.
    pub(super) fn pod_stopped(&mut self, node: usize, pod: usize) {
        let cleanup = self.draw(|own| own.cleanup);
        if self.world.prepared.storage {
            self.after(cleanup, Event::CleanUp(node, pod));
        }
        self.is_killed(node, pod, cleanup);
    }

    /// Until when a pod that ends now by itself is a running one to its kubelet: at one of its turns it learns that the containers have
    /// ended, and at one of another kind that the pod has; then its sandbox is stopped. Upstream: `GenericPLEG.Relist`,
    /// `podWorkers.completeWork`, `Kubelet.SyncTerminatingPod`.
    pub(super) fn unnoticed_until(&mut self) -> Micros {
        let turn = Range { least: 0, most: TURN };
        let turns = self.world.dice.within(turn) + self.world.dice.within(turn);
        self.world.now + turns + self.draw(|own| own.end)
    }

    /// The eviction manager goes on if it waits for this pod.
    fn is_killed(&mut self, node: usize, pod: usize, cleanup: Micros) {
        let own = &mut self.world.nodes[node];
        if own.awaited == Some(pod) {
            own.awaited = None;
            own.cleaned = own.cleaned.max(self.world.now + cleanup);
            self.evict_next(node);
        }
    }

    /// A killed pod takes longer to end than the eviction manager waits: it goes on as if it had ended.
    pub(super) fn kill_timed_out(&mut self, node: usize, pod: usize) {
        let own = &mut self.world.nodes[node];
        if own.awaited == Some(pod) {
            own.awaited = None;
            own.cleaned = Micros::MAX / 2;
            self.evict_next(node);
        }
    }

    /// A kubelet sees a pod that was bound to its node, and lets it in or does not.
    pub(super) fn admit(&mut self, pod: usize) {
        let (Some(node), Stage::Starting) = (self.world.pods[pod].node, self.world.pods[pod].stage) else {
            return;
        };
        let conditions = self.world.nodes[node].manager.conditions();
        let refused = refusal(&self.world.pods[pod].rules, conditions)
            .map(|message| ("Evicted", message.to_string()))
            .or_else(|| self.world.no_room(pod, node));
        if let Some((reason, message)) = refused {
            let own = &mut self.world.pods[pod];
            own.fate = Some(Fate::Rejected { reason, message });
            own.stage = Stage::Ended;
            self.world.rejections += 1;
            self.tell(&Happening::Rejected { pod });
            self.report(pod);
            return;
        }
        self.world.nodes[node].pods.push(pod);
        let start = self.draw(|own| own.start);
        self.after(start, Event::Start(pod));
    }

    /// Has the node's status written at the kubelet's next turn to do so.
    fn status_soon(&mut self, node: usize) {
        if std::mem::replace(&mut self.world.nodes[node].status_due, true) {
            return;
        }
        let most = self.world.node_plan(node).status_interval;
        let turn = self.world.dice.within(Range { least: 0, most });
        self.after(turn, Event::Status(node));
    }

    /// The node's status is written. Upstream: `Kubelet.syncNodeStatus`.
    pub(super) fn report_node(&mut self, node: usize) {
        let now = self.world.now;
        let own = &mut self.world.nodes[node];
        own.status_due = false;
        let mut changed = false;
        for (condition, reported) in NodeCondition::ALL.into_iter().zip(&mut own.reported) {
            let raised = own.manager.conditions().contains(&condition);
            if raised != reported.raised {
                *reported = Condition { raised, since: now, ever_raised: reported.ever_raised || raised };
                changed = true;
            }
        }
        if changed {
            self.tell(&Happening::Node(node));
            let control = self.draw(|own| own.control);
            self.after(control, Event::Taint(node));
        }
    }
}

impl World<'_> {
    /// The pods of a node that its kubelet may evict: those that it runs, and those that have ended by themselves and that it has
    /// not found ended yet. The latter have no statistics any more, and so go first. Upstream: `GetActivePods`.
    fn active(&mut self, node: usize) -> Vec<usize> {
        let Self { nodes, pods, now, .. } = self;
        let own = &mut nodes[node];
        own.unnoticed.retain(|(pod, until)| until > now && !pods[*pod].is_going());
        own.pods.iter().copied().chain(own.unnoticed.iter().map(|(pod, _)| *pod)).collect()
    }

    /// Brings a node's statistics up to date: the node's and all pods' figures are taken on demand, a pod's are those of
    /// cAdvisor's last turn. Upstream: `summaryProviderImpl.Get` with `updateStats`.
    fn measure(&mut self, node: usize) {
        let now = self.now;
        for index in 0..self.nodes[node].pods.len() {
            self.measure_pod(self.nodes[node].pods[index], now);
        }
        let plan = self.node_plan(node);
        let pods_memory = self.pods_memory(node, now);
        let whole = self.other_memory(node, now) + pods_memory;
        let World { nodes, pods, prepared, .. } = self;
        let own = &mut nodes[node];
        let measured = |pod: &&usize| pods[**pod].measured.is_some();
        if !own.pods.iter().filter(measured).eq(own.summary_of.iter()) {
            own.summary_of = own.pods.iter().filter(measured).copied().collect();
            let stats = own.summary_of.iter().map(|pod| {
                let pod = &pods[*pod];
                let mut stats = prepared.templates[pod.template].stats.clone();
                if pod.instance > 0 {
                    stats.pod_ref.uid = uid(pod.template, pod.instance);
                    stats.pod_ref.name.clone_from(&pod.rules.name);
                }
                stats
            });
            own.summary.pods = stats.collect();
        }
        for (pod, stats) in own.summary_of.iter().zip(&mut own.summary.pods) {
            let pod = &pods[*pod];
            let at = pod.measured.map(timestamp);
            let set = |memory: &mut Option<MemoryStats>, level: i64| {
                let memory = memory.get_or_insert_default();
                memory.working_set_bytes = u64::try_from(level).ok();
                memory.time = at;
            };
            set(&mut stats.memory, pod.measured_levels.iter().sum());
            for (container, level) in stats.containers.iter_mut().zip(&pod.measured_levels) {
                set(&mut container.memory, *level);
            }
        }
        let time = Some(timestamp(now));
        let figures = |limit: i64, used: i64| MemoryStats {
            time,
            available_bytes: Some((limit - used).cast_unsigned()),
            usage_bytes: None,
            working_set_bytes: u64::try_from(used).ok(),
        };
        own.summary.node.memory = Some(figures(plan.memory, whole));
        pods_cgroup(&mut own.summary).memory =
            Some(figures(plan.pods_memory.unwrap_or(plan.memory), pods_memory));
        if self.prepared.storage || self.prepared.processes {
            self.measure_storage(node);
        }
        if self.prepared.processes {
            self.measure_processes(node);
        }
    }

    /// Lets cAdvisor measure a pod at each of its turns up to now: an interval apart, stretched by chance to up to twice
    /// as long. Upstream: `containerData.nextHousekeepingInterval`.
    pub(super) fn measure_pod(&mut self, pod: usize, now: Micros) {
        self.measure_pod_storage(pod, now);
        let Some(node) = self.pods[pod].node else { return };
        let interval = self.prepared.nodes[node].housekeeping;
        let own: &mut PodState<'_> = &mut self.pods[pod];
        if own.started.is_none() || own.measured_next > now {
            return;
        }
        let mut last = own.measured_next;
        next_turn(&mut own.measured_next, interval, &mut self.dice);
        while own.measured_next <= now {
            last = own.measured_next;
            next_turn(&mut own.measured_next, interval, &mut self.dice);
        }
        let own = &self.pods[pod];
        let containers = own.containers.iter().zip(self.containers(pod));
        let levels = containers.map(|(own, template)| self.container_memory(own, template, last)).collect();
        let tasks = if self.prepared.processes { self.pod_tasks(pod, last) } else { 0 };
        let own = &mut self.pods[pod];
        own.measured_levels = levels;
        own.measured_processes = u64::try_from(tasks).unwrap_or(0);
        own.measured = Some(last);
    }

    /// Why a node's kubelet has no room for a pod that came to it past the scheduler. Upstream: `predicateAdmitHandler`.
    fn no_room(&self, pod: usize, node: usize) -> Option<(&'static str, String)> {
        let plan = self.node_plan(node);
        let requests = self.nodes[node].pods.iter().map(|pod| self.template(*pod).request());
        let (memory, processors, storage) = requests.fold((0, 0, 0), |(memory, processors, storage), own| {
            (memory + own.memory, processors + own.processors, storage + own.storage)
        });
        let own = self.template(pod).request();
        let whole = plan.processors.unwrap_or(self.assumptions.processors) - plan.reserved_processors;
        let refused = |reason, resource: &str, requested: i64, used: i64, capacity: i64| {
            let message = format!(
                "Pod was rejected: Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, \
                 capacity: {capacity}"
            );
            Some((reason, message))
        };
        if own.memory > 0 && memory + own.memory > plan.allocatable_memory {
            refused("OutOfmemory", "memory", own.memory, memory, plan.allocatable_memory)
        } else if own.processors > 0 && processors + own.processors > whole {
            refused("OutOfcpu", "cpu", own.processors, processors, whole)
        } else if own.storage > 0 && storage + own.storage > plan.allocatable_storage {
            let left = plan.allocatable_storage;
            refused("OutOfephemeral-storage", "ephemeral-storage", own.storage, storage, left)
        } else {
            None
        }
    }

    /// Whether a pod's status is Running and stays so for all that is known.
    pub(super) fn runs(&self, pod: &PodState<'_>) -> bool {
        pod.seen == Seen::Running && !pod.is_going()
    }
}

fn next_turn(next: &mut Micros, interval: Micros, dice: &mut Dice) {
    *next = next.saturating_add(dice.within(Range { least: interval, most: 2 * interval }).max(1000));
}

/// The statistics of all pods' cgroup.
fn pods_cgroup(summary: &mut Summary) -> &mut ContainerStats {
    let containers = &mut summary.node.system_containers;
    if containers.is_empty() {
        containers.push(ContainerStats { name: PODS.to_owned(), ..ContainerStats::default() });
    }
    &mut containers[0]
}
