//! The part of CUDA's driver API and of NVML that the GPU workloads use, on devices that a file describes.
//!
//! It is for machines without a GPU. A program loads it only when it is told to by path, and can always tell: the
//! library exports [`plimsollSimulatedDriver`], which no real driver has. What it answers is a model: memory is
//! accounted for exactly and shared by all processes of a simulated node, contents are kept as what was written
//! and not as bytes, and time is what the described bandwidth comes to.
//!
//! - [`node`]: the file that describes a node, its devices and their faults;
//! - [`ledger`]: who holds how much of which device, across processes, until a process ends in whatever way;
//! - [`contents`]: what is written where, without taking memory for it;
//! - [`kernels`]: what the kernels that it knows do;
//! - [`process`]: contexts, allocations and modules of the calling process;
//! - [`cuda`], [`nvml`]: the functions themselves; [`codes`]: what they answer.

pub mod codes;
pub mod contents;
pub mod cuda;
pub mod kernels;
pub mod ledger;
pub mod node;
pub mod nvml;
pub mod process;

/// The version of the simulated driver, as text that ends with a zero. Whoever finds this symbol in a driver library
/// knows that nothing of what it says comes from a device.
#[unsafe(no_mangle)]
pub extern "C" fn plimsollSimulatedDriver() -> *const std::ffi::c_char {
    c"plimsoll-simulated-driver 1".as_ptr()
}
