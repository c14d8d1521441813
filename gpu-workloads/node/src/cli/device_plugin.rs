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
use crate::driver::{Device, Reader, Reading, State};

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
    let mut names = Names::new(&arguments);
    names.cover(&reading)?;
    let (allocation_sender, allocations) = watch::channel(Arc::new(names.allocation.clone()));
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

/// Waits for the first reading, as long as it takes: a driver may come up after its node. None if the reader is over.
async fn first_reading(states: &mut watch::Receiver<State>) -> Option<Arc<Reading>> {
    states.wait_for(|state| state.reading.is_some()).await.ok()?.reading.clone()
}

/// The names of devices in the Container Device Interface, for all that were seen since the start.
struct Names {
    kind: String,
    folder: PathBuf,
    existing: bool,
    driver_root: PathBuf,
    extras: Extras,
    /// Each device as it was seen last. One that is away keeps its name, since containers that have it may start anew.
    seen: BTreeMap<String, Device>,
    allocation: Allocation,
}

impl Names {
    fn new(arguments: &Arguments) -> Self {
        Self {
            kind: arguments.cdi_kind.clone(),
            folder: arguments.cdi_folder.clone(),
            existing: arguments.cdi_existing,
            driver_root: arguments.driver_root.clone(),
            extras: Extras { mounts: arguments.mount.clone(), env: arguments.env.clone() },
            seen: BTreeMap::new(),
            allocation: Allocation {
                cdi_names: BTreeMap::new(),
                list_variable: arguments.list_variable.clone(),
            },
        }
    }

    /// Sees to it that every device of a reading has a name, and says whether that is news.
    fn cover(&mut self, reading: &Reading) -> Result<bool, Failure> {
        if reading.devices.iter().all(|device| self.allocation.cdi_names.contains_key(&device.uuid)) {
            return Ok(false);
        }
        let mut seen = self.seen.clone();
        seen.extend(reading.devices.iter().map(|device| (device.uuid.clone(), device.clone())));
        let mut devices: Vec<Device> = seen.values().cloned().collect();
        devices.sort_by_key(|device| device.index);
        self.allocation.cdi_names = self.names(&Reading { devices, ..reading.clone() })?;
        self.seen = seen;
        Ok(true)
    }

    fn names(&self, reading: &Reading) -> Result<BTreeMap<String, String>, Failure> {
        let kind = &self.kind;
        if self.existing {
            let folders = [self.folder.clone(), PathBuf::from("/etc/cdi")];
            return cdi::find(kind, &folders, reading).map_err(|error| Failure::Input(error.to_string()));
        }
        let files = cdi::driver_files(&self.driver_root);
        let specification = cdi::generate(kind, reading, &files, &self.extras);
        let path = cdi::write(&specification, &self.folder).map_err(|error| {
            Failure::Other(format!("{}: {error}; give another --cdi-folder", self.folder.display()))
        })?;
        info!("wrote {}: {} devices", path.display(), specification.devices.len());
        let name = |device: &cdi::Device| (device.name.clone(), format!("{kind}={}", device.name));
        Ok(specification.devices.iter().map(name).collect())
    }
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
            Ok(true) => drop(allocations.send_replace(Arc::new(names.allocation.clone()))),
            Ok(false) => {}
            Err(error) => {
                error!("a device is not advertised: {error}");
                let named = &names.allocation.cdi_names;
                Arc::make_mut(&mut reading).devices.retain(|device| named.contains_key(&device.uuid));
            }
        }
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
