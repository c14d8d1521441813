//! `conditions`: these pressure conditions were raised, and cleared, in this order, and no other was.

use std::collections::BTreeMap;

use plimsoll_eviction::signal::Signal;

use super::super::bounds::Bounds;
use super::super::case::Case;
use super::super::context::Context;
use super::super::coverage::Source;
use super::super::history::{ConditionChange, Seen, evidence};
use super::super::words;
use crate::plan::{ConditionExpectation, Lasting, Until};

/// A condition from its rise on.
#[derive(Clone, Copy)]
struct Raised<'a> {
    raise: ConditionChange<'a>,
    clear: Option<ConditionChange<'a>>,
}

impl<'a> Raised<'a> {
    fn key(&self) -> (&'a str, &'a str) {
        (self.raise.node, self.raise.condition)
    }
}

pub(super) fn judge(context: &Context<'_>, expected: &[ConditionExpectation], case: &mut Case) {
    let history = &context.history;
    case.doubts(history.run_doubts());
    case.doubts(history.blind(Source::Nodes, history.began(), history.ended()));
    for node in context.plan.nodes.iter().filter(|node| !history.nodes.contains_key(node.name.as_str())) {
        case.doubt(format!("node {} was never seen", node.name), []);
    }
    let raised = raised(&history.pressure_changes());
    let unexpected = counts(context, expected, &raised, case);
    if !unexpected {
        check_order(expected, &raised, case);
    }
    let mut nth: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for expectation in expected {
        let key = (expectation.node.as_str(), expectation.condition.as_str());
        let place = nth.entry(key).or_default();
        let this = raised.iter().filter(|raised| raised.key() == key).nth(*place);
        *place += 1;
        if let Some(this) = this {
            judge_one(context, expectation, this, case);
        }
    }
    if raised.is_empty() && expected.is_empty() {
        case.proven("no node had a pressure condition", history.finished.map(evidence));
    }
}

/// Every rise with the fall that followed it.
fn raised<'a>(changes: &[ConditionChange<'a>]) -> Vec<Raised<'a>> {
    let same = |one: &ConditionChange<'_>, other: &ConditionChange<'_>| {
        (one.node, one.condition) == (other.node, other.condition)
    };
    let rises = changes.iter().enumerate().filter(|(_, change)| change.raised);
    rises
        .map(|(index, raise)| Raised {
            raise: *raise,
            clear: changes[index..].iter().find(|change| same(change, raise) && !change.raised).copied(),
        })
        .collect()
}

/// Compares how often each condition was raised with how often it should have been; whether they differ.
fn counts(
    context: &Context<'_>,
    expected: &[ConditionExpectation],
    raised: &[Raised<'_>],
    case: &mut Case,
) -> bool {
    let mut balance: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for expectation in expected {
        balance.entry((&expectation.node, &expectation.condition)).or_default().0 += 1;
    }
    for raised in raised {
        balance.entry(raised.key()).or_default().1 += 1;
    }
    let mut differ = false;
    for ((node, condition), (wanted, seen)) in balance {
        if seen > wanted {
            let of_this = raised.iter().filter(|raised| raised.key() == (node, condition));
            let evidence = of_this.map(|raised| evidence(raised.raise.observation));
            let text = if wanted == 0 {
                format!("{condition} was raised on {node} and should not have been")
            } else {
                format!("{condition} was raised on {node} {seen} times and not {wanted}")
            };
            case.violated(text, evidence);
        } else if seen < wanted {
            let times = if wanted == 1 { String::new() } else { format!(" {wanted} times but {seen}") };
            let mut doubts = context.history.run_doubts();
            doubts.extend(context.history.blind(
                Source::Nodes,
                context.history.began(),
                context.history.ended(),
            ));
            doubts.extend(context.history.script_doubts(context.plan, |until| {
                matches!(until, Until::Condition { .. } | Until::Evictions(_))
            }));
            let (nearest, evidence) = context.nearest();
            let text = format!("{condition} was not raised on {node}{times}");
            case.absent(
                std::iter::once(text).chain(nearest).collect::<Vec<_>>().join("; "),
                evidence,
                doubts,
            );
        }
        differ |= seen != wanted;
    }
    differ
}

fn check_order(expected: &[ConditionExpectation], raised: &[Raised<'_>], case: &mut Case) {
    let wanted: Vec<(&str, &str)> =
        expected.iter().map(|expected| (expected.node.as_str(), expected.condition.as_str())).collect();
    let mut seen = raised.to_vec();
    // Those that one status showed at once may have been raised in any order.
    let place = |raised: &Raised<'_>| wanted.iter().position(|wanted| *wanted == raised.key());
    seen.sort_by_key(|raised| (raised.raise.observation.sequence, place(raised)));
    let told: Vec<String> =
        seen.iter().map(|raised| format!("{} on {}", raised.raise.condition, raised.raise.node)).collect();
    let evidence = || seen.iter().map(|raised| evidence(raised.raise.observation));
    if seen.iter().map(Raised::key).ne(wanted.iter().copied()) {
        case.violated(format!("raised in the order {}", told.join(", ")), evidence());
    } else if seen
        .windows(2)
        .any(|pair| pair[0].raise.observation.sequence == pair[1].raise.observation.sequence)
    {
        case.doubt(
            format!("the order of {} can not be told: one status showed several", told.join(", ")),
            evidence(),
        );
    }
}

fn judge_one(context: &Context<'_>, expected: &ConditionExpectation, this: &Raised<'_>, case: &mut Case) {
    let (node, condition) = (&expected.node, &expected.condition);
    let raise = this.raise.moment;
    let after = words::seconds(words::seconds_between(context.history.began(), raise.latest));
    case.proven(
        format!("{condition} was raised on {node} after {after}"),
        [evidence(this.raise.observation)],
    );
    if let Some(limit) = expected.raised_within {
        raised_within(context, expected, this, limit, case);
    }
    let Some(clear) = this.clear else {
        if expected.cleared {
            let mut doubts = context.history.run_doubts();
            doubts.extend(context.history.blind(Source::Nodes, raise.latest, context.history.ended()));
            doubts.extend(
                context.history.script_doubts(context.plan, |until| matches!(until, Until::Condition { .. })),
            );
            let last = context.history.nodes.get(node.as_str()).and_then(|versions| versions.last());
            let text = format!("{condition} was not cleared on {node} before the end");
            case.absent(text, last.map(Seen::evidence), doubts);
        }
        return;
    };
    let evidence = [evidence(this.raise.observation), evidence(clear.observation)];
    let bounds = Bounds::between(&context.history, raise, clear.moment);
    if let Some(within) = expected.cleared_within.as_ref().filter(|_| expected.cleared) {
        let what = format!("from {condition} raised to cleared");
        bounds.judge(&what, within, evidence.clone(), case);
    }
    case.proven(format!("it cleared {bounds} later"), evidence);
}

fn raised_within(
    context: &Context<'_>,
    expected: &ConditionExpectation,
    this: &Raised<'_>,
    limit: std::time::Duration,
    case: &mut Case,
) {
    let (node, raise) = (&expected.node, this.raise.moment);
    let began = context.history.began();
    let signals = Signal::ALL.into_iter().filter(|signal| signal.condition().name() == expected.condition);
    let crossings = signals.filter_map(|signal| {
        let lowest = context.thresholds(node, signal).first()?.value;
        context.history.spells(node, signal, lowest, began, raise.latest).last().copied()
    });
    let Some(crossing) = crossings.min_by_key(|spell| spell.first.at()) else {
        case.doubt(
            format!("no sample of {node} shows the crossing of a threshold before {}", expected.condition),
            [],
        );
        return;
    };
    let crossed = crossing.first.moment();
    case.doubts(context.history.unsampled(node, crossing.first.at(), raise.latest));
    let what = format!("from the crossing at {} to {}", words::bytes(crossing.available), expected.condition);
    let shown = [crossing.first.evidence(), evidence(this.raise.observation)];
    Bounds::between(&context.history, crossed, raise).judge(&what, &Lasting::at_most(limit), shown, case);
}
