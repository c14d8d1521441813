//! Predictions beside what real runs did, as a Markdown table.

use crate::model::{Prediction, Sequence, observed_words, share};
use crate::observe::Timeline;
use crate::plan::Plan;

/// A run and what was predicted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    scenario: String,
    observed: String,
    predicted: String,
    disagreements: Vec<String>,
    omissions: Vec<String>,
}

/// How many orders of a prediction are told.
const TOLD: usize = 3;

/// The line of one run; the prediction has been compared with it.
#[must_use]
pub fn row(plan: &Plan, prediction: &Prediction, timeline: &Timeline) -> Row {
    let told = prediction.sequences.iter().take(TOLD);
    let words = |own: &Sequence| format!("{}: {}", share(own.phases, prediction.phases), own.words());
    let mut predicted: Vec<String> = told.map(words).collect();
    if prediction.sequences.len() > TOLD {
        predicted.push(format!("and {} more", prediction.sequences.len() - TOLD));
    }
    let (mut observed, answered) = observed_words(timeline);
    if let Some(answered) = answered {
        observed = format!("{observed}<br>{answered}");
        predicted.extend(prediction.answers.iter().take(TOLD).map(words));
        if prediction.answers.len() > TOLD {
            predicted.push(format!("and {} more", prediction.answers.len() - TOLD));
        }
    }
    Row {
        scenario: plan.name.clone(),
        observed,
        predicted: predicted.join("<br>"),
        disagreements: prediction.disagreements.clone(),
        omissions: prediction.omissions.clone(),
    }
}

/// The table, a summary before it.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let compared: Vec<&Row> = rows.iter().filter(|row| row.omissions.is_empty()).collect();
    let agree = compared.iter().filter(|row| row.disagreements.is_empty()).count();
    let mut text = format!("{agree} of {} runs that are modelled went as predicted.\n\n", compared.len());
    text.push_str("| scenario | observed | predicted | |\n|---|---|---|---|\n");
    for row in rows {
        let verdict = if let Some(first) = row.omissions.first() {
            format!("not modelled: {first}")
        } else if row.disagreements.is_empty() {
            "agrees".to_owned()
        } else {
            format!("**disagrees**: {}", row.disagreements.join("; "))
        };
        text.push_str(&format!("| {} | {} | {} | {verdict} |\n", row.scenario, row.observed, row.predicted));
    }
    text
}
