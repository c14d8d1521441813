//! Reading a quantity. Upstream: `resource.ParseQuantity` and `parseQuantityString`.

use std::cmp::Ordering;
use std::str::FromStr;

use num_bigint::{BigInt, Sign};

use super::amount::{Amount, Decimal};
use super::{Format, Quantity};

/// The finest power of ten that a quantity holds; anything finer is rounded up to it.
const NANO: i32 = -9;

/// Digits that a scaled 64-bit integer is trusted with. Upstream: `maxInt64Factors`.
const FIXED_DIGITS: i64 = 18;

/// Exponents beyond this are refused. Upstream takes them and then runs out of memory comparing them.
const LARGEST_EXPONENT: i32 = 100_000;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseQuantityError {
    /// Nothing, or a character where no quantity has one.
    #[error(
        "{text:?} is not a quantity: expected a number and a suffix with nothing between or after them, \
         such as 512Mi, 1.5, 100m or 2e9"
    )]
    Form {
        /// What was read.
        text: String,
    },
    /// No digits, or more than one decimal point.
    #[error("{text:?} is not a quantity: no number before the suffix; expected digits, such as 512Mi")]
    Number {
        /// What was read.
        text: String,
    },
    /// A suffix that Kubernetes does not have.
    #[error(
        "{text:?} is not a quantity: {suffix:?} is no suffix; expected one of n, u, m, k, M, G, T, P, E, \
         Ki, Mi, Gi, Ti, Pi, Ei, an exponent such as e9, or none{}",
        suggestion(.suffix)
    )]
    Suffix {
        /// What was read.
        text: String,
        /// The part that was taken for a suffix.
        suffix: String,
    },
    /// An exponent that no machine could hold the number of.
    #[error("{text:?} is not a usable quantity: its exponent is beyond {LARGEST_EXPONENT}")]
    Size {
        /// What was read.
        text: String,
    },
}

impl ParseQuantityError {
    /// The error text of Kubernetes itself for this mistake, as a kubelet would log it.
    #[must_use]
    pub fn upstream_text(&self) -> &'static str {
        match self {
            Self::Form { .. } => {
                "quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            }
            Self::Number { .. } | Self::Size { .. } => "unable to parse numeric part of quantity",
            Self::Suffix { .. } => "unable to parse quantity's suffix",
        }
    }
}

fn suggestion(suffix: &str) -> String {
    const KNOWN: [&str; 14] = ["n", "u", "m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    KNOWN
        .iter()
        .find(|known| known.eq_ignore_ascii_case(suffix.trim_end_matches(['b', 'B'])))
        .map(|known| format!(". Did you mean {known:?}?"))
        .unwrap_or_default()
}

/// A text cut into its parts, digits only.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
    /// Whether there is a digit before the suffix at all, leading zeros included.
    has_digit: bool,
}

/// Upstream: `parseQuantityString`, which also takes a sign, a point or a suffix with no digit for zero.
fn cut(text: &str) -> Option<Parts<'_>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number_end = unsigned.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(unsigned.len());
    let (whole, mut rest) = unsigned.split_at(number_end);
    let mut fraction = "";
    if let Some(after_point) = rest.strip_prefix('.') {
        let end = after_point.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(after_point.len());
        (fraction, rest) = after_point.split_at(end);
    }
    let exponent = rest.trim_start_matches(['e', 'E', 'i', 'n', 'u', 'm', 'k', 'K', 'M', 'G', 'T', 'P']);
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    Some(Parts {
        negative: text.starts_with('-'),
        whole: whole.trim_start_matches('0'),
        fraction,
        suffix: rest,
        has_digit: !whole.is_empty() || !fraction.is_empty(),
    })
}

/// The base, its power, and the format that a suffix stands for. Upstream: `suffixHandler.interpret`.
fn interpret(suffix: &str) -> Option<(u32, i32, Format)> {
    let decimal = |power| Some((10, power, Format::DecimalSi));
    let binary = |power| Some((2, power, Format::BinarySi));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            // Upstream keeps the lowest 32 bits.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "upstream truncates the exponent the same way"
            )]
            let exponent = exponent as i32;
            Some((10, exponent, Format::DecimalExponent))
        }
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    /// Reads any spelling that Kubernetes takes.
    ///
    /// # Errors
    /// [`ParseQuantityError`] for what Kubernetes refuses, and for exponents beyond any use.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseQuantityError::Form { text: text.to_owned() };
        if text.is_empty() {
            return Err(form());
        }
        if text == "0" {
            return Ok(Self::new(0, Format::DecimalSi));
        }
        let parts = cut(text).ok_or_else(form)?;
        let (base, exponent, format) = interpret(parts.suffix).ok_or_else(|| ParseQuantityError::Suffix {
            text: text.to_owned(),
            suffix: parts.suffix.to_owned(),
        })?;
        if let Some(quantity) = parts.fixed(text, exponent, format) {
            return Ok(quantity);
        }
        if !parts.has_digit {
            return Err(ParseQuantityError::Number { text: text.to_owned() });
        }
        if exponent > LARGEST_EXPONENT {
            return Err(ParseQuantityError::Size { text: text.to_owned() });
        }
        Ok(parts.wide(base, exponent, format))
    }
}

impl Parts<'_> {
    /// The whole digits as upstream counts them: never none.
    fn whole_digits(&self) -> &str {
        if self.whole.is_empty() { "0" } else { self.whole }
    }

    /// The number as a scaled 64-bit integer, if it is short enough for upstream's fast path.
    fn fixed(&self, text: &str, exponent: i32, format: Format) -> Option<Quantity> {
        let digits = i64::try_from(self.whole_digits().len() + self.fraction.len()).ok()?;
        let (room, mantissa, scale) = match format {
            Format::BinarySi if self.fraction.is_empty() => {
                let mantissa = 1_i64.checked_shl(exponent.unsigned_abs())?;
                (15 - digits - i64::from(exponent) * 3 / 10 - 1, mantissa, 0)
            }
            Format::BinarySi => return None,
            _ => (FIXED_DIGITS - digits, 1, exponent),
        };
        if room < 0 {
            return None;
        }
        let scale = scale.checked_sub(i32::try_from(self.fraction.len()).ok()?)?;
        if !(NANO..=LARGEST_EXPONENT).contains(&scale) {
            return None;
        }
        let shifted = format!("{}{}", self.whole_digits(), self.fraction);
        let number: i64 = shifted.parse().ok()?;
        let size = number.checked_mul(mantissa)?;
        let kept = match format {
            Format::BinarySi => number & 7 != 0,
            _ => scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0'),
        };
        Some(Quantity {
            amount: Amount::Fixed { value: if self.negative { -size } else { size }, scale },
            format,
            spelling: kept.then(|| text.into()),
        })
    }

    /// The number in full precision, rounded up to nanos and, with a binary suffix, cut to 63 bits.
    fn wide(&self, base: u32, exponent: i32, mut format: Format) -> Quantity {
        let mut unscaled: BigInt =
            format!("{}{}", self.whole_digits(), self.fraction).parse().unwrap_or_default();
        let mut scale = i32::try_from(self.fraction.len()).unwrap_or(i32::MAX);
        if base == 2 {
            unscaled <<= exponent.unsigned_abs();
        } else {
            scale = scale.saturating_sub(exponent);
        }
        let mut decimal = Decimal { unscaled, scale };
        if decimal.unscaled.sign() == Sign::NoSign {
            // Upstream does not round a zero, so its decimals stay and show in sums with it.
            decimal.scale = decimal.scale.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT);
        } else if usize::try_from(decimal.scale).is_ok_and(|scale| scale > self.digit_count() + 400) {
            // So small that the power of ten to divide by would be the larger number by far.
            decimal = Decimal { unscaled: BigInt::from(1), scale: -NANO };
        } else {
            decimal = decimal.rounded(-NANO).0;
        }
        if format == Format::BinarySi {
            let largest = Amount::Fixed { value: i64::MAX, scale: 0 };
            let one = Amount::Fixed { value: 1, scale: 0 };
            let amount = Amount::Wide(Box::new(decimal.clone()));
            if amount.compare(&largest) == Ordering::Greater {
                decimal = Decimal { unscaled: BigInt::from(i64::MAX), scale: 0 };
            }
            if amount.compare(&one) == Ordering::Less && amount.sign() == Ordering::Greater {
                format = Format::DecimalSi;
            }
        }
        if self.negative {
            decimal.unscaled = -decimal.unscaled;
        }
        Quantity { amount: Amount::Wide(Box::new(decimal)), format, spelling: None }
    }

    fn digit_count(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }
}
