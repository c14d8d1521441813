//! The signals that a filler obeys, as something that can be polled.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SIGUSR1: give everything back and stay.
    Release,
    /// SIGTERM: end, after the shutdown delay if there is one.
    Terminate,
    /// SIGINT: end; a second one ends without waiting for the shutdown delay.
    Interrupt,
}

/// The handlers. As the first process of a container the filler gets no signal that it has none for.
#[derive(Debug)]
pub struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the handlers or the socket pair that wakes the filler.
    pub fn install() -> io::Result<Signals> {
        let (read, write) = UnixStream::pair()?;
        SignalDelivery::with_pipe(read, write, SignalOnly, [SIGUSR1, SIGTERM, SIGINT]).map(Signals)
    }

    /// Readable when a signal has come.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }

    /// The signals that have come since the last call, the release before an end.
    pub fn take(&mut self) -> Vec<Wish> {
        let mut wishes: Vec<Wish> = self
            .0
            .pending()
            .filter_map(|signal| match signal {
                SIGUSR1 => Some(Wish::Release),
                SIGTERM => Some(Wish::Terminate),
                SIGINT => Some(Wish::Interrupt),
                _ => None,
            })
            .collect();
        wishes.sort_by_key(|wish| *wish as u8);
        wishes
    }
}
