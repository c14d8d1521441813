//! The one writer of a timeline.

use jiff::Timestamp;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{Fact, Observation, Timeline, World};

/// Where sources send what they see. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Facts(UnboundedSender<(Timestamp, Fact)>);

impl Facts {
    /// Sends a fact that is so now.
    pub fn send(&self, fact: Fact) {
        self.send_at(Timestamp::now(), fact);
    }

    /// Sends a fact that was so at this moment.
    pub fn send_at(&self, at: Timestamp, fact: Fact) {
        // After the run nobody listens, and what still arrives is no part of it.
        let _ = self.0.send((at, fact));
    }
}

/// Puts facts in order, one after another, and tells each to whoever reports.
pub struct Recorder {
    facts: UnboundedReceiver<(Timestamp, Fact)>,
    /// The timeline so far.
    pub timeline: Timeline,
    /// Its last state.
    pub world: World,
}

impl Recorder {
    /// A recorder with an empty timeline, and where to send facts.
    #[must_use]
    pub fn new() -> (Self, Facts) {
        let (sender, facts) = mpsc::unbounded_channel();
        (Self { facts, timeline: Timeline::default(), world: World::default() }, Facts(sender))
    }

    /// Waits for the next fact and writes it down. None when no source is left.
    pub async fn next(&mut self) -> Option<&Observation> {
        let (at, fact) = self.facts.recv().await?;
        Some(self.write(at, fact))
    }

    /// The next fact that has arrived already.
    pub fn next_now(&mut self) -> Option<&Observation> {
        let (at, fact) = self.facts.try_recv().ok()?;
        Some(self.write(at, fact))
    }

    fn write(&mut self, at: Timestamp, fact: Fact) -> &Observation {
        self.world.apply(at, &fact);
        self.timeline.push(at, fact)
    }
}
