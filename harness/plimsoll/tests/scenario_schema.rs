//! The committed JSON Schema is the one that the types make, and the scenarios that are here follow it.

use std::path::{Path, PathBuf};

use plimsoll::plan::{Plan, lower, text};
use plimsoll::scenario::load;
use plimsoll::scenario::schema::{schema, schema_text};
use serde_json::Value;

fn scenarios_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
}

fn scenarios(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of scenarios") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(scenarios(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_committed_schema_is_the_one_of_the_types() {
    let path = scenarios_folder().join("schema.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, schema_text()).expect("writing the schema");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == schema_text(),
        "the format has changed; write its schema with:\n  plimsoll schema > scenarios/schema.json"
    );
}

#[test]
fn everything_that_can_be_written_is_described() {
    fn check(path: &str, value: &Value, bare: &mut Vec<String>) {
        let Some(object) = value.as_object() else {
            for element in value.as_array().into_iter().flatten() {
                check(path, element, bare);
            }
            return;
        };
        for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            // A choice is described beside the one property that it has.
            let described = property.get("description").or_else(|| object.get("description")).is_some();
            if !described {
                bare.push(format!("{path}.{name}"));
            }
        }
        for (key, child) in object {
            check(&format!("{path}/{key}"), child, bare);
        }
    }
    let mut bare = Vec::new();
    check("#", &schema(), &mut bare);
    assert!(bare.is_empty(), "without a description: {bare:?}");
}

#[test]
fn every_scenario_here_is_without_fault_and_its_plan_reads_back() {
    let files = scenarios(&scenarios_folder());
    assert!(files.len() >= 12, "only {} scenarios", files.len());
    for path in files {
        let lowered = match load(&path).and_then(|loaded| lower(&loaded)) {
            Ok(lowered) => lowered,
            Err(diagnostics) => panic!("{diagnostics}"),
        };
        // Where that the kubelet overwrites a threshold is the subject, saying so is right.
        let meant = path.ends_with("disk/containerfs-takes-the-values-of-nodefs.yaml");
        assert_eq!(lowered.warnings.list.len(), usize::from(meant), "{}", lowered.warnings);
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        assert_eq!(stem, Some(lowered.plan.name.as_str()), "a scenario's file is called as it is");
        assert!(lowered.plan.description.is_some(), "{} says what it shows", path.display());
        let json = serde_json::to_string(&lowered.plan).expect("a plan as JSON");
        let again: Plan = serde_json::from_str(&json).expect("a plan from JSON");
        assert_eq!(again, lowered.plan, "{}", path.display());
        let shown = text(&lowered.plan);
        for name in lowered.plan.workloads.keys() {
            assert!(shown.contains(name.as_str()), "{name} is missing from\n{shown}");
        }
    }
}
