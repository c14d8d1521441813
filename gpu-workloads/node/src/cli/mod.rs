//! The command line.

mod cdi;
mod client;
mod device_plugin;
mod dra_driver;
mod driver;
mod evictor;
mod resource;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// GPUs on a Kubernetes node: a device plugin, a driver of Dynamic Resource Allocation, and an evictor for GPU memory.
#[derive(Debug, Parser)]
#[command(name = "plimsoll-gpu-node", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Advertises GPUs, or shares of their memory, to the kubelet.
    DevicePlugin(Box<device_plugin::Arguments>),
    /// Offers whole GPUs to resource claims, and taints those that are not healthy.
    DraDriver(Box<dra_driver::Arguments>),
    /// Evicts pods when a GPU runs low on memory, by the kubelet's rules.
    Evictor(Box<evictor::Arguments>),
}

/// Why a command ends that should not.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Bad input.
    #[error("{0}")]
    Input(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Runs the command that the command line names. Exit code 2 is for bad input, 1 for everything else that goes wrong.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("plimsoll-gpu-node: no threads to be had: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("plimsoll-gpu-node: {failure}");
            ExitCode::from(if matches!(failure, Failure::Input(_)) { 2 } else { 1 })
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let cancel = CancellationToken::new();
    cancel_on_signals(&cancel).map_err(|error| Failure::Other(format!("signals: {error}")))?;
    match arguments.command {
        Command::DevicePlugin(arguments) => device_plugin::run(*arguments, cancel).await,
        Command::DraDriver(arguments) => dra_driver::run(*arguments, cancel).await,
        Command::Evictor(arguments) => evictor::run(*arguments, cancel).await,
    }
}

fn cancel_on_signals(cancel: &CancellationToken) -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let cancel = cancel.clone();
        tokio::spawn(async move {
            signals.recv().await;
            cancel.cancel();
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::apps::v1::DaemonSet;
    use k8s_openapi::api::rbac::v1::ClusterRole;
    use k8s_openapi::api::resource::v1::DeviceClass;
    use serde_json::Value;

    use super::*;

    fn documents(text: &str) -> Vec<Value> {
        text.split("\n---\n").map(|document| serde_yaml::from_str(document).expect("YAML")).collect()
    }

    /// The arguments of the only container of the only DaemonSet.
    fn arguments(documents: &[Value]) -> Vec<String> {
        let set = documents.iter().find(|document| document["kind"] == "DaemonSet").expect("a DaemonSet");
        let set: DaemonSet = serde_json::from_value(set.clone()).expect("a DaemonSet");
        let pod = set.spec.expect("a spec").template.spec.expect("a pod");
        pod.containers.into_iter().next().expect("a container").args.expect("arguments")
    }

    fn parse(documents: &[Value]) -> Arguments {
        let own = ["plimsoll-gpu-node".to_owned()].into_iter();
        // Which the manifest sets in the environment.
        let of_a_node = ["dra-driver", "evictor"].contains(&arguments(documents)[0].as_str());
        let node = of_a_node.then(|| "--node-name=n".to_owned());
        Arguments::try_parse_from(own.chain(arguments(documents)).chain(node)).expect("arguments")
    }

    /// What the only ClusterRole allows.
    fn may(documents: &[Value]) -> BTreeSet<String> {
        let role = documents.iter().find(|document| document["kind"] == "ClusterRole").expect("a role");
        let role: ClusterRole = serde_json::from_value(role.clone()).expect("a role");
        let allowed = role.rules.iter().flatten().flat_map(|rule| {
            let resources = rule.resources.clone().unwrap_or_default();
            resources.into_iter().map(|resource| format!("{} {resource}", rule.verbs.join(",")))
        });
        allowed.collect()
    }

    #[test]
    fn manifests_say_what_the_program_understands() {
        let plugin = parse(&documents(include_str!("../../deploy/device-plugin.yaml")));
        assert!(matches!(plugin.command, Command::DevicePlugin(_)));
        let evictor = documents(include_str!("../../deploy/evictor.yaml"));
        let Command::Evictor(own) = parse(&evictor).command else { panic!("another command") };
        own.statements().read().expect("thresholds");
        // Every call of evictor/cluster.rs, and no other.
        let calls =
            ["create events", "create pods/eviction", "list pods", "patch nodes/status", "patch pods/status"];
        assert_eq!(may(&evictor), calls.map(str::to_owned).into());
        let driver = documents(include_str!("../../deploy/dra-driver.yaml"));
        assert!(matches!(parse(&driver).command, Command::DraDriver(_)));
        // Every call of dra/claims.rs and dra/publish.rs, and no other.
        let calls = ["create,list,patch,watch resourceslices", "get nodes", "get resourceclaims"];
        assert_eq!(may(&driver), calls.map(str::to_owned).into());
        let class = driver.iter().find(|document| document["kind"] == "DeviceClass").expect("a class");
        let class: DeviceClass = serde_json::from_value(class.clone()).expect("a class");
        let selectors = class.spec.selectors.expect("selectors");
        let expression = selectors[0].cel.as_ref().map(|cel| cel.expression.as_str());
        assert_eq!(expression, Some(format!("device.driver == \"{}\"", crate::dra::DRIVER).as_str()));
    }
}
