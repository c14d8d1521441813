//! Kubernetes' `Quantity`, exactly: every spelling, every size, and the text Kubernetes prints for it.
//!
//! - [`Quantity`]: the number, with its arithmetic and order.
//! - [`ParseQuantityError`]: why a text is not a quantity.
//!
//! Follows `k8s.io/apimachinery/pkg/api/resource` 0.36.3.

mod amount;
mod print;
mod read;
mod serialize;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::{Add, AddAssign, Sub, SubAssign};

use amount::Amount;
pub use read::ParseQuantityError;

/// The family of suffixes a quantity is printed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// No suffix was ever asked for: a zero that takes the format of what is added to it.
    #[default]
    Unset,
    /// A decimal exponent, such as `12e6`.
    DecimalExponent,
    /// Powers of 1024, such as `12Mi`.
    BinarySi,
    /// Powers of 1000, such as `12M`.
    DecimalSi,
}

/// An exact number with the suffix family it is printed in, as `resource.Quantity` of
/// k8s.io/apimachinery 0.36.3.
///
/// Equality, order and hash go by value alone: `1Ki` equals `1024`. [`Display`](std::fmt::Display)
/// gives the text that Kubernetes prints, which is the canonical one unless the spelling that was
/// read counts as canonical and is kept (`1e3`, `+5Ki`).
///
/// Upstream keeps a number either as a scaled 64-bit integer or as an arbitrary-precision decimal,
/// and the two forms print differently in rare cases, so both forms are kept here as well.
///
/// ```
/// use plimsoll_eviction::quantity::Quantity;
/// let half: Quantity = "0.5Gi".parse()?;
/// assert_eq!(half.to_string(), "512Mi");
/// assert_eq!(half, Quantity::from_bytes(536_870_912));
/// assert_eq!("100m".parse::<Quantity>()?.exact(), "0.1");
/// # Ok::<(), plimsoll_eviction::quantity::ParseQuantityError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    amount: Amount,
    format: Format,
    /// The spelling that was read, where upstream takes it for canonical and prints it again.
    spelling: Option<Box<str>>,
}

impl Quantity {
    /// A whole number in the given suffix family. Upstream: `resource.NewQuantity`.
    #[must_use]
    pub const fn new(value: i64, format: Format) -> Self {
        Self { amount: Amount::Fixed { value, scale: 0 }, format, spelling: None }
    }

    /// A number of bytes, printed with binary suffixes.
    #[must_use]
    pub const fn from_bytes(bytes: i64) -> Self {
        Self::new(bytes, Format::BinarySi)
    }

    /// A count of things (inodes, processes), printed with decimal suffixes.
    #[must_use]
    pub const fn from_count(count: i64) -> Self {
        Self::new(count, Format::DecimalSi)
    }

    /// Reads a text that Kubernetes printed, and prints it again the same way: bytes that divide by 1000 but
    /// not by 1024 are printed without a suffix, which alone would read as a decimal number.
    ///
    /// # Errors
    /// As for [`FromStr`](std::str::FromStr).
    pub fn from_printed(text: &str) -> Result<Self, ParseQuantityError> {
        let mut quantity: Self = text.parse()?;
        if quantity.to_string() != text {
            quantity.spelling = Some(text.into());
        }
        Ok(quantity)
    }

    /// A whole number of any size, printed with binary suffixes.
    #[must_use]
    pub fn from_wide(number: i128) -> Self {
        match i64::try_from(number) {
            Ok(number) => Self::from_bytes(number),
            Err(_) => Self { amount: Amount::wide(number, 0), format: Format::BinarySi, spelling: None },
        }
    }

    /// A number of billionths, printed with decimal suffixes.
    #[must_use]
    pub fn from_nanos(nanos: i128) -> Self {
        let amount = match i64::try_from(nanos) {
            Ok(value) => Amount::Fixed { value, scale: -9 },
            Err(_) => Amount::wide(nanos, 9),
        };
        Self { amount, format: Format::DecimalSi, spelling: None }
    }

    /// The value in billionths, of which every quantity read from a text is a whole number; none beyond 128 bits.
    #[must_use]
    pub fn nanos(&self) -> Option<i128> {
        self.amount.nanos()
    }

    /// The suffix family that this quantity is printed in.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Whether the value is exactly zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.amount.sign() == Ordering::Equal
    }

    /// How the value compares to zero. Upstream: `Quantity.Sign`.
    #[must_use]
    pub fn sign(&self) -> Ordering {
        self.amount.sign()
    }

    /// The value rounded away from zero to a whole number; beyond 64 bits, the nearest 64-bit number.
    ///
    /// For every number that fits this is what upstream's `Quantity.Value` gives; see
    /// [`upstream_value`](Self::upstream_value) for what it gives for the others.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.amount.rounded_value()
    }

    /// What `Quantity.Value` gives, including where it overflows: 0 or the lowest 64 bits for numbers
    /// that are too large, and one too many for some negative fractions.
    #[must_use]
    pub fn upstream_value(&self) -> i64 {
        self.amount.upstream_value()
    }

    /// The value as a plain decimal number, with no suffix or exponent and no needless zeros: `0.1`, `1024`.
    #[must_use]
    pub fn exact(&self) -> String {
        self.amount.exact()
    }

    /// The value as the nearest 64-bit floating-point number, for drawing and rough arithmetic.
    #[must_use]
    pub fn approximate(&self) -> f64 {
        self.exact().parse().unwrap_or(f64::INFINITY)
    }
}

impl From<Amount> for Quantity {
    fn from(amount: Amount) -> Self {
        Self { amount, format: Format::Unset, spelling: None }
    }
}

impl AddAssign<&Self> for Quantity {
    /// Adds exactly. A zero takes the format of what is added. Upstream: `Quantity.Add`.
    fn add_assign(&mut self, other: &Self) {
        self.spelling = None;
        if self.is_zero() {
            self.format = other.format;
        }
        self.amount.add(&other.amount);
    }
}

impl SubAssign<&Self> for Quantity {
    /// Subtracts exactly. A zero takes the format of what is subtracted. Upstream: `Quantity.Sub`.
    fn sub_assign(&mut self, other: &Self) {
        self.spelling = None;
        if self.is_zero() {
            self.format = other.format;
        }
        self.amount.subtract(&other.amount);
    }
}

impl Add<&Self> for Quantity {
    type Output = Self;
    fn add(mut self, other: &Self) -> Self {
        self += other;
        self
    }
}

impl Sub<&Self> for Quantity {
    type Output = Self;
    fn sub(mut self, other: &Self) -> Self {
        self -= other;
        self
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    /// Compares by value, exactly. Upstream: `Quantity.Cmp`.
    fn cmp(&self, other: &Self) -> Ordering {
        self.amount.compare(&other.amount)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.amount.hash_value(state);
    }
}
