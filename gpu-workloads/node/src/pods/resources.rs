//! The devices of containers, by the kubelet's account.

use std::path::{Path, PathBuf};

use crate::api::connect;
use crate::api::pod_resources::ListPodResourcesRequest;
use crate::api::pod_resources::pod_resources_lister_client::PodResourcesListerClient;

/// How much the kubelet may answer: a node with several hundred pods, each with thousands of shares.
const LARGEST_ANSWER: usize = 64 << 20;

/// What a container holds of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container.
    pub container: String,
    /// The identifiers that the device plugin gave the devices.
    pub ids: Vec<String>,
}

impl Holding {
    /// How many of the identifiers are a device's, or shares of it: plugins put the device's uuid first.
    #[must_use]
    pub fn of_device(&self, uuid: &str) -> usize {
        let is_of = |id: &&String| {
            id.strip_prefix(uuid)
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric()))
        };
        self.ids.iter().filter(is_of).count()
    }
}

/// Why the kubelet's account can not be had.
#[derive(Debug, thiserror::Error)]
pub enum HoldingsError {
    /// Nobody listens.
    #[error("{socket}: {}; it is served by kubelets from 1.20 on, below /var/lib/kubelet/pod-resources", cause(.error))]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the transport says.
        error: tonic::transport::Error,
    },
    /// The kubelet refuses.
    #[error("{socket}: the kubelet refuses: {}", .status.message())]
    Refused {
        /// The socket.
        socket: PathBuf,
        /// What it says.
        status: Box<tonic::Status>,
    },
}

/// What is behind a transport's error, which says no more than that it is one.
fn cause(error: &tonic::transport::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What every container on the node holds of a resource. The account is of pods that the kubelet still knows, those that have ended
/// among them.
///
/// # Errors
/// [`HoldingsError`].
pub async fn holdings(socket: &Path, resource: &str) -> Result<Vec<Holding>, HoldingsError> {
    let channel =
        connect(socket).await.map_err(|error| HoldingsError::Connect { socket: socket.to_owned(), error })?;
    let list = PodResourcesListerClient::new(channel)
        .max_decoding_message_size(LARGEST_ANSWER)
        .list(ListPodResourcesRequest {})
        .await
        .map_err(|status| HoldingsError::Refused { socket: socket.to_owned(), status: Box::new(status) })?
        .into_inner();
    let mut holdings = Vec::new();
    for pod in list.pod_resources {
        for container in pod.containers {
            let own = container.devices.into_iter().filter(|devices| devices.resource_name == resource);
            let ids: Vec<String> = own.flat_map(|devices| devices.device_ids).collect();
            if !ids.is_empty() {
                let (namespace, pod) = (pod.namespace.clone(), pod.name.clone());
                holdings.push(Holding { namespace, pod, container: container.name, ids });
            }
        }
    }
    Ok(holdings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_by_the_device_in_front() {
        let ids = ["GPU-1", "GPU-1::0", "GPU-1-_-3", "GPU-10::0", "GPU-2"].map(str::to_owned).into();
        let holding =
            Holding { namespace: "n".to_owned(), pod: "p".to_owned(), container: "c".to_owned(), ids };
        assert_eq!(holding.of_device("GPU-1"), 3);
        assert_eq!(holding.of_device("GPU-10"), 1);
        assert_eq!(holding.of_device("GPU-3"), 0);
    }
}
