//! Who went, which conditions and taints came and went, what was answered, who was gone and who stood in, in order, and when: what a
//! real run and one in virtual time are compared by.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::predict::{Prediction, Sequence};
use crate::kubernetes::UNREACHABLE;
use crate::observe::{Answer, Asked, DrainOutcome, Fact, Timeline};
use crate::verdict::{End, LocalStorageLimit, PodEnd, Preemptor, ends, words};

/// How far apart an observed and a predicted time may be, in seconds: one interval of the kubelet's loop. Where that has no part, it is
/// what a busy machine takes longer to start and stop a few pods.
const TOLERANCE_SECONDS: f64 = 10.0;
/// Departures no further apart than this, in seconds, have no order.
const TIE_SECONDS: f64 = 1.0;

/// What is said where no pod goes.
pub(super) const NOBODY: &str = "nobody goes";

/// What of two runs is compared, each by itself: things of two kinds have no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aspect {
    /// Who went.
    Departures,
    /// Nodes' conditions and the taint of those of which nothing is heard.
    Conditions,
    /// What the API server answered, and what drains came to.
    Answers,
    /// Whose objects were gone, of those who were told to go.
    Gone,
    /// Who ran in their places, and where.
    Successors,
}

impl Aspect {
    pub(super) const ALL: [Self; 5] =
        [Self::Departures, Self::Conditions, Self::Answers, Self::Gone, Self::Successors];

    /// What is said where nothing of it happens.
    const fn nothing(self) -> &'static str {
        match self {
            Self::Departures => NOBODY,
            Self::Conditions => "no condition changes",
            Self::Answers => "nobody is asked to go",
            Self::Gone => "no object is gone",
            Self::Successors => "nobody runs in another's place",
        }
    }

    /// What happens of it in a run, in order.
    pub(super) fn of(self, timeline: &Timeline) -> Vec<Departure> {
        match self {
            Self::Departures => departures(timeline),
            Self::Conditions => conditions(timeline),
            Self::Answers => answers(timeline),
            Self::Gone => gone(timeline),
            Self::Successors => successors(timeline),
        }
    }
}

/// A pod that went, or something else that happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Departure {
    /// Who and how.
    pub(super) what: String,
    /// When, in seconds after the steps began.
    pub(super) seconds: f64,
}

/// When the steps of a run began.
fn started(timeline: &Timeline) -> Option<Timestamp> {
    timeline.observations.iter().find(|own| matches!(own.fact, Fact::Started)).map(|own| own.at)
}

/// Every rise and every fall of a node's pressure conditions, and when nothing was heard of it, in order.
fn conditions(timeline: &Timeline) -> Vec<Departure> {
    let Some(started) = started(timeline) else { return Vec::new() };
    let observations = &timeline.observations;
    let mut raised: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut tainted: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut silent: BTreeSet<&str> = BTreeSet::new();
    let mut found = Vec::new();
    for own in observations {
        let node = match &own.fact {
            Fact::Node(node) => node,
            Fact::Finished => break,
            _ => continue,
        };
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let seconds = words::seconds_between(started, own.at);
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let taints: BTreeSet<(&str, &str)> = taints
            .filter(|taint| taint.key == UNREACHABLE)
            .map(|taint| (name, taint.effect.as_str()))
            .collect();
        for effect in ["NoSchedule", "NoExecute"] {
            let key = (name, effect);
            let is = taints.contains(&key);
            if is != tainted.contains(&key) {
                let off = if is { "" } else { " no more" };
                let what = format!("{name} tainted as unreachable ({effect}){off}");
                found.push(Departure { what, seconds });
            }
        }
        tainted.retain(|(node, _)| *node != name);
        tainted.extend(taints);
        for condition in node.status.iter().flat_map(|status| status.conditions.iter().flatten()) {
            let kind = condition.type_.as_str();
            let key = (name, kind);
            let is_raised = condition.status == "True";
            if kind == "Ready" && (condition.status == "Unknown") != silent.contains(name) {
                let heard = if silent.remove(name) {
                    "heard of again"
                } else {
                    silent.insert(name);
                    "not heard of"
                };
                found.push(Departure { what: format!("{name} {heard}"), seconds });
            }
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
            found.push(Departure { what: format!("{kind} of {name} {change}"), seconds });
        }
    }
    found
}

/// Every eviction, rejection, deletion for a taint, preemption and OOM kill of a run, in order.
fn departures(timeline: &Timeline) -> Vec<Departure> {
    let Some(started) = started(timeline) else { return Vec::new() };
    let observations = &timeline.observations;
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
            End::EvictedThroughApi => "evicted through the API".to_owned(),
            End::DeletedByTaintManager => "deleted for a taint".to_owned(),
            End::Preempted { by: Preemptor::Scheduler } => "preempted by the scheduler".to_owned(),
            End::Preempted { by: Preemptor::Kubelet } => "preempted by the kubelet".to_owned(),
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

/// What the API server answered about each pod, the same answer once, and what drains came to.
fn answers(timeline: &Timeline) -> Vec<Departure> {
    let Some(started) = started(timeline) else { return Vec::new() };
    let observations = &timeline.observations;
    let mut last: BTreeMap<(&str, bool), u16> = BTreeMap::new();
    let mut found = Vec::new();
    for own in observations {
        let what = match &own.fact {
            Fact::Answer(answer) => {
                let Answer { pod, draining, code, .. } = &**answer;
                let says = if is_deletion_by_step(answer) { None } else { Some(answer_words(answer)) };
                says.filter(|_| last.insert((pod, *draining), *code) != Some(*code))
            }
            Fact::Drained { node, outcome } => {
                let came_to = match outcome {
                    DrainOutcome::Emptied { .. } => "emptied it",
                    DrainOutcome::TimedOut { .. } => "timed out",
                    DrainOutcome::Refused { .. } => "refused",
                    DrainOutcome::Failed { .. } => "failed",
                };
                Some(format!("a drain of {node} {came_to}"))
            }
            Fact::Finished => break,
            _ => None,
        };
        let seconds = words::seconds_between(started, own.at);
        found.extend(what.map(|what| Departure { what, seconds }));
    }
    found
}

/// Whether a step deletes pods by a selector: what is answered to that is no subject.
fn is_deletion_by_step(answer: &Answer) -> bool {
    answer.asked == Asked::Delete && !answer.draining
}

fn answer_words(answer: &Answer) -> String {
    let who = answer.workload.as_deref().unwrap_or(&answer.pod);
    let asker = match (answer.draining, answer.asked) {
        (false, _) if answer.dry_run => "a dry run's eviction",
        (false, _) => "its eviction",
        (true, Asked::Evict) => "its eviction by a drain",
        (true, Asked::Delete) => "its deletion by a drain",
    };
    format!("{who}: {asker} answered with {}", answer.code)
}

/// The pods that somebody other than their kubelets told to go: through the API, for a taint, by a drain or for another pod.
fn told_to_go(timeline: &Timeline) -> Vec<PodEnd> {
    let by_drain: BTreeSet<&str> = timeline
        .observations
        .iter()
        .filter_map(|own| match &own.fact {
            Fact::Answer(answer) if answer.draining && answer.code < 300 => answer.uid.as_deref(),
            _ => None,
        })
        .collect();
    let mut told = ends(timeline);
    told.retain(|pod| match pod.end {
        End::EvictedThroughApi | End::DeletedByTaintManager | End::Preempted { by: Preemptor::Scheduler } => {
            true
        }
        End::Deleted => by_drain.contains(pod.uid.as_str()),
        _ => false,
    });
    told
}

/// When the objects of those who were told to go were gone.
fn gone(timeline: &Timeline) -> Vec<Departure> {
    let Some(started) = started(timeline) else { return Vec::new() };
    let observations = &timeline.observations;
    let told = told_to_go(timeline);
    let until_the_end = observations.iter().take_while(|own| !matches!(own.fact, Fact::Finished));
    let found = until_the_end.filter_map(|own| {
        let Fact::PodDeleted(deleted) = &own.fact else { return None };
        let pod = told.iter().find(|pod| Some(&pod.uid) == deleted.metadata.uid.as_ref())?;
        let who = pod.workload.as_deref().unwrap_or(&pod.name);
        Some(Departure { what: format!("{who} gone"), seconds: words::seconds_between(started, own.at) })
    });
    found.collect()
}

/// When pods that appeared after one of their workload was told to go ran for the first time, and where.
fn successors(timeline: &Timeline) -> Vec<Departure> {
    let Some(started) = started(timeline) else { return Vec::new() };
    let observations = &timeline.observations;
    let told = told_to_go(timeline);
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for pod in &told {
        if let (Some(who), Some(decided)) = (pod.workload.as_deref(), pod.decided) {
            let earliest = first.entry(who).or_insert(decided.sequence);
            *earliest = decided.sequence.min(*earliest);
        }
    }
    let (mut known, mut ran) = (BTreeMap::new(), BTreeSet::new());
    let mut found = Vec::new();
    for own in observations {
        let pod: &Pod = match &own.fact {
            Fact::Pod(pod) => pod,
            Fact::Finished => break,
            _ => continue,
        };
        let Some(uid) = pod.metadata.uid.as_deref() else { continue };
        let appeared = *known.entry(uid).or_insert(own.sequence);
        let who = crate::observe::workload_of(pod);
        let runs = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let Some(who) = who.filter(|who| runs && first.get(who).is_some_and(|told| appeared > *told)) else {
            continue;
        };
        if ran.insert(uid) {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            let seconds = words::seconds_between(started, own.at);
            found.push(Departure { what: format!("{who} made anew runs on {node}"), seconds });
        }
    }
    found
}

impl Prediction {
    /// The prediction beside what was observed: whether any phase has the same pods go in the same order for the same
    /// reasons, and whether each went when it does there, one interval of the kubelet's loop more or less; and the same of
    /// every other [`Aspect`]. What leaves a part of the plan out is not compared: it would differ for that reason.
    #[must_use]
    pub fn compared_with(mut self, timeline: &Timeline) -> Self {
        if self.omissions.is_empty() {
            let compared = Aspect::ALL
                .map(|aspect| disagreements(aspect, self.aspect(aspect), self.phases, &aspect.of(timeline)));
            self.disagreements = compared.into_iter().flatten().collect();
        }
        self
    }
}

/// Who went in a run, and when, in a line; and what was answered to whoever asked for it.
#[must_use]
pub fn observed_words(timeline: &Timeline) -> (String, Option<String>) {
    let answers = answers(timeline);
    let answered = (!answers.is_empty()).then(|| told(NOBODY, &answers));
    (told(NOBODY, &departures(timeline)), answered)
}

fn disagreements(aspect: Aspect, sequences: &[Sequence], phases: u32, observed: &[Departure]) -> Vec<String> {
    let nothing = aspect.nothing();
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
        let found = |departures: &[(&str, f64)]| {
            disagreements(Aspect::Departures, &prediction, 10, &observed(departures))
        };
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
    fn answers_are_told_once_and_compared_as_departures_are() {
        let mut timeline = Timeline::default();
        let at = |seconds: i64| Timestamp::from_second(1000 + seconds).expect("a time");
        timeline.push(at(0), Fact::Started);
        let answer = |asked, draining, code| Answer {
            asked,
            namespace: "plimsoll".to_owned(),
            pod: "web-1".to_owned(),
            uid: Some("1".to_owned()),
            workload: Some("web".to_owned()),
            dry_run: false,
            draining,
            code,
            reason: String::new(),
            message: String::new(),
        };
        for (seconds, asked, draining, code) in [
            (1, Asked::Evict, false, 429),
            (2, Asked::Evict, true, 429),
            (3, Asked::Evict, false, 429),
            (9, Asked::Evict, true, 201),
            (10, Asked::Delete, false, 200),
        ] {
            timeline.push(at(seconds), Fact::Answer(Box::new(answer(asked, draining, code))));
        }
        let outcome = DrainOutcome::TimedOut { left: vec!["web-1".to_owned()] };
        timeline.push(at(30), Fact::Drained { node: "worker".to_owned(), outcome });
        timeline.push(at(40), Fact::Finished);
        let seen = Aspect::Answers.of(&timeline);
        let own = "web: its eviction answered with 429";
        let [again, through] =
            [429, 201].map(|code| format!("web: its eviction by a drain answered with {code}"));
        let over = "a drain of worker timed out";
        assert_eq!(seen, observed(&[(own, 1.0), (&again, 2.0), (&through, 9.0), (over, 30.0)]));
        let like = |last: f64| {
            predicted(&[(own, 1.0, 1.0), (&again, 2.0, 2.0), (&through, 9.0, 9.0), (over, last, last)])
        };
        assert!(disagreements(Aspect::Answers, &like(39.9), 10, &seen).is_empty());
        let late = disagreements(Aspect::Answers, &like(40.1), 10, &seen);
        assert_eq!(late, ["a drain of worker timed out after 30.0s; predicted 40.1s to 40.1s"]);
    }

    #[test]
    fn who_is_told_to_go_is_gone_and_another_runs_in_its_place() {
        let mut timeline = Timeline::default();
        let at = |seconds: i64| Timestamp::from_second(1000 + seconds).expect("a time");
        let pod = |uid: &str, phase: &str, told: bool| -> Box<Pod> {
            let mut pod = serde_json::json!({
                "metadata": {"name": uid, "uid": uid, "labels": {"plimsoll.dev/workload": "web"}},
                "spec": {"nodeName": "right"},
                "status": {"phase": phase},
            });
            if told {
                pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:17:00Z".into();
                pod["status"]["conditions"] = serde_json::json!([
                    {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
                ]);
            }
            Box::new(serde_json::from_value(pod).expect("a pod"))
        };
        timeline.push(at(0), Fact::Started);
        timeline.push(at(1), Fact::Pod(pod("first", "Running", false)));
        timeline.push(at(2), Fact::Pod(pod("first", "Running", true)));
        timeline.push(at(3), Fact::Pod(pod("second", "Pending", false)));
        timeline.push(at(5), Fact::Pod(pod("second", "Running", false)));
        timeline.push(at(6), Fact::Pod(pod("second", "Running", false)));
        timeline.push(at(7), Fact::PodDeleted(pod("first", "Failed", true)));
        timeline.push(at(8), Fact::Finished);
        assert_eq!(Aspect::Departures.of(&timeline), observed(&[("web evicted through the API", 2.0)]));
        assert_eq!(Aspect::Gone.of(&timeline), observed(&[("web gone", 7.0)]));
        assert_eq!(Aspect::Successors.of(&timeline), observed(&[("web made anew runs on right", 5.0)]));
    }

    #[test]
    fn conditions_are_compared_as_departures_are() {
        use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus};
        let mut timeline = Timeline::default();
        let at = |seconds: i64| Timestamp::from_second(1000 + seconds).expect("a time");
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
        let found = |predicted: &[Sequence]| disagreements(Aspect::Conditions, predicted, 10, &observed);
        assert!(found(&predicted(&[(raised, 1.0, 8.0), (cleared, 15.0, 25.0)])).is_empty());
        assert_eq!(
            found(&predicted(&[(raised, 1.0, 8.0), (cleared, 31.0, 35.0)])),
            ["DiskPressure of worker cleared after 20.0s; predicted 31.0s to 35.0s"]
        );
        assert!(found(&predicted(&[]))[0].ends_with("predicted: no condition changes always"));
    }
}
