//! What a scenario takes of a machine, and what a machine has.

use std::path::Path;

use crate::plan::{Action, NodePlan, Plan, Resource};

/// The label by which a scenario says that it wants a machine for itself: `needs: exclusive`.
pub const NEEDS_LABEL: &str = "needs";
/// Its value.
pub const EXCLUSIVE: &str = "exclusive";
/// Memory of a control plane, its page cache included, in bytes.
const CONTROL_PLANE_MEMORY: u64 = 768 << 20;
/// Disk that a control plane and each node write beside the bounded filesystems, in bytes: etcd's files and logs.
const OTHER_DISK: u64 = 256 << 20;
/// Processor time of a cluster that has booted, in thousandths of a core: for the control plane, and for each node. The accounts of the
/// runs' cgroups say 65 to 115 for both together, fills and evictions included; the rest is for what a look of the kubelet takes at once.
const CONTROL_PLANE_PROCESSOR: u64 = 100;
const NODE_PROCESSOR: u64 = 80;
/// Inotify instances: of the API server, the controller manager and the scheduler, and of a node's kubelet and container runtime, by the
/// files that they hold open.
const CONTROL_PLANE_INOTIFY: u64 = 6;
const NODE_INOTIFY: u64 = 12;
/// Memory of a program that plays hollow nodes, and of what the control plane keeps of each node, in bytes.
const HOLLOW_PROGRAM_MEMORY: u64 = 96 << 20;
const HOLLOW_NODE_MEMORY: u64 = 1 << 20;
/// Processor time of a hollow node, in thousandths of a core.
const HOLLOW_NODE_PROCESSOR: u64 = 2;
/// A boot takes 4 to 5 seconds of processor time. It takes as much as it gets; with this it is over in ten seconds, and others can boot
/// and run beside it.
const BOOT_PROCESSOR: u64 = 500;
/// Tasks of a control plane, and of a node that is not about to use up its own.
const CONTROL_PLANE_TASKS: u64 = 100;
const NODE_TASKS: u64 = 400;
/// Tasks that are left to the machine itself.
const LEFT_TASKS: u64 = 4096;
/// Memory that is left to the machine itself, in bytes.
const LEFT_MEMORY: u64 = 1 << 30;

/// What a scenario takes of a machine while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of memory at most.
    pub memory: u64,
    /// Bytes of disk at most.
    pub disk: u64,
    /// Thousandths of a core once it has booted.
    pub processor: u64,
    /// Inotify instances, of which the kernel gives each user so many.
    pub inotify: u64,
    /// Processes and threads at most.
    pub tasks: u64,
    /// Whether nothing else may run on the machine.
    pub exclusive: bool,
}

impl Needs {
    /// Those of a plan: its nodes' bounds, and what a control plane takes.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let nodes = plan.nodes.len() as u64;
        let disk =
            |node: &NodePlan| node.nodefs.size.saturating_add(node.imagefs.map_or(0, |imagefs| imagefs.size));
        let sum = |figures: &mut dyn Iterator<Item = u64>| figures.fold(0_u64, u64::saturating_add);
        let zones = plan.hollow.iter().flat_map(|hollow| &hollow.zones);
        let (programs, hollow) = zones.fold((0, 0), |(programs, nodes), zone| {
            (programs + zone.groups.len() as u64, nodes + u64::from(zone.nodes()))
        });
        Self {
            memory: sum(&mut plan.nodes.iter().map(|node| node.memory)).saturating_add(
                CONTROL_PLANE_MEMORY + programs * HOLLOW_PROGRAM_MEMORY + hollow * HOLLOW_NODE_MEMORY,
            ),
            disk: sum(&mut plan.nodes.iter().map(disk)).saturating_add(OTHER_DISK * (nodes + 1)),
            processor: CONTROL_PLANE_PROCESSOR + NODE_PROCESSOR * nodes + HOLLOW_NODE_PROCESSOR * hollow,
            inotify: CONTROL_PLANE_INOTIFY + NODE_INOTIFY * nodes,
            tasks: CONTROL_PLANE_TASKS
                .saturating_add(sum(&mut plan.nodes.iter().map(|node| tasks(plan, node)))),
            exclusive: plan.labels.get(NEEDS_LABEL).is_some_and(|needs| needs == EXCLUSIVE)
                // What anybody else held of them would be missing.
                || plan.has_real_gpus(),
        }
    }

    /// What it takes while it boots.
    #[must_use]
    pub fn booting(self) -> Self {
        Self { processor: self.processor.max(BOOT_PROCESSOR), ..self }
    }
}

/// What there is to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of disk.
    pub disk: u64,
    /// Thousandths of a core.
    pub processor: u64,
    /// Inotify instances that this user may still make.
    pub inotify: u64,
    /// Processes and threads that the machine may still have.
    pub tasks: u64,
    /// How many scenarios at once, at most.
    pub scenarios: usize,
}

impl Room {
    /// What this machine has free, with runs in this folder; what can not be read does not bound.
    #[must_use]
    pub fn of_machine(runs: &Path, scenarios: usize) -> Self {
        // The folder may not be there before the first run.
        let existing = runs.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        let disk = rustix::fs::statvfs(existing).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            memory: meminfo("MemAvailable")
                .map_or(u64::MAX, |available| available.saturating_sub(LEFT_MEMORY)),
            disk: disk.unwrap_or(u64::MAX),
            processor: cores as u64 * 1000,
            inotify: inotify_left().unwrap_or(u64::MAX),
            tasks: tasks_left().map_or(u64::MAX, |left| left.saturating_sub(LEFT_TASKS)),
            scenarios,
        }
    }
}

/// The tasks that a node may come to: all that it is bounded to where that is the scenario's subject.
fn tasks(plan: &Plan, node: &NodePlan) -> u64 {
    let threshold = |field: &str| node.kubelet[field].get("pid.available").is_some();
    let of_workloads = plan.workloads.values().filter_map(|workload| workload.fill.as_ref());
    let of_steps = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Fill { fill, .. } => Some(fill),
        _ => None,
    });
    let fills = of_workloads.chain(of_steps).any(|fill| fill.resource == Resource::Pids);
    if fills || threshold("evictionHard") || threshold("evictionSoft") {
        node.pids
    } else {
        node.pids.min(NODE_TASKS)
    }
}

/// The tasks that the machine may have, less those that it has.
fn tasks_left() -> Option<u64> {
    let setting = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.trim().parse().ok()
    };
    let most = setting("pid_max")?.min(setting("threads-max")?);
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let running: u64 = load.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(most.saturating_sub(running))
}

/// The inotify instances that the kernel still gives root, less those that are held now.
fn inotify_left() -> Option<u64> {
    let most: u64 =
        std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").ok()?.trim().parse().ok()?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let files = processes
        .flat_map(|process| std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten());
    let is_inotify = |file: &std::fs::DirEntry| {
        std::fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:inotify")
    };
    Some(most.saturating_sub(files.filter(is_inotify).count() as u64))
}

/// A figure of this machine's memory in bytes, by its name in `/proc/meminfo`; absent where it can not be read.
#[must_use]
pub fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let figure = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    figure.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
