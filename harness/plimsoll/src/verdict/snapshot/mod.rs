//! The facts of a run that stay the same from run to run, kept beside the scenario in insta's file format.

use serde::{Deserialize, Serialize};

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
