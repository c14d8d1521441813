//! What a filler writes on its standard output: JSON lines, one [`Report`] each.
//!
//! The first line is a `start`, the last a `final`. Readers ignore fields that they do not know; a
//! change that would mislead them raises [`VERSION`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::quantity::Unit;

/// The version of the schema, the field `v` of each line.
pub const VERSION: u32 = 1;

/// One fact about a filler at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The schema's version.
    pub v: u32,
    /// What happened.
    pub kind: Kind,
    /// Wall time, with nanoseconds, in UTC.
    pub at: Timestamp,
    /// Seconds since the filler's start on the monotonic clock, read when `filled` was.
    pub elapsed: f64,
    /// What is filled.
    pub resource: Resource,
    /// In which form, where a resource has several.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// The filler's process id as it sees it itself.
    pub pid: u32,
    /// What `target`, `filled`, `holds`, `returned` and `rate` are counted in.
    pub unit: Unit,
    /// The amount that it was asked to hold.
    pub target: u64,
    /// The amount that it has taken, by its own account: `target` rounded up to whole pages once there.
    pub filled: u64,
    /// The amount that the kernel says it holds; `None` when it could not be measured.
    pub holds: Option<u64>,
    /// The rate asked for, in units a second; `None` is as fast as possible.
    pub rate: Option<u64>,
    /// The amount taken at once before the rate applies.
    pub start_at: u64,
    /// By how much `holds` fell through a release, a smaller target, or the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<u64>,
    /// Why it happened, for the kinds that have a cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// A sentence about the reason, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// On `start`: the path of the control socket; absent when control is off (`message` says why).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// How many reports were lost before this one because nobody read the output.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// How often the resource could not be had so far, for a filler that goes on then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refusals: u64,
    /// What belongs to GPU memory alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

/// What is filled of GPUs, and by way of which driver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// `SIMULATED` when no device had a part in this; absent on a real one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Simulated>,
    /// The devices, in the order in which they were asked for.
    pub devices: Vec<GpuDevice>,
    /// How long it took from the filler's start until the first byte was written and the device had done it, the making of contexts
    /// included; absent before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_seconds: Option<f64>,
    /// What the memory test has found so far, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_test: Option<MemoryTest>,
}

/// The mark of everything that a simulated driver had a part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Simulated {
    /// Nothing of it comes from a device.
    #[serde(rename = "SIMULATED")]
    Simulated,
}

/// One device at one moment. Amounts are in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuDevice {
    /// Its index, as CUDA counts the devices that it sees.
    pub index: u32,
    /// `GPU-` and its UUID.
    pub uuid: String,
    /// Its product name.
    pub name: String,
    /// The amount that should be held of it.
    pub target: u64,
    /// The amount that has been allocated and written.
    pub filled: u64,
    /// The amount that the driver says is held, the context left out; `None` when it could not be measured.
    pub holds: Option<u64>,
    /// By which measure: `process` is NVML's figure for this process, `device` the fall in what is free, which others have
    /// a part in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<GpuMeasure>,
    /// What the context takes, which is no part of what is held; `None` when NVML does not say.
    pub context: Option<u64>,
    /// How long the making of the context took, the loading of kernels included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_seconds: Option<f64>,
    /// What was free of it before the context was made; `None` when NVML does not say.
    pub free_before: Option<u64>,
    /// What is free of it now.
    pub free: Option<u64>,
    /// All of its memory, as CUDA counts it.
    pub total: u64,
    /// How fast it was written so far, in bytes a second, waiting left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_bandwidth: Option<u64>,
    /// How fast it was compared so far, in bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_bandwidth: Option<u64>,
    /// Whether it was in MIG mode; `None` when NVML does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig: Option<bool>,
    /// Whether it was used by way of MPS; `None` when the driver does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mps: Option<bool>,
}

/// How what is held was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuMeasure {
    /// NVML's figure for this process.
    Process,
    /// The fall in what is free of the device.
    Device,
}

/// A memory test so far. All counts are sums over passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryTest {
    /// How often all that is held was compared.
    pub passes: u64,
    /// Bytes that were compared.
    pub compared: u64,
    /// Elements of 16 bytes that did not read back as they were written.
    pub differing: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The filler runs; nothing is taken yet.
    Start,
    /// It is on its way to the target; also the answer to `status` then.
    Progress,
    /// The target is reached; repeated while it is held.
    Held,
    /// A command gave it another target or rate.
    Changed,
    /// It gave everything back, and stays.
    Released,
    /// It was told to end and holds on for its shutdown delay.
    Terminating,
    /// It ends. Everything is given back, as far as it could be.
    Final,
}

/// What is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Memory, in bytes.
    Memory,
    /// A filesystem's space, in bytes.
    Disk,
    /// A filesystem's inodes.
    Inodes,
    /// Process ids.
    Pids,
    /// Processor time, in thousandths of a processor.
    Cpu,
    /// Memory of GPUs, in bytes.
    GpuMemory,
}

/// The form in which a resource is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Memory of the process itself, which only its end or a release gives back.
    Anonymous,
    /// Pages of a file that was read once; the kernel takes them back when it needs memory.
    PageCache,
    /// Pages of a file that was read twice, which the kubelet counts as the working set.
    ActivePageCache,
    /// Pages of a file in memory, in a tmpfs or without a name.
    Tmpfs,
    /// Disk space that was written and synced.
    Written,
    /// Disk space that was only allocated.
    Allocated,
    /// The container's log, by way of standard error.
    Log,
}

/// Why something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// A command through the control socket.
    Command,
    /// SIGUSR1.
    ReleaseSignal,
    /// SIGTERM.
    Terminated,
    /// SIGINT.
    Interrupted,
    /// The time that it should hold is over.
    HoldOver,
    /// The resource could not be had: out of memory, disk full, a limit.
    Exhausted,
    /// What it is taken of is gone: a device that can not be used any more.
    Lost,
    /// What was written does not read back.
    Corrupted,
}

/// Why a line is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The line is not JSON, or lacks a field.
    #[error("not a filler's report: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The line is of another version of the schema.
    #[error("a filler's report of version {0}; this program reads version {VERSION}")]
    Version(u32),
}

impl Report {
    /// Reads one line.
    ///
    /// # Errors
    ///
    /// When the line is not a report, or one of another version.
    pub fn parse(line: &str) -> Result<Report, ReadError> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        match serde_json::from_str::<Versioned>(line)?.v {
            VERSION => Ok(serde_json::from_str(line)?),
            other => Err(ReadError::Version(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"v":1,"kind":"released","at":"2026-01-02T03:04:05.000000006Z","elapsed":1.5,"resource":"memory","pid":1,"unit":"bytes","target":0,"filled":0,"holds":0,"rate":null,"start_at":0,"returned":4096,"reason":"release-signal"}"#;

    #[test]
    fn a_line_reads_and_writes_the_same() {
        let report = Report::parse(LINE).unwrap();
        assert_eq!(report.reason, Some(Reason::ReleaseSignal));
        assert_eq!(serde_json::to_string(&report).unwrap(), LINE);
    }

    #[test]
    fn unknown_fields_are_let_be_and_other_versions_are_not() {
        let longer = LINE.replace("\"v\":1", "\"v\":1,\"weather\":\"fair\"");
        assert_eq!(Report::parse(&longer).unwrap(), Report::parse(LINE).unwrap());
        let error = Report::parse(&LINE.replace("\"v\":1", "\"v\":2")).unwrap_err();
        assert_eq!(error.to_string(), "a filler's report of version 2; this program reads version 1");
        assert!(matches!(Report::parse("Killed"), Err(ReadError::Malformed(_))));
    }
}
