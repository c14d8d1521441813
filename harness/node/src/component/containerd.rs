//! containerd and the pods' network.

use std::time::Duration;

use crate::config::BIN;

/// How often containerd measures writable layers unless it is told: its own `stats_collect_period`, in seconds.
const STATS_COLLECT_PERIOD: u64 = 10;

/// containerd's configuration. Where a process may not lower OOM scores, containerd clamps them instead of failing. Writable
/// layers are measured as often as the kubelet measures containers: it knows them only through containerd.
#[must_use]
pub fn containerd_configuration(
    sandbox_image: &str,
    restrict_oom_score_adjustment: bool,
    housekeeping_interval: Option<Duration>,
) -> String {
    let period = housekeeping_interval.map_or(STATS_COLLECT_PERIOD, |interval| interval.as_secs().max(1));
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins.'io.containerd.cri.v1.images']
  stats_collect_period = {period}
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{sandbox_image}"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = {restrict_oom_score_adjustment}
  enable_unprivileged_ports = false
  enable_unprivileged_icmp = false
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "{BIN}/runc"
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{BIN}"]
    conf_dir = "/etc/cni/net.d"
"#
    )
}

/// A point-to-point network for pods: they reach their node, which is all that a scenario needs.
#[must_use]
pub fn cni_configuration() -> String {
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/16"}]]}}],
    })
    .to_string()
}
