//! Steps and expectations of disruptions that are no pressure.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;

use super::cluster::Node;
use super::context::Findings;
use super::expectations::{Lowering, counts};
use super::names::Names;
use super::steps::{condition, one_node};
use super::workloads::check_node;
use crate::plan::{
    Action, Band, DeletePodsPlan, DrainPlan, DrainedExpectation, DrainedTo, EndKind, EndedExpectation,
    EvictPlan, Expect, FlappingExpectation, ScaleDownExpectation, SlowedExpectation, TaintPlan,
};
use crate::scenario::format::disruption::{
    DeletePodsStep, DrainStep, Drained, Ended, EvictStep, Flapping, ScaleDownObstacle, StatusCodes, TaintStep,
};
use crate::scenario::format::expect::Slowed;
use crate::scenario::format::values::{Names as WrittenNames, Time};
use crate::scenario::tree::{Mark, shortened};
use crate::scenario::{Code, Entries, Located};

/// How long a drain goes on that does not say.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// A request to the eviction API.
pub(super) fn evict(written: &EvictStep, step: Mark, names: &Names, findings: &mut Findings) -> Action {
    if written.pods.0.is_empty() {
        findings.say(Code::E0005, step, "names nobody: expected at least one name");
    }
    let mut workloads = Vec::new();
    for name in &written.pods.0 {
        let Some(key) = names.resolve(name, findings) else { continue };
        let Some(subject) = names.subject(&key) else { continue };
        if subject.pods.count == 0 {
            findings.say(Code::E0012, name.mark, format!("`{}` has no pods to evict", name.value));
        } else if !subject.was_active && !findings.steps_missing() {
            let message = format!("`{}` is not started yet when this evicts it", name.value);
            findings.say(Code::E0019, name.mark, message);
        } else {
            workloads.push(key);
        }
    }
    positive(written.retry_for.as_ref(), "retries", findings);
    Action::Evict(EvictPlan {
        workloads,
        dry_run: written.dry_run,
        grace_period_seconds: written.grace_period_seconds.as_ref().map(|seconds| seconds.0),
        retry_for: written.retry_for.as_ref().map(|time| time.0),
    })
}

/// Nodes that are cordoned or uncordoned.
pub(super) fn cordon(
    written: &WrittenNames,
    unschedulable: bool,
    step: Mark,
    nodes: &[Node],
    findings: &mut Findings,
) -> Action {
    if written.0.is_empty() {
        findings.say(Code::E0005, step, "names no node: expected at least one name");
    }
    let known = written.0.iter().filter(|name| check_node(name, nodes, findings));
    Action::Cordon { nodes: known.map(|name| name.value.clone()).collect(), unschedulable }
}

/// A drain.
pub(super) fn drain(
    written: &DrainStep,
    step: Mark,
    nodes: &[Node],
    findings: &mut Findings,
) -> Option<Action> {
    positive(written.timeout.as_ref(), "goes on", findings);
    Some(Action::Drain(DrainPlan {
        node: one_node(written.node.as_ref(), step, nodes, findings)?,
        ignore_daemon_sets: written.ignore_daemon_sets,
        delete_empty_dir_data: written.delete_empty_dir_data,
        force: written.force,
        disable_eviction: written.disable_eviction,
        grace_period_seconds: written.grace_period_seconds.as_ref().map(|seconds| seconds.0),
        timeout: written.timeout.as_ref().map_or(DRAIN_TIMEOUT, |time| time.0),
        background: written.background,
    }))
}

/// A taint put on or taken off.
pub(super) fn taint(
    written: &TaintStep,
    on: bool,
    step: Mark,
    nodes: &[Node],
    findings: &mut Findings,
) -> Option<Action> {
    if written.key.is_empty() {
        findings.say(Code::E0006, written.key.mark, "a taint without a key");
    }
    let taint = Taint {
        key: written.key.value.clone(),
        value: written.value.as_ref().map(|value| value.value.clone()),
        effect: written.effect.name().to_owned(),
        time_added: None,
    };
    Some(Action::Taint(TaintPlan {
        node: one_node(written.node.as_ref(), step, nodes, findings)?,
        taint,
        on,
    }))
}

/// Pods deleted by a selector.
pub(super) fn delete_pods(written: &DeletePodsStep, findings: &mut Findings) -> Action {
    let selector = &written.field_selector;
    if !selector.contains('=') {
        let message = format!("`{}` selects by no field", shortened(selector));
        findings.say_with_help(Code::E0006, selector.mark, message, "such as `status.phase=Failed`");
    }
    Action::DeletePods(DeletePodsPlan { field_selector: selector.value.clone(), force: written.force })
}

fn positive(time: Option<&Located<Time>>, what: &str, findings: &mut Findings) {
    if let Some(time) = time.filter(|time| time.0.is_zero()) {
        findings.say(Code::E0006, time.mark, format!("{what} for no time at all: expected more than 0s"));
    }
}

impl Lowering<'_> {
    pub(super) fn ended(&mut self, name: &Located<String>, written: &Located<Ended>) {
        let Some(workload) = self.subject_with_pods(name) else { return };
        let count = written.count.as_ref().map_or(Band { at_least: Some(1), at_most: None }, counts);
        self.check_band(count, written.mark);
        let restarts = written.restarts.as_ref().map(counts);
        if let Some(restarts) = restarts {
            self.check_band(restarts, written.mark);
        }
        if written.says.iter().any(String::is_empty) {
            self.findings.say(Code::E0011, written.mark, "`says` nothing, which proves nothing");
        }
        let open = matches!(written.kind, EndKind::Running | EndKind::Pending);
        if let (true, Some(gone)) = (open, written.gone) {
            let message =
                format!("`gone: {gone}` does not go with `{}`: such a pod is there", written.kind.name());
            self.findings.say(Code::E0010, written.mark, message);
        }
        self.add(
            name.mark,
            Expect::Ended(EndedExpectation {
                workload,
                kind: written.kind,
                count,
                gone: written.gone,
                reason: written.reason.clone(),
                says: written.says.clone(),
                restarts,
            }),
        );
    }

    pub(super) fn answered(&mut self, name: &Located<String>, codes: &Located<StatusCodes>, draining: bool) {
        let Some(workload) = self.subject_with_pods(name) else { return };
        if codes.is_empty() {
            self.findings.say(
                Code::E0011,
                codes.mark,
                "no answer at all proves nothing: expected at least one",
            );
        }
        let mut lowered: Vec<u16> = Vec::new();
        for code in codes.iter() {
            match u16::try_from(code.0) {
                Ok(known) if (100..600).contains(&known) && lowered.last() == Some(&known) => {
                    let message = "equal answers one after another count once";
                    self.findings.say(Code::E0007, code.mark, format!("{known} twice: {message}"));
                }
                Ok(known) if (100..600).contains(&known) => lowered.push(known),
                _ => self.findings.say(
                    Code::E0006,
                    code.mark,
                    format!("{} is no HTTP status code: expected such as 201 or 429", code.0),
                ),
            }
        }
        let asks = |action: &Action| match action {
            Action::Evict(evict) => !draining && evict.workloads.contains(&workload),
            Action::Drain(drain) => draining && !drain.disable_eviction,
            _ => false,
        };
        if !self.steps.iter().any(|step| asks(&step.action)) && !self.findings.steps_missing() {
            let (what, help) = if draining {
                ("drains a node by evictions".to_owned(), "- drain: {node: NODE}".to_owned())
            } else {
                (format!("evicts `{}`", name.value), format!("- evict: {{pods: [{}]}}", name.value))
            };
            self.findings.say_with_help(
                Code::E0012,
                name.mark,
                format!("no step {what}: nothing is answered"),
                format!("add `{help}` to the steps"),
            );
        }
        self.add(name.mark, Expect::Answered { workload, codes: lowered, draining });
    }

    pub(super) fn drained(&mut self, node: &Located<String>, written: &Located<Drained>) {
        if !check_node(node, self.nodes, self.findings) {
            return;
        }
        let drains = |step: &&_| matches!(step, Action::Drain(drain) if drain.node == node.value);
        if self.steps.iter().map(|step| &step.action).filter(drains).count() == 0
            && !self.findings.steps_missing()
        {
            self.findings.say_with_help(
                Code::E0012,
                node.mark,
                format!("no step drains {}", node.value),
                format!("add `- drain: {{node: {}}}` to the steps", node.value),
            );
        }
        let to = match &written.value {
            Drained::To(end) => DrainedTo::End(*end),
            Drained::Refused(pods) => {
                if pods.is_empty() {
                    let message = "a refusal for nobody: expected at least one name with its reason";
                    self.findings.say(Code::E0011, written.mark, message);
                }
                DrainedTo::Refused(self.by_workload(pods))
            }
        };
        self.add(node.mark, Expect::Drained(DrainedExpectation { node: node.value.clone(), to }));
    }

    fn by_workload<T: Copy>(&mut self, entries: &Entries<T>) -> BTreeMap<String, T> {
        let known = entries.iter().filter_map(|(name, value)| Some((self.subject_with_pods(name)?, *value)));
        known.collect()
    }

    pub(super) fn nominated(&mut self, name: &Located<String>, node: &Located<String>) {
        let known = check_node(node, self.nodes, self.findings);
        if let (Some(workload), true) = (self.subject_with_pods(name), known) {
            self.add(name.mark, Expect::Nominated { workload, node: node.value.clone() });
        }
    }

    pub(super) fn scale_down_blocked(
        &mut self,
        node: &Located<String>,
        by: &Located<Entries<ScaleDownObstacle>>,
    ) {
        if check_node(node, self.nodes, self.findings) {
            let blocked_by = self.by_workload(&by.value);
            let expected = ScaleDownExpectation { node: node.value.clone(), blocked_by };
            self.add(node.mark, Expect::ScaleDownBlocked(expected));
        }
    }

    pub(super) fn slowed(&mut self, name: &Located<String>, written: &Located<Slowed>) {
        let bounds = [written.at_least.as_ref(), written.at_most.as_ref()];
        if bounds.iter().all(Option::is_none) {
            let text = "by how much? Expected `atLeast` or `atMost`";
            self.findings.say(Code::E0004, written.mark, text);
        }
        if let (Some(least), Some(most)) = (&written.at_least, &written.at_most)
            && least.0 > most.0
        {
            self.findings.say(Code::E0006, most.mark, "`atMost` is less than `atLeast`");
        }
        let (workload, by) = (self.subject_with_pods(name), self.subject_with_pods(&written.by));
        if let (Some(workload), Some(by)) = (workload, by) {
            let [at_least, at_most] = bounds.map(|bound| bound.map(|number| number.0));
            self.add(name.mark, Expect::Slowed(SlowedExpectation { workload, by, at_least, at_most }));
        }
    }

    pub(super) fn flapping(&mut self, written: &Located<Flapping>) {
        let node = one_node(written.node.as_ref(), written.mark, self.nodes, self.findings);
        let known = condition(&written.condition, self.findings);
        let times = counts(&written.times);
        self.check_band(times, written.mark);
        let period = written.period.as_ref().map(|period| self.lasting(period));
        if let (Some(node), Some(known)) = (node, known) {
            let condition = known.name().to_owned();
            self.add(written.mark, Expect::Flapping(FlappingExpectation { node, condition, times, period }));
        }
    }
}
