//! The folder that a run leaves when it did not hold: all that is needed to find out why, without running again.

use std::path::Path;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;
use crate::observe::{Fact, Timeline};
use crate::plan::Plan;
use crate::verdict::Verdict;
use crate::whole_file::WholeFile;

/// The machine on which a run was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// How many processors it has.
    pub processors: usize,
    /// Its kernel's release.
    pub kernel: String,
    /// The version of its cgroups.
    pub cgroup: u8,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: release.trim().to_owned(),
            cgroup: if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { 2 } else { 1 },
        }
    }

    /// Reads the machine of a run back, if its folder says.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join("machine.json")).ok()?).ok()
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processors, kernel, cgroup } = self;
        write!(f, "{processors} processors, Linux {kernel}, cgroup v{cgroup}")
    }
}

/// Writes `plan.json`, `timeline.jsonl`, `verdict.json`, `machine.json`, `objects.json` (as last seen) and `logs/`.
///
/// # Errors
/// With what could not be written; the rest is there.
pub async fn write(
    folder: &Path,
    plan: &Plan,
    timeline: &Timeline,
    verdict: &Verdict,
    cluster: &dyn Cluster,
) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut lines = Vec::new();
    for observation in &timeline.observations {
        serde_json::to_writer(&mut lines, observation)?;
        lines.push(b'\n');
    }
    let written = [
        WholeFile::write(&folder.join("timeline.jsonl"), &lines),
        document(&folder.join("plan.json"), plan),
        document(&folder.join("verdict.json"), verdict),
        document(&folder.join("machine.json"), &Machine::here()),
        document(&folder.join("objects.json"), &objects(timeline)),
        cluster.copy_logs(&folder.join("logs")).await.map_err(io::Error::other),
    ];
    written.into_iter().collect()
}

/// Writes what there is of a run that never had a cluster: its plan.
///
/// # Errors
/// When it can not be written.
pub fn write_plan(folder: &Path, plan: &Plan) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    document(&folder.join("plan.json"), plan)
}

/// Reads the plan and the timeline of a run back.
///
/// # Errors
/// When the folder has none, or they can not be read; line and file are named.
pub fn read(folder: &Path) -> io::Result<(Plan, Timeline)> {
    let named =
        |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let path = folder.join("plan.json");
    let text = std::fs::read(&path).map_err(|error| named(&path, error))?;
    let plan = serde_json::from_slice(&text).map_err(|error| named(&path, error.into()))?;
    let path = folder.join("timeline.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|error| named(&path, error))?;
    let mut timeline = Timeline::default();
    for (number, line) in text.lines().enumerate() {
        let observation = serde_json::from_str(line).map_err(|error| {
            named(&path, io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {error}", number + 1)))
        })?;
        timeline.observations.push(observation);
    }
    Ok((plan, timeline))
}

/// Every pod and node as it was last seen.
fn objects(timeline: &Timeline) -> Vec<serde_json::Value> {
    let mut last = std::collections::BTreeMap::new();
    for observation in &timeline.observations {
        let object = match &observation.fact {
            Fact::Pod(pod) | Fact::PodDeleted(pod) => serde_json::to_value(pod),
            Fact::Node(node) => serde_json::to_value(node),
            _ => continue,
        };
        if let Ok(object) = object {
            last.insert(object["metadata"]["uid"].to_string(), object);
        }
    }
    last.into_values().collect()
}

fn document(path: &Path, document: &impl Serialize) -> io::Result<()> {
    WholeFile::write(path, &serde_json::to_vec_pretty(document)?)
}
