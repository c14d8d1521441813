//! `plimsoll-gpu-node evictor`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use plimsoll_eviction::duration::GoDuration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Failure;
use super::client::client;
use super::driver::{DriverArguments, positive_duration};
use super::resource::ResourceArguments;
use crate::driver::Reader;
use crate::evictor::{Agent, AgentOptions, Cluster, Metrics, Statements, serve_metrics};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    resource: ResourceArguments,
    /// Evict at once below these: gpu.memory.available<5%, or <1Gi.
    #[arg(long, value_name = "THRESHOLDS", default_value = "gpu.memory.available<5%")]
    eviction_hard: String,
    /// Evict below these once they were met for their grace period.
    #[arg(long, value_name = "THRESHOLDS", default_value = "")]
    eviction_soft: String,
    /// How long soft thresholds must be met: gpu.memory.available=1m30s.
    #[arg(long, value_name = "DURATIONS", default_value = "")]
    eviction_soft_grace_period: String,
    /// How much must be free above a threshold before eviction ends: gpu.memory.available=1Gi.
    #[arg(long, value_name = "AMOUNTS", default_value = "")]
    eviction_minimum_reclaim: String,
    /// The longest time, in seconds, that a pod gets to end when it is evicted for a soft threshold.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    eviction_max_pod_grace_period: i64,
    /// How long the node's condition stays after memory was last low.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = positive_duration)]
    eviction_pressure_transition_period: Duration,
    /// The node that this runs on.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: String,
    /// How often to look.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    interval: Duration,
    /// How often the node's condition is written though it has not changed, for a Node that was made anew.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = positive_duration)]
    condition_heartbeat: Duration,
    /// How long the API server may take to answer.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    api_timeout: Duration,
    /// Where the machine's /proc is.
    #[arg(long, value_name = "FOLDER", default_value = "/proc")]
    proc: PathBuf,
    /// The kubelet's socket for what pods were given.
    #[arg(long, value_name = "SOCKET", default_value = "/var/lib/kubelet/pod-resources/kubelet.sock")]
    pod_resources: PathBuf,
    /// Go by what pods request, as if the kubelet did not say what they were given.
    #[arg(long)]
    no_pod_resources: bool,
    /// Where to serve /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9401")]
    listen: SocketAddr,
    /// Say who would be evicted, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    driver: DriverArguments,
}

impl Arguments {
    /// The thresholds, as written.
    pub(super) fn statements(&self) -> Statements {
        Statements {
            hard: self.eviction_hard.clone(),
            soft: self.eviction_soft.clone(),
            soft_grace_period: self.eviction_soft_grace_period.clone(),
            minimum_reclaim: self.eviction_minimum_reclaim.clone(),
            max_pod_grace_period_seconds: self.eviction_max_pod_grace_period,
            pressure_transition_period: GoDuration::from(self.eviction_pressure_transition_period),
        }
    }
}

pub(super) async fn run(arguments: Arguments, cancel: CancellationToken) -> Result<(), Failure> {
    let settings = arguments.statements().read().map_err(|error| Failure::Input(error.to_string()))?;
    let reader = arguments.driver.options();
    let silence = reader.silence;
    let client = client(arguments.api_timeout, Some(arguments.api_timeout)).await?;
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        Failure::Input(format!("--listen {}: {error}; give another address", arguments.listen))
    })?;
    if let Ok(address) = listener.local_addr() {
        info!("serving metrics on {address}");
    }
    // A pass takes a list, a reading and a few calls at most; several times that is no longer one.
    let longest = (arguments.interval + silence + arguments.api_timeout) * 5;
    let metrics = Arc::new(Metrics::new(longest));
    let options = AgentOptions {
        settings,
        resource: arguments.resource.resource(),
        interval: arguments.interval,
        silence,
        proc: arguments.proc,
        pod_resources: (!arguments.no_pod_resources).then_some(arguments.pod_resources),
        heartbeat: arguments.condition_heartbeat,
        dry_run: arguments.dry_run,
    };
    let reader = Reader::start(reader, cancel.clone());
    let cluster = Cluster::new(client, arguments.node_name, arguments.api_timeout);
    let agent = Agent::new(options, reader.state(), cluster, metrics.clone());
    let server = tokio::spawn(serve_metrics(listener, metrics, cancel.clone()));
    agent.run(cancel).await;
    // Probes that keep their connection open do not keep the process.
    let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    Ok(())
}
