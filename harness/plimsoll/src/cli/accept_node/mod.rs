//! `accept-node`.

mod cluster;
mod on_host;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use plimsoll_acceptance::declaration::{Declaration, Version};
use plimsoll_acceptance::judge;
use plimsoll_acceptance::level::Level;
use plimsoll_acceptance::program::Hog;
use plimsoll_acceptance::report::{Acceptance, Check, Outcome, line};
use plimsoll_acceptance::run::{accept, inventory};
use plimsoll_hog::quantity::{Unit, parse_amount};

use self::cluster::{ClusterArguments, ClusterNode};
use self::on_host::{HostArguments, OnHost};
use super::check::bad_input;
use super::{Exit, print, runtime};
use crate::whole_file::WholeFile;

/// Examples and exit codes, for `--help`.
pub(super) const EXAMPLES: &str = "\
Examples:
  plimsoll accept-node
  plimsoll accept-node --level standard --devices 8 --product 'NVIDIA H100 80GB HBM3' --driver 580 --cuda 12.4
  plimsoll accept-node --level burn-in --junit acceptance.xml --json acceptance.json
  plimsoll accept-node --on host --configuration node.yaml
  plimsoll accept-node --context fleet --node worker-3 --label example.com/accepted=yes --remove-taint example.com/new

Cards are filled to the end, and their multiprocessors kept at work: run it on a node that does nothing else. Settings of
the devices (MIG, MPS, ECC, compute mode) are looked at and never changed.

Exit codes: 0 accepted, 1 a check failed, 2 bad input, 3 could not run, 4 a check could not be made. What is said not to be
checked has no part in that.";

/// What `accept-node` takes.
#[derive(Debug, clap::Args)]
pub(super) struct AcceptNodeArguments {
    /// How much to do: quick is less than a minute a card, standard some minutes, burn-in more than half an hour
    #[arg(long, value_name = "LEVEL", default_value = "standard")]
    level: LevelName,
    /// How many devices there should be
    #[arg(long, value_name = "COUNT")]
    devices: Option<u32>,
    /// What each device should be, as the driver names it
    #[arg(long, value_name = "NAME")]
    product: Option<String>,
    /// The least memory of each device, such as 79Gi [default: what a known card is sold with]
    #[arg(long, value_name = "AMOUNT", value_parser = memory)]
    memory: Option<u64>,
    /// The oldest driver, such as 580 or 580.95.05
    #[arg(long, value_name = "VERSION")]
    driver: Option<Version>,
    /// The oldest version of CUDA that the driver must know, such as 12.4
    #[arg(long, value_name = "VERSION")]
    cuda: Option<Version>,
    /// The least share of the data sheet's memory bandwidth
    #[arg(long, value_name = "PERCENT", default_value_t = 70, value_parser = clap::value_parser!(u32).range(1..=100))]
    bandwidth: u32,
    /// The GPU hog [default: plimsoll-gpu-hog beside this program]
    #[arg(long, value_name = "PROGRAM", env = "PLIMSOLL_GPU_HOG")]
    hog: Option<PathBuf>,
    /// The library of CUDA's driver; the machine's own if left out. The simulated driver is named here
    #[arg(long, value_name = "PATH", env = "PLIMSOLL_CUDA_LIBRARY")]
    cuda_library: Option<PathBuf>,
    /// The library of NVML; the machine's own if left out
    #[arg(long, value_name = "PATH", env = "PLIMSOLL_NVML_LIBRARY")]
    nvml_library: Option<PathBuf>,
    /// Write a JUnit report: a case for each check
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write all checks as one JSON document; `-` is the standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    host: HostArguments,
    /// Say only what it came to
    #[arg(long, short)]
    quiet: bool,
}

/// How much to do, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LevelName {
    /// Everything once
    Quick,
    /// What a new node should pass
    Standard,
    /// Half an hour of heat for each card
    BurnIn,
}

fn memory(text: &str) -> Result<u64, String> {
    parse_amount(text, Unit::Bytes).map_err(|error| error.to_string())
}

pub(super) fn accept_node(arguments: &AcceptNodeArguments) -> Exit {
    let hog = match hog(arguments) {
        Ok(hog) => hog,
        Err(error) => return could_not_run(&error),
    };
    let declaration = Declaration {
        devices: arguments.devices,
        product: arguments.product.clone(),
        memory: arguments.memory,
        driver: arguments.driver.clone(),
        cuda: arguments.cuda.clone(),
        bandwidth_percent: arguments.bandwidth,
    };
    let level = match arguments.level {
        LevelName::Quick => Level::Quick,
        LevelName::Standard => Level::Standard,
        LevelName::BurnIn => Level::BurnIn,
    };
    let documents_on_stdout = arguments.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
    let show = |text: &str| {
        if documents_on_stdout {
            // Nobody is left to be told that standard error is gone.
            let _ = std::io::stderr().write_all(text.as_bytes());
        } else {
            print(text);
        }
    };
    let tell = |check: &Check| {
        if !arguments.quiet {
            show(&line(check));
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return could_not_run(&error.to_string()),
    };
    // What was typed is tried before an hour of work.
    let node = match runtime.block_on(ClusterNode::new(&arguments.cluster)) {
        Ok(node) => node,
        Err(error) => return could_not_run(&error),
    };
    let host = match OnHost::new(&arguments.host, level) {
        Ok(host) => host,
        Err(error) => return bad_input(&error),
    };
    let accepted = accept(&hog, &declaration, level, &mut |check| tell(check));
    let mut acceptance = match accepted {
        Ok(acceptance) => acceptance,
        Err(error) => return could_not_run(&error.to_string()),
    };
    if let Some(host) = &host {
        let began = Instant::now();
        let devices = inventory(&hog).map_err(|error| error.to_string());
        let done = devices.and_then(|devices| {
            runtime.block_on(host.accept(&devices, &mut acceptance, &mut |check| tell(check)))
        });
        acceptance.seconds += began.elapsed().as_secs_f64();
        match done {
            Ok(Exit::Interrupted) => return Exit::Interrupted,
            Ok(_) => {}
            Err(error) => return could_not_run(&error),
        }
    }
    if let Some(node) = &node {
        let check = runtime.block_on(node.offers(acceptance.devices()));
        tell(&check);
        acceptance.add(check, judge::KUBELET_NOT_ASKED);
    }
    show(&acceptance.text());
    if let Err(error) = write(arguments, &acceptance, documents_on_stdout) {
        return could_not_run(&error);
    }
    if let Some(node) = &node {
        match runtime.block_on(node.tell(&acceptance)) {
            Ok(done) => done.iter().for_each(|what| show(&format!("{what}\n"))),
            Err(error) => return could_not_run(&error),
        }
    }
    match acceptance.outcome {
        Outcome::Passed => Exit::Held,
        Outcome::Failed => Exit::Violated,
        Outcome::CouldNotCheck => Exit::Unknown,
    }
}

fn hog(arguments: &AcceptNodeArguments) -> Result<Hog, String> {
    let program = match &arguments.hog {
        Some(program) => program.clone(),
        None => {
            let own = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
            Hog::beside(&own)
        }
    };
    Ok(Hog {
        program,
        cuda_library: arguments.cuda_library.clone(),
        nvml_library: arguments.nvml_library.clone(),
    })
}

fn write(arguments: &AcceptNodeArguments, acceptance: &Acceptance, on_stdout: bool) -> Result<(), String> {
    let document = serde_json::to_string_pretty(acceptance).map_err(|error| error.to_string())? + "\n";
    match &arguments.json {
        Some(_) if on_stdout => {
            print(&document);
        }
        Some(path) => WholeFile::write(path, document.as_bytes())
            .map_err(|error| format!("{}: {error}", path.display()))?,
        None => {}
    }
    if let Some(path) = &arguments.junit {
        let mut bytes = Vec::new();
        acceptance
            .write_junit(&mut bytes)
            .and_then(|()| WholeFile::write(path, &bytes))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn could_not_run(error: &str) -> Exit {
    eprintln!("error: {error}");
    Exit::CouldNotRun
}
