//! Who went and which pressure conditions were raised and cleared, in order, and when: what a real run and one in virtual time are
//! compared by.

use std::collections::{BTreeMap, BTreeSet};

use super::predict::{Prediction, Sequence};
use crate::observe::{Fact, Timeline};
use crate::verdict::{End, LocalStorageLimit, ends, words};

/// How far apart an observed and a predicted time may be, in seconds: one interval of the kubelet's loop.
const TOLERANCE_SECONDS: f64 = 10.0;
/// Departures no further apart than this, in seconds, have no order.
const TIE_SECONDS: f64 = 1.0;

/// What is said where no pod goes, and where no condition changes.
pub(super) const NOBODY: &str = "nobody goes";
const NO_CONDITION: &str = "no pressure condition is raised";

/// A pod that went, or a condition that changed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Departure {
    /// Who and how.
    pub(super) what: String,
    /// When, in seconds after the steps began.
    pub(super) seconds: f64,
}

/// Every rise and every fall of a node's pressure conditions, in order.
pub(super) fn conditions(timeline: &Timeline) -> Vec<Departure> {
    let observations = &timeline.observations;
    let started = observations.iter().find(|own| matches!(own.fact, Fact::Started));
    let Some(started) = started.map(|own| own.at) else { return Vec::new() };
    let mut raised: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut found = Vec::new();
    for own in observations {
        let node = match &own.fact {
            Fact::Node(node) => node,
            Fact::Finished => break,
            _ => continue,
        };
        let name = node.metadata.name.as_deref().unwrap_or_default();
        for condition in node.status.iter().flat_map(|status| status.conditions.iter().flatten()) {
            let kind = condition.type_.as_str();
            let key = (name, kind);
            let is_raised = condition.status == "True";
            if !kind.ends_with("Pressure") || is_raised == raised.contains(&key) {
                continue;
            }
            let change = if is_raised {
                raised.insert(key);
                "raised"
            } else {
                raised.remove(&key);
                "cleared"
            };
            let seconds = words::seconds_between(started, own.at);
            found.push(Departure { what: format!("{kind} of {name} {change}"), seconds });
        }
    }
    found
}

/// Every eviction by the kubelet, rejection and OOM kill of a run, in order.
pub(super) fn departures(timeline: &Timeline) -> Vec<Departure> {
    let observations = &timeline.observations;
    let started = observations.iter().find(|own| matches!(own.fact, Fact::Started));
    let Some(started) = started.map(|own| own.at) else { return Vec::new() };
    let ends = ends(timeline);
    let mut found: Vec<(u64, Departure)> = Vec::new();
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    for pod in &ends {
        let who = pod.workload.as_deref().unwrap_or(&pod.name);
        names.insert(&pod.uid, who);
        let how = match &pod.end {
            End::EvictedByKubelet(eviction) => {
                format!("evicted for {}", eviction.resource.as_deref().unwrap_or("a resource"))
            }
            End::RejectedAtAdmission { reason, .. } => format!("rejected ({reason})"),
            End::LocalStorageLimit { limit, .. } => match limit {
                LocalStorageLimit::EmptyDir => "evicted over an emptyDir's limit".to_owned(),
                LocalStorageLimit::Pod => "evicted over its storage limit".to_owned(),
                LocalStorageLimit::Container => "evicted over a container's storage limit".to_owned(),
            },
            _ => continue,
        };
        if let Some(decided) = pod.decided {
            let seconds = words::seconds_between(started, decided.latest);
            found.push((decided.sequence, Departure { what: format!("{who} {how}"), seconds }));
        }
    }
    for own in observations {
        match &own.fact {
            Fact::OomKill { kill, .. } => {
                let uid = kill.pod_uid.as_deref();
                let who = uid
                    .map_or("a process outside every pod", |uid| names.get(uid).copied().unwrap_or("a pod"));
                let seconds = words::seconds_between(started, own.at);
                found.push((own.sequence, Departure { what: format!("{who} OOM-killed"), seconds }));
            }
            Fact::Finished => break,
            _ => {}
        }
    }
    found.sort_by_key(|(sequence, _)| *sequence);
    found.into_iter().map(|(_, departure)| departure).collect()
}

impl Prediction {
    /// The prediction beside what was observed: whether any phase has the same pods go in the same order for the same
    /// reasons, and whether each went when it does there, one interval of the kubelet's loop more or less; and the same of the
    /// nodes' pressure conditions. What leaves a part of the plan out is not compared: it would differ for that reason.
    #[must_use]
    pub fn compared_with(mut self, timeline: &Timeline) -> Self {
        if self.omissions.is_empty() {
            self.disagreements = disagreements(NOBODY, &self.sequences, self.phases, &departures(timeline));
            let observed = conditions(timeline);
            self.disagreements.extend(disagreements(NO_CONDITION, &self.conditions, self.phases, &observed));
        }
        self
    }
}

/// Who went in a run, and when, in a line.
#[must_use]
pub fn observed_words(timeline: &Timeline) -> String {
    told(NOBODY, &departures(timeline))
}

fn disagreements(nothing: &str, sequences: &[Sequence], phases: u32, observed: &[Departure]) -> Vec<String> {
    let alike: Vec<&Sequence> = sequences.iter().filter(|sequence| is_like(sequence, observed)).collect();
    if alike.is_empty() {
        let predicted = sequences.iter().take(3).map(|sequence| {
            format!("{} {}", sequence.words_or(nothing), super::predict::share(sequence.phases, phases))
        });
        return vec![format!(
            "observed: {}; predicted: {}",
            told(nothing, observed),
            predicted.collect::<Vec<_>>().join("; or ")
        )];
    }
    let mut found = Vec::new();
    for (index, departure) in observed.iter().enumerate() {
        // Ties may stand in another place.
        let same = alike.iter().flat_map(|sequence| {
            let nth = observed[..index].iter().filter(|own| own.what == departure.what).count();
            sequence.departures.iter().filter(|own| own.what == departure.what).nth(nth)
        });
        let (earliest, latest) = same.fold((f64::MAX, f64::MIN), |(earliest, latest), own| {
            (earliest.min(own.earliest), latest.max(own.latest))
        });
        let within = earliest - TOLERANCE_SECONDS..=latest + TOLERANCE_SECONDS;
        if !within.contains(&departure.seconds) {
            found.push(format!(
                "{} after {}; predicted {} to {}",
                departure.what,
                words::seconds(departure.seconds),
                words::seconds(earliest),
                words::seconds(latest)
            ));
        }
    }
    found
}

fn told(nothing: &str, observed: &[Departure]) -> String {
    if observed.is_empty() {
        return nothing.to_owned();
    }
    let told = observed.iter().map(|own| format!("{} ({})", own.what, words::seconds(own.seconds)));
    told.collect::<Vec<_>>().join(", then ")
}

/// Whether the same pods go the same way in the same order; those that went at one time in any.
fn is_like(sequence: &Sequence, observed: &[Departure]) -> bool {
    if sequence.departures.len() != observed.len() {
        return false;
    }
    let mut rest = sequence.departures.iter();
    let tied = |one: &Departure, other: &Departure| other.seconds - one.seconds <= TIE_SECONDS;
    observed.chunk_by(tied).all(|group| {
        let mut predicted: Vec<&str> = rest.by_ref().take(group.len()).map(|own| own.what.as_str()).collect();
        let mut seen: Vec<&str> = group.iter().map(|own| own.what.as_str()).collect();
        predicted.sort_unstable();
        seen.sort_unstable();
        predicted == seen
    })
}

#[cfg(test)]
mod tests {
    use super::super::predict::DepartureRange;
    use super::*;

    fn observed(departures: &[(&str, f64)]) -> Vec<Departure> {
        departures
            .iter()
            .map(|(what, seconds)| Departure { what: (*what).to_owned(), seconds: *seconds })
            .collect()
    }

    fn predicted(departures: &[(&str, f64, f64)]) -> Vec<Sequence> {
        let departures = departures.iter().map(|(what, earliest, latest)| DepartureRange {
            what: (*what).to_owned(),
            earliest: *earliest,
            latest: *latest,
        });
        vec![Sequence { phases: 10, departures: departures.collect() }]
    }

    #[test]
    fn order_reason_and_time_are_compared() {
        let prediction =
            predicted(&[("a evicted for memory", 20.0, 30.0), ("b evicted for memory", 40.0, 50.0)]);
        let found =
            |departures: &[(&str, f64)]| disagreements(NOBODY, &prediction, 10, &observed(departures));
        let [a, b] = ["a evicted for memory", "b evicted for memory"];
        assert!(found(&[(a, 25.0), (b, 59.0)]).is_empty());
        assert_eq!(
            found(&[(a, 25.0), (b, 61.0)]),
            ["b evicted for memory after 61.0s; predicted 40.0s to 50.0s"]
        );
        assert!(
            found(&[(b, 40.0), (a, 42.0)])[0].starts_with("observed: b evicted for memory (40.0s), then a")
        );
        assert!(found(&[(b, 35.0), (a, 35.5)]).is_empty(), "a tie has no order");
        assert!(found(&[(a, 25.0)])[0].contains("always"));
        assert!(found(&[("a OOM-killed", 25.0), (b, 45.0)])[0].contains("predicted: a evicted for memory"));
    }

    #[test]
    fn conditions_are_compared_as_departures_are() {
        use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus};
        let mut timeline = Timeline::default();
        let at = |seconds: i64| jiff::Timestamp::from_second(1000 + seconds).expect("a time");
        timeline.push(at(0), Fact::Started);
        for (seconds, status) in [(1, "False"), (5, "True"), (6, "True"), (20, "False")] {
            let condition = NodeCondition {
                type_: "DiskPressure".to_owned(),
                status: status.to_owned(),
                ..NodeCondition::default()
            };
            let mut node = Node {
                status: Some(NodeStatus { conditions: Some(vec![condition]), ..NodeStatus::default() }),
                ..Node::default()
            };
            node.metadata.name = Some("worker".to_owned());
            timeline.push(at(seconds), Fact::Node(Box::new(node)));
        }
        timeline.push(at(30), Fact::Finished);
        let observed = conditions(&timeline);
        let [raised, cleared] = ["DiskPressure of worker raised", "DiskPressure of worker cleared"];
        let of = |what: &str, seconds: f64| Departure { what: what.to_owned(), seconds };
        assert_eq!(observed, [of(raised, 5.0), of(cleared, 20.0)]);
        let found = |predicted: &[Sequence]| disagreements(NO_CONDITION, predicted, 10, &observed);
        assert!(found(&predicted(&[(raised, 1.0, 8.0), (cleared, 15.0, 25.0)])).is_empty());
        assert_eq!(
            found(&predicted(&[(raised, 1.0, 8.0), (cleared, 31.0, 35.0)])),
            ["DiskPressure of worker cleared after 20.0s; predicted 31.0s to 35.0s"]
        );
        assert!(found(&predicted(&[]))[0].ends_with("predicted: no pressure condition is raised always"));
    }
}
