//! Quantities, durations, rates, names: what Kubernetes writes as text.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use plimsoll_eviction::duration::parse_duration;
use plimsoll_eviction::quantity::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{
    Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};

use crate::scenario::located::Located;
use crate::scenario::tree::shortened;

/// A value that is written as one piece of text, or as a number where that means the same.
pub trait Scalar: Sized {
    /// What is expected, for a sentence that begins with "expected".
    const EXPECTED: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it; what follows the first line is help.
    fn read(text: &str) -> Result<Self, String>;
}

/// Implements `Deserialize` through [`Scalar`].
macro_rules! deserialize_scalar {
    ($($type:ty),*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any($crate::scenario::format::values::ScalarVisitor(
                    std::marker::PhantomData,
                ))
            }
        }
    )*};
}
pub(super) use deserialize_scalar;

pub(super) struct ScalarVisitor<T>(pub(super) PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// A quantity as Kubernetes writes it, of at least 0: `400Mi`, `1.5Gi`, `500m`, `1000000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount {
    /// As it was written.
    pub text: String,
    /// Rounded up to a whole number, as Kubernetes does.
    pub value: i64,
}

impl Scalar for Amount {
    const EXPECTED: &'static str = "a quantity such as 400Mi";

    fn read(text: &str) -> Result<Self, String> {
        let quantity = quantity(text)?;
        if quantity.sign().is_lt() {
            return Err(format!(
                "{:?} is negative: expected a quantity of at least 0, such as 400Mi",
                shortened(text)
            ));
        }
        Ok(Self { text: text.to_owned(), value: quantity.value() })
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A Kubernetes quantity of at least 0, such as 400Mi, 1.5Gi or 500m.",
            "type": ["string", "number"],
            "examples": ["400Mi", "1.5Gi", 1000000],
        })
    }
}

/// A size in bytes, larger than 0: `2Gi`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(
    /// Bytes.
    pub u64,
);

impl Scalar for Size {
    const EXPECTED: &'static str = "a size such as 2Gi";

    fn read(text: &str) -> Result<Self, String> {
        match u64::try_from(Amount::read(text)?.value) {
            Ok(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(format!("{:?} is no size: expected more than 0, such as 2Gi", shortened(text))),
        }
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A size in bytes as a Kubernetes quantity, larger than 0, such as 2Gi.",
            "type": ["string", "number"],
            "examples": ["2Gi", "512Mi"],
        })
    }
}

/// A rate in bytes per second: `15Mi/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(
    /// Bytes per second, at least 1.
    pub u64,
);

impl Scalar for Rate {
    const EXPECTED: &'static str = "a rate such as 15Mi/s";

    fn read(text: &str) -> Result<Self, String> {
        let shown = shortened(text);
        let Some((amount, per)) = text.split_once('/') else {
            return Err(match Amount::read(text) {
                Ok(_) => format!("{shown:?} is no rate: it lacks the time\ndid you mean `{shown}/s`?"),
                Err(_) => format!("{shown:?} is no rate: expected a quantity per second, such as 15Mi/s"),
            });
        };
        if per != "s" {
            return Err(format!(
                "{shown:?} is no rate: expected a quantity per second, such as 15Mi/s\nthe time of a rate is always one second: `/s`"
            ));
        }
        match u64::try_from(Amount::read(amount)?.value) {
            Ok(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(format!(
                "{shown:?} never gets anywhere: expected more than 0\nleave the rate out to fill as fast as the machine can"
            )),
        }
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A Kubernetes quantity per second, such as 15Mi/s.",
            "type": "string",
            "pattern": "^[0-9].*/s$",
            "examples": ["15Mi/s"],
        })
    }
}

/// A duration as Kubernetes writes it, of at least 0: `30s`, `1m30s`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(
    /// How long.
    pub Duration,
);

impl Scalar for Time {
    const EXPECTED: &'static str = "a duration such as 30s";

    fn read(text: &str) -> Result<Self, String> {
        parse_duration(text).map(Self).map_err(|error| {
            let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if bare && text != "0" {
                format!(
                    "{:?} is a number without a unit: expected a duration such as 30s\ndid you mean `{}s`?",
                    shortened(text),
                    shortened(text)
                )
            } else {
                two_lines(&error)
            }
        })
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration as Go and Kubernetes write it, such as 30s, 1m30s or 500ms.",
            "type": "string",
            "pattern": "^([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$",
            "examples": ["30s", "1m30s"],
        })
    }
}

/// The name of a workload or node, as Kubernetes allows it for a pod and as a label's value (RFC 1123 label).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(
    /// The name.
    pub String,
);

impl Scalar for Name {
    const EXPECTED: &'static str = "a name";

    fn read(text: &str) -> Result<Self, String> {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 63 {
            return Err(format!("a name has 1 to 63 characters, this one has {}", text.chars().count()));
        }
        if text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self(text.to_owned()));
        }
        let better: String = text
            .to_lowercase()
            .chars()
            .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
            .collect();
        let better = better.trim_matches('-');
        let mut message = format!(
            "{:?} is no name: expected lower-case letters, digits and dashes, with a letter or digit at both ends",
            shortened(text)
        );
        if !better.is_empty() {
            message += &format!("\nhow about `{better}`?");
        }
        Err(message)
    }
}

impl JsonSchema for Name {
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A name: lower-case letters, digits and dashes, 63 characters at most.",
            "type": "string",
            "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            "maxLength": 63,
        })
    }
}

deserialize_scalar!(Amount, Size, Rate, Time, Name);

/// Reads a quantity; where it is one but for a `B` at its end, says so.
///
/// # Errors
/// What is wrong with it; what follows the first line is help.
pub fn quantity(text: &str) -> Result<Quantity, String> {
    text.parse().map_err(|error| {
        let bare = text.trim_end_matches(['b', 'B']);
        let letters = bare.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number = &bare[..bare.len() - letters.len()];
        let letter = letters.trim_end_matches(['i', 'I']).to_uppercase();
        if bare == text || number.is_empty() || !["K", "M", "G", "T", "P", "E"].contains(&letter.as_str()) {
            return two_lines(&error);
        }
        format!(
            "{:?} is not a quantity: Kubernetes writes no B\ndid you mean `{number}{letter}i`?",
            shortened(text)
        )
    })
}

/// An error as one sentence, its suggestion on a line of its own.
fn two_lines(error: &dyn fmt::Display) -> String {
    error.to_string().replacen(". Did you mean", "\ndid you mean", 1)
}

/// One name, or a list of names.
#[derive(Debug, Clone)]
pub struct Names(
    /// The names in the order they were written.
    pub Vec<Located<String>>,
);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = (Option<String>, Vec<Located<String>>);

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a list of names")
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok((Some(name.to_owned()), Vec::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = sequence.next_element()? {
                    names.push(name);
                }
                Ok((None, names))
            }
        }

        struct Written((Option<String>, Vec<Located<String>>));

        impl<'de> Deserialize<'de> for Written {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(OneOrMany).map(Self)
            }
        }

        let written = Located::<Written>::deserialize(deserializer)?;
        let (mark, key) = (written.mark, written.key);
        Ok(Self(match written.value.0 {
            (Some(name), _) => vec![Located { value: name, mark, key }],
            (None, names) => names,
        }))
    }
}

impl JsonSchema for Names {
    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The name of a workload or manifest object, or a list of such names.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}

/// Names, or the word `none`.
#[derive(Debug, Clone)]
pub struct NamesOrNone(
    /// The names; none for `none`.
    pub Vec<Located<String>>,
);

impl<'de> Deserialize<'de> for NamesOrNone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Names::deserialize(deserializer)?.0;
        Ok(match names.as_slice() {
            [only] if only.value == "none" => Self(Vec::new()),
            _ => Self(names),
        })
    }
}

impl JsonSchema for NamesOrNone {
    fn schema_name() -> Cow<'static, str> {
        "NamesOrNone".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The word none, or the name of a workload, or a list of such names.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}

/// What an amount must be: one exact value, or at least and at most.
#[derive(Debug, Clone)]
pub struct Bounds<T> {
    /// The least that holds.
    pub at_least: Option<T>,
    /// The most that holds.
    pub at_most: Option<T>,
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "{T}Bounds")]
struct Ends<T> {
    /// The least that holds.
    at_least: Option<T>,
    /// The most that holds.
    at_most: Option<T>,
}

impl<T> Ends<T> {
    fn bounds<E: Error>(self) -> Result<Bounds<T>, E> {
        match self {
            Self { at_least: None, at_most: None } => {
                Err(E::custom("a band without ends holds everything: expected `atLeast`, `atMost` or both"))
            }
            Self { at_least, at_most } => Ok(Bounds { at_least, at_most }),
        }
    }
}

/// A type of which one value, or a mapping in its place, can be written.
struct ValueOr<T, M>(PhantomData<(T, M)>);

/// One of two ways to write something.
pub(super) enum Either<T, M> {
    Value(T),
    Mapping(M),
}

impl<'de, T: Scalar, M: Deserialize<'de>> Visitor<'de> for ValueOr<T, M> {
    type Value = Either<T, M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or a mapping", T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::read(text).map(Either::Value).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        M::deserialize(MapAccessDeserializer::new(map)).map(Either::Mapping)
    }
}

/// Reads a value or a mapping.
pub(super) fn value_or_mapping<'de, T: Scalar, M: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Either<T, M>, D::Error> {
    deserializer.deserialize_any(ValueOr(PhantomData))
}

impl<'de, T: Scalar + Deserialize<'de> + Clone> Deserialize<'de> for Bounds<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match value_or_mapping::<T, Ends<T>, D>(deserializer)? {
            Either::Value(value) => Self { at_least: Some(value.clone()), at_most: Some(value) },
            Either::Mapping(ends) => ends.bounds()?,
        })
    }
}

impl<T: JsonSchema> JsonSchema for Bounds<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrBounds", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One exact value, or a mapping with atLeast, atMost or both.",
            "anyOf": [generator.subschema_for::<T>(), generator.subschema_for::<Ends<T>>()],
        })
    }
}

/// How long something may take: one time is the most, and a mapping names either end or both.
#[derive(Debug, Clone, Copy)]
pub struct Lasting {
    /// The least that holds.
    pub at_least: Option<Time>,
    /// The most that holds.
    pub at_most: Option<Time>,
}

impl<'de> Deserialize<'de> for Lasting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match value_or_mapping::<Time, Ends<Time>, D>(deserializer)? {
            Either::Value(time) => Self { at_least: None, at_most: Some(time) },
            Either::Mapping(ends) => {
                let Bounds { at_least, at_most } = ends.bounds()?;
                Self { at_least, at_most }
            }
        })
    }
}

impl JsonSchema for Lasting {
    fn schema_name() -> Cow<'static, str> {
        "Lasting".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The most time, or a mapping with atLeast, atMost or both.",
            "anyOf": [generator.subschema_for::<Time>(), generator.subschema_for::<Ends<Time>>()],
        })
    }
}

/// A number of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(
    /// How many.
    pub u32,
);

impl Scalar for Count {
    const EXPECTED: &'static str = "a whole number of at least 0";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("{:?} is no count: expected {}", shortened(text), Self::EXPECTED))
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A whole number of at least 0.", "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }
}

deserialize_scalar!(Count);

/// A number of at least 0, with or without a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(
    /// The number; it is finite.
    pub f64,
);

impl Scalar for Number {
    const EXPECTED: &'static str = "a number of at least 0, such as 0.1";

    fn read(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        number.map(Self).ok_or_else(|| format!("{:?} is not {}", shortened(text), Self::EXPECTED))
    }
}

impl JsonSchema for Number {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "A number of at least 0, such as 0.1.", "type": "number", "minimum": 0 })
    }
}

deserialize_scalar!(Number);
