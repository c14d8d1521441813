//! Clients of a run's own API server.

use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use plimsoll_node::pki::Credentials;

use crate::plan::NAMESPACE;

/// A client of the API server at a port of 127.0.0.1, with these credentials. Nothing is sent yet.
///
/// # Errors
/// When the credentials can not be used.
pub async fn client(
    port: u16,
    authority: &str,
    credentials: &Credentials,
) -> Result<kube::Client, Box<dyn std::error::Error + Send + Sync>> {
    let kubeconfig = kubeconfig(port, authority, credentials);
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// The kubeconfig for that client, complete in itself.
#[must_use]
pub fn kubeconfig(port: u16, authority: &str, credentials: &Credentials) -> Kubeconfig {
    let name = "plimsoll".to_owned();
    Kubeconfig {
        clusters: vec![NamedCluster {
            other: Default::default(),
            name: name.clone(),
            cluster: Some(Cluster {
                server: Some(format!("https://127.0.0.1:{port}")),
                certificate_authority_data: Some(base64(authority)),
                ..Cluster::default()
            }),
        }],
        auth_infos: vec![NamedAuthInfo {
            other: Default::default(),
            name: name.clone(),
            auth_info: Some(AuthInfo {
                client_certificate_data: Some(base64(&credentials.certificate)),
                client_key_data: Some(base64(&credentials.key).into()),
                ..AuthInfo::default()
            }),
        }],
        contexts: vec![NamedContext {
            other: Default::default(),
            name: name.clone(),
            context: Some(Context {
                cluster: name.clone(),
                user: Some(name.clone()),
                namespace: Some(NAMESPACE.to_owned()),
                ..Context::default()
            }),
        }],
        current_context: Some(name),
        ..Kubeconfig::default()
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
