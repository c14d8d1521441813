//! `plimsoll-gpu-node dra-driver`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Failure;
use super::cdi::{CdiArguments, Names};
use super::client::client;
use super::driver::{DriverArguments, first_reading, positive_duration, send_news};
use crate::dra::{Claims, DRIVER, Plugin, Pool, Publisher, ServeOptions, is_dns_label, publish, serve};
use crate::driver::{Reader, State};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The driver's name, which device classes and claims know it by.
    #[arg(long, value_name = "NAME", default_value = DRIVER, value_parser = driver_name)]
    driver_name: String,
    /// The node that this runs on.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: String,
    /// The folder in which the kubelet finds the sockets of plugins; the kubelet must see it by the same path.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/kubelet/plugins_registry")]
    folder: PathBuf,
    /// How long the API server may take to answer.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    api_timeout: Duration,
    #[command(flatten)]
    cdi: CdiArguments,
    #[command(flatten)]
    driver: DriverArguments,
}

/// A driver's name as Kubernetes has them: a DNS subdomain of 63 characters at most.
fn driver_name(text: &str) -> Result<String, String> {
    if text.len() <= 63 && text.split('.').all(is_dns_label) {
        return Ok(text.to_owned());
    }
    Err(format!("must be a name such as {DRIVER}: lower-case letters, digits, dots and dashes, 63 at most"))
}

pub(super) async fn run(arguments: Arguments, cancel: CancellationToken) -> Result<(), Failure> {
    let client = client(arguments.api_timeout, None).await?;
    let reader = Reader::start(arguments.driver.options(), cancel.clone());
    let mut states = reader.state();
    let first = cancel.run_until_cancelled(first_reading(&mut states)).await;
    let Some(Some(reading)) = first else { return Ok(()) };
    let mut names = Names::new(arguments.cdi);
    names.cover(&reading)?;
    let (name_sender, cdi_names) = watch::channel(Arc::new(names.known().clone()));
    let health = states.borrow().health.clone();
    let pool = Pool::new(&reading, &health, false, Timestamp::now())
        .map_err(|error| Failure::Input(error.to_string()))?;
    let (sender, pools) = watch::channel(Arc::new(pool));
    tokio::spawn(cancel.clone().run_until_cancelled_owned(follow(states, sender, names, name_sender)));
    let (driver, node) = (&arguments.driver_name, &arguments.node_name);
    let claims = Claims::new(client.clone(), arguments.api_timeout);
    let plugin = Plugin::new((driver, node), claims, pools.clone(), cdi_names);
    let publisher = Publisher::new(client, driver, node, arguments.api_timeout);
    let publishing = tokio::spawn(publish(publisher, pools, plugin.registered(), cancel.clone()));
    let options = ServeOptions { folder: arguments.folder };
    let served = serve(&options, plugin, cancel.clone()).await;
    cancel.cancel();
    let _ = publishing.await;
    served.map_err(|error| Failure::Input(error.to_string()))
}

/// Offers anew whatever changes.
async fn follow(
    mut states: watch::Receiver<State>,
    sender: watch::Sender<Arc<Pool>>,
    mut names: Names,
    name_sender: watch::Sender<Arc<BTreeMap<String, String>>>,
) {
    while states.changed().await.is_ok() {
        let State { reading, health, failure } = states.borrow_and_update().clone();
        let Some(mut reading) = reading else { continue };
        // A device has its name before it is offered: a pod may get it at once.
        match names.cover(&reading) {
            Ok(true) => drop(name_sender.send_replace(Arc::new(names.known().clone()))),
            Ok(false) => {}
            Err(error) => {
                error!("a device is not offered: {error}");
                names.leave_out_unnamed(&mut reading);
            }
        }
        let now = Timestamp::now();
        let before = sender.borrow().clone();
        match Pool::new(&reading, &health, failure.is_some(), now) {
            Ok(pool) => send_news(&sender, pool.after(&before, now)),
            Err(error) => error!("what is offered stays as it was: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drivers_name_is_one_that_kubernetes_takes() {
        assert_eq!(driver_name(DRIVER), Ok(DRIVER.to_owned()));
        for text in ["", "Gpu.example.com", "gpu..example", "-gpu.example", "gpu/example", &"a".repeat(64)] {
            assert!(driver_name(text).is_err(), "{text}");
        }
    }
}
