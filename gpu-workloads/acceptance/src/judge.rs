//! From what was seen to a check. Nothing here touches anything.

use std::fmt::Write as _;

use jiff::Timestamp;
use plimsoll_gpu_hog::bystander::{self, Kind as BystanderKind};
use plimsoll_gpu_hog::conformance;
use plimsoll_gpu_hog::cycles::Cycle;
use plimsoll_gpu_hog::driver::version_text;
use plimsoll_gpu_hog::inventory::{CudaDevice, Inventory, Told};
use plimsoll_gpu_hog::management::Facts;
use plimsoll_hog::report::{Kind, Reason, Report};

use crate::cards::{self, Card};
use crate::declaration::{Declaration, Version};
use crate::program::Ran;
use crate::report::{Check, Outcome};

/// What part of a card the memory test must reach, in percent.
pub const LEAST_TESTED: u64 = 95;
/// What may be missing after all cycles, in bytes: less than this.
pub const MOST_LEAKED: u64 = 1 << 20;
/// What a driver may keep for itself after all memory was taken for the first time, in bytes: less than this.
pub const MOST_KEPT: u64 = 64 << 20;
/// How many times longer a bystander's work may take beside a filler than alone, by the median.
pub const MOST_SLOWED: f64 = 10.0;
/// What is slower by less than this, in seconds, may be the machine's processors and is not counted.
pub const NOT_COUNTED: f64 = 0.005;

/// The drivers and their versions.
pub fn drivers(inventory: &Inventory, declaration: &Declaration) -> Vec<Check> {
    let mut checks = Vec::new();
    match &inventory.cuda {
        Told::Said(cuda) => {
            let seen = version_text(cuda.version);
            checks.push(match &declaration.cuda {
                Some(least) => version("CUDA version", &seen, least),
                None => Check::of("CUDA driver works", true, format!("CUDA {seen}"), "a driver that starts"),
            });
        }
        Told::Failed(why) => checks.push(Check::of("CUDA driver works", false, why, "a driver that starts")),
    }
    match &inventory.nvml {
        Told::Said(nvml) => checks.push(match &declaration.driver {
            Some(least) => version("driver version", &nvml.driver_version, least),
            None => {
                Check::of("NVML works", true, format!("driver {}", nvml.driver_version), "NVML that starts")
            }
        }),
        Told::Failed(why) => checks.push(Check::of("NVML works", false, why, "NVML that starts")),
    }
    checks
}

fn version(name: &str, seen: &str, least: &Version) -> Check {
    let wanted = format!("{least} or newer");
    match seen.parse::<Version>() {
        Ok(version) => Check::of(name, version >= *least, seen, wanted),
        Err(error) => Check::impossible(name, error.to_string(), wanted),
    }
}

/// How many devices there are, by either library.
pub fn count(inventory: &Inventory, declaration: &Declaration) -> Vec<Check> {
    let mut checks = Vec::new();
    let cuda = inventory.cuda.said().map(|cuda| cuda.devices.len());
    let nvml = inventory.nvml.said().map(|nvml| nvml.devices.len());
    let words = |count: Option<usize>| count.map_or("?".to_owned(), |count| count.to_string());
    let seen = format!("CUDA sees {}, NVML {}", words(cuda), words(nvml));
    if let Some(declared) = declaration.devices {
        let declared = declared as usize;
        let wanted = format!("{declared} devices");
        checks.push(match cuda {
            Some(cuda) => Check::of(
                "device count",
                cuda == declared && nvml.is_none_or(|nvml| nvml == declared),
                seen.clone(),
                wanted,
            ),
            None => Check::impossible("device count", seen.clone(), wanted),
        });
    } else if let Some(cuda) = cuda {
        checks.push(Check::of("there is a device", cuda > 0, seen.clone(), "one device or more"));
    }
    for (index, device) in inventory.nvml.said().into_iter().flat_map(|nvml| nvml.devices.iter().enumerate())
    {
        if let Told::Failed(why) = device {
            checks.push(Check::of(&format!("device {index} answers"), false, why, "an answer from NVML"));
        }
    }
    checks
}

/// What a device is: product, memory, ECC, and whether it is free.
pub fn device(device: &CudaDevice, facts: Option<&Facts>, declaration: &Declaration) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(product) = &declaration.product {
        checks.push(Check::of("product", device.name == *product, &device.name, product));
    }
    let least = declaration.memory.or_else(|| Some(cards::find(&device.name)?.least_memory()));
    checks.push(match least {
        Some(least) => Check::of(
            "memory",
            device.memory >= least,
            bytes(device.memory),
            format!("{} or more", bytes(least)),
        ),
        None => Check::impossible(
            "memory",
            format!("{}; '{}' is not among the known cards", bytes(device.memory), device.name),
            "a declared amount (--memory), or a known card",
        ),
    });
    let no_nvml = "NVML does not say";
    if has_ecc(&device.name) {
        let ecc = facts.and_then(|facts| facts.ecc);
        checks.push(match ecc {
            Some(on) => Check::of("ECC is on", on, if on { "on" } else { "off" }, "on"),
            None => Check::impossible("ECC is on", no_nvml, "on"),
        });
        checks.push(match facts.and_then(|facts| facts.ecc_uncorrected) {
            Some(errors) => Check::of(
                "no uncorrected ECC errors",
                errors == 0,
                errors.to_string(),
                "0 since the driver was loaded",
            ),
            None => Check::impossible("no uncorrected ECC errors", no_nvml, "0 since the driver was loaded"),
        });
    }
    checks.push(match facts.and_then(|facts| facts.processes.as_ref()) {
        Some(processes) => {
            let pids: Vec<String> = processes.iter().map(|process| process.pid.to_string()).collect();
            let seen =
                if pids.is_empty() { "nobody".to_owned() } else { format!("processes {}", pids.join(", ")) };
            Check::of(
                "nobody else uses it",
                pids.is_empty(),
                seen,
                "nobody, so that what is measured is the device's",
            )
        }
        None => Check::impossible("nobody else uses it", no_nvml, "nobody"),
    });
    checks.into_iter().map(|check| check.on(&device.uuid)).collect()
}

/// Whether a card can have ECC, as far as it is known: of a card that is not among the known ones it is expected.
fn has_ecc(name: &str) -> bool {
    cards::find(name).is_none_or(|card| card.ecc)
}

/// What is said of a card that has no ECC.
pub fn no_ecc(device: &CudaDevice) -> Option<String> {
    let card = cards::find(&device.name).filter(|card| !card.ecc)?;
    Some(format!("ECC of {} [{}]: a card of its kind has none ({})", device.name, device.uuid, card.source))
}

/// Whether the driver answers the list of calls as the workloads rely on.
pub fn conformance(ran: &Ran) -> Check {
    let (name, wanted) = ("the driver answers as CUDA workloads rely on", "every call of the list");
    let checks: Vec<conformance::Check> = ran.read();
    let failed: Vec<String> = checks
        .iter()
        .filter(|check| check.outcome == conformance::Outcome::Failed)
        .map(|check| format!("{}: {}", check.name, check.seen))
        .collect();
    if checks.is_empty() {
        return Check::of(name, false, ran.why(), wanted);
    }
    if !failed.is_empty() {
        return Check::of(name, false, failed.join("; "), wanted);
    }
    let unseen: Vec<&str> = checks
        .iter()
        .filter(|check| check.outcome == conformance::Outcome::CouldNotCheck)
        .map(|check| check.name.as_str())
        .collect();
    let mut seen = format!("{} calls of the list", checks.len() - unseen.len());
    if !unseen.is_empty() {
        let _ = write!(seen, "; could not be made: {}", unseen.join(", "));
    }
    if ran.code != Some(0) {
        // A list that ends early says nothing of its rest.
        return Check::of(name, false, seen, wanted);
    }
    if unseen.iter().any(|name| *name != conformance::NVML) {
        return Check::impossible(name, seen, wanted);
    }
    Check::of(name, unseen.len() < checks.len(), seen, wanted)
}

/// The last report of a filler, and the last that said that it holds.
fn reports(ran: &Ran) -> (Option<Report>, Option<Report>) {
    let reports: Vec<Report> = ran.lines.iter().filter_map(|line| Report::parse(line).ok()).collect();
    let held = reports.iter().rfind(|report| report.kind == Kind::Held).cloned();
    let last = reports.into_iter().next_back().filter(|report| report.kind == Kind::Final);
    (last, held)
}

/// Whether memory keeps what is written to it, and how much of it that was.
pub fn memory_test(ran: &Ran) -> Check {
    let name = "memory keeps what is written";
    let wanted = format!("{LEAST_TESTED} % of the card or more written and compared, and no difference");
    let (Some(last), held) = reports(ran) else { return Check::of(name, false, ran.why(), wanted) };
    let Some(test) = last.gpu.as_ref().and_then(|gpu| gpu.memory_test) else {
        return Check::impossible(name, "it said nothing of a test", wanted);
    };
    if last.reason == Some(Reason::Corrupted) || test.differing > 0 {
        let why = last.message.unwrap_or_default();
        return Check::of(name, false, format!("{} elements differ: {why}", test.differing), wanted);
    }
    let Some(card) = held.as_ref().and_then(|held| held.gpu.as_ref()?.devices.first()) else {
        return Check::of(name, false, last.message.unwrap_or_else(|| ran.why()), wanted);
    };
    if test.passes == 0 || card.total == 0 {
        return Check::of(name, false, "nothing was compared", wanted);
    }
    if ran.code != Some(0) {
        return Check::of(name, false, last.message.unwrap_or_else(|| ran.why()), wanted);
    }
    // In thousandths, so that 94.9 % does not count as 95.
    let tested = u128::from(card.filled) * 1000 / u128::from(card.total);
    let seen = format!(
        "{} of {} ({}.{} %) written and compared, {} times, no difference",
        bytes(card.filled),
        bytes(card.total),
        tested / 10,
        tested % 10,
        test.passes
    );
    Check::of(name, tested >= u128::from(LEAST_TESTED) * 10, seen, wanted)
}

/// Whether memory is as fast as the data sheet says, by a share.
pub fn bandwidth(ran: &Ran, card: Option<&Card>, percent: u32) -> Check {
    let name = "memory is as fast as its data sheet says";
    let (_, held) = reports(ran);
    let measured = held.and_then(|held| held.gpu?.devices.first()?.write_bandwidth);
    let Some(measured) = measured else {
        return Check::impossible(
            name,
            format!("nothing was measured: {}", ran.why()),
            "a measured bandwidth",
        );
    };
    let Some(card) = card else {
        let seen = format!("{}; it is not among the known cards", rate(measured));
        return Check::impossible(name, seen, "a known card");
    };
    let least = card.bandwidth() / 100 * u64::from(percent);
    let share = u128::from(measured) * 100 / u128::from(card.bandwidth());
    let seen = format!("{} while filling, {share} % of {}", rate(measured), rate(card.bandwidth()));
    Check::of(name, measured >= least, seen, format!("{percent} % or more ({})", card.source))
}

/// Whether all there is can be taken, and all of it comes back, every time. There is one cycle more than `asked`, the first:
/// in it a driver may make tables of its own for so much memory, and keep them. What is missing after it is bounded
/// by itself; what goes missing from then on is a leak.
pub fn cycles(ran: &Ran, asked: u32) -> Vec<Check> {
    let (taken, back) = ("all memory can be taken", "all memory comes back");
    let wanted_taken = "99 % of what is free, in every cycle";
    let wanted_back = format!("less than {} missing after {asked} cycles", bytes(MOST_LEAKED));
    let wanted_back = format!("{wanted_back}, and less than {} the first time", bytes(MOST_KEPT));
    let cycles: Vec<Cycle> = ran.read();
    let (Some(first), Some(last)) = (cycles.first(), cycles.last()) else {
        return [taken, back].map(|name| Check::of(name, false, ran.why(), "cycles that end")).into();
    };
    if cycles.len() != asked as usize + 1 || ran.code != Some(0) {
        let seen = format!("{} of {asked} cycles: {}", cycles.len(), ran.why());
        return [taken, back].map(|name| Check::of(name, false, seen.clone(), "cycles that end")).into();
    }
    let share = |cycle: &Cycle| u128::from(cycle.allocated) * 1000 / u128::from(cycle.free_before.max(1));
    let least = cycles.iter().map(share).min().unwrap_or(0);
    let kept = first.free_before.saturating_sub(first.free_after);
    let leaked = first.free_after.saturating_sub(last.free_after);
    vec![
        Check::of(
            taken,
            least >= 990,
            format!("{}.{} % of what is free at least, in {asked} cycles", least / 10, least % 10),
            wanted_taken,
        ),
        Check::of(
            back,
            leaked < MOST_LEAKED && kept < MOST_KEPT,
            format!(
                "{} missing after {asked} cycles, beside {} that the driver kept the first time",
                bytes(leaked),
                bytes(kept)
            ),
            wanted_back,
        ),
    ]
}

/// Whether what a process held comes back when it is killed: what was free before, and some time after.
pub fn return_after_kill(held: bool, before: Option<u64>, after: Option<u64>) -> Check {
    let name = "memory of a killed process comes back";
    let wanted = format!("all of it, within {} and ten seconds", bytes(MOST_LEAKED));
    match (held, before, after) {
        (false, ..) => Check::impossible(name, "no process came to hold memory", wanted),
        (true, Some(before), Some(after)) => {
            let missing = before.saturating_sub(after);
            Check::of(name, missing < MOST_LEAKED, format!("{} missing", bytes(missing)), wanted)
        }
        _ => Check::impossible(name, "NVML does not say what is free", wanted),
    }
}

/// From when to when a filler surely held all that it was to hold: from its first report that it holds to the last.
fn held_from_to(filler: &Ran) -> Option<(Timestamp, Timestamp)> {
    let reports = filler.lines.iter().filter_map(|line| Report::parse(line).ok());
    let held: Vec<Timestamp> =
        reports.filter(|report| report.kind == Kind::Held).map(|report| report.at).collect();
    Some((*held.iter().min()?, *held.iter().max()?))
}

/// What a bystander did in the stretches between two of its reports that lie wholly within a time: rounds, and the median of each
/// stretch.
fn worked(reports: &[bystander::Report], (from, to): (Timestamp, Timestamp)) -> (u64, Vec<f64>) {
    let within = |pair: &&[bystander::Report]| pair[0].at >= from && pair[1].at <= to;
    let stretches: Vec<&[bystander::Report]> = reports
        .windows(2)
        .filter(within)
        // The last report tells of the whole run.
        .filter(|pair| pair[1].kind == BystanderKind::Bystander)
        .collect();
    let rounds = stretches.iter().map(|pair| pair[1].rounds - pair[0].rounds).sum();
    let mut medians: Vec<f64> = stretches.iter().filter_map(|pair| Some(pair[1].latency?.median)).collect();
    medians.sort_by(f64::total_cmp);
    (rounds, medians)
}

/// Whether a bystander's work goes on while another holds all there is. What counts is what it did while the card was full, by
/// the times that both wrote down.
pub fn isolation(alone: &Ran, beside: &Ran, filler: &Ran) -> Vec<Check> {
    let (undisturbed, pace) = (
        "a bystander's work is right beside a full card",
        "a bystander's work keeps its pace beside a full card",
    );
    let wanted = "no error and no difference";
    let wanted_pace =
        format!("a median of {MOST_SLOWED} times that alone at most, or slower by less than 5 ms");
    let impossible = |why: &str| {
        vec![Check::impossible(undisturbed, why, wanted), Check::impossible(pace, why, wanted_pace.clone())]
    };
    let Some(full) = held_from_to(filler) else {
        return impossible(&format!("the filler did not fill the card: {}", filler.why()));
    };
    let is_last = |report: &bystander::Report| report.kind == BystanderKind::BystanderFinal;
    let reports: Vec<bystander::Report> = beside.read();
    let first = alone.read::<bystander::Report>().into_iter().rfind(is_last);
    let (Some(first), Some(second)) = (first, reports.iter().rfind(|report| is_last(report))) else {
        let why = format!("the bystander did not end as it should: {}; {}", alone.why(), beside.why());
        return vec![
            Check::of(undisturbed, false, why.clone(), wanted),
            Check::of(pace, false, why, wanted_pace),
        ];
    };
    let seen = format!(
        "{} rounds, {} errors, {} elements that differ{}",
        second.rounds,
        second.errors,
        second.differing,
        second.message.as_ref().map_or_else(String::new, |message| format!(": {message}"))
    );
    if second.errors > 0 || second.differing > 0 {
        let right = Check::of(undisturbed, false, seen, wanted);
        return vec![right, Check::impossible(pace, "rounds failed, which take no time", wanted_pace)];
    }
    let (rounds, medians) = worked(&reports, full);
    let Some(median) = medians.get(medians.len() / 2) else {
        let held = full.1.duration_since(full.0).as_secs_f64();
        return impossible(&format!(
            "the bystander tells of no time that lies within the {held:.1} s for which the card was full; {seen}"
        ));
    };
    let right = format!("{seen}; {rounds} of the rounds while the card was full");
    let right = Check::of(undisturbed, rounds > 0, right, wanted);
    let paced = match first.latency {
        Some(first) => {
            let seen = format!(
                "median {:.3} ms alone and {:.3} ms while the card was full",
                first.median * 1e3,
                median * 1e3
            );
            let slowed = median - first.median > NOT_COUNTED && *median > first.median * MOST_SLOWED;
            Check::of(pace, !slowed, seen, wanted_pace)
        }
        None => Check::impossible(pace, "no round of work was done alone", wanted_pace),
    };
    vec![right, paced]
}

/// Whether errors were counted while all this was done. A card that has no ECC must still be there.
pub fn errors_meanwhile(name: &str, before: Option<&Facts>, after: Option<&Told<Facts>>) -> Check {
    if !has_ecc(name) {
        let (name, wanted) = ("the device is still there", "an answer from NVML");
        return match after {
            Some(Told::Said(_)) => Check::of(name, true, "NVML knows it", wanted),
            Some(Told::Failed(why)) => Check::of(name, false, why, wanted),
            None => Check::impossible(name, "NVML does not say", wanted),
        };
    }
    let (name, wanted) = ("no ECC errors meanwhile", "as many as before");
    let counted = |facts: &Facts| Some((facts.ecc_uncorrected?, facts.ecc_corrected?));
    match (before.and_then(counted), after) {
        (Some(before), Some(Told::Said(after))) => match counted(after) {
            Some(after) => Check::of(
                name,
                before == after,
                format!(
                    "{} uncorrected and {} corrected more",
                    after.0.saturating_sub(before.0),
                    after.1.saturating_sub(before.1)
                ),
                wanted,
            ),
            None => Check::impossible(name, "NVML does not say", wanted),
        },
        (_, Some(Told::Failed(why))) => Check::of(name, false, why, wanted),
        _ => Check::impossible(name, "NVML does not say", wanted),
    }
}

/// How much of a resource a kubelet offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// All of it, what is on unhealthy devices included.
    pub capacity: Option<u64>,
    /// What pods can be given.
    pub allocatable: Option<u64>,
}

/// Whether the kubelet offers what there is, and takes all of it for healthy.
pub fn offered(resource: &str, seen: Result<Offered, String>, wanted: Option<u64>) -> Check {
    let name = "the kubelet offers the devices";
    let Some(wanted) = wanted else {
        return Check::impossible(name, "it is not known how many devices there are", "a number of devices");
    };
    let words = format!("{wanted} of {resource}, all of it healthy");
    let offered = match seen {
        Ok(offered) => offered,
        Err(why) => return Check::impossible(name, why, words),
    };
    match (offered.capacity, offered.allocatable) {
        (Some(capacity), Some(allocatable)) => Check::of(
            name,
            capacity == wanted && allocatable == wanted,
            format!("{capacity}, of which pods can be given {allocatable}"),
            words,
        ),
        _ => {
            Check::of(name, false, format!("it offers no {resource}: no device plugin is registered"), words)
        }
    }
}

/// What is said when no cluster was asked about the node.
pub const KUBELET_NOT_ASKED: &str = "what the kubelet advertises (--context)";
/// What is said when no node was booted to have a faulty device.
pub const DEVICE_HEALTH: &str = "whether the kubelet takes a faulty device out of service (--on host)";
/// What is said of it on real devices.
pub const NO_FAULT: &str =
    "whether the kubelet takes a faulty device out of service: no fault can be injected into a real device";
/// What is said when no node was booted to be short of GPU memory.
pub const GPU_PRESSURE: &str = "eviction of pods for GPU memory (--on host)";
/// What is said when no node was booted to be short of memory of its own.
pub const MEMORY_PRESSURE: &str =
    "eviction of pods for the node's own memory while GPUs are in use (--on host, from level standard on)";

/// What is no part of an acceptance, or was not declared.
pub fn not_checked(declaration: &Declaration) -> Vec<String> {
    let mut sentences = Vec::new();
    for (declared, name) in [
        (declaration.devices.is_some(), "device count was not declared (--devices)"),
        (declaration.product.is_some(), "product was not declared (--product)"),
        (declaration.driver.is_some(), "driver version was not declared (--driver)"),
        (declaration.cuda.is_some(), "CUDA version was not declared (--cuda)"),
    ] {
        if !declared {
            sentences.push(name.to_owned());
        }
    }
    sentences.extend(
        [
            KUBELET_NOT_ASKED,
            DEVICE_HEALTH,
            GPU_PRESSURE,
            MEMORY_PRESSURE,
            "Xid errors in the kernel's log",
            "links between devices (NVLink, PCIe), power and temperature",
        ]
        .map(str::to_owned),
    );
    sentences
}

/// Whether any check failed or could not be made.
pub fn all_passed(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.outcome == Outcome::Passed)
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        _ if bytes < 1 << 20 => format!("{:.1}Ki", bytes as f64 / 1024.0),
        _ if bytes < 1 << 30 => format!("{:.1}Mi", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.2}Gi", bytes as f64 / f64::from(1 << 30)),
    }
}

fn rate(bytes: u64) -> String {
    format!("{:.0} GB/s", bytes as f64 / 1e9)
}
