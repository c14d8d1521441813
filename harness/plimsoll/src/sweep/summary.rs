//! What a grid shows: where it holds, and what follows from that.

use serde::Serialize;

use super::axis::Axis;
use super::cell::Cell;
use super::grid::Sweep;
use crate::verdict::words;

/// Parts of the whole in one byte each, in 255ths: what is kept of a cell of millions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Brief {
    /// Evicted in time.
    pub in_time: u8,
    /// OOM-killed.
    pub oom_killed: u8,
    /// Nobody went.
    pub nobody: u8,
}

impl Brief {
    fn of(cell: &Cell) -> Self {
        let phases = u64::from(cell.phases().max(1));
        // What is there at all, or missing at all, stays so.
        let part = |count: u32| {
            let count = u64::from(count);
            let rounded = (count * 255 + phases / 2) / phases;
            let rounded = if count == phases { 255 } else { rounded.clamp(u64::from(count > 0), 254) };
            u8::try_from(rounded).unwrap_or(255)
        };
        Self { in_time: part(cell.in_time), oom_killed: part(cell.oom_killed), nobody: part(cell.nobody) }
    }

    /// Whether every phase had the same fate.
    #[must_use]
    pub const fn is_certain(self) -> bool {
        self.in_time == u8::MAX || self.oom_killed == u8::MAX || self.nobody == u8::MAX
    }

    /// Whether the kernel never came first.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        self.oom_killed == 0
    }
}

/// One step of the boundary: this setting holds up to that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Frontier {
    /// A value of the first axis.
    pub setting: String,
    /// The last value of the second axis up to which the OOM killer never came first, whatever the other axes; absent
    /// when it came first already at the first value.
    pub up_to: Option<String>,
}

/// So many of them at most, evenly spread.
fn spread(cells: &[usize], count: usize) -> Vec<usize> {
    if cells.len() <= count {
        return cells.to_vec();
    }
    (0..count).map(|index| cells[index * cells.len() / count]).collect()
}

/// What is kept of all cells.
#[derive(Debug)]
pub struct Summary<'a> {
    sweep: &'a Sweep,
    cells: Vec<Brief>,
}

impl<'a> Summary<'a> {
    /// Nothing yet.
    #[must_use]
    pub fn new(sweep: &'a Sweep) -> Self {
        Self { sweep, cells: Vec::with_capacity(sweep.cells()) }
    }

    /// Adds the next cell, in the order in which [`Sweep::run`] hands them on.
    pub fn add(&mut self, cell: &Cell) {
        self.cells.push(Brief::of(cell));
    }

    /// The grid.
    #[must_use]
    pub fn sweep(&self) -> &'a Sweep {
        self.sweep
    }

    /// How many settings the first axis has.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.sweep.axes.first().map_or(1, |axis| axis.values.len())
    }

    /// How many the second has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sweep.axes.get(1).map_or(1, |axis| axis.values.len())
    }

    /// What is worst at a value of the first axis and one of the second, over all of the others.
    #[must_use]
    pub fn worst(&self, column: usize, row: usize) -> Brief {
        let rest: usize = self.sweep.axes.iter().skip(2).map(|axis| axis.values.len()).product();
        let from = (column * self.rows() + row) * rest;
        let cells = self.cells.get(from..from + rest).unwrap_or_default();
        cells.iter().copied().max_by_key(|brief| (brief.oom_killed, 255 - brief.in_time)).unwrap_or_default()
    }

    /// How many values of the second axis, from its first, a setting of the first axis holds for.
    #[must_use]
    pub fn holds(&self, column: usize) -> usize {
        (0..self.rows()).take_while(|row| self.worst(column, *row).is_safe()).count()
    }

    /// The boundary: for each setting of the first axis how far it holds.
    #[must_use]
    pub fn frontier(&self) -> Vec<Frontier> {
        let Some(first) = self.sweep.axes.first() else { return Vec::new() };
        let second = self.sweep.axes.get(1);
        let step = |(column, setting): (usize, &super::Setting)| {
            let up_to = self.holds(column).checked_sub(1).map(|row| match second {
                Some(axis) => axis.values[row].text.clone(),
                None => "all that was tried".to_owned(),
            });
            Frontier { setting: setting.text.clone(), up_to }
        };
        first.values.iter().enumerate().map(step).collect()
    }

    /// Cells on the boundary. For each setting of the first axis the last for which it holds, the first for which it does not, and the
    /// first in which the OOM killer always comes first: only a cell that always comes out the same can be contradicted. Spread over the
    /// whole boundary, `count` at most, of which those that always come out the same are the larger part.
    #[must_use]
    pub fn boundary(&self, count: usize) -> Vec<usize> {
        let rest: usize = self.sweep.axes.iter().skip(2).map(|axis| axis.values.len()).product();
        let (mut certain, mut open) = (Vec::new(), Vec::new());
        for column in 0..self.columns() {
            let holds = self.holds(column);
            let always = (holds..self.rows()).find(|row| self.worst(column, *row).oom_killed == u8::MAX);
            let beyond = Some(holds).filter(|row| *row < self.rows());
            let rows = [holds.checked_sub(1), beyond, always.filter(|row| Some(*row) != beyond)];
            for row in rows.into_iter().flatten() {
                // Of the other axes those values that are worst there.
                let from = (column * self.rows() + row) * rest;
                let worst = (from..from + rest).max_by_key(|cell| {
                    let brief = self.cells.get(*cell).copied().unwrap_or_default();
                    (brief.oom_killed, 255 - brief.in_time)
                });
                let Some(cell) = worst else { continue };
                let is_certain = self.cells.get(cell).is_some_and(|brief| brief.is_certain());
                if is_certain { certain.push(cell) } else { open.push(cell) }
            }
        }
        // A quarter of the cells may show what is said to depend.
        let open_count = open.len().min((count / 4).max(count.saturating_sub(certain.len())));
        let mut found = spread(&certain, count.saturating_sub(open_count));
        found.extend(spread(&open, open_count));
        found.sort_unstable();
        found
    }

    /// What follows, in words, a sentence each; the last ones say what is taken for granted.
    #[must_use]
    pub fn recommendation(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let omissions = self.sweep.omissions();
        if !omissions.is_empty() {
            sentences.push(format!(
                "The model leaves a part of this scenario out, so a real node may do otherwise in any cell: {}.",
                omissions.join("; ")
            ));
        }
        let Some(first) = self.sweep.axes.first() else { return sentences };
        let best = (0..self.columns()).map(|column| self.holds(column)).max().unwrap_or(0);
        if best == 0 {
            sentences.push(format!(
                "No {} that was tried keeps the OOM killer from coming first{}.",
                first.title(),
                self.sweep.axes.get(1).map_or(String::new(), |axis| format!(
                    ", not even at a {} of {}",
                    axis.title(),
                    axis.values[0].text
                ))
            ));
        } else {
            sentences.push(self.best(first, best));
            sentences.extend(self.cheaper(best));
        }
        let seen = self.cells.iter().any(|brief| brief.in_time > 0);
        if !seen {
            sentences.push(
                "The kubelet evicted in no cell at all: this grid does not reach its threshold.".to_owned(),
            );
        }
        if self.sweep.axes.len() > 2 {
            let others: Vec<String> = self.sweep.axes[2..].iter().map(Axis::title).collect();
            sentences.push(format!("That is so for every value of {}.", words::list(others)));
        }
        sentences.extend(self.assumptions());
        sentences
    }

    fn best(&self, first: &Axis, best: usize) -> String {
        let column = (0..self.columns()).find(|column| self.holds(*column) == best).unwrap_or(0);
        let setting = &first.values[column];
        let smallest = if first.rises { "smallest" } else { "first" };
        let reach = match self.sweep.axes.get(1) {
            Some(axis) if best == axis.values.len() => {
                format!(" at every {} that was tried (up to {})", axis.title(), axis.values[best - 1].text)
            }
            Some(axis) => format!(" at a {} of up to {}", axis.title(), axis.values[best - 1].text),
            None => String::new(),
        };
        let cost =
            self.cost(first, setting.number).map_or(String::new(), |cost| format!("; it costs {cost}"));
        format!(
            "The {smallest} {} with which the OOM killer never came first{reach} is {}{cost}.",
            first.title(),
            setting.text
        )
    }

    /// Settings that hold for less, and cost less.
    fn cheaper(&self, best: usize) -> Option<String> {
        let (first, second) = (self.sweep.axes.first()?, self.sweep.axes.get(1)?);
        let mut reached = 0;
        let mut steps = Vec::new();
        for column in 0..self.columns() {
            let holds = self.holds(column);
            if holds > reached && holds < best {
                reached = holds;
                steps.push(format!("{} up to {}", first.values[column].text, second.values[holds - 1].text));
            }
        }
        // The last few tell more than the first.
        let told = steps.len().saturating_sub(6);
        (!steps.is_empty()).then(|| format!("Less holds for less: {}.", steps[told..].join(", ")))
    }

    /// What a threshold keeps from pods. Where the node's memory is varied too, from the largest share to the smallest.
    fn cost(&self, axis: &Axis, number: Option<i64>) -> Option<String> {
        let parts = axis.path.parts();
        let ["cluster", "nodes", node, "kubelet", "evictionHard", "memory.available"] = parts.as_slice()
        else {
            return None;
        };
        let text = axis.values.first()?.text.as_str();
        let planned = self.sweep.first_plan().nodes.iter().find(|planned| planned.name == *node)?;
        let number = u64::try_from(number?).ok()?;
        if text.ends_with('%') {
            return Some(format!("{} % of the node", number / 10_000));
        }
        let path = ["cluster", "nodes", *node, "memory"];
        let varied = self.sweep.axes.iter().find(|axis| axis.path.parts() == path);
        let memories: Vec<u64> = match varied {
            Some(axis) => {
                let figures = axis.values.iter().map(|value| u64::try_from(value.number?).ok());
                figures.collect::<Option<_>>()?
            }
            None => vec![planned.memory],
        };
        let share = |memory: Option<&u64>| {
            let permille = number.saturating_mul(1000) / memory.copied().unwrap_or(1).max(1);
            format!("{}.{} %", permille / 10, permille % 10)
        };
        let (most, least) = (share(memories.iter().min()), share(memories.iter().max()));
        Some(if most == least {
            format!("{most} of the node")
        } else {
            format!("{least} to {most} of the node, by its memory")
        })
    }

    fn assumptions(&self) -> Vec<String> {
        let assumptions = self.sweep.assumptions();
        let range = |range: &crate::model::Range| {
            format!("{} to {}", words::bytes(range.least), words::bytes(range.most))
        };
        vec![format!(
            "Predicted by the rules of eviction in {}, not seen on a kubelet; taken for granted: what is no pod on a node takes {}, of which the kernel takes back {}; the kubelet looks every 10s, at any moment of a fill; a container takes {} beside its fill.",
            words::count(self.sweep.phases(), "phase"),
            range(&assumptions.daemons),
            range(&assumptions.reclaimable),
            range(&assumptions.container),
        )]
    }
}
