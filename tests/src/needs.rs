//! What a tier needs of the machine.

/// Whether the real-node tier can run here: it needs root, loop devices and a bundle.
///
/// # Errors
/// With what is missing.
pub fn real_node() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the real-node tier makes namespaces and mounts, so it needs root".into());
    }
    let bundle = crate::command::run(&["bundle"], std::time::Duration::from_secs(30))?;
    bundle.expect(0).map(drop)
}

/// Whether the engine tier can run here: besides a bundle it needs an engine that answers at its usual socket.
///
/// # Errors
/// With what is missing.
pub fn engine() -> Result<(), String> {
    real_node()?;
    crate::engine::holdings()
        .map(drop)
        .map_err(|error| format!("{error}; `ci/engine start` starts a container engine"))
}

/// Whether the engine that answers is one that `ci/engine` started, and may stop.
#[must_use]
pub fn engine_of_ours() -> bool {
    let folder = std::env::var("PLIMSOLL_ENGINE_STATE").unwrap_or_else(|_| "/var/tmp/plimsoll-engine".into());
    let process = std::fs::read_to_string(std::path::Path::new(&folder).join("dockerd.pid"));
    process.is_ok_and(|process| {
        std::fs::read_to_string(format!("/proc/{}/comm", process.trim()))
            .is_ok_and(|name| name.trim() == "dockerd")
    })
}

/// Whether a missing need is a failure: always in CI, where nobody would notice that nothing was run.
#[must_use]
pub fn must_run() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
