//! Snapshots: the same for runs that differ only in what varies, in a format that insta reads.

use std::fs;

use plimsoll::plan::{ConditionExpectation, Expect};
use plimsoll::verdict::State;
use plimsoll::verdict::snapshot::{Comparison, Facts, Snapshot, Writing, compare, path_beside, settle};
use plimsoll_node::report::OomScope;

use crate::builder::*;

fn facts(run: &Run) -> Facts {
    let condition = ConditionExpectation {
        node: "worker".into(),
        condition: "MemoryPressure".into(),
        raised_within: None,
        cleared: true,
        cleared_within: None,
    };
    Facts::of(&run.expecting([Expect::Conditions(vec![condition])]), &run.timeline())
}

#[test]
fn facts_hold_what_stays_the_same() {
    insta::assert_snapshot!(facts(&Run::standard()).text(None), @r"
    evicted:
    - greedy: The node was low on resource: memory. Threshold quantity: 400Mi, available: [amount]. Container filler was using [amount], request is 50Mi, has larger consumption of memory.
    conditions:
      worker: MemoryPressure raised, MemoryPressure cleared
    oomKills: none
    rejected: none
    reclaimed:
      memory.available: 512Mi to 1024Mi
    ends:
      greedy: evicted by the kubelet
      idler: running
      steady: running
    ");
}

/// The standard run, a little later and with other figures.
fn varied(shift: f64, available: &str, using: &str) -> Run {
    let mut run = Run::standard();
    run.remove_pod("greedy");
    let text = message("400Mi", available, using, "50Mi");
    run.add(4.0, running("greedy"));
    run.add(56.03 + shift, event("greedy", "Evicted", &text, 56.0 + shift));
    run.add(56.44 + shift, evicted_at("greedy", 56.4 + shift, &text));
    run
}

#[test]
fn ten_runs_have_one_snapshot() {
    let kept = facts(&Run::standard()).text(None);
    for run in 0..10 {
        let run = varied(
            f64::from(run) * 0.04,
            &format!("{}Ki", 310_000 + run * 1111),
            &format!("{}Ki", 1_000_000 + run * 777),
        );
        assert_eq!(compare(&facts(&run), Some(&kept)), Comparison::Match);
    }
}

#[test]
fn other_facts_are_a_mismatch_with_a_diff() {
    let kept = facts(&Run::standard()).text(None);
    let mut run = Run::standard();
    run.add(78.0, oom_kill(Some("idler"), OomScope::Container));
    let Comparison::Mismatch { diff, facts } = compare(&facts(&run), Some(&kept)) else {
        panic!("a mismatch")
    };
    assert!(diff.contains("-oomKills: none\n+oomKills:\n+- idler: the container's limit\n"), "{diff}");
    assert!(facts.contains("- idler: the container's limit"));
}

#[test]
fn a_mismatch_violates_a_verdict_that_was_held_and_leaves_an_unknown_one_unknown() {
    let mismatch = Comparison::Mismatch { diff: "--- a\n+++ b\n-x\n+y\n".into(), facts: "y".into() };
    let mut run = Run::standard();
    let held = run.judge([Expect::Evicted(vec![set(["greedy"])])]);
    assert_eq!(held.clone().with_snapshot(Comparison::Match, location(1)).state, State::Held);
    let verdict = held.with_snapshot(mismatch.clone(), location(1));
    assert_eq!((verdict.state, verdict.findings[1].because.as_str()), (State::Violated, "-x; +y"));
    run.add(20.0, gap("pods", 10.0, true));
    let unknown = run.judge([Expect::Evicted(vec![set(["greedy"])])]);
    assert_eq!(unknown.with_snapshot(mismatch, location(1)).state, State::Unknown);
}

#[test]
fn insta_reads_what_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("facts.yaml");
    let facts = facts(&Run::standard());
    assert_eq!(settle(&scenario, &facts, Writing::Snapshot).expect("written"), Comparison::Match);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder.path());
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("facts", facts.text(None)));
}

#[test]
fn what_differs_is_proposed_accepted_or_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("some.yaml");
    let (path, proposal) = (path_beside(&scenario), folder.path().join("some.snap.new"));
    assert_eq!(path, folder.path().join("some.snap"));
    let standard = facts(&Run::standard());

    assert!(matches!(settle(&scenario, &standard, Writing::Nothing), Ok(Comparison::New { .. })));
    assert!(!path.exists() && !proposal.exists());
    assert!(matches!(settle(&scenario, &standard, Writing::Proposal), Ok(Comparison::New { .. })));
    assert!(!path.exists() && proposal.exists());
    assert!(matches!(settle(&scenario, &standard, Writing::Snapshot), Ok(Comparison::Match)));
    assert!(path.exists() && !proposal.exists());

    let mut other = Run::standard();
    other.add(78.0, oom_kill(Some("idler"), OomScope::Container));
    let before = fs::read_to_string(&path).expect("a snapshot");
    assert!(matches!(settle(&scenario, &facts(&other), Writing::Proposal), Ok(Comparison::Mismatch { .. })));
    assert_eq!(fs::read_to_string(&path).expect("a snapshot"), before);
    let proposed = Snapshot::parse(&fs::read_to_string(&proposal).expect("a proposal"));
    assert_eq!((proposed.source.as_str(), proposed.contents), ("some.yaml", facts(&other).text(None)));
    // A run that matches again takes the proposal away.
    assert!(matches!(settle(&scenario, &standard, Writing::Proposal), Ok(Comparison::Match)));
    assert!(!proposal.exists());
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn a_snapshot_that_can_not_be_read_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("some.snap")).expect("a folder in its place");
    assert!(settle(&folder.path().join("some.yaml"), &facts(&Run::standard()), Writing::Proposal).is_err());
}

#[test]
fn continuous_integration_writes_nothing() {
    for (accept, ci, writing) in [
        (false, None, Writing::Proposal),
        (true, None, Writing::Snapshot),
        (true, Some("true"), Writing::Nothing),
        (false, Some("1"), Writing::Nothing),
        (true, Some("false"), Writing::Snapshot),
        (false, Some(""), Writing::Proposal),
    ] {
        assert_eq!(Writing::from_flags(accept, ci), writing);
    }
}

#[test]
fn headers_are_read_and_written() {
    let snapshot = Snapshot { source: "a \"b\".yaml".into(), contents: "x: 1\n---\ny: 2\n".into() };
    let text = snapshot.render();
    assert_eq!(Snapshot::parse(&text).contents, snapshot.contents);
    assert_eq!(Snapshot::parse(&text.replace('\n', "\r\n")).contents, snapshot.contents);
    assert_eq!(Snapshot::parse("no header\n").contents, "no header\n");
}
