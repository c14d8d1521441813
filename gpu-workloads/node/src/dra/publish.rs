//! Keeps the node's ResourceSlice as the pool is.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::resource::v1::ResourceSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Error};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::pool::Pool;

/// How long to wait before a slice that could not be written is written again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Who owns the fields of a slice.
const MANAGER: &str = "plimsoll-gpu-dra-driver";

/// Whose slice is kept, and where.
#[derive(Clone)]
pub struct Publisher {
    client: Client,
    driver: String,
    node: String,
    timeout: Duration,
    /// Whether the API server keeps taints, as far as is known.
    keeps_taints: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Publisher")
            .field("driver", &self.driver)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Of a driver's devices on a node. Any call but the watch may take so long.
    #[must_use]
    pub fn new(client: Client, driver: &str, node: &str, timeout: Duration) -> Self {
        Self { client, driver: driver.to_owned(), node: node.to_owned(), timeout, keeps_taints: true }
    }

    /// The slice's name.
    fn name(&self) -> String {
        format!("{}-{}", self.node, self.driver)
    }

    fn slices(&self) -> Api<ResourceSlice> {
        Api::all(self.client.clone())
    }

    /// Writes the slice, and says which version of it that made.
    async fn write(&mut self, pool: &Pool) -> Result<Option<String>, String> {
        let node = self.bounded(Api::<Node>::all(self.client.clone()).get(&self.node)).await?;
        // So the slice goes with the Node, also where no kubelet is left to take it away.
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.node.clone(),
            uid: node.metadata.uid.unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        loop {
            let spec = pool.slice(&self.driver, &self.node, self.keeps_taints);
            let tainted = has_taints(spec.devices.as_deref());
            let slice = json!({
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceSlice",
                "metadata": {"name": self.name(), "ownerReferences": [&owner]},
                "spec": spec,
            });
            let parameters = PatchParams::apply(MANAGER).force();
            let slices = self.slices();
            let name = self.name();
            let written = self.bounded(slices.patch(&name, &parameters, &Patch::Apply(&slice))).await?;
            if tainted && !has_taints(written.spec.devices.as_deref()) {
                error!(
                    "the API server drops taints of devices, so pods stay on a device that is not healthy; it needs the \
                     feature gate DRADeviceTaints, which is on by default since Kubernetes 1.36. Until then such devices are not \
                     offered"
                );
                self.keeps_taints = false;
                continue;
            }
            return Ok(written.metadata.resource_version);
        }
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
        match tokio::time::timeout(self.timeout, call).await {
            Err(_) => Err(format!("the API server said nothing within {} s", self.timeout.as_secs_f64())),
            Ok(Err(Error::Api(status))) => {
                let remedy = match status.code {
                    403 => " (the role lacks it: see gpu-workloads/node/deploy/dra-driver.yaml)",
                    404 => {
                        " (resource.k8s.io/v1 is there since Kubernetes 1.34; the Node may not be there yet)"
                    }
                    _ => "",
                };
                Err(format!("the API server refuses: {} {}{remedy}", status.code, status.message))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(value)) => Ok(value),
        }
    }
}

fn has_taints(devices: Option<&[k8s_openapi::api::resource::v1::Device]>) -> bool {
    devices
        .into_iter()
        .flatten()
        .any(|device| device.taints.as_ref().is_some_and(|taints| !taints.is_empty()))
}

/// Writes the slice whenever the pool changes, and whenever somebody else changed or deleted it: the kubelet deletes the slices of its
/// node when it starts. Until `cancel`.
///
/// It begins when the driver is registered: a pod that came to the kubelet earlier would be refused its devices, and the kubelet would
/// not look again for a minute. Until then an earlier slice stands as it is.
pub async fn publish(
    mut publisher: Publisher,
    mut pools: watch::Receiver<Arc<Pool>>,
    mut registered: watch::Receiver<bool>,
    cancel: CancellationToken,
) {
    let settings = watcher::Config::default().fields(&format!("metadata.name={}", publisher.name()));
    let mut events = pin!(watcher(publisher.slices(), settings).default_backoff());
    let follow = async {
        if registered.wait_for(|registered| *registered).await.is_err() {
            return;
        }
        let mut wait = BACKOFF.0;
        let mut said: Option<String> = None;
        // The version that was written last, and whether the watch has listed it.
        let (mut version, mut listed) = (None, false);
        loop {
            let pool = pools.borrow_and_update().clone();
            let written = publisher.write(&pool).await;
            let failed = match written {
                Ok(new) => {
                    if version != new {
                        let taints = pool.taints();
                        let taints = if taints.is_empty() {
                            String::new()
                        } else {
                            format!(", {}", taints.join(", "))
                        };
                        let stamp = if pool.simulated() { " SIMULATED" } else { "" };
                        info!("offered{stamp}: {} devices{taints}", pool.count());
                    }
                    version = new;
                    (wait, said) = (BACKOFF.0, None);
                    false
                }
                Err(why) => {
                    if said.as_ref() != Some(&why) {
                        warn!("the devices are not offered: {why}");
                    }
                    said = Some(why);
                    true
                }
            };
            // Until there is something to write.
            loop {
                tokio::select! {
                    changed = pools.changed() => match changed {
                        Ok(()) => break,
                        // Nobody follows the driver any more: what is offered stays as it is.
                        Err(_) => std::future::pending().await,
                    },
                    () = tokio::time::sleep(wait), if failed => {
                        wait = (wait * 2).min(BACKOFF.1);
                        break;
                    }
                    event = events.next() => match event {
                        Some(Ok(watcher::Event::Init)) => listed = false,
                        Some(Ok(watcher::Event::InitApply(slice) | watcher::Event::Apply(slice))) => {
                            listed = true;
                            if !failed && is_news(version.as_deref(), slice.metadata.resource_version.as_deref()) {
                                break;
                            }
                        }
                        Some(Ok(watcher::Event::InitDone)) if listed => {}
                        Some(Ok(watcher::Event::InitDone | watcher::Event::Delete(_))) => {
                            if !failed {
                                break;
                            }
                        }
                        // The watch says what is wrong by itself, and goes on.
                        Some(Err(_)) => {}
                        None => std::future::pending().await,
                    },
                }
            }
        }
    };
    cancel.run_until_cancelled(follow).await;
}

/// Whether a version of the slice is later than the one that was written. Since Kubernetes 1.35 versions can be compared, as they always
/// could in fact; one that can not is news.
fn is_news(written: Option<&str>, seen: Option<&str>) -> bool {
    let number = |version: Option<&str>| version?.parse::<u128>().ok();
    match (number(written), number(seen)) {
        (Some(written), Some(seen)) => seen > written,
        _ => written != seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_later_versions_are_news() {
        assert!(is_news(Some("9"), Some("10")));
        assert!(!is_news(Some("10"), Some("10")));
        assert!(!is_news(Some("10"), Some("9")), "the watch is behind what was written");
        assert!(is_news(None, Some("a")) && is_news(Some("a"), Some("b")));
    }
}
