//! Ending when whoever started us has ended, however it ended.

use std::io::Read;

/// Starts a thread that ends this process, and with it the whole node, when standard input closes.
pub(super) fn watch() {
    std::thread::spawn(|| {
        let mut buffer = [0; 64];
        let mut input = std::io::stdin().lock();
        loop {
            match input.read(&mut buffer) {
                Ok(0) => std::process::exit(0),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => std::process::exit(0),
            }
        }
    });
}
