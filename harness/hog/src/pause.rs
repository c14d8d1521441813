//! The sandbox container's program: waits until it is told to end, and reaps what is left to it.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{WaitOptions, wait};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};

fn main() -> ExitCode {
    match pause() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plimsoll-pause: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pause() -> std::io::Result<()> {
    let (mut woken, wakes) = UnixStream::pair()?;
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The flag is set before the wake-up is written, so that no wake-up is seen without it.
        signal_hook::flag::register(signal, Arc::clone(&told_to_end))?;
    }
    for signal in [SIGINT, SIGTERM, SIGCHLD] {
        signal_hook::low_level::pipe::register(signal, wakes.try_clone()?)?;
    }
    while !told_to_end.load(Ordering::SeqCst) {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        match woken.read(&mut [0; 64]) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
