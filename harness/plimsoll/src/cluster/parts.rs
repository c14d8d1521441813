//! What the parts of a cluster are told: the files in each one's run folder. No I/O.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use plimsoll_node::component::simulated_node;
use plimsoll_node::config::{API_PORT, ControlPlaneConfig, Filesystem, InitConfig, NodeConfig, Role};
use plimsoll_node::pki::{Authority, Credentials, PkiError, signing_key};

use super::{CONTROL_PLANE, gpus, hollow};
use crate::plan::{FilesystemPlan, GPU_HOG_IMAGE, HOG_IMAGE, NodePlan, PAUSE_IMAGE, Plan};

/// The group that may do everything, which the API server knows before any role exists.
const MASTERS: &str = "system:masters";

/// How the parts reach each other.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The control plane's own address, if it is known beforehand.
    pub control_plane: Option<Ipv4Addr>,
    /// The name or address by which nodes reach it.
    pub control_plane_name: String,
    /// The nodes' addresses, if they are known beforehand.
    pub nodes: BTreeMap<String, Ipv4Addr>,
    /// Every address that a node may be given whose own is not known beforehand.
    pub possible: Vec<Ipv4Addr>,
}

/// How the inits are started.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Whether the inits end with their standard input.
    pub lifeline: bool,
    /// Whether nodes see the machine's root under theirs.
    pub machine_root: bool,
}

/// One file in a part's run folder.
#[derive(Debug, Clone)]
pub struct PartFile {
    /// Its path below the run folder.
    pub path: String,
    /// What is in it.
    pub contents: Vec<u8>,
}

/// All that a run needs to know of its parts.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The files of each part, by the part's name.
    pub files: BTreeMap<String, Vec<PartFile>>,
    /// The run's authority, PEM.
    pub authority: String,
    /// The credentials that the runner uses.
    pub administrator: Credentials,
}

/// Makes the files of every part, with credentials of their own.
///
/// # Errors
/// When credentials can not be made.
pub fn make(plan: &Plan, run: &str, addresses: &Addresses, style: Style) -> Result<Parts, PkiError> {
    let authority = Authority::new(run)?;
    let mut files = BTreeMap::new();
    files.insert(CONTROL_PLANE.to_owned(), control_plane(plan, run, &authority, addresses, style)?);
    for node in &plan.nodes {
        files.insert(
            node.name.clone(),
            self::node(run, &authority, node, plan.follows_runtime(node), addresses, style)?,
        );
    }
    let administrator = authority.client("plimsoll", MASTERS)?;
    Ok(Parts { files, authority: authority.certificate().to_owned(), administrator })
}

fn control_plane(
    plan: &Plan,
    run: &str,
    authority: &Authority,
    addresses: &Addresses,
    style: Style,
) -> Result<Vec<PartFile>, PkiError> {
    let mut serving: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(10, 96, 0, 1).into()];
    serving.extend(addresses.control_plane.map(IpAddr::from));
    let mut names = vec!["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    match addresses.control_plane_name.parse() {
        Ok(address) => serving.push(address),
        Err(_) => names.push(&addresses.control_plane_name),
    }
    let hollow = plan.hollow.as_ref().map(hollow::configurations).unwrap_or_default();
    let config = InitConfig {
        run: run.to_owned(),
        name: CONTROL_PLANE.to_owned(),
        role: Role::ControlPlane(ControlPlaneConfig {
            address: addresses.control_plane,
            settings: plan.control_plane,
            hollow: hollow.iter().map(|(group, _)| group.clone()).collect(),
        }),
        lifeline: style.lifeline,
    };
    let (private, public) = signing_key()?;
    let mut files = vec![init(&config), pki("ca.crt", authority.certificate())];
    credentials(&mut files, "apiserver", authority.server("kube-apiserver", &serving, &names)?);
    credentials(
        &mut files,
        "apiserver-kubelet-client",
        authority.client("kube-apiserver-kubelet-client", MASTERS)?,
    );
    // Their roles exist only some time after the API server answers, and would cost that time before the first pod runs.
    credentials(
        &mut files,
        "controller-manager",
        authority.client("system:kube-controller-manager", MASTERS)?,
    );
    credentials(&mut files, "scheduler", authority.client("system:kube-scheduler", MASTERS)?);
    let text =
        |(group, text): (String, String)| PartFile { path: format!("{group}.yaml"), contents: text.into() };
    files.extend(hollow.into_iter().map(text));
    files.push(pki("service-account.key", &private));
    files.push(pki("service-account.pub", &public));
    Ok(files)
}

fn node(
    run: &str,
    authority: &Authority,
    plan: &NodePlan,
    runtime_events: bool,
    addresses: &Addresses,
    style: Style,
) -> Result<Vec<PartFile>, PkiError> {
    let address = addresses.nodes.get(&plan.name).copied();
    let mut pinned_images = vec![HOG_IMAGE.to_owned(), PAUSE_IMAGE.to_owned()];
    pinned_images.extend(plan.gpus.as_ref().map(|_| GPU_HOG_IMAGE.to_owned()));
    let config = InitConfig {
        run: run.to_owned(),
        name: plan.name.clone(),
        role: Role::Node(Box::new(NodeConfig {
            api_server: format!("https://{}:{API_PORT}", addresses.control_plane_name),
            address,
            memory: plan.memory,
            nodefs: filesystem(&plan.nodefs),
            imagefs: plan.imagefs.as_ref().map(filesystem),
            kubelet: plan.kubelet.clone(),
            labels: plan.labels.clone(),
            taints: plan.taints.clone(),
            housekeeping_interval: plan.housekeeping_interval,
            machine_root: style.machine_root,
            pinned_images,
            sandbox_image: PAUSE_IMAGE.to_owned(),
            pids: plan.pids,
            ballast: plan.images.clone(),
            runtime_events,
            gpus: plan.gpus.clone(),
        })),
        lifeline: style.lifeline,
    };
    let mut files = vec![init(&config), pki("ca.crt", authority.certificate())];
    credentials(
        &mut files,
        "kubelet",
        authority.client(&format!("system:node:{}", plan.name), "system:nodes")?,
    );
    if let Some(own) = &plan.gpus {
        if !own.real {
            let contents = simulated_node(own).to_string().into_bytes();
            files.push(PartFile { path: "gpu/node/node.json".into(), contents });
        }
        // In no group that may do anything: it has the role that is shipped with it.
        credentials(&mut files, "gpu-evictor", authority.client(gpus::EVICTOR, "plimsoll:gpu-evictors")?);
        let driver = authority.client(gpus::DRA_DRIVER, "plimsoll:gpu-dra-drivers")?;
        credentials(&mut files, "gpu-dra-driver", driver);
    }
    // The API server asks by the address, and the name alone would be refused.
    let serving: Vec<IpAddr> = match address {
        Some(address) => vec![address.into()],
        None => addresses.possible.iter().copied().map(IpAddr::from).collect(),
    };
    credentials(&mut files, "kubelet-server", authority.server(&plan.name, &serving, &[&plan.name])?);
    Ok(files)
}

fn init(config: &InitConfig) -> PartFile {
    // Serialising plain data to memory has no way to fail; an empty file would be refused by the init.
    PartFile { path: "config.json".into(), contents: serde_json::to_vec_pretty(config).unwrap_or_default() }
}

fn pki(name: &str, text: &str) -> PartFile {
    PartFile { path: format!("pki/{name}"), contents: text.as_bytes().to_vec() }
}

fn credentials(files: &mut Vec<PartFile>, name: &str, credentials: Credentials) {
    files.push(pki(&format!("{name}.crt"), &credentials.certificate));
    files.push(pki(&format!("{name}.key"), &credentials.key));
}

fn filesystem(plan: &FilesystemPlan) -> Filesystem {
    Filesystem { size: plan.size, inodes: plan.inodes }
}
