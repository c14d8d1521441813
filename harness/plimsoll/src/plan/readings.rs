//! Thresholds that depend on a reading: `pid.available: available - 4000`.
//!
//! Process ids are counted on the whole machine, which a scenario can not bound. So its threshold is written relative to
//! what is available, and put in figures when the run begins.

use serde_json::Value;

use super::Plan;
use crate::scenario::format::values::quantity;

/// The word for what is available when the run begins.
const READING: &str = "available";
/// The fields of a kubelet's configuration that take thresholds.
const FIELDS: [&str; 2] = ["evictionHard", "evictionSoft"];

/// The quantity that a threshold such as `available - 4000` takes from the reading, as it is written.
#[must_use]
pub fn below_reading(text: &str) -> Option<&str> {
    let rest = text.trim().strip_prefix(READING)?.trim_start();
    rest.strip_prefix('-').map(str::trim)
}

/// Whether some threshold of the plan depends on a reading.
#[must_use]
pub fn needed(plan: &Plan) -> bool {
    let mut found = false;
    let mut plan = plan.clone();
    each(&mut plan, |_| found = true);
    found
}

/// Whether some node has a threshold of process ids: whatever else runs on the machine counts against it.
#[must_use]
pub fn counts_pids(plan: &Plan) -> bool {
    let has = |node: &super::NodePlan, field: &str| {
        node.kubelet.get(field).is_some_and(|thresholds| thresholds.get("pid.available").is_some())
    };
    plan.nodes.iter().any(|node| FIELDS.iter().any(|field| has(node, field)))
}

/// Puts every threshold that depends on the number of process ids that are available in figures, on a machine that can have
/// so many tasks and has so many.
///
/// The nodes are shown that maximum. Since Linux 6.14 each process namespace has one of its own, and a node's would be another
/// than the one that was read.
pub fn resolve(plan: &mut Plan, maximum: u64, running: u64) {
    if !needed(plan) {
        return;
    }
    let available = maximum.saturating_sub(running);
    for node in &mut plan.nodes {
        node.pid_max = Some(maximum);
        node.pids_taken = Some(running);
    }
    each(plan, |value| {
        let taken = value.as_str().and_then(below_reading).and_then(|below| quantity(below).ok());
        let taken = taken.and_then(|quantity| u64::try_from(quantity.value()).ok()).unwrap_or(0);
        // The kubelet refuses a threshold of 0.
        *value = Value::String(available.saturating_sub(taken).max(1).to_string());
    });
}

fn each(plan: &mut Plan, mut change: impl FnMut(&mut Value)) {
    for node in &mut plan.nodes {
        for field in FIELDS {
            let thresholds = node.kubelet.get_mut(field).and_then(Value::as_object_mut);
            for value in thresholds.into_iter().flat_map(serde_json::Map::values_mut) {
                if value.as_str().and_then(below_reading).is_some() {
                    change(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_threshold_is_put_in_figures_and_the_others_stay() {
        let mut plan: Plan = serde_json::from_value(json!({
            "name": "x", "kubernetes": "1.36.3", "objects": [], "workloads": {}, "steps": [], "expectations": [],
            "nodes": [{
                "name": "worker", "memory": 1, "nodefs": {"size": 1},
                "kubelet": {"evictionHard": {"pid.available": "available - 4k", "nodefs.available": "10%"}},
            }],
        }))
        .expect("a plan");
        assert!(needed(&plan) && counts_pids(&plan));
        resolve(&mut plan, 32_000, 2_000);
        assert_eq!((plan.nodes[0].pid_max, plan.nodes[0].pids_taken), (Some(32_000), Some(2_000)));
        assert_eq!(
            plan.nodes[0].kubelet,
            json!({"evictionHard": {"pid.available": "26000", "nodefs.available": "10%"}})
        );
        assert!(!needed(&plan) && counts_pids(&plan));
    }

    #[test]
    fn other_words_are_no_readings() {
        assert_eq!(below_reading("available-12"), Some("12"));
        assert_eq!(below_reading("available"), None);
        assert_eq!(below_reading("10%"), None);
    }
}
