//! The examples of docs/scenario.md are scenarios, and its table of codes is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use plimsoll::plan::{Lowered, lower};
use plimsoll::scenario::schema::schema;
use plimsoll::scenario::{Code, Diagnostics, Files, parse};
use serde_json::Value;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scenario.md");
    std::fs::read_to_string(path).expect("docs/scenario.md")
}

/// The blocks that begin with ```` ```yaml ````, with the lines that they begin in.
fn examples(page: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in page.lines().enumerate() {
        if open && line == "```" {
            open = false;
        } else if open {
            if let Some((_, text)) = found.last_mut() {
                text.push_str(line);
                text.push('\n');
            }
        } else if line == "```yaml" {
            open = true;
            found.push((index + 1, String::new()));
        }
    }
    found
}

/// A whole scenario as it is; a part of one, put where it belongs.
fn whole(example: &str) -> String {
    if example.contains("apiVersion: plimsoll.dev") {
        return example.to_owned();
    }
    let mut parts: BTreeMap<&str, String> = [
        ("cluster", "cluster:\n  nodes:\n  - {name: worker, memory: 2Gi, kubelet: {evictionHard: {memory.available: 400Mi}, evictionMinimumReclaim: {memory.available: 100Mi}, evictionPressureTransitionPeriod: 10s}}\n"),
        ("manifests", "manifests: []\n"),
        ("workloads", "workloads:\n- {name: greedy, fill: {memory: {amount: 3Gi, rate: 15Mi/s}}}\n- {name: idler, fill: {memory: {amount: 60Mi}}}\n- {name: web, replicas: 2}\n"),
        ("steps", "steps:\n- start: [greedy, idler, web]\n- wait: {for: evictions, within: 200s}\n"),
        ("expect", "expect: {evicted: [greedy]}\n"),
    ]
    .map(|(key, text)| (key, text.to_owned()))
    .into();
    let mut current = None;
    for line in example.lines() {
        if let Some((key, _)) = line.split_once(':').filter(|(key, _)| parts.contains_key(key)) {
            current = Some(key);
            parts.insert(key, String::new());
        }
        let part = current.and_then(|key| parts.get_mut(key));
        let part = part.unwrap_or_else(|| panic!("{line:?} belongs to no part of a scenario"));
        part.push_str(line);
        part.push('\n');
    }
    let spec: String = ["cluster", "manifests", "workloads", "steps", "expect"]
        .iter()
        .flat_map(|key| parts[key].lines().map(|line| format!("  {line}\n")).collect::<Vec<_>>())
        .collect();
    format!("apiVersion: plimsoll.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: example}}\nspec:\n{spec}")
}

#[test]
fn every_example_is_a_scenario() {
    let page = page();
    let examples = examples(&page);
    assert!(!examples.is_empty(), "no example was found");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: frontend}\nspec: {ports: [{port: 80}]}\n";
    let files: Files = [("./frontend.yaml".to_owned(), Ok(service.to_owned()))].into();
    for (line, example) in examples {
        let result = parse("example", &whole(&example)).and_then(|parsed| lower(&parsed.with_files(&files)));
        // What fills up an example to a scenario may play no part in it.
        let beside = |said: &Diagnostics| said.list.iter().all(|diagnostic| diagnostic.code == Code::W0002);
        match result {
            Ok(lowered) if beside(&lowered.warnings) => {}
            Ok(Lowered { warnings: said, .. }) | Err(said) => {
                panic!("docs/scenario.md, example in line {line}:\n{}\n{said}", whole(&example))
            }
        }
    }
}

/// The words of a definition of the schema: the properties and constants that it or its variants have.
fn words(schema: &Value, definition: &str) -> BTreeSet<String> {
    let own = &schema["$defs"][definition];
    let variants = ["oneOf", "anyOf"].iter().filter_map(|kind| own[*kind].as_array()).flatten();
    let mut words = BTreeSet::new();
    for variant in variants.chain([own]) {
        words.extend(variant["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()));
        let constants = variant["enum"].as_array().into_iter().flatten().chain(variant.get("const"));
        words.extend(constants.filter_map(Value::as_str).map(str::to_owned));
    }
    assert!(!words.is_empty(), "the schema has no definition {definition}");
    words
}

/// Everything below a value that stands under one of these keys: the words, and the keys of mappings.
fn used(value: &Value, keys: &[&str], found: &mut BTreeSet<String>) {
    for (key, child) in value.as_object().into_iter().flatten() {
        if keys.contains(&key.as_str()) {
            let children = child.as_array().map_or(std::slice::from_ref(child), Vec::as_slice);
            for child in children {
                found.extend(child.as_str().map(str::to_owned));
                found.extend(child.as_object().into_iter().flatten().map(|(key, _)| key.clone()));
            }
        }
        used(child, keys, found);
    }
    for child in value.as_array().into_iter().flatten() {
        used(child, keys, found);
    }
}

/// What the schema can say, an example of the page says, and the test above reads it.
#[test]
fn everything_that_can_be_written_has_an_example() {
    let page = page();
    let examples: Vec<Value> = examples(&page)
        .into_iter()
        .map(|(line, example)| {
            serde_yaml::from_str(&example).unwrap_or_else(|error| panic!("docs/scenario.md:{line}: {error}"))
        })
        .collect();
    let schema = schema();
    for (definition, keys) in [
        ("Step", &["steps"][..]),
        ("WaitFor", &["for"]),
        ("Expect", &["expect"]),
        ("Fill", &["fill"]),
        ("MemoryForm", &["as"]),
        ("DiskForm", &["as"]),
        ("Into", &["into"]),
        ("Volume", &["into"]),
        ("NodeChange", &["do"]),
        ("ZoneChange", &["do"]),
        ("ComponentChange", &["do"]),
        ("ControlPlaneComponent", &["component"]),
    ] {
        let mut said = BTreeSet::new();
        for example in &examples {
            used(example, keys, &mut said);
        }
        let missing: Vec<String> = words(&schema, definition).difference(&said).cloned().collect();
        assert!(
            missing.is_empty(),
            "docs/scenario.md has no example of {definition}: {}",
            missing.join(", ")
        );
    }
}

#[test]
fn every_code_is_in_the_table() {
    let page = page();
    for code in Code::ALL {
        let row = format!("| {} | {} |", code.name(), code.summary());
        assert!(page.contains(&row), "docs/scenario.md lacks the row\n{row}");
    }
}
