//! Where a plan runs.
//!
//! A [`Cluster`] is a control plane and its nodes, started for one run and ended with it. [`engine`] makes one from
//! containers of an engine, [`host`] from namespaces of this machine. What a part of it is told is the same everywhere and made by [`parts`].

mod choice;
pub mod engine;
pub(crate) mod gpus;
pub mod hollow;
pub mod host;
mod inotify;
pub mod parts;
pub mod state;
pub mod turn;

pub use choice::{Place, Running, available, choose, clean, copy_logs, remove, start};
use futures::future::BoxFuture;
use plimsoll_node::config::ControlRequest;
use plimsoll_node::report::Report;
use tokio::sync::mpsc;

use crate::bundle::BundleError;
use crate::plan::NodePlan;

/// The name of the part that is the control plane; the other parts are nodes and have their names.
pub const CONTROL_PLANE: &str = "control-plane";

/// What a node's container may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Memory in bytes.
    pub memory: u64,
    /// Processes and threads, so that a scenario can not take the machine's last one.
    pub tasks: u64,
    /// Whether it has the machine's own GPUs.
    pub gpus: bool,
}

impl Bounds {
    /// Those of a planned node.
    #[must_use]
    pub fn of(node: &NodePlan) -> Self {
        let gpus = node.gpus.as_ref().is_some_and(|gpus| gpus.real);
        Self { memory: node.memory, tasks: node.pids, gpus }
    }
}

/// One line of a part's init.
#[derive(Debug, Clone)]
pub struct PartReport {
    /// [`CONTROL_PLANE`] or the node's name.
    pub part: String,
    /// The line; none when the part has ended and says nothing any more.
    pub report: Option<Report>,
}

/// What happens to a node from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is cut off from the network.
    Cut,
    /// It is on the network again.
    Mend,
    /// It loses its power.
    Kill,
    /// It has power again and boots. Its disks are empty.
    Start,
}

/// Where the reports of all parts arrive.
pub type Reports = mpsc::UnboundedReceiver<PartReport>;

/// A cluster that was started for one run. Dropping it ends it as well as can be done without waiting;
/// [`Cluster::stop`] waits and tells.
pub trait Cluster: Send + Sync {
    /// Such as `host`.
    fn kind(&self) -> &'static str;

    /// A client with all rights. The API server may not answer yet.
    fn client(&self) -> kube::Client;

    /// What other programs on this machine reach the same API server with, with all rights.
    fn kubeconfig(&self) -> &kube::config::Kubeconfig;

    /// Takes a node off the network or its power, or gives it back: what its own init can not do. Whatever the node's init
    /// would have said meanwhile is missing, and that is no failure.
    fn change<'a>(&'a self, node: &'a str, change: Change) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Asks the init of a node, or of the control plane, to do something.
    fn control<'a>(
        &'a self,
        node: &'a str,
        request: ControlRequest,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Copies the components' logs to a folder.
    fn copy_logs<'a>(&'a self, folder: &'a std::path::Path) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Ends everything and removes what the run left on the machine.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), ClusterError>>;
}

/// Why a cluster could not be had, or did not do what it was asked. A run that meets one ends with exit code 3.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no usable bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The machine lacks something; the sentence says what and how to get it.
    #[error("{0}")]
    Machine(String),
    /// Something that should have worked did not.
    #[error("{what}: {why}")]
    Failed {
        /// What was being done.
        what: String,
        /// What went wrong.
        why: String,
    },
}

impl ClusterError {
    /// For `map_err`: what was being done when the error came.
    pub fn doing<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |why| Self::Failed { what, why: why.to_string() }
    }
}
