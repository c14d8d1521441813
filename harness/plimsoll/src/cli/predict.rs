//! `predict` and `truth`.

use std::path::PathBuf;

use super::Exit;
use super::check::{bad_input, resolve, show};
use super::outputs::Outputs;
use super::select::Selection;
use crate::evidence;
use crate::model::{Prepared, predict as predict_plan, timeline};
use crate::plan::Plan;
use crate::programs::Programs;
use crate::report::{Reporter, Terminal, truth as table};
use crate::verdict::judge;

/// What `predict` takes.
#[derive(Debug, clap::Args)]
pub(super) struct PredictArguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    phases: Phases,
    #[command(flatten)]
    outputs: Outputs,
}

/// What `truth` takes.
#[derive(Debug, clap::Args)]
pub(super) struct TruthArguments {
    /// Folders that `plimsoll run --keep-evidence` left, one for each run
    #[arg(required = true, value_name = "FOLDER")]
    evidence: Vec<PathBuf>,
    #[command(flatten)]
    phases: Phases,
}

/// How closely it is looked at.
#[derive(Debug, clap::Args)]
struct Phases {
    /// In how many phases of the kubelet's loop to look at each scenario
    #[arg(long = "phases", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    number: u32,
}

pub(super) fn predict(arguments: &PredictArguments) -> Exit {
    let plans = match plans(&arguments.selection) {
        Ok(plans) => plans,
        Err(exit) => return exit,
    };
    let told = arguments.outputs.documents().and_then(|mut reporters| {
        let (writer, target, options) = arguments.outputs.screen();
        reporters.insert(0, Box::new(Terminal::new(writer, target, options)));
        let mut exit = Exit::Held;
        for (file, plan) in &plans {
            let one = predict_one(plan, arguments.phases.number, &mut reporters);
            exit = exit.worse(one.map_err(|error| format!("{}: {error}", file.display()))?);
        }
        for reporter in &mut reporters {
            reporter.finish().map_err(|error| format!("writing a report: {error}"))?;
        }
        Ok(exit)
    });
    told.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        Exit::CouldNotRun
    })
}

/// Reads what is meant, and says at once what is wrong with any of it.
fn plans(selection: &Selection) -> Result<Vec<(PathBuf, Plan)>, Exit> {
    let files = selection.files().map_err(|message| bad_input(&message))?;
    let mut plans = Vec::new();
    let mut bad = false;
    for file in files {
        match resolve(&file) {
            Ok(lowered) => {
                show(&lowered.warnings, false);
                plans.push((file, lowered.plan));
            }
            Err(diagnostics) => {
                show(&diagnostics, false);
                bad = true;
            }
        }
    }
    if bad {
        return Err(Exit::BadInput);
    }
    selection.choose(plans, |(_, plan)| plan).map_err(|message| bad_input(&message))
}

/// Predicts one plan and tells the phase that is most like all others as a run would be told.
fn predict_one(plan: &Plan, phases: u32, reporters: &mut [Box<dyn Reporter + Send>]) -> Result<Exit, String> {
    let assumptions = Programs::assumptions();
    let prediction = predict_plan(plan, &assumptions, phases).map_err(|error| error.to_string())?;
    let prepared = Prepared::new(plan).map_err(|error| error.to_string())?;
    let phase = assumptions.phase(prediction.representative, prediction.phases);
    let timeline = timeline(plan, &prepared, &assumptions, &phase);
    let verdict = judge(plan, &timeline).with_prediction(prediction);
    let written = |error: std::io::Error| format!("writing a report: {error}");
    for reporter in reporters {
        reporter.begin(plan).map_err(written)?;
        for observation in &timeline.observations {
            reporter.observation(observation).map_err(written)?;
        }
        reporter.verdict(&verdict).map_err(written)?;
    }
    Ok(verdict.state.into())
}

/// Writes predicted beside observed, a line for each real run.
pub(super) fn truth(arguments: &TruthArguments) -> Exit {
    let mut rows = Vec::new();
    for folder in &arguments.evidence {
        let row = evidence::read(folder).map_err(|error| error.to_string()).and_then(|(plan, timeline)| {
            let prediction = predict_plan(&plan, &Programs::assumptions(), arguments.phases.number);
            let prediction = prediction.map_err(|error| format!("{}: {error}", folder.display()))?;
            Ok(table::row(&plan, &prediction.compared_with(&timeline), &timeline))
        });
        match row {
            Ok(row) => rows.push(row),
            Err(message) => return bad_input(&message),
        }
    }
    print!("{}", table::table(&rows));
    Exit::Held
}
