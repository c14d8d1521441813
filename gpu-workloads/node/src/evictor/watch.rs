//! What the kubelet's rules say of a device.

use std::collections::BTreeMap;

use jiff::Timestamp;
use plimsoll_eviction::manager::{First, Manager, Pass, State};
use plimsoll_eviction::message::annotation;
use plimsoll_eviction::pod::{Container, MEMORY, Pod, Resources};
use plimsoll_eviction::signal::NodeCondition;
use plimsoll_eviction::summary::{ContainerStats, MemoryStats, NodeStats, PodReference, PodStats, Summary};
use plimsoll_eviction::victim::Annotations;

use super::node_pod::NodePod;
use super::usage::{DeviceUse, PodUse};
use crate::driver::Device;

/// A device under watch: what is remembered of it from look to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    state: State,
}

/// What a device is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The kubelet's rules for memory, with thresholds for GPU memory.
    pub manager: &'a Manager,
    /// The resource that messages name.
    pub resource: &'a str,
}

/// What a look at a device shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether the device counts as short of memory, for as long as the transition period says.
    pub pressure: bool,
    /// Whether a threshold is met, its grace period over, and the figures are new: it is time to free memory.
    pub reclaiming: bool,
    /// The pod to evict; none if none is to be, or none may be.
    pub victim: Option<Victim>,
}

/// A pod to evict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its uid.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How long it may take to end, in seconds; at least 1, since 0 would take it out of the API before it has ended.
    pub grace_period_seconds: i64,
    /// Why it is evicted, in the kubelet's words.
    pub message: String,
    /// The annotations of its event, as the kubelet's have them.
    pub annotations: Annotations,
}

impl Watch {
    /// Looks at a device: the kubelet's own pass, with the device's memory for the node's. Pods that are ending, or that hold nothing
    /// on the device, are no candidates: evicting them frees nothing.
    #[must_use]
    pub fn look(
        &mut self,
        rules: Rules<'_>,
        now: Timestamp,
        time: Timestamp,
        device: &Device,
        used: &DeviceUse,
        pods: &BTreeMap<String, NodePod>,
    ) -> Seen {
        let Rules { manager, resource } = rules;
        let candidates: Vec<(&NodePod, &PodUse)> = used
            .pods
            .iter()
            .filter(|own| own.used > 0)
            .filter_map(|own| Some((pods.get(&own.uid)?, own)))
            .filter(|(pod, _)| pod.deletion.is_none() && !pod.ended)
            .collect();
        let stand_ins: Vec<Pod> = candidates.iter().map(|(pod, own)| stand_in(&pod.pod, own)).collect();
        let references: Vec<&Pod> = stand_ins.iter().collect();
        let summary = summary(device, time, &candidates);
        let pass = Pass { now, pods: &references, summary: Some(&summary) };
        let (state, outcome) = manager.step(&self.state, pass, &mut First, |_| None);
        self.state = state;
        let victim = outcome.evictions.into_iter().next().map(|eviction| {
            let pod = &stand_ins[eviction.pod];
            let mut annotations = eviction.annotations.unwrap_or_default();
            annotations.insert(annotation::STARVED_RESOURCE.to_owned(), resource.to_owned());
            Victim {
                uid: pod.uid.clone(),
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                grace_period_seconds: eviction.grace_period_seconds.max(1),
                message: eviction.message.naming(resource).to_string(),
                annotations,
            }
        });
        Seen {
            pressure: outcome.conditions.contains(&NodeCondition::MemoryPressure),
            reclaiming: outcome.reclaiming.is_some(),
            victim,
        }
    }
}

/// The pod with its requests of GPU memory for those of memory, and nothing else that could count.
fn stand_in(pod: &Pod, own: &PodUse) -> Pod {
    let mut names: Vec<&String> = own.containers.keys().chain(own.requests.keys()).collect();
    names.sort();
    names.dedup();
    let container = |name: &String| {
        let requests = own.requests.get(name).map(|request| (MEMORY.to_owned(), request.clone()));
        Container {
            name: name.clone(),
            resources: Resources { requests: requests.into_iter().collect(), ..Resources::default() },
            sidecar: false,
        }
    };
    Pod {
        containers: names.into_iter().map(container).collect(),
        init_containers: Vec::new(),
        resources: None,
        overhead: BTreeMap::new(),
        volumes: Vec::new(),
        ..pod.clone()
    }
}

/// A summary of a node that has as much memory as the device.
fn summary(device: &Device, time: Timestamp, pods: &[(&NodePod, &PodUse)]) -> Summary {
    let used = |bytes: u64| MemoryStats {
        time: Some(time),
        working_set_bytes: Some(bytes),
        ..MemoryStats::default()
    };
    let available = device.memory_available();
    let memory = MemoryStats { available_bytes: Some(available), ..used(device.memory_total - available) };
    let container = |(name, bytes): (&String, &u64)| ContainerStats {
        name: name.clone(),
        memory: Some(used(*bytes)),
        ..ContainerStats::default()
    };
    let pod = |(pod, own): &(&NodePod, &PodUse)| PodStats {
        pod_ref: PodReference {
            name: pod.pod.name.clone(),
            namespace: pod.pod.namespace.clone(),
            uid: pod.pod.uid.clone(),
        },
        containers: own.containers.iter().map(container).collect(),
        memory: Some(used(own.used)),
        ..PodStats::default()
    };
    Summary {
        node: NodeStats { memory: Some(memory), ..NodeStats::default() },
        pods: pods.iter().map(pod).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evictor::settings::Statements;
    use plimsoll_eviction::duration::GoDuration;
    use plimsoll_eviction::quantity::Quantity;

    const GIB: u64 = 1 << 30;
    const RESOURCE: &str = "nvidia.com/gpu-memory";

    fn manager(hard: &str, soft: &str, reclaim: &str) -> Manager {
        let statement = |operator: &str, value: &str| {
            if value.is_empty() { String::new() } else { format!("gpu.memory.available{operator}{value}") }
        };
        Statements {
            hard: statement("<", hard),
            soft: statement("<", soft),
            soft_grace_period: statement("=", if soft.is_empty() { "" } else { "30s" }),
            minimum_reclaim: statement("=", reclaim),
            max_pod_grace_period_seconds: 20,
            pressure_transition_period: GoDuration::from_seconds(60),
        }
        .read()
        .expect("settings")
        .manager
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("a time")
    }

    fn device(used: u64) -> Device {
        Device {
            index: 0,
            uuid: "GPU-0".to_owned(),
            name: "A".to_owned(),
            minor: None,
            numa_node: None,
            memory_total: 16 * GIB,
            memory_used: used * GIB,
            processes: Vec::new(),
        }
    }

    fn pod(name: &str, priority: i32) -> NodePod {
        let pod = Pod {
            namespace: "n".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            priority: Some(priority),
            termination_grace_period_seconds: Some(30),
            ..Pod::default()
        };
        NodePod {
            pod,
            containers: BTreeMap::new(),
            deletion: None,
            evicting: None,
            ended: false,
            config_hash: None,
        }
    }

    fn uses(pods: &[(&str, u64, u64)]) -> DeviceUse {
        let pods = pods.iter().map(|&(name, used, request)| PodUse {
            uid: name.to_owned(),
            used: used * GIB,
            containers: [("c".to_owned(), used * GIB)].into(),
            requests: [("c".to_owned(), Quantity::from_bytes((request * GIB).cast_signed()))].into(),
        });
        DeviceUse { pods: pods.collect(), ..DeviceUse::default() }
    }

    fn by_name(pods: Vec<NodePod>) -> BTreeMap<String, NodePod> {
        pods.into_iter().map(|pod| (pod.pod.uid.clone(), pod)).collect()
    }

    fn name(seen: &Seen) -> Option<&str> {
        seen.victim.as_ref().map(|victim| victim.name.as_str())
    }

    #[test]
    fn over_its_request_goes_before_a_larger_one_within_it() {
        let manager = manager("1Gi", "", "");
        let pods = by_name(vec![pod("large", 0), pod("over", 1000), pod("further", 2000)]);
        let look = |uses: &DeviceUse| {
            Watch::default().look(
                Rules { manager: &manager, resource: RESOURCE },
                at(0),
                at(0),
                &device(16),
                uses,
                &pods,
            )
        };
        assert_eq!(name(&look(&uses(&[("large", 12, 12), ("over", 4, 2)]))), Some("over"));
        // Both over: priority comes before how far.
        assert_eq!(name(&look(&uses(&[("over", 4, 2), ("further", 12, 2)]))), Some("over"));
        let equals = by_name(vec![pod("large", 0), pod("small", 0)]);
        let seen = Watch::default().look(
            Rules { manager: &manager, resource: RESOURCE },
            at(0),
            at(0),
            &device(16),
            &uses(&[("small", 4, 2), ("large", 12, 2)]),
            &equals,
        );
        assert_eq!(name(&seen), Some("large"), "of one priority, the one further over");
    }

    #[test]
    fn the_victim_is_told_in_the_kubelets_words() {
        let manager = manager("1Gi", "", "");
        let pods = by_name(vec![pod("over", 0)]);
        let seen = Watch::default().look(
            Rules { manager: &manager, resource: RESOURCE },
            at(0),
            at(0),
            &device(16),
            &uses(&[("over", 15, 2)]),
            &pods,
        );
        let victim = seen.victim.expect("a victim");
        assert_eq!(
            victim.message,
            "The node was low on resource: nvidia.com/gpu-memory. Threshold quantity: 1Gi, available: 0. Container c was \
             using 15Gi, request is 2Gi, has larger consumption of nvidia.com/gpu-memory. "
        );
        assert_eq!(victim.annotations["starved_resource"], RESOURCE);
        assert_eq!(victim.annotations["offending_containers"], "c");
        assert_eq!(victim.grace_period_seconds, 1, "a hard threshold leaves no time");
    }

    #[test]
    fn soft_thresholds_wait_and_leave_time() {
        let manager = manager("", "10%", "");
        let pods = by_name(vec![pod("over", 0)]);
        let mut watch = Watch::default();
        let mut look = |second: i64, used: u64| {
            watch.look(
                Rules { manager: &manager, resource: RESOURCE },
                at(second),
                at(second),
                &device(used),
                &uses(&[("over", used, 2)]),
                &pods,
            )
        };
        let first = look(0, 15);
        assert!(first.pressure && !first.reclaiming && first.victim.is_none());
        assert!(look(20, 15).victim.is_none());
        assert!(!look(25, 8).reclaiming, "relief in between begins the wait anew");
        assert!(look(35, 15).victim.is_none());
        let victim = look(66, 15).victim.expect("a victim");
        assert_eq!(victim.grace_period_seconds, 20, "the smaller of the pod's own and the maximum");
    }

    #[test]
    fn minimum_reclaim_and_transition_period_are_the_kubelets() {
        let manager = manager("2Gi", "", "4Gi");
        let pods = by_name(vec![pod("a", 0), pod("b", 0)]);
        let uses = uses(&[("a", 4, 2), ("b", 8, 2)]);
        let mut watch = Watch::default();
        let mut look = |second: i64, used: u64| {
            watch.look(
                Rules { manager: &manager, resource: RESOURCE },
                at(second),
                at(second),
                &device(used),
                &uses,
                &pods,
            )
        };
        assert!(!look(0, 12).pressure, "4Gi are left");
        assert!(look(10, 15).victim.is_some());
        assert!(look(20, 13).victim.is_some(), "3Gi are above the threshold and below threshold and reclaim");
        let relieved = look(30, 10);
        assert!(relieved.victim.is_none() && relieved.pressure);
        assert!(look(75, 10).pressure);
        assert!(!look(81, 10).pressure);
    }

    #[test]
    fn nobody_goes_for_figures_that_are_not_new() {
        let manager = manager("1Gi", "", "");
        let pods = by_name(vec![pod("over", 0)]);
        let mut watch = Watch::default();
        let mut look = |now: i64, time: i64| {
            watch.look(
                Rules { manager: &manager, resource: RESOURCE },
                at(now),
                at(time),
                &device(16),
                &uses(&[("over", 16, 2)]),
                &pods,
            )
        };
        assert!(look(0, 0).victim.is_some());
        assert!(look(10, 0).victim.is_none());
        assert!(look(20, 20).victim.is_some());
    }

    #[test]
    fn who_frees_nothing_or_is_exempt_is_no_candidate() {
        let manager = manager("1Gi", "", "");
        let look = |pods: Vec<NodePod>, uses: &DeviceUse| {
            let pods = by_name(pods);
            Watch::default().look(
                Rules { manager: &manager, resource: RESOURCE },
                at(0),
                at(0),
                &device(16),
                uses,
                &pods,
            )
        };
        let ending = NodePod { deletion: Some((at(5), 30)), ..pod("x", 0) };
        let ended = NodePod { ended: true, ..pod("x", 0) };
        let critical = pod("x", 2_000_000_000);
        let mut mirror = pod("x", 0);
        mirror.pod.annotations.insert("kubernetes.io/config.mirror".to_owned(), "h".to_owned());
        for other in [ending, ended, critical, mirror] {
            let seen = look(vec![other.clone()], &uses(&[("x", 16, 0)]));
            assert!(seen.reclaiming && seen.victim.is_none(), "{other:?}");
            let seen = look(vec![other, pod("next", 0)], &uses(&[("x", 15, 0), ("next", 1, 1)]));
            assert_eq!(name(&seen), Some("next"));
        }
        assert!(look(vec![pod("idle", -5)], &uses(&[("idle", 0, 4)])).victim.is_none());
    }
}
