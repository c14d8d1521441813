//! What people and machines are told of a run.

use std::collections::BTreeSet;

use indicatif::ProgressDrawTarget;
use plimsoll::observe::{Fact, StepOutcome};
use plimsoll::plan::{ClaimPlan, Expect, Standing};
use plimsoll::report::{JsonLines, Junit, Metrics, Reporter, Terminal, TerminalOptions, Verbosity};
use plimsoll::verdict::{Verdict, judge};
use plimsoll_node::report::OomScope;
use serde_json::Value;

use crate::builder::*;

fn expected() -> Vec<Expect> {
    vec![
        Expect::Evicted(vec![set(["greedy"])]),
        Expect::Survive(names(["steady", "idler"])),
        Expect::OomKills(set([])),
    ]
}

/// Lets a reporter hear of the whole run.
fn tell(reporter: &mut dyn Reporter, run: &Run) {
    let plan = run.expecting(expected());
    reporter.begin(&plan).expect("written");
    for observation in &run.timeline().observations {
        reporter.observation(observation).expect("written");
    }
    reporter.verdict(&run.judge(expected())).expect("written");
}

fn terminal(run: &Run, width: u16, color: bool, verbosity: Verbosity) -> String {
    let mut text = Vec::new();
    let options = TerminalOptions { width, color, verbosity };
    let mut reporter = Terminal::new(&mut text, ProgressDrawTarget::hidden(), options);
    tell(&mut reporter, run);
    reporter.finish().expect("written");
    drop(reporter);
    String::from_utf8(text).expect("text")
}

/// A run in which much went wrong.
fn troubled() -> Run {
    let mut run = Run::standard();
    run.without_eviction();
    run.add(30.0, gap("sampler worker", 29.5, false));
    run.add(57.0, oom_kill(Some("idler"), OomScope::Node));
    run.add(57.2, pod_fact("idler", serde_json::json!({"status": {"phase": "Failed", "containerStatuses": [terminated(57.0, 137, "OOMKilled")]}})));
    run.remove(|_, fact| matches!(fact, Fact::StepEnded { step, .. } if *step >= 3));
    run.add(79.0, step_ended(3, StepOutcome::TimedOut("0 of 1 eviction".into())));
    run.add(79.0, step_ended(4, StepOutcome::Skipped));
    run
}

#[test]
fn lines_of_a_run_that_held() {
    insta::assert_snapshot!(terminal(&Run::standard(), 100, false, Verbosity::Normal));
}

#[test]
fn lines_of_a_run_in_trouble() {
    insta::assert_snapshot!(terminal(&troubled(), 100, false, Verbosity::Normal));
}

#[test]
fn quiet_says_the_verdict_and_what_did_not_hold() {
    insta::assert_snapshot!(terminal(&Run::standard(), 100, false, Verbosity::Quiet), @"a-scenario: held (3 of 3 held, 80.1s)");
    let text = terminal(&troubled(), 100, false, Verbosity::Quiet);
    assert!(text.contains("\u{2718} violated  evicted: greedy") && !text.contains("boot"), "{text}");
    assert!(!text.contains("\u{2714}"), "{text}");
}

#[test]
fn simulated_gpus_are_stamped_wherever_a_verdict_is_told() {
    let mut run = Run::standard();
    let gpus = serde_json::json!({"count": 1, "memory": 1_u64 << 34, "resource": "nvidia.com/gpu-memory", "unit": 1 << 30});
    run.plan.nodes[0].gpus = Some(serde_json::from_value(gpus).expect("GPUs"));
    assert_eq!(run.judge(expected()).simulated, ["GPUs of worker"]);
    let text = terminal(&run, 100, false, Verbosity::Quiet);
    assert_eq!(text.trim(), "SIMULATED GPUs of worker: a-scenario: held (3 of 3 held, 80.1s)");
    let mut xml = Vec::new();
    let mut junit = Junit::new(&mut xml);
    tell(&mut junit, &run);
    junit.finish().expect("written");
    drop(junit);
    let xml = String::from_utf8(xml).expect("text");
    assert!(xml.contains("a-scenario (SIMULATED GPUs of worker)"), "{xml}");
    let json = serde_json::to_value(run.judge(expected())).expect("JSON");
    assert_eq!(json["simulated"], serde_json::json!(["GPUs of worker"]));
}

#[test]
fn verbose_says_more_than_normal_and_normal_more_than_quiet() {
    let lines = |verbosity| terminal(&Run::standard(), 100, false, verbosity).lines().count();
    let all = [Verbosity::Quiet, Verbosity::Normal, Verbosity::Verbose, Verbosity::Everything].map(lines);
    assert!(all.is_sorted_by(|one, other| one < other), "{all:?}");
}

#[test]
fn every_line_keeps_within_the_width() {
    for run in [Run::standard(), troubled()] {
        for width in [60, 80, 120] {
            let text = terminal(&run, width, false, Verbosity::Quiet);
            for line in text.lines().filter(|line| line.starts_with("     ")) {
                assert!(line.chars().count() <= usize::from(width), "{width}: {line}");
            }
        }
    }
}

#[test]
fn colour_changes_no_word() {
    let plain = terminal(&troubled(), 100, false, Verbosity::Normal);
    let coloured = terminal(&troubled(), 100, true, Verbosity::Normal);
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn junit_has_a_suite_for_each_scenario_and_a_case_for_each_expectation() {
    let mut xml = Vec::new();
    let mut junit = Junit::new(&mut xml);
    tell(&mut junit, &Run::standard());
    tell(&mut junit, &troubled());
    junit.finish().expect("written");
    drop(junit);
    insta::assert_snapshot!(String::from_utf8(xml).expect("text"));
}

#[test]
fn json_lines_have_a_version_a_type_and_a_scenario() {
    let mut text = Vec::new();
    let mut lines = JsonLines::new(&mut text);
    tell(&mut lines, &Run::standard());
    lines.finish().expect("written");
    drop(lines);
    let text = String::from_utf8(text).expect("text");
    let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(documents.len(), Run::standard().timeline().observations.len() + 1 + 3 + 1);
    for document in &documents {
        assert_eq!((&document["v"], &document["scenario"]), (&Value::from(1), &Value::from("a-scenario")));
        let kind = document["type"].as_str().expect("a type");
        assert!(document[kind].is_object(), "{document}");
    }
    let last = documents.last().expect("a verdict");
    assert_eq!((&last["type"], &last["verdict"]["state"]), (&Value::from("verdict"), &Value::from("held")));
    // What is written can be read again as what it was.
    let read: Verdict = serde_json::from_value(last["verdict"].clone()).expect("a verdict");
    assert_eq!(read, Run::standard().judge(expected()));
}

#[test]
fn a_writer_that_fails_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let run = Run::standard();
    let mut lines = JsonLines::new(Full);
    assert!(lines.begin(&run.expecting(expected())).is_err());
    let mut junit = Junit::new(Full);
    junit.verdict(&run.judge(expected())).expect("nothing is written yet");
    assert!(junit.finish().is_err());
}

#[test]
fn the_examples_of_the_documentation_are_what_is_written() {
    let text = include_str!("../../../../docs/output.md");
    let mut seen = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("{\"v\"")) {
        let document: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(document["v"], plimsoll::report::VERSION);
        let kind = document["type"].as_str().expect("a type").to_owned();
        let inner = document[&kind].clone();
        // Read as what it is and written again it says the same: no field is missing, and none is made up.
        let again = match kind.as_str() {
            "observation" => serde_json::to_value(
                serde_json::from_value::<plimsoll::observe::Observation>(inner.clone()).expect(line),
            ),
            "finding" => serde_json::to_value(
                serde_json::from_value::<plimsoll::verdict::Finding>(inner.clone()).expect(line),
            ),
            "verdict" => serde_json::to_value(serde_json::from_value::<Verdict>(inner.clone()).expect(line)),
            other => panic!("{other}"),
        };
        assert_eq!(again.expect("JSON"), inner);
        seen.push(kind);
    }
    seen.dedup();
    assert_eq!(seen, ["observation", "finding", "verdict"]);
}

#[test]
fn a_claim_is_told_with_what_was_observed_and_only_where_it_was() {
    let mut run = Run::standard();
    let told = |run: &Run, expect: Expect| {
        let plan = run.expecting([expect]);
        plimsoll::report::myths::story(&plan, &judge(&plan, &run.timeline()))
            .map(|story| plimsoll::report::myths::page(&[story], &["Kubernetes 1.36.3".to_owned()].into()))
    };
    let holds = || Expect::Survive(names(["idler"]));
    assert_eq!(told(&run, holds()), None);
    run.plan.description = Some("The one over its request goes.".into());
    run.plan.claim = Some(ClaimPlan { text: "BestEffort goes first.".into(), so: Standing::No });
    let page = told(&run, holds()).expect("a story");
    assert!(page.starts_with("# What people say of eviction, and what is so\n"), "{page}");
    assert!(page.contains("observed on Kubernetes 1.36.3."), "{page}");
    assert!(page.contains("**Claimed:** BestEffort goes first."), "{page}");
    assert!(page.contains("**That is false.** The one over its request goes."), "{page}");
    assert!(page.contains("\nObserved:\n\n- idler ran for"), "{page}");
    // What was seen of something simulated says so.
    let plan = run.expecting([holds()]);
    let simulated = Verdict { simulated: vec!["GPUs of worker".into()], ..judge(&plan, &run.timeline()) };
    let story = plimsoll::report::myths::story(&plan, &simulated).expect("a story");
    let page = plimsoll::report::myths::page(&[story], &BTreeSet::new());
    assert!(page.contains("\nObserved, SIMULATED GPUs of worker:\n\n- idler"), "{page}");
    // What did not hold shows nothing, whatever the scenario says of the claim.
    let page = told(&run, Expect::Survive(names(["greedy"]))).expect("a story");
    assert!(page.contains("**That is not shown: the run is violated.**"), "{page}");
}

#[test]
fn every_story_has_its_section() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/stories");
    let page = include_str!("../../../../docs/myths.md");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the stories") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            assert!(page.contains(&format!("\n## {name}\n")), "docs/myths.md has no section {name}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// The pods of the builder's scenario that an alert finds.
fn alerts(page: &str) -> Vec<String> {
    plimsoll_tests::alert::evicted_and_failed(page, "a-scenario").expect("a page of metrics")
}

fn metrics(run: &Run) -> String {
    let mut text = Vec::new();
    let mut reporter = Metrics::new(&mut text);
    tell(&mut reporter, run);
    reporter.finish().expect("written");
    drop(reporter);
    String::from_utf8(text).expect("text")
}

#[test]
fn an_alert_rule_fires_on_the_metrics_of_who_was_evicted() {
    let mut run = Run::standard();
    let page = metrics(&run);
    assert_eq!(alerts(&page), ["greedy"], "{page}");
    assert!(page.contains("# TYPE kube_pod_status_phase gauge\n"), "{page}");
    assert!(page.contains("plimsoll_pods{scenario=\"a-scenario\",end=\"EvictedByKubelet\"} 1\n"), "{page}");
    assert!(page.contains("plimsoll_findings{scenario=\"a-scenario\",state=\"held\"} 3\n"), "{page}");
    // What is gone nobody tells of any more.
    run.add(79.0, deleted("greedy"));
    assert_eq!(alerts(&metrics(&run)), Vec::<String>::new());
    run.without_eviction();
    assert_eq!(alerts(&metrics(&run)), Vec::<String>::new());
}
