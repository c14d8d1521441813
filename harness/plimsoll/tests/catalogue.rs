//! Tier: pure. Which scenarios are meant, and which may run beside each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kube::core::SelectorExt;
use plimsoll::catalogue::{Admission, Needs, Room, Shard, selector};
use plimsoll::plan::{Plan, lower};
use plimsoll::scenario::{Files, parse};
use proptest::prelude::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn selectors_are_kubectl_s() {
    let scenario = labels(&[("tier", "quick"), ("signal", "memory.available"), ("empty", "")]);
    let selects = |text: &str| selector(text).expect(text).matches(&scenario);
    for text in [
        "",
        " ",
        "tier",
        "tier=quick",
        "tier==quick",
        "tier = quick",
        "tier!=full",
        "absent!=quick",
        "!absent",
        "! absent",
        "tier in (quick, full)",
        "tier in(quick)",
        "tier notin (full)",
        "absent notin (full)",
        "signal=memory.available,tier=quick",
        "tier in (quick,full),signal,!absent",
        "empty=",
    ] {
        assert!(selects(text), "{text:?} selects");
    }
    for text in
        ["tier=full", "tier!=quick", "absent", "!tier", "tier notin (quick)", "tier=quick,absent", "absent="]
    {
        assert!(!selects(text), "{text:?} does not select");
    }
}

#[test]
fn what_is_no_selector_is_refused_with_the_part_at_fault() {
    for (text, part) in [
        ("tier=quick,,signal", "``"),
        ("=quick", "`=quick`"),
        ("tier in quick", "`tier in quick`"),
        ("tier in (quick", "`tier in (quick`"),
        ("tier is quick", "`tier is quick`"),
        ("tier=qu ick", "`tier=qu ick`"),
        ("tier=a=b", "`tier=a=b`"),
        ("tier=quick,$(rm)", "`$(rm)`"),
    ] {
        let said = selector(text).expect_err(text).to_string();
        assert!(said.contains(part), "{text:?}: {said}");
    }
}

#[test]
fn what_is_no_shard_is_refused() {
    for text in ["", "1", "0/3", "4/3", "a/b", "1/0", "-1/3", "1/3/5"] {
        assert!(text.parse::<Shard>().is_err(), "{text:?}");
    }
}

fn plan(name: &str) -> Plan {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios").join(name);
    let text = std::fs::read_to_string(&file).expect(name);
    let parsed = parse(name, &text).expect(name);
    lower(&parsed.with_files(&Files::default())).unwrap_or_else(|said| panic!("{said}")).plan
}

/// Two cores, 24 GiB and 512 inotify instances, of which ten are held by others.
const SMALL: Room = Room {
    memory: 22 << 30,
    disk: 100 << 30,
    processor: 2000,
    inotify: 502,
    tasks: 28_000,
    scenarios: usize::MAX,
};

#[test]
fn eight_or_nine_go_side_by_side_on_a_small_machine() {
    let needs = Needs::of(&plan("upstream/local-storage-eviction.yaml"));
    let mut admission = Admission::new(SMALL, std::iter::repeat_n(needs, 40));
    let mut running = 0;
    // Whoever has booted lets the next one in.
    while let Some(index) = admission.start() {
        running += 1;
        admission.booted(index, needs);
    }
    assert!((8..=9).contains(&running), "{running}");
    // With the kernel's own limit of inotify instances fewer do.
    let mut admission = Admission::new(Room { inotify: 118, ..SMALL }, std::iter::repeat_n(needs, 40));
    let few = std::iter::from_fn(|| admission.start()).count();
    assert!(few <= 6, "{few}");
}

#[test]
fn process_ids_are_set_aside_for_what_may_use_them_up() {
    let plan = plan("pids/more-processes-go-first.yaml");
    let needs = Needs::of(&plan);
    assert!(needs.tasks >= plan.nodes[0].pids && !needs.exclusive, "{needs:?}");
    let few = Needs::of(&self::plan("upstream/local-storage-eviction.yaml"));
    assert!(few.tasks < 1000, "{few:?}");
    let count = |room| {
        let mut admission = Admission::new(room, std::iter::repeat_n(needs, 40));
        std::iter::from_fn(|| {
            let index = admission.start()?;
            admission.booted(index, needs);
            Some(index)
        })
        .count()
    };
    assert_eq!(count(SMALL), 6);
    assert_eq!(count(Room { tasks: 9000, ..SMALL }), 2);
}

#[test]
fn a_label_asks_for_a_machine_of_its_own() {
    let mut plan = plan("upstream/local-storage-eviction.yaml");
    assert!(!Needs::of(&plan).exclusive);
    plan.labels.insert("needs".to_owned(), "exclusive".to_owned());
    assert!(Needs::of(&plan).exclusive);
}

fn any_needs() -> impl Strategy<Value = Needs> {
    (0_u64..100, 0_u64..100, 0_u64..2000, 0_u64..40, 0_u64..100, prop::bool::weighted(0.1)).prop_map(
        |(memory, disk, processor, inotify, tasks, exclusive)| Needs {
            memory,
            disk,
            processor,
            inotify,
            tasks,
            exclusive,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Together the parts are all, and none is twice in them.
    #[test]
    fn shards_are_a_partition(count in 0_usize..60, of in 1_usize..9) {
        let mut seen = Vec::new();
        let mut sizes = BTreeSet::new();
        for index in 1..=of {
            let part = format!("{index}/{of}").parse::<Shard>().expect("a shard").part((0..count).collect());
            sizes.insert(part.len());
            seen.extend(part);
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        prop_assert!(sizes.last().unwrap_or(&0) - sizes.first().unwrap_or(&0) <= 1);
    }

    /// Whatever the needs and whoever ends first, all run once, within the room, and what is exclusive alone.
    #[test]
    fn all_run_within_the_room(
        needs in prop::collection::vec(any_needs(), 0..30),
        ends in prop::collection::vec(any::<prop::sample::Index>(), 200),
    ) {
        let room = Room { memory: 150, disk: 150, processor: 2500, inotify: 70, tasks: 150, scenarios: 4 };
        let mut admission = Admission::new(room, needs.clone());
        let (mut running, mut done) = (BTreeMap::<usize, Needs>::new(), BTreeSet::new());
        for end in ends {
            while let Some(index) = admission.start() {
                prop_assert!(!done.contains(&index) && running.insert(index, needs[index].booting()).is_none());
                prop_assert!(running.len() == 1 || running.values().all(|needs| !needs.exclusive));
                if running.len() > 1 {
                    prop_assert!(running.len() <= room.scenarios);
                    prop_assert!(running.values().map(|needs| needs.memory).sum::<u64>() <= room.memory);
                    prop_assert!(running.values().map(|needs| needs.inotify).sum::<u64>() <= room.inotify);
                    prop_assert!(running.values().map(|needs| needs.tasks).sum::<u64>() <= room.tasks);
                    prop_assert!(running.values().map(|needs| needs.disk).sum::<u64>() <= room.disk);
                    prop_assert!(running.values().map(|needs| needs.processor).sum::<u64>() <= room.processor);
                }
            }
            if running.is_empty() {
                break;
            }
            let index = *end.get(&running.keys().copied().collect::<Vec<_>>());
            if running[&index] == needs[index] {
                running.remove(&index);
                admission.ended(index);
                done.insert(index);
            } else {
                running.insert(index, needs[index]);
                admission.booted(index, needs[index]);
            }
        }
        prop_assert_eq!(done.len(), needs.len());
    }
}

/// Every scenario of the catalogue, by its path below `scenarios`.
fn catalogue() -> Vec<(String, BTreeMap<String, String>)> {
    fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut found = Vec::new();
    files(&root, &mut found);
    let labels = |file: &std::path::PathBuf| {
        let name = file.strip_prefix(&root).ok()?.display().to_string();
        let text = std::fs::read_to_string(file).ok()?;
        text.lines().any(|line| line.trim_end() == "kind: Scenario").then(|| {
            let loaded = parse(&name, &text).expect(&name).with_files(&Files::default());
            (name, loaded.scenario.metadata.labels.clone())
        })
    };
    found.iter().filter_map(labels).collect()
}

#[test]
fn the_quick_tier_is_small_and_has_something_of_everything() {
    let all = catalogue();
    let folder = |name: &str| name.split_once('/').map_or("", |(folder, _)| folder).to_owned();
    let (mut quick, mut extended) = (BTreeSet::new(), 0);
    for (name, labels) in &all {
        let tier = labels.get("tier").map(String::as_str);
        assert!(matches!(tier, Some("quick" | "full" | "extended")), "{name}: there is no tier {tier:?}");
        if tier == Some("quick") {
            quick.insert(name.clone());
        }
        if tier == Some("extended") {
            extended += 1;
        }
    }
    assert!(all.len() - extended >= 100, "{extended} of {} scenarios are extended", all.len());
    assert!((40..=60).contains(&quick.len()), "{} of {} scenarios are quick", quick.len(), all.len());
    let folders =
        |of: &mut dyn Iterator<Item = &String>| of.map(|name| folder(name)).collect::<BTreeSet<_>>();
    let mut missing = folders(&mut all.iter().map(|(name, _)| name));
    // A sweep's scenario is one cell of many.
    missing.remove("sweeps");
    for folder in folders(&mut quick.iter()) {
        missing.remove(&folder);
    }
    assert!(missing.is_empty(), "nothing of {missing:?} is quick");
    for signal in [
        "memory.available",
        "allocatableMemory.available",
        "nodefs.available",
        "nodefs.inodesFree",
        "imagefs.available",
        "imagefs.inodesFree",
        "pid.available",
        "local",
        "oom",
        "preemption",
        "disruption",
        "node-failure",
    ] {
        let has = |(name, labels): &(String, BTreeMap<String, String>)| {
            quick.contains(name) && labels.get("signal").is_some_and(|own| own == signal)
        };
        assert!(all.iter().any(has), "no quick scenario is about {signal}");
    }
}
