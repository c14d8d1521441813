//! A node that is booted here with the machine's devices, as the real one is configured: how it takes pressure, and how soon its
//! kubelet sees that a device is faulty.

mod configured;
mod judge;

use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressDrawTarget;
use plimsoll_acceptance::judge::{DEVICE_HEALTH, GPU_PRESSURE, MEMORY_PRESSURE, NO_FAULT};
use plimsoll_acceptance::level::{Level, Pressure};
use plimsoll_acceptance::report::{Acceptance, Check};
use plimsoll_acceptance::run::Inventory;
use plimsoll_eviction::duration::parse_duration;

use self::configured::{Cards, Configured, RESOURCE};
use self::judge::Offered;
use crate::bundle::Bundle;
use crate::cli::check::show;
use crate::cli::run::job::{Done, Ended};
use crate::cli::run::jobs::conduct;
use crate::cli::run::screen::{Screen, Telling};
use crate::cli::run::{Conduct, Job, Jobs};
use crate::cli::{BundleChoice, Exit, On};
use crate::plan::{Plan, lower};
use crate::report::{Board, TerminalOptions, Verbosity};
use crate::scenario::{Files, parse};

/// What of `accept-node` is about a node that is booted.
#[derive(Debug, clap::Args)]
pub(super) struct HostArguments {
    /// Boot a node with such devices here, and check that it evicts as configured and takes a faulty device out of service
    #[arg(long, value_name = "CLUSTER")]
    on: Option<On>,
    /// How the node is configured: a file with `memory`, `kubelet` and `gpuEviction`, each as in a scenario's node [default: 2Gi, and
    /// the thresholds that kubelet and evictor have of their own]
    #[arg(long, value_name = "FILE", requires = "on")]
    configuration: Option<PathBuf>,
    /// How fast a pod fills a GPU beyond its request, such as 1Gi/s [default: three looks of the evictor from its threshold to the end]
    #[arg(long, value_name = "RATE", requires = "on")]
    gpu_rate: Option<String>,
    /// How soon the kubelet must have taken a faulty device out of service, and a mended one back
    #[arg(long, value_name = "DURATION", requires = "on", default_value = "30s", value_parser = duration)]
    health_within: Duration,
    /// The folder for what these runs leave to look at where a check does not pass
    #[arg(long, value_name = "FOLDER", requires = "on", default_value = "plimsoll-evidence")]
    evidence: PathBuf,
    #[command(flatten)]
    bundle: BundleChoice,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// A node that is to be booted.
pub(super) struct OnHost<'a> {
    arguments: &'a HostArguments,
    on: On,
    configured: Configured,
    pressure: Pressure,
}

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    GpuPressure,
    MemoryPressure,
    DeviceHealth,
}

impl<'a> OnHost<'a> {
    /// What the arguments ask for; none if they ask for no node.
    ///
    /// # Errors
    /// When the configuration can not be read.
    pub(super) fn new(arguments: &'a HostArguments, level: Level) -> Result<Option<Self>, String> {
        let Some(on) = arguments.on else { return Ok(None) };
        let configured = match &arguments.configuration {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| error.to_string())
                .and_then(|text| Configured::read(&text))
                .map_err(|error| format!("{}: {error}", path.display()))?,
            None => Configured::default(),
        };
        let node = Self { arguments, on, configured, pressure: level.pressure() };
        // What is wrong with it does not depend on the devices, and is not to be found after an hour of work.
        let some = Cards { count: 1, memory: 16 << 30, real: false };
        for subject in node.subjects(some) {
            node.plan(subject, some)?;
        }
        Ok(Some(node))
    }

    fn subjects(&self, cards: Cards) -> Vec<Subject> {
        let mut subjects = vec![Subject::GpuPressure];
        if !cards.real {
            subjects.push(Subject::DeviceHealth);
        }
        if self.pressure.of_memory {
            subjects.push(Subject::MemoryPressure);
        }
        subjects
    }

    fn plan(&self, subject: Subject, cards: Cards) -> Result<Plan, String> {
        let text = match subject {
            Subject::GpuPressure => {
                self.configured.gpu_pressure(cards, self.arguments.gpu_rate.as_deref())?
            }
            Subject::MemoryPressure => self.configured.memory_pressure(cards)?,
            Subject::DeviceHealth => self.configured.device_health(cards, self.arguments.health_within)?,
        };
        let lowered = parse("the node to accept", &text)
            .and_then(|parsed| lower(&parsed.with_files(&Files::new())))
            .map_err(|wrong| {
                show(&wrong, false);
                "a node can not be configured so".to_owned()
            })?;
        Ok(lowered.plan)
    }

    /// Boots the node, puts it under pressure, and adds what came of it.
    ///
    /// # Errors
    /// When nothing could be run.
    pub(super) async fn accept(
        &self,
        inventory: &Inventory,
        acceptance: &mut Acceptance,
        tell: &mut dyn FnMut(&Check),
    ) -> Result<Exit, String> {
        let devices = inventory.cuda.said().map(|cuda| cuda.devices.as_slice()).unwrap_or_default();
        let Some(memory) = devices.iter().map(|device| device.memory).min() else {
            return Ok(Exit::Held);
        };
        let cards = Cards { count: devices.len(), memory, real: inventory.stamp.is_none() };
        if cards.real {
            acceptance.can_not_check(DEVICE_HEALTH, NO_FAULT);
        }
        let mut subjects = Vec::new();
        let mut jobs = Vec::new();
        for round in 0..self.pressure.rounds {
            for subject in self.subjects(cards) {
                let mut plan = self.plan(subject, cards)?;
                plan.name = format!("{}-{}", plan.name, round + 1);
                let bundle = Bundle::find(&plan.kubernetes, self.arguments.bundle.bundle.as_deref())
                    .and_then(|bundle| bundle.check().map(|()| bundle))
                    .map_err(|error| error.to_string())?;
                jobs.push(Job { file: PathBuf::from(format!("{}.yaml", plan.name)), plan, bundle });
                subjects.push(subject);
            }
        }
        let options = TerminalOptions::for_stdout(Verbosity::Quiet);
        let board =
            Board::new(Box::new(std::io::sink()) as _, ProgressDrawTarget::hidden(), options, jobs.len());
        let manner = Conduct {
            on: self.on,
            jobs: Jobs::Number(std::num::NonZeroUsize::MIN),
            fail_fast: false,
            retry_unknown: 0,
            accept: None,
            evidence: self.arguments.evidence.clone(),
            keep_evidence: false,
            kubeconfig_out: None,
        };
        let mut made = Vec::new();
        let telling = Telling::new(Screen::Board(board), Vec::new());
        let together = conduct(&manner, &jobs, telling, &mut |index, done| {
            let checks = checks(subjects[index], cards, self.arguments.health_within, done);
            checks.iter().for_each(&mut *tell);
            made.extend(checks.into_iter().map(|check| (subjects[index], check)));
        })
        .await?;
        for (subject, check) in made {
            acceptance.add(check, subject.not_checked());
        }
        if together.trouble.is_empty() { Ok(together.exit) } else { Err(together.trouble.join("\n")) }
    }
}

impl Subject {
    /// What is said where it is not checked.
    fn not_checked(self) -> &'static str {
        match self {
            Self::GpuPressure => GPU_PRESSURE,
            Self::MemoryPressure => MEMORY_PRESSURE,
            Self::DeviceHealth => DEVICE_HEALTH,
        }
    }
}

/// What a run shows.
fn checks(subject: Subject, cards: Cards, within: Duration, done: &Done) -> Vec<Check> {
    let names: &[(&str, &str)] = match subject {
        Subject::GpuPressure => &[(
            "a pod over its request leaves before a GPU is full, and nobody else",
            "it is evicted for the configured threshold, and a larger pod within its request runs on",
        )],
        Subject::MemoryPressure => &[(
            "the node evicts for its own memory while GPUs are in use, and nobody on them",
            "who takes the node's memory is evicted for the configured threshold, a pod on a GPU runs on, and the kernel kills nobody",
        )],
        Subject::DeviceHealth => &[
            ("the kubelet takes a faulty device out of service", "an answer"),
            ("the kubelet takes a mended device back into service", "an answer"),
            ("a pod on a faulty device runs on", "it runs to the end without a restart"),
        ],
    };
    let verdict = match &done.ended {
        Ended::Verdict(verdict) => verdict,
        Ended::CouldNotRun(why) => {
            return names.iter().map(|(name, wanted)| Check::impossible(name, why, *wanted)).collect();
        }
        Ended::Interrupted => {
            return names.iter().map(|(name, wanted)| Check::impossible(name, "stopped", *wanted)).collect();
        }
    };
    if subject != Subject::DeviceHealth {
        let (name, wanted) = names[0];
        return vec![judge::findings(name, wanted, verdict, |_| true)];
    }
    let all = cards.units();
    let others = all - cards.memory / cards.unit();
    let offered = |place: usize, step: usize, amount: u64| {
        let expected = Offered { name: names[place].0, step, resource: RESOURCE, amount, within };
        judge::offered(&done.timeline, &expected)
    };
    vec![
        offered(0, Configured::FAILS, others),
        offered(1, Configured::MENDED, all),
        judge::findings(names[2].0, names[2].1, verdict, |finding| finding.key == "survive"),
    ]
}
