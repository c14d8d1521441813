//! Whether the figures can show what the scenario says.
//!
//! Nothing here knows what the node's own daemons take or where the scheduler puts a pod, so every check is made with
//! the bound that favours the scenario: an error is said only where no run could go otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_eviction::duration::format_duration;

use super::cluster::Node;
use super::context::Findings;
use super::fills::{self, Who};
use super::names::Names;
use super::storage;
use super::workloads::bytes;
use crate::plan::{FillPlan, Form, Resource};
use crate::scenario::format::document::Spec;
use crate::scenario::format::expect::Expect;
use crate::scenario::format::step::{ConditionState, Step, Wait, WaitFor};
use crate::scenario::format::workload::Workload;
use crate::scenario::tree::Mark;
use crate::scenario::{Code, Located};

/// The most that a node's own daemons and their page cache are seen to take, with room to spare.
const MOST_OVERHEAD: u64 = 400 << 20;
/// The least that they take.
const LEAST_OVERHEAD: u64 = 80 << 20;
/// The kubelet looks so often. Upstream: `monitoringInterval` of the eviction manager.
const LOOK: Duration = Duration::from_secs(10);

/// Checks the figures against each other.
pub(super) fn check(spec: &Spec, names: &Names, nodes: &[Node], findings: &mut Findings) {
    check_requests(spec, nodes, findings);
    for workload in &spec.workloads {
        check_quality(workload, findings);
    }
    let filled = resources(spec);
    // Where something else is filled too, an eviction need not be for memory.
    let only = filled.iter().all(|resource| matches!(resource, Resource::Memory | Resource::Cpu));
    let pressure = wants_pressure(spec, only);
    let fills = filled.contains(&Resource::Memory);
    // What a manifest's pods take is their own affair, so nothing is certain beside them.
    let unknown = names.subjects().any(|(_, subject)| !subject.objects.is_empty() && subject.pods.count > 0);
    if pressure.is_some() && fills && !unknown {
        check_threshold(nodes, findings);
    }
    let mut course = Course { loads: Vec::new(), nodes, fastest: BTreeMap::new(), only };
    course.follow(spec, names, unknown, findings);
    if !unknown && !findings.incomplete {
        course.check_reach(spec, pressure, findings);
        storage::check(spec, nodes, &filled, findings);
    }
}

/// What anybody fills.
fn resources(spec: &Spec) -> Vec<Resource> {
    let of_workloads =
        spec.workloads.iter().filter_map(|workload| Some(workload.fill.as_ref()?.any().resource));
    let of_steps = spec.steps.iter().filter_map(|step| match &step.value {
        Step::Fill(fill) => Some(fill.fill()?.resource),
        _ => None,
    });
    of_workloads.chain(of_steps).collect()
}

/// Where the scenario says that memory must run low, if it does. Where nothing else is filled, an eviction that names no
/// resource is one for memory.
fn wants_pressure(spec: &Spec, only: bool) -> Option<Mark> {
    let Expect { evicted, reclaimed, conditions, message, within, .. } = &spec.expect.value;
    let of_memory = |name: &str| name == "memory.available" || name == "allocatableMemory.available";
    let first = |marks: &[Option<Mark>]| marks.iter().flatten().min().copied();
    first(&[
        evicted.as_ref().filter(|groups| only && !groups.is_empty()).map(|groups| groups.key),
        reclaimed
            .iter()
            .flat_map(|entries| entries.iter())
            .find(|(name, _)| of_memory(&name.value))
            .map(|(name, _)| name.mark),
        within
            .iter()
            .flat_map(|entries| entries.iter())
            .find(|(name, _)| of_memory(&name.value))
            .map(|(name, _)| name.mark),
        conditions
            .iter()
            .flat_map(|conditions| conditions.iter())
            .find(|entry| entry.condition.value == "MemoryPressure")
            .map(|entry| entry.mark),
        message
            .iter()
            .flat_map(|messages| messages.iter())
            .find(|message| message.resource.as_ref().map_or(only, |resource| resource.value == "memory"))
            .map(|message| message.mark),
    ])
}

/// Memory pressure needs a threshold of memory.
fn check_threshold(nodes: &[Node], findings: &mut Findings) {
    if nodes.iter().any(|node| node.thresholds.first_memory().is_some()) {
        return;
    }
    let Some(node) = nodes.first() else { return };
    findings.say_with_help(
        Code::E0018,
        node.thresholds.mark,
        "no node has a threshold of memory: the scenario fills memory, and nobody is ever evicted for it",
        "add `memory.available` to `evictionHard`; a map of thresholds replaces all of the kubelet's defaults",
    );
}

/// A pod that no node has room for stays Pending.
fn check_requests(spec: &Spec, nodes: &[Node], findings: &mut Findings) {
    for workload in &spec.workloads {
        let limit = workload.limits.iter().find(|(resource, _)| resource.value == "memory");
        let Some((resource, request)) =
            workload.requests.iter().find(|(resource, _)| resource.value == "memory").or(limit)
        else {
            continue;
        };
        let candidates = nodes
            .iter()
            .filter(|node| workload.node.as_ref().is_none_or(|name| name.value == node.plan.name));
        let Some(most) = candidates.map(allocatable).max() else { continue };
        if u64::try_from(request.value).is_ok_and(|request| request > most) {
            let message = format!(
                "a memory request of {}, and no node that it could go to has more than {} allocatable: it stays Pending",
                request.text,
                bytes(most)
            );
            let help = "allocatable is the node's memory less what is reserved and less the hard threshold";
            findings.say_with_help(Code::E0022, resource.mark, message, help);
        }
    }
}

/// What the scheduler counts with. Upstream: `containerManagerImpl.GetNodeAllocatableReservation`.
fn allocatable(node: &Node) -> u64 {
    let thresholds = &node.thresholds;
    node.plan
        .memory
        .saturating_sub(thresholds.reserved_memory)
        .saturating_sub(thresholds.hard_memory().unwrap_or(0))
}

/// A name that promises a class of service should keep it.
fn check_quality(workload: &Located<Workload>, findings: &mut Findings) {
    let has = |resource: &str| {
        let of = |list: &crate::scenario::Entries<crate::scenario::format::values::Amount>| {
            list.iter().find(|(name, _)| name.value == resource).map(|(_, amount)| amount.value)
        };
        (of(&workload.requests), of(&workload.limits))
    };
    let both = [has("cpu"), has("memory")];
    // Upstream: `qos.ComputePodQOS`.
    let class = if both.iter().all(|(request, limit)| request.is_none() && limit.is_none()) {
        "BestEffort"
    } else if both
        .iter()
        .all(|(request, limit)| limit.is_some() && request.is_none_or(|request| Some(request) == *limit))
    {
        "Guaranteed"
    } else {
        "Burstable"
    };
    let name: String = workload.name.0.chars().filter(|c| *c != '-').collect();
    for promised in ["BestEffort", "Guaranteed", "Burstable"] {
        if name.contains(&promised.to_lowercase()) && class != promised {
            let help = match promised {
                "Guaranteed" => {
                    "Guaranteed needs limits of cpu and memory, with requests the same or left out"
                }
                "BestEffort" => "BestEffort has neither requests nor limits",
                _ => "Burstable has a request or limit, but not all that Guaranteed needs",
            };
            findings.say_with_help(
                Code::W0009,
                workload.name.mark,
                format!("`{}` is called {promised}, and is {class}", workload.name.0),
                help,
            );
        }
    }
}

/// Something that takes memory.
#[derive(Clone)]
struct Load {
    /// The workload, or `None` for a process outside every pod.
    workload: Option<String>,
    /// The node, where it is certain.
    node: Option<String>,
    plan: FillPlan,
    pods: u64,
    /// Where its amount stands.
    mark: Mark,
    /// What the container may have at most.
    limit: Option<u64>,
    /// The most time that has passed since it started.
    elapsed: Duration,
    /// Whether a step waited for all of it.
    filled: bool,
}

impl Load {
    /// All that it can come to.
    fn whole(&self) -> u64 {
        self.plan.amount.min(self.limit.unwrap_or(u64::MAX)).saturating_mul(self.pods)
    }

    /// The most that it can have after a time.
    fn most_after(&self, time: Duration) -> u64 {
        let Some(rate) = self.plan.rate else { return self.whole() };
        let paced = u128::from(rate).saturating_mul(time.as_millis()) / 1000;
        let taken = self.plan.start_at.saturating_add(u64::try_from(paced).unwrap_or(u64::MAX));
        taken.saturating_mul(self.pods).min(self.whole())
    }

    /// What it takes before any pace.
    fn at_once(&self) -> u64 {
        let each = if self.plan.rate.is_some() { self.plan.start_at } else { self.plan.amount };
        each.saturating_mul(self.pods).min(self.whole())
    }

    /// Whether the kernel can not take it back.
    fn stays(&self) -> bool {
        !matches!(self.plan.form, Some(Form::PageCache | Form::ActivePageCache))
    }

    fn can_be_on(&self, node: &Node) -> bool {
        self.node.as_ref().is_none_or(|name| *name == node.plan.name)
    }

    fn is_on(&self, node: &Node) -> bool {
        self.node.as_ref() == Some(&node.plan.name)
    }
}

/// The steps, followed with a ledger of who holds how much.
struct Course<'a> {
    loads: Vec<Load>,
    nodes: &'a [Node],
    /// The largest load that was ever seen of each filler, for the final reckoning.
    fastest: BTreeMap<Option<String>, Load>,
    /// Whether nothing but memory is filled, so that every eviction is for it.
    only: bool,
}

impl Course<'_> {
    fn follow(&mut self, spec: &Spec, names: &Names, unknown: bool, findings: &mut Findings) {
        let kills_wanted = spec.expect.oom_kills.as_ref().is_some_and(|killed| !killed.value.0.is_empty());
        for step in &spec.steps {
            let (mut changed, mut passed) = (false, Duration::ZERO);
            match &step.value {
                Step::Start(written) | Step::Apply(written) => {
                    for name in &written.0 {
                        self.start(&name.value, spec, names);
                    }
                    changed = true;
                }
                Step::Delete(written) => {
                    self.loads.retain(|load| {
                        !written.0.iter().any(|name| Some(&name.value) == load.workload.as_ref())
                    });
                }
                Step::Observe(time) => passed = time.0,
                Step::Load(_)
                | Step::Node(_)
                | Step::ControlPlane(_)
                | Step::Zone(_)
                | Step::Gpu(_)
                | Step::Evict(_)
                | Step::Cordon(_)
                | Step::Uncordon(_)
                | Step::Drain(_)
                | Step::Taint(_)
                | Step::Untaint(_)
                | Step::DeletePods(_) => {}
                Step::Fill(fill) => {
                    self.fill(fill);
                    changed = true;
                }
                Step::Wait(wait) => {
                    let within = wait.within.as_ref().map_or(Duration::ZERO, |within| within.0);
                    if !unknown {
                        self.check_wait(wait, within, findings);
                    }
                    passed = within;
                }
            }
            if changed && !kills_wanted {
                self.check_pace(step.mark, findings);
            }
            for load in &mut self.loads {
                load.elapsed = load.elapsed.saturating_add(passed);
                if let Step::Wait(wait) = &step.value {
                    load.filled |= waits_for_whole(wait, load);
                }
            }
        }
    }

    fn only_node(&self) -> Option<String> {
        match self.nodes {
            [only] => Some(only.plan.name.clone()),
            _ => None,
        }
    }

    fn start(&mut self, name: &str, spec: &Spec, names: &Names) {
        let Some(workload) = names.subject(name).and_then(|subject| spec.workloads.get(subject.workload?))
        else {
            return;
        };
        let Some(fill) = workload.fill.as_ref().map(|fill| fill.any()) else { return };
        if fill.resource != Resource::Memory {
            return;
        }
        let limit = workload.limits.iter().find(|(resource, _)| resource.value == "memory");
        let load = Load {
            workload: Some(name.to_owned()),
            node: workload.node.as_ref().map(|node| node.value.clone()).or_else(|| self.only_node()),
            plan: fills::plan(&fill, Who::Pod),
            pods: workload.replicas.as_ref().map_or(1, |replicas| u64::from(replicas.0)),
            mark: fill.amount.mark,
            limit: limit.and_then(|(_, limit)| u64::try_from(limit.value).ok()),
            elapsed: Duration::ZERO,
            filled: false,
        };
        self.take(load);
    }

    fn fill(&mut self, fill: &crate::scenario::format::step::FillStep) {
        let Some(written) = fill.fill().filter(|fill| fill.resource == Resource::Memory) else { return };
        let plan = fills::plan(&written, Who::Node);
        let mark = written.amount.mark;
        let fresh = match &fill.workload {
            Some(name) => {
                let Some(before) = self.loads.iter().find(|load| load.workload.as_ref() == Some(&name.value))
                else {
                    return;
                };
                Load { plan, mark, elapsed: Duration::ZERO, filled: false, ..before.clone() }
            }
            None => Load {
                workload: None,
                node: fill.node.as_ref().map(|node| node.value.clone()),
                plan,
                pods: 1,
                mark,
                limit: None,
                elapsed: Duration::ZERO,
                filled: false,
            },
        };
        self.take(fresh);
    }

    fn take(&mut self, load: Load) {
        let key = load.workload.clone().or_else(|| load.node.as_ref().map(|node| format!("node {node}")));
        let larger = self.fastest.get(&key).is_none_or(|seen| load.whole() > seen.whole());
        if larger {
            self.fastest.insert(key, load.clone());
        }
        self.loads.retain(|seen| {
            seen.workload != load.workload || (seen.workload.is_none() && seen.node != load.node)
        });
        self.loads.push(load);
    }

    /// A filler must leave the kubelet the time to look.
    fn check_pace(&self, step: Mark, findings: &mut Findings) {
        for node in self.nodes {
            let Some(threshold) = node.thresholds.hard_memory() else { continue };
            let here: Vec<&Load> =
                self.loads.iter().filter(|load| load.is_on(node) && load.stays()).collect();
            let Some(last) = here.last() else { continue };
            // Only what this step brought is looked at; what was there before was looked at then.
            if last.elapsed != Duration::ZERO || last.mark.line < step.line && last.workload.is_none() {
                continue;
            }
            let whole: u64 = here.iter().fold(LEAST_OVERHEAD, |sum, load| sum.saturating_add(load.whole()));
            if whole <= node.plan.memory {
                continue;
            }
            let at_once = here.iter().fold(LEAST_OVERHEAD, |sum, load| {
                sum.saturating_add(if load.filled { load.whole() } else { load.at_once() })
            });
            if at_once > node.plan.memory {
                let message = format!(
                    "takes the node's {} at once: the kernel kills before the kubelet looks, every {}",
                    bytes(node.plan.memory),
                    format_duration(LOOK)
                );
                findings.say_with_help(
                    Code::W0001,
                    last.mark,
                    message,
                    "add a `rate`, or expect it: `oomKills: [name]`",
                );
                continue;
            }
            let rate = here.iter().filter(|load| !load.filled).fold(0, |sum: u64, load| {
                sum.saturating_add(load.plan.rate.unwrap_or(0).saturating_mul(load.pods))
            });
            if rate.saturating_mul(LOOK.as_secs()) > threshold {
                let message = format!(
                    "at {}/s it takes {} between two looks of the kubelet, more than the threshold of {}: the kernel may kill first",
                    bytes(rate),
                    bytes(rate.saturating_mul(LOOK.as_secs())),
                    bytes(threshold)
                );
                let slow = (threshold / (LOOK.as_secs() + 3)) >> 20;
                let help = format!(
                    "{}Mi/s or less leaves it time; or expect the kill: `oomKills: [name]`",
                    slow.max(1)
                );
                findings.say_with_help(Code::W0001, last.mark, message, help);
            }
        }
    }

    /// What a wait waits for must be able to come in its time.
    fn check_wait(&self, wait: &Wait, within: Duration, findings: &mut Findings) {
        let Some(bound) = &wait.within else { return };
        if wait.until.value == WaitFor::Filled {
            for load in self.loads.iter().filter(|load| waits_for_whole(wait, load)) {
                let each = load.plan.amount;
                let Some(rate) = load.plan.rate else { continue };
                let needed = Duration::from_secs(each.saturating_sub(load.plan.start_at) / rate.max(1));
                if needed > load.elapsed.saturating_add(within) {
                    let message = format!(
                        "{} takes {} to fill: this wait runs out before",
                        load.workload.as_deref().unwrap_or("the node"),
                        format_duration(needed)
                    );
                    findings.say_with_help(
                        Code::W0004,
                        bound.mark,
                        message,
                        "give it more time, or fill faster",
                    );
                }
            }
            return;
        }
        let raised = wait.until.value == WaitFor::Condition
            && wait.state.as_ref().is_none_or(|state| state.value == ConditionState::Raised)
            && wait.condition.as_ref().is_some_and(|condition| condition.value == "MemoryPressure");
        if !raised && (wait.until.value != WaitFor::Evictions || !self.only) {
            return;
        }
        let reachable = self.nodes.iter().any(|node| {
            let Some(line) = crossing(node) else { return false };
            let most =
                self.loads.iter().filter(|load| load.can_be_on(node)).fold(MOST_OVERHEAD, |sum, load| {
                    sum.saturating_add(load.most_after(load.elapsed.saturating_add(within)))
                });
            most > line
        });
        // Where it is never reached at all, that is said once and for all elsewhere.
        let ever =
            self.nodes.iter().any(|node| crossing(node).is_some_and(|line| self.everything(node) > line));
        if !reachable && ever {
            let message =
                format!("nothing that was started reaches the threshold within {}", format_duration(within));
            findings.say_with_help(
                Code::W0004,
                bound.mark,
                message,
                "give it more time, fill faster, or raise `startAt`",
            );
        }
    }

    /// The most that a node can ever have in use.
    fn everything(&self, node: &Node) -> u64 {
        self.fastest
            .values()
            .filter(|load| load.can_be_on(node))
            .fold(MOST_OVERHEAD, |sum, load| sum.saturating_add(load.whole()))
    }

    /// What is expected must be within reach of all that is filled.
    fn check_reach(&self, spec: &Spec, pressure: Option<Mark>, findings: &mut Findings) {
        let Some(largest) = self.fastest.values().max_by_key(|load| load.whole()) else {
            if let Some(mark) = pressure {
                findings.say_with_help(
                    Code::E0017,
                    mark,
                    "memory must run low for this, and nothing that is started fills any",
                    "give a workload `fill: {memory: {amount: 1Gi, rate: 15Mi/s}}`, or add a `fill` step",
                );
            }
            return;
        };
        let thresholds = self.nodes.iter().any(|node| crossing(node).is_some());
        let reached =
            self.nodes.iter().any(|node| crossing(node).is_some_and(|line| self.everything(node) > line));
        if let (Some(_), true, false) = (pressure, thresholds, reached) {
            let node = self.nodes.iter().max_by_key(|node| self.everything(node));
            let Some((node, line)) = node.and_then(|node| Some((node, crossing(node)?))) else { return };
            let message = format!(
                "cannot reach the threshold: all fills on `{}` come to {}, its daemons take some {} at most, and the threshold is crossed at {}",
                node.plan.name,
                bytes(self.everything(node).saturating_sub(MOST_OVERHEAD)),
                bytes(MOST_OVERHEAD),
                bytes(line)
            );
            findings.say_with_help(
                Code::E0017,
                largest.mark,
                message,
                "fill more, raise the threshold, or make the node smaller",
            );
        }
        self.check_kills(spec, findings);
    }

    /// A kernel kills for memory where a node or a container has none left.
    fn check_kills(&self, spec: &Spec, findings: &mut Findings) {
        let Some(killed) = spec.expect.oom_kills.as_ref().filter(|killed| !killed.value.0.is_empty()) else {
            return;
        };
        let node_full = self.nodes.iter().any(|node| self.everything(node) > node.plan.memory);
        let pods_full = self.nodes.iter().any(|node| {
            node.thresholds.enforces_pods
                && self.everything(node) > node.plan.memory.saturating_sub(node.thresholds.reserved_memory)
        });
        // The filler itself takes a little beside the fill.
        let slack = 16 << 20;
        let container_full = self
            .fastest
            .values()
            .any(|load| load.limit.is_some_and(|limit| load.plan.amount.saturating_add(slack) > limit));
        if !node_full && !pods_full && !container_full {
            findings.say(
                Code::E0017,
                killed.key,
                "nothing fills a node or a container: the kernel has no reason to kill anybody",
            );
        }
    }
}

/// Whether a wait waits until this has its whole amount.
fn waits_for_whole(wait: &Wait, load: &Load) -> bool {
    let Some(workload) = &load.workload else { return false };
    wait.until.value == WaitFor::Filled
        && wait.pods.as_ref().is_none_or(|pods| pods.value.0.iter().any(|name| name.value == *workload))
}

/// The use of memory above which a node's kubelet begins to act, on itself or on its pods together.
fn crossing(node: &Node) -> Option<u64> {
    let of_node = node.thresholds.first_memory().map(|threshold| node.plan.memory.saturating_sub(threshold));
    let of_pods = node.thresholds.hard_memory().filter(|_| node.thresholds.enforces_pods).map(|threshold| {
        node.plan.memory.saturating_sub(threshold).saturating_sub(node.thresholds.reserved_memory)
    });
    of_node.into_iter().chain(of_pods).min()
}
