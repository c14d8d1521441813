//! What people say beside what real runs showed, as Markdown.

use std::collections::BTreeSet;

use crate::plan::{Plan, Standing};
use crate::verdict::{State, Verdict, words};

/// A claim, and the run that puts it to the test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    scenario: String,
    claimed: String,
    standing: String,
    so: String,
    /// What of the cluster was simulated.
    simulated: Vec<String>,
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
    let observed = verdict.findings.iter().map(|finding| {
        let state =
            if finding.state == State::Held { String::new() } else { format!("{}: ", finding.state.word()) };
        format!("{state}{}", finding.because)
    });
    Some(Story {
        scenario: plan.name.clone(),
        claimed: claim.text.clone(),
        standing,
        so: plan.description.clone().unwrap_or_default(),
        simulated: verdict.simulated.clone(),
        observed: observed.collect(),
    })
}

/// The command whose runs the page is made of, and the one that makes it.
const COMMANDS: &str = "\
# plimsoll run --on host --jobs 7 --keep-evidence --evidence /var/tmp/stories scenarios/stories \\
    scenarios/node-failure/zones-are-tainted-at-the-pace-of-their-state.yaml
# plimsoll myths /var/tmp/stories/* >docs/myths.md";

/// The whole page: what it is, where it was observed (`environments`, in words), and the stories one after another.
#[must_use]
pub fn page(stories: &[Story], environments: &BTreeSet<String>) -> String {
    let observed = match environments.len() {
        0 => "Below is what was observed.".to_owned(),
        _ => format!("Below is what was observed on {}.", words::list(environments)),
    };
    let mut text = format!(
        "# What people say of eviction, and what is so\n\n\
        Guides and troubleshooting pages tell each other these things. Each is a scenario in \
        [scenarios/stories](../scenarios/stories) that puts it to the test on a real\n\
        kubelet, scheduler and controller manager; its snapshot is kept beside it. This page is made from the runs:\n\n\
        ```console\n{COMMANDS}\n```\n\n\
        {observed} Times are seconds after the steps began.\n\n"
    );
    for story in stories {
        text.push_str(&format!("## {}\n\n**Claimed:** {}\n\n", story.scenario, story.claimed));
        let stamp = match story.simulated.as_slice() {
            [] => String::new(),
            simulated => format!(", SIMULATED {}", simulated.join(", ")),
        };
        text.push_str(&format!("**That is {}.** {}\n\nObserved{stamp}:\n\n", story.standing, story.so));
        for line in &story.observed {
            text.push_str(&format!("- {line}\n"));
        }
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}
