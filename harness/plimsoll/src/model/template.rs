//! A pod as the API server would have it, before it is one: defaults put in, and what its containers take over time.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, Volume};
use plimsoll_eviction::document::read_pods;
use plimsoll_eviction::pod::{self as rules, CPU, EPHEMERAL_STORAGE, MEMORY};
use plimsoll_eviction::quantity::Quantity;
use plimsoll_eviction::summary::{ContainerStats, MemoryStats, PodReference, PodStats};
use serde_json::{Value, json};

use super::curve::{Micros, SECOND};
use super::fill::{self, Fill};
use crate::kubernetes::UNREACHABLE;
use crate::plan::{ControlPlaneSettings, HOG_IMAGE, WORKLOAD_LABEL, filler};

/// Upstream: `DefaultTerminationGracePeriodSeconds`.
const DEFAULT_GRACE_SECONDS: i64 = 30;
/// Upstream: the default of `--default-unreachable-toleration-seconds` and its like.
const DEFAULT_TOLERATION_SECONDS: u32 = 300;
/// The priorities of the classes that every cluster has. Upstream: `scheduling.SystemPriorityClasses`.
const SYSTEM_CLASSES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Whether a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit code.
    Always,
    /// Unless that is 0.
    OnFailure,
    /// Never.
    Never,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerTemplate {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: Option<String>,
    /// What it fills, if anything.
    pub fill: Option<Fill>,
    /// Its memory limit in bytes.
    pub memory_limit: Option<i64>,
    /// How long it stays after SIGTERM, its preStop sleep included.
    pub shutdown_delay: Micros,
    /// The exit code with which it obeys SIGTERM.
    pub exit_code: i32,
    /// Its place among the containers of the rules' pod: init containers that keep running come first there.
    pub sidecar: bool,
    /// Its place among the init containers, or among the others.
    pub index: usize,
}

/// A volume that the kubelet measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeTemplate {
    /// Its name.
    pub name: String,
    /// Whether the kubelet measures it, which it does for an emptyDir. Upstream: a hostPath has `MetricsNil`.
    pub measured: bool,
    /// Whether it is a tmpfs, which is no local storage.
    pub in_memory: bool,
}

impl VolumeTemplate {
    fn new(volume: &Volume) -> Self {
        Self {
            name: volume.name.clone(),
            measured: volume.empty_dir.is_some(),
            in_memory: fill::is_in_memory(volume),
        }
    }
}

/// What the scheduler counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request {
    /// Thousandths of a processor.
    pub processors: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub storage: i64,
}

/// Everything of a pod that is the same for all pods made of one template.
#[derive(Debug, Clone)]
pub struct PodTemplate {
    /// The object, as the API server would hold it but for name, UID, node and status.
    pub(super) object: Pod,
    /// The pod of the eviction rules; name and UID are those of the first one made.
    pub(super) rules: rules::Pod,
    /// Its statistics with nothing measured yet, of the first one made.
    pub(super) stats: PodStats,
    /// The workload, by its place in the plan.
    pub(super) workload: Option<usize>,
    /// The containers that keep running, sidecars first.
    pub containers: Vec<ContainerTemplate>,
    /// What becomes of containers that end.
    pub restart: RestartPolicy,
    /// Seconds to end in.
    pub grace_seconds: i64,
    /// What it requests.
    pub request: Request,
    /// Whether others may have to go for it.
    pub(super) preempts: bool,
    /// The node that it names itself.
    pub(super) node: Option<String>,
    /// Its volumes, in the order of the rules' pod.
    pub(super) volumes: Vec<VolumeTemplate>,
    /// The labels that its node must have.
    pub(super) selector: BTreeMap<String, String>,
}

/// What of a pod the model leaves out of account.
pub(super) type Omissions = Vec<String>;

/// What the API server's admission plugins put into pods: the priority classes of a plan by name, and the default of them; how long a
/// pod that says nothing of it tolerates that its node is lost, in seconds. Upstream: the plugins Priority and DefaultTolerationSeconds.
#[derive(Debug)]
pub(super) struct Admission {
    values: BTreeMap<String, i32>,
    default: Option<String>,
    /// The classes whose pods have nobody go for them.
    polite: BTreeSet<String>,
    not_ready_seconds: u32,
    unreachable_seconds: u32,
}

impl Admission {
    pub(super) fn new(settings: &ControlPlaneSettings) -> Self {
        let seconds = |own: Option<u32>| own.unwrap_or(DEFAULT_TOLERATION_SECONDS);
        Self {
            values: BTreeMap::new(),
            default: None,
            polite: BTreeSet::new(),
            not_ready_seconds: seconds(settings.default_not_ready_toleration_seconds),
            unreachable_seconds: seconds(settings.default_unreachable_toleration_seconds),
        }
    }

    pub(super) fn add(&mut self, object: &Value) {
        let value = object["value"].as_i64().and_then(|value| i32::try_from(value).ok());
        if let (Some(name), Some(value)) = (object.pointer("/metadata/name").and_then(Value::as_str), value) {
            self.values.insert(name.to_owned(), value);
            if object["globalDefault"] == true {
                self.default = Some(name.to_owned());
            }
            if object["preemptionPolicy"] == "Never" {
                self.polite.insert(name.to_owned());
            }
        }
    }

    fn is_polite(&self, class: Option<&str>) -> bool {
        class.or(self.default.as_deref()).is_some_and(|class| self.polite.contains(class))
    }

    fn priority(&self, class: Option<&str>) -> i32 {
        let Some(class) = class.or(self.default.as_deref()) else { return 0 };
        let system = SYSTEM_CLASSES.iter().find(|(name, _)| *name == class).map(|(_, value)| *value);
        system.or_else(|| self.values.get(class).copied()).unwrap_or(0)
    }
}

/// The UID of the so-many-th pod that was made of the so-many-th template.
pub(super) fn uid(template: usize, instance: u32) -> String {
    format!("00000000-0000-4000-8000-{template:04x}{instance:08x}")
}

impl PodTemplate {
    /// Reads a pod, or a controller's template of pods, given the name of the first pod that will be made of it.
    pub(super) fn new(
        index: usize,
        name: &str,
        object: &Value,
        classes: &Admission,
        omissions: &mut Omissions,
    ) -> Result<Self, String> {
        let object = with_defaults(index, name, object, classes);
        let list = json!({ "apiVersion": "v1", "kind": "PodList", "items": [object] });
        let rules = read_pods(&list.to_string()).map_err(|error| format!("pod {name}: {error}"))?.pop();
        let rules = rules.ok_or_else(|| format!("pod {name} can not be read"))?;
        let typed: Pod =
            serde_json::from_value(object.clone()).map_err(|error| format!("pod {name}: {error}"))?;
        let spec = typed.spec.clone().unwrap_or_default();
        let volumes = spec.volumes.as_deref().unwrap_or_default();
        let mut containers = Vec::new();
        let sidecars = spec.init_containers.iter().flatten().enumerate();
        let sidecars = sidecars.filter(|(_, own)| own.restart_policy.as_deref() == Some("Always"));
        let all =
            sidecars.map(|own| (own, true)).chain(spec.containers.iter().enumerate().map(|own| (own, false)));
        for ((index, container), sidecar) in all {
            containers.push(read_container(name, index, container, volumes, sidecar, omissions));
        }
        note_omissions(name, &spec, omissions);
        let amount = |resource| rules.request(resource);
        let request = Request {
            processors: amount(CPU).nanos().map_or(0, |nanos| i64::try_from(nanos / 1_000_000).unwrap_or(0)),
            memory: amount(MEMORY).value(),
            storage: amount(EPHEMERAL_STORAGE).value(),
        };
        let restart = match spec.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        };
        Ok(Self {
            stats: stats(&rules, &containers),
            workload: None,
            containers,
            restart,
            grace_seconds: spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS),
            request,
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            node: spec.node_name.clone(),
            volumes: volumes.iter().map(VolumeTemplate::new).collect(),
            selector: spec.node_selector.clone().unwrap_or_default(),
            rules,
            object: typed,
        })
    }

    /// Whether the kubelet limits what it has on local storage.
    pub(super) fn has_storage_limit(&self) -> bool {
        let limited = |own: &rules::Container| own.resources.limits.contains_key(EPHEMERAL_STORAGE);
        let volumes = self.rules.volumes.iter().filter_map(|volume| volume.empty_dir.as_ref());
        self.rules.containers.iter().chain(&self.rules.init_containers).any(limited)
            || volumes.into_iter().any(|own| own.size_limit.is_some())
    }

    /// The name of the workload that it is labelled with.
    pub(super) fn workload_name(&self) -> Option<&str> {
        self.object.metadata.labels.as_ref()?.get(WORKLOAD_LABEL).map(String::as_str)
    }

    /// Makes every container request so much memory.
    pub(super) fn request_memory(&mut self, bytes: i64) {
        let amount = Quantity::from_bytes(bytes);
        let text = k8s_openapi::apimachinery::pkg::api::resource::Quantity(amount.to_string());
        for container in &mut self.rules.containers {
            container.resources.requests.insert(MEMORY.to_owned(), amount.clone());
        }
        for container in self.object.spec.iter_mut().flat_map(|spec| &mut spec.containers) {
            let resources = container.resources.get_or_insert_default();
            resources.requests.get_or_insert_default().insert(MEMORY.to_owned(), text.clone());
        }
        let class = self.rules.computed_qos_class().to_owned();
        self.object.status.get_or_insert_default().qos_class = Some(class.clone());
        self.rules.status_qos_class = Some(class);
        self.request.memory = self.rules.request(MEMORY).value();
    }
}

/// What the API server, its admission plugins included, makes of a pod. Upstream: `SetDefaults_PodSpec`, the plugins
/// Priority and DefaultTolerationSeconds.
fn with_defaults(index: usize, name: &str, object: &Value, classes: &Admission) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Pod");
    let metadata = &mut object["metadata"];
    metadata["name"] = json!(name);
    metadata["uid"] = json!(uid(index, 0));
    if metadata["namespace"].is_null() {
        metadata["namespace"] = json!(crate::plan::NAMESPACE);
    }
    let spec = &mut object["spec"];
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let limits = container["resources"]["limits"].as_object().cloned().unwrap_or_default();
            for (resource, amount) in limits {
                let request = &mut container["resources"]["requests"][&resource];
                if request.is_null() {
                    *request = amount;
                }
            }
        }
    }
    if spec["restartPolicy"].is_null() {
        spec["restartPolicy"] = json!("Always");
    }
    if spec["terminationGracePeriodSeconds"].is_null() {
        spec["terminationGracePeriodSeconds"] = json!(DEFAULT_GRACE_SECONDS);
    }
    if spec["priority"].is_null() {
        spec["priority"] = json!(classes.priority(spec["priorityClassName"].as_str()));
    }
    if spec["preemptionPolicy"].is_null() && classes.is_polite(spec["priorityClassName"].as_str()) {
        spec["preemptionPolicy"] = json!("Never");
    }
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for (key, seconds) in [
        ("node.kubernetes.io/not-ready", classes.not_ready_seconds),
        (UNREACHABLE, classes.unreachable_seconds),
    ] {
        // One without a key is for every taint.
        let covers = |own: &Value| {
            let text = |field: &str| own[field].as_str().unwrap_or_default();
            (text("key") == key || text("key").is_empty()) && ["", "NoExecute"].contains(&text("effect"))
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(
                json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds }),
            );
        }
    }
    spec["tolerations"] = tolerations.into();
    let list = json!({ "apiVersion": "v1", "kind": "PodList", "items": [object] });
    let class = read_pods(&list.to_string()).ok().and_then(|mut pods| pods.pop());
    object["status"] = json!({
        "phase": "Pending",
        "qosClass": class.map_or("BestEffort", |pod| pod.computed_qos_class()),
    });
    object
}

fn read_container(
    pod: &str,
    index: usize,
    container: &k8s_openapi::api::core::v1::Container,
    volumes: &[Volume],
    sidecar: bool,
    omissions: &mut Omissions,
) -> ContainerTemplate {
    let limit =
        container.resources.as_ref().and_then(|resources| resources.limits.as_ref()?.get(MEMORY).cloned());
    let limit = limit.and_then(|limit| limit.0.parse::<Quantity>().ok()).map(|limit| limit.value());
    let pre_stop = container.lifecycle.as_ref().and_then(|own| own.pre_stop.as_ref());
    let sleep = pre_stop.and_then(|hook| hook.sleep.as_ref()).map_or(0, |sleep| sleep.seconds);
    let mut template = ContainerTemplate {
        name: container.name.clone(),
        image: container.image.clone(),
        fill: None,
        memory_limit: limit,
        shutdown_delay: sleep.saturating_mul(SECOND),
        exit_code: 0,
        sidecar,
        index,
    };
    if container.image.as_deref() != Some(HOG_IMAGE) {
        return template;
    }
    template.exit_code = plimsoll_hog::session::EXIT_TERMINATED.into();
    match fill::read(container, volumes) {
        Ok(Some(filler)) => {
            template.shutdown_delay += filler.shutdown_delay;
            template.fill = filler.fill;
            if let Some(resource) = filler.unknown {
                let what = filler::word(resource);
                omissions.push(format!("what {pod} fills of {what} is not modelled"));
            }
        }
        Ok(None) => {}
        Err(error) => omissions.push(format!("what {pod} fills can not be read from its arguments: {error}")),
    }
    template
}

fn note_omissions(pod: &str, spec: &k8s_openapi::api::core::v1::PodSpec, omissions: &mut Omissions) {
    let mut note = |is: bool, what: &str| {
        if is {
            omissions.push(format!("{pod}: {what}"));
        }
    };
    note(spec.affinity.is_some(), "affinity plays no part");
    note(spec.topology_spread_constraints.is_some(), "topology spread constraints play no part");
    let init = spec.init_containers.iter().flatten();
    note(
        init.clone().any(|own| own.restart_policy.as_deref() != Some("Always")),
        "init containers are taken to end at once",
    );
    let all = || init.clone().chain(&spec.containers);
    let probes = all().any(|own| own.readiness_probe.is_some() || own.liveness_probe.is_some());
    note(probes, "probes are taken to succeed");
    let hook = |own: &k8s_openapi::api::core::v1::Container| {
        let hook = own.lifecycle.as_ref().and_then(|own| own.pre_stop.as_ref());
        hook.is_some_and(|hook| hook.sleep.is_none())
    };
    note(all().any(hook), "a preStop hook other than sleep is taken to end at once");
    let class = spec.priority_class_name.as_deref().unwrap_or_default();
    // A pod that asks for nothing finds room everywhere.
    let asks = |own: &k8s_openapi::api::core::v1::Container| {
        let resources = own.resources.as_ref();
        resources.is_some_and(|own| own.requests.is_some() || own.limits.is_some())
    };
    let preempts = class.starts_with("system-") && all().any(asks);
    note(preempts, "what the kubelet preempts for a critical pod is not modelled");
}

/// The statistics of a pod, with every place that the model fills in.
fn stats(pod: &rules::Pod, containers: &[ContainerTemplate]) -> PodStats {
    let memory = || Some(MemoryStats { working_set_bytes: Some(0), ..MemoryStats::default() });
    let container = |own: &ContainerTemplate| ContainerStats {
        name: own.name.clone(),
        memory: memory(),
        ..ContainerStats::default()
    };
    PodStats {
        pod_ref: PodReference {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            uid: pod.uid.clone(),
        },
        containers: containers.iter().map(container).collect(),
        memory: memory(),
        ..PodStats::default()
    }
}
