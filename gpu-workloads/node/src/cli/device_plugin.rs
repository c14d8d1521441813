//! `plimsoll-gpu-node device-plugin`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Failure;
use super::cdi::{CdiArguments, Names};
use super::driver::{DriverArguments, first_reading, send_news};
use super::resource::ResourceArguments;
use crate::device_plugin::{Allocation, Inventory, Resource, ServeOptions, serve};
use crate::driver::{Reader, State};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    resource: ResourceArguments,
    /// The kubelet's folder of device plugins.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/kubelet/device-plugins")]
    folder: PathBuf,
    #[command(flatten)]
    cdi: CdiArguments,
    /// An environment variable that lists a container's devices, such as NVIDIA_VISIBLE_DEVICES.
    #[arg(long, value_name = "NAME")]
    list_variable: Option<String>,
    #[command(flatten)]
    driver: DriverArguments,
}

pub(super) async fn run(arguments: Arguments, cancel: CancellationToken) -> Result<(), Failure> {
    let reader = Reader::start(arguments.driver.options(), cancel.clone());
    let mut states = reader.state();
    let first = cancel.run_until_cancelled(first_reading(&mut states)).await;
    let Some(Some(reading)) = first else { return Ok(()) };
    let resource = arguments.resource.resource();
    let mut names = Names::new(arguments.cdi);
    names.cover(&reading)?;
    let list_variable = arguments.list_variable;
    let allocation = Allocation { cdi_names: names.known().clone(), list_variable };
    let (allocation_sender, allocations) = watch::channel(Arc::new(allocation));
    let health = states.borrow().health.clone();
    let inventory = Inventory::new(&resource, &reading, &health, false)
        .map_err(|error| Failure::Input(error.to_string()))?;
    let (sender, inventories) = watch::channel(Arc::new(inventory));
    let resource_name = resource.name.clone();
    let following = follow(resource, states, sender, names, allocation_sender);
    tokio::spawn(cancel.clone().run_until_cancelled_owned(following));
    let options = ServeOptions { folder: arguments.folder, resource_name };
    serve(&options, inventories, allocations, cancel).await.map_err(|error| Failure::Input(error.to_string()))
}

/// Advertises anew whatever changes.
async fn follow(
    resource: Resource,
    mut states: watch::Receiver<State>,
    sender: watch::Sender<Arc<Inventory>>,
    mut names: Names,
    allocations: watch::Sender<Arc<Allocation>>,
) {
    while states.changed().await.is_ok() {
        let State { reading, health, failure } = states.borrow_and_update().clone();
        let Some(mut reading) = reading else { continue };
        // A device has its name before it is advertised: the kubelet may give it away at once.
        match names.cover(&reading) {
            Ok(true) => allocations.send_modify(|allocation| {
                Arc::make_mut(allocation).cdi_names = names.known().clone();
            }),
            Ok(false) => {}
            Err(error) => {
                error!("a device is not advertised: {error}");
                names.leave_out_unnamed(&mut reading);
            }
        }
        let before = sender.borrow().clone();
        match Inventory::new(&resource, &reading, &health, failure.is_some()) {
            Ok(inventory) => send_news(&sender, inventory.after(&before)),
            Err(error) => error!("what is advertised stays as it was: {error}"),
        }
    }
}
