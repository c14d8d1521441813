//! A fill as the filler's command line, and in words.

use plimsoll_eviction::duration::format_duration;
use plimsoll_eviction::quantity::Quantity;

use super::model::{FillPlace, FillPlan, Form, Resource, WhenExhausted};

/// Where a container sees the volume that its filler fills.
pub const FILLED_FOLDER: &str = "/filled";
/// A folder of the filler's image, on the container's writable layer.
const OWN_FOLDER: &str = "/tmp";

/// An amount of a resource as the filler and people read it: `900Mi`, `5000`, `1500m`.
#[must_use]
pub fn amount(resource: Resource, amount: u64) -> String {
    match resource {
        Resource::Memory | Resource::Disk | Resource::GpuMemory => {
            Quantity::from_bytes(i64::try_from(amount).unwrap_or(i64::MAX)).to_string()
        }
        Resource::Inodes | Resource::Pids => amount.to_string(),
        Resource::Cpu => format!("{amount}m"),
    }
}

/// The resource's word on the command line, and in a scenario.
#[must_use]
pub const fn word(resource: Resource) -> &'static str {
    match resource {
        Resource::Memory => "memory",
        Resource::Disk => "disk",
        Resource::Inodes => "inodes",
        Resource::Pids => "pids",
        Resource::Cpu => "cpu",
        Resource::GpuMemory => "gpu-memory",
    }
}

const fn form_word(form: Form) -> &'static str {
    match form {
        Form::Anonymous => "anonymous",
        Form::PageCache => "page-cache",
        Form::ActivePageCache => "active-page-cache",
        Form::Tmpfs => "tmpfs",
        Form::Written => "written",
        Form::Allocated => "allocated",
        Form::Log => "log",
    }
}

/// The arguments that start a filler which holds nothing yet and fills this, in a folder where it needs one.
#[must_use]
pub fn start(fill: &FillPlan, folder: Option<&str>) -> Vec<String> {
    // The filler of GPU memory fills nothing else, and has no word for it.
    let word = (fill.resource != Resource::GpuMemory).then(|| word(fill.resource).to_owned());
    let mut arguments: Vec<String> = word.into_iter().collect();
    arguments.extend(["--amount".to_owned(), amount(fill.resource, fill.amount)]);
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    if let Some(form) = fill.form.filter(|form| !matches!(form, Form::Anonymous | Form::Written)) {
        option("--as", form_word(form).to_owned());
    }
    if let Some(folder) = folder {
        option("--path", folder.to_owned());
    }
    if let Some(rate) = fill.rate {
        option("--rate", format!("{}/s", amount(fill.resource, rate)));
    }
    if fill.start_at > 0 {
        option("--start-at", amount(fill.resource, fill.start_at));
    }
    if let Some(hold) = fill.hold {
        option("--hold", format_duration(hold));
    }
    if let Some(what) = fill.when_exhausted {
        option("--when-exhausted", what.name().to_owned());
    }
    if fill.keep {
        arguments.push("--keep".to_owned());
    }
    arguments
}

/// The options of `plimsoll-hog set` that make a running filler hold this.
#[must_use]
pub fn change(fill: &FillPlan) -> Vec<String> {
    let mut options = vec![format!("--amount={}", amount(fill.resource, fill.amount))];
    options.push(match fill.rate {
        Some(rate) => format!("--rate={}/s", amount(fill.resource, rate)),
        None => "--rate=max".to_owned(),
    });
    if fill.start_at > 0 {
        options.push(format!("--start-at={}", amount(fill.resource, fill.start_at)));
    }
    options
}

/// The folder that a filler in a pod fills, for what needs one.
#[must_use]
pub fn folder(fill: &FillPlan) -> Option<&'static str> {
    fill.into.as_ref().map(|into| match into {
        FillPlace::EmptyDir { .. } | FillPlace::HostPath(_) => FILLED_FOLDER,
        FillPlace::WritableLayer | FillPlace::Nodefs | FillPlace::Imagefs => OWN_FOLDER,
    })
}

/// What is taken and where, such as `900Mi of disk in its writable layer`.
#[must_use]
pub fn words(fill: &FillPlan) -> String {
    let held = amount(fill.resource, fill.amount);
    let what = match (fill.resource, fill.form) {
        (Resource::Memory, Some(Form::PageCache)) => format!("{held} of page cache"),
        (Resource::Memory, Some(Form::ActivePageCache)) => format!("{held} of active page cache"),
        (Resource::Memory, Some(Form::Tmpfs)) => format!("{held} of tmpfs"),
        (Resource::Memory, _) => format!("{held} of memory"),
        (Resource::Disk, Some(Form::Log)) => format!("{held} of log"),
        (Resource::Disk, _) => format!("{held} of disk"),
        (Resource::Inodes, _) => format!("{held} inodes"),
        (Resource::Pids, _) => format!("{held} processes"),
        (Resource::Cpu, _) => format!("{held} of processor time"),
        (Resource::GpuMemory, _) => format!("{held} of GPU memory"),
    };
    let place = match &fill.into {
        Some(FillPlace::WritableLayer) => " in its writable layer".to_owned(),
        Some(FillPlace::EmptyDir { size_limit, in_memory }) => {
            let medium = if *in_memory { " in memory" } else { "" };
            let limit = size_limit
                .map_or_else(String::new, |limit| format!(" limited to {}", amount(Resource::Disk, limit)));
            format!(" in an emptyDir{medium}{limit}")
        }
        Some(FillPlace::HostPath(path)) => format!(" in {path} of its node"),
        Some(FillPlace::Nodefs) => " of nodefs".to_owned(),
        Some(FillPlace::Imagefs) => " of imagefs".to_owned(),
        None => String::new(),
    };
    what + &place
}

/// How fast it goes, how long it is held, and what comes when there is no more, such as ` at 15Mi/s from 200Mi`; empty for at once and without
/// end.
#[must_use]
pub fn pace(fill: &FillPlan) -> String {
    let mut text = match fill.rate {
        Some(rate) => format!(" at {}/s", amount(fill.resource, rate)),
        None => String::new(),
    };
    if fill.start_at > 0 {
        text += &format!(" from {}", amount(fill.resource, fill.start_at));
    }
    if let Some(hold) = fill.hold {
        text += &format!(", ends after {}", format_duration(hold));
        if fill.keep {
            text += " and leaves it";
        }
    }
    match fill.when_exhausted {
        None | Some(WhenExhausted::Exit) => {}
        Some(WhenExhausted::Hold) => text += ", or what there is of it",
        Some(WhenExhausted::Retry) => text += ", asking again for what it does not get",
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(resource: Resource) -> FillPlan {
        FillPlan {
            resource,
            form: None,
            into: None,
            amount: 0,
            rate: None,
            start_at: 0,
            hold: None,
            keep: false,
            when_exhausted: None,
        }
    }

    #[test]
    fn every_resource_has_its_own_units() {
        assert_eq!(
            start(&FillPlan { amount: 900 << 20, ..plan(Resource::Memory) }, None),
            ["memory", "--amount", "900Mi"]
        );
        assert_eq!(
            start(&FillPlan { amount: 1500, ..plan(Resource::Cpu) }, None),
            ["cpu", "--amount", "1500m"]
        );
        let inodes = FillPlan {
            amount: 50_000,
            rate: Some(5000),
            start_at: 100,
            hold: Some(std::time::Duration::ZERO),
            keep: true,
            ..plan(Resource::Inodes)
        };
        assert_eq!(
            start(&inodes, Some("/filled")).join(" "),
            "inodes --amount 50000 --path /filled --rate 5000/s --start-at 100 --hold 0s --keep"
        );
        assert_eq!(change(&inodes), ["--amount=50000", "--rate=5000/s", "--start-at=100"]);
        assert_eq!(change(&plan(Resource::Pids)), ["--amount=0", "--rate=max"]);
        let gpu = FillPlan {
            amount: 1 << 30,
            when_exhausted: Some(WhenExhausted::Retry),
            ..plan(Resource::GpuMemory)
        };
        assert_eq!(start(&gpu, None), ["--amount", "1Gi", "--when-exhausted", "retry"]);
    }
}
