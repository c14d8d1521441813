//! Many scenarios in one run of the command, side by side as the machine has room, and what each came to as soon as it
//! is known.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::command;

/// The longest time in which no run of the catalogue ends.
const NEXT_WITHIN: Duration = Duration::from_secs(600);

/// A folder in which the evidence of every run is kept, for `plimsoll truth` and `plimsoll myths`; none is kept of runs that were as
/// they should be if it is not set.
const EVIDENCE: &str = "PLIMSOLL_TEST_EVIDENCE";

/// What a scenario came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `held`, `violated` or `unknown`; `not run` if the cluster could not be started.
    pub state: String,
    /// What the comparison with its snapshot came to, such as `match`; empty if none was made.
    pub snapshot: String,
    /// Each finding: its key, its state, and what it says.
    pub findings: Vec<(String, String, String)>,
}

/// A run of many scenarios.
#[derive(Debug, Clone)]
pub struct Catalogue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
    child: Mutex<Child>,
    metrics: NamedTempFile,
}

#[derive(Debug)]
struct Progress {
    verdicts: BTreeMap<PathBuf, Verdict>,
    last: Instant,
    /// How the command ended.
    over: Option<String>,
}

impl Catalogue {
    /// Starts it. What the command says goes on to the standard error as it comes.
    ///
    /// # Errors
    /// When the command can not be started.
    pub fn start(files: &[PathBuf]) -> Result<Self, String> {
        let mut arguments = vec!["run".to_owned(), "--on=host".to_owned(), "--jobs=auto".to_owned()];
        arguments.extend(["--timings", "--json", "-"].map(str::to_owned));
        let metrics = NamedTempFile::new().map_err(|error| format!("a file for metrics: {error}"))?;
        arguments.extend(["--metrics".to_owned(), metrics.path().display().to_string()]);
        if let Ok(folder) = std::env::var(EVIDENCE) {
            arguments.extend(["--keep-evidence".to_owned(), "--evidence".to_owned(), folder]);
        }
        arguments.extend(files.iter().map(|file| file.display().to_string()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = command::plimsoll(&arguments)?;
        command.stderr(Stdio::inherit());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let output = child.stdout.take().ok_or("the command has no standard output")?;
        let progress = Progress { verdicts: BTreeMap::new(), last: Instant::now(), over: None };
        let shared = Shared {
            progress: Mutex::new(progress),
            changed: Condvar::new(),
            child: Mutex::new(child),
            metrics,
        };
        let catalogue = Self(Arc::new(shared));
        let reading = catalogue.clone();
        std::thread::spawn(move || reading.read(BufReader::new(output)));
        Ok(catalogue)
    }

    /// What the scenario of this file came to; waits until that is known.
    ///
    /// # Errors
    /// When the command ended without a word about it, or no run comes to an end any more.
    pub fn verdict(&self, file: &Path) -> Result<Verdict, String> {
        let mut progress = self.progress();
        loop {
            if let Some(verdict) = progress.verdicts.get(file) {
                return Ok(verdict.clone());
            }
            if let Some(over) = &progress.over {
                return Err(format!("the command said nothing of it and ended: {over}"));
            }
            progress = self.wait(progress)?;
        }
    }

    /// The metrics of all runs; waits until the last is over.
    ///
    /// # Errors
    /// When no run comes to an end any more, or the metrics can not be read.
    pub fn metrics(&self) -> Result<String, String> {
        let mut progress = self.progress();
        while progress.over.is_none() {
            progress = self.wait(progress)?;
        }
        std::fs::read_to_string(self.0.metrics.path()).map_err(|error| format!("the metrics: {error}"))
    }

    /// Waits until something has changed.
    fn wait<'a>(&self, progress: MutexGuard<'a, Progress>) -> Result<MutexGuard<'a, Progress>, String> {
        let Some(rest) = NEXT_WITHIN.checked_sub(progress.last.elapsed()) else {
            let _ = self.0.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            return Err(format!("no run came to an end in {} s", NEXT_WITHIN.as_secs()));
        };
        let waited = self.0.changed.wait_timeout(progress, rest);
        Ok(waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the JSON lines. Those of one scenario stand together, and only its plan names the file.
    fn read(&self, mut lines: impl BufRead) {
        let (mut line, mut file) = (String::new(), None);
        let trouble = loop {
            line.clear();
            match lines.read_line(&mut line) {
                Ok(0) => break None,
                Ok(_) => {}
                Err(error) => break Some(error.to_string()),
            }
            match read_line(&line) {
                Ok(Line::Plan(named)) => file = Some(named),
                Ok(Line::Verdict(verdict)) => {
                    let Some(file) = file.take() else { break Some("a verdict without a plan".to_owned()) };
                    let mut progress = self.progress();
                    progress.verdicts.insert(file, verdict);
                    progress.last = Instant::now();
                    self.0.changed.notify_all();
                }
                Ok(Line::Other) => {}
                Err(error) => break Some(format!("a line of JSON can not be read: {error}")),
            }
        };
        let mut child = self.0.child.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_some() {
            let _ = child.kill();
        }
        let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        self.progress().over = Some(trouble.unwrap_or(status));
        self.0.changed.notify_all();
    }
}

enum Line {
    Plan(PathBuf),
    Verdict(Verdict),
    Other,
}

/// What every line has. Most are observations, of which the rest is passed over unread.
#[derive(Deserialize)]
struct Head {
    r#type: String,
}

fn read_line(line: &str) -> Result<Line, serde_json::Error> {
    let Head { r#type: kind } = serde_json::from_str(line)?;
    if !matches!(kind.as_str(), "plan" | "verdict" | "couldNotRun") {
        return Ok(Line::Other);
    }
    let document: Value = serde_json::from_str(line)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(match kind.as_str() {
        "plan" => Line::Plan(text(&document["plan"]["steps"][0]["location"]["file"]).into()),
        "verdict" => {
            let findings = document["verdict"]["findings"].as_array().into_iter().flatten();
            let finding = |finding: &Value| {
                let said = format!("{}: {}", text(&finding["title"]), text(&finding["because"]));
                (text(&finding["key"]), text(&finding["state"]), said)
            };
            let state = text(&document["verdict"]["state"]);
            let snapshot = text(&document["verdict"]["snapshot"]["kind"]);
            Line::Verdict(Verdict { state, snapshot, findings: findings.map(finding).collect() })
        }
        _ => {
            let why = text(&document["couldNotRun"]["why"]);
            let findings = vec![("cluster".to_owned(), "not run".to_owned(), why)];
            Line::Verdict(Verdict { state: "not run".to_owned(), snapshot: String::new(), findings })
        }
    })
}
