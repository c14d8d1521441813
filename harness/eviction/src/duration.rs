//! Durations in Go's spelling: `90s`, `1m30s`, `0.5h`, `100ms`.
//!
//! Follows Go 1.26's package `time`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A signed number of nanoseconds, as Go's `time.Duration`.
///
/// ```
/// use plimsoll_eviction::duration::GoDuration;
/// let grace: GoDuration = "1.5m".parse()?;
/// assert_eq!(grace.to_string(), "1m30s");
/// # Ok::<(), plimsoll_eviction::duration::ParseDurationError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// Why a text is not a duration. [`Display`](fmt::Display) is the text Go gives, with what was expected after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{upstream}: expected numbers with units, such as 90s, 1m30s or 100ms")]
pub struct ParseDurationError {
    upstream: String,
}

impl ParseDurationError {
    /// The error text of Go itself, as a kubelet would log it.
    #[must_use]
    pub fn upstream_text(&self) -> &str {
        &self.upstream
    }
}

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The size of the most negative duration.
const LARGEST_SIZE: u64 = 1 << 63;

impl GoDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A duration of so many nanoseconds.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// A duration of so many seconds; held within what Go can count.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// The nanoseconds.
    #[must_use]
    pub const fn nanoseconds(self) -> i64 {
        self.0
    }

    /// Whether it is exactly zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<GoDuration> for Duration {
    type Error = std::num::TryFromIntError;

    fn try_from(duration: GoDuration) -> Result<Self, Self::Error> {
        u64::try_from(duration.0).map(Self::from_nanos)
    }
}

impl From<Duration> for GoDuration {
    /// Held within what Go can count, some 292 years.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// Reads a duration that is not negative, in Go's spelling.
///
/// # Errors
/// [`ParseDurationError`] for what Go refuses, and for negative durations.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let duration: GoDuration = text.parse()?;
    duration
        .try_into()
        .map_err(|_| ParseDurationError { upstream: format!("negative duration {}", quoted(text)) })
}

/// The text Go gives for a duration: `0s`, `100ms`, `1m30s`, `1h0m0s`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    GoDuration::from(duration).to_string()
}

/// Go's own quoting of what it could not parse. Upstream: `quote` of Go's package time.
fn quoted(text: &str) -> String {
    use fmt::Write as _;
    let mut result = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => result.extend(['\\', character]),
            ' '..='\x7f' => result.push(character),
            _ => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    // Writing to a string can not fail.
                    let _ = write!(result, "\\x{byte:02x}");
                }
            }
        }
    }
    result.push('"');
    result
}

/// The digits at the front, as a number no larger than 2^63. Upstream: `leadingInt`.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let mut number: u64 = 0;
    for byte in digits.bytes() {
        if number > LARGEST_SIZE / 10 {
            return None;
        }
        number = number * 10 + u64::from(byte - b'0');
        if number > LARGEST_SIZE {
            return None;
        }
    }
    Some((number, rest))
}

/// The digits at the front as a fraction: its digits, and the power of ten below it. Digits past 63 bits are
/// dropped. Upstream: `leadingFraction`.
fn leading_fraction(text: &str) -> (u64, f64, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let (mut number, mut scale) = (0_u64, 1.0);
    for byte in digits.bytes() {
        if number > (LARGEST_SIZE - 1) / 10 {
            break;
        }
        let next = number * 10 + u64::from(byte - b'0');
        if next > LARGEST_SIZE {
            break;
        }
        number = next;
        scale *= 10.0;
    }
    (number, scale, rest)
}

fn unit_size(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => NANOSECOND,
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return None,
    })
}

impl FromStr for GoDuration {
    type Err = ParseDurationError;

    /// Reads Go's grammar. Upstream: `time.ParseDuration`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseDurationError { upstream: format!("time: invalid duration {}", quoted(text)) };
        let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
        let negative = text.starts_with('-');
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            if !rest.starts_with(|character: char| character == '.' || character.is_ascii_digit()) {
                return Err(invalid());
            }
            let before = rest.len();
            let (mut size, mut after) = leading_number(rest).ok_or_else(invalid)?;
            let mut has_digits = after.len() != before;
            let (mut fraction, mut scale) = (0, 1.0);
            if let Some(decimals) = after.strip_prefix('.') {
                (fraction, scale, after) = leading_fraction(decimals);
                has_digits |= after.len() != decimals.len();
            }
            if !has_digits {
                return Err(invalid());
            }
            let end =
                after.bytes().position(|byte| byte == b'.' || byte.is_ascii_digit()).unwrap_or(after.len());
            let (unit, next) = after.split_at(end);
            if unit.is_empty() {
                return Err(ParseDurationError {
                    upstream: format!("time: missing unit in duration {}", quoted(text)),
                });
            }
            let unit_size = unit_size(unit).ok_or_else(|| ParseDurationError {
                upstream: format!("time: unknown unit {} in duration {}", quoted(unit), quoted(text)),
            })?;
            if size > LARGEST_SIZE / unit_size {
                return Err(invalid());
            }
            size *= unit_size;
            if fraction > 0 {
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "Go computes fractions in floating point and truncates them"
                )]
                let nanoseconds = (fraction as f64 * (unit_size as f64 / scale)) as u64;
                size = size.saturating_add(nanoseconds);
                if size > LARGEST_SIZE {
                    return Err(invalid());
                }
            }
            total = total.saturating_add(size);
            if total > LARGEST_SIZE {
                return Err(invalid());
            }
            rest = next;
        }
        if negative {
            return Ok(Self(total.wrapping_neg().cast_signed()));
        }
        i64::try_from(total).map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for GoDuration {
    /// Upstream: `time.Duration.String`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let fraction = |unit: u64| {
            let digits = match unit {
                MICROSECOND => format!("{:03}", size % unit),
                MILLISECOND => format!("{:06}", size % unit),
                _ => format!("{:09}", size % SECOND),
            };
            match digits.trim_end_matches('0') {
                "" => String::new(),
                digits => format!(".{digits}"),
            }
        };
        let text = match size {
            0 => "0s".to_owned(),
            1..MICROSECOND => format!("{sign}{size}ns"),
            MICROSECOND..MILLISECOND => {
                format!("{sign}{}{}\u{b5}s", size / MICROSECOND, fraction(MICROSECOND))
            }
            MILLISECOND..SECOND => format!("{sign}{}{}ms", size / MILLISECOND, fraction(MILLISECOND)),
            _ => {
                let (hours, minutes, seconds) = (size / HOUR, size / MINUTE % 60, size / SECOND % 60);
                let seconds = format!("{seconds}{}s", fraction(SECOND));
                match (hours, minutes) {
                    (0, 0) => format!("{sign}{seconds}"),
                    (0, _) => format!("{sign}{minutes}m{seconds}"),
                    _ => format!("{sign}{hours}h{minutes}m{seconds}"),
                }
            }
        };
        formatter.pad(&text)
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = GoDuration;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration such as 90s or 1m30s")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("5s", 5_000_000_000),
            ("+1m30s", 90_000_000_000),
            ("-.5h", -1_800_000_000_000),
            ("1.s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("1\u{b5}s1\u{3bc}s1us", 3_000),
            ("0.000000001s", 1),
            ("0.9223372036854775807h", 3_320_413_933_267),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(text.parse(), Ok(GoDuration(nanoseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_in_the_words_of_go() {
        for (text, upstream) in [
            ("", "time: invalid duration \"\""),
            ("-", "time: invalid duration \"-\""),
            (".s", "time: invalid duration \".s\""),
            ("10", "time: missing unit in duration \"10\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("1s ", "time: unknown unit \"s \" in duration \"1s \""),
            ("9223372036854775808ns", "time: invalid duration \"9223372036854775808ns\""),
            ("3\u{e9}", "time: unknown unit \"\\xc3\\xa9\" in duration \"3\\xc3\\xa9\""),
        ] {
            let error = text.parse::<GoDuration>().expect_err(text);
            assert_eq!(error.upstream_text(), upstream);
        }
        assert!(parse_duration("-1s").is_err());
    }

    #[test]
    fn prints_what_go_prints() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (100_000_000, "100ms"),
            (3_300_000_000, "3.3s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(GoDuration(nanoseconds).to_string(), text);
        }
    }
}
