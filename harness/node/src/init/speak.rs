//! Saying things on standard output, one JSON document a line.

use std::io::Write;
use std::time::Instant;

use jiff::Timestamp;

use crate::report::{Fact, Report};

/// The init's voice. Lines of several threads do not mix.
#[derive(Debug, Clone)]
pub struct Voice {
    began: Instant,
}

impl Voice {
    /// A voice whose phases count from now.
    #[must_use]
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }

    /// Says a fact that is so now.
    pub fn say(&self, fact: Fact) {
        self.say_of(Timestamp::now(), fact);
    }

    /// Says a fact of a moment that whoever told it has named.
    pub fn say_of(&self, at: Timestamp, fact: Fact) {
        let report = Report { at, fact };
        if let Ok(mut line) = serde_json::to_vec(&report) {
            line.push(b'\n');
            let mut out = std::io::stdout().lock();
            // Nobody listening is no reason to stop being a node.
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }

    /// Says that a phase of the boot ended.
    pub fn phase(&self, name: &str) {
        self.say(Fact::Phase { name: name.to_owned(), seconds: self.began.elapsed().as_secs_f64() });
    }

    /// Says a sentence for the run's log.
    pub fn note(&self, message: impl Into<String>) {
        self.say(Fact::Note { message: message.into() });
    }

    /// Says that the init ends, and why.
    pub fn fatal(&self, message: &str) {
        self.say(Fact::Fatal { message: message.to_owned() });
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self::new()
    }
}
