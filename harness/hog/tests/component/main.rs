//! The programs as processes, and the images made of them.

mod filesystem;
mod image;
mod memory;
mod others;
mod pause;
mod process;
