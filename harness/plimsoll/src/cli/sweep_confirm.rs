//! `sweep --confirm`: cells of the boundary on a real cluster.

use std::path::{Path, PathBuf};

use indicatif::ProgressDrawTarget;
use owo_colors::OwoColorize;
use plimsoll_node::report::OomScope;

use super::run::job::{Done, Ended};
use super::run::jobs::conduct;
use super::run::screen::{Screen, Telling};
use super::run::{Conduct, Job, Jobs};
use super::{BundleChoice, Exit, On, print, runtime};
use crate::bundle::Bundle;
use crate::observe::{Fact, Timeline};
use crate::report::{Board, TerminalOptions, Verbosity};
use crate::sweep::{Cell, Fate, Shade, Summary};
use crate::verdict::{End, Verdict, words};

/// How cells are confirmed.
#[derive(Debug, clap::Args)]
pub(super) struct ConfirmArguments {
    /// Run so many cells of the boundary on a real cluster, side by side, and say of each whether it came out as predicted
    #[arg(long = "confirm", value_name = "N", default_value_t = 0)]
    count: usize,
    /// Where cells are run
    #[arg(long, value_name = "CLUSTER", default_value = "auto")]
    on: On,
    #[command(flatten)]
    bundle: BundleChoice,
    /// How many cells side by side: a number, or as many as this machine has memory, disk and processors for
    #[arg(long, short, value_name = "N|auto", default_value = "auto")]
    jobs: Jobs,
    /// The folder for what these runs leave to look at
    #[arg(long, value_name = "FOLDER", default_value = "plimsoll-evidence")]
    evidence: PathBuf,
}

/// A cell that is run for real.
struct Chosen {
    words: String,
    predicted: Cell,
    observed: Option<Observed>,
}

/// What came of it.
enum Observed {
    Fate(Fate, String),
    Nothing(String),
}

/// Runs cells of the boundary, and says where the kubelet did as the model said.
pub(super) fn confirm(arguments: &ConfirmArguments, scenario: &Path, summary: &Summary<'_>) -> Exit {
    if arguments.count == 0 {
        return Exit::Held;
    }
    let result = prepare(arguments, scenario, summary).and_then(|(jobs, mut chosen)| {
        let runtime = runtime().map_err(|error| error.to_string())?;
        let exit = runtime.block_on(run(arguments, &jobs, &mut chosen));
        runtime.shutdown_background();
        Ok((exit?, chosen))
    });
    match result {
        Ok((Exit::Interrupted, _)) => Exit::Interrupted,
        Ok((_, chosen)) => {
            let (text, exit) = told(&chosen);
            exit.worse(print(&text))
        }
        Err(message) => {
            eprintln!("error: {message}");
            Exit::CouldNotRun
        }
    }
}

fn prepare(
    arguments: &ConfirmArguments,
    scenario: &Path,
    summary: &Summary<'_>,
) -> Result<(Vec<Job>, Vec<Chosen>), String> {
    let sweep = summary.sweep();
    let (mut jobs, mut chosen) = (Vec::new(), Vec::new());
    for (index, cell) in summary.boundary(arguments.count).into_iter().enumerate() {
        let places = sweep.places(cell);
        let mut plan = sweep.plan(&places).map_err(|error| error.to_string())?;
        // Without short cuts, so that what is compared is the prediction of exactly this scenario.
        let predicted = sweep.play(&places).map_err(|error| error.to_string())?;
        let bundle = Bundle::find(&plan.kubernetes, arguments.bundle.bundle.as_deref())
            .and_then(|bundle| bundle.check().map(|()| bundle))
            .map_err(|error| error.to_string())?;
        plan.name = format!("{}-cell-{}", plan.name, index + 1);
        jobs.push(Job { file: scenario.to_owned(), plan, bundle });
        chosen.push(Chosen { words: sweep.words(&places), predicted, observed: None });
    }
    Ok((jobs, chosen))
}

async fn run(arguments: &ConfirmArguments, jobs: &[Job], chosen: &mut [Chosen]) -> Result<Exit, String> {
    let options = TerminalOptions::for_stdout(Verbosity::Quiet);
    let board = Board::new(Box::new(std::io::sink()) as _, ProgressDrawTarget::stderr(), options, jobs.len());
    let telling = Telling::new(Screen::Board(board), Vec::new());
    let manner = Conduct {
        on: arguments.on,
        jobs: arguments.jobs,
        fail_fast: false,
        retry_unknown: 0,
        accept: None,
        evidence: arguments.evidence.clone(),
        keep_evidence: true,
        kubeconfig_out: None,
    };
    let together = conduct(&manner, jobs, telling, &mut |index, done| {
        chosen[index].observed = Some(observed(done));
    })
    .await?;
    if together.trouble.is_empty() { Ok(together.exit) } else { Err(together.trouble.join("\n")) }
}

fn observed(done: &Done) -> Observed {
    match &done.ended {
        Ended::Verdict(verdict) => of_verdict(verdict, &done.timeline),
        Ended::CouldNotRun(why) => Observed::Nothing(why.clone()),
        Ended::Interrupted => Observed::Nothing("stopped".to_owned()),
    }
}

/// What a real run shows. One that was blind to what matters shows nothing.
fn of_verdict(verdict: &Verdict, timeline: &Timeline) -> Observed {
    if let Some(gap) = verdict.gaps.first() {
        return Observed::Nothing(format!("{} could not be seen", gap.source));
    }
    // A container that is killed at its own limit says nothing of the node.
    let is_first =
        |fact: &Fact| matches!(fact, Fact::OomKill { kill, .. } if kill.scope != OomScope::Container);
    let killed = timeline.observations.iter().filter(|own| is_first(&own.fact)).count();
    let gone: Vec<&str> = verdict
        .pods
        .iter()
        .filter(|pod| matches!(pod.end, End::EvictedByKubelet(_)))
        .map(|pod| pod.name.as_str())
        .collect();
    match (killed, gone.as_slice()) {
        (0, []) => Observed::Fate(Fate::Nobody, Fate::Nobody.words().to_owned()),
        (0, gone) => Observed::Fate(Fate::InTime, format!("evicted in time: {}", words::list(gone))),
        (killed, _) => Observed::Fate(Fate::OomKilled, words::count(killed, "OOM kill")),
    }
}

/// A line for each cell, and what they come to.
fn told(chosen: &[Chosen]) -> (String, Exit) {
    let mut text = "\nConfirmed on a real kubelet\n".to_owned();
    let (mut agreed, mut open, mut unknown) = (0, 0, 0);
    for cell in chosen {
        let predicted = cell.predicted.words();
        let (word, observed) = match &cell.observed {
            Some(Observed::Fate(fate, words)) if cell.predicted.always() == Some(*fate) => {
                agreed += 1;
                ("agrees", words.as_str())
            }
            // One run can not prove a share.
            Some(Observed::Fate(fate, words)) if cell.predicted.allows(*fate) => {
                open += 1;
                ("not contradicted", words.as_str())
            }
            Some(Observed::Fate(_, words)) => ("DISAGREES", words.as_str()),
            Some(Observed::Nothing(why)) => {
                unknown += 1;
                ("unknown", why.as_str())
            }
            None => {
                unknown += 1;
                ("unknown", "it was not run")
            }
        };
        text.push_str(&format!(
            " {word:<16}  {}\n                   predicted {predicted}; observed {observed}\n",
            cell.words
        ));
    }
    let disagreed = chosen.len() - agreed - open - unknown;
    text.push_str(&format!(
        "{} of {} agree{}{}{}\n",
        agreed,
        words::count(chosen.len(), "cell"),
        if open > 0 { format!(", {open} not contradicted") } else { String::new() },
        if disagreed > 0 { format!(", {disagreed} do not") } else { String::new() },
        if unknown > 0 { format!(", {unknown} unknown") } else { String::new() },
    ));
    let exit = match (disagreed, unknown) {
        (0, 0) => Exit::Held,
        (0, _) => Exit::Unknown,
        _ => Exit::Violated,
    };
    (text, exit)
}

/// A cell of the heat map in its colour.
pub(super) fn paint(colour: bool, shade: Shade, cell: &str) -> String {
    match (colour, shade) {
        (false, _) => cell.to_owned(),
        (true, Shade::Good) => cell.green().to_string(),
        (true, Shade::Mixed) => cell.yellow().to_string(),
        (true, Shade::Bad) => cell.red().to_string(),
        (true, Shade::Nothing) => cell.dimmed().to_string(),
    }
}
