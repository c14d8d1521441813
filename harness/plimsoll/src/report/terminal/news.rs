//! What is worth a line when it is observed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use plimsoll_node::report::{RuntimeObject, Sample};

use super::Verbosity;
use crate::model::MODEL;
use crate::observe::{DrainOutcome, Fact, Observation, StepOutcome};
use crate::plan::Plan;
use crate::report::level::{Level, Levels};
use crate::verdict::{end_by_event, end_words, words};

/// How a line is meant; the words say it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Faint,
    Strong,
    Good,
    Warning,
    Bad,
}

/// A line, and from which verbosity on it is said.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) from: Verbosity,
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Item {
    fn new(from: Verbosity, tone: Tone, text: impl Into<String>) -> Self {
        Self { from, tone, text: text.into() }
    }
}

/// What was told already, so that nothing is told twice.
#[derive(Debug, Default)]
pub(super) struct News {
    scenario: String,
    steps: Vec<String>,
    predicted: bool,
    began: Option<Timestamp>,
    started: Option<Timestamp>,
    levels: Levels,
    phases: BTreeMap<String, String>,
    ends: BTreeSet<(String, String)>,
    conditions: BTreeMap<(String, String), bool>,
    counts: BTreeMap<(String, String), u64>,
}

impl News {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            scenario: plan.name.clone(),
            steps: plan.steps.iter().map(|step| words::action(&step.action)).collect(),
            levels: Levels::of(plan),
            ..Self::default()
        }
    }

    pub(super) fn level(&mut self, node: &str, sample: &Sample) -> Option<Level> {
        // Before the steps begin a node that boots has nothing to fill.
        self.started?;
        self.levels.nearest(node, sample)
    }

    /// A line with the time since the steps began, or since the run did before that.
    pub(super) fn stamped(&self, at: Timestamp, text: &str) -> String {
        let since = self.started.or(self.began).map_or(0.0, |since| words::seconds_between(since, at));
        // Nodes' clocks and ours are one, but what they say may be a little older than its telling.
        let since = if since.abs() < 0.05 { 0.0 } else { since };
        format!("{since:>8.1}s  {text}")
    }

    /// What an observation is worth.
    pub(super) fn of_observation(&mut self, observation: &Observation) -> Vec<Item> {
        use Tone::{Bad, Faint, Plain, Strong, Warning};
        use Verbosity::{Everything, Normal, Verbose};
        let one = |item| vec![item];
        match &observation.fact {
            Fact::Began { cluster, kubernetes } => {
                self.began = Some(observation.at);
                self.predicted = cluster == MODEL;
                let scenario = &self.scenario;
                if self.predicted {
                    let text = format!(
                        "PREDICTED, nothing is run: {scenario}, in virtual time, by the rules of Kubernetes {kubernetes}"
                    );
                    return one(Item::new(Normal, Strong, text));
                }
                one(Item::new(Normal, Strong, format!("{scenario} on {cluster}, Kubernetes {kubernetes}")))
            }
            Fact::Boot { part, phase } => one(Item::new(Normal, Faint, format!("boot  {part}: {phase}"))),
            // In virtual time nothing has to boot.
            Fact::Started if self.predicted => {
                self.started = Some(observation.at);
                Vec::new()
            }
            Fact::Started => {
                let item = Item::new(Normal, Plain, self.ready(observation.at));
                self.started = Some(observation.at);
                one(item)
            }
            Fact::StepBegan { step } => one(Item::new(Normal, Strong, self.step(*step))),
            Fact::StepEnded { step, outcome, location } => one(match outcome {
                StepOutcome::Done => Item::new(Verbose, Faint, format!("step {} done", step + 1)),
                StepOutcome::Skipped => Item::new(Normal, Warning, format!("{} skipped", self.step(*step))),
                StepOutcome::TimedOut(_) | StepOutcome::Failed(_) => {
                    let text = format!("step {} {} ({location})", step + 1, words::outcome_words(outcome));
                    Item::new(Normal, Bad, text)
                }
            }),
            Fact::Pod(pod) => self.pod(pod).into_iter().collect(),
            Fact::PodDeleted(pod) => {
                let name = pod.metadata.name.as_deref().unwrap_or("?");
                one(Item::new(Verbose, Faint, format!("{name}: deleted")))
            }
            Fact::Node(node) => self.node(node),
            Fact::Event(event) => self.event(event).into_iter().collect(),
            Fact::EvictionMetric { node, signal, count } => {
                let before = self.counts.insert((node.clone(), signal.clone()), *count);
                let changed = before != Some(*count);
                changed
                    .then(|| Item::new(Everything, Faint, words::describe(observation)))
                    .into_iter()
                    .collect()
            }
            // By its digest an image is told of once more.
            Fact::Runtime { event, .. } if !event.name.starts_with("sha256:") && self.started.is_some() => {
                let is_loss = event.what == RuntimeObject::Image && !event.added;
                one(Item::new(if is_loss { Normal } else { Everything }, Plain, words::describe(observation)))
            }
            Fact::Runtime { .. } => Vec::new(),
            Fact::Filler { .. } => one(Item::new(Everything, Faint, words::describe(observation))),
            Fact::OomKill { .. } | Fact::ComponentEnded { .. } => {
                one(Item::new(Normal, Bad, words::describe(observation)))
            }
            Fact::Gap { .. } => one(Item::new(Normal, Warning, words::describe(observation))),
            Fact::Answer(answer) => {
                let tone = if answer.code < 300 { Plain } else { Warning };
                one(Item::new(Normal, tone, words::describe(observation)))
            }
            Fact::Drained { outcome, .. } => {
                let tone = if matches!(outcome, DrainOutcome::Emptied { .. }) { Tone::Good } else { Warning };
                one(Item::new(Normal, tone, words::describe(observation)))
            }
            Fact::DisruptionBudget(_) | Fact::DisruptionBudgetDeleted(_) => {
                one(Item::new(Everything, Faint, words::describe(observation)))
            }
            Fact::Finished => one(Item::new(Normal, Plain, words::describe(observation))),
            Fact::Sample { .. } | Fact::Summary { .. } => Vec::new(),
        }
    }

    fn ready(&self, at: Timestamp) -> String {
        let took = self.began.map(|began| words::seconds(words::seconds_between(began, at)));
        format!("nodes Ready{}", took.map_or_else(String::new, |took| format!(" in {took}")))
    }

    fn step(&self, step: usize) -> String {
        let title = self.steps.get(step).map_or("?", String::as_str);
        format!("step {}/{}: {title}", step + 1, self.steps.len())
    }

    fn pod(&mut self, pod: &Pod) -> Option<Item> {
        let name = pod.metadata.name.as_deref().unwrap_or("?");
        let status = pod.status.as_ref()?;
        let phase = status.phase.as_deref()?;
        let uid = pod.metadata.uid.as_deref().unwrap_or(name);
        let before = self.phases.insert(uid.to_owned(), phase.to_owned());
        if before.as_deref() == Some(phase) {
            return None;
        }
        match phase {
            "Running" => {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("?");
                Some(Item::new(Verbosity::Normal, Tone::Good, format!("{name}: Running on {node}")))
            }
            // The event told it in full.
            "Failed" if self.ends.contains(&(uid.to_owned(), "Evicted".to_owned())) => {
                Some(Item::new(Verbosity::Verbose, Tone::Faint, format!("{name}: Failed")))
            }
            "Failed" => {
                let reason = status.reason.as_deref().or_else(|| ended_by(pod)).unwrap_or("no reason given");
                Some(Item::new(Verbosity::Normal, Tone::Bad, format!("{name}: Failed, {reason}")))
            }
            phase => Some(Item::new(Verbosity::Verbose, Tone::Faint, format!("{name}: {phase}"))),
        }
    }

    fn node(&mut self, node: &Node) -> Vec<Item> {
        let name = node.metadata.name.as_deref().unwrap_or("?");
        let conditions = node.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        let mut items = Vec::new();
        for condition in conditions.filter(|condition| condition.type_.ends_with("Pressure")) {
            let raised = condition.status == "True";
            let key = (name.to_owned(), condition.type_.clone());
            if self.conditions.insert(key, raised).unwrap_or(false) == raised {
                continue;
            }
            let (tone, word) = if raised { (Tone::Warning, "raised") } else { (Tone::Good, "cleared") };
            items.push(Item::new(Verbosity::Normal, tone, format!("{name}: {} {word}", condition.type_)));
        }
        items
    }

    fn event(&mut self, event: &Event) -> Option<Item> {
        let object = &event.involved_object;
        let name = object.name.as_deref().unwrap_or("?");
        let uid = object.uid.as_deref().unwrap_or(name);
        if let Some(end) = end_by_event(event) {
            let key = (uid.to_owned(), "Evicted".to_owned());
            let text = format!("{name}: {}", end_words(&end));
            return self.ends.insert(key).then(|| Item::new(Verbosity::Normal, Tone::Bad, text));
        }
        let text = format!(
            "{name}: {}: {}",
            event.reason.as_deref().unwrap_or("event"),
            event.message.as_deref().unwrap_or_default().trim_end()
        );
        match event.reason.as_deref() {
            Some("EvictionThresholdMet") => Some(Item::new(Verbosity::Normal, Tone::Warning, text)),
            _ => Some(Item::new(Verbosity::Everything, Tone::Faint, text)),
        }
    }
}

fn ended_by(pod: &Pod) -> Option<&str> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find_map(|container| container.state.as_ref()?.terminated.as_ref()?.reason.as_deref())
}
