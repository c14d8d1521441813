//! Our own specification.

use std::fs;
use std::io;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::driver_files::DriverFiles;
use super::specification::{Device, DeviceNode, Edits, Mount, Specification, VERSION};
use crate::driver::Reading;

/// Where the driver's libraries are in a container. The folder is in no image, so nothing of an image is hidden.
const LIBRARY_FOLDER: &str = "/usr/lib/plimsoll-gpu";

/// What else every container with a device gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Environment variables: `NAME=VALUE`.
    pub env: Vec<String>,
}

/// A specification for the devices of a reading, each under its uuid. A simulated driver has no device nodes; all that it has comes
/// with the extras.
#[must_use]
pub fn generate(kind: &str, reading: &Reading, files: &DriverFiles, extras: &Extras) -> Specification {
    let device = |device: &crate::driver::Device| {
        let nodes = if reading.simulated { None } else { device.minor };
        let container_edits = Edits {
            // A device without edits is refused, and a container can see from it what it has.
            env: vec![format!("PLIMSOLL_GPU_{}={}", device.index, device.uuid)],
            device_nodes: nodes
                .map(|minor| DeviceNode { path: format!("/dev/nvidia{minor}") })
                .into_iter()
                .collect(),
            mounts: Vec::new(),
        };
        Device { name: device.uuid.clone(), container_edits }
    };
    let library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Mount {
            host_path: path.to_string_lossy().into_owned(),
            container_path: format!("{LIBRARY_FOLDER}/{name}"),
            options: ["ro", "nosuid", "nodev", "rbind", "rprivate"].map(str::to_owned).into(),
        }
    };
    let mut edits = Edits::default();
    if !reading.simulated {
        edits.device_nodes = files
            .device_nodes
            .iter()
            .map(|path| DeviceNode { path: path.to_string_lossy().into_owned() })
            .collect();
        edits.mounts = files.libraries.iter().map(library).collect();
        if !edits.mounts.is_empty() {
            edits.env.push(format!("LD_LIBRARY_PATH={LIBRARY_FOLDER}"));
        }
    }
    if reading.simulated {
        edits.env.push("PLIMSOLL_GPU_STAMP=SIMULATED".to_owned());
    }
    edits.mounts.extend(extras.mounts.iter().cloned());
    edits.env.extend(extras.env.iter().cloned());
    Specification {
        cdi_version: VERSION.to_owned(),
        kind: kind.to_owned(),
        devices: reading.devices.iter().map(device).collect(),
        container_edits: edits,
    }
}

/// Writes a specification into a folder that the container runtime looks into, at once and whole, and says where. The name of the file is
/// the kind, as the interface recommends.
///
/// # Errors
/// What the filesystem says.
pub fn write(specification: &Specification, folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let name = specification.kind.replace('/', "-");
    let path = folder.join(format!("{name}.json"));
    // Runtimes look at .json and .yaml only, so a half-written file is none yet.
    let temporary = folder.join(format!("{name}.json.{}.new", std::process::id()));
    let text = serde_json::to_vec_pretty(specification)?;
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver;

    fn reading(simulated: bool) -> Reading {
        let device = driver::Device {
            index: 0,
            uuid: "GPU-a".to_owned(),
            name: "A".to_owned(),
            minor: Some(3),
            numa_node: None,
            memory_total: 1,
            memory_used: 0,
            processes: Vec::new(),
        };
        Reading {
            time: jiff::Timestamp::UNIX_EPOCH,
            driver_version: "1".to_owned(),
            simulated,
            devices: vec![device],
        }
    }

    fn files() -> DriverFiles {
        DriverFiles {
            libraries: vec!["/lib/x/libcuda.so.1".into()],
            device_nodes: vec!["/dev/nvidiactl".into()],
        }
    }

    #[test]
    fn a_driver_gives_its_nodes_and_libraries() {
        let specification = generate("example.com/gpu", &reading(false), &files(), &Extras::default());
        assert_eq!(
            serde_json::to_value(&specification).expect("JSON"),
            serde_json::json!({
                "cdiVersion": "0.5.0",
                "kind": "example.com/gpu",
                "devices": [{"name": "GPU-a", "containerEdits": {
                    "env": ["PLIMSOLL_GPU_0=GPU-a"],
                    "deviceNodes": [{"path": "/dev/nvidia3"}],
                }}],
                "containerEdits": {
                    "env": ["LD_LIBRARY_PATH=/usr/lib/plimsoll-gpu"],
                    "deviceNodes": [{"path": "/dev/nvidiactl"}],
                    "mounts": [{
                        "hostPath": "/lib/x/libcuda.so.1",
                        "containerPath": "/usr/lib/plimsoll-gpu/libcuda.so.1",
                        "options": ["ro", "nosuid", "nodev", "rbind", "rprivate"],
                    }],
                },
            })
        );
    }

    #[test]
    fn a_simulated_driver_gives_what_is_configured_and_nothing_of_the_machine() {
        let mount = Mount {
            host_path: "/s/state".to_owned(),
            container_path: "/state".to_owned(),
            options: vec!["rw".to_owned()],
        };
        let extras = Extras { mounts: vec![mount.clone()], env: vec!["A=b".to_owned()] };
        let specification = generate("example.com/gpu", &reading(true), &files(), &extras);
        assert!(specification.devices[0].container_edits.device_nodes.is_empty());
        assert_eq!(
            specification.container_edits,
            Edits {
                env: vec!["PLIMSOLL_GPU_STAMP=SIMULATED".to_owned(), "A=b".to_owned()],
                device_nodes: Vec::new(),
                mounts: vec![mount]
            }
        );
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let specification = generate("example.com/gpu", &reading(true), &files(), &Extras::default());
        for _ in 0..2 {
            let path = write(&specification, &folder.path().join("cdi")).expect("written");
            assert!(path.ends_with("cdi/example.com-gpu.json"));
            let read: Specification =
                serde_json::from_slice(&fs::read(&path).expect("the file")).expect("a specification");
            assert_eq!(read, specification);
        }
        assert_eq!(fs::read_dir(folder.path().join("cdi")).expect("the folder").count(), 1);
    }
}
