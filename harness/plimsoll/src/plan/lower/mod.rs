//! From a scenario to a plan: a pure function that finds everything that is wrong on the way.
//!
//! - [`lower`]: the function.
//! - `cluster`: nodes; `kubelet`: what can be known of their configuration; `control_plane`: how it is set.
//! - `gpus`: GPUs of nodes, and who requests their memory; `claims`: those that are offered to resource claims.
//! - `objects`: manifests; `workloads`: pods that fill; `fills`: what they take; `names`: who is called what.
//! - `steps`, `expectations`: the rest of the file; `node_level`: expectations of what the kubelet does besides evicting
//!   for pressure; `node_failure`: nodes that are taken away; `hollow`: those that exist in the API alone.
//! - `arithmetic`, `storage`: whether the figures can show what the scenario says, of memory and of all else; `machine`: whether it fits one.

mod arithmetic;
mod claims;
mod cluster;
mod context;
mod control_plane;
mod disruption;
mod expectations;
mod fills;
mod gpus;
mod hollow;
mod kubelet;
mod machine;
mod names;
mod node_failure;
mod node_level;
mod objects;
mod steps;
mod storage;
mod workloads;

pub use context::{Lowered, lower, lower_for};
pub(crate) use kubelet::kubelet_configuration_fields;
pub use kubelet::{Level, Threshold, Thresholds};
pub use machine::{Machine, fits};
