//! Telling people and machines about a run. Every reporter takes the same observations and the same verdict, and knows
//! nothing of clusters.
//!
//! - [`Terminal`]: lines as things happen, a level that moves, and what it all came to. [`Board`] where several run at once.
//! - [`Junit`]: a suite for each scenario, a case for each expectation.
//! - [`JsonLines`]: everything, one document a line.
//! - [`Metrics`]: what kube-state-metrics would say of the pods at the end, in Prometheus' text format.
//! - [`truth`]: predictions beside what real runs did, as a table.

mod json;
mod junit;
mod level;
mod metrics;
pub mod myths;
mod terminal;
pub mod timings;
pub mod truth;

use std::io;

pub use json::{JsonLines, VERSION};
pub use junit::Junit;
pub use metrics::Metrics;
pub(crate) use terminal::Tone;
pub use terminal::{Board, Tally, Terminal, TerminalOptions, Verbosity, WithoutVerdict};
pub use timings::Timings;

use crate::observe::Observation;
use crate::plan::Plan;
use crate::verdict::Verdict;

/// Takes what happens in runs, one run after another.
pub trait Reporter {
    /// A run of this plan begins.
    ///
    /// # Errors
    /// When it can not be written.
    fn begin(&mut self, plan: &Plan) -> io::Result<()>;

    /// Something was observed.
    ///
    /// # Errors
    /// When it can not be written.
    fn observation(&mut self, observation: &Observation) -> io::Result<()>;

    /// The run is over, and this is what it came to.
    ///
    /// # Errors
    /// When it can not be written.
    fn verdict(&mut self, verdict: &Verdict) -> io::Result<()>;

    /// The run came to nothing: the cluster could not be started. There is no verdict then.
    ///
    /// # Errors
    /// When it can not be written.
    fn could_not_run(&mut self, plan: &Plan, why: &str) -> io::Result<()>;

    /// No other run follows.
    ///
    /// # Errors
    /// When it can not be written.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
