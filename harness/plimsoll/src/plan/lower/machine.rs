//! Whether a machine can hold a plan's nodes.

use crate::plan::NodePlan;
use crate::scenario::{Code, Loaded, Problem};

use super::workloads::bytes;

/// What the control plane takes beside the nodes, in bytes.
const CONTROL_PLANE: u64 = 700 << 20;

/// A machine that a scenario is to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Its memory in bytes.
    pub memory: u64,
    /// The size in bytes of the disk that runs are on. How much of it is free changes, and what a node's filesystem is not filled with it
    /// does not take.
    pub disk: u64,
}

impl Machine {
    /// One that holds everything.
    pub const UNBOUNDED: Self = Self { memory: u64::MAX, disk: u64::MAX };
}

/// What is wrong with running these nodes on a machine.
#[must_use]
pub fn fits<'a>(
    nodes: impl IntoIterator<Item = &'a NodePlan>,
    loaded: &Loaded,
    machine: Machine,
) -> Vec<Problem> {
    let (mut memory, mut disk) = (0_u64, 0_u64);
    for node in nodes {
        memory = memory.saturating_add(node.memory);
        let imagefs = node.imagefs.map_or(0, |imagefs| imagefs.size);
        disk = disk.saturating_add(node.nodefs.size).saturating_add(imagefs);
    }
    let cluster = loaded.scenario.spec.cluster.as_ref();
    let mark = cluster
        .and_then(|cluster| cluster.nodes.as_ref())
        .map_or(loaded.scenario.metadata.name.mark, |nodes| {
            nodes.first().map_or(nodes.mark, |node| node.mark)
        });
    let problem = |message: String| {
        Problem::new(Code::E0021, mark, message).help("make the nodes smaller, or run it elsewhere")
    };
    let mut problems = Vec::new();
    if memory.saturating_add(CONTROL_PLANE) > machine.memory {
        problems.push(problem(format!(
            "the nodes have {} of memory together and the control plane takes {}; this machine has {}",
            bytes(memory),
            bytes(CONTROL_PLANE),
            bytes(machine.memory)
        )));
    }
    if disk > machine.disk {
        problems.push(problem(format!(
            "the nodes' filesystems have {} together; the disk that runs are on has {} in all",
            bytes(disk),
            bytes(machine.disk)
        )));
    }
    problems
}
