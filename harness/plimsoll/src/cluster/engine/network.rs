//! The network of a run: one of the engine's, with few addresses, all known beforehand.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;

use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};

use super::owner::Labels;
use crate::cluster::ClusterError;

/// 198.18.0.0/15 is set aside for tests (RFC 2544), so that no place has it as its own network.
const RANGE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// The addresses in it.
const RANGE_SIZE: u32 = 1 << 17;
/// The least addresses that a run takes.
const LEAST: u32 = 16;
/// Addresses of a network that no container gets: the network's own, the engine's, the broadcast address.
const RESERVED: u32 = 3;
/// How many places in the range are tried. Other runs are the only ones there.
const ATTEMPTS: u32 = 64;

/// A run's network.
pub(super) struct Network {
    /// Its name, and the engine's name for it.
    pub(super) name: String,
    /// Every address that a container in it can be given.
    pub(super) addresses: Vec<Ipv4Addr>,
}

/// The name of a run's network.
pub(super) fn name(run: &str) -> String {
    format!("plimsoll-{run}")
}

/// Makes the network of a run, for so many containers.
pub(super) async fn create(
    docker: &Docker,
    labels: &Labels,
    containers: u32,
) -> Result<Network, ClusterError> {
    let name = name(&labels.run);
    let doing = "making the run's network";
    let size = size(containers).ok_or_else(|| {
        ClusterError::doing(doing)(format!("{containers} containers are too many for one network"))
    })?;
    let places = RANGE_SIZE / size;
    let mut hasher = DefaultHasher::new();
    labels.run.hash(&mut hasher);
    let first = u32::try_from(hasher.finish() % u64::from(places)).unwrap_or(0);
    for attempt in 0..ATTEMPTS.min(places) {
        let subnet = Subnet { base: u32::from(RANGE) + (first + attempt) % places * size, size };
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".into()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_string()),
                    gateway: Some(subnet.gateway().to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            labels: Some(labels.all()),
            ..NetworkCreateRequest::default()
        };
        match docker.create_network(request).await {
            Ok(_) => return Ok(Network { name, addresses: subnet.addresses() }),
            Err(Error::DockerResponseServerError { message, .. }) if is_taken(&message) => {}
            Err(error) => return Err(ClusterError::doing(doing)(error)),
        }
    }
    Err(ClusterError::doing(doing)(format!(
        "{ATTEMPTS} places in {RANGE}/15 are taken\nhelp: `plimsoll clean` removes the networks of runs that were killed"
    )))
}

/// Whether the engine says that another network has these addresses; Docker's words, then Podman's.
fn is_taken(message: &str) -> bool {
    message.contains("overlap") || message.contains("already used")
}

/// How many addresses a network for so many containers has: a power of two.
fn size(containers: u32) -> Option<u32> {
    let size = containers.checked_add(RESERVED)?.checked_next_power_of_two()?.max(LEAST);
    (size <= RANGE_SIZE / 2).then_some(size)
}

/// A block of addresses, aligned to its size.
struct Subnet {
    base: u32,
    size: u32,
}

impl Subnet {
    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    fn addresses(&self) -> Vec<Ipv4Addr> {
        (self.base + 2..self.base + self.size - 1).map(Ipv4Addr::from).collect()
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), u32::BITS - self.size.trailing_zeros())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{RANGE, RANGE_SIZE, Subnet, size};

    #[test]
    fn a_network_is_as_large_as_its_containers_need() {
        assert_eq!(size(2), Some(16));
        assert_eq!(size(13), Some(16));
        assert_eq!(size(14), Some(32));
        assert_eq!(size(1000), Some(1024));
        assert_eq!(size(RANGE_SIZE), None);
    }

    #[test]
    fn every_address_but_the_reserved_ones_may_be_given() {
        let subnet = Subnet { base: u32::from(RANGE) + 32, size: 16 };
        assert_eq!(subnet.to_string(), "198.18.0.32/28");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(198, 18, 0, 33));
        let addresses = subnet.addresses();
        assert_eq!(addresses.len(), 13);
        assert_eq!(
            (addresses[0], addresses[12]),
            (Ipv4Addr::new(198, 18, 0, 34), Ipv4Addr::new(198, 18, 0, 46))
        );
    }
}
