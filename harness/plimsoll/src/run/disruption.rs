//! The steps that disrupt: requests to the eviction API, cordons, taints, deletions by a selector.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;

use crate::kubernetes::UNSCHEDULABLE;
use crate::observe::{Answer, Asked, Fact, Facts};
use crate::plan::{DeletePodsPlan, EVICTION_RETRY, EvictPlan, NAMESPACE, Plan, TaintPlan, WORKLOAD_LABEL};
use crate::verdict::words;

/// How long the node controller may take to taint a node that is cordoned, and how often it is looked whether it has.
const CORDON_HEARD: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(50));
/// How often a change is made again that another writer got in the way of.
const CONFLICTS: usize = 10;
/// 429 Too Many Requests: a disruption budget does not let the pod go now.
pub(super) const TOO_MANY_REQUESTS: u16 = 429;
/// 404 Not Found.
pub(super) const NOT_FOUND: u16 = 404;
/// 201 Created: the eviction is accepted.
const CREATED: u16 = 201;
/// 200 OK: the deletion is accepted.
const OK: u16 = 200;

/// A pod by its name, as a request names it.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
    pub(super) workload: Option<String>,
}

impl Named {
    pub(super) fn of(pod: &Pod) -> Self {
        let labels = pod.metadata.labels.as_ref();
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone(),
            workload: labels.and_then(|labels| labels.get(WORKLOAD_LABEL)).cloned(),
        }
    }
}

/// How pods are asked to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) asked: Asked,
    pub(super) dry_run: bool,
    pub(super) grace_period_seconds: Option<u32>,
    /// Whether a drain asks.
    pub(super) draining: bool,
}

/// Asks for one pod to go, and tells what the API server answered.
///
/// # Errors
/// Where it did not answer.
pub(super) async fn ask(
    client: &Client,
    facts: &Facts,
    pod: &Named,
    asking: Asking,
) -> Result<Answer, String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
    let delete = DeleteParams {
        dry_run: asking.dry_run && asking.asked == Asked::Delete,
        grace_period_seconds: asking.grace_period_seconds,
        ..DeleteParams::default()
    };
    let answered = match asking.asked {
        Asked::Evict => post_eviction(client, pod, asking).await.map(|()| CREATED),
        Asked::Delete => pods.delete(&pod.name, &delete).await.map(|_| OK),
    };
    let (code, reason, message) = match answered {
        Ok(code) => (code, String::new(), String::new()),
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone(), status.message.clone()),
        Err(error) => return Err(format!("{}: {error}", pod.name)),
    };
    let answer = Answer {
        asked: asking.asked,
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        uid: pod.uid.clone(),
        workload: pod.workload.clone(),
        dry_run: asking.dry_run,
        draining: asking.draining,
        code,
        reason,
        message,
    };
    facts.send(Fact::Answer(Box::new(answer.clone())));
    Ok(answer)
}

/// Posts an Eviction. The client library's own request writes the deletion's options where the API server does not read
/// them.
async fn post_eviction(client: &Client, pod: &Named, asking: Asking) -> Result<(), kube::Error> {
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            grace_period_seconds: asking.grace_period_seconds.map(i64::from),
            dry_run: asking.dry_run.then(|| vec!["All".to_owned()]),
            ..DeleteOptions::default()
        }),
    };
    let body = serde_json::to_vec(&eviction).map_err(kube::Error::SerdeError)?;
    let path = Pod::url_path(&(), Some(&pod.namespace));
    let post = PostParams { dry_run: asking.dry_run, ..PostParams::default() };
    let request = kube::core::Request::new(path)
        .create_subresource("eviction", &pod.name, &post, body)
        .map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await.map(drop)
}

/// Asks the eviction API for the pods of workloads, as often as the plan says while a budget protects them.
///
/// # Errors
/// Where the API server did not answer, or refused for good something that the scenario expects no answer of.
pub(super) async fn evict(
    client: &Client,
    facts: &Facts,
    plan: &Plan,
    evict: &EvictPlan,
) -> Result<(), String> {
    let mut pods = Vec::new();
    for workload in &evict.workloads {
        pods.extend(pods_of(client, plan, workload).await?);
    }
    futures::future::try_join_all(pods.iter().map(|pod| evict_one(client, facts, plan, evict, pod)))
        .await
        .map(drop)
}

async fn evict_one(
    client: &Client,
    facts: &Facts,
    plan: &Plan,
    evict: &EvictPlan,
    pod: &Named,
) -> Result<(), String> {
    let asking = Asking {
        asked: Asked::Evict,
        dry_run: evict.dry_run,
        grace_period_seconds: evict.grace_period_seconds,
        draining: false,
    };
    let deadline = tokio::time::Instant::now() + evict.retry_for.unwrap_or_default();
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(EVICTION_RETRY.0)
        .with_max_delay(EVICTION_RETRY.1)
        .with_jitter()
        .without_max_times()
        .build();
    loop {
        let answer = ask(client, facts, pod, asking).await?;
        let pause = pauses.next().unwrap_or(EVICTION_RETRY.1);
        if answer.code == TOO_MANY_REQUESTS && tokio::time::Instant::now() + pause < deadline {
            tokio::time::sleep(pause).await;
            continue;
        }
        let expected = pod.workload.as_deref().is_some_and(|workload| plan.expects_answers_of(workload));
        return if answer.code < 300 || expected {
            Ok(())
        } else {
            Err(words::eviction_not_expected(&pod.name, answer.code, &answer.message))
        };
    }
}

/// The pods of a workload that are there; of a bare pod that is gone, its name.
async fn pods_of(client: &Client, plan: &Plan, workload: &str) -> Result<Vec<Named>, String> {
    let pods: Api<Pod> = Api::all(client.clone());
    let selector = ListParams::default().labels(&format!("{WORKLOAD_LABEL}={workload}"));
    let found = pods.list(&selector).await.map_err(|error| error.to_string())?;
    let found: Vec<Named> = found.items.iter().map(Named::of).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let objects =
        plan.workloads.get(workload).map(|workload| workload.objects.as_slice()).unwrap_or_default();
    let bare: Vec<Named> = objects
        .iter()
        .map(|planned| &planned.object)
        .filter(|object| object["kind"] == "Pod")
        .map(|object| {
            let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
            Named {
                namespace: text("namespace").unwrap_or_else(|| NAMESPACE.to_owned()),
                name: text("name").unwrap_or_default(),
                uid: None,
                workload: Some(workload.to_owned()),
            }
        })
        .collect();
    if bare.is_empty() { Err(format!("no pod of {workload} is there to evict")) } else { Ok(bare) }
}

/// Makes a node unschedulable, or schedulable again, and gives those who must know of it the time to hear of it.
///
/// The scheduler watches nodes and pods apart from each other: a pod that is created right after a cordon may be placed before it has
/// heard of that. What it knows can not be asked. The node controller, which watches as the scheduler does, puts a taint on what it
/// knows to be cordoned, and that can be waited for. Where no controller manager runs, nothing comes of it.
///
/// # Errors
/// The API server's.
pub(super) async fn cordon(client: &Client, node: &str, unschedulable: bool) -> Result<(), String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let patch = Patch::Merge(json!({"spec": {"unschedulable": unschedulable}}));
    let patched = nodes.patch(node, &PatchParams::default(), &patch).await;
    let mut now = patched.map_err(|error| format!("{node}: {error}"))?;
    let (within, every) = CORDON_HEARD;
    let deadline = tokio::time::Instant::now() + within;
    while !is_heard(&now, unschedulable) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(every).await;
        now = nodes.get(node).await.unwrap_or(now);
    }
    Ok(())
}

/// Whether the node controller has said of a node that it is cordoned, or that it is no more.
fn is_heard(node: &Node, unschedulable: bool) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.into_iter().any(|taint| taint.key == UNSCHEDULABLE) == unschedulable
}

/// Puts a taint on a node or takes it off, beside those that others put there at the same time.
///
/// # Errors
/// The API server's, and a taint that is to go and is not there.
pub(super) async fn taint(client: &Client, plan: &TaintPlan) -> Result<(), String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut last = String::new();
    for _ in 0..CONFLICTS {
        let mut node = nodes.get(&plan.node).await.map_err(|error| format!("{}: {error}", plan.node))?;
        let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
        let is_it = |taint: &Taint| taint.key == plan.taint.key && taint.effect == plan.taint.effect;
        let before = taints.len();
        taints.retain(|taint| !is_it(taint));
        if plan.on {
            taints.push(plan.taint.clone());
        } else if taints.len() == before {
            return Err(format!("{} has no taint {}:{}", plan.node, plan.taint.key, plan.taint.effect));
        }
        match nodes.replace(&plan.node, &PostParams::default(), &node).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => last = status.message,
            Err(error) => return Err(format!("{}: {error}", plan.node)),
        }
    }
    Err(format!("{}: others wrote to it {CONFLICTS} times in between: {last}", plan.node))
}

/// Deletes the pods of the run's namespace that a selector finds, one by one, as a clean-up job does.
///
/// # Errors
/// The API server's.
pub(super) async fn delete_pods(client: &Client, facts: &Facts, plan: &DeletePodsPlan) -> Result<(), String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let selected = ListParams::default().fields(&plan.field_selector);
    let found = pods.list(&selected).await.map_err(|error| format!("{}: {error}", plan.field_selector))?;
    if found.items.is_empty() {
        return Err(format!("no pod has {}, so nothing was deleted", plan.field_selector));
    }
    let asking = Asking {
        asked: Asked::Delete,
        dry_run: false,
        grace_period_seconds: plan.force.then_some(0),
        draining: false,
    };
    for pod in &found.items {
        let answer = ask(client, facts, &Named::of(pod), asking).await?;
        if answer.code >= 300 && answer.code != NOT_FOUND {
            return Err(format!("{} was not deleted: {} {}", answer.pod, answer.code, answer.message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cordon_is_heard_when_the_node_controller_has_tainted_the_node() {
        let node = |spec: serde_json::Value| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "worker"}, "spec": spec})).expect("a node")
        };
        let tainted = |key: &str| json!({"taints": [{"key": key, "effect": "NoSchedule"}]});
        // As the patch answers: cordoned, and nobody has heard of it.
        let patched = node(json!({"unschedulable": true}));
        assert!(!is_heard(&patched, true));
        assert!(!is_heard(&node(tainted("node.kubernetes.io/disk-pressure")), true));
        assert!(is_heard(&node(tainted(UNSCHEDULABLE)), true));
        assert!(!is_heard(&node(tainted(UNSCHEDULABLE)), false));
        assert!(is_heard(&node(json!({})), false));
    }
}
