//! Specifications that somebody else made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::driver::Reading;

/// Why the devices can not be named by the specifications that there are.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    /// No specification of the kind.
    #[error(
        "no specification of kind {kind} in {}; make one with `nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml`, \
         or leave out --cdi-existing for one of our own",
        listed(.folders)
    )]
    Absent {
        /// The kind.
        kind: String,
        /// Where was looked.
        folders: Vec<PathBuf>,
    },
    /// A device that no specification names.
    #[error(
        "device {uuid} (number {index}) is in no specification of kind {kind}; they name {}. Make them again",
        .names.iter().cloned().collect::<Vec<_>>().join(", ")
    )]
    Device {
        /// The kind.
        kind: String,
        /// The device.
        uuid: String,
        /// Its number.
        index: u32,
        /// What there is.
        names: BTreeSet<String>,
    },
}

fn listed(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// As much of a specification as says what is in it. Others may have fields that are not known here.
#[derive(Debug, Deserialize)]
struct Outline {
    kind: String,
    #[serde(default)]
    devices: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// The qualified name of each device of a reading, by its uuid, from the specifications of a kind in these folders.
///
/// # Errors
/// [`CdiError`].
pub fn find(
    kind: &str,
    folders: &[PathBuf],
    reading: &Reading,
) -> Result<BTreeMap<String, String>, CdiError> {
    let outlines = folders.iter().flat_map(|folder| specifications(folder)).filter(|one| one.kind == kind);
    let names: BTreeSet<String> =
        outlines.flat_map(|outline| outline.devices).map(|device| device.name).collect();
    if names.is_empty() {
        return Err(CdiError::Absent { kind: kind.to_owned(), folders: folders.to_vec() });
    }
    qualified(kind, &names, reading)
}

fn specifications(folder: &Path) -> Vec<Outline> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_one =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json" || extension == "yaml");
    let read = |path: PathBuf| match serde_yaml::from_str(&fs::read_to_string(&path).ok()?) {
        Ok(outline) => Some(outline),
        Err(error) => {
            tracing::warn!("{}: no specification of devices: {error}", path.display());
            None
        }
    };
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_one).filter_map(read).collect()
}

/// `nvidia-ctk` names devices by uuid or by number, as it is told.
fn qualified(
    kind: &str,
    names: &BTreeSet<String>,
    reading: &Reading,
) -> Result<BTreeMap<String, String>, CdiError> {
    reading
        .devices
        .iter()
        .map(|device| {
            let candidates = [device.uuid.clone(), device.index.to_string(), format!("gpu{}", device.index)];
            let name =
                candidates.into_iter().find(|name| names.contains(name)).ok_or_else(|| CdiError::Device {
                    kind: kind.to_owned(),
                    uuid: device.uuid.clone(),
                    index: device.index,
                    names: names.clone(),
                })?;
            Ok((device.uuid.clone(), format!("{kind}={name}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Device;

    fn reading(count: u32) -> Reading {
        let device = |index| Device {
            index,
            uuid: format!("GPU-{index}"),
            name: "A".to_owned(),
            minor: None,
            numa_node: None,
            memory_total: 1,
            memory_used: 0,
            processes: Vec::new(),
        };
        Reading {
            time: jiff::Timestamp::UNIX_EPOCH,
            driver_version: "1".to_owned(),
            simulated: false,
            devices: (0..count).map(device).collect(),
        }
    }

    #[test]
    fn devices_are_found_by_uuid_or_number_in_yaml_and_json() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(
            folder.path().join("nvidia.yaml"),
            "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits: {}\n- {name: all}\n",
        )
        .expect("a file");
        fs::write(folder.path().join("b.json"), r#"{"kind":"nvidia.com/gpu","devices":[{"name":"GPU-1"}]}"#)
            .expect("a file");
        fs::write(folder.path().join("broken.json"), "{").expect("a file");
        fs::write(folder.path().join("other.json"), r#"{"kind":"x.y/z","devices":[{"name":"GPU-2"}]}"#)
            .expect("a file");
        let folders = [folder.path().to_owned(), folder.path().join("absent")];
        let names = find("nvidia.com/gpu", &folders, &reading(2)).expect("names");
        assert_eq!(names["GPU-0"], "nvidia.com/gpu=0");
        assert_eq!(names["GPU-1"], "nvidia.com/gpu=GPU-1");
        let error = find("nvidia.com/gpu", &folders, &reading(3)).expect_err("no third device").to_string();
        assert!(error.contains("GPU-2") && error.contains("GPU-1, all"), "{error}");
        let error = find("a.b/c", &folders, &reading(1)).expect_err("no such kind").to_string();
        assert!(error.contains("nvidia-ctk cdi generate"), "{error}");
    }
}
