//! `survive`, `rejected`, `terminated`, `replaced`: what became of pods.

use std::time::Duration;

use plimsoll::observe::Fact;
use plimsoll::plan::{Band, Expect, Lasting, ReplacedExpectation, ReplacedOn};
use plimsoll::verdict::State::{Held, Unknown, Violated};
use serde_json::json;

use crate::builder::*;

fn survive<const N: usize>(workloads: [&str; N]) -> Expect {
    Expect::Survive(names(workloads))
}

#[test]
fn who_ran_to_the_end_survived() {
    assert_finding(
        &Run::standard(),
        survive(["steady", "idler"]),
        Held,
        "steady ran for 78.6s to the end without a restart",
    );
    assert_finding(
        &Run::standard(),
        survive(["steady", "greedy"]),
        Violated,
        "greedy did not survive: evicted by the kubelet",
    );
}

#[test]
fn a_restart_is_no_survival() {
    let mut run = Run::standard();
    run.add(30.0, running_with("idler", 2, json!({})));
    assert_finding(&run, survive(["idler"]), Violated, "idler was restarted 2 times");
}

#[test]
fn another_pod_of_the_same_name_is_no_survival() {
    let mut run = Run::standard();
    run.add(30.0, deleted("idler"));
    let second = json!({"metadata": {"uid": "another"}, "status": {"phase": "Running"}});
    run.add(31.0, pod_fact("idler", second));
    assert_finding(&run, survive(["idler"]), Violated, "idler did not survive: deleted");
}

#[test]
fn survival_needs_the_end_of_the_run() {
    let mut run = Run::standard();
    run.remove(|_, fact| matches!(fact, Fact::Finished));
    assert_finding(&run, survive(["idler"]), Unknown, "the run ended before its steps were over");
}

#[test]
fn a_watch_that_listed_anew_shows_survival_and_a_lost_one_does_not() {
    let mut run = Run::standard();
    run.add(30.0, gap("pods", 20.0, false)).add(31.0, gap("pods", 20.0, true));
    assert_finding(&run, survive(["idler"]), Held, "");
    let mut run = Run::standard();
    run.add(30.0, gap("pods", 20.0, false));
    assert_finding(&run, survive(["idler"]), Unknown, "pods went unwatched for the rest of the run");
}

#[test]
fn a_node_that_is_not_ready_says_nothing_of_its_pods() {
    let mut run = Run::standard();
    run.add(79.0, node("worker", false, &[]));
    assert_finding(&run, survive(["idler"]), Unknown, "node worker was not Ready at the end");
}

#[test]
fn a_pod_that_never_ran_did_not_survive() {
    let mut run = Run::standard();
    run.remove_pod("idler");
    assert_finding(&run, survive(["idler"]), Violated, "idler: 0 pods of 1 ever appeared");
    run.add(1.5, pod_fact("idler", json!({"status": {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}]}})));
    assert_finding(
        &run,
        survive(["idler"]),
        Violated,
        "idler did not run at the end: pending: 0/1 nodes are available",
    );
    run.remove(|_, fact| matches!(fact, Fact::StepEnded { step: 0, .. }));
    assert_finding(&run, survive(["idler"]), Unknown, "idler did not run at the end");
}

fn rejected<const N: usize>(workloads: [&str; N]) -> Expect {
    Expect::Rejected(set(workloads))
}

fn with_rejection() -> Run {
    let mut run = Run::standard();
    let text = "Pod was rejected: The node had condition: [MemoryPressure]. ";
    run.add(
        60.0,
        pod_fact("late", json!({"status": {"phase": "Failed", "reason": "Evicted", "message": text}})),
    );
    run
}

#[test]
fn rejections_are_no_evictions() {
    let run = with_rejection();
    assert_finding(
        &run,
        rejected(["late"]),
        Held,
        "late was rejected 1 time: rejected at admission (Evicted): The node had condition: [MemoryPressure]",
    );
    assert_finding(&run, rejected([]), Violated, "late was rejected 1 time and should not have been");
    assert_finding(
        &run,
        rejected(["late", "greedy"]),
        Violated,
        "greedy was not rejected: evicted by the kubelet",
    );
    assert_finding(&run, Expect::Evicted(vec![set(["greedy"])]), Held, "");
    assert_finding(&Run::standard(), rejected([]), Held, "no pod was rejected");
    assert_finding(
        &Run::standard(),
        rejected(["late"]),
        Violated,
        "late was not rejected: no pod of it was seen",
    );
    let mut run = Run::standard();
    run.add(30.0, gap("pods", 20.0, true));
    assert_finding(&run, rejected(["late"]), Unknown, "late was not rejected");
    assert_finding(&run, rejected([]), Unknown, "pods went unwatched");
}

fn terminated_in(at_least: Option<u64>, at_most: Option<u64>) -> Expect {
    let [at_least, at_most] = [at_least, at_most].map(|end| end.map(Duration::from_secs));
    Expect::Terminated { workload: "greedy".into(), lasting: Lasting { at_least, at_most } }
}

/// The standard run with the end of `greedy` at this time.
fn ending_at(seconds: f64) -> Run {
    let mut run = Run::standard();
    run.remove(|at, fact| matches!(fact, Fact::Pod(_)) && at > 50.0);
    run.add(seconds + 0.04, evicted_at("greedy", seconds, &low_message()));
    run
}

#[test]
fn termination_is_timed_from_its_first_sign() {
    assert_finding(&ending_at(58.5), terminated_in(None, Some(3)), Held, "greedy: 2.51s");
    assert_finding(&ending_at(58.5), terminated_in(Some(2), Some(3)), Held, "");
    assert_finding(
        &ending_at(58.5),
        terminated_in(None, Some(2)),
        Violated,
        "greedy: 2.51s, expected at most 2s",
    );
    assert_finding(&ending_at(58.5), terminated_in(Some(3), None), Violated, "expected at least 3s");
    let mut run = ending_at(58.5);
    run.add(59.0, gap("pods", 57.0, true));
    assert_finding(&run, terminated_in(None, Some(2)), Unknown, "which the times at hand can not tell");
}

#[test]
fn a_termination_without_end_is_too_long_or_open() {
    let mut run = Run::standard();
    run.remove(|at, fact| matches!(fact, Fact::Pod(_)) && at > 50.0);
    assert_finding(
        &run,
        terminated_in(None, Some(20)),
        Violated,
        "greedy was still being stopped after 24.1s",
    );
    assert_finding(
        &run,
        terminated_in(None, Some(30)),
        Unknown,
        "greedy was still being stopped after 24.1s",
    );
    run.without_eviction();
    assert_finding(&run, terminated_in(None, Some(30)), Violated, "no pod of greedy was terminated");
}

fn replaced(change: impl FnOnce(&mut ReplacedExpectation)) -> Expect {
    let mut expected = ReplacedExpectation {
        workload: "web".into(),
        on: None,
        running: None,
        times: Band::default(),
        loops: Band::default(),
        loop_period: None,
        running_within: None,
        reason: None,
    };
    change(&mut expected);
    Expect::Replaced(expected)
}

/// A Deployment's pod that is evicted at 60, and its successor.
fn with_successor(status: serde_json::Value) -> Run {
    let mut run = Run::standard();
    run.plan.workloads.extend([workload("web", 1)]);
    let first = json!({"metadata": {"name": "web-1", "uid": uid("web-1")}, "status": {"phase": "Running"}});
    run.add(3.0, pod_fact("web", first));
    run.add(60.0, event("web-1", "Evicted", &low_message(), 60.0));
    let mut second = json!({"metadata": {"name": "web-2", "uid": uid("web-2")}});
    second.as_object_mut().expect("an object").extend(status.as_object().expect("an object").clone());
    second["metadata"] = json!({"name": "web-2", "uid": uid("web-2")});
    run.add(61.0, pod_fact("web", second));
    run.add(79.0, metric(2));
    run
}

#[test]
fn a_successor_is_found_and_placed() {
    let same = with_successor(json!({"status": {"phase": "Running"}}));
    assert_finding(
        &same,
        replaced(|expected| expected.on = Some(ReplacedOn::Same)),
        Held,
        "web-2 went to worker",
    );
    assert_finding(
        &same,
        replaced(|expected| expected.on = Some(ReplacedOn::Other)),
        Violated,
        "and not to another node than worker",
    );
    assert_finding(
        &same,
        replaced(|expected| expected.on = Some(ReplacedOn::Nowhere)),
        Violated,
        "web-2 went to worker, and not to nowhere",
    );
    assert_finding(&same, replaced(|expected| expected.running = Some(true)), Held, "web-2: still running");
    assert_finding(
        &same,
        replaced(|expected| expected.running = Some(false)),
        Violated,
        "web-2: still running",
    );
    let times = |at_least, at_most| replaced(move |expected| expected.times = Band { at_least, at_most });
    assert_finding(&same, times(Some(1), Some(1)), Held, "web had 1 successor");
    assert_finding(&same, times(Some(2), None), Violated, "web had 1 successor; expected at least 2");
}

#[test]
fn a_successor_on_another_node_or_nowhere() {
    let other = with_successor(json!({"spec": {"nodeName": "second"}, "status": {"phase": "Running"}}));
    assert_finding(&other, replaced(|expected| expected.on = Some(ReplacedOn::Other)), Held, "");
    assert_finding(
        &other,
        replaced(|expected| expected.on = Some(ReplacedOn::Node("second".into()))),
        Held,
        "",
    );
    assert_finding(
        &other,
        replaced(|expected| expected.on = Some(ReplacedOn::Same)),
        Violated,
        "web-2 went to second",
    );
    let nowhere = with_successor(json!({"spec": {"nodeName": null}}));
    assert_finding(&nowhere, replaced(|expected| expected.on = Some(ReplacedOn::Nowhere)), Held, "");
    assert_finding(
        &nowhere,
        replaced(|expected| expected.on = Some(ReplacedOn::Same)),
        Violated,
        "web-2 went nowhere",
    );
    assert_finding(&nowhere, replaced(|expected| expected.running = Some(true)), Violated, "web-2: pending");
}

#[test]
fn a_loop_is_counted() {
    let mut run = with_successor(json!({"status": {"phase": "Running"}}));
    run.add(70.0, event("web-2", "Evicted", &low_message(), 70.0));
    run.add(79.5, metric(3));
    let loops = |at_least, at_most| replaced(move |expected| expected.loops = Band { at_least, at_most });
    assert_finding(
        &run,
        loops(Some(1), None),
        Held,
        "came back to the same node and went the same way 1 time",
    );
    assert_finding(&run, loops(None, Some(0)), Violated, "expected at most 0");
}

#[test]
fn two_that_were_there_together_make_no_loop_when_they_go() {
    let mut run = with_successor(json!({"spec": {"nodeName": "second"}, "status": {"phase": "Running"}}));
    let beside = json!({"metadata": {"name": "web-0", "uid": uid("web-0")}, "status": {"phase": "Running"}});
    run.add(3.5, pod_fact("web", beside));
    run.add(60.5, event("web-0", "Evicted", &low_message(), 60.5));
    run.add(79.5, metric(3));
    let loops = |number| {
        replaced(move |expected| expected.loops = Band { at_least: Some(number), at_most: Some(number) })
    };
    assert_finding(&run, loops(0), Held, "went the same way 0 times");
    assert_finding(&run, loops(1), Violated, "went the same way 0 times");
}

#[test]
fn what_was_refused_in_between_is_no_end_of_a_loop() {
    let named = |name: &str, status: serde_json::Value| {
        let changes = json!({"metadata": {"name": name, "uid": uid(name)}, "status": status});
        Fact::Pod(Box::new(serde_json::from_value(pod("web", changes)).expect("a pod")))
    };
    let refused = json!({"phase": "Failed", "reason": "Evicted",
        "message": "Pod was rejected: The node had condition: [MemoryPressure]. "});
    let mut run = with_successor(refused.clone());
    run.add(60.5, named("web-2", refused.clone()));
    run.add(61.0, named("web-3", refused));
    let loops = |number| {
        replaced(move |expected| expected.loops = Band { at_least: Some(number), at_most: Some(number) })
    };
    assert_finding(&run, loops(0), Held, "went the same way 0 times");
    run.add(70.0, named("web-4", json!({"phase": "Running"})));
    run.add(75.0, event("web-4", "Evicted", &low_message(), 75.0));
    assert_finding(&run, loops(1), Held, "went the same way 1 time");
}

#[test]
fn nothing_replaced_is_a_violation_or_unknown() {
    let mut run = with_successor(json!({}));
    run.remove(|_, fact| matches!(fact, Fact::Pod(pod) if pod.metadata.name.as_deref() == Some("web-2")));
    assert_finding(&run, replaced(|_| {}), Violated, "no successor of web appeared");
    run.add(70.0, gap("pods", 65.0, true));
    assert_finding(&run, replaced(|_| {}), Unknown, "no successor of web appeared");
    assert_finding(&Run::standard(), replaced(|_| {}), Violated, "no pod of web had to go");
}
