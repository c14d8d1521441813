//! What there is: drivers, devices, and what is free of them. One JSON object.

use std::path::Path;

use plimsoll_hog::report::Simulated;
use serde::{Deserialize, Serialize};

use crate::driver::{Device, Driver};
use crate::management::{Facts, Management, ManagementError};

/// The version of the schema, the field `v`.
pub const VERSION: u32 = 1;

/// What there is, as the two libraries say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The schema's version.
    pub v: u32,
    /// `SIMULATED` when no device had a part in this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Simulated>,
    /// What CUDA's driver says, or why it says nothing.
    pub cuda: Told<Cuda>,
    /// What NVML says, or why it says nothing.
    pub nvml: Told<Nvml>,
}

/// What a library says, or why it says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told<T> {
    /// It says this.
    Said(T),
    /// It does not work, and this is why.
    Failed(String),
}

impl<T> Told<T> {
    /// What it says.
    pub fn said(&self) -> Option<&T> {
        match self {
            Told::Said(said) => Some(said),
            Told::Failed(_) => None,
        }
    }
}

/// What CUDA's driver says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cuda {
    /// The newest CUDA version that it knows, such as 13000.
    pub version: i32,
    /// The devices that this process sees.
    pub devices: Vec<CudaDevice>,
}

/// A device as CUDA sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CudaDevice {
    /// Its index.
    pub index: u32,
    /// Its UUID.
    pub uuid: String,
    /// Its product name.
    pub name: String,
    /// Its memory in bytes.
    pub memory: u64,
    /// How many multiprocessors it has.
    pub multiprocessors: u32,
    /// Whether it is used by way of MPS; `None` when the driver does not say.
    pub mps: Option<bool>,
}

/// What NVML says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nvml {
    /// The driver's version.
    pub driver_version: String,
    /// The machine's devices; of one that does not answer, why.
    pub devices: Vec<Told<Facts>>,
}

impl Inventory {
    /// Asks both libraries.
    pub fn take(cuda_library: Option<&Path>, nvml_library: Option<&Path>) -> Inventory {
        let driver = Driver::start(cuda_library);
        let simulated = driver.as_ref().ok().map(|driver| driver.simulated);
        let nvml = Management::start(nvml_library, simulated);
        let is_simulated = simulated == Some(true) || nvml.as_ref().is_ok_and(|nvml| nvml.simulated);
        let cuda = driver.map_err(|error| error.to_string()).and_then(|driver| {
            let devices = driver.devices().map_err(|error| error.to_string())?;
            Ok(Cuda { version: driver.version, devices: devices.into_iter().map(device).collect() })
        });
        let nvml = nvml.and_then(|nvml| {
            let devices = nvml.devices()?.into_iter().map(told).collect();
            Ok(Nvml { driver_version: nvml.driver_version()?, devices })
        });
        Inventory {
            v: VERSION,
            stamp: is_simulated.then_some(Simulated::Simulated),
            cuda: match cuda {
                Ok(cuda) => Told::Said(cuda),
                Err(why) => Told::Failed(why),
            },
            nvml: told(nvml),
        }
    }
}

fn told<T>(said: Result<T, ManagementError>) -> Told<T> {
    match said {
        Ok(said) => Told::Said(said),
        Err(why) => Told::Failed(why.to_string()),
    }
}

fn device(device: Device) -> CudaDevice {
    let Device { index, uuid, name, total, multiprocessors, mps, .. } = device;
    CudaDevice { index, uuid, name, memory: total, multiprocessors, mps }
}
