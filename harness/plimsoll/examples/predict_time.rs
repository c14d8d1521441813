//! Times predictions of a single node over 5 minutes: what came of it, the same with its timeline, and cells of a sweep; and over a day.
//!
//! ```text
//! cargo run --release -p plimsoll --example predict_time
//! ```
//!
//! One JSON document a line, times in microseconds on one thread, each the fastest of 5 rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use plimsoll::model::{Assumptions, Phase, Prepared, SECOND, Tally, simulate, timeline};
use plimsoll::plan::{Plan, lower};
use plimsoll::scenario::{Files, parse};

/// Three pods on a node of 2 GiB; one of them fills up slowly, is evicted, and the node is watched for 5 minutes in all.
const SCENARIO: &str = "\
apiVersion: plimsoll.dev/v1alpha1
kind: Scenario
metadata: {name: five-minutes}
spec:
  cluster:
    nodes:
    - name: worker
      memory: 2Gi
      nodefs: 2Gi
      kubelet:
        evictionHard: {memory.available: 400Mi}
        evictionMinimumReclaim: {memory.available: 100Mi}
        evictionPressureTransitionPeriod: 30s
  workloads:
  - {name: steady, requests: {memory: 400Mi}, fill: {memory: {amount: 350Mi}}}
  - {name: idler, fill: {memory: {amount: 200Mi}}}
  - {name: greedy, requests: {memory: 50Mi}, fill: {memory: {amount: 1500Mi, rate: 10Mi/s}}}
  steps:
  - start: [steady, idler]
  - wait: {for: Running, within: 30s}
  - start: [greedy]
  - observe: OBSERVED
  expect: {evicted: [greedy], survive: [steady, idler], oomKills: none}
";

/// The time of one call, in microseconds; calls go through the phases.
fn time(phases: &[Phase], mut call: impl FnMut(&Phase)) -> f64 {
    let mut round = || {
        let start = Instant::now();
        let mut calls = 0_u32;
        while start.elapsed() < Duration::from_millis(200) {
            for phase in phases {
                call(phase);
            }
            calls += u32::try_from(phases.len()).unwrap_or(u32::MAX);
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    std::iter::repeat_with(&mut round).take(5).fold(f64::INFINITY, f64::min)
}

/// The plan, watched for so long after the last start.
fn plan(observed: &str) -> Plan {
    let text = SCENARIO.replace("OBSERVED", observed);
    let parsed = parse("five-minutes.yaml", &text).unwrap_or_else(|error| panic!("{error}"));
    lower(&parsed.with_files(&Files::default())).unwrap_or_else(|error| panic!("{error}")).plan
}

fn main() {
    let plan = plan("297s");
    let assumptions = Assumptions::default();
    let prepared = Prepared::new(&plan).unwrap_or_else(|error| panic!("{error}"));
    let phases: Vec<Phase> = (0..100).map(|index| assumptions.phase(index, 100)).collect();
    let mut tally = Tally::default();
    simulate(&prepared, &assumptions, &phases[0], &mut tally);
    let minutes = (tally.ended + 30 * SECOND) / (60 * SECOND);
    assert_eq!((tally.evictions.len(), minutes), (1, 5), "another scenario: {tally:?}");
    let outcome = time(&phases, |phase| {
        let mut tally = Tally::default();
        simulate(black_box(&prepared), &assumptions, phase, &mut tally);
        black_box(tally);
    });
    let told = time(&phases[..10], |phase| drop(black_box(timeline(&plan, &prepared, &assumptions, phase))));
    let mut cell = prepared.clone();
    let mut rate = 0;
    let swept = time(&phases, |phase| {
        rate = rate % 200 + 1;
        let changed = cell.set_memory_fill("greedy", |course| course.rate = Some(rate << 20));
        changed.unwrap_or_else(|error| panic!("{error}"));
        let mut tally = Tally::default();
        simulate(&cell, &assumptions, phase, &mut tally);
        black_box(tally);
    });
    let long = self::plan("23h59m57s");
    let day = Prepared::new(&long).unwrap_or_else(|error| panic!("{error}"));
    let mut tally = Tally::default();
    simulate(&day, &assumptions, &phases[0], &mut tally);
    assert!(tally.ended >= 86_390 * SECOND, "less than a day: {tally:?}");
    let day = time(&phases[..10], |phase| {
        let mut tally = Tally::default();
        simulate(black_box(&day), &assumptions, phase, &mut tally);
        black_box(tally);
    });
    println!(
        "{{\"minutes\":5,\"outcomeMicroseconds\":{outcome:.1},\"timelineMicroseconds\":{told:.0},\
         \"cellMicroseconds\":{swept:.1},\"dayMicroseconds\":{day:.0}}}"
    );
}
