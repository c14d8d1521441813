//! A timeline, sorted by what it is about.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use plimsoll_node::report::{OomKill, RuntimeEvent, Sample};
use serde_json::Value;

use super::model::{BlindSpot, Evidence, Moment, StepResult};
use super::words;
use crate::observe::{Answer, DrainOutcome, Fact, Observation, Timeline};
use crate::plan::{Location, Plan, WORKLOAD_LABEL};

/// Something that was observed, with its place in the timeline.
#[derive(Debug)]
pub(super) struct Seen<'a, T: ?Sized> {
    pub(super) observation: &'a Observation,
    pub(super) value: &'a T,
}

impl<T: ?Sized> Clone for Seen<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Seen<'_, T> {}

impl<T: ?Sized> Seen<'_, T> {
    pub(super) fn at(&self) -> Timestamp {
        self.observation.at
    }

    pub(super) fn sequence(&self) -> u64 {
        self.observation.sequence
    }

    pub(super) fn evidence(&self) -> Evidence {
        evidence(self.observation)
    }

    /// The observation as a time: exact for what we measure ourselves.
    pub(super) fn moment(&self) -> Moment {
        Moment { earliest: self.at(), latest: self.at(), sequence: self.sequence() }
    }
}

/// An observation as evidence, in its own words.
pub(super) fn evidence(observation: &Observation) -> Evidence {
    Evidence { sequence: observation.sequence, at: observation.at, text: words::describe(observation) }
}

/// Everything that was observed of one pod.
#[derive(Debug)]
pub(super) struct PodHistory<'a> {
    pub(super) uid: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// As it was added and changed; empty for a pod that only events and kernel logs speak of.
    pub(super) versions: Vec<Seen<'a, Pod>>,
    /// Its deletion, with the object as last seen.
    pub(super) deleted: Option<Seen<'a, Pod>>,
    pub(super) events: Vec<Seen<'a, Event>>,
    pub(super) kills: Vec<Seen<'a, OomKill>>,
}

impl<'a> PodHistory<'a> {
    /// Every version in order, the one at its deletion last.
    pub(super) fn all_versions(&self) -> impl DoubleEndedIterator<Item = Seen<'a, Pod>> + '_ {
        self.versions.iter().copied().chain(self.deleted)
    }

    pub(super) fn last(&self) -> Option<Seen<'a, Pod>> {
        self.deleted.or_else(|| self.versions.last().copied())
    }

    pub(super) fn workload(&self) -> Option<&'a str> {
        self.all_versions().find_map(|version| {
            version.value.metadata.labels.as_ref()?.get(WORKLOAD_LABEL).map(String::as_str)
        })
    }

    pub(super) fn node(&self) -> Option<&'a str> {
        self.all_versions().find_map(|version| version.value.spec.as_ref()?.node_name.as_deref())
    }
}

/// A node's condition at the moment it changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConditionChange<'a> {
    pub(super) node: &'a str,
    pub(super) condition: &'a str,
    /// Whether it is `True` from here on.
    pub(super) raised: bool,
    pub(super) moment: Moment,
    pub(super) observation: &'a Observation,
}

/// A timeline up to the moment its steps were over, sorted by what it is about.
#[derive(Debug)]
pub(super) struct History<'a> {
    /// What is judged: everything up to `Finished`.
    pub(super) observations: &'a [Observation],
    /// Where it ran.
    pub(super) cluster: Option<&'a str>,
    pub(super) started: Option<&'a Observation>,
    pub(super) finished: Option<&'a Observation>,
    /// In order of first appearance.
    pub(super) pods: Vec<PodHistory<'a>>,
    pub(super) nodes: BTreeMap<&'a str, Vec<Seen<'a, Node>>>,
    pub(super) samples: BTreeMap<&'a str, Vec<Seen<'a, Sample>>>,
    pub(super) summaries: BTreeMap<&'a str, Vec<Seen<'a, Value>>>,
    /// All of them, those of pods too, with the node.
    pub(super) kills: Vec<(&'a str, Seen<'a, OomKill>)>,
    /// What each node's container runtime added and removed.
    pub(super) runtime: BTreeMap<&'a str, Vec<Seen<'a, RuntimeEvent>>>,
    /// The kubelet's counts of evictions by node and signal, as last read.
    pub(super) metrics: BTreeMap<(&'a str, &'a str), (u64, &'a Observation)>,
    /// What the API server answered to requests about pods.
    pub(super) answers: Vec<Seen<'a, Answer>>,
    /// What drains came to, with the node.
    pub(super) drains: Vec<(&'a str, &'a DrainOutcome, &'a Observation)>,
    /// The disruption budgets as they were last, by UID.
    pub(super) budgets: BTreeMap<&'a str, Seen<'a, PodDisruptionBudget>>,
    /// Components that ended although they should not have.
    pub(super) broken: Vec<&'a Observation>,
    pub(super) gaps: Vec<BlindSpot>,
    pub(super) steps: Vec<StepResult>,
}

impl<'a> History<'a> {
    pub(super) fn new(plan: Option<&Plan>, timeline: &'a Timeline) -> Self {
        let all = &timeline.observations;
        let end = all
            .iter()
            .position(|observation| matches!(observation.fact, Fact::Finished))
            .map_or(all.len(), |index| index + 1);
        let observations = &all[..end];
        let mut history = Self {
            observations,
            cluster: None,
            started: observations.iter().find(|observation| matches!(observation.fact, Fact::Started)),
            finished: observations.last().filter(|observation| matches!(observation.fact, Fact::Finished)),
            pods: Vec::new(),
            nodes: BTreeMap::new(),
            samples: BTreeMap::new(),
            summaries: BTreeMap::new(),
            kills: Vec::new(),
            runtime: BTreeMap::new(),
            metrics: BTreeMap::new(),
            answers: Vec::new(),
            drains: Vec::new(),
            budgets: BTreeMap::new(),
            broken: Vec::new(),
            gaps: Vec::new(),
            steps: steps(plan, observations),
        };
        let mut index = HashMap::new();
        for observation in observations {
            history.sort(observation, &mut index);
        }
        history.gaps = gaps(observations, history.started.map(|started| started.at));
        history
    }

    fn sort(&mut self, observation: &'a Observation, index: &mut HashMap<&'a str, usize>) {
        match &observation.fact {
            Fact::Pod(pod) => {
                let seen = Seen { observation, value: pod.as_ref() };
                self.pod_of(pod, index).versions.push(seen);
            }
            Fact::PodDeleted(pod) => {
                let seen = Seen { observation, value: pod.as_ref() };
                self.pod_of(pod, index).deleted.get_or_insert(seen);
            }
            Fact::Node(node) => {
                let name = node.metadata.name.as_deref().unwrap_or_default();
                self.nodes.entry(name).or_default().push(Seen { observation, value: node.as_ref() });
            }
            Fact::Event(event) => {
                let object = &event.involved_object;
                if let (Some("Pod"), Some(uid)) = (object.kind.as_deref(), object.uid.as_deref()) {
                    let namespace = object.namespace.as_deref().unwrap_or_default();
                    let name = object.name.as_deref().unwrap_or_default();
                    let seen = Seen { observation, value: event.as_ref() };
                    self.pod(uid, namespace, name, index).events.push(seen);
                }
            }
            Fact::Sample { node, sample } => {
                let seen = Seen { observation, value: sample.as_ref() };
                self.samples.entry(node).or_default().push(seen);
            }
            Fact::Summary { node, summary } => {
                let seen = Seen { observation, value: summary.as_ref() };
                self.summaries.entry(node).or_default().push(seen);
            }
            Fact::Runtime { node, event } => {
                self.runtime.entry(node).or_default().push(Seen { observation, value: event });
            }
            Fact::EvictionMetric { node, signal, count } => {
                self.metrics.insert((node, signal), (*count, observation));
            }
            Fact::OomKill { node, kill } => {
                let seen = Seen { observation, value: kill };
                self.kills.push((node, seen));
                if let Some(uid) = kill.pod_uid.as_deref() {
                    self.pod(uid, "", "", index).kills.push(seen);
                }
            }
            Fact::Answer(answer) => self.answers.push(Seen { observation, value: answer.as_ref() }),
            Fact::Drained { node, outcome } => self.drains.push((node, outcome, observation)),
            Fact::DisruptionBudget(budget) => {
                let uid = budget.metadata.uid.as_deref().unwrap_or_default();
                self.budgets.insert(uid, Seen { observation, value: budget.as_ref() });
            }
            Fact::DisruptionBudgetDeleted(budget) => {
                self.budgets.remove(budget.metadata.uid.as_deref().unwrap_or_default());
            }
            // A filler that ends outside every pod is part of what is tested.
            Fact::ComponentEnded { component, .. } if component.starts_with("filler") => {}
            Fact::ComponentEnded { .. } => self.broken.push(observation),
            Fact::Began { cluster, .. } => self.cluster = Some(cluster),
            Fact::Boot { .. }
            | Fact::Started
            | Fact::StepBegan { .. }
            | Fact::StepEnded { .. }
            | Fact::Filler { .. }
            | Fact::Gap { .. }
            | Fact::Finished => {}
        }
    }

    fn pod_of(&mut self, pod: &'a Pod, index: &mut HashMap<&'a str, usize>) -> &mut PodHistory<'a> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        self.pod(pod.metadata.uid.as_deref().unwrap_or(name), namespace, name, index)
    }

    fn pod(
        &mut self,
        uid: &'a str,
        namespace: &'a str,
        name: &'a str,
        index: &mut HashMap<&'a str, usize>,
    ) -> &mut PodHistory<'a> {
        let place = *index.entry(uid).or_insert_with(|| {
            self.pods.push(PodHistory {
                uid,
                namespace,
                name,
                versions: Vec::new(),
                deleted: None,
                events: Vec::new(),
                kills: Vec::new(),
            });
            self.pods.len() - 1
        });
        let pod = &mut self.pods[place];
        if pod.name.is_empty() {
            (pod.namespace, pod.name) = (namespace, name);
        }
        pod
    }

    /// When the first step could begin; the first observation's time if none ever could.
    pub(super) fn began(&self) -> Timestamp {
        self.started.or(self.observations.first()).map_or(Timestamp::UNIX_EPOCH, |observation| observation.at)
    }

    /// When the watching ended.
    pub(super) fn ended(&self) -> Timestamp {
        self.observations.last().map_or(Timestamp::UNIX_EPOCH, |observation| observation.at)
    }

    /// Every change of a node's pressure conditions, in the order they were seen, across all nodes.
    pub(super) fn pressure_changes(&self) -> Vec<ConditionChange<'a>> {
        let mut changes = Vec::new();
        for (node, versions) in &self.nodes {
            let mut known: BTreeMap<&str, bool> = BTreeMap::new();
            for version in versions {
                let conditions = version.value.status.iter().filter_map(|status| status.conditions.as_ref());
                for condition in
                    conditions.flatten().filter(|condition| condition.type_.ends_with("Pressure"))
                {
                    // Of a node that is not heard of nothing is known, and nothing has changed.
                    if condition.status == "Unknown" {
                        continue;
                    }
                    let raised = condition.status == "True";
                    if known.insert(&condition.type_, raised).unwrap_or(false) != raised {
                        let written = condition.last_transition_time.as_ref().map(|time| time.0);
                        changes.push(ConditionChange {
                            node,
                            condition: &condition.type_,
                            raised,
                            moment: moment(written, version.observation),
                            observation: version.observation,
                        });
                    }
                }
            }
        }
        changes.sort_by_key(|change| change.observation.sequence);
        changes
    }
}

/// The time of something that Kubernetes wrote down in whole seconds and a watch told us of.
pub(super) fn moment(written: Option<Timestamp>, observation: &Observation) -> Moment {
    let told = observation.at;
    // A time later than its telling comes from a clock that is not ours; only the telling is known then.
    let earliest = written.filter(|written| *written <= told).unwrap_or(told);
    let latest = if earliest.subsec_nanosecond() == 0 {
        earliest.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(told).min(told)
    } else {
        earliest
    };
    Moment { earliest, latest, sequence: observation.sequence }
}

/// The stretches in which a source saw nothing after the run had started.
fn gaps(observations: &[Observation], started: Option<Timestamp>) -> Vec<BlindSpot> {
    let mut spots: Vec<BlindSpot> = Vec::new();
    for observation in observations {
        if let Fact::Sample { node, .. } = &observation.fact {
            // A sampler does not say that it sees again: it samples.
            let own = |spot: &&mut BlindSpot| {
                spot.until.is_none() && spot.source.strip_prefix("sampler ") == Some(node)
            };
            for spot in spots.iter_mut().filter(own) {
                spot.until = Some(observation.at);
            }
        }
        let Fact::Gap { source, from, resumed, reason } = &observation.fact else { continue };
        if *resumed {
            // What was blind for good until now sees again.
            for spot in spots.iter_mut().filter(|spot| spot.source == *source && spot.until.is_none()) {
                spot.until = Some(observation.at);
            }
        }
        spots.push(BlindSpot {
            source: source.clone(),
            from: *from,
            until: resumed.then_some(observation.at),
            reason: reason.clone(),
            sequence: observation.sequence,
        });
    }
    // Nothing that a scenario speaks of happens before it starts.
    spots.retain(|spot| started.is_none_or(|started| spot.until.is_none_or(|until| until > started)));
    spots
}

fn steps(plan: Option<&Plan>, observations: &[Observation]) -> Vec<StepResult> {
    let mut results: BTreeMap<usize, StepResult> = BTreeMap::new();
    let result = |step: usize| {
        let planned = plan.and_then(|plan| plan.steps.get(step));
        StepResult {
            step,
            location: planned.map_or_else(Location::default, |planned| planned.location.clone()),
            title: planned
                .map_or_else(|| format!("step {}", step + 1), |planned| words::action(&planned.action)),
            outcome: None,
            began: None,
            ended: None,
        }
    };
    for observation in observations {
        match &observation.fact {
            Fact::StepBegan { step } => {
                results.entry(*step).or_insert_with(|| result(*step)).began = Some(observation.at);
            }
            Fact::StepEnded { step, location, outcome } => {
                let entry = results.entry(*step).or_insert_with(|| result(*step));
                entry.location = location.clone();
                entry.outcome = Some(outcome.clone());
                entry.ended = Some(observation.at);
            }
            _ => {}
        }
    }
    results.into_values().collect()
}
