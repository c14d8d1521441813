//! Emptying a node as `kubectl drain` does. Which pods it takes is a rule of `plimsoll_eviction`; this asks for them.
//! Upstream: `k8s.io/kubectl/pkg/drain`.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use plimsoll_eviction::disruption::{self, Controller, Phase, Subject};
use tokio::time::{Instant, sleep, timeout_at};

use super::disruption::{Asking, NOT_FOUND, Named, TOO_MANY_REQUESTS, ask, cordon};
use crate::observe::{Asked, DrainOutcome, Fact, Facts, RefusedPod};
use crate::plan::{DRAIN_AGAIN_AFTER, DRAIN_LOOKS_EVERY, DrainObstacle, DrainPlan};
use crate::verdict::words;

/// Drains, and tells what it came to.
///
/// # Errors
/// Where the node was not emptied and the scenario does not say (`expected`) what the drain comes to; and where it came to
/// nothing at all: the API server did not answer, or refused for another reason than a budget.
pub(super) async fn drain(
    client: &Client,
    facts: &Facts,
    plan: &DrainPlan,
    expected: bool,
) -> Result<(), String> {
    let outcome = attempt(client, facts, plan).await.unwrap_or_else(|reason| DrainOutcome::Failed { reason });
    let result = words::drain_result(&outcome, expected);
    facts.send(Fact::Drained { node: plan.node.clone(), outcome });
    result
}

async fn attempt(client: &Client, facts: &Facts, plan: &DrainPlan) -> Result<DrainOutcome, String> {
    let deadline = Instant::now() + plan.timeout;
    cordon(client, &plan.node, true).await?;
    let pods: Api<Pod> = Api::all(client.clone());
    let on_node = ListParams::default().fields(&format!("spec.nodeName={}", plan.node));
    let there = pods.list(&on_node).await.map_err(|error| error.to_string())?;
    let options = plan.options();
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for pod in &there.items {
        let subject = subject(pod, manager(client, pod).await?);
        match disruption::drain(&subject, &options) {
            disruption::Drain::Takes | disruption::Drain::TakesWarning(_) => taken.push(Named::of(pod)),
            disruption::Drain::Leaves | disruption::Drain::LeavesWarning(_) => {}
            disruption::Drain::Refuses(obstacle) => {
                let Named { name: pod, uid, workload, .. } = Named::of(pod);
                refused.push(RefusedPod { pod, uid, workload, obstacle: obstacle.into() });
            }
        }
    }
    if !refused.is_empty() {
        return Ok(DrainOutcome::Refused { pods: refused });
    }
    let goings = taken.iter().map(|pod| async move {
        match timeout_at(deadline, go(client, facts, plan, pod)).await {
            Ok(result) => result.map(|()| None),
            Err(_) => Ok(Some(pod.name.clone())),
        }
    });
    let left: Vec<String> = futures::future::try_join_all(goings).await?.into_iter().flatten().collect();
    Ok(if left.is_empty() {
        DrainOutcome::Emptied { pods: taken.into_iter().map(|pod| pod.name).collect() }
    } else {
        DrainOutcome::TimedOut { left }
    })
}

/// Asks for a pod until it may go, then waits until it is gone.
async fn go(client: &Client, facts: &Facts, plan: &DrainPlan, pod: &Named) -> Result<(), String> {
    let asking = Asking {
        asked: if plan.disable_eviction { Asked::Delete } else { Asked::Evict },
        dry_run: false,
        grace_period_seconds: plan.grace_period_seconds,
        draining: true,
    };
    loop {
        let answer = ask(client, facts, pod, asking).await?;
        match answer.code {
            TOO_MANY_REQUESTS => sleep(DRAIN_AGAIN_AFTER).await,
            NOT_FOUND => return Ok(()),
            code if code < 300 => break,
            code => return Err(format!("{} can not be evicted: {code} {}", pod.name, answer.message)),
        }
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    loop {
        let now = pods.get_opt(&pod.name).await.map_err(|error| format!("{}: {error}", pod.name))?;
        // A StatefulSet makes another of the same name.
        if now.is_none_or(|now| now.metadata.uid != pod.uid) {
            return Ok(());
        }
        sleep(DRAIN_LOOKS_EVERY).await;
    }
}

/// Who manages a pod; a DaemonSet is looked for.
async fn manager(client: &Client, pod: &Pod) -> Result<Controller, String> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) else {
        return Ok(Controller::None);
    };
    if owner.kind != "DaemonSet" {
        return Ok(Controller::Other);
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
    let found = sets.get_opt(&owner.name).await.map_err(|error| error.to_string())?;
    Ok(if found.is_some() { Controller::DaemonSet } else { Controller::MissingDaemonSet })
}

fn subject(pod: &Pod, controller: Controller) -> Subject {
    let status = pod.status.as_ref();
    let annotations = pod.metadata.annotations.as_ref();
    let deleting = pod.metadata.deletion_timestamp.as_ref();
    Subject {
        phase: match status.and_then(|status| status.phase.as_deref()) {
            Some("Succeeded" | "Failed") => Phase::Finished,
            Some("Running") => Phase::Running,
            _ => Phase::Pending,
        },
        ready: status
            .and_then(|status| status.conditions.as_ref())
            .is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True")),
        deleting_for_seconds: deleting
            .map(|since| u64::try_from(Timestamp::now().duration_since(since.0).as_secs()).unwrap_or(0)),
        controller,
        mirror: annotations.is_some_and(|all| all.contains_key("kubernetes.io/config.mirror")),
        has_empty_dir: pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten())
            .any(|volume| volume.empty_dir.is_some()),
    }
}

impl From<disruption::Obstacle> for DrainObstacle {
    fn from(obstacle: disruption::Obstacle) -> Self {
        match obstacle {
            disruption::Obstacle::DaemonSet | disruption::Obstacle::MissingDaemonSet => Self::DaemonSet,
            disruption::Obstacle::LocalStorage => Self::LocalStorage,
            disruption::Obstacle::Unmanaged => Self::Unmanaged,
        }
    }
}
