//! Running `plimsoll`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(PathBuf::from).unwrap_or_default()
}

/// The program, built beside this one.
///
/// # Errors
/// When it is not there, with how to build it.
pub fn program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.parent().ok_or("this program lies nowhere")?;
    // Tests lie a folder below programs.
    let folder = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
    let program = folder.join("plimsoll");
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!(
            "{} is missing: build it with the profile of this program, `cargo build --workspace`",
            program.display()
        ))
    }
}

/// What a run of the command left.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl Ran {
    /// Fails unless it ended with this code.
    ///
    /// # Errors
    /// With everything that it said.
    pub fn expect(self, code: i32) -> Result<Self, String> {
        if self.code == Some(code) {
            Ok(self)
        } else {
            Err(format!("expected exit code {code}, found {:?}\n{}\n{}", self.code, self.output, self.errors))
        }
    }

    /// The findings in JSON lines on the standard output: key and state.
    #[must_use]
    pub fn findings(&self) -> Vec<(String, String)> {
        let documents = self.output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        documents
            .filter(|document| document["type"] == "finding")
            .map(|document| {
                let finding = if document["finding"].is_object() { &document["finding"] } else { &document };
                let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
                (text("key"), text("state"))
            })
            .collect()
    }
}

/// The command with these arguments, not started yet. Its evidence goes where cargo keeps what tests write.
///
/// # Errors
/// When the program is not there.
pub fn plimsoll(arguments: &[&str]) -> Result<Command, String> {
    let mut command = Command::new(program()?);
    command.args(arguments).current_dir(repository()).env("CI", "true").env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    output: std::thread::JoinHandle<String>,
    errors: std::thread::JoinHandle<String>,
}

/// Starts it, and reads what it says.
///
/// # Errors
/// When it can not be started.
pub fn start(mut command: Command) -> Result<Running, String> {
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    Ok(Running {
        child,
        output: read(output.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>)),
        errors: read(errors.map(|pipe| Box::new(pipe) as Box<dyn Read + Send>)),
    })
}

impl Running {
    /// Waits for its end; one that does not come in time is brought about, and is an error.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn ended(mut self, within: Duration) -> Result<Ran, String> {
        let deadline = Instant::now() + within;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let said = self.output.join().unwrap_or_default();
                return Err(format!("not ended after {} s; it said:\n{said}", within.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        Ok(Ran {
            code: status.code(),
            output: self.output.join().unwrap_or_default(),
            errors: self.errors.join().unwrap_or_default(),
        })
    }

    /// Waits until it has written this to a file, such as the one of `--json`.
    ///
    /// # Errors
    /// When it ends before, or does not write it in time.
    pub fn writes(&mut self, text: &str, file: &Path, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        while !std::fs::read_to_string(file).unwrap_or_default().contains(text) {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("ended ({status}) before it wrote {text}"));
            }
            if Instant::now() > deadline {
                return Err(format!("did not write {text} within {} s", within.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// When that can not be told.
    pub fn is_over(&mut self) -> Result<bool, String> {
        self.child.try_wait().map(|status| status.is_some()).map_err(|error| error.to_string())
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: rustix::process::Signal) -> Result<(), String> {
        let process = rustix::process::Pid::from_raw(self.child.id().cast_signed()).ok_or("no process")?;
        rustix::process::kill_process(process, signal).map_err(|error| error.to_string())
    }
}

/// Runs the command to its end.
///
/// # Errors
/// When it can not be started or does not end in time.
pub fn run(arguments: &[&str], within: Duration) -> Result<Ran, String> {
    start(plimsoll(arguments)?)?.ended(within)
}
