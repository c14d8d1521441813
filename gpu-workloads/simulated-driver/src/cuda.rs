//! The functions of CUDA's driver API, by the names and in the form of `cuda.h`.
//!
//! What is asked of every caller is what NVIDIA's reference asks: pointers for answers are valid to write, texts end with
//! a zero, lengths are those of the buffers.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::time::{Duration, Instant};

use crate::codes::{self, CudaCode};
use crate::kernels::{ELEMENT, Kernel};
use crate::node::uuid_bytes;
use crate::process::{self, Process, current, process, set_current};

/// A handle of a device: its index.
pub type Device = c_int;
/// An opaque handle.
pub type Handle = *mut c_void;
/// An address on a device.
pub type Address = u64;

/// Does something with the process's state and answers its code.
fn with(action: impl FnOnce(&mut Process) -> Result<(), CudaCode>) -> CudaCode {
    let mut guard = match process() {
        Ok(guard) => guard,
        Err(error) => {
            eprintln!("plimsoll-simulated-driver: {error}");
            return codes::ERROR_OPERATING_SYSTEM;
        }
    };
    match guard.get().and_then(action) {
        Ok(()) => codes::SUCCESS,
        Err(code) => code,
    }
}

/// Writes an answer where the caller wants it.
fn answer<T>(into: *mut T, value: T) -> Result<(), CudaCode> {
    if into.is_null() {
        return Err(codes::ERROR_INVALID_VALUE);
    }
    // SAFETY: The caller of a driver function gives the address of a variable of the documented type.
    unsafe { into.write(value) };
    Ok(())
}

/// Copies a text into a caller's buffer, cut to its length.
pub(crate) fn write_text(text: &str, into: *mut c_char, length: usize) {
    if into.is_null() || length == 0 {
        return;
    }
    let count = text.len().min(length - 1);
    // SAFETY: The caller gives a buffer of `length` bytes, and `count` and the zero fit it.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast::<c_char>(), into, count);
        into.add(count).write(0);
    }
}

fn index(device: Device) -> Result<usize, CudaCode> {
    usize::try_from(device).map_err(|_| codes::ERROR_INVALID_DEVICE)
}

fn to_handle(number: u64) -> Handle {
    std::ptr::without_provenance_mut(number as usize)
}

/// Waits until the device has done what it was given. The lock is not held meanwhile.
fn wait(done: Option<Instant>) {
    if let Some(left) = done.and_then(|done| done.checked_duration_since(Instant::now())) {
        std::thread::sleep(left);
    }
}

/// Begins. Nothing else works before.
#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: c_uint) -> CudaCode {
    with(|process| {
        let node = process.node();
        match node.cuda_init {
            0 if node.devices.is_empty() => Err(codes::ERROR_NO_DEVICE),
            0 => Ok(()),
            code => Err(code),
        }
    })
}

/// The newest CUDA version that the driver knows.
#[unsafe(no_mangle)]
pub extern "C" fn cuDriverGetVersion(version: *mut c_int) -> CudaCode {
    with(|process| answer(version, process.node().cuda_version))
}

/// The name of a code.
#[unsafe(no_mangle)]
pub extern "C" fn cuGetErrorName(code: CudaCode, text: *mut *const c_char) -> CudaCode {
    describe(text, codes::describe(code).map(|(name, _)| name))
}

/// A text for a code.
#[unsafe(no_mangle)]
pub extern "C" fn cuGetErrorString(code: CudaCode, text: *mut *const c_char) -> CudaCode {
    describe(text, codes::describe(code).map(|(_, text)| text))
}

fn describe(into: *mut *const c_char, text: Option<&'static CStr>) -> CudaCode {
    let pointer = text.map_or(std::ptr::null(), CStr::as_ptr);
    match answer(into, pointer) {
        Ok(()) if text.is_some() => codes::SUCCESS,
        _ => codes::ERROR_INVALID_VALUE,
    }
}

/// How many devices there are.
#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetCount(count: *mut c_int) -> CudaCode {
    with(|process| answer(count, process.node().devices.len() as c_int))
}

/// The handle of a device.
#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGet(device: *mut Device, ordinal: c_int) -> CudaCode {
    with(|process| {
        process.device(index(ordinal)?)?;
        answer(device, ordinal)
    })
}

/// A device's product name.
#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: Device) -> CudaCode {
    with(|process| {
        let text = &process.device(index(device)?)?.name;
        write_text(text, name, usize::try_from(length).map_err(|_| codes::ERROR_INVALID_VALUE)?);
        Ok(())
    })
}

/// A device's UUID.
#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: Device) -> CudaCode {
    with(|process| {
        let bytes = uuid_bytes(&process.device(index(device)?)?.uuid).ok_or(codes::ERROR_UNKNOWN)?;
        answer(uuid, bytes)
    })
}

/// The same; on a real driver a MIG device's own.
#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: Device) -> CudaCode {
    cuDeviceGetUuid(uuid, device)
}

/// A device's memory in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: Device) -> CudaCode {
    with(|process| answer(bytes, process.device(index(device)?)?.memory as usize))
}

/// Numbers about a device: those of `CUdevice_attribute` that the GPU workloads ask for.
#[unsafe(no_mangle)]
pub extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, device: Device) -> CudaCode {
    with(|process| {
        let device = process.device(index(device)?)?;
        answer(
            value,
            match attribute {
                // MULTIPROCESSOR_COUNT
                16 => device.multiprocessors,
                // COMPUTE_MODE: the default one
                20 => 0,
                // ECC_ENABLED
                32 => c_int::from(device.ecc == Some(true)),
                // COMPUTE_CAPABILITY_MAJOR and _MINOR
                75 => device.compute_capability[0],
                76 => device.compute_capability[1],
                // MPS_ENABLED
                133 => 0,
                _ => return Err(codes::ERROR_INVALID_VALUE),
            },
        )
    })
}

/// Makes a device's primary context, or uses the one there.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRetain(context: *mut Handle, device: Device) -> CudaCode {
    with(|process| {
        let index = index(device)?;
        process.retain(index)?;
        answer(context, to_handle(index as u64 + 1))
    })
}

/// Gives a device's primary context up.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(device: Device) -> CudaCode {
    with(|process| process.release(index(device)?))
}

/// Makes a context the calling thread's.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: Handle) -> CudaCode {
    set_current(context.addr().checked_sub(1));
    codes::SUCCESS
}

/// The calling thread's context.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxGetCurrent(context: *mut Handle) -> CudaCode {
    let handle = current().map_or(std::ptr::null_mut(), |index| to_handle(index as u64 + 1));
    answer(context, handle).err().unwrap_or(codes::SUCCESS)
}

/// Waits for the device.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> CudaCode {
    let mut done = None;
    let code = with(|process| {
        let index = process.usable()?;
        done = process.done_at(index);
        Ok(())
    });
    wait(done);
    code
}

/// A stream. There is one queue for each device, whatever the stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamCreate(stream: *mut Handle, _flags: c_uint) -> CudaCode {
    with(|process| {
        process.usable()?;
        answer(stream, to_handle(1))
    })
}

/// Waits for a stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(_stream: Handle) -> CudaCode {
    cuCtxSynchronize()
}

/// Drops a stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(_stream: Handle) -> CudaCode {
    codes::SUCCESS
}

/// Free and all bytes of the current device.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> CudaCode {
    with(|process| {
        let (free_bytes, total_bytes) = process.memory()?;
        answer(free, free_bytes as usize)?;
        answer(total, total_bytes as usize)
    })
}

/// Allocates on the current device.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAlloc_v2(address: *mut Address, bytes: usize) -> CudaCode {
    with(|process| answer(address, process.allocate(bytes as u64)?))
}

/// Frees an allocation.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: Address) -> CudaCode {
    with(|process| process.free(address))
}

/// Sets bytes.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8_v2(address: Address, value: u8, count: usize) -> CudaCode {
    with(|process| process.set(address..end(address, count, 1)?, u32::from_ne_bytes([value; 4])))
}

/// Sets words of 32 bits.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD32_v2(address: Address, value: c_uint, count: usize) -> CudaCode {
    with(|process| {
        if !address.is_multiple_of(4) {
            return Err(codes::ERROR_INVALID_VALUE);
        }
        process.set(address..end(address, count, 4)?, value)
    })
}

fn end(start: Address, count: usize, width: u64) -> Result<Address, CudaCode> {
    let length = (count as u64).checked_mul(width).ok_or(codes::ERROR_INVALID_VALUE)?;
    start.checked_add(length).ok_or(codes::ERROR_INVALID_VALUE)
}

/// Copies from the host.
///
/// # Safety
///
/// `source` is valid to read for `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: Address, source: *const c_void, bytes: usize) -> CudaCode {
    with(|process| {
        if source.is_null() {
            return Err(codes::ERROR_INVALID_VALUE);
        }
        // SAFETY: The caller says that so many bytes can be read there.
        process.copy_in(to, unsafe { std::slice::from_raw_parts(source.cast::<u8>(), bytes) })
    })
}

/// Copies to the host, after the device has done what it was given.
///
/// # Safety
///
/// `to` is valid to write for `bytes`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: Address, bytes: usize) -> CudaCode {
    let code = cuCtxSynchronize();
    if code != codes::SUCCESS {
        return code;
    }
    with(|process| {
        if to.is_null() {
            return Err(codes::ERROR_INVALID_VALUE);
        }
        process.within(from, bytes as u64)?;
        // SAFETY: The caller says that so many bytes can be written there.
        process.contents().copy_out(from, unsafe { std::slice::from_raw_parts_mut(to.cast::<u8>(), bytes) });
        Ok(())
    })
}

/// Takes a module as PTX text.
///
/// # Safety
///
/// `image` is a text that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut Handle, image: *const c_void) -> CudaCode {
    with(|process| {
        if image.is_null() {
            return Err(codes::ERROR_INVALID_VALUE);
        }
        // SAFETY: The caller says that a zero ends it.
        let text = unsafe { CStr::from_ptr(image.cast()) };
        let handle = process.load(text.to_str().map_err(|_| codes::ERROR_INVALID_PTX)?)?;
        answer(module, to_handle(handle))
    })
}

/// A module's kernel by its name.
///
/// # Safety
///
/// `name` is a text that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut Handle,
    module: Handle,
    name: *const c_char,
) -> CudaCode {
    with(|process| {
        if name.is_null() {
            return Err(codes::ERROR_INVALID_VALUE);
        }
        // SAFETY: The caller says that a zero ends it.
        let name = unsafe { CStr::from_ptr(name) };
        let name = name.to_str().map_err(|_| codes::ERROR_NOT_FOUND)?;
        answer(function, to_handle(process.function(module.addr() as u64, name)?))
    })
}

/// Drops a module.
#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(module: Handle) -> CudaCode {
    with(|process| process.unload(module.addr() as u64))
}

/// Starts a kernel. What it does to memory is seen at once; the time that it takes passes while one waits for it.
///
/// # Safety
///
/// `parameters` points to as many pointers as the kernel has parameters, each to one of its type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    _shared: c_uint,
    _stream: Handle,
    parameters: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> CudaCode {
    with(|process| {
        let index = process.usable()?;
        let kernel = process.kernel(function.addr() as u64)?;
        let threads = u64::from(block_x) * u64::from(block_y) * u64::from(block_z);
        if grid_x == 0 || grid_y == 0 || grid_z == 0 || threads == 0 || threads > 1024 || parameters.is_null()
        {
            return Err(codes::ERROR_INVALID_VALUE);
        }
        let word = |number: usize| {
            // SAFETY: The caller says that each pointer is to a parameter of the kernel's type; this one is of 64 bits.
            unsafe { (*parameters.add(number)).cast::<u64>().read_unaligned() }
        };
        match kernel {
            Kernel::Busy => process.work(index, Duration::from_nanos(word(0))),
            Kernel::Fill | Kernel::Verify => {
                let (start, count, first) = (word(0), word(1), word(2));
                // SAFETY: As above; this one is of 32 bits.
                let seed = unsafe { (*parameters.add(3)).cast::<u32>().read_unaligned() };
                let bytes = count.checked_mul(ELEMENT).ok_or(codes::ERROR_ILLEGAL_ADDRESS)?;
                process.within(start, bytes).map_err(|_| codes::ERROR_ILLEGAL_ADDRESS)?;
                if kernel == Kernel::Fill {
                    process.contents().fill(start, count, first, seed);
                } else {
                    verify(process, (start, count, first, seed), word(4))?;
                }
                process.take_time(index, bytes)?;
            }
        }
        Ok(())
    })
}

/// Compares, and adds what it found to the two numbers at `result`.
fn verify(
    process: &mut Process,
    (start, count, first, seed): (u64, u64, u64, u32),
    result: Address,
) -> Result<(), CudaCode> {
    process.within(result, 16).map_err(|_| codes::ERROR_ILLEGAL_ADDRESS)?;
    let found = process.contents().compare(start, count, first, seed);
    let mut bytes = [0; 16];
    process.contents().copy_out(result, &mut bytes);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let counted = number(&bytes[..8]) + found.count;
    let least = number(&bytes[8..]).min(found.first.unwrap_or(u64::MAX));
    bytes[..8].copy_from_slice(&counted.to_le_bytes());
    bytes[8..].copy_from_slice(&least.to_le_bytes());
    process.copy_in(result, &bytes)
}

/// The device whose memory an address is of, for those who write tests.
pub fn base_of(device: usize) -> Address {
    process::base(device)
}
