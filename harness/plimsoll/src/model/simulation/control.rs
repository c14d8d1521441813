//! Controllers, the scheduler and taints: where pods come from and where they go.

use super::world::{ControllerState, Fate, Misfit, Misfits, Seen, Stage, World};
use super::{Event, Happening, Simulation, Sink};
use crate::kubernetes::UNSCHEDULABLE;
use crate::model::curve::{Micros, SECOND};
use crate::model::node::PreparedNode;
use crate::model::prepare::Kind;

/// What the scheduler counts for a container that requests nothing. Upstream: `DefaultMilliCPURequest`,
/// `DefaultMemoryRequest`.
const DEFAULT_PROCESSORS: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 << 20;
/// The weights of the scores in the default profile. Upstream: `getDefaultPlugins`.
const TAINT_WEIGHT: i64 = 3;
const FIT_WEIGHT: i64 = 1;
const SPREAD_WEIGHT: i64 = 2;
/// The best score of a plugin. Upstream: `MaxNodeScore`.
const BEST: i64 = 100;
/// How long a job waits after its first failed pod, in seconds. Upstream: `DefaultJobPodFailureBackOff`.
const JOB_BACKOFF_SECONDS: i64 = 10;
/// The longest such wait. Upstream: `MaxJobPodFailureBackOff`.
const JOB_BACKOFF_MOST_SECONDS: i64 = 600;
/// The longest time in seconds that the scheduler leaves a pod alone that did not fit; the first is 1.
/// Upstream: `DefaultPodMaxBackoffDuration`, `DefaultPodInitialBackoffDuration`.
const SCHEDULING_BACKOFF_MOST_SECONDS: i64 = 10;
/// How long a DaemonSet waits after a failed pod, in seconds. Upstream: `failedPodsBackoff`.
const DAEMON_BACKOFF_SECONDS: i64 = 1;

impl<S: Sink> Simulation<'_, '_, S> {
    /// An object is created.
    pub(super) fn create(&mut self, object: usize) {
        let prepared = &self.world.prepared.objects[object];
        match (prepared.kind, prepared.template) {
            (Kind::Pod, Some(template)) => {
                let pod = self.world.new_pod(template, None, None);
                self.created(pod);
            }
            (Kind::Budget, _) => self.set_budget(object),
            (_, None) => {}
            (_, Some(_)) => {
                let replicas = prepared.replicas;
                self.world.controllers.push(ControllerState {
                    object,
                    replicas,
                    gone: false,
                    failures: 0,
                    waits_until: 0,
                });
                let control = self.draw(|own| own.control);
                self.after(control, Event::Reconcile(self.world.controllers.len() - 1));
            }
        }
    }

    /// An object is created or, where there is one of its name, changed: a controller's number of pods.
    pub(super) fn apply(&mut self, object: usize) {
        if self.world.prepared.objects[object].kind == Kind::Budget {
            self.set_budget(object);
            return;
        }
        let key = &self.world.prepared.objects[object].key;
        let same = |own: &ControllerState| !own.gone && self.world.prepared.objects[own.object].key == *key;
        if let Some(controller) = self.world.controllers.iter().position(same) {
            self.world.controllers[controller].replicas = self.world.prepared.objects[object].replicas;
            let control = self.draw(|own| own.control);
            self.after(control, Event::Reconcile(controller));
            return;
        }
        let is_pod = self.world.prepared.objects[object].kind == Kind::Pod;
        let namespace = self.world.prepared.objects[object]
            .template
            .map(|template| self.world.prepared.templates[template].rules().namespace.as_str());
        let is_it = |pod: &super::world::PodState<'_>| {
            !pod.deleted && pod.name() == key.2 && Some(pod.rules().namespace.as_str()) == namespace
        };
        if is_pod && self.world.pods.iter().any(is_it) {
            return;
        }
        self.create(object);
    }

    /// An object is deleted, and with it what it owns.
    pub(super) fn delete(&mut self, object: usize) {
        for controller in 0..self.world.controllers.len() {
            if self.world.controllers[controller].object == object {
                self.world.controllers[controller].gone = true;
                for pod in self.pods_of_controller(controller) {
                    self.delete_pod(pod);
                }
            }
        }
        let prepared = &self.world.prepared.objects[object];
        if prepared.kind == Kind::Budget {
            self.delete_budget(object);
        }
        if prepared.kind == Kind::Pod {
            for pod in 0..self.world.pods.len() {
                if Some(self.world.pods[pod].template) == prepared.template {
                    self.delete_pod(pod);
                }
            }
        }
    }

    pub(super) fn delete_pod(&mut self, pod: usize) {
        self.delete_pod_within(pod, None);
    }

    /// The API server is asked to delete a pod, with a grace period in seconds unless the pod's own is meant.
    /// Upstream: `podStrategy.CheckGracefulDelete`, `BeforeDelete`.
    pub(super) fn delete_pod_within(&mut self, pod: usize, grace: Option<i64>) {
        let own = &mut self.world.pods[pod];
        if own.deleted {
            return;
        }
        if grace == Some(0) {
            self.delete_by_force(pod);
            return;
        }
        if own.deletion.is_some() {
            // One that is told again may have less time, but not more.
            if let Some(less) = grace.filter(|grace| *grace < own.deletion_grace) {
                own.deletion_grace = less;
                if !self.world.is_away(pod) {
                    self.hurry(pod, less);
                }
            }
            return;
        }
        let grace = grace.unwrap_or(self.world.template(pod).grace_seconds);
        let own = &mut self.world.pods[pod];
        own.deletion = Some(self.world.now);
        own.deletion_grace = grace;
        if own.seen.is_final() || own.stage == Stage::Unscheduled {
            own.stage = Stage::Ended;
            self.remove(pod);
            return;
        }
        let controller = own.controller;
        self.tell(&Happening::Pod(pod));
        self.budgets_soon();
        if let Some(controller) = controller {
            let control = self.draw(|own| own.control);
            self.after(control, Event::Reconcile(controller));
        }
        if !self.world.is_away(pod) {
            self.stop(pod, grace);
        }
    }

    /// A pod's object goes at once, whatever its kubelet still does for it.
    fn delete_by_force(&mut self, pod: usize) {
        let own = &mut self.world.pods[pod];
        own.deletion.get_or_insert(self.world.now);
        own.deletion_grace = 0;
        self.remove(pod);
        if !self.world.is_away(pod) {
            self.stop(pod, 0);
        }
    }

    /// A pod's object goes.
    pub(super) fn remove(&mut self, pod: usize) {
        if std::mem::replace(&mut self.world.pods[pod].deleted, true) {
            return;
        }
        self.clean_up_soon(pod);
        self.tell(&Happening::PodDeleted(pod));
        self.budgets_soon();
        self.drains_look_for(pod);
        if let Some(controller) = self.world.pods[pod].controller {
            let control = self.draw(|own| own.control);
            self.after(control, Event::Reconcile(controller));
        }
    }

    /// A pod is there; the scheduler sees it, or its node where it names that itself.
    fn created(&mut self, pod: usize) {
        self.tell(&Happening::Pod(pod));
        self.budgets_soon();
        let named = self.world.template(pod).node.as_deref();
        let node = named.and_then(|name| self.world.prepared.nodes.iter().position(|node| node.name == name));
        let control = self.draw(|own| own.control);
        match (named, node) {
            (Some(_), Some(node)) => self.bind(pod, node),
            (Some(_), None) => {}
            (None, _) => self.after(control, Event::Schedule(pod)),
        }
    }

    fn bind(&mut self, pod: usize, node: usize) {
        let own = &mut self.world.pods[pod];
        own.node = Some(node);
        own.bound = Some(self.world.now);
        own.stage = Stage::Starting;
        own.unschedulable = None;
        self.tell(&Happening::Pod(pod));
        let control = self.draw(|own| own.control);
        self.after(control, Event::Admit(pod));
        self.mind_taints(pod);
    }

    /// The scheduler looks for a node. Upstream: `schedulePod`; of nodes with the same score it takes any.
    pub(super) fn schedule(&mut self, pod: usize) {
        let own = &self.world.pods[pod];
        if own.stage != Stage::Unscheduled || own.deletion.is_some() {
            return;
        }
        let best = self.world.best_nodes(pod);
        let now = self.world.now;
        if best.is_empty() {
            self.world.pods[pod].attempts += 1;
            self.world.pods[pod].attempted = now;
            let misfits = self.world.misfits(pod);
            if self.world.pods[pod].unschedulable.replace(misfits) != Some(misfits) {
                self.tell(&Happening::Pod(pod));
            }
            self.preempt(pod);
            return;
        }
        let choice = if best.len() > 1 { self.world.dice.one_of(best.len()) } else { 0 };
        self.bind(pod, best[choice]);
    }

    /// Something may fit now that did not before.
    pub(super) fn room_came_free(&mut self) {
        for pod in 0..self.world.pods.len() {
            let own = &self.world.pods[pod];
            if own.stage == Stage::Unscheduled && own.unschedulable.is_some() {
                // One for which others go is not left alone: it is looked at as soon as they have ended.
                let backoff = own.nominated.map_or_else(|| scheduling_backoff(own.attempts), |_| 0);
                let until = own.attempted + backoff;
                let control = self.draw(|own| own.control);
                self.at(until.max(self.world.now) + control, Event::Schedule(pod));
            }
        }
    }

    /// Cordons a node, or uncordons it.
    pub(super) fn cordon(&mut self, node: usize, unschedulable: bool) {
        if self.world.nodes[node].unschedulable == unschedulable {
            return;
        }
        self.world.nodes[node].unschedulable = unschedulable;
        self.tell(&Happening::Node(node));
        if !unschedulable {
            self.room_came_free();
        }
    }

    fn pods_of_controller(&self, controller: usize) -> Vec<usize> {
        let own = |pod: &usize| {
            let pod = &self.world.pods[*pod];
            pod.controller == Some(controller) && !pod.deleted
        };
        (0..self.world.pods.len()).filter(own).collect()
    }

    /// A controller brings the number of its pods to what it should be.
    pub(super) fn reconcile(&mut self, controller: usize) {
        let state = &self.world.controllers[controller];
        if state.gone {
            return;
        }
        let object = &self.world.prepared.objects[state.object];
        let Some(template) = object.template else { return };
        let replicas = state.replicas as usize;
        match object.kind {
            Kind::ReplicaSet => self.replace(controller, template, replicas),
            Kind::StatefulSet => self.reconcile_stateful(controller, template, replicas),
            Kind::DaemonSet => self.reconcile_daemons(controller, template),
            Kind::Job => self.reconcile_job(controller, template, replicas, object.backoff_limit),
            Kind::Pod | Kind::Budget | Kind::Other => {}
        }
    }

    /// Upstream: `ReplicaSetController.manageReplicas`: pods that failed stay, and others take their place.
    fn replace(&mut self, controller: usize, template: usize, replicas: usize) {
        let mut active = self.pods_of_controller(controller);
        active.retain(|pod| self.world.pods[*pod].is_active());
        for _ in active.len()..replicas {
            self.make(controller, template, None, None);
        }
        // Those that are not Ready go first, then the youngest. Upstream: `ActivePodsWithRanks`.
        while active.len() > replicas {
            let key = |pod: &&usize| (self.world.runs(&self.world.pods[**pod]), std::cmp::Reverse(**pod));
            let Some(&first) = active.iter().min_by_key(key) else { return };
            active.retain(|pod| *pod != first);
            self.delete_pod(first);
        }
    }

    /// Upstream: `updateStatefulSet`: one after another, and a failed pod is deleted before it is made again.
    fn reconcile_stateful(&mut self, controller: usize, template: usize, replicas: usize) {
        let object = &self.world.prepared.objects[self.world.controllers[controller].object];
        let own = self.pods_of_controller(controller);
        for ordinal in 0..replicas {
            let name = format!("{}-{ordinal}", object.key.2);
            let Some(&pod) = own.iter().find(|pod| self.world.pods[**pod].name() == name) else {
                self.make(controller, template, Some(name), None);
                return;
            };
            if self.world.pods[pod].seen.is_final() {
                self.delete_pod(pod);
                return;
            }
            if !self.world.runs(&self.world.pods[pod]) {
                return;
            }
        }
        let beyond = own.len().saturating_sub(replicas);
        for &pod in own.iter().rev().take(beyond) {
            self.delete_pod(pod);
        }
    }

    /// Upstream: `DaemonSetsController.manage`: one on each node whose taints it tolerates; failed ones are deleted.
    fn reconcile_daemons(&mut self, controller: usize, template: usize) {
        let own = self.pods_of_controller(controller);
        for node in 0..self.world.nodes.len() {
            // One that has ended and is on its way out does not count. Upstream: `getNodesToDaemonPods`.
            let counts = |pod: &&usize| {
                let pod = &self.world.pods[**pod];
                pod.pinned == Some(node) && !(pod.deletion.is_some() && pod.seen.is_final())
            };
            let there = own.iter().find(counts).copied();
            match there {
                Some(pod) if self.world.pods[pod].seen.is_final() => self.delete_pod(pod),
                Some(_) => {}
                None if self.world.instances[template] > 0 && self.daemon_failed_lately(template, node) => {
                    self.after(DAEMON_BACKOFF_SECONDS * SECOND, Event::Reconcile(controller));
                }
                None => {
                    let rules = self.world.prepared.templates[template].rules();
                    let plan = self.world.node_plan(node);
                    let bears = |effect: &str| {
                        let taints = self.world.nodes[node].taints.iter().map(|(taint, _)| taint);
                        let mut taints = taints.filter(|taint| taint.effect == effect);
                        taints.all(|taint| rules.tolerates(&taint.key, &taint.value, &taint.effect))
                    };
                    if bears("NoSchedule")
                        && bears("NoExecute")
                        && fits_selector(plan, self.world.prepared, template)
                    {
                        self.make(controller, template, None, Some(node));
                    }
                }
            }
        }
    }

    fn daemon_failed_lately(&self, template: usize, node: usize) -> bool {
        let since = self.world.now - DAEMON_BACKOFF_SECONDS * SECOND;
        self.world.pods.iter().any(|pod| {
            pod.template == template
                && pod.pinned == Some(node)
                && pod.seen.is_final()
                && !matches!(pod.fate, Some(Fate::EvictedThroughApi | Fate::Expelled | Fate::Preempted))
                && pod.deletion.is_some_and(|deletion| deletion > since)
        })
    }

    /// Upstream: `Controller.manageJob`: a failed pod is made up for after a wait that doubles each time.
    fn reconcile_job(&mut self, controller: usize, template: usize, parallelism: usize, limit: u32) {
        let all = || self.world.pods.iter().filter(|pod| pod.controller == Some(controller));
        // One that is told to go counts as failed, unless it succeeds, and goes on to when it is gone. Upstream: `isPodFailed`.
        let has_failed = |pod: &&super::PodState<'_>| {
            pod.seen == Seen::Failed || pod.deletion.is_some() && pod.seen != Seen::Succeeded
        };
        let failed = u32::try_from(all().filter(has_failed).count()).unwrap_or(u32::MAX);
        let succeeded = all().filter(|pod| pod.seen == Seen::Succeeded).count();
        let active = all().filter(|pod| pod.is_active()).count();
        if failed > limit {
            return;
        }
        let state = &mut self.world.controllers[controller];
        if failed > state.failures {
            state.failures = failed;
            let seconds = JOB_BACKOFF_SECONDS.checked_shl(failed - 1).unwrap_or(JOB_BACKOFF_MOST_SECONDS);
            let wait: Micros = seconds.min(JOB_BACKOFF_MOST_SECONDS) * SECOND;
            state.waits_until = self.world.now + wait;
            self.after(wait, Event::Reconcile(controller));
        }
        if self.world.now < self.world.controllers[controller].waits_until {
            return;
        }
        for _ in (active + succeeded)..parallelism {
            self.make(controller, template, None, None);
        }
    }

    fn make(&mut self, controller: usize, template: usize, name: Option<String>, pinned: Option<usize>) {
        let object = &self.world.prepared.objects[self.world.controllers[controller].object];
        let nth = self.world.instances[template] + 1;
        let name = name.unwrap_or_else(|| format!("{}-predicted-{nth}", object.key.2));
        let pod = self.world.new_pod(template, Some(controller), Some(name));
        self.world.pods[pod].pinned = pinned;
        self.created(pod);
    }
}

/// How long the scheduler leaves a pod alone that did not fit so often.
fn scheduling_backoff(attempts: u32) -> Micros {
    let seconds = 1_i64.checked_shl(attempts.saturating_sub(1)).unwrap_or(SCHEDULING_BACKOFF_MOST_SECONDS);
    seconds.min(SCHEDULING_BACKOFF_MOST_SECONDS) * SECOND
}

fn fits_selector(plan: &PreparedNode, prepared: &crate::model::prepare::Prepared, template: usize) -> bool {
    let selector = &prepared.templates[template].selector;
    selector.iter().all(|(key, value)| plan.labels.get(key) == Some(value))
}

impl World<'_> {
    /// The nodes that a pod fits on and that score best, by place.
    fn best_nodes(&self, pod: usize) -> Vec<usize> {
        let pinned = self.pods[pod].pinned;
        let all = (0..self.nodes.len()).filter(|node| pinned.is_none_or(|own| own == *node));
        let fitting: Vec<usize> = all.filter(|node| self.misfit(pod, *node).is_none()).collect();
        if fitting.len() < 2 {
            return fitting;
        }
        let bearing: Vec<i64> = fitting.iter().map(|node| self.unborne(pod, *node)).collect();
        let beside: Vec<i64> = fitting.iter().map(|node| self.siblings(pod, *node)).collect();
        let most = |figures: &[i64]| figures.iter().copied().max().unwrap_or(0);
        let part = |figure: i64, most: i64| if most == 0 { BEST } else { BEST * (most - figure) / most };
        let (most_unborne, most_beside) = (most(&bearing), most(&beside));
        let score = |index: usize| {
            TAINT_WEIGHT * part(bearing[index], most_unborne)
                + SPREAD_WEIGHT * part(beside[index], most_beside)
                + FIT_WEIGHT * self.room(pod, fitting[index])
        };
        let scores: Vec<i64> = (0..fitting.len()).map(score).collect();
        let best = scores.iter().copied().max();
        fitting
            .iter()
            .zip(&scores)
            .filter(|(_, score)| Some(**score) == best)
            .map(|(node, _)| *node)
            .collect()
    }

    /// The pods that are bound to a node and have not ended, as the scheduler counts them.
    pub(super) fn bound_to(&self, node: usize) -> impl Iterator<Item = usize> {
        (0..self.pods.len()).filter(move |pod| {
            let pod = &self.pods[*pod];
            pod.node == Some(node) && !pod.deleted && !pod.seen.is_final()
        })
    }

    /// Why a pod fits on none of the nodes, by the number of nodes.
    fn misfits(&self, pod: usize) -> Misfits {
        let mut misfits = Misfits::default();
        for node in 0..self.nodes.len() {
            let by_name = self.pods[pod].pinned.is_some_and(|own| own != node).then_some(Misfit::Affinity);
            if let Some(misfit) = by_name.or_else(|| self.misfit(pod, node)) {
                misfits.0[misfit as usize] += 1;
            }
        }
        misfits
    }

    /// Why a pod does not fit on a node, if it does not.
    /// Upstream: the filters NodeUnschedulable, NodeName, NodeAffinity's node selector, TaintToleration and NodeResourcesFit.
    pub(super) fn misfit(&self, pod: usize, node: usize) -> Option<Misfit> {
        let (own, plan) = (&self.pods[pod], self.node_plan(node));
        let rules = &own.rules;
        if self.nodes[node].unschedulable && !rules.tolerates(UNSCHEDULABLE, "", "NoSchedule") {
            return Some(Misfit::Unschedulable);
        }
        let borne = |effect: &str| effect == "PreferNoSchedule";
        let registered =
            self.nodes[node].taints.iter().map(|(taint, _)| taint).all(|taint| {
                borne(&taint.effect) || rules.tolerates(&taint.key, &taint.value, &taint.effect)
            });
        let pressed = self.nodes[node].tainted.iter().all(|condition| rules.tolerates_condition(*condition));
        if !registered || !pressed {
            return Some(Misfit::Taint);
        }
        if !fits_selector(plan, self.prepared, own.template) {
            return Some(Misfit::Affinity);
        }
        self.lacks(pod, node, self.bound_to(node))
    }

    /// What a node lacks for a pod beside these others, and beside those for which pods of it go and that are no less important.
    pub(super) fn lacks(
        &self,
        pod: usize,
        node: usize,
        others: impl Iterator<Item = usize>,
    ) -> Option<Misfit> {
        let plan = self.node_plan(node);
        let request = self.template(pod).request();
        let (mut memory, mut processors, mut count) = (request.memory, request.processors, 1);
        let mut storage = request.storage;
        let priority = self.pods[pod].rules.effective_priority();
        let nominated = (0..self.pods.len()).filter(|other| {
            let own = &self.pods[*other];
            *other != pod
                && own.nominated == Some(node)
                && own.stage == Stage::Unscheduled
                && own.rules.effective_priority() >= priority
        });
        for other in others.chain(nominated) {
            let request = self.template(other).request();
            memory += request.memory;
            processors += request.processors;
            storage += request.storage;
            count += 1;
        }
        if count > plan.max_pods {
            Some(Misfit::Pods)
        } else if request.processors > 0 && processors > self.processors(node) {
            Some(Misfit::Processors)
        } else if request.memory > 0 && memory > plan.allocatable_memory {
            Some(Misfit::Memory)
        } else if request.storage > 0 && storage > plan.allocatable_storage {
            Some(Misfit::Storage)
        } else {
            None
        }
    }

    fn processors(&self, node: usize) -> i64 {
        let plan = self.node_plan(node);
        plan.processors.unwrap_or(self.assumptions.processors) - plan.reserved_processors
    }

    /// How many taints that only put off a pod does not tolerate. Upstream: `countIntolerableTaintsPreferNoSchedule`.
    fn unborne(&self, pod: usize, node: usize) -> i64 {
        let rules = &self.pods[pod].rules;
        let taints = self.nodes[node].taints.iter().map(|(taint, _)| taint);
        let unborne = taints
            .filter(|taint| taint.effect == "PreferNoSchedule")
            .filter(|taint| !rules.tolerates(&taint.key, &taint.value, &taint.effect));
        i64::try_from(unborne.count()).unwrap_or(0)
    }

    /// How many pods of the same controller a node has: they are spread. Upstream: PodTopologySpread with its system
    /// defaults.
    fn siblings(&self, pod: usize, node: usize) -> i64 {
        let Some(controller) = self.pods[pod].controller else { return 0 };
        let siblings = self.bound_to(node).filter(|other| self.pods[*other].controller == Some(controller));
        i64::try_from(siblings.count()).unwrap_or(0)
    }

    /// How much would be left on a node. Upstream: `leastResourceScorer`.
    fn room(&self, pod: usize, node: usize) -> i64 {
        let usual = |request: i64, usual: i64| if request == 0 { usual } else { request };
        let (mut memory, mut processors) = (0, 0);
        for other in self.bound_to(node).chain([pod]) {
            let request = self.template(other).request();
            memory += usual(request.memory, DEFAULT_MEMORY);
            processors += usual(request.processors, DEFAULT_PROCESSORS);
        }
        let left = |capacity: i64, taken: i64| {
            if capacity <= 0 || taken > capacity { 0 } else { (capacity - taken) * BEST / capacity }
        };
        (left(self.node_plan(node).allocatable_memory, memory) + left(self.processors(node), processors)) / 2
    }
}
