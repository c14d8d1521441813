//! Processor time: threads that work for a share of each period and sleep for the rest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::filler::{Filler, Shortage};
use crate::report::{Resource, Unit};

/// A share is kept over periods of this length, five to one of the kernel's own for limits.
const PERIOD: Duration = Duration::from_millis(20);
/// How far a thread that others kept from working catches up.
const ARREARS: Duration = Duration::from_secs(1);
/// A whole processor.
const WHOLE: u64 = 1000;

/// A filler of processor time. What it is asked for, it divides evenly among as few threads as can do it.
#[derive(Debug)]
pub struct Cpu {
    filled: u64,
    workers: Vec<Worker>,
    measured: (Instant, Duration),
}

#[derive(Debug)]
struct Worker {
    /// Thousandths of a processor; what is above a whole one ends the thread.
    share: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

const END: u64 = u64::MAX;

impl Default for Cpu {
    fn default() -> Cpu {
        Cpu { filled: 0, workers: Vec::new(), measured: (Instant::now(), used(ClockId::ProcessCPUTime)) }
    }
}

fn used(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// Works for its share of each period. The share is counted in processor time, so that what others take
/// meanwhile is made up for, in this period or the next ones.
fn work(share: &AtomicU64) {
    let mut until = Instant::now();
    let mut owed = Duration::ZERO;
    let mut state = 1u64;
    loop {
        let share = share.load(Ordering::Relaxed);
        if share == END {
            return;
        }
        until += PERIOD;
        owed = ARREARS.min(owed + PERIOD * u32::try_from(share).unwrap_or(0) / WHOLE as u32);
        let began = used(ClockId::ThreadCPUTime);
        let spent = || used(ClockId::ThreadCPUTime).saturating_sub(began);
        while spent() < owed && Instant::now() < until {
            for _ in 0..2_000 {
                state = std::hint::black_box(state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
            }
        }
        owed = owed.saturating_sub(spent());
        let now = Instant::now();
        // After a long halt the periods that were missed are not made up for.
        until = until.max(now);
        std::thread::sleep(until - now);
    }
}

impl Cpu {
    fn share_out(&mut self, goal: u64) -> io::Result<()> {
        let wanted = usize::try_from(goal.div_ceil(WHOLE)).map_err(io::Error::other)?;
        while self.workers.len() < wanted {
            let share = Arc::new(AtomicU64::new(0));
            let theirs = Arc::clone(&share);
            let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(move || work(&theirs))?;
            self.workers.push(Worker { share, thread });
        }
        self.end_from(wanted);
        let workers = wanted as u64;
        for (number, worker) in (0..).zip(&self.workers) {
            // The first ones take what does not divide evenly.
            let share = goal / workers + u64::from(number < goal % workers);
            worker.share.store(share, Ordering::Relaxed);
        }
        self.filled = goal;
        Ok(())
    }

    fn end_from(&mut self, first: usize) {
        let ended: Vec<Worker> = self.workers.drain(first..).collect();
        for worker in &ended {
            worker.share.store(END, Ordering::Relaxed);
        }
        for worker in ended {
            let _ = worker.thread.join();
        }
    }
}

impl Filler for Cpu {
    fn resource(&self) -> Resource {
        Resource::Cpu
    }

    fn unit(&self) -> Unit {
        Unit::Millicores
    }

    fn prepare(&mut self, target: u64) -> Result<(), Shortage> {
        // Those that it may run on. A limit of its control group is no obstacle: being throttled may be
        // what it is for.
        let processors = rustix::thread::sched_getaffinity(None)
            .map_err(|error| Shortage::new("counting processors", error))?
            .count();
        let processors = u64::from(processors);
        if target.div_ceil(WHOLE) > processors {
            return Err(Shortage::new(
                format!("working on {} processors", target as f64 / WHOLE as f64),
                io::Error::other(format!("there are {processors}")),
            ));
        }
        Ok(())
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        self.share_out(goal).map_err(|error| Shortage::new("starting a thread", error))
    }

    fn filled(&self) -> u64 {
        self.filled
    }

    /// The processor time used since the last measurement, over the time since then.
    fn holds(&mut self) -> io::Result<u64> {
        let now = (Instant::now(), used(ClockId::ProcessCPUTime));
        let elapsed = (now.0 - self.measured.0).as_nanos();
        if elapsed < PERIOD.as_nanos() {
            return Err(io::Error::other("too little time has gone by"));
        }
        let spent = now.1.saturating_sub(self.measured.1).as_nanos();
        self.measured = now;
        u64::try_from((spent * u128::from(WHOLE) + elapsed / 2) / elapsed).map_err(io::Error::other)
    }

    fn release(&mut self) -> io::Result<()> {
        self.end_from(0);
        self.filled = 0;
        Ok(())
    }
}
