//! Scenarios that nobody thought of: bounded, and the same for the same seed.

use std::fmt::Write;
use std::str::FromStr;

use crate::numbers::Numbers;

/// What a random scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The node's memory.
    Memory,
    /// Bytes of the node's disk.
    Disk,
    /// Inodes of the node's disk.
    Inodes,
    /// Memory of containers with limits of their own, some of which the kernel ends. It is over in seconds, so that many of them show
    /// what is left of runs.
    Limits,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Disk, Self::Inodes, Self::Limits];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Inodes => "inodes",
            Self::Limits => "limits",
        }
    }

    /// The kind of a seed, one of these in turn; none where there is none.
    #[must_use]
    pub fn of(seed: u64, kinds: &[Self]) -> Option<Self> {
        let count = u64::try_from(kinds.len()).ok()?;
        kinds.get(usize::try_from(seed.checked_rem(count)?).ok()?).copied()
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| format!("{text} is no kind of scenario: memory, disk, inodes, limits"))
    }
}

/// The scenario of a seed. What is of interest besides its expectations is how the run compares with its prediction.
#[must_use]
pub fn random_scenario(seed: u64, kind: Kind) -> String {
    match kind {
        Kind::Memory => under_pressure(seed, kind.name(), Filled::Memory),
        Kind::Disk => under_pressure(seed, kind.name(), Filled::Disk),
        Kind::Inodes => under_pressure(seed, kind.name(), Filled::Inodes),
        Kind::Limits => with_limits(seed),
    }
}

/// Containers below and above their own limits of memory, on a node that has enough of it: the kernel ends those above, and nobody else.
fn with_limits(seed: u64) -> String {
    let mut numbers = Numbers::new(seed);
    let (mut workloads, mut above, mut below) = (String::new(), Vec::new(), Vec::new());
    for pod in 0..numbers.within(1, 4, 1) {
        let name = format!("pod-{pod}");
        let limit = numbers.within(20, 60, 10);
        let is_above = numbers.chance(60);
        let amount =
            if is_above { limit + numbers.within(20, 100, 10) } else { numbers.within(5, limit - 10, 5) };
        let rate = numbers.within(50, 300, 50);
        let _ = write!(
            workloads,
            "  - name: {name}\n    restartPolicy: Never\n    limits: {{memory: {limit}Mi}}\n    fill: {{memory: {{amount: {amount}Mi, rate: {rate}Mi/s}}}}\n"
        );
        if is_above { above.push(name) } else { below.push(name) }
    }
    let (all, above, below) =
        ([&above[..], &below[..]].concat().join(", "), above.join(", "), below.join(", "));
    let (mut waits, mut expected) = (String::new(), String::new());
    if !below.is_empty() {
        let _ = writeln!(waits, "  - wait: {{for: Filled, pods: [{below}], within: 120s}}");
        let _ = writeln!(expected, "    survive: [{below}]");
    }
    if above.is_empty() {
        expected.push_str("    oomKills: none\n");
    } else {
        let _ = writeln!(waits, "  - wait: {{for: Gone, pods: [{above}], within: 120s}}");
        let _ = writeln!(expected, "    oomKills: [{above}]");
    }
    format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata:\n  name: random-limits-{seed}\n  description: What came of the seed {seed}.\n\
         spec:\n  cluster:\n    nodes:\n    - name: worker\n      memory: 1Gi\n      nodefs: 512Mi\n      kubelet:\n        evictionHard: {{memory.available: 100Mi}}\n\
         \x20 workloads:\n{workloads}  steps:\n  - start: [{all}]\n{waits}  - observe: 1s\n  expect:\n{expected}    evicted: []\n    conditions: []\n    rejected: none\n"
    )
}

/// What a random scenario fills of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    Memory,
    Disk,
    Inodes,
}

impl Filled {
    fn signal(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::Disk => "nodefs.available",
            Self::Inodes => "nodefs.inodesFree",
        }
    }

    /// What amounts are counted in.
    fn unit(self) -> &'static str {
        if self == Self::Inodes { "" } else { "Mi" }
    }
}

/// A node with thresholds, and pods that fill its memory or disk at some pace, with requests and priorities. It is over in a minute or
/// so. Its expectations hold whoever goes.
fn under_pressure(seed: u64, of: &str, filled: Filled) -> String {
    // What there is, the step between amounts, and what a second may take at most.
    let mut numbers = Numbers::new(seed);
    let memory = numbers.within(700, 1500, 100);
    let (all, step, paces) = match filled {
        Filled::Memory => (memory, 10, (5, 60, 5)),
        Filled::Disk => (500, 10, (5, 60, 5)),
        Filled::Inodes => (40_000, 100, (500, 5000, 500)),
    };
    let (signal, unit) = (filled.signal(), filled.unit());
    let least = all / 6 / step * step;
    let most = all / 3 / step * step;
    let hard = numbers.within(least, most, step);
    let mut kubelet = format!(
        "        evictionHard: {{{signal}: \"{hard}{unit}\"}}\n        evictionPressureTransitionPeriod: {}s\n",
        numbers.within(5, 20, 5)
    );
    if filled != Filled::Memory {
        kubelet.push_str("        volumeStatsAggPeriod: 1s\n");
    }
    if numbers.chance(40) {
        let reclaim = numbers.within(2 * step, all / 8 / step * step, step);
        let _ = writeln!(kubelet, "        evictionMinimumReclaim: {{{signal}: \"{reclaim}{unit}\"}}");
    }
    if numbers.chance(25) {
        let soft = hard + numbers.within(all / 20 / step * step, all / 10 / step * step, step);
        let grace = numbers.within(5, 15, 5);
        let _ = writeln!(kubelet, "        evictionSoft: {{{signal}: \"{soft}{unit}\"}}");
        let _ = writeln!(kubelet, "        evictionSoftGracePeriod: {{{signal}: {grace}s}}");
        let _ = writeln!(kubelet, "        evictionMaxPodGracePeriod: {}", numbers.within(2, 6, 1));
    }
    let pods = numbers.within(2, 5, 1);
    let mut workloads = String::new();
    let mut names = Vec::new();
    for pod in 0..pods {
        let name = format!("pod-{pod}");
        // One of them at least fills more than there is room for, at a pace that the kubelet may or may not keep up with. A disk
        // is not filled to the brim: whoever finds it full ends.
        let greedy = pod == 0 || (filled == Filled::Memory && numbers.chance(25));
        let modest = numbers.within(all / 50 / step * step, all / 8 / step * step, step);
        let room = if filled == Filled::Memory { all } else { all - hard / 2 };
        let amount = if greedy { room / step * step } else { modest };
        let rate = numbers.within(paces.0, paces.1, paces.2);
        let start = if greedy { numbers.within(0, all / 3 / step * step, step) } else { 0 };
        let _ = write!(workloads, "  - name: {name}\n    restartPolicy: Never\n");
        if numbers.chance(40) {
            let _ = writeln!(workloads, "    priority: {}", numbers.within(0, 3, 1) * 1000);
        }
        if numbers.chance(70) {
            let request = match filled {
                Filled::Memory => "memory",
                Filled::Disk | Filled::Inodes => "ephemeral-storage",
            };
            let _ = writeln!(workloads, "    requests: {{{request}: {}Mi}}", numbers.within(10, 80, 5));
        }
        let (field, into) = match filled {
            Filled::Memory => ("memory", ""),
            Filled::Disk => ("disk", ", as: Allocated, into: EmptyDir"),
            Filled::Inodes => ("inodes", ", into: EmptyDir"),
        };
        let _ = writeln!(
            workloads,
            "    fill: {{{field}: {{amount: {amount}{unit}, rate: {rate}{unit}/s, startAt: {start}{unit}{into}}}}}"
        );
        names.push(name);
    }
    let names = names.join(", ");
    format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata:\n  name: random-{of}-{seed}\n  description: What came of the seed {seed}.\n\
         spec:\n  cluster:\n    nodes:\n    - name: worker\n      memory: {memory}Mi\n      nodefs: {{size: 600Mi, inodes: 42000}}\n      housekeepingInterval: 1s\n      kubelet:\n{kubelet}\
         \x20 workloads:\n{workloads}  steps:\n  - start: [{names}]\n  - observe: {}s\n  expect:\n    rejected: none\n    overLimit: none\n    tainted: []\n",
        numbers.within(45, 75, 5)
    )
}

#[cfg(test)]
mod tests {
    use super::{Kind, random_scenario};

    #[test]
    fn a_seed_gives_one_scenario_and_another_another() {
        for kind in Kind::ALL {
            assert_eq!(random_scenario(7, kind), random_scenario(7, kind));
            let all: std::collections::BTreeSet<String> =
                (0..500).map(|seed| random_scenario(seed, kind)).collect();
            assert_eq!(all.len(), 500);
        }
    }

    #[test]
    fn kinds_take_turns() {
        let turns: Vec<Option<Kind>> =
            (1..=4).map(|seed| Kind::of(seed, &[Kind::Disk, Kind::Memory])).collect();
        assert_eq!(turns, [Kind::Memory, Kind::Disk, Kind::Memory, Kind::Disk].map(Some));
        assert_eq!(Kind::of(1, &[]), None);
        assert_eq!("inodes".parse(), Ok(Kind::Inodes));
        assert!("cpu".parse::<Kind>().is_err());
    }
}
