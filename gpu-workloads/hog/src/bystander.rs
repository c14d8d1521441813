//! A program that allocates little, works steadily, and says how long its work takes and what fails: the victim, or the
//! proof that there is none.

use std::collections::VecDeque;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use plimsoll_hog::report::Simulated;
use plimsoll_hog::session;
use plimsoll_hog::signals::{Signals, Wish};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::driver::{Block, Context, CudaError, Part};

/// The version of the schema, the field `v` of each line.
pub const VERSION: u32 = 1;
/// How many latencies are kept for the last report: the latest so many.
const KEPT: usize = 1 << 16;

/// What the bystander has done. Times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The schema's version.
    pub v: u32,
    /// Where it stands.
    pub kind: Kind,
    /// `SIMULATED` when no device had a part in this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Simulated>,
    /// Wall time.
    pub at: Timestamp,
    /// Seconds since it started.
    pub elapsed: f64,
    /// The device's UUID.
    pub uuid: String,
    /// Bytes that it holds.
    pub holds: u64,
    /// Rounds of work that were done, or failed, so far.
    pub rounds: u64,
    /// Rounds that failed.
    pub errors: u64,
    /// Elements that did not read back as written.
    pub differing: u64,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long rounds took that were done since the last report; on the last report, the latest 65536.
    pub latency: Option<Latency>,
}

/// Where a report stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It has allocated and begins.
    BystanderStart,
    /// It works.
    Bystander,
    /// It ends.
    BystanderFinal,
}

/// How long rounds took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The shortest.
    pub least: f64,
    /// Half took no longer.
    pub median: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// The longest.
    pub most: f64,
}

impl Latency {
    /// Of some rounds.
    pub fn of(rounds: &mut [Duration]) -> Option<Latency> {
        rounds.sort_unstable();
        let at = |hundredths: usize| rounds.get(rounds.len().saturating_sub(1) * hundredths / 100);
        let (least, median, p99, most) = (at(0)?, at(50)?, at(99)?, at(100)?);
        let seconds = Duration::as_secs_f64;
        Some(Latency {
            least: seconds(least),
            median: seconds(median),
            p99: seconds(p99),
            most: seconds(most),
        })
    }
}

/// A bystander that works.
#[derive(Debug)]
pub struct Bystander {
    context: Context,
    block: Block,
    simulated: bool,
    started: Instant,
    rounds: u64,
    errors: u64,
    differing: u64,
    message: Option<String>,
    recent: Vec<Duration>,
    all: VecDeque<Duration>,
}

impl Bystander {
    /// Allocates.
    ///
    /// # Errors
    ///
    /// When the device has not as much, or can not be used.
    pub fn new(context: Context, amount: u64, simulated: bool) -> Result<Bystander, CudaError> {
        let block = context.allocate(amount)?;
        Ok(Bystander {
            context,
            block,
            simulated,
            started: Instant::now(),
            rounds: 0,
            errors: 0,
            differing: 0,
            message: None,
            recent: Vec::new(),
            all: VecDeque::new(),
        })
    }

    /// Does one round of work: writes all that it holds, and compares it.
    pub fn round(&mut self) {
        let began = Instant::now();
        let part = Part { seed: self.rounds as u32, first: 0 };
        let outcome =
            self.context.fill(&self.block, part).and_then(|()| self.context.verify(&self.block, part));
        let took = began.elapsed();
        self.rounds += 1;
        match outcome {
            Ok(found) if found.count == 0 => {
                self.recent.push(took);
                if self.all.len() == KEPT {
                    self.all.pop_front();
                }
                self.all.push_back(took);
            }
            Ok(found) => {
                self.errors += 1;
                self.differing += found.count;
                self.message = Some(format!("{} elements do not read back as written", found.count));
            }
            Err(error) => {
                self.errors += 1;
                self.message = Some(error.to_string());
            }
        }
    }

    /// Whether a round has failed.
    pub fn failed(&self) -> bool {
        self.errors > 0
    }

    /// A report.
    pub fn report(&mut self, kind: Kind) -> Report {
        let last = kind == Kind::BystanderFinal;
        let latency = Latency::of(if last { self.all.make_contiguous() } else { &mut self.recent });
        self.recent.clear();
        Report {
            v: VERSION,
            kind,
            stamp: self.simulated.then_some(Simulated::Simulated),
            at: Timestamp::now(),
            elapsed: self.started.elapsed().as_secs_f64(),
            uuid: self.context.device.uuid.clone(),
            holds: self.block.length,
            rounds: self.rounds,
            errors: self.errors,
            differing: self.differing,
            message: self.message.clone(),
            latency,
        }
    }
}

/// How often it reports.
const REPORT: Duration = Duration::from_secs(1);

/// Works at an interval until told to end, until the time is over, or, with `end_on_error`, until a round fails.
///
/// # Errors
///
/// When it can not start.
pub fn run(
    context: Context,
    amount: u64,
    (interval, duration): (Duration, Option<Duration>),
    end_on_error: bool,
    simulated: bool,
) -> Result<ExitCode, String> {
    let mut signals = Signals::install().map_err(|error| format!("can not handle signals: {error}"))?;
    let mut bystander = Bystander::new(context, amount, simulated).map_err(|error| error.to_string())?;
    let say = |report: &Report| {
        if let Ok(line) = serde_json::to_string(report) {
            // Whoever read may be gone, which is no concern of the work.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    };
    say(&bystander.report(Kind::BystanderStart));
    let (started, mut next_report) = (Instant::now(), REPORT);
    let mut next_round = Duration::ZERO;
    let ended_by = loop {
        let wish = signals.take().into_iter().find(|wish| *wish != Wish::Release);
        if wish.is_some() || duration.is_some_and(|duration| started.elapsed() >= duration) {
            break wish;
        }
        bystander.round();
        if end_on_error && bystander.failed() {
            break None;
        }
        if started.elapsed() >= next_report {
            say(&bystander.report(Kind::Bystander));
            next_report = started.elapsed() + REPORT;
        }
        // A round that took too long delays those after it; none are made up for.
        next_round = (next_round + interval).max(started.elapsed());
        let left = next_round.min(duration.unwrap_or(Duration::MAX)).saturating_sub(started.elapsed());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut ready = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        // An interruption is a signal, which the next round sees.
        let _ = poll(&mut ready, Some(&timeout));
    };
    say(&bystander.report(Kind::BystanderFinal));
    Ok(ExitCode::from(match ended_by {
        _ if bystander.failed() => session::EXIT_LOST,
        None => session::EXIT_ENDED,
        Some(Wish::Interrupt) => session::EXIT_INTERRUPTED,
        Some(_) => session::EXIT_TERMINATED,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_ranked() {
        let mut rounds: Vec<Duration> = (1..=101).rev().map(Duration::from_secs).collect();
        let latency = Latency::of(&mut rounds).unwrap();
        assert_eq!(latency, Latency { least: 1.0, median: 51.0, p99: 100.0, most: 101.0 });
        assert_eq!(Latency::of(&mut []), None);
    }
}
