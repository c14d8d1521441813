//! The scheduler makes room for a pod of higher priority. Who goes is a rule of `plimsoll_eviction`; this asks for it.
//! Upstream: `pkg/scheduler/framework/preemption`, the plugin DefaultPreemption.

use plimsoll_eviction::preemption::{Candidate, NodeVictims, pick_nodes, select_victims};

use super::world::{Fate, Misfit, PodState, World, timestamp};
use super::{Happening, Simulation, Sink};

impl<S: Sink> Simulation<'_, '_, S> {
    /// No node takes a pod as things are: pods of lower priority may have to go for it.
    pub(super) fn preempt(&mut self, pod: usize) {
        if !self.world.may_preempt(pod) {
            return;
        }
        let mut found: Vec<(usize, Vec<usize>, NodeVictims)> = Vec::new();
        for node in 0..self.world.nodes.len() {
            found.extend(self.victims_on(pod, node).map(|(pods, victims)| (node, pods, victims)));
        }
        let nodes: Vec<NodeVictims> = found.iter().map(|(.., victims)| victims.clone()).collect();
        let best = pick_nodes(&nodes);
        let choice = if best.len() > 1 { self.world.dice.one_of(best.len()) } else { 0 };
        let Some((node, victims, _)) = best.get(choice).map(|best| &found[*best]) else {
            self.world.pods[pod].nominated = None;
            return;
        };
        for &victim in victims {
            self.world.pods[victim].fate.get_or_insert(Fate::Preempted);
            self.delete_pod(victim);
        }
        let priority = self.world.pods[pod].rules.effective_priority();
        for other in &mut self.world.pods {
            if other.nominated == Some(*node) && other.rules.effective_priority() < priority {
                other.nominated = None;
            }
        }
        self.world.pods[pod].nominated = Some(*node);
        self.tell(&Happening::Pod(pod));
    }

    /// Who would have to go from a node, if that would help: the pods, and what the node would lose.
    fn victims_on(&mut self, pod: usize, node: usize) -> Option<(Vec<usize>, NodeVictims)> {
        let world = &self.world;
        if world.pods[pod].pinned.is_some_and(|own| own != node) {
            return None;
        }
        // Whatever else keeps it from a node stays as it is when pods go.
        let resources = [Misfit::Processors, Misfit::Memory, Misfit::Storage, Misfit::Pods];
        if !world.misfit(pod, node).is_some_and(|misfit| resources.contains(&misfit)) {
            return None;
        }
        let there: Vec<usize> = world.bound_to(node).collect();
        let candidates: Vec<Candidate> = there.iter().map(|other| world.candidate(*other)).collect();
        let allowed = world.allowed_disruptions();
        let priority = world.pods[pod].rules.effective_priority();
        let mut dice = world.dice.clone();
        let fits = |present: &[bool]| {
            let stay = there.iter().zip(present).filter(|(_, present)| **present).map(|(other, _)| *other);
            world.lacks(pod, node, stay).is_none()
        };
        let victims =
            select_victims(priority, &candidates, &allowed, &mut |options: usize| dice.one_of(options), fits);
        self.world.dice = dice;
        let victims = victims?;
        let places: Vec<usize> = victims.pods.iter().flatten().copied().collect();
        let lost = NodeVictims {
            pods: places.iter().map(|place| candidates[*place].clone()).collect(),
            budget_violations: victims.budget_violations,
        };
        Some((places.into_iter().map(|place| there[place]).collect(), lost))
    }
}

impl World<'_> {
    /// Upstream: `PodEligibleToPreemptOthers`.
    fn may_preempt(&self, pod: usize) -> bool {
        let own = &self.pods[pod];
        let waits_for = |other: &PodState<'_>| {
            other.node == own.nominated
                && !other.deleted
                && other.deletion.is_some()
                && other.rules.effective_priority() < own.rules.effective_priority()
        };
        self.template(pod).preempts && !(own.nominated.is_some() && self.pods.iter().any(waits_for))
    }

    /// A pod as preemption sees it.
    fn candidate(&self, pod: usize) -> Candidate {
        let own = &self.pods[pod];
        Candidate {
            priority: own.rules.effective_priority(),
            started: own.bound.map(|bound| timestamp(bound.div_euclid(1_000_000) * 1_000_000)),
            budgets: self.covering(pod),
        }
    }
}
