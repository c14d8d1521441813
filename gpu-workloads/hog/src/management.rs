//! NVML: what the driver says of devices beside CUDA. Everything works without it, and says what it could not tell then.

use std::path::{Path, PathBuf};

use nvml_wrapper::Nvml;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;

use crate::driver;

/// The name under which NVML is found.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// Why there is no NVML to work with.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// This program can load nothing.
    #[error("this program is static and can not load NVML; gpu-workloads/build makes one that can")]
    Static,
    /// There is no library.
    #[error("NVML is not installed: {path}: {why}; --nvml-library names another")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the loader says.
        why: String,
    },
    /// A simulated one beside a real driver, or the other way round.
    #[error(
        "{path}: one of CUDA's driver and NVML is the simulated one, and the other is not; name the same library for both"
    )]
    Mixed {
        /// Where NVML was found.
        path: PathBuf,
    },
    /// It does not start, or refuses.
    #[error("NVML: {error}; {remedy}")]
    Refused {
        /// What it answered.
        error: NvmlError,
        /// What to do.
        remedy: &'static str,
    },
}

/// NVML, started.
#[derive(Debug)]
pub struct Management {
    nvml: Nvml,
    /// Whether it is the simulated one.
    pub simulated: bool,
}

/// What NVML says of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Facts {
    /// Its UUID as NVML writes it: `GPU-` or, of a MIG device, `MIG-`.
    pub uuid: String,
    /// Its product name.
    pub name: Option<String>,
    /// Its place on the PCI bus.
    pub bus_id: Option<String>,
    /// All of its memory, what the driver keeps for itself among it, in bytes.
    pub memory: Option<u64>,
    /// What is free of it, in bytes.
    pub free: Option<u64>,
    /// Whether ECC is on.
    pub ecc: Option<bool>,
    /// Uncorrected ECC errors since the driver was loaded.
    pub ecc_uncorrected: Option<u64>,
    /// Corrected ECC errors since the driver was loaded.
    pub ecc_corrected: Option<u64>,
    /// Whether it is in MIG mode.
    pub mig: Option<bool>,
    /// The processes that compute on it.
    pub processes: Option<Vec<Process>>,
}

/// A process that computes on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Process {
    /// Its process id, as the driver sees it.
    pub pid: u32,
    /// What it holds of the device in bytes, its context among it; `None` when the driver does not say.
    pub used: Option<u64>,
}

impl Management {
    /// Starts the machine's NVML, or the library that is named. `simulated` says of which kind CUDA's driver is, if there is
    /// one: they belong together.
    ///
    /// # Errors
    ///
    /// When there is none that works, with what to do.
    pub fn start(library: Option<&Path>, simulated: Option<bool>) -> Result<Management, ManagementError> {
        if cfg!(target_feature = "crt-static") {
            return Err(ManagementError::Static);
        }
        let path = library.unwrap_or(Path::new(LIBRARY));
        let loaded =
            driver::load(path).map_err(|why| ManagementError::Missing { path: path.to_owned(), why })?;
        let is_simulated = driver::is_simulated(loaded);
        if simulated.unwrap_or(library.is_some() && is_simulated) != is_simulated {
            return Err(ManagementError::Mixed { path: path.to_owned() });
        }
        let nvml = Nvml::builder().lib_path(path.as_os_str()).init().map_err(refused)?;
        Ok(Management { nvml, simulated: is_simulated })
    }

    /// The driver's version, such as `580.159.03`.
    ///
    /// # Errors
    ///
    /// When NVML refuses.
    pub fn driver_version(&self) -> Result<String, ManagementError> {
        self.nvml.sys_driver_version().map_err(refused)
    }

    /// What NVML says of all devices.
    ///
    /// # Errors
    ///
    /// When NVML refuses.
    pub fn devices(&self) -> Result<Vec<Result<Facts, ManagementError>>, ManagementError> {
        let count = self.nvml.device_count().map_err(refused)?;
        let facts = |index| Ok(facts(&self.nvml.device_by_index(index).map_err(refused)?));
        Ok((0..count).map(facts).collect())
    }

    /// What NVML says of one device; `uuid` may be of a MIG device that CUDA gives without saying so.
    pub fn device(&self, uuid: &str) -> Option<Facts> {
        self.find(uuid).map(|device| facts(&device))
    }

    /// Bytes that this process holds of a device, its context among them; `None` when NVML does not say, as in a container
    /// with process ids of its own.
    pub fn own(&self, uuid: &str) -> Option<u64> {
        let own = std::process::id();
        processes(&self.find(uuid)?)?.iter().find(|process| process.pid == own)?.used
    }

    fn find(&self, uuid: &str) -> Option<nvml_wrapper::Device<'_>> {
        let device = self.nvml.device_by_uuid(uuid);
        device.or_else(|_| self.nvml.device_by_uuid(uuid.replacen("GPU-", "MIG-", 1))).ok()
    }
}

fn facts(device: &nvml_wrapper::Device<'_>) -> Facts {
    // The processes first: what one held that ends in between is free then, and nobody's in the other order.
    let processes = processes(device);
    let memory = device.memory_info().ok();
    let errors = |kind| device.total_ecc_errors(kind, EccCounter::Volatile).ok();
    Facts {
        uuid: device.uuid().unwrap_or_default(),
        name: device.name().ok(),
        bus_id: device.pci_info().ok().map(|info| info.bus_id),
        memory: memory.as_ref().map(|memory| memory.total),
        free: memory.as_ref().map(|memory| memory.free),
        ecc: device.is_ecc_enabled().ok().map(|state| state.currently_enabled),
        ecc_uncorrected: errors(MemoryError::Uncorrected),
        ecc_corrected: errors(MemoryError::Corrected),
        mig: device.mig_mode().ok().map(|mode| mode.current == MIG_ENABLED),
        processes,
    }
}

/// `NVML_DEVICE_MIG_ENABLE`.
const MIG_ENABLED: u32 = 1;

fn processes(device: &nvml_wrapper::Device<'_>) -> Option<Vec<Process>> {
    let processes = device.running_compute_processes().ok()?;
    let process = |info: nvml_wrapper::struct_wrappers::device::ProcessInfo| Process {
        pid: info.pid,
        used: match info.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
    };
    Some(processes.into_iter().map(process).collect())
}

fn refused(error: NvmlError) -> ManagementError {
    let remedy = match error {
        NvmlError::DriverNotLoaded => "is the nvidia kernel module loaded, and is a GPU in the machine?",
        NvmlError::NoPermission => "may this user open /dev/nvidiactl?",
        NvmlError::LibRmVersionMismatch => {
            "the driver's library and its kernel module are of different versions; restart the machine after an update"
        }
        NvmlError::GpuLost => {
            "the GPU fell off the bus: see the kernel's log for Xid 79, and reset it or restart the machine"
        }
        _ => "see nvidia-smi and the kernel's log for NVRM",
    };
    ManagementError::Refused { error, remedy }
}
