//! A plan over all phases: what always happens, what never does, and what depends.

use serde::{Deserialize, Serialize};

use super::departures::{Aspect, Departure, NOBODY};
use super::{Assumptions, PrepareError, Prepared, timeline};
use crate::observe::Timeline;
use crate::plan::{Location, Plan};
use crate::verdict::snapshot::Facts;
use crate::verdict::{State, judge, words};

/// What the rules say of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// In how many phases it was looked at.
    pub phases: u32,
    /// Each expectation and each step that did not end well somewhere.
    pub findings: Vec<FindingShares>,
    /// Each fact of a run, and how it turns out.
    pub facts: Vec<FactShares>,
    /// In which order pods go, and when, the most frequent first.
    pub sequences: Vec<Sequence>,
    /// In which order nodes' pressure conditions are raised and cleared, and nodes are not heard of, and when, the most frequent first.
    #[serde(default)]
    pub conditions: Vec<Sequence>,
    /// What the API server answers to whoever asks for pods to go, and what drains come to, and when, the most frequent first.
    #[serde(default)]
    pub answers: Vec<Sequence>,
    /// In which order the objects of pods are gone that were told to go, and when, the most frequent first.
    #[serde(default)]
    pub gone: Vec<Sequence>,
    /// In which order pods run in their places, where and when, the most frequent first.
    #[serde(default)]
    pub successors: Vec<Sequence>,
    /// The phase that is most like all others, from 0.
    pub representative: u32,
    /// What of the plan is not modelled.
    pub omissions: Vec<String>,
    /// Where a real run did otherwise; empty where there was none.
    #[serde(default)]
    pub disagreements: Vec<String>,
}

/// In how many phases an expectation comes out how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingShares {
    /// As [`Finding::key`](crate::verdict::Finding::key).
    pub key: String,
    /// Where the scenario says it.
    pub location: Location,
    /// What was expected, in a line.
    pub title: String,
    /// In how many phases it holds.
    pub held: u32,
    /// In how many it is violated.
    pub violated: u32,
    /// In how many it can not be told.
    pub unknown: u32,
    /// Why, in the first phase in which it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// How a fact turns out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FactShares {
    /// Such as `evicted` or `conditions`.
    pub fact: String,
    /// Each way in which it does, the most frequent first.
    pub alternatives: Vec<Alternative>,
}

/// One way in which something turns out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alternative {
    /// What is so.
    pub text: String,
    /// In how many phases.
    pub phases: u32,
}

/// An order in which pods go, or in which conditions change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    /// In how many phases.
    pub phases: u32,
    /// Who goes and how, in order.
    pub departures: Vec<DepartureRange>,
}

/// A pod that goes or a condition that changes, and between when and when, in seconds after the steps began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DepartureRange {
    /// Such as `web evicted for memory`.
    pub what: String,
    /// Not before.
    pub earliest: f64,
    /// Not after.
    pub latest: f64,
}

impl FindingShares {
    /// `always`, `never`, or in how many of 100 phases it holds.
    #[must_use]
    pub fn words(&self, phases: u32) -> String {
        share(self.held, phases)
    }
}

/// A share of phases in words: `always`, `never`, `in 37 % of phases`.
#[must_use]
pub fn share(part: u32, phases: u32) -> String {
    match part {
        0 => "never".to_owned(),
        _ if part == phases => "always".to_owned(),
        _ => {
            let percent = (u64::from(part) * 100 + u64::from(phases) / 2) / u64::from(phases.max(1));
            format!("in {} % of phases", percent.clamp(1, 99))
        }
    }
}

/// What the rules say of a plan in so many phases, at least one.
///
/// # Errors
/// [`PrepareError`] for a plan that no cluster would take.
pub fn predict(plan: &Plan, assumptions: &Assumptions, phases: u32) -> Result<Prediction, PrepareError> {
    let prepared = Prepared::new(plan)?;
    let phases = phases.max(1);
    let mut findings: Vec<FindingShares> = Vec::new();
    let mut facts: Vec<FactShares> = Vec::new();
    let mut aspects: [Vec<Sequence>; Aspect::ALL.len()] = Default::default();
    // For each phase, which alternative of which fact it has.
    let mut choices: Vec<Vec<(usize, usize)>> = Vec::new();
    for phase in 0..phases {
        let timeline = timeline(plan, &prepared, assumptions, &assumptions.phase(phase, phases));
        add_findings(&mut findings, plan, &timeline);
        choices.push(add_facts(&mut facts, &Facts::of(plan, &timeline).text(None)));
        for (sequences, aspect) in aspects.iter_mut().zip(Aspect::ALL) {
            add_sequence(sequences, aspect.of(&timeline));
        }
    }
    // A step that ends as it should leaves no finding.
    for finding in &mut findings {
        finding.held = phases - finding.violated - finding.unknown;
    }
    let weight = |choice: &Vec<(usize, usize)>| -> u64 {
        choice.iter().map(|(fact, own)| u64::from(facts[*fact].alternatives[*own].phases)).sum()
    };
    let most = choices.iter().map(weight).max().unwrap_or(0);
    let representative = choices.iter().position(|choice| weight(choice) == most).unwrap_or(0);
    for fact in &mut facts {
        fact.alternatives.sort_by_key(|alternative| std::cmp::Reverse(alternative.phases));
    }
    for sequences in &mut aspects {
        sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.phases));
    }
    let [sequences, conditions, answers, gone, successors] = aspects;
    Ok(Prediction {
        phases,
        findings,
        facts,
        sequences,
        conditions,
        answers,
        gone,
        successors,
        representative: u32::try_from(representative).unwrap_or(0),
        omissions: prepared.omissions().to_vec(),
        disagreements: Vec::new(),
    })
}

fn add_findings(findings: &mut Vec<FindingShares>, plan: &Plan, timeline: &Timeline) {
    for finding in judge(plan, timeline).findings {
        let same = |own: &&mut FindingShares| own.key == finding.key && own.location == finding.location;
        let own = match findings.iter_mut().find(same) {
            Some(own) => own,
            None => {
                findings.push(FindingShares {
                    key: finding.key,
                    location: finding.location,
                    title: finding.title,
                    held: 0,
                    violated: 0,
                    unknown: 0,
                    because: None,
                });
                let Some(own) = findings.last_mut() else { continue };
                own
            }
        };
        match finding.state {
            State::Held => own.held += 1,
            State::Violated => own.violated += 1,
            State::Unknown => own.unknown += 1,
        }
        if finding.state != State::Held {
            own.because.get_or_insert(finding.because);
        }
    }
}

/// Counts each section of the facts' text; tells which alternative of which fact these were.
fn add_facts(facts: &mut Vec<FactShares>, text: &str) -> Vec<(usize, usize)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match (line.split_once(':'), line.starts_with([' ', '-'])) {
            (Some((fact, rest)), false) => {
                sections
                    .push((fact, Some(rest.trim()).filter(|rest| !rest.is_empty()).into_iter().collect()));
            }
            _ => {
                if let Some((_, items)) = sections.last_mut() {
                    items.push(line.trim_start_matches([' ', '-']));
                }
            }
        }
    }
    let mut choices = Vec::new();
    for (name, items) in sections {
        let text = items.join("; ");
        let fact = facts.iter().position(|own| own.fact == name).unwrap_or_else(|| {
            facts.push(FactShares { fact: name.to_owned(), alternatives: Vec::new() });
            facts.len() - 1
        });
        let alternatives = &mut facts[fact].alternatives;
        let own = alternatives.iter().position(|own| own.text == text).unwrap_or_else(|| {
            alternatives.push(Alternative { text, phases: 0 });
            alternatives.len() - 1
        });
        alternatives[own].phases += 1;
        choices.push((fact, own));
    }
    choices
}

fn add_sequence(sequences: &mut Vec<Sequence>, departures: Vec<Departure>) {
    let same = |own: &&mut Sequence| {
        own.departures.iter().map(|own| &own.what).eq(departures.iter().map(|own| &own.what))
    };
    if let Some(own) = sequences.iter_mut().find(same) {
        own.phases += 1;
        for (own, departure) in own.departures.iter_mut().zip(departures) {
            own.earliest = own.earliest.min(departure.seconds);
            own.latest = own.latest.max(departure.seconds);
        }
        return;
    }
    let departures = departures.into_iter().map(|own| DepartureRange {
        what: own.what,
        earliest: own.seconds,
        latest: own.seconds,
    });
    sequences.push(Sequence { phases: 1, departures: departures.collect() });
}

impl Sequence {
    /// Who goes, in a line: `greedy evicted for memory (12.3s to 22.1s), then …`.
    #[must_use]
    pub fn words(&self) -> String {
        self.words_or(NOBODY)
    }

    /// The same, with what is said where nothing happens.
    pub(super) fn words_or(&self, nothing: &str) -> String {
        if self.departures.is_empty() {
            return nothing.to_owned();
        }
        let told = self.departures.iter().map(|own| {
            let (earliest, latest) = (words::seconds(own.earliest), words::seconds(own.latest));
            format!("{} ({earliest} to {latest})", own.what)
        });
        told.collect::<Vec<_>>().join(", then ")
    }
}

impl Prediction {
    /// What is predicted of one of the things that are compared.
    pub(super) fn aspect(&self, aspect: Aspect) -> &[Sequence] {
        match aspect {
            Aspect::Departures => &self.sequences,
            Aspect::Conditions => &self.conditions,
            Aspect::Answers => &self.answers,
            Aspect::Gone => &self.gone,
            Aspect::Successors => &self.successors,
        }
    }

    /// Whether every expectation comes out the same in every phase.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.findings.iter().all(|finding| {
            [finding.held, finding.violated, finding.unknown].iter().filter(|count| **count > 0).count() == 1
                && finding.held + finding.violated + finding.unknown == self.phases
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_always_or_never() {
        assert_eq!(share(0, 1000), "never");
        assert_eq!(share(1, 1000), "in 1 % of phases");
        assert_eq!(share(37, 100), "in 37 % of phases");
        assert_eq!(share(999, 1000), "in 99 % of phases");
        assert_eq!(share(1000, 1000), "always");
    }

    #[test]
    fn sections_are_counted_as_wholes() {
        let mut facts = Vec::new();
        let first = add_facts(&mut facts, "evicted:\n- a: low\n- b: low\noomKills: none\n");
        add_facts(&mut facts, "evicted:\n- a: low\noomKills: none\n");
        assert_eq!(first, [(0, 0), (1, 0)]);
        let texts: Vec<(&str, u32)> =
            facts[0].alternatives.iter().map(|own| (own.text.as_str(), own.phases)).collect();
        assert_eq!(texts, [("a: low; b: low", 1), ("a: low", 1)]);
        assert_eq!(facts[1].alternatives, [Alternative { text: "none".to_owned(), phases: 2 }]);
    }
}
