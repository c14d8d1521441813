//! The codes that CUDA's driver API answers, and how NVML's are called there.

use std::ffi::{CStr, c_int};

/// A `CUresult`.
pub type CudaCode = c_int;

macro_rules! cuda_codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        $(#[doc = concat!("CUDA_", stringify!($name), ": ", $text, ".")] pub const $name: CudaCode = $code;)*

        /// The name and the text of a code, as `cuGetErrorName` and `cuGetErrorString` give them.
        pub fn describe(code: CudaCode) -> Option<(&'static CStr, &'static CStr)> {
            match code {
                $($code => {
                    const NAME: &CStr = match CStr::from_bytes_with_nul(concat!("CUDA_", stringify!($name), "\0").as_bytes()) {
                        Ok(text) => text,
                        Err(_) => c"",
                    };
                    const TEXT: &CStr = match CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()) {
                        Ok(text) => text,
                        Err(_) => c"",
                    };
                    Some((NAME, TEXT))
                })*
                _ => None,
            }
        }
    };
}

cuda_codes! {
    SUCCESS = 0, "no error";
    ERROR_INVALID_VALUE = 1, "invalid argument";
    ERROR_OUT_OF_MEMORY = 2, "out of memory";
    ERROR_NOT_INITIALIZED = 3, "initialization error";
    ERROR_DEVICE_UNAVAILABLE = 46, "CUDA-capable device(s) is/are busy or unavailable";
    ERROR_NO_DEVICE = 100, "no CUDA-capable device is detected";
    ERROR_INVALID_DEVICE = 101, "invalid device ordinal";
    ERROR_INVALID_CONTEXT = 201, "invalid device context";
    ERROR_ECC_UNCORRECTABLE = 214, "uncorrectable ECC error encountered";
    ERROR_INVALID_PTX = 218, "a PTX JIT compilation failed";
    ERROR_OPERATING_SYSTEM = 304, "OS call failed or operation not supported on this OS";
    ERROR_INVALID_HANDLE = 400, "invalid resource handle";
    ERROR_NOT_FOUND = 500, "named symbol not found";
    ERROR_ILLEGAL_ADDRESS = 700, "an illegal memory access was encountered";
    ERROR_LAUNCH_FAILED = 719, "unspecified launch failure";
    ERROR_NOT_SUPPORTED = 801, "operation not supported";
    ERROR_SYSTEM_DRIVER_MISMATCH = 803, "system has unsupported display driver / cuda driver combination";
    ERROR_UNKNOWN = 999, "unknown error";
}
