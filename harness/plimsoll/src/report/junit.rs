//! JUnit XML: a suite for each scenario, a case for each finding.
//!
//! What is violated is a failure, what is unknown an error: continuous integration shows both as red and tells them
//! apart.

use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Reporter;
use crate::model::Prediction;
use crate::observe::Observation;
use crate::plan::Plan;
use crate::verdict::{Finding, State, Verdict, words};

/// Collects verdicts and writes them at the end.
#[derive(Debug)]
pub struct Junit<W> {
    writer: W,
    report: Report,
}

impl<W: Write> Junit<W> {
    /// Writes to this writer, once, when the last run is over.
    pub fn new(writer: W) -> Self {
        Self { writer, report: Report::new("plimsoll") }
    }
}

impl<W: Write> Reporter for Junit<W> {
    fn begin(&mut self, _plan: &Plan) -> io::Result<()> {
        Ok(())
    }

    fn observation(&mut self, _observation: &Observation) -> io::Result<()> {
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> io::Result<()> {
        self.report.add_test_suite(suite(verdict));
        Ok(())
    }

    fn could_not_run(&mut self, plan: &Plan, why: &str) -> io::Result<()> {
        let mut suite = TestSuite::new(plan.name.as_str());
        suite.add_property(("verdict", "not run"));
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("cluster");
        status.set_message(why);
        let mut case = TestCase::new("the cluster starts", status);
        case.set_classname(plan.name.as_str());
        suite.add_test_case(case);
        self.report.add_test_suite(suite);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.report.serialize(&mut self.writer).map_err(io::Error::other)?;
        self.writer.flush()
    }
}

fn suite(verdict: &Verdict) -> TestSuite {
    let mut suite = TestSuite::new(name(verdict).as_str());
    if let (Some(started), Some(ended)) = (verdict.started, verdict.ended) {
        suite.set_time(Duration::try_from(ended.duration_since(started)).unwrap_or_default());
    }
    suite.add_property(("verdict", verdict.state.word()));
    suite.add_property(("attempts", verdict.attempts.to_string().as_str()));
    for (index, explanation) in verdict.explanations.iter().enumerate() {
        let name = format!("eviction.{}", index + 1);
        suite.add_property((name.as_str(), explanation.sentences.join("; ").as_str()));
    }
    let disagreements =
        verdict.explanations.iter().filter(|explanation| explanation.agrees == Some(false)).count();
    suite.add_property(("disagreements", disagreements.to_string().as_str()));
    if let Some(prediction) = &verdict.prediction {
        add_prediction(&mut suite, verdict, prediction);
    }
    suite.add_test_cases(verdict.findings.iter().map(|finding| case(verdict, finding)));
    suite
}

/// The scenario's name. What was not run, or not on a real machine, is no test of that name.
fn name(verdict: &Verdict) -> String {
    if verdict.is_predicted() {
        format!("{} (PREDICTED)", verdict.scenario)
    } else if verdict.simulated.is_empty() {
        verdict.scenario.clone()
    } else {
        format!("{} (SIMULATED {})", verdict.scenario, verdict.simulated.join(", "))
    }
}

fn add_prediction(suite: &mut TestSuite, verdict: &Verdict, prediction: &Prediction) {
    if verdict.is_predicted() {
        suite.add_property(("predicted", "true"));
        for finding in &prediction.findings {
            let name = format!("prediction.{}.{}", finding.key, finding.location.line);
            suite.add_property((name.as_str(), finding.words(prediction.phases).as_str()));
        }
    } else {
        let count = prediction.disagreements.len().to_string();
        suite.add_property(("prediction.disagreements", count.as_str()));
        for (index, disagreement) in prediction.disagreements.iter().enumerate() {
            let name = format!("prediction.disagreement.{}", index + 1);
            suite.add_property((name.as_str(), disagreement.as_str()));
        }
    }
    suite.add_property(("prediction.omissions", prediction.omissions.len().to_string().as_str()));
    suite.add_property(("prediction.phases", prediction.phases.to_string().as_str()));
}

fn case(verdict: &Verdict, finding: &Finding) -> TestCase {
    let mut status = match finding.state {
        State::Held => TestCaseStatus::success(),
        State::Violated => TestCaseStatus::non_success(NonSuccessKind::Failure),
        State::Unknown => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    status.set_type(finding.key.as_str());
    status.set_message(finding.because.as_str());
    status.set_description(description(verdict, finding));
    let mut case = TestCase::new(finding.title.as_str(), status);
    case.set_classname(name(verdict).as_str());
    if finding.state == State::Held {
        case.set_system_out(finding.because.as_str());
    }
    case
}

/// Where it is written, why it is so, and each observation that shows it.
fn description(verdict: &Verdict, finding: &Finding) -> String {
    let mut text = format!("{}: {}\n{}\n", finding.location, finding.title, finding.because);
    for evidence in &finding.evidence {
        let after = verdict.started.map_or_else(String::new, |started| {
            format!(" +{}", words::seconds(words::seconds_between(started, evidence.at)))
        });
        text.push_str(&format!("#{}{after} {}\n", evidence.sequence, evidence.text));
    }
    text
}
