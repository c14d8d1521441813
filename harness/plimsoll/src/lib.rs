//! Tests what Kubernetes nodes do under pressure.
//!
//! A [`scenario`] is what a person wrote; [`plan`] resolves it; a [`cluster`] runs it; [`observe`]
//! writes down what happened; [`verdict`] says what that proves; [`report`] tells people. Everything
//! before the cluster and after the timeline is a function of its input.

pub mod observe;
pub mod plan;
