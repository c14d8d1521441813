//! `myths`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Exit;
use super::check::bad_input;
use crate::evidence::{self, Machine};
use crate::report::myths::{page, story};
use crate::verdict::judge;

/// What `myths` takes.
#[derive(Debug, clap::Args)]
pub(super) struct MythsArguments {
    /// Folders that `plimsoll run --keep-evidence` left, one for each run; those of scenarios without `metadata.claim` are
    /// passed over
    #[arg(required = true, value_name = "FOLDER")]
    evidence: Vec<PathBuf>,
}

/// Writes what people say beside what each run showed, judged anew from its evidence.
pub(super) fn myths(arguments: &MythsArguments) -> Exit {
    let mut stories = Vec::new();
    let mut environments = BTreeSet::new();
    for folder in &arguments.evidence {
        match evidence::read(folder) {
            Ok((plan, timeline)) => {
                let Some(story) = story(&plan, &judge(&plan, &timeline)) else { continue };
                stories.push(story);
                let machine =
                    Machine::read(folder).map_or_else(String::new, |machine| format!(" ({machine})"));
                environments.insert(format!("Kubernetes {}{machine}", plan.kubernetes));
            }
            Err(error) => return bad_input(&error.to_string()),
        }
    }
    if stories.is_empty() {
        return bad_input("none of these runs is of a scenario with a claim");
    }
    print!("{}", page(&stories, &environments));
    Exit::Held
}
