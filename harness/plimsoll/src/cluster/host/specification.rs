//! The OCI runtime specification of a part. Pure.

use std::path::Path;

use plimsoll_node::config::{BIN, MACHINE, PROGRAMS, RUN};
use serde_json::{Value, json};

use crate::cluster::Bounds;
use crate::cluster::gpus::GpuNode;

/// What a specification is made of.
pub(super) struct Part<'a> {
    /// The run's identifier.
    pub(super) run: &'a str,
    /// `control-plane` or the node's name.
    pub(super) name: &'a str,
    /// A node's bounds; absent for the control plane, whose memory is not the node's.
    pub(super) bounds: Option<Bounds>,
    /// Whether swap can be bounded too. Where it can, it is switched off.
    pub(super) bounds_swap: bool,
    /// The folder that is the part's run folder.
    pub(super) run_folder: &'a Path,
    /// The bundle's programs.
    pub(super) bundle: &'a Path,
    /// Our own programs: name and file.
    pub(super) programs: Vec<(&'static str, &'a Path)>,
    /// The device nodes of the machine's own GPUs, for a node that has them.
    pub(super) gpus: Vec<GpuNode>,
    /// The capabilities that this process may hand on.
    pub(super) capabilities: Vec<String>,
}

/// What a node may open and make besides what runc lets every container: the usual null, zero, full, random, urandom, tty, console,
/// ptmx and pseudo terminals, and making any node. These are loop devices and their control, the kernel's log, and the tunnel device
/// that runc lists for every pod.
const NODE_DEVICES: [(&str, u32, Option<u32>); 4] =
    [("b", 7, None), ("c", 10, Some(237)), ("c", 1, Some(11)), ("c", 10, Some(200))];

/// The specification. Never privileged: capabilities and devices by name. A node runs containers itself, so it
/// needs most of them.
pub(super) fn specification(part: &Part<'_>) -> Value {
    let is_node = part.bounds.is_some();
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]}),
        bind(part.bundle, BIN, "ro"),
        bind(part.run_folder, RUN, "rw"),
    ];
    for (name, file) in &part.programs {
        mounts.push(bind(file, &format!("{PROGRAMS}/{name}"), "ro"));
    }
    // The API server is what everything waits for: it comes first where processors are few.
    let weight = if is_node { 1024 } else { 4096 };
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    let mut resources = json!({"cpu": {"shares": weight}});
    let mut devices = Vec::new();
    if let Some(Bounds { memory, tasks, .. }) = part.bounds {
        mounts.push(bind(Path::new("/"), MACHINE, "ro"));
        rules.extend(NODE_DEVICES.map(|(kind, major, minor)| {
            let mut rule = json!({"allow": true, "type": kind, "major": major, "access": "rwm"});
            if let Some(minor) = minor {
                rule["minor"] = json!(minor);
            }
            rule
        }));
        resources["memory"] = if part.bounds_swap {
            json!({"limit": memory, "swap": memory})
        } else {
            json!({"limit": memory})
        };
        resources["pids"] = json!({"limit": tasks});
        devices.push(json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o600}));
        devices.push(
            json!({"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237, "fileMode": 0o600}),
        );
        for GpuNode { path, major, minor } in &part.gpus {
            let (major, minor) = (*major, *minor);
            rules.push(json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rw"}));
            devices
                .push(json!({"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666}));
        }
    }
    resources["devices"] = json!(rules);
    let capabilities = if is_node { part.capabilities.clone() } else { Vec::new() };
    json!({
        "ociVersion": "1.2.0",
        "hostname": part.name,
        "root": {"path": "rootfs"},
        "process": {
            "args": [format!("{PROGRAMS}/plimsoll-node")],
            "cwd": "/",
            "env": [format!("PATH={BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), "HOME=/root"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "ipc"}, {"type": "cgroup"}],
            "cgroupsPath": format!("/plimsoll/{}/{}", part.run, part.name),
            "rootfsPropagation": "private",
            "resources": resources,
            "devices": devices,
        },
    })
}

fn bind(source: &Path, target: &str, access: &str) -> Value {
    json!({"destination": target, "type": "bind", "source": source, "options": ["bind", "private", access]})
}

/// The capabilities of this process by name, from the bit mask that `/proc/self/status` shows.
pub(super) fn capabilities(status: &str) -> Vec<String> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    CAPABILITIES
        .iter()
        .enumerate()
        .filter(|(bit, _)| mask & (1 << bit) != 0)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect()
}

/// The kernel's capabilities in the order of their bits.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Capabilities that no node needs and that reach the whole machine: they are never handed on.
const WITHHELD: [&str; 4] = ["CAP_SYS_MODULE", "CAP_SYS_BOOT", "CAP_SYS_TIME", "CAP_SYS_RAWIO"];

/// What a node gets of the capabilities that this process has.
pub(super) fn for_a_node(held: Vec<String>) -> Vec<String> {
    held.into_iter().filter(|capability| !WITHHELD.contains(&capability.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bounds: Option<Bounds>, gpus: Vec<GpuNode>) -> Value {
        let part = Part {
            run: "r1",
            name: "worker",
            bounds,
            bounds_swap: true,
            run_folder: Path::new("/runs/r1/worker/run"),
            bundle: Path::new("/bundle/bin"),
            programs: Vec::new(),
            gpus,
            capabilities: Vec::new(),
        };
        specification(&part)
    }

    fn rules(bounds: Option<Bounds>) -> Vec<Value> {
        let specification = with(bounds, Vec::new());
        specification["linux"]["resources"]["devices"].as_array().cloned().unwrap_or_default()
    }

    #[test]
    fn a_node_with_the_machines_gpus_has_their_device_nodes_and_may_open_them() {
        let gpu = GpuNode { path: "/dev/nvidia0".to_owned(), major: 195, minor: 0 };
        let bounds = Bounds { memory: 1 << 30, tasks: 900, gpus: true };
        let specification = with(Some(bounds), vec![gpu]);
        let linux = &specification["linux"];
        let rule = json!({"allow": true, "type": "c", "major": 195, "minor": 0, "access": "rw"});
        assert!(
            linux["resources"]["devices"].as_array().is_some_and(|rules| rules.contains(&rule)),
            "{linux}"
        );
        let nodes = linux["devices"].as_array().cloned().unwrap_or_default();
        assert!(nodes.iter().any(|node| node["path"] == "/dev/nvidia0" && node["major"] == 195), "{linux}");
        assert!(!with(Some(bounds), Vec::new()).to_string().contains("nvidia"));
    }

    #[test]
    fn devices_are_allowed_by_name_alone() {
        let node = rules(Some(Bounds { memory: 1 << 30, tasks: 900, gpus: false }));
        for rules in [&rules(None), &node] {
            assert_eq!(rules[0], json!({"allow": false, "access": "rwm"}));
            assert!(rules[1..].iter().all(|rule| rule["allow"] == true && rule["major"].is_number()));
        }
        assert_eq!((rules(None).len(), node.len()), (1, 1 + NODE_DEVICES.len()));
    }
}
