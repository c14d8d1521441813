//! The scenario resolved: every default filled in, every object built, every quantity a number.

mod lower;
mod model;
mod text;

pub use lower::{Lowered, Threshold, Thresholds, fits, lower};
pub use model::*;
pub use text::text;
