//! What a plan needs to know of this machine before it runs.

use crate::plan::{Plan, readings};

/// Puts thresholds that are written relative to what is available in figures.
///
/// # Errors
/// When the plan has such thresholds and the machine does not say how many process ids it has left.
pub fn take(plan: &mut Plan) -> Result<(), String> {
    if !readings::needed(plan) {
        return Ok(());
    }
    let (maximum, running) = tasks().ok_or(
        "the process ids that this machine has left can not be read from /proc/sys/kernel/pid_max and /proc/loadavg, and a threshold depends on them",
    )?;
    readings::resolve(plan, maximum, running);
    Ok(())
}

/// The tasks that the machine can have and those that it has, as the kubelet counts them. Upstream: `pidlimit.Stats`.
fn tasks() -> Option<(u64, u64)> {
    let number = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok()
    };
    let maximum = number("pid_max")?.min(number("threads-max").unwrap_or(u64::MAX));
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let running: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some((maximum, running))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_process_ids_left() {
        let tasks = super::tasks();
        assert!(tasks.is_none_or(|(maximum, running)| maximum > running), "{tasks:?}");
    }
}
