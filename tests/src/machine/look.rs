//! Looking at one kind of thing on the machine, a line a thing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kind of what runs.
pub(super) const PROCESSES: &str = "processes";
/// The kind of what processes are in.
pub(super) const NAMESPACES: &str = "namespaces";

const CGROUPS: &str = "/sys/fs/cgroup";
/// Where a system's own manager makes and removes cgroups as it likes; those of containers are looked at there too.
const OF_THE_SYSTEM: [&str; 4] = ["/system.slice/", "/user.slice/", "/machine.slice/", "/init.scope"];
/// What components write when nothing tells them where.
const OF_COMPONENTS: [&str; 14] = [
    "/etc/cni",
    "/etc/containerd",
    "/etc/kubernetes",
    "/opt/cni",
    "/run/containerd",
    "/run/flannel",
    "/run/netns",
    "/run/runc",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

fn lines(path: &str, of: impl Fn(&str) -> Option<String>) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().filter_map(of).collect()
}

/// The names in a folder.
pub(super) fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What is mounted where from where and how, less the numbers that count mounts.
pub(super) fn mounts() -> Vec<String> {
    lines("/proc/self/mountinfo", |line| Some(line.split(' ').skip(3).collect::<Vec<_>>().join(" ")))
}

/// The routes of both families, less how often they were used.
pub(super) fn routes() -> Vec<String> {
    let mut routes = lines("/proc/net/route", |line| Some(format!("4 {line}")));
    routes.extend(lines("/proc/net/ipv6_route", |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // The two numbers between metric and flags count users and uses.
        let [to, length, from, from_length, next, metric, _, _, _, interface] = fields.as_slice() else {
            return Some(format!("6 {line}"));
        };
        Some(format!("6 {to}/{length} from {from}/{from_length} by {next} {metric} {interface}"))
    }));
    routes
}

/// The rules of every kind, less their counters, as far as a tool shows them; and the tables that exist.
pub(super) fn packet_filter() -> Vec<String> {
    let mut rules = Vec::new();
    for family in ["ip", "ip6"] {
        let said = said(&format!("{family}tables-save"), &[]);
        let kept = said
            .lines()
            .filter(|line| line.starts_with("-A") || line.starts_with('*') || line.starts_with(':'));
        // A chain's counters stand in brackets behind it.
        rules.extend(kept.map(|line| format!("{family} {}", line.split(" [").next().unwrap_or(line))));
        rules.extend(lines(&format!("/proc/net/{family}_tables_names"), |table| {
            Some(format!("{family} table {table}"))
        }));
    }
    rules.extend(
        said("nft", &["--stateless", "list", "ruleset"]).lines().map(|line| format!("nft {}", line.trim())),
    );
    rules
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// The loop devices that have a file, less those of some runs. The kernel tells the file as the node saw it, so whose it is shows in
/// the mounts of the run's processes alone.
pub(super) fn loop_devices(others: &[String]) -> Vec<String> {
    let mut of_others = BTreeSet::new();
    for process in process_identifiers() {
        let read = |file: &str| fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
        if !others.is_empty() && is_of(&read("cgroup"), others) {
            let mounts = read("mountinfo");
            let devices = mounts.lines().filter_map(|line| line.split(' ').nth(2)?.strip_prefix("7:"));
            of_others.extend(devices.map(|minor| format!("loop{minor}")));
        }
    }
    let device = |name: String| {
        let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        (!of_others.contains(&name)).then(|| format!("{name}: {}", file.trim()))
    };
    names("/sys/block").into_iter().filter_map(device).collect()
}

/// The runs that have cgroups.
pub(super) fn runs_with_cgroups() -> Vec<String> {
    let hierarchies = names(CGROUPS).into_iter().map(|hierarchy| Path::new(CGROUPS).join(hierarchy));
    let parents = hierarchies.chain([PathBuf::from(CGROUPS)]).map(|folder| folder.join("plimsoll"));
    parents.flat_map(names).filter(|name| !name.contains('.')).collect()
}

/// Every cgroup, less those of some runs and those that the system's manager makes and removes by itself.
pub(super) fn cgroups(others: &[String]) -> Vec<String> {
    let mut found = all_cgroups();
    found.retain(|path| {
        let of_a_container = ["docker", "plimsoll", "kubepods"].iter().any(|name| path.contains(name));
        let of_the_system = OF_THE_SYSTEM.iter().any(|system| path.contains(system)) && !of_a_container;
        // The folder that all runs share is there because of the others.
        let shared = !others.is_empty() && path.ends_with("/plimsoll");
        !of_the_system && !shared && !is_of(path, others)
    });
    found
}

/// Every cgroup of every hierarchy, by its folder.
pub(super) fn all_cgroups() -> Vec<String> {
    let mut found = Vec::new();
    walk(Path::new(CGROUPS), &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path().display().to_string());
            walk(&entry.path(), found);
        }
    }
}

/// What lies in the folders that node components take when nothing tells them otherwise.
pub(super) fn component_folders() -> Vec<String> {
    let inside = |folder: &&str| {
        let folder = (*folder).to_owned();
        let own = Path::new(&folder).exists().then(|| folder.clone());
        own.into_iter().chain(names(&folder).into_iter().map(move |name| format!("{folder}/{name}")))
    };
    OF_COMPONENTS.iter().flat_map(|folder| inside(folder).collect::<Vec<_>>()).collect()
}

/// Every process.
pub(super) fn process_identifiers() -> Vec<String> {
    names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

fn processes_beside(others: &[String]) -> impl Iterator<Item = String> {
    process_identifiers().into_iter().filter(move |process| {
        let cgroups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        !is_of(&cgroups, others)
    })
}

/// Every namespace that a process is in, one line however many are in it.
pub(super) fn namespaces(others: &[String]) -> Vec<String> {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let mut found: Vec<String> = processes_beside(others)
        .flat_map(|process| {
            let space = |kind| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
            kinds.iter().filter_map(space).map(|space| space.display().to_string()).collect::<Vec<_>>()
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Programs of a node that run somewhere on this machine, each with its process identifier, so that no other takes its place.
pub(super) fn processes(others: &[String]) -> Vec<String> {
    const OURS: [&str; 12] = [
        "plimsoll-node",
        "plimsoll-hog",
        "plimsoll-pause",
        "kubelet",
        "kube-apiserver",
        "kube-controller",
        "kube-scheduler",
        "kwok",
        "etcd",
        "containerd-shim",
        "loop-mount",
        "runc",
    ];
    let name = |process: String| {
        let name = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
        Some(format!("{} {process}", name.trim()))
    };
    let mut running: Vec<String> = processes_beside(others).filter_map(name).collect();
    running.retain(|name| OURS.iter().any(|ours| name.starts_with(ours)));
    running.sort();
    running
}

fn is_of(text: &str, runs: &[String]) -> bool {
    runs.iter().any(|run| text.contains(run.as_str()))
}
