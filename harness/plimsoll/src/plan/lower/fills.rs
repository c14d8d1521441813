//! What fillers take: from what was written to plans, and what is wrong with it by itself.

use plimsoll_eviction::quantity::Quantity;
use serde_json::{Value, json};

use super::context::Findings;
use crate::plan::filler::FILLED_FOLDER;
use crate::plan::{FILLED_VOLUME, FillPlace, FillPlan, Form, Resource};
use crate::scenario::Code;
use crate::scenario::format::fill::{AnyFill, Into, Medium};
use crate::scenario::format::values::Amount;
use crate::scenario::tree::shortened;

/// Nanoseconds to a thousandth: quantities are exact to the billionth.
const NANOS_TO_MILLI: i128 = 1_000_000;

/// Who fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// A container of a pod.
    Pod,
    /// A process on a node, outside every pod.
    Node,
}

/// What a fill comes to.
pub(super) fn plan(fill: &AnyFill<'_>, who: Who) -> FillPlan {
    let whole = |amount: &Amount| u64::try_from(amount.value).unwrap_or(0);
    let amount = if fill.resource == Resource::Cpu { millicores(fill.amount) } else { whole(fill.amount) };
    let logs = matches!(fill.into.map(|into| &into.value), Some(Into::Log));
    let form = match fill.resource {
        Resource::Memory => Some(fill.form.map_or(Form::Anonymous, |(form, _)| form)),
        Resource::Disk if logs => Some(Form::Log),
        Resource::Disk => Some(fill.form.map_or(Form::Written, |(form, _)| form)),
        Resource::Inodes | Resource::Pids | Resource::Cpu | Resource::GpuMemory => None,
    };
    let needs_place = match form {
        Some(Form::Anonymous | Form::Log) => false,
        // A file in memory needs no folder.
        Some(Form::Tmpfs) => fill.into.is_some(),
        Some(_) => true,
        None => fill.resource == Resource::Inodes,
    };
    let default = match who {
        Who::Pod => FillPlace::WritableLayer,
        Who::Node => FillPlace::Nodefs,
    };
    let written = fill.into.and_then(|into| match &into.value {
        Into::WritableLayer => Some(FillPlace::WritableLayer),
        Into::Log => None,
        Into::EmptyDir(volume) => Some(FillPlace::EmptyDir {
            size_limit: volume.size_limit.as_ref().map(|limit| whole(limit)),
            in_memory: volume.medium.as_ref().is_some_and(|medium| medium.value == Medium::Memory),
        }),
        Into::HostPath(volume) => Some(FillPlace::HostPath(volume.path.value.clone())),
        Into::Nodefs => Some(FillPlace::Nodefs),
        Into::Imagefs => Some(FillPlace::Imagefs),
    });
    FillPlan {
        resource: fill.resource,
        form,
        into: needs_place.then(|| written.unwrap_or(default)),
        amount,
        rate: fill.rate.map(|rate| rate.0),
        start_at: fill.start_at.map_or(0, |start| whole(start)),
        hold: fill.hold.map(|hold| hold.0),
        keep: fill.keep.is_some_and(|keep| keep.value),
        when_exhausted: fill.when_exhausted.map(|what| what.value),
    }
}

/// Thousandths of a processor, rounded up.
fn millicores(amount: &Amount) -> u64 {
    let nanos = amount.text.parse::<Quantity>().ok().and_then(|quantity| quantity.nanos()).unwrap_or(0);
    u64::try_from((nanos + NANOS_TO_MILLI - 1) / NANOS_TO_MILLI).unwrap_or(0)
}

/// What is wrong with a fill by itself.
pub(super) fn check(fill: &AnyFill<'_>, who: Who, findings: &mut Findings) {
    check_start_at(fill, findings);
    check_place(fill, who, findings);
    if fill.resource == Resource::GpuMemory && who == Who::Node {
        findings.say_with_help(
            Code::E0010,
            fill.amount.mark,
            "a process outside every pod has no GPU",
            "fill with a workload, which requests memory of one",
        );
    }
    if let (Some(keep), Some(into)) = (fill.keep, fill.into)
        && keep.value
        && matches!(into.value, Into::Log)
    {
        findings.say(Code::E0010, keep.key, "`keep` beside `into: Log`: what is in a log stays in any case");
    }
}

/// A head start must lie within the amount.
fn check_start_at(fill: &AnyFill<'_>, findings: &mut Findings) {
    let Some(start) = fill.start_at else { return };
    if start.value.value > fill.amount.value.value {
        let message = format!("starts at {}, above the amount of {}", start.text, fill.amount.text);
        findings.say(Code::E0010, start.mark, message);
    } else if fill.rate.is_none() {
        let rate = match fill.resource {
            Resource::Memory | Resource::Disk => "15Mi/s",
            Resource::GpuMemory => "1Gi/s",
            _ => "500/s",
        };
        findings.say_with_help(
            Code::E0010,
            start.key,
            "`startAt` without `rate`: all of it is taken at once anyway",
            format!("add a rate, such as `rate: {rate}`"),
        );
    }
}

/// A place must be one that such a fill can be in.
fn check_place(fill: &AnyFill<'_>, who: Who, findings: &mut Findings) {
    let form = fill.form.map(|(form, _)| form);
    let Some(into) = fill.into else { return };
    let is_memory = fill.resource == Resource::Memory;
    let mut refuse = |message: &str, help: &str| {
        findings.say_with_help(Code::E0010, into.key, message, help);
    };
    let in_memory = matches!(&into.value, Into::EmptyDir(volume) if volume.medium.is_some());
    match (&into.value, who) {
        (Into::Nodefs | Into::Imagefs, Who::Pod) => {
            return refuse(
                "a pod can not fill a filesystem of its node as a whole",
                "WritableLayer lies on imagefs, or on nodefs where there is no imagefs; EmptyDir and Log lie on nodefs",
            );
        }
        (Into::WritableLayer | Into::Log | Into::EmptyDir(_), Who::Node) => {
            return refuse(
                "a process outside every pod has no volume, log or layer of its own",
                "expected Nodefs (the default), Imagefs or a hostPath",
            );
        }
        _ => {}
    }
    match (is_memory, form) {
        (true, None | Some(Form::Anonymous)) => refuse(
            "anonymous memory lies in no file",
            "leave `into` out, or say what memory is meant: `as: PageCache`, `as: ActivePageCache` or `as: Tmpfs`",
        ),
        (true, Some(Form::Tmpfs)) if !in_memory => refuse(
            "a tmpfs is an emptyDir of medium Memory",
            "write `into: {emptyDir: {medium: Memory}}`, or leave `into` out",
        ),
        (true, Some(Form::PageCache | Form::ActivePageCache)) if in_memory => {
            refuse("a tmpfs has no page cache", "leave `medium` out, or write `as: Tmpfs`");
        }
        (true, _) if matches!(into.value, Into::Log) => {
            refuse(
                "a log is no file that can be read again",
                "expected WritableLayer, EmptyDir or a hostPath",
            );
        }
        (false, _) if in_memory => refuse(
            "an emptyDir of medium Memory takes memory, not disk",
            "write `memory: {as: Tmpfs, into: {emptyDir: {medium: Memory}}}`",
        ),
        (false, Some(Form::Allocated)) if matches!(into.value, Into::Log) => {
            refuse("a log is written, not allocated", "leave `as` out");
        }
        (false, None) if fill.resource == Resource::Inodes && matches!(into.value, Into::Log) => {
            refuse("a log is one file", "expected WritableLayer, EmptyDir or a hostPath");
        }
        _ => {}
    }
    if let Into::HostPath(volume) = &into.value
        && (!volume.path.value.starts_with('/') || volume.path.value.split('/').any(|part| part == ".."))
    {
        let message =
            format!("{:?} is no path from the root of a node, such as /data", shortened(&volume.path.value));
        findings.say(Code::E0006, volume.path.mark, message);
    }
}

/// What a running filler can not be told any more.
pub(super) fn check_change(fill: &AnyFill<'_>, before: Option<&FillPlan>, findings: &mut Findings) {
    let resource = before.map_or(Resource::Memory, |before| before.resource);
    if fill.resource != resource {
        let message = format!(
            "its filler fills {}, and can not be made to fill {}",
            crate::plan::filler::word(resource),
            fill.name()
        );
        findings.say(Code::E0010, fill.amount.mark, message);
    }
    let fields = [
        ("as", fill.form.map(|(_, mark)| mark)),
        ("into", fill.into.map(|into| into.key)),
        ("hold", fill.hold.map(|hold| hold.key)),
        ("keep", fill.keep.map(|keep| keep.key)),
        ("whenExhausted", fill.when_exhausted.map(|what| what.key)),
        ("startAt", fill.start_at.filter(|_| fill.resource == Resource::GpuMemory).map(|start| start.key)),
    ];
    for (field, key) in fields {
        if let Some(key) = key {
            let message = format!("`{field}` is settled when the filler starts");
            findings.say_with_help(Code::E0010, key, message, "write it under `fill` of the workload");
        }
    }
}

/// The volume that a pod needs for its filler, as Kubernetes writes it.
pub(super) fn volume(fill: &AnyFill<'_>) -> Option<Value> {
    match &fill.into?.value {
        Into::EmptyDir(volume) => {
            let mut source = json!({});
            if volume.medium.is_some() {
                source["medium"] = json!("Memory");
            }
            if let Some(limit) = &volume.size_limit {
                source["sizeLimit"] = json!(limit.text);
            }
            Some(json!({ "name": FILLED_VOLUME, "emptyDir": source }))
        }
        Into::HostPath(volume) => {
            let source = json!({ "path": volume.path.value, "type": "DirectoryOrCreate" });
            Some(json!({ "name": FILLED_VOLUME, "hostPath": source }))
        }
        Into::WritableLayer | Into::Log | Into::Nodefs | Into::Imagefs => None,
    }
}

/// Where the container mounts it.
pub(super) fn volume_mount() -> Value {
    json!({ "name": FILLED_VOLUME, "mountPath": FILLED_FOLDER })
}
