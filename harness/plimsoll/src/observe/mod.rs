//! What was seen: observations in order, and where they come from.

mod observation;

pub use observation::*;
