//! One JSON document a line: every observation, every finding, every verdict. `docs/output.md` says what is in them.

use std::io::{self, Write};

use serde::Serialize;

use super::Reporter;
use crate::model::MODEL;
use crate::observe::{Fact, Observation};
use crate::plan::Plan;
use crate::verdict::{Finding, Verdict};

/// The version of the schema, the field `v` of each line. Fields may be added within a version; a change that would
/// mislead a reader raises it.
pub const VERSION: u32 = 1;

/// Writes JSON lines.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
    scenario: String,
    predicted: bool,
}

/// A line: version, type and scenario, then what it is about.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    scenario: &'a str,
    /// Said of what was not observed but follows from the rules.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    predicted: bool,
    #[serde(flatten)]
    document: Document<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Document<'a> {
    Plan { plan: &'a Plan },
    Observation { observation: &'a Observation },
    Finding { finding: &'a Finding },
    Verdict { verdict: &'a Verdict },
    CouldNotRun { why: &'a str },
}

impl<W: Write> JsonLines<W> {
    /// Writes to this writer, which should be buffered: a run has thousands of observations.
    pub fn new(writer: W) -> Self {
        Self { writer, scenario: String::new(), predicted: false }
    }

    fn write(&mut self, document: Document<'_>) -> io::Result<()> {
        let line = Line { v: VERSION, scenario: &self.scenario, predicted: self.predicted, document };
        serde_json::to_writer(&mut self.writer, &line)?;
        self.writer.write_all(b"\n")
    }
}

impl<W: Write> Reporter for JsonLines<W> {
    fn begin(&mut self, plan: &Plan) -> io::Result<()> {
        self.scenario.clone_from(&plan.name);
        self.predicted = false;
        self.write(Document::Plan { plan })
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        if let Fact::Began { cluster, .. } = &observation.fact {
            self.predicted = cluster == MODEL;
        }
        self.write(Document::Observation { observation })
    }

    fn verdict(&mut self, verdict: &Verdict) -> io::Result<()> {
        self.scenario.clone_from(&verdict.scenario);
        self.predicted = verdict.is_predicted();
        for finding in &verdict.findings {
            self.write(Document::Finding { finding })?;
        }
        self.write(Document::Verdict { verdict })?;
        self.writer.flush()
    }

    fn could_not_run(&mut self, plan: &Plan, why: &str) -> io::Result<()> {
        self.scenario.clone_from(&plan.name);
        self.write(Document::CouldNotRun { why })?;
        self.writer.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
