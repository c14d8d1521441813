//! How devices and driver files reach containers, for every command that hands out devices.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tracing::info;

use super::Failure;
use super::resource::resource_name;
use crate::cdi::{self, Extras, Mount};
use crate::driver::{Device, Reading};

/// The Container Device Interface.
#[derive(Clone, Debug, Args)]
pub(super) struct CdiArguments {
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

/// The names of devices in the Container Device Interface, for all that were seen since the start.
pub(super) struct Names {
    arguments: CdiArguments,
    /// Each device as it was seen last. One that is away keeps its name, since containers that have it may start anew.
    seen: BTreeMap<String, Device>,
    known: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn new(arguments: CdiArguments) -> Self {
        Self { arguments, seen: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// The qualified name of each device, by its uuid.
    pub(super) fn known(&self) -> &BTreeMap<String, String> {
        &self.known
    }

    /// Sees to it that every device of a reading has a name, and says whether that is news.
    pub(super) fn cover(&mut self, reading: &Reading) -> Result<bool, Failure> {
        if reading.devices.iter().all(|device| self.known.contains_key(&device.uuid)) {
            return Ok(false);
        }
        let mut seen = self.seen.clone();
        seen.extend(reading.devices.iter().map(|device| (device.uuid.clone(), device.clone())));
        let mut devices: Vec<Device> = seen.values().cloned().collect();
        devices.sort_by_key(|device| device.index);
        self.known = self.names(&Reading { devices, ..reading.clone() })?;
        self.seen = seen;
        Ok(true)
    }

    /// Takes devices that have no name out of a reading: nobody could be given them.
    pub(super) fn leave_out_unnamed(&self, reading: &mut Arc<Reading>) {
        Arc::make_mut(reading).devices.retain(|device| self.known.contains_key(&device.uuid));
    }

    fn names(&self, reading: &Reading) -> Result<BTreeMap<String, String>, Failure> {
        let CdiArguments { cdi_kind: kind, cdi_folder: folder, .. } = &self.arguments;
        if self.arguments.cdi_existing {
            let folders = [folder.clone(), PathBuf::from("/etc/cdi")];
            return cdi::find(kind, &folders, reading).map_err(|error| Failure::Input(error.to_string()));
        }
        let files = cdi::driver_files(&self.arguments.driver_root);
        let extras = Extras { mounts: self.arguments.mount.clone(), env: self.arguments.env.clone() };
        let specification = cdi::generate(kind, reading, &files, &extras);
        let path = cdi::write(&specification, folder).map_err(|error| {
            Failure::Other(format!("{}: {error}; give another --cdi-folder", folder.display()))
        })?;
        info!("wrote {}: {} devices", path.display(), specification.devices.len());
        let name = |device: &cdi::Device| (device.name.clone(), format!("{kind}={}", device.name));
        Ok(specification.devices.iter().map(name).collect())
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
