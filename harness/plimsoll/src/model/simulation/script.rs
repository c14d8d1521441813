//! The steps of the plan, in virtual time.

use super::world::{ContainerStage, Seen, World};
use super::{Event, Happening, SETTLE, Simulation, Sink};
use crate::model::curve::{Course, Curve, Micros};
use crate::model::fill::Kind;
use crate::model::steps::{PreparedStep, PreparedUntil, Which};
use crate::observe::StepOutcome;
use crate::plan::NodeChange;

/// Where the steps have got to.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The step that is being taken, and those before it are over.
    step: usize,
    /// Whether it is a wait that goes on.
    waiting: bool,
    /// What takes effect, and where, when a filler has been told.
    told: Option<(Target, Course)>,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Node(usize, Kind, bool),
    Workload(usize),
}

impl<'p, S: Sink> Simulation<'p, '_, S> {
    /// Begins the step that is next, or ends the run after the last.
    pub(super) fn next_step(&mut self) {
        let prepared: &'p crate::model::prepare::Prepared = self.world.prepared;
        let step = self.script.step;
        let Some(planned) = prepared.steps.get(step) else {
            self.after(SETTLE, Event::Finish);
            return;
        };
        self.tell(&Happening::StepBegan(step));
        let mut takes: Micros = 0;
        match planned {
            PreparedStep::Start(objects) | PreparedStep::Apply(objects) | PreparedStep::Delete(objects) => {
                for &object in objects {
                    match planned {
                        PreparedStep::Start(_) => self.create(object),
                        PreparedStep::Apply(_) => self.apply(object),
                        _ => self.delete(object),
                    }
                    takes += self.draw(|own| own.request);
                }
            }
            PreparedStep::DeletePods { selector, which, force } => {
                let found = self.world.which(which);
                if found.is_empty() {
                    let why = format!("no pod has {selector}, so nothing was deleted");
                    self.end_step(StepOutcome::Failed(why));
                    return;
                }
                for pod in found {
                    self.delete_pod_within(pod, force.then_some(0));
                    takes += self.draw(|own| own.request);
                }
            }
            PreparedStep::Node { node, change } => {
                takes = self.draw(if *change == NodeChange::Kill {
                    |own| own.power_off
                } else {
                    |own| own.outage
                });
                if change.undone_by().is_some() {
                    self.take_away(*node, *change);
                } else {
                    self.bring_back(*node);
                }
            }
            PreparedStep::Observe(time) => takes = *time,
            PreparedStep::Wait { within, .. } => {
                self.script.waiting = true;
                takes = *within;
            }
            PreparedStep::FillNode { node, kind, with_images, course } => {
                self.script.told = Some((Target::Node(*node, *kind, *with_images), *course));
                takes = self.draw(|own| own.tell);
                self.after(takes, Event::Tell);
            }
            PreparedStep::FillWorkload { workload, course } => {
                if !self.world.pods_of(*workload).any(|(_, pod)| pod.seen == Seen::Running) {
                    let name = prepared.workload(*workload).unwrap_or_default();
                    let why = format!("no pod of {name} runs, so there is no filler to tell");
                    self.end_step(StepOutcome::Failed(why));
                    return;
                }
                self.script.told = Some((Target::Workload(*workload), *course));
                takes = self.draw(|own| own.tell);
                self.after(takes, Event::Tell);
            }
            PreparedStep::Cordon { nodes, unschedulable } => {
                for &node in nodes {
                    self.cordon(node, *unschedulable);
                    takes += self.draw(|own| own.request);
                }
            }
            PreparedStep::Taint { node, taint, on } => {
                if !self.set_taint(*node, taint, *on) {
                    let name = &self.world.node_plan(*node).name;
                    let why = format!("{name} has no taint {}:{}", taint.key, taint.effect);
                    self.end_step(StepOutcome::Failed(why));
                    return;
                }
                takes = self.draw(|own| own.request);
            }
            PreparedStep::Evict(evict) => {
                self.begin_evict(step, evict);
                return;
            }
            PreparedStep::Drain(drain) => {
                self.begin_drain(step, drain);
                if !drain.background {
                    return;
                }
            }
            PreparedStep::Load { .. } => takes = self.draw(|own| own.import),
            PreparedStep::Nothing => {}
        }
        self.after(takes, Event::StepOver(step));
        self.check_step();
    }

    /// The time of a step is over: it is done, or it was a wait and in vain.
    pub(super) fn step_over(&mut self, step: usize) {
        if self.script.step != step {
            return;
        }
        let outcome = match &self.world.prepared.steps[step] {
            PreparedStep::Wait { until, .. } => match self.world.is_so(until) {
                Ok(()) => StepOutcome::Done,
                Err(instead) => StepOutcome::TimedOut(instead),
            },
            _ => StepOutcome::Done,
        };
        if let PreparedStep::Load { node, images } = &self.world.prepared.steps[step] {
            self.loaded(*node, images);
        }
        self.end_step(outcome);
    }

    /// Ends a wait as soon as what it waits for is so.
    pub(super) fn check_step(&mut self) {
        if !self.script.waiting {
            return;
        }
        let step = &self.world.prepared.steps[self.script.step];
        if let PreparedStep::Wait { until, .. } = step
            && self.world.holds(until)
        {
            self.end_step(StepOutcome::Done);
        }
    }

    pub(super) fn end_step(&mut self, outcome: StepOutcome) {
        self.script.waiting = false;
        let failed = outcome != StepOutcome::Done;
        self.tell(&Happening::StepEnded(self.script.step, outcome));
        self.script.step += 1;
        if failed {
            for step in self.script.step..self.world.prepared.steps.len() {
                self.tell(&Happening::StepEnded(step, StepOutcome::Skipped));
            }
            self.script.step = self.world.prepared.steps.len();
        }
        self.next_step();
    }

    /// What a filler was told takes effect.
    pub(super) fn take_effect(&mut self) {
        let Some((target, course)) = self.script.told.take() else { return };
        let now = self.world.now;
        match target {
            Target::Node(node, kind, with_images) if kind != Kind::Memory => {
                self.fill_outside(node, kind, with_images, course);
            }
            Target::Node(node, ..) => {
                let machine = self.world.phase.memory_rate;
                let outside = &mut self.world.nodes[node].outside;
                let holds = outside.map_or(0, |curve| curve.at(now));
                *outside = Some(Curve::set_out(now, holds, course, machine));
            }
            Target::Workload(workload) => {
                let running = self.world.pods_of(workload).filter(|(_, pod)| pod.seen == Seen::Running);
                let running: Vec<usize> = running.map(|(pod, _)| pod).collect();
                let (machine, memory_rate) = (self.world.machine, self.world.phase.memory_rate);
                for pod in running {
                    self.world.measure_pod(pod, now);
                    let templates = self.world.containers(pod);
                    let own = self.world.pods[pod].containers.iter_mut().zip(templates);
                    let mut fillers = own.filter(|(own, template)| {
                        own.state == ContainerStage::Running && template.fill.is_some()
                    });
                    if let Some((own, template)) = fillers.next() {
                        let rate = template.fill.map_or(0, |fill| machine.rate(fill.kind, memory_rate));
                        own.held = Curve::set_out(now, own.held.at(now), course, rate);
                        own.version += 1;
                        own.filled = false;
                    }
                    self.watch_fills(pod);
                }
            }
        }
    }
}

impl World<'_> {
    /// Whether a wait is over, without saying why not: asked after every event.
    fn holds(&self, until: &PreparedUntil) -> bool {
        match until {
            PreparedUntil::Evictions(count) => self.evictions >= *count,
            PreparedUntil::Rejections(count) => self.rejections >= *count,
            PreparedUntil::OomKills(count) => self.oom_kills >= *count,
            PreparedUntil::Condition { node, condition, raised } => {
                let own = self.nodes[*node].reported[*condition as usize];
                own.ever_raised && (*raised || !own.raised)
            }
            PreparedUntil::Running(workloads) => {
                workloads.iter().all(|workload| self.missing(*workload, |world, pod| world.runs(pod)) == 0)
            }
            PreparedUntil::Unschedulable(workloads) => workloads.iter().all(|workload| {
                self.missing(*workload, |_, pod| !pod.is_going() && pod.unschedulable.is_some()) == 0
            }),
            PreparedUntil::Ready(workloads) => {
                let ready = |_: &Self, pod: &super::PodState<'_>| pod.ready && !pod.is_going();
                workloads.iter().all(|workload| self.missing(*workload, ready) == 0)
            }
            PreparedUntil::NodeReady { node, known } => self.nodes[*node].health.unknown.is_none() == *known,
            PreparedUntil::Filled(workloads) => {
                let filled = |_: &Self, pod: &super::PodState<'_>| {
                    !pod.is_going() && pod.containers.iter().any(|own| own.filled)
                };
                workloads.iter().all(|workload| self.missing(*workload, filled) == 0)
            }
            PreparedUntil::Gone(workloads) => {
                workloads.iter().all(|own| self.pods_of(*own).all(|(_, pod)| pod.seen.is_final()))
            }
            PreparedUntil::Tainted { node, key, effect, present } => {
                self.ever_had_taint(*node, key, effect.as_deref())
                    && self.has_taint(*node, key, effect.as_deref()) == *present
            }
            PreparedUntil::Terminating(workloads) => workloads.iter().all(|workload| {
                let wanted = self.prepared.workloads.get(*workload).map_or(1, |(_, pods)| *pods) as usize;
                let told = self.all_pods_of(*workload).filter(|pod| pod.deleted || pod.deletion.is_some());
                told.count() >= wanted
            }),
            PreparedUntil::GoneFrom { node, workloads } => workloads.iter().all(|workload| {
                let mut there = self.all_pods_of(*workload).filter(|pod| pod.node == Some(*node)).peekable();
                there.peek().is_some() && there.all(|pod| pod.deleted)
            }),
            PreparedUntil::Drained { node, count } => self.nodes[*node].drained >= *count,
            PreparedUntil::Never(_) => false,
        }
    }

    /// The pods of the run's namespace that a field selector finds.
    fn which(&self, which: &Which) -> Vec<usize> {
        let is_it = |pod: &super::PodState<'_>| match which {
            Which::Phase(seen) => pod.seen == *seen,
            Which::Name(name) => pod.name() == name,
        };
        let all =
            self.pods.iter().enumerate().filter(|(_, pod)| {
                !pod.deleted && pod.rules.namespace == crate::plan::NAMESPACE && is_it(pod)
            });
        all.map(|(pod, _)| pod).collect()
    }

    /// Pods of a workload, those that are gone among them.
    fn all_pods_of(&self, workload: usize) -> impl Iterator<Item = &super::PodState<'_>> {
        self.pods.iter().filter(move |pod| self.prepared.templates[pod.template].workload == Some(workload))
    }

    /// How many pods of a workload are not as they should be.
    fn missing(&self, workload: usize, is_so: impl Fn(&Self, &super::PodState<'_>) -> bool) -> usize {
        let wanted = self.prepared.workloads.get(workload).map_or(1, |(_, pods)| *pods) as usize;
        wanted.saturating_sub(self.pods_of(workload).filter(|(_, pod)| is_so(self, pod)).count())
    }

    /// Whether a wait is over; otherwise what is so instead.
    fn is_so(&self, until: &PreparedUntil) -> Result<(), String> {
        if self.holds(until) {
            return Ok(());
        }
        let phases = |workloads: &[usize]| {
            let pods = workloads.iter().flat_map(|workload| self.pods_of(*workload));
            let pods: Vec<String> =
                pods.map(|(_, pod)| format!("pod {} is {}", pod.name(), pod.seen.phase())).collect();
            if pods.is_empty() { "no pod of it exists".to_owned() } else { pods.join(", ") }
        };
        Err(match until {
            PreparedUntil::Evictions(count) => format!("{} evictions of {count}", self.evictions),
            PreparedUntil::Rejections(count) => format!("{} rejections of {count}", self.rejections),
            PreparedUntil::OomKills(count) => format!("{} OOM kills of {count}", self.oom_kills),
            PreparedUntil::Condition { node, condition, raised } => {
                let own = self.nodes[*node].reported[*condition as usize];
                let still = if own.ever_raised && !*raised { "is still raised" } else { "was never raised" };
                format!("{condition} of {} {still}", self.node_plan(*node).name)
            }
            PreparedUntil::Tainted { node, key, present, .. } => {
                let is = if *present { "does not have" } else { "has or never had" };
                format!("{} {is} the taint {key}", self.node_plan(*node).name)
            }
            PreparedUntil::Terminating(workloads)
            | PreparedUntil::GoneFrom { workloads, .. }
            | PreparedUntil::Running(workloads)
            | PreparedUntil::Unschedulable(workloads)
            | PreparedUntil::Ready(workloads)
            | PreparedUntil::Filled(workloads)
            | PreparedUntil::Gone(workloads) => phases(workloads),
            PreparedUntil::NodeReady { node, known } => {
                let is = if *known { "is not" } else { "is still" };
                format!("{} {is} heard of", self.node_plan(*node).name)
            }
            PreparedUntil::Drained { node, count } => {
                format!("{} drains of {count} that are over", self.nodes[*node].drained)
            }
            PreparedUntil::Never(why) => why.clone(),
        })
    }
}
