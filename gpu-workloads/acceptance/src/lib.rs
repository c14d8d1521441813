//! Accepts a node with GPUs, or says what speaks against it.
//!
//! This process touches no driver. It runs the GPU hog, which says as JSON what it saw, and judges that.
//!
//! - [`declaration`]: what the node should have; [`cards`]: what is known of products; [`level`]: how much is done;
//! - [`program`]: running the hog, always with a bound;
//! - [`run`]: the order of things; [`judge`]: from what was seen to a check, without touching anything;
//! - [`report`]: what came of it, as JSON, JUnit and text.

pub mod cards;
pub mod declaration;
pub mod judge;
pub mod level;
pub mod program;
pub mod report;
pub mod run;
