//! Which images and containers the container runtime adds and removes, from its own events.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde_json::Value;

use super::supervise::{Supervisor, log_file};
use super::{InitError, Voice};
use crate::config::BIN;
use crate::report::{Fact, RuntimeEvent, RuntimeObject};

/// Follows the events in a thread, from now on.
pub(super) fn follow(supervisor: &Supervisor, voice: &Voice) -> Result<(), InitError> {
    let mut command = Command::new(format!("{BIN}/ctr"));
    command.args(["-n", "k8s.io", "events"]).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(log_file("runtime-events")?);
    let mut child = supervisor.spawn("ctr events", &mut command)?;
    let Some(output) = child.stdout.take() else { return Ok(()) };
    let voice = voice.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(event) = event(&line) {
                voice.say_of(happened(&line).unwrap_or_else(Timestamp::now), Fact::Runtime(event));
            }
        }
        let reason = "the container runtime says nothing more".to_owned();
        voice.say(Fact::Blind { source: "runtime events".into(), reason });
    });
    Ok(())
}

/// When it happened, as the runtime says. On a busy machine the line comes seconds later, and what was removed before a pod was evicted
/// would seem to have been removed after it.
fn happened(line: &str) -> Option<Timestamp> {
    let mut words = line.split(' ');
    let (date, time, zone) = (words.next()?, words.next()?, words.next()?);
    format!("{date}T{time}{zone}").parse().ok()
}

/// Reads a line: `DATE TIME ZONE ZONE NAMESPACE TOPIC PAYLOAD`, the payload in JSON.
fn event(line: &str) -> Option<RuntimeEvent> {
    let start = line.find(" /")? + 1;
    let (topic, payload) = line[start..].split_once(' ')?;
    let (what, added, field) = match topic {
        "/images/create" => (RuntimeObject::Image, true, "name"),
        "/images/delete" => (RuntimeObject::Image, false, "name"),
        "/containers/create" => (RuntimeObject::Container, true, "id"),
        "/containers/delete" => (RuntimeObject::Container, false, "id"),
        _ => return None,
    };
    let payload: Value = serde_json::from_str(payload).ok()?;
    Some(RuntimeEvent { what, added, name: payload[field].as_str()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_images_and_containers_are_read() {
        let line = |topic: &str, payload: &str| {
            event(&format!("2026-01-02 03:04:05.678901234 +0000 UTC k8s.io {topic} {payload}"))
        };
        assert_eq!(
            line("/images/delete", r#"{"name":"docker.io/plimsoll/ballast:1"}"#),
            Some(RuntimeEvent {
                what: RuntimeObject::Image,
                added: false,
                name: "docker.io/plimsoll/ballast:1".into()
            })
        );
        let created =
            line("/containers/create", r#"{"id":"abc","runtime":{"name":"io.containerd.runc.v2"}}"#);
        assert_eq!(created.map(|event| (event.added, event.name)), Some((true, "abc".to_owned())));
        assert_eq!(line("/tasks/exit", r#"{"id":"abc"}"#), None);
        assert_eq!(event("nonsense"), None);
    }

    #[test]
    fn an_event_is_of_the_moment_that_the_runtime_names() {
        let named = |line: &str| happened(line).map(|at| at.to_string());
        for (line, at) in [
            (
                "2026-01-02 03:04:05.678901234 +0000 UTC k8s.io /images/delete {}",
                "2026-01-02T03:04:05.678901234Z",
            ),
            ("2026-01-02 03:04:05.6 +0000 UTC k8s.io /images/delete {}", "2026-01-02T03:04:05.6Z"),
            ("2026-01-02 03:04:05 +0100 CET k8s.io /images/delete {}", "2026-01-02T02:04:05Z"),
        ] {
            assert_eq!(named(line).as_deref(), Some(at));
        }
        assert_eq!(named("k8s.io /images/delete {}"), None);
        assert_eq!(named("nonsense"), None);
    }
}
