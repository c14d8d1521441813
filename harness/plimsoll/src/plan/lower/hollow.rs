//! Nodes that exist in the API alone, the steps that take some of them away, and what is expected of their zones.

use std::collections::BTreeSet;

use super::context::Findings;
use super::expectations::Lowering;
use crate::plan::{Action, Expect, HollowPlan, HollowZone, TaintRateExpectation};
use crate::scenario::format::document::{Hollow, Zones};
use crate::scenario::format::expect::TaintRate;
use crate::scenario::format::step::{Step, ZoneStep};
use crate::scenario::format::values::{Count, Name, Scalar};
use crate::scenario::tree::{Mark, shortened};
use crate::scenario::{Code, Located, nearest};

/// The kubelet's own `nodeLeaseDurationSeconds`. Upstream: `SetDefaults_KubeletConfiguration`.
const LEASE_SECONDS: u32 = 40;
/// The most hollow nodes: with more of them heartbeats starve on a small machine, and zones fail that are well.
const MOST: u32 = 1000;
/// The most zones, each of which takes a program of its own.
const MOST_ZONES: usize = 16;

/// Resolves the zones. Nodes that fail apart are in groups of their own, so the steps that fail them are looked at.
pub(super) fn plan(
    written: Option<&Located<Hollow>>,
    steps: &[Located<Step>],
    findings: &mut Findings,
) -> Option<HollowPlan> {
    let written = written?;
    let mut zones: Vec<HollowZone> = Vec::new();
    let named: &[(Located<String>, Located<Count>)] = match (&written.zones.value, &written.nodes) {
        (Zones::Named(named), None) => named,
        (Zones::Named(named), Some(nodes)) => {
            let help = "`zones` says how many there are in each; leave `nodes` out, or give `zones` a number";
            findings.say_with_help(
                Code::E0010,
                nodes.key,
                "`nodes` does not go with zones that are named",
                help,
            );
            named
        }
        (Zones::Number(number), nodes) => {
            match nodes {
                Some(nodes) => spread(nodes, number.0, written.zones.mark, steps, &mut zones, findings),
                None => {
                    let help = "add `nodes: 300`, or say how many there are in each, such as `zones: {a: 100, b: 30}`";
                    findings.say_with_help(Code::E0004, written.zones.mark, "how many nodes?", help);
                }
            }
            &[]
        }
    };
    for (name, count) in named {
        if let Err(why) = Name::read(&name.value) {
            findings.say(Code::E0006, name.mark, why.lines().next().unwrap_or_default());
            continue;
        }
        if count.0 == 0 {
            findings.say(Code::E0006, count.mark, "a zone without nodes: expected at least 1");
            continue;
        }
        zones.push(HollowZone { name: name.value.clone(), groups: groups(&name.value, count.0, steps) });
    }
    let all: u32 = zones.iter().fold(0, |sum, zone| sum.saturating_add(zone.nodes()));
    if matches!(&written.zones.value, Zones::Named(named) if named.is_empty()) {
        findings.say_with_help(
            Code::E0004,
            written.zones.mark,
            "no zone",
            "such as `zones: {a: 100, b: 30}`",
        );
    }
    if all > MOST || zones.len() > MOST_ZONES {
        let text = format!(
            "{all} hollow nodes in {} zones: expected at most {MOST} in {MOST_ZONES}, since with more of them their leases are renewed too late and they fail though they are well",
            zones.len()
        );
        findings.say(Code::E0022, written.zones.mark, text);
    }
    let lease = written.node_lease_duration_seconds.as_ref();
    if let Some(lease) = lease.filter(|lease| lease.0 == 0) {
        findings.say(Code::E0006, lease.mark, "a lease of no time at all: expected at least 1");
    }
    let node_lease_duration_seconds = lease.map_or(LEASE_SECONDS, |lease| lease.0.max(1));
    Some(HollowPlan { zones, node_lease_duration_seconds })
}

/// Spreads nodes over zones that are called a, b and so on; the first ones get what is left over.
fn spread(
    nodes: &Located<Count>,
    number: u32,
    place: Mark,
    steps: &[Located<Step>],
    zones: &mut Vec<HollowZone>,
    findings: &mut Findings,
) {
    let most = u32::try_from(MOST_ZONES).unwrap_or(u32::MAX);
    if !(1..=most).contains(&number) {
        findings.say(Code::E0006, place, format!("{number} zones: expected 1 to {most}"));
    } else if nodes.0 < number {
        let text = format!("{} nodes in {number} zones: expected at least one in each", nodes.0);
        findings.say(Code::E0006, nodes.mark, text);
    } else {
        for (zone, letter) in (0..number).zip('a'..='z') {
            let name = letter.to_string();
            let size = nodes.0 / number + u32::from(zone < nodes.0 % number);
            let groups = groups(&name, size, steps);
            zones.push(HollowZone { name, groups });
        }
    }
}

/// The sizes of a zone's groups: cut wherever a step takes the first so many of its nodes.
fn groups(zone: &str, all: u32, steps: &[Located<Step>]) -> Vec<u32> {
    let counts = steps.iter().filter_map(|step| match &step.value {
        Step::Zone(step) if step.name.value == zone => step.nodes.as_ref().map(|nodes| nodes.0),
        _ => None,
    });
    let cuts: BTreeSet<u32> = counts.filter(|count| (1..all).contains(count)).chain([all]).collect();
    let mut before = 0;
    cuts.into_iter()
        .map(|cut| {
            let size = cut - before;
            before = cut;
            size
        })
        .collect()
}

pub(super) fn zone<'a>(
    name: &Located<String>,
    hollow: Option<&'a HollowPlan>,
    findings: &mut Findings,
) -> Option<&'a HollowZone> {
    let zones = hollow.map(|hollow| hollow.zones.as_slice()).unwrap_or_default();
    let found = zones.iter().find(|zone| zone.name == name.value);
    if found.is_none() {
        let message = format!("no zone is called `{}`", shortened(&name.value));
        let help = match nearest(&name.value, zones.iter().map(|zone| zone.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                "zones of hollow nodes stand under `spec.cluster.hollow.zones`, such as `{a: 100}`".to_owned()
            }
        };
        findings.say_with_help(Code::E0008, name.mark, message, help);
    }
    found
}

/// A step that lets nodes of a zone fall silent, or be heard again.
pub(super) fn step(step: &ZoneStep, hollow: Option<&HollowPlan>, findings: &mut Findings) -> Option<Action> {
    let zone = zone(&step.name, hollow, findings)?;
    let nodes = step.nodes.as_ref().map_or(zone.nodes(), |nodes| nodes.0);
    if let Some(written) = step.nodes.as_ref().filter(|nodes| !(1..=zone.nodes()).contains(&nodes.0)) {
        let text = format!("zone `{}` has {} nodes: expected 1 to that many", zone.name, zone.nodes());
        findings.say(Code::E0006, written.mark, text);
    }
    Some(Action::Zone { zone: zone.name.clone(), nodes, change: step.change.value })
}

impl Lowering<'_> {
    /// How the nodes of zones are tainted.
    pub(super) fn taint_rates(&mut self, written: &[Located<TaintRate>], hollow: Option<&HollowPlan>) {
        for entry in written {
            let Some(zone) = zone(&entry.zone, hollow, self.findings) else { continue };
            let band = |bounds: &Option<_>| bounds.as_ref().map(super::expectations::counts);
            let (nodes, left) = (band(&entry.nodes), band(&entry.left));
            for band in [nodes, left].into_iter().flatten() {
                self.check_band(band, entry.mark);
            }
            let every = entry.every.as_ref().map(|every| self.lasting(every));
            if every.is_none() && nodes.is_none() && left.is_none() {
                let help = "add one of `every`, `nodes`, `left`";
                self.findings.say_with_help(Code::E0004, entry.mark, "what of the zone?", help);
            }
            let zone = zone.name.clone();
            self.add(entry.mark, Expect::TaintRate(TaintRateExpectation { zone, every, nodes, left }));
        }
    }
}
