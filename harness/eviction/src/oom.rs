//! Whom the kernel's out-of-memory killer takes: the scores the kubelet gives, and the choice by them.
//!
//! Follows `pkg/kubelet/qos` of Kubernetes 1.36.3.

use crate::pod::{Container, MEMORY, Pod, ResourceList};
use crate::resources::is_supported_at_pod_level;

/// The adjustment of the kubelet and of other node daemons that it starts. Upstream: `KubeletOOMScoreAdj`.
pub const KUBELET_ADJUSTMENT: i64 = -999;
/// The adjustment of Guaranteed and node-critical pods.
pub const GUARANTEED_ADJUSTMENT: i64 = -997;
/// The adjustment of BestEffort pods.
pub const BEST_EFFORT_ADJUSTMENT: i64 = 1000;
/// With this adjustment a process is never killed.
pub const NEVER: i64 = -1000;

fn memory(list: &ResourceList) -> i64 {
    list.get(MEMORY).map_or(0, crate::quantity::Quantity::upstream_value)
}

impl Pod {
    /// Whether it is critical to its node. Upstream: `kubelettypes.IsNodeCriticalPod`.
    #[must_use]
    pub fn is_node_critical(&self) -> bool {
        self.exemption().is_some() && self.priority_class_name == "system-node-critical"
    }

    /// The part of the pod's own memory request that no container has asked for, per container.
    /// Upstream: `remainingPodMemReqPerContainer`.
    fn unassigned_memory_per_container(&self) -> Option<i64> {
        let requests = &self.resources.as_ref()?.requests;
        if !requests.keys().any(|resource| is_supported_at_pod_level(resource)) {
            return None;
        }
        // A request that has no 64-bit number counts as 0 below, but it is not zero.
        if requests.get(MEMORY).is_none_or(crate::quantity::Quantity::is_zero) {
            return Some(0);
        }
        let whole = memory(requests);
        let assigned = self.container_request(MEMORY).map_or(0, |request| request.upstream_value());
        let containers =
            i64::try_from(self.containers.len() + self.init_containers.len()).unwrap_or(i64::MAX);
        Some(whole.wrapping_sub(assigned).checked_div(containers).unwrap_or(0))
    }

    /// The `oom_score_adj` of a container's processes on a node with so many bytes of memory.
    /// Upstream: `GetContainerOOMScoreAdjust`.
    #[must_use]
    pub fn oom_score_adjustment(&self, container: &Container, memory_capacity: i64) -> i64 {
        if self.is_node_critical() {
            return GUARANTEED_ADJUSTMENT;
        }
        match self.qos_class() {
            "Guaranteed" => return GUARANTEED_ADJUSTMENT,
            "BestEffort" => return BEST_EFFORT_ADJUSTMENT,
            _ => {}
        }
        let unassigned = self.unassigned_memory_per_container().unwrap_or(0);
        let adjustment = |request: i64| {
            let thousandfold = request.wrapping_add(unassigned).wrapping_mul(1000);
            1000_i64.wrapping_sub(thousandfold.checked_div(memory_capacity).unwrap_or(0))
        };
        let mut result = adjustment(memory(&container.resources.requests));
        if container.sidecar {
            let smallest = self.containers.iter().map(|own| memory(&own.resources.requests)).min();
            result = result.min(adjustment(smallest.unwrap_or(0)));
        }
        match result {
            ..3 => 1000 + GUARANTEED_ADJUSTMENT,
            1000 => 999,
            _ => result,
        }
    }
}

/// A process that the kernel may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Memory that would be freed, in bytes: resident, swapped out, page tables.
    pub memory: u64,
    /// Its `oom_score_adj`.
    pub adjustment: i64,
}

/// The points by which the kernel compares processes, in pages; none for one that is never killed.
/// Follows `oom_badness` of Linux 6: memory in pages, plus the adjustment in thousandths of all pages.
#[must_use]
pub fn points(process: Process, total_memory: u64, page_size: u64) -> Option<i64> {
    let pages = |bytes: u64| i64::try_from(bytes / page_size.max(1)).unwrap_or(i64::MAX);
    let adjustment = process.adjustment.saturating_mul(pages(total_memory) / 1000);
    (process.adjustment != NEVER).then(|| pages(process.memory).saturating_add(adjustment))
}

/// The processes, by index, that the kernel would kill first: those with the most points. More than one only if
/// they are equal; then it depends on the order of the process list.
#[must_use]
pub fn choice(processes: &[Process], total_memory: u64, page_size: u64) -> Vec<usize> {
    let scores: Vec<Option<i64>> =
        processes.iter().map(|process| points(*process, total_memory, page_size)).collect();
    let Some(most) = scores.iter().flatten().max().copied() else { return Vec::new() };
    (0..processes.len()).filter(|&at| scores[at] == Some(most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::{Resources, SYSTEM_CRITICAL_PRIORITY};

    const GIB: i64 = 1 << 30;

    fn container(request: &str, sidecar: bool) -> Container {
        let requests = [(MEMORY.to_owned(), request.parse().expect("a quantity"))].into();
        Container {
            resources: Resources { requests, ..Resources::default() },
            sidecar,
            ..Container::default()
        }
    }

    #[test]
    fn adjustments_follow_class_and_request() {
        let best_effort = Pod { containers: vec![Container::default()], ..Pod::default() };
        assert_eq!(best_effort.oom_score_adjustment(&best_effort.containers[0], 4 * GIB), 1000);
        let adjustment = |request: &str| {
            let pod = Pod { containers: vec![container(request, false)], ..Pod::default() };
            pod.oom_score_adjustment(&pod.containers[0], 4 * GIB)
        };
        assert_eq!(adjustment("1Gi"), 750);
        assert_eq!(adjustment("1"), 999);
        assert_eq!(adjustment("4Gi"), 3);
        let critical = Pod {
            containers: vec![container("1Gi", false)],
            priority: Some(SYSTEM_CRITICAL_PRIORITY),
            priority_class_name: "system-node-critical".to_owned(),
            ..Pod::default()
        };
        assert_eq!(critical.oom_score_adjustment(&critical.containers[0], 4 * GIB), -997);
    }

    #[test]
    fn sidecars_are_no_worse_off_than_the_least_container() {
        let pod = Pod {
            containers: vec![container("2Gi", false), container("1Gi", false)],
            init_containers: vec![container("1Mi", true), container("3Gi", true)],
            ..Pod::default()
        };
        assert_eq!(pod.oom_score_adjustment(&pod.init_containers[0], 4 * GIB), 750);
        assert_eq!(pod.oom_score_adjustment(&pod.init_containers[1], 4 * GIB), 250);
    }

    #[test]
    fn a_pod_level_request_is_shared_out() {
        let requests: ResourceList = [(MEMORY.to_owned(), "3Gi".parse().expect("a quantity"))].into();
        let pod = Pod {
            containers: vec![container("1Gi", false), Container::default()],
            resources: Some(Resources { requests, ..Resources::default() }),
            ..Pod::default()
        };
        assert_eq!(pod.oom_score_adjustment(&pod.containers[0], 4 * GIB), 500);
        assert_eq!(pod.oom_score_adjustment(&pod.containers[1], 4 * GIB), 750);
    }

    #[test]
    fn a_pod_level_request_beyond_64_bits_counts_as_none_but_is_shared_out() {
        let requests: ResourceList = [(MEMORY.to_owned(), "1e30".parse().expect("a quantity"))].into();
        let pod = Pod {
            containers: vec![container("1Gi", false), Container::default()],
            resources: Some(Resources { requests, ..Resources::default() }),
            ..Pod::default()
        };
        assert_eq!(pod.oom_score_adjustment(&pod.containers[0], 4 * GIB), 875);
    }

    #[test]
    fn the_kernel_takes_the_most_points() {
        let process = |memory: u64, adjustment| Process { memory: memory << 20, adjustment };
        let choice = |processes: &[Process]| choice(processes, 2 << 30, 4096);
        assert_eq!(choice(&[process(300, 1000), process(700, 750)]), [0]);
        assert_eq!(choice(&[process(300, 750), process(900, 750)]), [1]);
        assert_eq!(choice(&[process(900, NEVER), process(1, -997)]), [1]);
        assert_eq!(choice(&[process(5, 0), process(5, 0)]), [0, 1]);
        assert!(choice(&[process(900, NEVER)]).is_empty());
    }
}
