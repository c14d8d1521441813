//! The machine around a run: what must be the same afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The kernel's settings that a kubelet, a container runtime or a network plugin is known to write.
const SETTINGS: [&str; 12] = [
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "kernel/pid_max",
    "kernel/threads-max",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "net/ipv4/ip_forward",
    "net/ipv4/ip_unprivileged_port_start",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
];

/// The kind of what runs.
const PROCESSES: &str = "processes";
/// How long the kernel may take to take away what has ended.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// What is compared, by kind, one line a thing.
pub type State = BTreeMap<&'static str, Vec<String>>;

/// Looks at the machine.
#[must_use]
pub fn state() -> State {
    BTreeMap::from([
        ("kernel settings", settings()),
        (
            "mounts",
            lines("/proc/self/mountinfo", |line| {
                line.split(' ').skip(3).take(3).collect::<Vec<_>>().join(" ")
            }),
        ),
        ("routes", lines("/proc/net/route", str::to_owned)),
        ("interfaces", names("/sys/class/net")),
        ("packet filter", packet_filter()),
        ("loop devices", loop_devices()),
        ("cgroups", cgroups()),
        ("runs", names("/var/lib/plimsoll/runs")),
        (PROCESSES, processes()),
    ])
}

/// What differs, in words; empty when nothing does.
#[must_use]
pub fn difference(before: &State, after: &State) -> Vec<String> {
    let mut differences = Vec::new();
    for (kind, was) in before {
        let is = after.get(kind).map(Vec::as_slice).unwrap_or_default();
        // What an earlier run's end had not taken away yet may go meanwhile.
        let may_go = *kind == PROCESSES;
        let gone = was.iter().filter(|line| !may_go && !is.contains(line));
        let gone = gone.map(|line| format!("{kind}: gone: {line}"));
        let new = is.iter().filter(|line| !was.contains(line)).map(|line| format!("{kind}: new: {line}"));
        differences.extend(gone.chain(new));
    }
    differences
}

/// Waits until the machine is as it was: the kernel takes processes, mounts and loop devices away a moment after it was
/// told to.
///
/// # Errors
/// With what still differs after some seconds.
pub fn is_as_before(before: &State) -> Result<(), String> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let differences = difference(before, &state());
        if differences.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("the machine is not as it was:\n{}", differences.join("\n")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn settings() -> Vec<String> {
    let value = |name: &&str| {
        fs::read_to_string(Path::new("/proc/sys").join(name))
            .map(|value| format!("{name} = {}", value.trim()))
    };
    SETTINGS.iter().filter_map(|name| value(name).ok()).collect()
}

fn lines(path: &str, of: impl Fn(&str) -> String) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(of).collect()
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The rules, less their counters. Where no tool shows them, the tables that exist.
fn packet_filter() -> Vec<String> {
    let rules = Command::new("iptables-save").output().ok().filter(|output| output.status.success());
    match rules {
        Some(output) => String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| line.starts_with("-A") || line.starts_with('*'))
            .map(str::to_owned)
            .collect(),
        None => lines("/proc/net/ip_tables_names", str::to_owned),
    }
}

fn loop_devices() -> Vec<String> {
    let device = |name: String| {
        fs::read_to_string(format!("/sys/block/{name}/loop/backing_file"))
            .ok()
            .map(|file| format!("{name}: {}", file.trim()))
    };
    names("/sys/block").into_iter().filter_map(device).collect()
}

fn cgroups() -> Vec<String> {
    let mut found = Vec::new();
    for hierarchy in names("/sys/fs/cgroup") {
        let folder = Path::new("/sys/fs/cgroup").join(hierarchy);
        walk(&folder, 0, &mut found);
    }
    found.retain(|path| path.contains("plimsoll"));
    found
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if depth < 6 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path().display().to_string());
            walk(&entry.path(), depth + 1, found);
        }
    }
}

/// Programs of a node that run somewhere on this machine, each with its process identifier, so that no other takes its place.
fn processes() -> Vec<String> {
    const OURS: [&str; 10] = [
        "plimsoll-node",
        "plimsoll-hog",
        "plimsoll-pause",
        "kubelet",
        "kube-apiserver",
        "kube-controller",
        "kube-scheduler",
        "etcd",
        "containerd-shim",
        "loop-mount",
    ];
    let name = |process: String| {
        fs::read_to_string(format!("/proc/{process}/comm"))
            .ok()
            .map(|name| format!("{} {process}", name.trim()))
    };
    let running = names("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(name);
    let mut running: Vec<String> =
        running.filter(|name| OURS.iter().any(|ours| name.starts_with(ours))).collect();
    running.sort();
    running
}
