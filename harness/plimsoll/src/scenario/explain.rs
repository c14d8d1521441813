//! A field of the format, described from the schema as `kubectl explain` describes one of Kubernetes.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use super::diagnostic::nearest;
use super::schema::schema;
use crate::verdict::words::wrapped;

/// How wide descriptions are written.
const WIDTH: usize = 100;

/// Describes the field at this path, such as `spec.steps.wait`; the whole for an empty one. Lists are passed through: the
/// path names no elements.
///
/// # Errors
/// When there is no such field, with the nearest that there is.
pub fn explain(path: &str) -> Result<String, String> {
    let root = schema();
    let format = Format { root: &root };
    let mut field = Field { name: "", schema: &root, description: None };
    let mut walked: Vec<&str> = Vec::new();
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let fields = format.fields(field.schema);
        let Some(found) = fields.iter().find(|field| field.name == name) else {
            let place =
                if walked.is_empty() { "a scenario".to_owned() } else { format!("`{}`", walked.join(".")) };
            let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it has none: its value is written as it is".to_owned(),
                None => format!("it has {}", known.join(", ")),
            };
            return Err(format!("{place} has no field `{name}`\nhelp: {help}"));
        };
        field = *found;
        walked.push(name);
    }
    Ok(format.text(&walked.join("."), &field))
}

/// A field as it stands in its parent, and what that says of it.
#[derive(Clone, Copy)]
struct Field<'a> {
    name: &'a str,
    schema: &'a Value,
    description: Option<&'a str>,
}

struct Format<'a> {
    root: &'a Value,
}

impl<'a> Format<'a> {
    fn text(&self, path: &str, field: &Field<'a>) -> String {
        let mut text = String::new();
        if path.is_empty() {
            text.push_str("SCENARIO <object>\n");
        } else {
            let _ = writeln!(text, "FIELD: {path} <{}>", self.kind(field.schema));
        }
        text.push_str("\nDESCRIPTION:\n");
        let general = description(self.resolved(field.schema));
        let mut said = BTreeSet::new();
        for description in field.description.into_iter().chain(general) {
            if said.insert(description) {
                wrap(&mut text, 4, description);
            }
        }
        let words = self.words(field.schema);
        if !words.is_empty() {
            text.push_str("\nONE OF:\n");
            for (word, description) in words {
                let _ = writeln!(text, "  {word}");
                wrap(&mut text, 4, description);
            }
        }
        let fields = self.fields(field.schema);
        if !fields.is_empty() {
            text.push_str("\nFIELDS:\n");
            let required = self.required(field.schema);
            for field in fields {
                let mark = if required.contains(field.name) { " -required-" } else { "" };
                let _ = writeln!(text, "  {} <{}>{mark}", field.name, self.kind(field.schema));
                let said = field.description.or_else(|| description(self.resolved(field.schema)));
                wrap(&mut text, 4, said.unwrap_or_default());
            }
        }
        text
    }

    /// What a reference stands for.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
        match name.and_then(|name| self.root["$defs"].get(name)) {
            Some(found) => self.resolved(found),
            None => schema,
        }
    }

    /// The schema and whatever else can be written in its place, the elements of lists for the lists.
    fn choices(&self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolved(schema);
        let mut found = vec![schema];
        for key in ["anyOf", "oneOf", "allOf"] {
            for choice in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                found.extend(self.choices(choice));
            }
        }
        if let Some(element) = schema.get("items") {
            found.extend(self.choices(element));
        }
        if let Some(value) = schema.get("additionalProperties").filter(|value| value.is_object()) {
            // A mapping with names of one's own is passed through like a list.
            found.extend(self.choices(value));
        }
        found
    }

    /// Every field that can be written in a value, in the order of the schema, each once.
    fn fields(&self, schema: &'a Value) -> Vec<Field<'a>> {
        let mut found: Vec<Field<'a>> = Vec::new();
        for choice in self.choices(schema) {
            let Some(properties) = choice.get("properties").and_then(Value::as_object) else { continue };
            for (name, property) in properties {
                if !found.iter().any(|field| field.name == name) {
                    // A choice is described beside the one property that it has.
                    let beside = if properties.len() == 1 { description(choice) } else { None };
                    found.push(Field {
                        name,
                        schema: property,
                        description: description(property).or(beside),
                    });
                }
            }
        }
        found
    }

    fn required(&self, schema: &'a Value) -> BTreeSet<&'a str> {
        let of = |schema: &'a Value| {
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
        };
        let resolved = self.resolved(schema);
        let element = resolved.get("items").map(|items| self.resolved(items));
        of(resolved).chain(element.into_iter().flat_map(of)).collect()
    }

    /// Words that are all that can be written, with what they mean.
    fn words(&self, schema: &'a Value) -> Vec<(&'a str, &'a str)> {
        let mut words = Vec::new();
        for choice in self.choices(schema) {
            let word = choice.get("const").and_then(Value::as_str);
            words.extend(word.map(|word| (word, description(choice).unwrap_or_default())));
            let listed = choice.get("enum").and_then(Value::as_array).into_iter().flatten();
            words.extend(listed.filter_map(Value::as_str).map(|word| (word, "")));
        }
        words
    }

    /// The kind of a value, for people: `string`, `[]object`, `Quantity`, `Names`.
    fn kind(&self, schema: &'a Value) -> String {
        let resolved = self.resolved(schema);
        if let Some(items) = resolved.get("items") {
            return format!("[]{}", self.kind(items));
        }
        if let Some(value) = resolved.get("additionalProperties").filter(|value| value.is_object()) {
            return format!("map[string]{}", self.kind(value));
        }
        let some: Vec<&Value> = resolved
            .get("anyOf")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|choice| choice["type"] != "null")
            .collect();
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        match (name, some.as_slice()) {
            (Some(name), _) if resolved["type"] != "object" => name.to_owned(),
            (_, [only]) => self.kind(only),
            (_, []) => match &resolved["type"] {
                Value::String(kind) => kind.clone(),
                Value::Array(kinds) => {
                    let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
                    kinds.collect::<Vec<_>>().join(" or ")
                }
                _ if resolved.get("oneOf").is_some() => "object".to_owned(),
                _ => "any".to_owned(),
            },
            (_, several) => several.iter().map(|choice| self.kind(choice)).collect::<Vec<_>>().join(" or "),
        }
    }
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

fn wrap(text: &mut String, indent: usize, words: &str) {
    for line in wrapped(words, WIDTH - indent).into_iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
}
