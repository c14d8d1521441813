//! Nodes and their bounds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::context::Findings;
use super::kubelet::{self, Thresholds};
use crate::plan::{self, DEFAULT_PIDS, FilesystemPlan, NodePlan};
use crate::scenario::format::document::{BallastImage, Cluster, DEFAULT_SIZE, Filesystem, NodeSpec};
use crate::scenario::format::values::Count;
use crate::scenario::tree::{Mark, Node as TreeNode, Tree};
use crate::scenario::{Code, Loaded, Located, nearest};

/// The least memory that kubelet and containerd come up in.
const LEAST_MEMORY: u64 = 256 << 20;
/// The least filesystem that an image store and the kubelet's folders fit on.
const LEAST_FILESYSTEM: u64 = 64 << 20;

/// The fewest process ids that a node comes up with.
const LEAST_PIDS: u64 = 400;

/// A node, and what the rest of the lowering asks about it.
pub(super) struct Node {
    pub(super) plan: NodePlan,
    /// What its kubelet acts on.
    pub(super) thresholds: Thresholds,
}

/// Resolves the nodes; at least one comes back, so that the rest can be looked at.
pub(super) fn nodes(cluster: Option<&Cluster>, loaded: &Loaded, findings: &mut Findings) -> Vec<Node> {
    if let Some(version) = cluster.and_then(|cluster| cluster.kubernetes.as_ref()) {
        check_version(version, findings);
    }
    let is_hollow = cluster.is_some_and(|cluster| cluster.hollow.is_some());
    let Some(specs) = cluster.and_then(|cluster| cluster.nodes.as_ref()) else {
        if is_hollow {
            return Vec::new();
        }
        return vec![default_node(loaded.scenario.metadata.name.mark)];
    };
    if specs.is_empty() && is_hollow {
        return Vec::new();
    }
    if specs.is_empty() {
        findings.say_with_help(
            Code::E0005,
            specs.mark,
            "a cluster without nodes: expected at least one",
            "leave `nodes` out to get one node called `worker`, with 2Gi of memory",
        );
        return vec![default_node(specs.mark)];
    }
    let mut seen: BTreeMap<&str, Mark> = BTreeMap::new();
    let mut nodes = Vec::new();
    for spec in specs.iter() {
        let name = &spec.name;
        if let Some(first) = seen.insert(&name.0, name.mark) {
            let message =
                format!("a second node is called `{}`; the first is in line {}", name.0, first.line);
            findings.say(Code::E0007, name.mark, message);
            continue;
        }
        nodes.push(node(spec, findings));
    }
    super::gpus::check_real(specs, findings);
    let version = cluster.and_then(|cluster| cluster.kubernetes.as_ref());
    super::claims::check_version(version, specs, findings);
    nodes
}

fn default_node(mark: Mark) -> Node {
    let size = FilesystemPlan { size: DEFAULT_SIZE, inodes: None };
    Node {
        plan: NodePlan {
            name: "worker".to_owned(),
            memory: DEFAULT_SIZE,
            nodefs: size,
            imagefs: None,
            pids: DEFAULT_PIDS,
            images: Vec::new(),
            gpus: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            housekeeping_interval: None,
            kubelet: json!({}),
        },
        thresholds: Thresholds::of_defaults(DEFAULT_SIZE, mark),
    }
}

fn check_version(version: &Located<String>, findings: &mut Findings) {
    let parts: Vec<&str> = version.value.trim_start_matches('v').split('.').collect();
    let numeric = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if parts.len() != 3 || !numeric {
        let message =
            format!("{:?} is no Kubernetes version: expected three numbers, such as 1.36.3", version.value);
        findings.say(Code::E0006, version.mark, message);
    } else if version.value.starts_with('v') {
        let bare = version.value.trim_start_matches('v');
        findings.say_with_help(
            Code::E0006,
            version.mark,
            "a Kubernetes version without its v",
            format!("write `{bare}`"),
        );
    }
}

fn node(spec: &Located<NodeSpec>, findings: &mut Findings) -> Node {
    let memory_mark = spec.memory.as_ref().map_or(spec.mark, |memory| memory.mark);
    let memory = spec.memory.as_ref().map_or(DEFAULT_SIZE, |memory| memory.0);
    if memory < LEAST_MEMORY {
        let message = "a node of less than 256Mi: its kubelet and container runtime alone take 100 to 200Mi";
        findings.say(Code::E0022, memory_mark, message);
    }
    let default_size = FilesystemPlan { size: DEFAULT_SIZE, inodes: None };
    let nodefs = spec.nodefs.as_ref().map_or(default_size, |nodefs| filesystem(nodefs, findings));
    let imagefs = spec.imagefs.as_ref().map(|imagefs| filesystem(imagefs, findings));
    let kubelet = match &spec.kubelet {
        Some(Located { value: Tree { node: TreeNode::Mapping(_), .. }, .. }) | None => spec.kubelet.as_ref(),
        Some(other) => {
            let message = format!("expected fields of KubeletConfiguration, found {}", other.in_words());
            findings.say(Code::E0005, other.mark, message);
            None
        }
    };
    let pids = spec.pids.as_ref().map_or(DEFAULT_PIDS, |pids| check_pids(pids, findings));
    let thresholds = match kubelet {
        Some(kubelet) => kubelet::check(kubelet, memory, pids, findings),
        None => Thresholds::of_defaults(memory, spec.mark),
    };
    Node {
        plan: NodePlan {
            name: spec.name.0.clone(),
            memory,
            nodefs,
            imagefs,
            pids,
            images: images(&spec.images, findings),
            gpus: super::gpus::gpus(spec, findings),
            labels: spec.labels.clone(),
            taints: spec.taints.iter().filter_map(|taint| check_taint(taint, findings)).collect(),
            housekeeping_interval: spec.housekeeping_interval.as_ref().map(|interval| interval.0),
            kubelet: kubelet.map_or_else(|| json!({}), |kubelet| kubelet.to_json()),
        },
        thresholds,
    }
}

fn check_pids(written: &Located<Count>, findings: &mut Findings) -> u64 {
    if u64::from(written.0) < LEAST_PIDS {
        findings.say(
            Code::E0022,
            written.mark,
            "fewer than 400 process ids: kubelet, container runtime and pods' shims alone take 100 to 200",
        );
    }
    u64::from(written.0)
}

/// What images come to.
pub(super) fn images(written: &[Located<BallastImage>], findings: &mut Findings) -> Vec<plan::BallastImage> {
    let mut seen: BTreeMap<&str, Mark> = BTreeMap::new();
    for image in written {
        if let Some(first) = seen.insert(&image.name.0, image.name.mark) {
            let message =
                format!("a second image is called `{}`; the first is in line {}", image.name.0, first.line);
            findings.say(Code::E0007, image.name.mark, message);
        }
        if let Some(layers) = image.layers.as_ref().filter(|layers| !(1..=127).contains(&layers.0)) {
            findings.say(Code::E0006, layers.mark, "an image has 1 to 127 layers");
        }
    }
    written
        .iter()
        .map(|image| plan::BallastImage {
            name: image_name(&image.name.0),
            size: image.size.0,
            files: image.files.as_ref().map_or(0, |files| u64::from(files.0)),
            layers: image.layers.as_ref().map_or(1, |layers| layers.0),
            pinned: image.pinned,
        })
        .collect()
}

/// The name by which the container runtime knows an image of a scenario.
pub(super) fn image_name(name: &str) -> String {
    format!("docker.io/plimsoll/{name}:1")
}

fn filesystem(written: &Located<Filesystem>, findings: &mut Findings) -> FilesystemPlan {
    if written.size.0 < LEAST_FILESYSTEM {
        findings.say(
            Code::E0022,
            written.mark,
            "a filesystem of less than 64Mi: the node's own files do not fit on it",
        );
    }
    let inodes = written.inodes.map(|inodes| u64::from(inodes.0));
    if inodes.is_some_and(|inodes| inodes < 1000) {
        findings.say(
            Code::E0022,
            written.mark,
            "a filesystem of less than 1000 inodes: the node's own files take some hundreds",
        );
    }
    FilesystemPlan { size: written.size.0, inodes }
}

fn check_taint(taint: &Located<Tree>, findings: &mut Findings) -> Option<Value> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if taint.get("key").and_then(Tree::text).is_none_or(str::is_empty) {
        findings.say_with_help(
            Code::E0004,
            taint.mark,
            "a taint lacks `key`",
            "such as `{key: gpu, effect: NoSchedule}`",
        );
        return None;
    }
    let effect = taint.get("effect");
    match effect.and_then(Tree::text) {
        Some(effect) if EFFECTS.contains(&effect) => Some(taint.to_json()),
        Some(other) => {
            let message = format!("`{other}` is no effect of a taint: expected {}", EFFECTS.join(", "));
            let help = nearest(other, EFFECTS).map_or_else(
                || "see `kubectl explain node.spec.taints`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            findings.say_with_help(
                Code::E0006,
                effect.map_or(taint.mark, |effect| effect.mark),
                message,
                help,
            );
            None
        }
        None => {
            findings.say(
                Code::E0004,
                taint.mark,
                format!("a taint lacks `effect`: one of {}", EFFECTS.join(", ")),
            );
            None
        }
    }
}
