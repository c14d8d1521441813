//! Taking amounts at rates, holding them, giving them back.

use plimsoll_hog::report::{GpuMeasure, Kind, Reason, Report, Resource, Simulated, Unit};
use rustix::process::Signal;

use crate::machine::{GI, Machine, TERMINATED, error};

/// What a report says of its only device.
fn device(report: &Report) -> &plimsoll_hog::report::GpuDevice {
    let gpu = report.gpu.as_ref().unwrap();
    assert_eq!(gpu.stamp, Some(Simulated::Simulated));
    assert_eq!(gpu.devices.len(), 1);
    &gpu.devices[0]
}

#[test]
fn an_amount_is_held_exactly_and_given_back_when_told() {
    let machine = Machine::with(1);
    let all = machine.free(0);
    let mut hog = machine.fill(&["--amount", "40Gi"]);
    let held = hog.wait_for(Kind::Held);
    assert_eq!((held.resource, held.unit), (Resource::GpuMemory, Unit::Bytes));
    assert_eq!((held.target, held.filled, held.holds), (40 * GI, 40 * GI, Some(40 * GI)));
    let card = device(&held);
    assert_eq!((card.holds, card.measured), (Some(40 * GI), Some(GpuMeasure::Process)));
    // The context's own cost is apart, and another process sees both.
    let context = card.context.unwrap();
    // The first byte comes after the context.
    let first_byte = held.gpu.as_ref().unwrap().first_byte_seconds.unwrap();
    let making = card.context_seconds.unwrap();
    assert!(0.0 < making && making < first_byte, "{making} {first_byte}");
    assert!(context >= 512 << 20, "{context}");
    assert_eq!(machine.free(0), all - 40 * GI - context);
    let down = hog.ask(&["set", "--amount", "10.5Gi"]);
    assert_eq!(
        (down.kind, down.target, down.returned),
        (Kind::Changed, 10 * GI + GI / 2, Some(29 * GI + GI / 2))
    );
    hog.wait_until(|report| report.kind == Kind::Held && report.holds == Some(10 * GI + GI / 2));
    assert_eq!(machine.free(0), all - 10 * GI - GI / 2 - context);
    hog.signal(Signal::USR1);
    let released = hog.wait_for(Kind::Released);
    assert_eq!((released.holds, released.reason), (Some(0), Some(Reason::ReleaseSignal)));
    assert_eq!(machine.free(0), all - context);
    hog.ask(&["set", "--amount", "2Gi"]);
    hog.wait_until(|report| report.kind == Kind::Held && report.target == 2 * GI);
    hog.signal(Signal::TERM);
    assert_eq!(hog.wait_for(Kind::Final).returned, Some(2 * GI));
    assert_eq!(hog.ended().code(), Some(TERMINATED));
    assert_eq!(machine.free(0), all);
}

#[test]
fn a_rate_is_kept_and_the_way_is_reported() {
    let machine = Machine::with(1);
    let mut hog = machine.fill(&["--amount", "4Gi", "--start-at", "1Gi", "--rate", "2Gi/s", "--hold", "0s"]);
    let held = hog.wait_until(|report| {
        // A machine that is busy only makes it later, never earlier.
        let earned = 1.0 + report.elapsed * 2.0;
        assert!(report.filled as f64 <= earned * GI as f64 + 1.0, "{report:?}");
        report.kind == Kind::Held
    });
    assert!(held.elapsed >= 1.5, "{held:?}");
    assert_eq!(held.holds, Some(4 * GI));
    assert_eq!(hog.wait_for(Kind::Final).reason, Some(Reason::HoldOver));
    assert!(hog.ended().success());
}

#[test]
fn a_share_of_the_card_is_written_and_compared() {
    let machine = Machine::with(1);
    let mut hog = machine.fill(&["--amount", "95%", "--passes", "3", "--hold", "0s", "--compute", "50"]);
    let held = hog.wait_for(Kind::Held);
    let expected = machine.node.devices[0].memory * 95 / 100 / (2 << 20) * (2 << 20);
    assert_eq!(held.holds, Some(expected));
    let gpu = held.gpu.as_ref().unwrap();
    let test = gpu.memory_test.unwrap();
    assert_eq!((test.passes, test.compared, test.differing), (3, 3 * expected, 0));
    // The simulated card writes as fast as it is described to, not faster.
    let described = machine.node.devices[0].memory_bandwidth;
    let measured = gpu.devices[0].write_bandwidth.unwrap();
    assert!(measured <= described && measured > described / 100, "{measured} of {described}");
    assert!(hog.ended().success());
}

#[test]
fn several_devices_are_filled_alike_by_index_or_uuid() {
    let machine = Machine::with(3);
    let last = machine.node.devices[2].uuid.clone();
    let mut hog = machine.fill(&["--amount", "8Gi", "--device", &format!("0,{last}")]);
    let held = hog.wait_for(Kind::Held);
    assert_eq!((held.target, held.holds), (16 * GI, Some(16 * GI)));
    let devices = held.gpu.unwrap().devices;
    let seen: Vec<_> = devices.iter().map(|card| (card.index, card.uuid.as_str(), card.holds)).collect();
    assert_eq!(
        seen,
        [(0, machine.node.devices[0].uuid.as_str(), Some(8 * GI)), (2, last.as_str(), Some(8 * GI))]
    );
    assert_eq!(machine.free(1), machine.node.devices[1].memory);
    let down = hog.ask(&["set", "--amount", "4Gi"]);
    assert_eq!(down.target, 4 * GI);
    let held = hog.wait_until(|report| report.kind == Kind::Held && report.target == 4 * GI);
    assert_eq!(
        held.gpu.unwrap().devices.iter().map(|card| card.holds).collect::<Vec<_>>(),
        [Some(2 * GI); 2]
    );
    hog.signal(Signal::INT);
    assert_eq!(hog.ended().code(), Some(130));
}

#[test]
fn all_there_is_is_taken_of_every_device() {
    let machine = Machine::with(2);
    let mut hog = machine.fill(&["--fill-to-oom", "--device", "all", "--hold", "0s"]);
    let held = hog.wait_for(Kind::Held);
    assert_eq!((held.reason, held.refusals), (Some(Reason::Exhausted), 1));
    assert!(held.message.unwrap().contains("CUDA_ERROR_OUT_OF_MEMORY (2)"));
    for card in held.gpu.unwrap().devices {
        assert_eq!(card.filled, card.holds.unwrap());
        assert!(card.free.unwrap() < 2 << 20, "{card:?}");
    }
    assert!(hog.ended().success());
}

#[test]
fn what_becomes_of_a_failed_allocation_is_a_flag() {
    let machine = Machine::with(1);
    let mut first = machine.fill(&["--amount", "60Gi"]);
    first.wait_for(Kind::Held);

    let mut exits = machine.fill(&["--amount", "40Gi"]);
    let last = exits.wait_for(Kind::Final);
    assert_eq!((last.reason, last.holds), (Some(Reason::Exhausted), Some(0)));
    assert_eq!(exits.ended().code(), Some(3));

    let holds = machine.fill(&["--amount", "10Gi", "--when-exhausted", "hold"]);
    assert_eq!(holds.wait_for(Kind::Held).holds, Some(10 * GI));
    let mut retries = machine.fill(&[
        "--amount",
        "30Gi",
        "--when-exhausted",
        "retry",
        "--retry-first",
        "20ms",
        "--retry-most",
        "80ms",
    ]);
    let refused = |number: u64| {
        move |report: &Report| report.reason == Some(Reason::Exhausted) && report.refusals == number
    };
    let messages: Vec<String> =
        (1..=4).map(|number| retries.wait_until(refused(number)).message.unwrap()).collect();
    for (message, end) in messages.iter().zip([
        "attempt 1 failed; the next is in 20ms",
        "attempt 2 failed; the next is in 40ms",
        "attempt 3 failed; the next is in 80ms",
        "attempt 4 failed; the next is in 80ms",
    ]) {
        assert!(message.contains("CUDA_ERROR_OUT_OF_MEMORY") && message.ends_with(end), "{message}");
    }
    // When there is room again, the rest is taken.
    first.signal(Signal::TERM);
    assert_eq!(first.ended().code(), Some(TERMINATED));
    assert_eq!(retries.wait_for(Kind::Held).holds, Some(30 * GI));
    retries.signal(Signal::TERM);
    assert_eq!(retries.ended().code(), Some(TERMINATED));
}

/// The context comes first of all that a process takes of a device, and is the first thing to fail on a full one.
#[test]
fn without_room_for_a_context_it_is_as_for_any_other_memory() {
    let machine = Machine::with(1);
    let mut first = machine.fill(&["--fill-to-oom"]);
    first.wait_for(Kind::Held);

    let mut exits = machine.fill(&["--amount", "1Gi"]);
    let last = exits.wait_for(Kind::Final);
    let message = last.message.unwrap();
    assert!(
        message.contains("making a context") && message.contains("CUDA_ERROR_OUT_OF_MEMORY"),
        "{message}"
    );
    assert_eq!((last.reason, last.holds), (Some(Reason::Exhausted), Some(0)));
    assert_eq!(last.gpu.unwrap().stamp, Some(Simulated::Simulated));
    assert_eq!(exits.ended().code(), Some(3));

    let retries =
        &["--amount", "1Gi", "--compute", "10", "--when-exhausted", "retry", "--retry-most", "50ms"];
    let mut retries = machine.fill(retries);
    retries.wait_until(|report| report.refusals == 2);
    let held = first.ask(&["set", "--amount", "1Gi"]);
    assert_eq!(held.target, GI);
    let held = retries.wait_for(Kind::Held);
    assert_eq!((held.holds, device(&held).holds), (Some(GI), Some(GI)));
    for hog in [&mut first, &mut retries] {
        hog.signal(Signal::TERM);
        assert_eq!(hog.ended().code(), Some(TERMINATED));
    }
}

#[test]
fn what_is_wrong_with_a_command_line_is_said() {
    let machine = Machine::with(1);
    for (arguments, code, expected) in [
        (
            &["--amount", "lots"][..],
            2,
            "'lots' is not an amount: expected a number with a unit, such as 900Mi",
        ),
        (&["--amount", "101%"], 2, "'101%' is not a share: expected a number from 0% to 100%"),
        (&["--amount", "1Gi", "--rate", "2Gi"], 2, "did you mean 2Gi/s?"),
        (&["--amount", "1Gi", "--write", "zeros", "--passes", "1"], 2, "leave --write zeros out"),
        (&["--amount", "1Gi", "--device", "3"], 1, "there is no device '3'; visible are 0 (GPU-5107a7ed-"),
        (&["--amount", "1Gi", "--device", "0,0"], 1, "'0' is there twice"),
    ] {
        let output = machine.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(error(&output).contains(expected), "{arguments:?}: {}", error(&output));
    }
}
