//! Process 1 of a Plimsoll node or control plane. It takes no arguments: what it is told lies in its run folder.
//! Under the names `mount` and `umount` it is those commands.

use std::path::Path;
use std::process::ExitCode;

use plimsoll_node::mount;

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        Some("mount") => return command(mount::mount),
        Some("umount") => return command(mount::unmount),
        _ => {}
    }
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("control") => return control(),
        Some(_) => {
            eprintln!(
                "plimsoll-node is the init of a Plimsoll node; `plimsoll run` starts it. `plimsoll-node control REQUEST` asks a running one."
            );
            return ExitCode::from(2);
        }
    }
    if plimsoll_node::init::run().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn command(run: fn(&[String]) -> Result<(), String>) -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(mount::FAILED)
        }
    }
}

/// Hands a request to the init from inside the node, where its socket can not be reached from outside.
fn control() -> ExitCode {
    let request = std::env::args().nth(2).unwrap_or_default();
    match plimsoll_node::init::ask(&request) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("plimsoll-node: {error}");
            ExitCode::FAILURE
        }
    }
}
