//! Measuring the node from inside, several times a second.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Voice;
use super::cgroup::Layout;
use crate::config::NodeConfig;
use crate::report::{Fact, FilesystemSample, MemorySample, PidSample, PodSample, Sample};

/// Time from one sample to the next: eight a second.
const INTERVAL: Duration = Duration::from_millis(125);
/// Above this, a version 1 limit means that there is none.
const UNLIMITED: u64 = 1 << 62;

/// Samples in a thread, for as long as the node lives.
pub(super) fn start(layout: Layout, config: &NodeConfig, voice: &Voice) {
    let sampler = Sampler { layout, capacity: config.memory, imagefs: config.imagefs.is_some() };
    let voice = voice.clone();
    std::thread::spawn(move || {
        let mut blind = false;
        let mut next = Instant::now();
        loop {
            match sampler.sample() {
                Ok(sample) => {
                    blind = false;
                    voice.say(Fact::Sample(Box::new(sample)));
                }
                Err(reason) if !blind => {
                    blind = true;
                    voice.say(Fact::Blind { source: "sampler".into(), reason });
                }
                Err(_) => {}
            }
            next += INTERVAL;
            match next.checked_duration_since(Instant::now()) {
                Some(rest) => std::thread::sleep(rest),
                // Too slow to keep up: the next sample is due now, and the lost ones stay lost.
                None => next = Instant::now(),
            }
        }
    });
}

struct Sampler {
    layout: Layout,
    capacity: u64,
    imagefs: bool,
}

impl Sampler {
    fn sample(&self) -> Result<Sample, String> {
        let memory = self.layout.memory();
        let root = self.memory(&memory).ok_or_else(|| format!("{} can not be read", memory.display()))?;
        let kubepods = memory.join("kubepods");
        let mut filesystems = BTreeMap::new();
        let nodefs = filesystem("/var/lib/kubelet").ok_or("the filesystem of the kubelet can not be read")?;
        filesystems.insert("nodefs".to_owned(), nodefs);
        if self.imagefs {
            let imagefs =
                filesystem("/var/lib/containerd").ok_or("the filesystem of containerd can not be read")?;
            filesystems.insert("imagefs".to_owned(), imagefs);
        }
        Ok(Sample {
            memory: MemorySample { capacity: Some(self.capacity), ..root },
            kubepods: self.memory(&kubepods),
            pods: self.pods(&kubepods),
            filesystems,
            pids: pids(),
        })
    }

    fn memory(&self, folder: &Path) -> Option<MemorySample> {
        let (usage, limit, inactive) = match self.layout {
            Layout::V1 => ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file "),
            Layout::V2 => ("memory.current", "memory.max", "inactive_file "),
        };
        let usage = number(&folder.join(usage))?;
        let stat = fs::read_to_string(folder.join("memory.stat")).ok()?;
        let inactive = stat
            .lines()
            .find_map(|line| line.strip_prefix(inactive)?.trim().parse::<u64>().ok())
            .unwrap_or(0);
        let capacity = number(&folder.join(limit)).filter(|limit| *limit < UNLIMITED);
        Some(MemorySample { capacity, usage, working_set: usage.saturating_sub(inactive) })
    }

    /// Every pod's cgroup, by the UID in its name.
    fn pods(&self, kubepods: &Path) -> BTreeMap<String, PodSample> {
        let mut pods = BTreeMap::new();
        for parent in [kubepods.to_path_buf(), kubepods.join("burstable"), kubepods.join("besteffort")] {
            let Ok(entries) = fs::read_dir(&parent) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let Some(uid) = name.to_str().and_then(|name| name.strip_prefix("pod")) else { continue };
                if let Some(memory) = self.memory(&entry.path()) {
                    let tasks = self.tasks(&entry.path());
                    pods.insert(uid.to_owned(), PodSample { working_set: memory.working_set, pids: tasks });
                }
            }
        }
        pods
    }

    fn tasks(&self, memory_folder: &Path) -> Option<u64> {
        let below = memory_folder.strip_prefix(self.layout.memory()).ok()?;
        number(&self.layout.pids().join(below).join("pids.current"))
    }
}

fn number(path: &PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn filesystem(path: &str) -> Option<FilesystemSample> {
    let figures = rustix::fs::statvfs(path).ok()?;
    Some(FilesystemSample {
        capacity: figures.f_blocks * figures.f_frsize,
        available: figures.f_bavail * figures.f_frsize,
        inodes: figures.f_files,
        inodes_free: figures.f_ffree,
    })
}

/// As the kubelet counts them: the machine's bound, and the machine's tasks from the load average's fourth field.
fn pids() -> Option<PidSample> {
    let bound = |name| number(&Path::new("/proc/sys/kernel").join(name));
    let maximum = bound("pid_max")?.min(bound("threads-max").unwrap_or(u64::MAX));
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let current = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(PidSample { maximum, current })
}
