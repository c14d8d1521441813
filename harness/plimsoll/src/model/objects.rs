//! Kubernetes objects as a watch would show them, made from the state of a run in virtual time.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerState as State, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Event, EventSource, Node, NodeCondition as Condition, NodeSpec, NodeStatus,
    ObjectReference, Pod, PodCondition, PodSpec, PodStatus, Taint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use plimsoll_eviction::manager::EvictionCause;
use plimsoll_eviction::message::{DISRUPTION_TARGET, EVICTED, TERMINATION_BY_KUBELET};
use plimsoll_eviction::signal::NodeCondition;

use super::curve::Micros;
use super::simulation::{
    ContainerStage, ContainerState, Fate, PodState, Seen, Termination, World, timestamp,
};

/// A time as Kubernetes writes it: whole seconds, cut off.
pub(super) fn written(at: Micros) -> Time {
    Time(timestamp(at.div_euclid(1_000_000) * 1_000_000))
}

/// A pod, with the status that was last written.
pub(super) fn pod(world: &World<'_>, place: usize) -> Pod {
    let (own, template) = (world.pod(place), world.template(place));
    let mut pod = template.object.clone();
    if own.instance > 0 {
        pod.metadata.uid = Some(own.rules.uid.clone());
        pod.metadata.name = Some(own.rules.name.clone());
    }
    pod.metadata.creation_timestamp = Some(written(own.created));
    pod.metadata.deletion_timestamp = own.deletion.map(written);
    if let Some(node) = own.node {
        let spec: &mut PodSpec = pod.spec.get_or_insert_default();
        spec.node_name = Some(world.prepared.nodes[node].name.clone());
    }
    let mut status = PodStatus {
        phase: Some(own.seen.phase().to_owned()),
        qos_class: pod.status.and_then(|status| status.qos_class),
        start_time: own.bound.map(written),
        nominated_node_name: own.nominated.map(|node| world.prepared.nodes[node].name.clone()),
        ..PodStatus::default()
    };
    let mut conditions = vec![scheduled(own)];
    if own.bound.is_some() {
        conditions.push(condition("Ready", own.ready, own.started.unwrap_or(own.created)));
    }
    match &own.fate {
        Some(Fate::Rejected { reason, message }) => {
            status.reason = Some((*reason).to_owned());
            status.message = Some(message.clone());
        }
        Some(Fate::Evicted(eviction)) if own.seen == Seen::Failed => {
            let message = eviction.message.to_string();
            status.reason = Some(EVICTED.to_owned());
            // Limits on local storage leave no such condition.
            if matches!(eviction.cause, EvictionCause::Threshold(_)) {
                conditions.push(PodCondition {
                    reason: Some(TERMINATION_BY_KUBELET.to_owned()),
                    message: Some(message.clone()),
                    ..condition(DISRUPTION_TARGET, true, world.now)
                });
            }
            status.message = Some(message);
        }
        Some(Fate::Expelled) => conditions.push(PodCondition {
            reason: Some("DeletionByTaintManager".to_owned()),
            ..condition(DISRUPTION_TARGET, true, own.deletion.unwrap_or(world.now))
        }),
        Some(Fate::Preempted) => conditions.push(PodCondition {
            reason: Some("PreemptionByScheduler".to_owned()),
            ..condition(DISRUPTION_TARGET, true, own.deletion.unwrap_or(world.now))
        }),
        Some(Fate::EvictedThroughApi) => conditions.push(PodCondition {
            reason: Some("EvictionByEvictionAPI".to_owned()),
            ..condition(DISRUPTION_TARGET, true, own.deletion.unwrap_or(world.now))
        }),
        _ => {}
    }
    status.conditions = Some(conditions);
    if own.started.is_some() {
        let containers = own.containers.iter().zip(&template.containers).enumerate();
        let statuses = containers.map(|(index, (own, template))| {
            (
                template.sidecar,
                container(own, &template.name, &|restarts| container_id(world, place, index, restarts)),
            )
        });
        let (sidecars, others): (Vec<_>, Vec<_>) = statuses.partition(|(sidecar, _)| *sidecar);
        let plain = |list: Vec<(bool, ContainerStatus)>| list.into_iter().map(|(_, status)| status).collect();
        status.container_statuses = Some(plain(others));
        status.init_container_statuses = (!sidecars.is_empty()).then(|| plain(sidecars));
    }
    pod.status = Some(status);
    pod
}

fn condition(kind: &str, holds: bool, since: Micros) -> PodCondition {
    PodCondition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(written(since)),
        ..PodCondition::default()
    }
}

fn scheduled(pod: &PodState<'_>) -> PodCondition {
    match pod.bound {
        Some(bound) => condition("PodScheduled", true, bound),
        None if pod.unschedulable.is_some() => PodCondition {
            reason: Some("Unschedulable".to_owned()),
            message: pod.unschedulable.map(|misfits| misfits.to_string()),
            ..condition("PodScheduled", false, pod.created)
        },
        None => condition("PodScheduled", false, pod.created),
    }
}

/// The identifier of a container of a pod, of the one that was started again so often.
pub(super) fn container_id(world: &World<'_>, pod: usize, container: usize, restarts: u32) -> String {
    format!("{}-{container}-{restarts}", world.pod(pod).rules.uid)
}

fn terminated(own: &Termination, id: String) -> State {
    let reason = match own {
        Termination { oom: true, .. } => "OOMKilled",
        Termination { code: 0, .. } => "Completed",
        _ => "Error",
    };
    State {
        terminated: Some(ContainerStateTerminated {
            exit_code: own.code,
            reason: Some(reason.to_owned()),
            started_at: Some(written(own.started)),
            finished_at: Some(written(own.at)),
            container_id: Some(format!("containerd://{id}")),
            ..ContainerStateTerminated::default()
        }),
        ..State::default()
    }
}

fn container(own: &ContainerState, name: &str, id: &dyn Fn(u32) -> String) -> ContainerStatus {
    let state = match own.state {
        ContainerStage::Waiting => {
            State { waiting: Some(ContainerStateWaiting::default()), ..State::default() }
        }
        ContainerStage::Running => State {
            running: Some(ContainerStateRunning { started_at: Some(written(own.started)) }),
            ..State::default()
        },
        ContainerStage::Ended(termination) => terminated(&termination, id(own.restarts)),
    };
    ContainerStatus {
        name: name.to_owned(),
        ready: own.state == ContainerStage::Running,
        started: Some(own.state == ContainerStage::Running),
        restart_count: i32::try_from(own.restarts).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: own.last.as_ref().map(|last| terminated(last, id(own.restarts.saturating_sub(1)))),
        ..ContainerStatus::default()
    }
}

/// A node, with the conditions that its status says and the taints that follow.
pub(super) fn node(world: &World<'_>, place: usize) -> Node {
    let (own, plan) = (&world.nodes[place], &world.prepared.nodes[place]);
    let state = |kind: &str, holds: bool, since: Micros| Condition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(written(since)),
        ..Condition::default()
    };
    // Of a node of which nothing is heard nothing is known.
    let unknown = |condition: Condition, since: Micros| Condition {
        status: "Unknown".to_owned(),
        last_transition_time: Some(written(since)),
        ..condition
    };
    let pressure = NodeCondition::ALL.into_iter().zip(&own.reported);
    let mut conditions: Vec<Condition> =
        pressure.map(|(condition, own)| state(condition.name(), own.raised, own.since)).collect();
    conditions.push(state("Ready", true, own.health.ready_since));
    if let Some(since) = own.health.unknown {
        conditions = conditions.into_iter().map(|condition| unknown(condition, since)).collect();
    }
    let taint = |key: &str, value: &str, effect: &str| Taint {
        key: key.to_owned(),
        value: (!value.is_empty()).then(|| value.to_owned()),
        effect: effect.to_owned(),
        time_added: None,
    };
    let registered = own.taints.iter().map(|(own, since)| Taint {
        // Kubernetes writes down when a taint came only for those that drive pods out.
        time_added: since.filter(|_| own.effect == "NoExecute").map(written),
        ..taint(&own.key, &own.value, &own.effect)
    });
    let pressed = own.tainted.iter().map(|condition| taint(condition.taint_key(), "", "NoSchedule"));
    Node {
        metadata: ObjectMeta {
            name: Some(plan.name.clone()),
            uid: Some(format!("00000000-0000-4000-9000-{place:012x}")),
            labels: Some(plan.labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: Some(registered.chain(pressed).collect()),
            unschedulable: own.unschedulable.then_some(true),
            ..NodeSpec::default()
        }),
        status: Some(NodeStatus { conditions: Some(conditions), ..NodeStatus::default() }),
    }
}

/// A Warning of a kubelet about a pod.
pub(super) fn pod_event(
    world: &World<'_>,
    place: usize,
    reason: &str,
    message: String,
    annotations: Option<BTreeMap<String, String>>,
) -> Event {
    let rules = &world.pod(place).rules;
    let object = ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: Some(rules.namespace.clone()),
        name: Some(rules.name.clone()),
        uid: Some(rules.uid.clone()),
        ..ObjectReference::default()
    };
    warning(world, object, reason, message, annotations)
}

/// A Warning of a kubelet about its node.
pub(super) fn node_event(world: &World<'_>, place: usize, reason: &str, message: String) -> Event {
    let name = &world.prepared.nodes[place].name;
    let object = ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(name.clone()),
        uid: Some(name.clone()),
        ..ObjectReference::default()
    };
    warning(world, object, reason, message, None)
}

fn warning(
    world: &World<'_>,
    object: ObjectReference,
    reason: &str,
    message: String,
    annotations: Option<BTreeMap<String, String>>,
) -> Event {
    let name = object.name.clone().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.predicted.{}", world.now)),
            namespace: object.namespace.clone(),
            annotations,
            ..ObjectMeta::default()
        },
        involved_object: object,
        reason: Some(reason.to_owned()),
        message: Some(message),
        type_: Some("Warning".to_owned()),
        source: Some(EventSource { component: Some("kubelet (predicted)".to_owned()), host: None }),
        first_timestamp: Some(written(world.now)),
        last_timestamp: Some(written(world.now)),
        count: Some(1),
        ..Event::default()
    }
}
