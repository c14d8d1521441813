//! `slowed`: how much longer a bystander's work took while another workload held its GPU memory.

use jiff::Timestamp;

use super::super::case::Case;
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::history::evidence;
use super::super::words;
use crate::observe::{Fact, Observation};
use crate::plan::{SlowedExpectation, Until};

/// How many reports of the bystander there must be, before and beside: of fewer one could be all that was odd.
const FEWEST: usize = 2;
/// What is slower by less than this, in seconds, may be the machine's processors.
const NOT_COUNTED: f64 = 0.005;

pub(super) fn judge(context: &Context<'_>, expected: &SlowedExpectation, case: &mut Case) {
    let history = &context.history;
    case.doubts(history.run_doubts());
    case.doubts(history.blind(Source::Pods, history.began(), history.ended()));
    let SlowedExpectation { workload, by, at_least, at_most } = expected;
    let doubts = || {
        history.absence_doubts(context.plan, |until| matches!(until, Until::Filled(_) | Until::Running(_)))
    };
    let others = reports(context, by);
    // From the first that it holds all to the last that it said, it held: what it gives back it says.
    let held = others.iter().find(|own| own.fact_kind() == Some("held")).map(|own| own.0.at);
    let until = others.last().map(|own| own.0.at);
    let (Some(first), Some(held), Some(until)) = (others.first().map(|own| own.0.at), held, until) else {
        case.absent(format!("{by} never held its GPU memory"), [], doubts());
        return;
    };
    // A filler that goes on to hold says nothing until it ends or the run does.
    let until = if others.last().is_some_and(|own| own.fact_kind() == Some("held")) {
        history.ended()
    } else {
        until
    };
    let work = reports(context, workload);
    let before = medians(&work, |from, to| to <= first && from < first);
    let beside = medians(&work, |from, to| from >= held && to <= until);
    let (Some(alone), Some(beside_median)) = (middle(&before), middle(&beside)) else {
        let text = format!(
            "{workload} told of its work {} before {by} started and {} while it held its memory; {FEWEST} are needed of each",
            words::count(before.len(), "time"),
            words::count(beside.len(), "time"),
        );
        case.doubt(text, []);
        return;
    };
    let times = beside_median / alone;
    let text = format!(
        "a round of {workload} took {} before {by} started and {} while it held its memory, {times:.2} times as long",
        milliseconds(alone),
        milliseconds(beside_median),
    );
    let shown = work.iter().map(|own| evidence(own.0)).chain(others.iter().map(|own| evidence(own.0)));
    let too_slow = at_most.is_some_and(|most| times > most && beside_median - alone > NOT_COUNTED);
    let too_fast = at_least.is_some_and(|least| times < least);
    if too_slow || too_fast {
        case.violated(format!("{text}; expected {}", words::times(expected)), shown);
    } else {
        case.proven(text, shown);
    }
}

/// A report of a filler or bystander.
struct Told<'a>(&'a Observation, &'a serde_json::Value);

impl Told<'_> {
    fn fact_kind(&self) -> Option<&str> {
        self.1.get("kind")?.as_str()
    }
}

/// What the pods of a workload reported, in order.
fn reports<'a>(context: &Context<'a>, workload: &str) -> Vec<Told<'a>> {
    let pods: Vec<&str> = context.pods_of(workload).map(|(history, _)| history.name).collect();
    let of_pod = |observation: &'a Observation| match &observation.fact {
        Fact::Filler { name, in_pod: true, report } if pods.contains(&name.as_str()) => {
            Some(Told(observation, report))
        }
        _ => None,
    };
    context.history.observations.iter().filter_map(of_pod).collect()
}

/// The medians of the stretches between two reports of a bystander that lie where they have to.
fn medians(work: &[Told<'_>], lies: impl Fn(Timestamp, Timestamp) -> bool) -> Vec<f64> {
    let stretch = |pair: &[Told<'_>]| {
        let [before, after] = pair else { return None };
        // The last report tells of the whole run.
        let is_one = after.fact_kind() == Some("bystander") && lies(before.0.at, after.0.at);
        let median = || after.1.get("latency")?.get("median")?.as_f64();
        if is_one { median() } else { None }
    };
    let mut medians: Vec<f64> = work.windows(2).filter_map(stretch).collect();
    medians.sort_by(f64::total_cmp);
    medians
}

/// The middle one, of enough.
fn middle(medians: &[f64]) -> Option<f64> {
    medians.get(medians.len() / 2).copied().filter(|median| medians.len() >= FEWEST && *median > 0.0)
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}
