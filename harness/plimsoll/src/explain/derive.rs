//! From a look to an explanation.

use plimsoll_eviction::figures::{PodFigures, StatsByUid};
use plimsoll_eviction::layout::NodeReclaim;
use plimsoll_eviction::limits::{LimitUse, limit_uses};
use plimsoll_eviction::observation::Observations;
use plimsoll_eviction::quantity::Quantity;
use plimsoll_eviction::rank::{RankBy, rank};
use plimsoll_eviction::reason::reason;
use plimsoll_eviction::signal::{Signal, StarvedResource};
use plimsoll_eviction::threshold::{Operator, Threshold, with_container_fs};
use plimsoll_eviction::victim::{
    IMMEDIATE_GRACE_PERIOD_SECONDS, eviction_message, kill_grace_period_seconds,
};

use super::explanation::{Exempt, Explanation, LocalLimit, Observed, Order, Ranked, ThresholdState};
use super::look::Look;

/// From this share of a limit on it counts as near: 4 of 5.
const NEAR: (i64, i64) = (4, 5);

impl Look {
    /// What follows from this look.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let parsed = self.configuration.threshold_configuration().parse();
        let refusal = parsed.as_ref().err().map(ToString::to_string);
        let observations = Observations::from(&self.summary);
        let effective = match &parsed {
            Ok(configured) => with_container_fs(configured, self.layout),
            Err(_) => Vec::new(),
        };
        let mut thresholds: Vec<ThresholdState> = effective
            .into_iter()
            .filter(|threshold| threshold.operator == Operator::LessThan)
            .map(|threshold| ThresholdState::new(threshold, &observations))
            .collect();
        thresholds.sort_by_key(|state| {
            let Threshold { signal, grace_period, .. } = &state.threshold;
            let memory = signal.resource() == StarvedResource::Memory;
            (!memory, std::cmp::Reverse(memory.then_some(*signal)), *signal, *grace_period)
        });
        let mut orders = self.orders(&thresholds, &observations);
        orders.sort_by_key(|order| order.met.is_empty());
        let (limits, other_limits) = self.limits();
        let limits_enforced = self.configuration.isolates_local_storage();
        let mut explanation = Explanation {
            node: self.node.clone(),
            layout: self.layout,
            pods: self.pods.len(),
            left_out: self.left_out,
            measured: observations.iter().filter_map(|(_, observation)| observation.time).max(),
            next: Vec::new(),
            refusal,
            thresholds,
            orders,
            exempt: self.exempt(),
            limits,
            other_limits,
            limits_enforced,
        };
        explanation.next = explanation.what_comes_next();
        explanation
    }

    fn exempt(&self) -> Vec<Exempt> {
        let exempt = self.pods.iter().filter_map(|pod| {
            let priority = pod.effective_priority();
            pod.exemption().map(|why| Exempt { name: pod.full_name(), why, priority })
        });
        let mut exempt: Vec<Exempt> = exempt.collect();
        exempt.sort_by(|a, b| a.name.cmp(&b.name));
        exempt
    }

    fn limits(&self) -> (Vec<LocalLimit>, usize) {
        let stats = StatsByUid::new(&self.summary);
        let mut near = Vec::new();
        let mut others = 0;
        for pod in &self.pods {
            for limit in stats.get(pod).into_iter().flat_map(|stats| limit_uses(pod, stats, self.layout)) {
                if limit.is_exceeded() || is_near(&limit) {
                    near.push(LocalLimit {
                        pod: pod.full_name(),
                        limit,
                        evictable: pod.exemption().is_none(),
                    });
                } else {
                    others += 1;
                }
            }
        }
        let share = |limit: &LimitUse| limit.used.approximate() / limit.limit.approximate().max(1.0);
        near.sort_by(|a, b| share(&b.limit).total_cmp(&share(&a.limit)).then_with(|| a.pod.cmp(&b.pod)));
        (near, others)
    }

    fn orders(&self, thresholds: &[ThresholdState], observations: &Observations) -> Vec<Order> {
        let figures = PodFigures::of_all(&self.pods, &self.summary);
        let mut kinds: Vec<(RankBy, &'static [NodeReclaim], Vec<&ThresholdState>)> = Vec::new();
        for state in thresholds {
            let by = RankBy::signal(state.threshold.signal, self.layout);
            let reclaim = self.layout.node_reclaim(state.threshold.signal);
            match kinds.iter_mut().find(|(kind, first, _)| *kind == by && *first == reclaim) {
                Some((_, _, states)) => states.push(state),
                None => kinds.push((by, reclaim, vec![state])),
            }
        }
        let order = |(by, reclaim, states): (_, _, Vec<&ThresholdState>)| {
            self.order(by, reclaim, &states, &figures, observations)
        };
        kinds.into_iter().map(order).collect()
    }

    fn order(
        &self,
        by: RankBy,
        node_reclaim: &'static [NodeReclaim],
        states: &[&ThresholdState],
        figures: &[PodFigures],
        observations: &Observations,
    ) -> Order {
        let signals = |of: &mut dyn Iterator<Item = &&ThresholdState>| {
            let mut signals: Vec<Signal> = Vec::new();
            for state in of {
                if !signals.contains(&state.threshold.signal) {
                    signals.push(state.threshold.signal);
                }
            }
            signals
        };
        let met: Vec<&Threshold> =
            states.iter().filter(|state| state.is_met()).map(|state| &state.threshold).collect();
        let may_go = |group: Vec<usize>| -> Vec<usize> {
            group.into_iter().filter(|&pod| self.pods[pod].exemption().is_none()).collect()
        };
        let groups = rank(by, figures).into_iter().map(may_go).filter(|group| !group.is_empty());
        let groups: Vec<Vec<usize>> = groups.collect();
        let between = |at: usize| {
            let (one, next) = (groups[at].first()?, groups.get(at + 1)?.first()?);
            reason(by, &figures[*one], &figures[*next])
        };
        let ranked = |&pod: &usize| self.ranked(pod, by, &figures[pod], &met, observations);
        Order {
            by,
            node_reclaim,
            signals: signals(&mut states.iter()),
            met: signals(&mut states.iter().filter(|state| state.is_met())),
            reasons: (0..groups.len()).map(between).collect(),
            groups: groups
                .iter()
                .map(|group| {
                    let mut pods: Vec<Ranked> = group.iter().map(ranked).collect();
                    pods.sort_by(|a, b| a.name.cmp(&b.name));
                    pods
                })
                .collect(),
        }
    }

    fn ranked(
        &self,
        pod: usize,
        by: RankBy,
        figures: &PodFigures,
        met: &[&Threshold],
        observations: &Observations,
    ) -> Ranked {
        let pod = &self.pods[pod];
        let mut messages: Vec<String> = Vec::new();
        for threshold in met {
            let stats = self.summary.pod(&pod.uid);
            let message = eviction_message(threshold, observations, pod, stats).0.to_string();
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        let maximum = i64::from(self.configuration.eviction_max_pod_grace_period.unwrap_or(0));
        let soonest = met.iter().min_by_key(|threshold| threshold.grace_period);
        let grace = soonest.map(|threshold| kill_grace_period_seconds(threshold, pod, maximum));
        Ranked {
            name: pod.full_name(),
            class: pod.qos_class().to_owned(),
            priority: figures.priority,
            used: figures.used(by).map(|used| Quantity::from_wide(used).value()),
            requested: figures.requested(by).value(),
            messages,
            // Whoever kills the pod takes less than a second for one.
            grace_period_seconds: grace.map(|seconds| seconds.max(IMMEDIATE_GRACE_PERIOD_SECONDS)),
        }
    }
}

fn is_near(limit: &LimitUse) -> bool {
    let times = |quantity: &Quantity, factor: i64| {
        (1..factor).fold(quantity.clone(), |product, _| product + quantity)
    };
    times(&limit.used, NEAR.1) >= times(&limit.limit, NEAR.0)
}

impl ThresholdState {
    fn new(threshold: Threshold, observations: &Observations) -> Self {
        let observed = observations.get(threshold.signal).map(|observation| {
            let value = threshold.value.resolve(observation.capacity);
            let reclaim = threshold.minimum_reclaim.as_ref();
            Observed {
                available: observation.available,
                distance: Quantity::from_bytes(observation.available) - &value,
                value,
                minimum_reclaim: reclaim.map(|reclaim| reclaim.resolve(observation.capacity)),
                met: threshold.is_met(observation, false),
                met_with_minimum_reclaim: threshold.is_met(observation, true),
            }
        });
        Self { threshold, observed }
    }
}
