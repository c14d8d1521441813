//! `replaced`: a controller made a successor of a pod that had to go; where it went, whether it runs, how often it came back.

use std::collections::BTreeSet;

use super::super::bounds::Bounds;
use super::super::case::Case;
use super::super::context::Context;
use super::super::ends::{PodEnd, phase};
use super::super::model::{End, Evidence};
use super::super::outcome::end_words;
use super::super::words;
use crate::plan::{Band, Lasting, ReplacedExpectation, ReplacedOn, Until};

/// A pod and the one that it stands in for.
struct Succession<'c> {
    before: &'c PodEnd,
    after: &'c PodEnd,
}

impl Succession<'_> {
    fn same_node(&self) -> bool {
        self.after.node.is_some() && self.after.node == self.before.node
    }
}

pub(super) fn judge(context: &Context<'_>, expected: &ReplacedExpectation, case: &mut Case) {
    let of_waits = |until: &Until| {
        matches!(until, Until::Evictions(_) | Until::Gone(_) | Until::Terminating(_) | Until::Drained { .. })
    };
    let workload = expected.workload.as_str();
    let pods: Vec<&PodEnd> = context.pods_of(workload).map(|(_, pod)| pod).collect();
    if pods.iter().all(|pod| pod.end.is_open() || pod.end == End::Completed) {
        let doubts = context.history.absence_doubts(context.plan, of_waits);
        let (what, evidence) = context.instead(workload);
        case.absent(
            format!("no pod of {workload} had to go, so none was replaced: {what}"),
            evidence,
            doubts,
        );
        return;
    }
    let successions = successions(context, &pods);
    let evidence = || {
        successions.iter().flat_map(|pair| pair.before.evidence.iter().chain(&pair.after.evidence)).cloned()
    };
    case.doubts(context.history.completeness_doubts());
    if successions.is_empty() && expected.times.at_most != Some(0) {
        let doubts = context.history.absence_doubts(context.plan, |_| false);
        case.absent(format!("no successor of {workload} appeared"), context.instead(workload).1, doubts);
    }
    let number = words::count(successions.len(), "successor");
    let owners: BTreeSet<&str> = successions.iter().filter_map(|pair| owner(context, pair.after)).collect();
    let of_owners = if owners.is_empty() { String::new() } else { format!(" of {}", words::list(owners)) };
    let times = format!("{workload} had {number}{of_owners}");
    count(context, &times, successions.len(), &expected.times, evidence().collect(), case);
    let loops = loops(context, &pods);
    let text = format!(
        "a successor came back to the same node and went the same way {}",
        words::count(loops.len(), "time")
    );
    count(context, &text, loops.len(), &expected.loops, evidence().collect(), case);
    if let Some(period) = &expected.loop_period {
        if loops.is_empty() {
            let text =
                format!("no pod of {workload} came back and went the same way, so no period can be told");
            case.absent(text, evidence(), context.history.absence_doubts(context.plan, of_waits));
        }
        for pair in &loops {
            judge_period(context, period, pair, case);
        }
    }
    if let Some(within) = &expected.running_within {
        for pair in &successions {
            judge_running_within(context, within, pair, case);
        }
    }
    let Some(last) = successions.last() else { return };
    if let Some(on) = &expected.on {
        for pair in &successions {
            judge_place(context, on, pair, std::ptr::eq(pair, last), case);
        }
    }
    if let Some(reason) = &expected.reason {
        judge_reason(context, reason, last.after, case);
    }
    if let Some(running) = expected.running {
        judge_running(context, last.after, running, case);
    }
}

/// Who made a pod: the kind of its controller.
fn owner<'c>(context: &'c Context<'_>, pod: &PodEnd) -> Option<&'c str> {
    let history = context.history.pods.iter().find(|history| history.uid == pod.uid)?;
    let mut owners = history.last()?.value.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.kind.as_str())
}

/// Judges a count: too many is a violation, too few is one only where everything could be seen.
fn count(
    context: &Context<'_>,
    text: &str,
    number: usize,
    band: &Band,
    evidence: Vec<Evidence>,
    case: &mut Case,
) {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let expected = format!("{text}; expected {}", words::band("pid", band));
    if band.holds(number) {
        case.proven(text, evidence);
    } else if band.at_most.is_some_and(|most| number > most) {
        case.violated(expected, evidence);
    } else {
        case.absent(expected, evidence, context.history.absence_doubts(context.plan, |_| false));
    }
}

/// Which pod stands in for which: the pods that appeared after the first eviction, each for the earliest pod that had
/// gone by then and has no successor yet.
fn successions<'c>(context: &'c Context<'_>, pods: &[&'c PodEnd]) -> Vec<Succession<'c>> {
    let gone = |pod: &PodEnd| pod.decided.map(|decided| decided.sequence);
    let mut before: Vec<&PodEnd> = pods.iter().copied().filter(|pod| gone(pod).is_some()).collect();
    before.sort_by_key(|pod| gone(pod));
    let mut before = before.into_iter().peekable();
    let mut successions = Vec::new();
    for after in pods {
        let Some(at) = appeared(context, after) else { continue };
        if let Some(before) =
            before.next_if(|before| before.uid != after.uid && gone(before).is_some_and(|gone| gone < at))
        {
            successions.push(Succession { before, after });
        }
    }
    successions
}

/// Where in the timeline a pod was seen for the first time.
fn appeared(context: &Context<'_>, pod: &PodEnd) -> Option<u64> {
    let history = context.history.pods.iter().find(|history| history.uid == pod.uid)?;
    history.all_versions().next().map(|version| version.sequence())
}

/// The pods that had to go from the node that an earlier one had to go from, in the same way, and that came after that one had
/// been told to: two that were there together go together, and neither came back. What the kubelet refused in between never ran there.
fn loops<'c>(context: &Context<'_>, pods: &[&'c PodEnd]) -> Vec<Succession<'c>> {
    let had_to_go = |end: &End| {
        !end.is_open()
            && !matches!(end, End::RejectedAtAdmission { .. } | End::Completed | End::Failed { .. })
    };
    let mut gone: Vec<&PodEnd> = pods.iter().copied().filter(|pod| had_to_go(&pod.end)).collect();
    gone.sort_by_key(|pod| pod.decided.map(|decided| decided.sequence));
    let mut loops = Vec::new();
    for (index, after) in gone.iter().enumerate() {
        let earlier = gone[..index].iter().rev().map(|before| Succession { before, after });
        loops.extend(earlier.into_iter().find(|pair| {
            let came_after = pair.before.decided.zip(appeared(context, pair.after));
            came_after.is_some_and(|(decided, appeared)| decided.sequence < appeared)
                && pair.same_node()
                && pair.after.end.is_like(&pair.before.end)
        }));
    }
    loops
}

fn judge_place(context: &Context<'_>, on: &ReplacedOn, pair: &Succession<'_>, last: bool, case: &mut Case) {
    let (name, node) = (&pair.after.name, pair.after.node.as_deref());
    let evidence = || -> Vec<Evidence> { pair.after.evidence.clone() };
    let went = node.map_or_else(|| "nowhere".to_owned(), |node| format!("to {node}"));
    let came_from = pair.before.node.as_deref().unwrap_or("an unknown node");
    let (right, wanted) = match on {
        ReplacedOn::Same => (pair.same_node(), format!("the same node, {came_from}")),
        ReplacedOn::Other => (node.is_some() && !pair.same_node(), format!("another node than {came_from}")),
        ReplacedOn::Node(wanted) => (node == Some(wanted.as_str()), format!("node {wanted}")),
        // Only the last one can stay where it is; those before it went somewhere, or none would have followed.
        ReplacedOn::Nowhere => (node.is_none() || !last, "nowhere".to_owned()),
    };
    if right {
        case.proven(format!("{name} went {went}"), evidence());
    } else if node.is_none() {
        let doubts = context.history.run_doubts();
        case.absent(
            format!("{name} went nowhere ({}), and not to {wanted}", end_words(&pair.after.end)),
            evidence(),
            doubts,
        );
    } else {
        case.violated(format!("{name} went {went}, and not to {wanted}"), evidence());
    }
}

/// How long after its predecessor a pod went the same way.
fn judge_period(context: &Context<'_>, period: &Lasting, pair: &Succession<'_>, case: &mut Case) {
    let (Some(before), Some(after)) = (pair.before.decided, pair.after.decided) else { return };
    let evidence = pair.before.evidence.iter().chain(&pair.after.evidence).cloned();
    let what = format!("{} after {}", pair.after.name, pair.before.name);
    Bounds::between(&context.history, before, after).judge(&what, period, evidence, case);
}

/// How long after the decision on a pod its successor ran.
fn judge_running_within(context: &Context<'_>, within: &Lasting, pair: &Succession<'_>, case: &mut Case) {
    let Some(decided) = pair.before.decided else { return };
    let history = context.history.pods.iter().find(|history| history.uid == pair.after.uid);
    let running = history
        .and_then(|history| history.versions.iter().find(|version| phase(version.value) == Some("Running")));
    match running {
        Some(running) => {
            let evidence = [context.history.evidence_at(decided.sequence), Some(running.evidence())];
            let what = format!("{} runs after {} had to go", pair.after.name, pair.before.name);
            let took = Bounds::between(&context.history, decided, running.moment());
            took.judge(&what, within, evidence.into_iter().flatten(), case);
        }
        None => {
            let text = format!("{} never ran: {}", pair.after.name, end_words(&pair.after.end));
            let doubts = context.history.completeness_doubts();
            case.absent(text, pair.after.evidence.clone(), doubts);
        }
    }
}

/// What the scheduler says of a successor that it can not place.
fn judge_reason(context: &Context<'_>, reason: &str, last: &PodEnd, case: &mut Case) {
    let text = format!("{}: {}", last.name, end_words(&last.end));
    match &last.end {
        End::Pending { reason: said } if said.contains(reason) => case.proven(text, last.evidence.clone()),
        _ => {
            let doubts = context.history.completeness_doubts();
            case.absent(format!("{text}; expected `{reason}`"), last.evidence.clone(), doubts);
        }
    }
}

fn judge_running(context: &Context<'_>, last: &PodEnd, running: bool, case: &mut Case) {
    let text = format!("the last successor, {}: {}", last.name, end_words(&last.end));
    if (last.end == End::Running) == running {
        case.proven(text, last.evidence.clone());
    } else {
        case.absent(text, last.evidence.clone(), context.history.completeness_doubts());
    }
}
