//! etcd, the API server, the controller manager, the scheduler.

use std::net::Ipv4Addr;

use super::{Component, pki_file};
use crate::config::{API_PORT, RUN};

const ETCD_CLIENT: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";

/// The store. It is never read again after the run, so it need not wait for the disk.
#[must_use]
pub fn etcd() -> Component {
    Component::new(
        "etcd",
        [
            format!("--data-dir={RUN}/etcd"),
            "--unsafe-no-fsync".into(),
            format!("--listen-client-urls={ETCD_CLIENT}"),
            format!("--advertise-client-urls={ETCD_CLIENT}"),
            format!("--listen-peer-urls={ETCD_PEER}"),
            "--log-level=warn".into(),
        ],
    )
}

/// The API server. The endpoint reconciler is off: there is one, and its lease would outlive it. Nodes are not
/// tainted as not ready when they are created: the controller that takes such taints away comes seconds later than
/// the first Ready node. Every later taint comes from that controller, as always.
#[must_use]
pub fn apiserver(address: Ipv4Addr) -> Component {
    Component::new(
        "kube-apiserver",
        [
            format!("--advertise-address={address}"),
            "--bind-address=0.0.0.0".into(),
            format!("--secure-port={API_PORT}"),
            format!("--etcd-servers={ETCD_CLIENT}"),
            "--endpoint-reconciler-type=none".into(),
            "--allow-privileged=true".into(),
            "--disable-admission-plugins=TaintNodesByCondition".into(),
            "--authorization-mode=Node,RBAC".into(),
            "--anonymous-auth=false".into(),
            "--profiling=false".into(),
            format!("--client-ca-file={}", pki_file("ca.crt")),
            format!("--tls-cert-file={}", pki_file("apiserver.crt")),
            format!("--tls-private-key-file={}", pki_file("apiserver.key")),
            format!("--kubelet-certificate-authority={}", pki_file("ca.crt")),
            format!("--kubelet-client-certificate={}", pki_file("apiserver-kubelet-client.crt")),
            format!("--kubelet-client-key={}", pki_file("apiserver-kubelet-client.key")),
            "--kubelet-preferred-address-types=InternalIP".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={}", pki_file("service-account.pub")),
            format!("--service-account-signing-key-file={}", pki_file("service-account.key")),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "-v=1".into(),
        ],
    )
}

/// The controller manager. Its client limits are lifted: they are the real brake otherwise, and no subject here.
#[must_use]
pub fn controller_manager() -> Component {
    let kubeconfig = format!("{RUN}/controller-manager.kubeconfig");
    Component::new(
        "kube-controller-manager",
        [
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--bind-address=127.0.0.1".into(),
            "--leader-elect=false".into(),
            "--use-service-account-credentials=false".into(),
            format!("--root-ca-file={}", pki_file("ca.crt")),
            format!("--service-account-private-key-file={}", pki_file("service-account.key")),
            "--kube-api-qps=5000".into(),
            "--kube-api-burst=10000".into(),
            "--profiling=false".into(),
            "-v=1".into(),
        ],
    )
}

/// The scheduler.
#[must_use]
pub fn scheduler() -> Component {
    let kubeconfig = format!("{RUN}/scheduler.kubeconfig");
    Component::new(
        "kube-scheduler",
        [
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--bind-address=127.0.0.1".into(),
            "--leader-elect=false".into(),
            "--kube-api-qps=2000".into(),
            "--kube-api-burst=4000".into(),
            "--profiling=false".into(),
            "-v=1".into(),
        ],
    )
}
