//! `evicted`, `message`, `within`: who went, in which order, with which words, how soon.

use std::time::Duration;

use plimsoll::observe::{Fact, StepOutcome};
use plimsoll::plan::{Band, Expect, Lasting, MessageExpectation};
use plimsoll::verdict::State::{Held, Unknown, Violated};
use serde_json::json;

use crate::builder::*;

fn evicted<const N: usize>(groups: [&[&str]; N]) -> Expect {
    Expect::Evicted(
        groups.iter().map(|group| group.iter().map(|name| (*name).to_owned()).collect()).collect(),
    )
}

/// The standard run in which `idler` goes too, so many seconds in.
fn with_second(seconds: f64) -> Run {
    let mut run = Run::standard();
    let text = message("400Mi", "300Mi", "200Mi", "0");
    run.add(seconds, event("idler", "Evicted", &text, seconds));
    run.add(seconds + 0.4, evicted_at("idler", seconds + 0.4, &text));
    run.add(79.0, metric(2));
    run
}

#[test]
fn exactly_those_evicted_hold() {
    assert_finding(
        &Run::standard(),
        evicted([&["greedy"]]),
        Held,
        "evicted greedy after 56.0s; nobody else in 80.1s",
    );
}

#[test]
fn nobody_evicted_holds_without_pressure() {
    let mut run = Run::standard();
    run.without_eviction();
    assert_finding(&run, evicted([]), Held, "nobody was evicted in 80.1s");
    assert_finding(&Run::standard(), evicted([]), Violated, "greedy was evicted and should not have been");
}

#[test]
fn an_order_holds_or_does_not() {
    let run = with_second(66.5);
    assert_finding(
        &run,
        evicted([&["greedy"], &["idler"]]),
        Held,
        "greedy after 56.0s and idler after 66.5s",
    );
    assert_finding(&run, evicted([&["idler"], &["greedy"]]), Violated, "greedy was evicted before idler");
    assert_finding(&run, evicted([&["idler", "greedy"]]), Held, "");
    assert_finding(&run, evicted([&["greedy"]]), Violated, "idler was evicted and should not have been");
    assert_finding(
        &run,
        evicted([&["greedy", "steady"], &["idler"]]),
        Violated,
        "steady was not evicted: still running",
    );
}

#[test]
fn the_order_within_a_second_is_told_by_one_watch_and_by_nothing_else() {
    let mut run = with_second(56.5);
    assert_finding(&run, evicted([&["greedy"], &["idler"]]), Held, "");
    // The events' watch was blind around then: only whole seconds are left, and they are the same.
    run.add(58.0, gap("events", 55.0, true));
    assert_finding(
        &run,
        evicted([&["greedy"], &["idler"]]),
        Unknown,
        "whether greedy went before idler can not be told",
    );
    assert_finding(&run, evicted([&["greedy", "idler"]]), Held, "");
}

#[test]
fn a_missing_eviction_says_how_near_it_came() {
    let mut run = Run::standard();
    run.without_eviction();
    let because = "greedy was not evicted: still running; memory.available of worker never fell below 328Mi; its threshold is 400Mi";
    assert_finding(&run, evicted([&["greedy"]]), Violated, because);
}

#[test]
fn a_blind_watch_leaves_it_open_unless_it_is_violated_anyway() {
    for resumed in [true, false] {
        let mut run = Run::standard();
        run.add(20.0, gap("pods", 10.0, resumed));
        assert_finding(&run, evicted([&["greedy"]]), Unknown, "pods went unwatched");
        assert_finding(&run, evicted([&["idler"]]), Violated, "greedy was evicted and should not have been");
        run.without_eviction();
        assert_finding(&run, evicted([&["greedy"]]), Unknown, "greedy was not evicted");
        assert_finding(&run, evicted([]), Unknown, "pods went unwatched");
    }
}

#[test]
fn a_gap_before_the_start_or_of_something_else_hides_nothing() {
    let mut run = Run::standard();
    run.add(-0.5, gap("pods", -1.0, true));
    run.add(20.0, gap("summary of worker", 10.0, false));
    assert_finding(&run, evicted([&["greedy"]]), Held, "");
}

#[test]
fn a_gap_of_which_nothing_is_known_hides_everything() {
    let mut run = Run::standard();
    run.add(20.0, gap("a new source", 10.0, true));
    assert_finding(&run, evicted([&["greedy"]]), Unknown, "a new source went unwatched for 10.0s");
}

#[test]
fn a_run_that_ended_early_leaves_it_open() {
    let mut run = Run::standard();
    run.remove(|_, fact| matches!(fact, Fact::Finished));
    assert_finding(&run, evicted([&["greedy"]]), Unknown, "the run ended before its steps were over");
    assert_finding(&run, evicted([]), Violated, "greedy was evicted");
    run.remove(|seconds, _| seconds >= 0.0);
    assert_finding(&run, evicted([&["greedy"]]), Unknown, "the cluster never became ready");
}

#[test]
fn a_component_that_died_leaves_it_open() {
    let mut run = Run::standard();
    let (part, component, status) = ("worker".into(), "kubelet".into(), "signal 9".into());
    run.add(60.0, Fact::ComponentEnded { part, component, status, log: String::new() });
    assert_finding(
        &run,
        evicted([&["greedy"]]),
        Unknown,
        "what followed can not be trusted: worker: kubelet ended: signal 9",
    );
}

#[test]
fn a_higher_count_of_the_kubelet_s_own_leaves_it_open() {
    let mut run = Run::standard();
    run.add(79.0, metric(2));
    assert_finding(&run, evicted([&["greedy"]]), Unknown, "the kubelet counts 2 evictions, and 1 were seen");
}

#[test]
fn what_was_never_started_is_not_missing() {
    let mut run = Run::standard();
    run.remove_pod("greedy");
    run.remove(|seconds, fact| {
        matches!(fact, Fact::StepBegan { step } | Fact::StepEnded { step, .. } if *step > 0)
            || (seconds > 50.0 && matches!(fact, Fact::Node(_) | Fact::EvictionMetric { .. }))
    });
    run.add(30.0, step_ended(1, StepOutcome::TimedOut("idler is Pending".into())));
    for step in 2..5 {
        run.add(30.0, step_ended(step, StepOutcome::Skipped));
    }
    assert_finding(&run, evicted([&["greedy"]]), Unknown, "step 3 (start greedy) skipped");
}

#[test]
fn a_wait_for_the_eviction_that_timed_out_is_no_excuse_for_it() {
    let mut run = Run::standard();
    run.without_eviction();
    run.remove(|_, fact| matches!(fact, Fact::StepEnded { step, .. } if *step >= 3));
    run.add(60.0, step_ended(3, StepOutcome::TimedOut("0 of 1 eviction".into())));
    run.add(60.0, step_ended(4, StepOutcome::Skipped));
    let verdict = run.judge([evicted([&["greedy"]])]);
    let states: Vec<_> =
        verdict.findings.iter().map(|finding| (finding.key.as_str(), finding.state)).collect();
    assert_eq!(states, [("evicted", Violated), ("step", Unknown)]);
    assert_eq!(verdict.state, Violated);
    assert_eq!(verdict.findings[1].because, "timed out: 0 of 1 eviction; 1 later step not taken");
}

#[test]
fn a_late_eviction_holds_and_the_wait_is_unknown() {
    let mut run = Run::standard();
    run.remove(|_, fact| matches!(fact, Fact::StepEnded { step: 3, .. }));
    run.add(50.0, step_ended(3, StepOutcome::TimedOut("0 of 1 eviction".into())));
    let verdict = run.judge([evicted([&["greedy"]])]);
    assert_eq!(
        (verdict.findings[0].state, verdict.findings[1].state, verdict.state),
        (Held, Unknown, Unknown)
    );
}

#[test]
fn a_controller_s_pods_may_go_one_after_another() {
    let mut run = Run::standard();
    run.plan.workloads.extend([workload("web", 1)]);
    for (name, seconds) in [("web-1", 60.0), ("web-2", 70.0)] {
        let label = json!({"metadata": {"name": name, "uid": uid(name)}, "status": {"phase": "Running"}});
        run.add(seconds - 5.0, pod_fact("web", label));
        run.add(seconds, event(name, "Evicted", &low_message(), seconds));
    }
    run.add(79.0, metric(3));
    assert_finding(&run, evicted([&["greedy"], &["web"], &["web"]]), Held, "");
    assert_finding(&run, evicted([&["greedy"], &["web"]]), Violated, "web was evicted 2 times and not 1");
    assert_finding(
        &run,
        evicted([&["greedy"], &["web"], &["web"], &["web"]]),
        Violated,
        "web was evicted 2 times and not 3",
    );
    assert_finding(
        &run,
        evicted([&["web"], &["greedy"], &["web"]]),
        Violated,
        "greedy was evicted before web",
    );
}

fn mebi(amount: i64) -> Option<Band> {
    Some(Band { at_least: Some(amount * MI), at_most: Some(amount * MI) })
}

#[test]
fn the_kubelet_s_words_are_read() {
    let right = MessageExpectation {
        workload: "greedy".into(),
        resource: Some("memory".into()),
        threshold: mebi(400),
        available: Some(Band { at_least: Some(300 * MI), at_most: Some(400 * MI) }),
        container: Some("filler".into()),
        using: Some(Band { at_least: Some(900 * MI), at_most: None }),
        request: mebi(50),
    };
    assert_finding(
        &Run::standard(),
        Expect::Message(right.clone()),
        Held,
        "the kubelet said using 1016Mi of greedy",
    );
    let wrong = MessageExpectation { request: mebi(60), ..right.clone() };
    assert_finding(
        &Run::standard(),
        Expect::Message(wrong),
        Violated,
        "request 50Mi of greedy where 60Mi was expected",
    );
    let wrong = MessageExpectation { container: Some("other".into()), ..right.clone() };
    assert_finding(&Run::standard(), Expect::Message(wrong), Violated, "named no container other");
    let wrong = MessageExpectation { resource: Some("pids".into()), ..right.clone() };
    assert_finding(
        &Run::standard(),
        Expect::Message(wrong),
        Violated,
        "resource memory of greedy and not pids",
    );
    let mut run = Run::standard();
    run.without_eviction();
    assert_finding(&run, Expect::Message(right.clone()), Violated, "greedy was not evicted");
    run.add(20.0, gap("pods", 10.0, true));
    assert_finding(&run, Expect::Message(right.clone()), Unknown, "greedy was not evicted");
    let mut run = Run::standard();
    run.remove_pod("greedy");
    run.add(56.0, evicted_at("greedy", 56.0, "The node was low on resource: memory, in other words. "));
    assert_finding(&run, Expect::Message(right), Unknown, "can not be read");
}

fn within(seconds: u64) -> Expect {
    Expect::Within {
        signal: "memory.available".into(),
        lasting: Lasting::at_most(Duration::from_secs(seconds)),
    }
}

#[test]
fn the_time_from_crossing_to_eviction_is_measured() {
    // The first sample below 400Mi is that of 52.5 s.
    assert_finding(
        &Run::standard(),
        within(4),
        Held,
        "greedy, from memory.available at 398Mi to its eviction: 3.53s",
    );
    assert_finding(&Run::standard(), within(3), Violated, "3.53s, expected at most 3s");
}

#[test]
fn an_eviction_that_came_too_soon_is_violated() {
    let between = |least, most| Expect::Within {
        signal: "memory.available".into(),
        lasting: Lasting {
            at_least: Some(Duration::from_millis(least)),
            at_most: Some(Duration::from_millis(most)),
        },
    };
    assert_finding(&Run::standard(), between(3_000, 4_000), Held, "3.53s");
    assert_finding(
        &Run::standard(),
        between(15_000, 40_000),
        Violated,
        "3.53s, expected at least 15s and at most 40s",
    );
    assert_finding(&Run::standard(), between(3_500, 3_500), Violated, "3.53s");
}

#[test]
fn without_samples_the_time_is_not_known() {
    let mut run = Run::standard();
    run.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && (40.0..56.0).contains(&seconds));
    assert_finding(&run, within(20), Unknown, "");
    run.remove(|_, fact| matches!(fact, Fact::Sample { .. }));
    assert_finding(&run, within(20), Unknown, "no sample of worker shows memory.available below 400Mi");
    let mut run = Run::standard();
    run.without_eviction();
    assert_finding(&run, within(20), Violated, "nobody was evicted for memory.available");
}

/// The kubelet looked between two samples: its message says that it was low, and the last sample that it was not for long.
#[test]
fn a_crossing_between_two_samples_is_known_by_the_kubelets_message() {
    let unsampled = |from: f64| {
        let mut run = Run::standard();
        run.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && (from..56.5).contains(&seconds));
        run
    };
    let run = unsampled(52.5);
    let between =
        "greedy, from memory.available at 332Mi by the kubelet's message, which was 408Mi in the last sample";
    assert_finding(&run, within(5), Held, between);
    assert_finding(&run, within(3), Unknown, "0.00s to 4.03s, expected at most 3s");
    // When it was crossed is not known at all.
    assert_finding(&unsampled(40.0), within(20), Unknown, "worker was not measured for");
    // It may have been low for long before.
    let soft = Lasting { at_least: Some(Duration::from_secs(2)), at_most: None };
    let soft = Expect::Within { signal: "memory.available".into(), lasting: soft };
    assert_finding(&run, soft, Unknown, "no sample of worker shows memory.available below 400Mi");
}

#[test]
fn a_dip_that_the_kubelet_could_have_seen_over_starts_the_clock_anew() {
    let mut run = Run::standard();
    run.remove(|seconds, fact| matches!(fact, Fact::Sample { .. }) && (10.0..10.6).contains(&seconds));
    // Far below for half a second, forty seconds earlier: the kubelet looked since and saw nothing.
    run.add(10.0, sample(&[("steady", 1700)]));
    assert_finding(&run, within(4), Held, "3.53s");
    // A dip just before it is another matter.
    run.add(46.0, sample(&[("steady", 1700)]));
    assert_finding(&run, within(4), Violated, "10.0s");
}
