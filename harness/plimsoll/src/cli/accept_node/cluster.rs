//! The node in its cluster: what its kubelet offers, and what is told to the cluster once the node is accepted.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::Api;
use kube::api::{Patch, PatchParams};
use plimsoll_acceptance::judge::{self, Offered};
use plimsoll_acceptance::report::{Acceptance, Check, Outcome};
use serde_json::{Map, Value, json};

use crate::explain::live;

/// How long the API server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What of `accept-node` is about a cluster.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ClusterArguments {
    /// Ask the API server of this context of the kubeconfig what the node's kubelet offers; never the current one unasked
    #[arg(long, value_name = "CONTEXT", requires = "node")]
    context: Option<String>,
    /// The node, as its cluster knows it
    #[arg(long, value_name = "NAME", requires = "context")]
    node: Option<String>,
    /// The kubeconfig (default: as for kubectl, $KUBECONFIG or ~/.kube/config)
    #[arg(long, value_name = "FILE", requires = "context")]
    kubeconfig: Option<PathBuf>,
    /// The extended resource that the kubelet should offer the devices as
    #[arg(long, value_name = "RESOURCE", requires = "context", default_value = "nvidia.com/gpu")]
    resource: String,
    /// How much of it there should be [default: as many as there are devices]
    #[arg(long, value_name = "COUNT", requires = "context")]
    offered: Option<u64>,
    /// Give the node this label once it is accepted, and not otherwise; may stand several times
    #[arg(long, value_name = "KEY=VALUE", requires = "context", value_parser = label)]
    label: Vec<(String, String)>,
    /// Take taints with this key off the node once it is accepted, and not otherwise; may stand several times
    #[arg(long, value_name = "KEY", requires = "context")]
    remove_taint: Vec<String>,
    /// Do that also when the devices are simulated, so that nothing was accepted of any device
    #[arg(long, requires = "context")]
    even_simulated: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

/// A node of a cluster.
pub(super) struct ClusterNode<'a> {
    arguments: &'a ClusterArguments,
    name: &'a str,
    nodes: Api<Node>,
}

impl<'a> ClusterNode<'a> {
    /// The node that the arguments name; none if they name none.
    ///
    /// # Errors
    /// When the context can not be used.
    pub(super) async fn new(arguments: &'a ClusterArguments) -> Result<Option<Self>, String> {
        let (Some(context), Some(name)) = (&arguments.context, &arguments.node) else { return Ok(None) };
        let client = live::client(arguments.kubeconfig.as_deref(), context).await;
        let nodes = Api::all(client.map_err(|error| error.to_string())?);
        Ok(Some(Self { arguments, name, nodes }))
    }

    async fn get(&self) -> Result<Node, String> {
        let asked = tokio::time::timeout(ANSWER_WITHIN, self.nodes.get(self.name)).await;
        asked.map_err(|_| no_answer())?.map_err(|error| format!("node {}: {error}", self.name))
    }

    /// Whether the kubelet offers the devices, all of them healthy.
    pub(super) async fn offers(&self, devices: Option<usize>) -> Check {
        let node = self.get().await;
        let offered = node.as_ref().map_err(Clone::clone).map(|node| {
            let status = node.status.as_ref();
            let of = |amounts: Option<&std::collections::BTreeMap<String, _>>| {
                let amount: &k8s_openapi::apimachinery::pkg::api::resource::Quantity =
                    amounts?.get(&self.arguments.resource)?;
                amount.0.parse().ok()
            };
            Offered {
                capacity: of(status.and_then(|status| status.capacity.as_ref())),
                allocatable: of(status.and_then(|status| status.allocatable.as_ref())),
            }
        });
        let wanted = self.arguments.offered.or_else(|| devices.and_then(|count| u64::try_from(count).ok()));
        judge::offered(&self.arguments.resource, offered, wanted)
    }

    /// Tells the cluster of an accepted node what was asked for, and says what was done. Of a node that was not accepted nothing is told.
    ///
    /// # Errors
    /// When the node can not be changed.
    pub(super) async fn tell(&self, acceptance: &Acceptance) -> Result<Vec<String>, String> {
        let asked = self.arguments;
        if asked.label.is_empty() && asked.remove_taint.is_empty() {
            return Ok(Vec::new());
        }
        if acceptance.outcome != Outcome::Passed {
            return Ok(vec![format!("{} is left as it is, since it is not accepted", self.name)]);
        }
        if acceptance.stamp.is_some() && !asked.even_simulated {
            return Ok(vec![format!(
                "{} is left as it is, since its devices are simulated (--even-simulated changes it all the same)",
                self.name
            )]);
        }
        let node = self.get().await?;
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let (patch, done) = change(&asked.label, &asked.remove_taint, &taints);
        // Another change of the node's taints meanwhile is not undone: then this one is refused.
        let mut patch = patch;
        patch["metadata"]["resourceVersion"] = json!(node.metadata.resource_version);
        let patch = Patch::Merge(&patch);
        let parameters = PatchParams::default();
        let call = self.nodes.patch(self.name, &parameters, &patch);
        let answered = tokio::time::timeout(ANSWER_WITHIN, call).await;
        answered
            .map_err(|_| no_answer())?
            .map_err(|error| format!("changing node {}: {error}", self.name))?;
        Ok(done.into_iter().map(|what| format!("{}: {what}", self.name)).collect())
    }
}

fn no_answer() -> String {
    format!("the API server did not answer within {} s", ANSWER_WITHIN.as_secs())
}

/// The change to a node, and what it does, in words.
fn change(labels: &[(String, String)], keys: &[String], taints: &[Taint]) -> (Value, Vec<String>) {
    let mut done: Vec<String> =
        labels.iter().map(|(key, value)| format!("has the label {key}={value}")).collect();
    let labels: Map<String, Value> = labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let mut patch = json!({"metadata": {"labels": labels}});
    if !keys.is_empty() {
        let kept: Vec<&Taint> = taints.iter().filter(|taint| !keys.contains(&taint.key)).collect();
        for key in keys {
            let there = taints.iter().any(|taint| taint.key == *key);
            done.push(if there {
                format!("has lost the taint {key}")
            } else {
                format!("had no taint {key}")
            });
        }
        patch["spec"] = json!({"taints": kept});
    }
    (patch, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str) -> Taint {
        Taint { key: key.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() }
    }

    #[test]
    fn only_what_was_asked_for_is_changed() {
        let taints = [taint("new"), taint("other")];
        let (patch, done) =
            change(&[("ready".into(), "yes".into())], &["new".into(), "absent".into()], &taints);
        assert_eq!(
            patch,
            json!({"metadata": {"labels": {"ready": "yes"}}, "spec": {"taints": [{"key": "other", "effect": "NoSchedule"}]}})
        );
        assert_eq!(done, ["has the label ready=yes", "has lost the taint new", "had no taint absent"]);
        let (patch, _) = change(&[("ready".into(), "yes".into())], &[], &taints);
        assert_eq!(patch.get("spec"), None, "taints that nobody spoke of are not written");
    }

    #[test]
    fn labels_have_a_key() {
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(label("a="), Ok(("a".to_owned(), String::new())));
        assert!(label("a").is_err() && label("=b").is_err());
    }
}
