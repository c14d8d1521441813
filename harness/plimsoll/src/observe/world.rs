//! What is so now: the timeline folded to its last state. Pure; it decides when a wait is over.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, Pod};

use super::Fact;
use crate::plan::{HOLLOW_LABEL, HollowPlan, HollowZone, Plan, Until, WORKLOAD_LABEL, ZONE_LABEL};

/// The components without which a run can not go on.
const NEEDED: [&str; 6] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet"];

/// The taints of a node that is not Ready, or was not when the node controller last looked. Upstream: `TaintNodeNotReady`,
/// `TaintNodeUnreachable`.
const NOT_READY_TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// The last known state.
#[derive(Debug, Default)]
pub struct World {
    /// Pods by UID.
    pub pods: BTreeMap<String, Pod>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// UIDs of pods that the kubelet evicted.
    pub evicted: BTreeSet<String>,
    /// UIDs of pods that the kubelet rejected at admission.
    pub rejected: BTreeSet<String>,
    /// How often the kernel killed for memory.
    pub oom_kills: u32,
    /// Pods that were gone before anyone looked: UIDs of deleted ones.
    pub deleted: BTreeSet<String>,
    /// UIDs of the pods that were ever seen of each workload.
    pub known: BTreeMap<String, BTreeSet<String>>,
    /// The nodes on which each workload ever had a pod.
    pub places: BTreeMap<String, BTreeSet<String>>,
    /// UIDs of the pods that were ever seen to be told to go: marked for deletion, or deleted.
    pub told_to_go: BTreeSet<String>,
    /// When a node's condition was first seen true, by node and condition.
    pub raised: BTreeMap<(String, String), Timestamp>,
    /// The taints that nodes ever had: node, key and effect.
    pub tainted: BTreeSet<(String, String, String)>,
    /// The last report of each filler, by pod name.
    pub fillers: BTreeMap<String, serde_json::Value>,
    /// The nodes whose images are there.
    pub with_images: BTreeSet<String>,
    /// How many drains of each node are over.
    pub drained: BTreeMap<String, u32>,
    /// Why the run can not go on, if it can not.
    pub broken: Option<String>,
    /// The last lines that the component wrote without which it can not.
    pub last_words: Vec<String>,
}

/// How many of a log's last lines are told, and how long each may be.
const LAST_WORDS: usize = 5;
const WORDS_AT_MOST: usize = 300;

fn last_words(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
    last.iter().map(|line| line.chars().take(WORDS_AT_MOST).collect()).collect()
}

/// How much of an extended resource a node has to give to pods, as its status says; none where its kubelet does not offer it.
pub(crate) fn allocatable(node: &Node, resource: &str) -> Option<u64> {
    node.status.as_ref()?.allocatable.as_ref()?.get(resource)?.0.parse().ok()
}

impl World {
    /// Takes in one fact.
    pub fn apply(&mut self, at: Timestamp, fact: &Fact) {
        match fact {
            Fact::Pod(pod) => {
                let Some(uid) = pod.metadata.uid.clone() else { return };
                match eviction(pod) {
                    Some(Eviction::Rejected) => drop(self.rejected.insert(uid.clone())),
                    Some(Eviction::Evicted) => drop(self.evicted.insert(uid.clone())),
                    None => {}
                }
                if let Some(workload) = workload_of(pod) {
                    self.known.entry(workload.to_owned()).or_default().insert(uid.clone());
                    if let Some(node) = node_of(pod) {
                        self.places.entry(workload.to_owned()).or_default().insert(node.to_owned());
                    }
                }
                if pod.metadata.deletion_timestamp.is_some() {
                    self.told_to_go.insert(uid.clone());
                }
                self.pods.insert(uid, Pod::clone(pod));
            }
            Fact::PodDeleted(pod) => {
                if let Some(uid) = &pod.metadata.uid {
                    self.pods.remove(uid);
                    self.told_to_go.insert(uid.clone());
                    self.deleted.insert(uid.clone());
                }
            }
            Fact::Node(node) => {
                let Some(name) = node.metadata.name.clone() else { return };
                for (condition, value) in conditions(node) {
                    if value {
                        self.raised.entry((name.clone(), condition.to_owned())).or_insert(at);
                    }
                }
                for taint in node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()) {
                    self.tainted.insert((name.clone(), taint.key.clone(), taint.effect.clone()));
                }
                self.nodes.insert(name, Node::clone(node));
            }
            Fact::Boot { part, phase } if phase == "images" => drop(self.with_images.insert(part.clone())),
            Fact::Event(event) => self.event(event),
            Fact::OomKill { .. } => self.oom_kills += 1,
            Fact::Drained { node, .. } => *self.drained.entry(node.clone()).or_default() += 1,
            Fact::Filler { name, report, .. } => drop(self.fillers.insert(name.clone(), report.clone())),
            Fact::ComponentEnded { part, component, status, log }
                if NEEDED.contains(&component.as_str()) && self.broken.is_none() =>
            {
                self.broken = Some(format!("{component} of {part} ended by itself: {status}"));
                self.last_words = last_words(log);
            }
            Fact::Gap { source, resumed: false, reason, .. } if source.starts_with("init of ") => {
                self.broken.get_or_insert(format!("the {source} says nothing any more: {reason}"));
            }
            _ => {}
        }
    }

    /// An `Evicted` event says so even where the pod's status does not keep it: a pod whose containers end with
    /// status 0 becomes Succeeded, and the kubelet's reason is lost.
    fn event(&mut self, event: &Event) {
        let (Some("Evicted"), Some(uid)) = (event.reason.as_deref(), event.involved_object.uid.clone())
        else {
            return;
        };
        if event.message.as_deref().is_some_and(|message| message.contains("The node had condition")) {
            self.rejected.insert(uid);
        } else {
            self.evicted.insert(uid);
        }
    }

    /// Whether every node of the plan is Ready, the scheduler may use it, and it has the images of its pods. A node that the
    /// node controller saw before it was Ready keeps a taint for it until the controller comes around, and pods would go to
    /// another meanwhile. An image that is asked for too early is asked for again only after the kubelet's back-off of 10 s.
    #[must_use]
    pub fn nodes_ready(&self, plan: &Plan) -> bool {
        plan.nodes.iter().all(|planned| {
            let is_usable =
                |node: &Node| status(node, "Ready") == Some("True") && !is_tainted(node, &NOT_READY_TAINTS);
            self.with_images.contains(&planned.name) && self.nodes.get(&planned.name).is_some_and(is_usable)
        }) && plan.hollow.as_ref().is_none_or(|hollow| self.hollow_ready(hollow))
    }

    /// What keeps the plan's nodes from being Ready, for people.
    #[must_use]
    pub fn not_ready(&self, plan: &Plan) -> Vec<String> {
        let mut missing = Vec::new();
        for planned in &plan.nodes {
            let name = &planned.name;
            let Some(node) = self.nodes.get(name) else {
                missing.push(format!("{name} is not registered"));
                continue;
            };
            let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
            match conditions.find(|condition| condition.type_ == "Ready") {
                Some(ready) if ready.status == "True" => {}
                Some(ready) => missing.push(format!(
                    "{name} is not Ready: {}",
                    ready.message.as_deref().or(ready.reason.as_deref()).unwrap_or("it does not say why")
                )),
                None => missing.push(format!("{name} says nothing of being Ready")),
            }
            if is_tainted(node, &NOT_READY_TAINTS) {
                missing.push(format!("{name} has the taint of a node that is not Ready"));
            }
            if !self.with_images.contains(name) {
                missing.push(format!("{name} has no images yet"));
            }
        }
        if plan.hollow.as_ref().is_some_and(|hollow| !self.hollow_ready(hollow)) {
            missing.push("not all hollow nodes are Ready".to_owned());
        }
        missing
    }

    /// Whether every hollow node is Ready and the control plane has seen that: it has taken its first taints off.
    fn hollow_ready(&self, hollow: &HollowPlan) -> bool {
        let wanted: u32 = hollow.zones.iter().map(HollowZone::nodes).sum();
        let is_hollow = |node: &&Node| {
            node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(HOLLOW_LABEL))
        };
        let ready = self.nodes.values().filter(|node| status(node, "Ready") == Some("True"));
        let usable = ready.filter(|node| !is_tainted(node, &NOT_READY_TAINTS));
        usable.filter(is_hollow).count() >= wanted as usize
    }

    /// Whether a node says that it is Ready, as far as is known.
    #[must_use]
    pub fn is_ready(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| status(node, "Ready") == Some("True"))
    }

    /// The pods of a workload.
    pub fn pods_of<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().filter(move |pod| workload_of(pod) == Some(workload))
    }

    /// Whether a wait is over; otherwise what is seen instead, for people.
    ///
    /// # Errors
    /// With what is seen instead.
    pub fn is_so(&self, until: &Until, plan: &Plan) -> Result<(), String> {
        match until {
            Until::Running(names) => self.each(names, plan, "Running", |pod| phase(pod) == "Running"),
            Until::Ready(names) => self.each(names, plan, "Ready", is_ready),
            Until::Unschedulable(names) => self.each(names, plan, "unschedulable", is_unschedulable),
            Until::Filled(names) => self.each(names, plan, "filled", |pod| {
                pod.metadata
                    .name
                    .as_ref()
                    .and_then(|name| self.fillers.get(name))
                    .is_some_and(|report| report["kind"] == "held")
            }),
            Until::Evictions(count) => enough(self.evicted.len(), *count, "eviction", "evictions"),
            Until::Rejections(count) => enough(self.rejected.len(), *count, "rejection", "rejections"),
            Until::OomKills(count) => enough(self.oom_kills as usize, *count, "OOM kill", "OOM kills"),
            Until::Drained { node, count } => {
                let over = self.drained.get(node).copied().unwrap_or(0);
                enough(over as usize, *count, "drain that is over", "drains that are over")
            }
            Until::Condition { node, condition, raised } => self.condition(node, condition, *raised),
            Until::Gone(names) => {
                for name in names {
                    // What was started a moment ago has no pods yet, and is not gone for that.
                    let expected = plan.workloads.get(name).map_or(1, |workload| workload.pods) as usize;
                    if self.known.get(name).map_or(0, BTreeSet::len) < expected {
                        return Err(format!("not every pod of {name} was there yet"));
                    }
                    let left = self.pods_of(name).find(|pod| !matches!(phase(pod), "Failed" | "Succeeded"));
                    if let Some(pod) = left {
                        return Err(format!(
                            "pod {} is {}",
                            pod.metadata.name.as_deref().unwrap_or("?"),
                            phase(pod)
                        ));
                    }
                }
                Ok(())
            }
            Until::Terminating(names) => {
                for name in names {
                    let expected = plan.workloads.get(name).map_or(1, |workload| workload.pods) as usize;
                    let known = self.known.get(name).into_iter().flatten();
                    let told = known.filter(|uid| self.told_to_go.contains(*uid)).count();
                    if told < expected {
                        return Err(format!("{name}: {told} of {expected} told to go"));
                    }
                }
                Ok(())
            }
            Until::GoneFrom { node, workloads } => {
                let was_there =
                    |name: &&String| self.places.get(*name).is_some_and(|places| places.contains(node));
                if let Some(name) = workloads.iter().find(|name| !was_there(name)) {
                    return Err(format!("no pod of {name} was ever on {node}"));
                }
                let on_node = |pod: &&Pod| node_of(pod) == Some(node.as_str());
                match workloads.iter().flat_map(|name| self.pods_of(name)).find(on_node) {
                    Some(pod) => {
                        Err(format!("pod {} is still on {node}", pod.metadata.name.as_deref().unwrap_or("?")))
                    }
                    None => Ok(()),
                }
            }
            Until::ConditionStatus { node, condition, status: wanted } => {
                let is = self.nodes.get(node).and_then(|node| status(node, condition)).unwrap_or("absent");
                if is == wanted { Ok(()) } else { Err(format!("{condition} of {node} is {is}")) }
            }
            Until::Allocatable { node, resource, amount } => {
                match self.nodes.get(node).and_then(|node| allocatable(node, resource)) {
                    Some(is) if is == u64::from(*amount) => Ok(()),
                    Some(is) => Err(format!("{node} has {is} of {resource} to give")),
                    None => Err(format!("{node} offers no {resource}")),
                }
            }
            Until::Taint { node, key, effect, present } => self.taint(node, key, effect.as_deref(), *present),
            Until::ZoneTaint { zone, key, effect, count, present } => {
                self.zone_taint(zone, key, effect.as_deref(), *count, *present)
            }
        }
    }

    fn taint(&self, node: &str, key: &str, effect: Option<&str>, present: bool) -> Result<(), String> {
        let matches = |found_key: &str, found_effect: &str| {
            found_key == key && effect.is_none_or(|effect| effect == found_effect)
        };
        let was = self.tainted.iter().any(|(name, key, effect)| name == node && matches(key, effect));
        let taints = self.nodes.get(node).and_then(|node| node.spec.as_ref()?.taints.as_ref());
        let is = taints.into_iter().flatten().any(|taint| matches(&taint.key, &taint.effect));
        match (present, was, is) {
            (true, _, true) | (false, true, false) => Ok(()),
            (true, true, false) => Err(format!("{node} has the taint {key} no more")),
            (_, false, _) => Err(format!("{node} never had the taint {key}")),
            (false, true, true) => Err(format!("{node} still has the taint {key}")),
        }
    }

    fn zone_taint(
        &self,
        zone: &str,
        key: &str,
        effect: Option<&str>,
        count: u32,
        present: bool,
    ) -> Result<(), String> {
        let of_zone = self.nodes.iter().filter(|(_, node)| {
            let label = node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL));
            label.is_some_and(|label| label == zone)
        });
        let (mut have, mut had) = (0, 0);
        for (name, _) in of_zone {
            have += u32::from(self.taint(name, key, effect, true).is_ok());
            had += u32::from(self.taint(name, key, effect, false).is_ok());
        }
        let so = if present { have >= count } else { have == 0 && had >= count };
        if so {
            Ok(())
        } else {
            Err(format!("{have} nodes of zone {zone} have the taint {key}, and {had} had it before"))
        }
    }

    fn condition(&self, node: &str, condition: &str, raised: bool) -> Result<(), String> {
        let was = self.raised.contains_key(&(node.to_owned(), condition.to_owned()));
        let is =
            self.nodes.get(node).is_some_and(|node| conditions(node).any(|seen| seen == (condition, true)));
        match (raised, was, is) {
            (true, true, _) | (false, true, false) => Ok(()),
            (true, false, _) | (false, false, _) => Err(format!("{condition} of {node} was never raised")),
            (false, true, true) => Err(format!("{condition} of {node} is still raised")),
        }
    }

    fn each(
        &self,
        names: &[String],
        plan: &Plan,
        wanted: &str,
        holds: impl Fn(&Pod) -> bool,
    ) -> Result<(), String> {
        for name in names {
            let expected = plan.workloads.get(name).map_or(1, |workload| workload.pods) as usize;
            let so = self.pods_of(name).filter(|pod| !self.is_going(pod) && holds(pod)).count();
            if so < expected {
                let seen: Vec<String> = self.pods_of(name).map(describe).collect();
                let seen = if seen.is_empty() { "no pod of it exists".to_owned() } else { seen.join(", ") };
                return Err(format!("{name}: {so} of {expected} {wanted}: {seen}"));
            }
        }
        Ok(())
    }
    /// Whether a pod is as good as gone: evicted or being deleted, its phase says Running until its containers ended.
    fn is_going(&self, pod: &Pod) -> bool {
        pod.metadata.deletion_timestamp.is_some()
            || pod.metadata.uid.as_ref().is_some_and(|uid| self.evicted.contains(uid))
    }
}

fn enough(seen: usize, wanted: u32, one: &str, many: &str) -> Result<(), String> {
    if seen >= wanted as usize {
        Ok(())
    } else {
        Err(format!("{seen} {} of {wanted}", if seen == 1 { one } else { many }))
    }
}

/// What a pod with reason `Evicted` met: both carry the same reason, only the message tells them apart.
enum Eviction {
    Evicted,
    Rejected,
}

fn eviction(pod: &Pod) -> Option<Eviction> {
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() != Some("Failed") || status.reason.as_deref() != Some("Evicted") {
        return None;
    }
    let rejected = status.message.as_deref().is_some_and(|message| message.starts_with("Pod was rejected"));
    Some(if rejected { Eviction::Rejected } else { Eviction::Evicted })
}

/// The workload's name on an object of the run.
#[must_use]
pub fn workload_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(WORKLOAD_LABEL).map(String::as_str)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// The node to which a pod is bound.
fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether the scheduler found no node for a pod and has said so. Upstream: `PodReasonUnschedulable`.
fn is_unschedulable(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| {
        (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_deref())
            == ("PodScheduled", "False", Some("Unschedulable"))
    })
}

/// The status of a node's condition: `True`, `False` or `Unknown`.
fn status<'a>(node: &'a Node, condition: &str) -> Option<&'a str> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().find(|found| found.type_ == condition).map(|found| found.status.as_str())
}

fn is_tainted(node: &Node, keys: &[&str]) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.into_iter().any(|taint| keys.contains(&taint.key.as_str()))
}

fn conditions(node: &Node) -> impl Iterator<Item = (&str, bool)> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.map(|condition| (condition.type_.as_str(), condition.status == "True"))
}

/// A pod in a few words: its phase, and why it is not further.
fn describe(pod: &Pod) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or("?");
    let status = pod.status.as_ref();
    let waiting = status
        .and_then(|status| {
            status
                .container_statuses
                .as_ref()?
                .iter()
                .find_map(|container| container.state.as_ref()?.waiting.as_ref())
        })
        .map(|waiting| {
            format!(
                "{} {}",
                waiting.reason.as_deref().unwrap_or_default(),
                waiting.message.as_deref().unwrap_or_default()
            )
        });
    let unscheduled = status
        .and_then(|status| {
            status
                .conditions
                .as_ref()?
                .iter()
                .find(|condition| condition.status == "False" && condition.type_ == "PodScheduled")
        })
        .and_then(|condition| condition.message.clone());
    let ended = status
        .and_then(|status| status.reason.clone().zip(status.message.clone()))
        .map(|(reason, message)| format!("{reason}: {message}"));
    let why = waiting.or(unscheduled).or(ended).unwrap_or_default();
    format!("pod {name} is {} {}", phase(pod), why.trim()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn running(uid: &str) -> Fact {
        let pod = json!({"metadata": {"name": "web", "uid": uid, "labels": {(WORKLOAD_LABEL): "web"}}, "status": {"phase": "Running"}});
        Fact::Pod(Box::new(serde_json::from_value(pod).expect("a pod")))
    }

    fn evicted(uid: &str, message: &str) -> Fact {
        let event =
            json!({"metadata": {}, "involvedObject": {"uid": uid}, "reason": "Evicted", "message": message});
        Fact::Event(Box::new(serde_json::from_value(event).expect("an event")))
    }

    fn plan() -> Plan {
        let plan = json!({"name": "x", "kubernetes": "1.36.3", "nodes": [], "objects": [], "workloads": {}, "steps": [], "expectations": []});
        serde_json::from_value(plan).expect("a plan")
    }

    #[test]
    fn an_evicted_pod_is_not_waited_for_as_running() {
        let mut world = World::default();
        let until = Until::Running(vec!["web".into()]);
        world.apply(Timestamp::UNIX_EPOCH, &running("a"));
        assert_eq!(world.is_so(&until, &plan()), Ok(()));
        world.apply(Timestamp::UNIX_EPOCH, &evicted("a", "The node was low on resource: memory. "));
        assert_eq!(world.is_so(&until, &plan()), Err("web: 0 of 1 Running: pod web is Running".into()));
        world.apply(Timestamp::UNIX_EPOCH, &running("b"));
        assert_eq!(world.is_so(&until, &plan()), Ok(()));
    }

    #[test]
    fn a_pod_that_was_never_there_is_not_gone() {
        let mut world = World::default();
        let until = Until::Gone(vec!["web".into()]);
        assert_eq!(world.is_so(&until, &plan()), Err("not every pod of web was there yet".into()));
        world.apply(Timestamp::UNIX_EPOCH, &running("a"));
        assert_eq!(world.is_so(&until, &plan()), Err("pod web is Running".into()));
        let Fact::Pod(pod) = running("a") else { unreachable!("it is a pod") };
        world.apply(Timestamp::UNIX_EPOCH, &Fact::PodDeleted(pod));
        assert_eq!(world.is_so(&until, &plan()), Ok(()));
    }

    #[test]
    fn a_pod_that_the_scheduler_has_not_looked_at_is_not_unschedulable() {
        let mut world = World::default();
        let until = Until::Unschedulable(vec!["web".into()]);
        let pod = |conditions: serde_json::Value| {
            let pod = json!({"metadata": {"name": "web", "uid": "a", "labels": {(WORKLOAD_LABEL): "web"}},
                "status": {"phase": "Pending", "conditions": conditions}});
            Fact::Pod(Box::new(serde_json::from_value(pod).expect("a pod")))
        };
        let scheduled = |status: &str, reason: &str| json!([{"type": "PodScheduled", "status": status, "reason": reason, "message": "0/1 nodes"}]);
        for conditions in
            [json!([]), scheduled("False", "SchedulingGated"), scheduled("True", "Unschedulable")]
        {
            world.apply(Timestamp::UNIX_EPOCH, &pod(conditions));
            assert!(world.is_so(&until, &plan()).is_err());
        }
        world.apply(Timestamp::UNIX_EPOCH, &pod(scheduled("False", "Unschedulable")));
        assert_eq!(world.is_so(&until, &plan()), Ok(()));
    }

    fn with(uid: &str, changes: serde_json::Value) -> Fact {
        let mut pod = json!({"metadata": {"name": uid, "uid": uid, "labels": {(WORKLOAD_LABEL): "web"}},
            "spec": {"containers": [], "nodeName": "first"}, "status": {"phase": "Running"}});
        if let (Some(metadata), Some(changes)) = (pod["metadata"].as_object_mut(), changes.as_object()) {
            metadata.extend(changes.clone());
        }
        Fact::Pod(Box::new(serde_json::from_value(pod).expect("a pod")))
    }

    #[test]
    fn a_pod_that_was_never_on_a_node_is_not_gone_from_it() {
        let mut world = World::default();
        let gone = |node: &str| Until::GoneFrom { node: node.into(), workloads: vec!["web".into()] };
        assert_eq!(world.is_so(&gone("first"), &plan()), Err("no pod of web was ever on first".into()));
        world.apply(Timestamp::UNIX_EPOCH, &with("a", json!({})));
        assert_eq!(world.is_so(&gone("first"), &plan()), Err("pod a is still on first".into()));
        let Fact::Pod(pod) = with("a", json!({})) else { unreachable!("it is a pod") };
        world.apply(Timestamp::UNIX_EPOCH, &Fact::PodDeleted(pod));
        assert_eq!(world.is_so(&gone("first"), &plan()), Ok(()));
        assert_eq!(world.is_so(&gone("second"), &plan()), Err("no pod of web was ever on second".into()));
    }

    #[test]
    fn told_to_go_is_who_is_marked_for_deletion_or_gone() {
        let mut world = World::default();
        let until = Until::Terminating(vec!["web".into()]);
        world.apply(Timestamp::UNIX_EPOCH, &with("a", json!({})));
        assert_eq!(world.is_so(&until, &plan()), Err("web: 0 of 1 told to go".into()));
        world.apply(Timestamp::UNIX_EPOCH, &with("a", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})));
        assert_eq!(world.is_so(&until, &plan()), Ok(()));
        let Fact::Pod(pod) = with("a", json!({})) else { unreachable!("it is a pod") };
        world.apply(Timestamp::UNIX_EPOCH, &Fact::PodDeleted(pod));
        world.apply(Timestamp::UNIX_EPOCH, &with("b", json!({})));
        assert_eq!(world.is_so(&until, &plan()), Ok(()));
    }

    #[test]
    fn what_a_node_has_to_give_is_what_its_status_says() {
        let mut world = World::default();
        let until =
            |amount| Until::Allocatable { node: "worker".into(), resource: "nvidia.com/gpu".into(), amount };
        let node = |allocatable: serde_json::Value| {
            let node = json!({"metadata": {"name": "worker"}, "status": {"allocatable": allocatable}});
            Fact::Node(Box::new(serde_json::from_value(node).expect("a node")))
        };
        world.apply(Timestamp::UNIX_EPOCH, &node(json!({"cpu": "2"})));
        assert_eq!(world.is_so(&until(0), &plan()), Err("worker offers no nvidia.com/gpu".into()));
        world.apply(Timestamp::UNIX_EPOCH, &node(json!({"nvidia.com/gpu": "8"})));
        assert_eq!(world.is_so(&until(8), &plan()), Ok(()));
        assert_eq!(world.is_so(&until(0), &plan()), Err("worker has 8 of nvidia.com/gpu to give".into()));
        world.apply(Timestamp::UNIX_EPOCH, &node(json!({"nvidia.com/gpu": "0"})));
        assert_eq!(world.is_so(&until(0), &plan()), Ok(()));
    }

    #[test]
    fn the_taints_of_a_zone_are_counted() {
        let mut world = World::default();
        let node = |name: &str, tainted: bool| {
            let taints = if tainted { json!([{"key": "k", "effect": "NoExecute"}]) } else { json!([]) };
            let node = json!({"metadata": {"name": name, "labels": {(ZONE_LABEL): "a"}}, "spec": {"taints": taints}});
            Fact::Node(Box::new(serde_json::from_value(node).expect("a node")))
        };
        let until = |count, present| Until::ZoneTaint {
            zone: "a".into(),
            key: "k".into(),
            effect: None,
            count,
            present,
        };
        for name in ["one", "two", "three"] {
            world.apply(Timestamp::UNIX_EPOCH, &node(name, name != "three"));
        }
        assert!(world.is_so(&until(2, true), &plan()).is_ok());
        assert!(world.is_so(&until(3, true), &plan()).is_err());
        assert!(world.is_so(&until(1, false), &plan()).is_err());
        world.apply(Timestamp::UNIX_EPOCH, &node("one", false));
        world.apply(Timestamp::UNIX_EPOCH, &node("two", false));
        assert!(world.is_so(&until(2, false), &plan()).is_ok());
        assert!(world.is_so(&until(3, false), &plan()).is_err());
    }

    #[test]
    fn a_rejection_is_no_eviction_though_both_are_called_evicted() {
        let mut world = World::default();
        world.apply(
            Timestamp::UNIX_EPOCH,
            &evicted("a", "Pod was rejected: The node had condition: [MemoryPressure]. "),
        );
        assert_eq!((world.evicted.len(), world.rejected.len()), (0, 1));
    }
}
