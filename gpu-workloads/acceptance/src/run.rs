//! The order of things: what is run on which device, and what is made of it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use plimsoll_gpu_hog::inventory::CudaDevice;
pub use plimsoll_gpu_hog::inventory::{Inventory, Told};
use plimsoll_gpu_hog::management::Facts;
use plimsoll_hog::report::{Kind, Report};
use rustix::process::Signal;

use crate::cards;
use crate::declaration::Declaration;
use crate::judge;
use crate::level::{Level, Work};
use crate::program::{Hog, Ran, Running};
use crate::report::{Acceptance, Check, VERSION};

/// What any single step may take besides what it was told to do. A driver that hangs ends it.
const LIMIT: Duration = Duration::from_secs(300);
/// For how long memory may take to come back after a kill.
const COMES_BACK: Duration = Duration::from_secs(10);

/// Why nothing could be run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The hog can not be started.
    #[error("{program}: {source}; --hog names the GPU hog, which gpu-workloads/build makes")]
    Hog {
        /// Its path.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It does not say what there is.
    #[error("{program} did not say what devices there are: {why}")]
    Inventory {
        /// Its path.
        program: String,
        /// Why.
        why: String,
    },
}

/// Accepts a node, telling each check as it is made.
///
/// # Errors
///
/// When the hog can not be run; everything else is a check.
pub fn accept(
    hog: &Hog,
    declaration: &Declaration,
    level: Level,
    tell: &mut dyn FnMut(&Check),
) -> Result<Acceptance, RunError> {
    let (began, started) = (Timestamp::now(), Instant::now());
    let node = Node { hog, declaration, work: level.work() };
    let before = inventory(hog)?;
    let mut checks: Vec<Check> = Vec::new();
    let mut say = |made: Vec<Check>| {
        made.iter().for_each(&mut *tell);
        checks.extend(made);
    };
    say(judge::drivers(&before, declaration));
    say(judge::count(&before, declaration));
    for device in before.cuda.said().into_iter().flat_map(|cuda| &cuda.devices) {
        node.device(device, facts(&before, device), &mut say)?;
    }
    let outcome = Acceptance::outcome(&checks);
    let mut not_checked = judge::not_checked(declaration);
    let devices = before.cuda.said().into_iter().flat_map(|cuda| &cuda.devices);
    not_checked.extend(devices.filter_map(judge::no_ecc));
    Ok(Acceptance {
        v: VERSION,
        stamp: before.stamp,
        level,
        began,
        seconds: started.elapsed().as_secs_f64(),
        outcome,
        checks,
        not_checked,
    })
}

/// What devices there are.
///
/// # Errors
///
/// When the hog can not be run, or does not say.
pub fn inventory(hog: &Hog) -> Result<Inventory, RunError> {
    let program = || hog.program.display().to_string();
    let ran = hog.run(&["devices"], LIMIT).map_err(|source| RunError::Hog { program: program(), source })?;
    ran.read().into_iter().next().ok_or_else(|| RunError::Inventory { program: program(), why: ran.why() })
}

/// What NVML says of the device that CUDA sees.
fn told<'a>(inventory: &'a Inventory, device: &CudaDevice) -> Option<&'a Told<Facts>> {
    inventory
        .nvml
        .said()?
        .devices
        .iter()
        .find(|told| told.said().is_some_and(|facts| facts.uuid == device.uuid))
}

fn facts<'a>(inventory: &'a Inventory, device: &CudaDevice) -> Option<&'a Facts> {
    told(inventory, device).and_then(Told::said)
}

struct Node<'a> {
    hog: &'a Hog,
    declaration: &'a Declaration,
    work: Work,
}

impl Node<'_> {
    fn failed(&self, source: std::io::Error) -> RunError {
        RunError::Hog { program: self.hog.program.display().to_string(), source }
    }

    fn run(&self, arguments: &[&str], limit: Duration) -> Result<Ran, RunError> {
        self.hog.run(arguments, limit).map_err(|error| self.failed(error))
    }

    fn start(&self, arguments: &[&str]) -> Result<Running, RunError> {
        self.hog.start(arguments).map_err(|error| self.failed(error))
    }

    fn inventory(&self) -> Result<Inventory, RunError> {
        inventory(self.hog)
    }

    /// Everything about one device.
    fn device(
        &self,
        device: &CudaDevice,
        before: Option<&Facts>,
        say: &mut dyn FnMut(Vec<Check>),
    ) -> Result<(), RunError> {
        let uuid = device.uuid.as_str();
        let mut say = |made: Vec<Check>| say(made.into_iter().map(|check| check.on(uuid)).collect());
        say(judge::device(device, before, self.declaration));
        say(vec![judge::conformance(&self.run(&["conformance", "--device", uuid], LIMIT)?)]);
        let tested = self.memory_test(uuid)?;
        let card = cards::find(&device.name);
        say(vec![
            judge::memory_test(&tested),
            judge::bandwidth(&tested, card, self.declaration.bandwidth_percent),
        ]);
        if !self.work.burn.is_zero() {
            let mut burnt = judge::memory_test(&self.burn(uuid)?);
            burnt.name =
                format!("{} for {} s with the multiprocessors at work", burnt.name, self.work.burn.as_secs());
            say(vec![burnt]);
        }
        // One more than is judged, in which a driver may make what it keeps.
        let count = (self.work.cycles + 1).to_string();
        let cycled = self.run(&["cycles", "--device", uuid, "--count", &count], LIMIT + LIMIT)?;
        say(judge::cycles(&cycled, self.work.cycles));
        say(vec![self.kill(device)?]);
        say(self.beside(uuid)?);
        let after = self.inventory()?;
        let lost = Told::Failed("NVML does not know the device any more".to_owned());
        let after = told(&after, device).or(after.nvml.said().map(|_| &lost));
        say(vec![judge::errors_meanwhile(&device.name, before, after)]);
        Ok(())
    }

    fn memory_test(&self, uuid: &str) -> Result<Ran, RunError> {
        let passes = self.work.passes.to_string();
        self.filler(&["--fill-to-oom", "--device", uuid, "--passes", &passes, "--hold", "0s"], LIMIT)
    }

    fn burn(&self, uuid: &str) -> Result<Ran, RunError> {
        let hold = format!("{}s", self.work.burn.as_secs());
        self.filler(
            &[
                "--fill-to-oom",
                "--device",
                uuid,
                "--passes",
                "1",
                "--verify-every",
                "1s",
                "--compute",
                "90",
                "--hold",
                &hold,
            ],
            self.work.burn + LIMIT,
        )
    }

    /// Runs a filler that nobody can reach, so that it meets no other's socket.
    fn filler(&self, arguments: &[&str], limit: Duration) -> Result<Ran, RunError> {
        let socket = self.socket();
        self.run(&[arguments, &["--control", &socket]].concat(), limit)
    }

    fn socket(&self) -> String {
        let name = format!("plimsoll-accept-node-{}.sock", std::process::id());
        std::env::temp_dir().join(name).display().to_string()
    }

    fn kill(&self, device: &CudaDevice) -> Result<Check, RunError> {
        let socket = self.socket();
        // As it is now, not as it was before the device was first used.
        let wanted = facts(&self.inventory()?, device).and_then(|facts| facts.free);
        let mut filler = self.start(&[
            "--amount",
            "50%",
            "--device",
            &device.uuid,
            "--hold",
            "60s",
            "--control",
            &socket,
        ])?;
        let held = filler.wait_for(|line| is_of_kind(line, Kind::Held), LIMIT);
        filler.signal(Signal::KILL);
        filler.finish(Duration::from_secs(10));
        let _ = std::fs::remove_file(&socket);
        let deadline = Instant::now() + COMES_BACK;
        loop {
            let after = facts(&self.inventory()?, device).and_then(|facts| facts.free);
            let check = judge::return_after_kill(held, wanted, after);
            if judge::all_passed(std::slice::from_ref(&check))
                || Instant::now() >= deadline
                || after.is_none()
            {
                return Ok(check);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// A bystander alone, then beside a filler that takes all there is and holds it.
    fn beside(&self, uuid: &str) -> Result<Vec<Check>, RunError> {
        let limit = self.work.beside + LIMIT;
        let bystander = |duration: Duration| {
            let duration = format!("{}s", duration.as_secs());
            self.start(&["bystander", "--device", uuid, "--interval", "20ms", "--duration", &duration])
        };
        let alone = bystander(self.work.beside)?.finish(limit);
        // It begins first, so that it has its memory, and goes on until the filler has ended, however long that takes to fill.
        let mut beside = bystander(limit + limit)?;
        beside.wait_for(|line| line.contains("bystander-start"), LIMIT);
        let hold = format!("{}s", self.work.beside.as_secs());
        let filler = self.filler(&["--fill-to-oom", "--device", uuid, "--hold", &hold], limit)?;
        beside.signal(Signal::TERM);
        Ok(judge::isolation(&alone, &beside.finish(LIMIT), &filler))
    }
}

fn is_of_kind(line: &str, kind: Kind) -> bool {
    Report::parse(line).is_ok_and(|report| report.kind == kind)
}
