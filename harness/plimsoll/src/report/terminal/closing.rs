//! What a run came to, for people: what happened to each pod and why, and what that proves.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::news::Tone;
use super::options::{TerminalOptions, Verbosity};
use crate::verdict::snapshot::Comparison;
use crate::verdict::{Evidence, Finding, PodOutcome, State, Verdict, words};

/// How many observations are told for a finding, unless all are asked for.
const EVIDENCE: usize = 6;

pub(super) fn write(writer: &mut impl Write, options: &TerminalOptions, verdict: &Verdict) -> io::Result<()> {
    let page = Page { options, verdict };
    page.disagreements(writer)?;
    if options.verbosity > Verbosity::Quiet {
        page.pods(writer)?;
        page.explanations(writer)?;
        writeln!(writer, "\n{}", options.paint(Tone::Strong, page.title("Findings", "PREDICTED findings")))?;
    }
    for finding in &verdict.findings {
        if options.verbosity > Verbosity::Quiet || finding.state != State::Held {
            page.finding(writer, finding)?;
        }
    }
    page.snapshot(writer)?;
    page.prediction(writer)?;
    page.conclusion(writer)
}

/// A verdict on its way to the page.
pub(super) struct Page<'a> {
    pub(super) options: &'a TerminalOptions,
    pub(super) verdict: &'a Verdict,
}

impl Page<'_> {
    /// A title, which is another one where nothing was run.
    fn title<'t>(&self, real: &'t str, predicted: &'t str) -> &'t str {
        if self.verdict.is_predicted() { predicted } else { real }
    }

    fn pods(&self, writer: &mut impl Write) -> io::Result<()> {
        if self.verdict.pods.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(self.options.width.saturating_sub(2))
            .set_header(["pod", "class", "priority", "request", "used", "ended", "what happened"]);
        for pod in &self.verdict.pods {
            table.add_row(self.row(pod));
        }
        for column in [2, 3, 4, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(writer, "\n{}", self.options.paint(Tone::Strong, self.title("Pods", "PREDICTED pods")))?;
        for line in table.lines() {
            writeln!(writer, " {}", line.trim_end())?;
        }
        Ok(())
    }

    fn row(&self, pod: &PodOutcome) -> [String; 7] {
        let bytes = |amount: u64| words::bytes(i64::try_from(amount).unwrap_or(i64::MAX));
        let ended = self.verdict.started.zip(pod.decided);
        [
            pod.name.clone(),
            pod.qos_class.clone().unwrap_or_default(),
            pod.priority.to_string(),
            bytes(pod.memory_request),
            pod.memory_usage.map_or_else(|| "?".to_owned(), bytes),
            ended.map_or_else(String::new, |(started, decided)| after(started, decided.latest)),
            pod.words.clone(),
        ]
    }

    fn explanations(&self, writer: &mut impl Write) -> io::Result<()> {
        let explanations = &self.verdict.explanations;
        if explanations.is_empty() {
            return Ok(());
        }
        // The kubelet is right; a disagreement is news, and comes first.
        let disagree = explanations.iter().filter(|explanation| explanation.agrees == Some(false));
        let others = explanations.iter().filter(|explanation| explanation.agrees != Some(false));
        writeln!(writer, "\n{}", self.options.paint(Tone::Strong, self.title("Why", "Why (PREDICTED)")))?;
        for explanation in disagree.chain(others) {
            for (index, sentence) in explanation.sentences.iter().enumerate() {
                let indent = if index == 0 { " " } else { "   " };
                self.wrapped(writer, Tone::Plain, indent, sentence)?;
            }
        }
        Ok(())
    }

    fn finding(&self, writer: &mut impl Write, finding: &Finding) -> io::Result<()> {
        let (mark, tone) = match finding.state {
            State::Held => ("\u{2714}", Tone::Good),
            State::Violated => ("\u{2718}", Tone::Bad),
            State::Unknown => ("?", Tone::Warning),
        };
        let predicted = self.title("", "predicted ");
        let head = format!(" {mark} {predicted}{:<8}  {}", finding.state.word(), finding.title);
        writeln!(writer, "{}", self.options.paint(tone, &head))?;
        let indent = " ".repeat(13);
        self.wrapped(writer, Tone::Plain, &indent, &finding.because)?;
        let told = match (finding.state, self.options.verbosity) {
            (State::Held, Verbosity::Quiet | Verbosity::Normal) => return Ok(()),
            (_, Verbosity::Everything) => finding.evidence.len(),
            _ => EVIDENCE,
        };
        if finding.state != State::Held {
            writeln!(
                writer,
                "{indent}{}",
                self.options.paint(Tone::Faint, &format!("at {}", finding.location))
            )?;
        }
        for evidence in finding.evidence.iter().take(told) {
            self.wrapped(writer, Tone::Faint, &indent, &self.evidence(evidence))?;
        }
        if finding.evidence.len() > told {
            let more = format!("and {} more", words::count(finding.evidence.len() - told, "observation"));
            writeln!(writer, "{indent}{}", self.options.paint(Tone::Faint, &more))?;
        }
        Ok(())
    }

    fn evidence(&self, evidence: &Evidence) -> String {
        let after = self.verdict.started.map_or_else(String::new, |started| after(started, evidence.at));
        format!("#{} {after} {}", evidence.sequence, evidence.text)
    }

    fn snapshot(&self, writer: &mut impl Write) -> io::Result<()> {
        match &self.verdict.snapshot {
            Some(Comparison::Mismatch { diff, .. }) => {
                writeln!(writer, "\n{}", self.options.paint(Tone::Strong, "Snapshot (- as kept, + as now)"))?;
                for line in diff.lines() {
                    let tone = match line.as_bytes().first() {
                        Some(b'+') => Tone::Good,
                        Some(b'-') => Tone::Bad,
                        _ => Tone::Plain,
                    };
                    writeln!(writer, " {}", self.options.paint(tone, line))?;
                }
                Ok(())
            }
            Some(Comparison::New { .. }) if self.options.verbosity > Verbosity::Quiet => {
                writeln!(writer, "\nNo snapshot is kept yet; --accept keeps this run's facts.")
            }
            _ => Ok(()),
        }
    }

    fn conclusion(&self, writer: &mut impl Write) -> io::Result<()> {
        let verdict = self.verdict;
        let held = verdict.findings.iter().filter(|finding| finding.state == State::Held).count();
        let took = verdict
            .started
            .zip(verdict.ended)
            .map(|(started, ended)| format!(", {}", words::seconds(words::seconds_between(started, ended))));
        let tone = match verdict.state {
            State::Held => Tone::Good,
            State::Violated => Tone::Bad,
            State::Unknown => Tone::Warning,
        };
        let stamp = match verdict.prediction.as_ref().filter(|_| verdict.is_predicted()) {
            Some(prediction) => {
                format!("PREDICTED, nothing was run; one of {} phases: ", prediction.phases)
            }
            None => self.title("", "PREDICTED, nothing was run: ").to_owned(),
        };
        let simulated = match verdict.simulated.as_slice() {
            [] => String::new(),
            simulated => format!("SIMULATED {}: ", simulated.join(", ")),
        };
        let text = format!(
            "{stamp}{simulated}{}: {} ({held} of {} held{})",
            verdict.scenario,
            verdict.state.word(),
            verdict.findings.len(),
            took.unwrap_or_default(),
        );
        if self.options.verbosity > Verbosity::Quiet {
            writeln!(writer)?;
        }
        writeln!(writer, "{}", self.options.paint(tone, &text))
    }

    /// A text in lines that keep within the width, each behind the indent.
    pub(super) fn wrapped(
        &self,
        writer: &mut impl Write,
        tone: Tone,
        indent: &str,
        text: &str,
    ) -> io::Result<()> {
        self.headed(writer, tone, indent, indent.len(), text)
    }

    /// The same with something else in place of the first line's indent.
    pub(super) fn headed(
        &self,
        writer: &mut impl Write,
        tone: Tone,
        head: &str,
        indent: usize,
        text: &str,
    ) -> io::Result<()> {
        for (index, line) in self.options.wrap(&" ".repeat(indent), text).iter().enumerate() {
            let before = if index == 0 { head } else { "" };
            writeln!(writer, "{before:<indent$}{}", self.options.paint(tone, &line[indent..]))?;
        }
        Ok(())
    }
}

fn after(started: jiff::Timestamp, at: jiff::Timestamp) -> String {
    format!("{:.1}s", words::seconds_between(started, at))
}
