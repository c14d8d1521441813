//! From a tree to types, with every mistake found.
//!
//! Serde stops at the first mistake. So each mistake is written down, the part of the tree that it is
//! about is taken out, and the rest is read again, until it reads or nothing is left.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::diagnostic::{Code, Problem, nearest};
use super::located::LOCATED;
use super::tree::{Entry, Mark, Node, Tree, shortened};

/// More mistakes than anybody reads at once.
const MOST_FAULTS: usize = 100;

/// A part that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Such as `spec.workloads[1].fill`.
    pub path: String,
    /// Where it stood.
    pub mark: Mark,
}

/// What a reading gave.
pub(super) struct Decoded<T> {
    /// The value, if anything was left of it.
    pub(super) value: Option<T>,
    /// Everything wrong with it.
    pub(super) problems: Vec<Problem>,
    /// What was taken out.
    pub(super) removed: Vec<Removed>,
}

/// Reads a tree as a type; see the module.
pub(super) fn decode<T: DeserializeOwned>(mut tree: Tree) -> Decoded<T> {
    let mut problems = Vec::new();
    let mut removed: Vec<Removed> = Vec::new();
    // Of misspelt fields, the paths of the fields that were meant.
    let mut meant: Vec<String> = Vec::new();
    while problems.len() < MOST_FAULTS {
        let fault = match T::deserialize(Reader { tree: &tree, key: None }) {
            Ok(value) => {
                return Decoded { value: Some(value), problems, removed };
            }
            Err(fault) => fault,
        };
        let place = Place::find(&tree, &fault.path);
        let path = place.name.clone();
        // What is absent only because it was taken out is no second mistake; nor is a step or a choice
        // whose only content was taken out.
        let follows = match &fault.kind {
            Kind::Missing(field) => {
                let whole = join(&path, field);
                removed.iter().any(|gone| gone.path == whole) || meant.contains(&whole)
            }
            Kind::Empty => removed.iter().any(|gone| parent(&gone.path) == path),
            _ => false,
        };
        let mark = place.mark();
        if !follows {
            let (problem, near) = fault.problem(&place);
            meant.extend(near.map(|near| join(parent(&path), near)));
            problems.push(problem);
        }
        removed.push(Removed { path, mark });
        if !take_out(&mut tree, &fault.path) {
            break;
        }
    }
    Decoded { value: None, problems, removed }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn parent(path: &str) -> &str {
    path.rfind(['.', '[']).map_or("", |end| &path[..end])
}

/// Removes what stands at a path (outermost index last); false for the whole tree.
fn take_out(tree: &mut Tree, path: &[usize]) -> bool {
    let Some((&last, above)) = path.split_first() else { return false };
    let mut here = tree;
    for &index in above.iter().rev() {
        let next = match &mut here.node {
            Node::List(elements) => elements.get_mut(index),
            Node::Mapping(entries) => entries.get_mut(index).map(|entry| &mut entry.value),
            _ => None,
        };
        let Some(next) = next else { return false };
        here = next;
    }
    match &mut here.node {
        // A list keeps its length, so that positions in later messages are the ones in the file.
        Node::List(elements) if last < elements.len() => {
            if let Some(element) = elements.get_mut(last) {
                element.node = Node::Gone;
            }
            true
        }
        Node::Mapping(entries) if last < entries.len() => {
            entries.remove(last);
            true
        }
        _ => false,
    }
}

/// Where a path leads.
struct Place<'a> {
    /// As a person would write it; empty for the whole.
    name: String,
    key: Option<&'a Entry>,
    tree: &'a Tree,
}

impl<'a> Place<'a> {
    fn find(tree: &'a Tree, path: &[usize]) -> Self {
        let mut place = Self { name: String::new(), key: None, tree };
        for &index in path.iter().rev() {
            if let Some(entry) = place.tree.entries().get(index) {
                place = Self {
                    name: join(&place.name, &shortened(&entry.key)),
                    key: Some(entry),
                    tree: &entry.value,
                };
            } else if let Some(element) = place.tree.elements().get(index) {
                place = Self { name: format!("{}[{index}]", place.name), key: None, tree: element };
            }
        }
        place
    }

    fn mark(&self) -> Mark {
        self.tree.mark
    }

    fn key_mark(&self) -> Mark {
        self.key.map_or(self.tree.mark, |entry| entry.key_mark)
    }

    fn container(&self) -> String {
        in_words(parent(&self.name))
    }
}

fn in_words(path: &str) -> String {
    if path.is_empty() { "the scenario".to_owned() } else { format!("`{path}`") }
}

/// One mistake, and the way to it.
#[derive(Debug)]
pub(super) struct Fault {
    /// Indices from the mistake outwards.
    path: Vec<usize>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    UnknownField {
        name: String,
        known: &'static [&'static str],
    },
    UnknownVariant {
        name: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
    /// A choice of which nothing was chosen.
    Empty,
    /// A choice of which several were chosen.
    Several,
    Type {
        found: Option<String>,
        expected: String,
    },
    /// A sentence of a type's own; what follows its first line is help.
    Own(String),
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self { path: Vec::new(), kind }
    }

    fn under(mut self, index: usize) -> Self {
        self.path.push(index);
        self
    }

    fn problem(&self, place: &Place<'_>) -> (Problem, Option<&'static str>) {
        match &self.kind {
            Kind::UnknownField { name, known } => {
                let near = nearest(name, known.iter().copied());
                let message = format!("{} has no field `{}`", place.container(), shortened(name));
                (
                    Problem::new(Code::E0003, place.key_mark(), message).help(choices(near, known)),
                    near.and_then(|near| known.iter().find(|known| **known == near).copied()),
                )
            }
            Kind::UnknownVariant { name, known } => {
                let near = nearest(name, known.iter().copied());
                let message = match known {
                    [only] => format!("expected `{only}`, found `{}`", shortened(name)),
                    _ => format!("`{}` is not one of {}", shortened(name), listed(known)),
                };
                let mark =
                    if place.tree.text() == Some(name.as_str()) { place.mark() } else { place.key_mark() };
                let problem = Problem::new(Code::E0006, mark, message);
                (
                    match near {
                        Some(near) => problem.help(format!("did you mean `{near}`?")),
                        None => problem,
                    },
                    None,
                )
            }
            Kind::Missing(field) => {
                let problem = Problem::new(
                    Code::E0004,
                    place.key_mark(),
                    format!("{} lacks `{field}`", in_words(&place.name)),
                );
                (
                    match help_for_missing(&place.name, field) {
                        Some(help) => problem.help(help),
                        None => problem,
                    },
                    None,
                )
            }
            Kind::Empty => (
                Problem::new(
                    Code::E0005,
                    place.key_mark(),
                    format!("{} says nothing", in_words(&place.name)),
                ),
                None,
            ),
            Kind::Several => {
                let keys: Vec<&str> = place.tree.entries().iter().map(|entry| entry.key.as_str()).collect();
                let message = format!(
                    "{} must have one field, and has {}: {}",
                    in_words(&place.name),
                    keys.len(),
                    shortened(&keys.join(", "))
                );
                let help = if place.name.ends_with(']') {
                    "make it several elements of the list, each with its own dash"
                } else {
                    "keep one of them"
                };
                (Problem::new(Code::E0005, place.key_mark(), message).help(help), None)
            }
            Kind::Type { found, expected } => {
                let found = found.clone().unwrap_or_else(|| place.tree.in_words());
                let expected = match expected.as_str() {
                    "i64" | "u64" | "u32" => "a whole number",
                    "a boolean" => "true or false",
                    other => other,
                };
                let problem =
                    Problem::new(Code::E0005, place.mark(), format!("expected {expected}, found {found}"));
                let scalar = matches!(place.tree.node, Node::Bool(_) | Node::Integer(_) | Node::Float(_));
                (
                    if scalar && expected == "a string" {
                        problem.help("put it in quotes if it is meant as text")
                    } else {
                        problem
                    },
                    None,
                )
            }
            Kind::Own(sentence) => {
                let (message, help) = sentence.split_once('\n').unwrap_or((sentence, ""));
                let problem = Problem::new(Code::E0006, place.mark(), message);
                (if help.is_empty() { problem } else { problem.help(help) }, None)
            }
        }
    }
}

fn help_for_missing(path: &str, field: &str) -> Option<String> {
    Some(match (path, field) {
        ("", "apiVersion") => "begin the file with `apiVersion: plimsoll.dev/v1alpha1`".to_owned(),
        ("", "kind") => "add `kind: Scenario`".to_owned(),
        ("spec", "expect") => {
            "say what must turn out to be so, such as `expect: {evicted: [greedy]}`".to_owned()
        }
        ("spec", "steps") => {
            "say what happens, such as `steps: [{start: [greedy]}, {wait: {for: evictions, within: 60s}}]`"
                .to_owned()
        }
        _ => return None,
    })
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn choices(near: Option<&str>, known: &[&str]) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its fields are {}", listed(known)),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Own(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // Only of a key is it not known from the place what was found.
        let found = matches!(unexpected, Unexpected::Other(_)).then(|| unexpected.to_string());
        Self::new(Kind::Type { found, expected: expected.to_string() })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownVariant { name: variant.to_owned(), known: expected })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownField { name: field.to_owned(), known: expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing(field))
    }
}

/// Reads one value of a tree.
struct Reader<'a> {
    tree: &'a Tree,
    key: Option<Mark>,
}

impl<'a> Reader<'a> {
    fn any<'de, V: Visitor<'de>>(self, visitor: V, keep_nothings: bool) -> Result<V::Value, Fault> {
        match &self.tree.node {
            Node::Null | Node::Gone => visitor.visit_unit(),
            Node::Bool(yes) => visitor.visit_bool(*yes),
            Node::Integer(number) => match (u64::try_from(*number), i64::try_from(*number)) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => visitor.visit_i128(*number),
            },
            Node::Float(number) => visitor.visit_f64(*number),
            Node::Text(text) => visitor.visit_str(text),
            Node::List(elements) => visitor.visit_seq(Elements { elements, next: 0 }),
            Node::Mapping(entries) => visitor.visit_map(Fields { entries, next: 0, keep_nothings }),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor, true)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.tree.node {
            Node::Mapping(_) => self.any(visitor, false),
            _ => Err(Fault::new(Kind::Type { found: None, expected: "a mapping".to_owned() })),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.tree.node {
            Node::List(_) => self.any(visitor, true),
            _ => Err(Fault::new(Kind::Type { found: None, expected: "a list".to_owned() })),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.tree.node {
            Node::Null | Node::Gone => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name != LOCATED {
            return visitor.visit_newtype_struct(self);
        }
        let mark = self.tree.mark;
        let key = self.key.unwrap_or(mark);
        visitor.visit_seq(LocatedParts { mark, key, value: Some(self), given: 0 })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.tree.node {
            Node::Text(text) => visitor.visit_enum(StrDeserializer::<Fault>::new(text)),
            Node::Mapping(entries) => match entries.as_slice() {
                [entry] => visitor.visit_enum(Choice { entry }),
                [] => Err(Fault::new(Kind::Empty)),
                _ => Err(Fault::new(Kind::Several)),
            },
            _ => {
                Err(Fault::new(Kind::Type { found: None, expected: format!("one of {}", listed(variants)) }))
            }
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The parts of a [`Located`](super::located::Located): where the value stands, where its key stands, the value.
struct LocatedParts<R> {
    mark: Mark,
    key: Mark,
    value: Option<R>,
    given: u8,
}

impl<'de, R: Deserializer<'de, Error = Fault>> SeqAccess<'de> for LocatedParts<R> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.given += 1;
        let mark = match self.given {
            1 => self.mark,
            2 => self.key,
            _ => return self.value.take().map(|value| seed.deserialize(value)).transpose(),
        };
        let numbers: [u32; 5] = mark.into();
        seed.deserialize(serde::de::value::SeqDeserializer::new(numbers.into_iter())).map(Some)
    }
}

/// The elements of a list.
struct Elements<'a> {
    elements: &'a [Tree],
    next: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        while let Some(tree) = self.elements.get(self.next) {
            let index = self.next;
            self.next += 1;
            if tree.node != Node::Gone {
                return seed
                    .deserialize(Reader { tree, key: None })
                    .map(Some)
                    .map_err(|fault| fault.under(index));
            }
        }
        Ok(None)
    }
}

/// The fields of a mapping. For a type with named fields, what is nothing is as good as absent.
struct Fields<'a> {
    entries: &'a [Entry],
    next: usize,
    keep_nothings: bool,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        while let Some(entry) = self.entries.get(self.next) {
            let index = self.next;
            self.next += 1;
            if self.keep_nothings || entry.value.node != Node::Null {
                return seed.deserialize(Key { entry }).map(Some).map_err(|fault| fault.under(index));
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let index = self.next.saturating_sub(1);
        let Some(entry) = self.entries.get(index) else {
            return Err(Fault::custom("a value was asked for before its key"));
        };
        seed.deserialize(Reader { tree: &entry.value, key: Some(entry.key_mark) })
            .map_err(|fault| fault.under(index))
    }
}

/// A key.
struct Key<'a> {
    entry: &'a Entry,
}

impl<'de> Deserializer<'de> for Key<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(&self.entry.key)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name != LOCATED {
            return visitor.visit_newtype_struct(self);
        }
        let mark = self.entry.key_mark;
        visitor.visit_seq(LocatedParts { mark, key: mark, value: Some(self), given: 0 })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self.entry.key.as_str().into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A choice that is written as a mapping of one entry.
struct Choice<'a> {
    entry: &'a Entry,
}

impl<'de> EnumAccess<'de> for Choice<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let chosen = seed.deserialize(Key { entry: self.entry }).map_err(|fault| fault.under(0))?;
        Ok((chosen, self))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Err(Fault::custom(format!("`{}` takes no value", shortened(&self.entry.key))).under(0))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(Reader { tree: &self.entry.value, key: Some(self.entry.key_mark) })
            .map_err(|fault| fault.under(0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, Fault> {
        Reader { tree: &self.entry.value, key: Some(self.entry.key_mark) }
            .deserialize_seq(visitor)
            .map_err(|fault| fault.under(0))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        Reader { tree: &self.entry.value, key: Some(self.entry.key_mark) }
            .deserialize_struct("", fields, visitor)
            .map_err(|fault| fault.under(0))
    }
}
