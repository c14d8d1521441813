//! Where the time of a run went.

use std::io::{self, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use jiff::Timestamp;

use super::level::Levels;
use crate::observe::{Fact, Timeline};
use crate::plan::{Action, Plan, Until};
use crate::verdict::words::{seconds, seconds_between};

/// The parts of a run, in seconds. Together they are the whole of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timings {
    /// From the command to Ready nodes.
    pub boot: f64,
    /// Until pods ran.
    pub pods: f64,
    /// Until fillers held what they should, or a threshold was crossed: the fill's own rate.
    pub fill: f64,
    /// From there to what the kubelet, the controllers or the kernel then did.
    pub kubelet: f64,
    /// Watching, as long as the scenario says.
    pub observe: f64,
    /// All the rest is Plimsoll's own: steps that do something, judging, the snapshot, evidence, cleaning up.
    pub own: f64,
}

impl Timings {
    /// Those of a run that was over, everything cleaned up, at this time.
    #[must_use]
    pub fn of(plan: &Plan, timeline: &Timeline, over: Timestamp) -> Self {
        let mut timings = Self::default();
        let began = timeline.observations.first().map_or(over, |first| first.at);
        let mut levels = Levels::of(plan);
        let (mut step_began, mut crossed) = (None, None);
        let mut started = false;
        for observation in &timeline.observations {
            match &observation.fact {
                Fact::Started => {
                    timings.boot = seconds_between(began, observation.at);
                    started = true;
                }
                Fact::StepBegan { .. } => (step_began, crossed) = (Some(observation.at), None),
                Fact::Sample { node, sample } if started && crossed.is_none() => {
                    let below = levels.nearest(node, sample).is_some_and(|level| level.is_below());
                    crossed = below.then_some(observation.at);
                }
                Fact::StepEnded { step, .. } => {
                    if let (Some(began), Some(planned)) = (step_began.take(), plan.steps.get(*step)) {
                        timings.step(&planned.action, began, crossed, observation.at);
                    }
                }
                _ => {}
            }
        }
        let known = timings.boot + timings.pods + timings.fill + timings.kubelet + timings.observe;
        timings.own = (seconds_between(began, over) - known).max(0.0);
        timings
    }

    fn step(&mut self, action: &Action, began: Timestamp, crossed: Option<Timestamp>, ended: Timestamp) {
        let took = seconds_between(began, ended).max(0.0);
        match action {
            Action::Observe(_) => self.observe += took,
            Action::Wait(wait) => match &wait.until {
                Until::Running(_) | Until::Ready(_) | Until::Unschedulable(_) => self.pods += took,
                Until::Filled(_) => self.fill += took,
                Until::Condition { raised: false, .. } | Until::Terminating(_) | Until::Gone(_) => {
                    self.kubelet += took
                }
                _ => {
                    // A threshold that was never crossed was still being filled towards.
                    let fill =
                        crossed.map_or(took, |crossed| seconds_between(began, crossed)).clamp(0.0, took);
                    self.fill += fill;
                    self.kubelet += took - fill;
                }
            },
            _ => {}
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.columns().iter().sum()
    }

    fn columns(&self) -> [f64; 6] {
        [self.boot, self.pods, self.fill, self.kubelet, self.observe, self.own]
    }
}

/// Writes a table, a line for each run, and a line for all.
///
/// # Errors
/// When it can not be written.
pub fn write(writer: &mut impl Write, runs: &[(String, Timings)]) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["", "boot", "pods", "fill", "kubelet", "observe", "own", "together"]);
    let mut sums = [0.0; 6];
    for (name, timings) in runs {
        let columns = timings.columns();
        sums.iter_mut().zip(columns).for_each(|(sum, column)| *sum += column);
        table.add_row(row(name, &columns));
    }
    if runs.len() > 1 {
        table.add_row(row("together", &sums));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in table.lines() {
        writeln!(writer, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(name: &str, columns: &[f64; 6]) -> Vec<String> {
    let total = columns.iter().sum::<f64>();
    std::iter::once(name.to_owned()).chain(columns.iter().copied().chain([total]).map(seconds)).collect()
}
