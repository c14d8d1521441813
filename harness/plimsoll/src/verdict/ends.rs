//! How each pod ended: eight ends, told apart by what each leaves behind.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};
use plimsoll_eviction::message::{DISRUPTION_TARGET, EVICTED, Offender, PodMessage};
use plimsoll_eviction::quantity::Quantity;
use plimsoll_node::report::OomScope;

use super::history::{History, PodHistory, Seen, moment};
use super::model::{Consumer, End, Evidence, Figures, KubeletEviction, LocalStorageLimit, Moment, Preemptor};
use crate::observe::Timeline;

/// A pod's end, and what shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct PodEnd {
    /// The pod's UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The workload that it belongs to, by its label.
    pub workload: Option<String>,
    /// The node it was bound to.
    pub node: Option<String>,
    /// How it ended.
    pub end: End,
    /// When that was decided, if it ended.
    pub decided: Option<Moment>,
    /// When its last container had ended or it was gone; absent while it is still being stopped.
    pub ended: Option<Moment>,
    /// How often its containers were started again.
    pub restarts: u32,
    /// How many OOM kills hit it, whether or not it ended by them.
    pub oom_kills: u32,
    /// The observations that show it.
    pub evidence: Vec<Evidence>,
}

/// The end of every pod of a run, in the order of their first appearance. Pods are told apart by UID; what was
/// observed after the steps were over is not looked at.
#[must_use]
pub fn ends(timeline: &Timeline) -> Vec<PodEnd> {
    of_history(&History::new(None, timeline))
}

pub(super) fn of_history(history: &History<'_>) -> Vec<PodEnd> {
    history.pods.iter().map(pod_end).collect()
}

/// A sign of how a pod ends. The first one in the timeline is right: a pod ends once.
struct Sign {
    end: End,
    decided: Moment,
    evidence: Vec<Evidence>,
}

fn pod_end(pod: &PodHistory<'_>) -> PodEnd {
    let ended = ended(pod);
    let stopping = pod.all_versions().find(|version| version.value.metadata.deletion_timestamp.is_some());
    let over = ended.is_some() || stopping.is_some() || pod.deleted.is_some();
    let mut signs: Vec<Sign> = Vec::new();
    signs.extend(pod.events.iter().find_map(|event| sign_of_event(*event)));
    signs.extend(pod.all_versions().find_map(sign_of_status));
    if over {
        signs.extend(pod.all_versions().find_map(sign_of_disruption));
    }
    signs.extend(sign_of_oom_kill(pod));
    signs.sort_by_key(|sign| sign.decided.sequence);
    let mut signs = signs.into_iter();
    let (end, decided, mut evidence) = match signs.next() {
        Some(first) => {
            // The same end told twice, by event and by status, is shown by both; figures come from whichever has them.
            let Sign { mut end, mut decided, mut evidence } = first;
            for other in signs {
                if !other.end.is_like(&end) {
                    continue;
                }
                if matches!(&end, End::EvictedByKubelet(eviction) if eviction.figures.is_none()) {
                    end = other.end;
                }
                // A status is written when the pod has stopped, an event when that is begun.
                if other.decided.latest < decided.latest {
                    decided = other.decided;
                }
                evidence.extend(other.evidence);
            }
            (end, Some(decided), evidence)
        }
        None => plain_end(pod, stopping),
    };
    if let Some(gone) = pod.deleted.filter(|_| over) {
        evidence.push(gone.evidence());
    }
    evidence.sort();
    evidence.dedup();
    PodEnd {
        uid: pod.uid.to_owned(),
        namespace: pod.namespace.to_owned(),
        name: pod.name.to_owned(),
        workload: pod.workload().map(str::to_owned),
        node: pod.node().map(str::to_owned),
        decided,
        ended,
        restarts: restarts(pod),
        oom_kills: oom_kills(pod),
        end,
        evidence,
    }
}

impl End {
    /// Whether both are the same of the kinds of end, whatever their figures.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Whether the pod had not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Running | Self::Pending { .. })
    }
}

/// What an event says that the kubelet does to a pod: an eviction, a rejection, a local storage limit.
///
/// Its Warning `Evicted` comes before it stops the pod, and so is the earliest sign of its end.
#[must_use]
pub fn end_by_event(event: &Event) -> Option<End> {
    if event.reason.as_deref() != Some(EVICTED) {
        return None;
    }
    // An agent that evicts through the API, such as one for GPU memory, says the same of its own evictions.
    let component = event.source.as_ref().and_then(|source| source.component.as_deref());
    if component.is_some_and(|component| !component.starts_with("kubelet")) {
        return None;
    }
    let text = event.message.as_deref().unwrap_or_default();
    // A rejection's event has the text without what the status puts before it.
    if text.starts_with("The node had condition: ") {
        let message = format!("Pod was rejected: {text}");
        return Some(End::RejectedAtAdmission { reason: EVICTED.to_owned(), message });
    }
    end_of_message(EVICTED, text)
}

fn sign_of_event(event: Seen<'_, Event>) -> Option<Sign> {
    let end = end_by_event(event.value)?;
    Some(Sign { end, decided: event_moment(event), evidence: vec![event.evidence()] })
}

/// What a status of phase Failed says that the kubelet did to the pod.
fn sign_of_status(version: Seen<'_, Pod>) -> Option<Sign> {
    let status = version.value.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") {
        return None;
    }
    let reason = status.reason.as_deref().unwrap_or_default();
    let text = status.message.as_deref().unwrap_or_default();
    let end = if reason == "Preempting" {
        End::Preempted { by: Preemptor::Kubelet }
    } else {
        end_of_message(reason, text)?
    };
    let written = condition_time(version.value, DISRUPTION_TARGET);
    let decided = moment(written, version.observation);
    Some(Sign { end, decided, evidence: vec![version.evidence()] })
}

/// Which end a status' or event's reason and message stand for, if the kubelet made it.
fn end_of_message(reason: &str, text: &str) -> Option<End> {
    if text.starts_with("Pod was rejected: ") {
        return Some(End::RejectedAtAdmission { reason: reason.to_owned(), message: text.to_owned() });
    }
    if reason != EVICTED {
        return None;
    }
    let limit = |limit| Some(End::LocalStorageLimit { limit, message: text.to_owned() });
    match parse_message(text) {
        Some(PodMessage::NodeLow { resource, figures, pod, containers }) => {
            let pods = pod.iter().map(|pod| (None, pod));
            let consumers =
                pods.chain(containers.iter().map(|container| (Some(container.name.clone()), container)));
            let of = |quantity: &Quantity| quantity.value();
            let figures = Figures {
                threshold: figures.as_ref().map(|figures| of(&figures.threshold)),
                available: figures.as_ref().map(|figures| of(&figures.available)),
                consumers: consumers
                    .map(|(container, Offender { usage, request, .. })| Consumer {
                        container,
                        using: of(usage),
                        request: of(request),
                    })
                    .collect(),
            };
            Some(End::EvictedByKubelet(KubeletEviction {
                resource: Some(resource.name().to_owned()),
                figures: Some(figures),
                message: text.to_owned(),
            }))
        }
        Some(PodMessage::EmptyDirOverLimit { .. }) => limit(LocalStorageLimit::EmptyDir),
        Some(PodMessage::PodOverLimit { .. }) => limit(LocalStorageLimit::Pod),
        Some(PodMessage::ContainerOverLimit { .. }) => limit(LocalStorageLimit::Container),
        Some(PodMessage::Rejected { .. }) => {
            Some(End::RejectedAtAdmission { reason: reason.to_owned(), message: text.to_owned() })
        }
        // Another version's words: still the kubelet's eviction, with figures that nobody can read.
        None if text.starts_with("The node was low on resource") => {
            Some(End::EvictedByKubelet(KubeletEviction {
                resource: None,
                figures: None,
                message: text.to_owned(),
            }))
        }
        None => None,
    }
}

/// Reads the kubelet's message, with or without the space that it ends in.
fn parse_message(text: &str) -> Option<PodMessage> {
    text.parse().or_else(|_| format!("{} ", text.trim_end()).parse()).ok()
}

/// Who asked for the pod to go, by its DisruptionTarget condition. The condition alone is no end: an eviction that
/// was refused leaves it too.
fn sign_of_disruption(version: Seen<'_, Pod>) -> Option<Sign> {
    let conditions = version.value.status.as_ref()?.conditions.as_ref()?;
    let target = conditions
        .iter()
        .find(|condition| condition.type_ == DISRUPTION_TARGET && condition.status == "True")?;
    let end = match target.reason.as_deref()? {
        "EvictionByEvictionAPI" => End::EvictedThroughApi,
        "DeletionByTaintManager" => End::DeletedByTaintManager,
        // Upstream: `devicetainteviction.addConditionAndDeletePod`.
        "DeletionByDeviceTaintManager" => End::DeletedByDeviceTaintManager,
        "PreemptionByScheduler" => End::Preempted { by: Preemptor::Scheduler },
        _ => return None,
    };
    let written = target.last_transition_time.as_ref().map(|time| time.0);
    Some(Sign { end, decided: moment(written, version.observation), evidence: vec![version.evidence()] })
}

/// A pod that failed because the kernel killed it: its container's status says so, or the kernel's log does and the
/// container ended by SIGKILL.
fn sign_of_oom_kill(pod: &PodHistory<'_>) -> Option<Sign> {
    let failed = pod.all_versions().find(|version| phase(version.value) == Some("Failed"))?;
    let ended = container_statuses(failed.value).filter_map(|container| terminated(container));
    let by_kernel = |ended: &ContainerStateTerminated| {
        ended.reason.as_deref() == Some("OOMKilled") || (ended.exit_code == 137 && !pod.kills.is_empty())
    };
    let killed: Vec<_> = ended.filter(|ended| by_kernel(ended)).collect();
    let first = killed.first()?;
    let kill = pod.kills.iter().rfind(|kill| kill.sequence() <= failed.sequence()).or(pod.kills.first());
    // The kernel's line is closest to the deed.
    let decided = kill.map_or_else(
        || moment(first.finished_at.as_ref().map(|time| time.0), failed.observation),
        |kill| Moment { earliest: kill.at(), latest: kill.at(), sequence: kill.sequence() },
    );
    let evidence = kill.map(Seen::evidence).into_iter().chain([failed.evidence()]).collect();
    // The end stands since the status says so, even where the kernel's line came first: the kubelet may still have
    // evicted the pod in between, and then says that.
    let decided = Moment { sequence: failed.sequence(), ..decided };
    Some(Sign {
        end: End::OomKilled { scope: kill.map_or(OomScope::Unknown, |kill| kill.value.scope) },
        decided,
        evidence,
    })
}

/// The end of a pod to which nobody did anything.
fn plain_end(pod: &PodHistory<'_>, stopping: Option<Seen<'_, Pod>>) -> (End, Option<Moment>, Vec<Evidence>) {
    let Some(last) = pod.last() else {
        let reason = "it was never seen, only spoken of".to_owned();
        return (End::Pending { reason }, None, pod.events.iter().map(Seen::evidence).collect());
    };
    let terminal =
        pod.all_versions().find(|version| matches!(phase(version.value), Some("Failed" | "Succeeded")));
    let is_first =
        |version: &Seen<'_, Pod>| stopping.is_none_or(|stopping| version.sequence() < stopping.sequence());
    if let Some(terminal) = terminal.filter(is_first) {
        let end = if phase(terminal.value) == Some("Succeeded") {
            End::Completed
        } else {
            End::Failed { reason: failure(terminal.value) }
        };
        return (end, Some(moment(None, terminal.observation)), vec![terminal.evidence()]);
    }
    if let Some(first) = stopping.or(pod.deleted) {
        return (End::Deleted, Some(moment(None, first.observation)), vec![first.evidence()]);
    }
    let end = if phase(last.value) == Some("Running") {
        End::Running
    } else {
        End::Pending { reason: waiting_for(last.value) }
    };
    (end, None, vec![last.evidence()])
}

/// When the last container had ended: the first status of a final phase, or the deletion.
fn ended(pod: &PodHistory<'_>) -> Option<Moment> {
    let terminal =
        pod.versions.iter().find(|version| matches!(phase(version.value), Some("Failed" | "Succeeded")));
    match (terminal, pod.deleted) {
        (Some(terminal), _) => {
            let finished = container_statuses(terminal.value)
                .filter_map(|container| terminated(container)?.finished_at.as_ref().map(|time| time.0))
                .max();
            Some(moment(finished, terminal.observation))
        }
        (None, Some(deleted)) => Some(moment(None, deleted.observation)),
        (None, None) => None,
    }
}

pub(super) fn event_moment(event: Seen<'_, Event>) -> Moment {
    let times = [
        event.value.event_time.as_ref().map(|time| time.0),
        event.value.first_timestamp.as_ref().map(|time| time.0),
        event.value.last_timestamp.as_ref().map(|time| time.0),
    ];
    moment(times.into_iter().flatten().next(), event.observation)
}

pub(super) fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// The statuses of all its containers, init containers and sidecars first.
pub(super) fn container_statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    })
}

fn terminated(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.state.as_ref()?.terminated.as_ref()
}

/// How often containers were started again. A status of a final phase does not count: the kubelet that has lost sight
/// of a container writes one restart more there, as `ContainerStatusUnknown`. Upstream: `Kubelet.convertStatusToAPIStatus`.
fn restarts(pod: &PodHistory<'_>) -> u32 {
    let sum = |version: Seen<'_, Pod>| {
        container_statuses(version.value)
            .map(|container| u32::try_from(container.restart_count).unwrap_or(0))
            .sum()
    };
    let alive = |version: &Seen<'_, Pod>| !matches!(phase(version.value), Some("Failed" | "Succeeded"));
    pod.all_versions().filter(alive).map(sum).max().unwrap_or(0)
}

/// The OOM kills of a pod: what the kernel said, or, where it said less, the containers whose statuses say so.
fn oom_kills(pod: &PodHistory<'_>) -> u32 {
    let mut seen = std::collections::BTreeSet::new();
    for version in pod.all_versions() {
        for container in container_statuses(version.value) {
            let states = [container.state.as_ref(), container.last_state.as_ref()];
            for ended in states.into_iter().flatten().filter_map(|state| state.terminated.as_ref()) {
                if ended.reason.as_deref() == Some("OOMKilled") {
                    seen.insert((
                        &container.name,
                        &ended.container_id,
                        ended.finished_at.as_ref().map(|at| at.0),
                    ));
                }
            }
        }
    }
    u32::try_from(seen.len().max(pod.kills.len())).unwrap_or(u32::MAX)
}

fn condition_time(pod: &Pod, name: &str) -> Option<jiff::Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == name)?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

fn failure(pod: &Pod) -> String {
    if let Some(reason) = pod.status.as_ref().and_then(|status| status.reason.clone()) {
        return reason;
    }
    let ends = container_statuses(pod).filter_map(|container| {
        let ended = terminated(container)?;
        let reason = ended.reason.as_deref().unwrap_or("ended");
        Some(format!("container {} {reason}, exit code {}", container.name, ended.exit_code))
    });
    let ends: Vec<String> = ends.collect();
    if ends.is_empty() { "no reason given".to_owned() } else { ends.join(", ") }
}

fn waiting_for(pod: &Pod) -> String {
    let waiting = container_statuses(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        Some(format!("container {}: {}", container.name, waiting.reason.as_deref().unwrap_or("waiting")))
    });
    let conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let unscheduled = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .map(|condition| condition.message.clone().or_else(|| condition.reason.clone()).unwrap_or_default())
        .next();
    unscheduled.or(waiting).unwrap_or_else(|| "nothing that its status tells".to_owned())
}
