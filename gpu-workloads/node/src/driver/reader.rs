//! The program that asks the driver, kept running.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::health::Health;
use plimsoll_gpu_reader::report::{Reading, Report};

/// How to run the program, and what to make of what it says.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// The program. It writes a [`Report`] a line to its standard output until it is killed.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How long it may say nothing. Then the driver counts as lost, and the program is started anew.
    pub silence: Duration,
    /// The errors that say nothing of a device.
    pub ignored_xids: Vec<u64>,
}

/// What is known of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The last reading; none before the first one.
    pub reading: Option<Arc<Reading>>,
    /// Which devices are broken.
    pub health: Health,
    /// Why the driver can not be asked at the moment; none if it can.
    pub failure: Option<String>,
}

/// How long to wait before the program is started again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How much of a line is read. A machine of 16 devices with a hundred processes each says a tenth of it.
const LONGEST_LINE: usize = 4 << 20;

/// A reader that runs.
#[derive(Debug)]
pub struct Reader {
    state: watch::Receiver<State>,
}

impl Reader {
    /// Starts the program, and goes on to start it whenever it ends or falls silent, until `cancel` is cancelled.
    #[must_use]
    pub fn start(options: ReaderOptions, cancel: CancellationToken) -> Self {
        let health = Health::new(options.ignored_xids.iter().copied());
        let (sender, state) = watch::channel(State { reading: None, health, failure: None });
        tokio::spawn(async move {
            cancel.run_until_cancelled(keep_running(options, sender)).await;
        });
        Self { state }
    }

    /// What is known, and will be.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

async fn keep_running(options: ReaderOptions, sender: watch::Sender<State>) {
    let mut wait = BACKOFF.0;
    loop {
        let began = Instant::now();
        let failure = run(&options, &sender).await;
        let changed = sender.send_if_modified(|state| {
            let changed = state.failure.as_ref() != Some(&failure);
            state.failure = Some(failure.clone());
            changed
        });
        if changed {
            warn!("the driver can not be asked: {failure}");
        }
        // One that ran for a while is not one that can not run.
        wait = if began.elapsed() > BACKOFF.1 { BACKOFF.0 } else { (wait * 2).min(BACKOFF.1) };
        sleep(wait).await;
    }
}

/// Runs the program once and says why it is over.
async fn run(options: &ReaderOptions, sender: &watch::Sender<State>) -> String {
    let program = options.program.display();
    sender.send_if_modified(|state| {
        state.health.listens_anew();
        // Nobody is to look before the program has said whom it hears.
        false
    });
    let spawned = Command::new(&options.program)
        .args(&options.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return format!("{program} can not be started: {error}"),
    };
    let failure = listen(&mut child, options, sender).await;
    // A program in the middle of a call into a broken driver may not even end by SIGKILL.
    if timeout(Duration::from_secs(5), child.kill()).await.is_err() {
        warn!("{program} does not end");
    }
    failure
}

async fn listen(child: &mut Child, options: &ReaderOptions, sender: &watch::Sender<State>) -> String {
    let program = options.program.display();
    let Some(output) = child.stdout.take() else { return format!("{program} has no output") };
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    let mut last_failure = None;
    loop {
        line.clear();
        let next = timeout(options.silence, read_line(&mut lines, &mut line)).await;
        match next {
            Err(_) => {
                let silence = options.silence.as_secs_f64();
                return last_failure.unwrap_or_else(|| format!("{program} said nothing for {silence} s"));
            }
            Ok(Err(error)) => return format!("{program} can not be read: {error}"),
            Ok(Ok(false)) => {
                return last_failure.unwrap_or_else(|| format!("{program} ended"));
            }
            Ok(Ok(true)) => {}
        }
        match serde_json::from_slice(&line) {
            Ok(Report::Failure(failure)) => last_failure = Some(failure),
            Ok(report) => {
                last_failure = None;
                take(report, sender);
            }
            Err(error) => {
                let line = String::from_utf8_lossy(&line);
                return format!("{program} says what is no report: {}: {error}", line.trim_end());
            }
        }
        if let Some(failure) = &last_failure {
            sender.send_if_modified(|state| {
                let changed = state.failure.as_ref() != Some(failure);
                state.failure = Some(failure.clone());
                changed
            });
        }
    }
}

/// The next line; false at the end.
async fn read_line(
    lines: &mut BufReader<tokio::process::ChildStdout>,
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    loop {
        let buffer = lines.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(buffer.len(), |end| end + 1);
        line.extend_from_slice(&buffer[..taken]);
        lines.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
        if line.len() > LONGEST_LINE {
            return Err(std::io::Error::other(format!("a line of more than {LONGEST_LINE} bytes")));
        }
    }
}

fn take(report: Report, sender: &watch::Sender<State>) {
    match report {
        Report::Reading(reading) => sender.send_modify(|state| {
            if state.reading.is_none() || state.failure.is_some() {
                let count = reading.devices.len();
                let simulated = if reading.simulated { " SIMULATED" } else { "" };
                info!("driver {}:{simulated} devices: {count}", reading.driver_version);
            }
            state.reading = Some(Arc::new(reading));
            state.failure = None;
        }),
        Report::Event(event) => {
            let device = event.uuid.as_deref().unwrap_or("all devices").to_owned();
            let changed = sender.send_if_modified(|state| state.health.observe(&event));
            if changed {
                warn!("{device}: Xid {}: it is given to no further pod", event.xid);
            } else {
                info!("{device}: Xid {}", event.xid);
            }
        }
        Report::Unwatched(device) => {
            let name = device.uuid.as_deref().unwrap_or("all devices");
            warn!(
                "{name}: its errors can not be listened for ({}): it is given to no further pod",
                device.why
            );
            sender.send_modify(|state| state.health.unwatched(&device));
        }
        Report::Failure(_) => {}
    }
}
