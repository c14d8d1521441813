//! What the driver says of the machine's GPUs.
//!
//! - [`Report`], [`Reading`], [`Event`]: what is said, as JSON lines.
//! - [`Reader`]: the program that asks the driver, kept running.
//! - [`Health`], [`State`]: what follows from all that was said.
//!
//! The driver's library is not loaded here: calls into it can hang for minutes when a device is broken, and it can only be loaded
//! into a program that is linked dynamically. So a small program of its own asks it, and this one hears or
//! misses what it says.

mod health;
mod reader;

pub use health::{DEFAULT_IGNORED_XIDS, Health};
pub use plimsoll_gpu_reader::report::{Device, Event, Process, Reading, Report, Unwatched};
pub use reader::{Reader, ReaderOptions, State};
