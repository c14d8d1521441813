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
