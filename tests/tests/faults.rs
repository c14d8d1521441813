//! Tier: real node. What goes wrong around a run: each ends with the right code and a sentence, and leaves nothing.
//!
//! Most run one after another, since each looks at the whole machine.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll_tests::command::Ran;
use plimsoll_tests::kills::{self, Moments, Remover};
use plimsoll_tests::machine::{self, is_as_before};
use plimsoll_tests::{accept_node, command, needs};
use rustix::process::Signal;
use serde_json::Value;

const SCENARIO: &str = "tests/scenarios/faults/steady.yaml";
const BUSY: &str = "tests/scenarios/faults/busy-disk.yaml";
const TAKEN_AWAY: &str = "tests/scenarios/faults/taken-away.yaml";
const API_SERVER_AWAY: &str = "tests/scenarios/faults/api-server-away.yaml";
const WRONG: &str = "tests/scenarios/faults/wrong.yaml";
const UNSEEN: &str = "tests/scenarios/faults/unseen.yaml";
const KILLED_WHILE_IT_EVICTS: &str = "tests/scenarios/faults/killed-while-it-evicts.yaml";
const RESTARTED_UNDER_PRESSURE: &str = "tests/scenarios/faults/api-server-restarted-under-pressure.yaml";
/// The longest that a run under a fault may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(120);
/// The longest that several runs, or a long one, may take to end.
const SEVERAL_WITHIN: Duration = Duration::from_secs(400);
/// How many times a run is killed, at moments spread over its life.
const KILLS: u32 = 20;
/// How many times one is interrupted.
const INTERRUPTIONS: u32 = 5;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if let Err(missing) = needs::real_node() {
        if needs::must_run() {
            eprintln!("error: the faults can not be tried: {missing}");
            return ExitCode::FAILURE;
        }
        eprintln!("the faults are left out: {missing}");
        return ExitCode::SUCCESS;
    }
    // Each of these looks at the whole machine before and after.
    let alone = vec![
        Trial::test("a_run_changes_nothing_of_the_machine", a_run_changes_nothing_of_the_machine),
        Trial::test("two_runs_at_once_do_not_meet", two_runs_at_once_do_not_meet),
        Trial::test("interrupted_it_cleans_up_by_itself", interrupted_it_cleans_up_by_itself),
        Trial::test("killed_at_any_moment_nothing_is_left", killed_at_any_moment_nothing_is_left),
        Trial::test(
            "a_damaged_bundle_is_named_and_nothing_starts",
            a_damaged_bundle_is_named_and_nothing_starts,
        ),
        Trial::test(
            "a_byte_that_is_wrong_is_found_when_the_boot_fails",
            a_byte_that_is_wrong_is_found_when_the_boot_fails,
        ),
        Trial::test("a_disk_that_fills_up_under_a_run_is_named", a_disk_that_fills_up_under_a_run_is_named),
        Trial::test("evidence_on_a_full_disk_is_no_silence", evidence_on_a_full_disk_is_no_silence),
        Trial::test(
            "too_few_inotify_instances_are_an_error_with_what_to_do",
            too_few_inotify_instances_are_an_error_with_what_to_do,
        ),
        Trial::test("without_a_place_it_says_what_to_install", without_a_place_it_says_what_to_install),
        Trial::test("a_terminal_that_is_closed_stops_the_run", a_terminal_that_is_closed_stops_the_run),
        Trial::test("a_full_disk_is_named_and_nothing_stays", a_full_disk_is_named_and_nothing_stays),
        Trial::test("nodes_that_are_away_end_with_the_run", nodes_that_are_away_end_with_the_run),
    ];
    arguments.test_threads = Some(1);
    let of_one = libtest_mimic::run(&arguments, alone);
    // The first takes as long as all others, and waits most of the time. Around these the machine is looked at once.
    let before = machine::state();
    let beside = vec![
        Trial::test("a_booted_node_is_put_under_pressure", || {
            accept_node::a_booted_node_is_put_under_pressure().map_err(Failed::from)
        }),
        Trial::test("an_accepted_node_is_told_to_its_cluster", || {
            accept_node::an_accepted_node_is_told_to_its_cluster().map_err(Failed::from)
        }),
        Trial::test("without_a_card_a_run_on_real_ones_says_what_to_do", || {
            accept_node::without_a_card_a_run_on_real_ones_says_what_to_do().map_err(Failed::from)
        }),
        Trial::test("what_nobody_saw_is_not_held", what_nobody_saw_is_not_held),
        Trial::test("a_node_killed_while_it_evicts_is_no_pass", a_node_killed_while_it_evicts_is_no_pass),
        Trial::test(
            "what_the_node_itself_showed_needs_no_api_server",
            what_the_node_itself_showed_needs_no_api_server,
        ),
        Trial::test("of_several_runs_each_is_told", of_several_runs_each_is_told),
        Trial::test("after_the_first_that_fails_no_other_starts", after_the_first_that_fails_no_other_starts),
        Trial::test("a_killed_kubelet_is_no_pass", || a_killed_component_is_no_pass("kubelet")),
        Trial::test("a_killed_api_server_is_no_pass", || a_killed_component_is_no_pass("kube-apiserver")),
        Trial::test("a_killed_containerd_is_no_pass", || a_killed_component_is_no_pass("containerd")),
    ];
    arguments.test_threads = Some(2);
    let of_two = libtest_mimic::run(&arguments, beside);
    // Whichever of them were chosen.
    let arguments = Arguments { test_threads: Some(1), filter: None, skip: Vec::new(), ..arguments };
    let after = Trial::test("after_them_the_machine_is_as_before", move || Ok(is_as_before(&before)?));
    let of_the_machine = libtest_mimic::run(&arguments, vec![after]);
    if [&of_one, &of_two, &of_the_machine].iter().any(|part| part.has_failed()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
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
    let arguments = run_arguments(SCENARIO);
    let mut moments = Moments::of(&arguments)?;
    let (mut stopped, mut took) = (0, Vec::new());
    for stretch in 0..INTERRUPTIONS {
        let interrupted = kills::stop(&arguments, &mut moments, stretch, INTERRUPTIONS)?;
        if interrupted.ran.code == Some(130) {
            stopped += 1;
            expect_said(&interrupted.ran, &["evidence: "])?;
        }
        took.push(interrupted.took);
        is_as_before(&before)?;
    }
    kills::are_soon(took)?;
    // Only in the last stretch it may have been over.
    if stopped + 1 < INTERRUPTIONS {
        return Err(format!("only {stopped} of {INTERRUPTIONS} runs were stopped").into());
    }
    Ok(())
}

/// At moments over all of a run's life, in turns removed by `clean` and by the start of the next run.
fn killed_at_any_moment_nothing_is_left() -> Result<(), Failed> {
    let before = machine::state();
    let arguments = run_arguments(SCENARIO);
    let mut moments = Moments::of(&arguments)?;
    for stretch in 0..KILLS {
        let killed = kills::kill(&arguments, &mut moments, stretch, KILLS)?;
        let by = if stretch % 2 == 0 { Remover::Clean } else { Remover::NextRun };
        let removed = killed.is_removed_by(by, &arguments).and_then(|()| is_as_before(&before));
        removed.map_err(|error| {
            format!("killed after {} ms, removed by {by:?}: {error}", killed.after.as_millis())
        })?;
    }
    Ok(())
}

fn a_damaged_bundle_is_named_and_nothing_starts() -> Result<(), Failed> {
    let before = machine::state();
    let folder = tempfile::tempdir()?;
    let damaged = copied_bundle(folder.path())?;
    std::fs::OpenOptions::new().write(true).open(damaged.join("bin/containerd"))?.set_len(1000)?;
    let named = damaged.display().to_string();
    let ran =
        command::run(&["run", "--on", "host", "--bundle", &named, SCENARIO], ENDED_WITHIN)?.expect(3)?;
    expect_said(&ran, &["the node bundle is damaged", "bin/containerd"])?;
    Ok(is_as_before(&before)?)
}

/// With its length unchanged, damage shows as a component that does not start. It is named with the last that it said, the file is
/// named, and what there is to look at stays.
fn a_byte_that_is_wrong_is_found_when_the_boot_fails() -> Result<(), Failed> {
    let before = machine::state();
    let folder = tempfile::tempdir()?;
    let damaged = copied_bundle(folder.path())?;
    // The first byte of a program's magic number: the kernel starts it no more.
    std::fs::OpenOptions::new().write(true).open(damaged.join("bin/etcd"))?.write_all_at(b"X", 0)?;
    let (named, evidence) = (damaged.display().to_string(), folder.path().join("evidence"));
    let kept = evidence.display().to_string();
    let arguments = ["run", "--on", "host", "--bundle", &named, "--evidence", &kept, SCENARIO];
    let ran = command::run(&arguments, ENDED_WITHIN)?.expect(3)?;
    expect_said(&ran, &["etcd", "the node bundle is damaged", "bin/etcd has checksum", "evidence: "])?;
    expect_kept(&evidence, &["plan.json", "logs/control-plane/init.log"])?;
    Ok(is_as_before(&before)?)
}

fn copied_bundle(folder: &Path) -> Result<PathBuf, Failed> {
    let listing = command::run(&["bundle"], Duration::from_secs(30))?.expect(0)?;
    let bundle = listing.output.lines().next().ok_or("no bundle")?.to_owned();
    let copy = folder.join("bundle");
    if Command::new("cp").arg("-a").arg(bundle).arg(&copy).status()?.success() {
        return Ok(copy);
    }
    Err("the bundle could not be copied".into())
}

fn expect_said(ran: &Ran, words: &[&str]) -> Result<(), Failed> {
    let said = format!("{}{}", ran.output, ran.errors);
    match words.iter().find(|words| !said.contains(**words)) {
        Some(missing) => Err(format!("\"{missing}\" is not said:\n{said}").into()),
        None => Ok(()),
    }
}

/// Whether the one run that left evidence in this folder left these files, with something in them.
fn expect_kept(evidence: &Path, files: &[&str]) -> Result<(), Failed> {
    let runs: Vec<_> = std::fs::read_dir(evidence)?.collect::<Result<_, _>>()?;
    let [run] = runs.as_slice() else {
        return Err(format!("{} runs left evidence and not one", runs.len()).into());
    };
    for file in files {
        let path = run.path().join(file);
        let length = std::fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.len();
        // An init that has nothing to complain about has an empty log.
        if length == 0 && !file.ends_with("init.log") {
            return Err(format!("{} is empty", path.display()).into());
        }
    }
    Ok(())
}

/// A small file system in memory, for as long as this lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
        if mount.status()?.success() {
            return Ok(Self(folder));
        }
        Err("a small file system could not be mounted".into())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more can be written, and gives so many bytes back.
    fn fill(&self, left: u64) -> Result<(), Failed> {
        let mut file = std::fs::File::create(self.path().join("everything-else"))?;
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        let length = file.metadata()?.len();
        Ok(file.set_len(length.saturating_sub(left))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// The command with its runs on this disk.
fn on_disk(disk: &SmallDisk, arguments: &[&str]) -> Result<Command, Failed> {
    let mut command = command::plimsoll(arguments)?;
    command.env("PLIMSOLL_STATE", disk.path());
    Ok(command)
}

/// Full from the beginning, and with room for a run's folder and not for its disk images. The node's filesystem would fit an empty one.
fn a_full_disk_is_named_and_nothing_stays() -> Result<(), Failed> {
    let before = machine::state();
    for left in [0, 8 << 20] {
        let disk = SmallDisk::mount("280m")?;
        disk.fill(left)?;
        let evidence = tempfile::tempdir()?;
        let kept = evidence.path().display().to_string();
        let arguments = ["run", "--on", "host", "--evidence", &kept, SCENARIO];
        let ran = command::start(on_disk(&disk, &arguments)?)?.ended(ENDED_WITHIN)?.expect(3)?;
        if !ran.errors.to_lowercase().contains("no space left on device") {
            return Err(format!("the full disk is not named:\n{}", ran.errors).into());
        }
        let remains: Vec<_> = std::fs::read_dir(disk.path().join("runs"))?.collect::<Result<_, _>>()?;
        if !remains.is_empty() {
            return Err(format!("left in the folder of runs: {remains:?}").into());
        }
    }
    Ok(is_as_before(&before)?)
}

/// The nodes write on, and what they write is lost: a run that ends in a pass has lost nothing that it rests on, and everything else
/// says what happened.
fn a_disk_that_fills_up_under_a_run_is_named() -> Result<(), Failed> {
    let before = machine::state();
    let disk = SmallDisk::mount("600m")?;
    let folder = tempfile::tempdir()?;
    let (told, evidence) = (folder.path().join("told.jsonl"), folder.path().join("evidence"));
    let (file, kept) = (told.display().to_string(), evidence.display().to_string());
    let arguments = ["run", "--on", "host", "--json", &file, "--evidence", &kept, BUSY];
    let mut run = command::start(on_disk(&disk, &arguments)?)?;
    run.writes("\"stepBegan\":{\"step\":1}", &told, ENDED_WITHIN)?;
    disk.fill(0)?;
    let ran = run.ended(ENDED_WITHIN)?.expect(4)?;
    expect_said(&ran, &["the disk of the run's folder", "is full"])?;
    expect_kept(&evidence, &["plan.json", "timeline.jsonl"])?;
    drop(disk);
    Ok(is_as_before(&before)?)
}

/// What was asked for and could not be written is told in the exit code; a run that held says so all the same.
fn evidence_on_a_full_disk_is_no_silence() -> Result<(), Failed> {
    let before = machine::state();
    let disk = SmallDisk::mount("1m")?;
    disk.fill(0)?;
    let kept = disk.path().join("evidence").display().to_string();
    let arguments = ["run", "--on", "host", "--keep-evidence", "--evidence", &kept, SCENARIO];
    let ran = command::run(&arguments, ENDED_WITHIN)?.expect(3)?;
    expect_said(
        &ran,
        &["steady: held", "the evidence could not be kept whole in", "No space left on device"],
    )?;
    drop(disk);
    Ok(is_as_before(&before)?)
}

/// In a user namespace of its own the limit is this test's to set: the machine's stays, and so does everybody else's share.
fn too_few_inotify_instances_are_an_error_with_what_to_do() -> Result<(), Failed> {
    let before = machine::state();
    let program = command::program()?.display().to_string();
    let script = "echo 10 >/proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    let mut limited = Command::new("unshare");
    limited.args(["--user", "--map-root-user", "sh", "-c", script, &program]).args(run_arguments(SCENARIO));
    limited.current_dir(command::repository()).env("NO_COLOR", "1");
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = command::start(limited)?.ended(ENDED_WITHIN)?.expect(3)?;
    expect_said(
        &ran,
        &["inotify instances are left on this machine", "help: sysctl fs.inotify.max_user_instances="],
    )?;
    Ok(is_as_before(&before)?)
}

/// Without an engine and without root there is no place, and both say what to do about it.
fn without_a_place_it_says_what_to_install() -> Result<(), Failed> {
    let nowhere = ("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let mut engine = command::plimsoll(&["run", "--on", "engine", SCENARIO])?;
    engine.env(nowhere.0, nowhere.1);
    let ran = command::start(engine)?.ended(ENDED_WITHIN)?.expect(3)?;
    expect_said(&ran, &["no container engine answers", "apt-get install docker.io"])?;
    // Of a user namespace without a mapping, everybody is nobody.
    let program = command::program()?;
    let mut nobody = Command::new("unshare");
    nobody.arg("--user").arg(program).args(["run", SCENARIO]).env(nowhere.0, nowhere.1).env("NO_COLOR", "1");
    nobody.current_dir(command::repository());
    nobody.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = command::start(nobody)?.ended(ENDED_WITHIN)?.expect(3)?;
    expect_said(
        &ran,
        &["no place to run a node", "apt-get install docker.io", "it needs root", "run it with sudo"],
    )
}

/// A terminal that is closed stops a run as one does at which somebody does.
fn a_terminal_that_is_closed_stops_the_run() -> Result<(), Failed> {
    let before = machine::state();
    let mut run = command::start(command::plimsoll(&run_arguments(SCENARIO))?)?;
    machine::begun(&mut run)?;
    run.signal(Signal::HUP)?;
    run.ended(ENDED_WITHIN)?.expect(130)?;
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
        let mut run = command::start(command::plimsoll(&arguments)?)?;
        // Its last step watches, with every node away.
        run.writes("\"stepBegan\":{\"step\":5}", &told, ENDED_WITHIN)?;
        run.signal(signal)?;
        let ended = run.ended(Duration::from_secs(30))?;
        match code {
            Some(code) => drop(ended.expect(code)?),
            None if ended.code.is_none() => {
                drop(command::run(&["clean"], Duration::from_secs(60))?.expect(0)?);
            }
            None => return Err(format!("no signal ended it, but {:?}", ended.code).into()),
        }
        is_as_before(&before)?;
    }
    Ok(())
}

/// While the API server is away nobody sees who is evicted: whatever rests on that is unknown.
fn what_nobody_saw_is_not_held() -> Result<(), Failed> {
    let arguments = ["run", "--on", "host", "--json", "-", API_SERVER_AWAY];
    let ran = command::run(&arguments, SEVERAL_WITHIN)?.expect(4)?;
    let findings = ran.findings();
    let seen: Vec<_> = findings.iter().filter(|(_, state)| state != "unknown").collect();
    if findings.is_empty() || !seen.is_empty() {
        return Err(format!("not unknown: {seen:?} of {findings:?}").into());
    }
    // What was seen after the return is told all the same: who had to go, and that its successor runs on the other node.
    let verdict = ran.output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let verdict = verdict.into_iter().find(|document| document["type"] == "verdict").unwrap_or_default();
    let pods = verdict["verdict"]["pods"].as_array().cloned().unwrap_or_default();
    let told = |node: &str, words: &str| {
        pods.iter().any(|pod| {
            pod["workload"] == "web"
                && pod["node"] == node
                && pod["words"].as_str().is_some_and(|said| said.starts_with(words))
        })
    };
    if !told("first", "deleted by the taint manager") || !told("second", "still running") {
        return Err(format!("what was seen is not told: {pods:?}").into());
    }
    Ok(())
}

/// The pod was decided on and had not ended: what came of it is unknown.
fn a_node_killed_while_it_evicts_is_no_pass() -> Result<(), Failed> {
    let arguments = ["run", "--on", "host", "--json", "-", KILLED_WHILE_IT_EVICTS];
    let ran = command::run(&arguments, SEVERAL_WITHIN)?.expect(4)?;
    let findings = ran.findings();
    let seen: Vec<_> = findings.iter().filter(|(_, state)| state != "unknown").collect();
    if findings.is_empty() || !seen.is_empty() {
        return Err(format!("not unknown: {seen:?} of {findings:?}").into());
    }
    Ok(())
}

fn what_the_node_itself_showed_needs_no_api_server() -> Result<(), Failed> {
    command::run(&run_arguments(RESTARTED_UNDER_PRESSURE), SEVERAL_WITHIN)?.expect(0)?;
    Ok(())
}

/// Side by side: what is violated is run once, what is unknown again, and all of it is in one JUnit report.
fn of_several_runs_each_is_told() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (junit, lines) = (folder.path().join("junit.xml"), folder.path().join("lines.json"));
    let (report, told) = (junit.display().to_string(), lines.display().to_string());
    let arguments =
        ["run", "--on", "host", "--jobs", "3", "--retry-unknown", "1", "--junit", &report, "--json", &told];
    let ran = command::run(&[&arguments[..], &[SCENARIO, WRONG, UNSEEN]].concat(), SEVERAL_WITHIN)?;
    // The worst of them is the violation.
    ran.expect(1)?;
    let lines = std::fs::read_to_string(&lines)?;
    let documents = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut verdicts: Vec<(String, String, u64)> = documents
        .filter(|document| document["type"] == "verdict")
        .map(|document| {
            let verdict = &document["verdict"];
            let text = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
            (text("scenario"), text("state"), verdict["attempts"].as_u64().unwrap_or_default())
        })
        .collect();
    verdicts.sort();
    verdicts.dedup_by_key(|(scenario, _, attempts)| (scenario.clone(), *attempts));
    let of = |name: &str| verdicts.iter().filter(|(scenario, ..)| scenario == name).collect::<Vec<_>>();
    let last = |name: &str| of(name).last().map(|(_, state, attempts)| (state.clone(), *attempts));
    for (name, state, attempts) in [("steady", "held", 1), ("wrong", "violated", 1), ("unseen", "unknown", 2)]
    {
        if last(name) != Some((state.to_owned(), attempts)) {
            return Err(format!("{name} should be {state} after {attempts} runs: {verdicts:?}").into());
        }
    }
    let report = std::fs::read_to_string(&junit)?;
    let suites = report.matches("<testsuite ").count();
    let parts = ["name=\"steady\"", "name=\"wrong\"", "name=\"unseen\"", "<failure", "<error"];
    let missing: Vec<_> = parts.iter().filter(|part| !report.contains(**part)).collect();
    if suites != 3 || !missing.is_empty() {
        return Err(format!("{suites} suites, and without {missing:?}:\n{report}").into());
    }
    Ok(())
}

fn after_the_first_that_fails_no_other_starts() -> Result<(), Failed> {
    let arguments = ["run", "--on", "host", "--jobs", "1", "--fail-fast", WRONG, SCENARIO, UNSEEN];
    let ran = command::run(&arguments, SEVERAL_WITHIN)?.expect(1)?;
    let said = format!("{}{}", ran.output, ran.errors);
    if !said.contains("not run: steady, unseen") && !said.contains("not run: steady and unseen") {
        return Err(format!("who was not run is not said:\n{said}").into());
    }
    Ok(())
}

fn a_killed_component_is_no_pass(component: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let told = folder.path().join("told.jsonl");
    let file = told.display().to_string();
    let arguments = ["run", "--on", "host", "--json", &file, SCENARIO];
    let mut run = command::start(command::plimsoll(&arguments)?)?;
    let begun = machine::begun(&mut run)?;
    // Its second step waits for a pod, and its third watches.
    run.writes("\"stepBegan\":{\"step\":1}", &told, ENDED_WITHIN)?;
    let process = machine::processes_of(&begun.run, component).first().copied();
    let process = process.and_then(rustix::process::Pid::from_raw);
    let process = process.ok_or_else(|| format!("{component} does not run"))?;
    rustix::process::kill_process(process, Signal::KILL)?;
    let ran = run.ended(ENDED_WITHIN)?.expect(4)?;
    let said = format!("{}{}", ran.output, ran.errors);
    if !said.contains(component) || !said.contains("ended by itself") {
        return Err(format!("what happened is not said:\n{said}").into());
    }
    Ok(())
}
