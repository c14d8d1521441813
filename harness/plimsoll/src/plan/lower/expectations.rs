//! What must turn out to be so, and whether that can be told at all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_eviction::duration::format_duration;
use plimsoll_eviction::signal::{Signal, StarvedResource};

use super::cluster::Node;
use super::context::Findings;
use super::names::Names;
use super::node_level;
use super::steps::{condition, one_node};
use super::workloads::check_node;
use crate::plan::{
    Action, Band, ConditionExpectation, Expect, Expectation, HollowPlan, Lasting, Location,
    MessageExpectation, PlannedStep, ReplacedExpectation, ReplacedOn,
};
use crate::scenario::format::expect::{self as written, Expect as Written};
use crate::scenario::format::values::{self, Amount, Bounds, Count};
use crate::scenario::tree::{Mark, shortened};
use crate::scenario::{Code, Entries, Located, nearest};

/// Resolves the expectations, in the order in which they are written.
pub(super) fn lower(
    expect: &Located<Written>,
    names: &Names,
    nodes: &[Node],
    hollow: Option<&HollowPlan>,
    steps: &[PlannedStep],
    at: &dyn Fn(Mark) -> Location,
    findings: &mut Findings,
) -> Vec<Expectation> {
    let images = node_level::images(nodes, steps);
    let node_fails = steps.iter().any(|step| matches!(step.action, Action::Node { .. }));
    let mut lowering = Lowering { names, nodes, steps, images, findings, found: Vec::new(), node_fails };
    lowering.all(expect);
    if let Some(rates) = &expect.taint_rate {
        lowering.taint_rates(rates, hollow);
    }
    lowering.something(expect);
    let mut found = lowering.found;
    found.sort_by_key(|(mark, _)| *mark);
    found.into_iter().map(|(mark, expect)| Expectation { location: at(mark), expect }).collect()
}

pub(super) struct Lowering<'a> {
    pub(super) names: &'a Names,
    pub(super) nodes: &'a [Node],
    pub(super) steps: &'a [PlannedStep],
    /// The images of each node, those of steps included.
    pub(super) images: BTreeMap<String, Vec<String>>,
    pub(super) findings: &'a mut Findings,
    found: Vec<(Mark, Expect)>,
    /// Whether a step takes a node away, so that pods go without anybody evicting them for pressure.
    node_fails: bool,
}

impl Lowering<'_> {
    fn all(&mut self, expect: &Located<Written>) {
        let Written {
            evicted,
            survive,
            reclaimed,
            conditions,
            oom_kills,
            rejected,
            over_limit,
            node_reclaimed,
            message,
            announced,
            together,
            within,
            terminated,
            replaced,
            tainted,
            tolerated,
            terminating,
            ended,
            answered,
            drain_answered,
            drained,
            nominated,
            scale_down_blocked,
            flapping,
            slowed,
            // It is about zones, and taken by itself.
            taint_rate: _,
        } = &expect.value;
        if let Some(groups) = evicted {
            self.evicted(groups);
        }
        if let Some(names) = survive {
            let survivors = self.names_of(&names.0, names.key, true);
            self.add(names.key, Expect::Survive(survivors));
        }
        if let Some(oom_kills) = oom_kills {
            let killed = self.names_of(&oom_kills.value.0, oom_kills.key, false);
            self.add(oom_kills.key, Expect::OomKills(killed.into_iter().collect()));
        }
        if let Some(rejected) = rejected {
            let refused = self.names_of(&rejected.value.0, rejected.key, false);
            self.add(rejected.key, Expect::Rejected(refused.into_iter().collect()));
        }
        if let Some(conditions) = conditions {
            self.conditions(conditions);
        }
        if let Some(over) = over_limit {
            self.over_limit(over);
        }
        if let Some(reclaimed) = node_reclaimed {
            self.node_reclaimed(reclaimed);
        }
        for (signal, band) in reclaimed.iter().flat_map(|entries| entries.iter()) {
            self.reclaimed(signal, band);
        }
        for (signal, lasting) in within.iter().flat_map(|entries| entries.iter()) {
            let lasting = self.lasting(lasting);
            if let Some(signal_name) = self.signal(signal) {
                self.add(signal.mark, Expect::Within { signal: signal_name.name().to_owned(), lasting });
            }
        }
        for message in message.iter().flat_map(|messages| messages.iter()) {
            self.message(message, evicted.as_ref());
        }
        if let Some(announced) = announced {
            let evicted = self.names_of(&announced.0, announced.key, true);
            self.add(announced.key, Expect::Announced(evicted));
        }
        for together in together.iter().flat_map(|groups| groups.iter()) {
            let workloads = self.names_of(&together.workloads.0, together.mark, true);
            let lasting = self.lasting(&together.within);
            let subject = |key: &String| self.names.subject(key);
            let lone =
                |key: &String| subject(key).is_some_and(|own| !own.pods.controller && own.pods.count == 1);
            if matches!(workloads.as_slice(), [one] if lone(one)) {
                let text =
                    "one pod goes together with nobody: expected several workloads, or one of several pods";
                self.findings.say(Code::E0011, together.mark, text);
            }
            self.add(together.mark, Expect::Together { workloads, lasting });
        }
        if let Some(terminated) = terminated {
            self.terminated(terminated, evicted.as_ref());
        }
        for (name, replaced) in replaced.iter().flat_map(|entries| entries.iter()) {
            self.replaced(name, replaced);
        }
        if let Some(tainted) = tainted {
            self.tainted(tainted);
        }
        if let Some(tolerated) = tolerated {
            self.tolerated(tolerated);
        }
        if let Some(terminating) = terminating {
            self.terminating(terminating);
        }
        for (name, ended) in ended.iter().flat_map(|entries| entries.iter()) {
            self.ended(name, ended);
        }
        for (name, codes) in answered.iter().flat_map(|entries| entries.iter()) {
            self.answered(name, codes, false);
        }
        for (name, codes) in drain_answered.iter().flat_map(|entries| entries.iter()) {
            self.answered(name, codes, true);
        }
        for (node, drained) in drained.iter().flat_map(|entries| entries.iter()) {
            self.drained(node, drained);
        }
        for (name, node) in nominated.iter().flat_map(|entries| entries.iter()) {
            self.nominated(name, node);
        }
        for (node, by) in scale_down_blocked.iter().flat_map(|entries| entries.iter()) {
            self.scale_down_blocked(node, by);
        }
        for flapping in flapping.iter().flat_map(|flapping| flapping.iter()) {
            self.flapping(flapping);
        }
        for (name, slowed) in slowed.iter().flat_map(|entries| entries.iter()) {
            self.slowed(name, slowed);
        }
        self.contradictions(expect);
    }

    /// Says so where nothing is expected.
    fn something(&mut self, expect: &Located<Written>) {
        if self.found.is_empty()
            && self.findings.problems.iter().all(|problem| problem.code.name().starts_with('W'))
        {
            self.findings.say_with_help(
                Code::E0011,
                expect.key,
                "nothing is expected, so that a pass would prove nothing",
                "say who goes and who stays, such as `expect: {evicted: [greedy], survive: [steady]}`",
            );
        }
    }

    pub(super) fn add(&mut self, mark: Mark, expect: Expect) {
        self.found.push((mark, expect));
    }

    /// The keys of names, each of which must have pods at some time.
    pub(super) fn names_of(&mut self, written: &[Located<String>], place: Mark, needed: bool) -> Vec<String> {
        if needed && written.is_empty() {
            self.findings.say(
                Code::E0011,
                place,
                "names nobody, which proves nothing: expected at least one name",
            );
        }
        let mut keys: Vec<String> = Vec::new();
        for name in written {
            let Some(key) = self.subject_with_pods(name) else { continue };
            if keys.contains(&key) {
                self.findings.say(Code::E0007, name.mark, format!("`{}` stands here twice", name.value));
            } else {
                keys.push(key);
            }
        }
        keys
    }

    /// The key of a name that has pods at some time of the run.
    pub(super) fn subject_with_pods(&mut self, name: &Located<String>) -> Option<String> {
        let key = self.names.resolve(name, self.findings)?;
        let subject = self.names.subject(&key)?;
        if subject.pods.count == 0 {
            let message = format!("`{}` makes no pods: nothing can be said about them", name.value);
            self.findings.say(Code::E0012, name.mark, message);
            return None;
        }
        if !subject.was_active && !self.findings.steps_missing() {
            self.findings.say_with_help(
                Code::E0012,
                name.mark,
                format!("no step starts `{}`: nothing can be said about its pods", name.value),
                format!("add `- start: [{}]` to the steps", name.value),
            );
            return None;
        }
        Some(key)
    }

    fn evicted(&mut self, groups: &Located<Vec<values::Names>>) {
        let mut lowered = Vec::new();
        for group in &groups.value {
            if group.0.is_empty() {
                self.findings.say(
                    Code::E0011,
                    groups.key,
                    "an empty set in `evicted`: expected at least one name in each",
                );
                continue;
            }
            lowered.push(self.names_of(&group.0, groups.key, true).into_iter().collect::<BTreeSet<_>>());
        }
        for group in &groups.value {
            for name in &group.0 {
                self.check_times_evicted(name, &lowered);
            }
        }
        self.add(groups.key, Expect::Evicted(lowered));
    }

    /// A bare pod goes once.
    fn check_times_evicted(&mut self, name: &Located<String>, groups: &[BTreeSet<String>]) {
        let mut quiet = Findings::quiet();
        let Some(key) = self.names.resolve(name, &mut quiet) else { return };
        let times = groups.iter().filter(|group| group.contains(&key)).count();
        let single = self
            .names
            .subject(&key)
            .is_some_and(|subject| !subject.pods.controller && subject.pods.count == 1);
        if single && times > 1 {
            let message = format!(
                "`{}` is one pod without a controller: it can be evicted once, not {times} times",
                name.value
            );
            self.findings.say(Code::E0013, name.mark, message);
        }
    }

    /// A signal that some node has a threshold for.
    fn signal(&mut self, written: &Located<String>) -> Option<Signal> {
        let Ok(signal) = written.value.parse::<Signal>() else {
            let names: Vec<&str> = Signal::ALL.iter().map(|signal| signal.name()).collect();
            let message = format!("`{}` is no eviction signal", shortened(&written.value));
            let help = match nearest(&written.value, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("signals are {}", names.join(", ")),
            };
            self.findings.say_with_help(Code::E0006, written.mark, message, help);
            return None;
        };
        // The threshold of allocatable memory is a copy of the node's hard one.
        let source =
            if signal == Signal::AllocatableMemoryAvailable { Signal::MemoryAvailable } else { signal };
        let known = self.nodes.iter().any(|node| {
            node.thresholds.hard.contains_key(&source) || node.thresholds.soft.contains_key(&source)
        });
        if !known {
            self.findings.say_with_help(
                Code::E0012,
                written.mark,
                format!("no node has a threshold for {signal}: nothing is ever evicted for it"),
                format!("add it to the node's kubelet: `evictionHard: {{{source}: …}}`; a map replaces all defaults"),
            );
        }
        Some(signal)
    }

    fn reclaimed(&mut self, signal: &Located<String>, written: &Located<written::Reclaimed>) {
        let Some(known) = self.signal(signal) else { return };
        let amount = |amount: &Option<Located<Amount>>| amount.as_ref().map(|amount| amount.value.value);
        let band = Band { at_least: amount(&written.at_least), at_most: amount(&written.at_most) };
        self.check_band(band, written.mark);
        if band == Band::default() && !written.minimum_reclaim {
            let message = "says nothing: expected `atLeast`, `atMost` or `minimumReclaim: true`";
            self.findings.say(Code::E0011, written.mark, message);
        }
        // That of the allocatable memory is the node's, as its threshold is.
        let own = if known == Signal::AllocatableMemoryAvailable { Signal::MemoryAvailable } else { known };
        if written.minimum_reclaim
            && !self.nodes.iter().any(|node| node.thresholds.minimum_reclaim.contains_key(&own))
        {
            self.findings.say_with_help(
                Code::E0012,
                written.mark,
                format!("no node has a minimum reclaim for {known}"),
                format!("add `evictionMinimumReclaim: {{{own}: 100Mi}}` to the node's kubelet"),
            );
        }
        let capacity = self.nodes.iter().map(|node| node.plan.memory).max().unwrap_or(0);
        if known == Signal::MemoryAvailable
            && band.at_least.is_some_and(|least| u64::try_from(least).is_ok_and(|least| least >= capacity))
        {
            let message = "no node has so much memory: this can not hold";
            self.findings.say(
                Code::E0012,
                written.at_least.as_ref().map_or(written.mark, |least| least.mark),
                message,
            );
        }
        self.add(
            signal.mark,
            Expect::Reclaimed {
                signal: known.name().to_owned(),
                band,
                minimum_reclaim: written.minimum_reclaim,
            },
        );
    }

    pub(super) fn lasting(&mut self, written: &Located<values::Lasting>) -> Lasting {
        let lasting = Lasting {
            at_least: written.at_least.map(|time| time.0),
            at_most: written.at_most.map(|time| time.0),
        };
        if let (Some(least), Some(most)) = (lasting.at_least, lasting.at_most)
            && least > most
        {
            let text = format!(
                "at least {} and at most {}: nothing is both",
                format_duration(least),
                format_duration(most)
            );
            self.findings.say(Code::E0013, written.mark, text);
        }
        lasting
    }

    pub(super) fn check_band(&mut self, band: Band, mark: Mark) {
        if let (Some(least), Some(most)) = (band.at_least, band.at_most)
            && least > most
        {
            self.findings.say(
                Code::E0013,
                mark,
                format!("at least {least} and at most {most}: nothing is both"),
            );
        }
    }

    fn conditions(&mut self, conditions: &Located<Vec<Located<written::ConditionEntry>>>) {
        let mut lowered = Vec::new();
        for entry in conditions.iter() {
            let node = one_node(entry.node.as_ref(), entry.mark, self.nodes, self.findings);
            let known = condition(&entry.condition, self.findings);
            if let Some(bound) = entry.cleared_within.as_ref().filter(|_| !entry.cleared) {
                self.findings.say(
                    Code::E0013,
                    bound.key,
                    "`clearedWithin` beside `cleared: false`: one says that it clears",
                );
            }
            if let (Some(node), Some(known)) = (node, known) {
                self.check_transition(entry, &node, known.name());
                lowered.push(ConditionExpectation {
                    node,
                    condition: known.name().to_owned(),
                    raised_within: entry.raised_within.map(|time| time.0),
                    cleared: entry.cleared,
                    cleared_within: entry.cleared_within.as_ref().map(|within| self.lasting(within)),
                });
            }
        }
        self.add(conditions.key, Expect::Conditions(lowered));
    }

    /// A condition stays for the transition period at the least.
    fn check_transition(&mut self, entry: &written::ConditionEntry, node: &str, known: &str) {
        let Some(node) = self.nodes.iter().find(|candidate| candidate.plan.name == node) else { return };
        let period = node.thresholds.transition;
        if let Some(bound) = entry.cleared_within.as_ref()
            && let Some(most) = bound.at_most
            && most.0 < period
        {
            let message = format!(
                "{known} can not clear within {}: it stays for evictionPressureTransitionPeriod, which is {}",
                seconds(most.0),
                seconds(period)
            );
            self.findings.say(Code::E0012, bound.mark, message);
        }
    }

    fn message(
        &mut self,
        message: &Located<written::Message>,
        evicted: Option<&Located<Vec<values::Names>>>,
    ) {
        let Some(key) = self.subject_with_pods(&message.workload) else { return };
        self.check_evicted(&message.workload, &key, evicted, "a message");
        if let Some(resource) = &message.resource {
            let known: Vec<&str> = StarvedResource::ALL.iter().map(|resource| resource.name()).collect();
            if !known.contains(&resource.value.as_str()) {
                let text = format!(
                    "`{}` is no resource of an eviction: expected {}",
                    shortened(&resource.value),
                    known.join(", ")
                );
                self.findings.say(Code::E0006, resource.mark, text);
            }
        }
        let band = |bounds: &Option<Bounds<Amount>>| bounds.as_ref().map(amounts);
        let lowered = MessageExpectation {
            workload: key,
            resource: message.resource.as_ref().map(|resource| resource.value.clone()),
            threshold: band(&message.threshold),
            available: band(&message.available),
            container: message.container.clone(),
            using: band(&message.using),
            request: band(&message.request),
        };
        for band in
            [lowered.threshold, lowered.available, lowered.using, lowered.request].into_iter().flatten()
        {
            self.check_band(band, message.mark);
        }
        self.add(message.mark, Expect::Message(lowered));
    }

    /// What is said about an eviction needs one.
    fn check_evicted(
        &mut self,
        name: &Located<String>,
        key: &str,
        evicted: Option<&Located<Vec<values::Names>>>,
        what: &str,
    ) {
        let Some(groups) = evicted else { return };
        let mut quiet = Findings::quiet();
        let expected = groups
            .iter()
            .flat_map(|group| &group.0)
            .any(|evicted| self.names.resolve(evicted, &mut quiet).as_deref() == Some(key));
        if !expected {
            self.findings.say(
                Code::E0013,
                name.mark,
                format!("{what} for `{}`, which `evicted` does not name", name.value),
            );
        }
    }

    fn terminated(
        &mut self,
        terminated: &Entries<Located<values::Lasting>>,
        evicted: Option<&Located<Vec<values::Names>>>,
    ) {
        for (name, bounds) in terminated.iter() {
            let Some(key) = self.subject_with_pods(name) else { continue };
            if !self.node_fails && !self.names.subject(&key).is_some_and(|subject| subject.deleted) {
                self.check_evicted(name, &key, evicted, "a time to end");
            }
            let lasting = self.lasting(bounds);
            self.add(name.mark, Expect::Terminated { workload: key, lasting });
        }
    }

    fn replaced(&mut self, name: &Located<String>, replaced: &Located<written::Replaced>) {
        let Some(key) = self.subject_with_pods(name) else { return };
        let none = replaced.times.as_ref().map(counts).is_some_and(|times| times.at_most == Some(0));
        if !none && !self.names.subject(&key).is_some_and(|subject| subject.pods.controller) {
            self.findings.say_with_help(
                Code::E0012,
                name.mark,
                format!("`{}` is a bare pod: nothing replaces it", name.value),
                "give the workload `replicas:` to make it a Deployment, or say `times: 0`",
            );
            return;
        }
        let on = replaced.on.as_ref().map(|on| match &on.value {
            written::ReplacedOn::Same => ReplacedOn::Same,
            written::ReplacedOn::Other => ReplacedOn::Other,
            written::ReplacedOn::Nowhere => ReplacedOn::Nowhere,
            written::ReplacedOn::Node(node) => {
                let named = Located { value: node.clone(), mark: on.mark, key: on.key };
                check_node(&named, self.nodes, self.findings);
                ReplacedOn::Node(node.clone())
            }
        });
        if let (Some(other), [_]) =
            (replaced.on.as_ref().filter(|on| on.value == written::ReplacedOn::Other), self.nodes)
        {
            self.findings.say(Code::E0012, other.mark, "there is one node: a successor can go to no other");
        }
        if on == Some(ReplacedOn::Nowhere) && replaced.running == Some(true) {
            self.findings.say(
                Code::E0013,
                replaced.mark,
                "`on: Nowhere` and `running: true`: a pod runs on some node",
            );
        }
        let times = replaced.times.as_ref().map_or(Band { at_least: Some(1), at_most: None }, counts);
        let loops = replaced.loops.as_ref().map(counts).unwrap_or_default();
        self.check_band(times, replaced.mark);
        self.check_band(loops, replaced.mark);
        let loop_period = replaced.loop_period.as_ref().map(|period| self.lasting(period));
        let running_within = replaced.running_within.as_ref().map(|within| self.lasting(within));
        if replaced.reason.is_some() && on != Some(ReplacedOn::Nowhere) {
            let message = "`reason` is what the scheduler says of a successor that goes nowhere";
            self.findings.say_with_help(Code::E0010, replaced.mark, message, "add `on: Nowhere`");
        }
        let expectation = ReplacedExpectation {
            workload: key,
            on,
            running: replaced.running,
            times,
            loops,
            loop_period,
            running_within,
            reason: replaced.reason.clone(),
        };
        self.add(name.mark, Expect::Replaced(expectation));
    }

    /// One end for each pod.
    fn contradictions(&mut self, expect: &Written) {
        let mut quiet = Findings::quiet();
        let mut keys = |names: Vec<&Located<String>>| -> BTreeSet<String> {
            names.into_iter().filter_map(|name| self.names.resolve(name, &mut quiet)).collect()
        };
        let evicted =
            keys(expect.evicted.iter().flat_map(|groups| groups.iter()).flat_map(|group| &group.0).collect());
        let killed = keys(expect.oom_kills.iter().flat_map(|names| &names.value.0).collect());
        let over =
            keys(expect.over_limit.iter().flat_map(|over| over.0.iter()).map(|(name, _)| name).collect());
        let rejected = keys(expect.rejected.iter().flat_map(|names| &names.value.0).collect());
        for name in expect.survive.iter().flat_map(|names| &names.value.0) {
            let mut quiet = Findings::quiet();
            let Some(key) = self.names.resolve(name, &mut quiet) else { continue };
            for (others, what) in
                [(&evicted, "evicted"), (&killed, "killed"), (&rejected, "rejected"), (&over, "over a limit")]
            {
                if others.contains(&key) {
                    let message = format!("`{}` can not survive and be {what}", name.value);
                    self.findings.say(Code::E0013, name.mark, message);
                }
            }
            if self.names.subject(&key).is_some_and(|subject| subject.deleted) {
                let message = format!("`{}` can not survive: a step deletes it", name.value);
                self.findings.say(Code::E0013, name.mark, message);
            }
        }
        for name in expect.rejected.iter().flat_map(|names| &names.value.0) {
            let mut quiet = Findings::quiet();
            let Some(key) = self.names.resolve(name, &mut quiet) else { continue };
            let single = self
                .names
                .subject(&key)
                .is_some_and(|subject| !subject.pods.controller && subject.pods.count == 1);
            if single && evicted.contains(&key) {
                let message = format!(
                    "`{}` is one pod: refused at admission, it never runs and can not be evicted",
                    name.value
                );
                self.findings.say(Code::E0013, name.mark, message);
            }
        }
    }
}

fn amounts(bounds: &Bounds<Amount>) -> Band {
    let value = |amount: &Option<Amount>| amount.as_ref().map(|amount| amount.value);
    Band { at_least: value(&bounds.at_least), at_most: value(&bounds.at_most) }
}

pub(super) fn counts(bounds: &Bounds<Count>) -> Band {
    let value = |count: &Option<Count>| count.map(|count| i64::from(count.0));
    Band { at_least: value(&bounds.at_least), at_most: value(&bounds.at_most) }
}

fn seconds(duration: Duration) -> String {
    format_duration(duration)
}
