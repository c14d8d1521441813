//! The machine around a run: what must be the same afterwards.
//!
//! What belongs to a run that still goes on beside is left out, so that two of them do not take each other's for their own.

mod look;
mod runs;
mod settings;
mod usage;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use runs::{Begun, begun, processes_of, traces};
pub use usage::Usage;

/// How long the kernel may take to take away what has ended.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
/// How many differences are told at most.
const TOLD: usize = 40;
/// What an earlier run's end had not taken away yet may go meanwhile, as may other people's processes and
/// the cgroups that these were in.
const MAY_GO: [&str; 3] = ["cgroups", look::PROCESSES, look::NAMESPACES];

/// What is compared, by kind, one line a thing.
pub type State = BTreeMap<&'static str, Vec<String>>;

/// Looks at the machine.
#[must_use]
pub fn state() -> State {
    let others = runs::alive();
    BTreeMap::from([
        ("kernel settings", settings::settings()),
        ("mounts", look::mounts()),
        ("routes", look::routes()),
        ("interfaces", look::names("/sys/class/net")),
        ("packet filter", look::packet_filter()),
        ("loop devices", look::loop_devices(&others)),
        ("cgroups", look::cgroups(&others)),
        ("runs", runs::folders(&others)),
        ("folders of node components", look::component_folders()),
        (look::NAMESPACES, look::namespaces(&others)),
        (look::PROCESSES, look::processes(&others)),
    ])
}

/// What differs, in words; empty when nothing does. A thing that is there twice is another than one that is there once.
#[must_use]
pub fn difference(before: &State, after: &State) -> Vec<String> {
    let none = Vec::new();
    let mut differences = Vec::new();
    for (kind, was) in before {
        let is = after.get(kind).unwrap_or(&none);
        let (was, is) = (counted(was), counted(is));
        let more = |these: &BTreeMap<&str, usize>, those: &BTreeMap<&str, usize>, word: &str| {
            let surplus = these.iter().filter_map(|(line, count)| {
                let surplus = count.saturating_sub(those.get(line).copied().unwrap_or(0));
                (surplus > 0).then(|| format!("{kind}: {word}: {line}"))
            });
            surplus.collect::<Vec<_>>()
        };
        if !MAY_GO.contains(kind) {
            differences.extend(more(&was, &is, "gone"));
        }
        differences.extend(more(&is, &was, "new"));
    }
    differences
}

fn counted(lines: &[String]) -> BTreeMap<&str, usize> {
    lines.iter().fold(BTreeMap::new(), |mut counted, line| {
        *counted.entry(line.as_str()).or_default() += 1;
        counted
    })
}

/// Waits until the machine is as it was: the kernel takes processes, mounts and loop devices away a moment after it was
/// told to.
///
/// # Errors
/// With what still differs after some seconds.
pub fn is_as_before(before: &State) -> Result<(), String> {
    settles(|| difference(before, &state()))
        .map_err(|left| format!("the machine is not as it was:\n{}", head(&left)))
}

/// The first lines, and how many there are.
fn head(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= TOLD {
        return text.to_owned();
    }
    format!("{}\n… {} lines in all", lines[..TOLD].join("\n"), lines.len())
}

/// Waits until nothing is left of what is looked for.
///
/// # Errors
/// With what still is after some seconds.
pub fn settles(look: impl Fn() -> Vec<String>) -> Result<(), String> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let left = look();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(left.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::{State, difference, look};

    fn state(kind: &'static str, lines: &[&str]) -> State {
        State::from([(kind, lines.iter().map(|line| (*line).to_owned()).collect())])
    }

    #[test]
    fn what_is_there_twice_is_another_than_what_is_there_once() {
        let (once, twice) = (state("mounts", &["/ /mnt"]), state("mounts", &["/ /mnt", "/ /mnt"]));
        assert_eq!(difference(&once, &twice), ["mounts: new: / /mnt"]);
        assert_eq!(difference(&twice, &once), ["mounts: gone: / /mnt"]);
        assert!(difference(&twice, &twice.clone()).is_empty());
    }

    #[test]
    fn processes_and_their_namespaces_may_go_and_not_come() {
        for kind in [look::PROCESSES, look::NAMESPACES] {
            assert!(difference(&state(kind, &["one"]), &state(kind, &[])).is_empty());
            assert_eq!(difference(&state(kind, &[]), &state(kind, &["one"])), [format!("{kind}: new: one")]);
        }
    }
}
