//! The scenario resolved: every default filled in, every object built, every quantity a number.

mod model;

pub use model::*;
