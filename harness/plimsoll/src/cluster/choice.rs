//! Choosing where a plan runs, and starting it there.

use std::fmt;
use std::path::Path;

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

/// The engine if one answers that can hold nodes, else this machine if that is permitted. With the reason, for people.
///
/// # Errors
/// When neither is to be had, with what to do about it.
pub async fn choose() -> Result<(Place, String), ClusterError> {
    let no_engine = match available(Place::Engine).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    choose_without_engine(&no_engine.to_string(), available(Place::Host).await)
}

/// Pure.
fn choose_without_engine(
    no_engine: &str,
    host: Result<(Place, String), ClusterError>,
) -> Result<(Place, String), ClusterError> {
    match host {
        Ok((place, _)) => {
            // What to do about it is for those who want an engine.
            let why = no_engine.lines().next().unwrap_or_default();
            Ok((place, format!("{why}, and this user may use the machine itself")))
        }
        Err(no_host) => Err(ClusterError::Machine(format!(
            "no place to run a node\n  engine: {}\n  host: {}",
            indented(no_engine),
            indented(&no_host.to_string())
        ))),
    }
}

/// The lines after the first below it.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
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
/// When it can not be started. What is there of it, and what it said, stays until [`remove`].
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

/// Copies what the parts of a run said, as far as they came, that has no cluster: its start failed or was broken off.
///
/// # Errors
/// With what could not be copied; the rest is there.
pub async fn copy_logs(place: Place, folder: &RunFolder, target: &Path) -> Result<(), ClusterError> {
    match place {
        Place::Engine => engine::copy_logs_of(folder, target).await,
        Place::Host => host::copy_logs_of(folder, target),
    }
}

/// Removes what is there of a run whose start failed or was broken off.
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

#[cfg(test)]
mod tests {
    use super::{ClusterError, Place, choose_without_engine};

    #[test]
    fn why_the_engine_was_not_chosen_is_passed_on() {
        let host = || Ok((Place::Host, "namespaces of this machine".to_owned()));
        let unfit = "the container engine can not limit memory\nhelp: `--on host` needs no engine, only root";
        let (place, why) = choose_without_engine(unfit, host()).unwrap();
        assert_eq!(place, Place::Host);
        assert_eq!(
            why,
            "the container engine can not limit memory, and this user may use the machine itself"
        );
    }

    #[test]
    fn without_any_place_both_say_what_to_do() {
        let no_host = Err(ClusterError::Machine("it needs root\nhelp: run it with sudo".into()));
        let refused =
            choose_without_engine("no container engine answers\nhelp: apt-get install docker.io", no_host);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "no place to run a node\n  engine: no container engine answers\n    help: apt-get install docker.io\n  \
             host: it needs root\n    help: run it with sudo"
        );
    }
}
