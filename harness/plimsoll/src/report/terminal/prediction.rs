//! What the rules say of a plan, for people: over all phases, and beside what a real run did.

use std::io::{self, Write};

use super::closing::Page;
use super::news::Tone;
use super::options::Verbosity;
use crate::model::{FindingShares, Prediction, share};
use crate::verdict::words;

/// How many ways of one fact are told, unless everything is asked for.
const ALTERNATIVES: usize = 4;

impl Page<'_> {
    /// Where a real run did otherwise than the rules say. The kubelet is right, and this is news: it comes first.
    pub(super) fn disagreements(&self, writer: &mut impl Write) -> io::Result<()> {
        let Some(prediction) = self.verdict.prediction.as_ref().filter(|own| !own.disagreements.is_empty())
        else {
            return Ok(());
        };
        let title = "The rules predicted otherwise (the kubelet is right; the verdict is not changed)";
        writeln!(writer, "\n{}", self.options.paint(Tone::Warning, title))?;
        for disagreement in &prediction.disagreements {
            self.wrapped(writer, Tone::Plain, " ", disagreement)?;
        }
        Ok(())
    }

    /// What the rules say, over all phases.
    pub(super) fn prediction(&self, writer: &mut impl Write) -> io::Result<()> {
        let Some(prediction) = &self.verdict.prediction else { return Ok(()) };
        if !self.verdict.is_predicted() {
            return self.agreement(writer, prediction);
        }
        let phases = words::count(prediction.phases as usize, "phase");
        let title = format!("PREDICTED over {phases} of what can not be known");
        writeln!(writer, "\n{}", self.options.paint(Tone::Strong, &title))?;
        for finding in &prediction.findings {
            let line = format!("{:<17} {}", state(finding, prediction.phases), finding.title);
            self.wrapped(writer, tone(finding, prediction.phases), " ", &line)?;
            if let Some(because) = &finding.because {
                self.wrapped(writer, Tone::Faint, &" ".repeat(19), &format!("where it does not: {because}"))?;
            }
        }
        if self.options.verbosity == Verbosity::Quiet {
            return Ok(());
        }
        self.sequences(writer, prediction)?;
        for fact in prediction.facts.iter().filter(|fact| fact.fact != "evicted") {
            let told =
                if self.options.verbosity == Verbosity::Everything { usize::MAX } else { ALTERNATIVES };
            let mut ways: Vec<String> = fact
                .alternatives
                .iter()
                .take(told)
                .map(|own| format!("{} {}", own.text, share(own.phases, prediction.phases)))
                .collect();
            if fact.alternatives.len() > told {
                ways.push(format!("{} more", fact.alternatives.len() - told));
            }
            self.wrapped(writer, Tone::Plain, " ", &format!("{}: {}", fact.fact, ways.join(" | ")))?;
        }
        for omission in &prediction.omissions {
            self.wrapped(writer, Tone::Warning, " ", &format!("not modelled: {omission}"))?;
        }
        Ok(())
    }

    fn sequences(&self, writer: &mut impl Write, prediction: &Prediction) -> io::Result<()> {
        for sequence in prediction.sequences.iter().take(ALTERNATIVES) {
            let line = format!("{:<17} {}", share(sequence.phases, prediction.phases), sequence.words());
            self.wrapped(writer, Tone::Plain, " ", &line)?;
        }
        if prediction.sequences.len() > ALTERNATIVES {
            let more = prediction.sequences.len() - ALTERNATIVES;
            self.wrapped(writer, Tone::Faint, " ", &format!("and {} more", words::count(more, "order")))?;
        }
        Ok(())
    }

    fn agreement(&self, writer: &mut impl Write, prediction: &Prediction) -> io::Result<()> {
        if prediction.disagreements.is_empty() && self.options.verbosity > Verbosity::Quiet {
            writeln!(writer, "\nIt went as the rules predict.")?;
        }
        Ok(())
    }
}

fn state(finding: &FindingShares, phases: u32) -> String {
    if finding.unknown == phases { "unknown".to_owned() } else { finding.words(phases) }
}

fn tone(finding: &FindingShares, phases: u32) -> Tone {
    match finding.held {
        held if held == phases => Tone::Good,
        0 => Tone::Bad,
        _ => Tone::Warning,
    }
}
