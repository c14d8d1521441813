//! The text Kubernetes prints for a quantity. Upstream: `Quantity.CanonicalizeBytes` and what it calls.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::BigInt;

use super::amount::{Amount, Decimal, round_fixed, scale_up};
use super::{Format, Quantity};

impl fmt::Display for Quantity {
    /// The spelling that upstream keeps, or else the canonical one. Upstream: `Quantity.String`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.spelling {
            Some(spelling) => formatter.pad(spelling),
            None => formatter.pad(&self.canonical()),
        }
    }
}

impl Quantity {
    /// The canonical text, whatever spelling was read. Upstream: `Quantity.CanonicalizeBytes`.
    #[must_use]
    pub fn canonical(&self) -> String {
        if self.is_zero() {
            return "0".to_owned();
        }
        let mut format = self.format;
        if format == Format::BinarySi {
            match self.whole_binary() {
                Some(whole) => return binary_text(&whole),
                None => format = Format::DecimalSi,
            }
        }
        decimal_text(&self.amount, format)
    }

    /// The whole number to print with a binary suffix; none if a fraction would be lost, or below 1024.
    fn whole_binary(&self) -> Option<Amount> {
        let above = |bound: i64| self.amount.compare(&Amount::Fixed { value: bound, scale: 0 });
        if above(-1024) == Ordering::Greater && above(1024) == Ordering::Less {
            return None;
        }
        match &self.amount {
            Amount::Fixed { scale: 0.., .. } => Some(self.amount.clone()),
            Amount::Fixed { value, scale } => {
                let (value, exact) = round_fixed(*value, scale.unsigned_abs());
                exact.then_some(Amount::Fixed { value, scale: 0 })
            }
            Amount::Wide(decimal) => {
                let (rounded, exact) = decimal.rounded(0);
                exact.then(|| Amount::Wide(Box::new(rounded)))
            }
        }
    }
}

/// Upstream: `AsCanonicalBase1024Bytes` of both forms.
fn binary_text(amount: &Amount) -> String {
    const SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let (number, times) = match amount {
        Amount::Fixed { value, scale } if let Some(value) = scale_up(*value, scale.unsigned_abs()) => {
            // The most negative number keeps its sign when negated, so upstream takes nothing out of it.
            let mut value = value;
            let mut times = 0;
            while value.checked_abs().is_some_and(|size| size >= 1024) && value % 1024 == 0 {
                value /= 1024;
                times += 1;
            }
            (value.to_string(), times)
        }
        _ => {
            let (number, times) = Decimal::without_factors(amount.to_decimal().rounded(0).0.unscaled, 1024);
            (number.to_string(), usize::try_from(times).unwrap_or(0))
        }
    };
    // Past the last suffix upstream prints none, and with it loses the power.
    number + SUFFIXES.get(times).copied().unwrap_or("")
}

/// Upstream: `AsCanonicalBytes` of both forms. The exponent becomes a multiple of three.
fn decimal_text(amount: &Amount, format: Format) -> String {
    let (number, exponent) = match amount {
        Amount::Fixed { value, scale } => {
            let mut mantissa = *value;
            let mut exponent = *scale;
            while mantissa.checked_abs().is_some_and(|size| size >= 10) && mantissa % 10 == 0 {
                mantissa /= 10;
                exponent = exponent.saturating_add(1);
            }
            let beyond = exponent.rem_euclid(3);
            match scale_up(mantissa, beyond.unsigned_abs()) {
                Some(mantissa) => (mantissa.to_string(), exponent - beyond),
                None => wide_decimal(amount.to_decimal()),
            }
        }
        Amount::Wide(decimal) => wide_decimal((**decimal).clone()),
    };
    match format {
        Format::DecimalSi => number + decimal_suffix(exponent),
        _ if exponent == 0 => number,
        _ => format!("{number}e{exponent}"),
    }
}

fn wide_decimal(decimal: Decimal) -> (String, i32) {
    let (mut number, times) = Decimal::without_factors(decimal.unscaled, 10);
    let mut exponent = decimal.scale.saturating_neg().saturating_add(times);
    while exponent % 3 != 0 {
        number *= BigInt::from(10);
        exponent -= 1;
    }
    (number.to_string(), exponent)
}

/// Past the last suffix upstream prints none, and with it loses the power.
fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}
