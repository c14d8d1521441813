//! Snapshots as files: insta's format, so that `cargo insta review` works on them.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{Comparison, Facts, compare};

/// A snapshot file: a header between two lines of dashes, then the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The scenario that it is of, as written in the header.
    pub source: String,
    /// The facts.
    pub contents: String,
}

impl Snapshot {
    /// Reads a snapshot file's text. A text without header is taken for contents, as insta takes it.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        let parts = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
        let Some((header, contents)) = parts else {
            return Self { source: String::new(), contents: text };
        };
        let source = header.lines().find_map(|line| line.strip_prefix("source: ")).unwrap_or_default();
        Self { source: source.trim_matches('"').to_owned(), contents: contents.to_owned() }
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        let Self { source, contents } = self;
        let source = serde_json::to_string(source).unwrap_or_default();
        format!("---\nsource: {source}\nexpression: facts\n---\n{}\n", contents.trim_end())
    }
}

/// What may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writing {
    /// Nothing: in continuous integration.
    Nothing,
    /// What differs goes into `.snap.new`, for a person to review.
    #[default]
    Proposal,
    /// What differs becomes the snapshot.
    Snapshot,
}

impl Writing {
    /// From `--accept` and the value of the environment's `CI`: there nothing is written, whatever else was asked for.
    #[must_use]
    pub fn from_flags(accept: bool, ci: Option<&str>) -> Self {
        match (ci, accept) {
            (Some(value), _) if !matches!(value, "" | "0" | "false") => Self::Nothing,
            (_, true) => Self::Snapshot,
            (_, false) => Self::Proposal,
        }
    }
}

/// The snapshot's path beside its scenario: `name.yaml` has `name.snap`.
#[must_use]
pub fn path_beside(scenario: &Path) -> PathBuf {
    scenario.with_extension("snap")
}

/// Compares a run with the snapshot beside its scenario and writes what may be written.
///
/// # Errors
/// When the snapshot is there and can not be read, or what is to be written can not be.
pub fn settle(scenario: &Path, facts: &Facts, writing: Writing) -> io::Result<Comparison> {
    let path = path_beside(scenario);
    let proposal = path.with_extension("snap.new");
    let existing = match fs::read_to_string(&path) {
        Ok(text) => Some(Snapshot::parse(&text).contents),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let comparison = compare(facts, existing.as_deref());
    let source = scenario.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let contents = match &comparison {
        Comparison::Match => None,
        Comparison::New { facts } | Comparison::Mismatch { facts, .. } => Some(facts.clone()),
    };
    match (writing, contents) {
        (Writing::Nothing, _) => {}
        (Writing::Proposal, Some(contents)) => replace(&proposal, &Snapshot { source, contents }.render())?,
        (Writing::Snapshot, Some(contents)) => {
            replace(&path, &Snapshot { source, contents }.render())?;
            remove(&proposal)?;
            return Ok(Comparison::Match);
        }
        // A proposal of an earlier run is out of date.
        (Writing::Proposal | Writing::Snapshot, None) => remove(&proposal)?,
    }
    Ok(comparison)
}

/// Writes a file as a whole or not at all: beside it first, then renamed over it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension(format!(
        "{}.{}.tmp",
        path.extension().unwrap_or_default().display(),
        std::process::id()
    ));
    let written = fs::File::create(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&beside, path));
    if replaced.is_err() {
        // What could not be moved into place is of no use to anybody; the first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    replaced
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
