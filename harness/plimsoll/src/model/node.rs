//! A node made ready for runs in virtual time: what follows from its bounds and its kubelet's configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_eviction::manager::Manager;
use plimsoll_eviction::quantity::Quantity;
use plimsoll_eviction::signal::Signal;
use plimsoll_eviction::taint::Taint;
use plimsoll_eviction::threshold::{KubeletConfiguration, Operator, Threshold};
use serde::Deserialize as _;
use serde_json::Value;

use super::curve::{Micros, SECOND};
use super::fill::Amount;
use super::prepare::{PrepareError, bytes, micros};
use crate::plan::{BallastImage, FilesystemPlan, NodePlan};
use crate::verdict::signals;

/// How often our nodes' kubelets report their status, unless the scenario says otherwise.
const STATUS_INTERVAL: Micros = SECOND;
/// cAdvisor's interval of measuring a container in the kubelet. Upstream: `HousekeepingInterval`.
const HOUSEKEEPING_INTERVAL: Micros = 10 * SECOND;
/// How often our nodes' kubelets measure volumes, unless the scenario says otherwise.
const VOLUME_INTERVAL: Micros = 10 * SECOND;
/// How old an unused image must be to be removed. Upstream: `ImageMinimumGCAge`.
const IMAGE_MINIMUM_AGE: Micros = 120 * SECOND;
/// Upstream: the default of `ContainerLogMaxSize`.
const LOG_MAXIMUM: i64 = 10 << 20;
/// The filesystem of everything but images and writable layers, by its place among a node's.
pub(super) const NODEFS: usize = 0;
/// That of images and writable layers, where it is one of its own.
pub(super) const IMAGEFS: usize = 1;
/// What ext4 takes for an inode, in bytes.
const INODE: i64 = 256;
/// A filesystem of ours has an inode for so many bytes, unless the scenario says otherwise.
const BYTES_OF_AN_INODE: i64 = 8192;
/// The most that ext4 keeps back of a filesystem, besides a fiftieth of it. Linux: `ext4_set_resv_clusters`.
const KEPT_BACK_MOST: i64 = 16 << 20;

/// A filesystem of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PreparedFilesystem {
    /// What it holds.
    pub(super) capacity: Amount,
    /// What of it can be used.
    pub(super) usable: Amount,
}

impl PreparedFilesystem {
    /// What there is of a filesystem that `loop-mount` makes: journal and inodes are no part of its capacity, and ext4 keeps
    /// something back that nobody can write.
    fn new(plan: &FilesystemPlan) -> Self {
        let size = bytes(plan.size);
        let inodes = plan.inodes.map_or(size / BYTES_OF_AN_INODE, bytes);
        let capacity = (size - size / 32 - inodes.saturating_mul(INODE)).max(0);
        let usable = capacity - (capacity / 50).min(KEPT_BACK_MOST);
        Self { capacity: Amount { bytes: capacity, inodes }, usable: Amount { bytes: usable, inodes } }
    }
}

/// A node.
#[derive(Debug, Clone)]
pub struct PreparedNode {
    /// Its name.
    pub name: String,
    /// Its memory in bytes.
    pub memory: i64,
    pub(super) plan: NodePlan,
    pub(super) configuration: KubeletConfiguration,
    pub(super) manager: Manager,
    pub(super) taints: Vec<Taint>,
    pub(super) labels: BTreeMap<String, String>,
    /// The limit of all pods together; absent where it is not enforced.
    pub(super) pods_memory: Option<i64>,
    /// Memory that the scheduler may give away.
    pub(super) allocatable_memory: i64,
    /// Thousandths of processors that are kept from pods.
    pub(super) reserved_processors: i64,
    pub(super) max_pods: usize,
    pub(super) housekeeping: Micros,
    pub(super) status_interval: Micros,
    pub(super) processors: Option<i64>,
    /// Its filesystems, [`NODEFS`] and [`IMAGEFS`].
    pub(super) filesystems: [Option<PreparedFilesystem>; 2],
    /// Images that are there and that nothing uses.
    pub(super) images: Vec<BallastImage>,
    pub(super) image_minimum_age: Micros,
    /// How often each volume is measured, stretched by chance to up to twice as long. Upstream: `VolumeStatsAggPeriod`.
    pub(super) volume_interval: Micros,
    /// How often containerd measures writable layers.
    pub(super) layer_interval: Micros,
    /// The tasks that it may have.
    pub(super) tasks: i64,
    /// From how many bytes on the kubelet rotates a log. Upstream: `ContainerLogMaxSize`.
    pub(super) log_maximum: i64,
    /// Local storage that the scheduler may give away.
    pub(super) allocatable_storage: i64,
}

impl PreparedNode {
    pub(super) fn new(plan: &NodePlan) -> Result<Self, PrepareError> {
        let wrong = |error: serde_json::Error| PrepareError::Configuration {
            node: plan.name.clone(),
            error: error.to_string(),
        };
        let configuration = KubeletConfiguration::deserialize(&plan.kubelet).map_err(wrong)?;
        let manager = manager(plan, &configuration)?;
        let taint = |taint: &Value| {
            let text = |key: &str| taint[key].as_str().unwrap_or_default().to_owned();
            Taint { key: text("key"), value: text("value"), effect: text("effect") }
        };
        let mut labels = plan.labels.clone();
        labels.insert("kubernetes.io/hostname".to_owned(), plan.name.clone());
        labels.entry("kubernetes.io/os".to_owned()).or_insert_with(|| "linux".to_owned());
        labels.entry("kubernetes.io/arch".to_owned()).or_insert_with(|| "amd64".to_owned());
        let duration = |key: &str| {
            let text = plan.kubelet[key].as_str()?;
            plimsoll_eviction::duration::parse_duration(text).ok().map(micros)
        };
        let mut node = Self {
            name: plan.name.clone(),
            memory: bytes(plan.memory),
            taints: plan.taints.iter().map(taint).collect(),
            labels,
            pods_memory: None,
            allocatable_memory: 0,
            reserved_processors: reserved(plan, "cpu")
                .nanos()
                .map_or(0, |nanos| i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)),
            max_pods: plan.kubelet["maxPods"]
                .as_u64()
                .and_then(|own| usize::try_from(own).ok())
                .unwrap_or(110),
            housekeeping: plan.housekeeping_interval.map_or(HOUSEKEEPING_INTERVAL, micros),
            status_interval: duration("nodeStatusUpdateFrequency").unwrap_or(STATUS_INTERVAL),
            processors: None,
            filesystems: [Some(&plan.nodefs), plan.imagefs.as_ref()]
                .map(|own| own.map(PreparedFilesystem::new)),
            images: plan.images.clone(),
            image_minimum_age: duration("imageMinimumGCAge").unwrap_or(IMAGE_MINIMUM_AGE),
            volume_interval: duration("volumeStatsAggPeriod").unwrap_or(VOLUME_INTERVAL),
            layer_interval: plan.housekeeping_interval.map_or(HOUSEKEEPING_INTERVAL, |interval| {
                micros(Duration::from_secs(interval.as_secs().max(1)))
            }),
            tasks: bytes(plan.pids),
            log_maximum: plan.kubelet["containerLogMaxSize"]
                .as_str()
                .and_then(|text| text.parse::<Quantity>().ok())
                .map_or(LOG_MAXIMUM, |most| most.value()),
            allocatable_storage: 0,
            plan: plan.clone(),
            configuration,
            manager,
        };
        node.share_out();
        Ok(node)
    }

    /// What follows from the node's memory and its thresholds.
    pub(super) fn share_out(&mut self) {
        let left = self.memory.saturating_sub(reserved(&self.plan, "memory").value());
        let enforced = self.configuration.threshold_configuration().enforces_pods;
        self.pods_memory = enforced.then_some(left);
        let kept = self.hard(Signal::MemoryAvailable, self.memory);
        self.allocatable_memory = left.saturating_sub(kept);
        let nodefs = self.filesystems[NODEFS].map_or(0, |own| own.capacity.bytes);
        let left = nodefs.saturating_sub(reserved(&self.plan, "ephemeral-storage").value());
        let kept = self.hard(Signal::NodeFsAvailable, nodefs);
        self.allocatable_storage = left.saturating_sub(kept);
    }
}

impl PreparedNode {
    /// What its hard threshold of a signal keeps.
    fn hard(&self, signal: Signal, capacity: i64) -> i64 {
        let hard = self.manager.thresholds().iter().find(|threshold| {
            threshold.signal == signal && threshold.operator == Operator::LessThan && threshold.is_hard()
        });
        hard.map_or(0, |threshold| threshold.value.resolve(capacity).value())
    }

    /// The place of the filesystem that images and writable layers are on.
    pub(super) const fn images_on(&self) -> usize {
        if self.filesystems[IMAGEFS].is_some() { IMAGEFS } else { NODEFS }
    }

    /// Whether the scenario says thresholds of such signals; the kubelet's defaults do not count.
    pub(super) fn has_own_threshold(&self, of: impl Fn(Signal) -> bool) -> bool {
        let own = [&self.configuration.eviction_hard, &self.configuration.eviction_soft];
        let mut names = own.into_iter().flatten().flat_map(BTreeMap::keys);
        names.any(|name| Signal::ALL.into_iter().any(|signal| signal.name() == name && of(signal)))
    }
}

/// What is kept from pods: kubeReserved and systemReserved together.
fn reserved(plan: &NodePlan, resource: &str) -> Quantity {
    let mut sum = Quantity::default();
    for field in ["kubeReserved", "systemReserved"] {
        let amount = plan.kubelet[field][resource].as_str().and_then(|text| text.parse::<Quantity>().ok());
        if let Some(amount) = amount {
            sum += &amount;
        }
    }
    sum
}

/// An eviction manager as the node's kubelet makes it.
pub(super) fn manager(
    plan: &NodePlan,
    configuration: &KubeletConfiguration,
) -> Result<Manager, PrepareError> {
    Manager::from_configuration(configuration, signals::layout(plan))
        .map_err(|error| PrepareError::Thresholds { node: plan.name.clone(), error })
}

impl PreparedNode {
    /// The thresholds in effect.
    pub(super) fn thresholds(&self) -> &[Threshold] {
        self.manager.thresholds()
    }

    /// The memory that all pods together may take, as the kubelet counts it.
    pub(super) fn memory_of_pods(&self) -> i64 {
        self.pods_memory.unwrap_or(self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filesystems_hold_what_was_measured_of_real_ones() {
        let made = |size: u64, inodes| PreparedFilesystem::new(&FilesystemPlan { size: size << 20, inodes });
        // Image in MiB, inodes asked for; capacity, inodes and what could not be used, as statvfs told them.
        for (size, inodes, capacity, has, kept) in [
            (512, None, 503_259_136_i64, 65_536, 10.2),
            (768, None, 754_892_800, 98_304, 15.3),
            (512, Some(40_000), 509_796_352, 40_000, 10.3),
        ] {
            let filesystem = made(size, inodes);
            assert!((filesystem.capacity.bytes - capacity).abs() < 1 << 20, "{size}: {filesystem:?}");
            assert_eq!(filesystem.capacity.inodes, has);
            let unusable = (filesystem.capacity - filesystem.usable).bytes as f64 / f64::from(1 << 20);
            assert!((unusable - kept).abs() < 1.0, "{size}: {unusable}");
        }
    }
}
