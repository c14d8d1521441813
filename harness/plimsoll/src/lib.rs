//! Tests what Kubernetes nodes do under pressure.
//!
//! A [`scenario`] is what a person wrote; [`plan`] resolves it; a [`cluster`] runs it, and a [`model`] of one says what would happen; [`observe`]
//! writes down what happened; [`verdict`] says what that proves; [`report`] tells people. Everything
//! before the cluster and after the timeline is a function of its input.
//!
//! [`explain`] says of any node, without a run, who goes next and why.

pub mod bundle;
pub mod catalogue;
pub mod cli;
pub mod cluster;
pub mod evidence;
pub mod explain;
pub mod gpu_programs;
pub mod kubernetes;
pub mod model;
pub mod observe;
pub mod plan;
pub mod programs;
pub mod real_gpus;
pub mod report;
pub mod run;
pub mod scenario;
pub mod sweep;
pub mod verdict;
pub mod whole_file;
