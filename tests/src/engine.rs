//! The container engine of this machine, as far as the suites deal with it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::repository;

/// How long `ci/engine` may take.
const DONE_WITHIN: Duration = Duration::from_secs(150);

/// What the engine holds of runs: containers, networks and volumes, a line each.
///
/// # Errors
/// When it does not say.
pub fn holdings() -> Result<Vec<String>, String> {
    let mut held = Vec::new();
    for (kind, path) in
        [("container", "containers/json?all=1"), ("network", "networks"), ("volume", "volumes")]
    {
        let said = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "10", "--unix-socket", "/var/run/docker.sock"])
            .arg(format!("http://engine/{path}"))
            .output()
            .map_err(|error| format!("curl: {error}"))?;
        if !said.status.success() {
            return Err(format!("the engine does not list its {kind}s"));
        }
        let document: serde_json::Value =
            serde_json::from_slice(&said.stdout).map_err(|error| format!("the engine's {kind}s: {error}"))?;
        let listed = document.as_array().or(document["Volumes"].as_array());
        let names = listed.into_iter().flatten().map(|one| {
            let name = [&one["Name"], &one["Names"][0]].into_iter().find_map(serde_json::Value::as_str);
            format!("{kind} {}", name.unwrap_or("without a name"))
        });
        held.extend(names);
    }
    held.sort();
    Ok(held)
}

/// Runs `ci/engine` with this word.
///
/// # Errors
/// When it fails, or does not end in time.
pub fn ci_engine(word: &str) -> Result<(), String> {
    let mut child = Command::new(repository().join("ci/engine"))
        .arg(word)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("ci/engine: {error}"))?;
    let deadline = Instant::now() + DONE_WITHIN;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("ci/engine {word}: {status}")),
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("ci/engine {word} did not end in {} s", DONE_WITHIN.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
