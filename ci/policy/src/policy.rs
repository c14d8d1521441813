//! What `deny.toml` says, as far as it is held here.

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

/// The part of `deny.toml` that can be held without a network.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The targets whose dependencies count.
    pub(crate) targets: Vec<String>,
    allowed: Vec<Licensee>,
}

#[derive(Deserialize)]
struct Document {
    graph: Graph,
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

impl Policy {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
        let allowed = document.licenses.allow.iter().map(|license| {
            Licensee::parse(license)
                .map_err(|error| format!("licenses.allow: {license:?} is no SPDX licence: {error}"))
        });
        Ok(Self { allowed: allowed.collect::<Result<_, _>>()?, targets: document.graph.targets })
    }

    /// Whether the terms can be met with the licences that are allowed; the error is a clause that says why not.
    pub(crate) fn judge_license(&self, license: Option<&str>) -> Result<(), String> {
        let Some(license) = license else { return Err("names no licence".into()) };
        // Older crates write `MIT/Apache-2.0`.
        let mode = ParseMode { allow_slash_as_or_operator: true, ..ParseMode::STRICT };
        let expression = Expression::parse_mode(license, mode)
            .map_err(|error| format!("its licence {license:?} can not be read: {}", error.reason))?;
        let allowed =
            |required: &spdx::LicenseReq| self.allowed.iter().any(|allowed| allowed.satisfies(required));
        if expression.evaluate(allowed) {
            return Ok(());
        }
        Err(format!(
            "its licence {license:?} is not allowed\nhelp: licenses.allow in deny.toml lists those that are"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;

    fn policy() -> Policy {
        let text = "[graph]\ntargets = ['x']\n[licenses]\nallow = ['MIT', 'Apache-2.0 WITH LLVM-exception', 'ISC']\n";
        Policy::read(text).unwrap()
    }

    #[test]
    fn or_needs_one_and_needs_all() {
        for license in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "GPL-3.0-only/MIT",
            "MIT AND ISC",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(policy().judge_license(Some(license)), Ok(()), "{license}");
        }
        for license in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "Apache-2.0", "(MIT OR ISC) AND MPL-2.0"] {
            assert!(policy().judge_license(Some(license)).is_err(), "{license}");
        }
    }

    #[test]
    fn what_can_not_be_told_is_not_allowed() {
        assert_eq!(policy().judge_license(None), Err("names no licence".into()));
        assert!(policy().judge_license(Some("see the file")).unwrap_err().contains("can not be read"));
    }

    #[test]
    fn an_unknown_licence_in_the_policy_is_an_error() {
        let text = "[graph]\ntargets = []\n[licenses]\nallow = ['MTI']\n";
        assert!(Policy::read(text).unwrap_err().contains("MTI"));
    }
}
