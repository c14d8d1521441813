//! Writes reports to standard output, and is neither stopped nor ended by what becomes of it.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::report::Report;

/// How long the last report waits for a reader that is slow.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Writes reports as lines. It keeps one buffer and grows no further than the longest line.
#[derive(Debug, Default)]
pub struct Reporter {
    line: Vec<u8>,
    lost: u64,
    torn: bool,
}

impl Reporter {
    /// Writes one report if the output takes it at once, and counts it as lost otherwise.
    pub fn write(&mut self, report: Report) {
        self.write_within(report, Duration::ZERO);
    }

    /// Writes the last report, waiting up to a second for the output to take it.
    pub fn write_last(&mut self, report: Report) {
        self.write_within(report, LAST_WAIT);
    }

    fn write_within(&mut self, mut report: Report, patience: Duration) {
        report.lost = self.lost;
        self.line.clear();
        if self.torn {
            self.line.push(b'\n');
        }
        if serde_json::to_writer(&mut self.line, &report).is_err() {
            self.lost += 1;
            return;
        }
        self.line.push(b'\n');
        match write_all(&self.line, patience) {
            Ok(written) if written == self.line.len() => (self.lost, self.torn) = (0, false),
            Ok(written) => {
                self.lost += 1;
                self.torn = written > 0 || self.torn;
            }
            Err(_) => self.lost += 1,
        }
    }
}

/// Writes as much as the output takes without making the filler wait longer than `patience`, and
/// answers how much. A pipe that is ready takes at least 4096 bytes, more than a report has.
fn write_all(bytes: &[u8], patience: Duration) -> io::Result<usize> {
    let output = rustix::stdio::stdout();
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut written = 0;
    while written < bytes.len() {
        let mut ready = [PollFd::new(&output, PollFlags::OUT)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) => break,
            Ok(_) if !ready[0].revents().contains(PollFlags::OUT) => {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match rustix::io::write(output, &bytes[written..]) {
            Ok(count) => written += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => break,
            Err(error) => return if written > 0 { Ok(written) } else { Err(error.into()) },
        }
    }
    Ok(written)
}
