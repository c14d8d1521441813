//! A filler takes an amount of a node's resource at a rate, holds it, and says what it truly holds.
//!
//! The program is `plimsoll-hog`. What others use of it as a library:
//!
//! - [`report`]: the JSON lines that a filler writes;
//! - [`control`]: changing a filler that runs;
//! - [`image`]: packing static programs as a container image that needs no registry;
//! - [`quantity`]: amounts, rates and durations as they are typed.

pub mod command_line;
pub mod control;
pub mod cpu;
pub mod disk;
pub mod file_memory;
pub mod filler;
pub mod folder;
pub mod footprint;
pub mod image;
pub mod inodes;
pub mod log;
pub mod memory;
pub mod noise;
pub mod order;
pub mod pace;
pub mod pids;
pub mod quantity;
pub mod report;
pub mod reporter;
pub mod session;
pub mod signals;
