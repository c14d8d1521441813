//! Tier: real node. What goes wrong around a run: each ends with the right code and a sentence, and leaves nothing.
//!
//! One after another, since each looks at the whole machine.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll_tests::machine::{self, is_as_before};
use plimsoll_tests::{command, needs};
use rustix::process::Signal;

const SCENARIO: &str = "tests/scenarios/faults/steady.yaml";
const TAKEN_AWAY: &str = "tests/scenarios/faults/taken-away.yaml";
const API_SERVER_AWAY: &str = "tests/scenarios/faults/api-server-away.yaml";
/// The longest that a run under a fault may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(120);
/// How many times a run is killed, at moments spread over its life.
const KILLS: u32 = 20;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Err(missing) = needs::real_node() {
        if needs::must_run() {
            eprintln!("error: the faults can not be tried: {missing}");
            return ExitCode::FAILURE;
        }
        eprintln!("the faults are left out: {missing}");
        return ExitCode::SUCCESS;
    }
    let trials = vec![
        Trial::test("a_run_changes_nothing_of_the_machine", a_run_changes_nothing_of_the_machine),
        Trial::test("two_runs_at_once_do_not_meet", two_runs_at_once_do_not_meet),
        Trial::test("interrupted_it_cleans_up_by_itself", interrupted_it_cleans_up_by_itself),
        Trial::test(
            "killed_at_any_moment_the_next_clean_leaves_nothing",
            killed_at_any_moment_the_next_clean_leaves_nothing,
        ),
        Trial::test(
            "a_damaged_bundle_is_named_and_nothing_starts",
            a_damaged_bundle_is_named_and_nothing_starts,
        ),
        Trial::test("a_full_disk_is_named_and_nothing_stays", a_full_disk_is_named_and_nothing_stays),
        Trial::test("nodes_that_are_away_end_with_the_run", nodes_that_are_away_end_with_the_run),
        Trial::test("what_nobody_saw_is_not_held", what_nobody_saw_is_not_held),
        Trial::test("a_killed_kubelet_is_no_pass", || a_killed_component_is_no_pass("kubelet")),
        Trial::test("a_killed_api_server_is_no_pass", || a_killed_component_is_no_pass("kube-apiserver")),
        Trial::test("a_killed_containerd_is_no_pass", || a_killed_component_is_no_pass("containerd")),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run_arguments(scenario: &str) -> [&str; 4] {
    ["run", "--on", "host", scenario]
}

fn a_run_changes_nothing_of_the_machine() -> Result<(), Failed> {
    let before = machine::state();
    command::run(&run_arguments(SCENARIO), ENDED_WITHIN)?.expect(0)?;
    Ok(is_as_before(&before)?)
}

fn two_runs_at_once_do_not_meet() -> Result<(), Failed> {
    let before = machine::state();
    let runs: Vec<_> = (0..2)
        .map(|_| command::start(command::plimsoll(&run_arguments(SCENARIO))?))
        .collect::<Result<_, String>>()?;
    for run in runs {
        run.ended(ENDED_WITHIN)?.expect(0)?;
    }
    Ok(is_as_before(&before)?)
}

fn interrupted_it_cleans_up_by_itself() -> Result<(), Failed> {
    let before = machine::state();
    for after in [300, 1500, 4000, 7000] {
        let run = command::start(command::plimsoll(&run_arguments(SCENARIO))?)?;
        std::thread::sleep(Duration::from_millis(after));
        run.signal(Signal::INT)?;
        run.ended(Duration::from_secs(30))?.expect(130)?;
        is_as_before(&before)?;
    }
    Ok(())
}

fn killed_at_any_moment_the_next_clean_leaves_nothing() -> Result<(), Failed> {
    let before = machine::state();
    for kill in 0..KILLS {
        let run = command::start(command::plimsoll(&run_arguments(SCENARIO))?)?;
        // Not a multiple of anything that the boot does, so that the moments spread over all of it.
        std::thread::sleep(Duration::from_millis(u64::from(kill) * 377 + 29));
        run.signal(Signal::KILL)?;
        let _ = run.ended(Duration::from_secs(30));
        command::run(&["clean"], Duration::from_secs(60))?.expect(0)?;
        is_as_before(&before)
            .map_err(|failed| format!("killed after {} ms: {failed}", u64::from(kill) * 377 + 29))?;
    }
    Ok(())
}

fn a_damaged_bundle_is_named_and_nothing_starts() -> Result<(), Failed> {
    let before = machine::state();
    let listing = command::run(&["bundle"], Duration::from_secs(30))?.expect(0)?;
    let bundle = Path::new(listing.output.lines().next().ok_or("no bundle")?).to_owned();
    let folder = tempfile::tempdir()?;
    let copy =
        std::process::Command::new("cp").arg("-a").arg(bundle).arg(folder.path().join("bundle")).status()?;
    if !copy.success() {
        return Err("the bundle could not be copied".into());
    }
    let damaged = folder.path().join("bundle");
    std::fs::OpenOptions::new().write(true).open(damaged.join("bin/containerd"))?.set_len(1000)?;
    let named = damaged.display().to_string();
    let ran =
        command::run(&["run", "--on", "host", "--bundle", &named, SCENARIO], ENDED_WITHIN)?.expect(3)?;
    if !ran.errors.contains("the node bundle is damaged") || !ran.errors.contains("bin/containerd") {
        return Err(format!("the damage is not named:\n{}", ran.errors).into());
    }
    Ok(is_as_before(&before)?)
}

/// A file system of 8 MiB holds a run's folder and not its disk images.
fn a_full_disk_is_named_and_nothing_stays() -> Result<(), Failed> {
    let before = machine::state();
    let folder = tempfile::tempdir()?;
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
        .arg(folder.path())
        .status()?;
    if !mounted.success() {
        return Err("a small file system could not be mounted".into());
    }
    let mut command = command::plimsoll(&run_arguments(SCENARIO))?;
    command.env("PLIMSOLL_STATE", folder.path());
    let ran = command::start(command).and_then(|run| run.ended(ENDED_WITHIN));
    std::process::Command::new("umount").arg(folder.path()).status()?;
    let ran = ran?.expect(3)?;
    if !ran.errors.contains("No space left on device") && !ran.errors.contains("no space left on device") {
        return Err(format!("the full disk is not named:\n{}", ran.errors).into());
    }
    Ok(is_as_before(&before)?)
}

/// Frozen, cut off or silent, a node ends with the run: when somebody stops it, and when it is killed and cleaned up.
fn nodes_that_are_away_end_with_the_run() -> Result<(), Failed> {
    let before = machine::state();
    let folder = tempfile::tempdir()?;
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let told = folder.path().join(format!("{}.jsonl", signal.as_raw()));
        let mut arguments = run_arguments(TAKEN_AWAY).map(str::to_owned).to_vec();
        arguments.extend(["--json".to_owned(), told.display().to_string()]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = command::start(command::plimsoll(&arguments)?)?;
        let deadline = Instant::now() + ENDED_WITHIN;
        // Its last step watches, with every node away.
        let last = "\"stepBegan\":{\"step\":5}";
        while !std::fs::read_to_string(&told).unwrap_or_default().contains(last) {
            if Instant::now() > deadline {
                return Err("the nodes were never taken away".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        run.signal(signal)?;
        let ended = run.ended(Duration::from_secs(30))?;
        match code {
            Some(code) => drop(ended.expect(code)?),
            None => drop(command::run(&["clean"], Duration::from_secs(60))?.expect(0)?),
        }
        is_as_before(&before)?;
    }
    Ok(())
}

/// While the API server is away nobody sees who is evicted: whatever rests on that is unknown.
fn what_nobody_saw_is_not_held() -> Result<(), Failed> {
    let before = machine::state();
    let arguments = ["run", "--on", "host", "--json", "-", API_SERVER_AWAY];
    let ran = command::run(&arguments, ENDED_WITHIN)?.expect(4)?;
    let findings = ran.findings();
    let seen: Vec<_> = findings.iter().filter(|(_, state)| state != "unknown").collect();
    if findings.is_empty() || !seen.is_empty() {
        return Err(format!("not unknown: {seen:?} of {findings:?}").into());
    }
    Ok(is_as_before(&before)?)
}

fn a_killed_component_is_no_pass(component: &str) -> Result<(), Failed> {
    let before = machine::state();
    let known = pids_of(component);
    let run = command::start(command::plimsoll(&run_arguments(SCENARIO))?)?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let process = loop {
        match pids_of(component).into_iter().find(|process| !known.contains(process)) {
            Some(process) => break process,
            None if Instant::now() > deadline => return Err(format!("{component} never ran").into()),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    // Late enough that the run is at its steps.
    std::thread::sleep(Duration::from_secs(6));
    let process = rustix::process::Pid::from_raw(process).ok_or("no process")?;
    rustix::process::kill_process(process, Signal::KILL)?;
    let ran = run.ended(ENDED_WITHIN)?.expect(4)?;
    let said = format!("{}{}", ran.output, ran.errors);
    if !said.contains(component) || !said.contains("ended by itself") {
        return Err(format!("what happened is not said:\n{said}").into());
    }
    Ok(is_as_before(&before)?)
}

fn pids_of(name: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    numbers
        .filter(|process| {
            let command_line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let program = command_line.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(program).rsplit('/').next() == Some(name)
        })
        .collect()
}
