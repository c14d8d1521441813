//! Exit codes.

use std::process::ExitCode;

use crate::verdict::State;

/// How the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every expectation held.
    Held,
    /// An expectation was violated.
    Violated,
    /// The input is bad; nothing was started.
    BadInput,
    /// The cluster could not be had, or a file could not be written.
    CouldNotRun,
    /// There is no evidence for an expectation.
    Unknown,
    /// Somebody stopped it.
    Interrupted,
}

/// The codes, for `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0    every expectation held
  1    an expectation was violated
  2    bad input: nothing was started
  3    could not run: the message says what is missing
  4    unknown: there is no evidence for an expectation
  130  interrupted";

impl Exit {
    /// The code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Violated => 1,
            Self::BadInput => 2,
            Self::CouldNotRun => 3,
            Self::Unknown => 4,
            Self::Interrupted => 130,
        }
    }

    /// The exit of several scenarios: being stopped outweighs all, then what could not run, then a violation, then
    /// what is unknown.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let weight = |exit: Self| match exit {
            Self::Held => 0,
            Self::Unknown => 1,
            Self::Violated => 2,
            Self::CouldNotRun => 3,
            Self::BadInput => 4,
            Self::Interrupted => 5,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

impl From<State> for Exit {
    fn from(state: State) -> Self {
        match state {
            State::Held => Self::Held,
            State::Violated => Self::Violated,
            State::Unknown => Self::Unknown,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
