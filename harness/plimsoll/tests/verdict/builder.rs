//! Runs as they could have been, to be judged: a plan, and facts at times.
//!
//! Times are seconds since the steps began; what is before is negative.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plimsoll::observe::{Fact, StepOutcome, Timeline};
use plimsoll::plan::{
    Action, ControlPlaneSettings, Expect, Expectation, FilesystemPlan, Location, NodePlan, Plan, PlannedStep,
    Until, Wait, WorkloadPlan,
};
use plimsoll::verdict::{State, Verdict, judge};
use plimsoll_node::report::{FilesystemSample, MemorySample, OomKill, OomScope, PodSample, Sample};
use serde_json::{Value, json};

pub const MEBI: u64 = 1 << 20;
pub const MI: i64 = 1 << 20;

/// A run that can be changed before it is judged.
#[derive(Clone)]
pub struct Run {
    pub plan: Plan,
    facts: Vec<(f64, Fact)>,
}

/// The instant so many seconds after the steps began.
pub fn at(seconds: f64) -> Timestamp {
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
    start + SignedDuration::from_secs_f64(seconds)
}

/// The same as Kubernetes writes it: whole seconds, cut off.
pub fn written(seconds: f64) -> String {
    at(seconds.floor()).to_string()
}

pub fn location(line: u32) -> Location {
    Location { file: "scenario.yaml".into(), line, column: 3 }
}

pub fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

pub fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

pub fn uid(pod: &str) -> String {
    format!("uid-{pod}")
}

/// A pod of this workload; fields of `changes` replace or add to its own.
pub fn pod(workload: &str, changes: Value) -> Value {
    let mut pod = json!({
        "metadata": {
            "name": workload, "namespace": "plimsoll", "uid": uid(workload),
            "labels": {"plimsoll.dev/workload": workload},
        },
        "spec": {"nodeName": "worker", "priority": 0, "containers": [{"name": "filler", "resources": {}}]},
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    });
    merge(&mut pod, changes);
    pod
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes,
    }
}

/// The request of this workload in the standard run.
fn requests(workload: &str) -> Value {
    match workload {
        "steady" => json!({"spec": {"containers": [{"name": "filler", "resources":
            {"requests": {"memory": "400Mi"}, "limits": {"memory": "400Mi", "cpu": "100m"}}}]}, "status": {"qosClass": "Guaranteed"}}),
        "greedy" => {
            json!({"spec": {"containers": [{"name": "filler", "resources": {"requests": {"memory": "50Mi"}}}]},
            "status": {"qosClass": "Burstable"}})
        }
        _ => json!({}),
    }
}

pub fn pod_fact(workload: &str, changes: Value) -> Fact {
    let mut all = requests(workload);
    merge(&mut all, changes);
    Fact::Pod(Box::new(serde_json::from_value(pod(workload, all)).expect("a pod")))
}

pub fn running(workload: &str) -> Fact {
    running_with(workload, 0, json!({}))
}

pub fn running_with(workload: &str, restarts: u32, last_state: Value) -> Fact {
    pod_fact(
        workload,
        json!({"status": {"phase": "Running", "containerStatuses": [{
            "name": "filler", "restartCount": restarts, "image": "", "imageID": "", "ready": true,
            "state": {"running": {}}, "lastState": last_state,
        }]}}),
    )
}

pub fn deleted(workload: &str) -> Fact {
    Fact::PodDeleted(Box::new(
        serde_json::from_value(pod(workload, json!({"status": {"phase": "Running"}}))).expect("a pod"),
    ))
}

pub fn message(threshold: &str, available: &str, using: &str, request: &str) -> String {
    format!(
        "The node was low on resource: memory. Threshold quantity: {threshold}, available: {available}. Container filler \
         was using {using}, request is {request}, has larger consumption of memory. "
    )
}

pub fn low_message() -> String {
    message("400Mi", "332Mi", "1016Mi", "50Mi")
}

/// The status of a pod that the kubelet evicted.
pub fn evicted_at(workload: &str, ended: f64, message: &str) -> Fact {
    pod_fact(
        workload,
        json!({"status": {
            "phase": "Failed", "reason": "Evicted", "message": message,
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet",
                "message": message, "lastTransitionTime": written(ended)}],
            "containerStatuses": [terminated(ended, 0, "Completed")],
        }}),
    )
}

pub fn terminated(ended: f64, exit_code: i32, reason: &str) -> Value {
    json!({"name": "filler", "restartCount": 0, "image": "", "imageID": "", "ready": false,
        "state": {"terminated": {"exitCode": exit_code, "reason": reason, "finishedAt": written(ended)}}})
}

pub fn event(pod: &str, reason: &str, message: &str, written_at: f64) -> Fact {
    Fact::Event(Box::new(
        serde_json::from_value(json!({
            "metadata": {"name": format!("{pod}.{reason}"), "namespace": "plimsoll"},
            "involvedObject": {"kind": "Pod", "name": pod, "namespace": "plimsoll", "uid": uid(pod)},
            "reason": reason, "message": message, "type": "Warning", "firstTimestamp": written(written_at),
        }))
        .expect("an event"),
    ))
}

pub fn node(name: &str, ready: bool, pressure: &[(&str, bool, f64)]) -> Fact {
    let mut conditions = vec![json!({"type": "Ready", "status": if ready {"True"} else {"Unknown"}})];
    for (condition, raised, since) in pressure {
        let status = if *raised { "True" } else { "False" };
        conditions.push(json!({"type": condition, "status": status, "lastTransitionTime": written(*since)}));
    }
    Fact::Node(Box::new(
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"conditions": conditions}}))
            .expect("a node"),
    ))
}

pub fn gap(source: &str, from: f64, resumed: bool) -> Fact {
    Fact::Gap { source: source.into(), from: at(from), resumed, reason: "connection lost".into() }
}

pub fn oom_kill(pod: Option<&str>, scope: OomScope) -> Fact {
    Fact::OomKill {
        node: "worker".into(),
        kill: OomKill {
            scope,
            pod_uid: pod.map(uid),
            task: Some("plimsoll-hog".into()),
            source: "oom-kill:…".into(),
        },
    }
}

/// A sample in which pods use so many Mi, besides 150 of the node's own.
pub fn sample(pods: &[(&str, u64)]) -> Fact {
    let sum: u64 = pods.iter().map(|(_, used)| used * MEBI).sum();
    let memory =
        MemorySample { capacity: Some(2048 * MEBI), usage: sum + 200 * MEBI, working_set: sum + 150 * MEBI };
    let pod = |used: u64| PodSample { working_set: used * MEBI, pids: Some(3) };
    let filesystem =
        FilesystemSample { capacity: 1 << 31, available: 1 << 30, inodes: 100_000, inodes_free: 90_000 };
    Fact::Sample {
        node: "worker".into(),
        sample: Box::new(Sample {
            memory,
            kubepods: Some(MemorySample { capacity: None, usage: sum, working_set: sum }),
            pods: pods.iter().map(|(name, used)| (uid(name), pod(*used))).collect(),
            filesystems: BTreeMap::from([("nodefs".into(), filesystem)]),
            pids: None,
        }),
    }
}

pub fn step_ended(step: usize, outcome: StepOutcome) -> Fact {
    Fact::StepEnded { step, location: location(20 + step as u32), outcome }
}

pub fn workload(name: &str, pods: u32) -> (String, WorkloadPlan) {
    (name.into(), WorkloadPlan { name: name.into(), objects: Vec::new(), fill: None, pods })
}

pub fn node_plan(name: &str, kubelet: Value) -> NodePlan {
    NodePlan {
        name: name.into(),
        memory: 2048 * MEBI,
        nodefs: FilesystemPlan { size: 1 << 31, inodes: None },
        imagefs: None,
        pids: 8192,
        images: Vec::new(),
        gpus: None,
        labels: BTreeMap::new(),
        taints: Vec::new(),
        housekeeping_interval: None,
        kubelet,
    }
}

impl Run {
    /// One node that is Ready, nothing on it, three workloads that no step starts.
    pub fn empty() -> Self {
        let kubelet = json!({
            "evictionHard": {"memory.available": "400Mi"},
            "evictionMinimumReclaim": {"memory.available": "100Mi"},
            "enforceNodeAllocatable": [],
        });
        let plan = Plan {
            name: "a-scenario".into(),
            description: None,
            labels: BTreeMap::new(),
            claim: None,
            kubernetes: "1.36.3".into(),
            control_plane: ControlPlaneSettings::default(),
            hollow: None,
            nodes: vec![node_plan("worker", kubelet)],
            objects: Vec::new(),
            workloads: [workload("steady", 1), workload("idler", 1), workload("greedy", 1)].into(),
            steps: Vec::new(),
            expectations: Vec::new(),
        };
        let facts = vec![
            (-3.0, Fact::Began { cluster: "host".into(), kubernetes: "1.36.3".into() }),
            (-2.0, Fact::Boot { part: "worker".into(), phase: "containerd".into() }),
            (-1.0, node("worker", true, &[("MemoryPressure", false, -1.0), ("DiskPressure", false, -1.0)])),
            (0.0, Fact::Started),
        ];
        Self { plan, facts }
    }

    /// The run of the design's example: `greedy` fills 20 Mi a second from the fifth second on, crosses 400 Mi at 52.5,
    /// is evicted at 56, MemoryPressure from 57 to 75, over at 80.
    pub fn standard() -> Self {
        let mut run = Self::empty();
        let steps = [
            Action::Start(names(["steady", "idler"])),
            Action::Wait(Wait {
                until: Until::Running(names(["steady", "idler"])),
                within: Duration::from_secs(30),
            }),
            Action::Start(names(["greedy"])),
            Action::Wait(Wait { until: Until::Evictions(1), within: Duration::from_secs(120) }),
            Action::Observe(Duration::from_secs(24)),
        ];
        let times = [(0.0, 0.5), (0.5, 2.0), (2.0, 2.5), (2.5, 56.1), (56.1, 80.0)];
        for (step, (action, (began, ended))) in steps.into_iter().zip(times).enumerate() {
            run.plan.steps.push(PlannedStep { location: location(20 + step as u32), action });
            run.add(began, Fact::StepBegan { step });
            run.add(ended, step_ended(step, StepOutcome::Done));
        }
        run.add(1.5, running("steady"));
        run.add(1.6, running("idler"));
        run.add(2.6, pod_fact("greedy", json!({})));
        run.add(4.0, running("greedy"));
        for tick in -2..161_i32 {
            let now = f64::from(tick) / 2.0;
            let steady = if now >= 2.0 { 350 } else { 0 };
            let idler = if now >= 2.0 { 200 } else { 0 };
            let pods = if (5.0..56.5).contains(&now) {
                let greedy = ((now - 5.0) * 20.0) as u64;
                sample(&[("steady", steady), ("idler", idler), ("greedy", greedy)])
            } else if now >= 2.0 {
                sample(&[("steady", steady), ("idler", idler)])
            } else {
                sample(&[])
            };
            run.add(now, pods);
        }
        run.add(56.03, event("greedy", "Evicted", &low_message(), 56.0));
        run.add(56.44, evicted_at("greedy", 56.4, &low_message()));
        run.add(57.1, node("worker", true, &[("MemoryPressure", true, 57.0), ("DiskPressure", false, -1.0)]));
        run.add(
            75.1,
            node("worker", true, &[("MemoryPressure", false, 75.0), ("DiskPressure", false, -1.0)]),
        );
        run.add(70.0, metric(1));
        run.add(80.1, Fact::Finished);
        run
    }

    /// Adds a fact; of two at one time the one added first comes first.
    pub fn add(&mut self, seconds: f64, fact: Fact) -> &mut Self {
        self.facts.push((seconds, fact));
        self
    }

    /// Takes out the facts of which this is true.
    pub fn remove(&mut self, unwanted: impl Fn(f64, &Fact) -> bool) -> &mut Self {
        self.facts.retain(|(seconds, fact)| !unwanted(*seconds, fact));
        self
    }

    /// Takes out everything that is about the pods of this workload.
    pub fn remove_pod(&mut self, workload: &str) -> &mut Self {
        let uid = uid(workload);
        self.remove(|_, fact| match fact {
            Fact::Pod(pod) | Fact::PodDeleted(pod) => pod.metadata.uid.as_ref() == Some(&uid),
            Fact::Event(event) => event.involved_object.uid.as_ref() == Some(&uid),
            _ => false,
        })
    }

    /// Nobody was evicted: `greedy` ran on, and no condition was raised.
    pub fn without_eviction(&mut self) -> &mut Self {
        self.remove(|seconds, fact| match fact {
            Fact::Event(_) | Fact::EvictionMetric { .. } => true,
            Fact::Pod(_) | Fact::Node(_) => seconds > 50.0,
            _ => false,
        })
    }

    pub fn timeline(&self) -> Timeline {
        let mut facts = self.facts.clone();
        facts.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut timeline = Timeline::default();
        for (seconds, fact) in facts {
            timeline.push(at(seconds), fact);
        }
        timeline
    }

    pub fn expecting(&self, expects: impl IntoIterator<Item = Expect>) -> Plan {
        let mut plan = self.plan.clone();
        plan.expectations = expects
            .into_iter()
            .enumerate()
            .map(|(index, expect)| Expectation { location: location(40 + index as u32), expect })
            .collect();
        plan
    }

    pub fn judge(&self, expects: impl IntoIterator<Item = Expect>) -> Verdict {
        judge(&self.expecting(expects), &self.timeline())
    }

    /// The state and the reason of one expectation's finding.
    pub fn finding(&self, expect: Expect) -> (State, String) {
        let verdict = self.judge([expect]);
        (verdict.findings[0].state, verdict.findings[0].because.clone())
    }
}

pub fn metric(count: u64) -> Fact {
    Fact::EvictionMetric { node: "worker".into(), signal: "memory.available".into(), count }
}

/// Fails unless the finding has this state and its reason contains this text.
#[track_caller]
pub fn assert_finding(run: &Run, expect: Expect, state: State, text: &str) {
    let (found, because) = run.finding(expect);
    assert!(
        found == state && because.contains(text),
        "{found:?} instead of {state:?} with {text:?}: {because}"
    );
}
