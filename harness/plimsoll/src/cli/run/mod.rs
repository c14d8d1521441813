//! `run`.

use std::fs::File;

use std::path::PathBuf;

use indicatif::ProgressDrawTarget;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::check::{bad_input, resolve_for, scenario_files, show};
use super::{BundleChoice, Exit, On, runtime};
use crate::bundle::Bundle;
use crate::cluster::{self, ClusterError, Place, Running, state::RunFolder};
use crate::evidence;
use crate::observe::{Observation, Timeline};
use crate::plan::{Location, Plan};
use crate::programs::Programs;
use crate::report::{JsonLines, Junit, Reporter, Terminal, TerminalOptions, Verbosity};
use crate::run::Ending;
use crate::verdict::snapshot::{Facts, Writing, path_beside, settle};
use crate::verdict::{State, Verdict, judge};

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    /// Scenarios, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to run
    #[arg(long, value_name = "CLUSTER", default_value = "auto")]
    on: On,
    #[command(flatten)]
    bundle: BundleChoice,
    /// Write the run's facts as the snapshot beside the scenario
    #[arg(long)]
    accept: bool,
    /// Write a JUnit report: a suite for each scenario, a case for each expectation
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write every observation and finding as JSON lines; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The folder for what a run that did not hold leaves to look at
    #[arg(long, value_name = "FOLDER", default_value = "plimsoll-evidence")]
    evidence: PathBuf,
    /// Keep that of runs that held, too
    #[arg(long)]
    keep_evidence: bool,
    /// Say only what the run came to
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more: every pod and event, and the evidence of what held; twice for everything
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// A scenario that is fit to run.
struct Job {
    file: PathBuf,
    plan: Plan,
    bundle: Bundle,
}

pub(super) fn run(arguments: &RunArguments) -> Exit {
    let jobs = match prepare(arguments) {
        Ok(jobs) => jobs,
        Err(exit) => return exit,
    };
    let result = runtime().map_err(|error| error.to_string()).and_then(|runtime| {
        let exit = runtime.block_on(run_all(arguments, jobs));
        // A call that hangs in a thread must not keep the command from ending.
        runtime.shutdown_background();
        exit
    });
    result.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        Exit::CouldNotRun
    })
}

/// Finds everything that can be found wrong before anything is started, in all scenarios.
fn prepare(arguments: &RunArguments) -> Result<Vec<Job>, Exit> {
    let files = scenario_files(&arguments.files).map_err(|message| bad_input(&message))?;
    let memory = machine_memory();
    let mut resolved = Vec::new();
    let mut bad = false;
    for file in files {
        match resolve_for(&file, memory) {
            Ok(lowered) => {
                show(&lowered.warnings, false);
                resolved.push((file, lowered.plan));
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
    let mut jobs = Vec::new();
    for (file, plan) in resolved {
        let bundle = Bundle::find(&plan.kubernetes, arguments.bundle.bundle.as_deref())
            .and_then(|bundle| bundle.check().map(|()| bundle));
        match bundle {
            Ok(bundle) => jobs.push(Job { file, plan, bundle }),
            Err(error) => {
                eprintln!("error: {error}");
                return Err(Exit::CouldNotRun);
            }
        }
    }
    Ok(jobs)
}

/// This machine's memory in bytes; without bound where it can not be read, since then nothing can be said against a plan.
fn machine_memory() -> u64 {
    let read = || -> Option<u64> {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        total.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    read().unwrap_or(u64::MAX)
}

async fn run_all(arguments: &RunArguments, jobs: Vec<Job>) -> Result<Exit, String> {
    let programs = Programs::find().map_err(|error| error.to_string())?;
    let mut reporters = reporters(arguments)?;
    let place = match arguments.on {
        On::Auto => cluster::choose().await,
        On::Engine => cluster::available(Place::Engine).await,
        On::Host => cluster::available(Place::Host).await,
    };
    let (place, why) = place.map_err(|error| error.to_string())?;
    if !arguments.quiet {
        eprintln!("on {place}: {why}");
    }
    for run in cluster::clean().await.map_err(|error| error.to_string())? {
        eprintln!("removed what run {run} left, whose process is gone");
    }
    let cancel = cancelled_by_signals();
    let mut exit = Exit::Held;
    for mut job in jobs {
        crate::readings::take(&mut job.plan)?;
        let one = run_one(arguments, &job, place, &programs, &cancel, &mut reporters).await?;
        exit = exit.worse(one);
        if exit == Exit::Interrupted {
            break;
        }
    }
    for reporter in &mut reporters {
        reporter.finish().map_err(|error| format!("writing a report: {error}"))?;
    }
    Ok(exit)
}

async fn run_one(
    arguments: &RunArguments,
    job: &Job,
    place: Place,
    programs: &Programs,
    cancel: &CancellationToken,
    reporters: &mut [Box<dyn Reporter + Send>],
) -> Result<Exit, String> {
    let written = |error: std::io::Error| format!("writing a report: {error}");
    for reporter in &mut *reporters {
        reporter.begin(&job.plan).map_err(written)?;
    }
    let began = Timestamp::now();
    let folder = RunFolder::create().map_err(|error| error.to_string())?;
    let started = tokio::select! {
        started = cluster::start(place, &job.plan, &job.bundle, programs, folder.clone()) => Some(started),
        () = cancel.cancelled() => None,
    };
    let Running { cluster, reports } = match started {
        Some(Ok(running)) => running,
        Some(Err(error)) => return Ok(could_not_start(job, &error)),
        None => {
            cluster::remove(place, &folder).await.map_err(|error| error.to_string())?;
            return Ok(Exit::Interrupted);
        }
    };
    // From here on nothing returns early: what was started is ended first, and what went wrong is told after.
    let mut trouble = Vec::new();
    let outcome = crate::run::run(
        &job.plan,
        cluster.as_ref(),
        reports,
        began,
        cancel,
        &mut |observation: &Observation| {
            trouble.extend(
                reporters
                    .iter_mut()
                    .filter_map(|reporter| reporter.observation(observation).err())
                    .map(written),
            );
        },
    )
    .await;
    trouble.truncate(1);
    let mut verdict = judge(&job.plan, &outcome.timeline);
    let finished = matches!(outcome.ending, Ending::Finished);
    if finished {
        match with_snapshot(arguments, job, &outcome.timeline, verdict.clone()) {
            Ok(compared) => verdict = compared,
            Err(error) => trouble.push(error),
        }
    }
    let wanted = arguments.keep_evidence || !finished || verdict.state != State::Held;
    let mut kept = None;
    if wanted && !matches!(outcome.ending, Ending::Interrupted) {
        let folder = arguments.evidence.join(format!("{}-{}", job.plan.name, folder.run));
        match evidence::write(&folder, &job.plan, &outcome.timeline, &verdict, cluster.as_ref()).await {
            Ok(()) => kept = Some(folder),
            Err(error) => {
                eprintln!("warning: the evidence could not be kept whole in {}: {error}", folder.display())
            }
        }
    }
    if let Err(error) = cluster.stop().await {
        trouble.push(error.to_string());
    }
    let exit = match &outcome.ending {
        Ending::Interrupted => Exit::Interrupted,
        Ending::DidNotStart(error) => could_not_start(job, error),
        Ending::Finished => {
            trouble.extend(
                reporters.iter_mut().filter_map(|reporter| reporter.verdict(&verdict).err()).map(written),
            );
            verdict.state.into()
        }
    };
    if let Some(folder) = kept {
        eprintln!("evidence: {}", folder.display());
    }
    if trouble.is_empty() { Ok(exit) } else { Err(trouble.join("\n")) }
}

fn could_not_start(job: &Job, error: &ClusterError) -> Exit {
    eprintln!("error: {}: the cluster could not be started: {error}", job.file.display());
    Exit::CouldNotRun
}

/// Compares the run's facts with the snapshot beside the scenario.
fn with_snapshot(
    arguments: &RunArguments,
    job: &Job,
    timeline: &Timeline,
    verdict: Verdict,
) -> Result<Verdict, String> {
    let writing = Writing::from_flags(arguments.accept, std::env::var("CI").ok().as_deref());
    // Only a run that held may become what others are held to, and one that left something unknown not even proposes it.
    let writing = match (verdict.state, writing) {
        (State::Unknown, _) => Writing::Nothing,
        (State::Violated, Writing::Snapshot) => Writing::Proposal,
        (_, writing) => writing,
    };
    let comparison = settle(&job.file, &Facts::of(&job.plan, timeline), writing)
        .map_err(|error| format!("the snapshot {}: {error}", path_beside(&job.file).display()))?;
    let location = Location { file: path_beside(&job.file).display().to_string(), line: 1, column: 1 };
    Ok(verdict.with_snapshot(comparison, location))
}

fn reporters(arguments: &RunArguments) -> Result<Vec<Box<dyn Reporter + Send>>, String> {
    let mut reporters: Vec<Box<dyn Reporter + Send>> = Vec::new();
    let json_on_stdout = arguments.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
    let options = TerminalOptions::for_stdout(Verbosity::from_flags(arguments.quiet, arguments.verbose));
    // What people read gives way when the standard output carries documents.
    let terminal: Box<dyn Reporter + Send> = if json_on_stdout {
        Box::new(Terminal::new(std::io::stderr(), ProgressDrawTarget::hidden(), options))
    } else {
        Box::new(Terminal::new(std::io::stdout(), options.draw_target(), options))
    };
    reporters.push(terminal);
    let create = |path: &PathBuf| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
    if let Some(path) = &arguments.json {
        if json_on_stdout {
            reporters.push(Box::new(JsonLines::new(std::io::stdout())));
        } else {
            reporters.push(Box::new(JsonLines::new(std::io::BufWriter::new(create(path)?))));
        }
    }
    if let Some(path) = &arguments.junit {
        reporters.push(Box::new(Junit::new(
            crate::whole_file::WholeFile::create(path)
                .map_err(|error| format!("{}: {error}", path.display()))?,
        )));
    }
    Ok(reporters)
}

/// A token that SIGINT and SIGTERM cancel. A second signal ends the process at once.
fn cancelled_by_signals() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            if cancel.is_cancelled() {
                eprintln!("stopped at once; `plimsoll clean` removes what is left");
                std::process::exit(Exit::Interrupted.code().into());
            }
            eprintln!("stopping: the cluster is being ended (again to stop at once)");
            cancel.cancel();
        }
    });
    token
}
