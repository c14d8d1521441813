//! When a limit is reached: whom the kernel kills for one on memory, and who does not get what there is no more of.

use plimsoll_eviction::oom::{Process, choice};
use plimsoll_hog::session::EXIT_EXHAUSTED;
use plimsoll_node::report::OomScope;

use super::world::{ContainerStage, World};
use super::{Happening, Simulation, Sink};
use crate::model::curve::Micros;

const PAGE: u64 = 4096;
/// To how many microseconds the moment is found.
const PRECISION: Micros = 1000;

/// A limit that is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// A container's own.
    Container(usize, usize),
    /// That of all pods of a node.
    Pods(usize),
    /// A node's.
    Node(usize),
    /// That of a tmpfs that a container fills.
    Tmpfs(usize, usize),
    /// A node's filesystem, or, without one, the tasks that it may have.
    Full(usize, Option<usize>),
}

impl World<'_> {
    /// The first moment up to another at which a limit is exceeded. What is filled only grows as long as nothing
    /// happens, so that it is enough to look at the end and to search for the crossing if there was one.
    pub(super) fn shortage(&self, to: Micros) -> Option<(Micros, Limit)> {
        let mut found = (to, self.exceeded(to)?);
        let mut before = self.now;
        if let Some(limit) = self.exceeded(before) {
            return Some((before, limit));
        }
        while found.0 - before > PRECISION {
            let middle = before + (found.0 - before) / 2;
            match self.exceeded(middle) {
                Some(limit) => found = (middle, limit),
                None => before = middle,
            }
        }
        Some(found)
    }

    /// A limit that is exceeded at a moment, the innermost first.
    fn exceeded(&self, at: Micros) -> Option<Limit> {
        for (node, state) in self.nodes.iter().enumerate() {
            let plan = self.node_plan(node);
            let mut pods = 0;
            for &pod in &state.pods {
                let containers = self.pods[pod].containers.iter().zip(self.containers(pod));
                for (index, (container, template)) in containers.enumerate() {
                    let memory = self.container_memory(container, template, at);
                    if template.memory_limit.is_some_and(|limit| memory > limit) {
                        return Some(Limit::Container(pod, index));
                    }
                    let bound = template.fill.and_then(|fill| fill.bound);
                    if bound.is_some_and(|bound| container.held.at(at) > bound)
                        && container.state == ContainerStage::Running
                    {
                        return Some(Limit::Tmpfs(pod, index));
                    }
                    pods += memory;
                }
            }
            if plan.pods_memory.is_some_and(|limit| pods > limit) {
                return Some(Limit::Pods(node));
            }
            let kept = self.other_memory(node, at) - self.phase.reclaimable;
            if pods + kept > plan.memory {
                return Some(Limit::Node(node));
            }
            if (self.prepared.storage || self.prepared.processes)
                && let Some(of) = self.exhausted(node, at)
            {
                return Some(Limit::Full(node, of));
            }
        }
        None
    }
}

impl<S: Sink> Simulation<'_, '_, S> {
    /// The kernel kills for a limit on memory, or refuses what there is no more of; false if there is nobody that it could kill.
    pub(super) fn kill(&mut self, limit: Limit) -> bool {
        let (node, scope) = match limit {
            Limit::Container(pod, container) => {
                let node = self.world.pods[pod].node.unwrap_or_default();
                return self.kill_process(node, Some((pod, container)), OomScope::Container);
            }
            Limit::Tmpfs(pod, container) => {
                self.end_container(pod, container, EXIT_EXHAUSTED.into(), false);
                return true;
            }
            Limit::Full(node, of) => return self.run_out(node, of),
            Limit::Pods(node) => (node, OomScope::Kubepods),
            Limit::Node(node) => (node, OomScope::Node),
        };
        let world = &self.world;
        let capacity = world.node_plan(node).memory;
        let mut processes = Vec::new();
        let mut owners = Vec::new();
        let bytes = |memory: i64| u64::try_from(memory).unwrap_or(0);
        for &pod in &world.nodes[node].pods {
            let rules = &world.pods[pod].rules;
            let containers = world.pods[pod].containers.iter().zip(world.containers(pod));
            for (index, (container, template)) in containers.enumerate() {
                if container.state != ContainerStage::Running {
                    continue;
                }
                let own = if template.sidecar { &rules.init_containers } else { &rules.containers };
                let adjustment =
                    own.get(template.index).map_or(0, |own| rules.oom_score_adjustment(own, capacity));
                let memory = bytes(world.container_memory(container, template, world.now));
                processes.push(Process { memory, adjustment });
                owners.push(Some((pod, index)));
            }
        }
        if scope == OomScope::Node
            && let Some(outside) = world.nodes[node].outside
        {
            processes.push(Process { memory: bytes(outside.at(world.now)), adjustment: 0 });
            owners.push(None);
        }
        let first = choice(&processes, bytes(capacity), PAGE);
        let Some(&victim) = first.get(if first.len() > 1 { self.world.dice.one_of(first.len()) } else { 0 })
        else {
            return false;
        };
        self.kill_process(node, owners[victim], scope)
    }

    fn kill_process(&mut self, node: usize, victim: Option<(usize, usize)>, scope: OomScope) -> bool {
        self.world.oom_kills += 1;
        self.tell(&Happening::OomKill { node, pod: victim.map(|(pod, _)| pod), scope });
        match victim {
            Some((pod, container)) => self.end_container(pod, container, 137, scope == OomScope::Container),
            None => self.world.nodes[node].outside = None,
        }
        true
    }
}
