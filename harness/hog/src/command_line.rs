//! The command line: what can be typed, and what it is resolved to.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::control::{self, Command};
use crate::filler::Filler;
use crate::memory::Memory;
use crate::order::{Course, Order, OrderError, TypedCourse, parse_hold};
use crate::quantity::{Unit, parse_duration};
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
  0  ended as asked: by a signal, or because the hold was over
  1  could not start; no running filler answered, or it refused
  2  the command line is wrong
  3  the resource could not be had: out of memory, disk full, a limit

Examples:
  plimsoll-hog memory --amount 900Mi --rate 15Mi/s --start-at 200Mi
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
    /// Keep it from being swapped out
    #[arg(long)]
    lock: bool,
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

impl CommandLine {
    /// Does what was typed.
    pub fn run(self) -> ExitCode {
        match self.action {
            Action::Memory(arguments) => fill(&mut Memory::new(arguments.lock), arguments.fill),
            Action::Set { course: SetArguments { amount, rate, start_at }, reach } => {
                reach.ask(&Command::Set(TypedCourse { amount, rate, start_at }))
            }
            Action::Release { reach } => reach.ask(&Command::Release),
            Action::Status { reach } => reach.ask(&Command::Status),
        }
    }
}

fn fill(filler: &mut dyn Filler, arguments: FillArguments) -> ExitCode {
    match arguments.resolve(filler.unit()) {
        Ok(order) => session::run(filler, &order),
        Err(error) => refuse(&error),
    }
}

/// Ends the program as it ends on any other mistake in its arguments.
fn refuse(error: &OrderError) -> ! {
    CommandLine::command().error(ErrorKind::ValueValidation, error).exit()
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
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }
}
