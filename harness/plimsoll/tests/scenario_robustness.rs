//! Whatever a file holds, reading and lowering it ends, soon, and without a panic.
//!
//! `FUZZ_SECONDS=300 cargo test -p plimsoll --release --test scenario_robustness` looks for longer; `FUZZ_SEED` repeats a
//! search. What it finds is written beside the test and belongs into `CASES`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll::plan::Action;
use plimsoll::scenario::load;
use proptest::prelude::*;

use reading::read;

mod reading;

/// Longer than any file of a few pages may take, even unoptimized and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn yaml_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            yaml_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "manifest") {
            found.push(path);
        }
    }
}

/// Every scenario and manifest there is, the wrong ones too.
fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    yaml_below(&root.join("tests/bad-scenarios"), &mut paths);
    yaml_below(&root.join("../../scenarios"), &mut paths);
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

/// A small generator of numbers (xorshift), so that a seed gives the same search everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (bound.max(1) as u64)).unwrap_or(0)
    }
}

/// What is put in where something is changed.
const PIECES: &[&str] = &[
    "0",
    "-1",
    "1e400",
    ".inf",
    ".nan",
    "99999999999999999999999999999999999999999",
    "1e100000Mi",
    "0x7f",
    "0b1",
    "9223372036854775807",
    "18446744073709551616",
    "-9223372036854775809",
    "1Ei",
    "16Ei",
    "0.0000000001",
    "1m",
    "~",
    "null",
    "true",
    "no",
    "''",
    "\"\"",
    "[]",
    "{}",
    "[[]]",
    "{a: }",
    "- ",
    ": ",
    "? ",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!!str ",
    "!x ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{0}",
    "\u{2028}",
    "é",
    "𝄞",
    "#",
    "@",
    "`",
    "%",
    "none",
    "1000000000h",
    "1ns",
    "0s",
    "-5s",
    "5µs",
    "15Mi/s",
    "/s",
    "1/s/s",
    "100%",
    "0%",
    "-1%",
    "1e9%",
    "greedy",
    "worker",
    "memory.available",
    "MemoryPressure",
    "Pod/greedy",
    "/",
    "a/b/c",
    "spec:",
    "kind: List\nitems: []\n",
    "name: ",
    "replicas: 4294967295",
    "replicas: 0",
    "memory: {amount: 9E, rate: 9E/s, startAt: 9E}",
];

fn mutate(numbers: &mut Numbers, corpus: &[String]) -> String {
    let mut bytes = corpus[numbers.below(corpus.len())].clone().into_bytes();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(24)).min(bytes.len());
        let piece = PIECES[numbers.below(PIECES.len())].as_bytes();
        match numbers.below(7) {
            0 => drop(bytes.splice(at..end, piece.iter().copied())),
            1 => drop(bytes.splice(at..at, piece.iter().copied())),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copied = bytes[at..end].to_vec();
                let to = numbers.below(bytes.len() + 1);
                drop(bytes.splice(to..to, copied));
            }
            4 => {
                let other = corpus[numbers.below(corpus.len())].as_bytes();
                let from = numbers.below(other.len());
                let upto = (from + numbers.below(200)).min(other.len());
                drop(bytes.splice(at..end, other[from..upto].iter().copied()));
            }
            5 => {
                // The value after a colon becomes another.
                if let Some(colon) = bytes[at..].windows(2).position(|pair| pair == b": ") {
                    let start = at + colon + 2;
                    let stop = bytes[start..]
                        .iter()
                        .position(|byte| b",}\n]".contains(byte))
                        .map_or(bytes.len(), |stop| start + stop);
                    drop(bytes.splice(start..stop, piece.iter().copied()));
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << numbers.below(7);
                }
            }
        }
    }
    bytes.truncate(64 << 10);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn no_change_to_a_scenario_makes_reading_it_panic_or_hang() {
    let corpus = corpus();
    assert!(corpus.len() > 50, "only {} files to start from", corpus.len());
    let seed = from_environment("FUZZ_SEED", 0x9e37_79b9_7f4a_7c15).max(1);
    let limit = Duration::from_secs(from_environment("FUZZ_SECONDS", 5));
    let (mut numbers, begun) = (Numbers(seed), Instant::now());
    let (mut tried, mut planned) = (0_u64, 0_u64);
    while begun.elapsed() < limit {
        let scenario = mutate(&mut numbers, &corpus);
        let manifest = mutate(&mut numbers, &corpus);
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&scenario, &manifest)));
        let slow = started.elapsed() > PATIENCE;
        if outcome.is_err() || slow {
            let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("found-{seed}-{tried}.yaml"));
            std::fs::write(&found, format!("{scenario}\n# --- manifest\n{manifest}"))
                .expect("writing what was found");
            panic!(
                "{} after {tried} tries from seed {seed}: {}",
                if slow { "too slow" } else { "a panic" },
                found.display()
            );
        }
        tried += 1;
        planned += u64::from(outcome.is_ok_and(|plan| plan.is_some()));
    }
    println!("{tried} texts, {planned} of them scenarios");
    // A search that never gets through to a plan would look at the reader only.
    assert!(tried < 200 || planned > 0, "none of {tried} texts was a scenario");
}

#[test]
fn what_once_went_wrong_goes_right() {
    for (what, scenario, manifest) in CASES {
        let started = Instant::now();
        read(scenario, manifest);
        assert!(started.elapsed() < PATIENCE, "{what}");
    }
}

/// Texts that once made reading panic, hang or lie.
const CASES: &[(&str, &str, &str)] = &[(
    "a value of several lines broke the line of its diagnostic",
    "apiVersion: plimsoll.dev/v1alpha1\nkind: |\n  \n  - {fil\n  Scenario\n",
    "",
)];

#[test]
fn enormous_and_deep_texts_are_refused_soon() {
    let aliases: String = (1..40)
        .map(|level| format!("a{level}: &a{level} [*a{0}, *a{0}, *a{0}, *a{0}]\n", level - 1))
        .collect();
    let texts = [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "- - - - - - - -\n ".repeat(10_000),
        format!("a0: &a0 [x, x]\n{aliases}"),
        "&a [*a]".to_owned(),
        "a".repeat(5 << 20),
        "a: b\n".repeat(500_000),
        (0..300_000).fold(String::new(), |text, number| text + &format!("k{number}: v\n")),
        format!("apiVersion: {}", "x".repeat(3 << 20)),
        format!("kind: Scenario\n{}: 1\n", "x".repeat(1000)),
        "? ".repeat(50_000),
        "!!map ".repeat(50_000),
        "---\n".repeat(100_000),
        (0..5000).fold("spec:\n".to_owned(), |text, number| text + &format!("  k{number}: v\n")),
    ];
    for text in texts {
        let started = Instant::now();
        assert!(read(&text, &text).is_none());
        assert!(started.elapsed() < PATIENCE, "{} took {:?}", &text[..20], started.elapsed());
    }
}

#[test]
fn what_is_no_text_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad.yaml");
    std::fs::write(&path, b"kind: Scenario\nname: \xff\xfe\n").expect("a file");
    let said = load(&path).expect_err("not UTF-8").to_string();
    assert!(said.contains("E0001") && said.contains("not UTF-8"), "{said}");
    let said = load(folder.path()).expect_err("a folder").to_string();
    assert!(said.contains("E0001") && said.contains("folder"), "{said}");
    std::fs::write(&path, vec![b' '; 5 << 20]).expect("a file");
    let said = load(&path).expect_err("too large").to_string();
    assert!(said.contains("E0001") && said.contains("larger than"), "{said}");
    let said = load(&folder.path().join("absent.yaml")).expect_err("absent").to_string();
    assert!(said.contains("there is no such file"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any text at all.
    #[test]
    fn any_text_is_read_to_its_end(text in any::<String>(), manifest in "\\PC{0,80}") {
        read(&text, &manifest);
    }

    /// Any set of workloads, started in any order, comes out as it went in.
    #[test]
    fn every_start_names_a_workload(
        names in prop::collection::btree_set("[a-z]([-a-z0-9]{0,6}[a-z0-9])?", 1..8),
        amounts in prop::collection::vec(0_u32..4096, 8),
        replicas in prop::collection::vec(prop::option::of(1_u32..4), 8),
    ) {
        let names: Vec<String> = names.into_iter().filter(|name| name != "none").collect();
        prop_assume!(!names.is_empty());
        let workloads: String = names
            .iter()
            .zip(&amounts)
            .zip(&replicas)
            .map(|((name, amount), replicas)| {
                let replicas = replicas.map_or(String::new(), |replicas| format!(", replicas: {replicas}"));
                format!("  - {{name: '{name}'{replicas}, fill: {{memory: {{amount: {amount}Mi, rate: 1Mi/s}}}}}}\n")
            })
            .collect();
        let quoted: Vec<String> = names.iter().rev().map(|name| format!("'{name}'")).collect();
        let list = quoted.join(", ");
        let scenario = format!(
            "apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: any}}\nspec:\n  workloads:\n{workloads}  steps:\n  \
             - start: [{list}]\n  - wait: {{for: Running, within: 10s}}\n  - observe: 1s\n  expect: {{survive: [{list}]}}\n"
        );
        let plan = read(&scenario, "").expect("a scenario");
        prop_assert_eq!(&plan.steps[0].action, &Action::Start(names.iter().rev().cloned().collect()));
        for ((name, amount), replicas) in names.iter().zip(&amounts).zip(&replicas) {
            let workload = &plan.workloads[name];
            prop_assert_eq!(workload.pods, replicas.unwrap_or(1));
            prop_assert_eq!(workload.fill.as_ref().map(|fill| fill.amount), Some(u64::from(*amount) << 20));
            let kind = if replicas.is_some() { "Deployment" } else { "Pod" };
            prop_assert_eq!(&workload.objects[0].object["kind"], kind);
        }
    }
}
