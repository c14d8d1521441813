//! When a pod is deleted from a node with NoExecute taints.
//!
//! Follows `pkg/controller/tainteviction` of Kubernetes 1.36.3.

use jiff::{SignedDuration, Timestamp};

use crate::pod::{Pod, Toleration};

/// A taint of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taint {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The effect: `NoExecute`, `NoSchedule` or `PreferNoSchedule`.
    pub effect: String,
}

/// How long a pod may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stay {
    /// So long, not at all if a taint is not tolerated.
    For(SignedDuration),
    /// As long as it likes.
    Forever,
}

/// How long a pod may stay on a node with these taints. Only NoExecute ones count; of each taint the first toleration
/// that covers it, and of those the shortest. Upstream: `GetMatchingTolerations`, `getMinTolerationTime`.
///
/// Upstream counts in nanoseconds of 64 bits, which wrap around beyond 292 years; what is negative then stands for ever.
#[must_use]
pub fn stay(pod: &Pod, taints: &[Taint]) -> Stay {
    let mut shortest: Option<i64> = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let covers = |own: &&Toleration| own.tolerates(&taint.key, &taint.value, &taint.effect);
        let Some(toleration) = pod.tolerations.iter().find(covers) else {
            return Stay::For(SignedDuration::ZERO);
        };
        if let Some(seconds) = toleration.toleration_seconds {
            let seconds = seconds.max(0);
            shortest = Some(shortest.map_or(seconds, |shortest| shortest.min(seconds)));
        }
    }
    match shortest {
        None | Some(i64::MAX) => Stay::Forever,
        Some(seconds) => match seconds.wrapping_mul(1_000_000_000) {
            ..0 => Stay::Forever,
            nanoseconds => Stay::For(SignedDuration::from_nanos(nanoseconds)),
        },
    }
}

/// A deletion that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledDeletion {
    /// When it was first scheduled.
    pub since: Timestamp,
    /// When it is due.
    pub at: Timestamp,
}

/// The deletion that is scheduled after a look at the pod and its node, given the one that was before.
///
/// A deletion keeps its time while the pod's tolerations end at all, even if they now end sooner or later than they did; it is off if they
/// do not end, and due at once if a taint is not tolerated. Upstream: `processPodOnNode`.
#[must_use]
pub fn schedule(
    pod: &Pod,
    taints: &[Taint],
    before: Option<ScheduledDeletion>,
    now: Timestamp,
) -> Option<ScheduledDeletion> {
    let after = |start: Timestamp, time: SignedDuration| start.saturating_add(time).unwrap_or(Timestamp::MAX);
    let tainted = taints.iter().any(|taint| taint.effect == "NoExecute");
    match stay(pod, taints) {
        Stay::Forever => None,
        Stay::For(_) if tainted && !tolerates_all(pod, taints) => {
            Some(ScheduledDeletion { since: now, at: now })
        }
        Stay::For(time) => {
            let due = after(now, time);
            match before {
                None => Some(ScheduledDeletion { since: now, at: due }),
                Some(before) if after(before.since, time) < due => Some(before),
                Some(before) => Some(ScheduledDeletion { since: before.since, at: due }),
            }
        }
    }
}

fn tolerates_all(pod: &Pod, taints: &[Taint]) -> bool {
    let mut own = taints.iter().filter(|taint| taint.effect == "NoExecute");
    own.all(|taint| pod.tolerates(&taint.key, &taint.value, &taint.effect))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(key: &str, effect: &str) -> Taint {
        Taint { key: key.to_owned(), effect: effect.to_owned(), ..Taint::default() }
    }

    fn pod(tolerations: &[(&str, Option<i64>)]) -> Pod {
        let toleration = |&(key, toleration_seconds): &(&str, Option<i64>)| Toleration {
            key: key.to_owned(),
            operator: "Exists".to_owned(),
            toleration_seconds,
            ..Toleration::default()
        };
        Pod { tolerations: tolerations.iter().map(toleration).collect(), ..Pod::default() }
    }

    fn seconds(seconds: i64) -> Stay {
        Stay::For(SignedDuration::from_secs(seconds))
    }

    #[test]
    fn the_shortest_toleration_counts() {
        let taints = [taint("a", "NoExecute"), taint("b", "NoExecute"), taint("c", "NoSchedule")];
        assert_eq!(stay(&pod(&[]), &taints[2..]), Stay::Forever);
        assert_eq!(stay(&pod(&[("a", None)]), &taints), seconds(0));
        assert_eq!(stay(&pod(&[("a", None), ("b", None)]), &taints), Stay::Forever);
        assert_eq!(stay(&pod(&[("a", Some(300)), ("b", Some(5))]), &taints), seconds(5));
        assert_eq!(stay(&pod(&[("a", Some(300)), ("a", Some(5)), ("b", None)]), &taints), seconds(300));
        assert_eq!(stay(&pod(&[("", Some(-1))]), &taints), seconds(0));
    }

    #[test]
    fn centuries_wrap_around() {
        let taints = [taint("a", "NoExecute")];
        let stay = |seconds| stay(&pod(&[("a", Some(seconds))]), &taints);
        assert_eq!(stay(9_223_372_036), seconds(9_223_372_036));
        assert_eq!(stay(9_223_372_037), Stay::Forever);
        assert_eq!(stay(18_446_744_074), Stay::For(SignedDuration::from_nanos(290_448_384)));
        assert_eq!(stay(1 << 55), seconds(0));
        assert_eq!(stay(i64::MAX), Stay::Forever);
    }

    #[test]
    fn a_deletion_keeps_its_time() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let taints = [taint("a", "NoExecute")];
        let patient = pod(&[("a", Some(300))]);
        let first = schedule(&patient, &taints, None, at(100));
        assert_eq!(first, Some(ScheduledDeletion { since: at(100), at: at(400) }));
        assert_eq!(schedule(&patient, &taints, first, at(200)), first);
        assert_eq!(schedule(&patient, &[], first, at(200)), None);
        let intolerant = schedule(&pod(&[]), &taints, first, at(200));
        assert_eq!(intolerant, Some(ScheduledDeletion { since: at(200), at: at(200) }));
    }
}
