//! The evictor: evicts pods when a device runs low on memory, by the kubelet's rules for memory.
//!
//! The kubelet has no signal for GPU memory. Everything here is what it would do if it had one, and the rules are
//! `plimsoll-eviction`'s own: a device's memory stands in for the node's. Pods of one device can free nothing on another, so each
//! device is looked at by itself. Pods go through the eviction API, which heeds disruption budgets.
//!
//! Pure:
//! - [`Settings`]: thresholds, as the kubelet's flags write them;
//! - [`NodePod`], [`DeviceUse`]: who uses how much of which device;
//! - [`Watch`]: what follows from it;
//! - [`decide`], [`Attempts`]: whether it is time to act.
//!
//! With effects:
//! - [`Owners`]: whose the devices' processes are;
//! - [`Cluster`]: the API server's side;
//! - [`Metrics`], [`serve_metrics`]: what it says of itself;
//! - [`Agent`]: the loop.

mod agent;
mod attempts;
mod cluster;
mod metrics;
mod node_pod;
mod owners;
mod settings;
mod usage;
mod watch;

pub use agent::{Agent, AgentOptions};
pub use attempts::{Attempts, Decision, decide};
pub use cluster::{Cluster, ClusterError, EvictionAnswer, NodePressure};
pub use metrics::{Metrics, serve_metrics};
pub use node_pod::{EVICTION_CONDITION, NodePod};
pub use owners::Owners;
pub use settings::{SIGNAL, Settings, SettingsError, Statements};
pub use usage::{DeviceUse, PodUse};
pub use watch::{Rules, Seen, Victim, Watch};
