//! The filler of memory as a process: what it holds, gives back and says.

use std::process::{Command, Stdio};

use crate::process::{HOG, Hog, TERMINATED, ended, refused};
use plimsoll_hog::report::{Kind, Reason, Report, Resource, Unit};
use rustix::process::Signal;

const MI: u64 = 1 << 20;

/// What the kernel says is in a process's anonymous memory, exactly, in bytes.
fn anonymous_memory(hog: &Hog) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", hog.child.id())).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn it_holds_its_amount_by_its_own_and_by_the_kernels_account() {
    let empty = Hog::start(&["memory", "--amount", "0"]);
    empty.wait_for(Kind::Held);
    let hog = Hog::start(&["memory", "--amount", "100Mi"]);
    let held = hog.wait_for(Kind::Held);
    assert_eq!((held.target, held.filled, held.holds), (100 * MI, 100 * MI, Some(100 * MI)));
    let beside = anonymous_memory(&hog) - 100 * MI;
    assert!(beside.abs_diff(anonymous_memory(&empty)) <= 32 * 1024, "{beside} bytes beside the fill");
}

#[test]
fn an_amount_between_two_pages_is_rounded_up_to_the_next() {
    let hog = Hog::start(&["memory", "--amount", "1000001"]);
    let held = hog.wait_for(Kind::Held);
    let page = rustix::param::page_size() as u64;
    assert_eq!(held.target, 1_000_001);
    assert_eq!(held.holds, Some(1_000_001u64.next_multiple_of(page)));
}

#[test]
fn reports_come_in_order_and_never_exceed_what_is_due() {
    let mut hog =
        Hog::start(&["memory", "--amount", "30Mi", "--start-at", "20Mi", "--rate", "10Mi/s", "--hold", "0s"]);
    let reports = hog.rest();
    assert!(hog.ended().success());
    let kinds: Vec<Kind> = reports.iter().map(|report| report.kind).collect();
    assert_eq!(
        (kinds[0], kinds[kinds.len() - 2], kinds[kinds.len() - 1]),
        (Kind::Start, Kind::Held, Kind::Final)
    );
    assert!(kinds[1..kinds.len() - 2].iter().all(|kind| *kind == Kind::Progress), "{kinds:?}");
    for (before, after) in reports.iter().zip(&reports[1..reports.len() - 1]) {
        assert!(before.elapsed <= after.elapsed && before.filled <= after.filled && before.at <= after.at);
        // However slow the machine is, it never runs ahead of its rate.
        let due = 20.0 * MI as f64 + 10.0 * MI as f64 * after.elapsed;
        assert!(after.filled as f64 <= due, "{} taken when {due} were due", after.filled);
    }
    let first = &reports[0];
    assert_eq!((first.resource, first.unit, first.filled), (Resource::Memory, Unit::Bytes, 0));
    assert_eq!((first.rate, first.start_at), (Some(10 * MI), 20 * MI));
    assert_eq!(first.pid, hog.child.id());
    assert_eq!(first.control.as_deref(), hog.socket().to_str());
    let last = reports.last().unwrap();
    assert_eq!((last.reason, last.returned, last.holds), (Some(Reason::HoldOver), Some(30 * MI), Some(0)));
}

#[test]
fn sigusr1_gives_everything_back_and_it_stays() {
    let hog = Hog::start(&["memory", "--amount", "50Mi"]);
    hog.wait_for(Kind::Held);
    hog.signal(Signal::USR1);
    let released = hog.wait_for(Kind::Released);
    assert_eq!((released.returned, released.holds, released.target), (Some(50 * MI), Some(0), 0));
    assert_eq!(released.reason, Some(Reason::ReleaseSignal));
    assert!(anonymous_memory(&hog) < 2 * MI);
    // It can be filled again.
    hog.ask(&["set", "--amount", "5Mi"]);
    assert_eq!(hog.wait_for(Kind::Held).holds, Some(5 * MI));
}

#[test]
fn sigterm_ends_it_with_a_last_report_even_on_the_way() {
    let mut hog = Hog::start(&["memory", "--amount", "1Gi", "--rate", "1Mi/s"]);
    hog.wait_until(|report| report.filled > 0);
    hog.signal(Signal::TERM);
    let terminating = hog.wait_for(Kind::Terminating);
    let rest = hog.rest();
    assert_eq!(hog.ended().code(), Some(TERMINATED));
    let last = rest.last().unwrap();
    assert_eq!((last.kind, last.reason), (Kind::Final, Some(Reason::Terminated)));
    assert_eq!(last.returned, terminating.holds);
}

#[test]
fn a_shutdown_delay_is_held_out_and_sigint_twice_cuts_it_short() {
    let mut hog = Hog::start(&["memory", "--amount", "5Mi", "--shutdown-delay", "1s"]);
    hog.wait_for(Kind::Held);
    hog.signal(Signal::TERM);
    let told = hog.wait_for(Kind::Terminating);
    assert_eq!((told.holds, told.reason), (Some(5 * MI), Some(Reason::Terminated)));
    let refusal = hog.command(&["set", "--amount", "1Mi"]);
    assert_eq!(String::from_utf8(refusal.stderr).unwrap(), "error: the filler refused: it is ending\n");
    let last = hog.wait_for(Kind::Final);
    assert!(last.elapsed - told.elapsed >= 1.0, "it ended {} s early", 1.0 - (last.elapsed - told.elapsed));
    assert_eq!((last.returned, hog.ended().code()), (Some(5 * MI), Some(TERMINATED)));

    let mut patient = Hog::start(&["memory", "--amount", "5Mi", "--shutdown-delay", "1h"]);
    patient.wait_for(Kind::Held);
    patient.signal(Signal::INT);
    patient.wait_for(Kind::Terminating);
    patient.signal(Signal::INT);
    assert_eq!(patient.wait_for(Kind::Final).reason, Some(Reason::Interrupted));
    assert_eq!(patient.ended().code(), Some(130));
}

#[test]
fn commands_change_it_up_and_down_and_each_is_answered() {
    let hog = Hog::start(&["memory", "--amount", "10Mi"]);
    hog.wait_for(Kind::Held);
    let up = hog.ask(&["set", "--amount", "40Mi", "--start-at", "30Mi", "--rate", "20Mi/s"]);
    assert_eq!((up.kind, up.target, up.rate), (Kind::Changed, 40 * MI, Some(20 * MI)));
    assert_eq!(hog.wait_for(Kind::Changed), up);
    assert_eq!(hog.wait_for(Kind::Held).holds, Some(40 * MI));

    let down = hog.ask(&["set", "--amount", "15Mi"]);
    assert_eq!((down.holds, down.returned, down.rate), (Some(15 * MI), Some(25 * MI), Some(20 * MI)));
    let status = hog.ask(&["status"]);
    assert_eq!((status.holds, status.target), (Some(15 * MI), 15 * MI));

    let released = hog.ask(&["release"]);
    assert_eq!((released.kind, released.returned), (Kind::Released, Some(15 * MI)));
    assert_eq!(released.reason, Some(Reason::Command));
    assert_eq!(hog.ask(&["status"]).holds, Some(0));
}

#[test]
fn what_a_command_gets_wrong_is_said_and_changes_nothing() {
    let hog = Hog::start(&["memory", "--amount", "10Mi"]);
    hog.wait_for(Kind::Held);
    for (arguments, expected) in [
        (
            vec!["set", "--amount", "20MB"],
            "error: the filler refused: --amount: '20MB' is not an amount: unknown unit 'MB'; did you mean 20M or \
             20Mi?\n",
        ),
        (vec!["set"], "error: the filler refused: nothing to set; give --amount, --rate or both\n"),
    ] {
        let output = hog.command(&arguments);
        assert_eq!(
            (output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()),
            (Some(1), expected)
        );
    }
    assert_eq!(hog.ask(&["status"]).target, 10 * MI);
    let (code, error) = refused(&["status", "--control", "/nowhere/hog.sock"]);
    let expected = "error: no filler answers at /nowhere/hog.sock; is one running, in this container?\n";
    assert_eq!((code, error.as_str()), (Some(1), expected));
}

#[test]
fn an_order_that_makes_no_sense_is_refused() {
    for (arguments, expected) in [
        (
            vec!["memory", "--amount", "9apples"],
            "error: --amount: '9apples' is not an amount: unknown unit 'apples'",
        ),
        (
            vec!["memory", "--amount", "1Gi", "--rate", "15Mi"],
            "error: --rate: '15Mi' is not a rate: it lacks the time; did you mean 15Mi/s?",
        ),
        (
            vec!["memory", "--amount", "1Gi", "--start-at", "2Gi"],
            "error: --start-at 2Gi is more than --amount 1Gi; what is taken at once is part of the amount",
        ),
        (
            vec!["memory", "--amount", "1Gi", "--hold", "10"],
            "error: --hold: '10' is not a duration: 10 lacks a unit; did you mean 10s or 10m?",
        ),
        (vec!["memory"], "error: the following required arguments were not provided:\n  --amount <AMOUNT>"),
        (
            vec!["memroy"],
            "error: unrecognized subcommand 'memroy'\n\n  tip: a similar subcommand exists: 'memory'",
        ),
    ] {
        let (code, error) = refused(&arguments);
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(code, Some(2));
    }
}

#[test]
fn memory_that_can_not_be_had_is_the_last_report_and_code_3() {
    let mut hog = Hog::start(&["memory", "--amount", "1Pi"]);
    let reports = hog.rest();
    let last = reports.last().unwrap();
    assert_eq!((last.kind, last.reason, last.holds), (Kind::Final, Some(Reason::Exhausted), Some(0)));
    let message = last.message.as_deref().unwrap();
    assert!(message.starts_with("mapping 1125899906842624 bytes: Cannot allocate memory"), "{message}");
    assert_eq!(hog.ended().code(), Some(3));
}

#[test]
fn an_output_that_nobody_reads_neither_ends_nor_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("control");
    let mut child = Command::new(HOG)
        .args(["memory", "--amount", "5Mi", "--control"])
        .arg(&socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ask = |command: &str| Command::new(HOG).args([command, "--control"]).arg(&socket).output().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let status = loop {
        let output = ask("status");
        let report = Report::parse(&String::from_utf8_lossy(&output.stdout));
        match report {
            Ok(report) if report.kind == Kind::Held => break report,
            _ => assert!(std::time::Instant::now() < deadline, "it never held its amount"),
        }
    };
    assert_eq!(status.holds, Some(5 * MI));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(ended(&mut child).code(), Some(TERMINATED));
}

#[test]
fn a_pipe_that_is_full_costs_reports_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    // A pipe without room for one more byte, as when whoever reads it hangs.
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[b'\n'; 4096]).is_ok() {}
    while rustix::io::write(&writer, b"\n").is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut child = Command::new(HOG)
        .args(["memory", "--amount", "5Mi", "--hold", "1500ms", "--control"])
        .arg(folder.path().join("control"))
        .stdout(writer)
        .spawn()
        .unwrap();
    assert!(ended(&mut child).success());
    drop(reader);
}

#[test]
fn a_second_filler_at_the_same_place_runs_without_control() {
    let first = Hog::start(&["memory", "--amount", "1Mi"]);
    first.wait_for(Kind::Held);
    let output = Command::new(HOG)
        .args(["memory", "--amount", "1Mi", "--hold", "0s", "--control"])
        .arg(first.socket())
        .output()
        .unwrap();
    let start = Report::parse(String::from_utf8(output.stdout).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(start.control, None);
    let message = start.message.unwrap();
    assert!(message.starts_with("control is off: another filler answers at "), "{message}");
    // The first one's socket is still its own.
    assert_eq!(first.ask(&["status"]).pid, first.child.id());
}

#[test]
fn what_a_killed_filler_left_is_taken_over() {
    let mut killed = Hog::start(&["memory", "--amount", "1Mi"]);
    killed.wait_for(Kind::Held);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert!(killed.socket().exists());
    let output = Command::new(HOG)
        .args(["memory", "--amount", "1Mi", "--hold", "0s", "--control"])
        .arg(killed.socket())
        .output()
        .unwrap();
    let start = Report::parse(String::from_utf8(output.stdout).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(start.control.as_deref(), killed.socket().to_str());
    assert!(!killed.socket().exists(), "the socket is left behind");
}

#[test]
fn a_client_that_says_nothing_keeps_nobody_waiting() {
    let hog = Hog::start(&["memory", "--amount", "1Mi"]);
    hog.wait_for(Kind::Held);
    let silent = std::os::unix::net::UnixStream::connect(hog.socket()).unwrap();
    assert_eq!(hog.ask(&["status"]).holds, Some(MI));
    drop(silent);
}

#[test]
fn locked_memory_is_locked() {
    let hog = Hog::start(&["memory", "--amount", "4Mi", "--lock"]);
    let report = hog.wait_until(|report| matches!(report.kind, Kind::Held | Kind::Final));
    if report.kind == Kind::Final {
        // Without the right to lock it says so; what it must not do is to go on unlocked.
        assert!(report.message.unwrap().starts_with("locking "));
        return;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", hog.child.id())).unwrap();
    assert!(status.contains("VmLck:\t    4096 kB"), "{status}");
    assert_eq!(hog.ask(&["set", "--amount", "1Mi"]).holds, Some(MI));
}
