//! Explaining one look at a node: from documents to words and to documents.

mod corpus;
mod documents;
mod page;
mod words;

use std::path::{Path, PathBuf};

use plimsoll::explain::{Document, Documents, Explanation, Look, text};
use plimsoll::report::{TerminalOptions, Verbosity};

/// A folder of the repository.
fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn document(folder: &Path, name: &str) -> Document {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Document { name: name.to_owned(), text }
}

/// The documents in a folder.
fn documents(folder: &Path) -> Documents {
    Documents {
        pods: document(folder, "pods.json"),
        summary: document(folder, "summary.json"),
        configuration: document(folder, "kubelet.yaml"),
    }
}

/// The node that docs/explain.md tells of.
fn example() -> Documents {
    documents(&folder("docs/explain-example"))
}

fn read(documents: &Documents) -> Look {
    Look::read(documents, None, None).unwrap_or_else(|error| panic!("{error}"))
}

/// What is told of the example after its documents were changed.
fn told(change: impl FnOnce(&mut Documents)) -> (Explanation, String) {
    let mut documents = example();
    change(&mut documents);
    let explanation = read(&documents).explain();
    let text = render(&explanation, 10);
    (explanation, text)
}

fn render(explanation: &Explanation, top: usize) -> String {
    text::render(
        explanation,
        top,
        &TerminalOptions { width: 100, color: false, verbosity: Verbosity::Normal },
    )
}
