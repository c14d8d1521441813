//! One run of one scenario: its turn, its cluster, its verdict, and its end.

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Conduct, Job};
use crate::catalogue::Needs;
use crate::cluster::state::RunFolder;
use crate::cluster::turn::Turn;
use crate::cluster::{self, Place, Running};
use crate::evidence;
use crate::kubernetes::KubeconfigFile;
use crate::model::{Assumptions, predict};
use crate::observe::{Observation, Timeline};
use crate::plan::{Location, Plan};
use crate::programs::Programs;
use crate::readings;
use crate::report::Timings;
use crate::run::Ending;
use crate::verdict::snapshot::{Facts, Writing, path_beside, settle};
use crate::verdict::{State, Verdict, judge};

/// In how many phases of the kubelet's loop the prediction is made that goes with a run.
const PHASES: u32 = 100;

/// What all runs of a command have in common.
pub(super) struct Common<'a> {
    pub(super) conduct: &'a Conduct,
    pub(super) place: Place,
    pub(super) programs: &'a Programs,
    pub(super) cancel: &'a CancellationToken,
}

/// A run that is over; nothing of it is left.
pub(in crate::cli) struct Done {
    pub(in crate::cli) timeline: Timeline,
    pub(in crate::cli) ended: Ended,
    pub(super) timings: Timings,
    /// What went wrong around it: a file that could not be written, something that could not be removed.
    pub(super) trouble: Vec<String>,
}

/// How a run ended.
#[derive(Clone)]
pub(in crate::cli) enum Ended {
    Verdict(Box<Verdict>),
    CouldNotRun(String),
    Interrupted,
}

impl Done {
    pub(super) fn without_a_run(ended: Ended) -> Self {
        Self { timeline: Timeline::default(), ended, timings: Timings::default(), trouble: Vec::new() }
    }
}

/// A scenario whose turn it is.
pub(super) struct Turned {
    /// Its plan, with what this machine has at this moment put in figures.
    pub(super) plan: Plan,
    _turn: Turn,
}

/// Waits for a scenario's turn.
pub(super) async fn turn(common: &Common<'_>, job: &Job) -> Result<Turned, Ended> {
    let waiting = || eprintln!("{}: waits until other runs on this machine are over", job.plan.name);
    let turn = tokio::select! {
        turn = Turn::take(Needs::of(&job.plan).exclusive, waiting) => turn,
        () = common.cancel.cancelled() => return Err(Ended::Interrupted),
    };
    let turn = turn.map_err(|error| Ended::CouldNotRun(error.to_string()))?;
    let mut plan = job.plan.clone();
    readings::take(&mut plan).map_err(Ended::CouldNotRun)?;
    Ok(Turned { plan, _turn: turn })
}

/// Runs it. Whatever happens, what was started is ended first, and what went wrong is told after.
pub(super) async fn run(
    common: &Common<'_>,
    job: &Job,
    plan: &Plan,
    listener: &mut (dyn FnMut(&Observation) + Send),
) -> Done {
    let began = Timestamp::now();
    let folder = match RunFolder::create() {
        Ok(folder) => folder,
        Err(error) => return Done::without_a_run(Ended::CouldNotRun(error.to_string())),
    };
    let started = tokio::select! {
        started = cluster::start(common.place, plan, &job.bundle, common.programs, folder.clone()) => started,
        () = common.cancel.cancelled() => {
            let mut done = Done::without_a_run(Ended::Interrupted);
            done.trouble.extend(cluster::remove(common.place, &folder).await.err().map(|error| error.to_string()));
            return done;
        }
    };
    let Running { cluster, reports } = match started {
        Ok(running) => running,
        Err(error) => return Done::without_a_run(Ended::CouldNotRun(error.to_string())),
    };
    let kubeconfig = common.conduct.kubeconfig_out.as_deref();
    let kept = kubeconfig.map(|path| {
        KubeconfigFile::create(path, cluster.kubeconfig())
            .map_err(|error| format!("--kubeconfig-out {}: {error}", path.display()))
    });
    let _kept = match kept.transpose() {
        Ok(kept) => kept,
        Err(error) => {
            let mut done = Done::without_a_run(Ended::CouldNotRun(error));
            done.trouble.extend(cluster.stop().await.err().map(|error| error.to_string()));
            return done;
        }
    };
    let outcome = crate::run::run(plan, cluster.as_ref(), reports, began, common.cancel, listener).await;
    let mut trouble = Vec::new();
    let mut verdict = judge(plan, &outcome.timeline);
    let finished = matches!(outcome.ending, Ending::Finished);
    if let (true, Some(accept)) = (finished, common.conduct.accept) {
        match with_snapshot(accept, job, plan, &outcome.timeline, verdict.clone()) {
            Ok(compared) => verdict = compared,
            Err(error) => trouble.push(error),
        }
    }
    if finished {
        // A prediction is beside the verdict and never part of it: a plan that the model can not take has none.
        match predict(plan, &Assumptions::default(), PHASES) {
            Ok(prediction) => {
                verdict = verdict.with_prediction(prediction.compared_with(&outcome.timeline));
            }
            Err(error) => tracing::warn!("no prediction: {error}"),
        }
    }
    let wanted = common.conduct.keep_evidence || !finished || verdict.state != State::Held;
    if wanted && !matches!(outcome.ending, Ending::Interrupted) {
        let folder = common.conduct.evidence.join(format!("{}-{}", plan.name, folder.run));
        match evidence::write(&folder, plan, &outcome.timeline, &verdict, cluster.as_ref()).await {
            Ok(()) => eprintln!("evidence: {}", folder.display()),
            Err(error) => {
                eprintln!("warning: the evidence could not be kept whole in {}: {error}", folder.display());
            }
        }
    }
    trouble.extend(cluster.stop().await.err().map(|error| error.to_string()));
    let timings = Timings::of(plan, &outcome.timeline, Timestamp::now());
    let ended = match outcome.ending {
        Ending::Interrupted => Ended::Interrupted,
        Ending::DidNotStart(error) => Ended::CouldNotRun(error.to_string()),
        Ending::Finished => Ended::Verdict(Box::new(verdict)),
    };
    Done { timeline: outcome.timeline, ended, timings, trouble }
}

/// Compares the run's facts with the snapshot beside the scenario.
fn with_snapshot(
    accept: bool,
    job: &Job,
    plan: &Plan,
    timeline: &Timeline,
    verdict: Verdict,
) -> Result<Verdict, String> {
    let writing = Writing::from_flags(accept, std::env::var("CI").ok().as_deref());
    // Only a run that held may become what others are held to, and one that left something unknown not even proposes it.
    let writing = match (verdict.state, writing) {
        (State::Unknown, _) => Writing::Nothing,
        (State::Violated, Writing::Snapshot) => Writing::Proposal,
        (_, writing) => writing,
    };
    let comparison = settle(&job.file, &Facts::of(plan, timeline), writing)
        .map_err(|error| format!("the snapshot {}: {error}", path_beside(&job.file).display()))?;
    let location = Location { file: path_beside(&job.file).display().to_string(), line: 1, column: 1 };
    Ok(verdict.with_snapshot(comparison, location))
}
