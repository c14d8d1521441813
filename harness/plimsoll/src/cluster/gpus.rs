//! What nodes with GPUs find in their run folder: programs, the simulated driver, and what both are linked with.

use std::path::Path;

use serde_json::{Value, json};

use super::ClusterError;
use super::state::RunFolder;
use crate::gpu_programs::GpuPrograms;
use crate::plan::{GpuConfig, Plan};

/// Who the evictor of a node is to the API server.
pub(super) const EVICTOR: &str = "plimsoll-gpu-evictor";
/// What is shipped for real clusters: what the evictor may do there is what it may do here.
const SHIPPED_EVICTOR: &str = include_str!("../../../../gpu-workloads/node/deploy/evictor.yaml");
/// Who the driver of a node is that offers its GPUs to claims.
pub(super) const DRA_DRIVER: &str = "plimsoll-gpu-dra-driver";
/// What is shipped of it for real clusters.
const SHIPPED_DRA_DRIVER: &str = include_str!("../../../../gpu-workloads/node/deploy/dra-driver.yaml");

/// What lets the evictors and drivers of a plan's nodes do their work: the roles that are shipped with them, bound to them, and the class
/// that claims name. Nothing if there are none.
///
/// # Errors
/// When what is shipped has no such role.
pub(crate) fn roles(plan: &Plan) -> Result<Vec<Value>, String> {
    let any = |has: fn(&GpuConfig) -> bool| plan.nodes.iter().any(|node| node.gpus.as_ref().is_some_and(has));
    let mut objects = Vec::new();
    if any(|gpus| gpus.evictor.is_some()) {
        objects.extend(role(SHIPPED_EVICTOR, EVICTOR)?);
    }
    if any(|gpus| gpus.claims) {
        objects.extend(role(SHIPPED_DRA_DRIVER, DRA_DRIVER)?);
        objects.push(shipped(SHIPPED_DRA_DRIVER, "DeviceClass")?);
        objects.extend(claims_read_by_kubelets());
    }
    Ok(objects)
}

/// What lets kubelets read claims. The Node authorizer lets them only once it has heard itself that a pod is bound, which is a race, and
/// a kubelet that loses it says that the claim could not be prepared and does not look again before its next regular sync, up to
/// 90 s later. Upstream: `SyncPod` of `kuberuntime_manager.go`.
fn claims_read_by_kubelets() -> [Value; 2] {
    let group = "rbac.authorization.k8s.io";
    let name = "plimsoll-kubelets-read-claims";
    let role = json!({
        "apiVersion": format!("{group}/v1"),
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": [{"apiGroups": ["resource.k8s.io"], "resources": ["resourceclaims"], "verbs": ["get"]}],
    });
    let binding = json!({
        "apiVersion": format!("{group}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:nodes"}],
    });
    [role, binding]
}

/// The only object of a kind among what is shipped.
fn shipped(text: &str, kind: &str) -> Result<Value, String> {
    for document in text.split("\n---\n") {
        let object: Value = serde_yaml::from_str(document).map_err(|error| error.to_string())?;
        if object["kind"] == kind {
            return Ok(object);
        }
    }
    Err(format!("no {kind} is shipped"))
}

/// The role that is shipped with a program, bound to a user.
fn role(text: &str, user: &str) -> Result<[Value; 2], String> {
    let role = shipped(text, "ClusterRole")?;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({
        "apiVersion": format!("{group}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role["metadata"]["name"]},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    });
    Ok([role, binding])
}

/// Puts it there, and gives the programs if any node has GPUs.
///
/// # Errors
/// When a program is missing, or a file can not be written.
pub(super) async fn put(plan: &Plan, folder: &RunFolder) -> Result<Option<GpuPrograms>, ClusterError> {
    let mut nodes = plan.nodes.iter().filter(|node| node.gpus.is_some()).peekable();
    if nodes.peek().is_none() {
        return Ok(None);
    }
    let programs = GpuPrograms::find().await.map_err(|error| ClusterError::Machine(error.to_string()))?;
    for node in nodes {
        let target = folder.path.join(&node.name).join("run/gpu");
        copy(&programs, &target).map_err(ClusterError::doing(format!("filling {}", target.display())))?;
    }
    Ok(Some(programs))
}

/// Copied and not linked: another filesystem may hold what was built, and a node may write to its own.
fn copy(programs: &GpuPrograms, target: &Path) -> std::io::Result<()> {
    let libraries = target.join("lib");
    std::fs::create_dir_all(&libraries)?;
    for file in [&programs.node, &programs.reader, &programs.driver, &programs.hog] {
        std::fs::copy(file, target.join(file.file_name().unwrap_or_default()))?;
    }
    for library in &programs.libraries {
        std::fs::copy(library, libraries.join(library.file_name().unwrap_or_default()))?;
    }
    std::fs::copy(GpuPrograms::loader(), libraries.join("ld.so")).map(drop)
}

/// A device node of the machine's own GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GpuNode {
    /// Its path.
    pub(crate) path: String,
    /// The driver's number.
    pub(crate) major: u32,
    /// The device's number.
    pub(crate) minor: u32,
}

/// The device nodes of the machine's own GPUs in a folder: those of single devices, and those that all share.
pub(super) fn device_nodes(folder: &Path) -> Vec<GpuNode> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let node = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let status = rustix::fs::stat(entry.path()).ok()?;
        let is_node = rustix::fs::FileType::from_raw_mode(status.st_mode).is_char_device();
        (is_node && is_gpu(&name)).then(|| GpuNode {
            path: format!("/dev/{name}"),
            major: rustix::fs::major(status.st_rdev),
            minor: rustix::fs::minor(status.st_rdev),
        })
    };
    let mut nodes: Vec<GpuNode> = entries.filter_map(node).collect();
    nodes.sort_by(|a, b| a.path.cmp(&b.path));
    nodes
}

/// Whether a file of /dev is one of NVIDIA's driver that programs open which compute.
fn is_gpu(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("nvidia") else { return false };
    ["ctl", "-uvm", "-uvm-tools", "-modeset"].contains(&rest)
        || (!rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::lower;
    use crate::scenario::{Files, parse};

    #[test]
    fn device_nodes_are_told_by_name_and_kind() {
        for name in ["nvidia0", "nvidia12", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"] {
            assert!(is_gpu(name), "{name}");
        }
        for name in ["nvidia", "nvidia-caps", "nvidia0x", "null", "nvme0"] {
            assert!(!is_gpu(name), "{name}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("nvidia0"), "").expect("a file that is no device node");
        assert_eq!(device_nodes(folder.path()), []);
    }

    #[test]
    fn the_roles_that_are_shipped_are_bound_to_who_needs_them() {
        let text = include_str!("../../../../scenarios/gpu/budget-holds-off-eviction-for-gpu-memory.yaml");
        let parsed = parse("scenario.yaml", text).expect("a scenario").with_files(&Files::new());
        let mut plan = lower(&parsed).expect("a plan").plan;
        let objects = roles(&plan).expect("a role");
        assert_eq!(objects[0]["rules"][1]["resources"], json!(["pods/eviction"]));
        assert_eq!(objects[1]["roleRef"]["name"], objects[0]["metadata"]["name"]);
        plan.nodes[0].gpus.as_mut().expect("GPUs").evictor = None;
        assert_eq!(roles(&plan), Ok(Vec::new()));
        plan.nodes[0].gpus.as_mut().expect("GPUs").claims = true;
        let objects = roles(&plan).expect("a role and a class");
        let names: Vec<&str> =
            objects.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
        let kubelets = "plimsoll-kubelets-read-claims";
        assert_eq!(names, [DRA_DRIVER, DRA_DRIVER, "gpu.plimsoll.dev", kubelets, kubelets]);
    }
}
