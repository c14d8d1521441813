//! What of the machine is in use, and how much more of it than before is a leak.

use std::fs;
use std::path::Path;

/// What of the machine is in use and may vary a little, so that only much more than before is a leak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Files that are open on the whole machine.
    open_files: u64,
    /// Bytes that are free where the runs lie.
    free_disk: u64,
    /// Namespaces that some process is in.
    namespaces: usize,
}

/// So many more open files may be another program's.
const OPEN_FILES: u64 = 1000;
/// So many bytes of disk may be: logs, and what the kernel frees later.
const DISK: u64 = 256 << 20;
/// So many namespaces may be: other programs that were started meanwhile.
const NAMESPACES: usize = 8;

impl Usage {
    /// What is in use now, with the disk of this folder.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn now(folder: &Path) -> Result<Self, std::io::Error> {
        let files = fs::read_to_string("/proc/sys/fs/file-nr")?;
        let open_files = files.split_whitespace().next().and_then(|count| count.parse().ok());
        let stat = rustix::fs::statvfs(folder)?;
        Ok(Self {
            open_files: open_files
                .ok_or_else(|| std::io::Error::other("/proc/sys/fs/file-nr has no count"))?,
            free_disk: stat.f_bavail * stat.f_frsize,
            namespaces: namespaces(),
        })
    }

    /// What is in use now and was not before, in words, less what was written on purpose.
    #[must_use]
    pub fn leaks(&self, now: &Self, written: u64) -> Vec<String> {
        let mut leaks = Vec::new();
        if now.open_files > self.open_files + OPEN_FILES {
            leaks.push(format!("open files: {} before, {} after", self.open_files, now.open_files));
        }
        if now.free_disk + written + DISK < self.free_disk {
            let mebi = |bytes: u64| bytes >> 20;
            leaks.push(format!(
                "free disk: {} MiB before, {} MiB after",
                mebi(self.free_disk),
                mebi(now.free_disk)
            ));
        }
        if now.namespaces > self.namespaces + NAMESPACES {
            leaks.push(format!("namespaces: {} before, {} after", self.namespaces, now.namespaces));
        }
        leaks
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { open_files, free_disk, namespaces } = self;
        write!(
            formatter,
            "{open_files} open files, {} MiB of disk free, {namespaces} namespaces",
            free_disk >> 20
        )
    }
}

fn namespaces() -> usize {
    let mut found = std::collections::BTreeSet::new();
    for process in
        super::look::names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    {
        for entry in fs::read_dir(format!("/proc/{process}/ns")).into_iter().flatten().flatten() {
            found.extend(fs::read_link(entry.path()));
        }
    }
    found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_more_in_use_than_before_is_a_leak_and_a_little_is_none() {
        let before = Usage { open_files: 5000, free_disk: 10 << 30, namespaces: 40 };
        let little = Usage { open_files: 5900, free_disk: (10 << 30) - (200 << 20), namespaces: 47 };
        assert!(before.leaks(&little, 0).is_empty());
        let much = Usage { open_files: 6100, free_disk: 9 << 30, namespaces: 60 };
        assert_eq!(before.leaks(&much, 0).len(), 3);
        // What was written on purpose is no leak.
        assert_eq!(before.leaks(&much, 900 << 20).len(), 2);
        assert!(Usage::now(Path::new("/tmp")).is_ok_and(|usage| usage.namespaces > 0));
    }
}
