//! From what was seen to a check: each passes, fails, and says when it could not be made.

use plimsoll_acceptance::cards;
use plimsoll_acceptance::declaration::Declaration;
use plimsoll_acceptance::judge::{self, Offered};
use plimsoll_acceptance::program::Ran;
use plimsoll_acceptance::report::{Check, Outcome};
use plimsoll_gpu_hog::conformance;
use plimsoll_gpu_hog::inventory::{Cuda, CudaDevice, Inventory, Nvml, Told};
use plimsoll_gpu_hog::management::{Facts, Process};
use serde_json::{Value, json};

const H100: &str = "NVIDIA H100 80GB HBM3";
const GI: u64 = 1 << 30;
const TOTAL: u64 = 80 * GI;

fn ran(lines: &[Value]) -> Ran {
    Ran { lines: lines.iter().map(Value::to_string).collect(), code: Some(0), ..Ran::default() }
}

fn failed(error: &str, code: i32) -> Ran {
    Ran { error: error.to_owned(), code: Some(code), ..Ran::default() }
}

/// A filler's report, with the fields that are judged.
fn report(kind: &str, filled: u64, passes: u64, differing: u64) -> Value {
    json!({
        "v": 1, "kind": kind, "at": "2026-01-02T03:04:05Z", "elapsed": 1.0, "resource": "gpu-memory", "pid": 1,
        "unit": "bytes", "target": TOTAL, "filled": filled, "holds": filled, "rate": null, "start_at": 0,
        "gpu": {
            "devices": [{
                "index": 0, "uuid": "GPU-1", "name": "NVIDIA H100 80GB HBM3", "target": TOTAL, "filled": filled,
                "holds": filled, "context": null, "free_before": null, "free": 0, "total": TOTAL,
                "write_bandwidth": 3_000_000_000_000u64,
            }],
            "memory_test": {"passes": passes, "compared": filled * passes, "differing": differing},
        },
    })
}

fn filled(gibibytes: u64, passes: u64) -> Ran {
    ran(&[report("held", gibibytes * GI, passes, 0), report("final", 0, passes, 0)])
}

#[track_caller]
fn assert_outcome(check: &Check, outcome: Outcome, seen: &str) {
    assert!(check.outcome == outcome && check.seen.contains(seen), "{check:?}");
}

#[test]
fn the_memory_test_reaches_most_of_the_card_or_fails() {
    use Outcome::{CouldNotCheck, Failed, Passed};
    let whole = judge::memory_test(&filled(79, 2));
    assert_outcome(&whole, Passed, "79.00Gi of 80.00Gi (98.7 %) written and compared, 2 times");
    assert_outcome(&judge::memory_test(&filled(76, 1)), Passed, "(95.0 %)");
    assert_outcome(&judge::memory_test(&filled(75, 1)), Failed, "(93.7 %)");
    assert_outcome(&judge::memory_test(&filled(79, 0)), Failed, "nothing was compared");
    // What is found outweighs how far it came.
    let mut corrupted = report("final", 0, 1, 3);
    corrupted["reason"] = json!("corrupted");
    corrupted["message"] = json!("the first at byte 7");
    let corrupted = ran(&[report("held", 79 * GI, 1, 3), corrupted]);
    assert_outcome(&judge::memory_test(&corrupted), Failed, "3 elements differ: the first at byte 7");
    // One that ended by an error has not passed, whatever it said before.
    let lost = Ran { code: Some(4), ..filled(79, 1) };
    assert_outcome(&judge::memory_test(&lost), Failed, "ended with code 4");
    assert_outcome(&judge::memory_test(&failed("error: no driver\n", 1)), Failed, "no driver");
    // Cut off before its last report.
    let cut = Ran { too_long: true, code: None, ..ran(&[report("held", 79 * GI, 1, 0)]) };
    assert_outcome(&judge::memory_test(&cut), Failed, "it took too long and was killed");
    let mut untold = report("final", 0, 1, 0);
    untold["gpu"]["memory_test"] = Value::Null;
    assert_outcome(&judge::memory_test(&ran(&[untold])), CouldNotCheck, "said nothing of a test");
}

#[test]
fn bandwidth_is_a_share_of_the_data_sheet() {
    let card = cards::find("NVIDIA H100 80GB HBM3");
    let fast = judge::bandwidth(&filled(79, 1), card, 70);
    assert_outcome(&fast, Outcome::Passed, "3000 GB/s while filling, 89 % of 3350 GB/s");
    let slow = judge::bandwidth(&filled(79, 1), card, 90);
    assert_outcome(&slow, Outcome::Failed, "89 %");
    assert!(slow.wanted.contains("data sheet"), "{slow:?}");
    let unknown = judge::bandwidth(&filled(79, 1), None, 70);
    assert_outcome(&unknown, Outcome::CouldNotCheck, "not among the known cards");
    let nothing = judge::bandwidth(&ran(&[]), card, 70);
    assert_outcome(&nothing, Outcome::CouldNotCheck, "nothing was measured");
}

fn cycle(number: u64, before: u64, allocated: u64, after: u64) -> Value {
    json!({
        "v": 1, "kind": "cycle", "at": "2026-01-02T03:04:05Z", "cycle": number, "uuid": "GPU-1",
        "free_before": before, "allocated": allocated, "free_exhausted": before - allocated, "free_after": after,
    })
}

#[test]
fn what_is_taken_comes_back_over_all_cycles_together() {
    let steady: Vec<Value> = (1..=4).map(|number| cycle(number, TOTAL, TOTAL - (1 << 20), TOTAL)).collect();
    let checks = judge::cycles(&ran(&steady), 3);
    assert!(judge::all_passed(&checks), "{checks:?}");
    // What is kept once is the driver's own.
    let kept = 8 << 20;
    let mut keeping = steady.clone();
    keeping[0]["free_before"] = json!(TOTAL + kept);
    let checks = judge::cycles(&ran(&keeping), 3);
    assert_outcome(&checks[1], Outcome::Passed, "0 bytes missing after 3 cycles, beside 8.0Mi that");
    keeping[0]["free_before"] = json!(TOTAL + 9 * kept);
    assert_outcome(&judge::cycles(&ran(&keeping), 3)[1], Outcome::Failed, "beside 72.0Mi");
    // Half a mebibyte each time is under the mark in every cycle, and over it in all.
    let leak = 1 << 19;
    let leaking: Vec<Value> = (1..=4)
        .map(|number| cycle(number, TOTAL - (number - 1) * leak, TOTAL - 5 * leak, TOTAL - number * leak))
        .collect();
    let checks = judge::cycles(&ran(&leaking), 3);
    assert_outcome(&checks[0], Outcome::Passed, "99.9 %");
    assert_outcome(&checks[1], Outcome::Failed, "1.5Mi missing after 3 cycles");
    let refused = judge::cycles(&ran(&[cycle(1, TOTAL, TOTAL / 2, TOTAL)]), 0);
    assert_outcome(&refused[0], Outcome::Failed, "50.0 %");
    // Fewer cycles than asked for are no evidence.
    let few = judge::cycles(&ran(&steady), 50);
    for check in few.iter().chain(&judge::cycles(&failed("error: lost", 1), 50)) {
        assert_eq!(check.outcome, Outcome::Failed, "{check:?}");
    }
}

/// A time so many seconds after a minute.
fn second(second: u64) -> String {
    format!("2026-01-02T03:04:{second:02}Z")
}

/// A bystander that reports each second from one to another, with 10 rounds in each and the same median.
fn bystander(seconds: std::ops::RangeInclusive<u64>, errors: u64, median: f64) -> Ran {
    let (first, last) = (*seconds.start(), *seconds.end());
    let lines: Vec<Value> = seconds
        .map(|at| {
            let kind = match at {
                _ if at == last => "bystander-final",
                _ if at == first => "bystander-start",
                _ => "bystander",
            };
            json!({
                "v": 1, "kind": kind, "at": second(at), "elapsed": 1.0, "uuid": "GPU-1", "holds": 1,
                "rounds": (at - first) * 10, "errors": errors, "differing": 0,
                "message": if errors > 0 { json!("it failed") } else { Value::Null },
                "latency": {"least": median, "median": median, "p99": median, "most": median},
            })
        })
        .collect();
    ran(&lines)
}

/// A filler that said at these seconds that it holds the card.
fn full(seconds: &[u64]) -> Ran {
    let held = |at: &u64| {
        let mut report = report("held", 79 * GI, 0, 0);
        report["at"] = json!(second(*at));
        report
    };
    ran(&seconds.iter().map(held).chain([report("final", 0, 0, 0)]).collect::<Vec<_>>())
}

#[test]
fn a_bystander_is_left_alone_or_not() {
    let alone = bystander(0..=5, 0, 0.001);
    let checks = judge::isolation(&alone, &bystander(10..=20, 0, 0.002), &full(&[12, 13, 15]));
    assert!(judge::all_passed(&checks), "{checks:?}");
    assert_outcome(
        &checks[0],
        Outcome::Passed,
        "100 rounds, 0 errors, 0 elements that differ; 30 of the rounds",
    );
    let slow = judge::isolation(&alone, &bystander(10..=20, 0, 0.011), &full(&[12, 13, 15]));
    assert_outcome(&slow[0], Outcome::Passed, "");
    assert_outcome(&slow[1], Outcome::Failed, "median 1.000 ms alone and 11.000 ms while the card was full");
    let wrong = judge::isolation(&alone, &bystander(10..=20, 2, 0.001), &full(&[12, 13, 15]));
    assert_outcome(&wrong[0], Outcome::Failed, "100 rounds, 2 errors, 0 elements that differ: it failed");
    // Without a full card there was nothing to be left alone by.
    for check in judge::isolation(&alone, &bystander(10..=20, 0, 0.1), &failed("error: busy", 1)) {
        assert_outcome(&check, Outcome::CouldNotCheck, "the filler did not fill the card: busy");
    }
    for check in judge::isolation(&alone, &failed("", 1), &full(&[12, 15])) {
        assert_outcome(&check, Outcome::Failed, "the bystander did not end as it should");
    }
}

#[test]
fn what_a_bystander_did_before_the_card_was_full_is_no_evidence() {
    let alone = bystander(0..=5, 0, 0.001);
    // It had ended when the filler was done; the card was full for less than from one report to the next; the only
    // report meanwhile is the last, which tells of everything before, too.
    for (beside, filler) in [
        (bystander(10..=20, 0, 0.001), full(&[21, 25])),
        (bystander(10..=20, 0, 0.001), full(&[12])),
        (bystander(10..=20, 0, 0.001), full(&[19, 30])),
    ] {
        for check in judge::isolation(&alone, &beside, &filler) {
            assert_outcome(&check, Outcome::CouldNotCheck, "tells of no time that lies within");
        }
    }
    // Slow while it was full and fast before and after is slow.
    let mut beside = bystander(10..=30, 0, 0.001);
    for line in &mut beside.lines[3..=5] {
        *line = line.replace("0.001", "0.1");
    }
    let checks = judge::isolation(&alone, &beside, &full(&[12, 13, 15]));
    assert_outcome(&checks[1], Outcome::Failed, "100.000 ms while the card was full");
}

fn card(name: &str, memory: u64) -> CudaDevice {
    CudaDevice { index: 0, uuid: "GPU-1".into(), name: name.into(), memory, multiprocessors: 132, mps: None }
}

fn facts() -> Facts {
    Facts {
        uuid: "GPU-1".into(),
        ecc: Some(true),
        ecc_uncorrected: Some(0),
        ecc_corrected: Some(0),
        processes: Some(vec![]),
        ..Facts::default()
    }
}

fn inventory(cuda: i32, driver: &str, count: usize) -> Inventory {
    let device = card("NVIDIA H100 80GB HBM3", TOTAL);
    Inventory {
        v: 1,
        stamp: None,
        cuda: Told::Said(Cuda { version: cuda, devices: vec![device; count] }),
        nvml: Told::Said(Nvml { driver_version: driver.into(), devices: vec![Told::Said(facts()); count] }),
    }
}

#[test]
fn what_is_declared_is_what_is_there() {
    let declared = Declaration {
        devices: Some(2),
        driver: Some("580".parse().unwrap()),
        cuda: Some("12.4".parse().unwrap()),
        ..Declaration::default()
    };
    let good = inventory(13_000, "580.95.05", 2);
    assert!(judge::all_passed(&judge::drivers(&good, &declared)));
    assert!(judge::all_passed(&judge::count(&good, &declared)));
    let bad = inventory(12_020, "535.1", 1);
    let checks = judge::drivers(&bad, &declared);
    assert_outcome(&checks[0], Outcome::Failed, "12.2");
    assert_outcome(&checks[1], Outcome::Failed, "535.1");
    assert_outcome(&judge::count(&bad, &declared)[0], Outcome::Failed, "CUDA sees 1, NVML 1");
    // One that NVML sees and CUDA does not is not there.
    let mut uneven = inventory(13_000, "580", 2);
    uneven.cuda = Told::Said(Cuda { version: 13_000, devices: vec![] });
    assert_outcome(&judge::count(&uneven, &declared)[0], Outcome::Failed, "CUDA sees 0, NVML 2");
    uneven.cuda = Told::Failed("no driver".into());
    assert_outcome(&judge::drivers(&uneven, &declared)[0], Outcome::Failed, "no driver");
    assert_outcome(&judge::count(&uneven, &declared)[0], Outcome::CouldNotCheck, "CUDA sees ?, NVML 2");
    // What is not declared is told as not checked.
    let nothing = Declaration::default();
    assert_outcome(&judge::count(&inventory(13_000, "580", 0), &nothing)[0], Outcome::Failed, "CUDA sees 0");
    assert_eq!(judge::not_checked(&nothing).len(), judge::not_checked(&declared).len() + 3);
}

#[test]
fn a_device_is_what_it_is_sold_as() {
    let nothing = Declaration::default();
    let of = |device: &CudaDevice, facts: Option<&Facts>, name: &str| {
        judge::device(device, facts, &nothing).into_iter().find(|check| check.name == name).unwrap()
    };
    let good = card("NVIDIA H100 80GB HBM3", TOTAL);
    let checks = judge::device(&good, Some(&facts()), &nothing);
    assert!(judge::all_passed(&checks), "{checks:?}");
    assert!(checks.iter().all(|check| check.device.as_deref() == Some("GPU-1")));
    let half = card("NVIDIA H100 80GB HBM3", 40 * GI);
    assert_outcome(&of(&half, None, "memory"), Outcome::Failed, "40.00Gi");
    let unknown = of(&card("Some card", TOTAL), None, "memory");
    assert_outcome(&unknown, Outcome::CouldNotCheck, "'Some card' is not among the known cards");
    let declared =
        Declaration { memory: Some(TOTAL + 1), product: Some("Other".into()), ..Declaration::default() };
    let checks = judge::device(&good, Some(&facts()), &declared);
    assert!(checks[0].outcome == Outcome::Failed && checks[1].outcome == Outcome::Failed, "{checks:?}");
    let worse = Facts {
        ecc: Some(false),
        ecc_uncorrected: Some(2),
        processes: Some(vec![Process { pid: 7, used: None }]),
        ..facts()
    };
    assert_outcome(&of(&good, Some(&worse), "ECC is on"), Outcome::Failed, "off");
    assert_outcome(&of(&good, Some(&worse), "no uncorrected ECC errors"), Outcome::Failed, "2");
    assert_outcome(&of(&good, Some(&worse), "nobody else uses it"), Outcome::Failed, "processes 7");
    for name in ["ECC is on", "no uncorrected ECC errors", "nobody else uses it"] {
        assert_eq!(of(&good, None, name).outcome, Outcome::CouldNotCheck);
    }
}

#[test]
fn what_a_killed_process_held_comes_back() {
    assert_eq!(judge::return_after_kill(true, Some(TOTAL), Some(TOTAL)).outcome, Outcome::Passed);
    let missing = judge::return_after_kill(true, Some(TOTAL), Some(TOTAL - GI));
    assert_outcome(&missing, Outcome::Failed, "1.00Gi missing");
    assert_eq!(judge::return_after_kill(false, Some(TOTAL), Some(TOTAL)).outcome, Outcome::CouldNotCheck);
    assert_eq!(judge::return_after_kill(true, None, Some(TOTAL)).outcome, Outcome::CouldNotCheck);
}

#[test]
fn errors_that_are_counted_meanwhile_speak_against_it() {
    let after = |corrected| Told::Said(Facts { ecc_corrected: Some(corrected), ..facts() });
    assert_eq!(judge::errors_meanwhile(H100, Some(&facts()), Some(&after(0))).outcome, Outcome::Passed);
    assert_outcome(
        &judge::errors_meanwhile(H100, Some(&facts()), Some(&after(4))),
        Outcome::Failed,
        "4 corrected more",
    );
    let lost = Told::Failed("lost".into());
    assert_outcome(&judge::errors_meanwhile(H100, Some(&facts()), Some(&lost)), Outcome::Failed, "lost");
    assert_eq!(judge::errors_meanwhile(H100, None, Some(&after(0))).outcome, Outcome::CouldNotCheck);
}

#[test]
fn a_card_that_has_no_ecc_does_not_fail_for_want_of_it() {
    let without = Facts { ecc: None, ecc_uncorrected: None, ecc_corrected: None, ..facts() };
    let gaming = card("NVIDIA GeForce RTX 3090", 24 * GI);
    let checks = judge::device(&gaming, Some(&without), &Declaration::default());
    assert!(judge::all_passed(&checks), "{checks:?}");
    assert!(checks.iter().all(|check| !check.name.contains("ECC")), "{checks:?}");
    let said = judge::no_ecc(&gaming).unwrap();
    assert!(said.contains("NVIDIA GeForce RTX 3090 [GPU-1]: a card of its kind has none"), "{said}");
    let after = Told::Said(without.clone());
    let there = judge::errors_meanwhile(&gaming.name, Some(&without), Some(&after));
    assert_outcome(&there, Outcome::Passed, "NVML knows it");
    let lost = Told::Failed("lost".into());
    let there = judge::errors_meanwhile(&gaming.name, Some(&without), Some(&lost));
    assert_outcome(&there, Outcome::Failed, "lost");
    assert_eq!(judge::errors_meanwhile(&gaming.name, None, None).outcome, Outcome::CouldNotCheck);
    // Of one that should have it, or of which nothing is known, silence is no answer.
    for name in [H100, "Some card"] {
        let checks = judge::device(&card(name, TOTAL), Some(&without), &Declaration::default());
        let ecc = checks.iter().find(|check| check.name == "ECC is on").unwrap();
        assert_outcome(ecc, Outcome::CouldNotCheck, "NVML does not say");
        assert_eq!(judge::no_ecc(&card(name, TOTAL)), None);
    }
}

#[test]
fn the_list_of_calls_is_passed_whole() {
    let call = |outcome: &str| json!({"name": "a call", "outcome": outcome, "seen": "x"});
    let nvml = json!({"name": conformance::NVML, "outcome": "could-not-check", "seen": "x"});
    let whole = ran(&[call("passed"), nvml.clone()]);
    assert_outcome(
        &judge::conformance(&whole),
        Outcome::Passed,
        "1 calls of the list; could not be made: NVML knows",
    );
    // Nothing that could be checked is no pass.
    assert_eq!(judge::conformance(&ran(&[nvml])).outcome, Outcome::Failed);
    for list in [vec![call("could-not-check")], vec![call("passed"), call("could-not-check")]] {
        assert_outcome(&judge::conformance(&ran(&list)), Outcome::CouldNotCheck, "could not be made: a call");
    }
    let part = judge::conformance(&ran(&[call("passed"), call("failed")]));
    assert_outcome(&part, Outcome::Failed, "a call: x");
    // A list that was cut off.
    assert_eq!(judge::conformance(&Ran { code: None, ..whole }).outcome, Outcome::Failed);
    assert_outcome(&judge::conformance(&failed("error: no driver", 1)), Outcome::Failed, "no driver");
}

#[test]
fn the_kubelet_offers_what_there_is() {
    let offered = |capacity, allocatable| Ok(Offered { capacity, allocatable });
    let judge = |seen, wanted| judge::offered("nvidia.com/gpu", seen, wanted);
    assert_eq!(judge(offered(Some(2), Some(2)), Some(2)).outcome, Outcome::Passed);
    let unhealthy = judge(offered(Some(2), Some(1)), Some(2));
    assert_outcome(&unhealthy, Outcome::Failed, "2, of which pods can be given 1");
    assert_outcome(&judge(offered(Some(1), Some(1)), Some(2)), Outcome::Failed, "1, of which");
    assert_outcome(&judge(offered(None, None), Some(2)), Outcome::Failed, "it offers no nvidia.com/gpu");
    assert_outcome(&judge(Err("no answer".into()), Some(2)), Outcome::CouldNotCheck, "no answer");
    assert_eq!(judge(offered(Some(2), Some(2)), None).outcome, Outcome::CouldNotCheck);
}
