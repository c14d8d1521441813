//! What happens, in order, and who is there when it does.

use std::collections::BTreeMap;

use plimsoll_eviction::signal::NodeCondition;

use super::cluster::{self, Node};
use super::context::Findings;
use super::disruption;
use super::fills::{self, Who};
use super::hollow;
use super::names::Names;
use super::node_failure::{self, Away};
use super::workloads::check_node;
use crate::plan::{
    Action, FillPlace, FillPlan, FillTarget, HollowPlan, Location, PlannedStep, Until, Wait, WorkloadPlan,
};
use crate::scenario::format::step::{FillStep, Step, Wait as WrittenWait, WaitFor};
use crate::scenario::format::values::Names as WrittenNames;
use crate::scenario::tree::{Mark, shortened};
use crate::scenario::{Code, Located, nearest};

/// Resolves the steps.
pub(super) fn lower(
    steps: &[Located<Step>],
    names: &mut Names,
    nodes: &[Node],
    hollow: Option<&HollowPlan>,
    workloads: &BTreeMap<String, WorkloadPlan>,
    at: &dyn Fn(Mark) -> Location,
    findings: &mut Findings,
) -> Vec<PlannedStep> {
    let mut planned = Vec::new();
    let mut away = Away::default();
    for (index, step) in steps.iter().enumerate() {
        if let Step::Wait(wait) = &step.value {
            check_bound(wait, step.mark, steps.get(index + 1).map(|next| next.mark), findings);
        }
        let action = match &step.value {
            Step::Start(written) => Some(Action::Start(start(written, step.mark, names, findings))),
            Step::Apply(written) => {
                let applied = apply(written, step.mark, names, findings);
                let objects =
                    applied.iter().filter_map(|key| workloads.get(key)).flat_map(|plan| plan.objects.clone());
                Some(Action::Apply(objects.collect()))
            }
            Step::Delete(written) => Some(Action::Delete(delete(written, step.mark, names, findings))),
            Step::Observe(time) => {
                if time.0.is_zero() {
                    findings.say(
                        Code::E0006,
                        time.mark,
                        "observes for no time at all: expected more than 0s",
                    );
                }
                Some(Action::Observe(time.0))
            }
            Step::Wait(wait) => until(wait, step.mark, names, nodes, hollow, findings).and_then(|until| {
                let within = wait.within.as_ref()?;
                if within.0.is_zero() {
                    findings.say(
                        Code::E0009,
                        within.mark,
                        "a wait of no time at all: expected a bound above 0s, such as 60s",
                    );
                }
                Some(Action::Wait(Wait { until, within: within.0 }))
            }),
            Step::Load(load) => {
                let node = one_node(load.node.as_ref(), step.mark, nodes, findings);
                let images = cluster::images(&load.images, findings);
                node.map(|node| Action::Load { node, images })
            }
            Step::Fill(fill) => fill_step(fill, step.mark, names, nodes, findings),
            Step::Node(node) => away.node(node, step.mark, nodes, findings),
            Step::Gpu(gpu) => super::gpus::step(gpu, step.mark, nodes, findings),
            Step::Zone(zone) => hollow::step(zone, hollow, findings),
            Step::ControlPlane(component) => Some(away.control_plane(component, findings)),
            Step::Evict(evict) => Some(disruption::evict(evict, step.mark, names, findings)),
            Step::Cordon(written) => Some(disruption::cordon(written, true, step.mark, nodes, findings)),
            Step::Uncordon(written) => Some(disruption::cordon(written, false, step.mark, nodes, findings)),
            Step::Drain(drain) => disruption::drain(drain, step.mark, nodes, findings),
            Step::Taint(taint) => disruption::taint(taint, true, step.mark, nodes, findings),
            Step::Untaint(taint) => disruption::taint(taint, false, step.mark, nodes, findings),
            Step::DeletePods(pods) => Some(disruption::delete_pods(pods, findings)),
        };
        planned.extend(action.map(|action| PlannedStep { location: at(step.mark), action }));
    }
    check_end(steps, findings);
    planned
}

/// A run is over when its steps are.
fn check_end(steps: &[Located<Step>], findings: &mut Findings) {
    match steps.last() {
        None => {}
        Some(last)
            if matches!(
                last.value,
                Step::Wait(_) | Step::Observe(_) | Step::Evict(_) | Step::Drain(_) | Step::DeletePods(_)
            ) => {}
        Some(last) => findings.say_with_help(
            Code::W0005,
            last.mark,
            "the run ends with this step, before anything can come of it",
            "end with a `wait` or with `observe: 15s`",
        ),
    }
}

fn keys<'a>(
    written: &'a WrittenNames,
    step: Mark,
    names: &Names,
    findings: &mut Findings,
) -> Vec<(&'a Located<String>, String)> {
    if written.0.is_empty() {
        findings.say(Code::E0005, step, "names nobody: expected at least one name");
    }
    written.0.iter().filter_map(|name| Some((name, names.resolve(name, findings)?))).collect()
}

fn start(written: &WrittenNames, step: Mark, names: &mut Names, findings: &mut Findings) -> Vec<String> {
    let mut started = Vec::new();
    for (name, key) in keys(written, step, names, findings) {
        let Some(subject) = names.subject_mut(&key) else { continue };
        if subject.active {
            let help = "to change what is there, use `apply`; to start it anew, `delete` it before";
            findings.say_with_help(
                Code::E0019,
                name.mark,
                format!("`{}` is started already", name.value),
                help,
            );
            continue;
        }
        (subject.active, subject.was_active) = (true, true);
        started.push(key);
    }
    started
}

fn apply(written: &WrittenNames, step: Mark, names: &mut Names, findings: &mut Findings) -> Vec<String> {
    let mut applied = Vec::new();
    for (_, key) in keys(written, step, names, findings) {
        let Some(subject) = names.subject_mut(&key) else { continue };
        (subject.active, subject.was_active) = (true, true);
        applied.push(key);
    }
    applied
}

fn delete(written: &WrittenNames, step: Mark, names: &mut Names, findings: &mut Findings) -> Vec<String> {
    let mut deleted = Vec::new();
    for (name, key) in keys(written, step, names, findings) {
        let Some(subject) = names.subject_mut(&key) else { continue };
        if !subject.active && !findings.steps_missing() {
            let when = if subject.was_active { "any more" } else { "yet" };
            findings.say(
                Code::E0019,
                name.mark,
                format!("`{}` is not there {when} when this deletes it", name.value),
            );
            continue;
        }
        (subject.active, subject.deleted) = (false, true);
        deleted.push(key);
    }
    deleted
}

/// The only node, or one that is named.
pub(super) fn one_node(
    written: Option<&Located<String>>,
    place: Mark,
    nodes: &[Node],
    findings: &mut Findings,
) -> Option<String> {
    match (written, nodes) {
        (Some(node), _) => check_node(node, nodes, findings).then(|| node.value.clone()),
        (None, [only]) => Some(only.plan.name.clone()),
        (None, []) => {
            findings.say_with_help(
                Code::E0004,
                place,
                "which node? There is none but hollow ones",
                "hollow nodes are named by their zone, where that can be said: add `zone:`",
            );
            None
        }
        (None, _) => {
            let names: Vec<&str> = nodes.iter().map(|node| node.plan.name.as_str()).take(8).collect();
            let help = format!("add `node:` with one of {}", names.join(", "));
            findings.say_with_help(Code::E0004, place, "which node? There are several", help);
            None
        }
    }
}

/// A node condition that the kubelet raises.
pub(super) fn condition(written: &Located<String>, findings: &mut Findings) -> Option<NodeCondition> {
    if let Some(condition) = NodeCondition::from_name(&written.value) {
        return Some(condition);
    }
    let known: Vec<&str> = NodeCondition::ALL.iter().map(|condition| condition.name()).collect();
    let message =
        format!("`{}` is no pressure condition: expected {}", shortened(&written.value), known.join(", "));
    match nearest(&written.value, known.iter().copied()) {
        Some(near) => {
            findings.say_with_help(Code::E0006, written.mark, message, format!("did you mean `{near}`?"))
        }
        None => findings.say(Code::E0006, written.mark, message),
    }
    None
}

fn until(
    wait: &WrittenWait,
    step: Mark,
    names: &mut Names,
    nodes: &[Node],
    hollow: Option<&HollowPlan>,
    findings: &mut Findings,
) -> Option<Until> {
    check_wait_fields(wait, findings);
    let counted = || wait.count.as_ref().map_or(1, |count| count.0);
    Some(match wait.until.value {
        WaitFor::Running => Until::Running(pods(wait, step, names, findings)),
        WaitFor::Ready => Until::Ready(pods(wait, step, names, findings)),
        WaitFor::Gone => {
            let workloads = pods(wait, step, names, findings);
            match &wait.node {
                Some(node) => {
                    Until::GoneFrom { node: one_node(Some(node), step, nodes, findings)?, workloads }
                }
                None => Until::Gone(workloads),
            }
        }
        WaitFor::Terminating => Until::Terminating(pods(wait, step, names, findings)),
        WaitFor::Unschedulable => Until::Unschedulable(pods(wait, step, names, findings)),
        WaitFor::Filled => Until::Filled(fillers(wait, step, names, findings)),
        WaitFor::Evictions => Until::Evictions(counted()),
        WaitFor::Rejections => Until::Rejections(counted()),
        WaitFor::OomKills => Until::OomKills(counted()),
        WaitFor::Condition => node_failure::condition_wait(wait, step, nodes, findings)?,
        WaitFor::Taint => node_failure::taint_wait(wait, step, nodes, hollow, findings)?,
        WaitFor::Drained => {
            Until::Drained { node: one_node(wait.node.as_ref(), step, nodes, findings)?, count: counted() }
        }
        WaitFor::Allocatable => super::gpus::allocatable_wait(wait, step, nodes, findings)?,
    })
}

/// Every wait has a bound; one that could not be read is complained about already.
fn check_bound(wait: &WrittenWait, step: Mark, next: Option<Mark>, findings: &mut Findings) {
    let unread = findings.removed.iter().any(|gone| {
        gone.path.starts_with("spec.steps")
            && gone.path.ends_with(".within")
            && gone.mark >= step
            && next.is_none_or(|next| gone.mark < next)
    });
    if wait.within.is_none() && !unread {
        findings.say_with_help(
            Code::E0009,
            step,
            "a wait without a bound: what never comes would be waited for for ever",
            "add `within:`, such as `within: 60s`",
        );
    }
}

/// Fields of a wait that go only with some of what it can wait for.
fn check_wait_fields(wait: &WrittenWait, findings: &mut Findings) {
    let what = wait.until.value;
    let of_pods = matches!(
        what,
        WaitFor::Running
            | WaitFor::Ready
            | WaitFor::Filled
            | WaitFor::Terminating
            | WaitFor::Gone
            | WaitFor::Unschedulable
    );
    let of_zone = what == WaitFor::Taint && wait.zone.is_some();
    let counts = of_zone
        || matches!(what, WaitFor::Evictions | WaitFor::Rejections | WaitFor::OomKills | WaitFor::Drained);
    let of_resource = what == WaitFor::Allocatable;
    let of_condition = what == WaitFor::Condition;
    let of_taint = what == WaitFor::Taint;
    let fields = [
        ("pods", wait.pods.as_ref().map(|field| field.key), of_pods),
        ("count", wait.count.as_ref().map(|field| field.key), counts || of_resource),
        ("resource", wait.resource.as_ref().map(|field| field.key), of_resource),
        ("condition", wait.condition.as_ref().map(|field| field.key), of_condition),
        ("is", wait.state.as_ref().map(|field| field.key), of_condition || of_taint),
        (
            "node",
            wait.node.as_ref().map(|field| field.key),
            of_condition
                || of_taint && !of_zone
                || of_resource
                || matches!(what, WaitFor::Gone | WaitFor::Drained),
        ),
        ("zone", wait.zone.as_ref().map(|field| field.key), of_taint),
    ];
    node_failure::check_wait_fields(wait, findings);
    for (field, key, belongs) in fields {
        if let (Some(key), false) = (key, belongs) {
            findings.say(Code::E0010, key, format!("`{field}` does not go with `for: {}`", what.name()));
        }
    }
    if of_condition && wait.condition.is_none() {
        findings.say_with_help(
            Code::E0004,
            wait.until.mark,
            "which condition?",
            "add `condition: MemoryPressure`",
        );
    }
    if let Some(count) = wait.count.as_ref().filter(|count| count.0 == 0 && !of_resource) {
        findings.say(Code::E0006, count.mark, "waits for 0, which is so already: expected at least 1");
    }
}

/// Whose pods a wait is about.
fn pods(wait: &WrittenWait, step: Mark, names: &Names, findings: &mut Findings) -> Vec<String> {
    let Some(written) = &wait.pods else {
        let there: Vec<String> = names
            .subjects()
            .filter(|(_, subject)| {
                if matches!(wait.until.value, WaitFor::Gone | WaitFor::Terminating) {
                    subject.was_active
                } else {
                    subject.active
                }
            })
            .filter(|(_, subject)| subject.pods.count > 0)
            .map(|(key, _)| key.to_owned())
            .collect();
        if there.is_empty() && !findings.incomplete && !findings.steps_missing() {
            findings.say(
                Code::E0019,
                step,
                format!("waits for {}, and nothing is started yet", wait.until.value.name()),
            );
        }
        return there;
    };
    let mut waited = Vec::new();
    for (name, key) in keys(written, step, names, findings) {
        let Some(subject) = names.subject(&key) else { continue };
        if !subject.was_active && !findings.steps_missing() {
            findings.say(
                Code::E0019,
                name.mark,
                format!("`{}` is not started yet when this waits for it", name.value),
            );
        } else if subject.pods.count == 0 {
            findings.say(Code::E0012, name.mark, format!("`{}` has no pods to wait for", name.value));
        } else {
            waited.push(key);
        }
    }
    waited
}

/// Whose fillers a wait is about.
fn fillers(wait: &WrittenWait, step: Mark, names: &Names, findings: &mut Findings) -> Vec<String> {
    let waited = pods(wait, step, names, findings);
    let fills = |key: &String| names.subject(key).is_some_and(|subject| subject.fill.is_some());
    if let Some(written) = &wait.pods {
        for name in &written.0 {
            if names.resolve(name, findings).is_some_and(|key| waited.contains(&key) && !fills(&key)) {
                findings.say(
                    Code::E0012,
                    name.mark,
                    format!("`{}` fills nothing: expected a workload with `fill:`", name.value),
                );
            }
        }
    }
    let filling: Vec<String> = waited.into_iter().filter(fills).collect();
    if filling.is_empty() && wait.pods.is_none() && !findings.incomplete {
        findings.say(Code::E0012, step, "waits for fillers, and none is started");
    }
    filling
}

fn fill_step(
    fill: &FillStep,
    step: Mark,
    names: &mut Names,
    nodes: &[Node],
    findings: &mut Findings,
) -> Option<Action> {
    let who = if fill.workload.is_some() { Who::Pod } else { Who::Node };
    let several: Vec<&str> = fill.fills().map(|(_, fill)| fill.name()).collect();
    let Some(written) = fill.fill() else {
        match fill.fills().nth(1) {
            Some((key, _)) => findings.say_with_help(
                Code::E0010,
                key,
                format!("a step fills one resource, and this one {}", several.join(", ")),
                "make it several steps",
            ),
            // What could not be read is complained about already.
            None if findings.steps_missing() => {}
            None => findings.say_with_help(
                Code::E0004,
                step,
                "fills what?",
                "add one of `memory`, `disk`, `inodes`, `pids`, `cpu`",
            ),
        }
        return None;
    };
    fills::check(&written, who, findings);
    let plan = fills::plan(&written, who);
    match (&fill.workload, &fill.node) {
        (Some(_), Some(node)) => {
            findings.say(
                Code::E0010,
                node.key,
                "fills a workload and a node at once: expected one of the two",
            );
            None
        }
        (None, None) => {
            findings.say_with_help(
                Code::E0004,
                step,
                "who fills?",
                "add `workload:` for its fillers, or `node:` for a process outside every pod",
            );
            None
        }
        (None, Some(node)) => {
            let name = one_node(Some(node), step, nodes, findings)?;
            // Without a filesystem of their own, images lie on nodefs.
            let own = nodes.iter().any(|node| node.plan.name == name && node.plan.imagefs.is_some());
            let into = plan.into.clone().map(|into| match into {
                FillPlace::Imagefs if !own => FillPlace::Nodefs,
                into => into,
            });
            Some(Action::Fill { target: FillTarget::Node(name), fill: FillPlan { into, ..plan } })
        }
        (Some(workload), None) => {
            let key = names.resolve(workload, findings)?;
            let subject = names.subject_mut(&key)?;
            if subject.workload.is_none() {
                let message = format!(
                    "`{}` comes from a manifest; only what stands under `workloads` can be told to fill",
                    workload.value
                );
                findings.say(Code::E0012, workload.mark, message);
                return None;
            }
            if !subject.active && !findings.steps_missing() {
                findings.say(
                    Code::E0019,
                    workload.mark,
                    format!("`{}` is not running when this fills it", workload.value),
                );
                return None;
            }
            fills::check_change(&written, subject.fill.as_ref(), findings);
            subject.fill = Some(match &subject.fill {
                // What was settled when it started stays so.
                Some(before) => FillPlan {
                    amount: plan.amount,
                    rate: plan.rate,
                    start_at: plan.start_at,
                    ..before.clone()
                },
                None => plan,
            });
            subject.fill.clone().map(|fill| Action::Fill { target: FillTarget::Workload(key), fill })
        }
    }
}
