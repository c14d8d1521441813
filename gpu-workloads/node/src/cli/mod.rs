//! The command line.

mod device_plugin;
mod driver;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// GPUs on a Kubernetes node: a device plugin, and an evictor for GPU memory.
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
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
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
