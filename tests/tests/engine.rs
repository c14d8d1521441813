//! Tier: real node, in containers of an engine. The same scenario as on the machine itself, what stays in the engine
//! after each way in which a run can end, and an engine that ends under a run.
//!
//! One after another, since each looks at the whole machine and the whole engine.

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll_tests::kills::{self, Moments, Remover};
use plimsoll_tests::machine::{self, State, is_as_before};
use plimsoll_tests::{command, engine, needs};

const STEADY: &str = "tests/scenarios/faults/steady.yaml";
const QUICKSTART: &str = "scenarios/quickstart.yaml";
const MEMORY: &str = "scenarios/memory";
const VIOLATED: &str = "tests/scenarios/violated/figures.yaml";
/// The longest that a run may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(180);
/// The longest that a folder of scenarios may take.
const SEVERAL_WITHIN: Duration = Duration::from_secs(600);
/// How many times a run is killed, at moments spread over its life.
const KILLS: u32 = 8;
/// How many times one is interrupted.
const INTERRUPTIONS: u32 = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if let Err(missing) = needs::engine() {
        if needs::must_run() {
            eprintln!("error: the engine tier can not run: {missing}");
            return ExitCode::FAILURE;
        }
        eprintln!("the engine tier is left out: {missing}");
        return ExitCode::SUCCESS;
    }
    let mut trials = vec![
        // First, since the image of the bundle, which stays, is made by the first run.
        Trial::test("the_quickstart_holds", the_quickstart_holds),
        Trial::test("memory_scenarios_hold_side_by_side", memory_scenarios_hold_side_by_side),
        Trial::test("what_is_wrong_is_violated", what_is_wrong_is_violated),
        Trial::test("a_run_changes_nothing_of_the_machine", a_run_changes_nothing_of_the_machine),
        Trial::test("interrupted_it_cleans_up_by_itself", interrupted_it_cleans_up_by_itself),
        Trial::test("killed_at_any_moment_nothing_is_left", killed_at_any_moment_nothing_is_left),
    ];
    // Somebody's own engine is not stopped for a test.
    if needs::engine_of_ours() {
        trials
            .push(Trial::test("an_engine_that_ends_under_a_run_is_no_pass", an_engine_that_ends_is_no_pass));
    } else if needs::must_run() {
        eprintln!(
            "error: the engine that answers was not started by ci/engine, so it can not be stopped under a run"
        );
        return ExitCode::FAILURE;
    } else {
        eprintln!("the engine is not stopped under a run: ci/engine did not start it");
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run_arguments(scenario: &str) -> [&str; 4] {
    ["run", "--on", "engine", scenario]
}

/// The machine and what the engine holds.
struct Before {
    machine: State,
    engine: Vec<String>,
}

impl Before {
    fn now() -> Result<Self, Failed> {
        Ok(Self { machine: machine::state(), engine: engine::holdings()? })
    }

    fn still(&self) -> Result<(), Failed> {
        is_as_before(&self.machine)?;
        let after = engine::holdings()?;
        if after == self.engine {
            return Ok(());
        }
        Err(format!("the engine held {:?} and holds {after:?}", self.engine).into())
    }
}

/// Chosen by itself, since an engine answers; with the same snapshot as on the machine itself.
fn the_quickstart_holds() -> Result<(), Failed> {
    let ran = command::run(&["run", QUICKSTART], ENDED_WITHIN)?.expect(0)?;
    if ran.errors.contains("on engine: a container engine answers") {
        return Ok(());
    }
    Err(format!("the engine was not chosen, or the choice was not told:\n{}", ran.errors).into())
}

/// Several clusters on one engine do not meet, and each shows what its snapshot says, which was taken on the machine itself.
fn memory_scenarios_hold_side_by_side() -> Result<(), Failed> {
    let before = Before::now()?;
    command::run(&["run", "--on", "engine", "--jobs", "auto", "--quiet", MEMORY], SEVERAL_WITHIN)?
        .expect(0)?;
    before.still()
}

fn what_is_wrong_is_violated() -> Result<(), Failed> {
    command::run(&run_arguments(VIOLATED), ENDED_WITHIN)?.expect(1)?;
    Ok(())
}

fn a_run_changes_nothing_of_the_machine() -> Result<(), Failed> {
    let before = Before::now()?;
    command::run(&run_arguments(STEADY), ENDED_WITHIN)?.expect(0)?;
    before.still()
}

fn interrupted_it_cleans_up_by_itself() -> Result<(), Failed> {
    let before = Before::now()?;
    let arguments = run_arguments(STEADY);
    let mut moments = Moments::of(&arguments)?;
    let mut took = Vec::new();
    for stretch in 0..INTERRUPTIONS {
        took.push(kills::stop(&arguments, &mut moments, stretch, INTERRUPTIONS)?.took);
        before.still()?;
    }
    Ok(kills::are_soon(took)?)
}

/// At moments over all of a run's life, in turns removed by `clean` and by the start of the next run.
fn killed_at_any_moment_nothing_is_left() -> Result<(), Failed> {
    let before = Before::now()?;
    let arguments = run_arguments(STEADY);
    let mut moments = Moments::of(&arguments)?;
    for stretch in 0..KILLS {
        let killed = kills::kill(&arguments, &mut moments, stretch, KILLS)?;
        let by = if stretch % 2 == 0 { Remover::Clean } else { Remover::NextRun };
        let at = |error: String| {
            format!("killed after {} ms, removed by {by:?}: {error}", killed.after.as_millis())
        };
        killed.is_removed_by(by, &arguments).map_err(at)?;
        before.still().map_err(|failed| at(failed.message().unwrap_or_default().to_owned()))?;
    }
    Ok(())
}

/// Its containers go with it, so nothing is known any more of what would have been; and the next engine is clean.
fn an_engine_that_ends_is_no_pass() -> Result<(), Failed> {
    let before = Before::now()?;
    let folder = tempfile::tempdir()?;
    let told = folder.path().join("told.jsonl");
    let file = told.display().to_string();
    let arguments = ["run", "--on", "engine", "--json", &file, STEADY];
    let mut run = command::start(command::plimsoll(&arguments)?)?;
    // Its second step waits for a pod, and its third watches.
    run.writes("\"stepBegan\":{\"step\":1}", &told, ENDED_WITHIN)?;
    let stopped = engine::ci_engine("stop");
    let ran = run.ended(ENDED_WITHIN);
    engine::ci_engine("start")?;
    stopped?;
    let ran = ran?.expect(3)?;
    let said = format!("{}{}", ran.output, ran.errors);
    if !said.contains("the container engine does not answer any more") {
        return Err(format!("what happened is not said:\n{said}").into());
    }
    command::run(&["clean"], Duration::from_secs(60))?.expect(0)?;
    before.still()
}
