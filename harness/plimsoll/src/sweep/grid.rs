//! The grid: every combination of the axes' values, played on the model in every phase, on all processors.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use plimsoll_eviction::signal::Signal;
use rayon::prelude::*;
use serde_json::Value;

use super::axis::{Axis, Setting};
use super::cell::Cell;
use super::substitute::{SubstituteError, document, substitute};
use crate::model::{Assumptions, Phase, PrepareError, Prepared, Tally, simulate};
use crate::plan::{Plan, lower};
use crate::scenario::{Files, parse};

/// Cells that are played before they are handed on; bounds what is held at once.
const CHUNK: usize = 4096;
/// How many cells must have what is prepared in common for it to be worth the while.
const WORTH_SHARING: usize = 8;
/// The most cells of a grid.
const MOST_CELLS: usize = 100_000_000;

/// A scenario, its axes and the phases.
#[derive(Debug)]
pub struct Sweep {
    source: Source,
    /// What is varied; the first is the one that a recommendation is made for.
    pub axes: Vec<Axis>,
    /// How each axis is changed, in the order of the axes.
    setters: Vec<Setter>,
    plan: Plan,
    assumptions: Assumptions,
    phases: Vec<Phase>,
    /// What of the cells that were looked at the model leaves out.
    omissions: Mutex<BTreeSet<String>>,
}

/// The scenario before anything is put into it.
#[derive(Debug)]
struct Source {
    name: String,
    document: Value,
    files: Files,
}

/// How a value gets into a run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Setter {
    HardThreshold {
        node: String,
        signal: Signal,
    },
    NodeMemory {
        node: String,
    },
    FillAmount {
        workload: String,
    },
    FillRate {
        workload: String,
    },
    FillStart {
        workload: String,
    },
    /// By way of the scenario's text: right for everything, and a thousand times slower.
    Text,
}

/// Why a grid can not be played.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A field that is not there.
    #[error(transparent)]
    Field(#[from] SubstituteError),
    /// Two axes are of one field.
    #[error("{0} is varied twice")]
    Twice(String),
    /// A combination that is no scenario.
    #[error("{cell}: {error}")]
    Scenario {
        /// The combination.
        cell: String,
        /// What is wrong with it: all diagnostics, a line each.
        error: String,
    },
    /// A combination that no cluster would take.
    #[error("{cell}: {error}")]
    Prepare {
        /// The combination.
        cell: String,
        /// Why.
        error: PrepareError,
    },
    /// Too many cells.
    #[error("the grid has {0} cells: at most {MOST_CELLS} are played")]
    TooMany(u128),
    /// What takes the cells failed.
    #[error("{0}")]
    Output(std::io::Error),
}

impl Sweep {
    /// Makes a grid ready from a scenario's text and the manifests that it names.
    ///
    /// # Errors
    /// [`SweepError`] when a field is not there, or the scenario with the first value of each axis is none.
    pub fn new(
        name: &str,
        text: &str,
        files: &Files,
        axes: Vec<Axis>,
        assumptions: Assumptions,
        phases: u32,
    ) -> Result<Self, SweepError> {
        let document = document(text)?;
        for (index, axis) in axes.iter().enumerate() {
            if axes[..index].iter().any(|before| before.path.parts() == axis.path.parts()) {
                return Err(SweepError::Twice(axis.path.to_string()));
            }
            let mut tried = document.clone();
            substitute(&mut tried, &axis.path, &axis.values[0].text)?;
        }
        let cells = axes.iter().fold(1_u128, |product, axis| product * axis.values.len() as u128);
        if cells > MOST_CELLS as u128 {
            return Err(SweepError::TooMany(cells));
        }
        let setters = axes.iter().map(Setter::of).collect();
        let phases = (0..phases.max(1)).map(|index| assumptions.phase(index, phases.max(1))).collect();
        let source = Source { name: name.to_owned(), document, files: files.clone() };
        let plan = source.plan(&axes, &vec![0; axes.len()])?;
        let sweep = Self { source, axes, setters, plan, assumptions, phases, omissions: Mutex::default() };
        // A first cell that no cluster would take is told of when it is played.
        if let Ok(prepared) = Prepared::new(&sweep.plan) {
            sweep.note_omissions(&prepared);
        }
        Ok(sweep)
    }

    /// What of the scenario the model leaves out of account, a sentence each; complete once every cell was played.
    #[must_use]
    pub fn omissions(&self) -> Vec<String> {
        self.omissions.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn note_omissions(&self, prepared: &Prepared) {
        if !prepared.omissions().is_empty() {
            let mut omissions = self.omissions.lock().unwrap_or_else(PoisonError::into_inner);
            omissions.extend(prepared.omissions().iter().cloned());
        }
    }

    /// How many cells there are.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.axes.iter().map(|axis| axis.values.len()).product()
    }

    /// In how many phases each is played.
    #[must_use]
    pub fn phases(&self) -> usize {
        self.phases.len()
    }

    /// The plan of the first cell.
    #[must_use]
    pub fn first_plan(&self) -> &Plan {
        &self.plan
    }

    /// What is taken for granted.
    #[must_use]
    pub fn assumptions(&self) -> &Assumptions {
        &self.assumptions
    }

    /// The place of a cell on each axis; the last axis changes fastest.
    #[must_use]
    pub fn places(&self, cell: usize) -> Vec<usize> {
        let mut rest = cell;
        let mut places: Vec<usize> = self
            .axes
            .iter()
            .rev()
            .map(|axis| {
                let place = rest % axis.values.len();
                rest /= axis.values.len();
                place
            })
            .collect();
        places.reverse();
        places
    }

    /// The cell at such places.
    #[must_use]
    pub fn cell_at(&self, places: &[usize]) -> usize {
        self.axes.iter().zip(places).fold(0, |cell, (axis, place)| cell * axis.values.len() + place)
    }

    /// A cell in words: `evictionHard[memory.available]=400Mi, rate=15Mi/s`.
    #[must_use]
    pub fn words(&self, places: &[usize]) -> String {
        words(&self.axes, places)
    }

    /// The scenario of a cell, resolved.
    ///
    /// # Errors
    /// [`SweepError::Scenario`] when these values make none.
    pub fn plan(&self, places: &[usize]) -> Result<Plan, SweepError> {
        self.source.plan(&self.axes, places)
    }

    /// Plays one cell from its own text, without any short cut.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn play(&self, places: &[usize]) -> Result<Cell, SweepError> {
        let plan = self.plan(places)?;
        let prepared =
            Prepared::new(&plan).map_err(|error| SweepError::Prepare { cell: self.words(places), error })?;
        self.note_omissions(&prepared);
        Ok(self.every_phase(&prepared))
    }

    /// Plays every cell, and hands them on in their order.
    ///
    /// # Errors
    /// [`SweepError`] for the first combination that is no scenario, or when what takes the cells fails.
    pub fn run(&self, mut take: impl FnMut(usize, &Cell) -> std::io::Result<()>) -> Result<(), SweepError> {
        // Cells that share the values of all slow axes share what is prepared for these.
        let fast: Vec<bool> = self.setters.iter().map(|setter| *setter != Setter::Text).collect();
        let mut base: Option<(Vec<usize>, Prepared)> = None;
        let mut next = 0;
        while next < self.cells() {
            let slow: Vec<usize> = self
                .places(next)
                .into_iter()
                .zip(&fast)
                .map(|(place, fast)| if *fast { 0 } else { place })
                .collect();
            if base.as_ref().is_none_or(|(of, _)| *of != slow) {
                let plan = self.plan(&slow)?;
                let prepared = Prepared::new(&plan)
                    .map_err(|error| SweepError::Prepare { cell: self.words(&slow), error })?;
                self.note_omissions(&prepared);
                base = Some((slow, prepared));
            }
            let Some((_, prepared)) = &base else { break };
            let alike = self.alike(&fast, next);
            let (end, played): (usize, Vec<Result<Cell, SweepError>>) = if alike >= WORTH_SHARING {
                let end = (next + alike).min(next + CHUNK);
                let quickly = |own: &mut Prepared, cell| self.quickly(own, &self.places(cell));
                (end, (next..end).into_par_iter().map_init(|| prepared.clone(), quickly).collect())
            } else {
                let end = (next + CHUNK).min(self.cells());
                (end, (next..end).into_par_iter().map(|cell| self.play(&self.places(cell))).collect())
            };
            for (cell, played) in (next..).zip(played) {
                take(cell, &played?).map_err(SweepError::Output)?;
            }
            next = end;
        }
        Ok(())
    }

    /// How many cells from this one on share their slow values: those of the fast axes behind the last slow one.
    fn alike(&self, fast: &[bool], from: usize) -> usize {
        let behind = fast.iter().rposition(|fast| !fast).map_or(0, |slow| slow + 1);
        let size: usize = self.axes[behind..].iter().map(|axis| axis.values.len()).product();
        size - from % size
    }

    /// Sets what the model can set by itself, and plays.
    fn quickly(&self, prepared: &mut Prepared, places: &[usize]) -> Result<Cell, SweepError> {
        for ((setter, axis), place) in self.setters.iter().zip(&self.axes).zip(places) {
            setter
                .set(prepared, &axis.values[*place])
                .map_err(|error| SweepError::Prepare { cell: self.words(places), error })?;
        }
        Ok(self.every_phase(prepared))
    }

    fn every_phase(&self, prepared: &Prepared) -> Cell {
        let mut cell = Cell::default();
        for phase in &self.phases {
            let mut tally = Tally::default();
            simulate(prepared, &self.assumptions, phase, &mut tally);
            cell.add(&tally);
        }
        cell
    }
}

impl Source {
    fn plan(&self, axes: &[Axis], places: &[usize]) -> Result<Plan, SweepError> {
        let mut scenario = self.document.clone();
        for (axis, place) in axes.iter().zip(places) {
            substitute(&mut scenario, &axis.path, &axis.values[*place].text)?;
        }
        // JSON is YAML.
        let text = format!("{scenario:#}");
        let lowered = parse(&self.name, &text).and_then(|parsed| lower(&parsed.with_files(&self.files)));
        lowered.map(|lowered| lowered.plan).map_err(|diagnostics| SweepError::Scenario {
            cell: words(axes, places),
            error: diagnostics.to_string(),
        })
    }
}

fn words(axes: &[Axis], places: &[usize]) -> String {
    let settings = axes.iter().zip(places);
    let told: Vec<String> =
        settings.map(|(axis, place)| format!("{}={}", axis.path, axis.values[*place].text)).collect();
    told.join(", ")
}

impl Setter {
    fn of(axis: &Axis) -> Self {
        let figures = axis.values.iter().all(|value| value.number.is_some());
        let workload = |name: &&str| (*name).to_owned();
        match axis.path.parts().as_slice() {
            ["cluster", "nodes", node, "kubelet", "evictionHard", signal] => match signal.parse() {
                Ok(signal) => Self::HardThreshold { node: (*node).to_owned(), signal },
                Err(_) => Self::Text,
            },
            ["cluster", "nodes", node, "memory"] if figures => Self::NodeMemory { node: (*node).to_owned() },
            ["workloads", name, "fill", "memory", "amount"] if figures => {
                Self::FillAmount { workload: workload(name) }
            }
            ["workloads", name, "fill", "memory", "rate"] if figures => {
                Self::FillRate { workload: workload(name) }
            }
            ["workloads", name, "fill", "memory", "startAt"] if figures => {
                Self::FillStart { workload: workload(name) }
            }
            _ => Self::Text,
        }
    }

    fn set(&self, prepared: &mut Prepared, value: &Setting) -> Result<(), PrepareError> {
        let number = value.number.unwrap_or(0);
        match self {
            Self::HardThreshold { node, signal } => prepared.set_hard_threshold(node, *signal, &value.text),
            Self::NodeMemory { node } => prepared.set_memory(node, number),
            Self::FillAmount { workload } => {
                prepared.set_memory_fill(workload, |course| course.amount = number)
            }
            Self::FillRate { workload } => {
                prepared.set_memory_fill(workload, |course| course.rate = Some(number))
            }
            Self::FillStart { workload } => {
                prepared.set_memory_fill(workload, |course| course.start_at = number)
            }
            Self::Text => Ok(()),
        }
    }
}
