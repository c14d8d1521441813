//! Answers for programs are those of Kubernetes' own code, on every look of the corpus.

use std::path::Path;

use plimsoll::explain::Look;
use serde_json::Value;

use crate::{documents, folder};

/// Lists whose order means nothing.
const MULTISETS: [&str; 3] = ["thresholds", "effectiveThresholds", "messages"];

/// Sorts what has no order, and makes every percentage a floating-point number.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let field = |(key, value): (String, Value)| {
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
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(normal).collect()),
        value => value,
    }
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_look_is_answered_as_kubernetes_does() {
    let cases = std::fs::read_dir(folder("harness/eviction/tests/corpus/looks")).expect("the corpus");
    let cases: Vec<_> = cases.map(|case| case.expect("a case").path()).collect();
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    for case in cases {
        let layout = json(&case.join("case.json"))["layout"].as_str().expect("a layout").parse();
        let look = Look::read(&documents(&case), None, Some(layout.expect("a known layout")))
            .unwrap_or_else(|error| panic!("{}: {error}", case.display()));
        let answer = serde_json::to_string_pretty(&look.answer()).expect("a document");
        let answer = normal(serde_json::from_str(&answer).expect("the same document"));
        let expected = normal(json(&case.join("expected.json")));
        assert_eq!(answer, expected, "{}", case.display());
    }
}

/// What is told to people must not depend on figures being likely.
#[test]
fn every_look_can_be_told() {
    for case in std::fs::read_dir(folder("harness/eviction/tests/corpus/looks")).expect("the corpus") {
        let case = case.expect("a case").path();
        let layout = json(&case.join("case.json"))["layout"].as_str().expect("a layout").parse();
        let look = Look::read(&documents(&case), None, layout.ok()).expect("a look");
        let (explanation, answer) = (look.explain(), look.answer());
        let met: Vec<_> = explanation.orders.iter().flat_map(|order| order.met.clone()).collect();
        let met: std::collections::BTreeSet<_> = met.into_iter().collect();
        assert_eq!(met, answer.met, "{}", case.display());
        // Whoever is told a message in the answer, and may go, is told the same here.
        for message in &answer.messages {
            if !answer.evictable[&message.pod].evictable {
                continue;
            }
            let order = explanation.orders.iter().find(|order| order.met.contains(&message.signal));
            let mut pods = order.expect("an order").groups.iter().flatten();
            let found = pods.any(|pod| pod.name == message.pod && pod.messages.contains(&message.message));
            assert!(found, "{}: {}", case.display(), message.message);
        }
        assert!(!crate::render(&explanation, usize::MAX).is_empty());
    }
}
