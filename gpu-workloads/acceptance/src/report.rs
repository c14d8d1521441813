//! What came of it: checks, as JSON, JUnit and text.

use std::io;

use jiff::Timestamp;
use plimsoll_hog::report::Simulated;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde::{Deserialize, Serialize};

use crate::level::Level;

/// The version of the schema, the field `v`.
pub const VERSION: u32 = 1;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is as it should be.
    Passed,
    /// It is not.
    Failed,
    /// It could not be seen.
    CouldNotCheck,
}

impl Outcome {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::CouldNotCheck => "could not check",
        }
    }
}

/// One thing that was to be checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What must be so.
    pub name: String,
    /// The device's UUID, for what is of one device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// What was seen, or why nothing could be.
    pub seen: String,
    /// What should have been seen.
    pub wanted: String,
}

impl Check {
    /// A check of the whole node, decided by whether it is so.
    pub fn of(name: &str, is_so: bool, seen: impl Into<String>, wanted: impl Into<String>) -> Check {
        let outcome = if is_so { Outcome::Passed } else { Outcome::Failed };
        Check { name: name.to_owned(), device: None, outcome, seen: seen.into(), wanted: wanted.into() }
    }

    /// A check that could not be made.
    pub fn impossible(name: &str, why: impl Into<String>, wanted: impl Into<String>) -> Check {
        let outcome = Outcome::CouldNotCheck;
        Check { name: name.to_owned(), device: None, outcome, seen: why.into(), wanted: wanted.into() }
    }

    /// The same, of one device.
    #[must_use]
    pub fn on(self, uuid: &str) -> Check {
        Check { device: Some(uuid.to_owned()), ..self }
    }
}

/// Whether a node is accepted, and from what that follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    /// The schema's version.
    pub v: u32,
    /// `SIMULATED` when no device had a part in this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Simulated>,
    /// How much was done.
    pub level: Level,
    /// When it began.
    pub began: Timestamp,
    /// Seconds that it took.
    pub seconds: f64,
    /// What it comes to: failed if anything did, else could not check if anything could not.
    pub outcome: Outcome,
    /// Every check, in the order in which they were made.
    pub checks: Vec<Check>,
    /// What is no part of this, or was not declared, in sentences.
    pub not_checked: Vec<String>,
}

impl Acceptance {
    /// What checks come to. Nothing checked is nothing known.
    pub fn outcome(checks: &[Check]) -> Outcome {
        let any = |outcome| checks.iter().any(|check| check.outcome == outcome);
        if any(Outcome::Failed) {
            Outcome::Failed
        } else if any(Outcome::CouldNotCheck) || checks.is_empty() {
            Outcome::CouldNotCheck
        } else {
            Outcome::Passed
        }
    }

    /// Adds a check, which is then no longer among what was not checked.
    pub fn add(&mut self, check: Check, not_checked: &str) {
        self.not_checked.retain(|sentence| sentence != not_checked);
        self.checks.push(check);
        self.outcome = Self::outcome(&self.checks);
    }

    /// Says of what was not checked why it can not be.
    pub fn can_not_check(&mut self, not_checked: &str, why: &str) {
        for sentence in self.not_checked.iter_mut().filter(|sentence| *sentence == not_checked) {
            why.clone_into(sentence);
        }
    }

    /// How many devices were checked; none if it is not known.
    #[must_use]
    pub fn devices(&self) -> Option<usize> {
        let mut devices: Vec<&str> = self.checks.iter().filter_map(|check| check.device.as_deref()).collect();
        devices.sort_unstable();
        devices.dedup();
        (!devices.is_empty()).then_some(devices.len())
    }

    fn title(&self) -> String {
        let stamp = if self.stamp.is_some() { " (SIMULATED)" } else { "" };
        format!("accept-node {}{stamp}", self.level.name())
    }

    /// Writes it as JUnit XML: a failed check is a failure, one that could not be made an error, and what is no part of
    /// it is skipped.
    ///
    /// # Errors
    ///
    /// When the writer fails.
    pub fn write_junit(&self, writer: impl io::Write) -> io::Result<()> {
        let title = self.title();
        let mut suite = TestSuite::new(title.as_str());
        suite.set_time(std::time::Duration::try_from_secs_f64(self.seconds).unwrap_or_default());
        suite.add_property(("level", self.level.name()));
        if self.stamp.is_some() {
            suite.add_property(("stamp", "SIMULATED"));
        }
        for check in &self.checks {
            let mut status = match check.outcome {
                Outcome::Passed => TestCaseStatus::success(),
                Outcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
                Outcome::CouldNotCheck => TestCaseStatus::non_success(NonSuccessKind::Error),
            };
            status.set_message(format!("{}; wanted: {}", check.seen, check.wanted));
            let name = match &check.device {
                Some(device) => format!("{} [{device}]", check.name),
                None => check.name.clone(),
            };
            let mut case = TestCase::new(name, status);
            case.set_classname(title.as_str());
            if check.outcome == Outcome::Passed {
                case.set_system_out(check.seen.as_str());
            }
            suite.add_test_case(case);
        }
        for sentence in &self.not_checked {
            let mut case = TestCase::new(sentence.as_str(), TestCaseStatus::skipped());
            case.set_classname(title.as_str());
            suite.add_test_case(case);
        }
        let mut report = quick_junit::Report::new("plimsoll");
        report.add_test_suite(suite);
        report.serialize(writer).map_err(io::Error::other)
    }

    /// What it comes to, for people.
    pub fn text(&self) -> String {
        let count = |outcome| self.checks.iter().filter(|check| check.outcome == outcome).count();
        let mut text = String::new();
        if !self.not_checked.is_empty() {
            text.push_str("Not checked\n");
            for sentence in &self.not_checked {
                text.push_str(&format!("  {sentence}\n"));
            }
        }
        let verdict = match self.outcome {
            Outcome::Passed => "accepted",
            Outcome::Failed => "NOT accepted",
            Outcome::CouldNotCheck => "not known",
        };
        text.push_str(&format!(
            "{}: {verdict} ({} passed, {} failed, {} could not be checked, {:.1}s)\n",
            self.title(),
            count(Outcome::Passed),
            count(Outcome::Failed),
            count(Outcome::CouldNotCheck),
            self.seconds
        ));
        if self.stamp.is_some() {
            text.push_str("SIMULATED: no device had a part in this, so it says nothing of any node.\n");
        }
        text
    }
}

/// A line about a check, for people.
pub fn line(check: &Check) -> String {
    let mark = match check.outcome {
        Outcome::Passed => "✔",
        Outcome::Failed => "✘",
        Outcome::CouldNotCheck => "?",
    };
    let device = check.device.as_deref().map_or_else(String::new, |device| format!(" [{device}]"));
    let wanted = if check.outcome == Outcome::Passed {
        String::new()
    } else {
        format!("\n     wanted: {}", check.wanted)
    };
    format!(" {mark} {:<15} {}{device}: {}{wanted}\n", check.outcome.words(), check.name, check.seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acceptance(outcomes: &[Outcome]) -> Acceptance {
        let checks: Vec<Check> = outcomes
            .iter()
            .map(|outcome| Check {
                outcome: *outcome,
                ..Check::of("memory", true, "seen", "wanted").on("GPU-1")
            })
            .collect();
        Acceptance {
            v: VERSION,
            stamp: Some(Simulated::Simulated),
            level: Level::Quick,
            began: Timestamp::UNIX_EPOCH,
            seconds: 1.5,
            outcome: Acceptance::outcome(&checks),
            checks,
            not_checked: vec!["the kubelet".to_owned()],
        }
    }

    #[test]
    fn a_failure_outweighs_what_could_not_be_seen_and_nothing_is_nothing() {
        use Outcome::{CouldNotCheck, Failed, Passed};
        for (outcomes, expected) in [
            (&[][..], CouldNotCheck),
            (&[Passed], Passed),
            (&[Passed, CouldNotCheck], CouldNotCheck),
            (&[CouldNotCheck, Failed, Passed], Failed),
        ] {
            assert_eq!(acceptance(outcomes).outcome, expected);
        }
    }

    #[test]
    fn junit_tells_the_three_apart_and_carries_the_stamp() {
        let mut bytes = Vec::new();
        let all = [Outcome::Passed, Outcome::Failed, Outcome::CouldNotCheck];
        acceptance(&all).write_junit(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(r#"tests="4" skipped="1" errors="1" failures="1""#), "{text}");
        assert!(text.contains("accept-node quick (SIMULATED)"), "{text}");
        assert!(text.contains("memory [GPU-1]"), "{text}");
    }

    #[test]
    fn what_can_not_be_checked_is_said_in_place_of_what_was_not() {
        let mut real = acceptance(&[Outcome::Passed]);
        real.can_not_check("the kubelet", "the kubelet: no fault");
        real.can_not_check("another", "nothing");
        assert_eq!(real.not_checked, ["the kubelet: no fault"]);
        assert_eq!(real.outcome, Outcome::Passed);
    }

    #[test]
    fn the_text_says_what_it_comes_to() {
        let text = acceptance(&[Outcome::Passed]).text();
        assert!(text.contains(
            "accept-node quick (SIMULATED): accepted (1 passed, 0 failed, 0 could not be checked, 1.5s)"
        ));
        assert!(text.contains("SIMULATED: no device had a part in this"));
    }
}
