//! Runs in virtual time: what holds of any plan, and what the rules say of the scenarios that are kept.

mod catalogue;
mod disruption;
mod laws;
mod lives;
mod node_failure;
mod preemption;
mod storage;
mod tallies;
mod text;
