//! What a person wrote: one YAML file, read with every mistake found and every value in its place.
//!
//! - [`load`]: reads a scenario and its manifests from disk; the only input and output here.
//! - [`parse`]: the same from texts, a pure function.
//! - [`format`]: what a scenario may say.
//! - [`Located`], [`tree`]: values that know where they stand.
//! - [`Diagnostic`], [`Code`]: what can be wrong; [`render`] shows it with its line.
//! - [`schema`]: the JSON Schema; [`explain`] describes a field from it.

mod decode;
mod diagnostic;
mod explain;
pub mod format;
mod load;
mod located;
pub mod render;
pub mod schema;
pub mod tree;

pub use decode::Removed;
pub use diagnostic::{Code, Diagnostic, Diagnostics, Problem, Severity, Source, Sources, nearest};
pub use explain::explain;
pub use load::{Files, Loaded, ManifestObject, Parsed, load, parse};
pub use located::{Entries, Located};
