//! Instances of inotify, of which the machine gives a user a fixed number, whatever cluster the nodes are part of.
//!
//! Running out shows as anything but that, so it is asked beforehand; the limit is never raised silently.

use std::fs;

use super::ClusterError;
use crate::plan::Plan;

/// What a node takes: 7 of the kubelet and 2 of containerd were counted, and some more while it boots.
const OF_A_NODE: usize = 12;
/// What a control plane takes: 3 of the API server and 1 of the controller manager were counted.
const OF_A_CONTROL_PLANE: usize = 6;
/// The limit's name, and where it is read.
const LIMIT: &str = "fs.inotify.max_user_instances";
const LIMIT_FILE: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Whether as many are left as the plan's cluster takes. Its processes are root's; for another user only the limit itself can be
/// looked at, which is not all that may be in the way.
///
/// # Errors
/// When fewer are left, with the command that raises the limit.
pub(super) fn enough_for(plan: &Plan) -> Result<(), ClusterError> {
    let needed = needed(plan.nodes.len());
    let left = if rustix::process::geteuid().is_root() { left(needed) } else { limit().unwrap_or(needed) };
    enough(needed, left, limit())
}

fn needed(nodes: usize) -> usize {
    OF_A_CONTROL_PLANE + nodes * OF_A_NODE
}

/// How many of so many can be had at this moment.
fn left(needed: usize) -> usize {
    let instances: Vec<_> = (0..needed)
        .map_while(|_| match rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC) {
            Err(rustix::io::Errno::MFILE) => None,
            // Whatever else it is, it does not say that there are too few.
            other => Some(other),
        })
        .collect();
    instances.len()
}

fn limit() -> Option<usize> {
    fs::read_to_string(LIMIT_FILE).ok()?.trim().parse().ok()
}

/// Pure.
fn enough(needed: usize, left: usize, limit: Option<usize>) -> Result<(), ClusterError> {
    if left >= needed {
        return Ok(());
    }
    // Twice what is missing, so that the next run finds enough too.
    let raised = (limit.unwrap_or(0) + 2 * needed).next_multiple_of(128).max(512);
    Err(ClusterError::Machine(format!(
        "{left} inotify instances are left on this machine, and the nodes of this scenario need {needed}\nhelp: sysctl {LIMIT}={raised}"
    )))
}

#[cfg(test)]
mod tests {
    use super::{enough, needed};

    #[test]
    fn too_few_are_an_error_with_the_command_that_raises_the_limit() {
        assert!(enough(needed(1), 18, Some(128)).is_ok());
        let refused = enough(needed(3), 41, Some(128)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "41 inotify instances are left on this machine, and the nodes of this scenario need 42\nhelp: sysctl fs.inotify.max_user_instances=512"
        );
        let of_many = enough(needed(100), 400, Some(512)).unwrap_err().to_string();
        assert!(of_many.ends_with("help: sysctl fs.inotify.max_user_instances=2944"), "{of_many}");
    }
}
