//! Scenarios that nobody thought of: bounded, and the same for the same seed.

use std::fmt::Write;
use std::str::FromStr;

use crate::numbers::Numbers;

/// What the fillers of a random scenario take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The node's memory.
    Memory,
    /// Bytes of the node's disk.
    Disk,
    /// Inodes of the node's disk.
    Inodes,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Inodes];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Inodes => "inodes",
        }
    }

    /// The kind of a seed, one of these in turn; none where there is none.
    #[must_use]
    pub fn of(seed: u64, kinds: &[Self]) -> Option<Self> {
        let count = u64::try_from(kinds.len()).ok()?;
        kinds.get(usize::try_from(seed.checked_rem(count)?).ok()?).copied()
    }

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

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| format!("{text} is no kind of scenario: memory, disk, inodes"))
    }
}

/// The scenario of a seed: a node with thresholds, and pods that fill its memory or disk at some pace, with requests, limits and
/// priorities. It is over in a minute or so. Its expectations hold whoever goes: what is of interest besides is how the run compares
/// with its prediction.
#[must_use]
pub fn random_scenario(seed: u64, kind: Kind) -> String {
    // What there is, the step between amounts, and what a second may take at most.
    let mut numbers = Numbers::new(seed);
    let memory = numbers.within(700, 1500, 100);
    let (all, step, paces) = match kind {
        Kind::Memory => (memory, 10, (5, 60, 5)),
        Kind::Disk => (500, 10, (5, 60, 5)),
        Kind::Inodes => (40_000, 100, (500, 5000, 500)),
    };
    let (signal, unit) = (kind.signal(), kind.unit());
    let least = all / 6 / step * step;
    let most = all / 3 / step * step;
    let hard = numbers.within(least, most, step);
    let mut kubelet = format!(
        "        evictionHard: {{{signal}: \"{hard}{unit}\"}}\n        evictionPressureTransitionPeriod: {}s\n",
        numbers.within(5, 20, 5)
    );
    if kind != Kind::Memory {
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
        let greedy = pod == 0 || (kind == Kind::Memory && numbers.chance(25));
        let modest = numbers.within(all / 50 / step * step, all / 8 / step * step, step);
        let room = if kind == Kind::Memory { all } else { all - hard / 2 };
        let amount = if greedy { room / step * step } else { modest };
        let rate = numbers.within(paces.0, paces.1, paces.2);
        let start = if greedy { numbers.within(0, all / 3 / step * step, step) } else { 0 };
        let _ = write!(workloads, "  - name: {name}\n    restartPolicy: Never\n");
        if numbers.chance(40) {
            let _ = writeln!(workloads, "    priority: {}", numbers.within(0, 3, 1) * 1000);
        }
        if numbers.chance(70) {
            let request = match kind {
                Kind::Memory => "memory",
                Kind::Disk | Kind::Inodes => "ephemeral-storage",
            };
            let _ = writeln!(workloads, "    requests: {{{request}: {}Mi}}", numbers.within(10, 80, 5));
        }
        let (filled, into) = match kind {
            Kind::Memory => ("memory", ""),
            Kind::Disk => ("disk", ", as: Allocated, into: EmptyDir"),
            Kind::Inodes => ("inodes", ", into: EmptyDir"),
        };
        let _ = writeln!(
            workloads,
            "    fill: {{{filled}: {{amount: {amount}{unit}, rate: {rate}{unit}/s, startAt: {start}{unit}{into}}}}}"
        );
        names.push(name);
    }
    let names = names.join(", ");
    let kind = kind.name();
    format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata:\n  name: random-{kind}-{seed}\n  description: What came of the seed {seed}.\n\
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
