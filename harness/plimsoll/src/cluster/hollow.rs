//! Nodes that exist in the API alone: the objects, and what kwok is told that plays their kubelets. Pure.

use serde_json::{Value, json};

use crate::plan::{HOLLOW_LABEL, HollowPlan, HollowZone, ZONE_LABEL};

/// How kwok plays a node's life.
const STAGES: &str = include_str!("hollow-stages.yaml");
/// How many nodes, pods and leases a program takes in hand at once.
const PARALLELISM: u32 = 16;

/// The file that kwok reads, by the name of the group that it plays.
#[must_use]
pub fn configurations(hollow: &HollowPlan) -> Vec<(String, String)> {
    let groups = hollow.zones.iter().flat_map(|zone| (0..zone.groups.len()).map(|index| zone.group(index)));
    groups
        .enumerate()
        .map(|(index, group)| {
            let options = json!({
                "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
                "kind": "KwokConfiguration",
                "options": {
                    "manageNodesWithLabelSelector": format!("{HOLLOW_LABEL}={group}"),
                    // Of its own, or two of them would give one address to two pods.
                    "cidr": format!("10.{}.0.0/16", 128 + index % 64),
                    "nodeLeaseDurationSeconds": hollow.node_lease_duration_seconds,
                    "nodeLeaseParallelism": PARALLELISM,
                    "nodePlayStageParallelism": PARALLELISM,
                    "podPlayStageParallelism": PARALLELISM,
                },
            });
            // JSON is YAML.
            (group, format!("{options}\n---\n{STAGES}"))
        })
        .collect()
}

/// The nodes. Only pods that tolerate it come to one, so that no filler is waited for where nothing runs.
#[must_use]
pub fn nodes(hollow: &HollowPlan) -> Vec<Value> {
    hollow.zones.iter().flat_map(zone).collect()
}

fn zone(zone: &HollowZone) -> Vec<Value> {
    let sizes = zone.groups.iter().enumerate();
    let groups = sizes.flat_map(|(index, size)| (0..*size).map(move |_| zone.group(index)));
    (1..).zip(groups).map(|(number, group)| node(zone, number, &group)).collect()
}

fn node(zone: &HollowZone, number: u32, group: &str) -> Value {
    let name = format!("hollow-{}-{number:03}", zone.name);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                (ZONE_LABEL): zone.name,
                (HOLLOW_LABEL): group,
            },
        },
        "spec": {"taints": [{"key": HOLLOW_LABEL, "effect": "NoSchedule"}]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_lie_in_their_groups_in_order() {
        let zones = vec![HollowZone { name: "a".into(), groups: vec![2, 1] }];
        let hollow = HollowPlan { zones, node_lease_duration_seconds: 8 };
        let found: Vec<(Value, Value)> = nodes(&hollow)
            .iter()
            .map(|node| (node["metadata"]["name"].clone(), node["metadata"]["labels"][HOLLOW_LABEL].clone()))
            .collect();
        let expected =
            [("hollow-a-001", "hollow-a-0"), ("hollow-a-002", "hollow-a-0"), ("hollow-a-003", "hollow-a-1")];
        assert_eq!(found, expected.map(|(name, group)| (name.into(), group.into())));
        let configurations = configurations(&hollow);
        assert_eq!(configurations.len(), 2);
        assert!(configurations[1].1.contains("plimsoll.dev/hollow=hollow-a-1"));
        assert!(configurations.iter().all(|(_, text)| text.contains("name: node-ready")));
    }
}
