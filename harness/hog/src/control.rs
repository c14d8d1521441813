//! Changing a filler that runs: one JSON line asked and one answered, over a unix socket.
//!
//! The socket lies in a folder that each container has for itself, so that fillers that share a network
//! namespace do not meet.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::order::TypedCourse;
use crate::report::{ReadError, Report, VERSION};

/// Where the socket is looked for, in this order, when no path is given. A container from an image with
/// nothing in it has no `/run`, but a `/dev` of its own that can be written even if its root can not.
const FOLDERS: [&str; 3] = ["/run", "/dev", "/tmp"];
const NAME: &str = "plimsoll-hog.sock";

/// How long a command may take to be written once its connection is there.
const REQUEST_WITHIN: Duration = Duration::from_secs(1);
/// The longest command that is read.
const REQUEST_LENGTH: usize = 1024;

/// What a running filler can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Hold another amount, or go at another rate.
    Set(TypedCourse),
    /// Give everything back, and stay.
    Release,
    /// Say what is held now.
    Status,
}

#[derive(Serialize, Deserialize)]
struct Request {
    v: u32,
    command: Command,
}

#[derive(Serialize, Deserialize)]
struct Refusal {
    v: u32,
    error: String,
}

/// The filler's end of the socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    pending: Option<Pending>,
}

/// A connection whose command is not complete yet. There is one at a time; others wait in the backlog.
#[derive(Debug)]
struct Pending {
    stream: UnixStream,
    received: Vec<u8>,
    until: Instant,
}

/// A command, with the connection that its answer goes to.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub command: Command,
    stream: UnixStream,
}

impl Server {
    /// Listens at `path`, or else in the first of the default folders that can be written.
    ///
    /// # Errors
    ///
    /// A sentence that says why no command can reach this filler; it can run without.
    pub fn listen(path: Option<&Path>) -> Result<Server, String> {
        let Some(path) = path else {
            let mut reasons = Vec::new();
            for path in FOLDERS.map(|folder| Path::new(folder).join(NAME)) {
                match Server::bind(&path) {
                    Ok(server) => return Ok(server),
                    // With a second filler in reach of the same commands, nobody could say whom they meant.
                    Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(in_use(&path)),
                    Err(error) => reasons.push(format!("{}: {error}", path.display())),
                }
            }
            return Err(format!("control is off: {}", reasons.join("; ")));
        };
        Server::bind(path).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => in_use(path),
            _ => format!("control is off: {}: {error}", path.display()),
        })
    }

    fn bind(path: &Path) -> io::Result<Server> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                // Nobody answers at what a filler left that was killed.
                match UnixStream::connect(path) {
                    Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => {
                        std::fs::remove_file(path)?;
                        UnixListener::bind(path)?
                    }
                    _ => return Err(error),
                }
            }
            other => other?,
        };
        listener.set_nonblocking(true)?;
        Ok(Server { listener, path: path.to_owned(), pending: None })
    }

    /// Where this filler listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Readable when there may be something to take.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.pending.as_ref().map_or(self.listener.as_fd(), |pending| pending.stream.as_fd())
    }

    /// When to look even if nothing is readable.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.until)
    }

    /// The next command that is complete. Never waits.
    pub fn take(&mut self) -> Option<Asked> {
        let mut pending = match self.pending.take() {
            Some(pending) => pending,
            None => {
                let (stream, _) = self.listener.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                Pending { stream, received: Vec::new(), until: Instant::now() + REQUEST_WITHIN }
            }
        };
        let mut part = [0; REQUEST_LENGTH];
        match pending.stream.read(&mut part) {
            Ok(0) => return None,
            Ok(length) => pending.received.extend_from_slice(&part[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return None,
        }
        let Some(end) = pending.received.iter().position(|byte| *byte == b'\n') else {
            let patient = pending.received.len() < REQUEST_LENGTH && Instant::now() < pending.until;
            self.pending = patient.then_some(pending);
            return None;
        };
        let stream = pending.stream;
        match serde_json::from_slice(&pending.received[..end]) {
            Ok(Request { v: VERSION, command }) => Some(Asked { command, stream }),
            Ok(Request { v, .. }) => {
                refuse(&stream, format!("this filler takes commands of version {VERSION}, not {v}"));
                None
            }
            Err(error) => {
                refuse(&stream, format!("not a command: {error}"));
                None
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Asked {
    /// Answers with a report. Whoever asked may have gone, which is no concern of the filler.
    pub fn answer(self, report: &Report) {
        if let Ok(line) = serde_json::to_string(report) {
            let _ = (&self.stream).write_all(format!("{line}\n").as_bytes());
        }
    }

    /// Answers that it can not be done.
    pub fn refuse(self, error: String) {
        refuse(&self.stream, error);
    }
}

fn in_use(path: &Path) -> String {
    format!("control is off: another filler answers at {}; give each its own --control PATH", path.display())
}

fn refuse(mut stream: &UnixStream, error: String) {
    if let Ok(line) = serde_json::to_string(&Refusal { v: VERSION, error }) {
        let _ = stream.write_all(format!("{line}\n").as_bytes());
    }
}

/// Why a filler did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no filler answers at {0}; is one running, in this container?")]
    Nobody(String),
    /// It listens and says nothing.
    #[error(
        "the filler at {path} did not answer within {seconds} s; it may be frozen, or waiting for memory"
    )]
    Silent {
        /// The socket.
        path: String,
        /// How long was waited.
        seconds: u64,
    },
    /// It refused.
    #[error("the filler refused: {0}")]
    Refused(String),
    /// The connection broke.
    #[error("talking to the filler at {path}: {source}")]
    Broken {
        /// The socket.
        path: String,
        /// How.
        source: io::Error,
    },
    /// It is another version's.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// Asks the filler that listens at `path`, or at the default places, and waits up to `within`.
///
/// # Errors
///
/// When no filler answers, or it refuses.
pub fn ask(path: Option<&Path>, command: &Command, within: Duration) -> Result<Report, AskError> {
    let places = path.map_or_else(
        || FOLDERS.map(|folder| Path::new(folder).join(NAME)).to_vec(),
        |path| vec![path.to_owned()],
    );
    let found =
        places.iter().find_map(|place| Some((UnixStream::connect(place).ok()?, place.display().to_string())));
    let Some((stream, path)) = found else {
        let names: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        return Err(AskError::Nobody(names.join(", ")));
    };
    let line = exchange(stream, command, within).map_err(|source| match source.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            AskError::Silent { path: path.clone(), seconds: within.as_secs() }
        }
        _ => AskError::Broken { path: path.clone(), source },
    })?;
    if line.is_empty() {
        return Err(AskError::Broken { path, source: ErrorKind::UnexpectedEof.into() });
    }
    match serde_json::from_str::<Refusal>(&line) {
        Ok(refusal) => Err(AskError::Refused(refusal.error)),
        Err(_) => Ok(Report::parse(&line)?),
    }
}

fn exchange(mut stream: UnixStream, command: &Command, within: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(within))?;
    stream.set_write_timeout(Some(within))?;
    let request = serde_json::to_string(&Request { v: VERSION, command: command.clone() })?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    stream.read_to_string(&mut line)?;
    Ok(line)
}
