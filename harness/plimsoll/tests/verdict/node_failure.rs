//! Nodes that are taken away, their taints, and what becomes of their pods.

use std::time::Duration;

use plimsoll::observe::{Fact, StepOutcome};
use plimsoll::plan::{
    Action, Band, Expect, HollowPlan, HollowZone, Lasting, NodeChange, PlannedStep, TaintRateExpectation,
    TaintedExpectation, ZoneChange,
};
use plimsoll::verdict::State;
use serde_json::{Value, json};

use super::builder::*;

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

fn seconds(at_least: u64, at_most: u64) -> Lasting {
    let time = |seconds| Some(Duration::from_secs(seconds));
    Lasting { at_least: time(at_least), at_most: time(at_most) }
}

fn tainted(within: Option<Lasting>, removed: Option<bool>) -> Expect {
    Expect::Tainted(vec![TaintedExpectation {
        node: "worker".into(),
        key: UNREACHABLE.into(),
        effect: Some("NoExecute".into()),
        within,
        removed,
    }])
}

fn tolerated(lasting: Option<Lasting>) -> Expect {
    Expect::Tolerated { workload: "idler".into(), lasting, asked: None }
}

fn terminating() -> Expect {
    Expect::Terminating(names(["idler"]))
}

fn worker(added: Option<f64>) -> Fact {
    let taints: Vec<Value> = added
        .map(|added| json!({"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": written(added)}))
        .into_iter()
        .collect();
    let node = json!({
        "metadata": {"name": "worker"},
        "spec": {"taints": taints},
        "status": {"conditions": [{"type": "Ready", "status": if added.is_some() {"Unknown"} else {"True"}}]},
    });
    Fact::Node(Box::new(serde_json::from_value(node).expect("a node")))
}

/// The pod that the taint manager told to go, with this much time left.
fn told_to_go(at: f64, grace: f64) -> Fact {
    pod_fact(
        "idler",
        json!({
            "metadata": {"deletionTimestamp": written(at + grace)},
            "status": {"phase": "Running", "conditions": [{
                "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
                "lastTransitionTime": written(at),
            }]},
        }),
    )
}

/// A run whose only node is cut off after 2 seconds, tainted after 8; `idler` is told to go 3 seconds later, and the run is
/// over after 30.
fn cut_off() -> Run {
    let mut run = Run::empty();
    let action = Action::Node { node: "worker".into(), change: NodeChange::Cut };
    run.plan.steps.push(PlannedStep { location: location(20), action });
    run.add(1.0, running("idler")).add(2.0, Fact::StepBegan { step: 0 });
    run.add(2.1, step_ended(0, StepOutcome::Done)).add(8.2, worker(Some(8.2)));
    run.add(11.3, told_to_go(11.3, 5.0)).add(30.0, Fact::Finished);
    run
}

#[test]
fn a_taint_is_measured_from_the_step_that_took_the_node_away() {
    let mut run = cut_off();
    assert_finding(&run, tainted(Some(seconds(4, 8)), None), State::Held, "6.10s to 6.20s");
    assert_finding(
        &run,
        tainted(Some(seconds(1, 4)), None),
        State::Violated,
        "expected at least 1s and at most 4s",
    );
    assert_finding(&run, tainted(None, Some(true)), State::Violated, "still had the taint");
    assert_finding(&run, tainted(None, Some(false)), State::Held, "had it to the end");
    assert_finding(&run, Expect::Tainted(Vec::new()), State::Violated, "worker got the taint");
    run.add(20.0, worker(None));
    assert_finding(&run, tainted(None, Some(true)), State::Held, "was taken off worker again");
    assert_finding(&run, tainted(None, Some(false)), State::Violated, "was taken off worker again");
    run.add(9.0, gap("nodes", 7.0, false));
    assert_finding(&run, Expect::Tainted(Vec::new()), State::Violated, "worker got the taint");
}

#[test]
fn no_taint_is_shown_by_having_watched_the_nodes() {
    let mut run = cut_off();
    run.remove(|at, fact| matches!(fact, Fact::Node(_)) && at > 5.0);
    assert_finding(&run, Expect::Tainted(Vec::new()), State::Held, "worker got no taint");
    assert_finding(&run, tainted(None, None), State::Violated, "did not get the taint");
    run.add(9.0, gap("nodes", 7.0, false));
    assert_finding(&run, Expect::Tainted(Vec::new()), State::Unknown, "nodes went unwatched");
    assert_finding(&run, tainted(None, None), State::Unknown, "nodes went unwatched");
}

#[test]
fn a_toleration_is_measured_from_the_taint() {
    let mut run = cut_off();
    assert_finding(&run, tolerated(Some(seconds(2, 4))), State::Held, "3.10s");
    assert_finding(&run, tolerated(Some(seconds(5, 9))), State::Violated, "expected at least 5s");
    assert_finding(&run, tolerated(None), State::Violated, "idler was told to go");
    run.remove(|at, _| at == 11.3);
    assert_finding(&run, tolerated(None), State::Held, "idler was left on its node");
    assert_finding(
        &run,
        tolerated(Some(seconds(2, 4))),
        State::Violated,
        "no pod of idler was deleted for a taint",
    );
    run.add(10.0, gap("pods", 9.0, false));
    assert_finding(&run, tolerated(None), State::Unknown, "pods went unwatched");
    assert_finding(&run, tolerated(Some(seconds(2, 4))), State::Unknown, "pods went unwatched");
}

#[test]
fn what_a_pod_itself_says_of_a_taint_is_read_from_it() {
    let asks = |asked| Expect::Tolerated { workload: "idler".into(), lasting: None, asked: Some(asked) };
    let mut run = cut_off();
    assert_finding(&run, asks(300), State::Violated, "idler was told to go");
    run.remove(|at, _| at == 11.3);
    assert_finding(&run, asks(300), State::Violated, "idler says nothing of");
    let toleration =
        json!([{"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]);
    run.add(
        12.0,
        pod_fact("idler", json!({"spec": {"tolerations": toleration}, "status": {"phase": "Running"}})),
    );
    assert_finding(&run, asks(300), State::Held, "idler tolerates node.kubernetes.io/unreachable for 300s");
    assert_finding(&run, asks(60), State::Violated, "expected 60s");
    run.add(13.0, gap("pods", 12.5, false));
    assert_finding(&run, asks(300), State::Unknown, "pods went unwatched");
}

#[test]
fn without_a_taint_nothing_was_tolerated() {
    let mut run = cut_off();
    run.remove(|at, _| at > 5.0 && at < 30.0);
    assert_finding(&run, tolerated(None), State::Violated, "no node of a pod of idler got a taint");
}

#[test]
fn a_pod_that_can_not_say_that_it_has_stopped_is_told_from_one_that_is_gone() {
    let mut run = cut_off();
    assert_finding(&run, terminating(), State::Held, "should have been gone 14.0s before the end");
    let outcome = run.judge([terminating()]).pods.remove(0);
    assert_eq!(outcome.words, "deleted by the taint manager, still there at the end");
    run.add(20.0, deleted("idler"));
    assert_finding(&run, terminating(), State::Violated, "no pod of idler was still to go");
    assert_eq!(run.judge([terminating()]).pods.remove(0).words, "deleted by the taint manager");
    let mut run = cut_off();
    run.add(25.0, told_to_go(25.0, 60.0));
    assert_finding(&run, terminating(), State::Unknown, "still had time to end");
    let mut run = cut_off();
    run.add(12.0, gap("pods", 11.5, false));
    assert_finding(&run, terminating(), State::Unknown, "pods went unwatched");
}

#[test]
fn what_a_node_without_power_can_not_say_is_unknown_and_all_else_is_not() {
    let mut run = cut_off();
    let power = Fact::Gap {
        source: "node worker".into(),
        from: at(2.0),
        resumed: false,
        reason: "a step takes its power".into(),
    };
    run.add(2.0, power);
    assert_finding(&run, Expect::OomKills(set([])), State::Unknown, "node worker went unwatched");
    assert_finding(&run, tainted(Some(seconds(4, 8)), None), State::Held, "6.10s to 6.20s");
    assert_finding(&run, tolerated(Some(seconds(2, 4))), State::Held, "3.10s");
}

#[test]
fn a_condition_that_nobody_knows_is_not_cleared() {
    let mut run = Run::empty();
    run.add(5.0, node("worker", true, &[("MemoryPressure", true, 5.0)]));
    let unknown = json!({"metadata": {"name": "worker"}, "status": {"conditions": [
        {"type": "MemoryPressure", "status": "Unknown", "lastTransitionTime": written(9.0)},
    ]}});
    run.add(9.0, Fact::Node(Box::new(serde_json::from_value(unknown).expect("a node"))))
        .add(20.0, Fact::Finished);
    let expect = Expect::Conditions(vec![plimsoll::plan::ConditionExpectation {
        node: "worker".into(),
        condition: "MemoryPressure".into(),
        raised_within: None,
        cleared: true,
        cleared_within: None,
    }]);
    assert_finding(&run, expect, State::Violated, "was not cleared on worker");
}

fn hollow(name: &str, added: Option<f64>) -> Fact {
    let taints: Vec<Value> = added
        .map(|added| json!({"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": written(added)}))
        .into_iter()
        .collect();
    let labels = json!({"topology.kubernetes.io/zone": "a"});
    let node = json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
    Fact::Node(Box::new(serde_json::from_value(node).expect("a node")))
}

/// A run in which 6 of the 20 nodes of a zone fall silent after 2 seconds and are tainted half a second apart from 10 on.
fn silent_zone() -> Run {
    let mut run = Run::empty();
    run.plan.hollow = Some(HollowPlan {
        zones: vec![HollowZone { name: "a".into(), groups: vec![6, 14] }],
        node_lease_duration_seconds: 8,
    });
    run.plan.control_plane.node_eviction_rate = Some(2.0);
    let action = Action::Zone { zone: "a".into(), nodes: 6, change: ZoneChange::Freeze };
    run.plan.steps.push(PlannedStep { location: location(20), action });
    run.add(2.0, Fact::StepBegan { step: 0 }).add(2.1, step_ended(0, StepOutcome::Done));
    for number in 0..6 {
        let name = format!("hollow-a-00{number}");
        run.add(1.0, hollow(&name, None));
        let added = 10.0 + 0.5 * f64::from(number);
        run.add(added, hollow(&name, Some(added)));
    }
    run.add(30.0, Fact::Finished);
    run
}

fn rate(every: Option<Lasting>, nodes: Option<(i64, i64)>, left: Option<(i64, i64)>) -> Expect {
    let band = |(least, most)| Band { at_least: Some(least), at_most: Some(most) };
    Expect::TaintRate(TaintRateExpectation {
        zone: "a".into(),
        every,
        nodes: nodes.map(band),
        left: left.map(band),
    })
}

fn milliseconds(at_least: u64, at_most: u64) -> Option<Lasting> {
    let time = |time| Some(Duration::from_millis(time));
    Some(Lasting { at_least: time(at_least), at_most: time(at_most) })
}

#[test]
fn the_pace_of_a_zone_is_the_middle_one_of_its_gaps() {
    let mut run = silent_zone();
    assert_finding(
        &run,
        rate(milliseconds(400, 700), None, None),
        State::Held,
        "by the rules one every 0.52s",
    );
    assert_finding(
        &run,
        rate(milliseconds(900, 2000), None, None),
        State::Violated,
        "expected at least 900ms",
    );
    run.remove(|at, fact| matches!(fact, Fact::Node(_)) && at > 10.9);
    assert_finding(&run, rate(milliseconds(400, 700), None, None), State::Unknown, "too few to tell a pace");
    let mut run = silent_zone();
    run.add(20.0, gap("nodes", 15.0, false));
    assert_finding(&run, rate(milliseconds(400, 700), None, None), State::Unknown, "nodes went unwatched");
}

#[test]
fn tainted_nodes_of_a_zone_are_counted_and_those_that_are_left() {
    let mut run = silent_zone();
    assert_finding(&run, rate(None, Some((6, 6)), Some((6, 6))), State::Held, "6 nodes of zone a got");
    assert_finding(&run, rate(None, Some((0, 5)), None), State::Violated, "expected between 0 and 5");
    run.add(20.0, hollow("hollow-a-003", None));
    assert_finding(
        &run,
        rate(None, Some((6, 6)), Some((5, 5))),
        State::Held,
        "5 nodes of zone a had it at the end",
    );
    run.add(21.0, gap("nodes", 20.5, false));
    assert_finding(&run, rate(None, Some((6, 6)), None), State::Unknown, "nodes went unwatched");
    // More may have been tainted unseen, and some of those that are left may have lost it.
    assert_finding(&run, rate(None, Some((7, 9)), None), State::Unknown, "nodes went unwatched");
    assert_finding(&run, rate(None, None, Some((0, 1))), State::Unknown, "nodes went unwatched");
    assert_finding(&run, rate(None, Some((0, 5)), None), State::Violated, "expected between 0 and 5");
}
