//! What taints do: those for conditions keep pods away, and those that steps set may drive them out as well.

use plimsoll_eviction::signal::NodeCondition;
use plimsoll_eviction::taint::{Taint, schedule};

use super::world::{Fate, World, timestamp};
use super::{Event, Happening, Simulation, Sink};
use crate::model::curve::Micros;

/// The effect of the taints for conditions.
const NO_SCHEDULE: &str = "NoSchedule";
/// The effect that drives pods out.
const NO_EXECUTE: &str = "NoExecute";

impl<S: Sink> Simulation<'_, '_, S> {
    /// The node controller taints a node for the conditions of its status. Upstream: `doNoScheduleTaintingPass`.
    pub(super) fn taint(&mut self, node: usize) {
        let own = &mut self.world.nodes[node];
        let raised =
            NodeCondition::ALL.into_iter().zip(&own.reported).filter(|(_, reported)| reported.raised);
        let taints: Vec<NodeCondition> = raised.map(|(condition, _)| condition).collect();
        if taints == own.tainted {
            return;
        }
        let fewer = own.tainted.iter().any(|before| !taints.contains(before));
        let added = taints.iter().filter(|now| !own.tainted.contains(now));
        own.ever_tainted.extend(added.map(|own| (own.taint_key().to_owned(), NO_SCHEDULE.to_owned())));
        own.tainted = taints;
        self.tell(&Happening::Node(node));
        if fewer {
            self.room_came_free();
        }
    }

    /// A step puts a taint on a node, or takes it off; false if it is not there.
    pub(super) fn set_taint(&mut self, node: usize, taint: &Taint, on: bool) -> bool {
        let now = self.world.now;
        let own = &mut self.world.nodes[node];
        let before = own.taints.len();
        own.taints.retain(|(other, _)| other.key != taint.key || other.effect != taint.effect);
        let was_there = own.taints.len() < before;
        if on {
            own.taints.push((taint.clone(), Some(now)));
            own.ever_tainted.push((taint.key.clone(), taint.effect.clone()));
        } else if !was_there {
            return false;
        }
        self.tell(&Happening::Node(node));
        for pod in 0..self.world.pods.len() {
            if self.world.pods[pod].node == Some(node) {
                self.mind_taints(pod);
            }
        }
        if !on {
            self.room_came_free();
        }
        true
    }

    /// The taint manager looks at a pod and at the taints of its node. Upstream: `Controller.processPodOnNode`.
    pub(super) fn mind_taints(&mut self, pod: usize) {
        let own = &self.world.pods[pod];
        let Some(node) = own.node.filter(|_| own.is_active()) else { return };
        let taints = &self.world.nodes[node].taints;
        if own.expulsion.is_none() && taints.iter().all(|(taint, _)| taint.effect != NO_EXECUTE) {
            return;
        }
        let taints: Vec<Taint> = taints.iter().map(|(taint, _)| taint.clone()).collect();
        let now = timestamp(self.world.now);
        let due = schedule(&own.rules, &taints, own.expulsion, now);
        self.world.pods[pod].expulsion = due;
        if let Some(due) = due {
            let wait = Micros::try_from(due.at.duration_since(now).as_micros()).unwrap_or(Micros::MAX / 4);
            let control = self.draw(|own| own.control);
            self.after(wait.saturating_add(control), Event::Expel(pod));
        }
    }

    /// The taint manager deletes a pod that was to go by now. Upstream: `addConditionAndDeletePod`.
    pub(super) fn expel(&mut self, pod: usize) {
        let own = &self.world.pods[pod];
        if own.is_active() && own.expulsion.is_some_and(|due| due.at <= timestamp(self.world.now)) {
            self.world.pods[pod].fate.get_or_insert(Fate::Expelled);
            self.delete_pod(pod);
        }
    }
}

impl World<'_> {
    /// Whether a node has a taint.
    pub(super) fn has_taint(&self, node: usize, key: &str, effect: Option<&str>) -> bool {
        let own = &self.nodes[node];
        let for_condition = |condition: &NodeCondition| {
            condition.taint_key() == key && effect.is_none_or(|effect| effect == NO_SCHEDULE)
        };
        own.tainted.iter().any(for_condition)
            || own
                .taints
                .iter()
                .any(|(taint, _)| taint.key == key && effect.is_none_or(|effect| effect == taint.effect))
    }

    /// Whether it ever had it, or has it now.
    pub(super) fn ever_had_taint(&self, node: usize, key: &str, effect: Option<&str>) -> bool {
        let is_it =
            |(own, other): &(String, String)| own == key && effect.is_none_or(|effect| effect == other);
        self.nodes[node].ever_tainted.iter().any(is_it) || self.has_taint(node, key, effect)
    }
}
