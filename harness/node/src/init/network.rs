//! The node's address.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use super::InitError;

/// The address that packets to the outside carry. No packet is sent: connecting a datagram socket only asks for the route.
pub(super) fn own_address(within: Duration) -> Result<Ipv4Addr, InitError> {
    let deadline = Instant::now() + within;
    loop {
        let address = UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()))
            .map(|address| address.ip());
        match address {
            Ok(IpAddr::V4(address)) if !address.is_loopback() && !address.is_unspecified() => {
                return Ok(address);
            }
            _ if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(address) => {
                return Err(InitError(format!(
                    "this container's address is {address}; an IPv4 address with a default route is needed"
                )));
            }
            Err(error) => return Err(InitError(format!("this container has no default route: {error}"))),
        }
    }
}

/// Whether something listens at a local port.
pub(super) fn listens(port: u16) -> bool {
    std::net::TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_millis(200))
        .is_ok()
}
