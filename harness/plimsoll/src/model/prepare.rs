//! A plan made ready for any number of runs in virtual time: everything that is read, parsed or built once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_eviction::pod::Pod as RulesPod;
use plimsoll_eviction::signal::{NodeCondition, Signal, StarvedResource};
use plimsoll_eviction::taint::Taint;
use plimsoll_eviction::threshold::ThresholdError;
use serde_json::Value;

use super::curve::{Course, Micros};
use super::fill::{Kind as FillKind, lies_with_images};
use super::node::PreparedNode;
use super::simulation::Seen;
use super::template::{Omissions, PodTemplate, PriorityClasses, Request};
use crate::plan::filler;
use crate::plan::{
    Action, BallastImage, DeletePodsPlan, EndKind, Expect, Expectation, FillTarget, Plan, PlannedObject,
    PlannedStep, Until, WORKLOAD_LABEL,
};

/// Why a plan can not be run on the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    /// A kubelet would not start with these thresholds.
    #[error("node {node}: its kubelet refuses to start: {error}")]
    Thresholds {
        /// The node.
        node: String,
        /// What the kubelet says.
        error: ThresholdError,
    },
    /// A kubelet configuration that can not be read.
    #[error("node {node}: kubelet: {error}")]
    Configuration {
        /// The node.
        node: String,
        /// What is wrong with it.
        error: String,
    },
    /// An object that the API server would refuse.
    #[error("{location}: {error}")]
    Object {
        /// Where it is written.
        location: String,
        /// What is wrong with it.
        error: String,
    },
    /// A name that the plan does not have.
    #[error("the plan has no {what} called {name}")]
    Unknown {
        /// `node` or `workload`.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// A plan, ready to be run on the model. Cheap to clone and to change in what a sweep varies.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(super) plan_name: String,
    pub(super) nodes: Vec<PreparedNode>,
    /// Workloads by place: their names and how many pods each stands for.
    pub(super) workloads: Vec<(String, u32)>,
    /// What pods are made of: of each object that is a pod or makes pods, one.
    pub(super) templates: Vec<PodTemplate>,
    pub(super) objects: Vec<PreparedObject>,
    /// Objects that are there before the first step.
    pub(super) initial: Vec<usize>,
    pub(super) steps: Vec<PreparedStep>,
    /// The keys of the taints that nodes register with or steps set.
    taint_keys: BTreeSet<String>,
    /// Whether anything depends on what is on disk; otherwise it is not looked at.
    pub(super) storage: bool,
    /// Whether anything depends on how many processes there are.
    pub(super) processes: bool,
    pub(super) omissions: Omissions,
}

/// An object that a step creates.
#[derive(Debug, Clone)]
pub(super) struct PreparedObject {
    pub(super) kind: Kind,
    /// Namespace, kind and name, by which it is found again.
    pub(super) key: (String, String, String),
    /// What its pods are made of; for other kinds nothing.
    pub(super) template: Option<usize>,
    pub(super) replicas: u32,
    /// How often a job's pods may fail.
    pub(super) backoff_limit: u32,
}

/// What an object is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pod,
    /// Deployment, ReplicaSet, ReplicationController: a failed pod stays, and another takes its place.
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    /// No pod comes of it.
    Other,
}

/// What a step does, with names resolved.
#[derive(Debug, Clone)]
pub(super) enum PreparedStep {
    Start(Vec<usize>),
    Delete(Vec<usize>),
    Apply(Vec<usize>),
    /// Pods whose status says so are deleted.
    DeleteEnded(Seen),
    Wait {
        until: PreparedUntil,
        within: Micros,
    },
    Observe(Micros),
    FillNode {
        node: usize,
        kind: FillKind,
        /// Whether it lies where the images are.
        with_images: bool,
        course: Course,
    },
    /// Images are imported.
    Load {
        node: usize,
        images: Vec<BallastImage>,
    },
    FillWorkload {
        workload: usize,
        course: Course,
    },
    Taint {
        node: usize,
        taint: Taint,
        /// Whether it is put on.
        on: bool,
    },
    Cordon {
        nodes: Vec<usize>,
        unschedulable: bool,
    },
    /// Something that the model does not know of: it takes no time.
    Nothing,
}

/// What a wait waits for.
#[derive(Debug, Clone)]
pub(super) enum PreparedUntil {
    Running(Vec<usize>),
    Filled(Vec<usize>),
    Gone(Vec<usize>),
    Evictions(u32),
    Rejections(u32),
    OomKills(u32),
    Condition {
        node: usize,
        condition: NodeCondition,
        raised: bool,
    },
    /// A node has a taint, or has it no more.
    Tainted {
        node: usize,
        key: String,
        effect: Option<String>,
        present: bool,
    },
    /// Every pod was told to go.
    Terminating(Vec<usize>),
    /// The scheduler found no node for any pod, and has said so.
    Unschedulable(Vec<usize>),
    /// Pods were on a node and are there no more.
    GoneFrom {
        node: usize,
        workloads: Vec<usize>,
    },
    /// Something that the model does not know of, and that never comes.
    Never(String),
}

pub(super) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX / 4)
}

pub(super) fn bytes(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

impl Prepared {
    /// Makes a plan ready.
    ///
    /// # Errors
    /// [`PrepareError`] for what a kubelet or the API server would refuse.
    pub fn new(plan: &Plan) -> Result<Self, PrepareError> {
        let mut prepared = Self {
            plan_name: plan.name.clone(),
            nodes: plan.nodes.iter().map(PreparedNode::new).collect::<Result<_, _>>()?,
            workloads: plan.workloads.values().map(|own| (own.name.clone(), own.pods)).collect(),
            templates: Vec::new(),
            objects: Vec::new(),
            initial: Vec::new(),
            steps: Vec::new(),
            taint_keys: taint_keys(plan),
            storage: false,
            processes: false,
            omissions: Omissions::new(),
        };
        let preempts = |expect: &Expect| match expect {
            Expect::Nominated { .. } => true,
            Expect::Ended(ended) => ended.kind == EndKind::PreemptedByScheduler,
            _ => false,
        };
        if plan.expectations.iter().any(|expectation| preempts(&expectation.expect)) {
            prepared.omissions.push("preemption by the scheduler is not modelled".to_owned());
        }
        let asks = |expectation: &Expectation| matches!(expectation.expect, Expect::ScaleDownBlocked(_));
        if plan.expectations.iter().any(asks) {
            prepared.omissions.push("what a cluster autoscaler makes of pods is not modelled".to_owned());
        }
        if plan.control_plane.terminated_pod_gc_threshold.is_some() {
            prepared.omissions.push("the collection of ended pods is not modelled".to_owned());
        }
        if plan.nodes.iter().any(|node| node.gpus.is_some()) {
            prepared.omissions.push("GPUs and their memory are not modelled".to_owned());
        }
        let mut classes = PriorityClasses::default();
        let applied = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Apply(objects) => Some(objects.as_slice()),
            _ => None,
        });
        let started = plan.workloads.values().map(|workload| workload.objects.as_slice());
        for object in std::iter::once(plan.objects.as_slice()).chain(started).chain(applied).flatten() {
            if object.object["kind"] == "PriorityClass" {
                classes.add(&object.object);
            }
        }
        for object in &plan.objects {
            let index = prepared.add(object, &classes)?;
            prepared.initial.push(index);
        }
        let mut by_workload = BTreeMap::new();
        for (name, workload) in &plan.workloads {
            let objects = workload.objects.iter().map(|object| prepared.add(object, &classes));
            by_workload.insert(name.as_str(), objects.collect::<Result<Vec<usize>, _>>()?);
        }
        for step in &plan.steps {
            let step = prepared.step(step, &by_workload, &classes)?;
            prepared.steps.push(step);
        }
        prepared.find_out_what_matters(plan);
        Ok(prepared)
    }

    /// Whether disk and processes have to be looked at, and what of them is left out of account.
    fn find_out_what_matters(&mut self, plan: &Plan) {
        let steps = || {
            self.steps.iter().filter_map(|step| match step {
                PreparedStep::FillNode { kind, .. } => Some(*kind),
                _ => None,
            })
        };
        let containers = || self.templates.iter().flat_map(|template| &template.containers);
        let fills = || containers().filter_map(|container| container.fill);
        let kinds = || fills().map(|fill| fill.kind).chain(steps());
        let of_processes = |signal: Signal| signal.resource() == StarvedResource::Pids;
        let has = |of: &dyn Fn(Signal) -> bool| self.nodes.iter().any(|node| node.has_own_threshold(of));
        self.storage = kinds().any(FillKind::is_on_disk)
            || has(&|signal| signal.filesystem().is_some())
            || self.nodes.iter().any(|node| !node.images.is_empty())
            || self.steps.iter().any(|step| matches!(step, PreparedStep::Load { .. }))
            || self.templates.iter().any(PodTemplate::has_storage_limit);
        self.processes = kinds().any(|kind| kind == FillKind::Processes) || has(&of_processes);
        let rotates = fills().any(|fill| {
            let most = self.nodes.iter().map(|node| node.log_maximum).min().unwrap_or(i64::MAX);
            fill.kind == FillKind::Log && fill.course.amount > most
        });
        if rotates {
            self.omissions.push("the rotation of logs is not modelled".to_owned());
        }
        let loaded = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Load { images, .. } => Some(images),
            _ => None,
        });
        let ballast = plan.nodes.iter().map(|node| &node.images).chain(loaded).flatten();
        for image in ballast {
            if containers().any(|container| container.image.as_deref() == Some(image.name.as_str())) {
                let what =
                    format!("pods that run {}, an image that may be gone, are not modelled", image.name);
                self.omissions.push(what);
            }
        }
    }

    /// The plan's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan_name
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[PreparedNode] {
        &self.nodes
    }

    /// A workload's name, by its place.
    #[must_use]
    pub fn workload(&self, place: usize) -> Option<&str> {
        self.workloads.get(place).map(|(name, _)| name.as_str())
    }

    /// What of the plan the model leaves out of account, a sentence each.
    #[must_use]
    pub fn omissions(&self) -> &[String] {
        &self.omissions
    }

    /// A workload's place.
    pub(super) fn place(&self, workload: &str) -> Option<usize> {
        self.workloads.iter().position(|(name, _)| name == workload)
    }

    pub(super) fn node_place(&self, name: &str) -> Result<usize, PrepareError> {
        let place = self.nodes.iter().position(|node| node.name == name);
        place.ok_or_else(|| PrepareError::Unknown { what: "node", name: name.to_owned() })
    }

    fn workload_places(&self, names: &[String]) -> Vec<usize> {
        names.iter().filter_map(|name| self.place(name)).collect()
    }

    fn add(&mut self, planned: &PlannedObject, classes: &PriorityClasses) -> Result<usize, PrepareError> {
        let object = &planned.object;
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (text("/metadata/namespace"), text("/kind"), text("/metadata/name"));
        let kind = match key.1.as_str() {
            "Pod" => Kind::Pod,
            "Deployment" | "ReplicaSet" | "ReplicationController" => Kind::ReplicaSet,
            "StatefulSet" => Kind::StatefulSet,
            "DaemonSet" => Kind::DaemonSet,
            "Job" => Kind::Job,
            _ => Kind::Other,
        };
        let number = |pointer: &str, absent: u32| {
            let number = object.pointer(pointer).and_then(Value::as_u64);
            number.map_or(absent, |number| u32::try_from(number).unwrap_or(u32::MAX))
        };
        let mut prepared = PreparedObject {
            kind,
            template: None,
            replicas: match kind {
                Kind::Job => number("/spec/parallelism", 1),
                _ => number("/spec/replicas", 1),
            },
            backoff_limit: number("/spec/backoffLimit", 6),
            key,
        };
        if kind == Kind::Other {
            let harmless = ["PriorityClass", "Namespace", "ConfigMap", "Secret", "ServiceAccount", "Service"];
            if !harmless.contains(&prepared.key.1.as_str()) {
                self.omissions.push(format!("{} {} plays no part", prepared.key.1, prepared.key.2));
            }
        } else {
            let wrong = |error| PrepareError::Object { location: planned.location.to_string(), error };
            let pod = if kind == Kind::Pod { object } else { &object["spec"]["template"] };
            let mut pod = pod.clone();
            if kind != Kind::Pod {
                pod["metadata"]["namespace"] = prepared.key.0.clone().into();
            }
            if kind == Kind::DaemonSet {
                tolerate_pressure(&mut pod);
            }
            let index = self.templates.len();
            let name = first_name(kind, &prepared.key.2);
            let mut template =
                PodTemplate::new(index, &name, &pod, classes, &mut self.omissions).map_err(wrong)?;
            let label = object.pointer("/metadata/labels").and_then(|labels| labels.get(WORKLOAD_LABEL));
            let workload = template.workload_name().or(label.and_then(Value::as_str));
            template.workload = workload.and_then(|name| self.place(name));
            self.templates.push(template);
            prepared.template = Some(index);
        }
        self.objects.push(prepared);
        Ok(self.objects.len() - 1)
    }

    fn step(
        &mut self,
        step: &PlannedStep,
        by_workload: &BTreeMap<&str, Vec<usize>>,
        classes: &PriorityClasses,
    ) -> Result<PreparedStep, PrepareError> {
        let objects = |names: &[String]| -> Vec<usize> {
            names.iter().filter_map(|name| by_workload.get(name.as_str())).flatten().copied().collect()
        };
        Ok(match &step.action {
            Action::Start(names) => PreparedStep::Start(objects(names)),
            Action::Delete(names) => PreparedStep::Delete(objects(names)),
            Action::Apply(planned) => {
                let added = planned.iter().map(|planned| self.add(planned, classes));
                PreparedStep::Apply(added.collect::<Result<_, _>>()?)
            }
            Action::Observe(time) => PreparedStep::Observe(micros(*time)),
            Action::Cordon { nodes, unschedulable } => PreparedStep::Cordon {
                nodes: nodes.iter().map(|node| self.node_place(node)).collect::<Result<_, _>>()?,
                unschedulable: *unschedulable,
            },
            Action::Taint(taint) => PreparedStep::Taint {
                node: self.node_place(&taint.node)?,
                taint: Taint {
                    key: taint.taint.key.clone(),
                    value: taint.taint.value.clone().unwrap_or_default(),
                    effect: taint.taint.effect.clone(),
                },
                on: taint.on,
            },
            Action::DeletePods(DeletePodsPlan { field_selector, .. })
                if ["status.phase=Failed", "status.phase=Succeeded"].contains(&field_selector.as_str()) =>
            {
                let failed = field_selector.ends_with("Failed");
                PreparedStep::DeleteEnded(if failed { Seen::Failed } else { Seen::Succeeded })
            }
            Action::Evict(_) | Action::Drain(_) | Action::DeletePods(_) => {
                let title = crate::verdict::words::action(&step.action);
                self.omissions.push(format!("a step is not modelled: {title}"));
                PreparedStep::Nothing
            }
            Action::Load { node, images } => {
                PreparedStep::Load { node: self.node_place(node)?, images: images.clone() }
            }
            Action::Node { .. } | Action::ControlPlane { .. } | Action::Zone { .. } | Action::Gpu { .. } => {
                self.omissions
                    .push("a step takes away what the cluster is made of, which is not modelled".to_owned());
                PreparedStep::Nothing
            }
            Action::Fill { target, fill } => {
                let Some(kind) = FillKind::of(fill.resource, fill.form) else {
                    self.omissions
                        .push(format!("a step fills {}, which is not modelled", filler::words(fill)));
                    return Ok(PreparedStep::Nothing);
                };
                let course = Course::of(fill);
                match target {
                    FillTarget::Node(node) => PreparedStep::FillNode {
                        node: self.node_place(node)?,
                        kind,
                        with_images: lies_with_images(fill.into.as_ref()),
                        course,
                    },
                    FillTarget::Workload(name) => match self.place(name) {
                        Some(workload) => PreparedStep::FillWorkload { workload, course },
                        None => PreparedStep::Nothing,
                    },
                }
            }
            Action::Wait(wait) => {
                PreparedStep::Wait { until: self.until(&wait.until)?, within: micros(wait.within) }
            }
        })
    }

    fn until(&mut self, until: &Until) -> Result<PreparedUntil, PrepareError> {
        let until = self.known_until(until)?;
        if let PreparedUntil::Never(why) = &until {
            self.omissions.push(format!("a wait is for what never comes on the model: {why}"));
        }
        Ok(until)
    }

    fn known_until(&self, until: &Until) -> Result<PreparedUntil, PrepareError> {
        let never = PreparedUntil::Never;
        Ok(match until {
            // Only probes make a difference between the two, and they are an omission of their own.
            Until::Running(names) | Until::Ready(names) => {
                PreparedUntil::Running(self.workload_places(names))
            }
            Until::Filled(names) => PreparedUntil::Filled(self.workload_places(names)),
            Until::Gone(names) => PreparedUntil::Gone(self.workload_places(names)),
            Until::Evictions(count) => PreparedUntil::Evictions(*count),
            Until::Rejections(count) => PreparedUntil::Rejections(*count),
            Until::OomKills(count) => PreparedUntil::OomKills(*count),
            Until::Taint { node, key, effect, present } => {
                let node = self.node_place(node)?;
                let pressure = NodeCondition::ALL.into_iter().any(|own| own.taint_key() == key);
                if pressure || self.taint_keys.contains(key) {
                    let (key, effect) = (key.clone(), effect.clone());
                    PreparedUntil::Tainted { node, key, effect, present: *present }
                } else {
                    never("nodes that fail are not modelled".to_owned())
                }
            }
            Until::ConditionStatus { .. } | Until::ZoneTaint { .. } => {
                never("nodes that fail are not modelled".to_owned())
            }
            Until::GoneFrom { node, workloads } => PreparedUntil::GoneFrom {
                node: self.node_place(node)?,
                workloads: self.workload_places(workloads),
            },
            Until::Terminating(names) => PreparedUntil::Terminating(self.workload_places(names)),
            Until::Unschedulable(names) => PreparedUntil::Unschedulable(self.workload_places(names)),
            Until::Drained { .. } => never("drains are not modelled".to_owned()),
            Until::Allocatable { resource, .. } => never(format!("{resource} is not modelled")),
            Until::Condition { node, condition, raised } => match NodeCondition::from_name(condition) {
                Some(known) => PreparedUntil::Condition {
                    node: self.node_place(node)?,
                    condition: known,
                    raised: *raised,
                },
                None => never(format!("{condition} is not modelled")),
            },
        })
    }
}

fn taint_keys(plan: &Plan) -> BTreeSet<String> {
    let set = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Taint(taint) => Some(taint.taint.key.clone()),
        _ => None,
    });
    let registered = plan.nodes.iter().flat_map(|node| &node.taints);
    set.chain(registered.filter_map(|taint| taint["key"].as_str().map(str::to_owned))).collect()
}

/// The name of the first pod that an object makes.
fn first_name(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Pod | Kind::Other => name.to_owned(),
        Kind::StatefulSet => format!("{name}-0"),
        Kind::ReplicaSet | Kind::DaemonSet | Kind::Job => format!("{name}-predicted-1"),
    }
}

/// A DaemonSet's pods bear what befalls their node. Upstream: `AddOrUpdateDaemonPodTolerations`.
fn tolerate_pressure(pod: &mut Value) {
    let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let no_execute = ["not-ready", "unreachable"].map(|key| (key, "NoExecute"));
    let no_schedule = ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"];
    for (key, effect) in no_execute.into_iter().chain(no_schedule.map(|key| (key, "NoSchedule"))) {
        let key = format!("node.kubernetes.io/{key}");
        tolerations.push(serde_json::json!({ "key": key, "operator": "Exists", "effect": effect }));
    }
    pod["spec"]["tolerations"] = tolerations.into();
}

impl PodTemplate {
    /// The pod of the rules.
    pub(super) fn rules(&self) -> &RulesPod {
        &self.rules
    }

    /// What it requests.
    pub(super) const fn request(&self) -> Request {
        self.request
    }
}
