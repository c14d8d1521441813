//! The sandbox container's program waits, reaps and ends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::ended;
use rustix::process::{Pid, Signal, kill_process};

const PAUSE: &str = env!("CARGO_BIN_EXE_plimsoll-pause");

#[test]
fn it_reaps_what_it_inherits_and_ends_when_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        // The shell leaves a child behind as it becomes the program, as a container's processes do.
        let mut pause = Command::new("sh")
            .args(["-c", "sleep 0.2 & exec \"$0\"", PAUSE])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", pause.id());
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_pause =
            || std::fs::read_to_string(format!("/proc/{}/comm", pause.id())).unwrap() == "plimsoll-pause\n";
        while !is_pause() || !std::fs::read_to_string(&children).unwrap().is_empty() {
            assert!(Instant::now() < deadline, "a child is left");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(pause.try_wait().unwrap().is_none(), "it ended by itself");
        kill_process(Pid::from_child(&pause), signal).unwrap();
        assert_eq!(ended(&mut pause).code(), Some(0));
    }
}
