//! etcd, the API server, the controller manager, the scheduler.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Component, pki_file};
use crate::config::{API_PORT, ControlPlaneSettings, RUN};

const ETCD_CLIENT: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";

/// Nobody asks the scheduler and the controller manager anything. To serve, each would make itself keys first, which takes a
/// tenth of a second or more of a boot's processor time.
const NO_SERVER: &str = "--secure-port=0";

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
    .collecting_seldom()
}

/// The API server. The endpoint reconciler is off: there is one, and its lease would outlive it. Nodes are not
/// tainted as not ready when they are created: the controller that takes such taints away comes seconds later than
/// the first Ready node. Every later taint comes from that controller, as always.
#[must_use]
pub fn apiserver(address: Ipv4Addr, settings: &ControlPlaneSettings) -> Component {
    let mut component = Component::new(
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
    .collecting_seldom();
    component.set([
        (
            "default-not-ready-toleration-seconds",
            settings.default_not_ready_toleration_seconds.map(|seconds| seconds.to_string()),
        ),
        (
            "default-unreachable-toleration-seconds",
            settings.default_unreachable_toleration_seconds.map(|seconds| seconds.to_string()),
        ),
    ]);
    component.arguments.extend(device_taint_rules(settings));
    // Whoever follows them reads them in this version, which is not served unless it is asked for.
    let served = settings
        .device_taint_rules
        .then_some("--runtime-config=resource.k8s.io/v1beta2/devicetaintrules=true");
    component.arguments.extend(served.map(str::to_owned));
    component
}

/// What each part of the control plane is told so that it follows DeviceTaintRules.
fn device_taint_rules(settings: &ControlPlaneSettings) -> Option<String> {
    settings.device_taint_rules.then(|| "--feature-gates=DRADeviceTaintRules=true".to_owned())
}

/// The controller manager. Its client limits are lifted: they are the real brake otherwise, and no subject here.
#[must_use]
pub fn controller_manager(settings: &ControlPlaneSettings) -> Component {
    let kubeconfig = format!("{RUN}/controller-manager.kubeconfig");
    let mut component = Component::new(
        "kube-controller-manager",
        [
            format!("--kubeconfig={kubeconfig}"),
            NO_SERVER.into(),
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
    .collecting_seldom();
    let number = |number: f64| number.to_string();
    component.set([
        ("node-monitor-grace-period", settings.node_monitor_grace_period.map(duration)),
        ("node-monitor-period", settings.node_monitor_period.map(duration)),
        ("node-eviction-rate", settings.node_eviction_rate.map(number)),
        ("secondary-node-eviction-rate", settings.secondary_node_eviction_rate.map(number)),
        ("unhealthy-zone-threshold", settings.unhealthy_zone_threshold.map(number)),
        (
            "large-cluster-size-threshold",
            settings.large_cluster_size_threshold.map(|nodes| nodes.to_string()),
        ),
        ("terminated-pod-gc-threshold", settings.terminated_pod_gc_threshold.map(|pods| pods.to_string())),
    ]);
    component.arguments.extend(device_taint_rules(settings));
    component
}

/// The arguments of kwok, which plays the kubelets of a group of hollow nodes.
#[must_use]
pub fn kwok(group: &str) -> Vec<String> {
    vec![
        format!("--kubeconfig={RUN}/controller-manager.kubeconfig"),
        format!("--config={RUN}/{group}.yaml"),
        "-v=WARN".into(),
    ]
}

/// A duration as Go reads it.
fn duration(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

/// The scheduler.
#[must_use]
pub fn scheduler(settings: &ControlPlaneSettings) -> Component {
    let kubeconfig = format!("{RUN}/scheduler.kubeconfig");
    let mut component = Component::new(
        "kube-scheduler",
        [
            format!("--kubeconfig={kubeconfig}"),
            NO_SERVER.into(),
            "--leader-elect=false".into(),
            "--kube-api-qps=2000".into(),
            "--kube-api-burst=4000".into(),
            "--profiling=false".into(),
            "-v=1".into(),
        ],
    )
    .collecting_seldom();
    component.arguments.extend(device_taint_rules(settings));
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_becomes_a_flag_and_nothing_else_does() {
        let settings = ControlPlaneSettings {
            node_monitor_grace_period: Some(Duration::from_millis(8500)),
            node_eviction_rate: Some(0.1),
            default_unreachable_toleration_seconds: Some(0),
            ..ControlPlaneSettings::default()
        };
        let plain = ControlPlaneSettings::default();
        let added = |with: Component, without: Component| -> Vec<String> {
            with.arguments.into_iter().filter(|argument| !without.arguments.contains(argument)).collect()
        };
        assert_eq!(
            added(controller_manager(&settings), controller_manager(&plain)),
            ["--node-monitor-grace-period=8.5s", "--node-eviction-rate=0.1"]
        );
        assert_eq!(
            added(apiserver(Ipv4Addr::LOCALHOST, &settings), apiserver(Ipv4Addr::LOCALHOST, &plain)),
            ["--default-unreachable-toleration-seconds=0"]
        );
        let rules = ControlPlaneSettings { device_taint_rules: true, ..plain };
        let gate = "--feature-gates=DRADeviceTaintRules=true";
        assert_eq!(added(scheduler(&rules), scheduler(&plain)), [gate]);
        assert_eq!(added(controller_manager(&rules), controller_manager(&plain)), [gate]);
        assert_eq!(
            added(apiserver(Ipv4Addr::LOCALHOST, &rules), apiserver(Ipv4Addr::LOCALHOST, &plain)),
            [gate, "--runtime-config=resource.k8s.io/v1beta2/devicetaintrules=true"]
        );
    }
}
