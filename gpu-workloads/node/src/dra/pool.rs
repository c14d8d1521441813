//! What is offered to claims: the node's devices, and the taints of those that are not healthy.

use std::collections::BTreeMap;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::api::resource::v1::{
    Device, DeviceAttribute, DeviceCapacity, DeviceTaint, ResourcePool, ResourceSliceSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::driver::{Health, Reading};

/// The taint of a device that had an error of its own, or is gone: pods leave it that do not tolerate that.
pub const UNHEALTHY_TAINT: &str = "plimsoll.dev/unhealthy";
/// The taint of a device of which nothing is known at the moment: no further pod gets it, and those that have it stay.
pub const UNKNOWN_TAINT: &str = "plimsoll.dev/unknown";
/// The most devices of one slice of which any has a taint. Upstream: `ResourceSliceMaxDevicesWithAdvancedFeatures`.
const MOST: usize = 64;
/// The longest text of an attribute, in bytes. Upstream: `DeviceAttributeMaxValueLength`.
const LONGEST_ATTRIBUTE: usize = 64;

/// Why devices can not be offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// More devices than fit into one slice.
    #[error(
        "{0} devices, and a ResourceSlice takes {MOST} that may have taints; show some only, with --reader-argument=--first={MOST}"
    )]
    TooMany(usize),
    /// A device whose identifier makes no name.
    #[error(
        "{0:?} can not be the name of a device: expected a UUID such as GPU-fef8089b-4820-abfc-e83e-94318197576e"
    )]
    Name(String),
}

/// A taint of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taint {
    key: &'static str,
    value: String,
    effect: &'static str,
    /// Since when it has it, in whole seconds: the API server keeps no more.
    since: Timestamp,
}

impl Taint {
    fn is_like(&self, other: &Self) -> bool {
        (self.key, &self.value, self.effect) == (other.key, &other.value, other.effect)
    }
}

/// A device as it is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    name: String,
    uuid: String,
    model: String,
    index: u32,
    memory: u64,
    taint: Option<Taint>,
}

/// The devices of a node as they are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    simulated: bool,
    driver_version: String,
    /// In the driver's order.
    devices: Vec<Offered>,
}

/// The name that a device has in its pool: its identifier, in lower case as names are.
#[must_use]
pub fn device_name(uuid: &str) -> String {
    uuid.to_ascii_lowercase()
}

/// Whether it is a DNS label, as the names of devices are and the parts of a driver's.
pub(crate) fn is_dns_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The second that a moment is in.
fn whole_seconds(now: Timestamp) -> Timestamp {
    // Truncation of a time that a clock gave does not fail.
    now.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc)).unwrap_or(now)
}

impl Pool {
    /// What to offer of the devices of a reading, made at some time. `lost` says that the driver can not be asked at the moment.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn new(reading: &Reading, health: &Health, lost: bool, now: Timestamp) -> Result<Self, PoolError> {
        let since = whole_seconds(now);
        let taint = |key, value: String, effect| Some(Taint { key, value, effect, since });
        let offered = |device: &crate::driver::Device| {
            let name = device_name(&device.uuid);
            if !is_dns_label(&name) {
                return Err(PoolError::Name(device.uuid.clone()));
            }
            let taint = match health.error(&device.uuid) {
                Some(xid) => taint(UNHEALTHY_TAINT, format!("xid-{xid}"), "NoExecute"),
                None if lost => taint(UNKNOWN_TAINT, "driver-lost".to_owned(), "NoSchedule"),
                None if !health.is_fit(&device.uuid) => {
                    taint(UNKNOWN_TAINT, "errors-not-heard".to_owned(), "NoSchedule")
                }
                None => None,
            };
            Ok(Offered {
                name,
                uuid: device.uuid.clone(),
                model: device.name.clone(),
                index: device.index,
                memory: device.memory_total,
                taint,
            })
        };
        let devices: Vec<Offered> = reading.devices.iter().map(offered).collect::<Result<_, _>>()?;
        if devices.len() > MOST {
            return Err(PoolError::TooMany(devices.len()));
        }
        Ok(Self { simulated: reading.simulated, driver_version: reading.driver_version.clone(), devices })
    }

    /// The same with each taint since when it was there before, and with devices that are gone kept as unhealthy ones: pods that have
    /// them are to leave.
    #[must_use]
    pub fn after(mut self, before: &Self, now: Timestamp) -> Self {
        let since = whole_seconds(now);
        for device in &mut self.devices {
            let was = before.devices.iter().find(|was| was.uuid == device.uuid);
            if let (Some(taint), Some(was)) = (&mut device.taint, was.and_then(|was| was.taint.as_ref()))
                && taint.is_like(was)
            {
                taint.since = was.since;
            }
        }
        for was in &before.devices {
            if self.devices.len() < MOST && !self.devices.iter().any(|device| device.uuid == was.uuid) {
                let gone =
                    Taint { key: UNHEALTHY_TAINT, value: "gone".to_owned(), effect: "NoExecute", since };
                let kept = was.taint.clone().filter(|taint| taint.is_like(&gone)).unwrap_or(gone);
                self.devices.push(Offered { taint: Some(kept), ..was.clone() });
            }
        }
        self
    }

    /// Whether the devices are made up by a simulated driver.
    #[must_use]
    pub fn simulated(&self) -> bool {
        self.simulated
    }

    /// How many devices it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.devices.len()
    }

    /// The taints that there are, in words: `gpu-0 plimsoll.dev/unhealthy=xid-79:NoExecute`.
    #[must_use]
    pub fn taints(&self) -> Vec<String> {
        let said = |device: &Offered| {
            let Taint { key, value, effect, .. } = device.taint.as_ref()?;
            Some(format!("{} {key}={value}:{effect}", device.name))
        };
        self.devices.iter().filter_map(said).collect()
    }

    /// The identifier of a device by its name in the pool.
    #[must_use]
    pub fn uuid(&self, name: &str) -> Option<&str> {
        self.devices.iter().find(|device| device.name == name).map(|device| device.uuid.as_str())
    }

    /// The slice that offers all of it. An API server without the feature `DRADeviceTaints` drops taints without a word, and would have
    /// pods put onto a device that is not healthy; for such a one those devices are left out.
    #[must_use]
    pub fn slice(&self, driver: &str, node: &str, keeps_taints: bool) -> ResourceSliceSpec {
        let offered = self.devices.iter().filter(|device| keeps_taints || device.taint.is_none());
        ResourceSliceSpec {
            driver: driver.to_owned(),
            node_name: Some(node.to_owned()),
            // One slice is the whole pool, so whoever reads it never sees a part of a change.
            pool: ResourcePool { name: node.to_owned(), generation: 1, resource_slice_count: 1 },
            devices: Some(offered.map(|device| self.device(device)).collect()),
            ..ResourceSliceSpec::default()
        }
    }

    fn device(&self, device: &Offered) -> Device {
        let text = |text: &str| DeviceAttribute { string: Some(bounded(text)), ..DeviceAttribute::default() };
        let mut attributes = BTreeMap::from([
            ("uuid".to_owned(), text(&device.uuid)),
            ("model".to_owned(), text(&device.model)),
            ("driverVersion".to_owned(), text(&self.driver_version)),
            (
                "index".to_owned(),
                DeviceAttribute { int: Some(device.index.into()), ..DeviceAttribute::default() },
            ),
        ]);
        if self.simulated {
            let simulated = DeviceAttribute { bool: Some(true), ..DeviceAttribute::default() };
            attributes.insert("simulated".to_owned(), simulated);
        }
        let memory = DeviceCapacity { value: Quantity(device.memory.to_string()), request_policy: None };
        let taint = |taint: &Taint| DeviceTaint {
            key: taint.key.to_owned(),
            value: Some(taint.value.clone()),
            effect: taint.effect.to_owned(),
            time_added: Some(Time(taint.since)),
        };
        Device {
            name: device.name.clone(),
            attributes: Some(attributes),
            capacity: Some(BTreeMap::from([("memory".to_owned(), memory)])),
            taints: device.taint.as_ref().map(|own| vec![taint(own)]),
            ..Device::default()
        }
    }
}

/// A text that is no longer than an attribute can be.
fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_ATTRIBUTE)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{self, Event, Unwatched};

    fn reading(count: u32) -> Reading {
        let device = |index| driver::Device {
            index,
            uuid: format!("GPU-{index}"),
            name: "A".repeat(80),
            minor: None,
            numa_node: None,
            memory_total: 16 << 30,
            memory_used: 0,
            processes: Vec::new(),
        };
        Reading {
            time: Timestamp::UNIX_EPOCH,
            driver_version: "580.159.03".to_owned(),
            simulated: true,
            devices: (0..count).map(device).collect(),
        }
    }

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("a time")
    }

    fn broken(uuid: &str, xid: u64) -> Health {
        let mut health = Health::default();
        health.observe(&Event { uuid: Some(uuid.to_owned()), xid });
        health
    }

    #[test]
    fn a_slice_is_the_whole_pool_with_what_claims_select_by() {
        let pool = Pool::new(&reading(2), &Health::default(), false, at(0)).expect("a pool");
        let slice = pool.slice("gpu.plimsoll.dev", "worker", true);
        assert_eq!((slice.driver.as_str(), slice.node_name.as_deref()), ("gpu.plimsoll.dev", Some("worker")));
        assert_eq!((slice.pool.name.as_str(), slice.pool.resource_slice_count), ("worker", 1));
        let devices = slice.devices.expect("devices");
        let device = serde_json::to_value(&devices[1]).expect("JSON");
        assert_eq!(
            device,
            serde_json::json!({
                "name": "gpu-1",
                "attributes": {
                    "uuid": {"string": "GPU-1"}, "model": {"string": "A".repeat(64)}, "index": {"int": 1},
                    "driverVersion": {"string": "580.159.03"}, "simulated": {"bool": true},
                },
                "capacity": {"memory": {"value": "17179869184"}},
            })
        );
        assert_eq!((pool.uuid("gpu-1"), pool.uuid("GPU-1")), (Some("GPU-1"), None));
    }

    #[test]
    fn what_is_broken_is_left_and_what_is_unknown_is_only_not_given_away() {
        let taints = |health: &Health, lost| {
            Pool::new(&reading(2), health, lost, at(0)).expect("a pool").taints().join(", ")
        };
        assert_eq!(taints(&Health::default(), false), "");
        assert_eq!(taints(&broken("GPU-1", 48), false), "gpu-1 plimsoll.dev/unhealthy=xid-48:NoExecute");
        assert_eq!(
            taints(&broken("GPU-1", 48), true),
            "gpu-0 plimsoll.dev/unknown=driver-lost:NoSchedule, gpu-1 plimsoll.dev/unhealthy=xid-48:NoExecute"
        );
        let mut unheard = Health::default();
        unheard.unwatched(&Unwatched { uuid: Some("GPU-0".to_owned()), why: String::new() });
        assert_eq!(taints(&unheard, false), "gpu-0 plimsoll.dev/unknown=errors-not-heard:NoSchedule");
    }

    #[test]
    fn a_taint_keeps_its_time_and_a_device_that_is_gone_gets_one() {
        let first = Pool::new(&reading(2), &broken("GPU-0", 48), false, at(10_000)).expect("a pool");
        let later = Pool::new(&reading(1), &broken("GPU-0", 48), false, at(20_600))
            .expect("a pool")
            .after(&first, at(20_400));
        let since = |pool: &Pool, index: usize| pool.devices[index].taint.as_ref().expect("a taint").since;
        assert_eq!(since(&later, 0), at(10_000), "it has had it since then");
        assert_eq!(later.taints()[1], "gpu-1 plimsoll.dev/unhealthy=gone:NoExecute");
        assert_eq!(since(&later, 1), at(20_000), "whole seconds");
        let last = Pool::new(&reading(1), &broken("GPU-0", 79), false, at(30_000)).expect("a pool");
        let last = last.after(&later, at(30_000));
        assert_eq!(
            (since(&last, 0), since(&last, 1)),
            (at(30_000), at(20_000)),
            "another error is another taint"
        );
        let back = Pool::new(&reading(2), &Health::default(), false, at(40_000)).expect("a pool");
        assert_eq!(back.after(&last, at(40_000)).taints(), Vec::<String>::new());
    }

    #[test]
    fn without_taints_what_is_not_healthy_is_not_offered() {
        let pool = Pool::new(&reading(2), &broken("GPU-0", 48), false, at(0)).expect("a pool");
        let names = |keeps_taints| -> Vec<String> {
            let devices = pool.slice("d", "worker", keeps_taints).devices.expect("devices");
            devices.into_iter().map(|device| device.name).collect()
        };
        assert_eq!(names(true), ["gpu-0", "gpu-1"]);
        assert_eq!(names(false), ["gpu-1"]);
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused() {
        let refused =
            |reading: &Reading| Pool::new(reading, &Health::default(), false, at(0)).expect_err("refused");
        assert_eq!(refused(&reading(65)), PoolError::TooMany(65));
        let mut odd = reading(1);
        odd.devices[0].uuid = "GPU_0".to_owned();
        assert_eq!(refused(&odd), PoolError::Name("GPU_0".to_owned()));
    }
}
