//! What follows from one look at a node, for people.

use jiff::Timestamp;
use plimsoll_eviction::duration::GoDuration;
use plimsoll_eviction::layout::{FilesystemLayout, NodeReclaim};
use plimsoll_eviction::limits::LimitUse;
use plimsoll_eviction::pod::Exemption;
use plimsoll_eviction::quantity::Quantity;
use plimsoll_eviction::rank::RankBy;
use plimsoll_eviction::reason::Reason;
use plimsoll_eviction::signal::Signal;
use plimsoll_eviction::threshold::Threshold;

use super::look::LeftOut;

/// Who goes next on a node, and why.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The node, if it is named.
    pub node: Option<String>,
    /// How its files are spread over filesystems.
    pub layout: FilesystemLayout,
    /// How many pods count.
    pub pods: usize,
    /// The pods of the list that do not.
    pub left_out: LeftOut,
    /// The newest of the node's own figures; none if they have no time.
    pub measured: Option<Timestamp>,
    /// Why a kubelet would not start with this configuration. Then there are no thresholds and no orders.
    pub refusal: Option<String>,
    /// What happens next, what comes first first. Nothing if nobody goes.
    pub next: Vec<Next>,
    /// The thresholds in effect, memory first.
    pub thresholds: Vec<ThresholdState>,
    /// The orders that these thresholds call for, those of thresholds that are met first.
    pub orders: Vec<Order>,
    /// The pods that are never evicted.
    pub exempt: Vec<Exempt>,
    /// The limits on local storage that are exceeded or near, the nearest first.
    pub limits: Vec<LocalLimit>,
    /// How many others there are.
    pub other_limits: usize,
    /// Whether limits on local storage are enforced.
    pub limits_enforced: bool,
}

/// Something that happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Pods that exceed a limit on local storage go, all in one pass, and nobody else does in that pass.
    OverLimits(Vec<String>),
    /// The first of an order goes, by its index; nobody, if it is empty, and nobody for anything else then either.
    First {
        /// The order.
        order: usize,
        /// When.
        when: When,
    },
}

/// When the first of an order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// At the kubelet's next pass.
    Now,
    /// When the threshold has been met for this long. One look does not tell how long it has been.
    After(GoDuration),
}

/// A threshold, and how things stand with it.
#[derive(Debug, Clone)]
pub struct ThresholdState {
    /// The threshold.
    pub threshold: Threshold,
    /// What was seen; none if the statistics lack the signal, which then can not be met.
    pub observed: Option<Observed>,
}

/// What was seen of a threshold's signal. Bytes or counts.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What is left.
    pub available: i64,
    /// The threshold's value for this capacity.
    pub value: Quantity,
    /// What is left less the value: negative below the threshold.
    pub distance: Quantity,
    /// The minimum reclaim, for this capacity.
    pub minimum_reclaim: Option<Quantity>,
    /// Whether it is met.
    pub met: bool,
    /// Whether it would still count as met had it been met before.
    pub met_with_minimum_reclaim: bool,
}

/// An order of eviction. Pods that are never evicted are not in it.
#[derive(Debug, Clone)]
pub struct Order {
    /// What pods are ranked by.
    pub by: RankBy,
    /// The signals with a threshold that call for it.
    pub signals: Vec<Signal>,
    /// Those with one that is met.
    pub met: Vec<Signal>,
    /// What the kubelet tries on the node itself first.
    pub node_reclaim: &'static [NodeReclaim],
    /// Groups of equals, the first to go first. Within a group the order is open.
    pub groups: Vec<Vec<Ranked>>,
    /// For each group what decides that it goes before the next.
    pub reasons: Vec<Option<Reason>>,
}

/// A pod in an order.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// `namespace/name`.
    pub name: String,
    /// The quality-of-service class, which plays no part.
    pub class: String,
    /// The priority.
    pub priority: i32,
    /// What it uses; none without statistics.
    pub used: Option<i64>,
    /// The request that this is held against.
    pub requested: i64,
    /// What it would be told, for each threshold that is met, without repetitions.
    pub messages: Vec<String>,
    /// The seconds it would get to end, by the threshold that is acted on first; none if no threshold is met.
    pub grace_period_seconds: Option<i64>,
}

/// A pod that is never evicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exempt {
    /// `namespace/name`.
    pub name: String,
    /// Why.
    pub why: Exemption,
    /// The priority.
    pub priority: i32,
}

/// A limit on a pod's local storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalLimit {
    /// `namespace/name`.
    pub pod: String,
    /// The limit and its use.
    pub limit: LimitUse,
    /// Whether the pod may be evicted for it.
    pub evictable: bool,
}

impl Explanation {
    /// Limits on local storage come before thresholds, those without a grace period before those with one, memory
    /// before everything else. Upstream: `synchronize`.
    pub(super) fn what_comes_next(&self) -> Vec<Next> {
        let mut next = Vec::new();
        let over = |limit: &&LocalLimit| limit.evictable && limit.limit.is_exceeded();
        let mut over: Vec<String> = self.limits.iter().filter(over).map(|limit| limit.pod.clone()).collect();
        over.sort();
        over.dedup();
        if self.limits_enforced && !over.is_empty() {
            next.push(Next::OverLimits(over));
        }
        let mut firsts: Vec<(When, usize)> = Vec::new();
        for (at, order) in self.orders.iter().enumerate() {
            if let Some(when) = self.when(order) {
                firsts.push((when, at));
            }
        }
        firsts.sort_by_key(|(when, at)| (*when, self.orders[*at].by != RankBy::Memory));
        // When memory is short nothing else is looked at, even if nobody can go for it.
        if let Some((When::Now, first)) = firsts.first()
            && self.orders[*first].by == RankBy::Memory
        {
            firsts.truncate(1);
        }
        next.extend(firsts.into_iter().map(|(when, order)| Next::First { order, when }));
        next
    }

    /// When the first of an order goes; none if none of its thresholds is met.
    fn when(&self, order: &Order) -> Option<When> {
        let met = self
            .thresholds
            .iter()
            .filter(|state| state.is_met() && order.met.contains(&state.threshold.signal));
        met.map(|state| match state.threshold.is_hard() {
            true => When::Now,
            false => When::After(state.threshold.grace_period),
        })
        .min()
    }

    /// The threshold that is met, or else the one that is nearest to it as a share of its value.
    #[must_use]
    pub fn nearest(&self) -> Option<&ThresholdState> {
        let share = |state: &&ThresholdState| {
            state
                .observed
                .as_ref()
                .map(|observed| observed.distance.approximate() / observed.value.approximate().max(1.0))
        };
        let observed = self.thresholds.iter().filter(|state| state.observed.is_some());
        observed.min_by(|a, b| share(a).unwrap_or(f64::MAX).total_cmp(&share(b).unwrap_or(f64::MAX)))
    }
}

impl ThresholdState {
    /// Whether it is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.observed.as_ref().is_some_and(|observed| observed.met)
    }
}
