//! The container's log: lines on standard error, which the container runtime writes to the node's disk.
//!
//! What was written can not be taken back, nor be seen from inside the container; the kubelet rotates it.
//! A smaller amount than the one so far is written anew.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::filler::{Filler, Shortage};
use crate::report::{Form, Resource, Unit};

/// A line with its end. A pipe that is ready takes as much in one piece.
const LINE: usize = 4096;
/// How many lines one step writes.
const STEP: u64 = 64;
/// How long a step waits for whoever reads.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// A filler of the container's log.
#[derive(Debug)]
pub struct Log {
    filled: u64,
    line: Vec<u8>,
}

impl Default for Log {
    fn default() -> Log {
        let mut line: Vec<u8> = (0..LINE).map(|column| b'a' + (column % 26) as u8).collect();
        line[LINE - 1] = b'\n';
        Log { filled: 0, line }
    }
}

impl Log {
    fn write_line(&mut self) -> io::Result<bool> {
        let output = rustix::stdio::stderr();
        let mut ready = [PollFd::new(&output, PollFlags::OUT)];
        if poll(&mut ready, Some(&PATIENCE))? == 0 {
            return Ok(false);
        }
        if !ready[0].revents().contains(PollFlags::OUT) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // What was cut off last time is written now, so that a line is never torn for good.
        let from = (self.filled % LINE as u64) as usize;
        self.filled += rustix::io::write(output, &self.line[from..])? as u64;
        Ok(true)
    }
}

impl Filler for Log {
    fn resource(&self) -> Resource {
        Resource::Disk
    }

    fn form(&self) -> Option<Form> {
        Some(Form::Log)
    }

    fn unit(&self) -> Unit {
        Unit::Bytes
    }

    fn granule(&self) -> u64 {
        LINE as u64
    }

    fn prepare(&mut self, target: u64) -> Result<(), Shortage> {
        if target < self.filled {
            self.filled = 0;
        }
        Ok(())
    }

    fn advance(&mut self, goal: u64) -> Result<(), Shortage> {
        for _ in 0..STEP.min((goal - self.filled).div_ceil(LINE as u64)) {
            match self.write_line() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                Err(error) => return Err(Shortage::new("writing to the log", error)),
            }
        }
        Ok(())
    }

    fn filled(&self) -> u64 {
        self.filled
    }

    fn holds(&mut self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn release(&mut self) -> io::Result<()> {
        Err(io::Error::other("what is in the log can not be taken back"))
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
