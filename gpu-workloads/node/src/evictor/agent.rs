//! The evictor's loop.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plimsoll_eviction::manager::POD_CLEANUP_POLL_INTERVAL;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::attempts::{Attempts, Decision, decide};
use super::cluster::{Cluster, ClusterError, EvictionAnswer, NodePressure};
use super::metrics::Metrics;
use super::node_pod::NodePod;
use super::owners::Owners;
use super::settings::{SIGNAL, Settings};
use super::usage::DeviceUse;
use super::watch::{Rules, Victim, Watch};
use crate::device_plugin::Resource;
use crate::driver::{Device, Reading, State};
use crate::pods::{Holding, holdings};

/// How an evictor works.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The thresholds.
    pub settings: Settings,
    /// The resource that pods request GPU memory by, and that messages name.
    pub resource: Resource,
    /// How often to look. The kubelet: 10 s.
    pub interval: Duration,
    /// How long to wait for figures that are newer than the list of pods.
    pub silence: Duration,
    /// Where `/proc` of the machine is.
    pub proc: PathBuf,
    /// The kubelet's socket for what pods were given; none to go by what pods request.
    pub pod_resources: Option<PathBuf>,
    /// How often the node's condition is written though it is what it was: a Node that was deleted and made anew has none.
    pub heartbeat: Duration,
    /// Whether to say who would be evicted, and change nothing.
    pub dry_run: bool,
}

/// An evictor.
#[derive(Debug)]
pub struct Agent {
    options: AgentOptions,
    driver: watch::Receiver<State>,
    cluster: Cluster,
    metrics: Arc<Metrics>,
    owners: Owners,
    watches: BTreeMap<String, Watch>,
    attempts: Attempts,
    /// Devices of which the node's event was made, until they are relieved.
    reclaiming: BTreeSet<String>,
    /// Pods whose event of an eviction was made by this process.
    told: BTreeSet<String>,
    /// The node's condition as it was written last.
    node_condition: Option<NodeCondition>,
    /// What was said last of each thing that may go on for long, so that it is said once.
    said: HashMap<&'static str, String>,
}

/// The node's condition as the API server was told it.
#[derive(Debug)]
struct NodeCondition {
    pressure: NodePressure,
    /// Since when it is so.
    since: Timestamp,
    /// When it was written.
    written: Instant,
}

/// What one look saw, besides devices.
struct Surroundings {
    pods: BTreeMap<String, NodePod>,
    holdings: Option<Vec<Holding>>,
}

impl Agent {
    /// An evictor that has not looked yet.
    #[must_use]
    pub fn new(
        options: AgentOptions,
        driver: watch::Receiver<State>,
        cluster: Cluster,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            options,
            driver,
            cluster,
            metrics,
            owners: Owners::default(),
            watches: BTreeMap::new(),
            attempts: Attempts::default(),
            reclaiming: BTreeSet::new(),
            told: BTreeSet::new(),
            node_condition: None,
            said: HashMap::new(),
        }
    }

    /// Looks again and again, until `cancel`. Nothing that goes wrong ends it: without driver or API server it waits and says so.
    pub async fn run(mut self, cancel: CancellationToken) {
        cancel
            .run_until_cancelled(async {
                loop {
                    let pause = self.pass().await;
                    self.metrics.passed();
                    sleep(pause).await;
                }
            })
            .await;
    }

    /// Says something that may stay so for long, once.
    fn say(&mut self, about: &'static str, what: Option<String>) {
        match what {
            None => {
                if self.said.remove(about).is_some() {
                    info!("{about}: answers again");
                }
            }
            Some(what) if self.said.get(about) != Some(&what) => {
                warn!("{about}: {what}");
                self.said.insert(about, what);
            }
            Some(_) => {}
        }
    }

    /// Takes down whether the API server answered.
    fn api<T>(&mut self, result: Result<T, ClusterError>) -> Option<T> {
        // A refusal is an answer.
        self.metrics.api(!matches!(&result, Err(error) if error.is_away()));
        match result {
            Ok(value) => Some(value),
            Err(error) if error.is_away() => {
                self.say("API server", Some(format!("{error}; waiting for it, nobody is evicted meanwhile")));
                None
            }
            Err(error) => {
                self.say("request", Some(error.to_string()));
                None
            }
        }
    }

    /// One look, and how long to wait for the next.
    async fn pass(&mut self) -> Duration {
        let interval = self.options.interval;
        let listed = Timestamp::now();
        let pods = self.cluster.pods().await;
        let pods = match self.api(pods) {
            Some((pods, errors)) => {
                self.say("API server", None);
                for error in errors {
                    self.say("pods", Some(format!("one is left out: {error}")));
                }
                Some(pods)
            }
            None => None,
        };
        // One call that is not answered is enough of them.
        let known = pods.is_some();
        let reading = match self.owned_reading(listed).await {
            Ok(reading) => reading,
            Err(failure) => {
                self.metrics.driver(false);
                self.say("driver", Some(format!("{failure}; nobody is evicted meanwhile")));
                if known {
                    self.set_node_condition(NodePressure::Unknown(failure)).await;
                }
                return interval;
            }
        };
        self.say("driver", None);
        self.metrics.driver(true);
        self.metrics.simulated(reading.simulated);
        self.cluster.set_simulated(reading.simulated);
        let mut surroundings = self.surroundings(pods.unwrap_or_default()).await;
        if known {
            self.attempts.keep(|uid| surroundings.pods.contains_key(uid));
            self.told.retain(|uid| surroundings.pods.contains_key(uid));
        }
        let mut pressed = Vec::new();
        let mut victims = BTreeSet::new();
        let mut pause = interval;
        for device in &reading.devices {
            let (pressure, victim, next) = self.look(device, reading.time, &mut surroundings, known).await;
            if pressure {
                pressed.push(device.uuid.clone());
            }
            victims.extend(victim);
            pause = pause.min(next);
        }
        if known {
            self.settle(&surroundings.pods, &victims).await;
            let pressure =
                if pressed.is_empty() { NodePressure::None } else { NodePressure::Devices(pressed) };
            self.set_node_condition(pressure).await;
        }
        pause
    }

    /// A reading that is newer than the list of pods, with the owners of its processes. What a process held that has ended since is given
    /// back: to count it as nobody's would have another pod evicted for it. So a newer one is waited for; what that still lists stays.
    async fn owned_reading(&mut self, listed: Timestamp) -> Result<Arc<Reading>, String> {
        let mut after = listed;
        let mut known = BTreeSet::new();
        loop {
            let reading = self.reading(after).await?;
            let processes = reading.devices.iter().flat_map(|device| &device.processes);
            let ended = self.owners.look(&self.options.proc, processes.map(|process| process.pid));
            if ended.is_subset(&known) {
                return Ok(reading);
            }
            known.extend(ended);
            after = Timestamp::now();
        }
    }

    /// A reading that is newer than the list of pods: an older one may show memory of pods that have gone since.
    async fn reading(&mut self, after: Timestamp) -> Result<Arc<Reading>, String> {
        let is_new = |state: &State| {
            state.failure.is_some() || state.reading.as_ref().is_some_and(|reading| reading.time >= after)
        };
        let state = match timeout(self.options.silence, self.driver.wait_for(is_new)).await {
            Err(_) => return Err(format!("no new figures for {} s", self.options.silence.as_secs_f64())),
            Ok(Err(_)) => return Err("its reader has ended".to_owned()),
            Ok(Ok(state)) => state.clone(),
        };
        match (state.failure, state.reading) {
            (None, Some(reading)) => Ok(reading),
            (Some(failure), _) => Err(failure),
            (None, None) => Err("nothing was read yet".to_owned()),
        }
    }

    async fn surroundings(&mut self, pods: BTreeMap<String, NodePod>) -> Surroundings {
        let holdings = match &self.options.pod_resources {
            None => None,
            Some(socket) => match holdings(socket, &self.options.resource.name).await {
                Ok(holdings) => {
                    self.say("pod resources", None);
                    Some(holdings)
                }
                Err(error) => {
                    let instead = "what pods request counts for every device that they use";
                    self.say("pod resources", Some(format!("{error}; {instead}")));
                    None
                }
            },
        };
        Surroundings { pods, holdings }
    }

    /// Looks at a device and acts. Gives whether it is under pressure, the pod that is to go or going, and when to look again.
    async fn look(
        &mut self,
        device: &Device,
        time: Timestamp,
        surroundings: &mut Surroundings,
        known: bool,
    ) -> (bool, Option<String>, Duration) {
        let now = Timestamp::now();
        let Surroundings { pods, holdings } = surroundings;
        let resource = self.options.resource.clone();
        let used = DeviceUse::new(device, self.owners.by_pid(), pods, holdings.as_deref(), &resource);
        let watch = self.watches.entry(device.uuid.clone()).or_default();
        let rules = Rules { manager: &self.options.settings.manager, resource: &resource.name };
        let seen = watch.look(rules, now, time, device, &used, pods);
        self.metrics.device(
            &device.uuid,
            device.memory_total,
            device.memory_used,
            used.outside,
            seen.pressure,
        );
        let interval = self.options.interval;
        if !known {
            return (seen.pressure, None, interval);
        }
        self.tell(device, &used, seen.reclaiming, seen.pressure, &resource.name).await;
        let on_device = used.pods.iter().filter_map(|own| pods.get(&own.uid));
        let decision = decide(now, seen.victim.as_ref(), on_device, &self.attempts);
        let next = match &decision {
            Decision::AwaitEnd { pod, until } => {
                self.say(
                    "waiting",
                    Some(format!("{}: {pod} is ending; until {until} nobody else goes", device.uuid)),
                );
                POD_CLEANUP_POLL_INTERVAL.min(interval)
            }
            Decision::Evict(victim) => {
                self.evict(&device.uuid, victim, pods, now).await;
                // The next device of this look goes by what has come of it.
                POD_CLEANUP_POLL_INTERVAL.min(interval)
            }
            Decision::Nothing | Decision::AwaitRetry { .. } => interval,
        };
        (seen.pressure, seen.victim.map(|victim| victim.uid), next)
    }

    /// Says that a device is short of memory, once each time it becomes so, and who can not be judged.
    async fn tell(
        &mut self,
        device: &Device,
        used: &DeviceUse,
        reclaiming: bool,
        pressure: bool,
        resource: &str,
    ) {
        if !pressure {
            self.reclaiming.remove(&device.uuid);
        }
        if !reclaiming {
            return;
        }
        if !used.unknown.is_empty() {
            let pods = used.unknown.join(", ");
            let what = format!(
                "{}: the driver does not say what pods {pods} hold; they are not evicted",
                device.uuid
            );
            self.say("usage", Some(what));
        }
        if self.reclaiming.insert(device.uuid.clone()) {
            warn!(
                "{}: {SIGNAL} {}Mi: attempting to reclaim {resource}",
                device.uuid,
                device.memory_available() >> 20
            );
            if !self.options.dry_run {
                let made = self.cluster.reclaim_event(resource, &device.uuid).await;
                self.api(made);
            }
        }
    }

    async fn evict(
        &mut self,
        device: &str,
        victim: &Victim,
        pods: &mut BTreeMap<String, NodePod>,
        now: Timestamp,
    ) {
        let name = format!("{}/{}", victim.namespace, victim.name);
        if self.options.dry_run {
            if self.told.insert(victim.uid.clone()) {
                warn!("{device}: would evict {name} (dry run): {}", victim.message.trim_end());
                self.metrics.answered(device, "dry-run");
            }
            return;
        }
        match self.cluster.evict(victim).await {
            EvictionAnswer::Evicted => {
                self.metrics.api(true);
                self.metrics.answered(device, "evicted");
                warn!("{device}: evicted {name}: {}", victim.message.trim_end());
                if let Some(pod) = pods.get(&victim.uid) {
                    let made =
                        self.cluster.evicted_event(pod, &victim.message, victim.annotations.clone()).await;
                    if self.api(made).is_some() {
                        self.told.insert(victim.uid.clone());
                    }
                }
                if let Some(pod) = pods.get_mut(&victim.uid) {
                    let grace = victim.grace_period_seconds;
                    let deadline = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
                    pod.deletion = Some((deadline, grace));
                    pod.evicting = Some(victim.message.clone());
                }
            }
            EvictionAnswer::Forbidden { message, retry_after } => {
                self.metrics.api(true);
                self.metrics.answered(device, "forbidden");
                let wait = self.attempts.refused(&victim.uid, now, retry_after);
                warn!("{device}: {name} is to be evicted and must not be: {message}; next try in {wait:?}");
                if let Some(pod) = pods.get(&victim.uid) {
                    let made =
                        self.cluster.pod_event(pod, "EvictionForbidden", &message, BTreeMap::new()).await;
                    self.api(made);
                }
            }
            EvictionAnswer::Gone => {
                self.metrics.api(true);
                self.metrics.answered(device, "gone");
                info!("{device}: {name} was to be evicted and is gone");
                pods.remove(&victim.uid);
            }
            EvictionAnswer::Failed(failure) => {
                self.metrics.answered(device, "failed");
                let wait = self.attempts.refused(&victim.uid, now, None);
                error!("{device}: {name} is not evicted: {failure}; next try in {wait:?}");
                self.api::<()>(Err(failure));
            }
        }
    }

    /// Finishes what an evictor before this one began: makes the event of evictions that were granted, and takes the condition off pods
    /// that are not to go after all.
    async fn settle(&mut self, pods: &BTreeMap<String, NodePod>, victims: &BTreeSet<String>) {
        if self.options.dry_run {
            return;
        }
        for (uid, pod) in pods {
            let Some(message) = &pod.evicting else { continue };
            if pod.deletion.is_some() {
                if !self.told.contains(uid) {
                    let made = self.cluster.evicted_event(pod, message, BTreeMap::new()).await;
                    if self.api(made).is_some() {
                        self.told.insert(uid.clone());
                    }
                }
            } else if !victims.contains(uid) && !pod.ended {
                info!("{} is not evicted after all", pod.pod.full_name());
                let spared = self.cluster.spare(pod).await;
                self.api(spared);
            }
        }
    }

    async fn set_node_condition(&mut self, pressure: NodePressure) {
        if self.options.dry_run {
            return;
        }
        let before = self.node_condition.as_ref().filter(|before| before.pressure == pressure);
        if before.is_some_and(|before| before.written.elapsed() < self.options.heartbeat) {
            return;
        }
        let news = before.is_none();
        let since = before.map_or_else(Timestamp::now, |before| before.since);
        let set = self.cluster.set_node_condition(&pressure, since).await;
        if self.api(set).is_some() {
            if news {
                info!("node condition: {pressure:?}");
            }
            self.node_condition = Some(NodeCondition { pressure, since, written: Instant::now() });
        }
    }
}
