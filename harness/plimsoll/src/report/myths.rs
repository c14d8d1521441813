//! What people say beside what real runs showed, as Markdown.

use crate::plan::{Plan, Standing};
use crate::verdict::{State, Verdict};

/// How much of an observation is told.
const TOLD: usize = 4;

/// A claim, and the run that puts it to the test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    scenario: String,
    claimed: String,
    standing: String,
    so: String,
    observed: Vec<String>,
}

/// The story of one run; none where its scenario has no claim.
#[must_use]
pub fn story(plan: &Plan, verdict: &Verdict) -> Option<Story> {
    let claim = plan.claim.as_ref()?;
    let standing = match (verdict.state, claim.so) {
        (State::Held, Standing::Yes) => "true".to_owned(),
        (State::Held, Standing::No) => "false".to_owned(),
        (State::Held, Standing::Partly) => "true in part".to_owned(),
        (state, _) => format!("not shown: the run is {}", state.word()),
    };
    let observed = verdict.findings.iter().take(TOLD).map(|finding| {
        let state =
            if finding.state == State::Held { String::new() } else { format!("{}: ", finding.state.word()) };
        format!("{state}{}", finding.because)
    });
    Some(Story {
        scenario: plan.name.clone(),
        claimed: claim.text.clone(),
        standing,
        so: plan.description.clone().unwrap_or_default(),
        observed: observed.collect(),
    })
}

/// The stories one after another.
#[must_use]
pub fn page(stories: &[Story]) -> String {
    let mut text = String::new();
    for story in stories {
        text.push_str(&format!("## {}\n\n**Claimed:** {}\n\n", story.scenario, story.claimed));
        text.push_str(&format!("**That is {}.** {}\n\nObserved:\n\n", story.standing, story.so));
        for line in &story.observed {
            text.push_str(&format!("- {line}\n"));
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}
