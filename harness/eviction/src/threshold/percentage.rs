//! Percentages, in the 32-bit floating point upstream keeps them in.
//!
//! Follows `pkg/kubelet/eviction` of Kubernetes 1.36.3 and Go 1.26's package `strconv`.

use crate::quote::quoted;

/// Go's words for a text that is no number, or for one that 32 bits can not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FloatError(pub(super) String);

/// A percentage as a fraction of one. Upstream: `parsePercentage`.
pub(super) fn parse(text: &str) -> Result<f32, FloatError> {
    let number = text.trim_end_matches('%');
    Ok(parse_float(number)? / 100.0)
}

/// Reads what Go's `strconv.ParseFloat(text, 32)` reads.
fn parse_float(text: &str) -> Result<f32, FloatError> {
    let failed = |why: &str| FloatError(format!("strconv.ParseFloat: parsing {}: {why}", quoted(text)));
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Rust takes a signed NaN, Go does not.
    if unsigned.eq_ignore_ascii_case("nan") && unsigned.len() != text.len() {
        return Err(failed("invalid syntax"));
    }
    let named = ["inf", "infinity", "nan"].iter().any(|name| unsigned.eq_ignore_ascii_case(name));
    let plain = if underscores_fit(text) { text.replace('_', "") } else { text.to_owned() };
    let number = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => hexadecimal(&plain),
        _ => plain.parse().ok(),
    };
    let number: f32 = number.ok_or_else(|| failed("invalid syntax"))?;
    if number.is_infinite() && !named { Err(failed("value out of range")) } else { Ok(number) }
}

/// Whether every underscore stands between digits, or between the base and a digit. Upstream: `underscoreOK`.
fn underscores_fit(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).as_bytes();
    let (prefix, hexadecimal) = match unsigned {
        [b'0', base, ..] if matches!(base.to_ascii_lowercase(), b'b' | b'o' | b'x') => {
            (2, base.eq_ignore_ascii_case(&b'x'))
        }
        _ => (0, false),
    };
    let mut last = if prefix > 0 { b'0' } else { b'^' };
    for byte in &unsigned[prefix..] {
        let is_digit = byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit();
        if is_digit {
            last = b'0';
        } else if *byte == b'_' {
            if last != b'0' {
                return false;
            }
            last = b'_';
        } else if last == b'_' {
            return false;
        } else {
            last = b'!';
        }
    }
    last != b'_'
}

/// A hexadecimal number with its binary exponent, such as `0x1.8p1`, rounded once to 32 bits.
fn hexadecimal(text: &str) -> Option<f32> {
    let negative = text.starts_with('-');
    let digits = text.trim_start_matches(['+', '-']).get(2..)?;
    let (mantissa, exponent) = digits.split_once(['p', 'P'])?;
    let exponent: i64 = exponent.parse::<i64>().ok()?.clamp(-10_000, 10_000);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut value, mut shift) = (0_u64, 0_i64);
    for (at, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(digit.to_digit(16)?);
        let in_fraction = at >= whole.len();
        if value >> 48 == 0 {
            value = value << 4 | digit;
            shift -= if in_fraction { 4 } else { 0 };
        } else {
            // What does not fit only matters for rounding: one bit says whether there was anything.
            value |= u64::from(digit != 0);
            shift += if in_fraction { 0 } else { 4 };
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 53 bits are set")]
    let mut number = value as f64;
    let mut exponent = (exponent + shift).clamp(-20_000, 20_000);
    while exponent > 0 && number < 1e60 && number != 0.0 {
        number *= 2.0;
        exponent -= 1;
    }
    while exponent < 0 && number > 1e-60 {
        number /= 2.0;
        exponent += 1;
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding to 32 bits is what is asked for")]
    let number = number as f32;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, percentage) in [
            ("10%", 0.1_f32),
            ("1e1%", 0.1),
            ("+20%", 0.2),
            (".5%%", 0.005),
            ("1_0%", 0.1),
            ("0x1.4p3%", 0.1),
            ("0x_Ap0%", 0.1),
            ("33.333%", 33.333 / 100.0),
            ("1e-60%", 0.0),
            ("-0x1p3%", -0.08),
            // More digits than 32 bits, or 64, hold: only whether they are zero matters.
            ("0x10000000000000000p-62%", 0.04),
            ("0x1.0000010000000000p0%", 0.01),
            ("0x1.0000010000000011p0%", 1.000_000_1 / 100.0),
        ] {
            assert_eq!(parse(text), Ok(percentage), "{text}");
        }
        assert!(parse("NaN%").is_ok_and(f32::is_nan));
        assert!(parse("-Inf%").is_ok_and(|value| value.is_infinite()));
    }

    #[test]
    fn agrees_with_the_answers_of_go() {
        let table = include_str!("../../tests/corpus/percentages.tsv");
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            match parse(fields[0]) {
                Ok(value) if value.is_nan() => assert_eq!(fields[1], "NaN", "{line}"),
                Ok(value) => assert_eq!(fields[1].parse(), Ok(value), "{line}"),
                Err(FloatError(error)) => assert_eq!(["ERR", error.as_str()], fields[1..], "{line}"),
            }
        }
    }

    #[test]
    fn refuses_in_the_words_of_go() {
        for (text, why) in [
            ("%", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            ("ten%", "strconv.ParseFloat: parsing \"ten\": invalid syntax"),
            ("1 %", "strconv.ParseFloat: parsing \"1 \": invalid syntax"),
            ("1__0%", "strconv.ParseFloat: parsing \"1__0\": invalid syntax"),
            ("_5%", "strconv.ParseFloat: parsing \"_5\": invalid syntax"),
            ("0__5%", "strconv.ParseFloat: parsing \"0__5\": invalid syntax"),
            ("0x10%", "strconv.ParseFloat: parsing \"0x10\": invalid syntax"),
            ("\u{a0}\u{e9}%", "strconv.ParseFloat: parsing \"\\u00a0\u{e9}\": invalid syntax"),
            ("+nan%", "strconv.ParseFloat: parsing \"+nan\": invalid syntax"),
            ("1e39%", "strconv.ParseFloat: parsing \"1e39\": value out of range"),
        ] {
            assert_eq!(parse(text), Err(FloatError(why.to_owned())), "{text}");
        }
    }
}
