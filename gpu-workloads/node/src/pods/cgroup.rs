//! A process's pod and container, from `/proc/<pid>/cgroup`.
//!
//! The kubelet names a pod's cgroup after its uid, the container runtime the one below after the container. Both do so in two
//! ways, as cgroups are driven by themselves (`cgroupfs`) or by systemd. Upstream: `GetPodContainerName` of
//! `pkg/kubelet/cm` and `ToSystemd`.

use std::path::Path;
use std::{fs, io};

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodProcess {
    /// The pod's uid. That of a static pod is the hash of its manifest, which its mirror pod has as the annotation
    /// `kubernetes.io/config.hash`.
    pub pod_uid: String,
    /// The container's identifier in the container runtime; none for a process in the pod's own cgroup.
    pub container_id: Option<String>,
}

/// The pod of a process of this machine; none if it belongs to no pod. `proc` is where `/proc` is.
///
/// # Errors
/// As from reading the file: that there is none, if the process is gone.
pub fn of_process(proc: &Path, pid: u32) -> io::Result<Option<PodProcess>> {
    Ok(parse(&fs::read_to_string(proc.join(pid.to_string()).join("cgroup"))?))
}

/// The pod that the text of `/proc/<pid>/cgroup` names: a line a hierarchy on cgroup v1, one line on cgroup v2.
#[must_use]
pub fn parse(text: &str) -> Option<PodProcess> {
    // Numbers, controllers, path. A path may have colons of its own.
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find_map(in_path)
}

fn in_path(path: &str) -> Option<PodProcess> {
    let mut segments = path.split('/');
    while let Some(segment) = segments.next() {
        // A runtime that asks systemd without a slice of its own: `<slice>:<prefix>:<container>`.
        if let Some((slice, container)) = segment.split_once(':')
            && let Some(pod_uid) = pod_uid(slice)
        {
            let container_id = container.rsplit(':').next().and_then(container_id);
            return Some(PodProcess { pod_uid, container_id });
        }
        if let Some(pod_uid) = pod_uid(segment) {
            let container_id = segments.next().and_then(container_id);
            return Some(PodProcess { pod_uid, container_id });
        }
    }
    None
}

/// `pod<uid>`, or systemd's `kubepods-burstable-pod<uid>.slice` with underscores for the hyphens in it.
fn pod_uid(segment: &str) -> Option<String> {
    let uid = match segment.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid)?.replace('_', "-"),
        None => segment.strip_prefix("pod")?.to_owned(),
    };
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let lengths: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_uid = lengths == [8, 4, 4, 4, 12] || lengths == [32];
    (is_uid && uid.split('-').all(is_hexadecimal)).then_some(uid)
}

/// `<identifier>`, or systemd's `cri-containerd-<identifier>.scope` with any runtime's name.
fn container_id(segment: &str) -> Option<String> {
    let scope = segment.strip_suffix(".scope").unwrap_or(segment);
    let id = scope.rsplit('-').next()?;
    let is_id = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "1b2c3d4e-0000-4fff-8aaa-0123456789ab";
    const CONTAINER: &str = "f00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeed";

    fn found(uid: &str, container: Option<&str>) -> Option<PodProcess> {
        Some(PodProcess { pod_uid: uid.to_owned(), container_id: container.map(str::to_owned) })
    }

    #[test]
    fn every_form_is_read() {
        let underscored = UID.replace('-', "_");
        for path in [
            format!("/kubepods/burstable/pod{UID}/{CONTAINER}"),
            format!("/kubepods/pod{UID}/{CONTAINER}"),
            format!("/docker/abc/kubelet/kubepods/besteffort/pod{UID}/{CONTAINER}"),
            format!("/../../kubepods/besteffort/pod{UID}/{CONTAINER}"),
            format!("/kubepods/burstable/pod{UID}/{CONTAINER}/init.scope"),
            format!("/kubepods.slice/kubepods-pod{underscored}.slice/cri-containerd-{CONTAINER}.scope"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{underscored}.slice/crio-{CONTAINER}.scope"
            ),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{underscored}.slice/cri-containerd-{CONTAINER}.scope"
            ),
            format!(
                "/system.slice/containerd.service/kubepods-besteffort-pod{underscored}.slice:cri-containerd:{CONTAINER}"
            ),
        ] {
            assert_eq!(parse(&format!("0::{path}\n")), found(UID, Some(CONTAINER)), "{path}");
            let v1 = format!("12:cpuset:/\n4:memory:{path}\n1:name=systemd:{path}\n0::/\n");
            assert_eq!(parse(&v1), found(UID, Some(CONTAINER)), "{path}");
        }
    }

    #[test]
    fn static_pods_and_processes_between_containers_are_told() {
        let hash = "0123456789abcdef0123456789abcdef";
        let text = format!("0::/kubepods/burstable/pod{hash}/{CONTAINER}");
        assert_eq!(parse(&text), found(hash, Some(CONTAINER)));
        assert_eq!(parse(&format!("0::/kubepods/pod{UID}")), found(UID, None));
        assert_eq!(parse(&format!("0::/kubepods/pod{UID}/short")), found(UID, None));
    }

    #[test]
    fn what_is_no_pod_is_none() {
        for text in [
            "",
            "0::/",
            "0::/user.slice/user-1000.slice/session-1.scope",
            "0::/kubepods.slice/kubepods-burstable.slice",
            "0::/podman/podlike",
            "0::/libpod-f00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeedf00dfeed.scope",
            "0::/kubepods/pod1b2c3d4e-0000-4fff-8aaa-0123456789aX/x",
            "no colons at all",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-f:/._\\-podsliceμ\n]{0,200}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn a_process_is_read_where_proc_is_said_to_be() {
        let proc = tempfile::tempdir().expect("a folder");
        fs::create_dir(proc.path().join("7")).expect("a folder");
        let text = format!("0::/kubepods/burstable/pod{UID}/{CONTAINER}\n");
        fs::write(proc.path().join("7/cgroup"), text).expect("a file");
        assert_eq!(of_process(proc.path(), 7).expect("it is there"), found(UID, Some(CONTAINER)));
        assert_eq!(of_process(proc.path(), 8).expect_err("it is gone").kind(), io::ErrorKind::NotFound);
    }
}
