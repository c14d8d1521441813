//! Steps that ask the API server for pods to go: `evict`, one request after another while a budget forbids, and drains.

use plimsoll_eviction::disruption::{Drain, drain};

use super::budgets::{NOT_FOUND, OK, Reply, TOO_MANY_REQUESTS, not_found};
use super::{Event, Happening, Simulation, Sink};
use crate::model::assumptions::Range;
use crate::model::curve::Micros;
use crate::model::disruption::{PreparedDrain, PreparedEvict};
use crate::model::prepare::micros;
use crate::model::steps::PreparedStep;
use crate::observe::{Answer, Asked, DrainOutcome, RefusedPod, StepOutcome};
use crate::plan::{DRAIN_AGAIN_AFTER, DRAIN_LOOKS_EVERY, EVICTION_RETRY};
use crate::verdict::words;

/// A step that asks for pods, and how far it is.
#[derive(Debug)]
pub(super) struct Asker {
    /// The step, by its place.
    step: usize,
    began: Micros,
    requests: Vec<Request>,
    over: bool,
}

/// What a step asks for.
#[derive(Debug)]
struct Request {
    /// The pod; none for one that is not there.
    pod: Option<usize>,
    namespace: String,
    name: String,
    workload: Option<String>,
    /// Whether the scenario says what is answered.
    refusal_is_told: bool,
    /// How often the pod was asked for.
    times: u32,
    stage: RequestStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestStage {
    Asking,
    /// The pod is told to go, and is waited for.
    Waiting,
    Done,
}

impl<'p, S: Sink> Simulation<'p, '_, S> {
    /// Begins an `evict` step: it lists the pods and then asks for all of them at once.
    pub(super) fn begin_evict(&mut self, step: usize, evict: &'p PreparedEvict) {
        let mut requests = Vec::new();
        let mut listed = 0;
        for own in &evict.workloads {
            listed += self.draw(|own| own.request);
            let there: Vec<usize> = self.world.pods_of(own.workload).map(|(pod, _)| pod).collect();
            if there.is_empty() && own.bare.is_empty() {
                self.end_step(StepOutcome::Failed(format!("no pod of {} is there to evict", own.name)));
                return;
            }
            let told = own.refusal_is_told;
            if there.is_empty() {
                requests.extend(own.bare.iter().map(|(namespace, name)| Request {
                    pod: None,
                    namespace: namespace.clone(),
                    name: name.clone(),
                    workload: Some(own.name.clone()),
                    refusal_is_told: told,
                    times: 0,
                    stage: RequestStage::Asking,
                }));
            }
            requests.extend(there.into_iter().map(|pod| self.request_for(pod, told)));
        }
        let asker = self.new_asker(step);
        self.ask_for_all(asker, requests, listed);
    }

    fn request_for(&self, pod: usize, refusal_is_told: bool) -> Request {
        let rules = self.world.pods[pod].rules();
        let workload = self.world.workload_of(pod).and_then(|place| self.world.prepared.workload(place));
        Request {
            pod: Some(pod),
            namespace: rules.namespace.clone(),
            name: rules.name.clone(),
            workload: workload.map(str::to_owned),
            refusal_is_told,
            times: 0,
            stage: RequestStage::Asking,
        }
    }

    fn new_asker(&mut self, step: usize) -> usize {
        self.askers.push(Asker { step, began: self.world.now, requests: Vec::new(), over: false });
        self.askers.len() - 1
    }

    /// Asks for all of these at once, when they have been listed.
    fn ask_for_all(&mut self, asker: usize, requests: Vec<Request>, listed: Micros) {
        self.askers[asker].requests = requests;
        for request in 0..self.askers[asker].requests.len() {
            let takes = self.draw(|own| own.request);
            self.after(listed + takes, Event::Ask(asker, request));
        }
    }

    /// Begins a drain, which cordons the node first. Upstream: `RunCordonOrUncordon`.
    pub(super) fn begin_drain(&mut self, step: usize, drain: &PreparedDrain) {
        let asker = self.new_asker(step);
        let takes = self.draw(|own| own.request);
        self.after(takes, Event::DrainCordons(asker));
        self.after(drain.timeout, Event::DrainTimesOut(asker));
    }

    fn drain_of(&self, asker: usize) -> Option<&'p PreparedDrain> {
        match &self.world.prepared.steps[self.askers[asker].step] {
            PreparedStep::Drain(drain) => Some(drain),
            _ => None,
        }
    }

    pub(super) fn drain_cordons(&mut self, asker: usize) {
        let Some(plan) = self.drain_of(asker) else { return };
        self.cordon(plan.node, true);
        let takes = self.draw(|own| own.request);
        self.after(takes, Event::DrainPicks(asker));
    }

    /// A drain lists the pods of its node, and asks for them unless there is one that it refuses to take.
    /// Upstream: `GetPodsForDeletion`.
    pub(super) fn drain_picks(&mut self, asker: usize) {
        let Some(plan) = self.drain_of(asker) else { return };
        let there = (0..self.world.pods.len()).filter(|pod| {
            let pod = &self.world.pods[*pod];
            pod.node == Some(plan.node) && !pod.deleted
        });
        let (mut requests, mut refused) = (Vec::new(), Vec::new());
        for pod in there {
            match drain(&self.world.subject(pod), &plan.options) {
                Drain::Takes | Drain::TakesWarning(_) => requests.push(self.request_for(pod, true)),
                Drain::Leaves | Drain::LeavesWarning(_) => {}
                Drain::Refuses(obstacle) => {
                    let Request { name, workload, .. } = self.request_for(pod, true);
                    let uid = Some(self.world.pods[pod].rules.uid.clone());
                    refused.push(RefusedPod { pod: name, uid, workload, obstacle: obstacle.into() });
                }
            }
        }
        if !refused.is_empty() {
            self.end_drain(asker, DrainOutcome::Refused { pods: refused });
            return;
        }
        self.ask_for_all(asker, requests, 0);
        self.drain_is_through(asker);
    }

    /// The API server answers a request.
    pub(super) fn ask(&mut self, asker: usize, request: usize) {
        if self.askers[asker].over {
            return;
        }
        let prepared = self.world.prepared;
        let (asked, dry_run, grace, draining) = match &prepared.steps[self.askers[asker].step] {
            PreparedStep::Evict(evict) => (Asked::Evict, evict.dry_run, evict.grace_seconds, false),
            PreparedStep::Drain(drain) if drain.disable_eviction => {
                (Asked::Delete, false, drain.grace_seconds, true)
            }
            PreparedStep::Drain(drain) => (Asked::Evict, false, drain.grace_seconds, true),
            _ => return,
        };
        let own = &mut self.askers[asker].requests[request];
        own.times += 1;
        let there = own.pod.filter(|pod| !self.world.pods[*pod].deleted);
        let missing = not_found(&own.name);
        let (code, reason, message): Reply = match (there, asked) {
            (None, _) => missing,
            (Some(pod), Asked::Evict) => self.evict_through_api(pod, dry_run, grace),
            (Some(pod), Asked::Delete) => {
                self.delete_pod_within(pod, grace);
                (OK, "", String::new())
            }
        };
        let own = &self.askers[asker].requests[request];
        let answer = Answer {
            asked,
            namespace: own.namespace.clone(),
            pod: own.name.clone(),
            uid: own.pod.map(|pod| self.world.pods[pod].rules.uid.clone()),
            workload: own.workload.clone(),
            dry_run,
            draining,
            code,
            reason: reason.to_owned(),
            message: message.clone(),
        };
        self.tell(&Happening::Answered(&answer));
        if draining {
            self.drain_goes_on(asker, request, code, &message);
        } else {
            self.evict_goes_on(asker, request, code, &message);
        }
    }

    /// An `evict` step asks again while a budget forbids and there is time.
    fn evict_goes_on(&mut self, asker: usize, request: usize, code: u16, message: &str) {
        let step = self.askers[asker].step;
        let PreparedStep::Evict(evict) = &self.world.prepared.steps[step] else { return };
        let own = &self.askers[asker].requests[request];
        let doubled = micros(EVICTION_RETRY.0).saturating_mul(1 << own.times.saturating_sub(1).min(16));
        let pause = doubled.min(micros(EVICTION_RETRY.1));
        let pause = pause + self.world.dice.within(Range { least: 0, most: pause });
        let deadline = self.askers[asker].began + evict.retry_for;
        if code == TOO_MANY_REQUESTS && self.world.now + pause < deadline {
            let takes = self.draw(|own| own.request);
            self.after(pause + takes, Event::Ask(asker, request));
            return;
        }
        let own = &mut self.askers[asker].requests[request];
        own.stage = RequestStage::Done;
        if code >= 300 && !own.refusal_is_told {
            let why = words::eviction_not_expected(&own.name, code, message);
            self.askers[asker].over = true;
            self.end_step(StepOutcome::Failed(why));
        } else if self.askers[asker].is_through() {
            self.askers[asker].over = true;
            self.end_step(StepOutcome::Done);
        }
    }

    /// A drain asks again while a budget forbids, and waits for a pod that is told to go. Upstream: `Helper.evictPods`.
    fn drain_goes_on(&mut self, asker: usize, request: usize, code: u16, message: &str) {
        let own = &mut self.askers[asker].requests[request];
        match code {
            TOO_MANY_REQUESTS => {
                let takes = self.draw(|own| own.request);
                self.after(micros(DRAIN_AGAIN_AFTER) + takes, Event::Ask(asker, request));
            }
            NOT_FOUND => self.request_done(asker, request),
            _ if code < 300 => {
                own.stage = RequestStage::Waiting;
                if own.pod.is_some_and(|pod| self.world.pods[pod].deleted) {
                    self.request_done(asker, request);
                }
            }
            _ => {
                let reason = format!("{} can not be evicted: {code} {message}", own.name);
                self.end_drain(asker, DrainOutcome::Failed { reason });
            }
        }
    }

    /// A pod's object is gone: drains that wait for it see that when they look next.
    pub(super) fn drains_look_for(&mut self, pod: usize) {
        for asker in 0..self.askers.len() {
            if self.askers[asker].over || self.drain_of(asker).is_none() {
                continue;
            }
            for request in 0..self.askers[asker].requests.len() {
                let own = &self.askers[asker].requests[request];
                if own.pod == Some(pod) && own.stage == RequestStage::Waiting {
                    let look = Range { least: 0, most: micros(DRAIN_LOOKS_EVERY) };
                    let takes = self.world.dice.within(look) + self.draw(|own| own.request);
                    self.after(takes, Event::RequestDone(asker, request));
                }
            }
        }
    }

    /// A drain is done with a pod.
    pub(super) fn request_done(&mut self, asker: usize, request: usize) {
        if !self.askers[asker].over {
            self.askers[asker].requests[request].stage = RequestStage::Done;
            self.drain_is_through(asker);
        }
    }

    fn drain_is_through(&mut self, asker: usize) {
        let own = &self.askers[asker];
        if !own.over && own.is_through() {
            let pods = own.requests.iter().map(|request| request.name.clone()).collect();
            self.end_drain(asker, DrainOutcome::Emptied { pods });
        }
    }

    /// The time of a drain is over.
    pub(super) fn drain_times_out(&mut self, asker: usize) {
        let own = &self.askers[asker];
        if own.over {
            return;
        }
        let left = own.requests.iter().filter(|request| request.stage != RequestStage::Done);
        let left = left.map(|request| request.name.clone()).collect();
        self.end_drain(asker, DrainOutcome::TimedOut { left });
    }

    fn end_drain(&mut self, asker: usize, outcome: DrainOutcome) {
        let Some(plan) = self.drain_of(asker) else { return };
        self.askers[asker].over = true;
        self.world.nodes[plan.node].drained += 1;
        self.tell(&Happening::Drained { node: plan.node, outcome: &outcome });
        if plan.background {
            return;
        }
        let result = words::drain_result(&outcome, plan.outcome_is_told);
        self.end_step(result.map_or_else(StepOutcome::Failed, |()| StepOutcome::Done));
    }
}

impl Asker {
    /// Whether it is done with every pod.
    fn is_through(&self) -> bool {
        self.requests.iter().all(|request| request.stage == RequestStage::Done)
    }
}
