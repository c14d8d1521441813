//! What was seen: observations in order, and where they come from.
//!
//! Sources ([`watch`], [`poll`], [`fillers`], a cluster's reports) send facts to one [`Recorder`], which alone writes
//! the timeline.

pub mod fillers;
mod observation;
pub mod poll;
mod recorder;
pub mod watch;
mod world;

pub use observation::*;
pub use recorder::{Facts, Recorder};
pub(crate) use world::allocatable;
pub use world::{World, workload_of};
