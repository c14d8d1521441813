//! What people see: lines as things happen, a level that moves, and what it all came to.

mod board;
mod closing;
mod news;
mod options;
mod prediction;

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use self::board::{Board, Tally, WithoutVerdict};
pub use self::options::{TerminalOptions, Verbosity};

pub(crate) use self::news::Tone;

use self::news::News;
use super::Reporter;
use super::level::Level;
use crate::observe::{Fact, Observation};
use crate::plan::Plan;
use crate::verdict::{Verdict, words};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// How often a level is written where nothing can be drawn over.
const LEVEL_EVERY_SECONDS: f64 = 10.0;
/// By how many thousandths of its capacity a level must have moved to be written again there.
const LEVEL_MOVED: i64 = 50;
/// Characters of a level's bar.
const BAR: usize = 24;

/// Writes for people.
#[derive(Debug)]
pub struct Terminal<W> {
    writer: W,
    options: TerminalOptions,
    /// The line that is drawn over; hidden where there is no terminal.
    live: ProgressBar,
    news: News,
    /// The last level of each node, and, where nothing is drawn, when it was written and how it was.
    levels: BTreeMap<String, Level>,
    written: BTreeMap<String, (Timestamp, Level)>,
}

impl<W: Write> Terminal<W> {
    /// Writes lines to this writer and draws the moving level on this target, which is hidden where nobody looks.
    pub fn new(writer: W, target: ProgressDrawTarget, options: TerminalOptions) -> Self {
        let live = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            live.set_style(style.tick_chars("-\\|/ "));
        }
        Self {
            writer,
            options,
            live,
            news: News::default(),
            levels: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    fn line(&mut self, tone: Tone, line: &str) -> io::Result<()> {
        let line = self.options.paint(tone, line);
        let Self { writer, live, .. } = self;
        live.suspend(|| writeln!(writer, "{line}"))
    }

    /// Shows a level: on the moving line, or as a line of its own where it crossed its threshold or moved far.
    fn level(&mut self, at: Timestamp, node: &str, level: Level) -> io::Result<()> {
        let before = self.levels.insert(node.to_owned(), level);
        if !self.live.is_hidden() {
            let shown = self
                .levels
                .iter()
                .map(|(node, level)| format!("{node} [{}] {}", level.bar(BAR), level.words()));
            let message = shown.collect::<Vec<_>>().join("  ");
            let room = usize::from(self.options.width).saturating_sub(3);
            self.live.set_message(message.chars().take(room).collect::<String>());
            self.live.tick();
        }
        let crossed = before.is_some_and(|before| before.is_below() != level.is_below());
        let far = self.live.is_hidden()
            && self.written.get(node).is_none_or(|(when, written)| {
                words::seconds_between(*when, at) >= LEVEL_EVERY_SECONDS
                    && (written.headroom() - level.headroom()).abs() >= LEVEL_MOVED
            });
        if self.options.verbosity == Verbosity::Quiet || !(crossed || far) {
            return Ok(());
        }
        self.written.insert(node.to_owned(), (at, level));
        let tone = if crossed && level.is_below() { Tone::Warning } else { Tone::Plain };
        let line = self.news.stamped(at, &format!("{node}: {}", level.words()));
        self.line(tone, &line)
    }
}

impl<W: Write> Reporter for Terminal<W> {
    fn begin(&mut self, plan: &Plan) -> io::Result<()> {
        self.news = News::of(plan);
        self.levels.clear();
        self.written.clear();
        self.live.enable_steady_tick(Duration::from_millis(200));
        Ok(())
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        if let Fact::Sample { node, sample } = &observation.fact
            && let Some(level) = self.news.level(node, sample)
        {
            self.level(observation.at, node, level)?;
        }
        for item in self.news.of_observation(observation) {
            if item.from <= self.options.verbosity {
                let line = self.news.stamped(observation.at, &item.text);
                self.line(item.tone, &line)?;
            }
        }
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> io::Result<()> {
        self.live.disable_steady_tick();
        self.live.finish_and_clear();
        closing::write(&mut self.writer, &self.options, verdict)?;
        self.writer.flush()
    }

    fn could_not_run(&mut self, _plan: &Plan, why: &str) -> io::Result<()> {
        self.live.disable_steady_tick();
        self.live.finish_and_clear();
        let line = self.options.paint(Tone::Bad, &format!("not run: {why}"));
        writeln!(self.writer, "{line}")?;
        self.writer.flush()
    }
}
