//! What became of one cell of a grid, over the phases of the kubelet's loop.

use plimsoll_node::report::OomScope;
use serde::Serialize;

use crate::model::{Micros, Tally};

/// How one run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// The kubelet evicted, and the kernel killed nobody.
    InTime,
    /// The kernel killed for memory, whatever the kubelet did.
    OomKilled,
    /// Neither: the threshold was not reached, or nobody could go.
    Nobody,
}

impl Fate {
    /// What a run in virtual time came to.
    #[must_use]
    pub fn of(tally: &Tally) -> Self {
        // A container that is killed at its own limit says nothing of the node.
        if tally.oom_kills.iter().any(|kill| kill.scope != OomScope::Container) {
            Self::OomKilled
        } else if tally.evictions.is_empty() {
            Self::Nobody
        } else {
            Self::InTime
        }
    }

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::InTime => "evicted in time",
            Self::OomKilled => "OOM-killed",
            Self::Nobody => "nobody went",
        }
    }
}

/// The least and the most of something that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The least.
    pub least: i64,
    /// The most.
    pub most: i64,
}

impl Span {
    fn add(span: &mut Option<Self>, value: i64) {
        *span = Some(match *span {
            None => Self { least: value, most: value },
            Some(Self { least, most }) => Self { least: least.min(value), most: most.max(value) },
        });
    }
}

/// A cell: in how many phases which fate, and between which bounds the figures lay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Phases in which the kubelet evicted in time.
    pub in_time: u32,
    /// Phases with an OOM kill.
    pub oom_killed: u32,
    /// Phases in which nobody went.
    pub nobody: u32,
    /// How many pods were evicted where any was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evicted: Option<Span>,
    /// Bytes that the pods evicted from a node for memory held beyond what was missing there, for the thresholds met and their minimum
    /// reclaim together, when the first of them was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_evicted: Option<Span>,
    /// Microseconds from a kubelet's pass that first saw a threshold met to its first that saw none met any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relief: Option<Span>,
}

impl Cell {
    /// Adds a run.
    pub fn add(&mut self, tally: &Tally) {
        match Fate::of(tally) {
            Fate::InTime => self.in_time += 1,
            Fate::OomKilled => self.oom_killed += 1,
            Fate::Nobody => self.nobody += 1,
        }
        if !tally.evictions.is_empty() {
            Span::add(&mut self.evicted, i64::try_from(tally.evictions.len()).unwrap_or(i64::MAX));
        }
        for pressure in &tally.pressures {
            let mut evictions = tally
                .evictions
                .iter()
                .filter(|own| own.node == pressure.node && own.missing.is_some())
                .peekable();
            if let Some(missing) = evictions.peek().and_then(|first| first.missing) {
                let taken = evictions.map(|own| own.held).fold(0_i64, i64::saturating_add);
                Span::add(&mut self.over_evicted, taken.saturating_sub(missing).max(0));
            }
            if let Some(relieved) = pressure.relieved {
                let relief: Micros = relieved.saturating_sub(pressure.since);
                Span::add(&mut self.relief, relief);
            }
        }
    }

    /// How many phases were played.
    #[must_use]
    pub const fn phases(&self) -> u32 {
        self.in_time + self.oom_killed + self.nobody
    }

    /// The fate of every phase, if it is one.
    #[must_use]
    pub const fn always(&self) -> Option<Fate> {
        match (self.in_time > 0, self.oom_killed > 0, self.nobody > 0) {
            (true, false, false) => Some(Fate::InTime),
            (false, true, false) => Some(Fate::OomKilled),
            (false, false, true) => Some(Fate::Nobody),
            _ => None,
        }
    }

    /// Whether such a fate was that of any phase.
    #[must_use]
    pub const fn allows(&self, fate: Fate) -> bool {
        match fate {
            Fate::InTime => self.in_time > 0,
            Fate::OomKilled => self.oom_killed > 0,
            Fate::Nobody => self.nobody > 0,
        }
    }

    /// For people: `always evicted in time`, `evicted in time in 37 % of phases, else OOM-killed`.
    #[must_use]
    pub fn words(&self) -> String {
        let phases = self.phases();
        let kinds =
            [(Fate::InTime, self.in_time), (Fate::OomKilled, self.oom_killed), (Fate::Nobody, self.nobody)];
        let told: Vec<String> = kinds
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(fate, count)| format!("{} {}", fate.words(), crate::model::share(count, phases)))
            .collect();
        match self.always() {
            Some(fate) => format!("always {}", fate.words()),
            None => told.join(", "),
        }
    }
}
