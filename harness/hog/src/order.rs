//! What a filler is asked to do: as typed, and with every part resolved.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use crate::quantity::{QuantityError, Unit, parse_amount, parse_duration, parse_rate};

/// What is wrong with an order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// A value can not be read.
    #[error("{option}: {error}")]
    Value {
        /// The option with the value.
        option: &'static str,
        /// What is wrong with it.
        error: QuantityError,
    },
    /// More should be taken at once than in all.
    #[error(
        "--start-at {start_at} is more than --amount {amount}; what is taken at once is part of the amount"
    )]
    StartAboveAmount {
        /// The part.
        start_at: String,
        /// The whole.
        amount: String,
    },
    /// Nothing is changed.
    #[error("nothing to set; give --amount, --rate or both")]
    Nothing,
    /// A part to take at once without an amount that it is part of.
    #[error("--start-at needs --amount")]
    StartWithoutAmount,
}

/// Where to and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// The amount to hold.
    pub amount: u64,
    /// Units a second; `None` is as fast as possible.
    pub rate: Option<NonZeroU64>,
    /// The part that is taken at once.
    pub start_at: u64,
}

/// A course as typed. Parts that are missing stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypedCourse {
    /// The amount to hold, such as `900Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// The rate, such as `15Mi/s`, or `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// The part that is taken at once, such as `200Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<String>,
}

impl TypedCourse {
    /// Resolves what was typed against the course so far.
    ///
    /// # Errors
    ///
    /// When a value can not be read, nothing was typed, or the parts contradict each other.
    pub fn resolve(&self, unit: Unit, so_far: Course) -> Result<Course, OrderError> {
        if let TypedCourse { amount: None, rate: None, start_at } = self {
            return Err(if start_at.is_some() {
                OrderError::StartWithoutAmount
            } else {
                OrderError::Nothing
            });
        }
        let read = |option, text: &Option<String>| {
            let value = text.as_deref().map(|text| parse_amount(text, unit)).transpose();
            value.map_err(|error| OrderError::Value { option, error })
        };
        let amount = read("--amount", &self.amount)?;
        let start_at = read("--start-at", &self.start_at)?;
        let rate = match self.rate.as_deref() {
            Some(text) => {
                parse_rate(text, unit).map_err(|error| OrderError::Value { option: "--rate", error })?
            }
            None => so_far.rate,
        };
        if let (Some(amount_text), Some(start_text)) = (&self.amount, &self.start_at)
            && start_at > amount
        {
            return Err(OrderError::StartAboveAmount {
                start_at: start_text.clone(),
                amount: amount_text.clone(),
            });
        }
        if amount.is_none() && start_at.is_some() {
            return Err(OrderError::StartWithoutAmount);
        }
        Ok(Course { amount: amount.unwrap_or(so_far.amount), rate, start_at: start_at.unwrap_or(0) })
    }
}

/// Everything that holds for a filler from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The first course.
    pub course: Course,
    /// How long to hold the amount once it is reached; `None` is until told otherwise.
    pub hold: Option<Duration>,
    /// How long to hold on after SIGTERM.
    pub shutdown_delay: Duration,
    /// The path of the control socket; `None` is the default.
    pub control: Option<PathBuf>,
    /// What to do when the resource can not be had.
    pub when_exhausted: WhenExhausted,
}

/// What a filler does when the resource can not be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenExhausted {
    /// It gives everything back and ends.
    #[default]
    Exit,
    /// It holds what it has, as if that were the target.
    Hold,
    /// It holds what it has and tries again: the first time after `first`, then after twice as long each time, up to `most`.
    Retry {
        /// The first wait.
        first: Duration,
        /// The longest wait.
        most: Duration,
    },
}

impl WhenExhausted {
    /// How long to wait before the next attempt, after so many in a row that failed; `None` when there is none.
    pub fn wait(self, failed: u32) -> Option<Duration> {
        let WhenExhausted::Retry { first, most } = self else { return None };
        let doublings = failed.saturating_sub(1).min(31);
        Some(first.saturating_mul(1 << doublings).min(most))
    }
}

/// Reads `--hold`: a duration, or `forever`.
///
/// # Errors
///
/// When it is neither.
pub fn parse_hold(text: &str) -> Result<Option<Duration>, OrderError> {
    if text == "forever" {
        return Ok(None);
    }
    parse_duration(text).map(Some).map_err(|error| OrderError::Value { option: "--hold", error })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SO_FAR: Course = Course { amount: 100, rate: NonZeroU64::new(7), start_at: 50 };

    fn typed(amount: Option<&str>, rate: Option<&str>, start_at: Option<&str>) -> TypedCourse {
        let own = |text: Option<&str>| text.map(str::to_owned);
        TypedCourse { amount: own(amount), rate: own(rate), start_at: own(start_at) }
    }

    #[test]
    fn what_is_not_typed_stays_but_the_part_taken_at_once() {
        assert_eq!(
            typed(Some("1Ki"), None, None).resolve(Unit::Bytes, SO_FAR),
            Ok(Course { amount: 1024, rate: NonZeroU64::new(7), start_at: 0 })
        );
        assert_eq!(
            typed(None, Some("max"), None).resolve(Unit::Bytes, SO_FAR),
            Ok(Course { amount: 100, rate: None, start_at: 0 })
        );
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = WhenExhausted::Retry { first: Duration::from_secs(1), most: Duration::from_secs(5) };
        let waits: Vec<u64> =
            (1..=5).filter_map(|failed| retry.wait(failed)).map(|wait| wait.as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(retry.wait(u32::MAX), Some(Duration::from_secs(5)));
        assert_eq!(WhenExhausted::Hold.wait(1), None);
    }

    #[test]
    fn contradictions_are_named() {
        for (course, expected) in [
            (typed(None, None, None), "nothing to set; give --amount, --rate or both"),
            (typed(None, None, Some("1")), "--start-at needs --amount"),
            (typed(None, Some("1/s"), Some("1")), "--start-at needs --amount"),
            (
                typed(Some("1Gi"), None, Some("2Gi")),
                "--start-at 2Gi is more than --amount 1Gi; what is taken at once is part of the amount",
            ),
            (
                typed(Some("x"), None, None),
                "--amount: 'x' is not an amount: expected a number with a unit, such as 900Mi",
            ),
        ] {
            assert_eq!(course.resolve(Unit::Bytes, SO_FAR).unwrap_err().to_string(), expected);
        }
    }
}
