//! What every filler can do. Pacing, commands, signals and reports are the session's, once for all of them.

use std::io;

use crate::report::{Form, Gpu, Reason, Resource, Unit};

/// The resource could not be had. Unless it was told to go on, the filler ends and says so in its last report.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct Shortage {
    /// What was being done.
    pub what: String,
    /// What the kernel answered.
    pub source: io::Error,
    /// What kind of end it is: exhausted, lost or corrupted.
    pub reason: Reason,
}

impl Shortage {
    /// `source` came up while doing `what`.
    pub fn new(what: impl Into<String>, source: impl Into<io::Error>) -> Shortage {
        Shortage { what: what.into(), source: source.into(), reason: Reason::Exhausted }
    }

    /// The same for an end after which trying again is of no use.
    pub fn of_kind(reason: Reason, what: impl Into<String>, source: impl Into<io::Error>) -> Shortage {
        Shortage { what: what.into(), source: source.into(), reason }
    }
}

/// Something that takes an amount of one resource and gives it back.
pub trait Filler {
    /// What it fills.
    fn resource(&self) -> Resource;

    /// In which form, where the resource has several.
    fn form(&self) -> Option<Form> {
        None
    }

    /// What its amounts are counted in.
    fn unit(&self) -> Unit;

    /// The smallest amount that can be taken; amounts are rounded up to a multiple of it.
    fn granule(&self) -> u64 {
        1
    }

    /// Makes ready for holding `target`, taking nothing of the resource yet.
    ///
    /// # Errors
    ///
    /// When it is certain already that `target` can not be had.
    fn prepare(&mut self, target: u64) -> Result<(), Shortage>;

    /// Does a piece of the way to `goal`, up or down: at most some ten milliseconds of it, so that
    /// commands are answered meanwhile. `goal` is a multiple of the granule and at most what was prepared.
    ///
    /// # Errors
    ///
    /// When the resource can not be had.
    fn advance(&mut self, goal: u64) -> Result<(), Shortage>;

    /// Called once when the target is reached, to make final what is not yet.
    ///
    /// # Errors
    ///
    /// When it turns out only now that the resource could not be had.
    fn settle(&mut self) -> Result<(), Shortage> {
        Ok(())
    }

    /// What has been taken, by the filler's own account.
    fn filled(&self) -> u64;

    /// What the kernel says is held, for this filler's own fill and nothing else.
    ///
    /// # Errors
    ///
    /// When it can not be measured.
    fn holds(&mut self) -> io::Result<u64>;

    /// Whether what is held is still there and as it was written; asked before each regular report once the target
    /// is reached.
    ///
    /// # Errors
    ///
    /// When it is not.
    fn check(&mut self) -> Result<(), Shortage> {
        Ok(())
    }

    /// What a report says of GPUs.
    fn gpu(&mut self) -> Option<Gpu> {
        None
    }

    /// Gives everything back.
    ///
    /// # Errors
    ///
    /// When something could not be given back.
    fn release(&mut self) -> io::Result<()>;

    /// Gives everything back as the filler ends, but for what it was asked to leave behind.
    ///
    /// # Errors
    ///
    /// When something could not be given back.
    fn end(&mut self) -> io::Result<()> {
        self.release()
    }
}
