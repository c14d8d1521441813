//! Choosing where a plan runs, and starting it there.

use std::fmt;

use super::state::RunFolder;
use super::{Cluster, ClusterError, Reports, engine, host};
use crate::bundle::Bundle;
use crate::plan::Plan;
use crate::programs::Programs;

/// Where a plan can run for real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Containers of an engine.
    Engine,
    /// Namespaces of this machine.
    Host,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine => "engine",
            Self::Host => "host",
        })
    }
}

/// A cluster that boots, and where its reports arrive.
pub struct Running {
    /// The cluster.
    pub cluster: Box<dyn Cluster>,
    /// What its parts say.
    pub reports: Reports,
}

/// The engine if one answers, else this machine if that is permitted. With the reason, for people.
///
/// # Errors
/// When neither is to be had, with what to do about it.
pub async fn choose() -> Result<(Place, String), ClusterError> {
    let no_engine = match available(Place::Engine).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    match available(Place::Host).await {
        Ok((place, _)) => {
            Ok((place, "no container engine answers, and this user may use the machine itself".into()))
        }
        Err(no_host) => Err(ClusterError::Machine(format!(
            "no place to run a node\n  engine: {no_engine}\n  host: {no_host}"
        ))),
    }
}

/// Whether a place is to be had. With the reason, for people.
///
/// # Errors
/// With what is missing.
pub async fn available(place: Place) -> Result<(Place, String), ClusterError> {
    match place {
        Place::Engine => engine::available().await.map(|()| (place, "a container engine answers".into())),
        Place::Host => host::permitted().map(|()| (place, "namespaces of this machine".into())),
    }
}

/// Starts a plan's cluster.
///
/// # Errors
/// When it can not be started; nothing of it is left then.
pub async fn start(
    place: Place,
    plan: &Plan,
    bundle: &Bundle,
    programs: &Programs,
    folder: RunFolder,
) -> Result<Running, ClusterError> {
    match place {
        Place::Engine => {
            let (cluster, reports) = engine::start(plan, bundle, programs, folder).await?;
            Ok(Running { cluster: Box::new(cluster), reports })
        }
        Place::Host => {
            let (cluster, reports) = host::start(plan, bundle, programs, folder).await?;
            Ok(Running { cluster: Box::new(cluster), reports })
        }
    }
}

/// Removes what is there of a run whose start was broken off.
///
/// # Errors
/// When something does not go away.
pub async fn remove(place: Place, folder: &RunFolder) -> Result<(), ClusterError> {
    match place {
        Place::Engine => engine::remove_run(folder).await,
        Place::Host => host::remove_run(folder).await,
    }
}

/// Removes every run whose process has ended, wherever it ran, and says which.
///
/// # Errors
/// When something does not go away; the rest is removed all the same.
pub async fn clean() -> Result<Vec<String>, ClusterError> {
    // The engine's part first: it knows its runs by their labels and takes their folders, and what is left is this machine's.
    let in_the_engine = engine::clean().await;
    let mut removed = host::clean().await?;
    removed.extend(in_the_engine?);
    Ok(removed)
}
