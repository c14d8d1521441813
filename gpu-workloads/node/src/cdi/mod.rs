//! How devices and driver files reach containers: specifications of the Container Device Interface, which the container
//! runtime follows when the device plugin names a device.
//!
//! - [`Specification`], [`Edits`]: the format.
//! - [`generate`]: our own, for a driver's files as [`driver_files`] finds them, or for a simulated driver.
//! - [`find`]: one that somebody else made, such as `nvidia-ctk cdi generate`.

mod driver_files;
mod existing;
mod generate;
mod specification;

pub use driver_files::{DriverFiles, driver_files};
pub use existing::{CdiError, find};
pub use generate::{Extras, generate, write};
pub use specification::{Device, DeviceNode, Edits, Mount, Specification};
