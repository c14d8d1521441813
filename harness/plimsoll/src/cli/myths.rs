//! `myths`.

use std::path::PathBuf;

use super::Exit;
use super::check::bad_input;
use crate::evidence;
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
    for folder in &arguments.evidence {
        match evidence::read(folder) {
            Ok((plan, timeline)) => stories.extend(story(&plan, &judge(&plan, &timeline))),
            Err(error) => return bad_input(&error.to_string()),
        }
    }
    if stories.is_empty() {
        return bad_input("none of these runs is of a scenario with a claim");
    }
    print!("{}", page(&stories));
    Exit::Held
}
