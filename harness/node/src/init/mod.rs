//! The init of a control plane or a node: process 1 of its container.
//!
//! Threads, no asynchronous runtime: one supervises and reaps, one samples, one listens for commands, one
//! follows the kernel's log, one watches the lifeline. Everything ends with process 1, since the kernel ends
//! the process namespace with it.

mod cgroup;
mod control;
mod gpus;
mod images;
mod kernel_log;
mod lifeline;
mod mounts;
mod network;
mod roles;
mod runtime_events;
mod sampler;
mod speak;
mod supervise;

use std::path::Path;

use crate::config::{InitConfig, RUN, Role};

pub use control::ask;
pub use speak::Voice;

/// Why an init could not do its work: a sentence that names what failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InitError(pub String);

impl InitError {
    fn context<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}

/// Runs as process 1 until told to end. Reports on standard output.
///
/// # Errors
/// When the configuration can not be read, or something that the node can not be without fails.
pub fn run() -> Result<(), InitError> {
    let voice = Voice::new();
    let result = run_with(&voice);
    if let Err(error) = &result {
        voice.fatal(&error.0);
    }
    result
}

fn run_with(voice: &Voice) -> Result<(), InitError> {
    let path = Path::new(RUN).join("config.json");
    let text = std::fs::read_to_string(&path).map_err(InitError::context(path.display()))?;
    let config: InitConfig = serde_json::from_str(&text).map_err(InitError::context(path.display()))?;
    if config.lifeline {
        lifeline::watch();
    }
    match &config.role {
        Role::ControlPlane(control_plane) => roles::control_plane(&config, control_plane, voice),
        Role::Node(node) => roles::node(&config, node, voice),
    }
}
