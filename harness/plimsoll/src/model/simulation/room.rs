//! What pods leave on disk, what the kubelet removes to get room, and what comes of it when there is none left.

use plimsoll_eviction::layout::NodeReclaim;
use plimsoll_hog::session::EXIT_EXHAUSTED;

use super::storage::{Grower, Image, Remains, filesystem_of, last_turn};
use super::world::{ContainerStage, Fate, World};
use super::{Event, Happening, Simulation, Sink};
use crate::model::assumptions::Range;
use crate::model::curve::{Course, Curve};
use crate::model::fill::{Amount, Kind, Place};
use crate::model::node::NODEFS;
use crate::plan::BallastImage;

impl<S: Sink> Simulation<'_, '_, S> {
    /// What a container's filler holds stays, or goes with it.
    pub(super) fn leave(&mut self, pod: usize, container: usize, killed: bool) {
        let now = self.world.now;
        let Some(fill) = self.world.containers(pod)[container].fill else { return };
        let own = &mut self.world.pods[pod].containers[container];
        if fill.kind.is_on_disk() {
            let stays = fill.keep || killed || fill.place == Place::Log;
            own.left = if stays { own.held.at(now) } else { 0 };
        }
    }

    /// A pod's last container has ended: what it left is its node's from now on.
    pub(super) fn bequeath(&mut self, pod: usize, node: usize) {
        let World { nodes, pods, prepared, .. } = &mut self.world;
        let plan = &prepared.nodes[node];
        let templates = &prepared.templates[pods[pod].template].containers;
        let own = &mut nodes[node].storage;
        for (container, (state, template)) in pods[pod].containers.iter_mut().zip(templates).enumerate() {
            let left = std::mem::take(&mut state.left);
            let mut remains =
                Remains { pod, container, filesystem: NODEFS, amount: Amount::default(), of_container: true };
            if let Some(fill) = template.fill.filter(|_| left > 0) {
                let (filesystem, amount) = (filesystem_of(plan, fill.place), fill.kind.amount(left));
                match fill.place {
                    Place::Node { .. } => own.left[filesystem] += amount,
                    Place::Volume(_) => {
                        own.remains.push(Remains { filesystem, amount, of_container: false, ..remains });
                    }
                    Place::Layer | Place::Log | Place::Process => {
                        (remains.filesystem, remains.amount) = (filesystem, amount);
                    }
                }
            }
            if matches!(state.state, ContainerStage::Ended(_)) {
                own.remains.push(remains);
            }
        }
    }

    /// The kubelet has cleaned a pod up: its volumes are gone, and its containers if it was evicted or deleted.
    /// Upstream: `SyncTerminatedPod`, `ShouldPodContentBeRemoved`.
    pub(super) fn clean_up(&mut self, node: usize, pod: usize) {
        let own = &self.world.pods[pod];
        let whole = matches!(own.fate, Some(Fate::Evicted(_))) || own.deletion.is_some();
        let remains = &mut self.world.nodes[node].storage.remains;
        remains.retain(|remains| remains.pod != pod || remains.of_container && !whole);
    }

    /// Removes dead containers and images that nothing uses. Upstream: `DeleteAllUnusedContainers`, `DeleteUnusedImages`.
    pub(super) fn reclaim(&mut self, node: usize, what: &[NodeReclaim]) {
        let now = self.world.now;
        let least_age = self.world.node_plan(node).image_minimum_age;
        let own = &mut self.world.nodes[node].storage;
        let mut containers = Vec::new();
        let mut images = Vec::new();
        if what.contains(&NodeReclaim::Containers) {
            own.remains.retain(|remains| {
                if remains.of_container {
                    containers.push((remains.pod, remains.container));
                }
                !remains.of_container
            });
        }
        if what.contains(&NodeReclaim::Images) {
            own.images.retain_mut(|image| {
                let goes = image.goes(now, least_age);
                image.detected.get_or_insert(now);
                if goes {
                    images.push(std::mem::take(&mut image.name));
                }
                !goes
            });
        }
        if !containers.is_empty() || !images.is_empty() {
            self.tell(&Happening::Reclaimed { node, containers: &containers, images: &images });
        }
    }

    /// Images have been imported; the kubelet has yet to see them.
    pub(super) fn loaded(&mut self, node: usize, images: &[BallastImage]) {
        let own = &mut self.world.nodes[node].storage;
        own.images.extend(images.iter().map(|image| Image::new(image, None)));
        let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
        self.tell(&Happening::Loaded { node, images: &names });
    }

    /// A filler outside every pod sets out, or is told something else.
    pub(super) fn fill_outside(&mut self, node: usize, kind: Kind, with_images: bool, course: Course) {
        let (now, rate) = (self.world.now, self.world.rate(kind));
        let on = filesystem_of(self.world.node_plan(node), Place::Node { with_images });
        let outside = &mut self.world.nodes[node].storage.outside;
        let same = |own: &&mut (Kind, usize, Curve)| own.0.resource() == kind.resource() && own.1 == on;
        match outside.iter_mut().find(same) {
            Some((_, _, curve)) => *curve = Curve::set_out(now, curve.at(now), course, rate),
            None => outside.push((kind, on, Curve::set_out(now, 0, course, rate))),
        }
    }

    /// Nothing is left of a filesystem, or of a node's tasks: one of those who ask for it does not get it, and ends.
    pub(super) fn run_out(&mut self, node: usize, filesystem: Option<usize>) -> bool {
        let now = self.world.now;
        let growing = self.world.growing(node, filesystem, now, now);
        let Some(&first) = growing.get(self.world.dice.one_of(growing.len())) else { return false };
        match first {
            Grower::Outside(index) => drop(self.world.nodes[node].storage.outside.remove(index)),
            Grower::Container(pod, container) => {
                self.world.measure_pod_storage(pod, now);
                let place = self.world.containers(pod)[container].fill.map(|fill| fill.place);
                if place == Some(Place::Log) {
                    // Who writes to a log is not told that it went nowhere.
                    let own = &mut self.world.pods[pod].containers[container];
                    own.held = Curve::flat(own.held.at(now));
                    own.version += 1;
                    return true;
                }
                self.end_container(pod, container, EXIT_EXHAUSTED.into(), false);
            }
        }
        true
    }

    /// A pod's containers start: when the kubelet measures its volumes for the first time. It begins with a pod at the turn that comes
    /// after the pod's, and finds nothing there as long as the volumes are not mounted. Upstream: `fsResourceAnalyzer.updateCachedPodVolumeStats`.
    pub(super) fn measure_volumes_from(&mut self, pod: usize) {
        let own = &self.world.pods[pod];
        let (Some(node), Some(bound)) = (own.node, own.bound) else { return };
        let interval = self.world.node_plan(node).volume_interval;
        let turn = last_turn(self.world.nodes[node].storage.volumes_from, interval, self.world.now);
        let wait = if turn >= bound {
            self.world.dice.within(Range { least: interval, most: interval.saturating_mul(2) })
        } else {
            interval
        };
        self.world.pods[pod].volumes_next = turn.saturating_add(wait);
    }

    /// A pod is cleaned up once more because its object went.
    pub(super) fn clean_up_soon(&mut self, pod: usize) {
        if !self.world.prepared.storage {
            return;
        }
        if let Some(node) = self.world.pods[pod].node {
            let cleanup = self.draw(|own| own.cleanup);
            self.after(cleanup, Event::CleanUp(node, pod));
        }
    }
}
