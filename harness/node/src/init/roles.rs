//! What each role starts, and in which order.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::supervise::{Supervisor, log_file};
use super::{
    InitError, Voice, cgroup, control, gpus, images, kernel_log, mounts, network, runtime_events, sampler,
};
use crate::component::{self, Component, kubeconfig};
use crate::config::{API_PORT, ControlPlaneConfig, InitConfig, NodeConfig, PROGRAMS, RUN};

/// How long etcd and the API server may take to listen.
const LISTEN_WITHIN: Duration = Duration::from_secs(60);
/// The niceness of what must not keep the API server from coming up.
const STANDS_BACK: i32 = 10;
/// How long the API server may take to be healthy.
const HEALTHY_WITHIN: Duration = Duration::from_secs(60);
/// How long containerd may take to answer.
const CONTAINERD_WITHIN: Duration = Duration::from_secs(60);
/// How long the network may take to be there.
const NETWORK_WITHIN: Duration = Duration::from_secs(20);

/// Starts the control plane. etcd first, and the API server only when it listens: started together, the API
/// server's first connection fails and waits out a back-off. The others connect to the API server's port and are
/// answered when it is.
pub(super) fn control_plane(
    config: &InitConfig,
    role: &ControlPlaneConfig,
    voice: &Voice,
) -> Result<(), InitError> {
    mounts::common_files(&config.name)?;
    let supervisor = Supervisor::new(voice.clone());
    control::listen(&supervisor, voice, &config.name, None)?;
    supervisor.start(&component::etcd())?;
    let address = match role.address {
        Some(address) => address,
        None => network::own_address(NETWORK_WITHIN)?,
    };
    for client in ["controller-manager", "scheduler"] {
        let text = kubeconfig(&format!("https://{}:{API_PORT}", Ipv4Addr::LOCALHOST), client);
        write(&format!("{client}.kubeconfig"), &text)?;
    }
    let starter = supervisor.clone();
    let (speaker, role) = (voice.clone(), role.clone());
    std::thread::spawn(move || {
        if let Err(error) = start_after_etcd(&starter, &speaker, address, &role) {
            speaker.fatal(&error.0);
            std::process::exit(1);
        }
    });
    supervisor.run()
}

fn start_after_etcd(
    supervisor: &Supervisor,
    voice: &Voice,
    address: Ipv4Addr,
    role: &ControlPlaneConfig,
) -> Result<(), InitError> {
    let settings = &role.settings;
    wait_for_port(2379, "etcd")?;
    voice.phase("etcd");
    supervisor.start(&component::apiserver(address, settings))?;
    wait_for_port(API_PORT, "kube-apiserver")?;
    voice.phase("apiserver listens");
    for component in [component::scheduler(settings), component::controller_manager(settings)] {
        // The controller manager gives up where the API server is not healthy after ten seconds, as on a busy machine.
        let process = supervisor.start_patiently(&component, HEALTHY_WITHIN)?;
        // Until the API server answers they can do nothing but take processor time from it.
        let _ = rustix::process::setpriority_process(process, STANDS_BACK);
    }
    role.hollow.iter().try_for_each(|group| start_hollow(supervisor, group))
}

/// Starts what plays the kubelets of a group of hollow nodes.
fn start_hollow(supervisor: &Supervisor, group: &str) -> Result<(), InitError> {
    let log = log_file(group)?;
    let error_log = log.try_clone().map_err(InitError::context("log"))?;
    let mut command = Command::new(format!("{PROGRAMS}/kwok"));
    command.args(component::kwok(group)).stdin(Stdio::null()).stdout(log).stderr(error_log);
    supervisor.spawn(group, &mut command).map(drop)
}

fn wait_for_port(port: u16, who: &str) -> Result<(), InitError> {
    let deadline = Instant::now() + LISTEN_WITHIN;
    while !network::listens(port) {
        if Instant::now() > deadline {
            return Err(InitError(format!(
                "{who} does not listen after {} s; its log says why",
                LISTEN_WITHIN.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Starts a node: containerd, then the kubelet, which tries until the API server answers, and the images beside it.
pub(super) fn node(config: &InitConfig, role: &NodeConfig, voice: &Voice) -> Result<(), InitError> {
    let layout = cgroup::prepare()?;
    mounts::node(role)?;
    mounts::common_files(&config.name)?;
    voice.phase("mounts");
    let supervisor = Supervisor::new(voice.clone());
    fs::create_dir_all("/run/containerd").map_err(InitError::context("/run/containerd"))?;
    fs::create_dir_all("/etc/cni/net.d").map_err(InitError::context("/etc/cni/net.d"))?;
    fs::write("/etc/cni/net.d/10-pods.conflist", component::cni_configuration())
        .map_err(InitError::context("/etc/cni/net.d"))?;
    write(
        "containerd.toml",
        &component::containerd_configuration(
            &role.sandbox_image,
            !may_lower_oom_scores(),
            role.housekeeping_interval,
        ),
    )?;
    supervisor.start(&Component {
        name: "containerd",
        arguments: vec!["--config".into(), format!("{RUN}/containerd.toml")],
        environment: &[],
    })?;
    let address = match role.address {
        Some(address) => address,
        None => network::own_address(NETWORK_WITHIN)?,
    };
    write("kubelet.json", &component::kubelet_configuration(role).to_string())?;
    write("kubelet.kubeconfig", &kubeconfig(&role.api_server, "kubelet"))?;
    control::listen(&supervisor, voice, &config.name, role.gpus.as_ref())?;
    sampler::start(layout, role, voice);
    kernel_log::start(&config.run, &config.name, mounts::kernel_log_device(), voice);
    gpus::start(&supervisor, &config.name, role)?;
    let (speaker, starter, kubelet) =
        (voice.clone(), supervisor.clone(), component::kubelet(&config.name, address, role));
    let role = role.clone();
    std::thread::spawn(move || {
        if let Err(error) = start_after_containerd(&starter, &speaker, &kubelet, &role) {
            speaker.fatal(&error.0);
            std::process::exit(1);
        }
    });
    supervisor.run()
}

/// Whether containers may be given negative OOM scores: that takes CAP_SYS_RESOURCE (bit 24), which some machines lack.
fn may_lower_oom_scores() -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .is_some_and(|capabilities| capabilities & CAP_SYS_RESOURCE != 0)
}

/// The kubelet gives up when containerd does not answer its first call, so it starts only then.
fn start_after_containerd(
    supervisor: &Supervisor,
    voice: &Voice,
    kubelet: &Component,
    role: &NodeConfig,
) -> Result<(), InitError> {
    let deadline = Instant::now() + CONTAINERD_WITHIN;
    while std::os::unix::net::UnixStream::connect("/run/containerd/containerd.sock").is_err() {
        if Instant::now() > deadline {
            return Err(InitError(format!(
                "containerd does not answer after {} s; its log says why",
                CONTAINERD_WITHIN.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    voice.phase("containerd");
    if role.runtime_events {
        runtime_events::follow(supervisor, voice)?;
    }
    if !role.ballast.is_empty() {
        // The kubelet takes images that it finds at its start for old ones, and younger ones are kept for imageMinimumGCAge.
        images::load(supervisor, &role.ballast)?;
        voice.phase("ballast");
    }
    supervisor.start(kubelet)?;
    images::import(supervisor, &role.pinned_images)?;
    voice.phase("images");
    Ok(())
}

fn write(name: &str, text: &str) -> Result<(), InitError> {
    let path = Path::new(RUN).join(name);
    fs::write(&path, text).map_err(InitError::context(path.display()))
}
