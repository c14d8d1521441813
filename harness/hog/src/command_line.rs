//! The command line: what can be typed, and what it is resolved to.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::control::{self, Command};
use crate::cpu::Cpu;
use crate::disk::Disk;
use crate::file_memory::FileMemory;
use crate::filler::{Filler, Shortage};
use crate::inodes::Inodes;
use crate::log::Log;
use crate::memory::Memory;
use crate::order::{Course, Order, OrderError, TypedCourse, WhenExhausted, parse_hold};
use crate::pids::Pids;
use crate::quantity::{Unit, parse_duration};
use crate::report::{Form, Resource};
use crate::session;

/// Takes an amount of a resource at a rate, holds it, and says in JSON lines what it truly holds.
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll-hog",
    version,
    after_help = "Signals:
  SIGUSR1           give everything back, and stay
  SIGTERM, SIGINT   end with a last report

Exit codes:
  0  the hold was over
  130, 143  ended by SIGINT or SIGTERM, as a shell counts it
  1  could not start; no running filler answered, or it refused
  2  the command line is wrong
  3  the resource could not be had: out of memory, disk full, a limit

Examples:
  plimsoll-hog memory --amount 900Mi --rate 15Mi/s --start-at 200Mi
  plimsoll-hog disk --path /data --amount 2Gi --rate 50Mi/s --hold 10m
  plimsoll-hog inodes --path /data --count 50k --rate 5k/s
  plimsoll-hog pids --count 500 --rate 50/s
  plimsoll-hog cpu --cores 1.5
  plimsoll-hog set --amount 1200Mi
  plimsoll-hog release"
)]
pub struct CommandLine {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fill memory
    Memory(MemoryArguments),
    /// Fill a filesystem's space, or the container's log
    Disk(DiskArguments),
    /// Take a filesystem's inodes, with empty files
    Inodes(InodesArguments),
    /// Take process ids, with processes that sleep
    Pids(FillArguments),
    /// Use processor time
    Cpu(FillArguments),
    /// Give the running filler another amount or rate
    Set {
        #[command(flatten)]
        course: SetArguments,
        #[command(flatten)]
        reach: Reach,
    },
    /// Make the running filler give everything back; it stays
    Release {
        #[command(flatten)]
        reach: Reach,
    },
    /// Ask the running filler what it holds
    Status {
        #[command(flatten)]
        reach: Reach,
    },
}

#[derive(Debug, Args)]
struct MemoryArguments {
    #[command(flatten)]
    fill: FillArguments,
    /// What kind of memory
    #[arg(long = "as", value_name = "FORM", default_value = "anonymous")]
    form: MemoryForm,
    /// The folder of the file that page cache or tmpfs belongs to; tmpfs can do without
    #[arg(long)]
    path: Option<PathBuf>,
    /// Keep anonymous memory from being swapped out
    #[arg(long)]
    lock: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MemoryForm {
    /// Memory of the process itself
    Anonymous,
    /// Pages of a file that was read once; the kernel takes them back when it must
    PageCache,
    /// Pages of a file that was read twice, which the kubelet counts as the working set
    ActivePageCache,
    /// Pages of a file in memory
    Tmpfs,
}

#[derive(Debug, Args)]
struct DiskArguments {
    #[command(flatten)]
    fill: FillArguments,
    /// How to take the space
    #[arg(long = "as", value_name = "FORM", default_value = "written")]
    form: DiskForm,
    /// The folder to fill; a folder of the filler's own is made in it
    #[arg(long)]
    path: Option<PathBuf>,
    /// Leave what is held behind when the filler ends
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DiskForm {
    /// Write files, and sync them
    Written,
    /// Allocate files without writing them
    Allocated,
    /// Write lines to standard error, which ends up in the container's log
    Log,
}

#[derive(Debug, Args)]
struct InodesArguments {
    #[command(flatten)]
    fill: FillArguments,
    /// The folder to fill; a folder of the filler's own is made in it
    #[arg(long)]
    path: PathBuf,
    /// Leave what is held behind when the filler ends
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
struct FillArguments {
    /// How much to hold: 900Mi, 1.5Gi, 5k
    #[arg(long, visible_aliases = ["count", "cores"])]
    amount: String,
    /// How fast to take it: 15Mi/s, 500/s, or max
    #[arg(long, default_value = "max")]
    rate: String,
    /// How much of it to take at once, before the rate applies
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
}

#[derive(Debug, Args)]
struct SetArguments {
    /// How much to hold; more is taken at the rate, less is given back at once
    #[arg(long, visible_aliases = ["count", "cores"])]
    amount: Option<String>,
    /// How fast to take it, or max; as before if left out
    #[arg(long)]
    rate: Option<String>,
    /// Up to where to take it at once, before the rate applies
    #[arg(long, value_name = "AMOUNT")]
    start_at: Option<String>,
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

/// What a command line makes a filler do, for those who want to know it without running one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filling {
    /// What is filled.
    pub resource: Resource,
    /// In which form, where a resource has several.
    pub form: Option<Form>,
    /// The folder that is filled.
    pub path: Option<PathBuf>,
    /// Whether what is held stays when the filler ends.
    pub keep: bool,
    /// How far, how fast and for how long.
    pub order: Order,
}

impl CommandLine {
    /// What it fills; nothing for a command to a filler that runs.
    ///
    /// # Errors
    ///
    /// When a value can not be read or values contradict each other.
    pub fn filling(self) -> Result<Option<Filling>, OrderError> {
        let (resource, form, path, keep, unit, fill) = match self.action {
            Action::Memory(MemoryArguments { fill, form, path, .. }) => {
                let form = match form {
                    MemoryForm::Anonymous => Form::Anonymous,
                    MemoryForm::PageCache => Form::PageCache,
                    MemoryForm::ActivePageCache => Form::ActivePageCache,
                    MemoryForm::Tmpfs => Form::Tmpfs,
                };
                (Resource::Memory, Some(form), path, false, Unit::Bytes, fill)
            }
            Action::Disk(DiskArguments { fill, form, path, keep }) => {
                let form = match form {
                    DiskForm::Written => Form::Written,
                    DiskForm::Allocated => Form::Allocated,
                    DiskForm::Log => Form::Log,
                };
                (Resource::Disk, Some(form), path, keep, Unit::Bytes, fill)
            }
            Action::Inodes(InodesArguments { fill, path, keep }) => {
                (Resource::Inodes, None, Some(path), keep, Unit::Count, fill)
            }
            Action::Pids(fill) => (Resource::Pids, None, None, false, Unit::Count, fill),
            Action::Cpu(fill) => (Resource::Cpu, None, None, false, Unit::Millicores, fill),
            Action::Set { .. } | Action::Release { .. } | Action::Status { .. } => return Ok(None),
        };
        Ok(Some(Filling { resource, form, path, keep, order: fill.resolve(unit)? }))
    }

    /// Does what was typed.
    pub fn run(self) -> ExitCode {
        match self.action {
            Action::Memory(arguments) => arguments.run(),
            Action::Disk(DiskArguments { fill, form, path, keep }) => match (form, path) {
                (DiskForm::Log, _) => run(Log::default(), fill),
                (form, Some(path)) => start(Disk::new(&path, form == DiskForm::Allocated, keep), fill),
                (_, None) => conflict("--path is missing: where is the space to be taken?"),
            },
            Action::Inodes(InodesArguments { fill, path, keep }) => start(Inodes::new(&path, keep), fill),
            Action::Pids(fill) => run(Pids::default(), fill),
            Action::Cpu(fill) => run(Cpu::default(), fill),
            Action::Set { course: SetArguments { amount, rate, start_at }, reach } => {
                reach.ask(&Command::Set(TypedCourse { amount, rate, start_at }))
            }
            Action::Release { reach } => reach.ask(&Command::Release),
            Action::Status { reach } => reach.ask(&Command::Status),
        }
    }
}

impl MemoryArguments {
    fn run(self) -> ExitCode {
        if self.lock && self.form != MemoryForm::Anonymous {
            conflict("--lock is for anonymous memory");
        }
        match (self.form, self.path) {
            (MemoryForm::Anonymous, None) => run(Memory::new(self.lock), self.fill),
            (MemoryForm::Anonymous, Some(_)) => {
                conflict("--path is for page cache and tmpfs; anonymous memory has none")
            }
            (MemoryForm::Tmpfs, path) => start(FileMemory::tmpfs(path.as_deref()), self.fill),
            (_, None) => conflict("--path is missing: page cache belongs to a file, and that to a folder"),
            (form, Some(path)) => {
                start(FileMemory::page_cache(&path, form == MemoryForm::ActivePageCache), self.fill)
            }
        }
    }
}

fn start(filler: Result<impl Filler, Shortage>, arguments: FillArguments) -> ExitCode {
    match filler {
        Ok(filler) => run(filler, arguments),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(session::EXIT_FAILED)
        }
    }
}

fn run(mut filler: impl Filler, arguments: FillArguments) -> ExitCode {
    match arguments.resolve(filler.unit()) {
        Ok(order) => session::run(&mut filler, &order),
        Err(error) => refuse(&error),
    }
}

/// Ends the program as it ends on any other mistake in its arguments.
fn refuse(error: &OrderError) -> ! {
    CommandLine::command().error(ErrorKind::ValueValidation, error).exit()
}

/// The same, for arguments that do not go together.
fn conflict(error: &str) -> ! {
    CommandLine::command().error(ErrorKind::ArgumentConflict, error).exit()
}

impl FillArguments {
    fn resolve(self, unit: Unit) -> Result<Order, OrderError> {
        let nothing = Course { amount: 0, rate: None::<NonZeroU64>, start_at: 0 };
        let typed = TypedCourse { amount: Some(self.amount), rate: Some(self.rate), start_at: self.start_at };
        Ok(Order {
            course: typed.resolve(unit, nothing)?,
            hold: parse_hold(&self.hold)?,
            shutdown_delay: duration("--shutdown-delay", &self.shutdown_delay)?,
            control: self.control,
            when_exhausted: WhenExhausted::Exit,
        })
    }
}

impl Reach {
    fn ask(&self, command: &Command) -> ExitCode {
        let within = match duration("--timeout", &self.timeout) {
            Ok(within) => within.max(Duration::from_millis(1)),
            Err(error) => refuse(&error),
        };
        let answer = control::ask(self.control.as_deref(), command, within)
            .map_err(|error| error.to_string())
            .and_then(|report| serde_json::to_string(&report).map_err(|error| error.to_string()));
        match answer {
            Ok(line) => {
                println!("{line}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(session::EXIT_FAILED)
            }
        }
    }
}

fn duration(option: &'static str, text: &str) -> Result<Duration, OrderError> {
    parse_duration(text).map_err(|error| OrderError::Value { option, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filling_is_read_without_running_it() {
        let read = |arguments: &[&str]| {
            let typed = std::iter::once("plimsoll-hog").chain(arguments.iter().copied());
            CommandLine::try_parse_from(typed).expect("a command line").filling().expect("values")
        };
        let filling = read(&["memory", "--amount", "900Mi", "--rate", "15Mi/s", "--shutdown-delay", "30s"]);
        let filling = filling.expect("a filling");
        assert_eq!((filling.resource, filling.form), (Resource::Memory, Some(Form::Anonymous)));
        let rate = NonZeroU64::new(15 << 20);
        assert_eq!(filling.order.course, Course { amount: 900 << 20, rate, start_at: 0 });
        assert_eq!(filling.order.shutdown_delay, Duration::from_secs(30));
        assert_eq!(read(&["release"]), None);
    }

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }
}
