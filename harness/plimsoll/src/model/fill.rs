//! What a filler takes, how fast the machine lets it, and where it puts that.

use std::ops::{Add, AddAssign, Sub};

use clap::Parser as _;
use k8s_openapi::api::core::v1::{Container, Volume};
use plimsoll_eviction::quantity::Quantity;
use plimsoll_hog::command_line::CommandLine;

use super::curve::{Course, Micros};
use crate::plan::{FillPlace, FillPlan, Form, Resource};

/// Where containerd keeps images and writable layers.
const CONTAINERD_FOLDER: &str = "/var/lib/containerd";

/// What is filled, told apart as far as the model has to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Memory of a process, or of a file in memory.
    Memory,
    /// Files that are written.
    Written,
    /// Files that are allocated without being written.
    Allocated,
    /// A container's log.
    Log,
    /// Empty files.
    Inodes,
    /// Processes that sleep.
    Processes,
}

impl Kind {
    /// What fills this; absent for what the model does not know.
    pub(super) const fn of(resource: Resource, form: Option<Form>) -> Option<Self> {
        match (resource, form) {
            (Resource::Memory, None | Some(Form::Anonymous | Form::Tmpfs)) => Some(Self::Memory),
            (Resource::Disk, Some(Form::Allocated)) => Some(Self::Allocated),
            (Resource::Disk, Some(Form::Log)) => Some(Self::Log),
            (Resource::Disk, None | Some(Form::Written)) => Some(Self::Written),
            (Resource::Inodes, _) => Some(Self::Inodes),
            (Resource::Pids, _) => Some(Self::Processes),
            _ => None,
        }
    }

    /// The resource, as the filler calls it.
    pub(super) const fn resource(self) -> Resource {
        match self {
            Self::Memory => Resource::Memory,
            Self::Written | Self::Allocated | Self::Log => Resource::Disk,
            Self::Inodes => Resource::Inodes,
            Self::Processes => Resource::Pids,
        }
    }

    /// Whether it takes something of a filesystem.
    #[must_use]
    pub const fn is_on_disk(self) -> bool {
        matches!(self, Self::Written | Self::Allocated | Self::Log | Self::Inodes)
    }

    /// What so much of it takes of a filesystem.
    pub(super) const fn amount(self, level: i64) -> Amount {
        match self {
            Self::Written | Self::Allocated | Self::Log => Amount { bytes: level, inodes: 0 },
            Self::Inodes => Amount { bytes: 0, inodes: level },
            Self::Memory | Self::Processes => Amount { bytes: 0, inodes: 0 },
        }
    }
}

/// Where a filler in a pod puts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It belongs to the process itself.
    Process,
    /// The container's writable layer.
    Layer,
    /// The container's log.
    Log,
    /// A volume of the pod, by its place in the pod's list.
    Volume(usize),
    /// A folder of the node, on the filesystem of images or on that of everything else.
    Node {
        /// Whether it lies where the images are.
        with_images: bool,
    },
}

/// What a container's filler takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Of what.
    pub kind: Kind,
    /// Where.
    pub place: Place,
    /// How far and how fast.
    pub course: Course,
    /// How long it holds its whole amount before it ends; absent for ever.
    pub hold: Option<Micros>,
    /// Whether it leaves what it holds behind when it ends.
    pub keep: bool,
    /// The most that its volume takes, where that is a tmpfs with a limit.
    pub bound: Option<i64>,
}

/// Bytes and inodes of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Bytes.
    pub bytes: i64,
    /// Inodes.
    pub inodes: i64,
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, inodes: self.inodes + other.inodes }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { bytes: self.bytes - other.bytes, inodes: self.inodes - other.inodes }
    }
}

impl Course {
    /// As the filler is told it.
    pub(super) fn of(fill: &FillPlan) -> Self {
        Self { amount: whole(fill.amount), rate: fill.rate.map(whole), start_at: whole(fill.start_at) }
    }
}

fn whole(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// Whether a folder of a node lies where the images are.
pub(super) fn lies_with_images(place: Option<&FillPlace>) -> bool {
    match place {
        Some(FillPlace::Imagefs) => true,
        Some(FillPlace::HostPath(path)) => is_in(path, CONTAINERD_FOLDER),
        _ => false,
    }
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a container's filler does by its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filler {
    /// What it takes; absent if it is a kind of fill that the model does not know, or none at all.
    pub(super) fill: Option<Fill>,
    /// How long it holds on after SIGTERM.
    pub(super) shutdown_delay: Micros,
    /// The resource of a fill that is not known.
    pub(super) unknown: Option<Resource>,
}

/// Reads the command line of a container that runs the filler. Nothing where it is a command to another filler.
///
/// # Errors
/// What is wrong with the command line, in a line.
pub(super) fn read(container: &Container, volumes: &[Volume]) -> Result<Option<Filler>, String> {
    let typed = container.args.iter().flatten().map(String::as_str);
    let parsed = CommandLine::try_parse_from(std::iter::once("plimsoll-hog").chain(typed));
    let filling = parsed
        .map_err(|error| error.to_string())
        .and_then(|line| line.filling().map_err(|error| error.to_string()));
    let Some(filling) = filling.map_err(|error| error.lines().next().unwrap_or_default().to_owned())? else {
        return Ok(None);
    };
    let micros = |time: std::time::Duration| Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX);
    let order = &filling.order;
    let mut filler = Filler { fill: None, shutdown_delay: micros(order.shutdown_delay), unknown: None };
    let Some(kind) = Kind::of(filling.resource, filling.form) else {
        filler.unknown = Some(filling.resource);
        return Ok(Some(filler));
    };
    let path = filling.path.as_deref().and_then(std::path::Path::to_str);
    let (place, bound) = match (kind, path) {
        (Kind::Log, _) => (Place::Log, None),
        (Kind::Processes, _) | (Kind::Memory, None) | (_, None) => (Place::Process, None),
        (_, Some(path)) => place(path, container, volumes),
    };
    filler.fill = Some(Fill {
        kind,
        place,
        course: Course {
            amount: whole(order.course.amount),
            rate: order.course.rate.map(|rate| whole(rate.get())),
            start_at: whole(order.course.start_at),
        },
        hold: order.hold.map(micros),
        keep: filling.keep,
        bound: bound.filter(|_| kind == Kind::Memory),
    });
    Ok(Some(filler))
}

/// Where a path of a container leads, and the most that fits there if it is a tmpfs with a limit.
fn place(path: &str, container: &Container, volumes: &[Volume]) -> (Place, Option<i64>) {
    let mounts = container.volume_mounts.iter().flatten().filter(|mount| is_in(path, &mount.mount_path));
    let Some(mount) = mounts.max_by_key(|mount| mount.mount_path.len()) else { return (Place::Layer, None) };
    let Some(index) = volumes.iter().position(|volume| volume.name == mount.name) else {
        return (Place::Layer, None);
    };
    let volume = &volumes[index];
    if let Some(host) = &volume.host_path {
        return (Place::Node { with_images: is_in(&host.path, CONTAINERD_FOLDER) }, None);
    }
    let limit = volume.empty_dir.as_ref().filter(|_| is_in_memory(volume));
    let limit = limit.and_then(|own| own.size_limit.as_ref()?.0.parse::<Quantity>().ok());
    (Place::Volume(index), limit.map(|limit| limit.value()).filter(|limit| *limit > 0))
}

/// Whether a volume is a tmpfs.
pub(super) fn is_in_memory(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|own| own.medium.as_deref() == Some("Memory"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_to_the_innermost_mount() {
        let container: Container = serde_json::from_value(json!({
            "name": "main",
            "args": ["disk", "--amount", "10Mi", "--path", "/data/inner/deep", "--keep", "--hold", "2s"],
            "volumeMounts": [
                {"name": "outer", "mountPath": "/data"}, {"name": "inner", "mountPath": "/data/inner/"},
                {"name": "host", "mountPath": "/host"}, {"name": "quick", "mountPath": "/quick"},
            ],
        }))
        .expect("a container");
        let volumes: Vec<Volume> = serde_json::from_value(json!([
            {"name": "outer", "emptyDir": {}}, {"name": "inner", "emptyDir": {}},
            {"name": "host", "hostPath": {"path": "/var/lib/containerd/x"}},
            {"name": "quick", "emptyDir": {"medium": "Memory", "sizeLimit": "50Mi"}},
        ]))
        .expect("volumes");
        let fill =
            read(&container, &volumes).expect("a command line").expect("a filler").fill.expect("a fill");
        assert_eq!((fill.kind, fill.place), (Kind::Written, Place::Volume(1)));
        assert_eq!((fill.keep, fill.hold), (true, Some(2_000_000)));
        for (path, expected) in [
            ("/data/innermost", (Place::Volume(0), None)),
            ("/tmp", (Place::Layer, None)),
            ("/host/x", (Place::Node { with_images: true }, None)),
            ("/quick", (Place::Volume(3), Some(50 << 20))),
        ] {
            assert_eq!(place(path, &container, &volumes), expected, "{path}");
        }
    }

    #[test]
    fn what_the_model_does_not_know_is_said() {
        let container: Container =
            serde_json::from_value(json!({ "name": "main", "args": ["cpu", "--cores", "1"] }))
                .expect("a container");
        let filler = read(&container, &[]).expect("a command line").expect("a filler");
        assert_eq!((filler.fill, filler.unknown), (None, Some(Resource::Cpu)));
    }
}
