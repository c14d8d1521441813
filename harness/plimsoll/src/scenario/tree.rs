//! YAML as a tree in which everything knows where it stands.
//!
//! The typed reading of a scenario happens on this tree, not on the YAML itself, so that one mistake
//! does not hide the next and so that a Kubernetes object inside a scenario keeps its positions too.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_yaml::Spanned;
use serde_yaml::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

/// The most bytes that one file may have.
pub const LARGEST_FILE: usize = 4 << 20;
/// The deepest nesting that is read; no Kubernetes object comes near it.
const DEEPEST: usize = 48;
/// The most values that one file may have, aliases counted as often as they are used.
const MOST_NODES: usize = 200_000;

/// A stretch of a source: where something stands. Lines and columns count from 1, offsets and lengths are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    /// Which source, as [`Sources`](super::Sources) counts them.
    pub source: u32,
    /// Byte offset of the first character.
    pub offset: u32,
    /// Length in bytes; 0 where the parser knows no end.
    pub length: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Mark {
    fn of(location: serde_yaml::Location, source: u32) -> Self {
        let span = location.span();
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            source,
            offset: narrow(span.byte_offset().unwrap_or(0)),
            length: narrow(span.byte_len().unwrap_or(0)),
            line: narrow(location.line()),
            column: narrow(location.column()),
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// Where it stands.
    pub mark: Mark,
    /// What it is.
    pub node: Node,
}

/// What YAML has.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Nothing.
    Null,
    /// What stood here was wrong and is already written down; as good as absent.
    Gone,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Tree>),
    /// A mapping, in the order it was written.
    Mapping(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_mark: Mark,
    /// The value.
    pub value: Tree,
}

impl Tree {
    /// The value under a key of a mapping; of a repeated key, the last.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of a key of a mapping; of a repeated key, the last.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().rev().find(|entry| entry.key == key)
    }

    /// The value at a path of keys.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |tree, key| tree.get(key))
    }

    /// The text, if it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A scalar as text, the way that Kubernetes reads a quantity: numbers as they would be printed.
    #[must_use]
    pub fn scalar(&self) -> Option<String> {
        match &self.node {
            Node::Text(text) => Some(text.clone()),
            Node::Integer(number) => Some(number.to_string()),
            Node::Float(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The entries, if it is a mapping; else none.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        match &self.node {
            Node::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The elements, if it is a list; else none.
    #[must_use]
    pub fn elements(&self) -> &[Self] {
        match &self.node {
            Node::List(elements) => elements,
            _ => &[],
        }
    }

    /// The same as plain JSON, without positions.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.node {
            Node::Null | Node::Gone => Value::Null,
            Node::Bool(yes) => Value::Bool(*yes),
            Node::Integer(number) => i64::try_from(*number)
                .map(Value::from)
                .or_else(|_| u64::try_from(*number).map(Value::from))
                .unwrap_or_else(|_| Value::String(number.to_string())),
            Node::Float(number) => Value::from(*number),
            Node::Text(text) => Value::String(text.clone()),
            Node::List(elements) => elements.iter().map(Self::to_json).collect(),
            Node::Mapping(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect()
            }
        }
    }

    /// What it is, in words, for a sentence that begins with "found".
    #[must_use]
    pub fn in_words(&self) -> String {
        match &self.node {
            Node::Null | Node::Gone => "nothing".to_owned(),
            Node::Bool(yes) => format!("`{yes}`"),
            Node::Integer(number) => format!("the number {number}"),
            Node::Float(number) => format!("the number {number}"),
            Node::Text(text) => format!("{:?}", shortened(text)),
            Node::List(_) => "a list".to_owned(),
            Node::Mapping(_) => "a mapping".to_owned(),
        }
    }

    /// Of every repeated key keeps the last entry only, as the last is the one that most readers take.
    pub fn keep_last_of_repeated(&mut self) {
        match &mut self.node {
            Node::Mapping(entries) => {
                let mut seen = std::collections::HashSet::new();
                let mut kept: Vec<bool> =
                    entries.iter().rev().map(|entry| seen.insert(entry.key.clone())).collect();
                entries.retain(|_| kept.pop().unwrap_or(true));
                entries.iter_mut().for_each(|entry| entry.value.keep_last_of_repeated());
            }
            Node::List(elements) => elements.iter_mut().for_each(Self::keep_last_of_repeated),
            _ => {}
        }
    }

    /// Every repeated key in this tree, with where it stands again.
    #[must_use]
    pub fn repeated_keys(&self) -> Vec<&Entry> {
        let mut found = Vec::new();
        let mut open = vec![self];
        while let Some(tree) = open.pop() {
            let mut seen = std::collections::HashSet::new();
            for entry in tree.entries() {
                if !seen.insert(entry.key.as_str()) {
                    found.push(entry);
                }
                open.push(&entry.value);
            }
            open.extend(tree.elements());
        }
        found.sort_by_key(|entry| entry.key_mark);
        found
    }
}

/// A text, cut where it is too long to be shown whole.
pub(crate) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// What is wrong with a text that is not YAML.
#[derive(Debug, Clone, PartialEq)]
pub struct NotYaml {
    /// Where, as well as the parser knows.
    pub mark: Mark,
    /// What is wrong.
    pub message: String,
}

/// Which of YAML's readings of a bare word is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A scenario: only `true` and `false` are booleans, `0755` is text.
    Scenario,
    /// A Kubernetes manifest: `yes`, `no`, `on`, `off` are booleans and `0755` is octal, as kubectl reads them.
    Manifest,
}

/// Reads every document of a text.
///
/// # Errors
/// [`NotYaml`] where the text is not YAML, nests too deeply, or grows too large through its aliases.
pub fn parse(text: &str, source: u32, dialect: Dialect) -> Result<Vec<Tree>, NotYaml> {
    let manifest = dialect == Dialect::Manifest;
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
            max_nodes: MOST_NODES,
            max_events: 2 * MOST_NODES,
            max_documents: 1000,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MOST_NODES },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        legacy_octal_numbers: manifest,
        leading_zero_numbers_as_strings: !manifest,
        strict_booleans: !manifest,
        emit_comments: false,
        with_snippet: false,
    };
    let documents: Vec<Spanned<Raw>> =
        serde_yaml::from_multiple_with_options(text, options).map_err(|error| {
            let mark = error.location().map(|location| Mark::of(location, source)).unwrap_or_default();
            let formatter = serde_yaml::UserMessageFormatter;
            let message = serde_yaml::MessageFormatter::format_message(&formatter, error.without_snippet())
                .into_owned();
            NotYaml {
                mark: Mark { source, line: mark.line.max(1), column: mark.column.max(1), ..mark },
                message,
            }
        })?;
    Ok(documents.into_iter().map(|document| placed(document, source)).collect())
}

fn placed(spanned: Spanned<Raw>, source: u32) -> Tree {
    let mark = Mark::of(spanned.referenced, source);
    let node = match spanned.value {
        Raw::Scalar(node) => node,
        Raw::List(elements) => {
            Node::List(elements.into_iter().map(|element| placed(element, source)).collect())
        }
        Raw::Mapping(entries) => Node::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_mark: Mark::of(key.referenced, source),
                    key: key.value,
                    value: placed(value, source),
                })
                .collect(),
        ),
    };
    Tree { mark, node }
}

/// What the YAML reader hands over.
enum Raw {
    Scalar(Node),
    List(Vec<Spanned<Raw>>),
    Mapping(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Bool(yes)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Integer(number.into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Integer(number.into())))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Integer(number)))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Raw, E> {
        Ok(Raw::Scalar(i128::try_from(number).map_or_else(|_| Node::Text(number.to_string()), Node::Integer)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Float(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Text(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Scalar(Node::Text(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Raw::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Mapping(entries))
    }
}
