//! Why one pod goes before another, in words: of a pod that went, and of one that would go.

use plimsoll_eviction::rank::RankBy;
use plimsoll_eviction::reason::Reason;

use crate::verdict::words;

/// An amount of what an order looks at, for people.
pub(crate) fn amount(by: RankBy, amount: i64) -> String {
    let counted = match by {
        RankBy::Memory | RankBy::Disk(_) => "bytes",
        RankBy::Inodes(_) => "inodes",
        RankBy::Processes => "pids",
    };
    words::amount(counted, amount)
}

/// Two amounts that decide: where rounding would make them look the same, to the last digit.
fn amounts(by: RankBy, one: i64, other: i64) -> (String, String) {
    let rounded = (amount(by, one), amount(by, other));
    if rounded.0 == rounded.1 && one != other { (one.to_string(), other.to_string()) } else { rounded }
}

/// What is told of the pod that another went ahead of: "it went ahead of idler, …".
pub(crate) fn went_ahead_of(by: RankBy, reason: Reason) -> String {
    match reason {
        Reason::MissingStats => "of which the kubelet had figures".to_owned(),
        Reason::OverRequest { within, .. } => {
            format!("which was within its request by {}", amount(by, within))
        }
        Reason::Priority { own, other } => format!("which has priority {other} to its {own}"),
        Reason::Processes { own, other } => format!("which had {other} processes to its {own}"),
        Reason::Inodes { own, other, less_bytes } => {
            format!("which had {other} inodes to its {own}{}", less(less_bytes))
        }
        Reason::Excess { own, other } => {
            let (own_words, other_words) = amounts(by, own, other);
            if other >= 0 {
                format!("which was over its request by {other_words} to its {own_words}")
            } else {
                format!("whose usage less request was {other_words} to its {own_words}")
            }
        }
    }
}

/// What is told of a pod that goes before the next: "over its request by 400Mi; the next, idler, by 61Mi".
pub(crate) fn goes_before(by: RankBy, reason: Reason, next: &str) -> String {
    match reason {
        Reason::MissingStats => format!("there are no statistics of it; there are of the next, {next}"),
        Reason::OverRequest { over, within } => {
            let (over, within) = (amount(by, over), amount(by, within));
            format!("over its request by {over}; the next, {next}, is within its own by {within}")
        }
        Reason::Priority { own, other } => format!("priority {own}; the next, {next}, has {other}"),
        Reason::Processes { own, other } => format!("{own} processes; the next, {next}, has {other}"),
        Reason::Inodes { own, other, less_bytes } => {
            format!("{own} inodes; the next, {next}, has {other}{}", less(less_bytes))
        }
        Reason::Excess { own, other } => {
            let (own_words, other_words) = amounts(by, own, other);
            if own > 0 && other >= 0 {
                format!("over its request by {own_words}; the next, {next}, by {other_words}")
            } else {
                format!("usage less request is {own_words}; of the next, {next}, {other_words}")
            }
        }
    }
}

fn less(bytes: bool) -> &'static str {
    if bytes { " (the kubelet takes ephemeral-storage requests, in bytes, off the inodes)" } else { "" }
}
