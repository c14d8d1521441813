//! OOM kills inside this node, from the kernel's log.
//!
//! The log is the whole machine's: a line counts only if its cgroup lies below this node's own.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::Voice;
use crate::report::{Fact, OomKill, OomScope};

/// Follows the kernel's log in a thread.
pub(super) fn start(run: &str, name: &str, device: PathBuf, voice: &Voice) {
    let marker = container_identifier().unwrap_or_else(|| format!("/plimsoll/{run}/{name}"));
    let voice = voice.clone();
    std::thread::spawn(move || {
        let blind = |reason: String| voice.say(Fact::Blind { source: "kernel log".into(), reason });
        let mut file =
            match File::open(&device).and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file)) {
                Ok(file) => file,
                Err(error) => return blind(format!("{}: {error}", device.display())),
            };
        let mut record = vec![0; 8192];
        loop {
            match file.read(&mut record) {
                Ok(0) => return blind("the kernel's log ended".into()),
                Ok(length) => {
                    if let Some(kill) = oom_kill(&String::from_utf8_lossy(&record[..length]), &marker) {
                        voice.say(Fact::OomKill(kill));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // EPIPE: records were overwritten before they were read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    blind("records of the kernel's log were lost".into())
                }
                Err(error) => return blind(error.to_string()),
            }
        }
    });
}

/// The container engine's name for this container, which is part of its cgroup's path on the machine: engines
/// mount a hostname file from a folder of that name. Absent where there is no engine.
fn container_identifier() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let source = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(4) == Some(&"/etc/hostname"))?;
    let identifier = source
        .get(3)?
        .split('/')
        .find(|part| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    Some(identifier.to_owned())
}

/// Reads one record of the kernel's log: `oom-kill:constraint=…,oom_memcg=/…,task_memcg=/…,task=NAME,pid=…,uid=…`.
/// `oom_memcg` is the cgroup whose limit was reached, `task_memcg` that of the process which was killed.
fn oom_kill(record: &str, marker: &str) -> Option<OomKill> {
    let (_, message) = record.split_once(';')?;
    let message = message.lines().next()?;
    let fields = message.strip_prefix("oom-kill:")?;
    let field = |name: &str| fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let victim = field("task_memcg")?;
    let (_, below) = victim.split_once(marker)?;
    let scope = match field("oom_memcg").and_then(|limited| limited.split_once(marker)) {
        // Without a cgroup it was the machine that ran out, and so the node did.
        None => OomScope::Node,
        Some((_, "" | "/")) => OomScope::Node,
        Some((_, "/kubepods" | "/kubepods/burstable" | "/kubepods/besteffort")) => OomScope::Kubepods,
        Some((_, limited)) if limited.starts_with("/kubepods/") => OomScope::Container,
        Some(_) => OomScope::Unknown,
    };
    let pod_uid = below.split('/').find_map(|part| part.strip_prefix("pod")).map(str::to_owned);
    Some(OomKill { scope, pod_uid, task: field("task").map(str::to_owned), source: message.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{OomKill, OomScope, oom_kill};

    const MARKER: &str = "/plimsoll/r1/worker";

    fn record(limited: &str, victim: &str) -> String {
        format!(
            "6,1234,99887766,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg={limited},task_memcg={victim},task=plimsoll-hog,pid=4711,uid=0\n SUBSYSTEM=x\n"
        )
    }

    fn scope_and_pod(limited: &str, victim: &str) -> Option<(OomScope, Option<String>)> {
        oom_kill(&record(limited, victim), MARKER).map(|OomKill { scope, pod_uid, .. }| (scope, pod_uid))
    }

    #[test]
    fn whose_limit_and_whose_process() {
        let pod = "/plimsoll/r1/worker/kubepods/burstable/pod5b1c/abc";
        assert_eq!(scope_and_pod("/plimsoll/r1/worker", pod), Some((OomScope::Node, Some("5b1c".into()))));
        assert_eq!(scope_and_pod(pod, pod), Some((OomScope::Container, Some("5b1c".into()))));
        assert_eq!(
            scope_and_pod("/plimsoll/r1/worker/kubepods", pod),
            Some((OomScope::Kubepods, Some("5b1c".into())))
        );
        assert_eq!(scope_and_pod("/plimsoll/r1/worker", "/plimsoll/r1/worker"), Some((OomScope::Node, None)));
    }

    #[test]
    fn another_node_s_kill_is_not_ours() {
        assert_eq!(scope_and_pod("/plimsoll/r2/worker", "/plimsoll/r2/worker/kubepods/podx/y"), None);
        assert_eq!(oom_kill("6,1,1,-;Out of memory: Killed process 1", MARKER), None);
    }
}
