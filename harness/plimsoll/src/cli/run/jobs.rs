//! All runs of a command: who starts when, who is run again, and what they came to together.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::job::{self, Common, Done, Ended};
use super::screen::{Telling, Told};
use super::{Conduct, Job, Jobs, RunArguments, screen, stopped};
use crate::catalogue::{Admission, Needs, Room};
use crate::cli::signals::cancelled_by_signals;
use crate::cli::{Exit, On};
use crate::cluster::{self, Place, state::state_folder};
use crate::observe::{Fact, Observation};
use crate::programs::Programs;
use crate::report::{Tally, TerminalOptions, Timings, timings};
use crate::verdict::State;

pub(super) async fn run_all(arguments: &RunArguments, jobs: Vec<Job>) -> Result<Exit, String> {
    let began = Timestamp::now();
    let telling = Telling::new(screen(arguments, jobs.len()), arguments.outputs.documents()?);
    let mut together = conduct(&arguments.conduct(), &jobs, telling, &mut |_, _| {}).await?;
    let mut trouble = std::mem::take(&mut together.trouble);
    let several = jobs.len() > 1;
    if several || arguments.timings {
        let mut error_output = std::io::stderr();
        let mut output = std::io::stdout();
        let writer: &mut dyn std::io::Write =
            if arguments.outputs.json_on_stdout() { &mut error_output } else { &mut output };
        let options = arguments.outputs.options();
        let told = together.write(writer, &options, several, arguments.timings, began);
        trouble.extend(told.err().map(|error| format!("writing what it came to: {error}")));
    }
    if trouble.is_empty() { Ok(together.exit) } else { Err(trouble.join("\n")) }
}

/// Runs all of them, wherever that is possible, and hands each on when it is over.
pub(in crate::cli) async fn conduct(
    conduct: &Conduct,
    jobs: &[Job],
    telling: Telling,
    over: &mut dyn FnMut(usize, &Done),
) -> Result<Together, String> {
    let programs = Programs::find().map_err(|error| error.to_string())?;
    let telling = Mutex::new(telling);
    let place = match conduct.on {
        On::Auto => cluster::choose().await,
        On::Engine => cluster::available(Place::Engine).await,
        On::Host => cluster::available(Place::Host).await,
    };
    let (place, why) = place.map_err(|error| error.to_string())?;
    // However quiet: where it ran is part of what it showed.
    eprintln!("on {place}: {why}");
    for run in cluster::clean().await.map_err(|error| error.to_string())? {
        eprintln!("removed what run {run} left, whose process is gone");
    }
    let cancel = cancelled_by_signals(stopped);
    let common = Common { conduct, place, programs: &programs, cancel: &cancel };
    let mut together = Together::of(&common, jobs, &telling, over).await;
    together.trouble.extend(telling.into_inner().unwrap_or_else(PoisonError::into_inner).finish().err());
    Ok(together)
}

/// What became of all.
pub(in crate::cli) struct Together {
    pub(in crate::cli) exit: Exit,
    tally: Tally,
    timings: Vec<(String, Timings)>,
    /// What went wrong around the runs.
    pub(in crate::cli) trouble: Vec<String>,
}

impl Together {
    async fn of(
        common: &Common<'_>,
        jobs: &[Job],
        telling: &Mutex<Telling>,
        over: &mut dyn FnMut(usize, &Done),
    ) -> Self {
        let scenarios = match common.conduct.jobs {
            Jobs::Number(number) => number.get(),
            Jobs::Auto => usize::MAX,
        };
        let mut room = Room::of_machine(&state_folder(), scenarios);
        if matches!(common.conduct.jobs, Jobs::Number(_)) {
            // Who says how many has thought of the processors; memory and disk would break the runs themselves.
            room.processor = u64::MAX;
        }
        let mut admission = Admission::new(room, jobs.iter().map(|job| Needs::of(&job.plan)));
        let mut together =
            Self { exit: Exit::Held, tally: Tally::default(), timings: Vec::new(), trouble: Vec::new() };
        let (sender, mut booted) = unbounded_channel();
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(index) = admission.start() {
                let sender = sender.clone();
                running.push(async move {
                    (index, until_it_is_known(common, jobs, index, telling, &sender).await)
                });
            }
            tokio::select! {
                Some(index) = booted.recv() => admission.booted(index, Needs::of(&jobs[index].plan)),
                ended = running.next() => {
                    let Some((index, done)) = ended else { break };
                    admission.ended(index);
                    over(index, &done);
                    let exit = together.add(&jobs[index], done);
                    let stop = common.cancel.is_cancelled() || (common.conduct.fail_fast && exit != Exit::Held);
                    if stop {
                        let left = admission.give_up();
                        together.tally.not_run.extend(left.into_iter().map(|index| jobs[index].plan.name.clone()));
                    }
                }
            }
        }
        together
    }

    fn add(&mut self, job: &Job, done: Done) -> Exit {
        let name = job.plan.name.clone();
        let (names, exit) = match &done.ended {
            Ended::Verdict(verdict) => {
                self.timings.push((name.clone(), done.timings));
                match verdict.state {
                    State::Held => (&mut self.tally.held, Exit::Held),
                    State::Violated => (&mut self.tally.violated, Exit::Violated),
                    State::Unknown => (&mut self.tally.unknown, Exit::Unknown),
                }
            }
            Ended::CouldNotRun(_) => (&mut self.tally.not_run, Exit::CouldNotRun),
            Ended::Interrupted => (&mut self.tally.not_run, Exit::Interrupted),
        };
        names.push(name);
        self.exit = self.exit.worse(exit);
        self.trouble.extend(done.trouble);
        exit
    }

    fn write(
        &self,
        mut writer: &mut dyn std::io::Write,
        options: &TerminalOptions,
        several: bool,
        with_timings: bool,
        began: Timestamp,
    ) -> std::io::Result<()> {
        if with_timings {
            writeln!(writer)?;
            timings::write(&mut writer, &self.timings)?;
        }
        if several {
            self.tally.write(&mut writer, options, began)?;
        }
        Ok(())
    }
}

/// Runs a scenario, and again while something is left unknown and that is wanted.
async fn until_it_is_known(
    common: &Common<'_>,
    jobs: &[Job],
    index: usize,
    telling: &Mutex<Telling>,
    booted: &UnboundedSender<usize>,
) -> Done {
    let job = &jobs[index];
    let mut attempt = NonZeroUsize::MIN;
    loop {
        let turned = job::turn(common, job).await;
        let began = Instant::now();
        let plan = turned.as_ref().map_or(&job.plan, |turned| &turned.plan);
        lock(telling).begin(index, plan);
        let mut listener = |observation: &Observation| {
            if matches!(observation.fact, Fact::Started) {
                let _ = booted.send(index);
            }
            lock(telling).observation(index, observation);
        };
        let mut done = match &turned {
            Ok(turned) => job::run(common, job, &turned.plan, &mut listener).await,
            Err(ended) => Done::without_a_run(ended.clone()),
        };
        if let Ended::Verdict(verdict) = &mut done.ended {
            verdict.attempts = u32::try_from(attempt.get()).unwrap_or(u32::MAX);
        }
        let again = matches!(&done.ended, Ended::Verdict(verdict) if verdict.state == State::Unknown)
            && attempt.get() <= common.conduct.retry_unknown as usize
            && !common.cancel.is_cancelled();
        let told = match &done.ended {
            Ended::Verdict(verdict) => Told::Verdict { verdict, counts: !again },
            Ended::CouldNotRun(why) => {
                eprintln!("error: {}: the cluster could not be started: {why}", job.file.display());
                Told::CouldNotRun(why)
            }
            Ended::Interrupted => Told::Interrupted,
        };
        lock(telling).ended(index, plan, &done.timeline, &told, began.elapsed());
        if !again {
            return done;
        }
        attempt = attempt.saturating_add(1);
    }
}

/// Whoever panicked while telling has told that; the others go on.
fn lock(telling: &Mutex<Telling>) -> MutexGuard<'_, Telling> {
    telling.lock().unwrap_or_else(PoisonError::into_inner)
}
