//! Amounts, times and observations in words.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Taint};
use plimsoll_node::report::{OomKill, OomScope, RuntimeObject};

use crate::observe::{Answer, Asked, DrainOutcome, Fact, Observation, StepOutcome};
use crate::plan::{Action, Band, FillPlan, FillTarget, Until};
use crate::plan::{failure, filler};

const KIBI: i64 = 1 << 10;
const MEBI: i64 = 1 << 20;

/// An amount of bytes for people: `612Mi`, `40.5Mi`, `12Ki`.
#[must_use]
pub fn bytes(amount: i64) -> String {
    let magnitude = amount.unsigned_abs();
    if magnitude == 0 {
        return "0".to_owned();
    }
    let (unit, suffix) = if magnitude >= MEBI.unsigned_abs() { (MEBI, "Mi") } else { (KIBI, "Ki") };
    if amount % unit == 0 {
        return format!("{}{suffix}", amount / unit);
    }
    if magnitude < KIBI.unsigned_abs() {
        return amount.to_string();
    }
    let tenths = (i128::from(amount) * 10 / i128::from(unit)).abs();
    let sign = if amount < 0 { "-" } else { "" };
    match tenths % 10 {
        0 => format!("{sign}{}{suffix}", tenths / 10),
        tenth => format!("{sign}{}.{tenth}{suffix}", tenths / 10),
    }
}

/// An amount of what a signal or a resource counts: bytes, or inodes and processes.
#[must_use]
pub fn amount(of: &str, amount: i64) -> String {
    let counted = of.contains("inodes") || of.starts_with("pid");
    if counted { amount.to_string() } else { bytes(amount) }
}

/// A band: `at least 600Mi`, `between 1 and 3`, `50Mi`.
#[must_use]
pub fn band(of: &str, band: &Band) -> String {
    match (band.at_least, band.at_most) {
        (Some(least), Some(most)) if least == most => amount(of, least),
        (Some(least), Some(most)) => format!("between {} and {}", amount(of, least), amount(of, most)),
        (Some(least), None) => format!("at least {}", amount(of, least)),
        (None, Some(most)) => format!("at most {}", amount(of, most)),
        (None, None) => "any".to_owned(),
    }
}

/// A length of time: `0.42s`, `12.3s`, `125s`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    if seconds.abs() < 9.995 { format!("{seconds:.2}s") } else { format!("{seconds:.1}s") }
}

/// A bound on time as it is written: `20s`, `1m30s`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    plimsoll_eviction::duration::format_duration(duration)
}

/// The seconds from one instant to another, negative if the second is earlier.
#[must_use]
pub fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// Names as a list: `a`, `a and b`, `a, b and c`; `nobody` for none.
#[must_use]
pub fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<S> = names.into_iter().collect();
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// How many times as long.
#[must_use]
pub fn times(expected: &crate::plan::SlowedExpectation) -> String {
    let end = |word: &str, bound: Option<f64>| bound.map(|bound| format!("{word} {bound} times"));
    let ends: Vec<String> = [end("at least", expected.at_least), end("at most", expected.at_most)]
        .into_iter()
        .flatten()
        .collect();
    ends.join(" and ")
}

/// `1 pod`, `2 pods`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A text in lines of so many characters at most; a longer word has a line of its own. At least one line.
#[must_use]
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// A step in words.
#[must_use]
pub fn action(action: &Action) -> String {
    match action {
        Action::Start(names) => format!("start {}", list(names)),
        Action::Wait(wait) => format!("wait for {} within {}", until(&wait.until), duration(wait.within)),
        Action::Observe(length) => format!("observe for {}", duration(*length)),
        Action::Fill { target: FillTarget::Workload(name), fill } => {
            format!("let {name} {}", fill_words(fill))
        }
        Action::Fill { target: FillTarget::Node(name), fill } => {
            format!("let a process on {name} {}", fill_words(fill))
        }
        Action::Load { node, images } => format!("import {} into {node}", count(images.len(), "image")),
        Action::Apply(objects) => format!("apply {}", count(objects.len(), "object")),
        Action::Delete(names) => format!("delete {}", list(names)),
        Action::Node { node, change } => failure::node_change(node, *change),
        Action::Gpu { node, device, xid, .. } => failure::gpu_change(node, *device, *xid),
        Action::Zone { zone, nodes, change } => failure::zone_change(zone, *nodes, *change),
        Action::ControlPlane { component, change } => failure::component_change(*component, *change),
        Action::Evict(evict) => {
            let dry = if evict.dry_run { " (dry run)" } else { "" };
            let again =
                evict.retry_for.map_or_else(String::new, |time| format!(", again for {}", duration(time)));
            format!("evict {} through the API{dry}{again}", list(&evict.workloads))
        }
        Action::Cordon { nodes, unschedulable: true } => format!("cordon {}", list(nodes)),
        Action::Cordon { nodes, unschedulable: false } => format!("uncordon {}", list(nodes)),
        Action::Drain(drain) => {
            let beside = if drain.background { " in the background" } else { "" };
            format!("drain {}{beside}, for {} at most", drain.node, duration(drain.timeout))
        }
        Action::Taint(taint) => {
            let (word, of) = if taint.on { ("taint", "with") } else { ("untaint", "of") };
            format!("{word} {} {of} {}", taint.node, taint_words(&taint.taint))
        }
        Action::DeletePods(pods) => format!("delete pods with {}", pods.field_selector),
    }
}

fn fill_words(fill: &FillPlan) -> String {
    format!("hold {}{}", filler::words(fill), filler::pace(fill))
}

/// What a wait waits for, in words.
#[must_use]
pub fn until(until: &Until) -> String {
    match until {
        Until::Running(names) => format!("{} to be Running", list(names)),
        Until::Ready(names) => format!("{} to be Ready", list(names)),
        Until::Evictions(number) => count(*number as usize, "eviction"),
        Until::Rejections(number) => count(*number as usize, "rejection"),
        Until::OomKills(number) => count(*number as usize, "OOM kill"),
        Until::Condition { node, condition, raised: true } => format!("{condition} on {node}"),
        Until::Condition { node, condition, raised: false } => format!("{condition} on {node} to clear"),
        Until::Gone(names) => format!("{} to be gone", list(names)),
        Until::Terminating(names) => format!("{} to be told to go", list(names)),
        Until::Filled(names) => format!("{} to hold their fill", list(names)),
        Until::Unschedulable(names) => format!("{} to find no node", list(names)),
        Until::GoneFrom { node, workloads } => format!("{} to be gone from {node}", list(workloads)),
        Until::ConditionStatus { node, condition, status } => format!("{condition} of {node} to be {status}"),
        Until::Taint { node, key, effect, present } => {
            let off = if *present { "" } else { " to be taken off" };
            format!("the taint {} of {node}{off}", failure::taint(key, effect.as_deref()))
        }
        Until::ZoneTaint { zone, key, effect, count: number, present } => {
            let (taint, nodes) = (failure::taint(key, effect.as_deref()), count(*number as usize, "node"));
            let off = if *present { "" } else { " to be taken off" };
            format!("the taint {taint} of {nodes} of zone {zone}{off}")
        }
        Until::Allocatable { node, resource, amount } => {
            format!("{amount} of {resource} to be allocatable on {node}")
        }
        Until::Drained { node, count: number } => {
            format!("{} of {node} to be over", count(*number as usize, "drain"))
        }
    }
}

/// An OOM kill in words.
#[must_use]
pub fn kill(kill: &OomKill) -> String {
    let task = kill.task.as_deref().unwrap_or("a process");
    let limit = match kill.scope {
        OomScope::Container => "its container's limit",
        OomScope::Kubepods => "the limit of all pods together",
        OomScope::Node => "the node's memory",
        OomScope::Unknown => "a limit that nothing names",
    };
    format!("the kernel killed {task}: {limit} was exhausted")
}

/// One observation in a line.
#[must_use]
pub fn describe(observation: &Observation) -> String {
    match &observation.fact {
        Fact::Began { cluster, kubernetes } => format!("run on {cluster}, Kubernetes {kubernetes}"),
        Fact::Boot { part, phase } => format!("{part}: {phase}"),
        Fact::Started => "all nodes Ready, steps begin".to_owned(),
        Fact::StepBegan { step } => format!("step {} began", step + 1),
        Fact::StepEnded { step, outcome, .. } => format!("step {} {}", step + 1, outcome_words(outcome)),
        Fact::Pod(pod) => pod_words(pod),
        Fact::PodDeleted(pod) => format!("pod {}: deleted", pod.metadata.name.as_deref().unwrap_or("?")),
        Fact::Node(node) => {
            let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
            let raised: Vec<&str> = conditions
                .filter(|condition| condition.status == "True")
                .map(|condition| condition.type_.as_str())
                .collect();
            let name = node.metadata.name.as_deref().unwrap_or("?");
            format!(
                "node {name}: {}",
                if raised.is_empty() { "no condition".to_owned() } else { raised.join(", ") }
            )
        }
        Fact::Event(event) => format!(
            "event on {} {}: {}: {}",
            event.involved_object.kind.as_deref().unwrap_or("object").to_lowercase(),
            event.involved_object.name.as_deref().unwrap_or("?"),
            event.reason.as_deref().unwrap_or("?"),
            event.message.as_deref().unwrap_or_default().trim_end(),
        ),
        Fact::Sample { node, sample } => {
            let available = sample.memory.available();
            let pods = sample.kubepods.map(|kubepods| {
                format!(", all pods hold {}", bytes(i64::try_from(kubepods.working_set).unwrap_or(i64::MAX)))
            });
            format!(
                "{node}: memory.available {}{}",
                available.map_or_else(|| "unknown".to_owned(), bytes),
                pods.unwrap_or_default()
            )
        }
        Fact::Summary { node, summary } => {
            let pods = summary.get("pods").and_then(|pods| pods.as_array()).map_or(0, Vec::len);
            format!("{node}: the kubelet's stats of {}", count(pods, "pod"))
        }
        Fact::EvictionMetric { node, signal, count: number } => {
            format!(
                "{node}: the kubelet counts {} for {signal}",
                count(usize::try_from(*number).unwrap_or(usize::MAX), "eviction")
            )
        }
        Fact::Filler { name, report, .. } => match report.get("filled").and_then(serde_json::Value::as_i64) {
            Some(held) => format!("filler of {name} holds {}", bytes(held)),
            None => format!("filler of {name}: {report}"),
        },
        Fact::Runtime { node, event } => {
            let what = match event.what {
                RuntimeObject::Image => "image",
                RuntimeObject::Container => "container",
            };
            let added = if event.added { "added" } else { "removed" };
            format!("{node}: {what} {} {added}", event.name)
        }
        Fact::Answer(answer) => answer_words(answer),
        Fact::Drained { node, outcome } => format!("drain of {node}: {}", drain_words(outcome)),
        Fact::DisruptionBudget(budget) => {
            let name = budget.metadata.name.as_deref().unwrap_or("?");
            let allowed = budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or(0);
            format!(
                "disruption budget {name} allows {}",
                count(usize::try_from(allowed).unwrap_or(0), "disruption")
            )
        }
        Fact::DisruptionBudgetDeleted(budget) => {
            format!("disruption budget {}: deleted", budget.metadata.name.as_deref().unwrap_or("?"))
        }
        Fact::OomKill { node, kill: what } => format!("{node}: {}", kill(what)),
        Fact::ComponentEnded { part, component, status, .. } => {
            format!("{part}: {component} ended: {status}")
        }
        Fact::Gap { source, reason, resumed, .. } => {
            let since = if *resumed { "watched again after a gap" } else { "not watched any more" };
            format!("{source}: {since}: {reason}")
        }
        Fact::Finished => "steps over".to_owned(),
    }
}

/// A taint as kubectl writes it, such as `key=value:NoExecute`.
#[must_use]
pub fn taint_words(taint: &Taint) -> String {
    let value = taint.value.as_deref().filter(|value| !value.is_empty());
    format!("{}{}:{}", taint.key, value.map_or_else(String::new, |value| format!("={value}")), taint.effect)
}

/// What the API server answered to a request about a pod, in a line.
#[must_use]
pub fn answer_words(answer: &Answer) -> String {
    let asked = match answer.asked {
        Asked::Evict => "evict",
        Asked::Delete => "delete",
    };
    let dry = if answer.dry_run { " (dry run)" } else { "" };
    let said = if answer.message.is_empty() { String::new() } else { format!(": {}", answer.message) };
    format!("{asked} {}{dry}: {}{said}", answer.pod, answer.code)
}

/// What a drain came to, in words.
#[must_use]
pub fn drain_words(outcome: &DrainOutcome) -> String {
    match outcome {
        DrainOutcome::Emptied { pods } => format!("emptied of {}", count(pods.len(), "pod")),
        DrainOutcome::TimedOut { left } => format!("time was up, and {} were left", list(left)),
        DrainOutcome::Refused { pods } => {
            let pods = pods.iter().map(|refused| format!("{} ({})", refused.pod, refused.obstacle.name()));
            format!("refused for {}", list(pods))
        }
        DrainOutcome::Failed { reason } => format!("failed: {reason}"),
    }
}

/// What is said of a drain that did not empty its node, where the scenario does not say what it comes to.
#[must_use]
pub fn drain_not_expected(outcome: &DrainOutcome) -> String {
    format!("{}; where that is what should be, say so in `drained`", drain_words(outcome))
}

/// What a step makes of a drain: nothing to say of one that emptied its node, nor of one that was refused or ran out of time where the
/// scenario says (`expected`) what it comes to.
///
/// # Errors
/// Anything else, in words.
pub fn drain_result(outcome: &DrainOutcome, expected: bool) -> Result<(), String> {
    match outcome {
        DrainOutcome::Emptied { .. } => Ok(()),
        DrainOutcome::TimedOut { .. } | DrainOutcome::Refused { .. } if expected => Ok(()),
        DrainOutcome::Failed { .. } => Err(drain_words(outcome)),
        DrainOutcome::TimedOut { .. } | DrainOutcome::Refused { .. } => Err(drain_not_expected(outcome)),
    }
}

/// What is said of a pod whose eviction was refused, where the scenario does not say how it is answered.
#[must_use]
pub fn eviction_not_expected(pod: &str, code: u16, message: &str) -> String {
    format!("{pod} was not evicted: {code} {message}; where that is what should be, say so in `answered`")
}

/// How a step ended, in words.
#[must_use]
pub fn outcome_words(outcome: &StepOutcome) -> String {
    match outcome {
        StepOutcome::Done => "done".to_owned(),
        StepOutcome::TimedOut(reason) => format!("timed out: {reason}"),
        StepOutcome::Failed(reason) => format!("failed: {reason}"),
        StepOutcome::Skipped => "skipped".to_owned(),
    }
}

fn pod_words(pod: &Pod) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or("?");
    let Some(status) = &pod.status else { return format!("pod {name}: no status yet") };
    let mut words = format!("pod {name}: {}", status.phase.as_deref().unwrap_or("no phase yet"));
    if pod.metadata.deletion_timestamp.is_some() {
        words.push_str(", being deleted");
    }
    if let Some(reason) = &status.reason {
        words.push_str(", ");
        words.push_str(reason);
    }
    if let Some(message) = status.message.as_deref().map(str::trim_end).filter(|message| !message.is_empty())
    {
        words.push_str(": ");
        words.push_str(message);
    } else {
        let containers = status.container_statuses.iter().flatten();
        let ended = containers.filter_map(|container| {
            let ended = container.state.as_ref()?.terminated.as_ref()?;
            Some(format!(", container {} {}", container.name, ended.reason.as_deref().unwrap_or("ended")))
        });
        words.extend(ended);
    }
    words
}
