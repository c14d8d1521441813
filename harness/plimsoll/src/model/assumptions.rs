//! What the rules do not say and a plan does not either: how fast a machine is, what its daemons take, and where in its
//! interval the kubelet's loop is. Each is a range; a [`Phase`] is one point in all of them.

use serde::{Deserialize, Serialize};

use super::curve::{Micros, SECOND};

/// A number that lies between two others, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// Not less.
    pub least: i64,
    /// Not more.
    pub most: i64,
}

impl Range {
    const fn new(least: i64, most: i64) -> Self {
        Self { least, most }
    }

    /// The point that so large a part of the range lies below, in 2^32nds.
    #[must_use]
    pub fn at(&self, part: u32) -> i64 {
        let width = i128::from(self.most) - i128::from(self.least);
        let offset = (width * i128::from(part)) >> 32;
        self.least.saturating_add(i64::try_from(offset).unwrap_or(0))
    }
}

/// The ranges. [`Default`] is what was seen on nodes of ours; `docs/predict.md` says how they were measured.
///
/// Sizes are bytes, times microseconds, rates bytes a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Assumptions {
    /// The working set of everything on a node that is no pod: kubelet, containerd, the rest of the cgroup.
    pub daemons: Range,
    /// How much of that the kernel takes back before it kills anybody.
    pub reclaimable: Range,
    /// What a container takes besides what its filler fills: the program, the sandbox, the kernel's part of both.
    pub container: Range,
    /// How fast memory is filled that is not paced.
    pub memory_rate: Range,
    /// From a pod's binding to the start of its containers.
    pub start: Range,
    /// From something that happens to a container until its pod's status says so.
    pub status: Range,
    /// From SIGTERM to the end of a process that obeys at once.
    pub end: Range,
    /// From the end of a pod's containers until the kubelet has cleaned it up, volumes and cgroups included.
    pub cleanup: Range,
    /// How long a pass of the kubelet's eviction manager takes.
    pub pass: Range,
    /// From an object's change until a controller, or the scheduler, has acted on it.
    pub control: Range,
    /// How long one request to the API server takes, as a step makes it.
    pub request: Range,
    /// How long telling a running filler takes.
    pub tell: Range,
    /// How long a step takes that takes a node away or brings it back.
    pub outage: Range,
    /// How long a step takes that takes a node's power.
    pub power_off: Range,
    /// From the step that brings a node back until its kubelet is heard of.
    pub returns: Range,
    /// What the images of filler and sandbox take of their filesystem, packed and unpacked.
    pub images: Range,
    /// How fast files are written that are not paced.
    pub write_rate: Range,
    /// How fast a log is written at most, by way of the container runtime.
    pub log_rate: Range,
    /// How many empty files a second are made.
    pub inode_rate: Range,
    /// How many processes a second are started.
    pub process_rate: Range,
    /// What a pod takes of disk besides what it fills.
    pub pod_storage: Range,
    /// The inodes that a pod takes besides what it fills.
    pub pod_inodes: Range,
    /// Tasks of a node that belong to no pod: its container runtime's, its kubelet's and its own.
    pub node_tasks: Range,
    /// Tasks that a pod has besides its containers' processes.
    pub pod_tasks: Range,
    /// How long importing images takes, as a step does it.
    pub import: Range,
    /// Processors of a node, in thousandths: those of the machine, since a plan does not bound them.
    pub processors: i64,
}

const MI: i64 = 1 << 20;
const MILLISECOND: Micros = SECOND / 1000;

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            daemons: Range::new(45 * MI, 130 * MI),
            reclaimable: Range::new(0, 40 * MI),
            container: Range::new(MI, 3 * MI),
            memory_rate: Range::new(300 * MI, 3000 * MI),
            start: Range::new(150 * MILLISECOND, 2000 * MILLISECOND),
            status: Range::new(5 * MILLISECOND, 300 * MILLISECOND),
            end: Range::new(10 * MILLISECOND, 200 * MILLISECOND),
            cleanup: Range::new(100 * MILLISECOND, 1100 * MILLISECOND),
            pass: Range::new(MILLISECOND, 50 * MILLISECOND),
            control: Range::new(MILLISECOND, 50 * MILLISECOND),
            request: Range::new(3 * MILLISECOND, 30 * MILLISECOND),
            tell: Range::new(30 * MILLISECOND, 200 * MILLISECOND),
            outage: Range::new(5 * MILLISECOND, 300 * MILLISECOND),
            power_off: Range::new(1000 * MILLISECOND, 3500 * MILLISECOND),
            returns: Range::new(300 * MILLISECOND, 4000 * MILLISECOND),
            images: Range::new(28 * MI, 34 * MI),
            write_rate: Range::new(50 * MI, 1500 * MI),
            log_rate: Range::new(15 * MI, 150 * MI),
            inode_rate: Range::new(8000, 60_000),
            process_rate: Range::new(2000, 20_000),
            pod_storage: Range::new(MI / 10, MI / 2),
            pod_inodes: Range::new(25, 60),
            node_tasks: Range::new(40, 150),
            pod_tasks: Range::new(8, 25),
            import: Range::new(300 * MILLISECOND, 6000 * MILLISECOND),
            processors: 4000,
        }
    }
}

impl Assumptions {
    /// The same, with images that take so many bytes before they are unpacked: they lie there packed and unpacked.
    #[must_use]
    pub fn with_images(mut self, packed: i64) -> Self {
        let both = packed.saturating_mul(2);
        self.images = Range::new(both, both.saturating_add(MI));
        self
    }
}

/// How often the kubelet looks. Upstream: `evictionMonitoringPeriod`.
const INTERVAL: Range = Range::new(0, 10 * SECOND - 1);

/// One way in which what is not known may turn out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// When the kubelets' loops first look after the steps began; of a further node a part of this interval later.
    pub look: Micros,
    /// As [`Assumptions::daemons`].
    pub daemons: i64,
    /// As [`Assumptions::reclaimable`].
    pub reclaimable: i64,
    /// As [`Assumptions::container`].
    pub container: i64,
    /// As [`Assumptions::memory_rate`].
    pub memory_rate: i64,
    /// What everything else that varies is drawn from.
    pub seed: u64,
}

impl Assumptions {
    /// One of `of` phases: looks are spread evenly over the interval, and each other range is covered evenly and
    /// independently of it (an additive recurrence in one irrational step for each).
    #[must_use]
    pub fn phase(&self, index: u32, of: u32) -> Phase {
        let even = |step: u64| u32::try_from((u64::from(index) + 1).wrapping_mul(step) >> 32).unwrap_or(0);
        // The fractional parts of powers of the plastic number's kin in four dimensions, in 2^64ths (Roberts' R4).
        const STEPS: [u64; 4] =
            [0xDB4F_0B91_75AE_2165, 0xBBE0_5633_03A4_615F, 0xA0F2_EC75_A1FE_1575, 0x89E1_8285_7D9E_D688];
        let look = u32::try_from((u64::from(index) << 32) / u64::from(of.max(1))).unwrap_or(u32::MAX);
        Phase {
            look: INTERVAL.at(look),
            daemons: self.daemons.at(even(STEPS[0])),
            reclaimable: self.reclaimable.at(even(STEPS[1])),
            container: self.container.at(even(STEPS[2])),
            memory_rate: self.memory_rate.at(even(STEPS[3])),
            seed: u64::from(index) + 1,
        }
    }
}

/// Numbers that look like chance and are the same every time. The generator is SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Somewhere in a range.
    pub(super) fn within(&mut self, range: Range) -> i64 {
        range.at(u32::try_from(self.next() >> 32).unwrap_or(0))
    }

    /// One of so many, from 0.
    pub(super) fn one_of(&mut self, options: usize) -> usize {
        usize::try_from(self.next() % options.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_cover_their_ranges_evenly() {
        let assumptions = Assumptions::default();
        let phases: Vec<Phase> = (0..100).map(|index| assumptions.phase(index, 100)).collect();
        let looks: Vec<Micros> = phases.iter().map(|phase| phase.look).collect();
        assert!(looks.windows(2).all(|pair| (99_000..=101_000).contains(&(pair[1] - pair[0]))));
        for (range, of) in [
            (assumptions.daemons, (|phase| phase.daemons) as fn(&Phase) -> i64),
            (assumptions.reclaimable, |phase| phase.reclaimable),
            (assumptions.container, |phase| phase.container),
            (assumptions.memory_rate, |phase| phase.memory_rate),
        ] {
            for quarter in 0..4 {
                let bounds = range.at(quarter << 30)..=range.at((quarter << 30) + ((1 << 30) - 1));
                let inside = phases.iter().filter(|phase| bounds.contains(&of(phase))).count();
                assert!((15..=35).contains(&inside), "{range:?}: {inside} in quarter {quarter}");
            }
        }
    }

    #[test]
    fn images_lie_packed_and_unpacked() {
        assert_eq!(Assumptions::default().with_images(3 * MI).images, Range::new(6 * MI, 7 * MI));
    }

    #[test]
    fn dice_stay_within_their_range() {
        let mut dice = Dice::new(7);
        let range = Range { least: -3, most: 3 };
        assert!((0..1000).all(|_| (-3..=3).contains(&dice.within(range))));
        assert!((0..1000).all(|_| dice.one_of(3) < 3));
    }
}
