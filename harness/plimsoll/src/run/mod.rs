//! Running a plan on a cluster: boot, steps, end. What it yields is a timeline; what that proves is said elsewhere.

mod disruption;
mod drain;
mod objects;
mod steps;

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use kube::Client;
use plimsoll_node::report::Fact as NodeFact;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::objects::Objects;
use crate::cluster::{Cluster, ClusterError, PartReport, Reports, gpus, hollow};
use crate::observe::fillers::Fillers;
use crate::observe::{Fact, Facts, Observation, Recorder, StepOutcome, Timeline, World, poll, watch};
use crate::plan::{Action, HollowZone, NodeChange, Plan};

/// How long a cluster may take until its nodes are Ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long the API server may take to answer for the first time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);
/// How much longer for each hollow node: hundreds of them are made, and found to be Ready, on a machine that runs other clusters beside.
const FOR_EACH_HOLLOW: Duration = Duration::from_secs(1);
/// How many objects are created at once.
const AT_ONCE: usize = 16;
/// After the last step the cluster is watched until it has told nothing for so long,
const QUIET: Duration = Duration::from_millis(300);
/// and no longer than this: one in which something always happens is never quiet.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);

/// Takes every observation as it is written down.
pub type Listener<'a> = &'a mut (dyn FnMut(&Observation) + Send);

/// What a run yielded.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that was observed.
    pub timeline: Timeline,
    /// How it ended.
    pub ending: Ending,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ending {
    /// Its steps are over, whatever became of them.
    Finished,
    /// The cluster did not come up.
    DidNotStart(ClusterError),
    /// Somebody stopped it.
    Interrupted,
}

/// Runs a plan on a cluster that boots, since `began`. The cluster is left as it is: whoever started it stops it.
pub async fn run(
    plan: &Plan,
    cluster: &dyn Cluster,
    reports: Reports,
    began: Timestamp,
    cancel: &CancellationToken,
    listener: Listener<'_>,
) -> Outcome {
    let (recorder, facts) = Recorder::new();
    let kubernetes = plan.kubernetes.clone();
    facts.send_at(began, Fact::Began { cluster: cluster.kind().to_owned(), kubernetes });
    let mut run = Run {
        plan,
        cluster,
        client: cluster.client(),
        recorder,
        fillers: Fillers::new(cluster.client(), facts.clone()),
        facts: facts.clone(),
        listener,
        background: JoinSet::new(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(relay(reports, facts));
    let ending = tokio::select! {
        ending = run.everything(&mut tasks) => ending,
        () = cancel.cancelled() => Ending::Interrupted,
    };
    drop(tasks);
    while run.take_now() {}
    Outcome { timeline: run.recorder.timeline, ending }
}

struct Run<'a> {
    plan: &'a Plan,
    cluster: &'a dyn Cluster,
    client: Client,
    recorder: Recorder,
    fillers: Fillers,
    facts: Facts,
    listener: Listener<'a>,
    /// What steps left going on.
    background: JoinSet<()>,
}

impl Run<'_> {
    async fn everything(&mut self, tasks: &mut JoinSet<()>) -> Ending {
        if let Err(error) = self.boot(tasks).await {
            return Ending::DidNotStart(self.with_last_words(error));
        }
        self.facts.send(Fact::Started);
        self.steps().await;
        self.settle().await;
        // One that is away would be waited for in vain.
        let world = &self.recorder.world;
        let nodes: Vec<String> = self.node_names().into_iter().filter(|node| world.is_ready(node)).collect();
        poll::once(&self.client, &nodes, &self.facts).await;
        self.facts.send(Fact::Finished);
        while self.take_now() {}
        Ending::Finished
    }

    async fn boot(&mut self, tasks: &mut JoinSet<()>) -> Result<(), ClusterError> {
        let objects = Objects::new(self.client.clone());
        let answer = self
            .beside(ANSWERS_WITHIN, Box::pin(async move { objects.namespace().await.map(|()| objects) }))
            .await;
        let objects = answer.map_err(|why| ClusterError::doing("waiting for the API server")(why))?;
        watch::start(&self.client, &self.facts, tasks);
        let plan = self.plan;
        let created = self.beside(
            with_hollow(ANSWERS_WITHIN, plan),
            Box::pin(async move {
                for object in gpus::roles(plan)? {
                    objects.create(&object).await.map_err(|why| {
                        format!(
                            "what programs for GPUs may do ({}): {why}",
                            object["kind"].as_str().unwrap_or_default()
                        )
                    })?;
                }
                for planned in &plan.objects {
                    objects
                        .create(&planned.object)
                        .await
                        .map_err(|why| format!("{}: {why}", planned.location))?;
                }
                let hollow = plan.hollow.as_ref().map(hollow::nodes).unwrap_or_default();
                let created = stream::iter(&hollow)
                    .map(Ok)
                    .try_for_each_concurrent(AT_ONCE, |node| objects.create(node));
                created.await.map_err(|why| format!("a hollow node: {why}"))
            }),
        );
        created.await.map_err(ClusterError::doing("creating the scenario's objects"))?;
        let ready_within = with_hollow(READY_WITHIN, plan);
        let ready = self.until(ready_within, |world| match &world.broken {
            Some(broken) => Some(Err(broken.clone())),
            None => world.nodes_ready(plan).then_some(Ok(())),
        });
        match ready.await {
            Some(Ok(())) => {}
            Some(Err(broken)) => {
                return Err(ClusterError::doing("waiting for the nodes to be Ready")(broken));
            }
            None => {
                return Err(ClusterError::doing("waiting for the nodes to be Ready")(format!(
                    "not after {} s: {}",
                    ready_within.as_secs(),
                    self.recorder.world.not_ready(plan).join("; ")
                )));
            }
        }
        for node in &plan.nodes {
            self.facts.send(Fact::Boot { part: node.name.clone(), phase: "ready".into() });
        }
        poll::start(&self.client, &self.node_names(), &self.facts, tasks);
        Ok(())
    }

    /// Why the cluster did not start, with what the component wrote last for want of which it did not.
    fn with_last_words(&self, error: ClusterError) -> ClusterError {
        let last = &self.recorder.world.last_words;
        if last.is_empty() {
            return error;
        }
        let lines: String = last.iter().map(|line| format!("\n    {line}")).collect();
        ClusterError::Machine(format!("{error}\n  its log ends:{lines}"))
    }

    async fn steps(&mut self) {
        let mut failed = false;
        for (step, planned) in self.plan.steps.iter().enumerate() {
            let ended = |outcome| Fact::StepEnded { step, location: planned.location.clone(), outcome };
            if failed {
                self.facts.send(ended(StepOutcome::Skipped));
                continue;
            }
            self.facts.send(Fact::StepBegan { step });
            let outcome = self.step(&planned.action).await;
            failed = outcome != StepOutcome::Done;
            self.facts.send(ended(outcome));
        }
    }

    async fn step(&mut self, action: &Action) -> StepOutcome {
        match action {
            Action::Wait(wait) => {
                let plan = self.plan;
                let over = self.until(wait.within, |world| match &world.broken {
                    Some(broken) => Some(StepOutcome::Failed(broken.clone())),
                    None => world.is_so(&wait.until, plan).is_ok().then_some(StepOutcome::Done),
                });
                match over.await {
                    Some(outcome) => outcome,
                    None => StepOutcome::TimedOut(
                        self.recorder.world.is_so(&wait.until, plan).err().unwrap_or_default(),
                    ),
                }
            }
            Action::Observe(duration) => match self.until(*duration, |world| world.broken.clone()).await {
                Some(broken) => StepOutcome::Failed(broken),
                None => StepOutcome::Done,
            },
            Action::Drain(drain) if drain.background => {
                let (client, facts, drain) = (self.client.clone(), self.facts.clone(), drain.clone());
                let expected = self.plan.expects_drains_of(&drain.node);
                self.background.spawn(async move {
                    // What it came to is a fact of the timeline.
                    let _ = drain::drain(&client, &facts, &drain, expected).await;
                });
                StepOutcome::Done
            }
            other => {
                self.announce(other);
                let (client, facts) = (self.client.clone(), self.facts.clone());
                let work =
                    steps::perform(other, self.plan, self.cluster, &client, &facts, &self.recorder.world);
                match self.beside(steps::performed_within(other), work).await {
                    Ok(()) => StepOutcome::Done,
                    Err(why) => StepOutcome::Failed(why),
                }
            }
        }
    }

    /// Says beforehand what will not be seen because of a step, so that it is no failure: a node without power measures nothing.
    fn announce(&self, action: &Action) {
        let (node, resumed, reason) = match action {
            Action::Node { node, change: NodeChange::Kill } => (node, false, "a step takes its power"),
            Action::Node { node, change: NodeChange::Start } => (node, true, "a step gives its power back"),
            _ => return,
        };
        let (source, from) = (format!("node {node}"), Timestamp::now());
        self.facts.send(Fact::Gap { source, from, resumed, reason: reason.to_owned() });
    }

    /// Writes down what arrives until something is so of the world, or time is up.
    async fn until<T>(&mut self, within: Duration, over: impl Fn(&World) -> Option<T>) -> Option<T> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            if let Some(over) = over(&self.recorder.world) {
                return Some(over);
            }
            match tokio::time::timeout_at(deadline, self.recorder.next()).await {
                Ok(Some(observation)) => notice(observation, &mut self.fillers, self.listener),
                Ok(None) | Err(_) => return over(&self.recorder.world),
            }
        }
    }

    /// Writes down what arrives until the watches have nothing more to tell of what the last step did.
    async fn settle(&mut self) {
        let latest = tokio::time::Instant::now() + SETTLES_WITHIN;
        let mut quiet_at = tokio::time::Instant::now() + QUIET;
        while let Ok(Some(observation)) =
            tokio::time::timeout_at(quiet_at.min(latest), self.recorder.next()).await
        {
            if !is_figure(&observation.fact) {
                quiet_at = tokio::time::Instant::now() + QUIET;
            }
            notice(observation, &mut self.fillers, self.listener);
        }
    }

    /// Does some work while writing down what arrives; breaks off when the run can not go on.
    async fn beside<T>(
        &mut self,
        within: Duration,
        mut work: BoxFuture<'_, Result<T, String>>,
    ) -> Result<T, String> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            if let Some(broken) = &self.recorder.world.broken {
                return Err(broken.clone());
            }
            tokio::select! {
                result = &mut work => return result,
                observation = self.recorder.next() => match observation {
                    Some(observation) => notice(observation, &mut self.fillers, self.listener),
                    None => return Err("nothing is observed any more".into()),
                },
                () = tokio::time::sleep_until(deadline) => return Err(format!("not done after {} s", within.as_secs())),
            }
        }
    }

    fn take_now(&mut self) -> bool {
        match self.recorder.next_now() {
            Some(observation) => {
                notice(observation, &mut self.fillers, self.listener);
                true
            }
            None => false,
        }
    }

    fn node_names(&self) -> Vec<String> {
        self.plan.nodes.iter().map(|node| node.name.clone()).collect()
    }
}

/// How long something of the boot may take, with all the hollow nodes that a plan has.
fn with_hollow(within: Duration, plan: &Plan) -> Duration {
    let zones = plan.hollow.iter().flat_map(|hollow| &hollow.zones);
    within + FOR_EACH_HOLLOW * zones.map(HollowZone::nodes).sum::<u32>()
}

/// Whether it is a figure, which comes at a pace of its own whatever happens.
fn is_figure(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Sample { .. } | Fact::Summary { .. } | Fact::EvictionMetric { .. } | Fact::Filler { .. }
    )
}

fn notice(observation: &Observation, fillers: &mut Fillers, listener: &mut (dyn FnMut(&Observation) + Send)) {
    if let Fact::Pod(pod) = &observation.fact {
        fillers.notice(pod);
    }
    listener(observation);
}

/// Turns what the inits say into facts.
async fn relay(mut reports: Reports, facts: Facts) {
    let mut last = Timestamp::now();
    while let Some(PartReport { part, report }) = reports.recv().await {
        let Some(report) = report else {
            let (source, reason) = (format!("init of {part}"), "it ended".to_owned());
            facts.send(Fact::Gap { source, from: last, resumed: false, reason });
            continue;
        };
        last = report.at;
        let fact = match report.fact {
            NodeFact::Phase { name, .. } => Fact::Boot { part, phase: name },
            NodeFact::Sample(sample) => Fact::Sample { node: part, sample },
            NodeFact::OomKill(kill) => Fact::OomKill { node: part, kill },
            NodeFact::Runtime(event) => Fact::Runtime { node: part, event },
            NodeFact::Filler { line } => Fact::Filler { name: part, in_pod: false, report: line },
            NodeFact::Blind { source, reason } => {
                Fact::Gap { source: format!("{source} {part}"), from: report.at, resumed: false, reason }
            }
            NodeFact::Fatal { message } => Fact::Gap {
                source: format!("init of {part}"),
                from: report.at,
                resumed: false,
                reason: message,
            },
            NodeFact::ComponentEnded { component, status, log } => {
                tracing::warn!(part, component, status, log, "a component ended");
                Fact::ComponentEnded { part, component, status, log }
            }
            NodeFact::Note { message } => {
                tracing::info!(part, "{message}");
                continue;
            }
        };
        facts.send_at(report.at, fact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::HollowPlan;

    #[test]
    fn hundreds_of_hollow_nodes_have_the_time_to_be_made() {
        let plan = serde_json::json!({"name": "x", "kubernetes": "1.36.3", "nodes": [], "objects": [], "workloads": {}, "steps": [], "expectations": []});
        let mut plan: Plan = serde_json::from_value(plan).expect("a plan");
        assert_eq!(with_hollow(ANSWERS_WITHIN, &plan), ANSWERS_WITHIN);
        let zone = |name: &str, groups: &[u32]| HollowZone { name: name.to_owned(), groups: groups.to_vec() };
        plan.hollow = Some(HollowPlan {
            zones: vec![zone("a", &[24, 36]), zone("b", &[20])],
            node_lease_duration_seconds: 8,
        });
        assert_eq!(with_hollow(ANSWERS_WITHIN, &plan), ANSWERS_WITHIN + Duration::from_secs(80));
    }
}
