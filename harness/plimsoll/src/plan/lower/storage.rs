//! Whether the figures can show what the scenario says of filesystems and process ids.
//!
//! As with memory, every check is made with the bound that favours the scenario.

use std::time::Duration;

use plimsoll_eviction::signal::Signal;

use super::cluster::Node;
use super::context::Findings;
use super::fills::{self, Who};
use super::kubelet::Threshold;
use crate::plan::filler::{amount, word};
use crate::plan::{FillPlace, FillPlan, Resource};
use crate::scenario::Code;
use crate::scenario::format::document::Spec;
use crate::scenario::format::expect::Expect;
use crate::scenario::format::step::Step;
use crate::scenario::tree::Mark;

/// The kubelet looks so often. Upstream: `monitoringInterval` of the eviction manager.
const LOOK: Duration = Duration::from_secs(10);
/// The most that a node's own files, images and logs are seen to take of its filesystems, with room to spare.
const MOST_BYTES: u64 = 160 << 20;
/// One part in so many of a filesystem may be taken by its own tables and journal and by what is kept for root.
const TABLES: u64 = 8;
/// The most inodes that a node's own files take.
const MOST_INODES: u64 = 5000;
/// The most process ids that a node itself and the shims of its pods take.
const MOST_PIDS: u64 = 1000;
/// A filesystem has an inode for so many bytes, unless the scenario says otherwise.
const BYTES_OF_AN_INODE: u64 = 16 << 10;

/// A filesystem of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filesystem {
    Nodefs,
    Imagefs,
}

/// Something that takes inodes, space or process ids.
struct Load {
    node: Option<String>,
    plan: FillPlan,
    pods: u64,
    /// Where its amount stands.
    mark: Mark,
}

impl Load {
    fn whole(&self) -> u64 {
        self.plan.amount.saturating_mul(self.pods)
    }

    fn at_once(&self) -> u64 {
        let each = if self.plan.rate.is_some() { self.plan.start_at } else { self.plan.amount };
        each.min(self.plan.amount)
    }

    fn can_be_on(&self, node: &Node) -> bool {
        self.node.as_ref().is_none_or(|name| *name == node.plan.name)
    }

    /// Whether it may lie on a filesystem of a node that has it.
    fn can_lie_on(&self, node: &Node, filesystem: Filesystem) -> bool {
        let images = if node.plan.imagefs.is_some() { Filesystem::Imagefs } else { Filesystem::Nodefs };
        match &self.plan.into {
            // A log is kubelet's, and so are volumes on disk.
            None | Some(FillPlace::EmptyDir { .. } | FillPlace::Nodefs) => filesystem == Filesystem::Nodefs,
            Some(FillPlace::WritableLayer | FillPlace::Imagefs) => filesystem == images,
            Some(FillPlace::HostPath(_)) => true,
        }
    }
}

/// Checks the figures of everything but memory.
pub(super) fn check(spec: &Spec, nodes: &[Node], filled: &[Resource], findings: &mut Findings) {
    check_requests(spec, nodes, findings);
    let loads = loads(spec, nodes);
    for load in &loads {
        check_room(load, nodes, findings);
    }
    let only = |wanted: &[Resource]| {
        filled.iter().any(|resource| wanted.contains(resource))
            && filled.iter().all(|resource| wanted.contains(resource) || *resource == Resource::Cpu)
    };
    let disk = [Resource::Disk, Resource::Inodes];
    if let Some(mark) = wants(spec, "DiskPressure", only(&disk)) {
        let signals = |signal: &Signal| signal.condition().name() == "DiskPressure";
        if has_threshold(nodes, &signals) {
            let reached = nodes.iter().any(|node| disk_runs_low(node, &loads));
            check_reach(reached, mark, &loads, &disk, findings);
        } else {
            say_no_threshold(nodes, "a filesystem", "nodefs.available", findings);
        }
    }
    if let Some(mark) = wants(spec, "PIDPressure", only(&[Resource::Pids])) {
        if has_threshold(nodes, &|signal| *signal == Signal::PidAvailable) {
            let reached = nodes.iter().any(|node| pids_run_low(node, &loads));
            check_reach(reached, mark, &loads, &[Resource::Pids], findings);
        } else {
            say_no_threshold(nodes, "process ids", "pid.available", findings);
        }
    }
}

/// A pod that asks for more local storage than a node has stays Pending.
fn check_requests(spec: &Spec, nodes: &[Node], findings: &mut Findings) {
    for workload in &spec.workloads {
        let of_storage = |list: &crate::scenario::Entries<crate::scenario::format::values::Amount>| {
            list.iter()
                .find(|(resource, _)| resource.value == "ephemeral-storage")
                .map(|(resource, amount)| (resource.mark, amount.text.clone(), amount.value))
        };
        let request = of_storage(&workload.requests).or_else(|| of_storage(&workload.limits));
        let candidates = nodes
            .iter()
            .filter(|node| workload.node.as_ref().is_none_or(|name| name.value == node.plan.name));
        let Some(most) = candidates.map(|node| node.plan.nodefs.size).max() else { continue };
        if let Some((mark, text, request)) = request
            && u64::try_from(request).is_ok_and(|request| request > most)
        {
            let message = format!(
                "an ephemeral-storage request of {text}, and no node that it could go to has a nodefs above {}: it stays Pending",
                amount(Resource::Disk, most)
            );
            findings.say_with_help(
                Code::E0022,
                mark,
                message,
                "a limit without a request is a request of the same amount",
            );
        }
    }
}

fn loads(spec: &Spec, nodes: &[Node]) -> Vec<Load> {
    let only_node = match nodes {
        [only] => Some(only.plan.name.clone()),
        _ => None,
    };
    let mut loads = Vec::new();
    for workload in &spec.workloads {
        let Some(fill) = workload.fill.as_ref().map(|fill| fill.any()) else { continue };
        loads.push(Load {
            node: workload.node.as_ref().map(|node| node.value.clone()).or_else(|| only_node.clone()),
            plan: fills::plan(&fill, Who::Pod),
            pods: workload.replicas.as_ref().map_or(1, |replicas| u64::from(replicas.0)),
            mark: fill.amount.mark,
        });
    }
    for step in &spec.steps {
        let Step::Fill(step) = &step.value else { continue };
        let Some(fill) = step.fill() else { continue };
        let workload = step
            .workload
            .as_ref()
            .and_then(|name| spec.workloads.iter().find(|workload| workload.name.0 == name.value));
        let mut plan = fills::plan(&fill, if workload.is_some() { Who::Pod } else { Who::Node });
        // Where a running filler puts what it is told to take was settled when it started.
        let started = workload.and_then(|workload| workload.fill.as_ref());
        if let Some(started) = started {
            plan.into = fills::plan(&started.any(), Who::Pod).into;
        }
        loads.push(Load {
            node: step
                .node
                .as_ref()
                .or_else(|| workload.and_then(|workload| workload.node.as_ref()))
                .map(|node| node.value.clone())
                .or_else(|| only_node.clone()),
            plan,
            pods: workload
                .and_then(|workload| workload.replicas.as_ref())
                .map_or(1, |replicas| u64::from(replicas.0)),
            mark: fill.amount.mark,
        });
    }
    loads.retain(|load| matches!(load.plan.resource, Resource::Disk | Resource::Inodes | Resource::Pids));
    loads
}

/// Where the scenario says that something must run low, if it does. Where nothing else is filled, an eviction that names no
/// resource is one for this.
fn wants(spec: &Spec, condition: &str, only: bool) -> Option<Mark> {
    let Expect { evicted, reclaimed, conditions, message, within, .. } = &spec.expect.value;
    let of_signal =
        |name: &str| name.parse::<Signal>().is_ok_and(|signal| signal.condition().name() == condition);
    let of_resource = |name: &str| {
        Signal::ALL.iter().any(|signal| signal.resource().name() == name && of_signal(signal.name()))
    };
    let marks = [
        evicted.as_ref().filter(|groups| only && !groups.is_empty()).map(|groups| groups.key),
        reclaimed
            .iter()
            .flat_map(|entries| entries.iter())
            .find(|(name, _)| of_signal(&name.value))
            .map(|(name, _)| name.mark),
        within
            .iter()
            .flat_map(|entries| entries.iter())
            .find(|(name, _)| of_signal(&name.value))
            .map(|(name, _)| name.mark),
        conditions
            .iter()
            .flat_map(|conditions| conditions.iter())
            .find(|entry| entry.condition.value == condition)
            .map(|entry| entry.condition.mark),
        message
            .iter()
            .flat_map(|messages| messages.iter())
            .find(|message| message.resource.as_ref().is_some_and(|resource| of_resource(&resource.value)))
            .map(|message| message.mark),
    ];
    marks.into_iter().flatten().min()
}

fn thresholds<'a>(node: &'a Node, signal: &Signal) -> impl Iterator<Item = &'a Threshold> {
    let signal = *signal;
    [&node.thresholds.hard, &node.thresholds.soft].into_iter().filter_map(move |map| map.get(&signal))
}

fn has_threshold(nodes: &[Node], wanted: &dyn Fn(&Signal) -> bool) -> bool {
    let has = |node: &Node| {
        Signal::ALL.iter().any(|signal| wanted(signal) && thresholds(node, signal).next().is_some())
    };
    nodes.iter().any(has)
}

fn say_no_threshold(nodes: &[Node], what: &str, signal: &str, findings: &mut Findings) {
    let Some(node) = nodes.first() else { return };
    findings.say_with_help(
        Code::E0018,
        node.thresholds.mark,
        format!("no node has a threshold of {what}, and the scenario says that the kubelet acts on one"),
        format!(
            "add `{signal}` to `evictionHard`; a map of thresholds replaces all of the kubelet's defaults"
        ),
    );
}

fn check_reach(reached: bool, wanted: Mark, loads: &[Load], resources: &[Resource], findings: &mut Findings) {
    if reached {
        return;
    }
    let of_these = || loads.iter().filter(|load| resources.contains(&load.plan.resource));
    match of_these().max_by_key(|load| load.whole()) {
        Some(largest) => {
            let message = format!(
                "cannot reach a threshold: everything that is filled, and all that the node's own files take at most, leaves more {} than any threshold asks for",
                word(largest.plan.resource)
            );
            findings.say_with_help(
                Code::E0017,
                largest.mark,
                message,
                "fill more, raise the threshold, or make the filesystem smaller",
            );
        }
        None => findings.say_with_help(
            Code::E0017,
            wanted,
            "the scenario says that something runs low, and nothing that is started fills it",
            "give a workload `fill: {disk: {amount: 1Gi, rate: 50Mi/s}}`, or add a `fill` step",
        ),
    }
}

/// Whether some threshold of a filesystem of this node can be reached.
fn disk_runs_low(node: &Node, loads: &[Load]) -> bool {
    let images = if node.plan.imagefs.is_some() { Filesystem::Imagefs } else { Filesystem::Nodefs };
    let ballast = |filesystem, resource| {
        let of = |image: &crate::plan::BallastImage| match resource {
            Resource::Inodes => image.files,
            _ => image.size,
        };
        node.plan.images.iter().filter(|_| filesystem == images).map(of).fold(0, u64::saturating_add)
    };
    let filled = |filesystem, resource| {
        loads
            .iter()
            .filter(|load| {
                load.plan.resource == resource && load.can_be_on(node) && load.can_lie_on(node, filesystem)
            })
            .fold(ballast(filesystem, resource), |sum, load| sum.saturating_add(load.whole()))
    };
    let low = |filesystem, bytes: &[Signal], inodes: &[Signal]| {
        let (size, inodes_in_all) = capacity(node, filesystem);
        let crossed = |signals: &[Signal], capacity: u64, taken: u64| {
            signals
                .iter()
                .flat_map(|signal| thresholds(node, signal))
                .any(|threshold| taken.saturating_add(threshold.level.of(capacity)) > capacity)
        };
        let taken =
            filled(filesystem, Resource::Disk).saturating_add(MOST_BYTES).saturating_add(size / TABLES);
        // Files of space are few, but folders of inodes take space: a block for each few dozens.
        let of_inodes = filled(filesystem, Resource::Inodes);
        crossed(bytes, size, taken.saturating_add(of_inodes.saturating_mul(256)))
            || crossed(inodes, inodes_in_all, of_inodes.saturating_add(MOST_INODES))
    };
    let (available, free) = (Signal::NodeFsAvailable, Signal::NodeFsInodesFree);
    let (images, image_inodes) = (Signal::ImageFsAvailable, Signal::ImageFsInodesFree);
    if node.plan.imagefs.is_some() {
        low(Filesystem::Nodefs, &[available], &[free]) || low(Filesystem::Imagefs, &[images], &[image_inodes])
    } else {
        low(Filesystem::Nodefs, &[available, images], &[free, image_inodes])
    }
}

/// Bytes and inodes of a filesystem.
fn capacity(node: &Node, filesystem: Filesystem) -> (u64, u64) {
    let plan = match (filesystem, &node.plan.imagefs) {
        (Filesystem::Imagefs, Some(imagefs)) => imagefs,
        _ => &node.plan.nodefs,
    };
    (plan.size, plan.inodes.unwrap_or(plan.size / BYTES_OF_AN_INODE))
}

/// Whether a threshold of process ids can be reached.
fn pids_run_low(node: &Node, loads: &[Load]) -> bool {
    let started = loads
        .iter()
        .filter(|load| load.plan.resource == Resource::Pids)
        .fold(MOST_PIDS, |sum, load| sum.saturating_add(load.whole()));
    let most = node.plan.pids;
    thresholds(node, &Signal::PidAvailable)
        .any(|threshold| started.saturating_add(threshold.level.of(most)) > most)
}

/// A filler must leave the kubelet the time to look before everything is full: then it fails, and its pod with it.
fn check_room(load: &Load, nodes: &[Node], findings: &mut Findings) {
    let candidates: Vec<&Node> = nodes.iter().filter(|node| load.can_be_on(node)).collect();
    let resource = load.plan.resource;
    // On every node that it could go to, or nothing is certain.
    let full = candidates.iter().all(|node| {
        if resource == Resource::Pids {
            return load.plan.amount > node.plan.pids;
        }
        let places = [Filesystem::Nodefs, Filesystem::Imagefs]
            .into_iter()
            .filter(|filesystem| load.can_lie_on(node, *filesystem));
        let rooms = places.map(|filesystem| {
            let (bytes, inodes) = capacity(node, filesystem);
            if resource == Resource::Inodes { inodes } else { bytes }
        });
        rooms.max().is_some_and(|room| {
            let between = load.plan.rate.unwrap_or(0).saturating_mul(LOOK.as_secs());
            load.at_once() > room || (load.plan.amount > room && between > room)
        })
    });
    if full && !candidates.is_empty() {
        let message = format!(
            "takes more than there is before the kubelet looks, every {}s: the filler finds no room and fails, and nobody is evicted",
            LOOK.as_secs()
        );
        findings.say_with_help(
            Code::W0010,
            load.mark,
            message,
            "fill less, or add a `rate` that leaves the kubelet time below its threshold",
        );
    }
}
