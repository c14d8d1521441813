//! The facts of a run that stay the same from run to run, kept beside the scenario in insta's file format.
//!
//! - [`Facts`]: what a snapshot holds, and how it is written.
//! - [`compare`]: a run against a snapshot.
//! - [`settle`]: the same with files, which is the only part that touches the disk.

mod facts;
mod file;

use serde::{Deserialize, Serialize};
use similar::TextDiff;

pub use facts::Facts;
pub use file::{Snapshot, Writing, path_beside, settle};

use super::model::{Finding, State, Verdict};
use crate::plan::Location;

/// What comparing with a snapshot came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Comparison {
    /// The facts are those of the snapshot.
    Match,
    /// There was no snapshot to compare with.
    New {
        /// The facts of this run.
        facts: String,
    },
    /// The facts differ.
    Mismatch {
        /// A unified diff from the snapshot to this run.
        diff: String,
        /// The facts of this run.
        facts: String,
    },
}

/// Compares a run with the text of a snapshot, if there is one.
///
/// An amount that lies at the edge of its band in the snapshot, or a little beyond it, is of that band still: runs
/// vary, and no edge may lie between two of them.
#[must_use]
pub fn compare(facts: &Facts, existing: Option<&str>) -> Comparison {
    let Some(existing) = existing else { return Comparison::New { facts: facts.text(None) } };
    let text = facts.text(Some(existing));
    if text.trim_end() == existing.trim_end() {
        return Comparison::Match;
    }
    let (before, after) = (format!("{}\n", existing.trim_end()), format!("{}\n", text.trim_end()));
    let diff = TextDiff::from_lines(&before, &after).unified_diff().context_radius(3).to_string();
    Comparison::Mismatch { diff, facts: text }
}

impl Verdict {
    /// The verdict with what the comparison came to. Facts that differ violate, unless the run left something unknown:
    /// then they may differ for that reason.
    #[must_use]
    pub fn with_snapshot(mut self, comparison: Comparison, location: Location) -> Self {
        if let Comparison::Mismatch { diff, .. } = &comparison {
            let state = if self.state == State::Unknown { State::Unknown } else { State::Violated };
            let lines = diff.lines().skip(2).filter(|line| line.starts_with(['+', '-']));
            let because = lines.map(str::trim_end).collect::<Vec<_>>().join("; ");
            self.findings.push(Finding {
                key: "snapshot".to_owned(),
                location,
                title: "the facts are those of the snapshot".to_owned(),
                state,
                because,
                evidence: Vec::new(),
            });
            self.state = State::of_all(self.findings.iter().map(|finding| finding.state));
        }
        self.snapshot = Some(comparison);
        self
    }
}
