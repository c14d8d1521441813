//! From files to a scenario: what is read, in which order, and what can be wrong with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::decode::{Removed, decode};
use super::diagnostic::{Code, Diagnostics, Problem, Sources, nearest};
use super::format::document::{Manifest, Scenario};
use super::tree::{Dialect, LARGEST_FILE, Mark, Tree, parse as parse_yaml};

/// The texts of manifest files by the paths that the scenario gives, or why one could not be read.
pub type Files = BTreeMap<String, Result<String, String>>;

/// A scenario as far as it could be read, before its manifests.
#[derive(Debug, Clone)]
pub struct Parsed {
    scenario: Scenario,
    sources: Sources,
    problems: Vec<Problem>,
    removed: Vec<Removed>,
}

/// A scenario and its manifests, ready to be lowered. What is wrong with the parts that could not be read is
/// kept here and comes out of [`plan::lower`](crate::plan::lower), together with everything else that is wrong.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The scenario, less what could not be read.
    pub scenario: Scenario,
    /// The objects of its manifests, in order.
    pub objects: Vec<ManifestObject>,
    /// The texts that it was read from.
    pub sources: Sources,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// The parts that could not be read.
    pub removed: Vec<Removed>,
    /// Whether workloads or manifests are among them, so that a name that nothing has may be no mistake.
    pub incomplete: bool,
}

/// One document of a manifest.
#[derive(Debug, Clone)]
pub struct ManifestObject {
    /// The object.
    pub tree: Tree,
    /// Where the scenario asks for it.
    pub asked: Mark,
}

/// Reads a scenario and the manifests that it names.
///
/// # Errors
/// [`Diagnostics`] when the file can not be read, is not YAML, or says too little to go on. What is wrong with a
/// part of it comes out of [`plan::lower`](crate::plan::lower).
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|why| {
        let mut sources = Sources::default();
        let source = sources.add(&name, "");
        let mark = Mark { source, line: 1, column: 1, ..Mark::default() };
        Diagnostics::new(vec![Problem::new(Code::E0001, mark, why)], sources)
    })?;
    let parsed = parse(&name, &text)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let files = parsed
        .manifest_files()
        .map(|file| {
            let text = read_text(&folder.join(file));
            (file.to_owned(), text.map_err(|why| with_suggestion(&folder.join(file), why)))
        })
        .collect();
    Ok(parsed.with_files(&files))
}

/// Reads the text of a file that is not larger than a scenario or manifest can be.
fn read_text(path: &Path) -> Result<String, String> {
    let refuse = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it can not be read: {error}"),
    };
    if path.is_dir() {
        return Err("it is a folder; expected a YAML file".to_owned());
    }
    let limit = LARGEST_FILE as u64 + 1;
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(refuse)?;
    if bytes.len() > LARGEST_FILE {
        return Err(format!(
            "it is larger than {} MiB; expected a YAML file of some pages",
            LARGEST_FILE >> 20
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        format!("it is not UTF-8: byte {valid} begins no character")
    })
}

/// The reason, and the file beside it that may have been meant.
fn with_suggestion(path: &Path, why: String) -> String {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return why };
    let beside: Vec<String> = path
        .parent()
        .and_then(|folder| {
            std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }).ok()
        })
        .into_iter()
        .flatten()
        .take(1000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    match nearest(name, beside.iter().map(String::as_str)) {
        Some(near) if !path.exists() => format!("{why}\ndid you mean `{near}`?"),
        _ => why,
    }
}

/// Reads a scenario's own text.
///
/// # Errors
/// As for [`load`].
pub fn parse(name: &str, text: &str) -> Result<Parsed, Diagnostics> {
    let mut sources = Sources::default();
    let source = sources.add(name, text);
    let start = Mark { source, line: 1, column: 1, ..Mark::default() };
    let fail = |sources: &Sources, problem: Problem| Err(Diagnostics::new(vec![problem], sources.clone()));
    if text.len() > LARGEST_FILE {
        let message =
            format!("it is larger than {} MiB; expected a YAML file of some pages", LARGEST_FILE >> 20);
        return fail(&sources, Problem::new(Code::E0001, start, message));
    }
    let documents = match parse_yaml(text, source, Dialect::Scenario) {
        Ok(documents) => documents,
        Err(error) => {
            return fail(
                &sources,
                Problem::new(Code::E0002, error.mark, format!("not YAML: {}", error.message)),
            );
        }
    };
    let mut documents = documents.into_iter();
    let Some(mut tree) = documents.next() else {
        let problem = Problem::new(Code::E0001, start, "it is empty; expected a scenario")
            .help("begin with `apiVersion: plimsoll.dev/v1alpha1` and `kind: Scenario`");
        return fail(&sources, problem);
    };
    let mut problems: Vec<Problem> = documents
        .map(|further| {
            Problem::new(Code::E0005, further.mark, "a second document: a file holds one scenario")
                .help("put it into a file of its own; Kubernetes objects go under `spec.manifests`")
        })
        .collect();
    problems.extend(repeated_keys(&tree));
    tree.keep_last_of_repeated();
    let decoded = decode::<Scenario>(tree);
    problems.extend(decoded.problems);
    match decoded.value {
        Some(scenario) => Ok(Parsed { scenario, sources, problems, removed: decoded.removed }),
        None => Err(Diagnostics::new(problems, sources)),
    }
}

fn repeated_keys(tree: &Tree) -> Vec<Problem> {
    tree.repeated_keys()
        .into_iter()
        .map(|entry| {
            let message =
                format!("`{}` stands twice in the same mapping", super::tree::shortened(&entry.key));
            Problem::new(Code::E0003, entry.key_mark, message).help("keep one of them")
        })
        .collect()
}

impl Parsed {
    /// The scenario as far as it could be read.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The paths of its manifest files, as it gives them.
    pub fn manifest_files(&self) -> impl Iterator<Item = &str> {
        self.scenario.spec.manifests.iter().filter_map(|manifest| match &manifest.value {
            Manifest::File(path) => Some(path.as_str()),
            Manifest::Object(_) => None,
        })
    }

    /// Adds the manifests.
    #[must_use]
    pub fn with_files(self, files: &Files) -> Loaded {
        let Self { scenario, mut sources, mut problems, removed } = self;
        let mut incomplete = removed
            .iter()
            .any(|gone| ["spec.workloads", "spec.manifests"].iter().any(|list| gone.path.starts_with(list)));
        let mut objects = Vec::new();
        let scenario_name = sources.get(0).map(|source| source.name.clone()).unwrap_or_default();
        for manifest in &scenario.spec.manifests {
            let asked = manifest.mark;
            let path = match &manifest.value {
                Manifest::Object(object) => {
                    objects.push(ManifestObject {
                        tree: Tree { mark: asked, node: object.node.clone() },
                        asked,
                    });
                    continue;
                }
                Manifest::File(path) => path,
            };
            let unread = "it was not read".to_owned();
            let text = match files.get(path).unwrap_or(&Err(unread)) {
                Ok(text) => text.clone(),
                Err(why) => {
                    incomplete = true;
                    let (why, help) = why.split_once('\n').unwrap_or((why, ""));
                    let problem = Problem::new(Code::E0015, asked, format!("manifest {path}: {why}"));
                    problems.push(if help.is_empty() { problem } else { problem.help(help) });
                    continue;
                }
            };
            let source = sources.add(beside(&scenario_name, path), &text);
            match parse_yaml(&text, source, Dialect::Manifest) {
                Ok(documents) => {
                    for mut tree in documents {
                        problems.extend(repeated_keys(&tree));
                        tree.keep_last_of_repeated();
                        objects.push(ManifestObject { tree, asked });
                    }
                }
                Err(error) => {
                    incomplete = true;
                    problems.push(Problem::new(
                        Code::E0002,
                        error.mark,
                        format!("not YAML: {}", error.message),
                    ));
                }
            }
        }
        Loaded { scenario, objects, sources, problems, removed, incomplete }
    }
}

/// How a manifest is called in messages: so that the path works from where the scenario's own does.
fn beside(scenario: &str, manifest: &str) -> String {
    let folder = Path::new(scenario).parent().unwrap_or(Path::new(""));
    let path: PathBuf =
        folder.join(manifest).components().filter(|part| *part != Component::CurDir).collect();
    path.display().to_string()
}
