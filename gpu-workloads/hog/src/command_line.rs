//! The command line: what can be typed, and what it is resolved to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use plimsoll_hog::control::{self, Command};
use plimsoll_hog::order::{Course, Order, OrderError, TypedCourse, WhenExhausted, parse_hold};
use plimsoll_hog::quantity::{Unit, parse_duration, parse_rate};
use plimsoll_hog::session;
use rustix::process::{Signal, getpid, kill_process};

use crate::amount::{Amount, GRANULE};
use crate::driver::{self, Context, Device, Driver};
use crate::inventory::Inventory;
use crate::management::Management;
use crate::memory::{GpuMemory, Testing, Wanted, Write};
use crate::{bystander, conformance, cycles};

/// Takes an amount of GPU memory at a rate, holds it, and says in JSON lines what it truly holds.
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll-gpu-hog",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Signals:
  SIGUSR1           give everything back, and stay
  SIGTERM, SIGINT   end with a last report

Exit codes:
  0  the hold was over; every check passed
  130, 143  ended by SIGINT or SIGTERM, as a shell counts it
  1  could not start: no driver, no such device, not permitted; no running filler answered; a check failed
  2  the command line is wrong
  3  the memory could not be had, and --when-exhausted is exit
  4  the device was lost, or can not be used any more
  5  the memory does not read back as it was written

Examples:
  plimsoll-gpu-hog --amount 40Gi --rate 2Gi/s
  plimsoll-gpu-hog --amount 90% --device 0,1 --passes 2 --hold 10m --compute 100
  plimsoll-gpu-hog --fill-to-oom --when-exhausted retry
  plimsoll-gpu-hog release
  plimsoll-gpu-hog bystander --interval 50ms
  plimsoll-gpu-hog devices"
)]
pub struct CommandLine {
    #[command(flatten)]
    libraries: Libraries,
    #[command(flatten)]
    fill: FillArguments,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Args)]
struct Libraries {
    /// The library of CUDA's driver; the machine's own if left out
    #[arg(long, value_name = "PATH", env = "PLIMSOLL_CUDA_LIBRARY", global = true)]
    cuda_library: Option<PathBuf>,
    /// The library of NVML; the machine's own if left out, or that of CUDA's driver if that is the simulated one
    #[arg(long, value_name = "PATH", env = "PLIMSOLL_NVML_LIBRARY", global = true)]
    nvml_library: Option<PathBuf>,
    /// End as by SIGTERM when standard input is closed, so that nothing outlives who started it
    #[arg(long, global = true)]
    end_with_input: bool,
}

#[derive(Debug, Args)]
struct FillArguments {
    /// How much to hold of each device: 40Gi, or 90% of its memory
    #[arg(long, required_unless_present = "fill_to_oom", conflicts_with = "fill_to_oom")]
    amount: Option<String>,
    /// Take all there is, until the driver has no more
    #[arg(long)]
    fill_to_oom: bool,
    /// How fast to take it, of all devices together: 2Gi/s, or max
    #[arg(long, default_value = "max")]
    rate: String,
    /// How much to take at once, of all devices together, before the rate applies
    #[arg(long, value_name = "AMOUNT")]
    start_at: Option<String>,
    /// How long to hold it once it is reached: 10m, or forever
    #[arg(long, value_name = "DURATION", default_value = "forever")]
    hold: String,
    /// How long to hold on after SIGTERM before ending
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    shutdown_delay: String,
    /// Where to listen for set, release and status [default: plimsoll-hog.sock in /run, /dev or /tmp]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Which devices, by index or UUID, with commas between, or all [default: what the container was given, else the first]
    #[arg(long, value_name = "DEVICES", env = "PLIMSOLL_GPU_DEVICES")]
    device: Option<String>,
    /// What to do when no more can be had [default: exit; with --fill-to-oom: hold]
    #[arg(long, value_name = "WHAT")]
    when_exhausted: Option<Exhausted>,
    /// With --when-exhausted retry: how long to wait for the first new attempt; each next wait is twice as long
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    retry_first: String,
    /// With --when-exhausted retry: the longest wait
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    retry_most: String,
    /// What to write to what is held
    #[arg(long, value_name = "WHAT", default_value = "pattern")]
    write: Written,
    /// Compare all that is held with what was written, so many times, each but the first with another pattern
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    passes: u32,
    /// Write and compare again so often while it is held
    #[arg(long, value_name = "DURATION")]
    verify_every: Option<String>,
    /// Keep the multiprocessors at work for so many percent of the time
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    compute: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Exhausted {
    /// Give everything back and end with code 3
    Exit,
    /// Hold what there is
    Hold,
    /// Hold what there is and try again, waiting twice as long each time
    Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Written {
    /// A pattern that can be compared
    Pattern,
    /// Zeros
    Zeros,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what drivers and devices there are, as JSON
    Devices,
    /// Take little, work steadily, and say how long the work takes and what fails
    Bystander(BystanderArguments),
    /// Take all there is and give it back, again and again, and say what is free before and after
    Cycles {
        /// How often
        #[arg(long, default_value_t = 50)]
        count: u32,
        /// Which device, by index or UUID [default: what the container was given, else the first]
        #[arg(long)]
        device: Option<String>,
    },
    /// Make a list of calls, and say of each whether the driver answers as the workloads rely on
    Conformance {
        /// Which device, by index or UUID [default: what the container was given, else the first]
        #[arg(long)]
        device: Option<String>,
        /// Make no calls, but compare two lists that were made: say what the drivers answered otherwise, and end with code 1 if anything
        #[arg(long, num_args = 2, value_names = ["FILE", "FILE"], conflicts_with = "device")]
        compare: Option<Vec<PathBuf>>,
    },
    /// Give the running filler another amount or rate
    Set {
        /// How much to hold, of all devices together
        #[arg(long)]
        amount: Option<String>,
        /// How fast to take it, or max; as before if left out
        #[arg(long)]
        rate: Option<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Make the running filler give everything back; it stays
    Release(Reach),
    /// Ask the running filler what it holds
    Status(Reach),
}

#[derive(Debug, Args)]
struct BystanderArguments {
    /// How much to hold
    #[arg(long, default_value = "64Mi")]
    amount: String,
    /// How long from one round of work to the next
    #[arg(long, value_name = "DURATION", default_value = "100ms")]
    interval: String,
    /// How long in all: 10m, or forever
    #[arg(long, value_name = "DURATION", default_value = "forever")]
    duration: String,
    /// Which device, by index or UUID [default: what the container was given, else the first]
    #[arg(long, env = "PLIMSOLL_GPU_DEVICES")]
    device: Option<String>,
    /// End as soon as a round of work fails, instead of counting what fails
    #[arg(long)]
    end_on_error: bool,
}

#[derive(Debug, Args)]
struct Reach {
    /// Where the filler listens [default: plimsoll-hog.sock in /run, /dev or /tmp]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// How long to wait for its answer
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    timeout: String,
}

/// Why something could not start, as a sentence.
type Refusal = String;

impl CommandLine {
    /// Does what was typed.
    pub fn run(self) -> ExitCode {
        let CommandLine { libraries, fill, action } = self;
        if libraries.end_with_input {
            std::thread::spawn(end_with_input);
        }
        let outcome = match action {
            None => fill.run(&libraries),
            Some(Action::Devices) => libraries.devices(),
            Some(Action::Bystander(arguments)) => arguments.run(&libraries),
            Some(Action::Cycles { count, device }) => libraries.cycles(count, device.as_deref()),
            Some(Action::Conformance { compare: Some(files), .. }) => compare(&files),
            Some(Action::Conformance { device, .. }) => libraries.conformance(device.as_deref()),
            Some(Action::Set { amount, rate, reach }) => {
                reach.ask(&Command::Set(TypedCourse { amount, rate, start_at: None }))
            }
            Some(Action::Release(reach)) => reach.ask(&Command::Release),
            Some(Action::Status(reach)) => reach.ask(&Command::Status),
        };
        outcome.unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::from(session::EXIT_FAILED)
        })
    }
}

/// Waits for the end of standard input, and asks this process to end. The kernel closes a pipe however its other end ends.
fn end_with_input() {
    // What comes over it is of no interest.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let _ = kill_process(getpid(), Signal::TERM);
}

/// Ends the program as it ends on any other mistake in its arguments.
fn refuse(error: impl std::fmt::Display) -> ! {
    CommandLine::command().error(ErrorKind::ValueValidation, error).exit()
}

fn duration(option: &'static str, text: &str) -> Duration {
    match parse_duration(text) {
        Ok(duration) => duration,
        Err(error) => refuse(OrderError::Value { option, error }),
    }
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap_or_else(|error| refuse(format!("--amount: {error}")))
}

impl Libraries {
    fn start(&self) -> Result<(Driver, Option<Management>), Refusal> {
        let driver = Driver::start(self.cuda_library.as_deref()).map_err(|error| error.to_string())?;
        let management = match Management::start(self.nvml(), Some(driver.simulated)) {
            Ok(management) => Some(management),
            Err(error) => {
                eprintln!("warning: {error}; what is held is measured by what is free of the device");
                None
            }
        };
        Ok((driver, management))
    }

    /// The library of NVML. A simulated driver has NVML in it, also when it does not start; the machine's own would know
    /// nothing of its devices.
    fn nvml(&self) -> Option<&Path> {
        let is_simulated = |path: &&Path| driver::load(path).is_ok_and(driver::is_simulated);
        let named = self.nvml_library.as_deref();
        // A static program can load nothing, and says so where it tries to.
        named.or_else(|| self.cuda_library.as_deref().filter(is_simulated))
    }

    fn devices(&self) -> Result<ExitCode, Refusal> {
        let inventory = Inventory::take(self.cuda_library.as_deref(), self.nvml());
        println!("{}", serde_json::to_string(&inventory).map_err(|error| error.to_string())?);
        let told = inventory.cuda.said().is_some() && inventory.nvml.said().is_some();
        Ok(ExitCode::from(if told { session::EXIT_ENDED } else { session::EXIT_FAILED }))
    }

    fn context(&self, device: Option<&str>, kernels: bool) -> Result<(Context, bool), Refusal> {
        let driver = Driver::start(self.cuda_library.as_deref()).map_err(|error| error.to_string())?;
        let device = choose_one(&driver, device)?;
        let name = device.uuid.clone();
        let context = Context::new(device).and_then(|mut context| {
            if kernels {
                context.load_kernels()?;
            }
            Ok(context)
        });
        Ok((context.map_err(|error| format!("device {name}: {error}"))?, driver.simulated))
    }

    fn cycles(&self, count: u32, device: Option<&str>) -> Result<ExitCode, Refusal> {
        let (context, simulated) = self.context(device, false)?;
        for number in 1..=count {
            let cycle = cycles::run(&context, number, simulated)
                .map_err(|error| format!("cycle {number}: {error}"))?;
            println!("{}", serde_json::to_string(&cycle).map_err(|error| error.to_string())?);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn conformance(&self, device: Option<&str>) -> Result<ExitCode, Refusal> {
        let (driver, management) = self.start()?;
        let device = choose_one(&driver, device)?;
        let passed = conformance::run(&driver, management.as_ref(), &device, &mut |check| {
            if let Ok(line) = serde_json::to_string(&check) {
                println!("{line}");
            }
        });
        Ok(ExitCode::from(if passed { session::EXIT_ENDED } else { session::EXIT_FAILED }))
    }
}

/// Compares lists of calls that were made before.
fn compare(files: &[PathBuf]) -> Result<ExitCode, Refusal> {
    let mut lists = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
        let checks: Result<Vec<conformance::Check>, _> = text.lines().map(serde_json::from_str).collect();
        let checks = checks.map_err(|error| format!("{name}: no list of calls: {error}"))?;
        if checks.is_empty() {
            return Err(format!("{name}: no calls are in it"));
        }
        lists.push((name, checks));
    }
    let [(one, first), (other, second)] = &lists[..] else { return Err("two lists are compared".to_owned()) };
    let differences = conformance::differences((one, first), (other, second));
    for difference in &differences {
        println!("{difference}");
    }
    Ok(ExitCode::from(if differences.is_empty() { session::EXIT_ENDED } else { session::EXIT_FAILED }))
}

/// The devices that the container was given, by the variables that each brings along: `PLIMSOLL_GPU_<number>=<UUID>`.
fn given(variables: impl Iterator<Item = (OsString, OsString)>) -> Option<String> {
    let device = |(name, uuid): (OsString, OsString)| {
        let number: u32 = name.to_str()?.strip_prefix("PLIMSOLL_GPU_")?.parse().ok()?;
        Some((number, uuid.into_string().ok()?))
    };
    let devices: BTreeMap<u32, String> = variables.filter_map(device).collect();
    (!devices.is_empty()).then(|| devices.into_values().collect::<Vec<_>>().join(","))
}

/// The devices that were asked for, or else given.
fn choose(driver: &Driver, asked: Option<&str>) -> Result<Vec<Device>, Refusal> {
    let devices = driver.devices().map_err(|error| error.to_string())?;
    let given = given(std::env::vars_os());
    let asked = asked.or(given.as_deref()).unwrap_or("0");
    if asked == "all" {
        return Ok(devices);
    }
    let mut chosen: Vec<Device> = Vec::new();
    for name in asked.split(',').map(str::trim) {
        // CUDA gives a MIG device's UUID without saying that it is one.
        let uuid = name.replacen("MIG-", "GPU-", 1);
        let found = devices
            .iter()
            .find(|device| device.uuid.eq_ignore_ascii_case(&uuid) || device.index.to_string() == name)
            .ok_or_else(|| {
                let there: Vec<String> =
                    devices.iter().map(|device| format!("{} ({})", device.index, device.uuid)).collect();
                format!(
                    "--device: there is no device '{name}'; visible are {}; a MIG device is visible when CUDA_VISIBLE_DEVICES names it",
                    there.join(", ")
                )
            })?;
        if chosen.iter().any(|device| device.index == found.index) {
            return Err(format!("--device: '{name}' is there twice"));
        }
        chosen.push(found.clone());
    }
    Ok(chosen)
}

fn choose_one(driver: &Driver, asked: Option<&str>) -> Result<Device, Refusal> {
    let mut chosen = choose(driver, asked)?;
    match (chosen.pop(), chosen.len()) {
        (Some(device), 0) => Ok(device),
        _ => Err("--device: one device is needed here".to_owned()),
    }
}

impl FillArguments {
    fn order(&self, amount: u64) -> Result<Order, OrderError> {
        let rate = parse_rate(&self.rate, Unit::Bytes)
            .map_err(|error| OrderError::Value { option: "--rate", error })?;
        let start_at = self.start_at.as_deref().map_or(Ok(0), |text| {
            plimsoll_hog::quantity::parse_amount(text, Unit::Bytes)
                .map_err(|error| OrderError::Value { option: "--start-at", error })
        })?;
        let exhausted =
            self.when_exhausted.unwrap_or(if self.fill_to_oom { Exhausted::Hold } else { Exhausted::Exit });
        Ok(Order {
            course: Course { amount, rate, start_at: start_at.min(amount) },
            hold: parse_hold(&self.hold)?,
            shutdown_delay: duration("--shutdown-delay", &self.shutdown_delay),
            control: self.control.clone(),
            when_exhausted: match exhausted {
                Exhausted::Exit => WhenExhausted::Exit,
                Exhausted::Hold => WhenExhausted::Hold,
                Exhausted::Retry => WhenExhausted::Retry {
                    first: duration("--retry-first", &self.retry_first).max(Duration::from_millis(1)),
                    most: duration("--retry-most", &self.retry_most).max(Duration::from_millis(1)),
                },
            },
        })
    }

    fn run(self, libraries: &Libraries) -> Result<ExitCode, Refusal> {
        let started = Instant::now();
        let amount = self.amount.as_deref().map_or(Amount::All, amount);
        let testing = Testing {
            passes: self.passes,
            every: self.verify_every.as_deref().map(|text| duration("--verify-every", text)),
        };
        // What is typed is read before anything is started.
        self.order(0).unwrap_or_else(|error| refuse(error));
        let write = match self.write {
            Written::Zeros if testing != Testing::default() => {
                refuse("--passes and --verify-every compare the pattern; leave --write zeros out")
            }
            Written::Zeros => Write::Zeros,
            Written::Pattern => Write::Pattern,
        };
        let (driver, management) = libraries.start()?;
        let wanted: Vec<Wanted> = choose(&driver, self.device.as_deref())?
            .into_iter()
            .map(|device| Wanted { amount: amount.of(device.total), device })
            .collect();
        let asked = wanted.iter().fold(0_u64, |sum, wanted| sum.saturating_add(wanted.amount));
        let order = self.order(asked).unwrap_or_else(|error| refuse(error));
        let mut filler =
            GpuMemory::new(wanted, management, driver.simulated, write, testing, self.compute, started)
                .map_err(|error| error.to_string())?;
        Ok(session::run(&mut filler, &order))
    }
}

impl BystanderArguments {
    fn run(self, libraries: &Libraries) -> Result<ExitCode, Refusal> {
        let interval = duration("--interval", &self.interval);
        let until = parse_hold(&self.duration).unwrap_or_else(|_| {
            refuse(format!("--duration: '{}' is neither a duration nor forever", self.duration))
        });
        let amount = match amount(&self.amount) {
            Amount::Bytes(bytes) => Amount::Bytes(bytes.max(GRANULE)),
            other => other,
        };
        let (context, simulated) = libraries.context(self.device.as_deref(), true)?;
        let amount = amount.of(context.device.total);
        bystander::run(context, amount, (interval, until), self.end_on_error, simulated)
    }
}

impl Reach {
    fn ask(&self, command: &Command) -> Result<ExitCode, Refusal> {
        let within = duration("--timeout", &self.timeout).max(Duration::from_millis(1));
        let report =
            control::ask(self.control.as_deref(), command, within).map_err(|error| error.to_string())?;
        println!("{}", serde_json::to_string(&report).map_err(|error| error.to_string())?);
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn what_a_container_was_given_is_told_by_its_variables() {
        let of = |variables: &[(&str, &str)]| {
            given(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
        };
        let others =
            [("PLIMSOLL_GPU_STAMP", "SIMULATED"), ("PLIMSOLL_GPU_MEMORY_BYTES", "1"), ("PATH", "/bin")];
        assert_eq!(of(&others), None);
        assert_eq!(
            of(&[("PLIMSOLL_GPU_10", "GPU-b"), ("PLIMSOLL_GPU_9", "GPU-a")]),
            Some("GPU-a,GPU-b".to_owned())
        );
    }

    #[test]
    fn an_amount_is_needed_unless_all_is_taken_or_something_else_is_done() {
        let read = |arguments: &[&str]| {
            CommandLine::try_parse_from(std::iter::once("plimsoll-gpu-hog").chain(arguments.iter().copied()))
        };
        assert!(read(&["--amount", "40Gi"]).is_ok());
        assert!(read(&["--fill-to-oom"]).is_ok());
        assert!(read(&["devices"]).is_ok());
        assert!(read(&["bystander", "--cuda-library", "x"]).is_ok());
        assert!(read(&[]).is_err());
        assert!(read(&["--amount", "40Gi", "--fill-to-oom"]).is_err());
        assert!(read(&["--amount", "40Gi", "--compute", "101"]).is_err());
    }
}
