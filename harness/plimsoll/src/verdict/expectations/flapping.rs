//! `flapping`: a condition that comes and goes, how often and how fast.

use super::super::bounds::Bounds;
use super::super::case::Case;
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::history::evidence;
use super::super::words;
use crate::plan::{FlappingExpectation, Until};

pub(super) fn judge(context: &Context<'_>, expected: &FlappingExpectation, case: &mut Case) {
    let history = &context.history;
    case.doubts(history.run_doubts());
    case.doubts(history.blind(Source::Nodes, history.began(), history.ended()));
    let (node, condition) = (expected.node.as_str(), expected.condition.as_str());
    let changes = history.pressure_changes();
    let raises: Vec<_> = changes
        .iter()
        .filter(|change| change.raised && change.node == node && change.condition == condition)
        .collect();
    let number = i64::try_from(raises.len()).unwrap_or(i64::MAX);
    let text = format!("{condition} was raised on {node} {}", words::count(raises.len(), "time"));
    let shown = raises.iter().map(|raise| evidence(raise.observation));
    if expected.times.holds(number) {
        case.proven(text.as_str(), shown.chain(history.finished.map(evidence)));
    } else if expected.times.at_most.is_some_and(|most| number > most) {
        case.violated(format!("{text}; expected {}", words::band("pid", &expected.times)), shown);
    } else {
        let doubts = history.undone_doubts(context.plan, |until| matches!(until, Until::Condition { .. }));
        case.absent(format!("{text}; expected {}", words::band("pid", &expected.times)), shown, doubts);
    }
    let Some(period) = &expected.period else { return };
    if raises.len() < 2 {
        let doubts = history.undone_doubts(context.plan, |until| matches!(until, Until::Condition { .. }));
        let shown = raises.iter().map(|raise| evidence(raise.observation));
        case.absent(format!("{text}, so no period can be told"), shown, doubts);
    }
    for pair in raises.windows(2) {
        let [first, second] = pair else { continue };
        let shown = [evidence(first.observation), evidence(second.observation)];
        Bounds::between(history, first.moment, second.moment).judge(
            "from one raise to the next",
            period,
            shown,
            case,
        );
    }
}
