//! The cluster, for every command that asks it.

use std::time::Duration;

use super::Failure;

/// A client for the cluster that KUBECONFIG or the pod's service account names. `silence` is how long an answer may take from one part to
/// the next; none for as long as a watch may be silent.
pub(super) async fn client(timeout: Duration, silence: Option<Duration>) -> Result<kube::Client, Failure> {
    let refuse = |error: &dyn std::fmt::Display| {
        Failure::Input(format!("no cluster: {error}; set KUBECONFIG, or run in a pod with a service account"))
    };
    let mut config = kube::Config::infer().await.map_err(|error| refuse(&error))?;
    config.connect_timeout = Some(timeout);
    // The client's own default is longer than a watch lasts.
    config.read_timeout = silence.or(config.read_timeout);
    config.write_timeout = Some(timeout);
    // A client that asks again by itself would hide that a disruption budget forbids an eviction.
    config.default_retry = false;
    kube::Client::try_from(config).map_err(|error| refuse(&error))
}
