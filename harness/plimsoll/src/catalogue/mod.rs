//! Many scenarios: which of them are meant, and which may run beside each other.
//!
//! - [`selector`]: by their labels, as kubectl selects objects.
//! - [`Shard`]: one part of several, for machines that share the work.
//! - [`Needs`] and [`Room`]: what a scenario takes of a machine, and what a machine has.
//! - [`Admission`]: who may start now.

mod admission;
mod needs;
mod selector;
mod shard;

pub use admission::Admission;
pub use needs::{Needs, Room, meminfo};
pub use selector::{SelectorError, selector};
pub use shard::{Shard, ShardError};
