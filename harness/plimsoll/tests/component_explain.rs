//! Tier: component. `plimsoll explain` as people and scripts run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn explain(folder: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("explain").args(arguments).current_dir(repository().join(folder)).env("NO_COLOR", "1");
    command.env_remove("KUBECONFIG").output().expect("plimsoll runs")
}

const FILES: [&str; 6] = ["--pods", "pods.json", "--summary", "summary.json", "--config", "kubelet.yaml"];

fn explain_files(folder: &str, more: &[&str]) -> Output {
    explain(folder, &[&FILES, more].concat())
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sorts the lists whose order means nothing, and makes every percentage a floating-point number.
fn normal(value: Value, key: &str) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key.clone(), normal(value, &key))).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(|item| normal(item, "")).collect();
            if ["thresholds", "effectiveThresholds", "messages"].contains(&key) {
                items.sort_by_key(Value::to_string);
            }
            Value::Array(items)
        }
        Value::Number(number) if key == "percentage" => Value::from(number.as_f64()),
        value => value,
    }
}

#[test]
fn every_look_of_the_corpus_is_answered_as_a_document_in_all_its_keys() {
    let looks = repository().join("harness/eviction/tests/corpus/looks");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(looks).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    for case in cases {
        let read = |name: &str| -> Value {
            let text = std::fs::read_to_string(case.join(name)).expect("a case");
            serde_json::from_str(&text).expect("JSON")
        };
        let layout = read("case.json")["layout"].as_str().expect("a layout").to_owned();
        let ran = explain_files(case.to_str().expect("a path"), &["--layout", &layout, "--output", "json"]);
        let expected = normal(read("expected.json"), "");
        let code = if expected.get("configError").is_some() { 2 } else { 0 };
        assert_eq!(ran.status.code(), Some(code), "{}: {}", case.display(), said(&ran.stderr));
        let answer: Value = serde_json::from_slice(&ran.stdout).expect("one document");
        let answer = normal(answer, "");
        let keys = |document: &Value| -> Vec<String> {
            document.as_object().expect("a document").keys().cloned().collect()
        };
        assert_eq!(keys(&answer), keys(&expected), "{}", case.display());
        for (key, expected) in expected.as_object().expect("a document") {
            assert_eq!(&answer[key], expected, "{}: {key}", case.display());
        }
    }
}

#[test]
fn people_get_a_report_without_colour() {
    let ran = explain_files("docs/explain-example", &[]);
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran.stderr));
    let text = said(&ran.stdout);
    assert!(text.contains("shop/cart-6f9 goes: memory.available is 278.5Mi"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn bad_input_ends_in_2_with_file_and_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let pods = folder.path().join("pods.json");
    std::fs::write(&pods, r#"{"items":[{"spec":{"overhead":{"memory":"12Mb"}}}]}"#).expect("a file");
    let pods = pods.display().to_string();
    let ran = explain(
        "docs/explain-example",
        &["--pods", &pods, "--summary", "summary.json", "--config", "kubelet.yaml"],
    );
    assert_eq!(ran.status.code(), Some(2));
    let errors = said(&ran.stderr);
    assert!(errors.contains(&format!("{pods}: items[0].spec.overhead.memory: ")), "{errors}");
    assert_eq!(said(&ran.stdout), "");
    let ran = explain(
        "docs/explain-example",
        &["--pods", "nowhere.json", "--summary", "summary.json", "--config", "kubelet.yaml"],
    );
    assert_eq!(ran.status.code(), Some(2));
    assert!(said(&ran.stderr).contains("nowhere.json: No such file"), "{}", said(&ran.stderr));
}

#[test]
fn a_configuration_that_a_kubelet_refuses_ends_in_2_and_the_document_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("kubelet.yaml");
    std::fs::write(&config, "evictionHard: {memory.available: 0Mi}\n").expect("a file");
    let config = config.display().to_string();
    let arguments = ["--pods", "pods.json", "--summary", "summary.json", "--config", &config, "-o", "json"];
    let ran = explain("docs/explain-example", &arguments);
    assert_eq!(ran.status.code(), Some(2));
    let reason = "eviction threshold memory.available must be positive: 0";
    let answer: Value = serde_json::from_slice(&ran.stdout).expect("one document");
    assert_eq!(answer["configError"], reason);
    assert_eq!(answer["met"], serde_json::json!([]));
    assert!(said(&ran.stderr).contains(reason), "{}", said(&ran.stderr));
}

#[test]
fn a_cluster_is_only_asked_when_it_is_named() {
    let ran = explain("docs", &["--node", "worker"]);
    assert_eq!(ran.status.code(), Some(2));
    let ran = explain("docs", &["--context", "production"]);
    assert_eq!(ran.status.code(), Some(2), "the node is missing");
    let ran = explain("docs", &["--context", "production", "--node", "../../pods"]);
    assert_eq!(ran.status.code(), Some(2), "{}", said(&ran.stderr));
}

/// Nothing listens there: the port is taken and given back.
fn kubeconfig_to_nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    format!(
        r#"{{"apiVersion":"v1","kind":"Config","clusters":[{{"name":"c","cluster":{{"server":"http://127.0.0.1:{port}"}}}}],
        "users":[{{"name":"u","user":{{"token":"t"}}}}],"contexts":[{{"name":"production","context":{{"cluster":"c","user":"u"}}}}]}}"#
    )
}

#[test]
fn a_cluster_that_does_not_answer_ends_in_3_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, kubeconfig_to_nowhere()).expect("a file");
    let file = file.display().to_string();
    let ran = explain("docs", &["--kubeconfig", &file, "--context", "production", "--node", "worker"]);
    assert_eq!(ran.status.code(), Some(3));
    let errors = said(&ran.stderr);
    assert!(errors.contains("context production, node worker: the API server can not be asked"), "{errors}");
    assert!(errors.contains("kubectl get --raw /readyz"), "{errors}");
    assert_eq!(errors.matches("can not be asked").count(), 1, "{errors}");
    let ran = explain("docs", &["--kubeconfig", &file, "--context", "test", "--node", "worker"]);
    assert_eq!(ran.status.code(), Some(3));
    assert!(said(&ran.stderr).contains("kubectl config get-contexts"), "{}", said(&ran.stderr));
}
