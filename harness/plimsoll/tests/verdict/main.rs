//! Verdicts of runs as they could have been, and what is told of them.

mod announced;
mod builder;
mod disruption;
mod ends;
mod evictions;
mod explanations;
mod memory;
mod node_failure;
mod pods;
mod properties;
mod reports;
mod snapshots;
mod storage;
mod timings;
