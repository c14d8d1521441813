//! Taking commands on a socket in the node's run folder.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal};

use super::supervise::Supervisor;
use super::{InitError, Voice, gpus, images};
use crate::config::{ControlAnswer, ControlRequest, GpuConfig, PROGRAMS, RUN};
use crate::report::Fact;

/// How the component names of the fillers outside every pod begin; the resource follows.
const FILLER: &str = "filler";

/// Listens in a thread. Only root reaches the socket.
pub(super) fn listen(
    supervisor: &Supervisor,
    voice: &Voice,
    node: &str,
    gpus: Option<&GpuConfig>,
) -> Result<(), InitError> {
    let path = Path::new(RUN).join("control.sock");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(InitError::context(path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(InitError::context(path.display()))?;
    let control = Control {
        supervisor: supervisor.clone(),
        voice: voice.clone(),
        filling: Arc::default(),
        node: node.to_owned(),
        gpus: gpus.cloned(),
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let control = control.clone();
            std::thread::spawn(move || control.serve(stream));
        }
    });
    Ok(())
}

/// Hands one request, JSON, to the init of the node that this process runs in, and returns its answer.
///
/// # Errors
/// When no init listens.
pub fn ask(request: &str) -> Result<String, InitError> {
    let path = Path::new(RUN).join("control.sock");
    // Who asks from inside the node would be frozen with it, and never hear the answer.
    let frozen = match serde_json::from_str(request) {
        Ok(ControlRequest::Freeze { .. }) => {
            serde_json::to_string(&ControlRequest::Freeze { asker: Some(std::process::id()) }).ok()
        }
        _ => None,
    };
    let request = frozen.as_deref().unwrap_or(request);
    let mut stream = UnixStream::connect(&path).map_err(InitError::context(path.display()))?;
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.write_all(b"\n"))
        .map_err(InitError::context("asking"))?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(InitError::context("the answer"))?;
    Ok(answer.trim_end().to_owned())
}

/// Signals every process here but this one, those of pods too. The kernel does it in one go, so that none escapes by
/// forking. Frozen by signals rather than by a cgroup, the node still ends with its init, and the init with its lifeline.
fn signal_all(signal: Signal) -> Result<(), InitError> {
    rustix::process::kill_process_group(Pid::INIT, signal)
        .map_err(InitError::context("signalling every process"))
}

/// Lets one process go on that was stopped with all others: it waits for the answer.
fn go_on(process: Option<u32>) -> Result<(), InitError> {
    let Some(process) = process.and_then(|process| Pid::from_raw(process.cast_signed())) else {
        return Ok(());
    };
    rustix::process::kill_process(process, Signal::CONT)
        .map_err(InitError::context("letting the asker go on"))
}

#[derive(Clone)]
struct Control {
    supervisor: Supervisor,
    voice: Voice,
    /// The resources that have a filler.
    filling: Arc<Mutex<BTreeSet<String>>>,
    /// The node's name.
    node: String,
    /// The node's GPUs.
    gpus: Option<GpuConfig>,
}

impl Control {
    fn serve(&self, mut stream: UnixStream) {
        let Ok(reader) = stream.try_clone() else { return };
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            let answer = match serde_json::from_str(&line) {
                Ok(request) => self
                    .answer(request)
                    .map_or_else(|error| ControlAnswer::Refused(error.0), |()| ControlAnswer::Done),
                Err(error) => ControlAnswer::Refused(format!("not a request: {error}")),
            };
            let Ok(mut text) = serde_json::to_vec(&answer) else { return };
            text.push(b'\n');
            if stream.write_all(&text).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: ControlRequest) -> Result<(), InitError> {
        match request {
            ControlRequest::Kill { component } => self.supervisor.kill(&component),
            ControlRequest::Stop { component } => self.supervisor.stop(&component),
            ControlRequest::Start { component } => self.supervisor.start_again(&component),
            ControlRequest::Freeze { asker } => signal_all(Signal::STOP).and_then(|()| go_on(asker)),
            ControlRequest::Thaw => signal_all(Signal::CONT),
            ControlRequest::Suspend { component } => self.supervisor.signal(&component, Signal::STOP),
            ControlRequest::Resume { component } => self.supervisor.signal(&component, Signal::CONT),
            ControlRequest::Gpu { device, xid } => {
                let gpus = self.gpus.as_ref().ok_or_else(|| InitError("no GPU is here".to_owned()))?;
                gpus::change(&self.supervisor, &self.node, gpus, device, xid)
            }
            ControlRequest::Load { images } => images::load(&self.supervisor, &images),
            ControlRequest::Fill { start, change, folder } => self.fill(&start, &change, folder.as_deref()),
        }
    }

    /// The first request for a resource starts its filler, later ones change what it holds.
    fn fill(&self, start: &[String], change: &[String], folder: Option<&str>) -> Result<(), InitError> {
        let Some(resource) = start.first() else {
            return Err(InitError("a fill without a resource".to_owned()));
        };
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(InitError::context(folder))?;
        }
        let mut filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = format!("--control={RUN}/filler-{resource}.sock");
        let mut command = Command::new(format!("{PROGRAMS}/plimsoll-hog"));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        if filling.contains(resource) {
            command.arg("set").arg(&socket).args(change).stdout(Stdio::null());
            return self.supervisor.run_to_end("changing the filler", &mut command);
        }
        command.args(start).arg(&socket).stdout(Stdio::piped());
        let mut child = self.supervisor.spawn(&format!("{FILLER}-{resource}"), &mut command)?;
        filling.insert(resource.clone());
        if let Some(output) = child.stdout.take() {
            let voice = self.voice.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Ok(line) = serde_json::from_str(&line) {
                        voice.say(Fact::Filler { line });
                    }
                }
            });
        }
        Ok(())
    }
}
