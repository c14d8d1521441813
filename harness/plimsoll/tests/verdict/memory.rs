//! `reclaimed`, `conditions`, `oomKills`: what samples, nodes and the kernel tell.

use std::time::Duration;

use plimsoll::observe::{Fact, StepOutcome};
use plimsoll::plan::{Band, ConditionExpectation, Expect, Lasting};
use plimsoll::verdict::State::{Held, Unknown, Violated};
use plimsoll_node::report::OomScope;
use serde_json::json;

use crate::builder::*;

fn reclaimed(at_least: i64, minimum_reclaim: bool) -> Expect {
    let band = Band { at_least: Some(at_least * MI), at_most: None };
    Expect::Reclaimed { signal: "memory.available".into(), band, minimum_reclaim }
}

#[test]
fn what_came_back_is_measured_from_the_lowest_point_to_after_the_end() {
    let run = Run::standard();
    assert_finding(&run, reclaimed(1000, true), Held, "1020Mi came back (greedy from 328Mi to 1348Mi)");
    assert_finding(&run, reclaimed(1100, false), Violated, "expected at least 1100Mi");
}

#[test]
fn the_minimum_reclaim_is_measured_against_the_threshold() {
    let mut run = Run::standard();
    run.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && seconds >= 56.5);
    for tick in 113..161 {
        run.add(f64::from(tick) / 2.0, sample(&[("steady", 1400)]));
    }
    assert_finding(&run, reclaimed(100, false), Held, "170Mi came back");
    let because =
        "498Mi were available on worker after the last eviction; threshold and minimum reclaim ask for 500Mi";
    assert_finding(&run, reclaimed(100, true), Violated, because);
}

#[test]
fn without_samples_nothing_is_known_of_what_came_back() {
    let sampled = |from: f64, to: f64| {
        let mut run = Run::standard();
        run.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && seconds > from && seconds < to);
        run
    };
    assert_finding(&sampled(40.0, 56.2), reclaimed(600, false), Unknown, "was not measured");
    assert_finding(&sampled(56.2, 70.0), reclaimed(600, false), Unknown, "was not measured");
    let mut run = Run::standard();
    run.add(56.2, gap("sampler worker", 56.0, false));
    assert_finding(&run, reclaimed(600, false), Unknown, "was not measured");
}

#[test]
fn nothing_reclaimed_is_a_violation_where_the_run_could_show_it() {
    let mut run = Run::standard();
    run.without_eviction();
    assert_finding(&run, reclaimed(600, false), Violated, "nobody was evicted for memory.available");
    run.add(20.0, gap("pods", 10.0, true));
    assert_finding(&run, reclaimed(600, false), Unknown, "nobody was evicted for memory.available");
}

fn condition(condition: &str) -> ConditionExpectation {
    ConditionExpectation {
        node: "worker".into(),
        condition: condition.into(),
        raised_within: None,
        cleared: true,
        cleared_within: None,
    }
}

fn conditions(all: impl IntoIterator<Item = ConditionExpectation>) -> Expect {
    Expect::Conditions(all.into_iter().collect())
}

#[test]
fn raised_and_cleared_holds() {
    let because = "MemoryPressure was raised on worker after 57.1s; it cleared 18.0s later";
    assert_finding(&Run::standard(), conditions([condition("MemoryPressure")]), Held, because);
    let timed = ConditionExpectation {
        raised_within: Some(Duration::from_secs(5)),
        cleared_within: Some(Lasting::at_most(Duration::from_secs(18))),
        ..condition("MemoryPressure")
    };
    assert_finding(
        &Run::standard(),
        conditions([timed.clone()]),
        Held,
        "from the crossing at 398Mi to MemoryPressure: 4.60s",
    );
    let slow = ConditionExpectation { raised_within: Some(Duration::from_secs(4)), ..timed.clone() };
    assert_finding(&Run::standard(), conditions([slow]), Violated, "4.60s, expected at most 4s");
    let slow =
        ConditionExpectation { cleared_within: Some(Lasting::at_most(Duration::from_secs(17))), ..timed };
    assert_finding(&Run::standard(), conditions([slow.clone()]), Violated, "18.0s, expected at most 17s");
    let at_least = Lasting { at_least: Some(Duration::from_secs(20)), at_most: None };
    let early = ConditionExpectation { cleared_within: Some(at_least), ..slow };
    assert_finding(&Run::standard(), conditions([early]), Violated, "18.0s, expected at least 20s");
}

#[test]
fn a_time_that_was_told_after_a_gap_is_known_to_a_second_only() {
    let mut run = Run::standard();
    run.remove(|seconds, fact| matches!(fact, Fact::Node(_)) && seconds > 70.0);
    run.add(79.0, node("worker", true, &[("MemoryPressure", false, 75.0)]));
    let timed = |seconds| ConditionExpectation {
        cleared_within: Some(Lasting::at_most(Duration::from_secs(seconds))),
        ..condition("MemoryPressure")
    };
    // Told four seconds late: between 75 and 76.
    assert_finding(&run, conditions([timed(19)]), Held, "");
    assert_finding(&run, conditions([timed(18)]), Violated, "19.0s, expected at most 18s");
}

#[test]
fn another_condition_violates() {
    let mut run = Run::standard();
    run.add(60.0, node("worker", true, &[("MemoryPressure", true, 57.0), ("DiskPressure", true, 60.0)]));
    assert_finding(
        &run,
        conditions([condition("MemoryPressure")]),
        Violated,
        "DiskPressure was raised on worker and should not",
    );
    assert_finding(
        &Run::standard(),
        conditions([]),
        Violated,
        "MemoryPressure was raised on worker and should not",
    );
    let both = [condition("MemoryPressure"), condition("DiskPressure")];
    assert_finding(&run, conditions(both.clone()), Held, "");
    let [memory, disk] = both;
    assert_finding(
        &run,
        conditions([disk, memory]),
        Violated,
        "raised in the order MemoryPressure on worker, DiskPressure on worker",
    );
}

#[test]
fn the_order_of_two_in_one_status_can_not_be_told() {
    let mut run = Run::standard();
    run.remove(|_, fact| matches!(fact, Fact::Node(_)));
    run.add(-1.0, node("worker", true, &[]));
    run.add(57.0, node("worker", true, &[("MemoryPressure", true, 57.0), ("DiskPressure", true, 57.0)]));
    run.add(75.0, node("worker", true, &[("MemoryPressure", false, 75.0), ("DiskPressure", false, 75.0)]));
    let both = [condition("DiskPressure"), condition("MemoryPressure")];
    assert_finding(&run, conditions(both), Unknown, "can not be told: one status showed several");
}

#[test]
fn not_raised_and_not_cleared_violate_unless_nobody_looked() {
    let mut run = Run::standard();
    run.remove(|seconds, fact| matches!(fact, Fact::Node(_)) && seconds > 60.0);
    assert_finding(
        &run,
        conditions([condition("MemoryPressure")]),
        Violated,
        "was not cleared on worker before the end",
    );
    let open = ConditionExpectation { cleared: false, ..condition("MemoryPressure") };
    assert_finding(&run, conditions([open.clone()]), Held, "");
    run.remove(|seconds, fact| matches!(fact, Fact::Node(_)) && seconds > 50.0);
    assert_finding(&run, conditions([open.clone()]), Violated, "MemoryPressure was not raised on worker");
    assert_finding(&run, conditions([]), Held, "no node had a pressure condition");
    run.add(60.0, gap("nodes", 55.0, true));
    assert_finding(&run, conditions([open]), Unknown, "MemoryPressure was not raised on worker");
    assert_finding(&run, conditions([]), Unknown, "nodes went unwatched for 5.00s");
    run.remove(|_, fact| matches!(fact, Fact::Node(_) | Fact::Gap { .. }));
    assert_finding(&run, conditions([]), Unknown, "node worker was never seen");
}

#[test]
fn raised_twice_is_not_raised_once() {
    let mut run = Run::standard();
    run.add(78.0, node("worker", true, &[("MemoryPressure", true, 78.0)]));
    assert_finding(
        &run,
        conditions([condition("MemoryPressure")]),
        Violated,
        "was raised on worker 2 times and not 1",
    );
}

fn killed<const N: usize>(workloads: [&str; N]) -> Expect {
    Expect::OomKills(set(workloads))
}

/// The standard run in which the kernel kills `greedy` instead.
fn with_kill() -> Run {
    let mut run = Run::standard();
    run.without_eviction();
    run.add(57.0, oom_kill(Some("greedy"), OomScope::Node));
    let status =
        json!({"status": {"phase": "Failed", "containerStatuses": [terminated(57.0, 137, "OOMKilled")]}});
    run.add(57.3, pod_fact("greedy", status));
    run
}

#[test]
fn no_kill_holds_only_with_every_eye_open() {
    assert_finding(&Run::standard(), killed([]), Held, "the kernel killed nothing for memory");
    for source in ["kernel log worker", "sampler worker", "pods"] {
        let mut run = Run::standard();
        run.add(30.0, gap(source, 29.0, false));
        assert_finding(&run, killed([]), Unknown, source);
    }
    let mut run = Run::standard();
    run.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && (20.0..31.0).contains(&seconds));
    assert_finding(&run, killed([]), Unknown, "worker was not measured for 11.5s");
}

#[test]
fn a_sampler_sees_again_when_it_samples() {
    let mut run = Run::standard();
    run.add(30.1, gap("sampler worker", 30.1, false));
    let gaps = run.judge([killed([])]).gaps;
    assert_eq!(gaps[0].until, Some(at(30.5)));
}

#[test]
fn whom_the_kernel_killed_is_told() {
    assert_finding(&with_kill(), killed(["greedy"]), Held, "greedy was OOM-killed");
    assert_finding(&with_kill(), killed([]), Violated, "greedy was OOM-killed and should not have been");
    assert_finding(&with_kill(), killed(["greedy", "idler"]), Violated, "idler was not OOM-killed");
    let mut run = with_kill();
    run.add(58.0, oom_kill(None, OomScope::Node));
    assert_finding(&run, killed(["greedy"]), Violated, "outside every pod that is known");
}

#[test]
fn a_container_s_status_is_evidence_without_the_kernel_s_log() {
    let mut run = Run::standard();
    let last = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": written(30.0)}});
    run.add(30.5, running_with("idler", 1, last));
    assert_finding(&run, killed(["idler"]), Held, "");
    assert_finding(&run, killed([]), Violated, "idler was OOM-killed");
}

#[test]
fn a_kill_of_nobody_known_violates_none_and_leaves_others_open() {
    let mut run = with_kill();
    run.add(
        58.0,
        Fact::OomKill {
            node: "worker".into(),
            kill: plimsoll_node::report::OomKill {
                scope: OomScope::Unknown,
                pod_uid: None,
                task: None,
                source: "oom_kill of memory.events rose".into(),
            },
        },
    );
    assert_finding(&run, killed(["greedy"]), Unknown, "outside every pod that is known");
    run.remove_pod("greedy");
    assert_finding(&run, killed([]), Violated, "outside every pod that is known");
}

#[test]
fn a_kill_that_never_came_is_unknown_where_the_fill_was_not_begun() {
    let mut run = Run::standard();
    assert_finding(&run, killed(["idler"]), Violated, "idler was not OOM-killed");
    run.remove(|_, fact| matches!(fact, Fact::StepEnded { step: 2, .. }));
    run.add(2.5, step_ended(2, StepOutcome::Failed("no such object".into())));
    assert_finding(&run, killed(["idler"]), Unknown, "step 3 (start greedy) failed: no such object");
}
