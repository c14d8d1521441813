//! From a plan and a timeline to a verdict.

use super::case::Judgement;
use super::context::Context;
use super::model::{Finding, State, StepResult, Verdict};
use super::{expectations, explain, outcome, words};
use crate::observe::{DrainOutcome, StepOutcome, Timeline};
use crate::plan::{Action, Expectation, Plan};

/// Judges a run: a function of its plan and of what was observed, and of nothing else.
///
/// Observations after `Finished` are those of cleaning up, and are not looked at. An expectation without evidence is
/// unknown, never held. A step that failed, and a wait that timed out, is an unknown finding of its own: the run did
/// not go as the scenario says, and so its expectations, even where they hold, may hold of something else. If what it
/// waited for is what an expectation asks for, that expectation is violated and with it the verdict.
#[must_use]
pub fn judge(plan: &Plan, timeline: &Timeline) -> Verdict {
    let context = Context::new(plan, timeline);
    let mut findings: Vec<Finding> =
        plan.expectations.iter().map(|expectation| finding(&context, expectation)).collect();
    findings.extend(step_findings(&context));
    findings.extend(background_findings(&context));
    if findings.is_empty() {
        findings.push(nothing_expected(plan));
    }
    Verdict {
        scenario: plan.name.clone(),
        state: State::of_all(findings.iter().map(|finding| finding.state)),
        findings,
        pods: outcome::outcomes(&context),
        explanations: explain::explanations(&context),
        steps: context.history.steps.clone(),
        gaps: context.history.gaps.clone(),
        snapshot: None,
        attempts: 1,
        cluster: context.history.cluster.map(str::to_owned),
        simulated: plan
            .nodes
            .iter()
            .filter(|node| node.gpus.as_ref().is_some_and(|gpus| !gpus.real))
            .map(|node| format!("GPUs of {}", node.name))
            .collect(),
        prediction: None,
        started: context.history.started.map(|started| started.at),
        ended: context.history.observations.last().map(|last| last.at),
    }
}

fn finding(context: &Context<'_>, expectation: &Expectation) -> Finding {
    let Judgement { state, because, evidence } = expectations::judge(context, &expectation.expect);
    Finding {
        key: expectation.expect.key().to_owned(),
        location: expectation.location.clone(),
        title: expectations::title(&expectation.expect),
        state,
        because,
        evidence,
    }
}

/// One finding for each step that did not end as it should; those skipped on its account are told with it.
fn step_findings(context: &Context<'_>) -> Vec<Finding> {
    let steps = &context.history.steps;
    let skipped = steps.iter().filter(|step| step.outcome == Some(StepOutcome::Skipped)).count();
    let broken = |step: &&StepResult| {
        matches!(step.outcome, Some(StepOutcome::TimedOut(_) | StepOutcome::Failed(_)) | None)
    };
    let finding = |step: &StepResult| {
        let ended = step
            .outcome
            .as_ref()
            .map_or_else(|| "did not end before the run did".to_owned(), words::outcome_words);
        let skipped = match skipped {
            0 => String::new(),
            skipped => format!("; {} not taken", words::count(skipped, "later step")),
        };
        Finding {
            key: "step".to_owned(),
            location: step.location.clone(),
            title: format!("step {}: {}", step.step + 1, step.title),
            state: State::Unknown,
            because: format!("{ended}{skipped}"),
            evidence: context.history.step_evidence(step.step).into_iter().collect(),
        }
    };
    steps.iter().filter(broken).map(finding).collect()
}

/// One finding for each drain that a step left going on, of which the scenario does not say what it comes to, and that did not
/// empty its node: its step had ended before.
fn background_findings(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for step in context.history.steps.iter().filter(|step| step.outcome == Some(StepOutcome::Done)) {
        let Some(Action::Drain(drain)) = context.plan.steps.get(step.step).map(|planned| &planned.action)
        else {
            continue;
        };
        if !drain.background || context.plan.expects_drains_of(&drain.node) {
            continue;
        }
        let drains: Vec<_> = context.history.drains.iter().filter(|(node, ..)| *node == drain.node).collect();
        let of_node = |action: &Action| matches!(action, Action::Drain(other) if other.node == drain.node);
        let planned = context.plan.steps.iter().filter(|planned| of_node(&planned.action)).count();
        let failed = drains.iter().find(|(_, outcome, _)| !matches!(outcome, DrainOutcome::Emptied { .. }));
        let (because, shown) = match failed {
            Some((_, outcome, observation)) => {
                (words::drain_not_expected(outcome), Some(super::history::evidence(observation)))
            }
            None if drains.len() < planned => {
                ("it was not over when the run ended".to_owned(), context.history.step_evidence(step.step))
            }
            None => continue,
        };
        findings.push(Finding {
            key: "step".to_owned(),
            location: step.location.clone(),
            title: format!("step {}: {}", step.step + 1, step.title),
            state: State::Unknown,
            because,
            evidence: shown.into_iter().collect(),
        });
    }
    findings
}

/// A scenario without expectations proves nothing.
fn nothing_expected(plan: &Plan) -> Finding {
    Finding {
        key: "expect".to_owned(),
        location: plan.steps.first().map(|step| step.location.clone()).unwrap_or_default(),
        title: "something is expected".to_owned(),
        state: State::Unknown,
        because: "the scenario expects nothing, so nothing was proven".to_owned(),
        evidence: Vec::new(),
    }
}
