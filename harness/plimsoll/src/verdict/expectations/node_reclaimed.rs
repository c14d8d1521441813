//! `nodeReclaimed`: what the kubelet removed from a node to get space back: images that nothing uses, and containers that
//! had ended. The container runtime's own events show it.
//!
//! The kubelet does so before it evicts anybody (upstream: `managerImpl.reclaimNodeLevelResources`). So a least number counts what
//! was removed from the crossing of a threshold of disk space or inodes until the first eviction for one; what is removed after
//! it may be clean-up of the pod that went. A most number counts everything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use plimsoll_eviction::signal::{Signal, StarvedResource};
use plimsoll_node::report::{RuntimeEvent, RuntimeObject};

use super::super::case::{Case, Reason};
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::ends::container_statuses;
use super::super::history::{PodHistory, Seen};
use super::super::model::Evidence;
use super::super::words;
use crate::plan::{Action, Band, NodeReclaimedExpectation};

/// How the kubelet writes which runtime a container is of.
const SCHEME: &str = "containerd://";

/// What was removed from a node while its steps were taken.
pub(crate) struct Removed {
    /// Images that nothing used, by their full names.
    pub(crate) images: BTreeMap<String, Evidence>,
    /// Containers that had ended: the pod's workload or name, by the container's identifier.
    pub(crate) containers: BTreeMap<String, (String, Evidence)>,
}

impl Removed {
    /// What a node's container runtime tells.
    pub(crate) fn of(context: &Context<'_>, node: &str) -> Self {
        let ballast = ballast(context, node);
        let mut removed = Self { images: BTreeMap::new(), containers: BTreeMap::new() };
        let began = context.history.began();
        for event in events(context, node).filter(|event| !event.value.added && event.at() >= began) {
            let name = event.value.name.as_str();
            match event.value.what {
                RuntimeObject::Image if ballast.contains(name) => {
                    removed.images.insert(name.to_owned(), event.evidence());
                }
                RuntimeObject::Container => {
                    let pods = context.history.pods.iter().zip(&context.ends);
                    let ended = |pod: &PodHistory<'_>| had_ended(pod, name) && is_there(pod, event.at());
                    if let Some((_, end)) = pods.into_iter().find(|(pod, _)| ended(pod)) {
                        removed
                            .containers
                            .insert(name.to_owned(), (end.called().to_owned(), event.evidence()));
                    }
                }
                RuntimeObject::Image => {}
            }
        }
        removed
    }
}

pub(super) fn judge(context: &Context<'_>, expected: &NodeReclaimedExpectation, case: &mut Case) {
    let node = expected.node.as_str();
    let history = &context.history;
    let removed = Removed::of(context, node);
    let turn = Turn::of(context, node);
    // A runtime that says nothing at all was not heard: the pods that ran made containers.
    if events(context, node).next().is_none() {
        case.doubt(format!("the container runtime of {node} was not heard"), []);
    }
    let blind = || -> Vec<Reason> {
        let mut doubts = history.run_doubts();
        doubts.extend(history.blind(Source::Runtime(node), history.began(), history.ended()));
        doubts.extend(history.script_doubts(context.plan, |_| false));
        if turn.is_none() {
            doubts.extend(history.unsampled(node, history.began(), history.ended()));
        }
        doubts
    };
    if let Some(band) = &expected.images {
        let images = removed.images.iter().map(|(name, evidence)| (short(name), evidence.clone())).collect();
        count("image", images, turn.as_ref(), band, &blind, case);
    }
    if let Some(band) = &expected.containers {
        let of = |(whose, evidence): &(String, Evidence)| (format!("of {whose}"), evidence.clone());
        let containers = removed.containers.values().map(of).collect();
        count("ended container", containers, turn.as_ref(), band, &blind, case);
    }
    for name in &expected.kept {
        if let Some(evidence) = removed.images.get(name) {
            case.violated(
                format!("{} was removed and should have been kept", short(name)),
                [evidence.clone()],
            );
            continue;
        }
        let added = events(context, node).find(|event| {
            event.value.added && event.value.what == RuntimeObject::Image && event.value.name == *name
        });
        match added {
            Some(added) => {
                case.proven(format!("{} was there to the end", short(name)), [added.evidence()]);
            }
            None => case.doubt(format!("{} was never seen on {node}", short(name)), []),
        }
        case.doubts(history.blind(Source::Runtime(node), history.began(), history.ended()));
        case.doubts(history.run_doubts());
    }
}

/// When it was the node's turn to give something back, before any pod's.
struct Turn {
    /// The last moment at which no threshold was known to be crossed.
    from: Timestamp,
    /// The first eviction for the disk, or the end of the run.
    until: Timestamp,
    /// The pod that was evicted.
    evicted: Option<String>,
}

impl Turn {
    /// Absent where no sample shows that a threshold of disk space or inodes was crossed.
    fn of(context: &Context<'_>, node: &str) -> Option<Self> {
        let history = &context.history;
        let (began, ended) = (history.began(), history.ended());
        let is_disk = |resource: &str| {
            [StarvedResource::EphemeralStorage, StarvedResource::Inodes]
                .iter()
                .any(|disk| disk.name() == resource)
        };
        let crossings =
            Signal::ALL.into_iter().filter(|signal| is_disk(signal.resource().name())).filter_map(|signal| {
                let highest = context.thresholds(node, signal).first()?.value;
                let first = history.levels(node, signal, began, ended).find(|(_, level)| *level < highest)?.0;
                let before = history.levels(node, signal, began, first.at()).rev().nth(1);
                Some(before.map_or(began, |(sample, _)| sample.at()))
            });
        let from = crossings.min()?;
        let evictions = context.evictions();
        let first = evictions.iter().find(|eviction| {
            eviction.node() == node
                && eviction.what.resource.as_deref().is_none_or(is_disk)
                && eviction.decided.latest >= from
        });
        Some(Self {
            from,
            until: first.map_or(ended, |eviction| eviction.decided.latest),
            evicted: first.map(|eviction| eviction.pod.called().to_owned()),
        })
    }

    fn holds(&self, at: Timestamp) -> bool {
        (self.from..=self.until).contains(&at)
    }
}

/// Judges a count: too many is a violation, too few is one only where everything could be seen.
fn count(
    what: &str,
    removed: Vec<(String, Evidence)>,
    turn: Option<&Turn>,
    band: &Band,
    doubts: &dyn Fn() -> Vec<Reason>,
    case: &mut Case,
) {
    let told = |removed: &[(String, Evidence)]| {
        let which: BTreeSet<&str> = removed.iter().map(|(which, _)| which.as_str()).collect();
        let which = if which.is_empty() { String::new() } else { format!(" ({})", words::list(which)) };
        let were = if removed.len() == 1 { "was" } else { "were" };
        format!("{} {were} removed{which}", words::count(removed.len(), what))
    };
    let number = |removed: &[(String, Evidence)]| i64::try_from(removed.len()).unwrap_or(i64::MAX);
    let evidence = |removed: &[(String, Evidence)]| {
        removed.iter().map(|(_, evidence)| evidence.clone()).collect::<Vec<_>>()
    };
    let expected = words::band("pid", band);
    if band.at_most.is_some_and(|most| number(&removed) > most) {
        case.violated(format!("{}; expected {expected}", told(&removed)), evidence(&removed));
        return;
    }
    if let Some(least) = band.at_least {
        let in_turn = |(_, evidence): &&(String, Evidence)| turn.is_some_and(|turn| turn.holds(evidence.at));
        let (early, late): (Vec<_>, Vec<_>) = removed.iter().cloned().partition(|removed| in_turn(&removed));
        let when = match turn {
            None => "while no threshold of the disk was seen to be crossed".to_owned(),
            Some(Turn { evicted: Some(pod), .. }) => {
                format!("from the crossing of the threshold until {pod} was evicted")
            }
            Some(Turn { evicted: None, .. }) => "from the crossing of the threshold on".to_owned(),
        };
        let mut text = format!("{} {when}", told(&early));
        if number(&early) >= least {
            case.proven(text, evidence(&early));
        } else {
            text.push_str(&format!("; expected {expected}"));
            if !late.is_empty() {
                text.push_str(&format!("; at other times {}", told(&late)));
            }
            case.absent(text, evidence(&removed), doubts());
        }
    } else {
        case.proven(told(&removed), evidence(&removed));
    }
    // That there were no more of them is known only where everything could be seen.
    if band.at_most.is_some() {
        case.doubts(doubts());
    }
}

fn events<'c, 'a>(
    context: &'c Context<'a>,
    node: &'c str,
) -> impl Iterator<Item = Seen<'a, RuntimeEvent>> + 'c {
    context.history.runtime.get(node).into_iter().flatten().copied()
}

/// The images of a node that nothing uses.
fn ballast<'c>(context: &'c Context<'_>, node: &str) -> BTreeSet<&'c str> {
    let of_node = context.plan.nodes.iter().filter(|plan| plan.name == node).flat_map(|plan| &plan.images);
    let loaded = context.plan.steps.iter().filter_map(|step| match &step.action {
        Action::Load { node: loaded, images } if loaded == node => Some(images),
        _ => None,
    });
    of_node.chain(loaded.flatten()).map(|image| image.name.as_str()).collect()
}

fn short(name: &str) -> String {
    name.trim_start_matches("docker.io/plimsoll/").trim_end_matches(":1").to_owned()
}

/// Whether a container is one of this pod that ended, by the pod's status.
fn had_ended(pod: &PodHistory<'_>, container: &str) -> bool {
    pod.all_versions().any(|version| {
        container_statuses(version.value).any(|status| {
            let states = [status.state.as_ref(), status.last_state.as_ref()];
            let mut ended = states
                .into_iter()
                .flatten()
                .filter_map(|state| state.terminated.as_ref()?.container_id.as_deref());
            ended.any(|id| id.strip_prefix(SCHEME) == Some(container))
        })
    })
}

/// Whether nobody had asked for the pod's deletion by then, which removes its containers too.
fn is_there(pod: &PodHistory<'_>, at: Timestamp) -> bool {
    let marked = pod.all_versions().find(|version| version.value.metadata.deletion_timestamp.is_some());
    [marked.map(|version| version.at()), pod.deleted.map(|deleted| deleted.at())]
        .into_iter()
        .flatten()
        .all(|deleted| deleted > at)
}
