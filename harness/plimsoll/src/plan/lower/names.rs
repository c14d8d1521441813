//! Who is called what: names in steps and expectations, and what they stand for.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Node;
use super::context::Findings;
use super::fills::{self, Who};
use super::objects::{Object, Pods, label_value};
use crate::plan::{FillPlan, NAMESPACE};
use crate::scenario::format::document::Spec;
use crate::scenario::format::step::Step;
use crate::scenario::tree::{Mark, shortened};
use crate::scenario::{Code, Located, nearest};

/// What one name stands for.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    /// Where it is declared.
    pub(super) mark: Mark,
    /// The workload of this name, by its place in the list.
    pub(super) workload: Option<usize>,
    /// The manifest objects, by their places in the list.
    pub(super) objects: Vec<usize>,
    /// How many pods, and whether they are replaced.
    pub(super) pods: Pods,
    /// What its fillers take.
    pub(super) fill: Option<FillPlan>,
    /// Whether a step starts it; else it is there from the beginning, or, for a workload, never.
    pub(super) stepped: bool,
    /// Whether it is there, at the step that is being looked at.
    pub(super) active: bool,
    /// Whether it was ever there, up to the step that is being looked at.
    pub(super) was_active: bool,
    /// Whether some step deletes it.
    pub(super) deleted: bool,
}

/// The names of a scenario.
pub(super) struct Names {
    subjects: BTreeMap<String, Subject>,
    /// What was written, where that is not the name itself.
    aliases: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn new(spec: &Spec, objects: &[Object], nodes: &[Node], findings: &mut Findings) -> Self {
        let mut names = Self { subjects: BTreeMap::new(), aliases: BTreeMap::new() };
        for (index, workload) in spec.workloads.iter().enumerate() {
            let name = &workload.name;
            if let Some(first) = names.subjects.get(&name.0) {
                let message = format!(
                    "a second workload is called `{}`; the first is in line {}",
                    name.0, first.mark.line
                );
                findings.say(Code::E0007, name.mark, message);
                continue;
            }
            let count = workload.replicas.as_ref().map_or(1, |replicas| replicas.0);
            let subject = Subject {
                mark: name.mark,
                workload: Some(index),
                pods: Pods { count, controller: workload.replicas.is_some() },
                fill: workload.fill.as_ref().map(|fill| fills::plan(&fill.any(), Who::Pod)),
                ..Subject::default()
            };
            names.subjects.insert(name.0.clone(), subject);
        }
        names.add_objects(spec, objects, nodes, findings);
        names
    }

    /// Adds manifest objects. One that some step names with its kind stands by itself; the others go by their names.
    fn add_objects(&mut self, spec: &Spec, objects: &[Object], nodes: &[Node], findings: &mut Findings) {
        let mut seen: BTreeMap<(&str, &str, Option<&str>), Mark> = BTreeMap::new();
        for workload in &spec.workloads {
            let kind = if workload.replicas.is_some() { "Deployment" } else { "Pod" };
            seen.insert((kind, &workload.name.0, Some(NAMESPACE)), workload.name.mark);
        }
        let written: BTreeSet<&str> = starts(spec)
            .map(|name| name.value.as_str())
            .chain(deletes(spec).map(|name| name.value.as_str()))
            .collect();
        for (index, object) in objects.iter().enumerate() {
            if let Some(first) = seen.insert((&object.kind, &object.name, object.namespace()), object.mark) {
                let message = format!(
                    "a second {} is called `{}`; the first is in line {}",
                    object.kind, object.name, first.line
                );
                findings.say(Code::E0007, object.mark, message);
                continue;
            }
            let qualified = format!("{}/{}", object.kind, object.name);
            let shared = self.subjects.contains_key(&object.name)
                || objects.iter().filter(|other| other.name == object.name).count() > 1;
            let key = if shared && written.contains(qualified.as_str()) {
                label_value(&format!("{}.{}", object.kind.to_lowercase(), object.name))
            } else {
                object.name.clone()
            };
            self.aliases.insert(qualified, key.clone());
            let pods = object.pods(nodes.len());
            let subject = self
                .subjects
                .entry(key)
                .or_insert_with(|| Subject { mark: object.mark, ..Subject::default() });
            subject.objects.push(index);
            subject.pods.count = subject.pods.count.saturating_add(pods.count);
            subject.pods.controller |= pods.controller;
        }
        let stepped: Vec<String> =
            starts(spec).filter_map(|name| self.key(&name.value).map(str::to_owned)).collect();
        for key in stepped {
            if let Some(subject) = self.subjects.get_mut(&key) {
                subject.stepped = true;
            }
        }
        for subject in self.subjects.values_mut() {
            subject.active = !subject.stepped && subject.workload.is_none();
            subject.was_active = subject.active;
        }
    }

    /// The key that something written stands for.
    fn key(&self, written: &str) -> Option<&str> {
        self.subjects
            .get_key_value(written)
            .map(|(key, _)| key.as_str())
            .or_else(|| self.aliases.get(written).map(String::as_str))
    }

    /// Every name and what it stands for.
    pub(super) fn subjects(&self) -> impl Iterator<Item = (&str, &Subject)> {
        self.subjects.iter().map(|(key, subject)| (key.as_str(), subject))
    }

    /// What a key stands for.
    pub(super) fn subject(&self, key: &str) -> Option<&Subject> {
        self.subjects.get(key)
    }

    pub(super) fn subject_mut(&mut self, key: &str) -> Option<&mut Subject> {
        self.subjects.get_mut(key)
    }

    /// The key of a name that somebody wrote; says so where nothing has it.
    pub(super) fn resolve(&self, written: &Located<String>, findings: &mut Findings) -> Option<String> {
        if let Some(key) = self.key(&written.value) {
            return Some(key.to_owned());
        }
        if findings.incomplete {
            return None;
        }
        let message = format!(
            "nothing is called `{}`: expected a workload or an object of the manifests",
            shortened(&written.value)
        );
        let all = self.subjects.keys().map(String::as_str).chain(self.aliases.keys().map(String::as_str));
        let help = match nearest(&written.value, all) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.subjects.is_empty() => {
                "add it under `spec.workloads` or `spec.manifests`".to_owned()
            }
            None => {
                format!("there are {}", self.subjects.keys().take(8).cloned().collect::<Vec<_>>().join(", "))
            }
        };
        findings.say_with_help(Code::E0008, written.mark, message, help);
        None
    }

    /// Whether a manifest object waits for a step that starts it.
    pub(super) fn waits_for_a_step(&self, object: usize) -> bool {
        self.subjects.values().any(|subject| subject.stepped && subject.objects.contains(&object))
    }

    /// The value of our label on a manifest object.
    pub(super) fn label_of(&self, index: usize, object: &Object) -> String {
        self.subjects
            .iter()
            .find(|(_, subject)| subject.objects.contains(&index))
            .map_or_else(|| label_value(&object.name), |(key, _)| label_value(key))
    }

    /// Says which workloads no step starts.
    pub(super) fn report_unstarted(&self, findings: &mut Findings) {
        for (name, subject) in &self.subjects {
            if subject.workload.is_some() && !subject.stepped {
                findings.say_with_help(
                    Code::W0002,
                    subject.mark,
                    format!("no step starts `{name}`: it plays no part"),
                    format!("add `- start: [{name}]` to the steps"),
                );
            }
        }
    }
}

/// The names that `start` and `apply` steps write.
fn starts(spec: &Spec) -> impl Iterator<Item = &Located<String>> {
    spec.steps.iter().flat_map(|step| match &step.value {
        Step::Start(names) | Step::Apply(names) => names.0.as_slice(),
        _ => &[],
    })
}

/// The names that `delete` steps write.
fn deletes(spec: &Spec) -> impl Iterator<Item = &Located<String>> {
    spec.steps.iter().flat_map(|step| match &step.value {
        Step::Delete(names) => names.0.as_slice(),
        _ => &[],
    })
}
