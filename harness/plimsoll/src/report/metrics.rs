//! Metrics in Prometheus' text format: of the pods what kube-state-metrics would say of them at the end, by its names, so that an
//! alert rule that somebody has can be tried on a run; and what the run came to.
//!
//! A pod that is gone at the end is no more in them than kube-state-metrics would still tell of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use k8s_openapi::api::core::v1::Pod;

use super::Reporter;
use crate::observe::{Fact, Observation};
use crate::plan::Plan;
use crate::verdict::{State, Verdict};

/// The phases that kube-state-metrics tells apart. Upstream: `createPodStatusPhaseFamilyGenerator`.
const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];
/// The reasons that it looks for. Upstream: `podStatusReasons`.
const REASONS: [&str; 5] = ["Evicted", "NodeAffinity", "NodeLost", "Shutdown", "UnexpectedAdmissionError"];

/// Collects what runs come to, and writes it at the end.
#[derive(Debug)]
pub struct Metrics<W> {
    writer: W,
    scenario: String,
    /// The pods that are there, by UID.
    pods: BTreeMap<String, Box<Pod>>,
    families: BTreeMap<&'static str, Family>,
}

/// The samples of one name.
#[derive(Debug)]
struct Family {
    help: &'static str,
    samples: Vec<String>,
}

impl<W: Write> Metrics<W> {
    /// Writes to this writer, once, when the last run is over.
    pub fn new(writer: W) -> Self {
        Self { writer, scenario: String::new(), pods: BTreeMap::new(), families: BTreeMap::new() }
    }

    fn add(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        let mut sample = format!("{name}{{scenario=\"{}\"", escaped(&self.scenario));
        for (label, text) in labels {
            // Writing to a string can not fail.
            let _ = write!(sample, ",{label}=\"{}\"", escaped(text));
        }
        let _ = write!(sample, "}} {value}");
        self.families
            .entry(name)
            .or_insert_with(|| Family { help, samples: Vec::new() })
            .samples
            .push(sample);
    }

    fn add_pod(&mut self, uid: &str, pod: &Pod) {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name) = (text(&pod.metadata.namespace), text(&pod.metadata.name));
        let of_pod = [("namespace", namespace.as_str()), ("pod", name.as_str()), ("uid", uid)];
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        let reason = status.and_then(|status| status.reason.as_deref());
        for known in PHASES {
            let labels = [of_pod.as_slice(), &[("phase", known)]].concat();
            let help = "The pods current phase.";
            self.add("kube_pod_status_phase", help, &labels, f64::from(u8::from(phase == known)));
        }
        for known in REASONS {
            let labels = [of_pod.as_slice(), &[("reason", known)]].concat();
            let help = "The pod status reasons";
            self.add("kube_pod_status_reason", help, &labels, f64::from(u8::from(reason == Some(known))));
        }
    }
}

impl<W: Write> Reporter for Metrics<W> {
    fn begin(&mut self, plan: &Plan) -> io::Result<()> {
        self.scenario.clone_from(&plan.name);
        self.pods.clear();
        Ok(())
    }

    fn observation(&mut self, observation: &Observation) -> io::Result<()> {
        match &observation.fact {
            Fact::Pod(pod) => {
                if let Some(uid) = &pod.metadata.uid {
                    self.pods.insert(uid.clone(), pod.clone());
                }
            }
            Fact::PodDeleted(pod) => {
                if let Some(uid) = &pod.metadata.uid {
                    self.pods.remove(uid);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> io::Result<()> {
        self.scenario.clone_from(&verdict.scenario);
        for (uid, pod) in std::mem::take(&mut self.pods) {
            self.add_pod(&uid, &pod);
        }
        for state in [State::Held, State::Violated, State::Unknown] {
            let count = verdict.findings.iter().filter(|finding| finding.state == state).count();
            let help = "What the expectations of a scenario came to.";
            self.add("plimsoll_findings", help, &[("state", state.word())], number(count));
        }
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        for pod in &verdict.pods {
            *ends.entry(pod.end.kind().name()).or_default() += 1;
        }
        for (end, count) in ends {
            self.add("plimsoll_pods", "How the pods of a run ended.", &[("end", end)], number(count));
        }
        if let (Some(started), Some(ended)) = (verdict.started, verdict.ended) {
            let seconds = ended.duration_since(started).as_secs_f64();
            let help = "From the first step of a run to its end.";
            self.add("plimsoll_run_seconds", help, &[], seconds);
        }
        Ok(())
    }

    fn could_not_run(&mut self, plan: &Plan, _why: &str) -> io::Result<()> {
        self.scenario.clone_from(&plan.name);
        self.pods.clear();
        self.add("plimsoll_not_run", "Scenarios whose cluster could not be started.", &[], 1.0);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        for (name, family) in &self.families {
            writeln!(self.writer, "# HELP {name} {}\n# TYPE {name} gauge", family.help)?;
            for sample in &family.samples {
                writeln!(self.writer, "{sample}")?;
            }
        }
        self.writer.flush()
    }
}

#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 of anything")]
fn number(count: usize) -> f64 {
    count as f64
}

/// A label's value as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
