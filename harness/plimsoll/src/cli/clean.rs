//! `clean`.

use super::{Exit, print, runtime};
use crate::cluster;

pub(super) fn clean() -> Exit {
    let cleaned = runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(cluster::clean()).map_err(|error| error.to_string()));
    match cleaned {
        Ok(runs) if runs.is_empty() => print("nothing to clean\n"),
        Ok(runs) => {
            let lines: String = runs.iter().map(|run| format!("removed what run {run} left\n")).collect();
            print(&lines)
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::CouldNotRun
        }
    }
}
