//! Memory that belongs to files, process ids, and processor time.

use std::process::Command;

use crate::process::{HOG, Hog, TERMINATED, left_out, refused};
use plimsoll_hog::report::{Form, Kind, Reason, Report, Resource, Unit};
use rustix::process::Signal;

const MI: u64 = 1 << 20;

#[test]
fn memory_of_files_is_held_changed_and_given_back() {
    // Beside the built programs, since a folder for temporary files may be a tmpfs.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().to_str().unwrap();
    for (arguments, form) in [
        (vec!["--as", "tmpfs"], Form::Tmpfs),
        (vec!["--as", "tmpfs", "--path", "/dev/shm"], Form::Tmpfs),
        (vec!["--as", "page-cache", "--path", path], Form::PageCache),
        (vec!["--as", "active-page-cache", "--path", path], Form::ActivePageCache),
    ] {
        let mut hog = Hog::start(&[&["memory", "--amount", "40Mi"], arguments.as_slice()].concat());
        let held = hog.wait_for(Kind::Held);
        assert_eq!((held.resource, held.form, held.holds), (Resource::Memory, Some(form), Some(40 * MI)));
        // It is no memory of the process's own.
        let status = std::fs::read_to_string(format!("/proc/{}/statm", hog.child.id())).unwrap();
        let resident: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(resident * 4096 < 20 * MI, "{status}");
        let down = hog.ask(&["set", "--amount", "8Mi"]);
        assert_eq!((down.holds, down.returned), (Some(8 * MI), Some(32 * MI)));
        hog.ask(&["set", "--amount", "9Mi"]);
        let held = hog.wait_until(|report| report.kind == Kind::Held && report.target == 9 * MI);
        assert_eq!(held.holds, Some(9 * MI));
        hog.signal(Signal::USR1);
        assert_eq!(hog.wait_for(Kind::Released).returned, Some(9 * MI));
        hog.signal(Signal::TERM);
        assert_eq!(hog.ended().code(), Some(TERMINATED));
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "something is left behind");
    }
}

#[test]
fn forms_of_memory_that_make_no_sense_are_refused() {
    for (arguments, code, expected) in [
        (vec!["--as", "page-cache"], 2, "error: --path is missing: page cache belongs to a file"),
        (vec!["--path", "/tmp"], 2, "error: --path is for page cache and tmpfs"),
        (vec!["--as", "tmpfs", "--lock"], 2, "error: --lock is for anonymous memory"),
        (
            vec!["--as", "page-cache", "--path", "/dev/shm"],
            1,
            "error: /dev/shm: its files have no page cache; is it a tmpfs?",
        ),
    ] {
        let (status, error) = refused(&[&["memory", "--amount", "1Mi"], arguments.as_slice()].concat());
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(status, Some(code));
    }
}

/// The children of a process, by the kernel's account.
fn children(hog: &Hog) -> usize {
    let path = format!("/proc/{0}/task/{0}/children", hog.child.id());
    std::fs::read_to_string(path).unwrap().split_whitespace().count()
}

#[test]
fn process_ids_are_taken_by_children_that_end_with_their_parent() {
    let mut hog = Hog::start(&["pids", "--count", "50", "--rate", "500/s"]);
    let held = hog.wait_for(Kind::Held);
    assert_eq!((held.resource, held.unit, held.holds), (Resource::Pids, Unit::Count, Some(50)));
    assert_eq!(children(&hog), 50);
    assert_eq!(hog.ask(&["set", "--count", "20"]).returned, Some(30));
    assert_eq!(children(&hog), 20);
    // One that somebody else ends is not held any more.
    let list = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", hog.child.id())).unwrap();
    let one: i32 = list.split_whitespace().next().unwrap().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(one).unwrap(), Signal::KILL).unwrap();
    let less = hog.wait_until(|report| report.holds == Some(19));
    assert_eq!((less.target, less.filled), (20, 19));
    hog.signal(Signal::USR1);
    assert_eq!(hog.wait_for(Kind::Released).returned, Some(19));
    assert_eq!(children(&hog), 0);

    hog.ask(&["set", "--count", "5"]);
    hog.wait_until(|report| report.kind == Kind::Held && report.holds == Some(5));
    let orphans = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", hog.child.id())).unwrap();
    hog.child.kill().unwrap();
    hog.child.wait().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    for orphan in orphans.split_whitespace() {
        // A zombie, which whoever inherits it has not reaped yet, has no program any more.
        while std::fs::read(format!("/proc/{orphan}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            assert!(std::time::Instant::now() < deadline, "{orphan} outlived its parent");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

#[test]
fn processes_are_started_at_the_pace_that_was_asked_for() {
    let hog = Hog::start(&["pids", "--count", "60", "--rate", "30/s"]);
    let start = hog.wait_for(Kind::Start);
    let held = hog.wait_for(Kind::Held);
    assert_eq!((held.holds, children(&hog)), (Some(60), 60));
    assert!(held.elapsed - start.elapsed >= 1.8, "{start:?} {held:?}");
}

#[test]
fn process_ids_that_can_not_be_had_are_the_last_report_and_code_3() {
    // The limit is one of a user's and does not hold for root, so that another user is needed.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("hog");
    std::fs::copy(HOG, &copy).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=63217", "--regid=63217", "--clear-groups", "prlimit", "--nproc=10"])
        .arg(&copy)
        .args(["pids", "--count", "50", "--control"])
        .arg(folder.path().join("control"))
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let Some(last) = lines.lines().last() else {
        let why = String::from_utf8_lossy(&output.stderr);
        left_out(&format!("it takes the right to become another user: {why}"));
        return;
    };
    let last = Report::parse(last).unwrap();
    assert_eq!((last.kind, last.reason), (Kind::Final, Some(Reason::Exhausted)));
    assert_eq!((last.holds, last.returned, output.status.code()), (Some(0), Some(9), Some(3)));
    let message = last.message.unwrap();
    assert!(message.starts_with("starting process 10: Resource temporarily unavailable"), "{message}");
}

#[test]
fn processor_time_is_used_by_as_many_threads_as_it_takes() {
    let threads = |hog: &Hog| std::fs::read_dir(format!("/proc/{}/task", hog.child.id())).unwrap().count();
    let hog = Hog::start(&["cpu", "--cores", "0.2"]);
    let held = hog.wait_for(Kind::Held);
    assert_eq!((held.resource, held.unit, held.target), (Resource::Cpu, Unit::Millicores, 200));
    assert_eq!(threads(&hog), 2);
    // How much it gets is the machine's affair; that it works at all, and never much more than asked, is not.
    let worked =
        hog.wait_until(|report| report.kind == Kind::Held && report.holds.is_some_and(|used| used > 0));
    assert!(worked.holds < Some(400), "{worked:?}");
    // What others kept it from is made up for, so that it comes to its share at some time however busy the machine is.
    hog.wait_until(|report| report.kind == Kind::Held && report.holds.is_some_and(|used| used >= 150));
    hog.signal(Signal::USR1);
    hog.wait_for(Kind::Released);
    assert_eq!(threads(&hog), 1);
    let mut greedy = Hog::start(&["cpu", "--cores", "100k"]);
    let last = greedy.wait_for(Kind::Final);
    assert_eq!((last.reason, greedy.ended().code()), (Some(Reason::Exhausted), Some(3)));
    assert!(last.message.unwrap().starts_with("working on 100000 processors: there are "));
}
