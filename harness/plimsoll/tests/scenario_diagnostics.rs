//! What is said about scenarios that are wrong: every file of `bad-scenarios/`, word for word.
//!
//! `UPDATE=1 cargo test -p plimsoll --test scenario_diagnostics` writes down what is said now.

use std::path::{Path, PathBuf};

use plimsoll::plan::lower;
use plimsoll::scenario::render::{Look, graphical};
use plimsoll::scenario::{Code, Diagnostics, load};

fn folder() -> &'static Path {
    Path::new("tests/bad-scenarios")
}

fn said(path: &Path) -> Diagnostics {
    match load(path).and_then(|loaded| lower(&loaded)) {
        Ok(lowered) => lowered.warnings,
        Err(diagnostics) => diagnostics,
    }
}

fn scenarios() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("the folder of bad scenarios")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn compare(expected: &Path, now: &str) -> Option<String> {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(expected, now).expect("writing what is said");
        return None;
    }
    let before = std::fs::read_to_string(expected).unwrap_or_default();
    (before != now).then(|| format!("{}\n--- expected\n{before}+++ said\n{now}", expected.display()))
}

#[test]
fn every_bad_scenario_is_told_what_is_wrong_with_it() {
    let files = scenarios();
    assert!(files.len() >= 40, "only {} bad scenarios", files.len());
    let mut differences = Vec::new();
    for path in files {
        let diagnostics = said(&path);
        assert!(!diagnostics.list.is_empty(), "{}: nothing is said about it", path.display());
        differences.extend(compare(&path.with_extension("stderr"), &format!("{diagnostics}\n")));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_code_is_said_about_some_scenario() {
    let said: Vec<Code> =
        scenarios().iter().flat_map(|path| said(path).list).map(|diagnostic| diagnostic.code).collect();
    // A machine that is too small is no property of a file.
    let unsaid: Vec<&Code> =
        Code::ALL.iter().filter(|code| **code != Code::E0021 && !said.contains(code)).collect();
    assert!(unsaid.is_empty(), "no bad scenario shows {unsaid:?}");
}

#[test]
fn diagnostics_are_shown_with_their_lines() {
    let shown = graphical(&said(&folder().join("09-unknown-fields.yaml")), Look::default());
    let difference = compare(&folder().join("09-unknown-fields.graphical"), &shown);
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
}

#[test]
fn every_place_lies_in_its_file() {
    for path in scenarios() {
        let diagnostics = said(&path);
        for diagnostic in &diagnostics.list {
            let source =
                diagnostics.sources.named(&diagnostic.location.file).expect("the file that it is about");
            let start = diagnostic.offset as usize;
            assert!(source.text.get(start..start + diagnostic.length as usize).is_some(), "{diagnostic}");
            // Where the parser knows an offset, it and the line and column are the same place.
            if start > 0 {
                let before = &source.text[..start];
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
                assert_eq!(
                    (line, column),
                    (diagnostic.location.line as usize, diagnostic.location.column as usize),
                    "{diagnostic}"
                );
            }
        }
    }
}
