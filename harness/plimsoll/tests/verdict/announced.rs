//! `announced` and `together`: how an eviction is told to others, and how close together pods go.

use std::time::Duration;

use plimsoll::observe::Fact;
use plimsoll::plan::{Expect, Lasting, StorageLimit};
use plimsoll::verdict::State::{Held, Unknown, Violated};
use serde_json::{Value, json};

use crate::builder::*;

fn announced() -> Expect {
    Expect::Announced(names(["greedy"]))
}

fn annotated(name: &str, annotations: Value) -> Fact {
    annotated_of("greedy", name, &low_message(), annotations)
}

fn annotated_of(pod: &str, name: &str, message: &str, annotations: Value) -> Fact {
    Fact::Event(Box::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "plimsoll", "annotations": annotations},
            "involvedObject": {"kind": "Pod", "name": pod, "namespace": "plimsoll", "uid": uid(pod)},
            "reason": "Evicted", "message": message, "type": "Warning", "firstTimestamp": written(56.0), "count": 1,
        }))
        .expect("an event"),
    ))
}

fn right() -> Value {
    json!({"starved_resource": "memory", "offending_containers": "filler", "offending_containers_usage": "1016Mi"})
}

/// The standard run, with this as its only event.
fn run_with(fact: Fact) -> Run {
    let mut run = Run::standard();
    run.remove(|_, fact| matches!(fact, Fact::Event(_)));
    run.add(56.03, fact);
    run
}

#[test]
fn one_event_whose_annotations_agree_and_the_condition_hold() {
    let run = run_with(annotated("a", right()));
    let text = "one event Evicted of greedy, with offending_containers=filler offending_containers_usage=1016Mi \
                starved_resource=memory; greedy has the condition DisruptionTarget, reason TerminationByKubelet";
    assert_finding(&run, announced(), Held, text);
    // A watch that was resumed shows the event again; it is the same.
    let mut again = run.clone();
    again.add(60.0, annotated("a", right()));
    assert_finding(&again, announced(), Held, "one event");
}

#[test]
fn other_annotations_are_not_the_kubelets() {
    for (key, value, text) in [
        ("starved_resource", json!("pids"), "came with"),
        ("offending_containers", json!("other"), "its message asks for it with offending_containers=filler"),
        ("offending_containers_usage", json!("1Gi"), "offending_containers_usage=1Gi"),
    ] {
        let mut annotations = right();
        annotations[key] = value;
        assert_finding(&run_with(annotated("a", annotations)), announced(), Violated, text);
    }
    assert_finding(&run_with(annotated("a", json!({}))), announced(), Violated, "without annotations");
}

#[test]
fn more_than_one_event_is_one_too_many() {
    let mut run = run_with(annotated("a", right()));
    run.add(58.0, annotated("b", right()));
    assert_finding(&run, announced(), Violated, "2 events Evicted of greedy instead of one");
}

#[test]
fn an_event_that_nobody_saw_leaves_it_open() {
    let mut run = Run::standard();
    run.remove(|_, fact| matches!(fact, Fact::Event(_)));
    assert_finding(&run, announced(), Unknown, "no event Evicted of greedy was seen");
    let mut run = run_with(annotated("a", right()));
    run.add(60.0, gap("events", 58.0, true));
    assert_finding(&run, announced(), Unknown, "events went unwatched");
}

#[test]
fn without_the_condition_nobody_was_told() {
    let mut run = run_with(annotated("a", right()));
    run.remove(|seconds, fact| seconds > 56.0 && matches!(fact, Fact::Pod(_)));
    assert_finding(&run, announced(), Unknown, "the status in which greedy ended was not seen");
    let status = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": low_message(),
        "containerStatuses": [terminated(56.4, 0, "Completed")]}});
    run.add(56.44, pod_fact("greedy", status));
    assert_finding(&run, announced(), Violated, "greedy ended without the condition DisruptionTarget");
}

#[test]
fn who_was_not_evicted_was_not_announced() {
    let mut run = Run::standard();
    run.without_eviction();
    assert_finding(&run, announced(), Violated, "greedy was not evicted, so nothing was announced");
    run.add(20.0, gap("pods", 10.0, true));
    assert_finding(&run, announced(), Unknown, "pods went unwatched");
}

#[test]
fn an_eviction_over_a_limit_has_neither_annotations_nor_condition() {
    let text = "Usage of EmptyDir volume \"filled\" exceeds the limit \"100Mi\". ";
    let mut run = Run::standard();
    run.without_eviction();
    run.add(56.03, annotated_of("greedy", "a", text, json!({})));
    let status = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": text,
        "containerStatuses": [terminated(56.4, 0, "Completed")]}});
    run.add(56.44, pod_fact("greedy", status));
    assert_finding(&run, announced(), Held, "greedy ended without the condition DisruptionTarget");
    run.add(56.5, evicted_at("greedy", 56.4, text));
    assert_finding(&run, announced(), Violated, "greedy has the condition DisruptionTarget");
}

fn together(seconds: u64) -> Expect {
    Expect::Together {
        workloads: names(["greedy", "idler"]),
        lasting: Lasting::at_most(Duration::from_secs(seconds)),
    }
}

/// Two over their limits, decided so many seconds apart.
fn two_over(apart: f64) -> Run {
    let mut run = Run::standard();
    run.without_eviction();
    for (pod, at) in [("greedy", 56.0), ("idler", 56.0 + apart)] {
        let text = "Usage of EmptyDir volume \"filled\" exceeds the limit \"100Mi\". ";
        run.add(at + 0.03, event(pod, "Evicted", text, at));
        run.add(at + 0.44, evicted_at(pod, at + 0.4, text));
    }
    run
}

#[test]
fn pods_go_together_or_one_look_later() {
    let over = Expect::OverLimit(
        [("greedy".to_owned(), StorageLimit::EmptyDir), ("idler".to_owned(), StorageLimit::EmptyDir)].into(),
    );
    assert_finding(&two_over(1.0), over.clone(), Held, "");
    assert_finding(&two_over(1.0), together(5), Held, "from greedy to idler, 2 pods in all: 1.0");
    assert_finding(&two_over(10.0), over, Held, "");
    assert_finding(&two_over(10.0), together(5), Violated, "expected at most 5s");
    // Told after a gap, only whole seconds are left: 4 to 6.
    let mut blind = two_over(5.0);
    blind.add(62.0, gap("events", 60.5, true));
    assert_finding(&blind, together(5), Unknown, "which the times at hand can not tell");
    let mut one = two_over(1.0);
    one.remove_pod("idler");
    assert_finding(&one, together(5), Violated, "idler did not go");
    let alone =
        Expect::Together { workloads: names(["greedy"]), lasting: Lasting::at_most(Duration::from_secs(5)) };
    assert_finding(&one, alone, Unknown, "only one pod went");
    one.add(20.0, gap("pods", 10.0, true));
    assert_finding(&one, together(5), Unknown, "idler did not go");
}
