//! The node's view of files: bounded filesystems, the machine's root under a copy-on-write layer, the
//! kernel's global settings out of reach, the bounded memory shown as the machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, Mode};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::InitError;
use crate::config::{BIN, Filesystem, IMAGEFS, MACHINE, NODEFS, NodeConfig, RUN};

/// What lies on nodefs: the source folder there, and where the node sees it.
const ON_NODEFS: [(&str, &str); 2] = [("kubelet", "/var/lib/kubelet"), ("pod-logs", "/var/log/pods")];
/// Over `/proc/loadavg`. In memory, since it is written eight times a second.
pub(super) const LOAD_AVERAGE: &str = "/run/loadavg";
/// The kernel's global settings that the kubelet writes when it starts, with the values that it wants to see.
/// Files with these values are laid over them, so the machine's own stay as they are.
const KERNEL_SETTINGS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Mounts everything that a node needs.
pub(super) fn node(config: &NodeConfig) -> Result<(), InitError> {
    propagation("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    bounded("nodefs", &config.nodefs, NODEFS)?;
    if let Some(imagefs) = &config.imagefs {
        bounded("imagefs", imagefs, IMAGEFS)?;
    }
    if config.machine_root {
        machine_root()?;
    }
    for (source, target) in ON_NODEFS {
        bind_folder(&Path::new(NODEFS).join(source), Path::new(target))?;
    }
    let images = if config.imagefs.is_some() { IMAGEFS } else { NODEFS };
    bind_folder(&Path::new(images).join("containerd"), Path::new("/var/lib/containerd"))?;
    make_folder(Path::new("/run"))?;
    rustix::mount::mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))
        .map_err(InitError::context("mounting /run"))?;
    kernel_settings(config.pids)?;
    memory_information(config.memory)?;
    task_count()?;
    writable_in_a_container()?;
    propagation("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)
}

/// Files every node and control plane needs, whatever its root holds.
pub(super) fn common_files(name: &str) -> Result<(), InitError> {
    for folder in ["/etc", "/tmp", "/var/log"] {
        make_folder(Path::new(folder))?;
    }
    // A look-up of the own name must not go to a name server: where it times out, registration takes 20 s.
    // An engine mounts its own file there, which may refuse to be replaced; it holds the own name already.
    let hosts = format!("127.0.0.1 localhost {name}\n::1 localhost\n");
    let _ = fs::write("/etc/hosts", hosts);
    write(&Path::new(RUN).join("resolv.conf"), "")
}

fn bounded(name: &str, filesystem: &Filesystem, target: &str) -> Result<(), InitError> {
    let output = Command::new(format!("{BIN}/loop-mount"))
        .arg(format!("--image={RUN}/{name}.img"))
        .arg(format!("--size={}", filesystem.size))
        .arg(format!("--inodes={}", filesystem.inodes.unwrap_or(0)))
        .arg(format!("--target={target}"))
        .output()
        .map_err(InitError::context(format_args!("{BIN}/loop-mount")))?;
    if !output.status.success() {
        return Err(InitError(format!("making {name}: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    Ok(())
}

/// Makes the machine's root, with a layer of this node's own over it, the root. Writes go to nodefs, as on
/// a node whose root is one disk.
fn machine_root() -> Result<(), InitError> {
    let (upper, work, root) = (format!("{NODEFS}/root"), format!("{NODEFS}/root-work"), "/plimsoll/root");
    for folder in [&upper, &work, root] {
        make_folder(Path::new(folder))?;
    }
    let options = std::ffi::CString::new(format!("lowerdir={MACHINE},upperdir={upper},workdir={work}"))
        .map_err(InitError::context("overlay options"))?;
    rustix::mount::mount("overlay", root, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .map_err(InitError::context("laying a copy-on-write layer over the machine's root"))?;
    for folder in ["proc", "sys", "dev", "plimsoll"] {
        let target = Path::new(root).join(folder);
        make_folder(&target)?;
        rustix::mount::mount_bind_recursive(Path::new("/").join(folder), &target)
            .map_err(InitError::context(format_args!("moving /{folder}")))?;
    }
    let old = Path::new(root).join("plimsoll-old-root");
    make_folder(&old)?;
    rustix::process::pivot_root(root, &old).map_err(InitError::context("changing the root"))?;
    rustix::process::chdir("/").map_err(InitError::context("changing to the new root"))?;
    rustix::mount::unmount("/plimsoll-old-root", UnmountFlags::DETACH)
        .map_err(InitError::context("leaving the old root"))?;
    let _ = fs::remove_dir("/plimsoll-old-root");
    // What the machine keeps in these would be seen as this node's.
    for folder in ["/etc/cni/net.d", "/tmp"] {
        make_folder(Path::new(folder))?;
        rustix::mount::mount("tmpfs", folder, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)
            .map_err(InitError::context(format_args!("mounting {folder}")))?;
    }
    Ok(())
}

fn kernel_settings(pids: u64) -> Result<(), InitError> {
    let folder = Path::new(RUN).join("kernel-settings");
    make_folder(&folder)?;
    let fixed = KERNEL_SETTINGS.iter().map(|(setting, value)| (*setting, (*value).to_owned()));
    let shown = [("kernel/pid_max", pids.to_string())];
    for (setting, value) in fixed.chain(shown) {
        let target = Path::new("/proc/sys").join(setting);
        if !target.exists() {
            continue;
        }
        let file = folder.join(setting.replace('/', "."));
        write(&file, &format!("{value}\n"))?;
        rustix::mount::mount_bind(&file, &target)
            .map_err(InitError::context(format_args!("covering {}", target.display())))?;
    }
    Ok(())
}

/// Shows the node's bound as the machine's memory: the kubelet takes its capacity from there.
fn memory_information(memory: u64) -> Result<(), InitError> {
    let real = fs::read_to_string("/proc/meminfo").map_err(InitError::context("/proc/meminfo"))?;
    let file = Path::new(RUN).join("meminfo");
    write(&file, &bounded_meminfo(&real, memory))?;
    rustix::mount::mount_bind(&file, "/proc/meminfo").map_err(InitError::context("covering /proc/meminfo"))
}

/// Covers `/proc/loadavg`, from which the kubelet takes how many tasks there are, with a file that says the node's own; the
/// sampler keeps it. Until then it says that there are none.
fn task_count() -> Result<(), InitError> {
    write(Path::new(LOAD_AVERAGE), &load_average(0))?;
    rustix::mount::mount_bind(LOAD_AVERAGE, "/proc/loadavg")
        .map_err(InitError::context("covering /proc/loadavg"))
}

/// A load average of a node that has so many tasks. Each is as long as any other, so that a reader never finds half of one figure
/// and half of another.
pub(super) fn load_average(tasks: u64) -> String {
    format!("0.00 0.00 0.00 1/{tasks:07} 1\n")
}

/// The machine's `/proc/meminfo` with the bound as its total, nothing above it, and no swap.
fn bounded_meminfo(real: &str, memory: u64) -> String {
    let bound = memory / 1024;
    let mut text = String::with_capacity(real.len());
    for line in real.lines() {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        match (name, value) {
            ("MemTotal:", _) => text.push_str(&format!("MemTotal:       {bound} kB\n")),
            (name, _) if name.starts_with("Swap") => text.push_str(&format!("{name} 0 kB\n")),
            (name, Some(value)) if value > bound && line.ends_with("kB") && !name.starts_with("Vmalloc") => {
                text.push_str(&format!("{name} {bound} kB\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// Engines mount /sys/fs/cgroup read-only in containers that are not privileged; the kubelet makes cgroups there.
/// Each mount is changed by itself, as a bind, because the hierarchy itself is shared with the machine.
fn writable_in_a_container() -> Result<(), InitError> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").map_err(InitError::context("/proc/self/mountinfo"))?;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (Some(target), Some(options)) = (fields.get(4), fields.get(5)) else { continue };
        let ours = target.starts_with("/sys/fs/cgroup") || *target == "/sys";
        if ours && options.split(',').any(|option| option == "ro") {
            let flags = MountFlags::BIND | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            rustix::mount::mount_remount(*target, flags, c"")
                .map_err(InitError::context(format_args!("making {target} writable")))?;
        }
    }
    Ok(())
}

fn bind_folder(source: &Path, target: &Path) -> Result<(), InitError> {
    make_folder(source)?;
    make_folder(target)?;
    rustix::mount::mount_bind(source, target).map_err(InitError::context(format_args!(
        "binding {} to {}",
        source.display(),
        target.display()
    )))
}

fn propagation(path: &str, flags: MountPropagationFlags) -> Result<(), InitError> {
    rustix::mount::mount_change(path, flags)
        .map_err(InitError::context(format_args!("mount propagation of {path}")))
}

fn make_folder(path: &Path) -> Result<(), InitError> {
    fs::create_dir_all(path).map_err(InitError::context(path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), InitError> {
    fs::write(path, text).map_err(InitError::context(path.display()))
}

/// Makes the device nodes that a container's own /dev lacks and the kubelet wants.
pub(super) fn kernel_log_device() -> PathBuf {
    let path = PathBuf::from("/dev/kmsg");
    if !path.exists() {
        // Failing that, the kernel's log is reported as blind by whoever reads it.
        let device = rustix::fs::makedev(1, 11);
        let _ = rustix::fs::mknodat(
            CWD,
            &path,
            rustix::fs::FileType::CharacterDevice,
            Mode::RUSR | Mode::WUSR,
            device,
        );
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{bounded_meminfo, load_average};

    #[test]
    fn the_fourth_field_of_a_load_average_says_how_many_tasks_there_are() {
        for tasks in [0, 43, 4096, 4_194_304] {
            let line = load_average(tasks);
            assert_eq!(line.len(), load_average(0).len());
            let fields: Vec<&str> = line.split_whitespace().collect();
            // The kubelet wants all five, and parses what follows the stroke as a decimal.
            assert_eq!(fields.len(), 5);
            let all = fields[3].split_once('/').and_then(|(_, all)| all.parse::<u64>().ok());
            assert_eq!(all, Some(tasks));
        }
    }

    #[test]
    fn meminfo_shows_the_bound_and_nothing_above_it() {
        let real = "MemTotal:       16384000 kB\nMemFree:        12000000 kB\nCached:           500000 kB\nSwapTotal:       999 kB\nHugePages_Total:       0\n";
        let shown = bounded_meminfo(real, 2 << 30);
        assert_eq!(
            shown,
            "MemTotal:       2097152 kB\nMemFree: 2097152 kB\nCached:           500000 kB\nSwapTotal: 0 kB\nHugePages_Total:       0\n"
        );
    }
}
