//! Whether a machine can hold a plan's nodes.

use crate::plan::Plan;
use crate::scenario::{Code, Loaded, Problem};

use super::workloads::bytes;

/// What the control plane takes beside the nodes, in bytes.
const CONTROL_PLANE: u64 = 700 << 20;

/// What is wrong with running this plan on a machine that has so much memory, in bytes.
#[must_use]
pub fn fits(plan: &Plan, loaded: &Loaded, machine_memory: u64) -> Option<Problem> {
    let nodes: u64 = plan.nodes.iter().fold(0, |sum, node| sum.saturating_add(node.memory));
    let needed = nodes.saturating_add(CONTROL_PLANE);
    if needed <= machine_memory {
        return None;
    }
    let cluster = loaded.scenario.spec.cluster.as_ref();
    let mark = cluster
        .and_then(|cluster| cluster.nodes.as_ref())
        .map_or(loaded.scenario.metadata.name.mark, |nodes| {
            nodes.first().map_or(nodes.mark, |node| node.mark)
        });
    let message = format!(
        "the nodes have {} of memory together and the control plane takes {}; this machine has {}",
        bytes(nodes),
        bytes(CONTROL_PLANE),
        bytes(machine_memory)
    );
    Some(Problem::new(Code::E0021, mark, message).help("make the nodes smaller, or run it elsewhere"))
}
