//! Fills GPUs' memory exactly, at a rate, holds it, says what it truly holds, and tests that memory.
//!
//! The program is `plimsoll-gpu-hog`. Pacing, signals, commands and reports are those of `plimsoll-hog`.
//!
//! - [`command_line`]: what can be typed;
//! - [`memory`]: the filler; [`amount`]: how much of a card; [`pattern`]: what is written;
//! - [`bystander`], [`conformance`], [`cycles`], [`inventory`]: the other programs in it;
//! - [`driver`]: CUDA's driver, the only place with unsafe code; [`management`]: NVML; [`compute`]: work for the multiprocessors.

pub mod amount;
pub mod bystander;
pub mod command_line;
pub mod compute;
pub mod conformance;
pub mod cycles;
pub mod driver;
pub mod inventory;
pub mod management;
pub mod memory;
pub mod pattern;
