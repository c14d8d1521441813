//! How the kubelet evicts pods under node pressure, as pure functions.
//!
//! Every rule follows Kubernetes 1.36.3 and names the upstream function that it follows; each module says of which package. Where upstream leaves an
//! order open, groups of equals are given, never a list.
//!
//! Numbers and texts:
//! - [`quantity`], [`duration`]: read, compared and printed exactly as Kubernetes does.
//! - [`signal`], [`layout`]: signals, resources, node conditions, filesystems.
//! - [`message`]: what the kubelet says about an eviction, rendered and read back.
//!
//! What is known of a node:
//! - [`pod`], [`document`]: pods, and reading them from what Kubernetes gives; with the feature `k8s` also from the types of
//!   `k8s-openapi`.
//! - [`summary`], [`observation`]: statistics, and what they say about each signal.
//! - [`threshold`]: the kubelet's thresholds.
//!
//! What follows from it:
//! - [`resources`]: requests, limits and quality-of-service classes.
//! - [`figures`], [`rank`], [`reason`]: the order in which pods go, and what decides it.
//! - [`victim`], [`limits`], [`admission`]: what a pod is told when it goes, exceeds its limits, or is not let in.
//! - [`manager`]: the whole loop, as a state machine.
//! - [`answer`]: all of it as documents.
//!
//! Other ends of a pod:
//! - [`oom`]: the kernel's out-of-memory killer.
//! - [`zone`], [`timed_queue`], [`taint`]: how fast failed nodes are tainted, and when their pods are deleted.
//! - [`preemption`], [`disruption`]: the scheduler's victims; drains and the eviction API.

pub mod admission;
pub mod answer;
pub mod disruption;
pub mod document;
pub mod duration;
pub mod figures;
#[cfg(feature = "k8s")]
pub mod kubernetes;
pub mod layout;
pub mod limits;
pub mod manager;
pub mod message;
pub mod observation;
pub mod oom;
pub mod pod;
pub mod preemption;
pub mod quantity;
mod quote;
pub mod rank;
pub mod reason;
pub mod resources;
pub mod signal;
pub mod summary;
pub mod taint;
pub mod threshold;
pub mod timed_queue;
pub mod victim;
pub mod zone;
