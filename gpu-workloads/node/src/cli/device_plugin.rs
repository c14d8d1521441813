//! `plimsoll-gpu-node device-plugin`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Failure;
use super::driver::DriverArguments;
use super::resource::{ResourceArguments, resource_name};
use crate::cdi::{self, Extras, Mount};
use crate::device_plugin::{Allocation, Inventory, Resource, ServeOptions, serve};
use crate::driver::{Reader, Reading, State};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    resource: ResourceArguments,
    /// The kubelet's folder of device plugins.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/kubelet/device-plugins")]
    folder: PathBuf,
    /// The kind of devices in the Container Device Interface: vendor/class.
    #[arg(long, value_name = "KIND", default_value = "plimsoll.dev/gpu", value_parser = resource_name)]
    cdi_kind: String,
    /// Where the specification of devices is written.
    #[arg(long, value_name = "FOLDER", default_value = "/var/run/cdi")]
    cdi_folder: PathBuf,
    /// Use specifications of that kind that somebody else made, in that folder or in /etc/cdi, and write none.
    #[arg(long)]
    cdi_existing: bool,
    /// Where the machine's root is, to find the driver's libraries below.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    driver_root: PathBuf,
    /// A mount besides, for every container with a device: HOST:CONTAINER, or HOST:CONTAINER:ro; may stand several times.
    #[arg(long, value_name = "MOUNT", value_parser = mount)]
    mount: Vec<Mount>,
    /// An environment variable besides, NAME=VALUE; may stand several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<String>,
    /// An environment variable that lists a container's devices, such as NVIDIA_VISIBLE_DEVICES.
    #[arg(long, value_name = "NAME")]
    list_variable: Option<String>,
    #[command(flatten)]
    driver: DriverArguments,
}

fn mount(text: &str) -> Result<Mount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, mode) = match parts[..] {
        [host, container] => (host, container, "rw"),
        [host, container, mode @ ("ro" | "rw")] => (host, container, mode),
        _ => return Err("must be HOST:CONTAINER or HOST:CONTAINER:ro".to_owned()),
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err("both paths must be absolute".to_owned());
    }
    Ok(Mount {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        options: [mode, "nosuid", "nodev", "rbind", "rprivate"].map(str::to_owned).into(),
    })
}

fn variable(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

pub(super) async fn run(arguments: Arguments, cancel: CancellationToken) -> Result<(), Failure> {
    let reader = Reader::start(arguments.driver.options(), cancel.clone());
    let mut states = reader.state();
    let first = cancel.run_until_cancelled(first_reading(&mut states)).await;
    let Some(Some(reading)) = first else { return Ok(()) };
    let resource = arguments.resource.resource();
    let allocation = Arc::new(Allocation {
        cdi_names: cdi_names(&arguments, &reading)?,
        list_variable: arguments.list_variable.clone(),
    });
    let health = states.borrow().health.clone();
    let inventory = Inventory::new(&resource, &reading, &health, false)
        .map_err(|error| Failure::Input(error.to_string()))?;
    let (sender, inventories) = watch::channel(Arc::new(inventory));
    let resource_name = resource.name.clone();
    tokio::spawn(cancel.clone().run_until_cancelled_owned(follow(resource, states, sender)));
    let options = ServeOptions { folder: arguments.folder, resource_name };
    serve(&options, inventories, allocation, cancel).await.map_err(|error| Failure::Input(error.to_string()))
}

/// Waits for the first reading, as long as it takes: a driver may come up after its node. None if the reader is over.
async fn first_reading(states: &mut watch::Receiver<State>) -> Option<Arc<Reading>> {
    states.wait_for(|state| state.reading.is_some()).await.ok()?.reading.clone()
}

fn cdi_names(arguments: &Arguments, reading: &Reading) -> Result<BTreeMap<String, String>, Failure> {
    let kind = &arguments.cdi_kind;
    if arguments.cdi_existing {
        let folders = [arguments.cdi_folder.clone(), PathBuf::from("/etc/cdi")];
        return cdi::find(kind, &folders, reading).map_err(|error| Failure::Input(error.to_string()));
    }
    let extras = Extras { mounts: arguments.mount.clone(), env: arguments.env.clone() };
    let files = cdi::driver_files(&arguments.driver_root);
    let specification = cdi::generate(kind, reading, &files, &extras);
    let path = cdi::write(&specification, &arguments.cdi_folder).map_err(|error| {
        Failure::Other(format!("{}: {error}; give another --cdi-folder", arguments.cdi_folder.display()))
    })?;
    info!("wrote {}: {} devices", path.display(), specification.devices.len());
    let name = |device: &cdi::Device| (device.name.clone(), format!("{kind}={}", device.name));
    Ok(specification.devices.iter().map(name).collect())
}

/// Advertises anew whatever changes.
async fn follow(
    resource: Resource,
    mut states: watch::Receiver<State>,
    sender: watch::Sender<Arc<Inventory>>,
) {
    while states.changed().await.is_ok() {
        let State { reading, health, failure } = states.borrow_and_update().clone();
        let Some(reading) = reading else { continue };
        let before = sender.borrow().clone();
        match Inventory::new(&resource, &reading, &health, failure.is_some()) {
            Ok(inventory) => {
                let inventory = inventory.after(&before);
                sender.send_if_modified(|current| {
                    let changed = **current != inventory;
                    if changed {
                        *current = Arc::new(inventory.clone());
                    }
                    changed
                });
            }
            Err(error) => error!("what is advertised stays as it was: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_variables_are_checked() {
        assert_eq!(mount("/a:/b:ro").expect("a mount").options[0], "ro");
        for text in ["/a", "a:/b", "/a:b", "/a:/b:x", "/a:/b:ro:z"] {
            assert!(mount(text).is_err(), "{text}");
        }
        assert!(variable("A=").is_ok() && variable("=b").is_err() && variable("A").is_err());
    }
}
