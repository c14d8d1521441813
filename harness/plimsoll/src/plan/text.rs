//! A plan as people read it: `plimsoll plan FILE`.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::time::Duration;

use plimsoll_eviction::duration::format_duration;
use plimsoll_eviction::quantity::Quantity;
use serde_json::Value;

use super::disruption::{DrainedTo, EndedExpectation};
use super::expectations::*;
use super::model::*;
use super::nodes::*;
use super::steps::*;
use super::{failure, filler};
use crate::verdict::words;

/// The plan in words, line by line, with the lines of the scenario that say so.
#[must_use]
pub fn text(plan: &Plan) -> String {
    let mut page = Page { text: String::new(), plan };
    page.head();
    page.control_plane();
    page.nodes();
    page.hollow();
    page.objects();
    page.workloads();
    page.steps();
    page.expectations();
    page.text
}

struct Page<'a> {
    text: String,
    plan: &'a Plan,
}

impl Page<'_> {
    /// Writes a line; a `String` takes every one.
    fn line(&mut self, indent: usize, line: impl fmt::Display) {
        let _ = writeln!(self.text, "{:indent$}{line}", "");
    }

    fn title(&mut self, title: &str) {
        self.text.push('\n');
        self.line(0, title);
    }

    /// Rows of equal columns, the last with the place where the scenario says so.
    fn rows(&mut self, rows: &[(Location, Vec<String>)]) {
        let columns = rows.iter().map(|(_, row)| row.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                rows.iter()
                    .filter_map(|(_, row)| row.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (location, row) in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            self.line(2, format_args!("{line}# line {}", location.line));
        }
    }

    fn head(&mut self) {
        self.line(0, format_args!("{}  (Kubernetes {})", self.plan.name, self.plan.kubernetes));
        if let Some(description) = &self.plan.description {
            self.line(0, description.trim());
        }
        for (key, value) in &self.plan.labels {
            self.line(0, format_args!("{key}={value}"));
        }
    }

    /// The settings by the names that the scenario has for them, which are those in which they are written down.
    fn control_plane(&mut self) {
        let settings = serde_json::to_value(self.plan.control_plane).unwrap_or_default();
        let settings: Vec<_> = settings.as_object().into_iter().flatten().collect();
        if settings.is_empty() {
            return;
        }
        self.title("control plane");
        for (name, value) in settings {
            let unit = if name.ends_with("Period") { "s" } else { "" };
            self.line(2, format_args!("{name} {value}{unit}"));
        }
    }

    fn nodes(&mut self) {
        if self.plan.nodes.is_empty() {
            return;
        }
        self.title("nodes");
        for node in &self.plan.nodes {
            let images = node.imagefs.as_ref().map_or_else(|| "on nodefs".to_owned(), filesystem);
            self.line(
                2,
                format_args!(
                    "{}  memory {}, nodefs {}, images {images}",
                    node.name,
                    amount(node.memory),
                    filesystem(&node.nodefs)
                ),
            );
            if node.pids != DEFAULT_PIDS {
                self.line(4, format_args!("at most {} processes and threads", node.pids));
            }
            if let Some(gpus) = &node.gpus {
                self.line(4, gpus_text(gpus));
            }
            for image in &node.images {
                self.line(4, format_args!("image {}", ballast(image)));
            }
            for (key, value) in &node.labels {
                self.line(4, format_args!("label {key}={value}"));
            }
            for taint in &node.taints {
                self.line(4, format_args!("taint {}", compact(taint)));
            }
            if let Some(interval) = node.housekeeping_interval {
                self.line(4, format_args!("kubelet --housekeeping-interval={}", format_duration(interval)));
            }
            for (field, value) in node.kubelet.as_object().into_iter().flatten() {
                self.line(4, format_args!("kubelet {field}: {}", compact(value)));
            }
        }
    }

    fn hollow(&mut self) {
        let Some(hollow) = &self.plan.hollow else { return };
        self.title("hollow nodes");
        for zone in &hollow.zones {
            self.line(2, format_args!("zone {}: {} nodes", zone.name, zone.nodes()));
        }
        self.line(2, format_args!("leases of {} s", hollow.node_lease_duration_seconds));
    }

    fn objects(&mut self) {
        if self.plan.objects.is_empty() {
            return;
        }
        self.title("before the first step");
        let rows: Vec<_> = self
            .plan
            .objects
            .iter()
            .map(|planned| (planned.location.clone(), vec![object_name(&planned.object)]))
            .collect();
        self.rows(&rows);
    }

    fn workloads(&mut self) {
        if self.plan.workloads.is_empty() {
            return;
        }
        self.title("workloads");
        let mut rows = Vec::new();
        for workload in self.plan.workloads.values() {
            let kinds: Vec<String> =
                workload.objects.iter().map(|planned| object_name(&planned.object)).collect();
            let location =
                workload.objects.first().map(|planned| planned.location.clone()).unwrap_or_default();
            let pods =
                if workload.pods == 1 { "1 pod".to_owned() } else { format!("{} pods", workload.pods) };
            let made =
                if kinds.is_empty() { "there from the beginning".to_owned() } else { kinds.join(", ") };
            let fill = workload.fill.as_ref().map_or_else(|| "fills nothing".to_owned(), fill);
            let specs: BTreeSet<String> =
                workload.objects.iter().flat_map(|planned| resources(&planned.object)).collect();
            let specs = specs.into_iter().collect::<Vec<_>>().join(", ");
            rows.push((location, vec![workload.name.clone(), made, pods, fill, specs]));
        }
        self.rows(&rows);
    }

    fn steps(&mut self) {
        self.title("steps");
        let rows: Vec<_> = self
            .plan
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| {
                (step.location.clone(), vec![format!("{}.", index + 1), action(&step.action)])
            })
            .collect();
        self.rows(&rows);
    }

    fn expectations(&mut self) {
        self.title("expected");
        let rows: Vec<_> = self
            .plan
            .expectations
            .iter()
            .map(|expectation| {
                (
                    expectation.location.clone(),
                    vec![expectation.expect.key().to_owned(), expected(&expectation.expect)],
                )
            })
            .collect();
        self.rows(&rows);
    }
}

fn amount(bytes: u64) -> String {
    Quantity::from_bytes(i64::try_from(bytes).unwrap_or(i64::MAX)).to_string()
}

fn signed(value: i64) -> String {
    Quantity::from_bytes(value).to_string()
}

fn filesystem(filesystem: &FilesystemPlan) -> String {
    let size = amount(filesystem.size);
    filesystem.inodes.map_or(size.clone(), |inodes| format!("{size} of {inodes} inodes"))
}

fn compact(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn object_name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("?");
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .filter(|namespace| *namespace != NAMESPACE);
    let name = format!("{}/{}", text("/kind"), text("/metadata/name"));
    namespace.map_or(name.clone(), |namespace| format!("{name} in {namespace}"))
}

/// What its containers ask for, such as `requests memory=50Mi`.
fn resources(object: &Value) -> Vec<String> {
    let spec = object.pointer("/spec/template/spec").or_else(|| object.get("spec"));
    let containers = spec.and_then(|spec| spec.get("containers")).and_then(Value::as_array);
    let mut found = Vec::new();
    for container in containers.into_iter().flatten() {
        for what in ["requests", "limits"] {
            let amounts = container.pointer(&format!("/resources/{what}")).and_then(Value::as_object);
            for (resource, amount) in amounts.into_iter().flatten() {
                found.push(format!("{what} {resource}={}", compact(amount)));
            }
        }
    }
    if let Some(class) = spec.and_then(|spec| spec.get("priorityClassName")).and_then(Value::as_str) {
        found.push(format!("priority class {class}"));
    }
    found
}

fn fill(fill: &FillPlan) -> String {
    let at_once = if fill.rate.is_none() { " at once" } else { "" };
    format!("fills {}{at_once}{}", filler::words(fill), filler::pace(fill))
}

fn action(action: &Action) -> String {
    match action {
        Action::Start(names) => format!("start {}", names.join(", ")),
        Action::Delete(names) => format!("delete {}", names.join(", ")),
        Action::Apply(objects) => {
            let names: Vec<String> = objects.iter().map(|planned| object_name(&planned.object)).collect();
            format!("apply {}", names.join(", "))
        }
        Action::Observe(time) => format!("observe for {}", format_duration(*time)),
        Action::Load { node, images } => {
            let images: Vec<String> = images.iter().map(ballast).collect();
            format!("import into {node}: {}", images.join(", "))
        }
        Action::Fill { target: FillTarget::Workload(name), fill: plan } => format!("{name} {}", fill(plan)),
        Action::Fill { target: FillTarget::Node(name), fill: plan } => {
            format!("a process on node {name}, outside every pod, {}", fill(plan))
        }
        Action::Node { node, change } => failure::node_change(node, *change),
        Action::Gpu { node, device, xid, .. } => failure::gpu_change(node, *device, *xid),
        Action::Zone { zone, nodes, change } => failure::zone_change(zone, *nodes, *change),
        Action::ControlPlane { component, change } => failure::component_change(*component, *change),
        Action::Evict(_)
        | Action::Cordon { .. }
        | Action::Drain(_)
        | Action::Taint(_)
        | Action::DeletePods(_) => words::action(action),
        Action::Wait(wait) => {
            format!("wait until {}, for {} at most", until(&wait.until), format_duration(wait.within))
        }
    }
}

fn gpus_text(gpus: &GpuConfig) -> String {
    let evictor = gpus.evictor.as_ref().map_or_else(String::new, |options| {
        // What is set to nothing is only there to keep the evictor from its own defaults.
        let set = options.iter().filter(|option| !option.ends_with('='));
        let options: Vec<&str> = set.map(|option| option.trim_start_matches("--")).collect();
        format!("; their evictor: {}", options.join(", "))
    });
    let (memory, unit) = (amount(gpus.memory), amount(gpus.unit));
    let kind = if gpus.real { "of the machine's own" } else { "simulated" };
    let whole = gpus
        .whole
        .as_ref()
        .map_or_else(String::new, |whole| format!("; the last {} whole as {}", whole.count, whole.resource));
    if gpus.claims {
        return format!("{} {kind} GPUs of {memory}, each whole to claims", gpus.count);
    }
    format!("{} {kind} GPUs of {memory}, {} in units of {unit}{whole}{evictor}", gpus.count, gpus.resource)
}

fn until(until: &Until) -> String {
    match until {
        Until::Running(names) => format!("{} are Running", names.join(", ")),
        Until::Ready(names) => format!("{} are Ready", names.join(", ")),
        Until::Gone(names) => format!("{} are gone or have ended", names.join(", ")),
        Until::Terminating(names) => format!("{} are told to go", names.join(", ")),
        Until::Filled(names) => format!("{} hold their whole amount", names.join(", ")),
        Until::Unschedulable(names) => format!("the scheduler finds no node for {}", names.join(", ")),
        Until::GoneFrom { node, workloads } => format!("{} are gone from {node}", workloads.join(", ")),
        Until::ConditionStatus { node, condition, status } => format!("{condition} of {node} is {status}"),
        Until::Taint { node, key, effect, present } => {
            let has = if *present { "has the taint" } else { "has lost the taint" };
            format!("{node} {has} {}", failure::taint(key, effect.as_deref()))
        }
        Until::ZoneTaint { zone, key, effect, count, present } => {
            let taint = failure::taint(key, effect.as_deref());
            if *present {
                format!("nodes of zone {zone} with the taint {taint} reach {count}")
            } else {
                format!("no node of zone {zone} has the taint {taint} any more, and {count} had it")
            }
        }
        Until::Drained { node, count } => format!("drains of {node} that are over reach {count}"),
        Until::Allocatable { node, resource, amount } => {
            format!("{amount} of {resource} are allocatable on {node}")
        }
        Until::Evictions(count) => format!("evictions reach {count}"),
        Until::Rejections(count) => format!("rejections reach {count}"),
        Until::OomKills(count) => format!("OOM kills reach {count}"),
        Until::Condition { node, condition, raised: true } => format!("{condition} of {node} is raised"),
        Until::Condition { node, condition, raised: false } => format!("{condition} of {node} is cleared"),
    }
}

fn band(band: &Band, show: &dyn Fn(i64) -> String) -> String {
    match (band.at_least, band.at_most) {
        (Some(least), Some(most)) if least == most => show(least),
        (Some(least), Some(most)) => format!("{} to {}", show(least), show(most)),
        (Some(least), None) => format!("at least {}", show(least)),
        (None, Some(most)) => format!("at most {}", show(most)),
        (None, None) => "any".to_owned(),
    }
}

fn set(names: &BTreeSet<String>) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names.iter().cloned().collect::<Vec<_>>().join(", ") }
}

fn expected(expect: &Expect) -> String {
    match expect {
        Expect::Evicted(groups) if groups.is_empty() => "nobody".to_owned(),
        Expect::Evicted(groups) => {
            let groups: Vec<String> =
                groups
                    .iter()
                    .map(|group| {
                        if group.len() == 1 { set(group) } else { format!("{{{}}} in any order", set(group)) }
                    })
                    .collect();
            groups.join(", then ")
        }
        Expect::Survive(names) => names.join(", "),
        Expect::OomKills(names) | Expect::Rejected(names) => set(names),
        Expect::Reclaimed { signal, band: bounds, minimum_reclaim } => {
            let mut parts = Vec::new();
            if *bounds != Band::default() {
                parts.push(band(bounds, &signed));
            }
            if *minimum_reclaim {
                parts.push("threshold and minimum reclaim reached".to_owned());
            }
            format!("{signal} afterwards: {}", parts.join(", "))
        }
        Expect::Conditions(conditions) if conditions.is_empty() => "none".to_owned(),
        Expect::Conditions(conditions) => {
            conditions.iter().map(condition).collect::<Vec<_>>().join(", then ")
        }
        Expect::OverLimit(over) if over.is_empty() => "nobody".to_owned(),
        Expect::OverLimit(over) => {
            let over: Vec<String> = over.iter().map(|(name, limit)| format!("{name} ({limit})")).collect();
            over.join(", ")
        }
        Expect::NodeReclaimed(reclaimed) => reclaimed_text(reclaimed),
        Expect::Message(message) => message_text(message),
        Expect::Tainted(tainted) if tainted.is_empty() => {
            "no node, so that it would lose its pods".to_owned()
        }
        Expect::Tainted(tainted) => tainted.iter().map(failure::tainted).collect::<Vec<_>>().join("; "),
        Expect::Tolerated { workload, lasting: None, .. } => {
            format!("{workload} stays, whatever taint its node gets")
        }
        Expect::Tolerated { workload, lasting: Some(lasting), .. } => {
            format!("{workload} is deleted {lasting} after its node got the taint")
        }
        Expect::TaintRate(rate) => {
            failure::taint_rate(rate, |bounds| band(bounds, &|number| number.to_string()))
        }
        Expect::Terminating(names) => format!("{}, to the end", names.join(", ")),
        Expect::Announced(names) => names.join(", "),
        Expect::Together { workloads, lasting } => format!("{}: {lasting} apart", workloads.join(", ")),
        Expect::Within { signal, lasting } => format!("from crossing {signal} to the eviction {lasting}"),
        Expect::Terminated { workload, lasting } => format!("{workload} ends in {lasting}"),
        Expect::Replaced(replaced) => replaced_text(replaced),
        Expect::Ended(ended) => ended_text(ended),
        Expect::Answered { workload, codes, .. } => {
            let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
            format!("{workload}: {}", codes.join(", then "))
        }
        Expect::Drained(drained) => match &drained.to {
            DrainedTo::End(end) => format!("{}: {}", drained.node, end.name()),
            DrainedTo::Refused(pods) => {
                let pods: Vec<String> =
                    pods.iter().map(|(name, why)| format!("{name} ({})", why.name())).collect();
                format!("{}: refused for {}", drained.node, pods.join(", "))
            }
        },
        Expect::Nominated { workload, node } => format!("{node} for {workload}"),
        Expect::ScaleDownBlocked(blocked) if blocked.blocked_by.is_empty() => {
            format!("{}: by nobody", blocked.node)
        }
        Expect::ScaleDownBlocked(blocked) => {
            let by: Vec<String> =
                blocked.blocked_by.iter().map(|(name, why)| format!("{name} ({})", why.name())).collect();
            format!("{}: by {}", blocked.node, by.join(", "))
        }
        Expect::Slowed(slowed) => {
            format!("{} by {}: {}", slowed.workload, slowed.by, words::times(slowed))
        }
        Expect::Flapping(flapping) => {
            let times = band(&flapping.times, &|number| number.to_string());
            let period =
                flapping.period.map_or_else(String::new, |period| format!(", each time after {period}"));
            format!("{} of {} raised {times} times{period}", flapping.condition, flapping.node)
        }
    }
}

impl fmt::Display for Lasting {
    /// Such as `at least 15s and at most 40s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end =
            |word: &str, time: Option<Duration>| time.map(|time| format!("{word} {}", format_duration(time)));
        let ends: Vec<String> =
            [end("at least", self.at_least), end("at most", self.at_most)].into_iter().flatten().collect();
        f.write_str(&ends.join(" and "))
    }
}

fn condition(condition: &ConditionExpectation) -> String {
    let bound = |time: Option<Duration>| {
        time.map_or_else(String::new, |time| format!(" within {}", format_duration(time)))
    };
    let cleared = if condition.cleared {
        let within = condition.cleared_within.as_ref();
        format!(", cleared{}", within.map_or_else(String::new, |within| format!(" {within} later")))
    } else {
        String::new()
    };
    format!("{} of {} raised{}{cleared}", condition.condition, condition.node, bound(condition.raised_within))
}

fn ballast(image: &BallastImage) -> String {
    let files = if image.files > 0 { format!(", {} files", image.files) } else { String::new() };
    let layers = if image.layers == 1 { "1 layer".to_owned() } else { format!("{} layers", image.layers) };
    let pinned = if image.pinned { ", pinned" } else { "" };
    format!("{} of {} in {layers}{files}{pinned}", image.name, amount(image.size))
}

fn reclaimed_text(reclaimed: &NodeReclaimedExpectation) -> String {
    let plain = |number: i64| number.to_string();
    let mut parts = vec![format!("from {}", reclaimed.node)];
    parts.extend(reclaimed.images.map(|bounds| format!("images {}", band(&bounds, &plain))));
    parts.extend(
        reclaimed.containers.map(|bounds| format!("containers that had ended {}", band(&bounds, &plain))),
    );
    if !reclaimed.kept.is_empty() {
        parts.push(format!("and not {}", reclaimed.kept.join(", ")));
    }
    parts.join(", ")
}

fn message_text(message: &MessageExpectation) -> String {
    let mut parts = vec![format!("of {}", message.workload)];
    parts.extend(message.resource.as_ref().map(|resource| format!("resource {resource}")));
    parts.extend(message.container.as_ref().map(|container| format!("container {container}")));
    let bands = [
        ("threshold", message.threshold),
        ("available", message.available),
        ("using", message.using),
        ("request", message.request),
    ];
    for (name, bounds) in bands {
        parts.extend(bounds.map(|bounds| format!("{name} {}", band(&bounds, &signed))));
    }
    parts.join(", ")
}

fn ended_text(ended: &EndedExpectation) -> String {
    let mut parts = vec![format!("{} as {}", ended.workload, ended.kind.name())];
    if ended.count != (Band { at_least: Some(1), at_most: None }) {
        parts.push(format!("pods {}", band(&ended.count, &|number| number.to_string())));
    }
    parts.extend(
        ended.gone.map(|gone| if gone { "gone at the end" } else { "still there at the end" }.to_owned()),
    );
    parts.extend(ended.reason.as_ref().map(|reason| format!("saying `{reason}`")));
    parts.extend(ended.says.iter().map(|said| format!("of which is said `{said}`")));
    parts.extend(
        ended.restarts.map(|restarts| format!("restarts {}", band(&restarts, &|number| number.to_string()))),
    );
    parts.join(", ")
}

fn replaced_text(replaced: &ReplacedExpectation) -> String {
    let plain = |number: i64| number.to_string();
    let mut parts = vec![replaced.workload.clone()];
    parts.extend(replaced.on.as_ref().map(|on| match on {
        ReplacedOn::Same => "on the same node".to_owned(),
        ReplacedOn::Other => "on another node".to_owned(),
        ReplacedOn::Nowhere => "nowhere, Pending".to_owned(),
        ReplacedOn::Node(node) => format!("on {node}"),
    }));
    parts.extend(replaced.running.map(|running| {
        if running { "runs at the end".to_owned() } else { "does not run at the end".to_owned() }
    }));
    if replaced.times != Band::default() {
        parts.push(format!("times {}", band(&replaced.times, &plain)));
    }
    if replaced.loops != Band::default() {
        parts.push(format!("loops {}", band(&replaced.loops, &plain)));
    }
    parts.extend(replaced.loop_period.map(|period| format!("each loop {period}")));
    parts.extend(replaced.running_within.map(|within| format!("running again after {within}")));
    parts.extend(replaced.reason.as_ref().map(|reason| format!("since `{reason}`")));
    parts.join(", ")
}
