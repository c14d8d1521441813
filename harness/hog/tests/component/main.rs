//! The programs as processes, and the images made of them.

mod image;
mod memory;
mod pause;
mod process;
