//! What the rules say of a plan, for people: over all phases, and beside what a real run did.

use std::io::{self, Write};

use super::closing::Page;
use super::news::Tone;
use super::options::Verbosity;
use crate::model::{FindingShares, Prediction, share};
use crate::verdict::words;

/// How many ways of one fact are told, unless everything is asked for.
const ALTERNATIVES: usize = 4;
/// Where a line's text begins.
const HEAD: usize = 20;

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
            let head = state(finding, prediction.phases);
            self.entry(writer, tone(finding, prediction.phases), &head, &finding.title)?;
            if let Some(because) = &finding.because {
                self.entry(writer, Tone::Faint, "", &format!("where it does not: {because}"))?;
            }
        }
        if self.options.verbosity == Verbosity::Quiet {
            return Ok(());
        }
        self.sequences(writer, prediction)?;
        for fact in prediction.facts.iter().filter(|fact| fact.fact != "evicted") {
            let told =
                if self.options.verbosity == Verbosity::Everything { usize::MAX } else { ALTERNATIVES };
            for (index, own) in fact.alternatives.iter().take(told).enumerate() {
                let head = if index == 0 { fact.fact.as_str() } else { "" };
                let share = share(own.phases, prediction.phases);
                self.entry(writer, Tone::Plain, head, &format!("{}: {share}", own.text))?;
            }
            if fact.alternatives.len() > told {
                let more = format!("and {} more", words::count(fact.alternatives.len() - told, "way"));
                self.entry(writer, Tone::Faint, "", &more)?;
            }
        }
        for omission in &prediction.omissions {
            self.entry(writer, Tone::Warning, "not modelled", omission)?;
        }
        Ok(())
    }

    /// A line with something at its head.
    fn entry(&self, writer: &mut impl Write, tone: Tone, head: &str, text: &str) -> io::Result<()> {
        self.headed(writer, tone, &format!(" {head}"), HEAD, text)
    }

    fn sequences(&self, writer: &mut impl Write, prediction: &Prediction) -> io::Result<()> {
        for sequence in prediction.sequences.iter().take(ALTERNATIVES) {
            let head = share(sequence.phases, prediction.phases);
            self.entry(writer, Tone::Plain, &head, &sequence.words())?;
        }
        if prediction.sequences.len() > ALTERNATIVES {
            let more = prediction.sequences.len() - ALTERNATIVES;
            self.entry(writer, Tone::Faint, "", &format!("and {} more", words::count(more, "order")))?;
        }
        Ok(())
    }

    fn agreement(&self, writer: &mut impl Write, prediction: &Prediction) -> io::Result<()> {
        if self.options.verbosity == Verbosity::Quiet || !prediction.disagreements.is_empty() {
            return Ok(());
        }
        writeln!(writer)?;
        match prediction.omissions.first() {
            None => writeln!(writer, "It went as the rules predict."),
            Some(first) => {
                self.wrapped(writer, Tone::Faint, "", &format!("Not compared with a prediction: {first}"))
            }
        }
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
