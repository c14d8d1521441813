//! One part as a container of the engine.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use plimsoll_node::config::{API_PORT, PROGRAMS, RUN};
use testcontainers::bollard::models::{
    DeviceMapping, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount, MountType,
    MountVolumeOptions, PortBinding,
};
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use super::image::Image;
use super::owner::{Labels, PART_LABEL};
use crate::cluster::{Bounds, CONTROL_PLANE, ClusterError};

/// A container that was started.
pub(super) type Container = ContainerAsync<GenericImage>;

/// Where all that is ours lies in a container; [`RUN`] and [`PROGRAMS`] are in it. One folder, because an engine
/// takes a tenth of a second for each that it is handed.
const FOLDER: &str = "/plimsoll";
/// How long the engine may take to start a container.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// What a node needs beyond the capabilities that engines give any container: mounts, namespaces and cgroups; interfaces
/// and routes; the kernel's log; its pods' processes; and what ordinary pods ask for. Only names that old engines know.
const CAPABILITIES: [&str; 13] = [
    "SYS_ADMIN",
    "NET_ADMIN",
    "SYSLOG",
    "SYS_PTRACE",
    "DAC_READ_SEARCH",
    "IPC_LOCK",
    "IPC_OWNER",
    "LEASE",
    "LINUX_IMMUTABLE",
    "NET_BROADCAST",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_TTY_CONFIG",
];
/// Lets OOM scores be lowered. An engine that lacks it refuses to hand it on, so it is asked for only where
/// [`may_lower_oom_scores`]; a node without it clamps the scores.
const LOWERS_OOM_SCORES: &str = "SYS_RESOURCE";
/// What a node may open: loop devices and their control, the kernel's log, and the tunnel device that runc lists for every pod.
const DEVICE_RULES: [&str; 4] = ["b 7:* rwm", "c 10:237 rwm", "c 1:11 rwm", "c 10:200 rwm"];
/// Devices that are there from the start; loop devices are made when they are known.
const DEVICES: [&str; 2] = ["/dev/kmsg", "/dev/loop-control"];

/// What a container is made of.
pub(super) struct Part<'a> {
    /// [`CONTROL_PLANE`] or the node's name.
    pub(super) name: &'a str,
    /// A node's bounds; absent for the control plane, whose memory is not the node's.
    pub(super) bounds: Option<Bounds>,
    /// Whose it is.
    pub(super) labels: &'a Labels,
    /// What it is a container of.
    pub(super) image: &'a Image,
    /// The run's network.
    pub(super) network: &'a str,
    /// The folder that becomes [`FOLDER`] in the container, on top of what the image has there.
    pub(super) folder: &'a Path,
}

/// A part's container is called by the run and the part; in the run's network, that is its host name too.
pub(super) fn name(run: &str, part: &str) -> String {
    format!("plimsoll-{run}-{part}")
}

/// Makes a container and starts its init. Never privileged: capabilities and devices by name.
pub(super) async fn start(part: Part<'_>) -> Result<Container, ClusterError> {
    let labels = part.labels.clone();
    let bounds = part.bounds;
    let is_node = bounds.is_some();
    let mut request = GenericImage::new(part.image.name, &part.image.tag)
        .with_entrypoint(&format!("{PROGRAMS}/plimsoll-node"))
        .with_exposed_port(API_PORT.tcp())
        .with_container_name(name(&labels.run, part.name))
        .with_hostname(part.name)
        .with_network(part.network)
        .with_labels(labels.all())
        .with_label(PART_LABEL, part.name)
        .with_startup_timeout(STARTED_WITHIN)
        .with_copy_to(FOLDER, part.folder);
    if is_node {
        for option in ["seccomp=unconfined", "apparmor=unconfined", "label=disable"] {
            request = request.with_security_opt(option);
        }
        for capability in CAPABILITIES.into_iter().chain(may_lower_oom_scores().then_some(LOWERS_OOM_SCORES))
        {
            request = request.with_cap_add(capability);
        }
    } else {
        // It only has to read what was copied in, which belongs to whoever runs us.
        request = request.with_cap_drop("ALL").with_cap_add("DAC_OVERRIDE");
    }
    let request = request.with_host_config_modifier(move |host| {
        common(host, &labels);
        match bounds {
            Some(bounds) => node(host, bounds),
            None => publish(host),
        }
    });
    request.start().await.map_err(|error| refused(part.name, &error.to_string()))
}

/// Disk images and the store lie on a volume: it goes with the container, and a loop device on the engine's own layers
/// is something that not every engine can have. The log's driver is the one whose log can be followed from its start.
fn common(host: &mut HostConfig, labels: &Labels) {
    host.mounts = Some(vec![Mount {
        target: Some(RUN.to_owned()),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            labels: Some(labels.all()),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }]);
    host.log_config = Some(HostConfigLogConfig { typ: Some("json-file".into()), config: None });
    host.publish_all_ports = Some(false);
    // Its own cgroups are all that it sees, on version 1 too.
    host.cgroupns_mode = Some(HostConfigCgroupnsModeEnum::PRIVATE);
}

fn node(host: &mut HostConfig, bounds: Bounds) {
    let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let memory = signed(bounds.memory);
    host.memory = Some(memory);
    // Memory and swap together: no swap.
    host.memory_swap = Some(memory);
    host.pids_limit = Some(signed(bounds.tasks));
    host.device_cgroup_rules = Some(DEVICE_RULES.map(str::to_owned).into());
    host.devices = Some(DEVICES.map(device).into());
    // The kubelet and its pods are to see all of /proc, and the init covers what is the machine's.
    host.masked_paths = Some(Vec::new());
    host.readonly_paths = Some(Vec::new());
}

fn device(path: &str) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(path.to_owned()),
        path_in_container: Some(path.to_owned()),
        cgroup_permissions: Some("rwm".into()),
    }
}

/// The API server, on this machine only and at a port that is free.
fn publish(host: &mut HostConfig) {
    let binding = PortBinding { host_ip: Some("127.0.0.1".into()), host_port: Some(String::new()) };
    host.port_bindings = Some(HashMap::from([(format!("{API_PORT}/tcp"), Some(vec![binding]))]));
}

/// Whether this machine hands on CAP_SYS_RESOURCE (bit 24): the bounding set is every process's, root's or not.
fn may_lower_oom_scores() -> bool {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & CAP_SYS_RESOURCE != 0)
}

fn refused(part: &str, why: &str) -> ClusterError {
    let what = if part == CONTROL_PLANE {
        "starting the control plane".to_owned()
    } else {
        format!("starting node {part}")
    };
    let help = if why.contains("/dev/loop-control") { "\nhelp: modprobe loop" } else { "" };
    ClusterError::doing(what)(format!("{why}{help}"))
}

#[cfg(test)]
mod tests {
    use testcontainers::bollard::models::HostConfig;

    use super::{Bounds, common, node, publish};
    use crate::cluster::engine::owner::Labels;

    #[test]
    fn a_node_is_bounded_and_publishes_nothing() {
        let mut host = HostConfig::default();
        common(&mut host, &Labels::of("r1"));
        node(&mut host, Bounds { memory: 2 << 30, tasks: 900, gpus: false });
        assert_eq!((host.memory, host.memory_swap), (Some(2 << 30), Some(2 << 30)));
        assert_eq!(host.pids_limit, Some(900));
        assert_eq!(
            (host.publish_all_ports, host.port_bindings.is_none(), host.privileged),
            (Some(false), true, None)
        );
    }

    #[test]
    fn the_api_server_is_reached_from_this_machine_only() {
        let mut host = HostConfig::default();
        common(&mut host, &Labels::of("r1"));
        publish(&mut host);
        let bindings = host.port_bindings.unwrap_or_default();
        let addresses: Vec<_> =
            bindings.values().flatten().flatten().map(|binding| binding.host_ip.as_deref()).collect();
        assert_eq!(addresses, [Some("127.0.0.1")]);
    }
}
