//! Several runs at once: a line that moves for each, and a line that stays when it is over.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::closing;
use super::news::{News, Tone};
use super::options::{TerminalOptions, Verbosity};
use crate::observe::{Fact, Observation};
use crate::plan::Plan;
use crate::verdict::{State, Verdict, words};

/// Writes for people who run many scenarios.
#[derive(Debug)]
pub struct Board<W> {
    writer: W,
    options: TerminalOptions,
    lines: MultiProgress,
    running: BTreeMap<usize, Line>,
    total: usize,
    over: usize,
}

#[derive(Debug)]
struct Line {
    bar: ProgressBar,
    news: News,
    name: String,
    said: String,
}

/// How a run ended, if no verdict tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutVerdict {
    /// It could not be run; why has been told.
    CouldNotRun,
    /// Somebody stopped it.
    Interrupted,
}

impl<W: Write> Board<W> {
    /// Writes lines to this writer and draws what moves on this target, which is hidden where nobody looks.
    pub fn new(writer: W, target: ProgressDrawTarget, options: TerminalOptions, total: usize) -> Self {
        let lines = MultiProgress::with_draw_target(target);
        Self { writer, options, lines, running: BTreeMap::new(), total, over: 0 }
    }

    /// A run begins.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn begin(&mut self, run: usize, plan: &Plan) -> io::Result<()> {
        let bar = self.lines.add(ProgressBar::no_length());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}") {
            bar.set_style(style.tick_chars("-\\|/ "));
        }
        bar.set_message(plan.name.clone());
        bar.enable_steady_tick(Duration::from_millis(250));
        let line = Line { bar, news: News::of(plan), name: plan.name.clone(), said: String::new() };
        self.running.insert(run, line);
        Ok(())
    }

    /// Something was observed in a run: its line says the latest that is worth telling.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn observation(&mut self, run: usize, observation: &Observation) -> io::Result<()> {
        let room = usize::from(self.options.width).saturating_sub(8);
        let Some(Line { bar, news, name, said }) = self.running.get_mut(&run) else { return Ok(()) };
        if bar.is_hidden() && self.options.verbosity < Verbosity::Verbose {
            return Ok(());
        }
        let level = match &observation.fact {
            Fact::Sample { node, sample } => news.level(node, sample).map(|level| level.words()),
            _ => None,
        };
        for item in news.of_observation(observation) {
            if item.from > Verbosity::Normal {
                continue;
            }
            said.clone_from(&item.text);
            if self.options.verbosity >= Verbosity::Verbose {
                let line = self.options.paint(item.tone, &format!("{name}: {}", item.text));
                let writer = &mut self.writer;
                self.lines.suspend(|| writeln!(writer, "{line}"))?;
            }
        }
        let text =
            level.map_or_else(|| format!("{name}  {said}"), |level| format!("{name}  {said}  ({level})"));
        bar.set_message(text.chars().take(room).collect::<String>());
        Ok(())
    }

    /// A run is over, and this is what it came to. What did not hold is told in full.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn verdict(&mut self, run: usize, verdict: &Verdict, took: Duration) -> io::Result<()> {
        let tone = match verdict.state {
            State::Held => Tone::Good,
            State::Violated => Tone::Bad,
            State::Unknown => Tone::Warning,
        };
        let line = self.ended(run, verdict.state.word(), &verdict.scenario, took);
        let Self { writer, options, lines, .. } = self;
        lines.suspend(|| {
            if verdict.state != State::Held {
                writeln!(writer)?;
                closing::write(writer, options, verdict)?;
            }
            if verdict.state != State::Held || options.verbosity > Verbosity::Quiet {
                writeln!(writer, "{}", options.paint(tone, &line))?;
            }
            writer.flush()
        })
    }

    /// A run is over without a verdict.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn without_verdict(
        &mut self,
        run: usize,
        plan: &Plan,
        how: WithoutVerdict,
        took: Duration,
    ) -> io::Result<()> {
        let (word, tone) = match how {
            WithoutVerdict::CouldNotRun => ("not run", Tone::Bad),
            WithoutVerdict::Interrupted => ("stopped", Tone::Warning),
        };
        let line = self.ended(run, word, &plan.name, took);
        let Self { writer, options, lines, .. } = self;
        lines.suspend(|| writeln!(writer, "{}", options.paint(tone, &line)))
    }

    /// A run is to be taken again, since it left something unknown.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn again(&mut self, run: usize, verdict: &Verdict, took: Duration) -> io::Result<()> {
        self.verdict(run, verdict, took)?;
        self.over -= 1;
        let Self { writer, lines, .. } = self;
        lines.suspend(|| writeln!(writer, "{}: once more, since something is unknown", verdict.scenario))
    }

    fn ended(&mut self, run: usize, word: &str, name: &str, took: Duration) -> String {
        if let Some(line) = self.running.remove(&run) {
            line.bar.finish_and_clear();
            self.lines.remove(&line.bar);
        }
        self.over += 1;
        let width = self.total.to_string().len();
        format!(
            "{:>width$}/{}  {word:<8}  {:>7}  {name}",
            self.over,
            self.total,
            words::seconds(took.as_secs_f64())
        )
    }
}

/// What several runs came to together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Names of scenarios by what became of them.
    pub held: Vec<String>,
    /// An expectation was violated.
    pub violated: Vec<String>,
    /// Something is unknown.
    pub unknown: Vec<String>,
    /// They could not be run, or were stopped.
    pub not_run: Vec<String>,
}

impl Tally {
    /// Writes it, in a line for each kind that there is.
    ///
    /// # Errors
    /// When it can not be written.
    pub fn write(
        &self,
        writer: &mut impl Write,
        options: &TerminalOptions,
        began: Timestamp,
    ) -> io::Result<()> {
        let all = self.held.len() + self.violated.len() + self.unknown.len() + self.not_run.len();
        let took = words::seconds(words::seconds_between(began, Timestamp::now()));
        let tone = if self.held.len() == all { Tone::Good } else { Tone::Bad };
        let text = format!("{}: {} held, in {took}", words::count(all, "scenario"), self.held.len());
        writeln!(writer, "\n{}", options.paint(tone, &text))?;
        let kinds = [
            ("violated", &self.violated, Tone::Bad),
            ("unknown", &self.unknown, Tone::Warning),
            ("not run", &self.not_run, Tone::Bad),
        ];
        for (word, names, tone) in kinds {
            if !names.is_empty() {
                writeln!(writer, "{}", options.paint(tone, &format!("{word}: {}", names.join(", "))))?;
            }
        }
        writer.flush()
    }
}
