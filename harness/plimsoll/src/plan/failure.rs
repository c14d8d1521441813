//! Failures of nodes and of the control plane in words.

use super::{
    ComponentChange, ControlPlaneComponent, NodeChange, TaintRateExpectation, TaintedExpectation, ZoneChange,
};

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

/// What a step about a GPU does, in words.
#[must_use]
pub fn gpu_change(node: &str, device: u32, xid: Option<u64>) -> String {
    match xid {
        Some(xid) => format!("let GPU {device} of {node} have Xid {xid}"),
        None => format!("mend GPU {device} of {node}"),
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

/// What becomes of nodes of a zone.
#[must_use]
pub fn zone_change(zone: &str, nodes: u32, change: ZoneChange) -> String {
    let nodes = if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
    match change {
        ZoneChange::Freeze => format!("let {nodes} of zone {zone} fall silent"),
        ZoneChange::Thaw => format!("let {nodes} of zone {zone} be heard again"),
    }
}

/// How nodes of a zone must be tainted, with counts in the words of whoever asks.
#[must_use]
pub fn taint_rate(expected: &TaintRateExpectation, count: impl Fn(&super::Band) -> String) -> String {
    let mut parts = Vec::new();
    parts.extend(expected.nodes.as_ref().map(|nodes| format!("nodes tainted: {}", count(nodes))));
    parts.extend(expected.every.as_ref().map(|every| format!("one after another {every}")));
    parts.extend(expected.left.as_ref().map(|left| format!("tainted at the end: {}", count(left))));
    format!("zone {}: {}", expected.zone, parts.join(", "))
}
