//! `scaleDownBlocked`: the pods for whose sake a cluster autoscaler keeps a node. None runs here: it is what its rules say
//! of the pods and budgets that were seen last.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use plimsoll_eviction::disruption::{Controller, Phase, ScaleDown, ScaleDownPod, scale_down};

use super::super::case::Case;
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::model::Evidence;
use crate::kubernetes::selects;
use crate::plan::{ScaleDownExpectation, ScaleDownObstacle};

/// The annotation by which a pod says whether it may be moved.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// The annotation that names volumes which do not matter.
const SAFE_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

impl From<ScaleDown> for ScaleDownObstacle {
    fn from(obstacle: ScaleDown) -> Self {
        match obstacle {
            ScaleDown::Unmanaged => Self::Unmanaged,
            ScaleDown::System => Self::System,
            ScaleDown::NotSafeToEvict => Self::NotSafeToEvict,
            ScaleDown::LocalStorage => Self::LocalStorage,
            ScaleDown::DisruptionBudget => Self::DisruptionBudget,
        }
    }
}

pub(super) fn judge(context: &Context<'_>, expected: &ScaleDownExpectation, case: &mut Case) {
    let history = &context.history;
    let node = expected.node.as_str();
    case.doubts(history.completeness_doubts());
    case.doubts(history.blind(Source::DisruptionBudgets, history.began(), history.ended()));
    let mut looked = 0;
    let mut blocked: BTreeMap<&str, (ScaleDownObstacle, Evidence)> = BTreeMap::new();
    for (pod, end) in history.pods.iter().zip(&context.ends) {
        let Some(last) =
            pod.versions.last().filter(|_| pod.deleted.is_none() && end.node.as_deref() == Some(node))
        else {
            continue;
        };
        looked += 1;
        let budgets =
            history.budgets.values().map(|seen| seen.value).filter(|budget| covers(budget, last.value));
        if let Some(obstacle) = scale_down(&facts(last.value), budgets.map(allowed).min()) {
            blocked.insert(end.called(), (obstacle.into(), last.evidence()));
        }
    }
    for (name, wanted) in &expected.blocked_by {
        match blocked.remove(name.as_str()) {
            Some((seen, evidence)) if seen == *wanted => {
                case.proven(format!("{name} keeps {node}: {}", seen.name()), [evidence]);
            }
            Some((seen, evidence)) => {
                let text = format!("{name} keeps {node} for {} and not for {}", seen.name(), wanted.name());
                case.violated(text, [evidence]);
            }
            None => {
                let doubts = history.absence_doubts(context.plan, |_| false);
                let (what, evidence) = context.instead(name);
                case.absent(format!("{name} does not keep {node}: {what}"), evidence, doubts);
            }
        }
    }
    for (name, (seen, evidence)) in blocked {
        case.violated(format!("{name} keeps {node}, too: {}", seen.name()), [evidence]);
    }
    if expected.blocked_by.is_empty() {
        if looked == 0 {
            case.doubt(format!("no pod was seen on {node}"), []);
        } else {
            case.proven(
                format!("nothing keeps {node}"),
                history.finished.map(super::super::history::evidence),
            );
        }
    }
}

fn facts(pod: &Pod) -> ScaleDownPod {
    let annotation =
        |name: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    let safe: Vec<&str> =
        annotation(SAFE_VOLUMES).map(|names| names.split(',').map(str::trim).collect()).unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    // What lies in memory is no local storage. Upstream: `isLocalVolume`.
    let on_disk = |volume: &&Volume| {
        let in_memory = |source: &EmptyDirVolumeSource| source.medium.as_deref() == Some("Memory");
        volume.host_path.is_some() || volume.empty_dir.as_ref().is_some_and(|source| !in_memory(source))
    };
    let on_node = volumes.filter(on_disk);
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    ScaleDownPod {
        phase: match phase {
            Some("Succeeded" | "Failed") => Phase::Finished,
            Some("Running") => Phase::Running,
            _ => Phase::Pending,
        },
        controller: match owner.map(|owner| owner.kind.as_str()) {
            None => Controller::None,
            Some("DaemonSet") => Controller::DaemonSet,
            Some(_) => Controller::Other,
        },
        mirror: annotation("kubernetes.io/config.mirror").is_some(),
        in_kube_system: pod.metadata.namespace.as_deref() == Some("kube-system"),
        safe_to_evict: annotation(SAFE_TO_EVICT).and_then(|word| word.parse().ok()),
        local_volumes: on_node.filter(|volume| !safe.contains(&volume.name.as_str())).count(),
    }
}

fn allowed(budget: &PodDisruptionBudget) -> i64 {
    budget.status.as_ref().and_then(|status| status.disruptions_allowed).map_or(0, i64::from)
}

/// Whether a budget is about a pod. Upstream: `GetPodPodDisruptionBudgets`.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    budget.metadata.namespace == pod.metadata.namespace
        && budget
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.as_ref())
            .is_some_and(|selector| selects(selector, pod.metadata.labels.as_ref()))
}
