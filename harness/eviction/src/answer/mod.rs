//! Answers as documents: everything that the rules say about one look at a node, or about a script of passes.
//!
//! - [`LookAnswer`]: thresholds, observations, orders and messages of one look.
//! - [`LoopScript`], [`LoopAnswer`]: passes through the whole manager, and the traces they can leave.

mod look;
mod traces;

pub use look::{
    Evictability, LookAnswer, MessageAnswer, ObservationAnswer, PodAnswer, ResourceAnswer, ThresholdAnswer,
    ValueAnswer,
};
pub use traces::{
    ConditionAnswer, EventAnswer, KillAnswer, LoopAnswer, LoopScript, MetThresholdAnswer, Tick, TickAnswer,
    Trace,
};

/// The version of Kubernetes whose rules these are.
pub const KUBERNETES: &str = "v1.36.3";
