//! `run`.

pub(super) mod job;
pub(super) mod jobs;
pub(super) mod screen;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use self::screen::Screen;
use super::check::{bad_input, resolve_for, show, this_machine};
use super::outputs::Outputs;
use super::select::Selection;
use super::{BundleChoice, Exit, On, runtime};
use crate::bundle::Bundle;
use crate::plan::Plan;
use crate::report::{Board, Terminal};

/// What `run` takes.
#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    selection: Selection,
    /// Where to run
    #[arg(long, value_name = "CLUSTER", default_value = "auto")]
    on: On,
    #[command(flatten)]
    bundle: BundleChoice,
    /// Which GPUs nodes have that have some: as the scenario says, or the machine's own in place of simulated ones, each with no more
    /// memory than the simulated one
    #[arg(long, value_name = "KIND", default_value = "written")]
    gpus: GpuKind,
    /// How many scenarios side by side: a number, or as many as this machine has memory, disk and processors for
    #[arg(long, short, value_name = "N|auto", default_value = "1")]
    jobs: Jobs,
    /// Start no other scenario after one that did not hold
    #[arg(long)]
    fail_fast: bool,
    /// Run a scenario that left something unknown again, so many times at most; one that is violated is never run again
    #[arg(long, value_name = "N", default_value_t = 0)]
    retry_unknown: u32,
    /// Tell at the end where the time went: boot, fill, the kubelet's own waits, ours
    #[arg(long)]
    timings: bool,
    /// Write the run's facts as the snapshot beside the scenario
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    outputs: Outputs,
    /// The folder for what a run that did not hold leaves to look at
    #[arg(long, value_name = "FOLDER", default_value = "plimsoll-evidence")]
    evidence: PathBuf,
    /// Keep that of runs that held, too
    #[arg(long)]
    keep_evidence: bool,
    /// While the run lasts keep a kubeconfig of its cluster in this file, with all rights; for one scenario
    #[arg(long, value_name = "FILE")]
    kubeconfig_out: Option<PathBuf>,
}

/// Which GPUs nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum GpuKind {
    /// As the scenario says
    Written,
    /// The machine's own; scenarios that can not have them are left out
    Real,
}

/// How many scenarios run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jobs {
    /// So many at most.
    Number(NonZeroUsize),
    /// As many as the machine holds.
    Auto,
}

impl FromStr for Jobs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            number => {
                number.parse().map(Self::Number).map_err(|_| "expected a number from 1, or auto".to_owned())
            }
        }
    }
}

/// A scenario that is fit to run.
pub(super) struct Job {
    pub(super) file: PathBuf,
    pub(super) plan: Plan,
    pub(super) bundle: Bundle,
}

/// How runs are conducted, whatever they are for.
pub(super) struct Conduct {
    pub(super) on: On,
    pub(super) jobs: Jobs,
    pub(super) fail_fast: bool,
    pub(super) retry_unknown: u32,
    /// Whether facts are written as the snapshot beside the scenario, or compared with it; absent: neither.
    pub(super) accept: Option<bool>,
    pub(super) evidence: PathBuf,
    pub(super) keep_evidence: bool,
    pub(super) kubeconfig_out: Option<PathBuf>,
}

impl RunArguments {
    fn conduct(&self) -> Conduct {
        Conduct {
            on: self.on,
            jobs: self.jobs,
            fail_fast: self.fail_fast,
            retry_unknown: self.retry_unknown,
            // What a snapshot holds of figures is of the GPUs that the scenario asks for.
            accept: (self.gpus == GpuKind::Written).then_some(self.accept),
            evidence: self.evidence.clone(),
            keep_evidence: self.keep_evidence,
            kubeconfig_out: self.kubeconfig_out.clone(),
        }
    }
}

pub(super) fn run(arguments: &RunArguments) -> Exit {
    let jobs = match prepare(arguments) {
        Ok(jobs) => jobs,
        Err(exit) => return exit,
    };
    let result = runtime().map_err(|error| error.to_string()).and_then(|runtime| {
        let exit = runtime.block_on(jobs::run_all(arguments, jobs));
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
    let files = arguments.selection.files().map_err(|message| bad_input(&message))?;
    let machine = this_machine();
    let mut resolved = Vec::new();
    let mut bad = false;
    for file in files {
        match resolve_for(&file, machine) {
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
    let resolved =
        arguments.selection.choose(resolved, |(_, plan)| plan).map_err(|message| bad_input(&message))?;
    let resolved = match arguments.gpus {
        GpuKind::Written => resolved,
        GpuKind::Real => with_real_gpus(resolved),
    };
    if resolved.is_empty() && arguments.gpus == GpuKind::Real {
        return Err(bad_input("none of the scenarios can have the machine's own GPUs"));
    }
    if let Some(path) = &arguments.kubeconfig_out {
        may_keep_kubeconfig(path, resolved.len()).map_err(|message| bad_input(&message))?;
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

/// The scenarios that can have the machine's own GPUs, with them.
fn with_real_gpus(resolved: Vec<(PathBuf, Plan)>) -> Vec<(PathBuf, Plan)> {
    let real = |(file, plan): (PathBuf, Plan)| match plan.with_real_gpus() {
        Ok(plan) => Some((file, plan)),
        Err(why) => {
            eprintln!("{} is left out: {why}", file.display());
            None
        }
    };
    resolved.into_iter().filter_map(real).collect()
}

/// Whether a kubeconfig can be kept in this file for so many scenarios.
fn may_keep_kubeconfig(path: &Path, scenarios: usize) -> Result<(), String> {
    let option = format!("--kubeconfig-out {}", path.display());
    if scenarios != 1 {
        return Err(format!(
            "{option}: {scenarios} scenarios would write it in turns\nhelp: run one scenario with it"
        ));
    }
    // It is removed at the end, so it must not be somebody's own.
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!("{option}: there is such a file\nhelp: name one that is not there")),
        Err(error) => Err(format!("{option}: {error}")),
    }
}

/// What people read.
fn screen(arguments: &RunArguments, scenarios: usize) -> Screen {
    let (writer, target, options) = arguments.outputs.screen();
    if scenarios == 1 || arguments.jobs == Jobs::Number(NonZeroUsize::MIN) {
        Screen::Live(Box::new(Terminal::new(writer, target, options)))
    } else {
        Screen::Board(Board::new(writer, target, options, scenarios))
    }
}

/// What is said when somebody stops a run. A second signal ends the process at once.
fn stopped(again: bool) {
    if again {
        eprintln!("stopped at once; `plimsoll clean` removes what is left");
        std::process::exit(Exit::Interrupted.code().into());
    }
    eprintln!("stopping: the cluster is being ended (again to stop at once)");
}
