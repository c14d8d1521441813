//! Starting components and reaping everything.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{InitError, Voice};
use crate::component::Component;
use crate::config::{BIN, RUN};
use crate::report::Fact;

/// How much of a component's log goes into the report of its end.
const LOG_TAIL: u64 = 4096;
/// How long a component may take to end by itself when it is stopped; then it is killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
/// How long a component that is started again may give up by itself, while what it needs still comes up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a command of ours may take.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// The components that run, by process. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Supervisor {
    voice: Voice,
    children: Arc<Mutex<BTreeMap<u32, Running>>>,
    /// What was started as a component, by name.
    components: Arc<Mutex<BTreeMap<&'static str, Component>>>,
}

/// A process that we started.
#[derive(Debug)]
struct Running {
    name: String,
    end: End,
}

/// What the end of a process means.
#[derive(Debug)]
enum End {
    /// Somebody waits for it.
    Awaited(Sender<ExitStatus>),
    /// A component, and its end is news.
    News,
    /// A component that gives up by itself while what it needs still starts; until then it is started again.
    StartAgain(Component, Instant),
}

impl Supervisor {
    pub(super) fn new(voice: Voice) -> Self {
        Self { voice, children: Arc::default(), components: Arc::default() }
    }

    /// Starts a component with its output in a log of its own, and returns its process.
    pub(super) fn start(&self, component: &Component) -> Result<Option<Pid>, InitError> {
        self.start_with(component, End::News)
    }

    /// Starts a component, and starts it again whenever it gives up before the time is over. Once it was killed or
    /// the time is over, its end is news like another's.
    pub(super) fn start_patiently(
        &self,
        component: &Component,
        patience: Duration,
    ) -> Result<Option<Pid>, InitError> {
        self.start_with(component, End::StartAgain(component.clone(), Instant::now() + patience))
    }

    fn start_with(&self, component: &Component, end: End) -> Result<Option<Pid>, InitError> {
        self.components().insert(component.name, component.clone());
        let log = log_file(component.name)?;
        let error_log = log.try_clone().map_err(InitError::context("log"))?;
        let mut command = Command::new(format!("{BIN}/{}", component.name));
        command.args(&component.arguments).envs(component.environment.iter().copied());
        command.stdin(Stdio::null()).stdout(log).stderr(error_log);
        let running = Running { name: component.name.to_owned(), end };
        self.spawn_as(running, &mut command).map(|child| Pid::from_raw(child.id().cast_signed()))
    }

    /// Starts a process and keeps its name for when it ends. The table is held while it starts, so that the
    /// reaper can not meet a process without a name.
    pub(super) fn spawn(&self, name: &str, command: &mut Command) -> Result<Child, InitError> {
        self.spawn_as(Running { name: name.to_owned(), end: End::News }, command)
    }

    /// Runs a process to its end. The reaper takes every process's end, so it hands this one over.
    pub(super) fn run_to_end(&self, name: &str, command: &mut Command) -> Result<(), InitError> {
        let (sender, receiver) = mpsc::channel();
        self.spawn_as(Running { name: name.to_owned(), end: End::Awaited(sender) }, command)?;
        let status = receiver
            .recv_timeout(COMMAND_WITHIN)
            .map_err(InitError::context(format_args!("waiting for {name}")))?;
        if status.success() { Ok(()) } else { Err(InitError(format!("{name}: {status}"))) }
    }

    /// Runs a process to its end while writing to its standard input, which must be a pipe. What the writing came to counts
    /// only where the process was content: one that gives up closes the pipe.
    pub(super) fn feed_to_end(
        &self,
        name: &str,
        command: &mut Command,
        write: impl FnOnce(ChildStdin) -> std::io::Result<()>,
    ) -> Result<(), InitError> {
        let (sender, receiver) = mpsc::channel();
        let running = Running { name: name.to_owned(), end: End::Awaited(sender) };
        let input = self.spawn_as(running, command)?.stdin.take();
        let written = input.map_or(Ok(()), write);
        let status = receiver
            .recv_timeout(COMMAND_WITHIN)
            .map_err(InitError::context(format_args!("waiting for {name}")))?;
        if !status.success() {
            return Err(InitError(format!("{name}: {status}")));
        }
        written.map_err(InitError::context(name))
    }

    fn spawn_as(&self, running: Running, command: &mut Command) -> Result<Child, InitError> {
        command.env("PATH", format!("{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        let mut children = self.children();
        let child = command.spawn().map_err(InitError::context(format_args!("starting {}", running.name)))?;
        children.insert(child.id(), running);
        Ok(child)
    }

    /// Sends SIGKILL to a component.
    pub(super) fn kill(&self, name: &str) -> Result<(), InitError> {
        self.signal(name, Signal::KILL)
    }

    /// Sends a signal to a component.
    pub(super) fn signal(&self, name: &str, signal: Signal) -> Result<(), InitError> {
        let children = self.children();
        let process = children.iter().find(|(_, running)| running.name == name).map(|(id, _)| *id);
        let process = process.and_then(|id| Pid::from_raw(id.cast_signed()));
        let process = process.ok_or_else(|| InitError(format!("no component {name} runs here")))?;
        rustix::process::kill_process(process, signal)
            .map_err(InitError::context(format_args!("signalling {name}")))
    }

    /// Ends a component on purpose: by SIGTERM, and by SIGKILL if that is not heeded. Its end is no news.
    pub(super) fn stop(&self, name: &str) -> Result<(), InitError> {
        let (sender, ended) = mpsc::channel();
        let process = {
            let mut children = self.children();
            let found = children.iter_mut().find(|(_, running)| running.name == name);
            let (id, running) = found.ok_or_else(|| InitError(format!("no component {name} runs here")))?;
            running.end = End::Awaited(sender);
            Pid::from_raw(id.cast_signed())
        };
        let process = process.ok_or_else(|| InitError(format!("{name} has no process")))?;
        for signal in [Signal::TERM, Signal::KILL] {
            // It may have ended meanwhile, which is what was wanted.
            let _ = rustix::process::kill_process(process, signal);
            if ended.recv_timeout(STOPPED_WITHIN).is_ok() {
                return Ok(());
            }
        }
        Err(InitError(format!("{name} does not end")))
    }

    /// Starts a component that was stopped, with the arguments that it had.
    pub(super) fn start_again(&self, name: &str) -> Result<(), InitError> {
        if self.children().values().any(|running| running.name == name) {
            return Err(InitError(format!("{name} runs already")));
        }
        let component = self.components().get(name).cloned();
        let component =
            component.ok_or_else(|| InitError(format!("no component {name} was started here")))?;
        self.start_patiently(&component, PATIENCE).map(drop)
    }

    /// Reaps until told to end by SIGTERM or SIGINT. The end of a component is reported; the node goes on without it,
    /// so that what the rest of it does can be seen.
    pub(super) fn run(&self) -> Result<(), InitError> {
        let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT]).map_err(InitError::context("signals"))?;
        self.reap();
        for signal in signals.forever() {
            match signal {
                SIGCHLD => self.reap(),
                _ => break,
            }
        }
        Ok(())
    }

    fn reap(&self) {
        loop {
            let mut children = self.children();
            let Ok(Some((process, status))) = rustix::process::wait(WaitOptions::NOHANG) else { return };
            let Some(running) = children.remove(&process.as_raw_nonzero().get().cast_unsigned()) else {
                continue;
            };
            drop(children);
            let status = ExitStatus::from_raw(status.as_raw());
            match running.end {
                // Whoever waited may have given up; then nobody cares.
                End::Awaited(awaited) => drop(awaited.send(status)),
                End::StartAgain(component, until) if status.code().is_some() && Instant::now() < until => {
                    self.voice.note(format!("{} gave up ({status}) and is started again", running.name));
                    if let Err(error) = self.start_with(&component, End::StartAgain(component.clone(), until))
                    {
                        self.voice.fatal(&error.0);
                    }
                }
                End::News | End::StartAgain(..) => {
                    let (component, status) = (running.name, status.to_string());
                    self.voice.say(Fact::ComponentEnded { log: log_tail(&component), status, component });
                }
            }
        }
    }

    fn components(&self) -> MutexGuard<'_, BTreeMap<&'static str, Component>> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<u32, Running>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_path(name: &str) -> PathBuf {
    Path::new(RUN).join("logs").join(format!("{name}.log"))
}

pub(super) fn log_file(name: &str) -> Result<File, InitError> {
    let path = log_path(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(InitError::context(folder.display()))?;
    }
    OpenOptions::new().create(true).append(true).open(&path).map_err(InitError::context(path.display()))
}

fn log_tail(name: &str) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log_path(name))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_default()
}
