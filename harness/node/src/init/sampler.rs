//! Measuring the node from inside, several times a second.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Voice;
use super::cgroup::Layout;
use super::mounts::{LOAD_AVERAGE, load_average};
use crate::config::NodeConfig;
use crate::report::{Fact, FilesystemSample, MemorySample, PidSample, PodSample, Sample};

/// Time from one sample to the next: eight a second.
const INTERVAL: Duration = Duration::from_millis(125);
/// Above this, a version 1 limit means that there is none.
const UNLIMITED: u64 = 1 << 62;

/// Samples in a thread, for as long as the node lives.
pub(super) fn start(layout: Layout, config: &NodeConfig, voice: &Voice) {
    // As the kubelet takes it.
    let threads = number(Path::new("/proc/sys/kernel/threads-max")).unwrap_or(u64::MAX);
    let sampler = Sampler {
        layout,
        capacity: config.memory,
        pids: config.pids.min(threads),
        imagefs: config.imagefs.is_some(),
    };
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
    /// The most tasks that it may have.
    pids: u64,
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
            pids: Some(self.count_tasks()?),
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

    /// Counts the node's tasks, and shows the kubelet what was counted: on a machine of its own it would read as many, and
    /// here those of the machine.
    fn count_tasks(&self) -> Result<PidSample, String> {
        let folder = self.layout.pids();
        let current = number(&folder.join("pids.current"))
            .ok_or_else(|| format!("the tasks of {} can not be counted", folder.display()))?;
        File::options()
            .write(true)
            .open(LOAD_AVERAGE)
            .and_then(|file| file.write_all_at(load_average(current).as_bytes(), 0))
            .map_err(|error| format!("{LOAD_AVERAGE}: {error}"))?;
        Ok(PidSample { maximum: self.pids, current })
    }

    fn tasks(&self, memory_folder: &Path) -> Option<u64> {
        let below = memory_folder.strip_prefix(self.layout.memory()).ok()?;
        number(&self.layout.pids().join(below).join("pids.current"))
    }
}

fn number(path: &Path) -> Option<u64> {
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
