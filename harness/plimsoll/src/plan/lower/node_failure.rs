//! Nodes that are taken away and come back, components of the control plane that are stopped and started, and what is expected
//! of it.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Node;
use super::context::Findings;
use super::expectations::Lowering;
use super::hollow;
use super::steps::{condition, one_node};
use crate::plan::{
    Action, ComponentChange, ControlPlaneComponent, Expect, HollowPlan, NodeChange, TaintedExpectation, Until,
};
use crate::scenario::format::disruption::TaintEffect;
use crate::scenario::format::expect::{Tainted, Tolerated};
use crate::scenario::format::step::{
    ConditionState, ControlPlaneStep, NodeStep, Wait as WrittenWait, WaitFor,
};
use crate::scenario::format::values::Names;
use crate::scenario::tree::{Mark, shortened};
use crate::scenario::{Code, Entries, Located};

/// The condition that an evictor for GPU memory sets.
const GPU_MEMORY_PRESSURE: &str = "GPUMemoryPressure";

fn has_evictor(node: &Node) -> bool {
    node.plan.gpus.as_ref().is_some_and(|gpus| gpus.evictor.is_some())
}

/// What is away as the steps go by.
#[derive(Default)]
pub(super) struct Away {
    nodes: BTreeMap<String, BTreeSet<NodeChange>>,
    components: BTreeSet<ControlPlaneComponent>,
}

impl Away {
    /// A step that takes a node away, or brings it back by undoing what took it away.
    pub(super) fn node(
        &mut self,
        step: &NodeStep,
        place: Mark,
        nodes: &[Node],
        findings: &mut Findings,
    ) -> Option<Action> {
        let node = one_node(step.name.as_ref(), place, nodes, findings)?;
        let (change, mark) = (step.change.value, step.change.mark);
        let away = self.nodes.entry(node.clone()).or_default();
        let complete = !findings.steps_missing();
        if change.undone_by().is_some() {
            if away.contains(&NodeChange::Kill) && complete {
                let text = format!("`{node}` has no power when this is done to it: `start` it before");
                findings.say(Code::E0019, mark, text);
            }
            if !away.insert(change) && change != NodeChange::Kill && complete {
                let undone = change.undone_by().map_or("", NodeChange::name);
                let text =
                    format!("`{}` is done to `{node}` already, and not undone by `{undone}`", change.name());
                findings.say(Code::E0019, mark, text);
            }
            if change == NodeChange::Kill {
                // Whatever else was done to it ends with its power.
                *away = [change].into();
            }
        } else {
            let undoes = |before: &NodeChange| before.undone_by() == Some(change);
            let before = away.iter().copied().find(undoes);
            match before {
                Some(before) => drop(away.remove(&before)),
                None if complete => {
                    let text = format!("nothing was done to `{node}` that `{}` undoes", change.name());
                    findings.say(Code::E0019, mark, text);
                }
                None => {}
            }
        }
        Some(Action::Node { node, change })
    }

    /// A step that stops a component of the control plane, or starts it again.
    pub(super) fn control_plane(&mut self, step: &ControlPlaneStep, findings: &mut Findings) -> Action {
        let (component, change) = (step.component.value, step.change.value);
        let (changed, state) = match change {
            ComponentChange::Stop => (self.components.insert(component), "stopped already"),
            ComponentChange::Start => (self.components.remove(&component), "not stopped"),
        };
        if !changed && !findings.steps_missing() {
            findings.say(Code::E0019, step.component.mark, format!("{} is {state}", component.name()));
        }
        Action::ControlPlane { component, change }
    }
}

/// A wait for a node's condition.
pub(super) fn condition_wait(
    wait: &WrittenWait,
    step: Mark,
    nodes: &[Node],
    findings: &mut Findings,
) -> Option<Until> {
    let node = one_node(wait.node.as_ref(), step, nodes, findings);
    let written = wait.condition.as_ref()?;
    let state = wait.state.as_ref().map_or(ConditionState::Raised, |state| state.value);
    let is_ready = written.value == "Ready";
    let name = match written.value.as_str() {
        "Ready" => "Ready",
        GPU_MEMORY_PRESSURE if nodes.iter().any(has_evictor) => GPU_MEMORY_PRESSURE,
        _ => condition(written, findings)?.name(),
    };
    let node = node?;
    let status = match state {
        ConditionState::Unknown => "Unknown",
        ConditionState::Raised if is_ready => "True",
        ConditionState::Cleared if is_ready => "False",
        ConditionState::Raised | ConditionState::Cleared => {
            let raised = state == ConditionState::Raised;
            return Some(Until::Condition { node, condition: name.to_owned(), raised });
        }
    };
    Some(Until::ConditionStatus { node, condition: name.to_owned(), status: status.to_owned() })
}

/// A wait for a node's taint.
pub(super) fn taint_wait(
    wait: &WrittenWait,
    step: Mark,
    nodes: &[Node],
    hollow: Option<&HollowPlan>,
    findings: &mut Findings,
) -> Option<Until> {
    let node = match &wait.zone {
        Some(_) => None,
        None => one_node(wait.node.as_ref(), step, nodes, findings),
    };
    let Some(taint) = &wait.taint else {
        let help = "add `taint: node.kubernetes.io/unreachable`";
        findings.say_with_help(Code::E0004, wait.until.mark, "which taint?", help);
        return None;
    };
    let present = match &wait.state {
        Some(state) if state.value == ConditionState::Unknown => {
            findings.say(Code::E0010, state.mark, "a taint is there or not: expected raised or cleared");
            return None;
        }
        Some(state) => state.value == ConditionState::Raised,
        None => true,
    };
    let key = taint_key(taint, findings)?;
    let effect = wait.effect.as_ref().map(|effect| effect.value.name().to_owned());
    if let Some(name) = &wait.zone {
        let zone = hollow::zone(name, hollow, findings)?;
        let count = wait.count.as_ref().map_or(1, |count| count.0);
        if count > zone.nodes() {
            let text = format!("zone `{}` has {} nodes: expected 1 to that many", zone.name, zone.nodes());
            let mark = wait.count.as_ref().map_or(name.mark, |count| count.mark);
            findings.say(Code::E0006, mark, text);
        }
        return Some(Until::ZoneTaint { zone: zone.name.clone(), key, effect, count, present });
    }
    Some(Until::Taint { node: node?, key, effect, present })
}

/// A taint's key as Kubernetes allows it: a name, and before it a domain if any.
fn taint_key(written: &Located<String>, findings: &mut Findings) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let key = written.value.as_str();
    if key.is_empty() || key.len() > 316 || !key.bytes().all(allowed) || key.matches('/').count() > 1 {
        findings.say_with_help(
            Code::E0006,
            written.mark,
            format!("`{}` is no taint's key", shortened(key)),
            "such as `node.kubernetes.io/unreachable`; its effect stands beside it as `effect: NoExecute`",
        );
        return None;
    }
    Some(key.to_owned())
}

/// Says what of a wait's fields goes only with conditions and taints.
pub(super) fn check_wait_fields(wait: &WrittenWait, findings: &mut Findings) {
    let what = wait.until.value;
    let fields = [
        ("taint", wait.taint.as_ref().map(|field| field.key)),
        ("effect", wait.effect.as_ref().map(|field| field.key)),
    ];
    for (field, key) in fields {
        if let (Some(key), true) = (key, what != WaitFor::Taint) {
            findings.say(Code::E0010, key, format!("`{field}` does not go with `for: {}`", what.name()));
        }
    }
}

impl Lowering<'_> {
    /// Taints of nodes.
    pub(super) fn tainted(&mut self, written: &Located<Vec<Located<Tainted>>>) {
        let mut expected = Vec::new();
        for entry in written.iter() {
            let node = one_node(entry.node.as_ref(), entry.mark, self.nodes, self.findings);
            let key = taint_key(&entry.taint, self.findings);
            let within = entry.within.as_ref().map(|within| self.lasting(within));
            let effect = entry.effect.map(TaintEffect::name).map(str::to_owned);
            if let (Some(node), Some(key)) = (node, key) {
                expected.push(TaintedExpectation { node, key, effect, within, removed: entry.removed });
            }
        }
        if expected.len() == written.len() {
            self.add(written.key, Expect::Tainted(expected));
        }
    }

    /// How long pods stayed on a node with a NoExecute taint.
    pub(super) fn tolerated(&mut self, written: &Entries<Located<Tolerated>>) {
        for (name, tolerated) in written.iter() {
            let Some(workload) = self.subject_with_pods(name) else { continue };
            let asked = match &tolerated.value {
                Tolerated::Asked(time) => Some(time.0.as_secs()),
                _ => None,
            };
            let lasting = match &tolerated.value {
                Tolerated::Always | Tolerated::Asked(_) => None,
                Tolerated::Lasting(lasting) => {
                    let lasting = Located { value: *lasting, mark: tolerated.mark, key: tolerated.key };
                    Some(self.lasting(&lasting))
                }
            };
            self.add(name.mark, Expect::Tolerated { workload, lasting, asked });
        }
    }

    /// Pods that were to go and did not.
    pub(super) fn terminating(&mut self, written: &Located<Names>) {
        let names = self.names_of(&written.0, written.key, true);
        self.add(written.key, Expect::Terminating(names));
    }
}
