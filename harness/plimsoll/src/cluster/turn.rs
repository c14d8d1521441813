//! Whose turn it is on this machine. Most runs share it; one that takes what belongs to the whole machine, such as its own
//! GPUs, has it for itself, whichever process the others were started by.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::time::Duration;

use super::ClusterError;
use super::state::state_folder;

/// How long other runs may keep one waiting.
const WAIT_AT_MOST: Duration = Duration::from_secs(30 * 60);
/// Time from one look to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A run's turn, for as long as this lives. The kernel takes it back from a process that was killed.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Takes a turn beside others, or one that nobody else may share. `waiting` is called once if it has to wait.
    ///
    /// # Errors
    /// When the file that stands for the machine can not be made, or others do not end in half an hour.
    pub async fn take(exclusive: bool, waiting: impl FnOnce()) -> Result<Self, ClusterError> {
        let deadline = tokio::time::Instant::now() + WAIT_AT_MOST;
        let mut waiting = Some(waiting);
        // Whoever wants a turn first passes a gate, and one that needs the machine alone keeps it shut while it waits: others would
        // else go before it for as long as some run overlaps the next.
        let _gate = Self::lock("turn-gate.lock", exclusive, deadline, &mut waiting).await?;
        Self::lock("turn.lock", exclusive, deadline, &mut waiting).await
    }

    async fn lock(
        name: &str,
        exclusive: bool,
        deadline: tokio::time::Instant,
        waiting: &mut Option<impl FnOnce()>,
    ) -> Result<Self, ClusterError> {
        let state = state_folder();
        let path = state.join(name);
        let doing = format!("waiting for a turn by {}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&state).map_err(ClusterError::doing(&*doing))?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(ClusterError::doing(&*doing))?;
        loop {
            match if exclusive { file.try_lock() } else { file.try_lock_shared() } {
                Ok(()) => return Ok(Self { _lock: file }),
                Err(TryLockError::Error(error)) => return Err(ClusterError::doing(doing)(error)),
                Err(TryLockError::WouldBlock) if tokio::time::Instant::now() > deadline => {
                    return Err(ClusterError::doing(doing)(format!(
                        "other runs still go on after {} minutes",
                        WAIT_AT_MOST.as_secs() / 60
                    )));
                }
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }
}
