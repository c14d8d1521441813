//! The fillers' own reports, from their containers' logs.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, Client};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Fact, Facts};
use crate::plan::is_filler;

/// How long to wait before a log that broke off is asked for again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Follows the log of every filler that comes to run.
pub struct Fillers {
    client: Client,
    facts: Facts,
    followed: BTreeSet<String>,
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
        if !has_started(pod, &container) || !self.followed.insert(uid.clone()) {
            return;
        }
        let pods = Api::namespaced(self.client.clone(), namespace);
        self.tasks.spawn(follow(pods, name.clone(), container, self.facts.clone()));
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

fn has_started(pod: &Pod, container: &str) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses
        .filter(|status| status.name == container)
        .filter_map(|status| status.state.as_ref())
        .any(|state| state.running.is_some() || state.terminated.is_some())
}

/// Follows one log to its end. Broken off, it is asked for again and what was read before is passed over: a
/// filler's log is short, and its times tell what is new.
async fn follow(pods: Api<Pod>, name: String, container: String, facts: Facts) {
    let mut read = 0;
    for _ in 0..20 {
        let parameters =
            LogParams { follow: true, container: Some(container.clone()), ..LogParams::default() };
        let mut line_number = 0;
        if let Ok(stream) = pods.log_stream(&name, &parameters).await {
            let mut lines = stream.lines();
            while let Ok(Some(line)) = lines.try_next().await {
                line_number += 1;
                if line_number <= read {
                    continue;
                }
                read = line_number;
                if let Ok(report) = serde_json::from_str::<Value>(&line) {
                    let last = report["kind"] == "final";
                    facts.send(Fact::Filler { name: name.clone(), in_pod: true, report });
                    if last {
                        return;
                    }
                }
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
