//! Running the GPU hog, always with a bound.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often one who waits for an end looks.
const LOOK: Duration = Duration::from_millis(10);

/// The hog, and which driver it should load.
#[derive(Clone, Debug)]
pub struct Hog {
    /// The program.
    pub program: PathBuf,
    /// The library of CUDA's driver; the machine's own if there is none.
    pub cuda_library: Option<PathBuf>,
    /// The library of NVML; the machine's own if there is none.
    pub nvml_library: Option<PathBuf>,
}

/// What a run of the hog said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// The lines of its standard output.
    pub lines: Vec<String>,
    /// Its standard error.
    pub error: String,
    /// Its exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Whether it was killed because it took longer than it may.
    pub too_long: bool,
}

/// A run that goes on.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    error: Receiver<String>,
    ran: Ran,
}

impl Hog {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the program can not be started.
    pub fn start(&self, arguments: &[&str]) -> std::io::Result<Running> {
        let mut command = Command::new(&self.program);
        // Its standard input is this process's to hold open: whatever ends this one ends it, too.
        command.args(arguments).arg("--end-with-input");
        let mut library = |option: &str, path: &Option<PathBuf>| {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        };
        library("--cuda-library", &self.cuda_library);
        library("--nvml-library", &self.nvml_library);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (sender, lines) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let (sender, error) = channel();
        if let Some(mut output) = child.stderr.take() {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = output.read_to_end(&mut text);
                let _ = sender.send(String::from_utf8_lossy(&text).into_owned());
            });
        }
        Ok(Running { child, lines, error, ran: Ran::default() })
    }

    /// Runs it to its end, or kills it after `limit`.
    ///
    /// # Errors
    ///
    /// When the program can not be started.
    pub fn run(&self, arguments: &[&str], limit: Duration) -> std::io::Result<Ran> {
        Ok(self.start(arguments)?.finish(limit))
    }

    /// The program that is called `plimsoll-gpu-hog` beside another one.
    pub fn beside(program: &Path) -> PathBuf {
        program.with_file_name("plimsoll-gpu-hog")
    }
}

impl Running {
    /// Waits for a line, up to `limit`. Answers whether it came.
    pub fn wait_for(&mut self, is_it: impl Fn(&str) -> bool, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = is_it(&line);
                    self.ran.lines.push(line);
                    if found {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Sends a signal. One that has ended gets none.
    pub fn signal(&mut self, signal: Signal) {
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), Pid::from_raw(self.child.id().cast_signed())) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end, or kills it after `limit`.
    pub fn finish(mut self, limit: Duration) -> Ran {
        let deadline = Instant::now() + limit;
        let mut ran = std::mem::take(&mut self.ran);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    ran.code = status.code();
                    break;
                }
                Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
                _ => {
                    ran.too_long = true;
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break;
                }
            }
        }
        // The pipes end with the process; a moment is left for what is in them.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) {
            ran.lines.push(line);
        }
        ran.error = self.error.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        ran
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Each line that can be read as `T`.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Vec<T> {
        self.lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Why there is nothing to judge, in a sentence.
    pub fn why(&self) -> String {
        let error =
            self.error.trim().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        match (self.too_long, self.code) {
            (true, _) => "it took too long and was killed".to_owned(),
            (_, None) => "it was killed".to_owned(),
            (_, Some(code)) if error.is_empty() => format!("it ended with code {code}"),
            _ => error,
        }
    }
}
