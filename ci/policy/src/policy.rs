//! What `deny.toml` says, as far as it is held here.

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

/// The part of `deny.toml` that can be held without a network.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The targets whose dependencies count.
    pub(crate) targets: Vec<String>,
    allowed: Vec<Licensee>,
    bans: Bans,
}

#[derive(Deserialize)]
struct Document {
    graph: Graph,
    licenses: Licenses,
    #[serde(default)]
    bans: Bans,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Bans {
    #[serde(default)]
    wildcards: Lint,
    #[serde(default)]
    allow_wildcard_paths: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Lint {
    #[default]
    Allow,
    Warn,
    Deny,
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
        Ok(Self {
            allowed: allowed.collect::<Result<_, _>>()?,
            targets: document.graph.targets,
            bans: document.bans,
        })
    }

    /// Whether a package may ask for a dependency like that: any version, of crates.io or by a path.
    pub(crate) fn judge_requirement(
        &self,
        name: &str,
        is_wildcard: bool,
        has_path: bool,
    ) -> Result<(), String> {
        let allowed = self.bans.wildcards != Lint::Deny || (has_path && self.bans.allow_wildcard_paths);
        if !is_wildcard || allowed {
            return Ok(());
        }
        Err(format!(
            "asks for any version of {name}\nhelp: bans.wildcards in deny.toml denies that; name a version"
        ))
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
    fn any_version_is_none_unless_it_is_of_the_workspace() {
        let head = "[graph]\ntargets = []\n[licenses]\nallow = []\n";
        let policy = |bans: &str| Policy::read(&format!("{head}{bans}")).unwrap();
        let strict = policy("[bans]\nwildcards = 'deny'\nallow-wildcard-paths = true\n");
        assert_eq!(strict.judge_requirement("serde", false, false), Ok(()));
        assert_eq!(strict.judge_requirement("plimsoll", true, true), Ok(()));
        assert!(strict.judge_requirement("serde", true, false).unwrap_err().contains("any version of serde"));
        assert!(policy("[bans]\nwildcards = 'deny'\n").judge_requirement("plimsoll", true, true).is_err());
        assert_eq!(policy("").judge_requirement("serde", true, false), Ok(()));
    }

    #[test]
    fn an_unknown_licence_in_the_policy_is_an_error() {
        let text = "[graph]\ntargets = []\n[licenses]\nallow = ['MTI']\n";
        assert!(Policy::read(text).unwrap_err().contains("MTI"));
    }
}
