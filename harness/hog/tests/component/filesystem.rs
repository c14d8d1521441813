//! The fillers of a filesystem: space, inodes, and the log.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{HOG, Hog, TERMINATED, ended, left_out, refused};
use plimsoll_hog::report::{Form, Kind, Reason, Report, Resource, Unit};
use rustix::process::Signal;

const MI: u64 = 1 << 20;

/// The blocks, in bytes, and the number of everything below a folder.
fn below(folder: &Path) -> (u64, u64) {
    let (mut bytes, mut count) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        count += 1;
        if metadata.is_dir() {
            let (inside_bytes, inside_count) = below(&entry.path());
            bytes += inside_bytes;
            count += inside_count;
        } else {
            bytes += metadata.blocks() * 512;
        }
    }
    (bytes, count)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn disk_space_is_taken_changed_and_given_back_written_or_allocated() {
    for (form, named) in [("written", Form::Written), ("allocated", Form::Allocated)] {
        let target = tempfile::tempdir().unwrap();
        let path = target.path();
        // More than one file, and one that is cut within.
        let mut hog = Hog::start(&["disk", "--path", text(path), "--as", form, "--amount", "70Mi"]);
        let held = hog.wait_for(Kind::Held);
        assert_eq!((held.resource, held.form, held.unit), (Resource::Disk, Some(named), Unit::Bytes));
        assert_eq!((held.holds, below(path).0), (Some(70 * MI), 70 * MI));
        let down = hog.ask(&["set", "--amount", "65Mi"]);
        assert_eq!((down.holds, down.returned, below(path).0), (Some(65 * MI), Some(5 * MI), 65 * MI));
        assert_eq!(hog.ask(&["set", "--amount", "10Mi"]).holds, Some(10 * MI));
        hog.ask(&["set", "--amount", "12Mi"]);
        let held = hog.wait_until(|report| report.kind == Kind::Held && report.target == 12 * MI);
        assert_eq!((held.holds, below(path).0), (Some(12 * MI), 12 * MI));
        hog.signal(Signal::USR1);
        assert_eq!(hog.wait_for(Kind::Released).returned, Some(12 * MI));
        assert_eq!(below(path), (0, 0));
        hog.ask(&["set", "--amount", "1Mi"]);
        hog.wait_until(|report| report.kind == Kind::Held && report.target == MI);
        hog.signal(Signal::TERM);
        assert_eq!(hog.wait_for(Kind::Final).returned, Some(MI));
        assert_eq!(hog.ended().code(), Some(TERMINATED));
        assert_eq!(below(path), (0, 0));
    }
}

#[test]
fn no_two_blocks_on_disk_are_alike() {
    let target = tempfile::tempdir().unwrap();
    let hog = Hog::start(&["disk", "--path", text(target.path()), "--amount", "2Mi"]);
    hog.wait_for(Kind::Held);
    let content = std::fs::read(target.path().join("plimsoll-hog-disk/000000")).unwrap();
    let blocks: std::collections::HashSet<&[u8]> = content.chunks(4096).collect();
    assert_eq!(blocks.len(), 512);
}

#[test]
fn inodes_are_counted_with_the_folders_that_they_are_in() {
    let target = tempfile::tempdir().unwrap();
    let path = target.path();
    let mut hog = Hog::start(&["inodes", "--path", text(path), "--count", "2500"]);
    let held = hog.wait_for(Kind::Held);
    assert_eq!((held.resource, held.unit, held.holds), (Resource::Inodes, Unit::Count, Some(2500)));
    assert_eq!(below(path), (0, 2500));
    for (amount, count) in [("1002", 1002), ("1001", 1001), ("2", 2), ("1", 1), ("1003", 1003)] {
        hog.ask(&["set", "--amount", amount]);
        let held = hog.wait_until(|report| report.kind == Kind::Held && report.target == count);
        assert_eq!((held.holds, below(path).1), (Some(count), count));
    }
    hog.signal(Signal::TERM);
    assert_eq!(hog.wait_for(Kind::Final).returned, Some(1003));
    assert_eq!(hog.ended().code(), Some(TERMINATED));
    assert_eq!(below(path), (0, 0));
}

#[test]
fn what_should_stay_stays_and_the_next_filler_starts_afresh() {
    let target = tempfile::tempdir().unwrap();
    let path = target.path();
    for _ in 0..2 {
        let mut hog =
            Hog::start(&["disk", "--path", text(path), "--amount", "3Mi", "--hold", "0s", "--keep"]);
        let last = hog.wait_for(Kind::Final);
        assert_eq!((last.holds, last.returned), (Some(3 * MI), Some(0)));
        assert!(hog.ended().success());
        assert_eq!(below(path).0, 3 * MI);
    }
    let killed = Hog::start(&["inodes", "--path", text(path), "--count", "10"]);
    killed.wait_for(Kind::Held);
    let (code, error) = refused(&["inodes", "--path", text(path), "--count", "20"]);
    assert!(error.contains("another filler is at work in"), "{error}");
    assert_eq!(code, Some(1));
    drop(killed);
    let next = Hog::start(&["inodes", "--path", text(path), "--count", "20"]);
    assert_eq!(next.wait_for(Kind::Held).holds, Some(20));
}

/// Runs a filler with a small tmpfs over `folder`, which nobody else sees. `None` without the right to.
fn in_small_tmpfs(folder: &Path, arguments: &[&str]) -> Option<(Vec<Report>, Option<i32>)> {
    let script = "mount -t tmpfs -o size=8m,nr_inodes=200 small \"$1\" || exit 99; shift; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", text(folder), HOG])
        .args(arguments)
        .args(["--path", text(folder), "--control", text(&folder.join("control"))])
        .output()
        .ok()?;
    let lines = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Report> = lines.lines().map(|line| Report::parse(line).unwrap()).collect();
    if reports.is_empty() {
        left_out(&format!("it takes the right to mount: {}", String::from_utf8_lossy(&output.stderr)));
        return None;
    }
    Some((reports, output.status.code()))
}

#[test]
fn a_full_disk_is_the_last_report_and_code_3() {
    for (arguments, message) in [
        (["disk", "--amount", "20Mi"], "taking disk space in "),
        (["inodes", "--amount", "500"], "taking inode 1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Some((reports, code)) = in_small_tmpfs(folder.path(), &arguments) else { return };
        let last = reports.last().unwrap();
        assert_eq!((last.kind, last.reason, code), (Kind::Final, Some(Reason::Exhausted), Some(3)));
        let text = last.message.as_deref().unwrap();
        assert!(text.starts_with(message) && text.contains("No space left on device"), "{text}");
        // What it had taken is given back.
        assert_eq!(last.holds, Some(0));
        assert!(last.returned > Some(100));
    }
}

/// A busy machine may make a filler slower, and nothing makes it faster than its pace.
#[test]
fn a_pace_is_never_overtaken_and_the_amount_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let path = text(folder.path());
    for (arguments, amount) in [
        (["disk", "--path", path, "--amount", "16Mi", "--rate", "8Mi/s"], 16 * MI),
        (["inodes", "--path", path, "--count", "2000", "--rate", "1000/s"], 2000),
    ] {
        let mut hog = Hog::start(&arguments);
        let start = hog.wait_for(Kind::Start);
        let held = hog.wait_until(|report| {
            assert!(
                report.filled as f64 <= amount as f64 * (0.1 + (report.elapsed - start.elapsed) / 2.0),
                "{report:?}"
            );
            report.kind == Kind::Held
        });
        assert_eq!(held.holds, Some(amount));
        assert!(held.elapsed - start.elapsed >= 1.8, "{start:?} {held:?}");
        hog.signal(Signal::TERM);
        assert_eq!(hog.ended().code(), Some(TERMINATED));
    }
}

#[test]
fn a_place_that_can_not_be_filled_is_an_error() {
    let (code, error) = refused(&["disk", "--path", "/nowhere", "--amount", "1Mi"]);
    assert_eq!(
        (code, error.as_str()),
        (Some(1), "error: filling /nowhere: No such file or directory (os error 2)\n")
    );
    let (code, error) = refused(&["disk", "--amount", "1Mi"]);
    assert!(error.starts_with("error: --path is missing: where is the space to be taken?"), "{error}");
    assert_eq!(code, Some(2));
    let (code, _) = refused(&["inodes", "--path", "/proc/version", "--amount", "1"]);
    assert_eq!(code, Some(1));
}

#[test]
fn the_log_gets_its_lines_and_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(HOG)
        .args(["disk", "--as", "log", "--amount", "1Mi", "--hold", "0s", "--control"])
        .arg(folder.path().join("control"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = Vec::new();
    child.stderr.take().unwrap().read_to_end(&mut log).unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(ended(&mut child).success());
    assert_eq!(log.len() as u64, MI);
    assert!(log.split(|byte| *byte == b'\n').all(|line| line.len() == 4095 || line.is_empty()));
    let reports: Vec<Report> = output.lines().map(|line| Report::parse(line).unwrap()).collect();
    let held = reports.iter().find(|report| report.kind == Kind::Held).unwrap();
    assert_eq!((held.form, held.filled, held.holds), (Some(Form::Log), MI, None));
}
