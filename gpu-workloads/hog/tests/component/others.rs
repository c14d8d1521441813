//! The bystander, the cycles and the list of calls.

use plimsoll_gpu_hog::bystander::{self, Report};
use plimsoll_gpu_hog::conformance::{self, Check, Outcome};
use plimsoll_gpu_hog::cycles::Cycle;
use plimsoll_hog::report::{Kind, Simulated};
use rustix::process::Signal;

use crate::machine::{Machine, Running, TERMINATED, error};

#[test]
fn a_bystander_works_on_while_the_card_is_filled_to_the_end() {
    let machine = Machine::with(1);
    let mut bystander: Running<Report> =
        Running::start(machine.command(&["bystander", "--interval", "20ms", "--amount", "64Mi"]));
    let start = bystander.wait_until(|report| report.kind == bystander::Kind::BystanderStart);
    assert_eq!((start.holds, start.stamp), (64 << 20, Some(Simulated::Simulated)));
    let mut hog = machine.fill(&["--fill-to-oom", "--hold", "2s"]);
    hog.wait_for(Kind::Held);
    hog.wait_for(Kind::Final);
    assert!(hog.ended().success());
    bystander.signal(Signal::TERM);
    let last = bystander.wait_until(|report| report.kind == bystander::Kind::BystanderFinal);
    assert_eq!((last.errors, last.differing), (0, 0));
    assert!(last.rounds >= 10, "{last:?}");
    let latency = last.latency.unwrap();
    assert!(0.0 < latency.least && latency.least <= latency.median && latency.p99 <= latency.most);
    assert_eq!(bystander.ended().code(), Some(TERMINATED));
}

#[test]
fn a_bystander_counts_what_fails() {
    let mut machine = Machine::with(1);
    let mut bystander: Running<Report> =
        Running::start(machine.command(&["bystander", "--interval", "10ms"]));
    bystander.wait_until(|report| report.kind == bystander::Kind::Bystander);
    machine.change(|node| node.devices[0].faults.lost = true);
    let failed = bystander.wait_until(|report| report.errors > 0);
    assert!(failed.message.unwrap().contains("CUDA_ERROR_LAUNCH_FAILED (719)"));
    bystander.signal(Signal::TERM);
    assert_eq!(bystander.ended().code(), Some(4));
}

#[test]
fn a_bystander_may_end_with_the_first_failure() {
    let mut machine = Machine::with(1);
    let mut bystander: Running<Report> =
        Running::start(machine.command(&["bystander", "--interval", "10ms", "--end-on-error"]));
    bystander.wait_until(|report| report.kind == bystander::Kind::Bystander);
    machine.change(|node| node.devices[0].faults.lost = true);
    let last = bystander.wait_until(|report| report.kind == bystander::Kind::BystanderFinal);
    assert_eq!(last.errors, 1);
    assert_eq!(bystander.ended().code(), Some(4));
}

#[test]
fn cycles_say_what_a_driver_does_not_give_back() {
    let mut machine = Machine::with(1);
    let cycles = |machine: &Machine| -> Vec<Cycle> {
        let output = machine.run(&["cycles", "--count", "3"]);
        assert!(output.status.success(), "{}", error(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for cycle in cycles(&machine) {
        assert_eq!(cycle.free_after, cycle.free_before);
        assert!(cycle.free_exhausted < 2 << 20 && cycle.allocated > 78 << 30, "{cycle:?}");
    }
    machine.change(|node| node.devices[0].faults.leak = 1 << 16);
    let leaking = cycles(&machine);
    assert!(leaking.iter().all(|cycle| cycle.free_after < cycle.free_before), "{leaking:?}");
}

/// The same list on the simulated driver and, where there is one, on the machine's own.
#[test]
fn drivers_answer_as_the_workloads_rely_on() {
    let machine = Machine::with(1);
    let checks = |output: &std::process::Output| -> Vec<Check> {
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let simulated = machine.run(&["conformance"]);
    let simulated_checks = checks(&simulated);
    for check in &simulated_checks {
        assert_eq!(check.outcome, Outcome::Passed, "{check:?}");
        assert_eq!(check.stamp, Some(Simulated::Simulated));
    }
    assert!(simulated.status.success());
    assert_eq!(simulated_checks.len(), 11);

    let real = machine.command(&["conformance"]).env_remove("PLIMSOLL_CUDA_LIBRARY").output().unwrap();
    if !real.status.success() && real.stdout.is_empty() {
        eprintln!("could not be checked on a card: {}", error(&real).trim_end());
        return;
    }
    let real_checks = checks(&real);
    assert!(
        real_checks.iter().all(|check| check.outcome != Outcome::Failed && check.stamp.is_none()),
        "{real_checks:?}"
    );
    let differences =
        conformance::differences(("card", &real_checks), ("simulated driver", &simulated_checks));
    assert!(differences.is_empty(), "{differences:?}");
}
