//! Scenarios out of a few figures.

use plimsoll::model::{Assumptions, Prediction, Sequence, predict};
use plimsoll::plan::{Plan, lower};
use plimsoll::scenario::{Files, parse};

/// A workload: name, MiB requested, priority, MiB filled, MiB a second.
#[derive(Debug, Clone)]
pub struct Workload {
    pub name: &'static str,
    pub request: u32,
    pub priority: u32,
    pub amount: u32,
    pub rate: u32,
}

/// A scenario on one node, whose workloads start together and are watched for so many seconds.
pub fn scenario(
    memory: u32,
    threshold: u32,
    housekeeping: &str,
    workloads: &[Workload],
    seconds: u32,
) -> String {
    let mut text = format!(
        "apiVersion: plimsoll.dev/v1alpha1
kind: Scenario
metadata: {{name: made-up}}
spec:
  cluster:
    nodes:
    - name: worker
      memory: {memory}Mi
      nodefs: 512Mi
      {housekeeping}
      kubelet:
        evictionHard: {{memory.available: {threshold}Mi}}
        evictionMinimumReclaim: {{memory.available: 10Mi}}
        evictionPressureTransitionPeriod: 10s
        enforceNodeAllocatable: []
  workloads:
"
    );
    for Workload { name, request, priority, amount, rate } in workloads {
        let requests =
            if *request > 0 { format!("requests: {{memory: {request}Mi}}, ") } else { String::new() };
        text += &format!(
            "  - {{name: {name}, {requests}priority: {priority}, fill: {{memory: {{amount: {amount}Mi, rate: {rate}Mi/s}}}}}}\n"
        );
    }
    let names: Vec<&str> = workloads.iter().map(|workload| workload.name).collect();
    text += &format!("  steps:\n  - start: [{}]\n  - observe: {seconds}s\n", names.join(", "));
    text
}

/// A scenario on these nodes, whose workloads go through steps of which something is expected; each is a list in YAML, indented as
/// such.
pub fn course(nodes: &str, workloads: &str, steps: &str, expect: &str) -> String {
    format!(
        "apiVersion: plimsoll.dev/v1alpha1
kind: Scenario
metadata: {{name: made-up}}
spec:
  cluster:
    nodes:
{nodes}
  workloads:
{workloads}
  steps:
{steps}
  expect:
{expect}
"
    )
}

/// Nodes that are all alike, of 1Gi, as a list in YAML for [`course`].
pub fn nodes(names: &[&str]) -> String {
    let node = |name: &&str| {
        format!(
            "    - {{name: {name}, memory: 1Gi, nodefs: 512Mi, kubelet: {{evictionHard: {{memory.available: 100Mi}}}}}}"
        )
    };
    names.iter().map(node).collect::<Vec<_>>().join("\n")
}

/// What is predicted of a text in 25 phases.
#[track_caller]
pub fn predicted(text: &str) -> Prediction {
    predict(&certain_plan(text), &Assumptions::default(), 25).expect("a prediction")
}

/// The same of one that is modelled in full.
#[track_caller]
pub fn wholly_predicted(text: &str) -> Prediction {
    let prediction = predicted(text);
    assert!(prediction.omissions.is_empty(), "{:?}", prediction.omissions);
    prediction
}

/// All that is expected holds in every phase.
#[track_caller]
pub fn holds(prediction: &Prediction) {
    assert!(
        prediction.findings.iter().all(|own| own.held == prediction.phases),
        "{:#?}",
        prediction.findings
    );
}

/// The one way in which something goes: what happens, and between when and when.
#[track_caller]
pub fn only(sequences: &[Sequence]) -> Vec<(&str, f64, f64)> {
    assert_eq!(sequences.len(), 1, "{sequences:?}");
    sequences[0].departures.iter().map(|own| (own.what.as_str(), own.earliest, own.latest)).collect()
}

/// The plan of a text, if it is one.
pub fn plan(text: &str) -> Option<Plan> {
    let parsed = parse("made-up.yaml", text).ok()?;
    lower(&parsed.with_files(&Files::default())).ok().map(|lowered| lowered.plan)
}

/// The plan of a text that must be one.
#[track_caller]
pub fn certain_plan(text: &str) -> Plan {
    let parsed = parse("made-up.yaml", text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lower(&parsed.with_files(&Files::default())).unwrap_or_else(|error| panic!("{error}\n{text}")).plan
}
