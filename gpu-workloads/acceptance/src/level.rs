//! How much is done.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Everything once; less than a minute a card.
    Quick,
    /// What a new node should pass; some minutes a card.
    Standard,
    /// Half an hour of heat a card.
    BurnIn,
}

/// What a level comes to, for each card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// How often all memory is written and compared.
    pub passes: u32,
    /// For how long memory is written and compared again with the multiprocessors at work.
    pub burn: Duration,
    /// How often all memory is taken and given back.
    pub cycles: u32,
    /// For how long the bystander works, alone and beside a filler each.
    pub beside: Duration,
}

/// What a level comes to for a node that is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Whether its own memory runs low, too, and not only that of its GPUs.
    pub of_memory: bool,
    /// How often all of it is done.
    pub rounds: u32,
}

impl Level {
    /// What it comes to for a node that is booted.
    pub fn pressure(self) -> Pressure {
        match self {
            Level::Quick => Pressure { of_memory: false, rounds: 1 },
            Level::Standard => Pressure { of_memory: true, rounds: 1 },
            Level::BurnIn => Pressure { of_memory: true, rounds: 3 },
        }
    }

    /// What it comes to.
    pub fn work(self) -> Work {
        let seconds = Duration::from_secs;
        match self {
            Level::Quick => Work { passes: 1, burn: seconds(0), cycles: 50, beside: seconds(5) },
            Level::Standard => Work { passes: 10, burn: seconds(30), cycles: 50, beside: seconds(15) },
            Level::BurnIn => Work { passes: 10, burn: seconds(1800), cycles: 200, beside: seconds(60) },
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Level::Quick => "quick",
            Level::Standard => "standard",
            Level::BurnIn => "burn-in",
        }
    }
}
