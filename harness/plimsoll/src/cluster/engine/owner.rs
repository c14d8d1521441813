//! Whose a container or network is: labels on it, so that what a killed run left can be told from what runs.

use std::collections::HashMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::cluster::state::Owner;

/// The label that names the run.
pub(super) const RUN_LABEL: &str = "dev.plimsoll.run";
/// The label that names the part of the cluster.
pub(super) const PART_LABEL: &str = "dev.plimsoll.part";
/// The label that names the process which owns the run.
pub(super) const OWNER_LABEL: &str = "dev.plimsoll.owner";

/// The labels of all that belongs to one run.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    /// The run's identifier.
    pub(super) run: String,
    owner: String,
}

impl Labels {
    /// Those of a run of this process.
    pub(super) fn of(run: &str) -> Self {
        let owner = Owned { owner: Owner::current(), boot: boot(), processes: process_namespace() };
        // Serialising plain data to memory has no way to fail; an empty label would be nobody's, and stay.
        Self { run: run.to_owned(), owner: serde_json::to_string(&owner).unwrap_or_default() }
    }

    /// As the engine takes them.
    pub(super) fn all(&self) -> HashMap<String, String> {
        HashMap::from([
            (RUN_LABEL.to_owned(), self.run.clone()),
            (OWNER_LABEL.to_owned(), self.owner.clone()),
        ])
    }
}

/// What the owner label says. An engine can be shared by several containers that each have process identifiers
/// of their own, and outlives the machine's restarts; so a process is named with where and when its number counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owned {
    #[serde(flatten)]
    owner: Owner,
    boot: String,
    processes: String,
}

/// Whether the owner that a label names has ended. False where that can not be known from here.
pub(super) fn has_ended(label: &str) -> bool {
    serde_json::from_str::<Owned>(label).is_ok_and(|owned| {
        let before_this_boot = owned.boot != boot();
        before_this_boot || (owned.processes == process_namespace() && !owned.owner.lives())
    })
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn process_namespace() -> String {
    fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Labels, OWNER_LABEL, Owned, has_ended};

    fn own() -> Owned {
        serde_json::from_str(&Labels::of("r1").all()[OWNER_LABEL]).expect("our own label")
    }

    fn ended(owned: &Owned) -> bool {
        has_ended(&serde_json::to_string(owned).expect("plain data"))
    }

    #[test]
    fn this_process_runs_and_one_that_began_at_another_time_does_not() {
        let mut owned = own();
        assert!(!ended(&owned));
        owned.owner.began += 1;
        assert!(ended(&owned));
    }

    #[test]
    fn another_boot_s_owner_has_ended_and_another_namespace_s_is_not_ours_to_judge() {
        assert!(ended(&Owned { boot: "another".into(), ..own() }));
        let mut elsewhere = Owned { processes: "pid:[1]".into(), ..own() };
        elsewhere.owner.began += 1;
        assert!(!ended(&elsewhere));
        assert!(!has_ended("not a label of ours"));
    }
}
