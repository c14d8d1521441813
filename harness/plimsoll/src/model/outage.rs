//! What the node controller is told of a plan that takes nodes away, and what of that the model does not know of.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_eviction::zone::ZoneOptions;

use super::curve::{Micros, SECOND};
use super::fill::{Fill, Kind};
use super::node::PreparedNode;
use super::prepare::{Prepared, micros};
use super::template::PodTemplate;
use crate::plan::{Action, FillTarget, NodeChange, Plan, ZONE_LABEL};

/// How long nothing may be heard of a node, in seconds. Upstream: `--node-monitor-grace-period`.
const GRACE_SECONDS: Micros = 50;
/// How often the node controller looks, in seconds. Upstream: `--node-monitor-period`.
const PERIOD_SECONDS: Micros = 5;
/// The labels by which nodes are of one zone. Upstream: `GetZoneKey`.
const ZONE_LABELS: [&str; 2] = ["topology.kubernetes.io/region", ZONE_LABEL];
/// A filler of so many bytes at most has filled them before anything can happen to its node.
const AT_ONCE: i64 = 16 << 20;

/// How the node controller is set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NodeMonitor {
    pub(super) grace: Micros,
    pub(super) period: Micros,
    pub(super) options: ZoneOptions,
    /// The zone of each node, by place.
    pub(super) zones: Vec<String>,
}

/// The node controller's settings; none where no step takes a node away, so that nothing comes of them.
pub(super) fn monitor(plan: &Plan, nodes: &[PreparedNode]) -> Option<NodeMonitor> {
    plan.steps.iter().find(|step| matches!(step.action, Action::Node { .. }))?;
    let settings = &plan.control_plane;
    let usual = ZoneOptions::default();
    // Upstream has these flags in 32 bits.
    #[expect(clippy::cast_possible_truncation, reason = "upstream has these flags in 32-bit floating point")]
    let share = |own: Option<f64>, usual: f32| own.map_or(usual, |own| own as f32);
    let zone = |node: &PreparedNode| {
        ZONE_LABELS.map(|label| node.labels.get(label).map_or("", String::as_str)).join("/")
    };
    Some(NodeMonitor {
        grace: settings.node_monitor_grace_period.map_or(GRACE_SECONDS * SECOND, micros),
        period: settings.node_monitor_period.map_or(PERIOD_SECONDS * SECOND, micros),
        options: ZoneOptions {
            eviction_rate: share(settings.node_eviction_rate, usual.eviction_rate),
            secondary_eviction_rate: share(
                settings.secondary_node_eviction_rate,
                usual.secondary_eviction_rate,
            ),
            unhealthy_threshold: share(settings.unhealthy_zone_threshold, usual.unhealthy_threshold),
            large_zone_threshold: settings.large_cluster_size_threshold.unwrap_or(usual.large_zone_threshold),
        },
        zones: nodes.iter().map(zone).collect(),
    })
}

/// What of the nodes that are taken away the model leaves out of account: whatever would go on there meanwhile.
pub(super) fn omissions(plan: &Plan, prepared: &Prepared) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut away: BTreeMap<&str, NodeChange> = BTreeMap::new();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for step in &plan.steps {
        match &step.action {
            Action::Node { node, change } if change.undone_by().is_some() => {
                taken.insert(node);
                if away.insert(node, *change).is_some() {
                    found.insert(format!("{node} is taken away in two ways at once, which is not modelled"));
                }
                if *change == NodeChange::Kill && prepared.storage {
                    found.insert(format!(
                        "the empty disks of {node} after it lost its power are not modelled"
                    ));
                }
            }
            Action::Node { node, change } => {
                let before = away.remove(node.as_str());
                if before.and_then(NodeChange::undone_by) != Some(*change) {
                    found.insert(format!("{node} is brought back only in part, which is not modelled"));
                }
            }
            _ => {}
        }
    }
    for node in prepared.nodes().iter().filter(|node| taken.contains(node.name.as_str())) {
        let name = &node.name;
        let outside = |action: &Action| match action {
            Action::Fill { target: FillTarget::Node(own), .. } | Action::Load { node: own, .. } => {
                own == name
            }
            _ => false,
        };
        if plan.steps.iter().any(|step| outside(&step.action)) {
            found.insert(format!("what steps fill on {name}, which is taken away, is not modelled"));
        }
        for template in prepared.templates.iter().filter(|template| may_run_on(template, node)) {
            if template.containers.iter().any(|container| container.fill.is_some_and(|fill| goes_on(&fill))) {
                let pod = &template.rules().name;
                found.insert(format!("what {pod} fills on {name} while that is away is not modelled"));
            }
        }
    }
    found.into_iter().collect()
}

fn may_run_on(template: &PodTemplate, node: &PreparedNode) -> bool {
    template.node.as_ref().is_none_or(|own| *own == node.name)
        && template.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
}

/// Whether a filler does anything after its first moments.
const fn goes_on(fill: &Fill) -> bool {
    !matches!(fill.kind, Kind::Memory)
        || fill.course.amount > AT_ONCE
        || fill.course.rate.is_some()
        || fill.hold.is_some()
}
