//! CUDA's driver, loaded when the program runs: what the other parts need of it, as safe functions.
//!
//! All unsafe code is here. cudarc panics when the library, or a function in it, is not there; so both are looked for before
//! anything is called, and what is missing is an error that says what to do.

#![expect(unsafe_code, reason = "a driver is a library of C functions")]

use std::ffi::{CStr, CString, c_void};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cudarc::driver::{result, sys};
use libloading::Library;

/// The oldest version of CUDA that a driver must know; the first that tells MIG devices apart by UUID.
const OLDEST: i32 = 11_040;
/// What runs on the device.
const KERNELS: &str = include_str!("kernels.ptx");
/// The symbol by which the simulated driver is known.
const SIMULATED: &str = "plimsollSimulatedDriver";
/// Threads of a block, and blocks for each multiprocessor, of kernels that move memory.
const THREADS: u32 = 256;
const BLOCKS_PER_MULTIPROCESSOR: u32 = 8;

/// What is called by way of cudarc.
const CALLED: [&str; 28] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetUuid_v2",
    "cuDeviceTotalMem_v2",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemsetD8_v2",
    "cuMemcpyHtoD_v2",
    "cuMemcpyDtoH_v2",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleUnload",
    "cuLaunchKernel",
    "cuStreamCreate",
    "cuStreamSynchronize",
    "cuStreamDestroy_v2",
    "cuCtxGetCurrent",
];

/// Why there is no driver to work with.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// This program can load nothing.
    #[error("this program is static and can not load a driver; gpu-workloads/build makes one that can")]
    Static,
    /// There is no library.
    #[error(
        "no CUDA driver is installed: libcuda.so.1 is not found; install the NVIDIA driver, or mount its libraries into the \
         container (the NVIDIA container toolkit does)"
    )]
    Missing,
    /// The library that was named can not be loaded.
    #[error("{path}: {why}; --cuda-library names the library of a CUDA driver")]
    Unloadable {
        /// Its path.
        path: PathBuf,
        /// What the loader says.
        why: String,
    },
    /// Another one is in its place.
    #[error(
        "{0}: another CUDA driver, found under the name libcuda.so, takes its place; remove one of them from the library path"
    )]
    Another(PathBuf),
    /// A simulated driver stands where the machine's own should.
    #[error(
        "the CUDA driver that was found is the simulated one; it is used only when --cuda-library names it"
    )]
    SimulatedUnasked,
    /// It lacks a function.
    #[error("the CUDA driver is too old: it has no {0}; version {major}.{minor} of CUDA is needed", major = OLDEST / 1000, minor = OLDEST % 1000 / 10)]
    Lacks(&'static str),
    /// It is too old.
    #[error("the CUDA driver is too old: it knows CUDA {have}, and {major}.{minor} is needed; update the NVIDIA driver", major = OLDEST / 1000, minor = OLDEST % 1000 / 10)]
    TooOld {
        /// What it knows, in words.
        have: String,
    },
    /// It does not start.
    #[error("{error}; {remedy}")]
    Start {
        /// What it answered.
        error: CudaError,
        /// What to do.
        remedy: &'static str,
    },
}

/// A call that the driver refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {name} ({code}): {text}")]
pub struct CudaError {
    /// The function.
    pub call: &'static str,
    /// The number of the answer.
    pub code: i32,
    /// Its name.
    pub name: String,
    /// What the driver says of it.
    pub text: String,
}

impl CudaError {
    /// Whether there was not enough memory; anything else means that the device can not be used.
    pub fn is_out_of_memory(&self) -> bool {
        self.code == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY as i32
    }
}

/// Gives an answer its function's name.
trait Called<T> {
    fn of(self, call: &'static str) -> Result<T, CudaError>;
}

impl<T> Called<T> for Result<T, result::DriverError> {
    fn of(self, call: &'static str) -> Result<T, CudaError> {
        self.map_err(|error| {
            let text = |text: Result<&CStr, _>| text.map_or("?".into(), CStr::to_string_lossy).into_owned();
            CudaError {
                call,
                code: error.0 as i32,
                name: text(error.error_name()),
                text: text(error.error_string()),
            }
        })
    }
}

/// A driver that has started.
#[derive(Debug)]
pub struct Driver {
    /// Whether it is the simulated one.
    pub simulated: bool,
    /// The newest CUDA version that it knows, such as 13000.
    pub version: i32,
}

/// A version as people write it: 13000 is `13.0`.
pub fn version_text(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// Whether a library is that of the simulated driver.
pub fn is_simulated(library: &Library) -> bool {
    // SAFETY: The symbol is only looked for and not used.
    unsafe { library.get::<*const c_void>(SIMULATED.as_bytes()).is_ok() }
}

/// Loads a library and keeps it until the process ends, since a driver can not be unloaded safely.
///
/// # Errors
///
/// What the loader says.
pub fn load(path: &Path) -> Result<&'static Library, String> {
    if cfg!(target_feature = "crt-static") {
        return Err(LoadError::Static.to_string());
    }
    // SAFETY: A driver's library runs code of its own as it is loaded; whoever names it means that.
    let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
    Ok(Box::leak(Box::new(library)))
}

fn address(library: &Library, name: &str) -> Option<*const c_void> {
    // SAFETY: The symbol is only compared and not used.
    unsafe { library.get::<*const c_void>(name.as_bytes()).ok().map(|symbol| *symbol) }
}

impl Driver {
    /// Loads and starts the driver of the machine, or the one whose library is named.
    ///
    /// # Errors
    ///
    /// When there is none that works, with what to do.
    pub fn start(library: Option<&Path>) -> Result<Driver, LoadError> {
        if cfg!(target_feature = "crt-static") {
            return Err(LoadError::Static);
        }
        // cudarc asks the loader for libcuda.so and such by name. One that is loaded already answers for the name that it
        // carries inside, which is how the named library takes the place of the machine's.
        let named = match library {
            Some(path) => {
                let unloadable = |why| LoadError::Unloadable { path: path.to_owned(), why };
                let loaded = load(path).map_err(unloadable)?;
                if address(loaded, "cuInit").is_none() {
                    return Err(unloadable("it has no cuInit".to_owned()));
                }
                Some((path, loaded))
            }
            None => None,
        };
        // SAFETY: As for loading any library; cudarc only looks whether it can.
        if !unsafe { sys::is_culib_present() } {
            return Err(LoadError::Missing);
        }
        // SAFETY: It is present, as was just seen.
        let found = unsafe { sys::culib() };
        if let Some((path, loaded)) = named
            && cudarc_address("cuInit") != address(loaded, "cuInit")
        {
            return Err(LoadError::Another(path.to_owned()));
        }
        let _ = found;
        let simulated = cudarc_address(SIMULATED).is_some();
        if simulated && library.is_none() {
            return Err(LoadError::SimulatedUnasked);
        }
        if let Some(lacking) = CALLED.into_iter().find(|name| cudarc_address(name).is_none()) {
            return Err(LoadError::Lacks(lacking));
        }
        let start = |error: CudaError| LoadError::Start { remedy: remedy(error.code), error };
        let mut version = 0;
        // SAFETY: The pointer is to a variable; the function may be called before cuInit.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }
            .result()
            .of("cuDriverGetVersion")
            .map_err(start)?;
        if version < OLDEST {
            return Err(LoadError::TooOld { have: version_text(version) });
        }
        result::init().of("cuInit").map_err(start)?;
        Ok(Driver { simulated, version })
    }

    /// The devices that this process sees.
    ///
    /// # Errors
    ///
    /// When the driver refuses.
    pub fn devices(&self) -> Result<Vec<Device>, CudaError> {
        let count = result::device::get_count().of("cuDeviceGetCount")?;
        (0..count).map(Device::get).collect()
    }
}

/// The address of a function in the library that cudarc found, which must be present.
fn cudarc_address(name: &str) -> Option<*const c_void> {
    // SAFETY: The symbol is only compared and not used; the library is present.
    unsafe { sys::culib().get::<*const c_void>(name.as_bytes()).ok().map(|symbol| *symbol) }
}

/// What to do about an answer of `cuInit`.
fn remedy(code: i32) -> &'static str {
    match code {
        100 => {
            "no GPU is visible: is one in the machine, are /dev/nvidia* in the container, and what does CUDA_VISIBLE_DEVICES say?"
        }
        304 => {
            "the driver's files can not be opened: are /dev/nvidiactl, /dev/nvidia-uvm and /dev/nvidia0 there and permitted, and \
             is /proc this container's own?"
        }
        803 => {
            "the driver's library and its kernel module are of different versions; restart the machine after an update"
        }
        802 => "the fabric between the GPUs is not ready; is nvidia-fabricmanager running?",
        46 => "another process has the GPU for itself; see nvidia-smi for its compute mode",
        _ => "see nvidia-smi and the kernel's log for NVRM and Xid",
    }
}

/// A device that this process sees.
#[derive(Clone, Debug)]
pub struct Device {
    handle: sys::CUdevice,
    /// Its index.
    pub index: u32,
    /// `GPU-` and its UUID; of a MIG device `MIG-` and its own.
    pub uuid: String,
    /// Its product name.
    pub name: String,
    /// Its memory in bytes.
    pub total: u64,
    /// How many multiprocessors it has.
    pub multiprocessors: u32,
    /// Whether it is used by way of MPS; `None` when the driver does not say.
    pub mps: Option<bool>,
}

impl Device {
    fn get(ordinal: i32) -> Result<Device, CudaError> {
        let handle = result::device::get(ordinal).of("cuDeviceGet")?;
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        // SAFETY: The pointer is to a variable of the type, and the handle is the driver's own.
        unsafe { sys::cuDeviceGetUuid_v2(&raw mut uuid, handle) }.result().of("cuDeviceGetUuid_v2")?;
        // SAFETY: The handle is the driver's own.
        let total = unsafe { result::device::total_mem(handle) }.of("cuDeviceTotalMem_v2")?;
        let attribute = |attribute| {
            // SAFETY: The handle is the driver's own.
            unsafe { result::device::get_attribute(handle, attribute) }.of("cuDeviceGetAttribute")
        };
        let count = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let mut mps = 0;
        // SAFETY: The pointer is to a variable, and the handle is the driver's own. The attribute is younger than the bindings,
        // and a driver that does not know it says so.
        let asked = unsafe {
            let function = sys::culib()
                .get::<unsafe extern "C" fn(*mut i32, i32, sys::CUdevice) -> i32>(b"cuDeviceGetAttribute")
                .map(|symbol| *symbol);
            function.is_ok_and(|function| function(&raw mut mps, MPS_ENABLED, handle) == 0)
        };
        Ok(Device {
            handle,
            index: u32::try_from(ordinal).unwrap_or(0),
            uuid: uuid_text(uuid.bytes.map(|byte| byte as u8)),
            name: result::device::get_name(handle).of("cuDeviceGetName")?,
            total: total as u64,
            multiprocessors: u32::try_from(count).unwrap_or(1).max(1),
            mps: asked.then_some(mps != 0),
        })
    }
}

/// `CU_DEVICE_ATTRIBUTE_MPS_ENABLED`, since CUDA 12.4.
const MPS_ENABLED: i32 = 133;

fn uuid_text(bytes: [u8; 16]) -> String {
    let part = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    format!("GPU-{}-{}-{}-{}-{}", part(0..4), part(4..6), part(6..8), part(8..10), part(10..16))
}

/// An allocation of a device's memory: where and how long.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    address: sys::CUdeviceptr,
    /// Its length in bytes.
    pub length: u64,
}

/// A part of the pattern: which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The pattern's seed.
    pub seed: u32,
    /// The index of the first element.
    pub first: u64,
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// How many elements differ.
    pub count: u64,
    /// The index of the first.
    pub first: Option<u64>,
}

/// A device's primary context, with the kernels loaded. It goes when this is dropped.
#[derive(Debug)]
pub struct Context {
    /// The device.
    pub device: Device,
    handle: sys::CUcontext,
    kernels: Option<Kernels>,
}

#[derive(Debug)]
struct Kernels {
    module: sys::CUmodule,
    fill: sys::CUfunction,
    verify: sys::CUfunction,
    busy: sys::CUfunction,
    /// Two numbers: what a comparison found.
    result: Block,
}

// SAFETY: A context may be used from every thread, one at a time or several, once it is current there, which each function
// here sees to; the driver's handles are no more than names.
unsafe impl Send for Context {}
// SAFETY: As above.
unsafe impl Sync for Context {}

impl Context {
    /// Makes the context.
    ///
    /// # Errors
    ///
    /// When the driver refuses.
    pub fn new(device: Device) -> Result<Context, CudaError> {
        // SAFETY: The handle is the driver's own.
        let handle = unsafe { result::primary_ctx::retain(device.handle) }.of("cuDevicePrimaryCtxRetain")?;
        Ok(Context { device, handle, kernels: None })
    }

    /// Loads the kernels, which [`fill`](Self::fill), [`verify`](Self::verify) and [`busy`](Self::busy) need.
    ///
    /// # Errors
    ///
    /// When the driver can not compile them for the device, or has no memory for them.
    pub fn load_kernels(&mut self) -> Result<(), CudaError> {
        self.enter()?;
        let text = CString::new(KERNELS).unwrap_or_default();
        // SAFETY: The text ends with a zero and lives until the call is over.
        let module = unsafe { result::module::load_data(text.as_ptr().cast()) }.of("cuModuleLoadData")?;
        let function = |name: &CStr| {
            // SAFETY: The module is the one just loaded and not unloaded before the context goes.
            unsafe { result::module::get_function(module, name.to_owned()) }.of("cuModuleGetFunction")
        };
        let (fill, verify, busy) =
            (function(c"plimsoll_fill")?, function(c"plimsoll_verify")?, function(c"plimsoll_busy")?);
        let result = self.allocate(256)?;
        self.kernels = Some(Kernels { module, fill, verify, busy, result });
        self.warm_up()
    }

    /// Launches each kernel once with nothing to do. A driver may load a kernel only when it is first launched, for which there
    /// may be no memory left by then.
    fn warm_up(&mut self) -> Result<(), CudaError> {
        let (nothing, part) =
            (Block { address: self.kernels()?.result.address, length: 0 }, Part { seed: 0, first: 0 });
        self.fill(&nothing, part)?;
        self.verify(&nothing, part)?;
        self.busy(&self.stream()?, Duration::ZERO)?;
        self.synchronize()
    }

    fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: The context lives as long as this value.
        unsafe { result::ctx::set_current(self.handle) }.of("cuCtxSetCurrent")
    }

    /// Free bytes and all bytes of the device.
    ///
    /// # Errors
    ///
    /// When the device can not be used any more.
    pub fn memory(&self) -> Result<(u64, u64), CudaError> {
        self.enter()?;
        let (free, total) = result::mem_get_info().of("cuMemGetInfo")?;
        Ok((free as u64, total as u64))
    }

    /// Allocates.
    ///
    /// # Errors
    ///
    /// When there is not enough, or the device can not be used any more.
    pub fn allocate(&self, length: u64) -> Result<Block, CudaError> {
        self.enter()?;
        // SAFETY: The memory is not read before it is written, but by a comparison, to which any contents are welcome.
        let address = unsafe { result::malloc_sync(length as usize) }.of("cuMemAlloc")?;
        Ok(Block { address, length })
    }

    /// Frees, after all work on the device is done.
    ///
    /// # Errors
    ///
    /// When the device can not be used any more.
    pub fn free(&self, block: Block) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: The block is taken, so nobody frees or uses it again; the call waits for work that uses it.
        unsafe { result::free_sync(block.address) }.of("cuMemFree")
    }

    /// Waits until the device has done what it was given.
    ///
    /// # Errors
    ///
    /// When what it was given failed, or the device can not be used any more.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.enter()?;
        result::ctx::synchronize().of("cuCtxSynchronize")
    }

    /// Starts writing zeros.
    ///
    /// # Errors
    ///
    /// When the device can not be used any more.
    pub fn clear(&self, block: &Block) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: The block is as long as it says.
        unsafe { result::memset_d8_sync(block.address, 0, block.length as usize) }.of("cuMemsetD8")
    }

    /// Starts writing the pattern.
    ///
    /// # Errors
    ///
    /// When the kernels are not loaded, or the device can not be used any more.
    pub fn fill(&self, block: &Block, part: Part) -> Result<(), CudaError> {
        let kernels = self.kernels()?;
        self.enter()?;
        let (mut address, mut count) = (block.address, block.length / crate::pattern::ELEMENT);
        let Part { mut seed, mut first } = part;
        let mut parameters = [
            (&raw mut address).cast::<c_void>(),
            (&raw mut count).cast(),
            (&raw mut first).cast(),
            (&raw mut seed).cast(),
        ];
        // SAFETY: The parameters are those of `plimsoll_fill` and are read before the call returns; the kernel writes `count`
        // elements, which the block has.
        unsafe { self.launch(kernels.fill, std::ptr::null_mut(), &mut parameters) }
    }

    /// Compares with the pattern, and waits for the outcome.
    ///
    /// # Errors
    ///
    /// When the kernels are not loaded, or the device can not be used any more.
    pub fn verify(&self, block: &Block, part: Part) -> Result<Difference, CudaError> {
        let kernels = self.kernels()?;
        self.write(&kernels.result, &[0u64, u64::MAX].map(u64::to_le_bytes).concat())?;
        let (mut address, mut count) = (block.address, block.length / crate::pattern::ELEMENT);
        let Part { mut seed, mut first } = part;
        let mut result = kernels.result.address;
        let mut parameters = [
            (&raw mut address).cast::<c_void>(),
            (&raw mut count).cast(),
            (&raw mut first).cast(),
            (&raw mut seed).cast(),
            (&raw mut result).cast(),
        ];
        // SAFETY: The parameters are those of `plimsoll_verify` and are read before the call returns; the kernel reads `count`
        // elements, which the block has, and writes 16 bytes, which the result has.
        unsafe { self.launch(kernels.verify, std::ptr::null_mut(), &mut parameters)? };
        self.synchronize()?;
        let mut found = [0; 16];
        self.read(&kernels.result, 0, &mut found)?;
        let number = |from: usize| {
            found[from..from + 8].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        Ok(Difference { count: number(0), first: (number(0) > 0).then(|| number(8)) })
    }

    /// Starts work for all multiprocessors on a stream of its own.
    ///
    /// # Errors
    ///
    /// When the kernels are not loaded, or the device can not be used any more.
    pub fn busy(&self, stream: &Stream<'_>, duration: Duration) -> Result<(), CudaError> {
        let kernels = self.kernels()?;
        self.enter()?;
        let mut nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut sink = kernels.result.address;
        let mut parameters = [(&raw mut nanoseconds).cast::<c_void>(), (&raw mut sink).cast()];
        // SAFETY: The parameters are those of `plimsoll_busy` and are read before the call returns; the kernel writes nothing.
        unsafe { self.launch(kernels.busy, stream.handle, &mut parameters) }
    }

    /// Makes a stream that does not wait for others.
    ///
    /// # Errors
    ///
    /// When the device can not be used any more.
    pub fn stream(&self) -> Result<Stream<'_>, CudaError> {
        self.enter()?;
        let handle = result::stream::create(result::stream::StreamKind::NonBlocking).of("cuStreamCreate")?;
        Ok(Stream { handle, context: self })
    }

    /// Copies bytes to the start of a block.
    ///
    /// # Errors
    ///
    /// When the device can not be used any more.
    pub fn write(&self, block: &Block, bytes: &[u8]) -> Result<(), CudaError> {
        self.enter()?;
        let bytes = &bytes[..bytes.len().min(block.length as usize)];
        // SAFETY: The block is at least as long as the bytes.
        unsafe { result::memcpy_htod_sync(block.address, bytes) }.of("cuMemcpyHtoD")
    }

    /// Copies bytes from a place in a block; what lies beyond its end is left as it is.
    ///
    /// # Errors
    ///
    /// When the device can not be used any more.
    pub fn read(&self, block: &Block, from: u64, into: &mut [u8]) -> Result<(), CudaError> {
        self.enter()?;
        let length = into.len().min(block.length.saturating_sub(from) as usize);
        // SAFETY: So many bytes of the block lie behind the place.
        unsafe { result::memcpy_dtoh_sync(&mut into[..length], block.address + from) }.of("cuMemcpyDtoH")
    }

    fn kernels(&self) -> Result<&Kernels, CudaError> {
        self.kernels.as_ref().ok_or(CudaError {
            call: "cuLaunchKernel",
            code: sys::CUresult::CUDA_ERROR_NOT_FOUND as i32,
            name: "CUDA_ERROR_NOT_FOUND".to_owned(),
            text: "the kernels are not loaded".to_owned(),
        })
    }

    /// # Safety
    ///
    /// The parameters are the kernel's.
    unsafe fn launch(
        &self,
        function: sys::CUfunction,
        stream: sys::CUstream,
        parameters: &mut [*mut c_void],
    ) -> Result<(), CudaError> {
        let blocks = self.device.multiprocessors * BLOCKS_PER_MULTIPROCESSOR;
        // SAFETY: As the caller says; the function's module is loaded as long as the context is there.
        unsafe { result::launch_kernel(function, (blocks, 1, 1), (THREADS, 1, 1), 0, stream, parameters) }
            .of("cuLaunchKernel")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.enter().is_ok()
            && let Some(kernels) = self.kernels.take()
        {
            let _ = self.free(kernels.result);
            // SAFETY: Nothing of the module is used any more: freeing waited for all work.
            let _ = unsafe { result::module::unload(kernels.module) };
        }
        // SAFETY: It was retained once by this value.
        let _ = unsafe { result::primary_ctx::release(self.device.handle) };
    }
}

/// A queue of work of a device.
#[derive(Debug)]
pub struct Stream<'a> {
    handle: sys::CUstream,
    context: &'a Context,
}

impl Stream<'_> {
    /// Waits until its work is done.
    ///
    /// # Errors
    ///
    /// When the work failed, or the device can not be used any more.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: The stream lives as long as this value.
        unsafe { result::stream::synchronize(self.handle) }.of("cuStreamSynchronize")
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: Nobody else has its handle.
            let _ = unsafe { result::stream::destroy(self.handle) };
        }
    }
}
