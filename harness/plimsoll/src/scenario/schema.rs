//! The JSON Schema of the format, for editors and for whoever makes scenarios by program.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::format::document::Scenario;

/// The JSON Schema (draft 2020-12) of a scenario file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Scenario>();
    schema.insert("$id".to_owned(), "https://plimsoll.dev/schemas/v1alpha1/scenario.json".into());
    schema.to_value()
}

/// The schema as it is printed and committed.
#[must_use]
pub fn schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}
