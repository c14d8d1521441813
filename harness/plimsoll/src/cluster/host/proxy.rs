//! The API server on 127.0.0.1 of this machine.
//!
//! It listens in a network of its own. One thread holds a socket here and, having moved over there, connects what
//! arrives to it. No route, rule or interface of the machine is touched.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;

use plimsoll_node::config::API_PORT;
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::network::enter_network;

/// Forwards until it is dropped.
pub(super) struct Proxy {
    port: u16,
    _end: oneshot::Sender<()>,
}

impl Proxy {
    /// Listens on a free port and forwards to the API server in the network of this process.
    pub(super) fn start(process: u32) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (end, ended) = oneshot::channel();
        let (entered, has_entered) = mpsc::channel();
        std::thread::spawn(move || {
            let ready = enter_network(process)
                .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_io().build());
            match ready {
                Ok(runtime) => {
                    let _ = entered.send(Ok(()));
                    runtime.block_on(async {
                        tokio::select! {
                            _ = ended => {}
                            () = forward(listener) => {}
                        }
                    });
                }
                Err(error) => drop(entered.send(Err(error))),
            }
        });
        has_entered.recv().map_err(std::io::Error::other)??;
        Ok(Self { port, _end: end })
    }

    /// The port on 127.0.0.1.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

async fn forward(listener: TcpListener) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        // Failing to accept is passing (too many open files); the client tries again.
        let Ok((mut near, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(async move {
            // A connection that the API server does not take is closed, as it would be without us.
            if let Ok(mut far) = TcpStream::connect((Ipv4Addr::LOCALHOST, API_PORT)).await {
                let _ = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}
