//! A plan in virtual time, on the rules of `plimsoll-eviction`: what would happen, without a cluster.
//!
//! - [`Prepared`]: a plan made ready once, and cheaply changed in what a sweep varies.
//! - [`Assumptions`], [`Phase`]: what nobody can know beforehand, as ranges and as one point in them.
//! - [`simulate`], [`Sink`]: one run; [`Tally`] counts what it came to, [`timeline`] writes it down as a real run would be.
//! - [`predict`]: all of it over the phases of the kubelet's loop.

mod assumptions;
mod curve;
mod departures;
mod disruption;
mod fill;
mod node;
mod objects;
mod outage;
mod predict;
mod prepare;
mod recording;
mod simulation;
mod steps;
mod tally;
mod template;
mod vary;

pub use assumptions::{Assumptions, Phase, Range};
pub use curve::{Course, Curve, Micros, SECOND};
pub use departures::observed_words;
pub use fill::{Amount, Fill, Kind, Place};
pub use node::PreparedNode;
pub use predict::{
    Alternative, DepartureRange, FactShares, FindingShares, Prediction, Sequence, predict, share,
};
pub use prepare::{PrepareError, Prepared};
pub use recording::timeline;
pub use simulation::{
    ContainerStage, ContainerState, Fate, Happening, NodeState, PodState, Seen, Sink, Stage, Termination,
    World, simulate,
};
pub use tally::{Evicted, Killed, Pressure, Tally};
pub use template::{ContainerTemplate, PodTemplate, Request, RestartPolicy, VolumeTemplate};

/// The name of the cluster that is none: what `Began` says of a run in virtual time.
pub const MODEL: &str = "model";
