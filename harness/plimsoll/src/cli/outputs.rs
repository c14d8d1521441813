//! Who is told, and how much: the options that commands which report have in common.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::ProgressDrawTarget;

use crate::report::{JsonLines, Junit, Metrics, Reporter, TerminalOptions, Verbosity};
use crate::whole_file::WholeFile;

/// Who is told, and how much.
#[derive(Debug, clap::Args)]
pub(super) struct Outputs {
    /// Write a JUnit report: a suite for each scenario, a case for each expectation
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write every observation and finding as JSON lines; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write metrics in Prometheus' text format: what kube-state-metrics says of the pods at the end, and what the runs came to
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Say only what it came to
    #[arg(long, short, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more: every pod and event, and the evidence of what held; twice for everything
    #[arg(long, short, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Outputs {
    /// How people are told.
    pub(super) fn options(&self) -> TerminalOptions {
        TerminalOptions::for_stdout(Verbosity::from_flags(self.quiet, self.verbose))
    }

    /// Where people are told, which gives way when the standard output carries documents.
    pub(super) fn screen(&self) -> (Box<dyn Write + Send>, ProgressDrawTarget, TerminalOptions) {
        let options = self.options();
        if self.json_on_stdout() {
            (Box::new(std::io::stderr()), ProgressDrawTarget::hidden(), options)
        } else {
            (Box::new(std::io::stdout()), options.draw_target(), options)
        }
    }

    /// The documents that were asked for.
    pub(super) fn documents(&self) -> Result<Vec<Box<dyn Reporter + Send>>, String> {
        let mut documents: Vec<Box<dyn Reporter + Send>> = Vec::new();
        let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        if self.json_on_stdout() {
            documents.push(Box::new(JsonLines::new(std::io::stdout())));
        } else if let Some(path) = &self.json {
            let file = File::create(path).map_err(|error| failed(path, error))?;
            documents.push(Box::new(JsonLines::new(std::io::BufWriter::new(file))));
        }
        if let Some(path) = &self.junit {
            let file = WholeFile::create(path).map_err(|error| failed(path, error))?;
            documents.push(Box::new(Junit::new(file)));
        }
        if let Some(path) = &self.metrics {
            let file = WholeFile::create(path).map_err(|error| failed(path, error))?;
            documents.push(Box::new(Metrics::new(file)));
        }
        Ok(documents)
    }

    pub(super) fn json_on_stdout(&self) -> bool {
        self.json.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }
}
