//! `predict`.

use std::path::PathBuf;

use super::check::{bad_input, resolve, scenario_files, show};
use super::run::{Outputs, reporters};
use super::Exit;
use crate::model::{Assumptions, Prepared, predict as predict_plan, timeline};
use crate::plan::Plan;
use crate::report::Reporter;
use crate::verdict::judge;

/// What `predict` takes.
#[derive(Debug, clap::Args)]
pub(super) struct PredictArguments {
    /// Scenarios, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// In how many phases of the kubelet's loop to look at each
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    phases: u32,
    #[command(flatten)]
    outputs: Outputs,
}

pub(super) fn predict(arguments: &PredictArguments) -> Exit {
    let files = match scenario_files(&arguments.files) {
        Ok(files) => files,
        Err(message) => return bad_input(&message),
    };
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
        return Exit::BadInput;
    }
    let told = reporters(&arguments.outputs).and_then(|mut reporters| {
        let mut exit = Exit::Held;
        for (file, plan) in &plans {
            let one = predict_one(plan, arguments.phases, &mut reporters);
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

/// Predicts one plan and tells the phase that is most like all others as a run would be told.
fn predict_one(plan: &Plan, phases: u32, reporters: &mut [Box<dyn Reporter + Send>]) -> Result<Exit, String> {
    let assumptions = Assumptions::default();
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
