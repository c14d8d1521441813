//! What lies on a node's filesystems and how many tasks it has, and what the kubelet gets to know of that and when.

use plimsoll_eviction::layout::NodeReclaim;
use plimsoll_eviction::summary::{FsStats, ProcessStats, RlimitStats, RuntimeStats, Summary, VolumeStats};

use super::world::{ContainerStage, ContainerState, NodeState, PodState, World, timestamp};
use crate::model::assumptions::{Assumptions, Dice, Range};
use crate::model::curve::{Curve, Micros};
use crate::model::fill::{Amount, Fill, Kind, Place};
use crate::model::node::{IMAGEFS, NODEFS, PreparedNode};
use crate::model::prepare::Prepared;
use crate::model::template::PodTemplate;
use crate::plan::BallastImage;

/// How fast space is taken that is not written: at once.
const AT_ONCE: i64 = 1 << 40;
/// What a node that does nothing has on its nodefs, and what a container's layer, its log and a volume have when they are empty.
/// The kubelet counts folders, too.
const IDLE: Amount = Amount { bytes: 150 << 10, inodes: 70 };
const EMPTY_LAYER: Amount = Amount { bytes: 20 << 10, inodes: 9 };
const EMPTY_LOG: Amount = Amount { bytes: 4 << 10, inodes: 1 };
const EMPTY_VOLUME: Amount = Amount { bytes: 8 << 10, inodes: 1 };

/// What of a machine is not known and matters only to disks and processes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Machine {
    images: i64,
    write_rate: i64,
    log_rate: i64,
    inode_rate: i64,
    process_rate: i64,
    pod: Amount,
    node_tasks: i64,
    pod_tasks: i64,
}

impl Machine {
    pub(super) fn new(assumptions: &Assumptions, seed: u64) -> Self {
        // Dice of its own: what a plan without disks comes to does not depend on them.
        let mut dice = Dice::new(seed ^ 0xD15C);
        let mut within = |range: Range| dice.within(range);
        Self {
            images: within(assumptions.images),
            write_rate: within(assumptions.write_rate),
            log_rate: within(assumptions.log_rate),
            inode_rate: within(assumptions.inode_rate),
            process_rate: within(assumptions.process_rate),
            pod: Amount { bytes: within(assumptions.pod_storage), inodes: within(assumptions.pod_inodes) },
            node_tasks: within(assumptions.node_tasks),
            pod_tasks: within(assumptions.pod_tasks),
        }
    }
}

impl Machine {
    /// How fast something is filled, where memory is filled so fast.
    pub(super) const fn rate(&self, kind: Kind, memory: i64) -> i64 {
        match kind {
            Kind::Memory => memory,
            Kind::Written => self.write_rate,
            Kind::Allocated => AT_ONCE,
            Kind::Log => self.log_rate,
            Kind::Inodes => self.inode_rate,
            Kind::Processes => self.process_rate,
        }
    }
}

/// What of a node's disks is remembered from one moment to the next.
#[derive(Debug, Default)]
pub(in super::super) struct NodeStorage {
    /// Images that nothing uses.
    pub(super) images: Vec<Image>,
    /// What pods left that have ended.
    pub(super) remains: Vec<Remains>,
    /// What nobody takes away any more, by filesystem.
    pub(super) left: [Amount; 2],
    /// What is filled outside every pod, besides memory: of what, on which filesystem.
    pub(super) outside: Vec<(Kind, usize, Curve)>,
    /// When containerd first measures layers and the kubelet volumes.
    layers_from: Micros,
    pub(super) volumes_from: Micros,
}

/// An image that nothing uses.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) name: String,
    amount: Amount,
    pinned: bool,
    /// When the kubelet first saw it; it takes those it finds at its start for old.
    pub(super) detected: Option<Micros>,
}

/// What a container left that ended with its pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remains {
    pub(super) pod: usize,
    pub(super) container: usize,
    pub(super) filesystem: usize,
    pub(super) amount: Amount,
    /// Whether it goes with the container; a volume goes when the pod is cleaned up.
    pub(super) of_container: bool,
}

impl Image {
    pub(super) fn new(image: &BallastImage, detected: Option<Micros>) -> Self {
        let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
        Self {
            name: image.name.clone(),
            amount: Amount { bytes: whole(image.size), inodes: whole(image.files) },
            pinned: image.pinned,
            detected,
        }
    }

    /// Whether the kubelet removes it when it needs room. Upstream: `realImageGCManager.freeImage`.
    pub(super) fn goes(&self, now: Micros, least_age: Micros) -> bool {
        !self.pinned && now.saturating_sub(self.detected.unwrap_or(now)) >= least_age
    }
}

impl NodeStorage {
    /// What a node has when the steps begin. Both measurers started with it, some time ago.
    pub(super) fn new(plan: &PreparedNode, dice: &mut Dice) -> Self {
        let mut phase = |interval: Micros| dice.within(Range { least: 1 - interval.max(1), most: 0 });
        Self {
            images: plan.images.iter().map(|image| Image::new(image, Some(Micros::MIN / 2))).collect(),
            layers_from: phase(plan.layer_interval),
            volumes_from: phase(plan.volume_interval),
            ..Self::default()
        }
    }

    /// The names of the images that nothing uses.
    pub(in super::super) fn images(&self) -> impl Iterator<Item = &str> {
        self.images.iter().map(|image| image.name.as_str())
    }
}

/// The last turn of something that is done in equal intervals.
pub(super) fn last_turn(from: Micros, interval: Micros, now: Micros) -> Micros {
    let interval = interval.max(1);
    from + (now - from).div_euclid(interval) * interval
}

/// The filesystem that a place is on.
pub(super) fn filesystem_of(plan: &PreparedNode, place: Place) -> usize {
    match place {
        Place::Layer | Place::Node { with_images: true } => plan.images_on(),
        Place::Node { .. } | Place::Log | Place::Volume(_) | Place::Process => NODEFS,
    }
}

/// What a filler holds at a moment.
fn level(container: &ContainerState, at: Micros) -> i64 {
    if container.state == ContainerStage::Running { container.held.at(at) } else { 0 }
}

impl World<'_> {
    /// How fast this machine fills something.
    pub(super) fn rate(&self, kind: Kind) -> i64 {
        self.machine.rate(kind, self.phase.memory_rate)
    }

    /// What is used of a node's filesystem.
    pub(super) fn used(&self, node: usize, filesystem: usize, at: Micros) -> Amount {
        let (plan, state) = (self.node_plan(node), &self.nodes[node]);
        let own = &state.storage;
        let mut sum = own.left[filesystem];
        if filesystem == NODEFS {
            sum += IDLE;
        }
        if filesystem == plan.images_on() {
            sum += Amount { bytes: self.machine.images, inodes: 0 };
            for image in &own.images {
                sum += image.amount;
            }
        }
        for (kind, on, curve) in &own.outside {
            if *on == filesystem {
                sum += kind.amount(curve.at(at));
            }
        }
        for remains in own.remains.iter().filter(|remains| remains.filesystem == filesystem) {
            sum += remains.amount;
        }
        for &pod in state.pods.iter().filter(|pod| self.pods[**pod].started.is_some()) {
            if filesystem == NODEFS {
                sum += self.machine.pod;
            }
            for (container, template) in self.pods[pod].containers.iter().zip(self.containers(pod)) {
                if let Some(fill) = template.fill.filter(|own| filesystem_of(plan, own.place) == filesystem) {
                    sum += fill.kind.amount(level(container, at) + container.left);
                }
            }
        }
        sum
    }

    /// What is left of a node's filesystem, 0 for that of everything but images and layers, 1 for one of their own; absent where
    /// it has none such.
    #[must_use]
    pub fn storage_available(&self, node: usize, filesystem: usize, at: Micros) -> Option<Amount> {
        let own = self.node_plan(node).filesystems[filesystem]?;
        Some(own.usable - self.used(node, filesystem, at))
    }

    /// The tasks of a node.
    pub(in super::super) fn node_tasks(&self, node: usize, at: Micros) -> i64 {
        let state = &self.nodes[node];
        let outside = state.storage.outside.iter().filter(|(kind, ..)| *kind == Kind::Processes);
        let started = state.pods.iter().filter(|pod| self.pods[**pod].started.is_some());
        self.machine.node_tasks
            + outside.map(|(.., curve)| curve.at(at) + 1).sum::<i64>()
            + started.map(|pod| self.machine.pod_tasks + self.pod_tasks(*pod, at)).sum::<i64>()
    }

    /// The processes of a pod's containers.
    pub(in super::super) fn pod_tasks(&self, pod: usize, at: Micros) -> i64 {
        let own = self.pods[pod].containers.iter().zip(self.containers(pod));
        let running = own.filter(|(container, _)| container.state == ContainerStage::Running);
        running.map(|(container, template)| 1 + processes(template.fill, container.held.at(at))).sum()
    }

    /// Something of disk or processes that has run out: of which node, and on which filesystem if not processes.
    pub(super) fn exhausted(&self, node: usize, at: Micros) -> Option<Option<usize>> {
        let plan = self.node_plan(node);
        if self.prepared.processes && self.node_tasks(node, at) > plan.tasks && self.grows(node, None, at) {
            return Some(None);
        }
        if !self.prepared.storage {
            return None;
        }
        let full = |filesystem: &usize| {
            let left = self.storage_available(node, *filesystem, at);
            left.is_some_and(|left| left.bytes < 0 || left.inodes < 0)
                && self.grows(node, Some(*filesystem), at)
        };
        [NODEFS, IMAGEFS].into_iter().find(full).map(Some)
    }

    fn grows(&self, node: usize, filesystem: Option<usize>, at: Micros) -> bool {
        // Nothing happens between now and then, so that who has grown meanwhile is to blame.
        !self.growing(node, filesystem, self.now, at).is_empty()
    }

    /// Who fills a filesystem, or starts processes, between two moments: pods' containers, and fillers outside.
    pub(super) fn growing(
        &self,
        node: usize,
        filesystem: Option<usize>,
        from: Micros,
        to: Micros,
    ) -> Vec<Grower> {
        let plan = self.node_plan(node);
        let takes = |kind: Kind, on: usize| match filesystem {
            Some(filesystem) => kind.is_on_disk() && on == filesystem,
            None => kind == Kind::Processes,
        };
        let mut found = Vec::new();
        let state = &self.nodes[node];
        for (index, (kind, on, curve)) in state.storage.outside.iter().enumerate() {
            if takes(*kind, *on) && curve.grows_between(from, to) {
                found.push(Grower::Outside(index));
            }
        }
        for &pod in &state.pods {
            let containers = self.pods[pod].containers.iter().zip(self.containers(pod)).enumerate();
            for (index, (container, template)) in containers {
                let fill = template.fill.filter(|own| takes(own.kind, filesystem_of(plan, own.place)));
                let runs = container.state == ContainerStage::Running;
                if fill.is_some() && runs && container.held.grows_between(from, to) {
                    found.push(Grower::Container(pod, index));
                }
            }
        }
        found
    }

    /// Lets containerd and the kubelet measure a pod's layers and volumes at each of their turns up to now.
    /// Upstream: containerd's snapshot syncer; `volumeStatCalculator`, whose turns are stretched by chance.
    pub(super) fn measure_pod_storage(&mut self, pod: usize, now: Micros) {
        let Some(node) = self.pods[pod].node else { return };
        if !self.prepared.storage || self.pods[pod].started.is_none() {
            return;
        }
        let plan = self.node_plan(node);
        let layers = last_turn(self.nodes[node].storage.layers_from, plan.layer_interval, now);
        let mut volumes = None;
        while self.pods[pod].volumes_next <= now {
            let at = self.pods[pod].volumes_next;
            volumes = Some(at);
            let most = plan.volume_interval.saturating_mul(2);
            let stretched = self.dice.within(Range { least: plan.volume_interval, most });
            self.pods[pod].volumes_next = at.saturating_add(stretched.max(1000));
        }
        let templates = self.containers(pod);
        for (container, template) in self.pods[pod].containers.iter_mut().zip(templates) {
            match (template.fill.map(|fill| fill.place), volumes) {
                (Some(Place::Layer), _) if container.started <= layers => {
                    container.measured = level(container, layers);
                }
                (Some(Place::Volume(_)), Some(at)) => {
                    container.measured = level(container, at) + container.left;
                }
                _ => {}
            }
        }
    }

    /// Writes a node's disks and tasks into its summary.
    pub(super) fn measure_storage(&mut self, node: usize) {
        let now = self.now;
        for index in 0..self.nodes[node].pods.len() {
            self.measure_pod_storage(self.nodes[node].pods[index], now);
        }
        if self.prepared.processes {
            let (most, taken) = (self.node_plan(node).tasks, self.node_tasks(node, now));
            self.nodes[node].summary.node.rlimit = Some(RlimitStats {
                time: Some(timestamp(now)),
                max_pid: Some(most),
                running_processes: Some(taken),
            });
        }
        if !self.prepared.storage {
            return;
        }
        let plan = self.node_plan(node);
        let layers = last_turn(self.nodes[node].storage.layers_from, plan.layer_interval, now);
        let images = self.filesystem_stats(node, plan.images_on(), layers, Amount::default());
        let nodefs = self.filesystem_stats(node, NODEFS, now, Amount::default());
        let summary = &mut self.nodes[node].summary;
        summary.node.fs = nodefs;
        summary.node.runtime = Some(RuntimeStats { image_fs: images.clone(), container_fs: images });
        let World { nodes, pods, prepared, now, .. } = self;
        let NodeState { summary, summary_of, .. } = &mut nodes[node];
        for (pod, stats) in summary_of.iter().zip(&mut summary.pods) {
            let own = &pods[*pod];
            let template = &prepared.templates[own.template];
            let mut whole = Amount::default();
            for (index, stats) in stats.containers.iter_mut().enumerate() {
                let (layer, log) = container_amounts(own, template, index, *now);
                whole = whole + layer + log;
                stats.rootfs = Some(part(layer, layers));
                stats.logs = Some(part(log, *now));
            }
            let volumes = template.volumes.iter().enumerate().filter(|(_, volume)| volume.measured);
            stats.volumes.clear();
            for (index, volume) in volumes {
                let amount = volume_amount(own, template, index);
                if !volume.in_memory {
                    whole += amount;
                }
                stats.volumes.push(VolumeStats {
                    name: volume.name.clone(),
                    used_bytes: u64::try_from(amount.bytes).ok(),
                    inodes_used: u64::try_from(amount.inodes).ok(),
                });
            }
            stats.ephemeral_storage = Some(part(whole, *now));
        }
    }

    /// Writes the processes that cAdvisor counted last into a node's summary.
    pub(super) fn measure_processes(&mut self, node: usize) {
        let World { nodes, pods, .. } = self;
        let NodeState { summary, summary_of, .. } = &mut nodes[node];
        for (pod, stats) in summary_of.iter().zip(&mut summary.pods) {
            stats.processes = Some(ProcessStats { process_count: Some(pods[*pod].measured_processes) });
        }
    }

    fn filesystem_stats(
        &self,
        node: usize,
        filesystem: usize,
        time: Micros,
        freed: Amount,
    ) -> Option<FsStats> {
        let own = self.node_plan(node).filesystems[filesystem]?;
        Some(filesystem_stats(own.capacity, own.usable - self.used(node, filesystem, self.now) + freed, time))
    }

    /// Which images go, and what the dead containers and they give back of each filesystem.
    fn reclaimable(
        prepared: &Prepared,
        node: usize,
        own: &NodeStorage,
        what: &[NodeReclaim],
        now: Micros,
    ) -> [Amount; 2] {
        let plan = &prepared.nodes[node];
        let mut freed = [Amount::default(); 2];
        if what.contains(&NodeReclaim::Containers) {
            for remains in own.remains.iter().filter(|remains| remains.of_container) {
                freed[remains.filesystem] += remains.amount;
            }
        }
        if what.contains(&NodeReclaim::Images) {
            for image in own.images.iter().filter(|image| image.goes(now, plan.image_minimum_age)) {
                freed[plan.images_on()] += image.amount;
            }
        }
        freed
    }

    /// A node's statistics with what reclaiming on the node itself gives back.
    pub(super) fn after_reclaim(
        prepared: &Prepared,
        node: usize,
        state: &NodeState,
        what: &[NodeReclaim],
        now: Micros,
    ) -> Summary {
        let freed = Self::reclaimable(prepared, node, &state.storage, what, now);
        let mut summary = state.summary.clone();
        let add = |stats: &mut Option<FsStats>, freed: Amount| {
            let Some(stats) = stats else { return };
            let more = |figure: &mut Option<u64>, freed: i64| {
                *figure = figure.map(|figure| figure.saturating_add_signed(freed));
            };
            more(&mut stats.available_bytes, freed.bytes);
            more(&mut stats.inodes_free, freed.inodes);
        };
        let images = freed[prepared.nodes[node].images_on()];
        add(&mut summary.node.fs, freed[NODEFS]);
        if let Some(runtime) = &mut summary.node.runtime {
            add(&mut runtime.image_fs, images);
            add(&mut runtime.container_fs, images);
        }
        summary
    }
}

/// Who fills something up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grower {
    /// A filler outside every pod, by its place.
    Outside(usize),
    /// A pod's container.
    Container(usize, usize),
}

fn processes(fill: Option<Fill>, level: i64) -> i64 {
    if fill.is_some_and(|fill| fill.kind == Kind::Processes) { level } else { 0 }
}

/// Bytes and inodes of a container's layer, as containerd measured it last, and of its log.
fn container_amounts(
    pod: &PodState<'_>,
    template: &PodTemplate,
    index: usize,
    now: Micros,
) -> (Amount, Amount) {
    let (Some(container), Some(own)) = (pod.containers.get(index), template.containers.get(index)) else {
        return (EMPTY_LAYER, EMPTY_LOG);
    };
    let Some(fill) = own.fill else { return (EMPTY_LAYER, EMPTY_LOG) };
    match fill.place {
        Place::Layer => (EMPTY_LAYER + fill.kind.amount(container.measured), EMPTY_LOG),
        Place::Log => (EMPTY_LAYER, EMPTY_LOG + fill.kind.amount(level(container, now) + container.left)),
        Place::Process | Place::Volume(_) | Place::Node { .. } => (EMPTY_LAYER, EMPTY_LOG),
    }
}

/// Bytes and inodes of a volume, as the kubelet measured it last.
fn volume_amount(pod: &PodState<'_>, template: &PodTemplate, volume: usize) -> Amount {
    let in_memory = template.volumes.get(volume).is_some_and(|own| own.in_memory);
    let mut sum = if in_memory { Amount { bytes: 0, ..EMPTY_VOLUME } } else { EMPTY_VOLUME };
    for (container, own) in pod.containers.iter().zip(&template.containers) {
        if let Some(fill) = own.fill.filter(|fill| fill.place == Place::Volume(volume)) {
            sum += match fill.kind {
                Kind::Memory => Amount { bytes: container.measured, inodes: 0 },
                kind => kind.amount(container.measured),
            };
        }
    }
    sum
}

fn filesystem_stats(capacity: Amount, left: Amount, time: Micros) -> FsStats {
    let figure = |amount: i64| u64::try_from(amount.max(0)).ok();
    FsStats {
        time: Some(timestamp(time)),
        available_bytes: figure(left.bytes),
        capacity_bytes: figure(capacity.bytes),
        used_bytes: figure(capacity.bytes - left.bytes),
        inodes_free: figure(left.inodes),
        inodes: figure(capacity.inodes),
        inodes_used: figure(capacity.inodes - left.inodes),
    }
}

/// A part of a filesystem.
fn part(amount: Amount, time: Micros) -> FsStats {
    FsStats {
        time: Some(timestamp(time)),
        used_bytes: u64::try_from(amount.bytes).ok(),
        inodes_used: u64::try_from(amount.inodes).ok(),
        ..FsStats::default()
    }
}
