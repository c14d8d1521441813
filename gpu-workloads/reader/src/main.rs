//! The program `plimsoll-gpu-reader`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use plimsoll_gpu_reader::management::{Errors, Management, ManagementError};
use plimsoll_gpu_reader::report::Report;

/// Says what NVML knows of this machine's GPUs, as JSON lines, until it is ended.
#[derive(Debug, Parser)]
#[command(name = "plimsoll-gpu-reader", version)]
struct Arguments {
    /// NVML's library. Left out: the one that the dynamic loader finds.
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
    /// How often to ask, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..))]
    interval: u64,
    /// Without the first so many devices.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    skip: usize,
    /// Of those that are left only the first so many.
    #[arg(long, value_name = "COUNT")]
    first: Option<usize>,
    /// As if each device had this many bytes of memory: what it has beyond that, somebody else holds.
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// Say what there is once, and end.
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        // Whoever read this is gone.
        Ok(()) | Err(Failure::Output) => ExitCode::SUCCESS,
        Err(Failure::Driver(error)) => {
            // Said, so that it is known, and ended, so that a driver that comes later is loaded anew.
            let _ = say(&Report::Failure(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Driver(ManagementError),
    Output,
}

impl From<ManagementError> for Failure {
    fn from(error: ManagementError) -> Self {
        Self::Driver(error)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Output
    }
}

fn say(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}

/// Listens for errors, and says first of whom none would be heard.
fn listen(management: &Management) -> io::Result<Errors<'_>> {
    let errors = management.errors();
    for unwatched in errors.unwatched() {
        say(&Report::Unwatched(unwatched.clone()))?;
    }
    Ok(errors)
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let management = Management::load(arguments.library.as_deref())?;
    let interval = Duration::from_millis(arguments.interval);
    let mut errors = listen(&management)?;
    let mut lost_before = Vec::new();
    loop {
        let until = Instant::now() + interval;
        let (reading, lost) = management.read()?;
        if lost != lost_before {
            for device in &lost {
                eprintln!("plimsoll-gpu-reader: {device}");
            }
            lost_before = lost;
        }
        if !errors.knows(&reading) {
            errors = listen(&management)?;
        }
        say(&Report::Reading(reading.bounded(arguments.skip, arguments.first, arguments.memory)))?;
        if arguments.once {
            return Ok(());
        }
        while let Some(event) = errors.next(until) {
            say(&Report::Event(event))?;
        }
        // It may be back early.
        sleep(until.saturating_duration_since(Instant::now()));
    }
}
