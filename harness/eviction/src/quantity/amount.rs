//! The two forms upstream keeps a number in, and arithmetic that moves from one to the other where it does.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use num_bigint::{BigInt, Sign};

/// `10^exponent`, or none where that has no 64-bit number.
pub(super) fn power_of_ten(exponent: u32) -> Option<i64> {
    10_i64.checked_pow(exponent)
}

/// `10^exponent` of any size.
pub(super) fn big_power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

/// `unscaled * 10^-scale`. Upstream: `inf.Dec`.
#[derive(Clone, Debug)]
pub(super) struct Decimal {
    pub(super) unscaled: BigInt,
    pub(super) scale: i32,
}

impl Decimal {
    /// The same value at a scale that is not smaller.
    fn rescaled(&self, scale: i32) -> BigInt {
        let shift = u32::try_from(scale.saturating_sub(self.scale)).unwrap_or(0);
        if shift == 0 { self.unscaled.clone() } else { &self.unscaled * big_power_of_ten(shift) }
    }

    fn combined(&self, other: &Self, operation: impl FnOnce(BigInt, BigInt) -> BigInt) -> Self {
        let scale = self.scale.max(other.scale);
        Self { unscaled: operation(self.rescaled(scale), other.rescaled(scale)), scale }
    }

    /// The value with `scale` decimals, rounded away from zero, and whether that lost nothing.
    /// Upstream: `infDecAmount.AsScale`.
    pub(super) fn rounded(&self, scale: i32) -> (Self, bool) {
        let drop = u32::try_from(self.scale.saturating_sub(scale)).unwrap_or(0);
        if drop == 0 {
            return (Self { unscaled: self.rescaled(scale), scale }, true);
        }
        let divisor = big_power_of_ten(drop);
        let mut quotient = &self.unscaled / &divisor;
        let exact = &quotient * &divisor == self.unscaled;
        if !exact {
            quotient += if self.unscaled.sign() == Sign::Minus { -1 } else { 1 };
        }
        (Self { unscaled: quotient, scale }, exact)
    }

    /// Divides by `factor` as long as nothing is left over, and counts how often.
    /// Upstream: `removeBigIntFactors`.
    pub(super) fn without_factors(mut number: BigInt, factor: u32) -> (BigInt, i32) {
        let mut times = 0;
        while number.sign() != Sign::NoSign {
            let quotient = &number / factor;
            if &quotient * factor != number {
                break;
            }
            number = quotient;
            times += 1;
        }
        (number, times)
    }

    /// The lowest 64 bits, as `big.Int.Int64` gives them.
    fn low_bits(number: &BigInt) -> i64 {
        let magnitude = number.iter_u64_digits().next().unwrap_or(0).cast_signed();
        if number.sign() == Sign::Minus { magnitude.wrapping_neg() } else { magnitude }
    }
}

/// A number as upstream keeps it.
#[derive(Clone, Debug)]
pub(super) enum Amount {
    /// `value * 10^scale`. Upstream: `int64Amount`.
    Fixed {
        /// The scaled value.
        value: i64,
        /// The power of ten.
        scale: i32,
    },
    /// A number of any size. Upstream: `infDecAmount`.
    Wide(Box<Decimal>),
}

impl Default for Amount {
    fn default() -> Self {
        Self::Fixed { value: 0, scale: 0 }
    }
}

impl Amount {
    /// A number of any size.
    pub(super) fn wide(unscaled: i128, scale: i32) -> Self {
        Self::Wide(Box::new(Decimal { unscaled: BigInt::from(unscaled), scale }))
    }

    /// The value times `10^9`, where that is a whole number of 128 bits.
    pub(super) fn nanos(&self) -> Option<i128> {
        match self {
            Self::Fixed { value, scale } => {
                let power = u32::try_from(scale.checked_add(9)?).ok()?;
                i128::from(*value).checked_mul(10_i128.checked_pow(power)?)
            }
            Self::Wide(decimal) if decimal.scale <= 9 => {
                let power = u32::try_from(9_i32.checked_sub(decimal.scale)?).ok()?;
                i128::try_from(&decimal.unscaled).ok()?.checked_mul(10_i128.checked_pow(power)?)
            }
            Self::Wide(_) => None,
        }
    }

    pub(super) fn sign(&self) -> Ordering {
        match self {
            Self::Fixed { value, .. } => value.cmp(&0),
            Self::Wide(decimal) => match decimal.unscaled.sign() {
                Sign::Minus => Ordering::Less,
                Sign::NoSign => Ordering::Equal,
                Sign::Plus => Ordering::Greater,
            },
        }
    }

    pub(super) fn to_decimal(&self) -> Decimal {
        match self {
            Self::Fixed { value, scale } => {
                Decimal { unscaled: BigInt::from(*value), scale: scale.saturating_neg() }
            }
            Self::Wide(decimal) => (**decimal).clone(),
        }
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        if let (Self::Fixed { value: a, scale: s }, Self::Fixed { value: b, scale: t }) = (self, other) {
            if s == t {
                return a.cmp(b);
            }
            // 2^63 * 10^18 fits into 128 bits.
            let apart = s.abs_diff(*t);
            if apart <= 18 {
                let factor = 10_i128.pow(apart);
                return if s > t {
                    (i128::from(*a) * factor).cmp(&i128::from(*b))
                } else {
                    i128::from(*a).cmp(&(i128::from(*b) * factor))
                };
            }
        }
        self.sign().cmp(&other.sign()).then_with(|| {
            let (a, b) = (self.to_decimal(), other.to_decimal());
            let scale = a.scale.max(b.scale);
            a.rescaled(scale).cmp(&b.rescaled(scale))
        })
    }

    /// Upstream: `int64Amount.Add`, then `inf.Dec.Add` where that overflows.
    pub(super) fn add(&mut self, other: &Self) {
        if let (Self::Fixed { value: a, scale: s }, Self::Fixed { value: b, scale: t }) = (&*self, other)
            && let Some((value, scale)) = add_fixed((*a, *s), (*b, *t))
        {
            *self = Self::Fixed { value, scale };
            return;
        }
        *self = Self::Wide(Box::new(self.to_decimal().combined(&other.to_decimal(), |a, b| a + b)));
    }

    /// Upstream: `int64Amount.Sub`, then `inf.Dec.Sub` where that overflows.
    pub(super) fn subtract(&mut self, other: &Self) {
        if let (Self::Fixed { value: a, scale: s }, Self::Fixed { value: b, scale: t }) = (&*self, other)
            && let Some((value, scale)) = add_fixed((*a, *s), (b.wrapping_neg(), *t))
        {
            *self = Self::Fixed { value, scale };
            return;
        }
        *self = Self::Wide(Box::new(self.to_decimal().combined(&other.to_decimal(), |a, b| a - b)));
    }

    /// The value rounded away from zero and held within 64 bits.
    pub(super) fn rounded_value(&self) -> i64 {
        if let Self::Fixed { value, scale: 0 } = self {
            return *value;
        }
        let bound = if self.sign() == Ordering::Less { i64::MIN } else { i64::MAX };
        i64::try_from(self.to_decimal().rounded(0).0.unscaled).unwrap_or(bound)
    }

    /// Upstream: `Quantity.ScaledValue(0)`, overflow and all.
    pub(super) fn upstream_value(&self) -> i64 {
        match self {
            Self::Fixed { value, scale } => match u32::try_from(*scale) {
                Ok(up) => scale_up(*value, up).unwrap_or_else(|| overflowed(*value, up)),
                Err(_) => round_fixed(*value, scale.unsigned_abs()).0,
            },
            Self::Wide(decimal) => {
                let low = Decimal::low_bits(&decimal.unscaled);
                if decimal.scale <= 0 {
                    // Past 10^18 the floating-point power converts to the smallest 64-bit number.
                    let power = power_of_ten(decimal.scale.unsigned_abs()).unwrap_or(i64::MIN);
                    return low.wrapping_mul(power);
                }
                if decimal.unscaled < BigInt::from(i64::MAX)
                    && let Some(divisor) = power_of_ten(decimal.scale.unsigned_abs())
                {
                    return low.wrapping_div(divisor).wrapping_add(i64::from(low % divisor != 0));
                }
                let divisor = big_power_of_ten(decimal.scale.unsigned_abs());
                let mut quotient = &decimal.unscaled / &divisor;
                let remainder = &decimal.unscaled - &quotient * &divisor;
                if remainder.sign() == Sign::Minus {
                    quotient -= 1;
                }
                Decimal::low_bits(&quotient).wrapping_add(i64::from(remainder.sign() != Sign::NoSign))
            }
        }
    }

    pub(super) fn exact(&self) -> String {
        let decimal = match self {
            Self::Fixed { value, scale: 0 } => return value.to_string(),
            _ => self.to_decimal(),
        };
        let digits = decimal.unscaled.magnitude().to_string();
        let sign = if decimal.unscaled.sign() == Sign::Minus { "-" } else { "" };
        let Ok(decimals) = usize::try_from(decimal.scale) else {
            let zeros = if digits == "0" { 0 } else { decimal.scale.unsigned_abs() as usize };
            return format!("{sign}{digits}{}", "0".repeat(zeros));
        };
        let padded = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, fraction) = padded.split_at(padded.len() - decimals);
        match fraction.trim_end_matches('0') {
            "" => format!("{sign}{whole}"),
            fraction => format!("{sign}{whole}.{fraction}"),
        }
    }

    /// Feeds a hasher what equal values have in common.
    pub(super) fn hash_value<H: Hasher>(&self, state: &mut H) {
        let decimal = self.to_decimal();
        let (number, times) = Decimal::without_factors(decimal.unscaled, 10);
        let scale = if number.sign() == Sign::NoSign { 0 } else { decimal.scale.saturating_sub(times) };
        number.hash(state);
        scale.hash(state);
    }
}

/// Upstream: `int64Amount.Add`. None if the sum has no 64-bit form at the smaller scale.
fn add_fixed((a, s): (i64, i32), (b, t): (i64, i32)) -> Option<(i64, i32)> {
    if b == 0 {
        return Some((a, s));
    }
    if a == 0 {
        return Some((b, t));
    }
    let apart = s.abs_diff(t);
    match s.cmp(&t) {
        Ordering::Equal => Some((a.checked_add(b)?, s)),
        Ordering::Greater => Some((scale_up(a, apart)?.checked_add(b)?, t)),
        Ordering::Less => Some((scale_up(b, apart)?.checked_add(a)?, s)),
    }
}

/// `value * 10^scale` where that has 64 bits. Upstream: `positiveScaleInt64`.
pub(super) fn scale_up(value: i64, scale: u32) -> Option<i64> {
    if value == 0 {
        return Some(0);
    }
    value.checked_mul(power_of_ten(scale)?)
}

/// What upstream's `positiveScaleInt64` leaves where the product does not fit: the lowest bits for the powers it
/// has a shortcut for, else nothing.
fn overflowed(value: i64, scale: u32) -> i64 {
    match (scale, power_of_ten(scale)) {
        (1 | 2 | 3 | 6 | 9, Some(power)) if value != i64::MIN => value.wrapping_mul(power),
        _ => 0,
    }
}

/// `value / 10^scale` rounded away from zero, and whether that lost nothing. Upstream: `negativeScaleInt64`.
pub(super) fn round_fixed(value: i64, scale: u32) -> (i64, bool) {
    let Some(divisor) = power_of_ten(scale) else { return (value.signum(), value == 0) };
    let exact = value % divisor == 0;
    (value / divisor + if exact { 0 } else { value.signum() }, exact)
}
