//! Where the driver's libraries and device nodes are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that the dynamic loader knows without being told, and those that distributions put drivers into.
const FOLDERS: [&str; 8] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
];

/// The libraries that a program needs that computes or asks for the state of devices, without their versions.
const LIBRARIES: [&str; 9] = [
    "libcuda",
    "libcudadebugger",
    "libnvidia-ml",
    "libnvidia-cfg",
    "libnvidia-gpucomp",
    "libnvidia-nvvm",
    "libnvidia-nvvm70",
    "libnvidia-opencl",
    "libnvidia-ptxjitcompiler",
];

/// The device nodes that belong to no single device.
const DEVICE_NODES: [&str; 4] =
    ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"];

/// A driver's files on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverFiles {
    /// The libraries, under every name that they have.
    pub libraries: Vec<PathBuf>,
    /// The device nodes that every container with a device needs.
    pub device_nodes: Vec<PathBuf>,
}

/// Finds a driver's files below a root: `/`, or where the machine's root is mounted. The paths are those below that root.
#[must_use]
pub fn driver_files(root: &Path) -> DriverFiles {
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    folders.extend(loader_folders(root, Path::new("/etc/ld.so.conf"), 0));
    let mut libraries: BTreeMap<String, PathBuf> = BTreeMap::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(below(root, &folder)) else { continue };
        for entry in entries.filter_map(Result::ok) {
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            // One that leads nowhere can not be mounted.
            if is_driver_library(&name) && entry.path().exists() {
                libraries.entry(name.clone()).or_insert_with(|| folder.join(name));
            }
        }
    }
    let device_nodes =
        DEVICE_NODES.iter().map(PathBuf::from).filter(|path| below(root, path).exists()).collect();
    DriverFiles { libraries: libraries.into_values().collect(), device_nodes }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether it is one of the libraries, with a version in numbers behind it.
fn is_driver_library(name: &str) -> bool {
    let Some((library, version)) = name.split_once(".so.") else { return false };
    LIBRARIES.contains(&library)
        && version.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The folders in the dynamic loader's configuration, which may include further files.
fn loader_folders(root: &Path, file: &Path, depth: u32) -> Vec<PathBuf> {
    const DEEPEST: u32 = 4;
    let Ok(text) = fs::read_to_string(below(root, file)) else { return Vec::new() };
    let mut folders = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include ") {
            if depth < DEEPEST {
                for included in matching(root, Path::new(pattern.trim())) {
                    folders.extend(loader_folders(root, &included, depth + 1));
                }
            }
        } else if line.starts_with('/') {
            folders.push(line.into());
        }
    }
    folders
}

/// The files that a pattern such as `/etc/ld.so.conf.d/*.conf` stands for, in the order of their names.
fn matching(root: &Path, pattern: &Path) -> Vec<PathBuf> {
    let folder = Path::new("/etc").join(pattern.parent().unwrap_or(Path::new("")));
    let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((before, after)) = name.split_once('*') else { return vec![folder.join(name)] };
    let Ok(entries) = fs::read_dir(below(root, &folder)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str().map(str::to_owned))
        .filter(|file| {
            file.len() >= before.len() + after.len() && file.starts_with(before) && file.ends_with(after)
        })
        .map(|file| folder.join(file))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_name_and_version() {
        for name in ["libcuda.so.1", "libcuda.so.580.159", "libnvidia-nvvm.so.4"] {
            assert!(is_driver_library(name), "{name}");
        }
        for name in ["libcuda.so", "libcuda.so.", "libcuda.so.1.bak", "libcudart.so.12", "libc.so.6", ""] {
            assert!(!is_driver_library(name), "{name}");
        }
    }

    #[test]
    fn folders_of_the_loader_are_looked_into() {
        let root = tempfile::tempdir().expect("a folder");
        let make = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("a file");
        };
        make("etc/ld.so.conf", "# comment\ninclude ld.so.conf.d/*.conf\ninclude /etc/ld.so.conf\n");
        make("etc/ld.so.conf.d/driver.conf", "/opt/driver/lib # here\n");
        make("etc/ld.so.conf.d/driver.txt", "/opt/other\n");
        make("opt/driver/lib/libcuda.so.580.1", "");
        make("opt/driver/lib/libcudart.so.12", "");
        make("opt/other/libcuda.so.1", "");
        make("usr/lib64/libnvidia-ml.so.1", "");
        make("dev/nvidiactl", "");
        std::os::unix::fs::symlink("nowhere", root.path().join("usr/lib64/libcuda.so.1")).expect("a link");
        assert_eq!(
            driver_files(root.path()),
            DriverFiles {
                libraries: vec![
                    "/opt/driver/lib/libcuda.so.580.1".into(),
                    "/usr/lib64/libnvidia-ml.so.1".into()
                ],
                device_nodes: vec!["/dev/nvidiactl".into()],
            }
        );
    }
}
