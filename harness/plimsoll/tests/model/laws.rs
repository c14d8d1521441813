//! What holds of any plan and any phase.

use std::collections::BTreeMap;

use plimsoll::model::{
    Assumptions, Happening, Micros, Prepared, SECOND, Sink, Tally, World, predict, simulate, timeline,
};
use plimsoll::plan::Plan;
use plimsoll::verdict::{State, judge};
use plimsoll_eviction::pod::MEMORY;
use proptest::prelude::*;

use crate::text::{Workload, certain_plan, plan, scenario};

const NAMES: [&str; 5] = ["anna", "berta", "carla", "dora", "emma"];

fn workloads() -> impl Strategy<Value = Vec<Workload>> {
    let one =
        (prop_oneof![Just(0_u32), 10..400_u32], 0..3_u32, 10..900_u32, prop_oneof![1..30_u32, 50..800_u32]);
    prop::collection::vec(one, 1..=5).prop_map(|all| {
        let named = NAMES.into_iter().zip(all);
        named
            .map(|(name, (request, priority, amount, rate))| Workload {
                name,
                request,
                priority: priority * 100,
                amount,
                rate,
            })
            .collect()
    })
}

fn housekeeping() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just("housekeepingInterval: 1s")]
}

/// Any scenario with expectations of every kind that one node and plain pods can meet or fail.
fn any_plan() -> impl Strategy<Value = Plan> {
    (600..2000_u32, 60..500_u32, housekeeping(), workloads()).prop_filter_map(
        "a plan",
        |(memory, threshold, housekeeping, workloads)| {
            let mut text = scenario(memory, threshold, housekeeping, &workloads, 90);
            let first = workloads[0].name;
            // Nobody can be expected both to go and to stay.
            let last = workloads.last().map(|own| own.name).filter(|last| *last != first);
            let survive = last.map_or_else(String::new, |last| format!("    survive: [{last}]\n"));
            text += &format!(
                "  expect:
    evicted: [{first}]
    conditions: [MemoryPressure]
    oomKills: none
    rejected: none
    reclaimed: {{memory.available: {{atLeast: 10Mi, minimumReclaim: true}}}}
    message: [{{workload: {first}, resource: memory, threshold: {threshold}Mi}}]
    within: {{memory.available: 25s}}
    terminated: {{{first}: {{atMost: 5s}}}}
{survive}"
            );
            plan(&text)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_same_plan_and_phase_give_the_same_timeline(plan in any_plan(), index in 0..100_u32) {
        let assumptions = Assumptions::default();
        let phase = assumptions.phase(index, 100);
        let run = || timeline(&plan, &Prepared::new(&plan).expect("a plan"), &assumptions, &phase);
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn what_is_predicted_is_never_unknown(plan in any_plan(), index in 0..100_u32) {
        let assumptions = Assumptions::default();
        let prepared = Prepared::new(&plan).expect("a plan");
        let phase = assumptions.phase(index, 100);
        let mut tally = Tally::default();
        simulate(&prepared, &assumptions, &phase, &mut tally);
        // What is still going on when the watching ends can not be told of a real run either.
        let late = |at: Micros| at > tally.ended - 12 * SECOND;
        prop_assume!(!tally.evictions.iter().any(|own| late(own.at)) && !tally.oom_kills.iter().any(|own| late(own.at)));
        let verdict = judge(&plan, &timeline(&plan, &prepared, &assumptions, &phase));
        prop_assert!(verdict.is_predicted());
        for finding in &verdict.findings {
            prop_assert_ne!(finding.state, State::Unknown, "{}: {}", finding.key, finding.because);
        }
        // The rules explain what they did themselves.
        for explanation in &verdict.explanations {
            prop_assert_ne!(explanation.agrees, Some(false), "{:?}", explanation.sentences);
        }
    }

    #[test]
    fn who_is_within_its_request_never_goes_before_who_is_over(plan in any_plan(), index in 0..100_u32) {
        let assumptions = Assumptions::default();
        let prepared = Prepared::new(&plan).expect("a plan");
        let mut watch = Requests::default();
        simulate(&prepared, &assumptions, &assumptions.phase(index, 100), &mut watch);
        prop_assert!(watch.wrongs.is_empty(), "{:?}", watch.wrongs);
    }

    #[test]
    fn a_ramp_slower_than_its_threshold_is_evicted_in_every_phase(
        memory in 700..3000_u32, threshold in 60..400_u32, slowness in 11..40_u32,
    ) {
        // Between two looks it takes less than the whole threshold.
        let rate = (threshold / slowness).max(1);
        let amount = memory;
        let seconds = memory / rate + 60;
        let ramp = Workload { name: "ramp", request: 0, priority: 0, amount, rate };
        let text = scenario(memory, threshold, "housekeepingInterval: 1s", &[ramp], seconds);
        let prepared = Prepared::new(&certain_plan(&(text + "  expect: {evicted: [ramp]}\n"))).expect("a plan");
        for tally in tallies(&prepared, 20) {
            prop_assert_eq!((tally.evictions.len(), tally.oom_kills.len()), (1, 0), "{:?}", tally);
        }
    }

    #[test]
    fn a_ramp_that_outruns_the_interval_is_killed_unless_a_look_falls_into_it(
        memory in 700..3000_u32, threshold in 60..200_u32,
    ) {
        let assumptions = Assumptions::default();
        let ramp = Workload { name: "ramp", request: 0, priority: 0, amount: 2 * memory, rate: 5000 };
        let text = scenario(memory, threshold, "housekeepingInterval: 1s", &[ramp], 60);
        let prepared = Prepared::new(&certain_plan(&(text + "  expect: {oomKills: [ramp]}\n"))).expect("a plan");
        // As long as it takes from the threshold to where the kernel kills, at the slowest that a machine fills.
        let headroom = i64::from(threshold) * (1 << 20) + assumptions.reclaimable.most;
        let window = headroom as f64 / assumptions.memory_rate.least as f64;
        let tallies = tallies(&prepared, 200);
        let killed = tallies.iter().filter(|tally| !tally.oom_kills.is_empty()).count();
        let spared = (200.0 * window / 10.0).ceil() as usize + 2;
        prop_assert!(killed + spared >= tallies.len(), "{killed} of {} killed, {spared} may be spared", tallies.len());
    }
}

fn tallies(prepared: &Prepared, phases: u32) -> Vec<Tally> {
    let assumptions = Assumptions::default();
    let run = |index| {
        let mut tally = Tally::default();
        simulate(prepared, &assumptions, &assumptions.phase(index, phases), &mut tally);
        tally
    };
    (0..phases).map(run).collect()
}

/// Looks at what the kubelet had measured when it chose.
#[derive(Default)]
struct Requests {
    wrongs: Vec<String>,
}

impl Sink for Requests {
    fn passing(&mut self, _world: &World<'_>, _from: Micros, _to: Micros) {}

    fn happening(&mut self, world: &World<'_>, happening: &Happening<'_>) {
        let Happening::Evicted { node, pod, .. } = happening else { return };
        let measured: BTreeMap<&str, i64> = world
            .summary(*node)
            .pods
            .iter()
            .filter_map(|own| {
                Some((own.pod_ref.uid.as_str(), own.memory.as_ref()?.working_set_bytes?.cast_signed()))
            })
            .collect();
        let over = |rules: &plimsoll_eviction::pod::Pod| {
            measured.get(rules.uid.as_str()).map(|used| used - rules.request(MEMORY).value())
        };
        let own = over(world.pod(*pod).rules());
        for other in world.pods_on(*node) {
            let other = world.pod(other).rules();
            if own.is_some_and(|own| own <= 0) && over(other).is_some_and(|over| over > 0) {
                self.wrongs.push(format!("{} went before {}", world.pod(*pod).name(), other.name));
            }
        }
    }
}

#[test]
fn a_prediction_counts_every_phase() {
    let ramp = Workload { name: "ramp", request: 0, priority: 0, amount: 700, rate: 10 };
    let text = scenario(1000, 300, "", &[ramp], 120) + "  expect: {evicted: [ramp], oomKills: none}\n";
    let prediction = predict(&certain_plan(&text), &Assumptions::default(), 30).expect("a prediction");
    assert_eq!(prediction.phases, 30);
    for finding in &prediction.findings {
        assert_eq!((finding.held, finding.words(30).as_str()), (30, "always"), "{finding:?}");
    }
    assert!(prediction.is_certain());
    let sum = |counts: &mut dyn Iterator<Item = u32>| counts.sum::<u32>();
    for fact in &prediction.facts {
        assert_eq!(sum(&mut fact.alternatives.iter().map(|own| own.phases)), 30, "{fact:?}");
    }
    assert_eq!(sum(&mut prediction.sequences.iter().map(|own| own.phases)), 30);
}

#[test]
fn what_a_sweep_changes_is_as_if_it_had_been_written_so() {
    let workload = |request, amount, rate| Workload { name: "ramp", request, priority: 0, amount, rate };
    let prepared = |memory, threshold, own| {
        let text = scenario(memory, threshold, "", &[own], 120) + "  expect: {evicted: [ramp]}\n";
        Prepared::new(&certain_plan(&text)).expect("a plan")
    };
    let written = prepared(1200, 250, workload(90, 800, 12));
    let mut changed = prepared(1000, 300, workload(50, 700, 10));
    changed.set_memory("worker", 1200 << 20).expect("a node");
    changed
        .set_hard_threshold("worker", plimsoll_eviction::signal::Signal::MemoryAvailable, "250Mi")
        .expect("a threshold");
    changed.set_memory_request("ramp", 90 << 20).expect("a workload");
    let course = |own: &mut plimsoll::model::Course| {
        own.amount = 800 << 20;
        own.rate = Some(12 << 20);
    };
    changed.set_memory_fill("ramp", course).expect("a fill");
    assert_eq!(tallies(&changed, 20), tallies(&written, 20));
    assert!(changed.set_memory("nobody", 1).is_err());
    assert!(changed.set_memory_fill("nobody", course).is_err());
}
