//! What the node should have. What is not declared is not judged, and the report says so.

use std::cmp::Ordering;
use std::str::FromStr;

/// What the node should have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declaration {
    /// How many devices.
    pub devices: Option<u32>,
    /// The product name of each.
    pub product: Option<String>,
    /// The least memory of each in bytes. Where it is not declared, what the product is sold with.
    pub memory: Option<u64>,
    /// The oldest version of the driver.
    pub driver: Option<Version>,
    /// The oldest version of CUDA that the driver must know.
    pub cuda: Option<Version>,
    /// The least share of the data sheet's bandwidth, in percent.
    pub bandwidth_percent: u32,
}

/// A version: numbers with dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(Vec<u64>);

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a version: expected numbers with dots, such as 580.95 or 12.4")]
pub struct VersionError(String);

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Version, VersionError> {
        let part = |part: &str| part.parse().map_err(|_| VersionError(text.to_owned()));
        text.split('.').map(part).collect::<Result<_, _>>().map(Version)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self.0.iter().map(u64::to_string).collect();
        formatter.write_str(&parts.join("."))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        let longest = self.0.len().max(other.0.len());
        // 580 is 580.0: what is not there counts as nothing.
        let parts = |version: &Version| -> Vec<u64> {
            version.0.iter().copied().chain(std::iter::repeat(0)).take(longest).collect()
        };
        Some(parts(self).cmp(&parts(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("580.95.05") > version("580.9"));
        assert!(version("580") >= version("580.0.0") && version("580.0.0") >= version("580"));
        assert!(version("12.4") < version("13.0"));
        for text in ["", "580.", "v1", "1.-2"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
