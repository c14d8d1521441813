//! Sockets that the kubelet and its plugins find each other by.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

/// How often sockets are looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long to wait before what failed is tried again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How long calls that are under way may take when a service ends.
const DRAIN: Duration = Duration::from_secs(3);

/// How long the path of a Unix socket can be, in bytes.
const LONGEST_SOCKET_PATH: usize = 107;

/// A path that is too long for a socket.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: {length} bytes are too long for the path of a socket, which has {LONGEST_SOCKET_PATH} at most; give a \
     shorter folder"
)]
pub struct PathTooLong {
    /// The path.
    path: PathBuf,
    /// Its length.
    length: usize,
}

/// Whether there can be a socket at a path.
///
/// # Errors
/// [`PathTooLong`].
pub(crate) fn check(path: &Path) -> Result<(), PathTooLong> {
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET_PATH { Err(PathTooLong { path: path.to_owned(), length }) } else { Ok(()) }
}

/// Listens at a path, where an earlier socket may lie that nobody listens at any more.
///
/// # Errors
/// What the system says.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// What tells a socket from a later one at the same path. A number of an inode can be used again at once, so the time counts too.
pub(crate) type Identity = (u64, u64, i64, i64);

/// Which socket lies at a path; none if there is none.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}

/// Listens anew whenever that is over, which `once` says with why, or fails, until `cancel`; then the socket is taken away. `again` says
/// what is done anew, and `failing` what is not so as long as it fails.
pub(crate) async fn keep(
    own: &Path,
    (again, failing): (&str, &str),
    mut once: impl AsyncFnMut() -> io::Result<&'static str>,
    cancel: CancellationToken,
) {
    cancel
        .run_until_cancelled(async {
            let mut wait = BACKOFF.0;
            loop {
                match once().await {
                    Ok(why) => {
                        info!("{why}: {again} again");
                        wait = BACKOFF.0;
                    }
                    Err(error) => {
                        warn!("{failing}: {error}; next try in {wait:?}");
                        sleep(wait).await;
                        wait = (wait * 2).min(BACKOFF.1);
                    }
                }
            }
        })
        .await;
    // The kubelet takes a socket that is left for a plugin that hangs.
    let _ = fs::remove_file(own);
}

/// Ends a service by dropping what it lasts as long as, and lets calls that are under way end.
pub(crate) async fn end<T>(mut service: JoinHandle<T>, guard: DropGuard) {
    drop(guard);
    if timeout(DRAIN, &mut service).await.is_err() {
        service.abort();
    }
}
