//! What fillers take, and where they put it.

use std::fmt;

use plimsoll_hog::report::{Form, Resource};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::values::{Amount, Rate, Time};
use crate::scenario::located::Located;
use crate::scenario::tree::Mark;

/// What a filler takes: one resource.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fill {
    /// Memory, every page of it touched.
    Memory(Located<MemoryFill>),
    /// Space of a filesystem, or of the container's log.
    Disk(Located<DiskFill>),
    /// Inodes of a filesystem: empty files, a thousand to a folder.
    Inodes(Located<InodesFill>),
    /// Process ids: processes that sleep.
    Pids(Located<PidsFill>),
    /// Processor time, as a share of every 20ms.
    Cpu(Located<CpuFill>),
    /// Memory of a GPU, every byte of it written.
    GpuMemory(Located<GpuMemoryFill>),
}

/// Memory to take and hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemoryFill {
    /// How much it holds in the end.
    pub amount: Located<Amount>,
    /// How fast it gets there. Left out: as fast as the machine can.
    pub rate: Option<Located<Rate>>,
    /// How much of it is taken at once, before the pace begins. Default 0.
    pub start_at: Option<Located<Amount>>,
    /// What kind of memory. Default Anonymous.
    #[serde(rename = "as")]
    pub form: Option<Located<MemoryForm>>,
    /// For page cache, where its file lies (default: the writable layer); for Tmpfs an emptyDir of medium Memory (default:
    /// a file without a name, which no volume limits).
    pub into: Option<Located<Into>>,
    /// How long it is held, after which the filler ends with exit status 0. Left out: until it is told to end.
    pub hold: Option<Located<Time>>,
}

/// Kinds of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum MemoryForm {
    /// Memory of the process itself.
    Anonymous,
    /// Pages of a file that was read once. The kernel takes them back when it must, and the kubelet does not count them.
    PageCache,
    /// Pages of a file that was read twice. The kernel can take them back, but the kubelet counts them as used.
    ActivePageCache,
    /// Pages of a file in memory, which nothing but its end gives back.
    Tmpfs,
}

/// Space to take and hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiskFill {
    /// How much it holds in the end.
    pub amount: Located<Amount>,
    /// How fast it gets there. Left out: as fast as the machine can.
    pub rate: Option<Located<Rate>>,
    /// How much of it is taken at once, before the pace begins. Default 0.
    pub start_at: Option<Located<Amount>>,
    /// How the space is taken. Default Written. A log is always written.
    #[serde(rename = "as")]
    pub form: Option<Located<DiskForm>>,
    /// Where. Default: the writable layer of the container, and for a filler on a node its nodefs.
    pub into: Option<Located<Into>>,
    /// How long it is held, after which the filler ends with exit status 0. Left out: until it is told to end.
    pub hold: Option<Located<Time>>,
    /// Whether what was written stays when the filler ends, as ballast of a container that has ended. Default false.
    pub keep: Option<Located<bool>>,
}

/// Ways to take space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum DiskForm {
    /// Files are written and synced.
    Written,
    /// Files are allocated without being written, which takes no time.
    Allocated,
}

/// Inodes to take and hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InodesFill {
    /// How many it holds in the end, such as `50k`.
    pub amount: Located<Amount>,
    /// How fast it gets there, such as `5k/s`. Left out: as fast as the machine can.
    pub rate: Option<Located<Rate>>,
    /// How many of them are taken at once, before the pace begins. Default 0.
    pub start_at: Option<Located<Amount>>,
    /// Where. Default: the writable layer of the container, and for a filler on a node its nodefs.
    pub into: Option<Located<Into>>,
    /// How long they are held, after which the filler ends with exit status 0. Left out: until it is told to end.
    pub hold: Option<Located<Time>>,
    /// Whether the files stay when the filler ends, as ballast of a container that has ended. Default false.
    pub keep: Option<Located<bool>>,
}

/// Processes to start and hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PidsFill {
    /// How many it holds in the end.
    pub amount: Located<Amount>,
    /// How fast it gets there, such as `50/s`. Left out: as fast as the machine can.
    pub rate: Option<Located<Rate>>,
    /// How many of them are started at once, before the pace begins. Default 0.
    pub start_at: Option<Located<Amount>>,
    /// How long they are held, after which the filler ends with exit status 0. Left out: until it is told to end.
    pub hold: Option<Located<Time>>,
}

/// Processor time to use.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CpuFill {
    /// How many processors' time: `500m` is half of one.
    pub amount: Located<Amount>,
    /// How long it is used, after which the filler ends with exit status 0. Left out: until it is told to end.
    pub hold: Option<Located<Time>>,
}

/// What a filler does when it can have no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhenExhausted {
    /// It gives everything back and ends with exit status 3.
    Exit,
    /// It holds what it has, which then counts as filled.
    Hold,
    /// It holds what it has and tries again: after 1 s, then twice as long each time, up to a minute.
    Retry,
}

impl WhenExhausted {
    /// The word for it in a scenario and on the filler's command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Hold => "hold",
            Self::Retry => "retry",
        }
    }
}

/// A program beside fillers: it takes little memory of the one GPU that the pod has, writes and compares it again and again, and ends with
/// exit status 4 as soon as that fails.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuBystander {
    /// How much memory it works on. Default 64Mi.
    pub amount: Option<Located<Amount>>,
    /// How long from one round of work to the next. Default 100ms.
    pub interval: Option<Located<Time>>,
}

/// GPU memory to take and hold, of the one GPU that the pod has.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuMemoryFill {
    /// How much it holds in the end. What a context takes comes on top.
    pub amount: Located<Amount>,
    /// How fast it gets there, such as `1Gi/s`. Left out: as fast as the GPU can.
    pub rate: Option<Located<Rate>>,
    /// How much of it is taken at once, before the pace begins. Default 0.
    pub start_at: Option<Located<Amount>>,
    /// How long it is held, after which the filler ends with exit status 0. Left out: until it is told to end.
    pub hold: Option<Located<Time>>,
    /// What the filler does when the GPU has no more. Default exit.
    pub when_exhausted: Option<Located<WhenExhausted>>,
}

/// Where a filler puts its files.
#[derive(Debug, Clone)]
pub enum Into {
    /// The container's own root.
    WritableLayer,
    /// The container's log: lines on its standard error.
    Log,
    /// An emptyDir volume of the pod, called `filled`.
    EmptyDir(EmptyDir),
    /// A folder of the node, made where it is not there.
    HostPath(HostPath),
    /// The node's nodefs, for a filler outside every pod.
    Nodefs,
    /// The node's imagefs, for a filler outside every pod.
    Imagefs,
}

/// The words for places that need no more than a word.
const PLACES: [&str; 5] = ["WritableLayer", "Log", "EmptyDir", "Nodefs", "Imagefs"];

/// An emptyDir volume.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmptyDir {
    /// Above this the kubelet evicts the pod. Left out: no limit.
    pub size_limit: Option<Located<Amount>>,
    /// `Memory` for a tmpfs. Left out: the disk of the kubelet.
    pub medium: Option<Located<Medium>>,
}

/// What an emptyDir is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Medium {
    /// A tmpfs.
    Memory,
}

/// A folder of the node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostPath {
    /// Where it is on the node, from its root.
    pub path: Located<String>,
}

/// A volume source, as Kubernetes writes it. One of the two.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Volume {
    /// An emptyDir volume of the pod.
    empty_dir: Option<EmptyDir>,
    /// A folder of the node.
    host_path: Option<HostPath>,
}

impl<'de> Deserialize<'de> for Into {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrVolume;

        impl<'de> Visitor<'de> for WordOrVolume {
            type Value = Into;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}, or a mapping of emptyDir or hostPath", PLACES.join(", "))
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Into, E> {
                Ok(match word {
                    "WritableLayer" => Into::WritableLayer,
                    "Log" => Into::Log,
                    "EmptyDir" => Into::EmptyDir(EmptyDir::default()),
                    "Nodefs" => Into::Nodefs,
                    "Imagefs" => Into::Imagefs,
                    _ => return Err(E::unknown_variant(word, &PLACES)),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Into, A::Error> {
                match Volume::deserialize(MapAccessDeserializer::new(map))? {
                    Volume { empty_dir: Some(volume), host_path: None } => Ok(Into::EmptyDir(volume)),
                    Volume { empty_dir: None, host_path: Some(volume) } => Ok(Into::HostPath(volume)),
                    _ => Err(A::Error::custom("one volume is filled: expected emptyDir or hostPath")),
                }
            }
        }

        deserializer.deserialize_any(WordOrVolume)
    }
}

impl JsonSchema for Into {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Into".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a filler puts its files: a word, or a volume as Kubernetes writes it. EmptyDir is the same as {emptyDir: {}}. \
                Nodefs and Imagefs are for fillers outside every pod.",
            "anyOf": [{ "type": "string", "enum": PLACES }, generator.subschema_for::<Volume>()],
        })
    }
}

/// Any fill, for whoever treats all alike.
#[derive(Debug, Clone, Copy)]
pub struct AnyFill<'a> {
    /// What is filled.
    pub resource: Resource,
    /// How much.
    pub amount: &'a Located<Amount>,
    /// How fast.
    pub rate: Option<&'a Located<Rate>>,
    /// How much at once.
    pub start_at: Option<&'a Located<Amount>>,
    /// In which form, with the place of the word; absent where none is written.
    pub form: Option<(Form, Mark)>,
    /// Where to.
    pub into: Option<&'a Located<Into>>,
    /// How long.
    pub hold: Option<&'a Located<Time>>,
    /// Whether it stays.
    pub keep: Option<&'a Located<bool>>,
    /// What happens when there is no more, where that can be chosen.
    pub when_exhausted: Option<&'a Located<WhenExhausted>>,
}

impl<'a> AnyFill<'a> {
    fn new(resource: Resource, amount: &'a Located<Amount>, hold: Option<&'a Located<Time>>) -> Self {
        Self {
            resource,
            amount,
            rate: None,
            start_at: None,
            form: None,
            into: None,
            hold,
            keep: None,
            when_exhausted: None,
        }
    }

    /// The name of its field.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        resource_name(self.resource)
    }
}

/// The field of a resource under `fill`.
#[must_use]
pub const fn resource_name(resource: Resource) -> &'static str {
    match resource {
        Resource::Memory => "memory",
        Resource::Disk => "disk",
        Resource::Inodes => "inodes",
        Resource::Pids => "pids",
        Resource::Cpu => "cpu",
        Resource::GpuMemory => "gpuMemory",
    }
}

impl Fill {
    /// All fills alike.
    #[must_use]
    pub fn any(&self) -> AnyFill<'_> {
        match self {
            Self::Memory(fill) => fill.any(),
            Self::Disk(fill) => fill.any(),
            Self::Inodes(fill) => fill.any(),
            Self::Pids(fill) => fill.any(),
            Self::Cpu(fill) => fill.any(),
            Self::GpuMemory(fill) => fill.any(),
        }
    }
}

impl MemoryFill {
    /// As any fill.
    #[must_use]
    pub fn any(&self) -> AnyFill<'_> {
        let form = self.form.as_ref().map(|form| {
            let word = match form.value {
                MemoryForm::Anonymous => Form::Anonymous,
                MemoryForm::PageCache => Form::PageCache,
                MemoryForm::ActivePageCache => Form::ActivePageCache,
                MemoryForm::Tmpfs => Form::Tmpfs,
            };
            (word, form.mark)
        });
        AnyFill {
            rate: self.rate.as_ref(),
            start_at: self.start_at.as_ref(),
            form,
            into: self.into.as_ref(),
            ..AnyFill::new(Resource::Memory, &self.amount, self.hold.as_ref())
        }
    }
}

impl DiskFill {
    /// As any fill.
    #[must_use]
    pub fn any(&self) -> AnyFill<'_> {
        let form = self.form.as_ref().map(|form| match form.value {
            DiskForm::Written => (Form::Written, form.mark),
            DiskForm::Allocated => (Form::Allocated, form.mark),
        });
        AnyFill {
            rate: self.rate.as_ref(),
            start_at: self.start_at.as_ref(),
            form,
            into: self.into.as_ref(),
            keep: self.keep.as_ref(),
            ..AnyFill::new(Resource::Disk, &self.amount, self.hold.as_ref())
        }
    }
}

impl InodesFill {
    /// As any fill.
    #[must_use]
    pub fn any(&self) -> AnyFill<'_> {
        AnyFill {
            rate: self.rate.as_ref(),
            start_at: self.start_at.as_ref(),
            into: self.into.as_ref(),
            keep: self.keep.as_ref(),
            ..AnyFill::new(Resource::Inodes, &self.amount, self.hold.as_ref())
        }
    }
}

impl PidsFill {
    /// As any fill.
    #[must_use]
    pub fn any(&self) -> AnyFill<'_> {
        AnyFill {
            rate: self.rate.as_ref(),
            start_at: self.start_at.as_ref(),
            ..AnyFill::new(Resource::Pids, &self.amount, self.hold.as_ref())
        }
    }
}

impl CpuFill {
    /// As any fill.
    #[must_use]
    pub fn any(&self) -> AnyFill<'_> {
        AnyFill::new(Resource::Cpu, &self.amount, self.hold.as_ref())
    }
}

impl GpuMemoryFill {
    /// As any fill.
    #[must_use]
    pub fn any(&self) -> AnyFill<'_> {
        AnyFill {
            rate: self.rate.as_ref(),
            start_at: self.start_at.as_ref(),
            when_exhausted: self.when_exhausted.as_ref(),
            ..AnyFill::new(Resource::GpuMemory, &self.amount, self.hold.as_ref())
        }
    }
}
