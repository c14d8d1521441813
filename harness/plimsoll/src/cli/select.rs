//! Which scenarios are meant: files and folders, labels, one part of several.

use std::path::PathBuf;

use kube::core::{Selector, SelectorExt};

use super::check::scenario_files;
use crate::catalogue::{Shard, selector};
use crate::plan::Plan;

/// What names scenarios.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// Scenarios, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only scenarios with such labels, as kubectl selects: `tier=quick`, `signal in (memory.available, pid.available)`, `!slow`
    #[arg(long, short = 'l', value_name = "SELECTOR", value_parser = selector)]
    selector: Option<Selector>,
    /// Only one part of them, such as 2/5: machines that run one part each run all together
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
}

impl Selection {
    /// The files that are named; what their labels say is not known yet.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, String> {
        scenario_files(&self.files)
    }

    /// What of these is meant.
    ///
    /// # Errors
    /// When the selector leaves nothing, so that a misspelt label is no pass.
    pub(super) fn choose<T>(&self, mut all: Vec<T>, plan: impl Fn(&T) -> &Plan) -> Result<Vec<T>, String> {
        let count = all.len();
        if let Some(selector) = &self.selector {
            all.retain(|one| selector.matches(&plan(one).labels));
            if all.is_empty() {
                return Err(format!(
                    "none of {} has labels that `{selector}` selects\nhelp: `plimsoll list` shows their labels",
                    crate::verdict::words::count(count, "scenario")
                ));
            }
        }
        Ok(match self.shard {
            // A part may be empty: with more machines than scenarios, the last have nothing to do.
            Some(shard) => shard.part(all),
            None => all,
        })
    }
}
