//! Disruption budgets and what the eviction API makes of them.

use plimsoll_eviction::disruption::{self, ApiEviction, Budget, Controller, Phase, Subject};

use super::world::{ContainerStage, Fate, PodState, Seen, World};
use super::{Event, Simulation, Sink};
use crate::model::disruption::{Covered, PreparedBudget};
use crate::model::prepare::Kind;

/// A disruption budget that has been created.
#[derive(Debug)]
pub(in super::super) struct BudgetState {
    /// The object, as it was last written.
    object: usize,
    gone: bool,
    /// Its status.
    status: Budget,
    /// Whether its controller is about to count.
    due: bool,
}

/// An answer of the API server: its code, and for a refusal the status' reason and message.
pub(super) type Reply = (u16, &'static str, String);

pub(super) const CREATED: u16 = 201;
pub(super) const OK: u16 = 200;
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const TOO_MANY_REQUESTS: u16 = 429;

/// What the API server says of a pod that is not there.
pub(super) fn not_found(name: &str) -> Reply {
    (NOT_FOUND, "NotFound", format!("pods \"{name}\" not found"))
}

impl<'p, S: Sink> Simulation<'p, '_, S> {
    /// A budget is created, or changed where there is one of its name.
    pub(super) fn set_budget(&mut self, object: usize) {
        let key = &self.world.prepared.objects[object].key;
        let same = |own: &BudgetState| !own.gone && self.world.prepared.objects[own.object].key == *key;
        let at = self.world.budgets.iter().position(same).unwrap_or_else(|| {
            let (gone, due, status) = (false, false, Budget::default());
            self.world.budgets.push(BudgetState { object, gone, status, due });
            self.world.budgets.len() - 1
        });
        let spec = self.world.prepared.objects[object].budget.as_ref();
        let own = &mut self.world.budgets[at];
        own.object = object;
        if let Some(spec) = spec {
            own.status = spec.unseen(own.status);
        }
        self.budgets_soon();
    }

    /// A budget is deleted.
    pub(super) fn delete_budget(&mut self, object: usize) {
        let key = &self.world.prepared.objects[object].key;
        for own in &mut self.world.budgets {
            own.gone |= self.world.prepared.objects[own.object].key == *key;
        }
    }

    /// Pods have changed, and the budgets' controller will count them.
    pub(super) fn budgets_soon(&mut self) {
        for budget in 0..self.world.budgets.len() {
            let own = &mut self.world.budgets[budget];
            if !own.gone && !std::mem::replace(&mut own.due, true) {
                let control = self.draw(|own| own.control);
                self.after(control, Event::Count(budget));
            }
        }
    }

    /// The controller counts a budget's pods. Upstream: `DisruptionController.trySync`.
    pub(super) fn count(&mut self, budget: usize) {
        let covered = self.world.covered(budget);
        let spec = self.world.budget(budget);
        let own = &mut self.world.budgets[budget];
        own.due = false;
        if let Some(spec) = spec {
            own.status = spec.status(covered, own.status);
        }
    }

    /// The eviction API is asked for a pod that is there. Upstream: `EvictionREST.Create`.
    pub(super) fn evict_through_api(&mut self, pod: usize, dry_run: bool, grace: Option<i64>) -> Reply {
        let covering = self.world.covering(pod);
        let budgets: Vec<Budget> = covering.iter().map(|own| self.world.budgets[*own].status).collect();
        match disruption::evict(&self.world.subject(pod), &budgets) {
            ApiEviction::TooManyRequests => {
                let message = "Cannot evict pod as it would violate the pod's disruption budget.";
                return (TOO_MANY_REQUESTS, "TooManyRequests", message.to_owned());
            }
            ApiEviction::Forbidden => {
                return (403, "Forbidden", "the budget's status is out of bounds".to_owned());
            }
            ApiEviction::MoreThanOneBudget => {
                let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return (500, "", message.to_owned());
            }
            ApiEviction::DeletedAgainstBudget if !dry_run => {
                for budget in covering {
                    self.world.budgets[budget].status.disruptions_allowed -= 1;
                }
            }
            ApiEviction::DeletedAgainstBudget | ApiEviction::Deleted => {}
        }
        if !dry_run {
            self.world.pods[pod].fate.get_or_insert(Fate::EvictedThroughApi);
            self.delete_pod_within(pod, grace);
        }
        (CREATED, "", String::new())
    }
}

impl<'p> World<'p> {
    /// What a budget says.
    fn budget(&self, budget: usize) -> Option<&'p PreparedBudget> {
        self.prepared.objects[self.budgets[budget].object].budget.as_ref()
    }

    fn is_covered(&self, budget: usize, pod: &PodState<'_>) -> bool {
        let (namespace, ..) = &self.prepared.objects[self.budgets[budget].object].key;
        let template = &self.prepared.templates[pod.template];
        let same = *namespace == pod.rules.namespace
            || namespace.is_empty() && pod.rules.namespace == crate::plan::NAMESPACE;
        same && self.budget(budget).is_some_and(|spec| spec.covers(template.object.metadata.labels.as_ref()))
    }

    /// The budgets that are about a pod. Upstream: `getPodDisruptionBudgets`.
    pub(super) fn covering(&self, pod: usize) -> Vec<usize> {
        let all = (0..self.budgets.len()).filter(|budget| !self.budgets[*budget].gone);
        all.filter(|budget| self.is_covered(*budget, &self.pods[pod])).collect()
    }

    /// How many disruptions each budget still allows.
    pub(super) fn allowed_disruptions(&self) -> Vec<i64> {
        self.budgets.iter().map(|own| own.status.disruptions_allowed).collect()
    }

    /// The pods that a budget is about, counted. Upstream: `getPodsForPdb`, `getExpectedScale`, `countHealthyPods`.
    fn covered(&self, budget: usize) -> Covered {
        let mut covered = Covered { wanted: Some(0), ..Covered::default() };
        let mut controllers: Vec<usize> = Vec::new();
        for pod in self.pods.iter().filter(|pod| !pod.deleted && self.is_covered(budget, pod)) {
            covered.pods += 1;
            covered.healthy += i64::from(pod.ready && pod.deletion.is_none());
            if let Some(controller) = pod.controller.filter(|own| !controllers.contains(own)) {
                controllers.push(controller);
                let own = &self.controllers[controller];
                let scales =
                    matches!(self.prepared.objects[own.object].kind, Kind::ReplicaSet | Kind::StatefulSet);
                covered.wanted =
                    covered.wanted.filter(|_| scales).map(|wanted| wanted + i64::from(own.replicas));
            }
        }
        covered
    }

    /// A pod as a drain or the eviction API sees it.
    pub(super) fn subject(&self, pod: usize) -> Subject {
        let own = &self.pods[pod];
        let controller = own.controller.map(|controller| &self.controllers[controller]);
        Subject {
            phase: match own.seen {
                Seen::Pending => Phase::Pending,
                Seen::Running => Phase::Running,
                Seen::Succeeded | Seen::Failed => Phase::Finished,
            },
            ready: own.ready,
            deleting_for_seconds: own
                .deletion
                .map(|since| u64::try_from((self.now - since) / 1_000_000).unwrap_or(0)),
            controller: match controller {
                None => Controller::None,
                Some(own) => match (self.prepared.objects[own.object].kind, own.gone) {
                    (Kind::DaemonSet, false) => Controller::DaemonSet,
                    (Kind::DaemonSet, true) => Controller::MissingDaemonSet,
                    _ => Controller::Other,
                },
            },
            mirror: false,
            has_empty_dir: self.template(pod).volumes.iter().any(|volume| volume.measured),
        }
    }
}

impl PodState<'_> {
    /// Whether all its containers run, as its status says next.
    pub(super) fn is_ready(&self) -> bool {
        self.seen == Seen::Running && self.containers.iter().all(|own| own.state == ContainerStage::Running)
    }
}
