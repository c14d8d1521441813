//! The scenario resolved: every default filled in, every object built, every quantity a number.

mod disruption;
mod expectations;
pub mod failure;
pub mod filler;
mod lower;
mod model;
mod nodes;
mod steps;
mod text;

pub use disruption::*;
pub use expectations::*;
pub(crate) use lower::kubelet_configuration_fields;
pub use lower::{Level, Lowered, Machine, Threshold, Thresholds, fits, lower, lower_for};
pub use model::*;
pub use nodes::*;
pub use steps::*;
pub use text::text;
