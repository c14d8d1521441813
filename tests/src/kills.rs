//! Ending runs by force at moments that nobody chose.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::{self, Ran, Running};
use crate::machine::{Begun, begun, settles, traces};
use crate::numbers::Numbers;

/// Names the seed of the moments, to have the same ones again.
pub const SEED_VARIABLE: &str = "PLIMSOLL_TEST_SEED";
/// The longest that a whole run may take.
const ENDED_WITHIN: Duration = Duration::from_secs(180);
/// How long a process may take to be gone after SIGKILL, on a machine that does other things.
const DEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long a cluster may take to be cleaned up by the run that somebody stopped, on a machine that does nothing else.
const CLEANED_UP_WITHIN: Duration = Duration::from_secs(5);
/// How often a moment is drawn anew because the run was over before it came.
const DRAWS: u32 = 5;

/// Moments of a run's life, drawn by a seed that is told.
#[derive(Debug)]
pub struct Moments {
    numbers: Numbers,
    /// How long the shortest whole run took so far, from its beginning.
    life: Duration,
}

impl Moments {
    /// Draws its seed from the clock, or takes the one that [`SEED_VARIABLE`] names, tells it, and measures how long such a run
    /// takes when nothing happens to it.
    ///
    /// # Errors
    /// When the run does not hold, or the seed is no number.
    pub fn of(arguments: &[&str]) -> Result<Self, String> {
        let named = std::env::var(SEED_VARIABLE).ok().filter(|seed| !seed.is_empty());
        let seed = match named {
            Some(seed) => seed.parse().map_err(|_| format!("{SEED_VARIABLE}={seed} is no number"))?,
            None => std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
        };
        let mut running = command::start(command::plimsoll(arguments)?)?;
        begun(&mut running)?;
        let from = Instant::now();
        running.ended(ENDED_WITHIN)?.expect(0)?;
        let life = from.elapsed();
        eprintln!("moments of {:.1} s, {SEED_VARIABLE}={seed}", life.as_secs_f64());
        Ok(Self { numbers: Numbers::new(seed), life })
    }

    /// A moment in one of so many equal stretches of the run's life, so that all of it is tried, its last steps, judging and
    /// clean-up too.
    pub fn draw(&mut self, stretch: u32, of: u32) -> Duration {
        self.life.mul_f64((f64::from(stretch) + self.numbers.share()) / f64::from(of))
    }

    /// A run took only so long: the moments are of that life from now on.
    fn is_shorter(&mut self, life: Duration) {
        self.life = self.life.min(life);
    }
}

/// A run that was ended by force.
#[derive(Debug)]
pub struct Killed {
    /// The run.
    pub run: String,
    /// How long after its beginning.
    pub after: Duration,
    /// Whether anything was left of it to be removed.
    left_something: bool,
}

/// Starts a run and ends it by force at a moment of such a stretch. That it had begun, and that the signal ended it, is certain.
///
/// # Errors
/// When it can not be started, or is over each time before the moment comes.
pub fn kill(arguments: &[&str], moments: &mut Moments, stretch: u32, of: u32) -> Result<Killed, String> {
    for _ in 0..DRAWS {
        let after = moments.draw(stretch, of);
        let mut running = command::start(command::plimsoll(arguments)?)?;
        let Begun { run, folder } = begun(&mut running)?;
        let from = Instant::now();
        std::thread::sleep(after);
        // One that has ended meanwhile takes no signal; that shows below.
        let _ = running.signal(Signal::KILL);
        let ran = running.ended(DEAD_WITHIN)?;
        if ran.code.is_none() {
            return Ok(Killed { run, after, left_something: folder.exists() });
        }
        ran.expect(0)?;
        moments.is_shorter(from.elapsed().min(after));
    }
    Err(format!("stretch {stretch} of {of}: {DRAWS} runs were over before they could be killed"))
}

impl Killed {
    /// Removes what it left with `clean`, or with the start of the next run, which is then stopped.
    ///
    /// # Errors
    /// When something is left, or the run that removes it does not say so.
    pub fn is_removed_by(&self, by: Remover, arguments: &[&str]) -> Result<(), String> {
        let said = match by {
            Remover::Clean => command::run(&["clean"], Duration::from_secs(60))?.expect(0)?.output,
            Remover::NextRun => {
                let mut next = command::start(command::plimsoll(arguments)?)?;
                begun(&mut next)?;
                // It has begun: whatever it removes before that is removed.
                let left = settles(|| traces(&self.run));
                let (ended, _) = interrupt(next)?;
                left.map_err(|left| format!("the next run had begun, and this was still there:\n{left}"))?;
                ended.errors
            }
        };
        settles(|| traces(&self.run))?;
        let told = format!("removed what run {} left", self.run);
        if self.left_something && !said.contains(&told) {
            return Err(format!("expected \"{told}\", found:\n{said}"));
        }
        Ok(())
    }
}

/// Who removes what a killed run left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remover {
    /// The command that is there for it.
    Clean,
    /// The start of the next run.
    NextRun,
}

/// A run that somebody stopped.
#[derive(Debug)]
pub struct Interrupted {
    /// The run.
    pub run: String,
    /// How long after its beginning.
    pub after: Duration,
    /// How long it took to clean up.
    pub took: Duration,
    /// What it said.
    pub ran: Ran,
}

/// Starts a run and stops it at a moment of such a stretch. One that is over before that moment is no try: then the moments are of a
/// shorter life.
///
/// # Errors
/// When it can not be started, does not clean up, or is over each time before the moment comes.
pub fn stop(arguments: &[&str], moments: &mut Moments, stretch: u32, of: u32) -> Result<Interrupted, String> {
    for _ in 0..DRAWS {
        let after = moments.draw(stretch, of);
        let mut running = command::start(command::plimsoll(arguments)?)?;
        let Begun { run, .. } = begun(&mut running)?;
        let from = Instant::now();
        std::thread::sleep(after);
        let at = |error: String| format!("interrupted after {} ms: {error}", after.as_millis());
        if running.is_over()? {
            running.ended(DEAD_WITHIN)?.expect(0).map_err(at)?;
            moments.is_shorter(from.elapsed().min(after));
            continue;
        }
        let (ran, took) = interrupt(running).map_err(at)?;
        settles(|| traces(&run)).map_err(at)?;
        return Ok(Interrupted { run, after, took, ran });
    }
    Err(format!("stretch {stretch} of {of}: {DRAWS} runs were over before they could be stopped"))
}

/// Whether runs that somebody stopped clean up as soon as is promised: the middle one of them. A machine that stands still for some seconds
/// makes one of them late, and a clean-up that is slow all.
///
/// # Errors
/// With how long each took.
pub fn are_soon(mut took: Vec<Duration>) -> Result<(), String> {
    took.sort();
    match took.get(took.len() / 2) {
        Some(middle) if *middle <= CLEANED_UP_WITHIN => Ok(()),
        _ => Err(format!("{} s to clean up are promised, and it took {took:?}", CLEANED_UP_WITHIN.as_secs())),
    }
}

/// Stops a run as somebody at a terminal does, and says how long it took to clean up by itself. One that has its verdict already ends with that.
///
/// # Errors
/// When it ends otherwise, or does not.
fn interrupt(running: Running) -> Result<(Ran, Duration), String> {
    running.signal(Signal::INT)?;
    let from = Instant::now();
    let ran = running.ended(DEAD_WITHIN)?;
    let took = from.elapsed();
    let ran = if ran.output.contains(": held (") { ran.expect(0)? } else { ran.expect(130)? };
    Ok((ran, took))
}
