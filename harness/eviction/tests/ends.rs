//! The other ends of a pod, against what Kubernetes' own code answered: the kernel's out-of-memory killer, taints, preemption, drains.
//! `tests/corpus/README.md` says where the cases are from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use plimsoll_eviction::disruption::{Controller, Drain, DrainOptions, Obstacle, Phase, Subject, drain};
use plimsoll_eviction::document::{read_json, read_pods};
use plimsoll_eviction::manager::{Choose, every};
use plimsoll_eviction::pod::{Pod, Toleration};
use plimsoll_eviction::preemption::{Candidate, NodeVictims, Victims, pick_nodes, select_victims};
use plimsoll_eviction::taint::{Taint, schedule};
use plimsoll_eviction::timed_queue::{TimedQueue, Turn};
use plimsoll_eviction::zone::{Limiter, ZoneHealth, ZoneOptions, ZoneState, Zones};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// Where the cases are: the corpus, or another folder like it, such as `ci/oracle/run` makes.
fn folder() -> PathBuf {
    let corpus = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    std::env::var_os("PLIMSOLL_CORPUS").map_or_else(corpus, PathBuf::from).join("ends")
}

#[derive(Deserialize)]
struct Line<C> {
    case: C,
    expected: Value,
}

/// Answers every case of a kind, and fails with those that are answered otherwise. `differs` says what is wrong with an answer.
fn compare<C: DeserializeOwned>(kind: &str, differs: impl Fn(&C, &Value) -> Option<String>) {
    let path = folder().join(format!("{kind}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut cases, mut differences) = (0, Vec::new());
    for text in text.lines() {
        let line: Line<C> = read_json(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        cases += 1;
        if let Some(difference) = differs(&line.case, &line.expected) {
            differences.push(format!("{difference}\n{text}"));
        }
    }
    assert!(cases >= 40, "only {cases} cases");
    assert!(differences.is_empty(), "{} of {cases} differ:\n{}", differences.len(), differences.join("\n"));
}

/// What is wrong with an answer that must be exactly upstream's.
fn unequal<T: DeserializeOwned + Debug + PartialEq>(expected: &Value, actual: &T) -> Option<String> {
    let expected: T = serde_json::from_value(expected.clone()).expect("an answer");
    (expected != *actual).then(|| format!("expected {expected:?}, got {actual:?}"))
}

#[derive(Deserialize)]
struct OomCase {
    capacity: i64,
    pod: Box<RawValue>,
}

#[test]
fn out_of_memory_adjustments_agree() {
    compare("oom", |case: &OomCase, expected| {
        let pods = read_pods(&format!("{{\"items\":[{}]}}", case.pod)).expect("a pod");
        let containers = pods[0].containers.iter().chain(&pods[0].init_containers);
        let adjustment = |container| pods[0].oom_score_adjustment(container, case.capacity);
        unequal(expected, &containers.map(adjustment).collect::<Vec<i64>>())
    });
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ZonesCase {
    rate: f32,
    secondary_rate: f32,
    threshold: f32,
    large_zone: u32,
    passes: Vec<BTreeMap<String, (u32, u32)>>,
}

/// Each zone's state and rate after each pass.
type ZonesTrace = Vec<BTreeMap<String, (String, f32)>>;

fn zones(case: &ZonesCase) -> ZonesTrace {
    let options = ZoneOptions {
        eviction_rate: case.rate,
        secondary_eviction_rate: case.secondary_rate,
        unhealthy_threshold: case.threshold,
        large_zone_threshold: case.large_zone,
    };
    let name = |state| match state {
        ZoneState::Initial => "Initial",
        ZoneState::Normal => "Normal",
        ZoneState::PartialDisruption => "PartialDisruption",
        ZoneState::FullDisruption => "FullDisruption",
    };
    let mut zones = Zones::default();
    let pass = |pass: &BTreeMap<String, (u32, u32)>| {
        let health = |&(ready, not_ready): &(u32, u32)| ZoneHealth { ready, not_ready };
        let health = pass.iter().map(|(zone, counts)| (zone.clone(), health(counts))).collect();
        zones = zones.step(&health, &options).0;
        let told = |zone: &String| zones.get(zone).map(|(state, rate)| (name(state).to_owned(), rate));
        pass.keys().map(|zone| (zone.clone(), told(zone).expect("a zone"))).collect()
    };
    case.passes.iter().map(pass).collect()
}

/// Upstream leaves to chance when it forgets a zone without nodes; this crate forgets it at once.
#[test]
fn zones_go_a_way_that_upstream_goes() {
    compare("zones", |case: &ZonesCase, expected| {
        let traces: Vec<ZonesTrace> = serde_json::from_value(expected.clone()).expect("traces");
        let own = zones(case);
        (!traces.contains(&own)).then(|| format!("expected one of {traces:?}, got {own:?}"))
    });
}

#[derive(Deserialize)]
struct QueueCase {
    rate: f32,
    events: Vec<QueueEvent>,
}

#[derive(Deserialize)]
struct QueueEvent {
    at: u64,
    r#do: String,
    #[serde(default)]
    node: String,
    #[serde(default)]
    rate: f32,
    again: Option<u64>,
}

/// What the queue says of each event.
fn turns(case: &QueueCase, choose: &mut impl Choose) -> Vec<Value> {
    let mut queue = TimedQueue::new(Limiter::new(case.rate, Duration::ZERO));
    let mut answers = Vec::new();
    for event in &case.events {
        let now = Duration::from_millis(event.at);
        match event.r#do.as_str() {
            "add" => answers.push(queue.add(&event.node, now).into()),
            "remove" => answers.push(queue.remove(&event.node).into()),
            "clear" => queue.clear(),
            "swap" => queue.swap_limiter(event.rate, now),
            _ => {
                let mut turns: Vec<String> = Vec::new();
                queue.attempt(now, choose, |node| {
                    turns.push(node.to_owned());
                    event.again.map_or(Turn::Done, |wait| Turn::Again(Duration::from_millis(wait)))
                });
                answers.push(turns.into());
            }
        }
    }
    answers
}

/// Two nodes that are tried again may be due at one moment; then upstream's heap decides.
#[test]
fn queues_take_turns_alike() {
    compare("queue", |case: &QueueCase, expected| {
        let own = every(|path| turns(case, path));
        let found = own.iter().any(|answers| expected.as_array() == Some(answers));
        (!found).then(|| format!("expected {expected}, got {own:?}"))
    });
}

#[derive(Deserialize)]
struct TaintsCase {
    looks: Vec<LookDocument>,
}

#[derive(Deserialize)]
struct LookDocument {
    at: i64,
    taints: Vec<TaintDocument>,
    tolerations: Vec<TolerationDocument>,
}

#[derive(Deserialize)]
struct TaintDocument {
    key: String,
    value: String,
    effect: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TolerationDocument {
    key: String,
    operator: String,
    value: String,
    effect: String,
    toleration_seconds: Option<i64>,
}

/// When the pod is deleted, in milliseconds, if that is within a day of the last look.
fn deleted(case: &TaintsCase) -> Option<i64> {
    let mut scheduled = None;
    for (at, look) in case.looks.iter().enumerate() {
        let pod = Pod {
            tolerations: look
                .tolerations
                .iter()
                .map(|toleration| Toleration {
                    key: toleration.key.clone(),
                    operator: toleration.operator.clone(),
                    value: toleration.value.clone(),
                    effect: toleration.effect.clone(),
                    toleration_seconds: toleration.toleration_seconds,
                })
                .collect(),
            ..Pod::default()
        };
        let taint = |taint: &TaintDocument| Taint {
            key: taint.key.clone(),
            value: taint.value.clone(),
            effect: taint.effect.clone(),
        };
        let taints: Vec<Taint> = look.taints.iter().map(taint).collect();
        let now = Timestamp::from_millisecond(look.at).expect("a time");
        scheduled = schedule(&pod, &taints, scheduled, now);
        let until = case.looks.get(at + 1).map_or(look.at + 86_400_000, |next| next.at);
        if let Some(due) = scheduled.map(|scheduled| scheduled.at.as_millisecond()).filter(|due| *due < until)
        {
            return Some(due);
        }
    }
    None
}

#[test]
fn tainted_pods_are_deleted_at_the_same_time() {
    compare("taints", |case: &TaintsCase, expected| unequal(&expected["deleted"], &deleted(case)));
}

#[derive(Deserialize)]
struct CandidateDocument {
    priority: i32,
    started: Option<i64>,
    memory: i64,
    budgets: Vec<usize>,
}

impl CandidateDocument {
    fn candidate(&self) -> Candidate {
        let started = self.started.map(|second| Timestamp::from_second(second).expect("a time"));
        Candidate { priority: self.priority, started, budgets: self.budgets.clone() }
    }
}

#[derive(Deserialize)]
struct VictimsCase {
    priority: i32,
    wants: i64,
    room: i64,
    allowed: Vec<i64>,
    pods: Vec<CandidateDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VictimsDocument {
    pods: Vec<usize>,
    budget_violations: usize,
}

/// Groups of equal pods, the order within which means nothing, and the number of violated budgets.
type Choice = Option<(Vec<BTreeSet<usize>>, usize)>;

#[test]
fn every_choice_of_victims_is_one_that_upstream_makes() {
    compare("preemption-victims", |case: &VictimsCase, expected| {
        let pods: Vec<Candidate> = case.pods.iter().map(CandidateDocument::candidate).collect();
        let expected: Vec<Option<VictimsDocument>> =
            serde_json::from_value(expected.clone()).expect("choices");
        let equal = |a: &usize, b: &usize| {
            (pods[*a].priority, pods[*a].started) == (pods[*b].priority, pods[*b].started)
        };
        let grouped = |victims: &VictimsDocument| {
            let groups = victims.pods.chunk_by(equal).map(|group| group.iter().copied().collect()).collect();
            (groups, victims.budget_violations)
        };
        let expected: Vec<Choice> = expected.iter().map(|choice| choice.as_ref().map(grouped)).collect();
        let fits = |present: &[bool]| {
            let used = case.pods.iter().zip(present).filter(|(_, present)| **present);
            used.map(|(pod, _)| pod.memory).sum::<i64>() + case.wants <= case.room
        };
        let own = every(|path| select_victims(case.priority, &pods, &case.allowed, path, fits));
        let told = |Victims { pods, budget_violations }: Victims| {
            (pods.into_iter().map(BTreeSet::from_iter).collect(), budget_violations)
        };
        let own: Vec<Choice> = own.into_iter().map(|victims| victims.map(told)).collect();
        let same = own.iter().all(|choice| expected.contains(choice))
            && expected.iter().all(|choice| own.contains(choice));
        (!same).then(|| format!("expected {expected:?}, got {own:?}"))
    });
}

#[derive(Deserialize)]
struct NodesCase {
    nodes: Vec<NodeDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeDocument {
    budget_violations: usize,
    pods: Vec<CandidateDocument>,
}

#[test]
fn preemption_takes_any_of_the_same_nodes() {
    compare("preemption-nodes", |case: &NodesCase, expected| {
        let victims = |node: &NodeDocument| NodeVictims {
            pods: node.pods.iter().map(CandidateDocument::candidate).collect(),
            budget_violations: node.budget_violations,
        };
        let nodes: Vec<NodeVictims> = case.nodes.iter().map(victims).collect();
        unequal(expected, &pick_nodes(&nodes))
    });
}

#[derive(Deserialize)]
struct DrainCase {
    flags: FlagsDocument,
    pod: SubjectDocument,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlagsDocument {
    force: bool,
    ignore_daemon_sets: bool,
    delete_empty_dir_data: bool,
    skip_deleted_after_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubjectDocument {
    phase: String,
    controller: String,
    mirror: bool,
    empty_dir: bool,
    deleting_for_seconds: Option<u64>,
}

#[test]
fn drains_take_and_leave_the_same_pods() {
    compare("drain", |DrainCase { flags, pod }: &DrainCase, expected| {
        let subject = Subject {
            phase: match pod.phase.as_str() {
                "Pending" => Phase::Pending,
                "Running" => Phase::Running,
                _ => Phase::Finished,
            },
            ready: false,
            deleting_for_seconds: pod.deleting_for_seconds,
            controller: match pod.controller.as_str() {
                "" => Controller::None,
                "DaemonSet" => Controller::DaemonSet,
                "MissingDaemonSet" => Controller::MissingDaemonSet,
                _ => Controller::Other,
            },
            mirror: pod.mirror,
            has_empty_dir: pod.empty_dir,
        };
        let options = DrainOptions {
            force: flags.force,
            ignore_daemon_sets: flags.ignore_daemon_sets,
            delete_empty_dir_data: flags.delete_empty_dir_data,
            skip_deleted_after_seconds: flags.skip_deleted_after_seconds,
        };
        let told = match drain(&subject, &options) {
            Drain::Takes => "takes".to_owned(),
            Drain::TakesWarning(warning) => format!("takes: {warning}"),
            Drain::Leaves => "leaves".to_owned(),
            Drain::LeavesWarning(warning) => format!("leaves: {warning}"),
            // Upstream repeats what the API server says of one that is not there.
            Drain::Refuses(Obstacle::MissingDaemonSet) => {
                "refuses: daemonsets.apps \"owner\" not found".to_owned()
            }
            Drain::Refuses(obstacle) => format!("refuses: {}", obstacle.message()),
        };
        unequal(expected, &told)
    });
}
