//! What NVML knows of a node's GPUs, as JSON lines.
//!
//! - [`report`]: the lines, for whoever reads them.
//! - [`management`]: NVML, asked for them.
//!
//! It is a program of its own because a call into a broken driver can hang for minutes, and because a driver's library can only be
//! loaded into a program that is linked dynamically.

pub mod management;
pub mod report;
