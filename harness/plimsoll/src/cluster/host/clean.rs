//! Removing what runs left on this machine.

use std::time::Duration;

use super::cgroup;
use crate::cluster::ClusterError;
use crate::cluster::state::RunFolder;

/// How long the processes of a run may take to end once they are told by the kernel.
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// Ends what is left of a run: its processes, and with the last of them its namespaces, mounts and loop devices;
/// then its cgroups and its folder.
///
/// # Errors
/// When something does not go away.
pub async fn remove_run(folder: &RunFolder) -> Result<(), ClusterError> {
    let folder = folder.clone();
    let removal = tokio::task::spawn_blocking(move || {
        cgroup::remove(&folder.run, ENDED_WITHIN)?;
        folder.remove()
    });
    removal.await.map_err(ClusterError::doing("cleaning up"))?
}

/// Removes every run whose process has ended, and says which.
///
/// # Errors
/// When something does not go away; the others are removed all the same.
pub async fn clean() -> Result<Vec<String>, ClusterError> {
    let mut removed = Vec::new();
    let mut failed = None;
    for folder in RunFolder::abandoned() {
        match remove_run(&folder).await {
            Ok(()) => removed.push(folder.run),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(removed), Err)
}
