//! How the kubelet evicts pods under node pressure, as pure functions.
//!
//! Every rule follows Kubernetes 1.36.3 and names the upstream function that it follows.

pub mod duration;
pub mod message;
pub mod quantity;
pub mod signal;
