//! `clean`.

use super::{Exit, runtime};
use crate::cluster;

pub(super) fn clean() -> Exit {
    let cleaned = runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(cluster::clean()).map_err(|error| error.to_string()));
    match cleaned {
        Ok(runs) if runs.is_empty() => {
            println!("nothing to clean");
            Exit::Held
        }
        Ok(runs) => {
            for run in runs {
                println!("removed what run {run} left");
            }
            Exit::Held
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::CouldNotRun
        }
    }
}
