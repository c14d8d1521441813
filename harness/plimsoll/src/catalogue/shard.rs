//! One part of several.

use std::str::FromStr;

/// The `index`th of `of` parts, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

/// A shard that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no part: expected such as 2/5, the second of five")]
pub struct ShardError(String);

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let wrong = || ShardError(text.to_owned());
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let index: usize = index.parse().map_err(|_| wrong())?;
        let of: usize = of.parse().map_err(|_| wrong())?;
        if index == 0 || index > of { Err(wrong()) } else { Ok(Self { index, of }) }
    }
}

impl Shard {
    /// What of these belongs to the part: every `of`th, so that parts differ by one at most, and neighbours, which are
    /// alike in a sorted list, are spread over all parts.
    #[must_use]
    pub fn part<T>(self, all: Vec<T>) -> Vec<T> {
        all.into_iter().skip(self.index - 1).step_by(self.of).collect()
    }
}
