//! One look at a node.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::KUBERNETES;
use crate::duration::GoDuration;
use crate::figures::{PodFigures, StatsByUid};
use crate::layout::{Filesystem, FilesystemLayout};
use crate::observation::{Observation, Observations};
use crate::pod::{Exemption, Pod};
use crate::quantity::Quantity;
use crate::rank::{RankBy, rank};
use crate::signal::{NodeCondition, Signal, StarvedResource};
use crate::summary::Summary;
use crate::threshold::{KubeletConfiguration, Threshold, ThresholdError, ThresholdValue, with_container_fs};
use crate::victim::{Annotations, eviction_message};

/// What the rules say about one look at a node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LookAnswer {
    /// Whose rules these are.
    pub kubernetes: &'static str,
    /// Why a kubelet refuses the thresholds; then everything that follows from them is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_error: Option<String>,
    /// The thresholds as configured, in no order.
    pub thresholds: Vec<ThresholdAnswer>,
    /// Those in effect, with what was made of them, in no order.
    pub effective_thresholds: Vec<ThresholdAnswer>,
    /// What was seen of each signal.
    pub observations: BTreeMap<Signal, ObservationAnswer>,
    /// The signals with a threshold that is met, whatever its grace period.
    pub met: BTreeSet<Signal>,
    /// The signals with a threshold that is met if its minimum reclaim is added.
    pub met_with_min_reclaim: BTreeSet<Signal>,
    /// The node conditions that follow.
    pub conditions: BTreeSet<NodeCondition>,
    /// Each order of eviction as groups of equals, sorted by name within a group.
    pub rank: BTreeMap<&'static str, Vec<Vec<String>>>,
    /// What the next pods would be told, in no order.
    pub messages: Vec<MessageAnswer>,
    /// Which pods may be evicted.
    pub evictable: BTreeMap<String, Evictability>,
    /// What the orders were made from.
    pub pods: BTreeMap<String, PodAnswer>,
}

/// A threshold, with what was made of it if its signal was observed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThresholdAnswer {
    /// The signal.
    pub signal: Signal,
    /// `LessThan`, or nothing for a placeholder.
    pub operator: &'static str,
    /// The value.
    pub value: ValueAnswer,
    /// The grace period.
    pub grace_period: GoDuration,
    /// The minimum reclaim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_reclaim: Option<ValueAnswer>,
    /// The value for the capacity observed, as a plain number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<String>,
    /// Whether it is met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// Whether it is met if its minimum reclaim is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met_with_min_reclaim: Option<bool>,
}

/// An amount or a percentage.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum ValueAnswer {
    /// An amount.
    Quantity {
        /// As Kubernetes prints it.
        quantity: String,
        /// As a plain number.
        exact: String,
    },
    /// A fraction of one.
    Percentage {
        /// In 32 bits.
        #[serde(serialize_with = "number")]
        percentage: f32,
    },
}

/// The shortest digits that read back as the number, as Go writes them; a whole number without a point.
fn number<S: Serializer>(number: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    // Rust prints the shortest digits too. As a 64-bit number they keep them.
    let shortest = number.to_string().parse().unwrap_or_else(|_| f64::from(*number));
    #[expect(clippy::cast_possible_truncation, reason = "only whole numbers within the bounds are converted")]
    if shortest.fract() == 0.0 && shortest.abs() < 9e15 && !(shortest == 0.0 && shortest.is_sign_negative()) {
        serializer.serialize_i64(shortest as i64)
    } else {
        serializer.serialize_f64(shortest)
    }
}

/// What was seen of a signal, in bytes or counts.
#[derive(Clone, Debug, Serialize)]
pub struct ObservationAnswer {
    /// What is left.
    pub available: i64,
    /// What there is in all.
    pub capacity: i64,
    /// When, to the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// What a pod would be told if it were evicted for a threshold.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageAnswer {
    /// The threshold's signal.
    pub signal: Signal,
    /// The threshold's grace period.
    pub grace_period: GoDuration,
    /// The pod.
    pub pod: String,
    /// The message.
    pub message: String,
    /// The annotations of its event.
    pub annotations: Annotations,
}

/// Whether a pod may be evicted.
#[derive(Clone, Debug, Serialize)]
pub struct Evictability {
    /// Whether it may.
    pub evictable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// What a pod's places in the orders were made from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodAnswer {
    /// The quality-of-service class.
    pub qos_class: String,
    /// The priority.
    pub priority: i32,
    /// Whether there are statistics of it.
    pub has_stats: bool,
    /// Usage and request of each resource.
    pub resources: BTreeMap<StarvedResource, ResourceAnswer>,
}

/// A resource's usage and request as plain numbers.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceAnswer {
    /// What is used.
    pub usage: String,
    /// What is requested.
    pub request: String,
}

impl From<&ThresholdValue> for ValueAnswer {
    fn from(value: &ThresholdValue) -> Self {
        match value {
            ThresholdValue::Quantity(quantity) => {
                Self::Quantity { quantity: quantity.to_string(), exact: quantity.exact() }
            }
            ThresholdValue::Percentage(percentage) => Self::Percentage { percentage: *percentage },
        }
    }
}

impl ThresholdAnswer {
    fn new(threshold: &Threshold, observation: Option<&Observation>) -> Self {
        Self {
            signal: threshold.signal,
            operator: threshold.operator.name(),
            value: (&threshold.value).into(),
            grace_period: threshold.grace_period,
            min_reclaim: threshold.minimum_reclaim.as_ref().map(ValueAnswer::from),
            resolved: observation.map(|observation| threshold.value.resolve(observation.capacity).exact()),
            met: observation.map(|observation| threshold.is_met(observation, false)),
            met_with_min_reclaim: observation.map(|observation| threshold.is_met(observation, true)),
        }
    }
}

/// A time to the second, as Kubernetes writes it.
pub(super) fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The orders by the names they have in an answer.
fn orders(layout: FilesystemLayout) -> Vec<(&'static str, RankBy)> {
    let parts = |filesystem| layout.ranked_parts(filesystem);
    vec![
        ("disk-containerfs", RankBy::Disk(parts(Filesystem::ContainerFs))),
        ("disk-imagefs", RankBy::Disk(parts(Filesystem::ImageFs))),
        ("disk-nodefs", RankBy::Disk(parts(Filesystem::NodeFs))),
        ("inodes-containerfs", RankBy::Inodes(parts(Filesystem::ContainerFs))),
        ("inodes-imagefs", RankBy::Inodes(parts(Filesystem::ImageFs))),
        ("inodes-nodefs", RankBy::Inodes(parts(Filesystem::NodeFs))),
        ("memory", RankBy::Memory),
        ("pids", RankBy::Processes),
    ]
}

impl LookAnswer {
    /// Everything that follows from the pods on a node, its statistics and its kubelet's configuration.
    #[must_use]
    pub fn new(
        pods: &[Pod],
        summary: &Summary,
        configuration: &KubeletConfiguration,
        layout: FilesystemLayout,
    ) -> Self {
        let parsed = configuration.threshold_configuration().parse();
        let config_error = parsed.as_ref().err().map(ThresholdError::to_string);
        let configured = parsed.unwrap_or_default();
        let effective = match config_error {
            None => with_container_fs(&configured, layout),
            Some(_) => Vec::new(),
        };
        let observations = Observations::from(summary);
        let met = |with_minimum_reclaim: bool| -> BTreeSet<Signal> {
            let is_met = |threshold: &&Threshold| threshold.is_met_by(&observations, with_minimum_reclaim);
            effective.iter().filter(is_met).map(|threshold| threshold.signal).collect()
        };
        let figures = PodFigures::of_all(pods, summary);
        let conditions = met(false).into_iter().map(Signal::condition).collect();
        Self {
            kubernetes: KUBERNETES,
            config_error,
            thresholds: configured.iter().map(|threshold| ThresholdAnswer::new(threshold, None)).collect(),
            effective_thresholds: effective
                .iter()
                .map(|threshold| ThresholdAnswer::new(threshold, observations.get(threshold.signal)))
                .collect(),
            observations: observations
                .iter()
                .map(|(signal, Observation { available, capacity, time })| {
                    let time = time.map(second);
                    (signal, ObservationAnswer { available: *available, capacity: *capacity, time })
                })
                .collect(),
            met: met(false),
            met_with_min_reclaim: met(true),
            conditions,
            rank: orders(layout)
                .into_iter()
                .map(|(name, by)| (name, names(rank(by, &figures), pods)))
                .collect(),
            messages: messages(pods, summary, &figures, &effective, &observations, layout),
            evictable: pods.iter().map(|pod| (pod.full_name(), pod.exemption().into())).collect(),
            pods: pods
                .iter()
                .zip(&figures)
                .map(|(pod, figures)| (pod.full_name(), PodAnswer::new(pod, figures)))
                .collect(),
        }
    }
}

fn names(groups: Vec<Vec<usize>>, pods: &[Pod]) -> Vec<Vec<String>> {
    let sorted = |group: Vec<usize>| {
        let mut names: Vec<String> = group.into_iter().map(|pod| pods[pod].full_name()).collect();
        names.sort_unstable();
        names
    };
    groups.into_iter().map(sorted).collect()
}

/// For each threshold that is met, alone, what every pod of the first group would be told, and of the first group with a
/// pod that may be evicted.
fn messages(
    pods: &[Pod],
    summary: &Summary,
    figures: &[PodFigures],
    thresholds: &[Threshold],
    observations: &Observations,
    layout: FilesystemLayout,
) -> Vec<MessageAnswer> {
    let stats = StatsByUid::new(summary);
    let mut messages = Vec::new();
    for threshold in thresholds.iter().filter(|threshold| threshold.is_met_by(observations, false)) {
        let groups = rank(RankBy::signal(threshold.signal, layout), figures);
        let evictable = |group: &Vec<usize>| group.iter().any(|&pod| pods[pod].exemption().is_none());
        let second = groups.iter().position(evictable).filter(|&at| at > 0);
        let first = groups.first().into_iter();
        for &pod in first.chain(second.map(|at| &groups[at])).flatten() {
            let pod = &pods[pod];
            let (message, annotations) = eviction_message(threshold, observations, pod, stats.get(pod));
            messages.push(MessageAnswer {
                signal: threshold.signal,
                grace_period: threshold.grace_period,
                pod: pod.full_name(),
                message: message.to_string(),
                annotations,
            });
        }
    }
    messages
}

impl From<Option<Exemption>> for Evictability {
    fn from(exemption: Option<Exemption>) -> Self {
        Self { evictable: exemption.is_none(), reason: exemption.map(Exemption::name) }
    }
}

impl PodAnswer {
    fn new(pod: &Pod, figures: &PodFigures) -> Self {
        let usage = figures.usage.clone().unwrap_or_default();
        let disk = usage.disk(FilesystemLayout::Single.ranked_parts(Filesystem::NodeFs));
        let resource = |usage: String, request: &Quantity| ResourceAnswer { usage, request: request.exact() };
        Self {
            qos_class: pod.qos_class().to_owned(),
            priority: figures.priority,
            has_stats: figures.usage.is_some(),
            resources: [
                (
                    StarvedResource::EphemeralStorage,
                    resource(disk.bytes.to_string(), &figures.storage_request),
                ),
                (StarvedResource::Inodes, resource(disk.inodes.to_string(), &figures.inodes_request)),
                (StarvedResource::Memory, resource(usage.memory.to_string(), &figures.memory_request)),
                (StarvedResource::Pids, resource(usage.processes.to_string(), &Quantity::default())),
            ]
            .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_the_shortest_digits_of_their_32_bits() {
        for (percentage, expected) in [
            (0.1, "0.1"),
            (0.333_33, "0.33333"),
            (1.0, "1"),
            (16_777_216.0, "16777216"),
            (123_456_790.0, "123456790"),
            (1e12, "1000000000000"),
            (1e-7, "1e-7"),
            (f32::MAX, "3.4028235e+38"),
        ] {
            let answer = serde_json::to_string(&ValueAnswer::Percentage { percentage }).expect("a document");
            assert_eq!(answer, format!("{{\"percentage\":{expected}}}"));
        }
    }
}
