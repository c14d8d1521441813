//! Tier: real node. Every scenario of the catalogue runs on a real kubelet and must hold, its snapshot included; and
//! expectations that are wrong on purpose must be violated. One command runs them all, as many side by side as the machine
//! has room for. A node is explained while it is under pressure.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll_tests::catalogue::{Catalogue, Verdict};
use plimsoll_tests::{alert, command, explain, needs};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if let Err(missing) = needs::real_node() {
        if needs::must_run() {
            eprintln!("error: the real-node tier can not run: {missing}");
            return ExitCode::FAILURE;
        }
        eprintln!("the real-node tier is left out: {missing}");
        return ExitCode::SUCCESS;
    }
    let catalogue = Arc::new(OnceLock::new());
    let (mut trials, mut files) = (Vec::new(), Vec::new());
    for (folder, judge) in [("scenarios", holds as Judge), ("tests/scenarios/violated", is_violated)] {
        for file in scenarios(&command::repository().join(folder)) {
            let (catalogue, own) = (Arc::clone(&catalogue), file.clone());
            let trial = Trial::test(name(&file), move || judge(&own, &verdict(&catalogue, &own)?));
            if !arguments.is_filtered_out(&trial) {
                files.push(file);
            }
            trials.push(trial);
        }
    }
    let found = {
        let catalogue = Arc::clone(&catalogue);
        Trial::test("metrics/an_alert_finds_who_was_evicted", move || alerts(&catalogue))
    };
    let of_alerts = command::repository().join("scenarios").join(ALERT).with_extension("yaml");
    if !arguments.is_filtered_out(&found) && !files.contains(&of_alerts) {
        files.push(of_alerts);
    }
    trials.push(found);
    // Found none, the suite would pass without having run anything.
    if trials.is_empty() {
        eprintln!("error: no scenario was found");
        return ExitCode::FAILURE;
    }
    trials.push(Trial::test("explain/who_is_said_to_go_goes", || {
        explain::who_is_said_to_go_goes().map_err(Failed::from)
    }));
    // Each waits for its scenario; how many of those run side by side is for the command to say.
    arguments.test_threads.get_or_insert(trials.len());
    if !files.is_empty() && !arguments.list {
        match Catalogue::start(&files) {
            Ok(started) => drop(catalogue.set(started)),
            Err(error) => {
                eprintln!("error: the scenarios could not be run: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
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
        .or(file.strip_prefix(repository.join("tests/scenarios")));
    path.unwrap_or(file).with_extension("").display().to_string()
}

/// What makes a scenario's verdict the right one.
type Judge = fn(&Path, &Verdict) -> Result<(), Failed>;

fn verdict(catalogue: &OnceLock<Catalogue>, file: &Path) -> Result<Verdict, Failed> {
    let catalogue = catalogue.get().ok_or("the scenarios were not started")?;
    catalogue.verdict(file).map_err(Failed::from)
}

fn holds(file: &Path, verdict: &Verdict) -> Result<(), Failed> {
    if !file.with_extension("snap").is_file() {
        return Err("it has no snapshot beside it: run it with --accept, and review what is written".into());
    }
    if verdict.state == "held" && verdict.snapshot == "match" {
        Ok(())
    } else {
        Err(told(verdict, "held").into())
    }
}

/// A scenario that leaves a pod that was evicted and one that was refused, both of which the alert finds, and a third that is well.
const ALERT: &str = "stories/26-a-metric-finds-the-evicted";

/// The rule that people write fires on the metrics that a real run leaves.
fn alerts(catalogue: &OnceLock<Catalogue>) -> Result<(), Failed> {
    let page = catalogue.get().ok_or("the scenarios were not started")?.metrics()?;
    let scenario = Path::new(ALERT).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut found = alert::evicted_and_failed(&page, scenario)?;
    found.sort_unstable();
    if found == ["greedy", "refused"] { Ok(()) } else { Err(format!("the alert finds {found:?}").into()) }
}

/// Every finding but those of steps must be violated: each expectation of such a file is wrong on purpose.
fn is_violated(_: &Path, verdict: &Verdict) -> Result<(), Failed> {
    let mut expected =
        verdict.findings.iter().filter(|(key, ..)| key != "step" && key != "snapshot").peekable();
    let is_tried = expected.peek().is_some();
    if verdict.state == "violated" && is_tried && expected.all(|(_, state, _)| state == "violated") {
        Ok(())
    } else {
        Err(told(verdict, "violated").into())
    }
}

/// What is not as it should be; all the rest the command has said already.
fn told(verdict: &Verdict, wanted: &str) -> String {
    let others = verdict.findings.iter().filter(|(_, state, _)| state != wanted);
    let others: Vec<String> =
        others.map(|(key, state, said)| format!("\n  {key} is {state}: {said}")).collect();
    format!("it is {}, and has to be {wanted}{}", verdict.state, others.concat())
}
