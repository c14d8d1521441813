//! What is true of verdicts whatever was observed.

use std::time::Duration;

use plimsoll::observe::{Fact, Timeline};
use plimsoll::plan::{Band, ConditionExpectation, Expect, Lasting, Plan};
use plimsoll::verdict::snapshot::Facts;
use plimsoll::verdict::{State, judge};
use proptest::prelude::*;

use crate::builder::*;

/// One expectation of each kind, as they hold of the standard run.
fn all_held() -> Vec<Expect> {
    let condition = ConditionExpectation {
        node: "worker".into(),
        condition: "MemoryPressure".into(),
        raised_within: Some(Duration::from_secs(6)),
        cleared: true,
        cleared_within: None,
    };
    let band = Band { at_least: Some(600 * MI), at_most: None };
    vec![
        Expect::Evicted(vec![set(["greedy"])]),
        Expect::Survive(names(["steady", "idler"])),
        Expect::Reclaimed { signal: "memory.available".into(), band, minimum_reclaim: true },
        Expect::Conditions(vec![condition]),
        Expect::OomKills(set([])),
        Expect::Rejected(set([])),
        Expect::Within { signal: "memory.available".into(), lasting: at_most(10) },
        Expect::Terminated { workload: "greedy".into(), lasting: at_most(5) },
    ]
}

fn at_most(seconds: u64) -> Lasting {
    Lasting::at_most(Duration::from_secs(seconds))
}

/// The same with the whole truth turned round: none of these holds of the standard run.
fn none_held() -> Vec<Expect> {
    let band = Band { at_least: Some(1 << 40), at_most: None };
    vec![
        Expect::Evicted(vec![set(["idler"])]),
        Expect::Survive(names(["greedy"])),
        Expect::Reclaimed { signal: "memory.available".into(), band, minimum_reclaim: false },
        Expect::Conditions(Vec::new()),
        Expect::OomKills(set(["idler"])),
        Expect::Rejected(set(["idler"])),
        Expect::Within { signal: "memory.available".into(), lasting: at_most(1) },
        Expect::Terminated {
            workload: "greedy".into(),
            lasting: Lasting { at_least: Some(Duration::from_secs(10)), at_most: None },
        },
    ]
}

fn states(plan: &Plan, timeline: &Timeline) -> Vec<State> {
    let expected = plan.expectations.len();
    judge(plan, timeline).findings[..expected].iter().map(|finding| finding.state).collect()
}

/// The timeline without the observations that the mask names, or as much of it as there is before one of them.
fn thinned(timeline: &Timeline, unwanted: impl Fn(usize, &Fact) -> bool) -> Timeline {
    let mut thinned = Timeline::default();
    for (index, observation) in timeline.observations.iter().enumerate() {
        if !unwanted(index, &observation.fact) {
            thinned.push(observation.at, observation.fact.clone());
        }
    }
    thinned
}

#[test]
fn the_standard_run_holds_and_its_opposite_does_not() {
    let run = Run::standard();
    assert_eq!(states(&run.expecting(all_held()), &run.timeline()), vec![State::Held; 8]);
    assert_eq!(states(&run.expecting(none_held()), &run.timeline()), vec![State::Violated; 8]);
}

#[test]
fn an_empty_timeline_proves_nothing() {
    let run = Run::standard();
    for expects in [all_held(), none_held()] {
        for state in states(&run.expecting(expects), &Timeline::default()) {
            assert_eq!(state, State::Unknown);
        }
    }
}

#[test]
fn every_prefix_of_a_run_proves_nothing_held() {
    let run = Run::standard();
    let timeline = run.timeline();
    let plan = run.expecting(all_held());
    for length in (0..timeline.observations.len()).step_by(7) {
        let prefix = thinned(&timeline, |index, _| index >= length);
        for (index, state) in states(&plan, &prefix).into_iter().enumerate() {
            // What was said and how long it took is known once it was; everything else needs the end.
            if !matches!(plan.expectations[index].expect, Expect::Within { .. } | Expect::Terminated { .. }) {
                assert_ne!(state, State::Held, "{length} {:?}", plan.expectations[index].expect);
            }
        }
    }
}

/// The kind of a fact, so that all of a kind can be taken out.
fn kind(fact: &Fact) -> u8 {
    match fact {
        Fact::Pod(_) | Fact::PodDeleted(_) => 0,
        Fact::Node(_) => 1,
        Fact::Event(_) => 2,
        Fact::Sample { .. } => 3,
        Fact::StepBegan { .. } | Fact::StepEnded { .. } => 4,
        Fact::Finished => 5,
        Fact::Started => 6,
        _ => 7,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Taking away whole kinds of observations never makes a pass out of anything that was none.
    #[test]
    fn less_evidence_is_never_a_pass(kinds in prop::collection::btree_set(0_u8..8, 1..5)) {
        let run = Run::standard();
        let timeline = thinned(&run.timeline(), |_, fact| kinds.contains(&kind(fact)));
        let plan = run.expecting(none_held());
        for (state, expectation) in states(&plan, &timeline).into_iter().zip(&plan.expectations) {
            prop_assert_ne!(state, State::Held, "{:?}", expectation.expect);
        }
    }

    /// Nor does it make a violation out of what held: what was not seen is unknown.
    #[test]
    fn a_gap_is_never_a_violation(from in 0.0..80.0_f64, length in 0.1..30.0_f64, source in 0..3_usize, resumed: bool) {
        let mut run = Run::standard();
        let source = ["pods", "nodes", "sampler worker"][source];
        let to = (from + length).min(80.05);
        // Whatever the source would have said in between is missing.
        run.remove(|seconds, fact| (from..to).contains(&seconds) && match source {
            "pods" => matches!(fact, Fact::Pod(_)),
            "nodes" => matches!(fact, Fact::Node(_)),
            _ => matches!(fact, Fact::Sample { .. }),
        });
        run.add(to, gap(source, from, resumed));
        let plan = run.expecting(all_held());
        for (state, expectation) in states(&plan, &run.timeline()).into_iter().zip(&plan.expectations) {
            let lost = matches!(expectation.expect, Expect::Survive(_) | Expect::Terminated { .. }) && source == "pods";
            // The relist after such a gap would have told what became of the pods; this run has none.
            prop_assert!(state != State::Violated || lost, "{:?}", expectation.expect);
        }
    }

    /// The order in which a group names its workloads, and in which groups of one came, is what counts; not more.
    #[test]
    fn an_inner_set_has_no_order(swap: bool, first in 55.0..60.0_f64, second in 61.0..70.0_f64) {
        let mut run = Run::standard();
        run.remove_pod("greedy").remove_pod("idler");
        let (one, other) = if swap { ("idler", "greedy") } else { ("greedy", "idler") };
        run.add(1.0, running("greedy")).add(1.0, running("idler"));
        for (name, seconds) in [(one, first), (other, second)] {
            run.add(seconds, event(name, "Evicted", &low_message(), seconds));
            run.add(seconds + 0.3, evicted_at(name, seconds + 0.3, &low_message()));
        }
        run.add(79.0, metric(2));
        let together = Expect::Evicted(vec![set(["greedy", "idler"])]);
        prop_assert_eq!(run.finding(together.clone()).0, State::Held);
        let apart = Expect::Evicted(vec![set(["greedy"]), set(["idler"])]);
        prop_assert_eq!(run.finding(apart).0, if swap { State::Violated } else { State::Held });
        // The snapshot of both orders is one and the same.
        let text = Facts::of(&run.expecting([together]), &run.timeline()).text(None);
        prop_assert!(text.contains("- greedy: The node") && text.contains("  with idler: The node"), "{}", text);
    }

    /// Whatever is observed, judging ends, and says something about every expectation.
    #[test]
    fn any_subset_of_a_run_is_judged(keep in prop::collection::vec(any::<bool>(), 260)) {
        let run = Run::standard();
        let timeline = thinned(&run.timeline(), |index, _| !keep.get(index).copied().unwrap_or(true));
        let plan = run.expecting(all_held());
        let verdict = judge(&plan, &timeline);
        prop_assert!(verdict.findings.len() >= plan.expectations.len());
        prop_assert!(verdict.findings.iter().all(|finding| !finding.because.is_empty()));
        for evidence in verdict.findings.iter().flat_map(|finding| &finding.evidence) {
            prop_assert!(timeline.observations[evidence.sequence as usize].at == evidence.at);
        }
    }
}
