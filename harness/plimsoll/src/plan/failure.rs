//! Failures of nodes and of the control plane in words.

use super::{ComponentChange, ControlPlaneComponent, NodeChange, TaintedExpectation};

/// What becomes of a node.
#[must_use]
pub fn node_change(node: &str, change: NodeChange) -> String {
    match change {
        NodeChange::StopKubelet => format!("stop the kubelet of {node}"),
        NodeChange::StartKubelet => format!("start the kubelet of {node} again"),
        NodeChange::Freeze => format!("freeze {node}"),
        NodeChange::Thaw => format!("let {node} go on"),
        NodeChange::Cut => format!("cut {node} off the network"),
        NodeChange::Mend => format!("give {node} its network back"),
        NodeChange::Kill => format!("take the power of {node}"),
        NodeChange::Start => format!("give {node} its power back"),
    }
}

/// What becomes of a component of the control plane.
#[must_use]
pub fn component_change(component: ControlPlaneComponent, change: ComponentChange) -> String {
    match change {
        ComponentChange::Stop => format!("stop {}", component.name()),
        ComponentChange::Start => format!("start {} again", component.name()),
    }
}

/// A taint by key and effect, as `kubectl` writes it.
#[must_use]
pub fn taint(key: &str, effect: Option<&str>) -> String {
    effect.map_or_else(|| key.to_owned(), |effect| format!("{key}:{effect}"))
}

/// A taint that a node must have got.
#[must_use]
pub fn tainted(expected: &TaintedExpectation) -> String {
    let mut text = format!("{} on {}", taint(&expected.key, expected.effect.as_deref()), expected.node);
    if let Some(within) = &expected.within {
        text.push_str(&format!(" {within} after it was taken away"));
    }
    match expected.removed {
        Some(true) => text.push_str(", and taken off"),
        Some(false) => text.push_str(", to the end"),
        None => {}
    }
    text
}
