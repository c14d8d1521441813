//! Fills GPUs' memory, holds it, and tests it.

use std::process::ExitCode;

use clap::Parser as _;
use plimsoll_gpu_hog::command_line::CommandLine;

fn main() -> ExitCode {
    CommandLine::parse().run()
}
