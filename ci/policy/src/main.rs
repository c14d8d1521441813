//! Holds the dependencies of this workspace to `deny.toml`: `cargo run -p plimsoll-policy`.
//!
//! It answers from the lock file and the downloaded sources, so it needs no network, and it is built with the rest of
//! the workspace, where cargo-deny would have to be installed. Advisories need their database, which only cargo-deny fetches.

mod policy;

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

use cargo_metadata::{MetadataCommand, Package};
use policy::Policy;

/// Packages of this repository that are no members of the workspace.
const APART: [&str; 1] = ["fuzz/Cargo.toml"];

fn main() -> ExitCode {
    match complaints() {
        Ok((checked, complaints)) if complaints.is_empty() => {
            println!("{checked} dependencies: every licence, source and version is allowed by deny.toml");
            ExitCode::SUCCESS
        }
        Ok((_, complaints)) => {
            for complaint in complaints {
                eprintln!("error: {complaint}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

/// How many packages were looked at on all targets, and what is wrong with them.
fn complaints() -> Result<(usize, Vec<String>), Box<dyn Error>> {
    let root = MetadataCommand::new().no_deps().exec()?.workspace_root;
    let file = root.join("deny.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let policy = Policy::read(&text).map_err(|error| format!("{file}: {error}"))?;
    let mut packages = BTreeMap::new();
    for target in &policy.targets {
        let options = ["--locked".to_owned(), "--filter-platform".into(), target.clone()];
        let metadata = MetadataCommand::new().current_dir(&root).other_options(options).exec()?;
        packages.extend(metadata.packages.into_iter().map(|package| (package.id.clone(), package)));
    }
    let mut complaints: Vec<String> = packages.values().flat_map(|package| judge(&policy, package)).collect();
    // Packages that are no members have no lock file of ours, so only what they ask for can be held.
    for manifest in APART {
        let manifest = root.join(manifest);
        let metadata = MetadataCommand::new().manifest_path(&manifest).no_deps().exec()?;
        complaints.extend(metadata.packages.iter().flat_map(|package| judge_requirements(&policy, package)));
    }
    Ok((packages.len(), complaints))
}

fn judge(policy: &Policy, package: &Package) -> Vec<String> {
    let Package { name, version, license, source, .. } = package;
    // A package without a source is a member of the workspace.
    let elsewhere = source.as_ref().filter(|source| !source.is_crates_io());
    let source = elsewhere.map(|source| format!("comes from {source}, not from crates.io"));
    let license = policy.judge_license(license.as_deref()).err();
    let own = if package.source.is_none() { judge_requirements(policy, package) } else { Vec::new() };
    let found = [license, source].into_iter().flatten().map(|reason| format!("{name} {version}: {reason}"));
    found.chain(own).collect()
}

/// What is wrong with the versions that a package of ours asks for.
fn judge_requirements(policy: &Policy, package: &Package) -> Vec<String> {
    let judged = package.dependencies.iter().filter_map(|dependency| {
        let is_wildcard = dependency.req.comparators.is_empty();
        policy.judge_requirement(&dependency.name, is_wildcard, dependency.path.is_some()).err()
    });
    judged.map(|reason| format!("{}: {reason}", package.manifest_path)).collect()
}
