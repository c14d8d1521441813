//! Pods that fill, as the Kubernetes objects that they are.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_eviction::duration::format_duration;
use plimsoll_eviction::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::cluster::Node;
use super::context::Findings;
use super::fills::{self, Who};
use super::names::Names;
use super::objects::{Object, restart_policy};
use crate::plan::filler;
use crate::plan::{
    FillPlace, FillPlan, Form, GPU_HOG_IMAGE, HOG_IMAGE, Location, NAMESPACE, PlannedObject, Resource,
    WORKLOAD_LABEL, WorkloadPlan,
};
use crate::scenario::format::document::Spec;
use crate::scenario::format::values::Amount;
use crate::scenario::format::workload::{RestartPolicy, Workload};
use crate::scenario::tree::{Mark, Tree, shortened};
use crate::scenario::{Code, Entries, Located, nearest};

/// How long a filler's pod may take to end, unless the scenario says otherwise.
const DEFAULT_GRACE_SECONDS: u32 = 5;
/// The largest value of a user's PriorityClass. Upstream: `scheduling.HighestUserDefinablePriority`.
const HIGHEST_PRIORITY: i64 = 1_000_000_000;
/// The label by which every node is known.
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// A number of bytes as the filler and people read it.
pub(super) fn bytes(bytes: u64) -> String {
    Quantity::from_bytes(i64::try_from(bytes).unwrap_or(i64::MAX)).to_string()
}

/// Builds what steps start, and the priority classes and claim templates that must be there before.
pub(super) fn lower(
    spec: &Spec,
    names: &Names,
    objects: &[Object],
    nodes: &[Node],
    at: &dyn Fn(Mark) -> Location,
    findings: &mut Findings,
) -> (BTreeMap<String, WorkloadPlan>, Vec<PlannedObject>) {
    let mut priorities: BTreeMap<i64, Mark> = BTreeMap::new();
    let classes: BTreeSet<&str> = objects
        .iter()
        .filter(|object| object.kind == "PriorityClass")
        .map(|object| object.name.as_str())
        .collect();
    for workload in &spec.workloads {
        let killed = spec.expect.oom_kills.iter().flat_map(|names| &names.value.0);
        let dies = killed.into_iter().any(|name| name.value == workload.name.0);
        check(workload, nodes, &classes, dies, findings);
        if let Some(priority) = &workload.priority {
            priorities.entry(priority.value).or_insert(priority.mark);
        }
    }
    let mut plans = BTreeMap::new();
    for (name, subject) in names.subjects() {
        let workload = subject.workload.and_then(|index| spec.workloads.get(index));
        // What no step starts is listed only if it has pods that an expectation can be about.
        if !subject.stepped && (workload.is_some() || subject.pods.count == 0) {
            continue;
        }
        let mut built: Vec<PlannedObject> = Vec::new();
        if subject.stepped {
            built.extend(
                subject.objects.iter().filter_map(|index| Some(objects.get(*index)?.labelled(name, at))),
            );
            built.extend(
                workload
                    .map(|workload| PlannedObject { object: object(workload), location: at(workload.mark) }),
            );
        }
        let plan = WorkloadPlan {
            name: name.to_owned(),
            objects: built,
            fill: subject.fill.clone(),
            pods: subject.pods.count,
        };
        plans.insert(name.to_owned(), plan);
    }
    let priority_classes = priorities
        .into_iter()
        .map(|(value, mark)| PlannedObject { object: priority_class(value), location: at(mark) });
    let claim_templates = spec.workloads.iter().filter_map(|workload| {
        Some(PlannedObject { object: super::claims::template(workload)?, location: at(workload.mark) })
    });
    (plans, priority_classes.chain(claim_templates).collect())
}

fn priority_class_name(value: i64) -> String {
    if value < 0 { format!("plimsoll-n{}", value.unsigned_abs()) } else { format!("plimsoll-{value}") }
}

fn priority_class(value: i64) -> Value {
    let name = priority_class_name(value);
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": { "name": name, "labels": { WORKLOAD_LABEL: name } },
        "value": value,
        "preemptionPolicy": "Never",
    })
}

/// What is wrong with a workload by itself.
fn check(
    workload: &Located<Workload>,
    nodes: &[Node],
    classes: &BTreeSet<&str>,
    dies: bool,
    findings: &mut Findings,
) {
    if let Some(node) = &workload.node {
        check_node(node, nodes, findings);
    }
    check_priority(workload, classes, findings);
    for (limits, what) in [(&workload.requests, "requests"), (&workload.limits, "limits")] {
        for (resource, _) in limits.iter() {
            check_resource(resource, what, findings);
        }
    }
    for (resource, request) in workload.requests.iter() {
        let limit = workload.limits.iter().find(|(limited, _)| limited.value == resource.value);
        if let Some((_, limit)) = limit
            && request.value > limit.value
        {
            let message = format!(
                "a request of {} above the limit of {}; Kubernetes refuses the pod",
                request.text, limit.text
            );
            findings.say(Code::E0022, resource.mark, message);
        }
    }
    if let Some(policy) = &workload.restart_policy
        && workload.replicas.is_some()
        && policy.value != RestartPolicy::Always
    {
        let message = format!("a Deployment's pods restart Always; found {}", policy.value.name());
        findings.say_with_help(Code::E0010, policy.mark, message, "leave `restartPolicy` or `replicas` out");
    }
    if workload.labels.contains_key(WORKLOAD_LABEL) {
        findings.say(
            Code::E0010,
            workload.mark,
            format!("the label {WORKLOAD_LABEL} is set by the run itself"),
        );
    }
    if workload.name.0 == "none" {
        findings.say(
            Code::E0006,
            workload.name.mark,
            "a workload can not be called `none`: the word stands for nobody in `expect`",
        );
    }
    check_fill(workload, dies, findings);
    super::gpus::check(workload, nodes, findings);
}

pub(super) fn check_node(node: &Located<String>, nodes: &[Node], findings: &mut Findings) -> bool {
    let known = || nodes.iter().map(|known| known.plan.name.as_str());
    if known().any(|known| known == node.value) {
        return true;
    }
    let help = match nearest(&node.value, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if nodes.is_empty() => "there are hollow nodes only; `nodes` adds real ones".to_owned(),
        None => format!("there are {}", known().take(8).collect::<Vec<_>>().join(", ")),
    };
    findings.say_with_help(
        Code::E0008,
        node.mark,
        format!("no node is called `{}`", shortened(&node.value)),
        help,
    );
    false
}

fn check_priority(workload: &Workload, classes: &BTreeSet<&str>, findings: &mut Findings) {
    if let Some(priority) = &workload.priority {
        if !(i64::from(i32::MIN)..=HIGHEST_PRIORITY).contains(&priority.value) {
            let message =
                format!("a priority of {}: expected {} to {HIGHEST_PRIORITY}", priority.value, i32::MIN);
            let help = "above it are the system's own: `priorityClassName: system-cluster-critical`";
            findings.say_with_help(Code::E0020, priority.mark, message, help);
        }
        if let Some(class) = &workload.priority_class_name {
            findings.say_with_help(
                Code::E0010,
                class.key,
                "`priorityClassName` beside `priority`, which makes a class of its own",
                "keep one of them",
            );
        }
    }
    if let Some(class) = &workload.priority_class_name
        && !class.value.starts_with("system-")
        && !classes.contains(class.value.as_str())
        && !findings.incomplete
    {
        let message = format!("no PriorityClass is called `{}`", shortened(&class.value));
        let help = match nearest(&class.value, classes.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add one to `spec.manifests`, or write `priority:` with a number".to_owned(),
        };
        findings.say_with_help(Code::E0008, class.mark, message, help);
    }
}

fn check_resource(resource: &Located<String>, what: &str, findings: &mut Findings) {
    const KNOWN: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    let name = resource.value.as_str();
    if KNOWN.contains(&name) || name.starts_with("hugepages-") || name.contains('/') {
        return;
    }
    let message = format!(
        "`{}` in `{what}` is no resource of Kubernetes: expected {}",
        shortened(name),
        KNOWN.join(", ")
    );
    match nearest(name, KNOWN) {
        Some(near) => {
            findings.say_with_help(Code::E0003, resource.mark, message, format!("did you mean `{near}`?"))
        }
        None => findings.say(Code::E0003, resource.mark, message),
    }
}

/// What is wrong with its fill; that the kernel kills it is no fault where that is expected.
fn check_fill(workload: &Workload, dies: bool, findings: &mut Findings) {
    let Some(fill) = &workload.fill else { return };
    let written = fill.any();
    fills::check(&written, Who::Pod, findings);
    let plan = fills::plan(&written, Who::Pod);
    let limit = workload.limits.iter().find(|(resource, _)| resource.value == "memory");
    if let Some((_, limit)) = limit.filter(|_| !dies)
        // Page cache is taken back at the limit, and nobody is killed.
        && matches!(plan.form, Some(Form::Anonymous | Form::Tmpfs))
        && written.amount.value.value > limit.value
    {
        let message = format!(
            "fills {} under a limit of {}: the kernel kills the container at its limit, whatever the node has",
            written.amount.text, limit.text
        );
        findings.say(Code::W0008, written.amount.mark, message);
    }
    if let (Some(FillPlace::HostPath(_)), Some(replicas), Some(into)) =
        (&plan.into, &workload.replicas, written.into)
        && replicas.0 > 1
    {
        findings.say_with_help(
            Code::E0010,
            into.key,
            "several pods fill one folder: all but the first on each node find another filler at work there",
            "use an EmptyDir, which each pod has for itself",
        );
    }
}

/// The filler's arguments. One that fills nothing holds no memory, until a step says otherwise.
fn arguments(fill: Option<&FillPlan>, workload: &Workload) -> Vec<String> {
    if let Some(bystander) = &workload.gpu_bystander {
        return super::gpus::bystander(bystander);
    }
    let mut arguments = match fill {
        Some(fill) => filler::start(fill, filler::folder(fill)),
        None => ["memory", "--amount", "0"].map(str::to_owned).to_vec(),
    };
    if let Some(delay) = &workload.shutdown_delay {
        arguments.extend(["--shutdown-delay".to_owned(), format_duration(delay.0)]);
    }
    arguments
}

fn resources(amounts: &Entries<Amount>) -> Value {
    amounts
        .iter()
        .map(|(resource, amount)| (resource.value.clone(), json!(amount.text)))
        .collect::<Map<_, _>>()
        .into()
}

fn object(workload: &Workload) -> Value {
    let name = &workload.name.0;
    let mut labels: Map<String, Value> =
        workload.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    labels.insert(WORKLOAD_LABEL.to_owned(), json!(name));
    let metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
    let spec = pod_spec(workload);
    let Some(replicas) = &workload.replicas else {
        return json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
    };
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas.0,
            "selector": { "matchLabels": { WORKLOAD_LABEL: name } },
            "template": { "metadata": { "labels": labels }, "spec": spec },
        },
    })
}

fn pod_spec(workload: &Workload) -> Value {
    let fill = workload.fill.as_ref().map(|fill| fills::plan(&fill.any(), Who::Pod));
    let volume = workload.fill.as_ref().and_then(|fill| fills::volume(&fill.any()));
    let of_gpus = workload.gpu_bystander.is_some()
        || fill.as_ref().is_some_and(|fill| fill.resource == Resource::GpuMemory);
    let mut container = json!({
        "name": "filler",
        "image": if of_gpus { GPU_HOG_IMAGE } else { HOG_IMAGE },
        "imagePullPolicy": "Never",
        "args": arguments(fill.as_ref(), workload),
    });
    let mut limits = Map::new();
    for (field, amounts) in [("requests", &workload.requests), ("limits", &workload.limits)] {
        if !amounts.is_empty() {
            limits.insert(field.to_owned(), resources(amounts));
        }
    }
    if !limits.is_empty() {
        container["resources"] = limits.into();
    }
    if volume.is_some() {
        container["volumeMounts"] = json!([fills::volume_mount()]);
    }
    let policy = restart_policy(
        workload.replicas.is_some(),
        workload.restart_policy.as_ref().map(|policy| policy.value),
    );
    let grace =
        workload.termination_grace_period_seconds.as_ref().map_or(DEFAULT_GRACE_SECONDS, |seconds| seconds.0);
    let mut spec = json!({
        "containers": [container],
        "restartPolicy": policy.name(),
        "terminationGracePeriodSeconds": grace,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
    });
    if let Some(volume) = volume {
        spec["volumes"] = json!([volume]);
    }
    if let Some(node) = &workload.node {
        spec["nodeSelector"] = json!({ HOSTNAME_LABEL: node.value });
    }
    if let Some(priority) = &workload.priority {
        spec["priorityClassName"] = json!(priority_class_name(priority.value));
    } else if let Some(class) = &workload.priority_class_name {
        spec["priorityClassName"] = json!(class.value);
    }
    if !workload.tolerations.is_empty() {
        spec["tolerations"] =
            workload.tolerations.iter().map(|toleration| Tree::to_json(toleration)).collect();
    }
    super::claims::put(workload, &mut spec);
    spec
}
