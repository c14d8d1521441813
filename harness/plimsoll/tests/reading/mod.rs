//! What is done with a text before a run, and what must hold of it. Also the body of the fuzz target (`fuzz/`).

use std::collections::BTreeSet;

use plimsoll::plan::{Action, DrainedTo, Expect, Plan, lower, text};
use plimsoll::scenario::render::{Look, graphical};
use plimsoll::scenario::{Files, parse};

/// Everything that is done with a text before a run.
pub fn read(scenario: &str, manifest: &str) -> Option<Plan> {
    let files: Files = [("./frontend.yaml".to_owned(), Ok(manifest.to_owned()))].into();
    match parse("fuzz.yaml", scenario).and_then(|parsed| lower(&parsed.with_files(&files))) {
        Ok(lowered) => {
            check(&lowered.plan);
            Some(lowered.plan)
        }
        Err(diagnostics) => {
            assert!(diagnostics.has_errors(), "refused without an error");
            assert!(!graphical(&diagnostics, Look::default()).is_empty());
            for diagnostic in &diagnostics.list {
                assert!(
                    !diagnostic.to_string().contains(char::is_control),
                    "more than a line: {diagnostic:?}"
                );
                assert!(
                    diagnostic.location.line > 0 && diagnostic.location.column > 0,
                    "nowhere: {diagnostic:?}"
                );
            }
            None
        }
    }
}

/// What holds of every plan.
fn check(plan: &Plan) {
    let known: BTreeSet<&String> = plan.workloads.keys().collect();
    let json = serde_json::to_string(plan).expect("a plan as JSON");
    assert_eq!(&serde_json::from_str::<Plan>(&json).expect("a plan from JSON"), plan);
    assert!(!text(plan).is_empty());
    assert!((!plan.nodes.is_empty() || plan.hollow.is_some()) && !plan.expectations.is_empty());
    for step in &plan.steps {
        assert!(step.location.line > 0);
        let named = match &step.action {
            Action::Start(names) | Action::Delete(names) => names.as_slice(),
            Action::Evict(evict) => evict.workloads.as_slice(),
            _ => &[],
        };
        if !named.is_empty() {
            let names = named;
            assert!(names.iter().all(|name| known.contains(name)), "a step names nobody: {names:?}");
        }
    }
    for expectation in &plan.expectations {
        let named: Vec<&String> = match &expectation.expect {
            Expect::Evicted(groups) => groups.iter().flatten().collect(),
            Expect::Survive(names) | Expect::Terminating(names) | Expect::Announced(names) => {
                names.iter().collect()
            }
            Expect::Together { workloads, .. } => workloads.iter().collect(),
            Expect::OomKills(names) | Expect::Rejected(names) => names.iter().collect(),
            Expect::OverLimit(over) => over.keys().collect(),
            Expect::Message(message) => vec![&message.workload],
            Expect::Terminated { workload, .. } | Expect::Tolerated { workload, .. } => vec![workload],
            Expect::Replaced(replaced) => vec![&replaced.workload],
            Expect::Ended(ended) => vec![&ended.workload],
            Expect::Answered { workload, .. } | Expect::Nominated { workload, .. } => vec![workload],
            Expect::Drained(drained) => match &drained.to {
                DrainedTo::Refused(pods) => pods.keys().collect(),
                DrainedTo::End(_) => Vec::new(),
            },
            Expect::ScaleDownBlocked(blocked) => blocked.blocked_by.keys().collect(),
            Expect::Slowed(slowed) => vec![&slowed.workload, &slowed.by],
            Expect::Flapping(_)
            | Expect::Reclaimed { .. }
            | Expect::Conditions(_)
            | Expect::NodeReclaimed(_)
            | Expect::Tainted(_)
            | Expect::TaintRate(_)
            | Expect::Within { .. } => Vec::new(),
        };
        assert!(named.iter().all(|name| known.contains(name)), "an expectation names nobody: {named:?}");
    }
}
