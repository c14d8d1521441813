//! From a run to checks of an acceptance. Pure.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_acceptance::report::Check;

use crate::observe::{Fact, Observation, StepOutcome, Timeline, allocatable};
use crate::verdict::{Finding, State, Verdict};

/// What findings come to: one that is violated speaks against it, otherwise one that is not known leaves it open.
pub(super) fn findings(name: &str, wanted: &str, verdict: &Verdict, of: impl Fn(&Finding) -> bool) -> Check {
    let found: Vec<&Finding> = verdict.findings.iter().filter(|finding| of(finding)).collect();
    let state = if found.is_empty() {
        State::Unknown
    } else {
        State::of_all(found.iter().map(|finding| finding.state))
    };
    let because: Vec<&str> = found
        .iter()
        .filter(|finding| finding.state == state)
        .map(|finding| finding.because.as_str())
        .collect();
    let seen = if because.is_empty() { "nothing was found".to_owned() } else { because.join("; ") };
    match state {
        State::Held => Check::of(name, true, seen, wanted),
        State::Violated => Check::of(name, false, seen, wanted),
        State::Unknown => Check::impossible(name, seen, wanted),
    }
}

/// What must be offered after a step, and how soon.
pub(super) struct Offered<'a> {
    /// The check's name.
    pub(super) name: &'a str,
    /// The step after which it must be so, by its index. The next one waits for it.
    pub(super) step: usize,
    /// The resource.
    pub(super) resource: &'a str,
    /// How much of it.
    pub(super) amount: u64,
    /// How soon.
    pub(super) within: Duration,
}

/// How long after the beginning of a step the node's status had so much of a resource to give.
pub(super) fn offered(timeline: &Timeline, expected: &Offered<'_>) -> Check {
    let Offered { name, step, resource, amount, within } = *expected;
    let wanted = format!("{amount} of {resource} allocatable within {} s", within.as_secs_f64());
    let observations = &timeline.observations;
    let began = |own: &Observation| matches!(own.fact, Fact::StepBegan { step: began } if began == step);
    let Some(first) = observations.iter().position(began) else {
        return Check::impossible(name, "the run ended before that", wanted);
    };
    let from = observations[first].at;
    let after = |at: Timestamp| at.duration_since(from).as_secs_f64();
    let mut last = None;
    for observation in &observations[first..] {
        match &observation.fact {
            Fact::Node(node) => {
                last = allocatable(node, resource).or(last);
                if allocatable(node, resource) == Some(amount) {
                    let took = after(observation.at);
                    return Check::of(
                        name,
                        took <= within.as_secs_f64(),
                        format!("after {took:.2} s"),
                        wanted,
                    );
                }
            }
            Fact::Gap { source, .. } if source == "nodes" => {
                return Check::impossible(name, "nodes went unwatched", wanted);
            }
            Fact::StepEnded { step: ended, outcome: StepOutcome::TimedOut(seen), .. }
                if *ended == step + 1 =>
            {
                let seen = format!("not after {:.1} s: {seen}", after(observation.at));
                return Check::of(name, false, seen, wanted);
            }
            _ => {}
        }
    }
    let seen = last.map_or_else(|| "nothing".to_owned(), |last| format!("{last} to give"));
    Check::impossible(name, format!("the run ended before that; last seen was {seen}"), wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_acceptance::report::Outcome;
    use serde_json::json;

    const STEP: usize = 3;

    /// Seconds, and what was so: a step that began, a node that has so much to give, or a wait that ran out.
    fn timeline(facts: &[(i64, Fact)]) -> Timeline {
        let mut timeline = Timeline::default();
        for (second, fact) in facts {
            timeline.push(Timestamp::from_second(*second).expect("a time"), fact.clone());
        }
        timeline
    }

    fn node(amount: u64) -> Fact {
        let node =
            json!({"metadata": {"name": "worker"}, "status": {"allocatable": {"a/b": amount.to_string()}}});
        Fact::Node(Box::new(serde_json::from_value(node).expect("a node")))
    }

    fn check(facts: &[(i64, Fact)]) -> Check {
        let within = Duration::from_secs(30);
        offered(
            &timeline(facts),
            &Offered { name: "taken away", step: STEP, resource: "a/b", amount: 0, within },
        )
    }

    #[test]
    fn the_time_counts_from_the_step_on() {
        // What was so before says nothing.
        let facts =
            [(0, node(0)), (1, node(8)), (10, Fact::StepBegan { step: STEP }), (12, node(8)), (15, node(0))];
        let check = check(&facts);
        assert_eq!((check.outcome, check.seen.as_str()), (Outcome::Passed, "after 5.00 s"));
        assert_eq!(check.wanted, "0 of a/b allocatable within 30 s");
    }

    #[test]
    fn what_is_late_or_never_comes_is_a_failure() {
        let late = check(&[(10, Fact::StepBegan { step: STEP }), (41, node(0))]);
        assert_eq!((late.outcome, late.seen.as_str()), (Outcome::Failed, "after 31.00 s"));
        let outcome = StepOutcome::TimedOut("worker has 8 of a/b to give".into());
        let location = crate::plan::Location { file: "x".into(), line: 1, column: 1 };
        let ended = Fact::StepEnded { step: STEP + 1, location, outcome };
        let never = check(&[(10, Fact::StepBegan { step: STEP }), (12, node(8)), (80, ended)]);
        assert_eq!(never.outcome, Outcome::Failed);
        assert_eq!(never.seen, "not after 70.0 s: worker has 8 of a/b to give");
    }

    #[test]
    fn what_nobody_saw_is_not_known() {
        let gap = Fact::Gap {
            source: "nodes".into(),
            from: Timestamp::UNIX_EPOCH,
            resumed: true,
            reason: "it broke".into(),
        };
        for facts in [
            vec![(1, node(0))],
            vec![(1, Fact::StepBegan { step: STEP }), (2, node(8))],
            vec![(1, Fact::StepBegan { step: STEP }), (2, gap), (3, node(0))],
        ] {
            assert_eq!(check(&facts).outcome, Outcome::CouldNotCheck, "{facts:?}");
        }
    }

    #[test]
    fn one_finding_against_it_outweighs_what_is_not_known() {
        let finding = |key: &str, state: State| Finding {
            key: key.into(),
            location: crate::plan::Location { file: "x".into(), line: 1, column: 1 },
            title: key.into(),
            state,
            because: format!("{key} {}", state.word()),
            evidence: Vec::new(),
        };
        let of = |states: &[(&str, State)]| {
            let verdict = Verdict {
                findings: states.iter().map(|(key, state)| finding(key, *state)).collect(),
                ..verdict()
            };
            let check = findings("evicts", "it", &verdict, |finding| finding.key != "else");
            (check.outcome, check.seen)
        };
        use State::{Held, Unknown, Violated};
        assert_eq!(of(&[("a", Held), ("else", Violated)]), (Outcome::Passed, "a held".into()));
        assert_eq!(of(&[("a", Unknown), ("b", Violated)]), (Outcome::Failed, "b violated".into()));
        assert_eq!(of(&[("a", Unknown), ("b", Held)]), (Outcome::CouldNotCheck, "a unknown".into()));
        assert_eq!(of(&[("else", Held)]).0, Outcome::CouldNotCheck);
    }

    fn verdict() -> Verdict {
        let plan = json!({"name": "x", "kubernetes": "1.36.3", "nodes": [], "objects": [], "workloads": {}, "steps": [], "expectations": []});
        crate::verdict::judge(&serde_json::from_value(plan).expect("a plan"), &Timeline::default())
    }
}
