//! Disruptions that are no pressure: what the API server answered, what drains came to, and how pods ended.

use std::time::Duration;

use plimsoll::observe::{Answer, Asked, DrainOutcome, Fact, RefusedPod, StepOutcome};
use plimsoll::plan::{
    Action, Band, DrainEnd, DrainObstacle, DrainPlan, DrainedExpectation, DrainedTo, EndKind,
    EndedExpectation, Expect, FlappingExpectation, Lasting, PlannedStep, ReplacedExpectation, ReplacedOn,
    ScaleDownExpectation, ScaleDownObstacle, SlowedExpectation,
};
use plimsoll::verdict::State;
use serde_json::{Value, json};

use super::builder::*;

/// The standard run without its eviction: who goes here goes for another reason.
fn quiet() -> Run {
    let mut run = Run::standard();
    run.without_eviction();
    run.plan.steps.truncate(3);
    run.remove(
        |_, fact| matches!(fact, Fact::StepBegan { step } | Fact::StepEnded { step, .. } if *step > 2),
    );
    run
}

fn ended(workload: &str, kind: EndKind) -> EndedExpectation {
    EndedExpectation {
        workload: workload.into(),
        kind,
        count: Band { at_least: Some(1), at_most: None },
        gone: None,
        reason: None,
        says: Vec::new(),
        restarts: None,
    }
}

/// A pod that somebody made go: its condition says who.
fn target(workload: &str, reason: &str, at: f64) -> Fact {
    pod_fact(
        workload,
        json!({
            "metadata": {"deletionTimestamp": written(at)},
            "status": {"phase": "Running", "conditions": [
                {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": written(at)}]},
        }),
    )
}

#[test]
fn ends_are_told_apart() {
    for (reason, kind, others) in [
        ("EvictionByEvictionAPI", EndKind::EvictedThroughApi, EndKind::DeletedByTaintManager),
        ("DeletionByTaintManager", EndKind::DeletedByTaintManager, EndKind::PreemptedByScheduler),
        (
            "DeletionByDeviceTaintManager",
            EndKind::DeletedByDeviceTaintManager,
            EndKind::DeletedByTaintManager,
        ),
        ("PreemptionByScheduler", EndKind::PreemptedByScheduler, EndKind::EvictedThroughApi),
    ] {
        let mut run = quiet();
        run.add(60.0, target("greedy", reason, 60.0));
        run.add(61.0, deleted("greedy"));
        assert_finding(&run, Expect::Ended(ended("greedy", kind)), State::Held, kind.name());
        let text = format!("did not end as {}", others.name());
        assert_finding(&run, Expect::Ended(ended("greedy", others)), State::Violated, &text);
        run.add(62.0, gap("pods", 55.0, false));
        assert_finding(&run, Expect::Ended(ended("greedy", kind)), State::Unknown, "pods went unwatched");
    }
}

#[test]
fn a_pod_that_has_not_ended_is_no_pod_that_ended() {
    let run = quiet();
    let expect = |kind| Expect::Ended(ended("greedy", kind));
    assert_finding(&run, expect(EndKind::Running), State::Held, "1 pod of greedy: Running");
    assert_finding(&run, expect(EndKind::EvictedThroughApi), State::Violated, "0 pods of greedy");
    let two = EndedExpectation {
        count: Band { at_least: Some(2), at_most: None },
        ..ended("greedy", EndKind::Running)
    };
    assert_finding(&run, Expect::Ended(two), State::Violated, "expected at least 2");
}

#[test]
fn where_all_are_to_run_nobody_was_to_end() {
    let mut run = quiet();
    run.add(60.0, target("greedy", "EvictionByEvictionAPI", 60.0));
    run.add(61.0, deleted("greedy"));
    let successor = pod(
        "greedy",
        json!({"metadata": {"name": "greedy-2", "uid": "second"}, "status": {"phase": "Running"}}),
    );
    run.add(61.5, Fact::Pod(Box::new(serde_json::from_value(successor).expect("a pod"))));
    let running = Expect::Ended(ended("greedy", EndKind::Running));
    assert_finding(&run, running, State::Violated, "greedy did not end as Running");
    let evicted = Expect::Ended(ended("greedy", EndKind::EvictedThroughApi));
    assert_finding(&run, evicted, State::Held, "1 pod of greedy: EvictedThroughApi");
}

#[test]
fn a_drain_in_the_background_that_empties_nothing_is_told() {
    let refused = || DrainOutcome::TimedOut { left: names(["greedy"]) };
    let background = |run: &mut Run, outcome: Option<DrainOutcome>| {
        drain_step(run, outcome);
        let last = run.plan.steps.last_mut().expect("a step");
        let Action::Drain(drain) = &mut last.action else { panic!("a drain") };
        drain.background = true;
    };
    let steps = |run: &Run| {
        let verdict = run.judge([Expect::Survive(names(["idler"]))]);
        let told = verdict.findings.iter().filter(|finding| finding.key == "step");
        (verdict.state, told.map(|finding| finding.because.clone()).collect::<Vec<_>>().join("; "))
    };
    let mut run = quiet();
    background(&mut run, Some(DrainOutcome::Emptied { pods: names(["greedy"]) }));
    assert_eq!(steps(&run), (State::Held, String::new()));
    let mut run = quiet();
    background(&mut run, Some(refused()));
    let (state, told) = steps(&run);
    assert!(state == State::Unknown && told.contains("say so in `drained`"), "{state:?}: {told}");
    let mut run = quiet();
    background(&mut run, None);
    assert_eq!(steps(&run), (State::Unknown, "it was not over when the run ended".to_owned()));
}

#[test]
fn what_is_stuck_terminating_is_told_from_what_is_gone() {
    let gone = |gone| {
        let expected = ended("greedy", EndKind::DeletedByTaintManager);
        Expect::Ended(EndedExpectation { gone: Some(gone), ..expected })
    };
    let mut run = quiet();
    run.add(60.0, target("greedy", "DeletionByTaintManager", 60.0));
    assert_finding(&run, gone(false), State::Held, "greedy is Terminating at the end");
    assert_finding(&run, gone(true), State::Violated, "greedy is still there at the end");
    run.add(61.0, deleted("greedy"));
    assert_finding(&run, gone(true), State::Held, "greedy is gone");
    assert_finding(&run, gone(false), State::Violated, "greedy is gone at the end");
}

#[test]
fn what_was_said_of_a_pod_and_how_often_it_was_started_is_looked_at() {
    let expect = |says: &[&str], restarts: Option<i64>| {
        Expect::Ended(EndedExpectation {
            says: says.iter().map(|text| (*text).to_owned()).collect(),
            restarts: restarts.map(|least| Band { at_least: Some(least), at_most: None }),
            ..ended("greedy", EndKind::Running)
        })
    };
    let mut run = quiet();
    assert_finding(
        &run,
        expect(&["exit code 3"], None),
        State::Violated,
        "nothing that was said of greedy has",
    );
    let again = json!({"status": {"phase": "Running", "conditions": [
        {"type": "plimsoll.dev/GPUMemoryEviction", "status": "True", "message": "The node was low on resource: x."}],
        "containerStatuses": [{"name": "filler", "image": "", "imageID": "", "ready": true, "restartCount": 2,
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}});
    run.add(40.0, pod_fact("greedy", again));
    let said = ["filler: Error, exit code 3", "low on resource: x"];
    assert_finding(&run, expect(&said, Some(2)), State::Held, "filler: Error, exit code 3");
    assert_finding(&run, expect(&said, Some(3)), State::Violated, "was started again 2 times");
    assert_finding(&run, expect(&["exit code 4"], None), State::Violated, "has `exit code 4` in it");
    run.add(62.0, gap("pods", 55.0, false));
    assert_finding(&run, expect(&["exit code 4"], None), State::Unknown, "");
}

#[test]
fn what_the_status_says_is_looked_at() {
    let saying = |reason: &str| {
        let expected = ended("greedy", EndKind::Pending);
        Expect::Ended(EndedExpectation { reason: Some(reason.into()), ..expected })
    };
    let mut run = quiet();
    run.remove_pod("greedy");
    let message = "0/1 nodes are available: 1 Insufficient memory.";
    let unscheduled = json!({"status": {"phase": "Pending", "conditions":
        [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}});
    run.add(3.0, pod_fact("greedy", unscheduled));
    assert_finding(&run, saying("Insufficient memory"), State::Held, "1 pod of greedy: Pending");
    assert_finding(&run, saying("untolerated taint"), State::Violated, "does not say `untolerated taint`");
}

fn answer(code: u16, draining: bool) -> Fact {
    Fact::Answer(Box::new(Answer {
        asked: Asked::Evict,
        namespace: "plimsoll".into(),
        pod: "greedy".into(),
        uid: Some(uid("greedy")),
        workload: Some("greedy".into()),
        dry_run: false,
        draining,
        code,
        reason: String::new(),
        message: if code < 300 { String::new() } else { "Cannot evict pod".into() },
    }))
}

#[test]
fn answers_count_in_order_and_equal_ones_once() {
    let by = |codes: &[u16], draining| Expect::Answered {
        workload: "greedy".into(),
        codes: codes.to_vec(),
        draining,
    };
    let answered = |codes: &[u16]| by(codes, false);
    let mut run = quiet();
    assert_finding(&run, answered(&[201]), State::Violated, "was never asked to evict greedy");
    for (at, code) in [(50.0, 429), (51.0, 429), (53.0, 201)] {
        run.add(at, answer(code, false));
    }
    // What a drain asks is the drain's.
    assert_finding(&run, by(&[404], true), State::Violated, "no drain asked the API server to evict greedy");
    run.add(54.0, answer(404, true));
    assert_finding(&run, by(&[404], true), State::Held, "1 request answered with 404");
    assert_finding(&run, by(&[429, 201], true), State::Violated, "expected 429, then 201");
    assert_finding(&run, answered(&[429, 201]), State::Held, "3 requests answered with 429, then 201");
    assert_finding(&run, answered(&[201]), State::Violated, "expected 201");
    assert_finding(&run, answered(&[429]), State::Violated, "(Cannot evict pod); expected 429");
    run.remove(|_, fact| matches!(fact, Fact::Answer(_) | Fact::Finished));
    assert_finding(&run, answered(&[201]), State::Unknown, "the run ended before its steps were over");
}

fn drain_step(run: &mut Run, outcome: Option<DrainOutcome>) {
    let plan = DrainPlan {
        node: "worker".into(),
        ignore_daemon_sets: false,
        delete_empty_dir_data: false,
        force: false,
        disable_eviction: false,
        grace_period_seconds: None,
        timeout: Duration::from_secs(60),
        background: false,
    };
    let step = run.plan.steps.len();
    run.plan.steps.push(PlannedStep { location: location(30), action: Action::Drain(plan) });
    run.add(60.0, Fact::StepBegan { step });
    if let Some(outcome) = outcome {
        run.add(62.0, Fact::Drained { node: "worker".into(), outcome });
    }
    run.add(62.1, step_ended(step, StepOutcome::Done));
}

#[test]
fn a_drain_is_what_it_came_to() {
    let to = |to| Expect::Drained(DrainedExpectation { node: "worker".into(), to });
    let emptied = || to(DrainedTo::End(DrainEnd::Emptied));
    let refused = |why| to(DrainedTo::Refused([("greedy".to_owned(), why)].into()));
    let mut run = quiet();
    drain_step(&mut run, Some(DrainOutcome::Emptied { pods: names(["greedy"]) }));
    assert_finding(&run, emptied(), State::Held, "emptied of 1 pod");
    assert_finding(&run, to(DrainedTo::End(DrainEnd::TimedOut)), State::Violated, "expected TimedOut");
    let mut run = quiet();
    let pods = vec![RefusedPod {
        pod: "greedy-abc".into(),
        uid: None,
        workload: Some("greedy".into()),
        obstacle: DrainObstacle::Unmanaged,
    }];
    drain_step(&mut run, Some(DrainOutcome::Refused { pods }));
    assert_finding(
        &run,
        refused(DrainObstacle::Unmanaged),
        State::Held,
        "refused for greedy-abc (Unmanaged)",
    );
    assert_finding(&run, refused(DrainObstacle::LocalStorage), State::Violated, "expected a refusal for");
    assert_finding(&run, emptied(), State::Violated, "expected Emptied");
    let mut run = quiet();
    drain_step(&mut run, None);
    assert_finding(&run, emptied(), State::Violated, "0 drains of 1 of worker came to an end");
    run.remove(|_, fact| matches!(fact, Fact::Finished));
    assert_finding(&run, emptied(), State::Unknown, "the run ended before its steps were over");
}

#[test]
fn a_nomination_is_read_from_the_pod() {
    let nominated = |node: &str| Expect::Nominated { workload: "greedy".into(), node: node.into() };
    let mut run = quiet();
    assert_finding(&run, nominated("worker"), State::Violated, "no node was nominated for greedy");
    run.add(3.0, pod_fact("greedy", json!({"status": {"phase": "Pending", "nominatedNodeName": "worker"}})));
    assert_finding(&run, nominated("worker"), State::Held, "the scheduler nominated worker for greedy");
    assert_finding(&run, nominated("other"), State::Violated, "and not other");
    run.add(62.0, gap("pods", 1.0, false));
    assert_finding(&run, nominated("worker"), State::Unknown, "pods went unwatched");
}

fn budget(allowed: i32) -> Fact {
    let budget = json!({"metadata": {"name": "guard", "namespace": "plimsoll", "uid": "budget"},
        "spec": {"selector": {"matchLabels": {"plimsoll.dev/workload": "greedy"}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    Fact::DisruptionBudget(Box::new(serde_json::from_value(budget).expect("a budget")))
}

#[test]
fn what_keeps_an_autoscaler_is_named_with_its_reason() {
    let owned = |extra: Value| {
        let mut changes = json!({"metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]},
            "status": {"phase": "Running"}});
        changes["metadata"]["annotations"] = extra;
        changes
    };
    let blocked = |by: &[(&str, ScaleDownObstacle)]| {
        let blocked_by = by.iter().map(|(name, why)| ((*name).to_owned(), *why)).collect();
        Expect::ScaleDownBlocked(ScaleDownExpectation { node: "worker".into(), blocked_by })
    };
    let mut run = quiet();
    run.add(50.0, pod_fact("steady", owned(json!({}))));
    run.add(
        50.0,
        pod_fact("idler", owned(json!({"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}))),
    );
    run.add(50.0, pod_fact("greedy", owned(json!({}))));
    run.add(51.0, budget(0));
    let both =
        [("greedy", ScaleDownObstacle::DisruptionBudget), ("idler", ScaleDownObstacle::NotSafeToEvict)];
    assert_finding(&run, blocked(&both), State::Held, "greedy keeps worker: DisruptionBudget");
    assert_finding(&run, blocked(&both[..1]), State::Violated, "idler keeps worker, too: NotSafeToEvict");
    assert_finding(
        &run,
        blocked(&[("steady", ScaleDownObstacle::Unmanaged)]),
        State::Violated,
        "steady does not keep",
    );
    run.add(52.0, budget(1));
    assert_finding(&run, blocked(&both), State::Violated, "greedy does not keep worker");
    run.add(60.0, gap("disruption budgets", 55.0, false));
    assert_finding(&run, blocked(&both[1..]), State::Unknown, "disruption budgets went unwatched");
}

#[test]
fn a_bystander_is_slowed_by_what_its_rounds_take_longer_beside_another() {
    let slowed = |at_least: Option<f64>, at_most: Option<f64>| {
        Expect::Slowed(SlowedExpectation {
            workload: "steady".into(),
            by: "greedy".into(),
            at_least,
            at_most,
        })
    };
    let told = |name: &str, report: Value| Fact::Filler { name: name.into(), in_pod: true, report };
    let round = |milliseconds: f64| {
        told("steady", json!({"kind": "bystander", "latency": {"median": milliseconds / 1e3}}))
    };
    let run = |beside: f64| {
        let mut run = quiet();
        run.add(40.0, told("steady", json!({"kind": "bystander-start", "latency": null})));
        for at in [41.0, 42.0, 43.0] {
            run.add(at, round(2.0));
        }
        run.add(43.5, told("greedy", json!({"kind": "start", "filled": 0})));
        // While it fills nothing is counted.
        run.add(44.0, round(900.0));
        run.add(44.5, told("greedy", json!({"kind": "held", "filled": 1})));
        run.add(45.0, round(900.0));
        for at in [46.0, 47.0, 48.0] {
            run.add(at, round(beside));
        }
        run
    };
    assert_finding(
        &run(30.0),
        slowed(None, Some(20.0)),
        State::Held,
        "2.00 ms before greedy started and 30.00 ms",
    );
    assert_finding(&run(30.0), slowed(Some(10.0), None), State::Held, "15.00 times as long");
    assert_finding(&run(30.0), slowed(None, Some(10.0)), State::Violated, "expected at most 10 times");
    assert_finding(&run(3.0), slowed(Some(10.0), None), State::Violated, "expected at least 10 times");
    // Two milliseconds more are nobody's.
    assert_finding(&run(4.0), slowed(None, Some(1.5)), State::Held, "2.00 times as long");
    let mut silent = run(3.0);
    silent.remove(|at, fact| matches!(fact, Fact::Filler { .. }) && at > 46.5);
    assert_finding(&silent, slowed(None, Some(10.0)), State::Unknown, "1 time while it held");
    let mut never = run(3.0);
    never.remove(|_, fact| matches!(fact, Fact::Filler { name, .. } if name == "greedy"));
    assert_finding(&never, slowed(None, Some(10.0)), State::Violated, "greedy never held its GPU memory");
}

#[test]
fn a_condition_that_comes_and_goes_is_counted() {
    let flapping = |least: i64, most: i64, period: Option<(u64, u64)>| {
        let lasting = period.map(|(least, most)| Lasting {
            at_least: Some(Duration::from_secs(least)),
            at_most: Some(Duration::from_secs(most)),
        });
        Expect::Flapping(FlappingExpectation {
            node: "worker".into(),
            condition: "MemoryPressure".into(),
            times: Band { at_least: Some(least), at_most: Some(most) },
            period: lasting,
        })
    };
    let mut run = quiet();
    for (at, raised) in [(50.0, true), (55.0, false), (60.0, true), (65.0, false)] {
        run.add(at, node("worker", true, &[("MemoryPressure", raised, at)]));
    }
    assert_finding(&run, flapping(2, 2, Some((8, 12))), State::Held, "raised on worker 2 times");
    assert_finding(&run, flapping(2, 2, Some((1, 5))), State::Violated, "from one raise to the next: 10");
    assert_finding(&run, flapping(3, 9, None), State::Violated, "expected between 3 and 9");
    assert_finding(&run, flapping(0, 1, None), State::Violated, "expected between 0 and 1");
    // One raise has no period, and none is held of it.
    let mut once = quiet();
    once.add(50.0, node("worker", true, &[("MemoryPressure", true, 50.0)]));
    assert_finding(&once, flapping(1, 1, Some((8, 12))), State::Violated, "no period can be told");
    once.remove(|_, fact| matches!(fact, Fact::Finished));
    assert_finding(&once, flapping(1, 1, Some((8, 12))), State::Unknown, "no period can be told");
    run.add(70.0, gap("nodes", 66.0, false));
    assert_finding(&run, flapping(2, 2, None), State::Unknown, "nodes went unwatched");
}

#[test]
fn what_never_came_back_has_no_period() {
    let replaced = ReplacedExpectation {
        workload: "greedy".into(),
        on: None,
        running: None,
        times: Band { at_least: None, at_most: Some(0) },
        loops: Band::default(),
        loop_period: None,
        running_within: None,
        reason: None,
    };
    let mut run = quiet();
    assert_finding(&run, Expect::Replaced(replaced.clone()), State::Violated, "no pod of greedy had to go");
    run.add(60.0, target("greedy", "EvictionByEvictionAPI", 60.0));
    run.add(61.0, deleted("greedy"));
    assert_finding(&run, Expect::Replaced(replaced.clone()), State::Held, "greedy had 0 successors");
    let period = Some(Lasting { at_least: Some(Duration::from_secs(5)), at_most: None });
    let looping = ReplacedExpectation { loop_period: period, ..replaced };
    assert_finding(&run, Expect::Replaced(looping.clone()), State::Violated, "no period can be told");
    run.add(62.0, gap("pods", 55.0, false));
    assert_finding(&run, Expect::Replaced(looping), State::Unknown, "pods went unwatched");
}

#[test]
fn a_volume_in_memory_is_no_local_storage() {
    let with = |medium: Value| {
        let mut run = quiet();
        let volumes = json!([{"name": "data", "emptyDir": {"medium": medium}}]);
        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]);
        for name in ["steady", "idler", "greedy"] {
            let volumes = if name == "greedy" { volumes.clone() } else { json!([]) };
            run.add(50.0, pod_fact(name, json!({"metadata": {"ownerReferences": owner.clone()}, "spec": {"volumes": volumes}, "status": {"phase": "Running"}})));
        }
        run
    };
    let blocked = |by: &[(&str, ScaleDownObstacle)]| {
        let blocked_by = by.iter().map(|(name, why)| ((*name).to_owned(), *why)).collect();
        Expect::ScaleDownBlocked(ScaleDownExpectation { node: "worker".into(), blocked_by })
    };
    let local = [("greedy", ScaleDownObstacle::LocalStorage)];
    assert_finding(&with(json!("")), blocked(&local), State::Held, "greedy keeps worker: LocalStorage");
    assert_finding(&with(json!("Memory")), blocked(&[]), State::Held, "nothing keeps worker");
}

#[test]
fn a_successor_stands_in_for_any_pod_that_had_to_go() {
    let replaced = ReplacedExpectation {
        workload: "greedy".into(),
        on: Some(ReplacedOn::Nowhere),
        running: None,
        times: Band { at_least: Some(1), at_most: Some(1) },
        loops: Band::default(),
        loop_period: None,
        running_within: None,
        reason: Some("Insufficient memory".into()),
    };
    let successor = |status: Value| {
        let changes = json!({"metadata": {"name": "greedy-2", "uid": "second"}, "spec": {"nodeName": null}, "status": status});
        Fact::Pod(Box::new(serde_json::from_value(pod("greedy", changes)).expect("a pod")))
    };
    let mut run = quiet();
    run.add(60.0, target("greedy", "EvictionByEvictionAPI", 60.0));
    run.add(61.0, deleted("greedy"));
    assert_finding(
        &run,
        Expect::Replaced(replaced.clone()),
        State::Violated,
        "no successor of greedy appeared",
    );
    let unscheduled = |message: &str| {
        json!({"phase": "Pending", "conditions":
            [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]})
    };
    run.add(61.5, successor(unscheduled("0/1 nodes are available: 1 Insufficient memory.")));
    assert_finding(&run, Expect::Replaced(replaced.clone()), State::Held, "went nowhere");
    run.add(62.0, successor(unscheduled("0/1 nodes are available: 1 node(s) were unschedulable.")));
    assert_finding(
        &run,
        Expect::Replaced(replaced.clone()),
        State::Violated,
        "expected `Insufficient memory`",
    );
    let within = ReplacedExpectation {
        on: None,
        reason: None,
        running_within: Some(Lasting::at_most(Duration::from_secs(5))),
        ..replaced
    };
    assert_finding(&run, Expect::Replaced(within.clone()), State::Violated, "greedy-2 never ran");
    run.add(63.0, successor(json!({"phase": "Running"})));
    assert_finding(
        &run,
        Expect::Replaced(within.clone()),
        State::Held,
        "greedy-2 runs after greedy had to go: 3.00s",
    );
    let sooner =
        ReplacedExpectation { running_within: Some(Lasting::at_most(Duration::from_secs(1))), ..within };
    assert_finding(&run, Expect::Replaced(sooner), State::Violated, "expected at most 1s");
}
