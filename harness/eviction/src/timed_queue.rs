//! A zone's queue of nodes that wait for their NoExecute taint: unique, ordered by when each is due, limited to a rate.
//!
//! Follows `pkg/controller/nodelifecycle/scheduler` of Kubernetes 1.36.3.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::manager::Choose;
use crate::zone::Limiter;

/// What came of a node's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is done with: the node leaves the queue, and can not be added again until it is removed.
    Done,
    /// It is to be tried again, after so long at least.
    Again(Duration),
}

/// The queue. Upstream: `RateLimitedTimedQueue` with its `UniqueQueue`.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedQueue {
    /// When each node that waits is due.
    waiting: BTreeMap<String, Duration>,
    /// The nodes that were added and not removed, those that are done with among them.
    known: BTreeSet<String>,
    limiter: Limiter,
}

impl TimedQueue {
    /// An empty queue.
    #[must_use]
    pub const fn new(limiter: Limiter) -> Self {
        Self { waiting: BTreeMap::new(), known: BTreeSet::new(), limiter }
    }

    /// Adds a node that is due at once; false if it was added before and not removed. Upstream: `Add`.
    pub fn add(&mut self, node: &str, now: Duration) -> bool {
        let is_new = self.known.insert(node.to_owned());
        if is_new {
            self.waiting.insert(node.to_owned(), now);
        }
        is_new
    }

    /// Takes a node out, so that it can be added again; false if it was not known. Upstream: `Remove`.
    pub fn remove(&mut self, node: &str) -> bool {
        self.waiting.remove(node);
        self.known.remove(node)
    }

    /// Takes every node out. Upstream: `Clear`.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.known.clear();
    }

    /// Changes the rate. Upstream: `SwapLimiter`.
    pub fn swap_limiter(&mut self, rate: f32, now: Duration) {
        self.limiter.swap(rate, now);
    }

    /// The nodes that wait, with when they are due, by name.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, Duration)> {
        self.waiting.iter().map(|(node, due)| (node.as_str(), *due))
    }

    /// The nodes that are due first. Upstream takes any of them.
    fn head(&self) -> Vec<&String> {
        let first = self.waiting.values().min();
        self.waiting.iter().filter(|(_, due)| Some(*due) == first).map(|(node, _)| node).collect()
    }

    /// One look at the queue: as long as the limiter has a token, and the first node is due, that node has its turn.
    ///
    /// The token is taken before it is asked whether the node is due, so a look at a queue whose first node is not due costs
    /// one as well. Upstream: `Try`.
    pub fn attempt(
        &mut self,
        now: Duration,
        choose: &mut impl Choose,
        mut take_turn: impl FnMut(&str) -> Turn,
    ) {
        while let Some(node) = choose.pick(&self.head()).map(|node| (*node).clone()) {
            if !self.limiter.try_accept(now) || self.waiting.get(&node).is_none_or(|due| now < *due) {
                return;
            }
            match take_turn(&node) {
                Turn::Done => {
                    self.waiting.remove(&node);
                }
                Turn::Again(wait) => {
                    let due = now.saturating_add(wait).saturating_add(Duration::from_nanos(1));
                    self.waiting.insert(node, due);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::First;

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn turns(queue: &mut TimedQueue, now: Duration, turn: Turn) -> Vec<String> {
        let mut taken = Vec::new();
        queue.attempt(now, &mut First, |node| {
            taken.push(node.to_owned());
            turn
        });
        taken
    }

    #[test]
    fn one_node_goes_for_each_token_and_only_once() {
        let mut queue = TimedQueue::new(Limiter::new(2.0, at(0)));
        assert!(queue.add("a", at(0)));
        assert!(queue.add("b", at(1)));
        assert!(!queue.add("a", at(2)), "it is there");
        assert_eq!(turns(&mut queue, at(10), Turn::Done), ["a"]);
        assert!(turns(&mut queue, at(400), Turn::Done).is_empty(), "no token");
        assert_eq!(turns(&mut queue, at(600), Turn::Done), ["b"]);
        assert!(!queue.add("a", at(700)), "it is done with");
        assert!(queue.remove("a") && !queue.remove("a"));
        assert!(queue.add("a", at(700)));
        assert_eq!(turns(&mut queue, at(1200), Turn::Done), ["a"]);
        queue.clear();
        assert!(queue.add("b", at(1300)));
    }

    #[test]
    fn what_failed_comes_again_later_and_behind_the_others() {
        let mut queue = TimedQueue::new(Limiter::new(1000.0, at(0)));
        queue.add("a", at(0));
        queue.add("b", at(1));
        assert_eq!(turns(&mut queue, at(10), Turn::Again(at(5))), ["a"]);
        let waiting: Vec<_> = queue.waiting().collect();
        assert_eq!(waiting, [("a", at(15) + Duration::from_nanos(1)), ("b", at(1))]);
        assert_eq!(turns(&mut queue, at(12), Turn::Done), ["b"]);
        assert!(turns(&mut queue, at(15), Turn::Done).is_empty(), "a nanosecond too early, and a token less");
        assert_eq!(turns(&mut queue, at(16), Turn::Done), ["a"]);
    }

    #[test]
    fn a_look_at_what_is_not_due_costs_a_token() {
        let mut queue = TimedQueue::new(Limiter::new(1.0, at(0)));
        queue.add("a", at(2000));
        assert!(turns(&mut queue, at(1500), Turn::Done).is_empty());
        assert!(turns(&mut queue, at(2400), Turn::Done).is_empty(), "the token went at the look before");
        assert_eq!(turns(&mut queue, at(2500), Turn::Done), ["a"]);
    }

    #[test]
    fn nodes_due_at_one_moment_go_in_any_order() {
        let mut queue = TimedQueue::new(Limiter::new(1.0, at(0)));
        queue.add("a", at(0));
        queue.add("b", at(0));
        let orders = crate::manager::every(|path| {
            let mut taken = Vec::new();
            let mut queue = queue.clone();
            for look in 0..2 {
                queue.attempt(at(look * 1000), path, |node| {
                    taken.push(node.to_owned());
                    Turn::Done
                });
            }
            taken
        });
        assert_eq!(orders, [["a", "b"], ["b", "a"]]);
    }

    #[test]
    fn a_queue_without_a_rate_stands_still() {
        let mut queue = TimedQueue::new(Limiter::new(1.0, at(0)));
        queue.add("a", at(0));
        queue.swap_limiter(0.0, at(1));
        assert!(turns(&mut queue, at(60_000), Turn::Done).is_empty());
        queue.swap_limiter(2.0, at(60_000));
        assert!(turns(&mut queue, at(60_000), Turn::Done).is_empty(), "it waits on");
        assert_eq!(turns(&mut queue, at(60_500), Turn::Done), ["a"]);
    }
}
