//! The kubelet.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{Component, pki_file};
use crate::config::{KUBELET_PORT, NodeConfig, RUN};

/// The kubelet's flags: only what its configuration file can not say.
#[must_use]
pub fn kubelet(name: &str, address: Ipv4Addr, node: &NodeConfig) -> Component {
    let labels =
        node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    let mut kubelet = Component::new(
        "kubelet",
        [
            format!("--config={RUN}/kubelet.json"),
            format!("--kubeconfig={RUN}/kubelet.kubeconfig"),
            format!("--hostname-override={name}"),
            format!("--node-ip={address}"),
            "--root-dir=/var/lib/kubelet".into(),
            format!("--node-labels={labels}"),
            "-v=2".into(),
        ],
    );
    if let Some(interval) = node.housekeeping_interval {
        kubelet.arguments.push(format!("--housekeeping-interval={}ms", interval.as_millis()));
    }
    kubelet
}

/// Names of the files of the kubelet's serving certificate and key.
#[must_use]
pub fn kubelet_serving_certificate() -> (String, String) {
    (pki_file("kubelet-server.crt"), pki_file("kubelet-server.key"))
}

/// The KubeletConfiguration: what this node needs, and over it, field by field, what the scenario says.
///
/// The faster status updates bring Ready sooner; the unlimited event rate keeps evidence from being dropped.
/// Nothing here touches eviction: what the scenario leaves out stays at the kubelet's own defaults.
#[must_use]
pub fn kubelet_configuration(node: &NodeConfig) -> Value {
    let (certificate, key) = kubelet_serving_certificate();
    let mut configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "port": KUBELET_PORT,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki_file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": certificate,
        "tlsPrivateKeyFile": key,
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        // Nothing answers there; without an address every pod would leave a warning event at every sync.
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "failSwapOn": false,
        "failCgroupV1": false,
        "makeIPTablesUtilChains": false,
        "resolvConf": format!("{RUN}/resolv.conf"),
        "nodeStatusUpdateFrequency": "1s",
        "volumeStatsAggPeriod": "10s",
        "eventRecordQPS": 0,
        "registerWithTaints": node.taints,
    });
    merge(&mut configuration, &node.kubelet);
    configuration
}

/// Lays one document over another: objects field by field, anything else whole. Eviction maps are replaced
/// whole by being absent from ours.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}
