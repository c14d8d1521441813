//! Amounts, rates and durations as they are typed: `900Mi`, `15Mi/s`, `10m`.
//!
//! The notation is Kubernetes' (`resource.ParseQuantity`, `metav1.Duration`) for what a filler needs of
//! it: whole units that are not negative. Arithmetic is exact; what does not come out whole is rounded
//! up, as `Quantity.Value` rounds.

use std::num::NonZeroU64;
use std::time::Duration;

/// What is wrong with an amount, a rate or a duration, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QuantityError(String);

/// The units that amounts are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things: files, processes.
    Count,
    /// Thousandths of a processor; `0.5` and `500m` are both 500 of them.
    Millicores,
}

impl Unit {
    /// How many of this unit the bare number 1 stands for.
    fn scale(self) -> u128 {
        match self {
            Unit::Bytes | Unit::Count => 1,
            Unit::Millicores => 1000,
        }
    }

    fn example(self) -> &'static str {
        match self {
            Unit::Bytes => "900Mi",
            Unit::Count => "5k",
            Unit::Millicores => "500m",
        }
    }
}

const SUFFIXES: [(&str, u128); 13] = [
    ("", 1),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
];

/// Reads an amount such as `900Mi`, `1.5Gi`, `5k` or `500m`.
///
/// # Errors
///
/// When the text is not a number with one of Kubernetes' suffixes, or does not fit 64 bits.
pub fn parse_amount(text: &str, unit: Unit) -> Result<u64, QuantityError> {
    let refuse = |why: String| QuantityError(format!("'{text}' is not an amount: {why}"));
    if text.starts_with('-') {
        return Err(refuse("it can not be negative".into()));
    }
    let number_ends = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_ends);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(refuse(format!("expected a number with a unit, such as {}", unit.example())));
    }
    if fraction.contains('.') {
        return Err(refuse("it has two decimal points".into()));
    }
    let digits = format!("{whole}{}", fraction.trim_end_matches('0'));
    let too_large = || refuse("it is larger than 16Ei".into());
    let mantissa: u128 = digits.parse().map_err(|_| too_large())?;
    let decimals = u32::try_from(digits.len() - whole.len()).map_err(|_| too_large())?;
    let mut divisor = 10u128.checked_pow(decimals).ok_or_else(too_large)?;
    let factor = match SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        Some((_, factor)) => *factor,
        None if suffix == "m" => {
            divisor = divisor.checked_mul(1000).ok_or_else(too_large)?;
            1
        }
        None => return Err(refuse(unknown_suffix(number, suffix))),
    };
    let units = mantissa
        .checked_mul(factor)
        .and_then(|value| value.checked_mul(unit.scale()))
        .ok_or_else(too_large)?
        .div_ceil(divisor);
    u64::try_from(units).map_err(|_| too_large())
}

fn unknown_suffix(number: &str, suffix: &str) -> String {
    let bare = suffix.trim_end_matches(['b', 'B']);
    let near: Vec<String> = SUFFIXES
        .iter()
        .filter(|(name, _)| !name.is_empty() && !bare.is_empty())
        .filter(|(name, _)| {
            name.eq_ignore_ascii_case(bare)
                || (bare.len() == 1 && name.len() == 2 && name[..1].eq_ignore_ascii_case(bare))
        })
        .map(|(name, _)| format!("{number}{name}"))
        .collect();
    let hint = if near.is_empty() {
        "units are Ki Mi Gi Ti Pi Ei (powers of 1024) and k M G T P E (powers of 1000)".to_owned()
    } else {
        format!("did you mean {}?", near.join(" or "))
    };
    format!("unknown unit '{suffix}'; {hint}")
}

/// Reads a rate such as `15Mi/s`. `max` is `None`: as fast as it goes.
///
/// # Errors
///
/// When the text is not an amount per second, or is zero.
pub fn parse_rate(text: &str, unit: Unit) -> Result<Option<NonZeroU64>, QuantityError> {
    if text == "max" {
        return Ok(None);
    }
    let refuse = |why: String| QuantityError(format!("'{text}' is not a rate: {why}"));
    let Some((amount, per)) = text.split_once('/') else {
        return Err(refuse(match parse_amount(text, unit) {
            Ok(_) => format!("it lacks the time; did you mean {text}/s?"),
            Err(_) => format!("expected an amount per second, such as {}/s, or max", unit.example()),
        }));
    };
    if per != "s" {
        return Err(refuse(format!("rates are per second; did you mean {amount}/s?")));
    }
    let units = parse_amount(amount, unit).map_err(|error| refuse(error.0))?;
    NonZeroU64::new(units)
        .map(Some)
        .ok_or_else(|| refuse("at zero it would never arrive; leave it out to go as fast as possible".into()))
}

/// Reads a duration as Go and Kubernetes write it: `10m`, `1h30m`, `1.5s`, `200ms`.
///
/// # Errors
///
/// When a number has no unit, the unit is unknown, or the whole does not fit.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    const UNITS: [(&str, u128); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let refuse = |why: String| QuantityError(format!("'{text}' is not a duration: {why}"));
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let too_long = || refuse("it is too long".into());
    let mut rest = text;
    let mut nanoseconds = 0u128;
    if rest.is_empty() {
        return Err(refuse("expected a number with a unit, such as 10m or 1.5s".into()));
    }
    while !rest.is_empty() {
        let number_ends = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_ends);
        let unit_ends = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_ends);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(refuse("expected a number with a unit, such as 10m or 1.5s".into()));
        }
        if unit.is_empty() {
            return Err(refuse(format!("{number} lacks a unit; did you mean {number}s or {number}m?")));
        }
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| refuse(format!("unknown unit '{unit}'; units are ns us ms s m h")))?;
        let mantissa: u128 = format!("{whole}{fraction}").parse().map_err(|_| too_long())?;
        let divisor = 10u128
            .checked_pow(u32::try_from(fraction.len()).map_err(|_| too_long())?)
            .ok_or_else(too_long)?;
        nanoseconds = mantissa
            .checked_mul(*factor)
            .map(|value| value / divisor)
            .and_then(|value| value.checked_add(nanoseconds))
            .ok_or_else(too_long)?;
        rest = after;
    }
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| too_long())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_exact() {
        for (text, unit, expected) in [
            ("0", Unit::Bytes, 0),
            ("900Mi", Unit::Bytes, 943_718_400),
            ("1.5Gi", Unit::Bytes, 1_610_612_736),
            (".5Ki", Unit::Bytes, 512),
            ("0.1Ki", Unit::Bytes, 103),
            ("5k", Unit::Count, 5_000),
            ("1500m", Unit::Bytes, 2),
            ("0.5", Unit::Millicores, 500),
            ("250m", Unit::Millicores, 250),
            ("2", Unit::Millicores, 2_000),
            ("18446744073709551615", Unit::Bytes, u64::MAX),
        ] {
            assert_eq!(parse_amount(text, unit), Ok(expected), "{text}");
        }
    }

    #[test]
    fn bad_amounts_say_the_way_out() {
        for (text, expected) in [
            ("", "'' is not an amount: expected a number with a unit, such as 900Mi"),
            ("lots", "'lots' is not an amount: expected a number with a unit, such as 900Mi"),
            ("-1Mi", "'-1Mi' is not an amount: it can not be negative"),
            ("1.2.3Mi", "'1.2.3Mi' is not an amount: it has two decimal points"),
            ("900MB", "'900MB' is not an amount: unknown unit 'MB'; did you mean 900M or 900Mi?"),
            ("1gib", "'1gib' is not an amount: unknown unit 'gib'; did you mean 1Gi?"),
            ("16Ei", "'16Ei' is not an amount: it is larger than 16Ei"),
            (
                "9 apples",
                "'9 apples' is not an amount: unknown unit ' apples'; units are Ki Mi Gi Ti Pi Ei (powers of \
                 1024) and k M G T P E (powers of 1000)",
            ),
        ] {
            assert_eq!(parse_amount(text, Unit::Bytes).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn rates_are_per_second() {
        assert_eq!(parse_rate("15Mi/s", Unit::Bytes), Ok(NonZeroU64::new(15 << 20)));
        assert_eq!(parse_rate("500/s", Unit::Count), Ok(NonZeroU64::new(500)));
        assert_eq!(parse_rate("max", Unit::Bytes), Ok(None));
        for (text, expected) in [
            ("15Mi", "'15Mi' is not a rate: it lacks the time; did you mean 15Mi/s?"),
            ("15Mi/m", "'15Mi/m' is not a rate: rates are per second; did you mean 15Mi/s?"),
            ("fast", "'fast' is not a rate: expected an amount per second, such as 900Mi/s, or max"),
            (
                "0/s",
                "'0/s' is not a rate: at zero it would never arrive; leave it out to go as fast as possible",
            ),
        ] {
            assert_eq!(parse_rate(text, Unit::Bytes).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn durations_are_as_go_writes_them() {
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("10m", Duration::from_secs(600)),
            ("1h30m", Duration::from_secs(5400)),
            ("1.5s", Duration::from_millis(1500)),
            ("200ms", Duration::from_millis(200)),
        ] {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("10", "'10' is not a duration: 10 lacks a unit; did you mean 10s or 10m?"),
            ("1d", "'1d' is not a duration: unknown unit 'd'; units are ns us ms s m h"),
            ("soon", "'soon' is not a duration: expected a number with a unit, such as 10m or 1.5s"),
            ("9999999999h", "'9999999999h' is not a duration: it is too long"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text in "\\PC*") {
            let _ = parse_amount(&text, Unit::Bytes);
            let _ = parse_rate(&text, Unit::Millicores);
            let _ = parse_duration(&text);
        }

        #[test]
        fn whole_amounts_come_back(value in any::<u32>()) {
            prop_assert_eq!(parse_amount(&format!("{value}Ki"), Unit::Bytes), Ok(u64::from(value) << 10));
        }
    }
}
