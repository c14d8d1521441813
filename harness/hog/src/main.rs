//! The filler: takes an amount of a resource at a rate, holds it, and says what it truly holds.

use std::process::ExitCode;

use clap::Parser as _;
use plimsoll_hog::command_line::CommandLine;

fn main() -> ExitCode {
    CommandLine::parse().run()
}
