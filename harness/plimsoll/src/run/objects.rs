//! Creating, changing and deleting objects of any kind.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::discovery::{ApiResource, Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::Value;

use crate::plan::NAMESPACE;

/// The name under which the API server keeps what we set.
const MANAGER: &str = "plimsoll";
/// How often the API server is asked whether it answers yet.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How often at most a request is made again that found no API server.
const ATTEMPTS: usize = 4500;

/// How often at most an object is made again that admission refuses for want of a class.
const KNOWN_ATTEMPTS: usize = 500;

/// Access to objects of any kind.
pub(super) struct Objects {
    client: Client,
}

impl Objects {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes the run's namespace and its service account as soon as the API server takes them: the controllers that
    /// would make the account come later, and without it no pod is admitted.
    pub(super) async fn namespace(&self) -> Result<(), String> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(NAMESPACE.into());
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), NAMESPACE);
        let mut account = ServiceAccount::default();
        account.metadata.name = Some("default".into());
        let parameters = PostParams::default();
        let patiently = ConstantBuilder::default().with_delay(AGAIN_AFTER).with_max_times(ATTEMPTS);
        let made = || async { there(namespaces.create(&parameters, &namespace).await) };
        made.retry(patiently).await.map_err(|error| error.to_string())?;
        let made = || async { there(accounts.create(&parameters, &account).await) };
        made.retry(patiently).await.map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Creates an object.
    pub(super) async fn create(&self, object: &Value) -> Result<(), String> {
        let (api, object) = self.api(object).await?;
        let parameters = PostParams::default();
        let made = || async { api.create(&parameters, &object).await };
        made.retry(until_known()).when(lacks_a_class).await.map(drop).map_err(|error| describe(&error))
    }

    /// Creates an object or changes it to what is given.
    pub(super) async fn apply(&self, object: &Value) -> Result<(), String> {
        let (api, object) = self.api(object).await?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&object);
        let made = || async { api.patch(&name, &parameters, &patch).await };
        made.retry(until_known()).when(lacks_a_class).await.map(drop).map_err(|error| describe(&error))
    }

    /// Deletes an object and what it owns; one that is gone already is as good.
    pub(super) async fn delete(&self, object: &Value) -> Result<(), String> {
        let (api, object) = self.api(object).await?;
        let name = object.metadata.name.clone().unwrap_or_default();
        match api.delete(&name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            result => result.map(drop).map_err(|error| describe(&error)),
        }
    }

    async fn api(&self, object: &Value) -> Result<(Api<DynamicObject>, DynamicObject), String> {
        let object: DynamicObject =
            serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
        let types = object.types.clone().ok_or("the object has no apiVersion and kind")?;
        let kind =
            types.try_into().map_err(|error: kube::core::gvk::ParseGroupVersionError| error.to_string())?;
        let (resource, capabilities): (ApiResource, _) = pinned_kind(&self.client, &kind)
            .await
            .map_err(|error| format!("{}: {}", kind.kind, describe(&error)))?;
        let api = match capabilities.scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or(NAMESPACE);
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
        };
        Ok((api, object))
    }
}

/// For ten seconds at most.
fn until_known() -> ConstantBuilder {
    ConstantBuilder::default().with_delay(AGAIN_AFTER).with_max_times(KNOWN_ATTEMPTS)
}

/// Whether admission does not know a pod's PriorityClass. It hears of classes by a watch, after they were made; and those of the system are
/// made by a hook of the API server that may end when the first steps have begun.
fn lacks_a_class(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 && status.message.contains("no PriorityClass with name"))
}

/// An object that is there already is there.
fn there<K>(created: kube::Result<K>) -> kube::Result<()> {
    match created {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

/// The API server's own sentence where there is one.
fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
