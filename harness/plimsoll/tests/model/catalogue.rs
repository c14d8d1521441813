//! The scenarios that are kept: each was seen to hold on a real kubelet, and so the rules must say that it can.

use std::path::{Path, PathBuf};

use plimsoll::model::{Assumptions, predict};
use plimsoll::plan::lower;
use plimsoll::scenario::load;

fn scenarios(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(scenarios(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn what_holds_on_a_real_kubelet_is_predicted_to_hold_in_most_phases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut looked_at = 0;
    let mut otherwise = Vec::new();
    for file in scenarios(&folder) {
        let Ok(lowered) = load(&file).and_then(|loaded| lower(&loaded)) else { continue };
        let prediction = predict(&lowered.plan, &Assumptions::default(), 40).expect("a prediction");
        if !prediction.omissions.is_empty() {
            continue;
        }
        looked_at += 1;
        for finding in &prediction.findings {
            if finding.held * 10 < prediction.phases * 7 {
                otherwise.push(format!("{}: {finding:?}", file.display()));
            }
        }
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
    assert!(looked_at >= 125, "{looked_at} scenarios are modelled");
}
