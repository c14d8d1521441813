//! One figure of a scenario and the values that it takes.

use std::str::FromStr;
use std::time::Duration;

use plimsoll_eviction::duration::{format_duration, parse_duration};
use plimsoll_eviction::quantity::Quantity;

use super::substitute::{FieldPath, SubstituteError};

/// The most values of one axis.
const MOST_VALUES: i64 = 1_000_000;

/// A figure that is varied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// Where it stands in the scenario.
    pub path: FieldPath,
    /// Its values, in order.
    pub values: Vec<Setting>,
    /// Whether the values are figures that rise.
    pub rises: bool,
}

/// One value of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As it is written in a scenario.
    pub text: String,
    /// What it comes to: bytes, bytes a second, counts, microseconds, millionths for percentages; absent for a word.
    pub number: Option<i64>,
}

/// An axis that can not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AxisError {
    /// Nothing is said of values.
    #[error("`{0}` varies nothing: expected FIELD=FROM..TO:STEP or FIELD=VALUE,VALUE")]
    NoValues(String),
    /// The field.
    #[error(transparent)]
    Field(#[from] SubstituteError),
    /// A figure that is none.
    #[error(
        "`{0}` is no figure: expected a quantity such as 100Mi, a rate such as 5Mi/s, a duration such as 10s, a percentage, or a number"
    )]
    NoFigure(String),
    /// Ends and step of different kinds.
    #[error("`{0}`: both ends and the step must be of one kind, such as 100Mi..1Gi:50Mi")]
    Kinds(String),
    /// A range without values.
    #[error("`{0}` goes nowhere: expected a range that rises by a step above zero")]
    Empty(String),
    /// Too many values.
    #[error("`{0}` has more than a million values")]
    TooMany(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    Bytes,
    Rate,
    Percent,
    Time,
}

impl FromStr for Axis {
    type Err = AxisError;

    fn from_str(text: &str) -> Result<Self, AxisError> {
        // A field may hold `=` only in brackets, and a selector there would be none.
        let (path, values) = text.split_once('=').ok_or_else(|| AxisError::NoValues(text.to_owned()))?;
        let path: FieldPath = path.trim().parse()?;
        let values = values.trim();
        let values: Vec<Setting> = match values.split_once("..") {
            Some((from, rest)) => range(values, from, rest)?,
            None => values.split(',').map(|value| setting(value.trim())).collect(),
        };
        if values.is_empty() || values.iter().any(|value| value.text.is_empty()) {
            return Err(AxisError::NoValues(text.to_owned()));
        }
        let rises = values.windows(2).all(|pair| match (pair[0].number, pair[1].number) {
            (Some(one), Some(other)) => one < other,
            _ => false,
        });
        Ok(Self { path, values, rises })
    }
}

impl Axis {
    /// What it is called in tables and charts: the field's last names.
    #[must_use]
    pub fn title(&self) -> String {
        self.path.to_string()
    }
}

fn setting(text: &str) -> Setting {
    Setting { text: text.to_owned(), number: figure(text).ok().map(|(number, _)| number) }
}

fn range(whole: &str, from: &str, rest: &str) -> Result<Vec<Setting>, AxisError> {
    let (to, step) = rest.split_once(':').ok_or_else(|| AxisError::NoValues(whole.to_owned()))?;
    let [(from, unit), (to, unit_to), (step, unit_step)] =
        [figure(from.trim())?, figure(to.trim())?, figure(step.trim())?];
    if unit != unit_to || unit != unit_step {
        return Err(AxisError::Kinds(whole.to_owned()));
    }
    if step <= 0 || to < from {
        return Err(AxisError::Empty(whole.to_owned()));
    }
    let steps = (to - from) / step;
    if steps >= MOST_VALUES {
        return Err(AxisError::TooMany(whole.to_owned()));
    }
    Ok((0..=steps).map(|index| written(from + index * step, unit)).collect())
}

/// Reads a figure: how much, and of what.
fn figure(text: &str) -> Result<(i64, Unit), AxisError> {
    let wrong = || AxisError::NoFigure(text.to_owned());
    if let Some(rate) = text.strip_suffix("/s") {
        return Ok((whole(rate).ok_or_else(wrong)?, Unit::Rate));
    }
    if let Some(percent) = text.strip_suffix('%') {
        // Millionths, so that tenths of a percent are whole.
        let quantity = Quantity::from_str(percent).map_err(|_| wrong())?;
        let nanos = quantity.nanos().ok_or_else(wrong)?;
        return Ok((i64::try_from(nanos / 100_000).map_err(|_| wrong())?, Unit::Percent));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Ok((number, Unit::Count));
    }
    if let Some(bytes) = whole(text) {
        return Ok((bytes, Unit::Bytes));
    }
    let time = parse_duration(text).map_err(|_| wrong())?;
    Ok((i64::try_from(time.as_micros()).map_err(|_| wrong())?, Unit::Time))
}

fn whole(text: &str) -> Option<i64> {
    let quantity = Quantity::from_str(text).ok()?;
    // Fractions of a byte are no amount of memory.
    let nanos = quantity.nanos()?;
    (nanos % 1_000_000_000 == 0).then(|| i64::try_from(nanos / 1_000_000_000).ok()).flatten()
}

fn written(number: i64, unit: Unit) -> Setting {
    let binary = || Quantity::new(number, plimsoll_eviction::quantity::Format::BinarySi).canonical();
    let text = match unit {
        Unit::Count => number.to_string(),
        Unit::Bytes => binary(),
        Unit::Rate => format!("{}/s", binary()),
        Unit::Percent => {
            let (percent, rest) = (number / 10_000, number % 10_000);
            if rest == 0 {
                format!("{percent}%")
            } else {
                format!("{percent}.{}%", format!("{rest:04}").trim_end_matches('0'))
            }
        }
        Unit::Time => format_duration(Duration::from_micros(number.unsigned_abs())),
    };
    Setting { text, number: Some(number) }
}
