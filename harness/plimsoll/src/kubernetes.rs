//! Clients of a run's own API server, what its label selectors mean, and what its taints are called.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::config::{
    AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};
use plimsoll_node::pki::Credentials;

use crate::plan::NAMESPACE;

/// The taint by which the node controller says of a node that it is cordoned. Upstream: `TaintNodeUnschedulable`.
pub(crate) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The taints by which it says of a node that nothing is heard of it. Upstream: `TaintNodeUnreachable`.
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Whether a selector is about an object with these labels. Upstream: `LabelSelectorAsSelector`.
#[must_use]
pub fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| label(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|one| {
        let value = label(&one.key);
        let listed = value.is_some_and(|value| one.values.iter().flatten().any(|known| known == value));
        match one.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equal && expressions
}

/// A client of the API server that a kubeconfig's current context names. Nothing is sent yet.
///
/// # Errors
/// When the credentials can not be used.
pub async fn client(
    kubeconfig: &Kubeconfig,
) -> Result<kube::Client, Box<dyn std::error::Error + Send + Sync>> {
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await?;
    // An answer such as 429 is what a run is about, and a request made again unseen would hide it.
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

/// A kubeconfig for the API server at a port of 127.0.0.1, with these credentials, complete in itself. Its one context is
/// called `plimsoll`.
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

/// A kubeconfig that others can use while a run lasts. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct KubeconfigFile {
    path: PathBuf,
}

impl KubeconfigFile {
    /// Writes the file, whole, for its owner alone to read.
    ///
    /// # Errors
    /// When there is a file of that name already, which might be someone's own, or it can not be written.
    pub fn create(path: &Path, kubeconfig: &Kubeconfig) -> io::Result<Self> {
        // JSON is YAML, too.
        let text = serde_json::to_vec_pretty(kubeconfig)?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = PathBuf::from(partial);
        let written = || -> io::Result<()> {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
            file.write_all(&text)?;
            // Unlike a renamed file, a link takes the place of no other.
            fs::hard_link(&partial, path)
        };
        let result = written();
        // Nothing is there if it could not even be begun.
        let _ = fs::remove_file(&partial);
        result.map(|()| Self { path: path.to_owned() })
    }
}

impl Drop for KubeconfigFile {
    fn drop(&mut self) {
        // Whoever removed it before did what is wanted.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn any() -> Kubeconfig {
        let credentials = Credentials { certificate: "c".to_owned(), key: "k".to_owned() };
        kubeconfig(6443, "authority", &credentials)
    }

    #[test]
    fn it_is_its_owner_s_alone_and_goes_with_the_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubeconfig");
        let file = KubeconfigFile::create(&path, &any()).expect("a file");
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
        let read = Kubeconfig::read_from(&path).expect("a kubeconfig");
        assert_eq!(read.contexts[0].name, "plimsoll");
        assert!(fs::read_to_string(&path).expect("text").contains(&base64("k")), "the key is in it");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "nothing beside it");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_there_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        fs::write(&path, "mine").expect("a file");
        let error = KubeconfigFile::create(&path, &any()).expect_err("there is one");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("the file"), "mine");
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "nothing beside it");
    }
}
