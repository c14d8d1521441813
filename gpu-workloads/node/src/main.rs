//! The program `plimsoll-gpu-node`.

use std::process::ExitCode;

fn main() -> ExitCode {
    plimsoll_gpu_node::cli::main()
}
