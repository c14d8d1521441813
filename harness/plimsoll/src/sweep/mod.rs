//! A scenario over a grid of figures, on the model: which thresholds hold, at which pace, at what cost.
//!
//! - [`Axis`]: one figure of the scenario and the values that it takes; [`substitute`] puts one into the scenario's text.
//! - [`Sweep`]: the grid, made ready; [`Sweep::run`] plays every cell in every phase, on all processors.
//! - [`Cell`]: what became of one; [`Summary`]: the boundary, and what it recommends, in words.
//! - [`heat_map`], [`svg`]: charts.

mod axis;
mod cell;
mod chart;
mod grid;
mod heat_map;
mod substitute;
mod summary;

pub use axis::{Axis, AxisError, Setting};
pub use cell::{Cell, Fate, Span};
pub use chart::svg;
pub use grid::{Sweep, SweepError};
pub use heat_map::{Shade, heat_map};
pub use substitute::{FieldPath, SubstituteError, document, substitute};
pub use summary::{Brief, Frontier, Summary};
