//! How fast nodes that fail get their NoExecute taint: the node controller's zone states and its limited queues.
//!
//! Follows `pkg/controller/nodelifecycle` of Kubernetes 1.36.3.

use std::collections::BTreeMap;
use std::time::Duration;

/// How often each zone's queue is looked at. Upstream: `scheduler.NodeEvictionPeriod`.
pub const QUEUE_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How much of a zone has failed. Upstream: `ZoneState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZoneState {
    /// Seen for the first time.
    Initial,
    /// Little or nothing.
    Normal,
    /// More than the threshold allows.
    PartialDisruption,
    /// All of it.
    FullDisruption,
}

/// Nodes of a zone, counted by whether they are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneHealth {
    /// Nodes that are ready.
    pub ready: u32,
    /// Nodes that are not, or of which nothing is known.
    pub not_ready: u32,
}

impl ZoneHealth {
    /// The state that follows from the counts. Upstream: `ComputeZoneState`, which divides in 32-bit floating point.
    #[must_use]
    pub fn state(self, unhealthy_threshold: f32) -> ZoneState {
        let nodes = self.ready.saturating_add(self.not_ready);
        #[expect(clippy::cast_precision_loss, reason = "upstream divides in 32-bit floating point")]
        let share = self.not_ready as f32 / nodes as f32;
        if self.ready == 0 && self.not_ready > 0 {
            ZoneState::FullDisruption
        } else if self.not_ready > 2 && share >= unhealthy_threshold {
            ZoneState::PartialDisruption
        } else {
            ZoneState::Normal
        }
    }
}

/// The kube-controller-manager's flags that matter here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ZoneOptions {
    /// `--node-eviction-rate`: nodes a second and zone.
    pub eviction_rate: f32,
    /// `--secondary-node-eviction-rate`: nodes a second in a large zone that is partly disrupted.
    pub secondary_eviction_rate: f32,
    /// `--unhealthy-zone-threshold`: the share of nodes from which a zone is partly disrupted.
    pub unhealthy_threshold: f32,
    /// `--large-cluster-size-threshold`: the largest zone that counts as small.
    pub large_zone_threshold: u32,
}

impl Default for ZoneOptions {
    fn default() -> Self {
        Self {
            eviction_rate: 0.1,
            secondary_eviction_rate: 0.01,
            unhealthy_threshold: 0.55,
            large_zone_threshold: 50,
        }
    }
}

impl ZoneOptions {
    /// The rate of a zone of so many nodes in a state. Upstream: `setLimiterInZone`, `ReducedQPSFunc`.
    #[must_use]
    pub fn rate(&self, state: ZoneState, nodes: u32) -> f32 {
        match state {
            ZoneState::PartialDisruption if nodes > self.large_zone_threshold => self.secondary_eviction_rate,
            ZoneState::PartialDisruption => 0.0,
            ZoneState::Initial | ZoneState::Normal | ZoneState::FullDisruption => self.eviction_rate,
        }
    }
}

/// What a pass over the zones changes for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: zones change one by one.
    Unchanged,
    /// Every zone has failed: no more taints, and those that are there are taken back.
    EntersMasterDisruption,
    /// Some zone is back: every node's health counts from now.
    LeavesMasterDisruption,
}

/// Every zone's state and the rate its queue is limited to, in nodes a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Zones(BTreeMap<String, (ZoneState, f32)>);

impl Zones {
    /// The state of a zone and the rate of its queue.
    #[must_use]
    pub fn get(&self, zone: &str) -> Option<(ZoneState, f32)> {
        self.0.get(zone).copied()
    }

    /// One pass over the health of every zone that has nodes. Upstream: `handleDisruption`.
    #[must_use]
    pub fn step(&self, health: &BTreeMap<String, ZoneHealth>, options: &ZoneOptions) -> (Self, Mode) {
        let state_of = |zone: &str| health[zone].state(options.unhealthy_threshold);
        let mut zones: BTreeMap<String, (ZoneState, f32)> = health
            .keys()
            .map(|zone| (zone.clone(), self.get(zone).unwrap_or((ZoneState::Initial, options.eviction_rate))))
            .collect();
        let all_failed = health.keys().all(|zone| state_of(zone) == ZoneState::FullDisruption);
        let all_had_failed = zones.values().all(|(state, _)| *state == ZoneState::FullDisruption);
        let mode = match (all_failed, all_had_failed) {
            (true, true) => return (Self(zones), Mode::Unchanged),
            (true, false) => {
                zones.values_mut().for_each(|zone| *zone = (ZoneState::FullDisruption, 0.0));
                return (Self(zones), Mode::EntersMasterDisruption);
            }
            (false, true) => Mode::LeavesMasterDisruption,
            (false, false) => Mode::Unchanged,
        };
        for (name, zone) in &mut zones {
            let state = state_of(name);
            if mode == Mode::LeavesMasterDisruption || zone.0 != state {
                let ZoneHealth { ready, not_ready } = health[name];
                *zone = (state, options.rate(state, ready.saturating_add(not_ready)));
            }
        }
        (Self(zones), mode)
    }
}

/// A queue's limiter: a bucket that holds one token and is filled at a rate, or one that never accepts.
/// Upstream: `flowcontrol.NewTokenBucketRateLimiter`, `NewFakeNeverRateLimiter`, and `Limiter` of `golang.org/x/time/rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limiter {
    /// Tokens a second; none if it never accepts. A bucket without a rate still has its first token.
    rate: Option<f32>,
    /// What was left when the last token was taken; a rounding error below zero at least.
    tokens: f64,
    /// When that was: time since some beginning.
    taken: Duration,
}

impl Limiter {
    /// A bucket with its one token.
    #[must_use]
    pub const fn new(rate: f32, now: Duration) -> Self {
        Self { rate: Some(rate), tokens: 1.0, taken: now }
    }

    /// Takes a token, if there is one, or if there will be within a nanosecond. A refusal changes nothing.
    /// Upstream: `reserveN`.
    pub fn try_accept(&mut self, now: Duration) -> bool {
        let Some(rate) = self.rate.map(f64::from) else { return false };
        let gained = if rate > 0.0 { now.saturating_sub(self.taken).as_secs_f64() * rate } else { 0.0 };
        let left = (self.tokens + gained).min(1.0) - 1.0;
        let accepted = left >= 0.0 || rate > 0.0 && -left / rate * 1e9 < 1.0;
        if accepted {
            self.tokens = left;
            self.taken = self.taken.max(now);
        }
        accepted
    }

    /// Changes the rate. A queue that was waiting goes on waiting; any other keeps a token, or gets one.
    ///
    /// Upstream's limiter that never accepts says that its rate is 1, so a rate of exactly that leaves it in place.
    /// Upstream: `SwapLimiter`, `fakeNeverRateLimiter.QPS`.
    pub fn swap(&mut self, rate: f32, now: Duration) {
        #[expect(clippy::float_cmp, reason = "upstream compares the rates as they were given")]
        if self.rate.unwrap_or(1.0) == rate {
            return;
        }
        if rate <= 0.0 {
            self.rate = None;
            return;
        }
        let waiting = !self.try_accept(now);
        *self = Self::new(rate, now);
        if waiting {
            self.try_accept(now);
        }
    }
}

/// How long apart a zone's nodes are tainted at a rate, if its queue is looked at every `poll`; none if never.
#[must_use]
pub fn gap(rate: f32, poll: Duration) -> Option<Duration> {
    if rate <= 0.0 {
        return None;
    }
    let wait = Duration::try_from_secs_f64(1.0 / f64::from(rate)).ok()?;
    let polls = wait.as_nanos().div_ceil(poll.as_nanos().max(1)).max(1);
    Some(poll.saturating_mul(u32::try_from(polls).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(zones: &[(&str, u32, u32)]) -> BTreeMap<String, ZoneHealth> {
        zones
            .iter()
            .map(|&(name, ready, not_ready)| (name.to_owned(), ZoneHealth { ready, not_ready }))
            .collect()
    }

    #[test]
    fn states_follow_from_the_counts() {
        let state = |ready, not_ready| ZoneHealth { ready, not_ready }.state(0.55);
        assert_eq!(state(0, 0), ZoneState::Normal);
        assert_eq!(state(0, 1), ZoneState::FullDisruption);
        assert_eq!(state(1, 2), ZoneState::Normal);
        assert_eq!(state(46, 54), ZoneState::Normal);
        assert_eq!(state(45, 55), ZoneState::PartialDisruption);
    }

    #[test]
    fn rates_follow_from_the_states() {
        let options =
            ZoneOptions { eviction_rate: 2.0, secondary_eviction_rate: 0.25, ..ZoneOptions::default() };
        let step = |zones: &Zones, now: &[(&str, u32, u32)]| zones.step(&health(now), &options);
        let (zones, mode) = step(&Zones::default(), &[("a", 100, 0), ("b", 30, 0), ("c", 3, 0)]);
        assert_eq!((mode, zones.get("a")), (Mode::Unchanged, Some((ZoneState::Normal, 2.0))));
        let (zones, _) = step(&zones, &[("a", 40, 60), ("b", 12, 18), ("c", 0, 3)]);
        assert_eq!(zones.get("a"), Some((ZoneState::PartialDisruption, 0.25)));
        assert_eq!(zones.get("b"), Some((ZoneState::PartialDisruption, 0.0)));
        assert_eq!(zones.get("c"), Some((ZoneState::FullDisruption, 2.0)));
        let (zones, mode) = step(&zones, &[("a", 0, 100), ("b", 0, 30), ("c", 0, 3)]);
        assert_eq!(
            (mode, zones.get("c")),
            (Mode::EntersMasterDisruption, Some((ZoneState::FullDisruption, 0.0)))
        );
        let (same, mode) = step(&zones, &[("a", 0, 100), ("b", 0, 30), ("c", 0, 3)]);
        assert_eq!((mode, &same), (Mode::Unchanged, &zones));
        let (zones, mode) = step(&zones, &[("a", 1, 99), ("b", 0, 30)]);
        assert_eq!((mode, zones.get("c")), (Mode::LeavesMasterDisruption, None));
        assert_eq!(zones.get("b"), Some((ZoneState::FullDisruption, 2.0)));
    }

    #[test]
    fn gaps_are_whole_polls() {
        let poll = Duration::from_millis(103);
        let gap = |rate| gap(rate, poll).map(|gap| gap.as_millis());
        assert_eq!(gap(0.0), None);
        assert_eq!(gap(2.0), Some(515));
        assert_eq!(gap(0.25), Some(4017));
        assert_eq!(gap(40.0), Some(103));
    }

    #[test]
    fn a_limiter_holds_one_token() {
        let at = Duration::from_millis;
        let mut limiter = Limiter::new(2.0, at(0));
        assert!(limiter.try_accept(at(0)));
        assert!(!limiter.try_accept(at(400)));
        assert!(limiter.try_accept(at(500)));
        // Waiting, it waits on at another rate; with none at all it never goes on.
        limiter.swap(1.0, at(600));
        assert!(!limiter.try_accept(at(600)));
        assert!(limiter.try_accept(at(1600)));
        limiter.swap(0.0, at(9000));
        assert!(!limiter.try_accept(at(90_000)));
        limiter.swap(1.0, at(90_000));
        assert!(!limiter.try_accept(at(900_000)), "upstream takes a rate of 1 for the one it has");
        limiter.swap(0.5, at(900_000));
        assert!(limiter.try_accept(at(902_000)));
    }

    #[test]
    fn what_is_refused_leaves_no_trace() {
        let at = Duration::from_millis;
        let mut limiter = Limiter::new(1.0, at(0));
        assert!(limiter.try_accept(at(0)));
        // Tenths of a second, added up one by one, are less than a second.
        assert!((1..10).all(|tenth| !limiter.try_accept(at(tenth * 100))));
        assert!(limiter.try_accept(at(1000)));
        // A third of a token is there when it lacks less than a nanosecond, and not when it lacks more.
        let mut limiter = Limiter::new(3.0, at(0));
        assert!(limiter.try_accept(at(0)));
        assert!(!limiter.try_accept(Duration::from_nanos(333_333_332)));
        assert!(limiter.try_accept(Duration::from_nanos(333_333_333)));
    }

    #[test]
    fn a_bucket_without_a_rate_has_its_first_token() {
        let at = Duration::from_secs;
        let mut limiter = Limiter::new(0.0, at(0));
        assert!(limiter.try_accept(at(0)));
        assert!(!limiter.try_accept(at(900)));
        // It says that its rate is none, unlike the one that never accepts.
        limiter.swap(1.0, at(900));
        assert!(limiter.try_accept(at(901)));
        limiter.swap(0.0, at(902));
        assert!(!limiter.try_accept(at(1900)));
    }
}
