//! NVML, asked for devices, memory, processes and errors.

#![expect(unsafe_code, reason = "a driver is a library of C functions")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nvml_wrapper::Nvml;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::event::EventSet;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;

use crate::report::{Device, Event, Process, Reading, Unwatched};

/// Where the driver's installation puts the library, for the dynamic loader to find.
pub const LIBRARY: &str = "libnvidia-ml.so.1";
/// The symbol by which the simulated driver is known.
const SIMULATED: &[u8] = b"plimsollSimulatedDriver\0";
/// NVML's number for an error that it has no number for.
const UNKNOWN_XID: u64 = 999;

/// Why the driver can not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// This program can load nothing.
    #[error("this program is static and can not load a driver; gpu-workloads/build makes one that can")]
    Static,
    /// The library can not be loaded.
    #[error(
        "{path}: {}; install the NVIDIA driver or mount its libraries, or name the library with --library",
        cause(.error)
    )]
    Load {
        /// Its path or name.
        path: String,
        /// What the loader says.
        error: libloading::Error,
    },
    /// NVML does not start.
    #[error("{path}: NVML does not start: {error}")]
    Start {
        /// Its path or name.
        path: String,
        /// What it says.
        error: NvmlError,
    },
    /// A simulated driver stands where the machine's own should.
    #[error("the library that was found is the simulated driver's; it is used only when --library names it")]
    SimulatedUnasked,
    /// A question that concerns no single device.
    #[error("{call}: {error}")]
    Call {
        /// The question.
        call: &'static str,
        /// The answer.
        error: NvmlError,
    },
}

/// What the dynamic loader says, which is the cause and not the error itself.
fn cause(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// NVML, started.
#[derive(Debug)]
pub struct Management {
    nvml: Nvml,
    driver_version: String,
    simulated: bool,
}

/// Critical errors of devices, as they come.
#[derive(Debug)]
pub struct Errors<'a> {
    set: Option<EventSet<'a>>,
    /// The devices that were there when listening began.
    known: BTreeSet<String>,
    /// Those of them whose errors can not be heard.
    unwatched: Vec<Unwatched>,
}

impl Management {
    /// Loads NVML: the library that is named, or the machine's own.
    ///
    /// # Errors
    /// [`ManagementError`].
    pub fn load(library: Option<&Path>) -> Result<Self, ManagementError> {
        if cfg!(target_feature = "crt-static") {
            return Err(ManagementError::Static);
        }
        let name = library.unwrap_or(Path::new(LIBRARY));
        let path = name.display().to_string();
        let simulated =
            is_simulated(name).map_err(|error| ManagementError::Load { path: path.clone(), error })?;
        if simulated && library.is_none() {
            return Err(ManagementError::SimulatedUnasked);
        }
        let nvml = Nvml::builder()
            .lib_path(name.as_os_str())
            .init()
            .map_err(|error| ManagementError::Start { path, error })?;
        let driver_version = nvml
            .sys_driver_version()
            .map_err(|error| ManagementError::Call { call: "nvmlSystemGetDriverVersion", error })?;
        Ok(Self { nvml, driver_version, simulated })
    }

    /// All devices that can be asked. One that can not, such as one that fell off the bus, is left out and named in the list beside.
    ///
    /// # Errors
    /// [`ManagementError::Call`] if nobody can say how many there are.
    pub fn read(&self) -> Result<(Reading, Vec<String>), ManagementError> {
        let time = Timestamp::now();
        let count = self
            .nvml
            .device_count()
            .map_err(|error| ManagementError::Call { call: "nvmlDeviceGetCount", error })?;
        let mut devices = Vec::new();
        let mut lost = Vec::new();
        for index in 0..count {
            match self.device(index) {
                Ok(device) => devices.push(device),
                Err(error) => lost.push(format!("device {index}: {error}")),
            }
        }
        let (driver_version, simulated) = (self.driver_version.clone(), self.simulated);
        Ok((Reading { time, driver_version, simulated, devices }, lost))
    }

    fn device(&self, index: u32) -> Result<Device, NvmlError> {
        let device = self.nvml.device_by_index(index)?;
        let lists = [
            device.running_compute_processes(),
            device.running_graphics_processes(),
            device.mps_running_compute_processes(),
        ];
        let mut processes = Vec::new();
        for list in lists {
            match list {
                Ok(list) => processes.extend(list),
                // Not every device and driver tells of every kind.
                Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_)) => {}
                Err(error) => return Err(error),
            }
        }
        // Asked for last: of a process that ends between the two, the memory is given back then, and not nobody's.
        let memory = device.memory_info()?;
        Ok(Device {
            index,
            uuid: device.uuid()?,
            name: device.name()?,
            minor: device.minor_number().ok(),
            numa_node: device.numa_node_id().ok(),
            memory_total: memory.total,
            // What the driver sets aside is nobody's to take, so it counts as used.
            memory_used: memory.total.saturating_sub(memory.free),
            processes: merged(&processes),
        })
    }

    /// Listens for critical errors of all devices that have such events. Those that can not be listened to are named: as in NVIDIA's
    /// device plugin, a device of which nobody would hear is not one to give away.
    #[must_use]
    pub fn errors(&self) -> Errors<'_> {
        let mut errors = Errors { set: None, known: BTreeSet::new(), unwatched: Vec::new() };
        let mut refused = BTreeSet::new();
        let all = |why: NvmlError| Unwatched { uuid: None, why: why.to_string() };
        let count = match self.nvml.device_count() {
            Ok(count) => count,
            Err(error) => {
                errors.unwatched.push(all(error));
                return errors;
            }
        };
        // A registration that is refused takes the whole set along, so it is begun anew without that device.
        'anew: loop {
            let mut set = match self.nvml.create_event_set() {
                Ok(set) => set,
                Err(error) => {
                    errors.unwatched.push(all(error));
                    return errors;
                }
            };
            for index in 0..count {
                if refused.contains(&index) {
                    continue;
                }
                // One that is lost is in no reading either; it is listened to when it is back.
                let Ok(device) = self.nvml.device_by_index(index) else { continue };
                let Ok(uuid) = device.uuid() else { continue };
                errors.known.insert(uuid.clone());
                let registered = match device.supported_event_types() {
                    Ok(types) if !types.contains(EventTypes::CRITICAL_XID_ERROR) => continue,
                    Err(NvmlError::NotSupported) => continue,
                    Err(error) => {
                        refused.insert(index);
                        errors.unwatched.push(Unwatched { uuid: Some(uuid), why: error.to_string() });
                        continue;
                    }
                    Ok(_) => device.register_events(EventTypes::CRITICAL_XID_ERROR, set),
                };
                match registered {
                    Ok(registered) => set = registered,
                    Err(error) => {
                        refused.insert(index);
                        errors.unwatched.push(Unwatched { uuid: Some(uuid), why: error.to_string() });
                        continue 'anew;
                    }
                }
            }
            errors.set = Some(set);
            return errors;
        }
    }
}

impl Errors<'_> {
    /// The devices whose errors can not be heard.
    #[must_use]
    pub fn unwatched(&self) -> &[Unwatched] {
        &self.unwatched
    }

    /// Whether every device of a reading was there when listening began. One that came later is not listened to.
    #[must_use]
    pub fn knows(&self, reading: &Reading) -> bool {
        reading.devices.iter().all(|device| self.known.contains(&device.uuid))
    }

    /// Waits for the next error until a time; none if none came.
    pub fn next(&mut self, until: Instant) -> Option<Event> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let Some(set) = &self.set else {
                std::thread::sleep(left);
                return None;
            };
            // NVML counts milliseconds; one at least, or this would spin.
            let milliseconds = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
            match set.wait(milliseconds) {
                Ok(data) => {
                    let xid = match data.event_data {
                        Some(XidError::Value(xid)) => xid,
                        Some(XidError::Unknown) => UNKNOWN_XID,
                        None => continue,
                    };
                    return Some(Event { uuid: data.device.uuid().ok(), xid });
                }
                Err(NvmlError::Timeout) => return None,
                // One that can not be waited for would be waited for in vain again and again.
                Err(_) => std::thread::sleep(left.min(Duration::from_millis(100))),
            }
        }
    }
}

/// Each process once, with what the list that knows most of it says.
fn merged(processes: &[ProcessInfo]) -> Vec<Process> {
    let mut by_pid: BTreeMap<u32, Option<u64>> = BTreeMap::new();
    for process in processes {
        let used = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        };
        let own = by_pid.entry(process.pid).or_default();
        *own = (*own).max(used);
    }
    by_pid.into_iter().map(|(pid, memory_used)| Process { pid, memory_used }).collect()
}

/// Whether a library is the simulated driver's.
fn is_simulated(path: &Path) -> Result<bool, libloading::Error> {
    // SAFETY: a driver's library is loaded to be used, and what it does when it is loaded is its vendor's matter. It stays
    // loaded for as long as this handle lives, and NVML's own handle is taken after that.
    let library = unsafe { libloading::Library::new(path) }?;
    // SAFETY: the symbol is only looked for, and never called.
    let symbol = unsafe { library.get::<*const ()>(SIMULATED) };
    Ok(symbol.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_several_lists_counts_once() {
        let process = |pid, used_gpu_memory| ProcessInfo {
            pid,
            used_gpu_memory,
            gpu_instance_id: None,
            compute_instance_id: None,
        };
        let processes = [
            process(7, UsedGpuMemory::Used(10)),
            process(3, UsedGpuMemory::Unavailable),
            process(7, UsedGpuMemory::Unavailable),
            process(7, UsedGpuMemory::Used(5)),
        ];
        let expected = [(3, None), (7, Some(10))].map(|(pid, memory_used)| Process { pid, memory_used });
        assert_eq!(merged(&processes), expected);
    }

    #[test]
    fn a_static_program_says_that_it_is_one() {
        let error = Management::load(Some(Path::new("/nowhere.so"))).expect_err("no library").to_string();
        let expected = if cfg!(target_feature = "crt-static") { "is static" } else { "/nowhere.so" };
        assert!(error.contains(expected), "{error}");
    }
}
