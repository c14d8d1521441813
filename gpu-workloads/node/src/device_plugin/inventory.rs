//! What is advertised to the kubelet: devices, or shares of their memory.

use std::collections::BTreeMap;

use prost::Message;

use crate::api::device_plugin::{Device, HEALTHY, ListAndWatchResponse, NumaNode, TopologyInfo, UNHEALTHY};
use crate::driver::{Health, Reading};

/// The largest message that the kubelet's gRPC client takes. All devices are in one message.
const LARGEST_MESSAGE: usize = 4 << 20;

/// What stands between a device and the number of a share of it.
const SEPARATOR: &str = "::";

/// What one unit of the resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// A whole device.
    Device,
    /// So many bytes of the memory of one device.
    Memory {
        /// The bytes.
        unit: u64,
    },
}

/// An extended resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name, such as `nvidia.com/gpu`.
    pub name: String,
    /// What one unit of it is.
    pub share: Share,
}

impl Resource {
    /// The bytes of GPU memory that an amount of the resource stands for; none where it counts devices.
    #[must_use]
    pub fn bytes(&self, amount: u64) -> Option<u64> {
        match self.share {
            Share::Device => None,
            Share::Memory { unit } => Some(amount.saturating_mul(unit)),
        }
    }
}

/// Why devices can not be advertised, or an allocation not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InventoryError {
    /// More shares than fit into the one message that the kubelet takes.
    #[error(
        "{resource}: {count} shares are a message of {bytes} bytes, and the kubelet takes {LARGEST_MESSAGE} at most; \
         advertise larger units, such as --unit 1Gi"
    )]
    TooMany {
        /// The resource.
        resource: String,
        /// How many shares there would be.
        count: usize,
        /// The size of the message.
        bytes: usize,
    },
    /// An identifier that was never advertised.
    #[error("{0:?} is no device of this resource")]
    Unknown(String),
    /// Shares of several devices for one container: each device would have less than was asked for.
    #[error(
        "shares of several devices ({}) for one container: it needs them of one device, and none has so many free",
        .0.join(", ")
    )]
    SeveralDevices(Vec<String>),
}

/// The devices as they are advertised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    resource: Resource,
    /// Devices in the driver's order.
    devices: Vec<Advertised>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Advertised {
    uuid: String,
    shares: u64,
    healthy: bool,
    numa_node: Option<u32>,
}

impl Inventory {
    /// What to advertise of the devices of a reading. `lost` says that the driver can not be asked at the moment; then no device is
    /// healthy.
    ///
    /// # Errors
    /// [`InventoryError::TooMany`].
    pub fn new(
        resource: &Resource,
        reading: &Reading,
        health: &Health,
        lost: bool,
    ) -> Result<Self, InventoryError> {
        let devices = reading.devices.iter().map(|device| Advertised {
            uuid: device.uuid.clone(),
            shares: match resource.share {
                Share::Device => 1,
                Share::Memory { unit } => device.memory_total / unit.max(1),
            },
            healthy: !lost && health.is_fit(&device.uuid),
            numa_node: device.numa_node,
        });
        let inventory = Self { resource: resource.clone(), devices: devices.collect() };
        let count = inventory.devices.iter().fold(0_u64, |sum, device| sum.saturating_add(device.shares));
        // Each takes more than a byte; so many are not even counted out.
        let too_many = |bytes| InventoryError::TooMany {
            resource: resource.name.clone(),
            count: usize::try_from(count).unwrap_or(usize::MAX),
            bytes,
        };
        if count > LARGEST_MESSAGE as u64 {
            return Err(too_many(usize::try_from(count).unwrap_or(usize::MAX)));
        }
        let bytes = inventory.message().encoded_len();
        if bytes > LARGEST_MESSAGE { Err(too_many(bytes)) } else { Ok(inventory) }
    }

    /// The same with devices that are gone from it kept as unhealthy ones, so that the kubelet is told.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        for gone in &before.devices {
            if !self.devices.iter().any(|device| device.uuid == gone.uuid) {
                self.devices.push(Advertised { healthy: false, ..gone.clone() });
            }
        }
        self
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The message for the kubelet.
    #[must_use]
    pub fn message(&self) -> ListAndWatchResponse {
        let devices = self.devices.iter().flat_map(|device| {
            let health = if device.healthy { HEALTHY } else { UNHEALTHY };
            let topology =
                device.numa_node.map(|node| TopologyInfo { nodes: vec![NumaNode { id: node.into() }] });
            self.ids(device).map(move |id| Device {
                id,
                health: health.to_owned(),
                topology: topology.clone(),
            })
        });
        ListAndWatchResponse { devices: devices.collect() }
    }

    fn ids<'a>(&self, device: &'a Advertised) -> impl Iterator<Item = String> + use<'a> {
        let whole = self.resource.share == Share::Device;
        (0..device.shares).map(move |share| {
            if whole { device.uuid.clone() } else { format!("{}{SEPARATOR}{share}", device.uuid) }
        })
    }

    /// The device that an identifier stands for, or is a share of.
    fn device(&self, id: &str) -> Result<&Advertised, InventoryError> {
        let unknown = || InventoryError::Unknown(id.to_owned());
        let (uuid, share) = match self.resource.share {
            Share::Device => (id, 0),
            Share::Memory { .. } => {
                let (uuid, share) = id.rsplit_once(SEPARATOR).ok_or_else(unknown)?;
                (uuid, share.parse().map_err(|_| unknown())?)
            }
        };
        self.devices.iter().find(|device| device.uuid == uuid && share < device.shares).ok_or_else(unknown)
    }

    /// The devices behind identifiers, each once, in the driver's order.
    ///
    /// # Errors
    /// [`InventoryError`] for an identifier that was not advertised, and for shares of several devices.
    pub fn devices(&self, ids: &[String]) -> Result<Vec<String>, InventoryError> {
        let mut wanted = Vec::new();
        for id in ids {
            wanted.push(self.device(id)?.uuid.clone());
        }
        let devices: Vec<String> = self
            .devices
            .iter()
            .filter(|device| wanted.contains(&device.uuid))
            .map(|device| device.uuid.clone())
            .collect();
        if self.resource.share != Share::Device && devices.len() > 1 {
            return Err(InventoryError::SeveralDevices(devices));
        }
        Ok(devices)
    }

    /// Which of the free identifiers the kubelet had best take: whole devices in the driver's order; shares all of one device, the one
    /// that has the fewest free and yet enough, so that large requests find room later. Where none has enough, those of
    /// the one with most: the allocation then says what is wrong.
    #[must_use]
    pub fn preferred(&self, available: &[String], must_include: &[String], size: usize) -> Vec<String> {
        let mut chosen = must_include.to_vec();
        let mut by_device: BTreeMap<usize, Vec<&String>> = BTreeMap::new();
        for id in available {
            let position = self
                .device(id)
                .ok()
                .and_then(|found| self.devices.iter().position(|device| device.uuid == found.uuid));
            // The kubelet's choice must be among what is there, so what is not known comes last.
            by_device.entry(position.unwrap_or(usize::MAX)).or_default().push(id);
        }
        let mut order: Vec<usize> = by_device.keys().copied().collect();
        if self.resource.share != Share::Device {
            let held = |at: &usize| {
                let ids = &by_device[at];
                must_include.iter().any(|id| ids.contains(&id))
            };
            let free = |at: &usize| by_device[at].len();
            order.sort_by_key(|at| {
                let enough = free(at) >= size;
                (!held(at), !enough, if enough { free(at) } else { usize::MAX - free(at) }, *at)
            });
        }
        for id in order.iter().flat_map(|at| &by_device[at]) {
            if chosen.len() >= size {
                break;
            }
            if !chosen.contains(id) {
                chosen.push((*id).clone());
            }
        }
        chosen.truncate(size);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{self, Event};

    const GIB: u64 = 1 << 30;

    fn reading(sizes: &[u64]) -> Reading {
        let device = |(index, size): (u32, &u64)| driver::Device {
            index,
            uuid: format!("GPU-{index}"),
            name: "A".to_owned(),
            minor: Some(index),
            numa_node: None,
            memory_total: *size,
            memory_used: 0,
            processes: Vec::new(),
        };
        Reading {
            time: jiff::Timestamp::UNIX_EPOCH,
            driver_version: "1".to_owned(),
            simulated: false,
            devices: (0..).zip(sizes).map(device).collect(),
        }
    }

    fn inventory(share: Share, sizes: &[u64]) -> Inventory {
        let resource = Resource { name: "example.com/gpu".to_owned(), share };
        Inventory::new(&resource, &reading(sizes), &Health::default(), false).expect("an inventory")
    }

    fn ids(inventory: &Inventory) -> Vec<String> {
        inventory.message().devices.into_iter().map(|device| device.id).collect()
    }

    #[test]
    fn devices_or_whole_units_of_their_memory_are_advertised() {
        assert_eq!(ids(&inventory(Share::Device, &[GIB, GIB])), ["GPU-0", "GPU-1"]);
        let shares = inventory(Share::Memory { unit: GIB }, &[2 * GIB + GIB / 2, GIB]);
        assert_eq!(ids(&shares), ["GPU-0::0", "GPU-0::1", "GPU-1::0"]);
        assert_eq!(shares.resource().bytes(3), Some(3 * GIB));
    }

    #[test]
    fn so_many_shares_that_the_kubelet_would_refuse_them_are_refused_here() {
        let resource =
            Resource { name: "example.com/gpu-mib".to_owned(), share: Share::Memory { unit: 1 << 20 } };
        let refused = |sizes: &[u64]| Inventory::new(&resource, &reading(sizes), &Health::default(), false);
        assert!(refused(&[80 * GIB]).is_ok());
        let error = refused(&[180 * GIB]).expect_err("184320 shares").to_string();
        assert!(error.contains("184320") && error.contains("--unit 1Gi"), "{error}");
        assert!(refused(&[u64::MAX, u64::MAX]).is_err());
    }

    #[test]
    fn broken_lost_and_vanished_devices_are_unhealthy() {
        let resource = Resource { name: "example.com/gpu".to_owned(), share: Share::Device };
        let healths = |inventory: &Inventory| -> Vec<bool> {
            inventory.message().devices.iter().map(|device| device.health == HEALTHY).collect()
        };
        let mut health = Health::default();
        health.observe(&Event { uuid: Some("GPU-1".to_owned()), xid: 79 });
        let both = Inventory::new(&resource, &reading(&[GIB, GIB]), &health, false).expect("an inventory");
        assert_eq!(healths(&both), [true, false]);
        let lost = Inventory::new(&resource, &reading(&[GIB, GIB]), &health, true).expect("an inventory");
        assert_eq!(healths(&lost), [false, false]);
        let one = Inventory::new(&resource, &reading(&[GIB]), &Health::default(), false).expect("one");
        assert_eq!(healths(&one.after(&both)), [true, false]);
    }

    #[test]
    fn shares_of_one_container_are_of_one_device() {
        let shares = inventory(Share::Memory { unit: GIB }, &[4 * GIB, 4 * GIB]);
        let devices =
            |ids: &[&str]| shares.devices(&ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>());
        assert_eq!(devices(&["GPU-1::0", "GPU-1::3"]), Ok(vec!["GPU-1".to_owned()]));
        assert!(matches!(devices(&["GPU-1::0", "GPU-0::3"]), Err(InventoryError::SeveralDevices(_))));
        for unknown in ["GPU-1", "GPU-1::4", "GPU-1::x", "GPU-2::0", ""] {
            assert_eq!(devices(&[unknown]), Err(InventoryError::Unknown(unknown.to_owned())));
        }
        let whole = inventory(Share::Device, &[GIB, GIB]);
        let both = ["GPU-1".to_owned(), "GPU-0".to_owned()];
        assert_eq!(whole.devices(&both), Ok(vec!["GPU-0".to_owned(), "GPU-1".to_owned()]));
    }

    #[test]
    fn the_tightest_device_that_is_large_enough_is_preferred() {
        let shares = inventory(Share::Memory { unit: GIB }, &[4 * GIB, 2 * GIB, 3 * GIB]);
        let all = ids(&shares);
        assert_eq!(shares.preferred(&all, &[], 2), ["GPU-1::0", "GPU-1::1"]);
        assert_eq!(shares.preferred(&all, &[], 3), ["GPU-2::0", "GPU-2::1", "GPU-2::2"]);
        let most = shares.preferred(&all, &[], 5);
        assert_eq!(most.len(), 5);
        assert!(shares.devices(&most).is_err(), "no device has five");
        let held = ["GPU-0::3".to_owned()];
        assert_eq!(shares.preferred(&all, &held, 2), ["GPU-0::3", "GPU-0::0"]);
        assert_eq!(shares.preferred(&all[1..4], &[], 1), ["GPU-0::1"]);
        let whole = inventory(Share::Device, &[GIB, GIB]);
        assert_eq!(whole.preferred(&["GPU-1".to_owned(), "GPU-0".to_owned()], &[], 1), ["GPU-0"]);
    }
}
