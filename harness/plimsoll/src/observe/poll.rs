//! Asking the kubelets for their own figures, through the API server.

use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Fact, Facts};

/// How often the kubelet's summary is asked for. Its own figures are up to 10 s old; what is new is seen soon.
const SUMMARY_EVERY: Duration = Duration::from_secs(2);
/// How often its metrics are asked for: a large answer of which one counter matters.
const METRICS_EVERY: Duration = Duration::from_secs(10);
/// How long an answer may take. A node under pressure answers late.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Polls every node until the set is dropped.
pub fn start(client: &Client, nodes: &[String], facts: &Facts, tasks: &mut JoinSet<()>) {
    for node in nodes {
        let (summaries, metrics) = (Kubelet::new(client, node, facts), Kubelet::new(client, node, facts));
        tasks.spawn(async move { summaries.repeat(SUMMARY_EVERY, "summary of").await });
        tasks.spawn(async move { metrics.repeat(METRICS_EVERY, "metrics of").await });
    }
}

/// Asks every node once more: for the end of a run.
pub async fn once(client: &Client, nodes: &[String], facts: &Facts) {
    futures::future::join_all(nodes.iter().map(|node| async move {
        let kubelet = Kubelet::new(client, node, facts);
        let _ = kubelet.ask("summary of").await;
        let _ = kubelet.ask("metrics of").await;
    }))
    .await;
}

struct Kubelet {
    client: Client,
    node: String,
    facts: Facts,
}

impl Kubelet {
    fn new(client: &Client, node: &str, facts: &Facts) -> Self {
        Self { client: client.clone(), node: node.to_owned(), facts: facts.clone() }
    }

    async fn repeat(&self, every: Duration, what: &str) {
        let mut last = Timestamp::now();
        let mut blind = false;
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let gap = |resumed, reason| Fact::Gap {
                source: format!("{what} {}", self.node),
                from: last,
                resumed,
                reason,
            };
            match self.ask(what).await {
                Ok(()) => {
                    if blind {
                        self.facts.send(gap(true, "it answers again".into()));
                    }
                    blind = false;
                    last = Timestamp::now();
                }
                Err(reason) => {
                    if !blind {
                        self.facts.send(gap(false, reason));
                    }
                    blind = true;
                }
            }
        }
    }

    async fn ask(&self, what: &str) -> Result<(), String> {
        let path = if what.starts_with("summary") { "stats/summary" } else { "metrics" };
        let request = Request::get(format!("/api/v1/nodes/{}/proxy/{path}", self.node))
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.client.request_text(request)).await;
        let text = answer
            .map_err(|_| format!("no answer in {} s", ANSWER_WITHIN.as_secs()))?
            .map_err(|error| error.to_string())?;
        let node = self.node.clone();
        if path == "metrics" {
            for (signal, count) in evictions(&text) {
                self.facts.send(Fact::EvictionMetric { node: node.clone(), signal, count });
            }
        } else {
            let summary: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            self.facts.send(Fact::Summary { node, summary: Box::new(summary) });
        }
        Ok(())
    }
}

/// Reads `kubelet_evictions{eviction_signal="…"} N` out of a metrics page.
fn evictions(page: &str) -> impl Iterator<Item = (String, u64)> {
    page.lines().filter_map(|line| {
        let rest = line.strip_prefix("kubelet_evictions{eviction_signal=\"")?;
        let (signal, count) = rest.split_once("\"} ")?;
        Some((signal.to_owned(), count.trim().parse::<f64>().ok()? as u64))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn evictions_are_read_and_nothing_else() {
        let page = "# TYPE kubelet_evictions counter\nkubelet_evictions{eviction_signal=\"memory.available\"} 2\nkubelet_evictions_other{eviction_signal=\"x\"} 9\n";
        assert_eq!(super::evictions(page).collect::<Vec<_>>(), [("memory.available".to_owned(), 2)]);
    }
}
