//! Putting a value into a scenario: what a sweep does to every field that the model can not change by itself, and to every
//! cell that is confirmed on a real cluster.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::scenario::nearest;

/// A field of a scenario's spec: names with dots between them, and brackets around one that has dots itself.
///
/// `nodes.worker.kubelet.evictionHard[memory.available]`: elements of lists are found by their `name`, or counted from 0.
/// `nodes` stands for `cluster.nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    parts: Vec<String>,
    text: String,
}

/// Why a value can not be put there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// No path.
    #[error(
        "`{0}` is no field: expected such as workloads.greedy.fill.memory.rate or nodes.worker.kubelet.evictionHard[memory.available]"
    )]
    NoPath(String),
    /// A path that leads nowhere.
    #[error("{path}: {place} has no `{name}`{help}")]
    Nowhere {
        /// The path.
        path: String,
        /// Where it broke off.
        place: String,
        /// What was looked for there.
        name: String,
        /// The nearest that there is.
        help: String,
    },
    /// A scenario that is no mapping.
    #[error("the scenario can not be read: {0}")]
    Unreadable(String),
}

impl FromStr for FieldPath {
    type Err = SubstituteError;

    fn from_str(text: &str) -> Result<Self, SubstituteError> {
        let wrong = || SubstituteError::NoPath(text.to_owned());
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end > 0 {
                parts.push(rest[..end].to_owned());
            } else if rest.starts_with('.') && parts.is_empty() {
                return Err(wrong());
            }
            rest = &rest[end..];
            if let Some(key) = rest.strip_prefix('[') {
                let (key, after) = key.split_once(']').ok_or_else(wrong)?;
                if key.is_empty() || !(after.is_empty() || after.starts_with(['.', '['])) {
                    return Err(wrong());
                }
                parts.push(key.to_owned());
                rest = after;
            }
            if let Some(after) = rest.strip_prefix('.') {
                if after.is_empty() || after.starts_with(['.', '[']) {
                    return Err(wrong());
                }
                rest = after;
            }
        }
        if let [first, ..] = parts.as_slice()
            && first == "spec"
        {
            parts.remove(0);
        }
        if parts.first().is_some_and(|first| first == "nodes") {
            parts.insert(0, "cluster".to_owned());
        }
        if parts.len() < 3 { Err(wrong()) } else { Ok(Self { parts, text: text.to_owned() }) }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FieldPath {
    /// Its names, `cluster` before `nodes`.
    #[must_use]
    pub fn parts(&self) -> Vec<&str> {
        self.parts.iter().map(String::as_str).collect()
    }
}

/// A scenario's text as plain data.
///
/// # Errors
/// When it is no YAML mapping.
pub fn document(text: &str) -> Result<Value, SubstituteError> {
    let document: Value =
        serde_yaml::from_str(text).map_err(|error| SubstituteError::Unreadable(error.to_string()))?;
    if document["spec"].is_object() {
        Ok(document)
    } else {
        Err(SubstituteError::Unreadable("it has no spec".to_owned()))
    }
}

/// Puts a value into a scenario. What is on the way there must exist, but for mappings at the end of the way: those of
/// a kubelet's configuration may be left out of a scenario.
///
/// # Errors
/// [`SubstituteError::Nowhere`] when a node, workload or field on the way is not there.
pub fn substitute(scenario: &mut Value, path: &FieldPath, value: &str) -> Result<(), SubstituteError> {
    let mut place = &mut scenario["spec"];
    let mut walked = "spec".to_owned();
    let (last, way) = path.parts.split_last().ok_or_else(|| SubstituteError::NoPath(path.text.clone()))?;
    for name in way {
        let here = walked.clone();
        let nowhere = |known: Vec<String>| SubstituteError::Nowhere {
            path: path.text.clone(),
            place: here.clone(),
            name: name.clone(),
            help: match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None if known.is_empty() => String::new(),
                None => format!("; it has {}", known.join(", ")),
            },
        };
        let in_kubelet =
            walked.contains(".kubelet") || name == "kubelet" || name == "requests" || name == "limits";
        place = match place {
            Value::Object(fields) => {
                if !fields.contains_key(name) && !in_kubelet {
                    return Err(nowhere(fields.keys().cloned().collect()));
                }
                fields.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()))
            }
            Value::Array(elements) => {
                let names: Vec<String> = elements
                    .iter()
                    .filter_map(|element| element["name"].as_str().map(str::to_owned))
                    .collect();
                let named = elements.iter().position(|element| element["name"].as_str() == Some(name));
                let counted = name.parse::<usize>().ok().filter(|index| *index < elements.len());
                match named.or(counted) {
                    Some(index) => &mut elements[index],
                    None => return Err(nowhere(names)),
                }
            }
            _ => return Err(nowhere(Vec::new())),
        };
        walked = format!("{walked}.{name}");
    }
    match place {
        Value::Object(fields) => {
            // A kubelet's maps of thresholds hold texts, figures too.
            let text = path.parts.contains(&"kubelet".to_owned()) && path.parts.len() > 5;
            let value = if text { Value::String(value.to_owned()) } else { scalar(value) };
            fields.insert(last.clone(), value);
            Ok(())
        }
        _ => Err(SubstituteError::Nowhere {
            path: path.text.clone(),
            place: walked,
            name: last.clone(),
            help: "; it is no mapping".to_owned(),
        }),
    }
}

/// A whole number is one; anything else is text, which every other kind of value of a scenario can be written as.
fn scalar(value: &str) -> Value {
    match value {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => value.parse::<i64>().map_or_else(|_| Value::String(value.to_owned()), Value::from),
    }
}
