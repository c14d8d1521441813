//! Asking an API server about a node. Nothing is ever written: every request is a GET.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};

use super::look::{Document, Documents};
use super::refusal::{Asked, Refusal};

/// How long an answer may take. A node under pressure answers late.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0}\nhelp: `kubectl config get-contexts` lists the contexts there are; --kubeconfig FILE takes another file"
)]
pub struct ClientError(String);

/// A client for a context of a kubeconfig: of this file, or else of those that `KUBECONFIG` names, or of
/// `~/.kube/config`, as for kubectl. Nothing is sent yet.
///
/// # Errors
/// [`ClientError`] when there is no such context, or its credentials can not be used.
pub async fn client(kubeconfig: Option<&Path>, context: &str) -> Result<kube::Client, ClientError> {
    let read = match kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let failed = |error: String| ClientError(format!("context {context}: {error}"));
    let read = read.map_err(|error| failed(error.to_string()))?;
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let mut config = kube::Config::from_custom_kubeconfig(read, &options)
        .await
        .map_err(|error| failed(error.to_string()))?;
    // The client leaves these out, and without them it would act with rights that were not meant.
    config.headers.extend(impersonation(&config.auth_info).map_err(failed)?);
    kube::Client::try_from(config).map_err(|error| failed(error.to_string()))
}

/// The headers that make the API server take the user for another, as `as`, `as-uid`, `as-groups` and
/// `as-user-extra` of a kubeconfig say.
fn impersonation(user: &AuthInfo) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| -> Result<(), String> {
        let refused = |what: &str| format!("{what:?} of the kubeconfig's user is not fit for a header");
        let header = HeaderName::try_from(name).map_err(|_| refused(name))?;
        headers.push((header, HeaderValue::try_from(value).map_err(|_| refused(value))?));
        Ok(())
    };
    if let Some(name) = &user.impersonate {
        add("impersonate-user", name)?;
    }
    if let Some(uid) = &user.impersonate_uid {
        add("impersonate-uid", uid)?;
    }
    for group in user.impersonate_groups.iter().flatten() {
        add("impersonate-group", group)?;
    }
    for (key, values) in user.impersonate_user_extra.iter().flatten() {
        for value in values {
            add(&format!("impersonate-extra-{key}"), value)?;
        }
    }
    Ok(headers)
}

/// Asks for everything that is known of a node. A configuration that is given is not asked for.
///
/// # Errors
/// Every [`Refusal`], each once.
pub async fn documents(
    client: &kube::Client,
    node: &str,
    configuration: Option<Document>,
) -> Result<Documents, Vec<Refusal>> {
    let given = async {
        match configuration {
            Some(document) => Ok(document),
            None => get(client, node, Asked::Configuration).await,
        }
    };
    let asked = futures::join!(get(client, node, Asked::Pods), get(client, node, Asked::Summary), given);
    match asked {
        (Ok(pods), Ok(summary), Ok(configuration)) => Ok(Documents { pods, summary, configuration }),
        (pods, summary, configuration) => {
            let mut refusals: Vec<Refusal> = Vec::new();
            for refusal in [pods.err(), summary.err(), configuration.err()].into_iter().flatten() {
                if !refusals.iter().any(|known| is_same(known, &refusal)) {
                    refusals.push(refusal);
                }
            }
            Err(refusals)
        }
    }
}

/// Whether one is enough to tell. Messages may differ where the right that is missing does not.
fn is_same(one: &Refusal, other: &Refusal) -> bool {
    match (one, other) {
        (Refusal::Forbidden { resource: one, .. }, Refusal::Forbidden { resource: other, .. }) => {
            one == other
        }
        (Refusal::Unauthorized { .. }, Refusal::Unauthorized { .. })
        | (Refusal::Connection(_), Refusal::Connection(_)) => true,
        _ => one == other,
    }
}

async fn get(client: &kube::Client, node: &str, asked: Asked) -> Result<Document, Refusal> {
    let (path, name) = match asked {
        Asked::Pods => {
            (format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}"), format!("the pods of {node}"))
        }
        Asked::Summary => (
            format!("/api/v1/nodes/{node}/proxy/stats/summary"),
            format!("the statistics of the kubelet of {node}"),
        ),
        Asked::Configuration => (
            format!("/api/v1/nodes/{node}/proxy/configz"),
            format!("the configuration of the kubelet of {node}"),
        ),
    };
    let request =
        Request::get(path).body(Vec::new()).map_err(|error| Refusal::Connection(error.to_string()))?;
    match tokio::time::timeout(ANSWER_WITHIN, client.request_text(request)).await {
        Ok(Ok(text)) => Ok(Document { name, text }),
        Ok(Err(error)) => Err(Refusal::new(asked, node, &error)),
        Err(_) => Err(Refusal::Connection(format!("no answer in {} s", ANSWER_WITHIN.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_impersonated_is_told_to_the_api_server() {
        let user = AuthInfo {
            impersonate: Some("reader".to_owned()),
            impersonate_groups: Some(vec!["people".to_owned(), "auditors".to_owned()]),
            ..AuthInfo::default()
        };
        let headers = impersonation(&user).expect("headers");
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))).collect();
        let group = "impersonate-group";
        assert_eq!(headers, [("impersonate-user", "reader"), (group, "people"), (group, "auditors")]);
        let broken = AuthInfo { impersonate: Some("a\nb".to_owned()), ..AuthInfo::default() };
        assert!(impersonation(&broken).is_err());
    }
}
