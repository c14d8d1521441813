//! What a scenario file may say: `plimsoll.dev/v1alpha1`, as types. The JSON Schema is made from these.
//!
//! - [`document`]: the file as a whole, the cluster and its nodes.
//! - [`gpu`]: GPUs of a node, and their evictor.
//! - [`workload`]: pods that fill; [`fill`]: what they take, and where they put it.
//! - [`step`]: what happens.
//! - [`disruption`]: what happens to pods besides pressure, and what must come of it.
//! - [`expect`]: what must turn out to be so.
//! - [`values`]: quantities, durations, rates, names.

pub mod disruption;
pub mod document;
pub mod expect;
pub mod fill;
pub mod gpu;
pub mod step;
pub mod values;
pub mod workload;
