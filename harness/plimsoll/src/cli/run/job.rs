//! One run of one scenario: its turn, its cluster, its verdict, and its end.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Conduct, Job};
use crate::catalogue::Needs;
use crate::cluster::state::{RunFolder, STATE_VARIABLE};
use crate::cluster::turn::Turn;
use crate::cluster::{self, ClusterError, Place, Running};
use crate::evidence;
use crate::kubernetes::KubeconfigFile;
use crate::model::predict;
use crate::observe::{Observation, Timeline};
use crate::plan::{Location, Plan};
use crate::programs::Programs;
use crate::real_gpus;
use crate::report::Timings;
use crate::run::Ending;
use crate::verdict::snapshot::{Facts, Writing, path_beside, settle};
use crate::verdict::{State, Verdict, judge};

/// In how many phases of the kubelet's loop the prediction is made that goes with a run.
const PHASES: u32 = 100;

/// How long the evidence of a run that somebody stopped may take to be kept.
const KEPT_WITHIN: Duration = Duration::from_secs(2);
/// How long the clean-up after somebody stopped a run should take at most.
const CLEANED_UP_WITHIN: Duration = Duration::from_secs(5);
/// A file system with less room than this, in bytes, is full: no component writes less at once.
const FULL_BELOW: u64 = 64 << 10;

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
    real_gpus::take(&mut plan).await.map_err(Ended::CouldNotRun)?;
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
            return never_started(common, job, plan, &folder, Ended::Interrupted).await;
        }
    };
    let Running { cluster, reports } = match started {
        Ok(running) => running,
        // Nothing was made that could say more than what the machine lacks.
        Err(error @ (ClusterError::Machine(_) | ClusterError::Bundle(_))) => {
            let mut done = Done::without_a_run(Ended::CouldNotRun(error.to_string()));
            let left = cluster::remove(common.place, &folder).await.err().map(|left| left.to_string());
            done.trouble.extend(left.filter(|left| *left != error.to_string()));
            return done;
        }
        Err(error) => {
            let ended = Ended::CouldNotRun(error.to_string());
            return never_started(common, job, plan, &folder, ended).await;
        }
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
        match predict(plan, &Programs::assumptions(), PHASES) {
            Ok(prediction) => {
                verdict = verdict.with_prediction(prediction.compared_with(&outcome.timeline));
            }
            Err(error) => tracing::warn!("no prediction: {error}"),
        }
    }
    let cleaning = Instant::now();
    if common.conduct.keep_evidence || !finished || verdict.state != State::Held {
        let target = evidence_folder(common, plan, &folder);
        let written = evidence::write(&target, plan, &outcome.timeline, &verdict, cluster.as_ref());
        let written = match outcome.ending {
            Ending::Interrupted => in_short(written).await,
            _ => written.await.map_err(|error| error.to_string()),
        };
        let kept = tell_kept(&target, written);
        // What was asked for is missing. A verdict that is not held weighs more than what explains it.
        if finished && verdict.state == State::Held {
            trouble.extend(kept.err());
        }
    }
    let full = disk_is_full(&folder.path);
    trouble.extend(cluster.stop().await.err().map(|error| error.to_string()));
    if matches!(outcome.ending, Ending::Interrupted) {
        tell_cleaned_up(cleaning);
    }
    if let (Some(full), true) = (&full, verdict.state != State::Held) {
        eprintln!("warning: {full}");
    }
    let timings = Timings::of(plan, &outcome.timeline, Timestamp::now());
    let ended = match outcome.ending {
        Ending::Interrupted => Ended::Interrupted,
        Ending::DidNotStart(error) => Ended::CouldNotRun(with_damage(job, error.to_string()).await),
        Ending::Finished => Ended::Verdict(Box::new(verdict)),
    };
    Done { timeline: outcome.timeline, ended, timings, trouble }
}

/// The end of a run that never had a cluster: what there is to look at is kept, and what was made is removed.
async fn never_started(
    common: &Common<'_>,
    job: &Job,
    plan: &Plan,
    folder: &RunFolder,
    mut ended: Ended,
) -> Done {
    let cleaning = Instant::now();
    let target = evidence_folder(common, plan, folder);
    let logs = in_short(async {
        let logs = cluster::copy_logs(common.place, folder, &target.join("logs")).await;
        logs.map_err(std::io::Error::other)
    });
    let kept = evidence::write_plan(&target, plan).map_err(|error| error.to_string()).and(logs.await);
    drop(tell_kept(&target, kept));
    let full = disk_is_full(&folder.path);
    let left = cluster::remove(common.place, folder).await.err().map(|error| error.to_string());
    match &mut ended {
        Ended::CouldNotRun(why) => {
            *why = with_damage(job, std::mem::take(why)).await;
            why.extend(full.map(|full| format!("\n{full}")));
        }
        Ended::Interrupted => tell_cleaned_up(cleaning),
        Ended::Verdict(_) => {}
    }
    let mut done = Done::without_a_run(ended);
    done.trouble.extend(left);
    done
}

fn evidence_folder(common: &Common<'_>, plan: &Plan, folder: &RunFolder) -> PathBuf {
    common.conduct.evidence.join(format!("{}-{}", plan.name, folder.run))
}

/// Says where the evidence is, or why not all of it is there.
fn tell_kept(target: &Path, written: Result<(), String>) -> Result<(), String> {
    match written {
        Ok(()) => {
            eprintln!("evidence: {}", target.display());
            Ok(())
        }
        Err(error) => {
            let trouble = format!("the evidence could not be kept whole in {}: {error}", target.display());
            eprintln!("warning: {trouble}");
            Err(trouble)
        }
    }
}

/// Keeps evidence as long as somebody who stopped a run may be kept waiting for it.
async fn in_short(written: impl Future<Output = std::io::Result<()>>) -> Result<(), String> {
    match tokio::time::timeout(KEPT_WITHIN, written).await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it took longer than {} s", KEPT_WITHIN.as_secs())),
    }
}

/// Says so when somebody who stopped a run had to wait for longer than they should.
fn tell_cleaned_up(began: Instant) {
    let took = began.elapsed();
    if took > CLEANED_UP_WITHIN {
        eprintln!(
            "warning: the clean-up took {:.1} s, longer than the {} s that it should take at most",
            took.as_secs_f64(),
            CLEANED_UP_WITHIN.as_secs()
        );
    }
}

/// Why a cluster did not start, and what is wrong with the bundle if something is: a file that was damaged without changing its
/// length shows as anything.
async fn with_damage(job: &Job, why: String) -> String {
    let bundle = job.bundle.clone();
    match tokio::task::spawn_blocking(move || bundle.verify()).await {
        Ok(Err(damage)) => format!("{why}\n{damage}"),
        _ => why,
    }
}

/// A sentence if nothing more can be written where a run's folder is.
fn disk_is_full(folder: &Path) -> Option<String> {
    let figures = rustix::fs::statvfs(folder).ok()?;
    let free = figures.f_bavail.saturating_mul(figures.f_frsize);
    (free < FULL_BELOW || (figures.f_files > 0 && figures.f_ffree == 0)).then(|| {
        format!(
            "the disk of the run's folder {} is full, so what the nodes wrote may be lost\nhelp: make room there, or name another folder with {STATE_VARIABLE}",
            folder.display()
        )
    })
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
