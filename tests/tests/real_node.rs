//! Tier: real node. Every scenario of the catalogue runs on a real kubelet and must hold, its snapshot included; and
//! expectations that are wrong on purpose must be violated. Those labelled `needs: pids-exclusive` run alone. A node is explained
//! while it is under pressure.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll_tests::{command, explain, needs};
use serde_json::Value;

/// The longest that one run may take, waiting for its turn included.
const RUN_WITHIN: Duration = Duration::from_secs(400);
/// How many runs go side by side: most of each is waiting for the kubelet.
const SIDE_BY_SIDE: usize = 9;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    if let Err(missing) = needs::real_node() {
        if needs::must_run() {
            eprintln!("error: the real-node tier can not run: {missing}");
            return ExitCode::FAILURE;
        }
        eprintln!("the real-node tier is left out: {missing}");
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    for file in scenarios(&command::repository().join("scenarios")) {
        trials.push(Trial::test(name(&file), move || holds(&file)));
    }
    for file in scenarios(&command::repository().join("tests/scenarios/violated")) {
        trials.push(Trial::test(format!("violated/{}", name(&file)), move || is_violated(&file)));
    }
    // Found none, the suite would pass without having run anything.
    if trials.is_empty() {
        eprintln!("error: no scenario was found");
        return ExitCode::FAILURE;
    }
    trials.push(Trial::test("explain/who_is_said_to_go_goes", || {
        explain::who_is_said_to_go_goes().map_err(Failed::from)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn scenarios(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(scenarios(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && std::fs::read_to_string(&path)
                .is_ok_and(|text| text.lines().any(|line| line.trim_end() == "kind: Scenario"))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn name(file: &Path) -> String {
    let repository = command::repository();
    let path = file
        .strip_prefix(repository.join("scenarios"))
        .or(file.strip_prefix(repository.join("tests/scenarios/violated")));
    path.unwrap_or(file).with_extension("").display().to_string()
}

/// What keeps a scenario that counts process ids apart from all others: the kubelet counts those of the whole machine.
static TURNS: RwLock<()> = RwLock::new(());

/// Does something while no scenario that has to be alone runs, or, if this one has to be, while no other runs at all.
fn in_turn<T>(file: &Path, work: impl FnOnce() -> Result<T, String>) -> Result<T, Failed> {
    let plan =
        command::run(&["plan", "--output", "json", &file.display().to_string()], RUN_WITHIN)?.expect(0)?;
    let plan: Value = serde_json::from_str(&plan.output).map_err(|error| error.to_string())?;
    let done = if plan["labels"]["needs"] == "pids-exclusive" {
        let _alone = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        work()
    } else {
        let _beside = TURNS.read().unwrap_or_else(PoisonError::into_inner);
        work()
    };
    done.map_err(Failed::from)
}

fn holds(file: &Path) -> Result<(), Failed> {
    if !file.with_extension("snap").is_file() {
        return Err("it has no snapshot beside it: run it with --accept, and review what is written".into());
    }
    in_turn(file, || {
        command::run(&["run", "--on", "host", &file.display().to_string()], RUN_WITHIN)?.expect(0).map(drop)
    })
}

/// Every finding but those of steps must be violated: each expectation of such a file is wrong on purpose.
fn is_violated(file: &Path) -> Result<(), Failed> {
    let ran = in_turn(file, || {
        let arguments = ["run", "--on", "host", "--json", "-", &file.display().to_string()];
        command::run(&arguments, RUN_WITHIN)?.expect(1)
    })?;
    let findings = ran.findings();
    let expected: Vec<&(String, String)> =
        findings.iter().filter(|(key, _)| key != "step" && key != "snapshot").collect();
    if expected.is_empty() {
        return Err(format!("no finding was reported:\n{}", ran.errors).into());
    }
    let held: Vec<_> = expected.iter().filter(|(_, state)| state != "violated").collect();
    if held.is_empty() { Ok(()) } else { Err(format!("not violated: {held:?}\n{}", ran.errors).into()) }
}
