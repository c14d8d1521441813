//! The file that describes a simulated node. It may be changed while programs run: every call reads it anew if it
//! is another file or another time of change, so faults are injected by writing it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The environment variable that names the folder of a simulated node.
pub const FOLDER: &str = "PLIMSOLL_SIMULATED_NODE";
/// The name of the description in that folder.
pub const FILE: &str = "node.json";

/// A node with devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// The version of the driver, such as `580.159.03`.
    pub driver_version: String,
    /// The newest CUDA version that the driver knows, such as 13000 for 13.0.
    pub cuda_version: i32,
    /// Its devices, by index.
    pub devices: Vec<Device>,
    /// The code that `cuInit` answers instead of 0: 100 no device, 304 no permission, 803 versions do not match.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cuda_init: i32,
    /// The code that `nvmlInit` answers instead of 0: 4 no permission, 9 driver not loaded, 18 versions do not match.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nvml_init: u32,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Its product name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Its identifier, `GPU-` and a UUID.
    pub uuid: String,
    /// Memory in bytes, as CUDA counts it.
    pub memory: u64,
    /// What a context takes of it, in bytes.
    #[serde(default = "context_memory")]
    pub context_memory: u64,
    /// What the driver keeps for itself, in bytes. NVML's total is `memory` and this.
    #[serde(default)]
    pub reserved_memory: u64,
    /// How fast memory is written, in bytes a second.
    pub memory_bandwidth: u64,
    /// The number of multiprocessors.
    pub multiprocessors: i32,
    /// Compute capability, such as `[9, 0]`.
    pub compute_capability: [i32; 2],
    /// Its place on the PCI bus, such as `00000000:18:00.0`.
    pub bus_id: String,
    /// Whether ECC is on; `None` where the device has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc: Option<bool>,
    /// Whether MIG is on; `None` where the device has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<bool>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub faults: Faults,
}

/// What is wrong with a device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Faults {
    /// It fell off the bus. CUDA answers that a launch failed, NVML that the device is lost.
    pub lost: bool,
    /// Another process has it for itself: no new context.
    pub busy: bool,
    /// It lets nobody listen for its errors: NVML answers an unknown error to whoever asks for events.
    pub events_refused: bool,
    /// Xid errors so far. An event is delivered for each that is added.
    pub xids: Vec<u64>,
    /// Corrected ECC errors since the driver was loaded.
    pub ecc_corrected: u64,
    /// Uncorrected ECC errors since the driver was loaded. Every context made before the last of them is unusable.
    pub ecc_uncorrected: u64,
    /// Bytes that do not keep what is written.
    pub flipped: Vec<Flip>,
    /// Bytes that a free leaves taken, until the process ends: a leak of the driver.
    pub leak: u64,
    /// How many times slower memory is than described.
    pub slower: Option<u32>,
    /// How long NVML takes to find the processes on it, in milliseconds.
    pub slow_processes: u64,
}

/// A byte that does not keep what is written. Where an allocation lies is a process's own matter on this driver, so the
/// place counts from the start of the process's addresses of the device, not of the device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Flip {
    /// The byte's place.
    pub at: u64,
    /// The bits that read back inverted.
    pub mask: u8,
}

fn context_memory() -> u64 {
    512 << 20
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Node {
    /// Reads the description of the node in `folder`.
    ///
    /// # Errors
    ///
    /// When the file can not be read, or is not a description.
    pub fn read(folder: &Path) -> io::Result<Node> {
        let path = folder.join(FILE);
        let refuse =
            |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let node: Node = serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        for (index, device) in node.devices.iter().enumerate() {
            if uuid_bytes(&device.uuid).is_none() {
                return Err(refuse(format!(
                    "devices[{index}].uuid: '{}' is not GPU- and a UUID, such as GPU-00000000-0000-4000-8000-000000000000",
                    device.uuid
                )));
            }
            if device.memory_bandwidth == 0 {
                return Err(refuse(format!("devices[{index}].memoryBandwidth: it must be more than 0")));
            }
        }
        Ok(node)
    }

    /// Writes the description of the node in `folder`, all at once.
    ///
    /// # Errors
    ///
    /// When the folder can not be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let fresh: PathBuf = folder.join(format!(".{FILE}.{}", std::process::id()));
        std::fs::write(&fresh, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&fresh, folder.join(FILE))
    }

    /// A node with `count` devices like an H100 SXM.
    pub fn with_h100(count: u8) -> Node {
        let device = |index: u8| Device {
            name: "NVIDIA H100 80GB HBM3".to_owned(),
            uuid: format!("GPU-5107a7ed-0000-4000-8000-0000000000{index:02x}"),
            memory: 81_079 << 20,
            context_memory: context_memory(),
            reserved_memory: 480 << 20,
            memory_bandwidth: 2_945 << 30,
            multiprocessors: 132,
            compute_capability: [9, 0],
            bus_id: format!("00000000:{:02X}:00.0", 0x18 + index),
            ecc: Some(true),
            mig: Some(false),
            faults: Faults::default(),
        };
        Node {
            driver_version: "580.159.03".to_owned(),
            cuda_version: 13_000,
            devices: (0..count).map(device).collect(),
            cuda_init: 0,
            nvml_init: 0,
        }
    }
}

/// The bytes of `GPU-` and a UUID.
pub fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.strip_prefix("GPU-")?.split('-').collect();
    if !digits.is_ascii() || digits.len() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(place * 2..place * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut node = Node::with_h100(2);
        node.devices[1].faults.flipped.push(Flip { at: 5, mask: 0x80 });
        node.write(folder.path()).unwrap();
        assert_eq!(Node::read(folder.path()).unwrap(), node);
    }

    #[test]
    fn what_is_wrong_with_a_description_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Node::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("node.json: No such file"), "{error}");
        let mut node = Node::with_h100(1);
        node.devices[0].uuid = "GPU-1".to_owned();
        node.write(folder.path()).unwrap();
        let error = Node::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("devices[0].uuid: 'GPU-1' is not GPU- and a UUID"), "{error}");
    }
}
