//! The claims of pods, as the API server has them.

use std::time::Duration;

use k8s_openapi::api::resource::v1::{DeviceRequestAllocationResult, ResourceClaim};
use kube::{Api, Client, Error};

/// Why a claim can not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The API server did not say what it is.
    #[error("claim {namespace}/{name} can not be read: {why}")]
    Unread {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Another claim has its name by now.
    #[error(
        "claim {namespace}/{name} is another one by now: it has the UID {found}, and {wanted} is to be prepared"
    )]
    Other {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The UID that is there.
        found: String,
        /// The UID that was asked for.
        wanted: String,
    },
    /// No device was given to it.
    #[error("claim {namespace}/{name} is not allocated")]
    NotAllocated {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// The claims of a cluster.
#[derive(Clone)]
pub struct Claims {
    client: Client,
    timeout: Duration,
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Claims").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Claims {
    /// The claims that a client reaches; any call may take so long.
    #[must_use]
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// What was given to a claim, of whatever drivers.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub async fn allocated(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<Vec<DeviceRequestAllocationResult>, ClaimError> {
        let claim = self.read(namespace, name).await.map_err(|why| ClaimError::Unread {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            why,
        })?;
        let found = claim.metadata.uid.unwrap_or_default();
        if found != uid {
            return Err(ClaimError::Other {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                found,
                wanted: uid.to_owned(),
            });
        }
        let allocation = claim.status.and_then(|status| status.allocation);
        let allocation = allocation.ok_or_else(|| ClaimError::NotAllocated {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })?;
        Ok(allocation.devices.and_then(|devices| devices.results).unwrap_or_default())
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<ResourceClaim, String> {
        let api: Api<ResourceClaim> = Api::namespaced(self.client.clone(), namespace);
        match tokio::time::timeout(self.timeout, api.get(name)).await {
            Err(_) => Err(format!("the API server said nothing within {} s", self.timeout.as_secs_f64())),
            Ok(Err(Error::Api(status))) => {
                Err(format!("the API server refuses: {} {}", status.code, status.message))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(claim)) => Ok(claim),
        }
    }
}
