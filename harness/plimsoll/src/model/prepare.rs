//! A plan made ready for any number of runs in virtual time: everything that is read, parsed or built once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_eviction::pod::Pod as RulesPod;
use plimsoll_eviction::signal::{Signal, StarvedResource};
use plimsoll_eviction::threshold::ThresholdError;
use serde_json::Value;

use super::curve::Micros;
use super::disruption::PreparedBudget;
use super::fill::Kind as FillKind;
use super::node::PreparedNode;
use super::outage::{self, NodeMonitor};
use super::steps::PreparedStep;
use super::template::{Admission, Omissions, PodTemplate, Request};
use crate::kubernetes::UNREACHABLE;
use crate::plan::{Action, Expect, Expectation, Plan, PlannedObject, WORKLOAD_LABEL};

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
    pub(super) taint_keys: BTreeSet<String>,
    /// How the node controller is set, where a step takes a node away.
    pub(super) monitor: Option<NodeMonitor>,
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
    /// What it guards; of a disruption budget only.
    pub(super) budget: Option<PreparedBudget>,
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
    /// A disruption budget.
    Budget,
    /// Nothing comes of it.
    Other,
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
            monitor: None,
            storage: false,
            processes: false,
            omissions: Omissions::new(),
        };
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
        if plan.hollow.is_some() {
            prepared.omissions.push("hollow nodes are not modelled".to_owned());
        }
        let mut classes = Admission::new(&plan.control_plane);
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
            let step = prepared.step(plan, step, &by_workload, &classes)?;
            prepared.steps.push(step);
        }
        prepared.find_out_what_matters(plan);
        prepared.monitor = outage::monitor(plan, &prepared.nodes);
        let left_out = outage::omissions(plan, &prepared);
        prepared.omissions.extend(left_out);
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

    pub(super) fn workload_places(&self, names: &[String]) -> Vec<usize> {
        names.iter().filter_map(|name| self.place(name)).collect()
    }

    pub(super) fn add(
        &mut self,
        planned: &PlannedObject,
        classes: &Admission,
    ) -> Result<usize, PrepareError> {
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
            "PodDisruptionBudget" => Kind::Budget,
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
            budget: None,
            key,
        };
        let wrong = |error| PrepareError::Object { location: planned.location.to_string(), error };
        if kind == Kind::Budget {
            prepared.budget = Some(PreparedBudget::new(object).map_err(wrong)?);
        } else if kind == Kind::Other {
            let harmless = ["PriorityClass", "Namespace", "ConfigMap", "Secret", "ServiceAccount", "Service"];
            if !harmless.contains(&prepared.key.1.as_str()) {
                self.omissions.push(format!("{} {} plays no part", prepared.key.1, prepared.key.2));
            }
        } else {
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
}

fn taint_keys(plan: &Plan) -> BTreeSet<String> {
    let set = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Taint(taint) => Some(taint.taint.key.clone()),
        _ => None,
    });
    let unreachable = plan.steps.iter().any(|step| matches!(step.action, Action::Node { .. }));
    let unreachable = unreachable.then(|| UNREACHABLE.to_owned());
    let registered = plan.nodes.iter().flat_map(|node| &node.taints);
    set.chain(unreachable)
        .chain(registered.filter_map(|taint| taint["key"].as_str().map(str::to_owned)))
        .collect()
}

/// The name of the first pod that an object makes.
fn first_name(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Pod | Kind::Budget | Kind::Other => name.to_owned(),
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
