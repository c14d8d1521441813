//! Voluntary disruption: what a drain takes, what the eviction API lets go under disruption budgets, and what keeps a
//! cluster autoscaler from removing a node.
//!
//! Follows `k8s.io/kubectl/pkg/drain` 0.36.3 and `pkg/registry/core/pod/storage` of Kubernetes 1.36.3; what keeps a node follows the cluster
//! autoscaler, which is released apart.

/// A pod as a drain or the eviction API sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its phase.
    pub phase: Phase,
    /// Whether it is ready.
    pub ready: bool,
    /// For how many whole seconds it has been marked for deletion; none if it is not.
    pub deleting_for_seconds: Option<u64>,
    /// What manages it.
    pub controller: Controller,
    /// Whether it is the API server's image of a static pod.
    pub mirror: bool,
    /// Whether it has an emptyDir, in memory or on disk.
    pub has_empty_dir: bool,
}

/// A pod's phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have started.
    Pending,
    /// It runs.
    #[default]
    Running,
    /// It has ended, well or not.
    Finished,
}

/// What manages a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Controller {
    /// Nothing.
    #[default]
    None,
    /// A DaemonSet that exists.
    DaemonSet,
    /// A DaemonSet that is gone.
    MissingDaemonSet,
    /// Anything else.
    Other,
}

/// The flags of `kubectl drain` that filter pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainOptions {
    /// `--force`.
    pub force: bool,
    /// `--ignore-daemonsets`.
    pub ignore_daemon_sets: bool,
    /// `--delete-emptydir-data`.
    pub delete_empty_dir_data: bool,
    /// `--skip-wait-for-delete-timeout`, in seconds; 0 for none.
    pub skip_deleted_after_seconds: u64,
}

/// What a drain makes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It is taken.
    Takes,
    /// It is taken, with a warning.
    TakesWarning(&'static str),
    /// It is left where it is.
    Leaves,
    /// It is left where it is, with a warning.
    LeavesWarning(&'static str),
    /// Nothing is drained because of it.
    Refuses(Obstacle),
}

/// Why a drain refuses a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A DaemonSet manages it.
    DaemonSet,
    /// The DaemonSet that manages it is gone.
    MissingDaemonSet,
    /// It has an emptyDir volume.
    LocalStorage,
    /// Nothing manages it.
    Unmanaged,
}

impl Obstacle {
    /// What kubectl says of it.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::DaemonSet => "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)",
            Self::MissingDaemonSet => "the DaemonSet that manages it is not found",
            Self::LocalStorage => "Pods with local storage (use --delete-emptydir-data to override)",
            Self::Unmanaged => "Pods that declare no controller (use --force to override)",
        }
    }
}

/// What a drain makes of a pod. The first filter that does not take it decides; of the others only the last says
/// anything. Upstream: `filterPods` and the filters of `k8s.io/kubectl/pkg/drain`.
#[must_use]
pub fn drain(pod: &Subject, options: &DrainOptions) -> Drain {
    let finished = pod.phase == Phase::Finished;
    let skips = options.skip_deleted_after_seconds;
    if skips > 0 && pod.deleting_for_seconds.is_some_and(|seconds| seconds > skips) {
        return Drain::Leaves;
    }
    match pod.controller {
        Controller::DaemonSet if !finished => {
            return if options.ignore_daemon_sets {
                Drain::LeavesWarning("ignoring DaemonSet-managed Pods")
            } else {
                Drain::Refuses(Obstacle::DaemonSet)
            };
        }
        Controller::MissingDaemonSet if !finished && !options.force => {
            return Drain::Refuses(Obstacle::MissingDaemonSet);
        }
        _ => {}
    }
    if pod.mirror {
        return Drain::Leaves;
    }
    if pod.has_empty_dir && !finished && !options.delete_empty_dir_data {
        return Drain::Refuses(Obstacle::LocalStorage);
    }
    if finished || pod.controller != Controller::None {
        return Drain::Takes;
    }
    if options.force {
        Drain::TakesWarning("deleting Pods that declare no controller")
    } else {
        Drain::Refuses(Obstacle::Unmanaged)
    }
}

/// A pod as a cluster autoscaler sees it that would remove its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScaleDownPod {
    /// Its phase.
    pub phase: Phase,
    /// What manages it.
    pub controller: Controller,
    /// Whether it is the API server's image of a static pod.
    pub mirror: bool,
    /// Whether it is in the namespace kube-system.
    pub in_kube_system: bool,
    /// What its annotation `cluster-autoscaler.kubernetes.io/safe-to-evict` says.
    pub safe_to_evict: Option<bool>,
    /// Its volumes that lie on the node (emptyDir, hostPath) and that no annotation declares safe.
    pub local_volumes: usize,
}

/// Why a cluster autoscaler keeps a node for the sake of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleDown {
    /// Nothing would make it anew elsewhere.
    Unmanaged,
    /// It is in kube-system, and no budget says that it may go.
    System,
    /// It says so itself.
    NotSafeToEvict,
    /// Its data would be lost.
    LocalStorage,
    /// A budget does not let it go.
    DisruptionBudget,
}

/// Why a cluster autoscaler with its default flags keeps a node for the sake of this pod, if it does. `budget` is the least
/// number of disruptions that a budget which covers it allows.
/// Upstream: `cluster-autoscaler/simulator/drainability/rules` of the autoscaler, in the order of its defaults.
#[must_use]
pub fn scale_down(pod: &ScaleDownPod, budget: Option<i64>) -> Option<ScaleDown> {
    if pod.mirror
        || matches!(pod.controller, Controller::DaemonSet | Controller::MissingDaemonSet)
        || pod.safe_to_evict == Some(true)
        || pod.phase == Phase::Finished
    {
        return None;
    }
    if pod.controller == Controller::None {
        return Some(ScaleDown::Unmanaged);
    }
    if pod.in_kube_system && budget.is_none() {
        return Some(ScaleDown::System);
    }
    if pod.safe_to_evict == Some(false) {
        return Some(ScaleDown::NotSafeToEvict);
    }
    if pod.local_volumes > 0 {
        return Some(ScaleDown::LocalStorage);
    }
    budget.is_some_and(|allowed| allowed < 1).then_some(ScaleDown::DisruptionBudget)
}

/// A disruption budget's status, and what it says about pods that are not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Whether its status is older than its specification.
    pub stale: bool,
    /// Disruptions that it still allows.
    pub disruptions_allowed: i64,
    /// Pods that are healthy.
    pub current_healthy: i64,
    /// Pods that must be.
    pub desired_healthy: i64,
    /// Pods that were let go and have not been seen to go yet.
    pub disrupted_pods: usize,
    /// Whether pods that are not ready may always go (`AlwaysAllow`).
    pub always_allows_unhealthy: bool,
}

/// Pods that a budget waits for at most. Upstream: `MaxDisruptedPodSize`.
pub const MOST_DISRUPTED_PODS: usize = 2000;

/// What the eviction API answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiEviction {
    /// The pod is deleted; the budget is not touched.
    Deleted,
    /// The pod is deleted, and the budget allows one disruption less.
    DeletedAgainstBudget,
    /// 429: not now; try again.
    TooManyRequests,
    /// 403: the budget's status is out of bounds.
    Forbidden,
    /// 500: more than one budget covers the pod.
    MoreThanOneBudget,
}

/// What the eviction API answers for a pod that these budgets cover.
/// Upstream: `EvictionREST.Create`, `checkAndDecrement`, `canIgnorePDB`.
#[must_use]
pub fn evict(pod: &Subject, budgets: &[Budget]) -> ApiEviction {
    if pod.phase != Phase::Running || pod.deleting_for_seconds.is_some() {
        return ApiEviction::Deleted;
    }
    let budget = match budgets {
        [] => return ApiEviction::Deleted,
        [budget] => budget,
        _ => return ApiEviction::MoreThanOneBudget,
    };
    let guarded = budget.current_healthy >= budget.desired_healthy && budget.desired_healthy > 0;
    if !pod.ready && (budget.always_allows_unhealthy || guarded) {
        return ApiEviction::Deleted;
    }
    if budget.stale {
        ApiEviction::TooManyRequests
    } else if budget.disruptions_allowed < 0 || budget.disrupted_pods > MOST_DISRUPTED_PODS {
        ApiEviction::Forbidden
    } else if budget.disruptions_allowed == 0 {
        ApiEviction::TooManyRequests
    } else {
        ApiEviction::DeletedAgainstBudget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: DrainOptions = DrainOptions {
        force: true,
        ignore_daemon_sets: true,
        delete_empty_dir_data: true,
        skip_deleted_after_seconds: 10,
    };

    #[test]
    fn a_drain_takes_what_its_flags_allow() {
        let none = DrainOptions::default();
        let managed = Subject { controller: Controller::Other, ..Subject::default() };
        assert_eq!(drain(&managed, &none), Drain::Takes);
        assert!(matches!(drain(&Subject::default(), &none), Drain::Refuses(_)));
        assert!(matches!(drain(&Subject::default(), &ALL), Drain::TakesWarning(_)));
        let data = Subject { has_empty_dir: true, ..managed };
        assert!(matches!(drain(&data, &none), Drain::Refuses(_)));
        assert_eq!(drain(&data, &ALL), Drain::Takes);
        let daemon = Subject { controller: Controller::DaemonSet, ..Subject::default() };
        assert!(matches!(drain(&daemon, &none), Drain::Refuses(_)));
        assert!(matches!(drain(&daemon, &ALL), Drain::LeavesWarning(_)));
        let orphan = Subject { controller: Controller::MissingDaemonSet, ..Subject::default() };
        assert!(matches!(drain(&orphan, &none), Drain::Refuses(_)));
        assert_eq!(drain(&orphan, &ALL), Drain::Takes);
        assert_eq!(drain(&Subject { mirror: true, ..managed }, &none), Drain::Leaves);
        let finished = Subject { phase: Phase::Finished, has_empty_dir: true, ..daemon };
        assert_eq!(drain(&finished, &none), Drain::Takes);
        let going = |seconds| Subject { deleting_for_seconds: Some(seconds), ..managed };
        assert_eq!(drain(&going(11), &ALL), Drain::Leaves);
        assert_eq!(drain(&going(10), &ALL), Drain::Takes);
        assert_eq!(drain(&going(11), &none), Drain::Takes);
    }

    #[test]
    fn an_autoscaler_keeps_a_node_for_what_would_be_lost() {
        let managed = ScaleDownPod { controller: Controller::Other, ..ScaleDownPod::default() };
        assert_eq!(scale_down(&managed, None), None);
        assert_eq!(scale_down(&managed, Some(1)), None);
        assert_eq!(scale_down(&managed, Some(0)), Some(ScaleDown::DisruptionBudget));
        assert_eq!(scale_down(&ScaleDownPod::default(), None), Some(ScaleDown::Unmanaged));
        let storage = ScaleDownPod { local_volumes: 1, ..managed };
        assert_eq!(scale_down(&storage, None), Some(ScaleDown::LocalStorage));
        let precious = ScaleDownPod { safe_to_evict: Some(false), ..storage };
        assert_eq!(scale_down(&precious, Some(0)), Some(ScaleDown::NotSafeToEvict));
        let system = ScaleDownPod { in_kube_system: true, ..managed };
        assert_eq!(scale_down(&system, None), Some(ScaleDown::System));
        assert_eq!(scale_down(&system, Some(1)), None);
        // What says that it is safe is safe, whatever else holds of it.
        let safe = ScaleDownPod { safe_to_evict: Some(true), local_volumes: 3, ..ScaleDownPod::default() };
        assert_eq!(scale_down(&safe, Some(0)), None);
        for harmless in [
            ScaleDownPod { mirror: true, ..ScaleDownPod::default() },
            ScaleDownPod { controller: Controller::DaemonSet, ..storage },
            ScaleDownPod { phase: Phase::Finished, ..ScaleDownPod::default() },
        ] {
            assert_eq!(scale_down(&harmless, Some(0)), None);
        }
    }

    #[test]
    fn a_budget_guards_healthy_pods() {
        let ready = Subject { ready: true, ..Subject::default() };
        let budget =
            Budget { disruptions_allowed: 1, current_healthy: 3, desired_healthy: 2, ..Budget::default() };
        assert_eq!(evict(&ready, &[]), ApiEviction::Deleted);
        assert_eq!(evict(&ready, &[budget]), ApiEviction::DeletedAgainstBudget);
        assert_eq!(evict(&ready, &[budget, budget]), ApiEviction::MoreThanOneBudget);
        let used_up = Budget { disruptions_allowed: 0, ..budget };
        assert_eq!(evict(&ready, &[used_up]), ApiEviction::TooManyRequests);
        assert_eq!(evict(&ready, &[Budget { stale: true, ..budget }]), ApiEviction::TooManyRequests);
        assert_eq!(evict(&ready, &[Budget { disruptions_allowed: -1, ..budget }]), ApiEviction::Forbidden);
        assert_eq!(evict(&ready, &[Budget { disrupted_pods: 2001, ..budget }]), ApiEviction::Forbidden);
        assert_eq!(evict(&Subject { phase: Phase::Pending, ..ready }, &[used_up]), ApiEviction::Deleted);
        assert_eq!(
            evict(&Subject { deleting_for_seconds: Some(0), ..ready }, &[used_up]),
            ApiEviction::Deleted
        );
    }

    #[test]
    fn unhealthy_pods_go_while_enough_others_are_healthy() {
        let unhealthy = Subject::default();
        let budget = Budget { current_healthy: 2, desired_healthy: 2, ..Budget::default() };
        assert_eq!(evict(&unhealthy, &[budget]), ApiEviction::Deleted);
        let short = Budget { current_healthy: 1, ..budget };
        assert_eq!(evict(&unhealthy, &[short]), ApiEviction::TooManyRequests);
        let nothing_desired = Budget { desired_healthy: 0, ..budget };
        assert_eq!(evict(&unhealthy, &[nothing_desired]), ApiEviction::TooManyRequests);
        assert_eq!(
            evict(&unhealthy, &[Budget { always_allows_unhealthy: true, ..short }]),
            ApiEviction::Deleted
        );
    }
}
