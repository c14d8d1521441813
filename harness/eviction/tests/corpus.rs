//! Every case of the corpus, against what Kubernetes' own code answered. `tests/corpus/README.md` says where it is from.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_eviction::answer::{LookAnswer, LoopAnswer};
use plimsoll_eviction::document::{read_json, read_pods};
use plimsoll_eviction::duration::GoDuration;
use plimsoll_eviction::layout::FilesystemLayout;
use plimsoll_eviction::pod::Pod;
use plimsoll_eviction::threshold::KubeletConfiguration;
use serde_json::Value;

/// Where upstream was seen to leave more traces than so many, it may have others that chance did not bring.
const SURELY_ALL: usize = 16;

/// Lists whose order means nothing.
const MULTISETS: [&str; 4] = ["thresholds", "effectiveThresholds", "messages", "thresholdsMet"];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Where the cases are: the corpus, or another folder like it, such as `ci/oracle/run` makes.
fn case_folder() -> PathBuf {
    std::env::var_os("PLIMSOLL_CORPUS").map_or_else(corpus, PathBuf::from)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(case_folder().join(kind)).expect("the corpus");
    let entries = entries.map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<PathBuf> = entries.filter(|case| case.join("expected.json").exists()).collect();
    cases.sort();
    cases
}

/// Sorts what has no order, and makes every percentage a floating-point number.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| {
                    let value = match normal(value) {
                        Value::Array(mut items) if MULTISETS.contains(&key.as_str()) => {
                            items.sort_by_key(Value::to_string);
                            Value::Array(items)
                        }
                        Value::Number(number) if key == "percentage" => {
                            Value::from(number.as_f64().expect("a percentage"))
                        }
                        value => value,
                    };
                    (key, value)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(normal).collect()),
        value => value,
    }
}

/// The first place where two documents differ.
fn difference(path: &str, expected: &Value, actual: &Value) -> Option<String> {
    match (expected, actual) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.into_iter().find_map(|key| match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => difference(&format!("{path}.{key}"), a, b),
                (a, b) => Some(format!("{path}.{key}: expected {a:?}, got {b:?}")),
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(at, (a, b))| difference(&format!("{path}[{at}]"), a, b))
        }
        _ => (expected != actual).then(|| format!("{path}: expected {expected}, got {actual}")),
    }
}

struct Inputs {
    layout: FilesystemLayout,
    configuration: KubeletConfiguration,
    pods: Vec<Pod>,
    expected: Value,
}

/// Upstream reads what looks like JSON as JSON, which may hold characters that YAML refuses.
fn configuration(text: &str) -> KubeletConfiguration {
    if text.trim_start().starts_with('{') {
        read_json(text).expect("kubelet.yaml")
    } else {
        serde_yaml::from_str(text).expect("kubelet.yaml")
    }
}

fn inputs(case: &Path) -> Inputs {
    let document: Value = read_json(&read(&case.join("case.json"))).expect("case.json");
    Inputs {
        layout: document["layout"].as_str().expect("a layout").parse().expect("a known layout"),
        configuration: configuration(&read(&case.join("kubelet.yaml"))),
        pods: read_pods(&read(&case.join("pods.json"))).expect("pods.json"),
        expected: normal(read_json(&read(&case.join("expected.json"))).expect("expected.json")),
    }
}

fn document(answer: &impl serde::Serialize) -> Value {
    let text = serde_json::to_string(answer).expect("a document");
    normal(serde_json::from_str(&text).expect("the same document"))
}

/// Fails with every case that is answered otherwise.
fn none(differences: &[String]) {
    assert!(differences.is_empty(), "{} cases differ:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn every_look_at_a_node_agrees() {
    let cases = cases("looks");
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    let look = |case: &PathBuf| {
        let Inputs { layout, configuration, pods, expected } = inputs(case);
        let summary = read_json(&read(&case.join("summary.json"))).expect("summary.json");
        let answer = document(&LookAnswer::new(&pods, &summary, &configuration, layout));
        difference("", &expected, &answer).map(|difference| format!("{}: {difference}", case.display()))
    };
    none(&cases.iter().filter_map(look).collect::<Vec<_>>());
}

#[test]
fn every_script_leaves_exactly_the_traces_that_upstream_leaves() {
    let cases = cases("loops");
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    let script = |case: &PathBuf| {
        let Inputs { layout, configuration, pods, mut expected } = inputs(case);
        let script = read_json(&read(&case.join("ticks.json"))).expect("ticks.json");
        let answer = LoopAnswer::new(&pods, &script, &configuration, layout, 1000).expect("times");
        let mut answer = document(&answer);
        for document in [&mut expected, &mut answer] {
            document["traces"].as_array_mut().expect("traces").sort_by_key(Value::to_string);
        }
        let seen = expected["traces"].as_array().expect("traces").clone();
        if seen.len() > SURELY_ALL {
            answer["traces"].as_array_mut().expect("traces").retain(|trace| seen.contains(trace));
        }
        difference("", &expected, &answer).map(|difference| format!("{}: {difference}", case.display()))
    };
    none(&cases.iter().filter_map(script).collect::<Vec<_>>());
}

#[test]
fn too_many_traces_leave_one_of_them() {
    let case = corpus().join("loops/0002");
    let Inputs { layout, configuration, pods, expected } = inputs(&case);
    let script = read_json(&read(&case.join("ticks.json"))).expect("ticks.json");
    let answer = LoopAnswer::new(&pods, &script, &configuration, layout, 3).expect("times");
    let answer = document(&answer);
    let [only] = answer["traces"].as_array().expect("traces").as_slice() else { panic!("one trace") };
    assert!(expected["traces"].as_array().expect("traces").contains(only));
}

#[test]
fn durations_are_those_of_go() {
    for line in read(&corpus().join("durations.tsv")).lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[0].parse::<GoDuration>() {
            Ok(duration) => {
                assert_eq!(duration.nanoseconds().to_string(), fields[1], "{line}");
                assert_eq!(duration.to_string(), fields[2], "{line}");
            }
            Err(error) => assert_eq!(["ERR", error.upstream_text()], fields[1..], "{line}"),
        }
    }
}
