//! The functions of NVML, by the names and in the form of `nvml.h`.
//!
//! What is asked of every caller is what NVIDIA's reference asks: pointers for answers are valid to write, texts end with
//! a zero, lengths are those of the buffers. A device's handle is its index and one.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlEventData_t, nvmlEventSet_t, nvmlEventTypeDoubleBitEccError,
    nvmlEventTypeSingleBitEccError, nvmlEventTypeXidCriticalError, nvmlMemory_t, nvmlMemory_v2_t,
    nvmlPciInfo_t, nvmlProcessInfo_t, nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST as GPU_IS_LOST,
    nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE as INSUFFICIENT_SIZE,
    nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT as INVALID_ARGUMENT,
    nvmlReturn_enum_NVML_ERROR_NOT_FOUND as NOT_FOUND,
    nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED as NOT_SUPPORTED, nvmlReturn_enum_NVML_ERROR_TIMEOUT as TIMEOUT,
    nvmlReturn_enum_NVML_ERROR_UNINITIALIZED as UNINITIALIZED, nvmlReturn_enum_NVML_ERROR_UNKNOWN as UNKNOWN,
    nvmlReturn_enum_NVML_SUCCESS as SUCCESS, nvmlReturn_t, nvmlUtilization_t,
};

use crate::cuda::write_text;
use crate::node::Device;
use crate::process::{Process, process};

/// How often one who waits for an event looks.
const LOOK: Duration = Duration::from_millis(20);

/// How often NVML was initialized, and the sets of events by handle.
#[derive(Debug)]
struct Library {
    initialized: u32,
    sets: BTreeMap<usize, EventSet>,
    next: usize,
}

/// What a set of events watches: of each device the kinds and how much of each has been delivered.
#[derive(Debug, Default)]
struct EventSet {
    watched: BTreeMap<usize, Watched>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    kinds: u64,
    xids: usize,
    corrected: u64,
    uncorrected: u64,
}

static LIBRARY: Mutex<Library> = Mutex::new(Library { initialized: 0, sets: BTreeMap::new(), next: 1 });

fn library() -> std::sync::MutexGuard<'static, Library> {
    LIBRARY.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Does something with the process's state, if NVML is initialized, and answers its code.
fn with(action: impl FnOnce(&mut Process) -> Result<(), nvmlReturn_t>) -> nvmlReturn_t {
    if library().initialized == 0 {
        return UNINITIALIZED;
    }
    let Ok(mut guard) = process() else { return UNKNOWN };
    match guard.get().map_err(|_| UNKNOWN).and_then(action) {
        Ok(()) => SUCCESS,
        Err(code) => code,
    }
}

/// The same with a device that is there and not lost.
fn with_device(
    handle: nvmlDevice_t,
    action: impl FnOnce(&mut Process, usize, Device) -> Result<(), nvmlReturn_t>,
) -> nvmlReturn_t {
    with(|process| {
        let index = handle.addr().checked_sub(1).ok_or(INVALID_ARGUMENT)?;
        let device = process.device(index).map_err(|_| INVALID_ARGUMENT)?.clone();
        if device.faults.lost {
            return Err(GPU_IS_LOST);
        }
        action(process, index, device)
    })
}

fn answer<T>(into: *mut T, value: T) -> Result<(), nvmlReturn_t> {
    if into.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: The caller of an NVML function gives the address of a variable of the documented type.
    unsafe { into.write(value) };
    Ok(())
}

fn answer_text(text: &str, into: *mut c_char, length: c_uint) -> Result<(), nvmlReturn_t> {
    if into.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    if text.len() >= length as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    write_text(text, into, length as usize);
    Ok(())
}

fn to_handle<T>(number: usize) -> *mut T {
    std::ptr::without_provenance_mut(number)
}

/// Begins. Nothing else works before.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> nvmlReturn_t {
    let mut guard = match process() {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("plimsoll-simulated-driver: {error}");
            return UNKNOWN;
        }
    };
    let Ok(process) = guard.get() else { return UNKNOWN };
    match process.node().nvml_init {
        0 => {
            library().initialized += 1;
            SUCCESS
        }
        code => code,
    }
}

/// The same; the flags play no part.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> nvmlReturn_t {
    nvmlInit_v2()
}

/// Ends one use.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    let mut library = library();
    if library.initialized == 0 {
        return UNINITIALIZED;
    }
    library.initialized -= 1;
    SUCCESS
}

/// A text for a code.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlErrorString(code: nvmlReturn_t) -> *const c_char {
    let text: &CStr = match code {
        SUCCESS => c"Success",
        UNINITIALIZED => c"Uninitialized",
        INVALID_ARGUMENT => c"Invalid Argument",
        NOT_SUPPORTED => c"Not Supported",
        4 => c"Insufficient Permissions",
        NOT_FOUND => c"Not Found",
        INSUFFICIENT_SIZE => c"Insufficient Size",
        9 => c"Driver Not Loaded",
        TIMEOUT => c"Timeout",
        GPU_IS_LOST => c"GPU is lost",
        18 => c"Driver/library version mismatch",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

/// The driver's version.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetDriverVersion(text: *mut c_char, length: c_uint) -> nvmlReturn_t {
    with(|process| answer_text(&process.node().driver_version.clone(), text, length))
}

/// NVML's version: that of the driver, after the newest CUDA version's first number.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetNVMLVersion(text: *mut c_char, length: c_uint) -> nvmlReturn_t {
    with(|process| {
        let node = process.node();
        answer_text(&format!("{}.{}", node.cuda_version / 1000, node.driver_version), text, length)
    })
}

/// The newest CUDA version that the driver knows.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) -> nvmlReturn_t {
    with(|process| answer(version, process.node().cuda_version))
}

/// How many devices there are.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> nvmlReturn_t {
    with(|process| answer(count, process.node().devices.len() as c_uint))
}

/// The handle of a device by index.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut nvmlDevice_t) -> nvmlReturn_t {
    let handle = to_handle(index as usize + 1);
    with_device(handle, |_, _, _| answer(device, handle))
}

fn by(device: *mut nvmlDevice_t, is_it: impl Fn(&Device) -> bool) -> nvmlReturn_t {
    with(|process| {
        let found = process.node().devices.iter().position(is_it).ok_or(NOT_FOUND)?;
        if process.node().devices[found].faults.lost {
            return Err(GPU_IS_LOST);
        }
        answer(device, to_handle(found + 1))
    })
}

/// The handle of a device by UUID.
///
/// # Safety
///
/// `uuid` is a text that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByUUID(
    uuid: *const c_char,
    device: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    if uuid.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: The caller says that a zero ends it.
    let uuid = unsafe { CStr::from_ptr(uuid) };
    by(device, |described| described.uuid.as_bytes() == uuid.to_bytes())
}

/// The handle of a device by its place on the PCI bus.
///
/// # Safety
///
/// `bus_id` is a text that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByPciBusId_v2(
    bus_id: *const c_char,
    device: *mut nvmlDevice_t,
) -> nvmlReturn_t {
    if bus_id.is_null() {
        return INVALID_ARGUMENT;
    }
    // SAFETY: The caller says that a zero ends it.
    let bus_id = unsafe { CStr::from_ptr(bus_id) };
    by(device, |described| described.bus_id.as_bytes().eq_ignore_ascii_case(bus_id.to_bytes()))
}

/// A device's index.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetIndex(device: nvmlDevice_t, into: *mut c_uint) -> nvmlReturn_t {
    with_device(device, |_, index, _| answer(into, index as c_uint))
}

/// The number in the name of a device's file: its index.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMinorNumber(device: nvmlDevice_t, into: *mut c_uint) -> nvmlReturn_t {
    nvmlDeviceGetIndex(device, into)
}

/// A device's product name.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetName(device: nvmlDevice_t, text: *mut c_char, length: c_uint) -> nvmlReturn_t {
    with_device(device, |_, _, described| answer_text(&described.name, text, length))
}

/// A device's UUID.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUUID(device: nvmlDevice_t, text: *mut c_char, length: c_uint) -> nvmlReturn_t {
    with_device(device, |_, _, described| answer_text(&described.uuid, text, length))
}

/// A device's place on the PCI bus.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetPciInfo_v3(device: nvmlDevice_t, into: *mut nvmlPciInfo_t) -> nvmlReturn_t {
    with_device(device, |_, _, described| {
        let part = |range| {
            let digits = described.bus_id.get(range).unwrap_or("0");
            c_uint::from_str_radix(digits, 16).unwrap_or(0)
        };
        // SAFETY: The structure is numbers and arrays of numbers, for which zeros are a value.
        let mut info: nvmlPciInfo_t = unsafe { std::mem::zeroed() };
        (info.domain, info.bus, info.device) = (part(0..8), part(9..11), part(12..14));
        write_text(&described.bus_id, info.busId.as_mut_ptr(), info.busId.len());
        let legacy = described.bus_id.get(4..).unwrap_or_default();
        write_text(legacy, info.busIdLegacy.as_mut_ptr(), info.busIdLegacy.len());
        answer(into, info)
    })
}

/// A device's memory: all, free and used, what the driver keeps for itself among the used.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMemoryInfo(device: nvmlDevice_t, into: *mut nvmlMemory_t) -> nvmlReturn_t {
    with_device(device, |process, index, described| {
        let used = process.used(index).map_err(|_| UNKNOWN)?;
        answer(
            into,
            nvmlMemory_t {
                total: described.memory + described.reserved_memory,
                free: described.memory.saturating_sub(used),
                used: described.reserved_memory + used,
            },
        )
    })
}

/// The same, with what the driver keeps for itself apart.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMemoryInfo_v2(
    device: nvmlDevice_t,
    into: *mut nvmlMemory_v2_t,
) -> nvmlReturn_t {
    with_device(device, |process, index, described| {
        let used = process.used(index).map_err(|_| UNKNOWN)?;
        answer(
            into,
            nvmlMemory_v2_t {
                version: (size_of::<nvmlMemory_v2_t>() | 2 << 24) as c_uint,
                total: described.memory + described.reserved_memory,
                reserved: described.reserved_memory,
                free: described.memory.saturating_sub(used),
                used,
            },
        )
    })
}

/// The processes with a context on a device, and how much of it each holds.
///
/// # Safety
///
/// `count` is valid to read, and `into` to write for as many structures.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    into: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    with_device(device, |process, index, described| {
        if count.is_null() {
            return Err(INVALID_ARGUMENT);
        }
        std::thread::sleep(Duration::from_millis(described.faults.slow_processes));
        let clients = process.clients(index).map_err(|_| UNKNOWN)?;
        // SAFETY: The caller gives the address of a number, the length of the array at `into`.
        let room = unsafe { count.replace(clients.len() as c_uint) };
        if clients.len() > room as usize {
            return Err(INSUFFICIENT_SIZE);
        }
        if into.is_null() && !clients.is_empty() {
            return Err(INVALID_ARGUMENT);
        }
        for (place, client) in clients.iter().enumerate() {
            let info = nvmlProcessInfo_t {
                pid: client.pid,
                usedGpuMemory: client.holding.used.get(index).copied().unwrap_or(0),
                // What NVML gives where there is no MIG.
                gpuInstanceId: c_uint::MAX,
                computeInstanceId: c_uint::MAX,
            };
            // SAFETY: There is room for all of them, as was just compared.
            unsafe { into.add(place).write(info) };
        }
        Ok(())
    })
}

/// Processes that use a device for graphics: none.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    _into: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    with_device(device, |_, _, _| answer(count, 0))
}

/// Processes that use a device through MPS: none, there is no MPS here.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMPSComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    _into: *mut nvmlProcessInfo_t,
) -> nvmlReturn_t {
    with_device(device, |_, _, _| answer(count, 0))
}

/// Whether a device is at work. What a process gives it is that process's own matter on this driver, so it is not known.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetUtilizationRates(
    device: nvmlDevice_t,
    _into: *mut nvmlUtilization_t,
) -> nvmlReturn_t {
    with_device(device, |_, _, _| Err(NOT_SUPPORTED))
}

/// Whether ECC is on, and will be after the next reset.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetEccMode(
    device: nvmlDevice_t,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> nvmlReturn_t {
    with_device(device, |_, _, described| {
        let on = c_uint::from(described.ecc.ok_or(NOT_SUPPORTED)?);
        answer(current, on)?;
        answer(pending, on)
    })
}

/// ECC errors: of kind 0 the corrected ones, of kind 1 the uncorrected ones.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: nvmlDevice_t,
    kind: c_uint,
    _counter: c_uint,
    into: *mut c_ulonglong,
) -> nvmlReturn_t {
    with_device(device, |_, _, described| {
        described.ecc.ok_or(NOT_SUPPORTED)?;
        let faults = described.faults;
        answer(into, if kind == 0 { faults.ecc_corrected } else { faults.ecc_uncorrected })
    })
}

/// Whether MIG is on, and will be after the next reset.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigMode(
    device: nvmlDevice_t,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> nvmlReturn_t {
    with_device(device, |_, _, described| {
        let on = c_uint::from(described.mig.ok_or(NOT_SUPPORTED)?);
        answer(current, on)?;
        answer(pending, on)
    })
}

/// A device's compute capability.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetCudaComputeCapability(
    device: nvmlDevice_t,
    major: *mut c_int,
    minor: *mut c_int,
) -> nvmlReturn_t {
    with_device(device, |_, _, described| {
        answer(major, described.compute_capability[0])?;
        answer(minor, described.compute_capability[1])
    })
}

const KINDS: u64 =
    (nvmlEventTypeXidCriticalError | nvmlEventTypeSingleBitEccError | nvmlEventTypeDoubleBitEccError) as u64;

/// The kinds of events that a device has.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetSupportedEventTypes(
    device: nvmlDevice_t,
    into: *mut c_ulonglong,
) -> nvmlReturn_t {
    with_device(device, |_, _, _| answer(into, KINDS))
}

/// Makes a set of events.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetCreate(into: *mut nvmlEventSet_t) -> nvmlReturn_t {
    with(|_| {
        let mut library = library();
        let handle = library.next;
        library.next += 1;
        library.sets.insert(handle, EventSet::default());
        answer(into, to_handle(handle))
    })
}

/// Drops a set of events.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetFree(set: nvmlEventSet_t) -> nvmlReturn_t {
    library().sets.remove(&set.addr()).map_or(INVALID_ARGUMENT, |_| SUCCESS)
}

/// Lets a set of events watch a device, from now on.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceRegisterEvents(
    device: nvmlDevice_t,
    kinds: c_ulonglong,
    set: nvmlEventSet_t,
) -> nvmlReturn_t {
    with_device(device, |_, index, described| {
        if kinds & !KINDS != 0 {
            return Err(NOT_SUPPORTED);
        }
        let faults = described.faults;
        if faults.events_refused {
            return Err(UNKNOWN);
        }
        let watched = Watched {
            kinds,
            xids: faults.xids.len(),
            corrected: faults.ecc_corrected,
            uncorrected: faults.ecc_uncorrected,
        };
        library().sets.get_mut(&set.addr()).ok_or(INVALID_ARGUMENT)?.watched.insert(index, watched);
        Ok(())
    })
}

/// The next event of a set, waited for up to so many milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetWait_v2(
    set: nvmlEventSet_t,
    into: *mut nvmlEventData_t,
    milliseconds: c_uint,
) -> nvmlReturn_t {
    let deadline = Instant::now() + Duration::from_millis(u64::from(milliseconds));
    loop {
        let mut event = None;
        let code = with(|process| {
            let devices = process.node().devices.clone();
            let mut library = library();
            let set = library.sets.get_mut(&set.addr()).ok_or(INVALID_ARGUMENT)?;
            event = set.watched.iter_mut().find_map(|(index, watched)| {
                let (kind, data) = watched.next(devices.get(*index)?)?;
                Some((*index, kind, data))
            });
            match event {
                Some((index, kind, data)) => answer(
                    into,
                    nvmlEventData_t {
                        device: to_handle(index + 1),
                        eventType: kind,
                        eventData: data,
                        gpuInstanceId: c_uint::MAX,
                        computeInstanceId: c_uint::MAX,
                    },
                ),
                None => Ok(()),
            }
        });
        if code != SUCCESS || event.is_some() {
            return code;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return TIMEOUT;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

impl Watched {
    /// The next event that has not been delivered: its kind and its data.
    fn next(&mut self, device: &Device) -> Option<(c_ulonglong, c_ulonglong)> {
        let faults = &device.faults;
        let watches = |kind: u32| self.kinds & u64::from(kind) != 0;
        if watches(nvmlEventTypeXidCriticalError)
            && let Some(xid) = faults.xids.get(self.xids)
        {
            self.xids += 1;
            return Some((nvmlEventTypeXidCriticalError.into(), *xid));
        }
        if watches(nvmlEventTypeDoubleBitEccError) && faults.ecc_uncorrected > self.uncorrected {
            self.uncorrected += 1;
            return Some((nvmlEventTypeDoubleBitEccError.into(), 0));
        }
        if watches(nvmlEventTypeSingleBitEccError) && faults.ecc_corrected > self.corrected {
            self.corrected += 1;
            return Some((nvmlEventTypeSingleBitEccError.into(), 0));
        }
        None
    }
}

/// What NVML's own header calls to find another table of functions. There is none.
#[unsafe(no_mangle)]
pub extern "C" fn nvmlInternalGetExportTable(_table: *mut *const c_void, _id: *const c_void) -> nvmlReturn_t {
    NOT_SUPPORTED
}
