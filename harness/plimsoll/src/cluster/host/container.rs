//! One part as a container of runc.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use plimsoll_node::report::Report;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc::UnboundedSender;

use super::cgroup::Layout;
use super::specification::{self, Part};
use crate::bundle::Bundle;
use crate::cluster::state::RunFolder;
use crate::cluster::{Bounds, ClusterError, PartReport, gpus};
use crate::programs::Programs;

/// How long a command of runc may take.
const RUNC_WITHIN: Duration = Duration::from_secs(60);

/// A container that was created; its init waits to be started.
pub(super) struct Container {
    /// `control-plane` or the node's name.
    pub(super) part: String,
    folder: RunFolder,
    bounds: Option<Bounds>,
    bundle: Bundle,
    programs: Programs,
    reports: UnboundedSender<PartReport>,
    init: Mutex<Init>,
}

/// The init of a container.
struct Init {
    /// As this machine numbers it.
    process: u32,
    /// Held open: the init ends when it closes, however this process ended.
    _lifeline: ChildStdin,
    /// Whether its end is no news.
    ends_on_purpose: Arc<AtomicBool>,
}

impl Container {
    /// Creates it: namespaces, cgroup, mounts.
    pub(super) async fn create(
        folder: RunFolder,
        part: String,
        bounds: Option<Bounds>,
        bundle: Bundle,
        programs: Programs,
        reports: UnboundedSender<PartReport>,
    ) -> Result<Self, ClusterError> {
        let init = make(&folder, &part, bounds, &bundle, &programs, &reports).await?;
        Ok(Self { part, folder, bounds, bundle, programs, reports, init: Mutex::new(init) })
    }

    /// Creates it once more after its init was killed: what lies in its run folder is still there.
    pub(super) async fn create_again(&self) -> Result<(), ClusterError> {
        let doing = format!("making the container of {} once more", self.part);
        self.runc(&doing, &["delete", "--force", &self.part]).await?;
        let Self { folder, part, bounds, bundle, programs, reports, .. } = self;
        let init = make(folder, part, *bounds, bundle, programs, reports).await?;
        *self.init() = init;
        Ok(())
    }

    /// Its init, as this machine numbers it.
    pub(super) fn process(&self) -> u32 {
        self.init().process
    }

    fn init(&self) -> MutexGuard<'_, Init> {
        self.init.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the init go.
    pub(super) async fn start(&self) -> Result<(), ClusterError> {
        self.runc(&format!("starting {}", self.part), &["start", &self.part]).await
    }

    /// Runs a command of runc on it.
    async fn runc(&self, doing: &str, arguments: &[&str]) -> Result<(), ClusterError> {
        let output = Command::new(self.bundle.bin().join("runc"))
            .arg("--root")
            .arg(self.folder.path.join("runc"))
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(RUNC_WITHIN, output).await.map_err(ClusterError::doing(doing))?;
        let output = output.map_err(ClusterError::doing(doing))?;
        if output.status.success() {
            return Ok(());
        }
        Err(ClusterError::doing(doing)(String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Ends the init, and with it everything in its process namespace.
    pub(super) fn kill(&self) {
        if let Some(process) = rustix::process::Pid::from_raw(self.process().cast_signed()) {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }

    /// Ends the init as a loss of power does; that it says nothing any more is no news.
    pub(super) fn cut_power(&self) {
        self.init().ends_on_purpose.store(true, Ordering::Relaxed);
        self.kill();
    }
}

/// Makes a container and hands on what its init says.
async fn make(
    folder: &RunFolder,
    part: &str,
    bounds: Option<Bounds>,
    bundle: &Bundle,
    programs: &Programs,
    reports: &UnboundedSender<PartReport>,
) -> Result<Init, ClusterError> {
    let doing = format!("making the container of {part}");
    let oci = folder.path.join(part);
    let rootfs = oci.join("rootfs");
    let run_folder = oci.join("run");
    fs::create_dir_all(&rootfs).map_err(ClusterError::doing(&*doing))?;
    fs::create_dir_all(run_folder.join("logs")).map_err(ClusterError::doing(&*doing))?;
    let status = fs::read_to_string("/proc/self/status").map_err(ClusterError::doing("/proc/self/status"))?;
    let specification = specification::specification(&Part {
        run: &folder.run,
        name: part,
        bounds,
        bounds_swap: Layout::detect()?.bounds_swap(),
        run_folder: &run_folder,
        bundle: &bundle.bin(),
        programs: [("plimsoll-node", programs.node.as_path()), ("plimsoll-hog", &programs.hog)]
            .into_iter()
            .chain(programs.kwok.as_deref().map(|kwok| ("kwok", kwok)))
            .collect(),
        gpus: if bounds.is_some_and(|bounds| bounds.gpus) {
            gpus::device_nodes("/dev".as_ref())
        } else {
            Vec::new()
        },
        capabilities: specification::for_a_node(specification::capabilities(&status)),
    });
    folder.write(&format!("{part}/config.json"), specification.to_string().as_bytes())?;
    let error_log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(run_folder.join("logs/init.log"))
        .map_err(ClusterError::doing(&*doing))?;
    let runc = bundle.bin().join("runc");
    let process_file = oci.join("process");
    let mut child = Command::new(&runc)
        .arg("--root")
        .arg(folder.path.join("runc"))
        .arg("--log")
        .arg(oci.join("runc.log"))
        .args(["create", "--bundle"])
        .arg(&oci)
        .arg("--pid-file")
        .arg(&process_file)
        .arg(part)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(error_log)
        .kill_on_drop(true)
        .spawn()
        .map_err(ClusterError::doing(format!("{}", runc.display())))?;
    let (lifeline, output) = (child.stdin.take(), child.stdout.take());
    let status =
        tokio::time::timeout(RUNC_WITHIN, child.wait()).await.map_err(ClusterError::doing(&*doing))?;
    let status = status.map_err(ClusterError::doing(&*doing))?;
    if !status.success() {
        let log = fs::read_to_string(oci.join("runc.log")).unwrap_or_default();
        return Err(ClusterError::doing(doing)(format!(
            "runc: {status}: {}",
            log.lines().last().unwrap_or("no message")
        )));
    }
    let process = fs::read_to_string(&process_file).ok().and_then(|text| text.trim().parse().ok());
    let (Some(process), Some(lifeline), Some(output)) = (process, lifeline, output) else {
        return Err(ClusterError::doing(doing)("runc did not say which process it made"));
    };
    let (name, reports) = (part.to_owned(), reports.clone());
    let ends_on_purpose = Arc::new(AtomicBool::new(false));
    let on_purpose = ends_on_purpose.clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str::<Report>(&line) {
                Ok(report) => drop(reports.send(PartReport { part: name.clone(), report: Some(report) })),
                Err(error) => tracing::warn!(part = name, line, %error, "not a report"),
            }
        }
        if !on_purpose.load(Ordering::Relaxed) {
            drop(reports.send(PartReport { part: name, report: None }));
        }
    });
    Ok(Init { process, _lifeline: lifeline, ends_on_purpose })
}
