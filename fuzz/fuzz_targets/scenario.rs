//! A scenario and a manifest beside it, as one text with a line `# --- manifest` between them: read, lowered, written out,
//! and every promise of a plan or a diagnostic kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reading::read;

#[path = "../../harness/plimsoll/tests/reading/mod.rs"]
mod reading;

fuzz_target!(|text: &str| {
    let (scenario, manifest) = text.split_once("\n# --- manifest\n").unwrap_or((text, ""));
    read(scenario, manifest);
});
