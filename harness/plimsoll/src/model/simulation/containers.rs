//! How a pod's containers start, are stopped, end and start again, and what its status says of that.

use super::world::{ContainerStage, Seen, Stage, Termination};
use super::{Event, Happening, Simulation, Sink};
use crate::model::curve::{Curve, Micros, SECOND};
use crate::model::fill::Place;
use crate::model::template::RestartPolicy;

/// The least time in seconds that a container gets to end. Upstream: `minimumGracePeriodInSeconds`.
const LEAST_GRACE_SECONDS: i64 = 2;
/// How long a container that ends again and again waits for its next start, at first and at most, in seconds.
/// Upstream: `backOffPeriod`, `MaxContainerBackOff`.
const BACKOFF_SECONDS: i64 = 10;
const BACKOFF_MOST_SECONDS: i64 = 300;
/// The exit code of a process that SIGKILL ended.
const KILLED: i32 = 137;

impl<S: Sink> Simulation<'_, '_, S> {
    /// A pod's containers start for the first time.
    pub(super) fn start(&mut self, pod: usize) {
        if self.world.pods[pod].stage != Stage::Starting {
            return;
        }
        let now = self.world.now;
        let own = &mut self.world.pods[pod];
        own.stage = Stage::Running;
        own.started = Some(now);
        own.measured_next = now;
        if self.world.prepared.storage {
            self.measure_volumes_from(pod);
        }
        for container in 0..self.world.pods[pod].containers.len() {
            self.start_container(pod, container);
        }
        self.report_soon(pod);
    }

    fn start_container(&mut self, pod: usize, container: usize) {
        let template = &self.world.containers(pod)[container];
        let now = self.world.now;
        let rate = template.fill.map_or(0, |fill| self.world.rate(fill.kind));
        let own = &mut self.world.pods[pod].containers[container];
        own.state = ContainerStage::Running;
        own.started = now;
        own.version += 1;
        own.filled = false;
        own.held = match template.fill {
            Some(fill) => Curve::set_out(now, 0, fill.course, rate),
            None => Curve::flat(0),
        };
        match template.fill.map(|fill| fill.place) {
            // A filler removes what its predecessor left in the same folder.
            Some(Place::Volume(_) | Place::Node { .. }) => own.left = 0,
            Some(Place::Layer) => own.measured = 0,
            _ => {}
        }
        let (version, until) = (own.version, own.held.until().max(now));
        if let Some(hold) = template.fill.and_then(|fill| fill.hold) {
            self.at(until.saturating_add(hold), Event::End(pod, container, version, 0));
        }
    }

    /// Asks a pod's containers to end within so many seconds.
    pub(super) fn stop(&mut self, pod: usize, grace_seconds: i64) {
        let before = std::mem::replace(&mut self.world.pods[pod].stage, Stage::Ending);
        if before == Stage::Ended {
            self.world.pods[pod].stage = Stage::Ended;
            return;
        }
        let grace = grace_seconds.max(LEAST_GRACE_SECONDS).saturating_mul(SECOND);
        let mut any = false;
        for container in 0..self.world.pods[pod].containers.len() {
            let own = &mut self.world.pods[pod].containers[container];
            own.version += 1;
            let version = own.version;
            if own.state != ContainerStage::Running {
                continue;
            }
            any = true;
            let template = &self.world.containers(pod)[container];
            let obeys = template.shutdown_delay + self.draw(|own| own.end);
            let (time, code) = if obeys < grace { (obeys, template.exit_code) } else { (grace, KILLED) };
            self.after(time, Event::End(pod, container, version, code));
        }
        if !any {
            self.ended(pod);
        }
    }

    /// Gives a pod that is being stopped less time to end.
    pub(super) fn hurry(&mut self, pod: usize, grace_seconds: i64) {
        let grace = grace_seconds.max(LEAST_GRACE_SECONDS).saturating_mul(SECOND);
        for container in 0..self.world.pods[pod].containers.len() {
            let own = &self.world.pods[pod].containers[container];
            if own.state == ContainerStage::Running {
                self.after(grace, Event::End(pod, container, own.version, KILLED));
            }
        }
    }

    /// A container has ended: it starts again, or it was the last.
    pub(super) fn end_container(&mut self, pod: usize, container: usize, code: i32, oom: bool) {
        let now = self.world.now;
        self.world.measure_pod(pod, now);
        if self.world.pods[pod].containers[container].state == ContainerStage::Running {
            self.leave(pod, container, code == KILLED);
        }
        let template = self.world.template(pod);
        let own = &mut self.world.pods[pod];
        let stopping = own.stage == Stage::Ending;
        let container_state = &mut own.containers[container];
        let termination = Termination { code, oom, started: container_state.started, at: now };
        container_state.version += 1;
        container_state.filled = false;
        container_state.state = ContainerStage::Ended(termination);
        let again = !stopping
            && match template.restart {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => code != 0,
                RestartPolicy::Never => false,
            };
        if again {
            let version = container_state.version;
            let restarts = container_state.restarts;
            let waits = self.draw(|own| own.status);
            self.after(waits + backoff(restarts), Event::Restart(pod, container, version));
            self.report_soon(pod);
            return;
        }
        let over = own.containers.iter().zip(&template.containers).all(|(own, template)| {
            matches!(own.state, ContainerStage::Ended(_))
                || template.sidecar && !stopping
                || stopping && own.state == ContainerStage::Waiting
        });
        if over {
            self.ended(pod);
        } else {
            self.report_soon(pod);
        }
    }

    /// A container starts again after it ended.
    pub(super) fn restart(&mut self, pod: usize, container: usize, version: u32) {
        let own = &mut self.world.pods[pod].containers[container];
        let ContainerStage::Ended(termination) = own.state else { return };
        if own.version != version {
            return;
        }
        own.last = Some(termination);
        own.restarts += 1;
        self.start_container(pod, container);
        self.report_soon(pod);
    }

    /// No container of a pod is left.
    fn ended(&mut self, pod: usize) {
        // Sidecars end with the containers that they serve.
        let now = self.world.now;
        for container in 0..self.world.pods[pod].containers.len() {
            if self.world.pods[pod].containers[container].state == ContainerStage::Running {
                self.leave(pod, container, false);
                let own = &mut self.world.pods[pod].containers[container];
                own.state =
                    ContainerStage::Ended(Termination { code: 0, oom: false, started: own.started, at: now });
                own.version += 1;
            }
        }
        let by_itself = self.world.pods[pod].stage == Stage::Running;
        self.world.pods[pod].stage = Stage::Ended;
        let node = self.world.pods[pod].node;
        if let Some(node) = node {
            if by_itself {
                let until = self.unnoticed_until();
                self.world.nodes[node].unnoticed.push((pod, until));
            }
            self.world.nodes[node].pods.retain(|own| *own != pod);
            if self.world.prepared.storage {
                self.bequeath(pod, node);
            }
        }
        self.report_soon(pod);
        if let Some(node) = node {
            self.pod_stopped(node, pod);
        }
    }

    fn report_soon(&mut self, pod: usize) {
        let status = self.draw(|own| own.status);
        self.after(status, Event::Report(pod));
    }

    /// The status of a pod is written: what is so of its containers now.
    pub(super) fn report(&mut self, pod: usize) {
        let own = &self.world.pods[pod];
        if own.deleted {
            return;
        }
        let code = |state: &ContainerStage| match state {
            ContainerStage::Ended(termination) => Some(termination.code),
            ContainerStage::Waiting | ContainerStage::Running => None,
        };
        let before = own.seen;
        let rejected = matches!(own.fate, Some(super::world::Fate::Rejected { .. }));
        let failed = own.containers.iter().any(|own| code(&own.state) != Some(0));
        let seen = match own.stage {
            Stage::Ended if rejected || failed => Seen::Failed,
            Stage::Ended => Seen::Succeeded,
            Stage::Running | Stage::Ending if own.started.is_some() => Seen::Running,
            _ => Seen::Pending,
        };
        let (deletion, controller) = (own.deletion, own.controller);
        let own = &mut self.world.pods[pod];
        own.seen = seen;
        let was_ready = own.ready;
        own.ready = own.is_ready();
        if own.ready != was_ready || seen != before {
            self.budgets_soon();
        }
        self.tell(&Happening::Pod(pod));
        if seen == Seen::Running && before == Seen::Pending {
            self.watch_fills(pod);
        }
        if seen.is_final() && !before.is_final() {
            if deletion.is_some() {
                let cleanup = self.draw(|own| own.cleanup);
                self.after(cleanup, Event::Remove(pod));
            }
            self.room_came_free();
        }
        if let Some(controller) = controller.filter(|_| seen != before) {
            let control = self.draw(|own| own.control);
            self.after(control, Event::Reconcile(controller));
        }
    }

    /// Fillers are listened to once their pod is known to run; each says when it holds its whole amount.
    pub(super) fn watch_fills(&mut self, pod: usize) {
        for container in 0..self.world.pods[pod].containers.len() {
            let own = &self.world.pods[pod].containers[container];
            if own.state != ContainerStage::Running || self.world.containers(pod)[container].fill.is_none() {
                continue;
            }
            let (version, until) = (own.version, own.held.until().max(self.world.now));
            let told = self.draw(|own| own.control);
            self.at(until.saturating_add(told), Event::Filled(pod, container, version));
        }
    }

    pub(super) fn filled(&mut self, pod: usize, container: usize, version: u32) {
        let own = &mut self.world.pods[pod].containers[container];
        if own.version == version && own.state == ContainerStage::Running {
            own.filled = true;
            self.tell(&Happening::Filled { pod, container });
        }
    }
}

/// How long a container that has been started again so often waits for the next time.
fn backoff(restarts: u32) -> Micros {
    let Some(times) = restarts.checked_sub(1) else { return 0 };
    let seconds = BACKOFF_SECONDS.checked_shl(times.min(16)).unwrap_or(BACKOFF_MOST_SECONDS);
    seconds.min(BACKOFF_MOST_SECONDS) * SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_wait_twice_as_long_each() {
        let waits: Vec<Micros> = [0, 1, 2, 5, 6, 99].map(|restarts| backoff(restarts) / SECOND).to_vec();
        assert_eq!(waits, [0, 10, 20, 160, 300, 300]);
    }
}
