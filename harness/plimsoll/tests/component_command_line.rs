//! Tier: component. The command as a process, without a cluster: what it answers and with which exit code.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn plimsoll(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    command.stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    said(&plimsoll(arguments).output().expect("the command runs"))
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    for arguments in [&["schema"][..], &["list", "scenarios"], &["plan", "scenarios/quickstart.yaml"]] {
        let mut child = plimsoll(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        drop(child.stdout.take());
        let (code, _, errors) = said(&child.wait_with_output().expect("its end"));
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn scenarios_are_listed_and_chosen() {
    let (code, all, _) = run(&["list", "scenarios", "--output", "name"]);
    assert_eq!(code, Some(0));
    let all: Vec<&str> = all.lines().collect();
    assert!(all.contains(&"scenarios/quickstart.yaml") && all.len() >= 13, "{all:?}");
    let mut parts = Vec::new();
    for part in ["1/2", "2/2"] {
        let (code, text, _) = run(&["list", "scenarios", "--output", "name", "--shard", part]);
        assert_eq!(code, Some(0));
        parts.extend(text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
    parts.sort();
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(parts, sorted);
    let (code, text, _) =
        run(&["list", "scenarios", "--output", "json", "-l", "signal=allocatableMemory.available"]);
    let listed: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(code, Some(0));
    let listed = listed.as_array().expect("an array");
    assert!(!listed.is_empty() && listed.len() < all.len());
    assert!(listed.iter().all(|one| one["labels"]["signal"] == "allocatableMemory.available"));
}

#[test]
fn a_selector_that_leaves_nothing_is_bad_input_and_no_pass() {
    for arguments in
        [["list", "scenarios", "-l", "signal=memroy"], ["run", "scenarios", "-l", "signal=memroy"]]
    {
        let (code, _, errors) = run(&arguments);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("labels that `signal=memroy` selects"), "{errors}");
    }
}

#[test]
fn bad_arguments_are_bad_input() {
    for arguments in [
        &["list", "scenarios", "-l", "a is b"][..],
        &["run", "scenarios", "--jobs", "0"],
        &["run", "scenarios", "--jobs", "many"],
        &["run", "scenarios", "--shard", "3/2"],
        &["list", "no-such-folder"],
        &["schema", "--explain", "spec.stepps"],
    ] {
        let (code, _, errors) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {errors}");
        assert!(!errors.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_has_examples() {
    for command in [
        "run",
        "list",
        "predict",
        "truth",
        "myths",
        "plan",
        "lint",
        "explain",
        "sweep",
        "accept-node",
        "bundle",
    ] {
        let (code, help, _) = run(&[command, "--help"]);
        assert_eq!(code, Some(0), "{command}");
        assert!(help.contains(&format!("  plimsoll {command}")), "{command}:\n{help}");
    }
}

#[test]
fn what_this_machine_can_not_hold_is_no_error_of_a_scenario_until_it_is_to_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("huge.yaml");
    let text = "apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata: {name: huge}\nspec:\n  \
                cluster: {nodes: [{name: a, memory: 900Ti}]}\n  workloads: [{name: one}]\n  \
                steps: [{start: one}, {observe: 1s}]\n  expect: {survive: one}\n";
    std::fs::write(&file, text).expect("a file");
    let file = file.display().to_string();
    let (code, _, errors) = run(&["lint", &file]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(errors.contains("note: ") && errors.contains("it can not run on this machine"), "{errors}");
    let (code, _, errors) = run(&["run", &file]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("E0021"), "{errors}");
}
