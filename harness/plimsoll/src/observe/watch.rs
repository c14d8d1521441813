//! Watches of pods, nodes, disruption budgets and events. A broken watch is resumed, and the gap is recorded.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::{Fact, Facts};

/// Time until a watch that broke is tried again. The API server is on this machine and we are its only guest, and whatever
/// happens while nobody watches is missing as evidence.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Tries again in always the same time.
struct Soon;

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(AGAIN_AFTER)
    }
}

impl Backoff for Soon {
    fn reset(&mut self) {}
}

/// Watches until the set is dropped.
pub fn start(client: &Client, facts: &Facts, tasks: &mut JoinSet<()>) {
    let pods = |pod| Fact::Pod(Box::new(pod));
    let gone = |pod| Some(Fact::PodDeleted(Box::new(pod)));
    tasks.spawn(follow(Api::<Pod>::all(client.clone()), "pods", facts.clone(), pods, gone));
    tasks.spawn(follow(
        Api::<Node>::all(client.clone()),
        "nodes",
        facts.clone(),
        |node| Fact::Node(Box::new(node)),
        |_| None,
    ));
    tasks.spawn(follow(
        Api::<PodDisruptionBudget>::all(client.clone()),
        "disruption budgets",
        facts.clone(),
        |budget| Fact::DisruptionBudget(Box::new(budget)),
        |budget| Some(Fact::DisruptionBudgetDeleted(Box::new(budget))),
    ));
    tasks.spawn(follow(
        Api::<Event>::all(client.clone()),
        "events",
        facts.clone(),
        |event| Fact::Event(Box::new(event)),
        |_| None,
    ));
}

async fn follow<K>(
    api: Api<K>,
    source: &'static str,
    facts: Facts,
    seen: impl Fn(K) -> Fact,
    deleted: impl Fn(K) -> Option<Fact>,
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut known: BTreeMap<String, K> = BTreeMap::new();
    let mut listed: BTreeMap<String, K> = BTreeMap::new();
    let mut last_seen = Timestamp::now();
    let mut broken: Option<String> = None;
    let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()).backoff(Soon));
    while let Some(event) = stream.next().await {
        let now = Timestamp::now();
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                let uid = object.meta().uid.clone().unwrap_or_default();
                let version = |object: &K| object.meta().resource_version.clone();
                // A second list repeats what is known; only what changed in between is news.
                if known.get(&uid).is_none_or(|before| version(before) != version(&object)) {
                    facts.send(seen(object.clone()));
                }
                listed.insert(uid, object);
            }
            Ok(watcher::Event::InitDone) => {
                for (uid, object) in std::mem::take(&mut known) {
                    if !listed.contains_key(&uid)
                        && let Some(fact) = deleted(object)
                    {
                        facts.send(fact);
                    }
                }
                known = std::mem::take(&mut listed);
                if let Some(reason) = broken.take() {
                    facts.send(Fact::Gap { source: source.into(), from: last_seen, resumed: true, reason });
                }
            }
            Ok(watcher::Event::Apply(object)) => {
                known.insert(object.meta().uid.clone().unwrap_or_default(), object.clone());
                facts.send(seen(object));
            }
            Ok(watcher::Event::Delete(object)) => {
                known.remove(object.meta().uid.as_deref().unwrap_or_default());
                if let Some(fact) = deleted(object) {
                    facts.send(fact);
                }
            }
            Err(error) => {
                if broken.is_none() {
                    facts.send(Fact::Gap {
                        source: source.into(),
                        from: last_seen,
                        resumed: false,
                        reason: error.to_string(),
                    });
                }
                broken = Some(error.to_string());
                continue;
            }
        }
        last_seen = now;
    }
}
