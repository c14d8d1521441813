//! Whom the scheduler evicts to make room for a pod of higher priority.
//!
//! Follows `pkg/scheduler/framework/preemption` and `pkg/scheduler/framework/plugins/defaultpreemption` of Kubernetes 1.36.3.

use std::cmp::Reverse;

use jiff::Timestamp;

use crate::manager::Choose;

/// A pod on a node, as preemption sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its priority, 0 if it has none.
    pub priority: i32,
    /// When it started; none if it has not.
    pub started: Option<Timestamp>,
    /// The disruption budgets, by index, that cover it and do not count it as disrupted already.
    pub budgets: Vec<usize>,
}

/// What a node would lose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victims {
    /// The pods, by index, in groups of equal importance, the most important first.
    pub pods: Vec<Vec<usize>>,
    /// How many of them violate a disruption budget.
    pub budget_violations: usize,
}

/// A more important pod comes first: the higher priority, then the earlier start. A pod that has not started counts as
/// starting now. Upstream: `MoreImportantPod`.
fn importance(candidate: &Candidate) -> (Reverse<i32>, Timestamp) {
    (Reverse(candidate.priority), candidate.started.unwrap_or(Timestamp::MAX))
}

/// The pods that would have to go from a node for one of priority `priority` to fit, or none if it does not fit even then.
///
/// `allowed` is how many disruptions each budget still allows. `fits` tells whether the pod fits with these pods
/// present, one flag for each. Pods are let stay one by one, the important ones and those under violated
/// budgets first. Which of equals comes first is left to `choose`, as upstream leaves it open; [`every`](crate::manager::every) takes all.
/// Upstream: `SelectVictimsOnNode`, `filterPodsWithPDBViolation`.
pub fn select_victims(
    priority: i32,
    pods: &[Candidate],
    allowed: &[i64],
    choose: &mut impl Choose,
    mut fits: impl FnMut(&[bool]) -> bool,
) -> Option<Victims> {
    let potential: Vec<usize> = (0..pods.len()).filter(|&pod| pods[pod].priority < priority).collect();
    let mut present: Vec<bool> = pods.iter().map(|pod| pod.priority >= priority).collect();
    if potential.is_empty() || !fits(&present) {
        return None;
    }
    let mut ordered = Vec::with_capacity(potential.len());
    for mut equals in by_importance(potential, pods) {
        while let Some(&pod) = choose.pick(&equals) {
            equals.retain(|other| *other != pod);
            ordered.push(pod);
        }
    }
    let mut left = allowed.to_vec();
    let mut violates = |pod: &usize| {
        pods[*pod].budgets.iter().fold(false, |violated, &budget| {
            let Some(left) = left.get_mut(budget) else { return violated };
            *left -= 1;
            violated || *left < 0
        })
    };
    let (violating, others): (Vec<usize>, Vec<usize>) = ordered.into_iter().partition(|pod| violates(pod));
    let mut victims = Vec::new();
    let mut budget_violations = 0;
    for (at, pod) in violating.iter().chain(&others).copied().enumerate() {
        present[pod] = true;
        if !fits(&present) {
            present[pod] = false;
            victims.push(pod);
            budget_violations += usize::from(at < violating.len());
        }
    }
    Some(Victims { pods: by_importance(victims, pods), budget_violations })
}

/// Pods in groups of equals, the most important first; in a group by index.
fn by_importance(mut chosen: Vec<usize>, pods: &[Candidate]) -> Vec<Vec<usize>> {
    chosen.sort_by_key(|&pod| (importance(&pods[pod]), pod));
    let equal = |one: &usize, other: &usize| importance(&pods[*one]) == importance(&pods[*other]);
    chosen.chunk_by(equal).map(<[usize]>::to_vec).collect()
}

/// A node with the pods it would lose, the most important first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeVictims {
    /// The pods.
    pub pods: Vec<Candidate>,
    /// How many of them violate a disruption budget.
    pub budget_violations: usize,
}

/// The nodes, by index, among which the scheduler takes any: fewest budget violations, then the lowest of the highest
/// priorities, the smallest sum of priorities, the fewest pods, the latest start of the most important pods.
/// Upstream: `pickOneNodeForPreemption`.
#[must_use]
pub fn pick_nodes(nodes: &[NodeVictims]) -> Vec<usize> {
    let key = |node: &NodeVictims| {
        let highest = node.pods.iter().map(|pod| pod.priority).max();
        let raised = |pod: &Candidate| i64::from(pod.priority) + i64::from(i32::MAX) + 1;
        let first = node.pods.first().map(|pod| pod.priority);
        let sum: i64 = node.pods.iter().map(raised).sum();
        let important = node.pods.iter().filter(|pod| Some(pod.priority) == highest);
        let earliest = important.map(|pod| pod.started.unwrap_or(Timestamp::MAX)).min();
        (node.budget_violations, first, sum, node.pods.len(), Reverse(earliest))
    };
    let keys: Vec<_> = nodes.iter().map(key).collect();
    let Some(best) = keys.iter().min() else { return Vec::new() };
    (0..nodes.len()).filter(|&node| keys[node] == *best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::every;

    fn pod(priority: i32, started: i64, budgets: &[usize]) -> Candidate {
        let started = Timestamp::from_second(started).ok();
        Candidate { priority, started, budgets: budgets.to_vec() }
    }

    /// Each pod takes one place; the pod that comes takes one too.
    fn room(places: usize) -> impl FnMut(&[bool]) -> bool {
        move |present| present.iter().filter(|present| **present).count() < places
    }

    /// Every choice of victims that upstream may make.
    fn all(priority: i32, pods: &[Candidate], allowed: &[i64], places: usize) -> Vec<Option<Victims>> {
        every(|path| select_victims(priority, pods, allowed, path, room(places)))
    }

    fn victims(groups: &[&[usize]], budget_violations: usize) -> Option<Victims> {
        Some(Victims { pods: groups.iter().map(|group| group.to_vec()).collect(), budget_violations })
    }

    #[test]
    fn the_least_important_go() {
        let pods = [pod(5, 10, &[]), pod(1, 10, &[]), pod(1, 20, &[]), pod(9, 0, &[])];
        assert_eq!(all(7, &pods, &[], 4), [victims(&[&[2]], 0)]);
        assert_eq!(all(7, &pods, &[], 3), [victims(&[&[1], &[2]], 0)]);
        assert_eq!(all(7, &pods, &[], 2), [victims(&[&[0], &[1], &[2]], 0)]);
        assert_eq!(all(7, &pods, &[], 1), [None]);
        assert_eq!(all(1, &pods, &[], 9), [None]);
    }

    #[test]
    fn any_of_equals_may_go() {
        let pods = [pod(1, 10, &[]), pod(1, 10, &[]), pod(1, 10, &[]), pod(0, 0, &[])];
        let expected = [victims(&[&[2], &[3]], 0), victims(&[&[1], &[3]], 0), victims(&[&[0], &[3]], 0)];
        assert_eq!(all(7, &pods, &[], 3), expected);
        assert_eq!(all(7, &pods, &[], 1), [victims(&[&[0, 1, 2], &[3]], 0)]);
        // A budget that allows one disruption is violated by whichever of the two comes second.
        let pods = [pod(1, 10, &[0]), pod(1, 10, &[0])];
        assert_eq!(all(7, &pods, &[1], 2), [victims(&[&[0]], 0), victims(&[&[1]], 0)]);
    }

    #[test]
    fn pods_under_a_budget_stay_first() {
        let pods = [pod(5, 0, &[]), pod(1, 0, &[0]), pod(1, 1, &[0])];
        // The first under the budget is within it, the second is not.
        assert_eq!(all(7, &pods, &[1], 2), [victims(&[&[0], &[1]], 0)]);
        assert_eq!(all(7, &pods, &[0], 1), [victims(&[&[0], &[1], &[2]], 2)]);
    }

    #[test]
    fn nodes_are_told_apart_step_by_step() {
        let node =
            |budget_violations, pods: &[Candidate]| NodeVictims { pods: pods.to_vec(), budget_violations };
        let one = node(0, &[pod(1, 5, &[])]);
        assert_eq!(pick_nodes(&[one.clone(), node(1, &[pod(0, 9, &[])])]), [0]);
        assert_eq!(pick_nodes(&[one.clone(), node(0, &[pod(2, 9, &[])])]), [0]);
        assert_eq!(pick_nodes(&[one.clone(), node(0, &[pod(1, 9, &[]), pod(-9, 9, &[])])]), [0]);
        assert_eq!(pick_nodes(&[one.clone(), node(0, &[pod(1, 9, &[])])]), [1]);
        assert_eq!(pick_nodes(&[one.clone(), one]), [0, 1]);
        assert!(pick_nodes(&[]).is_empty());
    }
}
