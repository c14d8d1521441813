//! One filler from its start to its end: the loop that paces it, obeys signals and commands, and reports.
//!
//! It waits in one place only, for the first of: the next step, the next report, a signal, a command, the
//! end of a hold or of a delay.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::control::{Asked, Command, Server};
use crate::filler::{Filler, Shortage};
use crate::footprint;
use crate::order::{Course, Order, WhenExhausted};
use crate::pace::Pace;
use crate::report::{Kind, Reason, Report, VERSION};
use crate::reporter::Reporter;
use crate::signals::{Signals, Wish};

/// The hold is over, as it was asked to be.
pub const EXIT_ENDED: u8 = 0;
/// The exit code after SIGTERM, as a shell counts it. It is not 0: a pod whose containers end with 0 becomes
/// Succeeded when it is evicted, and loses the kubelet's reason.
pub const EXIT_TERMINATED: u8 = 128 + 15;
/// The exit code after SIGINT, as a shell counts it.
pub const EXIT_INTERRUPTED: u8 = 128 + 2;
/// A command found no filler or was refused, or the filler could not start.
pub const EXIT_FAILED: u8 = 1;
/// The resource could not be had.
pub const EXIT_EXHAUSTED: u8 = 3;
/// What it was taken of is gone.
pub const EXIT_LOST: u8 = 4;
/// What was written does not read back.
pub const EXIT_CORRUPTED: u8 = 5;

/// How far apart the steps of a paced fill are.
const STEP: Duration = Duration::from_millis(10);
/// How often progress is reported.
const PROGRESS: Duration = Duration::from_millis(250);
/// How often a holding filler reports.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Measuring what is held takes at most one part in so many of the time.
const MEASURE_SHARE: u32 = 20;
/// The longest message, so that a report fits what a pipe takes in one piece.
const MESSAGE_LENGTH: usize = 1024;

/// Runs a filler to its end.
pub fn run(filler: &mut dyn Filler, order: &Order) -> ExitCode {
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("error: can not handle signals: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let (control, off) = match Server::listen(order.control.as_deref()) {
        Ok(server) => (Some(server), None),
        Err(reason) => (None, Some(reason)),
    };
    let mut session = Session {
        pace: Pace::new(0, 0, 0, None),
        course: order.course,
        filler,
        order,
        signals,
        control,
        reporter: Reporter::default(),
        started: Instant::now(),
        settled: None,
        next_report: Duration::ZERO,
        measuring: Duration::ZERO,
        ending: None,
        next_attempt: None,
        failed: 0,
        refusals: 0,
    };
    footprint::forget_start_up();
    session.start(off);
    ExitCode::from(session.run())
}

struct Session<'a> {
    filler: &'a mut dyn Filler,
    order: &'a Order,
    course: Course,
    pace: Pace,
    signals: Signals,
    control: Option<Server>,
    reporter: Reporter,
    started: Instant,
    /// Since when the target is held; `None` on the way to it.
    settled: Option<Duration>,
    next_report: Duration,
    /// How long it took to measure what is held, the last time.
    measuring: Duration,
    ending: Option<Ending>,
    /// When to try again what could not be had.
    next_attempt: Option<Duration>,
    /// How many attempts failed since the last that did not.
    failed: u32,
    /// How many failed in all.
    refusals: u64,
}

/// The way to the end has begun.
struct Ending {
    at: Duration,
    reason: Reason,
}

impl Session<'_> {
    fn start(&mut self, control_is_off: Option<String>) {
        let mut report = self.report(Kind::Start);
        report.control = self.control.as_ref().map(|server| server.path().display().to_string());
        report.message = control_is_off.map(shortened);
        self.say(report);
    }

    fn run(&mut self) -> u8 {
        let outcome = self.set_out(self.order.course).and_then(|()| self.fill_and_hold());
        let before = self.filler.holds().ok();
        let released = self.filler.end();
        let mut report = self.report(Kind::Final);
        report.returned = before.zip(report.holds).map(|(before, after)| before.saturating_sub(after));
        report.message = released.err().map(|error| shortened(format!("giving back: {error}")));
        let code = match outcome {
            Ok(reason) => {
                report.reason = Some(reason);
                match reason {
                    Reason::Terminated => EXIT_TERMINATED,
                    Reason::Interrupted => EXIT_INTERRUPTED,
                    _ => EXIT_ENDED,
                }
            }
            Err(shortage) => {
                report.reason = Some(shortage.reason);
                report.message = Some(shortened(shortage.to_string()));
                match shortage.reason {
                    Reason::Lost => EXIT_LOST,
                    Reason::Corrupted => EXIT_CORRUPTED,
                    _ => EXIT_EXHAUSTED,
                }
            }
        };
        self.reporter.write_last(report);
        code
    }

    /// Takes a course; what is too much already is given back before this returns.
    fn set_out(&mut self, course: Course) -> Result<(), Shortage> {
        let granule = self.filler.granule();
        let rounded =
            |amount: u64| amount.checked_next_multiple_of(granule).unwrap_or(u64::MAX / granule * granule);
        let target = rounded(course.amount);
        self.filler.prepare(target)?;
        self.course = course;
        self.pace = Pace::new(self.filler.filled(), rounded(course.start_at), target, course.rate);
        (self.settled, self.next_attempt, self.failed) = (None, None, 0);
        if self.filler.filled() > target {
            self.filler.advance(target)?;
            while self.filler.filled() != target {
                self.filler.advance(target)?;
            }
        }
        Ok(())
    }

    fn fill_and_hold(&mut self) -> Result<Reason, Shortage> {
        loop {
            self.obey_signals()?;
            self.obey_commands()?;
            let now = self.started.elapsed();
            if let Some(ending) = self.ending.as_ref().filter(|ending| ending.at <= now) {
                return Ok(ending.reason);
            }
            if self.ending.is_none() {
                self.attempt(now)?;
                if let (Some(hold), Some(since)) = (self.order.hold, self.settled)
                    && self.started.elapsed().saturating_sub(since) >= hold
                {
                    return Ok(Reason::HoldOver);
                }
            }
            let now = self.started.elapsed();
            if now >= self.next_report {
                if self.settled.is_some() {
                    self.filler.check()?;
                }
                let report = self.state();
                self.say(report);
            }
            self.wait();
        }
    }

    /// Takes what is due. If it can not be had, does what was asked for that case, and says so.
    fn attempt(&mut self, now: Duration) -> Result<(), Shortage> {
        if self.next_attempt.is_some_and(|next| now < next) {
            return Ok(());
        }
        self.next_attempt = None;
        let before = self.filler.filled();
        let shortage = match self.step(now) {
            Err(shortage) if shortage.reason == Reason::Exhausted => shortage,
            other => {
                if self.filler.filled() > before {
                    self.failed = 0;
                }
                return other;
            }
        };
        if self.order.when_exhausted == WhenExhausted::Exit {
            return Err(shortage);
        }
        self.refusals += 1;
        self.failed = if self.filler.filled() > before { 1 } else { self.failed.saturating_add(1) };
        let (kind, then) = match self.order.when_exhausted.wait(self.failed) {
            Some(wait) => {
                self.next_attempt = Some(self.started.elapsed().saturating_add(wait));
                (Kind::Progress, format!("attempt {} failed; the next is in {wait:?}", self.failed))
            }
            None => {
                self.filler.settle()?;
                self.settled = Some(self.started.elapsed());
                (Kind::Held, "what there is is held".to_owned())
            }
        };
        let mut report = self.report(kind);
        report.reason = Some(Reason::Exhausted);
        report.message = Some(shortened(format!("{shortage}; {then}")));
        self.say(report);
        Ok(())
    }

    /// Takes what is due, and says so when that was the last of it.
    fn step(&mut self, now: Duration) -> Result<(), Shortage> {
        if self.settled.is_some() {
            return Ok(());
        }
        let granule = self.filler.granule();
        let goal = self.pace.due(self.filler.filled(), now) / granule * granule;
        if goal != self.filler.filled() {
            self.filler.advance(goal)?;
        }
        if self.filler.filled() == self.pace.target() {
            self.filler.settle()?;
            self.settled = Some(self.started.elapsed());
            let report = self.report(Kind::Held);
            self.say(report);
        }
        Ok(())
    }

    fn obey_signals(&mut self) -> Result<(), Shortage> {
        for wish in self.signals.take() {
            match wish {
                Wish::Release => {
                    let report = self.release(Reason::ReleaseSignal)?;
                    self.say(report);
                }
                Wish::Terminate => self.end(Reason::Terminated),
                Wish::Interrupt => match &mut self.ending {
                    Some(ending) => ending.at = Duration::ZERO,
                    None => self.end(Reason::Interrupted),
                },
            }
        }
        Ok(())
    }

    /// Begins the end; one that has begun stays as it is, since SIGTERM may be sent again while waiting.
    fn end(&mut self, reason: Reason) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(Ending { at: self.started.elapsed() + self.order.shutdown_delay, reason });
        let mut report = self.report(Kind::Terminating);
        report.reason = Some(reason);
        self.say(report);
    }

    fn obey_commands(&mut self) -> Result<(), Shortage> {
        while let Some(asked) = self.control.as_mut().and_then(Server::take) {
            self.obey(asked)?;
        }
        Ok(())
    }

    fn obey(&mut self, asked: Asked) -> Result<(), Shortage> {
        let report = match &asked.command {
            Command::Status => {
                asked.answer(&self.state());
                return Ok(());
            }
            Command::Release => self.release(Reason::Command)?,
            Command::Set(_) if self.ending.is_some() => {
                asked.refuse("it is ending".into());
                return Ok(());
            }
            Command::Set(typed) => {
                let course = match typed.resolve(self.filler.unit(), self.course) {
                    Ok(course) => course,
                    Err(error) => {
                        asked.refuse(error.to_string());
                        return Ok(());
                    }
                };
                let before = self.filler.holds().ok();
                if let Err(shortage) = self.set_out(course) {
                    asked.refuse(shortage.to_string());
                    return Err(shortage);
                }
                let mut report = self.report(Kind::Changed);
                report.reason = Some(Reason::Command);
                report.returned =
                    before.zip(report.holds).and_then(|(before, after)| before.checked_sub(after));
                report
            }
        };
        asked.answer(&report);
        self.say(report);
        Ok(())
    }

    fn release(&mut self, reason: Reason) -> Result<Report, Shortage> {
        let before = self.filler.holds().ok();
        let released = self.filler.release();
        self.set_out(Course { amount: 0, start_at: 0, ..self.course })?;
        self.settled = Some(self.started.elapsed());
        let mut report = self.report(Kind::Released);
        report.returned = before.zip(report.holds).map(|(before, after)| before.saturating_sub(after));
        report.reason = Some(reason);
        report.message = released.err().map(|error| shortened(format!("giving back: {error}")));
        Ok(report)
    }

    /// A report of what goes on.
    fn state(&mut self) -> Report {
        let kind = match (&self.ending, self.settled) {
            (Some(_), _) => Kind::Terminating,
            (None, Some(_)) => Kind::Held,
            (None, None) => Kind::Progress,
        };
        let mut report = self.report(kind);
        report.reason = self.ending.as_ref().map(|ending| ending.reason);
        report
    }

    /// Writes a report; the next regular one is a full interval away.
    fn say(&mut self, report: Report) {
        self.reporter.write(report);
        let interval = if self.settled.is_some() { HEARTBEAT } else { PROGRESS };
        self.next_report = self.started.elapsed() + interval.max(self.measuring * MEASURE_SHARE);
    }

    /// A report of this moment, with what is held measured.
    fn report(&mut self, kind: Kind) -> Report {
        let (at, elapsed) = (Timestamp::now(), self.started.elapsed());
        let holds = self.filler.holds().ok();
        self.measuring = self.started.elapsed().saturating_sub(elapsed);
        Report {
            v: VERSION,
            kind,
            at,
            elapsed: elapsed.as_secs_f64(),
            resource: self.filler.resource(),
            form: self.filler.form(),
            pid: std::process::id(),
            unit: self.filler.unit(),
            target: self.course.amount,
            filled: self.filler.filled(),
            holds,
            rate: self.course.rate.map(std::num::NonZeroU64::get),
            start_at: self.course.start_at,
            returned: None,
            reason: None,
            message: None,
            control: None,
            lost: 0,
            refusals: self.refusals,
            gpu: self.filler.gpu(),
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&self) {
        let now = self.started.elapsed();
        let mut until = self.next_report;
        if let Some(ending) = &self.ending {
            until = until.min(ending.at);
        } else if let (Some(since), Some(hold)) = (self.settled, self.order.hold) {
            until = until.min(since.saturating_add(hold));
        } else if let Some(next) = self.next_attempt {
            until = until.min(next);
        } else if self.settled.is_none() {
            let next = self.filler.filled().saturating_add(self.filler.granule());
            // What is due already is taken at once: the part before the rate, or all without a rate.
            until = until.min(self.pace.when(next).map_or(now, |when| when.max(now + STEP)));
        }
        if let Some(deadline) = self.control.as_ref().and_then(Server::deadline) {
            until = until.min(deadline.saturating_duration_since(self.started));
        }
        let timeout =
            Timespec::try_from(until.saturating_sub(now)).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let signals = self.signals.as_fd();
        let control = self.control.as_ref().map_or(signals, Server::as_fd);
        let mut ready = [
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(control, PollFlags::IN),
        ];
        // An interruption is a signal, which the next round sees.
        let _ = poll(&mut ready, Some(&timeout));
    }
}

/// A message that leaves room for the rest of a report's line.
fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_LENGTH {
        message.truncate(message.floor_char_boundary(MESSAGE_LENGTH));
        message.push('…');
    }
    message
}
