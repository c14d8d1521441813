//! Sockets that the kubelet and its plugins find each other by.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

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
