//! How the node that is accepted is configured, and the scenarios that put just that to the test. Pure: figures in, documents out.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_eviction::duration::{format_duration, parse_duration};
use plimsoll_eviction::signal::Signal;
use plimsoll_eviction::threshold::{KubeletConfiguration, Threshold, ThresholdConfiguration};
use plimsoll_hog::quantity::{Unit, parse_amount};
use serde::Deserialize;
use serde_json::{Value, json};

/// The resource that the devices' memory is offered as.
pub(super) const RESOURCE: &str = "plimsoll.dev/gpu-memory";
/// The node's name.
pub(super) const NODE: &str = "worker";
/// The memory of a node of which nothing is said, in bytes.
const MEMORY: u64 = 2 << 30;
/// How often the kubelet looks. Upstream: `monitoringInterval` of the eviction manager.
const KUBELET_LOOKS: Duration = Duration::from_secs(10);
/// How often the evictor looks of which nothing is said.
const EVICTOR_LOOKS: Duration = Duration::from_secs(10);
/// How far below a threshold a filler of the node's memory begins to go slowly, in bytes: what the node's own daemons are seen to
/// take at most.
const DAEMONS: u64 = 400 << 20;
/// How many times the period of whoever looks the way from the threshold to the end of the memory takes. An agent that keeps its
/// period has then looked at least twice.
const LOOKS: f64 = 3.0;
/// The least rates of the two, in bytes a second, so that a threshold of next to nothing does not take for ever.
const SLOWEST: u64 = 4 << 20;
const SLOWEST_ON_GPU: u64 = 16 << 20;
/// How long anything may take besides what it is known to, such as a pod to start.
const BESIDES: Duration = Duration::from_secs(90);

/// How the node is configured: fields of a scenario's node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Configured {
    /// All the memory that it has.
    memory: Option<String>,
    /// Fields of its KubeletConfiguration, verbatim.
    kubelet: Option<Value>,
    /// Its evictor's thresholds.
    gpu_eviction: Option<Value>,
}

/// What is read of the evictor's configuration; the scenario's own reader checks all of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Evictor {
    eviction_hard: BTreeMap<String, String>,
    eviction_soft: BTreeMap<String, String>,
    eviction_soft_grace_period: BTreeMap<String, String>,
    interval: Option<String>,
}

/// The devices of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cards {
    /// How many.
    pub(super) count: usize,
    /// The memory of the smallest, in bytes.
    pub(super) memory: u64,
    /// Whether they are the machine's own, and no simulated ones.
    pub(super) real: bool,
}

impl Cards {
    /// How much memory one unit of the resource is, in bytes.
    pub(super) fn unit(self) -> u64 {
        if self.memory >= 16 << 30 { 1 << 30 } else { 128 << 20 }
    }

    /// How many units all of them have.
    pub(super) fn units(self) -> u64 {
        self.memory / self.unit() * u64::try_from(self.count).unwrap_or(u64::MAX)
    }

    /// What a context may take of a card beside what is asked for, in bytes.
    fn context(self) -> u64 {
        (self.memory / 64).max(128 << 20)
    }
}

/// A threshold that is put to the test.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    /// Below so many bytes.
    below: u64,
    /// For so long.
    grace: Duration,
}

/// The threshold of a signal that is crossed first, for a capacity in bytes.
fn first_crossed(thresholds: &[Threshold], signal: Signal, capacity: u64) -> Option<Line> {
    let capacity = i64::try_from(capacity).ok()?;
    let of_signal = thresholds.iter().filter(|threshold| threshold.signal == signal);
    let lines = of_signal.filter_map(|threshold| {
        let below = u64::try_from(threshold.value.resolve(capacity).value()).ok()?;
        Some(Line { below, grace: threshold.grace_period.try_into().ok()? })
    });
    lines.max_by_key(|line| line.below)
}

impl Configured {
    /// Reads a file's text.
    ///
    /// # Errors
    /// In words, when it is none of the kind.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        serde_yaml::from_str(text).map_err(|error| {
            format!(
                "{error}\nhelp: it has `memory`, `kubelet` and `gpuEviction`, each as in a scenario's node"
            )
        })
    }

    fn memory(&self) -> Result<u64, String> {
        let Some(text) = &self.memory else { return Ok(MEMORY) };
        parse_amount(text, Unit::Bytes).map_err(|error| format!("memory: {error}"))
    }

    fn evictor(&self) -> Value {
        let written = self.gpu_eviction.clone();
        written.unwrap_or_else(|| json!({"evictionHard": {"gpu.memory.available": "5%"}}))
    }

    fn node(&self, cards: Cards) -> Value {
        let mut node = json!({
            "name": NODE,
            "memory": self.memory.clone().unwrap_or_else(|| MEMORY.to_string()),
            "gpus": {
                (if cards.real { "real" } else { "simulated" }): {"count": cards.count, "memory": cards.memory.to_string()},
                "resource": RESOURCE,
                "unit": cards.unit().to_string(),
            },
            "gpuEviction": self.evictor(),
        });
        if let Some(kubelet) = &self.kubelet {
            node["kubelet"] = kubelet.clone();
        }
        node
    }

    fn scenario(
        &self,
        cards: Cards,
        name: &str,
        workloads: &Value,
        steps: &Value,
        expect: &Value,
    ) -> Result<String, String> {
        let document = json!({
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "Scenario",
            "metadata": {"name": format!("accept-{name}")},
            "spec": {
                "cluster": {"nodes": [self.node(cards)]},
                "workloads": workloads, "steps": steps, "expect": expect,
            },
        });
        serde_json::to_string_pretty(&document).map_err(|error| error.to_string())
    }

    /// A pod that is within its request on a card, and one that is over its own and goes on to the card's end, slowly enough that
    /// whoever looks as often as configured sees it; or at `rate`.
    ///
    /// # Errors
    /// In words, when the configuration can not be read or has no threshold.
    pub(super) fn gpu_pressure(&self, cards: Cards, rate: Option<&str>) -> Result<String, String> {
        let evictor: Evictor =
            serde_json::from_value(self.evictor()).map_err(|error| format!("gpuEviction: {error}"))?;
        let line = evictor.line(cards.memory)?;
        let interval = match &evictor.interval {
            Some(text) => parse_duration(text).map_err(|error| format!("gpuEviction: interval: {error}"))?,
            None => EVICTOR_LOOKS,
        };
        let share = cards.memory / cards.unit() * 45 / 100;
        let within = (share * cards.unit()).saturating_sub(cards.context());
        let left = cards.memory.saturating_sub(within);
        let start = left.saturating_sub(line.below + 2 * cards.context());
        let slow = slowly(line, interval).max(SLOWEST_ON_GPU);
        let wait = wait_for(left - start, slow, line.grace);
        let rate = rate.map_or_else(|| format!("{slow}/s"), str::to_owned);
        let workloads = json!([
            {"name": "within", "limits": {RESOURCE: share}, "fill": {"gpuMemory": {"amount": within.to_string()}}},
            {"name": "over", "limits": {RESOURCE: 1}, "fill": {"gpuMemory": {
                "amount": left.to_string(), "startAt": start.to_string(), "rate": rate,
            }}},
        ]);
        let steps = json!([
            {"start": ["within"]},
            {"wait": {"for": "Filled", "pods": ["within"], "within": "120s"}},
            {"start": ["over"]},
            {"wait": {"for": "Gone", "pods": ["over"], "within": wait}},
            {"observe": format_duration(interval + Duration::from_secs(2))},
        ]);
        let says = format!("The node was low on resource: {RESOURCE}");
        let expect = json!({
            "ended": {"over": {"as": "EvictedThroughApi", "count": 1, "gone": true, "says": [says]}},
            "survive": ["within"],
        });
        self.scenario(cards, "gpu-pressure", &workloads, &steps, &expect)
    }

    /// A pod that holds most of a card and is within its request of the node's memory, and one that takes the node's memory.
    ///
    /// # Errors
    /// As [`gpu_pressure`](Self::gpu_pressure), and when the node has too little memory for its threshold.
    pub(super) fn memory_pressure(&self, cards: Cards) -> Result<String, String> {
        let memory = self.memory()?;
        let kubelet = self.kubelet.clone().unwrap_or_else(|| json!({}));
        let kubelet: KubeletConfiguration =
            serde_json::from_value(kubelet).map_err(|error| format!("kubelet: {error}"))?;
        let thresholds =
            kubelet.threshold_configuration().parse().map_err(|error| format!("kubelet: {error}"))?;
        let line = first_crossed(&thresholds, Signal::MemoryAvailable, memory);
        let line = line.ok_or("kubelet: no threshold of memory.available, so that nobody is ever evicted")?;
        let amount = memory.checked_sub(line.below).filter(|amount| *amount > DAEMONS);
        let amount = amount.ok_or_else(|| {
            format!("a node with {memory} bytes of memory is too small for a threshold of {}", line.below)
        })?;
        let slow = slowly(line, KUBELET_LOOKS).max(SLOWEST);
        let wait = wait_for(DAEMONS + line.below, slow, line.grace);
        let share = cards.memory / cards.unit() / 2;
        let held = (share * cards.unit()).saturating_sub(cards.context());
        let workloads = json!([
            {"name": "trainer", "requests": {"memory": "200Mi"}, "limits": {RESOURCE: share},
                "fill": {"gpuMemory": {"amount": held.to_string()}}},
            {"name": "greedy", "fill": {"memory": {
                "amount": amount.to_string(), "startAt": (amount - DAEMONS).to_string(), "rate": format!("{slow}/s"),
            }}},
        ]);
        let steps = json!([
            {"start": ["trainer"]},
            {"wait": {"for": "Filled", "pods": ["trainer"], "within": "120s"}},
            {"start": ["greedy"]},
            {"wait": {"for": "Gone", "pods": ["greedy"], "within": wait}},
            {"observe": "3s"},
        ]);
        let expect = json!({"evicted": ["greedy"], "survive": ["trainer"], "oomKills": "none"});
        self.scenario(cards, "memory-pressure", &workloads, &steps, &expect)
    }

    /// The step in [`device_health`](Self::device_health) in which a card fails, and the one in which it is mended.
    pub(super) const FAILS: usize = 3;
    /// See [`FAILS`](Self::FAILS).
    pub(super) const MENDED: usize = 5;

    /// A card that falls off the bus while a pod is on it, and is mended. Waits for twice what is allowed, so that what is late is
    /// told from what never comes.
    ///
    /// # Errors
    /// When there is more than can be counted.
    pub(super) fn device_health(&self, cards: Cards, within: Duration) -> Result<String, String> {
        let all = cards.units();
        let others = all - cards.memory / cards.unit();
        let wait = format_duration(within * 2 + Duration::from_secs(10));
        let offers = |count: u64, within: &str| json!({"wait": {"for": "allocatable", "resource": RESOURCE, "count": count, "within": within}});
        let workloads = json!([
            {"name": "running", "limits": {RESOURCE: 1}, "fill": {"gpuMemory": {"amount": "64Mi"}}},
        ]);
        let steps = json!([
            offers(all, "60s"),
            {"start": ["running"]},
            {"wait": {"for": "Filled", "pods": ["running"], "within": "60s"}},
            {"gpu": {"do": "fail", "xid": 79}},
            offers(others, &wait),
            {"gpu": {"do": "heal"}},
            offers(all, &wait),
            {"observe": "2s"},
        ]);
        self.scenario(cards, "device-health", &workloads, &steps, &json!({"survive": ["running"]}))
    }
}

impl Evictor {
    fn line(&self, capacity: u64) -> Result<Line, String> {
        // The kubelet's own reader reads them, by a signal that it knows.
        let stands_in = |statements: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            statements
                .values()
                .map(|value| (Signal::MemoryAvailable.name().to_owned(), value.clone()))
                .collect()
        };
        let configuration = ThresholdConfiguration {
            hard: stands_in(&self.eviction_hard),
            soft: stands_in(&self.eviction_soft),
            soft_grace_periods: stands_in(&self.eviction_soft_grace_period),
            ..ThresholdConfiguration::default()
        };
        let thresholds = configuration.parse().map_err(|error| format!("gpuEviction: {error}"))?;
        first_crossed(&thresholds, Signal::MemoryAvailable, capacity)
            .ok_or_else(|| "gpuEviction: no threshold, so that nobody is ever evicted".to_owned())
    }
}

/// A rate in bytes a second at which the way from a threshold to the end of the memory takes several looks and the grace period.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "bytes a second, of memory that a machine has"
)]
fn slowly(line: Line, look: Duration) -> u64 {
    let seconds = look.as_secs_f64() * LOOKS + line.grace.as_secs_f64();
    (line.below as f64 / seconds) as u64
}

/// How long it takes to fill so much at a rate, be it seen, and go.
fn wait_for(amount: u64, rate: u64, grace: Duration) -> String {
    format_duration(Duration::from_secs(amount / rate.max(1)) + grace + BESIDES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Action, Plan, lower};
    use crate::scenario::{Files, parse};

    const H100S: Cards = Cards { count: 8, memory: 85_017_493_504, real: false };

    fn plan(text: &str) -> Plan {
        let parsed = parse("accept.yaml", text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
        lower(&parsed.with_files(&Files::new())).unwrap_or_else(|wrong| panic!("{wrong}\n{text}")).plan
    }

    fn arguments(plan: &Plan, name: &str) -> String {
        let container = &plan.workloads[name].objects[0].object["spec"]["containers"][0];
        let arguments: Vec<String> = serde_json::from_value(container["args"].clone()).expect("arguments");
        arguments.join(" ")
    }

    #[test]
    fn what_is_configured_is_what_is_put_to_the_test() {
        let written = "
memory: 4Gi
kubelet: {evictionHard: {memory.available: 10%}, nodeStatusUpdateFrequency: 5s}
gpuEviction: {evictionHard: {gpu.memory.available: 4Gi}, interval: 2s}
";
        let configured = Configured::read(written).expect("a configuration");
        let plan = plan(&configured.gpu_pressure(H100S, None).expect("a scenario"));
        let node = &plan.nodes[0];
        assert_eq!(node.memory, 4 << 30);
        assert_eq!(node.kubelet["nodeStatusUpdateFrequency"], "5s");
        let gpus = node.gpus.as_ref().expect("GPUs");
        assert_eq!((gpus.count, gpus.memory), (8, 85_017_493_504));
        let evictor = gpus.evictor.as_ref().expect("an evictor");
        assert!(evictor.contains(&"--eviction-hard=gpu.memory.available<4Gi".to_owned()), "{evictor:?}");
        // From 4Gi to nothing in three looks of two seconds.
        assert!(
            arguments(&plan, "over").contains(&format!("--rate {}/s", (4_u64 << 30) / 6)),
            "{}",
            arguments(&plan, "over")
        );
        let fast = configured.gpu_pressure(H100S, Some("100Gi/s")).expect("a scenario");
        assert!(fast.contains("100Gi/s"));
    }

    #[test]
    fn a_node_of_which_nothing_is_said_has_the_defaults() {
        let configured = Configured::default();
        let pressed = plan(&configured.gpu_pressure(H100S, None).expect("a scenario"));
        assert_eq!(pressed.nodes[0].kubelet, json!({}));
        let evictor =
            pressed.nodes[0].gpus.as_ref().and_then(|gpus| gpus.evictor.clone()).expect("an evictor");
        assert!(evictor.contains(&"--eviction-hard=gpu.memory.available<5%".to_owned()), "{evictor:?}");
        let text = configured.memory_pressure(H100S).expect("a scenario");
        // The kubelet's own 100Mi: two gibibytes less that.
        assert!(text.contains(&format!("\"amount\": \"{}\"", (2_u64 << 30) - (100 << 20))), "{text}");
        let memory = plan(&text);
        assert!(memory.nodes[0].gpus.is_some());
    }

    #[test]
    fn a_small_card_has_small_units() {
        let small = Cards { count: 1, memory: 4 << 30, real: false };
        assert_eq!((small.unit(), small.units()), (128 << 20, 32));
        plan(&Configured::default().gpu_pressure(small, None).expect("a scenario"));
        plan(&Configured::default().memory_pressure(small).expect("a scenario"));
    }

    #[test]
    fn the_steps_in_which_a_card_fails_and_is_mended_are_where_they_are_said_to_be() {
        let text = Configured::default().device_health(H100S, Duration::from_secs(30)).expect("a scenario");
        let plan = plan(&text);
        let gpu = |step: usize| matches!(plan.steps[step].action, Action::Gpu { xid, .. } if xid.is_some());
        assert!(gpu(Configured::FAILS) && !gpu(Configured::MENDED));
        assert!(matches!(plan.steps[Configured::MENDED].action, Action::Gpu { .. }));
        // Seven of eight are still offered.
        assert!(text.contains(&format!("\"count\": {}", 79 * 7)), "{text}");
    }

    #[test]
    fn a_node_for_real_cards_has_the_machines_own() {
        let real = Cards { real: true, ..H100S };
        let configured = Configured::default();
        for text in [configured.gpu_pressure(real, None), configured.memory_pressure(real)] {
            assert!(plan(&text.expect("a scenario")).has_real_gpus());
        }
        assert!(!plan(&configured.gpu_pressure(H100S, None).expect("a scenario")).has_real_gpus());
    }

    #[test]
    fn what_would_evict_nobody_is_said() {
        for (text, why) in [
            ("gpuEviction: {evictionHard: {}}", "gpuEviction: no threshold"),
            ("gpuEviction: {interval: soon, evictionHard: {gpu.memory.available: 5%}}", "interval"),
        ] {
            let configured = Configured::read(text).expect("it is read");
            let wrong = configured.gpu_pressure(H100S, None).expect_err(text);
            assert!(wrong.contains(why), "{wrong}");
        }
        for (text, why) in [
            ("kubelet: {evictionHard: {nodefs.available: 5%}}", "kubelet: no threshold of memory.available"),
            ("memory: 256Mi", "too small"),
        ] {
            let configured = Configured::read(text).expect("it is read");
            let wrong = configured.memory_pressure(H100S).expect_err(text);
            assert!(wrong.contains(why), "{wrong}");
        }
        assert!(Configured::read("memroy: 1Gi").expect_err("a slip").contains("memroy"));
    }
}
