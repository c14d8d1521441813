//! What a run proves: findings with evidence, how each pod ended, why each eviction took whom it took.
//!
//! Everything here is a function of a plan and a timeline. [`judge()`] is the way in; [`ends()`] tells how pods ended,
//! [`snapshot`] which facts of a run stay the same from run to run.

mod bounds;
mod case;
mod context;
mod coverage;
mod ends;
mod expectations;
mod explain;
mod history;
mod judge;
mod measure;
mod model;
mod outcome;
pub mod signals;
pub mod snapshot;
mod taints;
pub mod words;

pub use ends::{PodEnd, end_by_event, ends};
pub use judge::judge;
pub use model::*;
pub use outcome::end_words;
