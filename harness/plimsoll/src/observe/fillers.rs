//! The fillers' own reports, from their containers' logs.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStream, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Fact, Facts};
use crate::plan::is_filler;

/// How long to wait before a log that broke off is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// After how many failures in a row nobody is taken to see what the filler says: some ten seconds.
const FAILURES: u32 = 20;

/// Follows the log of every filler that comes to run.
pub struct Fillers {
    client: Client,
    facts: Facts,
    /// By pod and by how often its container was started again: each start has a log of its own.
    followed: BTreeSet<(String, i32)>,
    tasks: JoinSet<()>,
}

impl Fillers {
    /// Follows nobody yet.
    #[must_use]
    pub fn new(client: Client, facts: Facts) -> Self {
        Self { client, facts, followed: BTreeSet::new(), tasks: JoinSet::new() }
    }

    /// Follows this pod's filler, once it has started.
    pub fn notice(&mut self, pod: &Pod) {
        let (Some(uid), Some(name), Some(namespace)) =
            (&pod.metadata.uid, &pod.metadata.name, &pod.metadata.namespace)
        else {
            return;
        };
        let Some(container) = filler_container(pod) else { return };
        let Some(restarts) = started(pod, &container) else { return };
        if !self.followed.insert((uid.clone(), restarts)) {
            return;
        }
        let pods = Api::namespaced(self.client.clone(), namespace);
        self.tasks.spawn(follow(pods, name.clone(), uid.clone(), container, self.facts.clone()));
    }
}

fn filler_container(pod: &Pod) -> Option<String> {
    pod.spec
        .as_ref()?
        .containers
        .iter()
        .find(|container| is_filler(container.image.as_deref()))
        .map(|container| container.name.clone())
}

/// How often a container that has started was started again.
fn started(pod: &Pod, container: &str) -> Option<i32> {
    let mut statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let status = statuses.find(|status| status.name == container)?;
    let state = status.state.as_ref()?;
    (state.running.is_some() || state.terminated.is_some()).then_some(status.restart_count)
}

/// Follows one filler's log for as long as there is one. Broken off, it is asked for again and what was read before is passed over.
/// While nobody can read it there is a gap.
async fn follow(pods: Api<Pod>, name: String, uid: String, container: String, facts: Facts) {
    let mut log = Log { name, read: 0, restarts: 0, failures: 0, last_read: Timestamp::now(), facts };
    loop {
        let parameters =
            LogParams { follow: true, container: Some(container.clone()), ..LogParams::default() };
        let broken = match pods.log_stream(&log.name, &parameters).await {
            Ok(stream) => match log.take(stream.lines()).await {
                Ok(true) => return,
                Ok(false) => None,
                Err(error) => Some(error.to_string()),
            },
            Err(error) => Some(error.to_string()),
        };
        match look(&pods, &log.name, &uid, &container).await {
            Look::Gone => return,
            // Its log was read to the end: there is no final report, and none will come.
            Look::Ended if broken.is_none() => return,
            Look::Ended | Look::Unknown => log.failed(broken),
            Look::Runs { restarts } if restarts != log.restarts => {
                // A container that was started again has a log of its own.
                log.restarts = restarts;
                log.read = 0;
            }
            Look::Runs { .. } => log.failed(broken),
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// What has been read of a log.
struct Log {
    name: String,
    /// Lines of the present container.
    read: usize,
    restarts: i32,
    /// How often in a row it could not be read.
    failures: u32,
    last_read: Timestamp,
    facts: Facts,
}

impl Log {
    /// Hands on the lines that are new. True when the filler's last report was among them.
    async fn take(
        &mut self,
        mut lines: impl TryStream<Ok = String, Error = std::io::Error> + Unpin,
    ) -> std::io::Result<bool> {
        let mut number = 0;
        while let Some(line) = lines.try_next().await? {
            number += 1;
            self.sees_again();
            if number <= self.read {
                continue;
            }
            self.read = number;
            if let Ok(report) = serde_json::from_str::<Value>(&line) {
                let last = report["kind"] == "final";
                self.facts.send(Fact::Filler { name: self.name.clone(), in_pod: true, report });
                if last {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// It could not be read once more. That is told when it has been so for some time.
    fn failed(&mut self, why: Option<String>) {
        self.failures += 1;
        if self.failures == FAILURES {
            let why = why.unwrap_or_else(|| "its log ends again and again".to_owned());
            self.gap(false, why);
        }
    }

    fn sees_again(&mut self) {
        if self.failures >= FAILURES {
            self.gap(true, "its log could not be read".to_owned());
        }
        self.failures = 0;
        self.last_read = Timestamp::now();
    }

    fn gap(&self, resumed: bool, reason: String) {
        let source = format!("filler of {}", self.name);
        self.facts.send(Fact::Gap { source, from: self.last_read, resumed, reason });
    }
}

/// What becomes of the container whose log broke off.
enum Look {
    Runs { restarts: i32 },
    Ended,
    Gone,
    Unknown,
}

async fn look(pods: &Api<Pod>, name: &str, uid: &str, container: &str) -> Look {
    let pod = match pods.get_opt(name).await {
        Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(uid) => pod,
        Ok(_) => return Look::Gone,
        Err(_) => return Look::Unknown,
    };
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let Some(status) = statuses.into_iter().find(|status| status.name == container) else {
        return Look::Unknown;
    };
    match &status.state {
        // One that is to be started again waits in between.
        Some(state) if state.running.is_some() || state.waiting.is_some() => {
            Look::Runs { restarts: status.restart_count }
        }
        Some(state) if state.terminated.is_some() => Look::Ended,
        _ => Look::Unknown,
    }
}
