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
