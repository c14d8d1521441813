//! Lengths of time between two things that were observed.

use jiff::{SignedDuration, Timestamp};

use super::case::Case;
use super::history::History;
use super::model::{Evidence, Moment};
use super::words;
use crate::plan::Lasting;

/// How long a watch that was resumed may take to list everything anew.
const RELIST: SignedDuration = SignedDuration::from_secs(2);

/// A length of time in seconds that is known to lie between two, both included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Bounds {
    /// The time from one moment to another, never negative.
    ///
    /// What a watch tells as it happens is told within milliseconds, so that the time between two tellings is exact
    /// as far as the whole seconds of Kubernetes allow it. What was told after a gap is known by those alone.
    pub(super) fn between(history: &History<'_>, from: Moment, to: Moment) -> Self {
        let least = words::seconds_between(from.latest, to.earliest).max(0.0);
        let most = words::seconds_between(from.earliest, to.latest).max(0.0);
        match (told_live(history, from), told_live(history, to)) {
            (Some(from), Some(to)) if least <= most => {
                let told = words::seconds_between(from, to).clamp(least, most);
                Self { least: told, most: told }
            }
            _ => Self { least, most },
        }
    }

    /// Whether it is as long as it should be: shown, shown not to be, or not to be told.
    pub(super) fn judge(
        self,
        what: &str,
        expected: &Lasting,
        evidence: impl IntoIterator<Item = Evidence>,
        case: &mut Case,
    ) {
        let text = format!("{what}: {self}, expected {expected}");
        let least = expected.at_least.map_or(0.0, |least| least.as_secs_f64());
        let most = expected.at_most.map_or(f64::INFINITY, |most| most.as_secs_f64());
        if self.least >= least && self.most <= most {
            case.proven(text, evidence);
        } else if self.most < least || self.least > most {
            case.violated(text, evidence);
        } else {
            case.doubt(format!("{text}, which the times at hand can not tell"), evidence);
        }
    }
}

/// When something was told, if no watch was blind around then.
fn told_live(history: &History<'_>, moment: Moment) -> Option<Timestamp> {
    let index = usize::try_from(moment.sequence).ok()?;
    let told = history.observations.get(index)?.at;
    let around = |from: Timestamp, until: Option<Timestamp>| {
        let until = until.and_then(|until| until.checked_add(RELIST).ok()).unwrap_or(Timestamp::MAX);
        (from..=until).contains(&told)
    };
    // What asks single nodes tells nothing of when a watch told something.
    let asks = |source: &str| {
        ["summary of ", "metrics of ", "filler of ", "node "].iter().any(|asks| source.starts_with(asks))
    };
    (!history.gaps.iter().any(|gap| !asks(&gap.source) && around(gap.from, gap.until))).then_some(told)
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.most - self.least < 0.05 {
            formatter.write_str(&words::seconds(self.most))
        } else {
            write!(formatter, "{} to {}", words::seconds(self.least), words::seconds(self.most))
        }
    }
}
