//! Every setting of the kernel, less those that change by themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const ROOT: &str = "/proc/sys";

/// Readings and counters that are no settings, and settings that the kernel itself moves: names, or folders of them.
const VOLATILE: [&str; 17] = [
    "fs/aio-nr",
    "fs/dentry-state",
    "fs/dquot",
    "fs/file-nr",
    "fs/inode-nr",
    "fs/inode-state",
    "fs/quota",
    // A file system of its own, and a list of what was registered there by others.
    "fs/binfmt_misc",
    "kernel/ns_last_pid",
    "kernel/pty/nr",
    "kernel/random",
    // Lowered by the kernel when its sampling takes too long.
    "kernel/perf_event_max_sample_rate",
    "kernel/perf_cpu_time_max_percent",
    // Read, they do something.
    "vm/stat_refresh",
    "net/ipv4/route/flush",
    "net/ipv6/route/flush",
    "net/netfilter/nf_conntrack_count",
];

/// All of them, a line each.
pub(super) fn settings() -> Vec<String> {
    let mut found = Vec::new();
    walk(Path::new(ROOT), &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(ROOT).unwrap_or(&path).display().to_string();
        if VOLATILE.contains(&name.as_str()) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            walk(&path, found);
        } else if metadata.permissions().mode() & 0o400 != 0
            // One that may not be read, or whose parent went meanwhile, is none that can be compared.
            && let Ok(value) = fs::read(&path)
        {
            found.push(format!("{name} = {}", String::from_utf8_lossy(&value).trim()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::settings;

    #[test]
    fn they_are_many_and_do_not_change_by_themselves() {
        let settings = settings();
        assert!(settings.len() > 300, "{}", settings.len());
        for name in ["kernel/panic = ", "vm/overcommit_memory = ", "fs/inotify/max_user_instances = "] {
            assert!(settings.iter().any(|setting| setting.starts_with(name)), "{name}");
        }
        assert_eq!(settings, super::settings());
    }
}
