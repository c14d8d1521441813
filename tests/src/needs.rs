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

/// Whether a missing need is a failure: always in CI, where nobody would notice that nothing was run.
#[must_use]
pub fn must_run() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
