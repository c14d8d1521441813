//! How much of a card: `40Gi`, `90%`, or all there is.

use plimsoll_hog::quantity::{QuantityError, Unit, parse_amount};

/// What a driver gives is a multiple of this; so are amounts.
pub const GRANULE: u64 = 2 << 20;

/// How much of a card, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Bytes.
    Bytes(u64),
    /// Millionths of a percent of the card's memory.
    Share(u64),
    /// More than there is, so that it ends where nothing is left.
    All,
}

/// A hundred percent.
const WHOLE: u64 = 100_000_000;

/// What is wrong with an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// No number with a unit.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// No share.
    #[error("'{0}' is not a share: expected a number from 0% to 100%, such as 90% or 99.5%")]
    Share(String),
}

impl Amount {
    /// Reads `40Gi` or `90%`.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Amount, AmountError> {
        let Some(number) = text.strip_suffix('%') else {
            return Ok(Amount::Bytes(parse_amount(text, Unit::Bytes)?));
        };
        let refuse = || AmountError::Share(text.to_owned());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 6 {
            return Err(refuse());
        }
        let whole: u64 = whole.parse().map_err(|_| refuse())?;
        let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| refuse())?;
        let share =
            whole.checked_mul(1_000_000).and_then(|whole| whole.checked_add(fraction)).ok_or_else(refuse)?;
        if share > WHOLE { Err(refuse()) } else { Ok(Amount::Share(share)) }
    }

    /// The bytes of a card that has so many. An amount in bytes is rounded up to what a driver gives; what is a share of the
    /// card is rounded down, since there is no more.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Amount::Bytes(bytes) => {
                bytes.checked_next_multiple_of(GRANULE).unwrap_or(u64::MAX / GRANULE * GRANULE)
            }
            Amount::Share(share) => {
                let bytes = u128::from(total) * u128::from(share) / u128::from(WHOLE);
                bytes as u64 / GRANULE * GRANULE
            }
            Amount::All => total / GRANULE * GRANULE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_shares_are_read() {
        for (text, expected) in [
            ("40Gi", Amount::Bytes(40 << 30)),
            ("90%", Amount::Share(90_000_000)),
            ("99.5%", Amount::Share(99_500_000)),
            ("0%", Amount::Share(0)),
        ] {
            assert_eq!(Amount::parse(text), Ok(expected), "{text}");
        }
        for text in ["%", "101%", "-1%", "9.%", ".5%", "1.2.3%", "90 %", "99999999999999999999%"] {
            let error = Amount::parse(text).unwrap_err().to_string();
            assert!(error.contains("is not a share: expected a number from 0% to 100%"), "{text}: {error}");
        }
        assert!(Amount::parse("lots").is_err());
    }

    #[test]
    fn bytes_are_rounded_up_and_shares_down() {
        let total = 81_079 << 20;
        assert_eq!(Amount::Bytes(1).of(total), GRANULE);
        assert_eq!(Amount::Share(50_000_000).of(total), 40_538 << 20);
        assert_eq!(Amount::Share(100_000_000).of(total), 81_078 << 20);
        assert_eq!(Amount::All.of(total), 81_078 << 20);
        assert_eq!(Amount::Bytes(u64::MAX).of(total) % GRANULE, 0);
    }
}
