//! The steps that do something.

use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::{Api, Client};
use plimsoll_node::config::{ControlRequest, IMAGEFS, NODEFS};
use tokio::io::AsyncReadExt;

use super::objects::Objects;
use super::{disruption, drain};
use crate::cluster::{CONTROL_PLANE, Change, Cluster, ClusterError};
use crate::observe::{Facts, World};
use crate::plan::{
    Action, ComponentChange, FillPlace, FillPlan, FillTarget, NodeChange, Plan, Resource, ZoneChange, filler,
    is_filler,
};

/// How long such a step may take, besides what it says itself.
const PERFORMED_WITHIN: Duration = Duration::from_secs(60);

/// How long a step may take.
pub(super) fn performed_within(action: &Action) -> Duration {
    let own = match action {
        Action::Evict(evict) => evict.retry_for.unwrap_or_default(),
        Action::Drain(drain) => drain.timeout,
        _ => Duration::ZERO,
    };
    own.saturating_add(PERFORMED_WITHIN)
}

/// Does what a step says. What it needs of the world is taken from it before this returns.
pub(super) fn perform<'a>(
    action: &'a Action,
    plan: &'a Plan,
    cluster: &'a dyn Cluster,
    client: &'a Client,
    facts: &'a Facts,
    world: &World,
) -> BoxFuture<'a, Result<(), String>> {
    let objects = Objects::new(client.clone());
    match action {
        Action::Start(names) => Box::pin(async move {
            for planned in named(plan, names)? {
                objects
                    .create(&planned.object)
                    .await
                    .map_err(|why| format!("{}: {why}", planned.location))?;
            }
            Ok(())
        }),
        Action::Apply(planned) => Box::pin(async move {
            for planned in planned {
                objects.apply(&planned.object).await.map_err(|why| format!("{}: {why}", planned.location))?;
            }
            Ok(())
        }),
        Action::Delete(names) => Box::pin(async move {
            for planned in named(plan, names)? {
                objects
                    .delete(&planned.object)
                    .await
                    .map_err(|why| format!("{}: {why}", planned.location))?;
            }
            Ok(())
        }),
        Action::Fill { target: FillTarget::Node(node), fill } => {
            Box::pin(
                async move { cluster.control(node, outside(fill)).await.map_err(|error| error.to_string()) },
            )
        }
        Action::Load { node, images } => Box::pin(async move {
            let request = ControlRequest::Load { images: images.clone() };
            cluster.control(node, request).await.map_err(|error| error.to_string())
        }),
        Action::Fill { target: FillTarget::Workload(name), fill } => {
            let pods: Vec<Pod> = world.pods_of(name).filter(|pod| is_running(pod)).cloned().collect();
            let client = client.clone();
            Box::pin(async move {
                if pods.is_empty() {
                    return Err(format!("no pod of {name} runs, so there is no filler to tell"));
                }
                futures::future::try_join_all(pods.iter().map(|pod| set(&client, pod, fill))).await.map(drop)
            })
        }
        Action::Node { node, change } => {
            Box::pin(
                async move { change_node(cluster, node, *change).await.map_err(|error| error.to_string()) },
            )
        }
        Action::Gpu { node, device, xid, .. } => Box::pin(async move {
            let request = ControlRequest::Gpu { device: *device, xid: *xid };
            cluster.control(node, request).await.map_err(|error| error.to_string())
        }),
        Action::Zone { zone, nodes, change } => Box::pin(async move {
            let zones = plan.hollow.iter().flat_map(|hollow| &hollow.zones);
            for component in zones.filter(|own| own.name == *zone).flat_map(|own| own.groups_of(*nodes)) {
                let request = match change {
                    ZoneChange::Freeze => ControlRequest::Suspend { component },
                    ZoneChange::Thaw => ControlRequest::Resume { component },
                };
                cluster.control(CONTROL_PLANE, request).await.map_err(|error| error.to_string())?;
            }
            Ok(())
        }),
        Action::ControlPlane { component, change } => Box::pin(async move {
            let component = component.name().to_owned();
            let request = match change {
                ComponentChange::Stop => ControlRequest::Stop { component },
                ComponentChange::Start => ControlRequest::Start { component },
            };
            cluster.control(CONTROL_PLANE, request).await.map_err(|error| error.to_string())
        }),
        Action::Evict(evict) => Box::pin(disruption::evict(client, facts, plan, evict)),
        Action::Cordon { nodes, unschedulable } => Box::pin(async move {
            let cordons = nodes.iter().map(|node| disruption::cordon(client, node, *unschedulable));
            futures::future::try_join_all(cordons).await.map(drop)
        }),
        Action::Drain(planned) => {
            Box::pin(drain::drain(client, facts, planned, plan.expects_drains_of(&planned.node)))
        }
        Action::Taint(taint) => Box::pin(disruption::taint(client, taint)),
        Action::DeletePods(pods) => Box::pin(disruption::delete_pods(client, facts, pods)),
        Action::Wait(_) | Action::Observe(_) => Box::pin(async { Ok(()) }),
    }
}

/// Takes a node away, or brings it back: by its own init as far as that can, else from outside.
async fn change_node(cluster: &dyn Cluster, node: &str, change: NodeChange) -> Result<(), ClusterError> {
    let kubelet = || "kubelet".to_owned();
    match change {
        NodeChange::StopKubelet => cluster.control(node, ControlRequest::Stop { component: kubelet() }).await,
        NodeChange::StartKubelet => {
            cluster.control(node, ControlRequest::Start { component: kubelet() }).await
        }
        NodeChange::Freeze => cluster.control(node, ControlRequest::Freeze { asker: None }).await,
        NodeChange::Thaw => cluster.control(node, ControlRequest::Thaw).await,
        NodeChange::Cut => cluster.change(node, Change::Cut).await,
        NodeChange::Mend => cluster.change(node, Change::Mend).await,
        NodeChange::Kill => cluster.change(node, Change::Kill).await,
        NodeChange::Start => cluster.change(node, Change::Start).await,
    }
}

fn named<'a>(plan: &'a Plan, names: &'a [String]) -> Result<Vec<&'a crate::plan::PlannedObject>, String> {
    let mut objects = Vec::new();
    for name in names {
        let workload = plan.workloads.get(name).ok_or_else(|| format!("no workload is called {name}"))?;
        objects.extend(&workload.objects);
    }
    Ok(objects)
}

fn is_running(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

/// The request for a filler on a node.
fn outside(fill: &FillPlan) -> ControlRequest {
    let folder = fill.into.as_ref().map(|into| match into {
        FillPlace::HostPath(path) => path.clone(),
        FillPlace::Imagefs => format!("{IMAGEFS}/filled"),
        FillPlace::Nodefs | FillPlace::WritableLayer | FillPlace::EmptyDir { .. } => {
            format!("{NODEFS}/filled")
        }
    });
    let start = filler::start(fill, folder.as_deref());
    ControlRequest::Fill { start, change: filler::change(fill), folder }
}

/// Tells the filler in a pod what to hold, by its own program in its own container.
async fn set(client: &Client, pod: &Pod, fill: &FillPlan) -> Result<(), String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let container = containers.into_iter().find(|container| is_filler(container.image.as_deref()));
    let container = container.ok_or_else(|| format!("pod {name} runs no filler"))?;
    let program = if fill.resource == Resource::GpuMemory { "/plimsoll-gpu-hog" } else { "/plimsoll-hog" };
    let mut command = vec![program.to_owned(), "set".into()];
    command.extend(filler::change(fill));
    let pods: Api<Pod> =
        Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
    let parameters = AttachParams::default().container(&container.name).stdout(true).stderr(true);
    let mut process =
        pods.exec(name, command, &parameters).await.map_err(|error| format!("pod {name}: {error}"))?;
    let mut errors = String::new();
    if let Some(mut stderr) = process.stderr() {
        let _ = stderr.read_to_string(&mut errors).await;
    }
    let status = match process.take_status() {
        Some(status) => status.await,
        None => None,
    };
    match status.and_then(|status| status.status) {
        Some(word) if word == "Success" => Ok(()),
        _ => Err(format!("the filler of pod {name} did not take the command: {}", errors.trim())),
    }
}
