//! Who uses how much of a device.

use std::collections::{BTreeMap, HashMap};

use plimsoll_eviction::quantity::Quantity;

use super::node_pod::NodePod;
use crate::device_plugin::{Resource, Share};
use crate::driver::Device;
use crate::pods::Holding;
use crate::pods::cgroup::PodProcess;

/// What a pod uses of a device, and what of it it requested.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodUse {
    /// The pod's uid.
    pub uid: String,
    /// Bytes that its processes hold.
    pub used: u64,
    /// The same by container, where a process's container is known.
    pub containers: BTreeMap<String, u64>,
    /// Bytes that its containers requested, by container.
    pub requests: BTreeMap<String, Quantity>,
}

/// What is known of a device's memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceUse {
    /// The pods that hold some of it, in the order of their uids.
    pub pods: Vec<PodUse>,
    /// Pods with a process of which the driver does not say what it holds. Nobody can say whether evicting them would help.
    pub unknown: Vec<String>,
    /// Bytes held by processes of no pod on the node.
    pub outside: u64,
}

impl DeviceUse {
    /// Counts what the processes on a device hold to the pods that they belong to. `holdings` is the kubelet's account of what was given
    /// to whom; without it, what a pod requests counts as requested of every device that it uses.
    #[must_use]
    pub fn new(
        device: &Device,
        owners: &HashMap<u32, PodProcess>,
        pods: &BTreeMap<String, NodePod>,
        holdings: Option<&[Holding]>,
        resource: &Resource,
    ) -> Self {
        let mut uses: BTreeMap<&str, PodUse> = BTreeMap::new();
        let mut unknown = Vec::new();
        let mut outside = 0_u64;
        for process in &device.processes {
            let owner = owners.get(&process.pid);
            let Some((owner, pod)) = owner.and_then(|owner| Some((owner, pod_of(owner, pods)?))) else {
                outside = outside.saturating_add(process.memory_used.unwrap_or(0));
                continue;
            };
            let Some(used) = process.memory_used else {
                if !unknown.contains(&pod.pod.uid) {
                    unknown.push(pod.pod.uid.clone());
                }
                continue;
            };
            let own = uses.entry(&pod.pod.uid).or_default();
            own.used = own.used.saturating_add(used);
            let container = owner.container_id.as_ref().and_then(|id| pod.containers.get(id));
            if let Some(container) = container {
                let own = own.containers.entry(container.clone()).or_default();
                *own = own.saturating_add(used);
            }
        }
        let complete = |(uid, own): (&str, PodUse)| {
            let requests = requests(&pods[uid], device, holdings, resource);
            PodUse { uid: uid.to_owned(), requests, ..own }
        };
        let known = uses.into_iter().filter(|(uid, _)| !unknown.iter().any(|unknown| unknown == uid));
        Self { pods: known.map(complete).collect(), unknown, outside }
    }
}

/// The pod that a process's cgroup belongs to.
fn pod_of<'a>(owner: &PodProcess, pods: &'a BTreeMap<String, NodePod>) -> Option<&'a NodePod> {
    pods.get(&owner.pod_uid)
        .or_else(|| pods.values().find(|pod| pod.config_hash.as_ref() == Some(&owner.pod_uid)))
}

/// What the containers of a pod requested of a device, in bytes. A whole device is all of its memory.
fn requests(
    pod: &NodePod,
    device: &Device,
    holdings: Option<&[Holding]>,
    resource: &Resource,
) -> BTreeMap<String, Quantity> {
    let bytes = |amount: u64| {
        let bytes = match resource.share {
            Share::Device => {
                if amount > 0 {
                    device.memory_total
                } else {
                    0
                }
            }
            Share::Memory { unit } => amount.saturating_mul(unit),
        };
        Quantity::from_bytes(i64::try_from(bytes).unwrap_or(i64::MAX))
    };
    let own = &pod.pod;
    if let Some(holdings) = holdings {
        let is_own = |holding: &&Holding| holding.namespace == own.namespace && holding.pod == own.name;
        let request =
            |holding: &Holding| (holding.container.clone(), bytes(holding.of_device(&device.uuid) as u64));
        return holdings.iter().filter(is_own).map(request).collect();
    }
    let request = |container: &plimsoll_eviction::pod::Container| {
        let amount = container.resources.requests.get(&resource.name)?;
        Some((container.name.clone(), bytes(u64::try_from(amount.value()).unwrap_or(0))))
    };
    own.containers.iter().chain(&own.init_containers).filter_map(request).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Process;

    const GIB: u64 = 1 << 30;

    fn resource() -> Resource {
        Resource { name: "nvidia.com/gpu-memory".to_owned(), share: Share::Memory { unit: GIB } }
    }

    fn pods() -> BTreeMap<String, NodePod> {
        let pod = |uid: &str, amount: &str| {
            let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(serde_json::json!({
                "metadata": {"name": uid, "namespace": "n", "uid": uid,
                    "annotations": {"kubernetes.io/config.hash": format!("hash-{uid}")}},
                "spec": {"containers": [{"name": "c", "resources": {"requests": {"nvidia.com/gpu-memory": amount}}}]},
                "status": {"containerStatuses": [{"name": "c", "containerID": format!("containerd://{uid}-c"),
                    "image": "", "imageID": "", "ready": true, "restartCount": 0}]},
            }))
            .expect("a pod");
            (uid.to_owned(), NodePod::try_from(&pod).expect("read"))
        };
        [pod("a", "2"), pod("b", "1")].into()
    }

    fn device(processes: &[(u32, Option<u64>)]) -> Device {
        let process = |&(pid, memory_used): &(u32, Option<u64>)| Process { pid, memory_used };
        Device {
            index: 0,
            uuid: "GPU-0".to_owned(),
            name: "A".to_owned(),
            minor: None,
            numa_node: None,
            memory_total: 16 * GIB,
            memory_used: 0,
            processes: processes.iter().map(process).collect(),
        }
    }

    fn owner(pod: &str, container: Option<&str>) -> PodProcess {
        PodProcess { pod_uid: pod.to_owned(), container_id: container.map(str::to_owned) }
    }

    #[test]
    fn processes_are_counted_to_pods_and_containers() {
        let owners = [
            (1, owner("a", Some("a-c"))),
            (2, owner("a", Some("a-c"))),
            (3, owner("a", None)),
            (4, owner("hash-b", Some("b-c"))),
            (6, owner("gone", None)),
        ]
        .into();
        let device = device(&[
            (1, Some(GIB)),
            (2, Some(GIB)),
            (3, Some(5)),
            (4, Some(7)),
            (5, Some(11)),
            (6, Some(13)),
        ]);
        let found = DeviceUse::new(&device, &owners, &pods(), None, &resource());
        assert_eq!(found.outside, 24, "of no pod, and of one that is gone");
        assert_eq!((found.pods[0].uid.as_str(), found.pods[0].used), ("a", 2 * GIB + 5));
        assert_eq!(found.pods[0].containers["c"], 2 * GIB);
        assert_eq!(found.pods[0].requests["c"].to_string(), "2Gi");
        assert_eq!((found.pods[1].uid.as_str(), found.pods[1].used), ("b", 7));
    }

    #[test]
    fn a_pod_of_which_anything_is_unknown_is_not_ranked() {
        let owners = [(1, owner("a", None)), (2, owner("a", None)), (3, owner("b", None))].into();
        let found = DeviceUse::new(
            &device(&[(1, Some(1)), (2, None), (3, Some(1))]),
            &owners,
            &pods(),
            None,
            &resource(),
        );
        assert_eq!(found.unknown, ["a"]);
        assert_eq!(found.pods.len(), 1);
    }

    #[test]
    fn the_kubelets_account_says_what_was_requested_of_which_device() {
        let owners = [(1, owner("a", None))].into();
        let holding = |ids: &[&str]| Holding {
            namespace: "n".to_owned(),
            pod: "a".to_owned(),
            container: "c".to_owned(),
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        };
        let found = |holdings: &[Holding], share| {
            let resource = Resource { share, ..resource() };
            let found = DeviceUse::new(&device(&[(1, Some(1))]), &owners, &pods(), Some(holdings), &resource);
            found.pods[0].requests.get("c").map(ToString::to_string)
        };
        let shares = Share::Memory { unit: GIB };
        assert_eq!(found(&[holding(&["GPU-0::0", "GPU-0::1", "GPU-1::0"])], shares).as_deref(), Some("2Gi"));
        assert_eq!(found(&[], shares), None);
        assert_eq!(found(&[holding(&["GPU-0"])], Share::Device).as_deref(), Some("16Gi"));
        assert_eq!(found(&[holding(&["GPU-1"])], Share::Device).as_deref(), Some("0"));
    }
}
