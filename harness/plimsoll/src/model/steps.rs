//! The steps of a plan with names resolved, and what of them the model does not know of.

use std::collections::BTreeMap;

use plimsoll_eviction::signal::NodeCondition;
use plimsoll_eviction::taint::Taint;

use super::curve::{Course, Micros};
use super::disruption::{EvictedWorkload, PreparedDrain, PreparedEvict};
use super::fill::{Kind as FillKind, lies_with_images};
use super::prepare::{Kind, PrepareError, Prepared, micros};
use super::simulation::Seen;
use super::template::Admission;
use crate::kubernetes::UNREACHABLE;
use crate::plan::filler;
use crate::plan::{
    Action, BallastImage, DeletePodsPlan, EvictPlan, FillTarget, NodeChange, Plan, PlannedStep, Until,
};

/// What a step does, with names resolved.
#[derive(Debug, Clone)]
pub(super) enum PreparedStep {
    Start(Vec<usize>),
    Delete(Vec<usize>),
    Apply(Vec<usize>),
    /// Pods of the run's namespace are deleted, by a selector.
    DeletePods {
        selector: String,
        which: Which,
        force: bool,
    },
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
    /// Pods are asked to go through the eviction API.
    Evict(PreparedEvict),
    /// A node is emptied.
    Drain(PreparedDrain),
    /// A node is taken away, or brought back.
    Node {
        node: usize,
        change: NodeChange,
    },
    /// Something that the model does not know of: it takes no time.
    Nothing,
}

/// Which pods a field selector finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// Those whose status says so.
    Phase(Seen),
    /// The one of this name.
    Name(String),
}

impl Which {
    fn new(selector: &str) -> Option<Self> {
        match selector.split_once('=')? {
            ("status.phase", "Failed") => Some(Self::Phase(Seen::Failed)),
            ("status.phase", "Succeeded") => Some(Self::Phase(Seen::Succeeded)),
            ("metadata.name", name) => Some(Self::Name(name.to_owned())),
            _ => None,
        }
    }
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
    /// Every pod is Ready.
    Ready(Vec<usize>),
    /// A node's condition Ready has this status.
    NodeReady {
        node: usize,
        known: bool,
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
    /// So many drains of a node are over.
    Drained {
        node: usize,
        count: u32,
    },
    /// Something that the model does not know of, and that never comes.
    Never(String),
}

impl Prepared {
    pub(super) fn step(
        &mut self,
        plan: &Plan,
        step: &PlannedStep,
        by_workload: &BTreeMap<&str, Vec<usize>>,
        classes: &Admission,
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
            Action::Evict(evict) => PreparedStep::Evict(self.evict(plan, evict, by_workload)),
            Action::Drain(drain) => {
                let node = self.node_place(&drain.node)?;
                PreparedStep::Drain(PreparedDrain::new(drain, node, plan.expects_drains_of(&drain.node)))
            }
            Action::DeletePods(DeletePodsPlan { field_selector, force }) => {
                match Which::new(field_selector) {
                    Some(which) => {
                        PreparedStep::DeletePods { selector: field_selector.clone(), which, force: *force }
                    }
                    None => {
                        let title = crate::verdict::words::action(&step.action);
                        self.omissions.push(format!("a step is not modelled: {title}"));
                        PreparedStep::Nothing
                    }
                }
            }
            Action::Load { node, images } => {
                PreparedStep::Load { node: self.node_place(node)?, images: images.clone() }
            }
            Action::Node { node, change } => {
                PreparedStep::Node { node: self.node_place(node)?, change: *change }
            }
            Action::ControlPlane { .. } | Action::Zone { .. } | Action::Gpu { .. } => {
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

    fn evict(
        &self,
        plan: &Plan,
        evict: &EvictPlan,
        by_workload: &BTreeMap<&str, Vec<usize>>,
    ) -> PreparedEvict {
        let workload = |name: &String| {
            let objects = by_workload.get(name.as_str()).into_iter().flatten().map(|own| &self.objects[*own]);
            let bare = objects.filter(|object| object.kind == Kind::Pod).filter_map(|object| {
                let rules = self.templates[object.template?].rules();
                Some((rules.namespace.clone(), rules.name.clone()))
            });
            Some(EvictedWorkload {
                workload: self.place(name)?,
                name: name.clone(),
                bare: bare.collect(),
                refusal_is_told: plan.expects_answers_of(name),
            })
        };
        PreparedEvict {
            workloads: evict.workloads.iter().filter_map(workload).collect(),
            dry_run: evict.dry_run,
            grace_seconds: evict.grace_period_seconds.map(i64::from),
            retry_for: evict.retry_for.map_or(0, micros),
        }
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
            Until::Running(names) => PreparedUntil::Running(self.workload_places(names)),
            Until::Ready(names) => PreparedUntil::Ready(self.workload_places(names)),
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
            Until::ConditionStatus { node, condition, status }
                if condition == "Ready"
                    && (status == "True" || status == "Unknown" && self.taint_keys.contains(UNREACHABLE)) =>
            {
                PreparedUntil::NodeReady { node: self.node_place(node)?, known: status == "True" }
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
            Until::Drained { node, count } => {
                PreparedUntil::Drained { node: self.node_place(node)?, count: *count }
            }
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
