//! How much is said, how wide, and whether in colour.

use std::io::IsTerminal;

use indicatif::ProgressDrawTarget;
use owo_colors::OwoColorize;

use super::news::Tone;
use crate::verdict::words;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// The verdict, and what did not hold.
    Quiet,
    /// What happens, and the closing table.
    #[default]
    Normal,
    /// Also phases of pods, ends of steps, and the evidence of what held.
    Verbose,
    /// Also what the fillers and the kubelet's counters say.
    Everything,
}

impl Verbosity {
    /// From `-q` and the number of `-v`.
    #[must_use]
    pub fn from_flags(quiet: bool, verbose: u8) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (false, 0) => Self::Normal,
            (false, 1) => Self::Verbose,
            (false, _) => Self::Everything,
        }
    }
}

/// How to write for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalOptions {
    /// Columns to stay within, where text can be wrapped.
    pub width: u16,
    /// Whether to use colour. Nothing is said by colour alone.
    pub color: bool,
    /// How much is said.
    pub verbosity: Verbosity,
}

impl TerminalOptions {
    /// For standard output: its width (100 columns where it has none), and colour unless `NO_COLOR` or its like say no.
    #[must_use]
    pub fn for_stdout(verbosity: Verbosity) -> Self {
        let width = terminal_size::terminal_size().map_or(100, |(width, _)| width.0);
        let color = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
        Self { width: width.max(40), color, verbosity }
    }

    /// Where the moving line goes: standard output if it is a terminal, and nowhere otherwise or with `-q`.
    #[must_use]
    pub fn draw_target(&self) -> ProgressDrawTarget {
        if std::io::stdout().is_terminal() && self.verbosity > Verbosity::Quiet {
            ProgressDrawTarget::stdout()
        } else {
            ProgressDrawTarget::hidden()
        }
    }

    /// A text in lines that keep within the width, each behind the indent.
    pub(crate) fn wrap(&self, indent: &str, text: &str) -> Vec<String> {
        let room = usize::from(self.width).saturating_sub(indent.len()).max(20);
        words::wrapped(text, room).into_iter().map(|line| format!("{indent}{line}")).collect()
    }

    /// A text in the colour of its tone, where colour is wanted.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        match tone {
            Tone::Plain => text.to_owned(),
            Tone::Faint => text.dimmed().to_string(),
            Tone::Strong => text.bold().to_string(),
            Tone::Good => text.green().to_string(),
            Tone::Warning => text.yellow().to_string(),
            Tone::Bad => text.red().to_string(),
        }
    }
}
