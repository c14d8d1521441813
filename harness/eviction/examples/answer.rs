//! Answers cases: reads case folders, prints one JSON document a line.
//!
//! ```text
//! cargo run --release -p plimsoll-eviction --example answer -- DIR…
//! ```
//!
//! A DIR is a case folder, or a folder of case folders, which are taken in the order of their names. A case holds `case.json`,
//! `kubelet.yaml` and `pods.json`, and either `summary.json` (one look at a node) or `ticks.json` (passes through the whole
//! manager; all traces are printed if there are at most 1000, else one). A document has the keys of the case's
//! `expected.json`. What can not be read, or stops the rules, is reported on stderr, with `{"error": …}` in its place, and fails the run once
//! all the others are answered.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plimsoll_eviction::answer::{LookAnswer, LoopAnswer};
use plimsoll_eviction::document::{read_json, read_pods};
use plimsoll_eviction::layout::FilesystemLayout;
use plimsoll_eviction::threshold::KubeletConfiguration;

const MOST_TRACES: usize = 1000;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if arguments.is_empty() {
        eprintln!("usage: answer DIR…   (case folders, or folders of them)");
        return ExitCode::from(2);
    }
    let mut output = io::BufWriter::new(io::stdout().lock());
    let mut failed = false;
    for case in arguments.iter().flat_map(|argument| cases(argument)) {
        let line = guarded(&case).unwrap_or_else(|error| {
            eprintln!("{error}");
            failed = true;
            serde_json::json!({ "error": error }).to_string()
        });
        if let Err(error) = writeln!(output, "{line}") {
            eprintln!("standard output: {error}");
            return ExitCode::FAILURE;
        }
    }
    match output.flush() {
        Ok(()) if !failed => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The case folders that an argument stands for: itself, or what it holds.
fn cases(argument: &Path) -> Vec<PathBuf> {
    if argument.join("case.json").exists() {
        return vec![argument.to_owned()];
    }
    let entries = fs::read_dir(argument).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.join("case.json").exists()).collect();
    cases.sort();
    if cases.is_empty() { vec![argument.to_owned()] } else { cases }
}

/// The answer, or why there is none; whatever is wrong with one case, the others get theirs.
fn guarded(case: &Path) -> Result<String, String> {
    panic::catch_unwind(|| answer(case)).unwrap_or_else(|panicked| {
        let why = panicked.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("no reason");
        Err(format!("{}: the rules panicked: {why}", case.display()))
    })
}

fn answer(case: &Path) -> Result<String, String> {
    let read = |name: &str| {
        let path = case.join(name);
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    fn at<E: Display>(case: &Path, name: &str) -> impl Fn(E) -> String {
        let path = case.join(name).display().to_string();
        move |error| format!("{path}: {error}")
    }
    #[derive(serde::Deserialize)]
    struct Case {
        layout: FilesystemLayout,
    }
    let Case { layout } = read_json(&read("case.json")?).map_err(at(case, "case.json"))?;
    let text = read("kubelet.yaml")?;
    // Upstream reads what looks like JSON as JSON, which may hold characters that YAML refuses.
    let configuration: KubeletConfiguration = if text.trim_start().starts_with('{') {
        read_json(&text).map_err(at(case, "kubelet.yaml"))?
    } else {
        serde_yaml::from_str(&text).map_err(at(case, "kubelet.yaml"))?
    };
    let pods = read_pods(&read("pods.json")?).map_err(at(case, "pods.json"))?;
    let line = if case.join("ticks.json").exists() {
        let script = read_json(&read("ticks.json")?).map_err(at(case, "ticks.json"))?;
        let answer = LoopAnswer::new(&pods, &script, &configuration, layout, MOST_TRACES);
        serde_json::to_string(&answer.map_err(at(case, "ticks.json"))?)
    } else {
        let summary = read_json(&read("summary.json")?).map_err(at(case, "summary.json"))?;
        serde_json::to_string(&LookAnswer::new(&pods, &summary, &configuration, layout))
    };
    line.map_err(|error| format!("{}: {error}", case.display()))
}
