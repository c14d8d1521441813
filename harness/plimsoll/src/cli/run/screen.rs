//! What people see, and the documents that are written: one run as it goes, or many at once.

use std::io::{self, Write};
use std::time::Duration;

use crate::observe::{Observation, Timeline};
use crate::plan::Plan;
use crate::report::{Board, Reporter, Terminal, WithoutVerdict};
use crate::verdict::Verdict;

type Writer = Box<dyn Write + Send>;

/// For people.
pub(in crate::cli) enum Screen {
    /// One run after another, each in full.
    Live(Box<Terminal<Writer>>),
    /// Many at once.
    Board(Board<Writer>),
}

/// Tells everybody.
pub(in crate::cli) struct Telling {
    screen: Screen,
    documents: Vec<Box<dyn Reporter + Send>>,
    /// What could not be told, once.
    trouble: Option<String>,
}

/// How a run ended that is to be told.
pub(super) enum Told<'a> {
    /// With a verdict. It counts, unless the scenario is run again.
    Verdict { verdict: &'a Verdict, counts: bool },
    /// The cluster could not be started.
    CouldNotRun(&'a str),
    /// Somebody stopped it.
    Interrupted,
}

impl Telling {
    pub(in crate::cli) fn new(screen: Screen, documents: Vec<Box<dyn Reporter + Send>>) -> Self {
        Self { screen, documents, trouble: None }
    }

    pub(super) fn begin(&mut self, run: usize, plan: &Plan) {
        let result = match &mut self.screen {
            Screen::Live(terminal) => {
                terminal.begin(plan).and_then(|()| self.each(|document| document.begin(plan)))
            }
            Screen::Board(board) => board.begin(run, plan),
        };
        self.note(result);
    }

    pub(super) fn observation(&mut self, run: usize, observation: &Observation) {
        let result = match &mut self.screen {
            Screen::Live(terminal) => terminal
                .observation(observation)
                .and_then(|()| self.each(|document| document.observation(observation))),
            Screen::Board(board) => board.observation(run, observation),
        };
        self.note(result);
    }

    pub(super) fn ended(
        &mut self,
        run: usize,
        plan: &Plan,
        timeline: &Timeline,
        told: &Told<'_>,
        took: Duration,
    ) {
        let live = matches!(self.screen, Screen::Live(_));
        let result = match (&mut self.screen, told) {
            (Screen::Live(terminal), Told::Verdict { verdict, .. }) => terminal.verdict(verdict),
            (Screen::Live(terminal), Told::CouldNotRun(why)) => terminal.could_not_run(plan, why),
            (Screen::Live(_), Told::Interrupted) => Ok(()),
            (Screen::Board(board), Told::Verdict { verdict, counts: true }) => {
                board.verdict(run, verdict, took)
            }
            (Screen::Board(board), Told::Verdict { verdict, counts: false }) => {
                board.again(run, verdict, took)
            }
            (Screen::Board(board), Told::CouldNotRun(_)) => {
                board.without_verdict(run, plan, WithoutVerdict::CouldNotRun, took)
            }
            (Screen::Board(board), Told::Interrupted) => {
                board.without_verdict(run, plan, WithoutVerdict::Interrupted, took)
            }
        };
        let result = result.and_then(|()| {
            self.each(|document| {
                // Of runs side by side a document tells one after another, each whole.
                if !live && matches!(told, Told::Verdict { counts: true, .. } | Told::CouldNotRun(_)) {
                    document.begin(plan)?;
                    timeline
                        .observations
                        .iter()
                        .try_for_each(|observation| document.observation(observation))?;
                }
                match told {
                    Told::Verdict { verdict, counts: true } => document.verdict(verdict),
                    Told::CouldNotRun(why) => document.could_not_run(plan, why),
                    Told::Verdict { counts: false, .. } | Told::Interrupted => Ok(()),
                }
            })
        });
        self.note(result);
    }

    /// Writes what is written at the end, and says what could not be told.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let result = self.each(|document| document.finish());
        self.note(result);
        self.trouble.map_or(Ok(()), Err)
    }

    fn each(&mut self, tell: impl FnMut(&mut Box<dyn Reporter + Send>) -> io::Result<()>) -> io::Result<()> {
        self.documents.iter_mut().try_for_each(tell)
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.trouble.get_or_insert_with(|| format!("writing a report: {error}"));
        }
    }
}
