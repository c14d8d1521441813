//! What a reader of the driver says, as JSON lines.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One line of a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    /// All devices at one time.
    Reading(Reading),
    /// Something that happened to a device.
    Event(Event),
    /// A device of whose errors nobody would hear.
    Unwatched(Unwatched),
    /// The driver could not be asked.
    Failure(String),
}

/// All devices at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// When the driver was asked.
    pub time: Timestamp,
    /// The driver's version.
    pub driver_version: String,
    /// Whether the devices are made up by a simulated driver.
    pub simulated: bool,
    /// The devices, in the driver's order.
    pub devices: Vec<Device>,
}

impl Reading {
    /// The same of only some devices, and as if each had so much memory. What a device has beyond that is taken for held by
    /// somebody else, so that what is left of it is what is left.
    #[must_use]
    pub fn bounded(mut self, skip: usize, first: Option<usize>, memory: Option<u64>) -> Self {
        self.devices.drain(..skip.min(self.devices.len()));
        self.devices.truncate(first.unwrap_or(usize::MAX));
        for device in &mut self.devices {
            let beyond = memory.map_or(0, |memory| device.memory_total.saturating_sub(memory));
            device.memory_total -= beyond;
            device.memory_used = device.memory_used.saturating_sub(beyond);
        }
        self
    }
}

/// A device at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its number in the driver's order.
    pub index: u32,
    /// Its identifier, such as `GPU-fef8089b-4820-abfc-e83e-94318197576e`.
    pub uuid: String,
    /// What is painted on it.
    pub name: String,
    /// The number of its device node: `/dev/nvidia<minor>`.
    #[serde(default)]
    pub minor: Option<u32>,
    /// The NUMA node that it is near.
    #[serde(default)]
    pub numa_node: Option<u32>,
    /// All of its memory, in bytes.
    pub memory_total: u64,
    /// What of it is in use or set aside by the driver, in bytes.
    pub memory_used: u64,
    /// The processes that hold memory on it.
    #[serde(default)]
    pub processes: Vec<Process>,
}

impl Device {
    /// What is left of its memory, in bytes.
    #[must_use]
    pub fn memory_available(&self) -> u64 {
        self.memory_total.saturating_sub(self.memory_used)
    }
}

/// A process that holds memory on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its identifier, as the reader's PID namespace has it.
    pub pid: u32,
    /// What it holds, in bytes; none where the driver does not say.
    #[serde(default)]
    pub memory_used: Option<u64>,
}

/// Something that happened to a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The device; none if it happened to all of them.
    #[serde(default)]
    pub uuid: Option<String>,
    /// The driver's number for what happened. NVIDIA documents them as Xid errors.
    pub xid: u64,
}

/// A device whose errors can not be listened for, so that nobody can vouch for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unwatched {
    /// The device; none if it is all of them.
    #[serde(default)]
    pub uuid: Option<String>,
    /// What the driver says.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_device_has_as_much_left_as_it_has() {
        let device = |total: u64, used: u64| Device {
            index: 0,
            uuid: "GPU-a".to_owned(),
            name: "A".to_owned(),
            minor: None,
            numa_node: None,
            memory_total: total,
            memory_used: used,
            processes: Vec::new(),
        };
        let reading = Reading {
            time: Timestamp::UNIX_EPOCH,
            driver_version: "1".to_owned(),
            simulated: false,
            devices: vec![device(80, 66), device(16, 2), device(80, 0)],
        };
        let figures = |reading: &Reading| -> Vec<(u64, u64)> {
            reading.devices.iter().map(|device| (device.memory_total, device.memory_used)).collect()
        };
        // Of 80 somebody holds 64.
        assert_eq!(figures(&reading.clone().bounded(0, Some(2), Some(16))), [(16, 2), (16, 2)]);
        // Nobody does yet: nothing is used, and it is no more than it is.
        assert_eq!(figures(&reading.clone().bounded(0, None, Some(16)))[2], (16, 0));
        assert_eq!(reading.clone().bounded(0, None, None), reading);
        assert_eq!(figures(&reading.clone().bounded(1, Some(1), None)), [(16, 2)]);
        assert_eq!(figures(&reading.clone().bounded(9, None, None)), []);
    }

    #[test]
    fn lines_read_back() {
        let lines = [
            r#"{"reading":{"time":"2026-01-02T03:04:05Z","driverVersion":"580.159","simulated":true,"devices":[{"index":0,"uuid":"GPU-a","name":"A","minor":null,"numaNode":1,"memoryTotal":100,"memoryUsed":40,"processes":[{"pid":7,"memoryUsed":30},{"pid":8,"memoryUsed":null}]}]}}"#,
            r#"{"event":{"uuid":"GPU-a","xid":79}}"#,
            r#"{"unwatched":{"uuid":"GPU-a","why":"unknown error"}}"#,
            r#"{"failure":"no library"}"#,
        ];
        for line in lines {
            let report: Report = serde_json::from_str(line).expect("a report");
            assert_eq!(serde_json::to_string(&report).expect("JSON"), line);
            if let Report::Reading(reading) = report {
                assert_eq!(reading.devices[0].memory_available(), 60);
            }
        }
    }
}
