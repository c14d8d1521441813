//! Whether it is time to evict.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use plimsoll_eviction::manager::POD_CLEANUP_TIMEOUT;

use super::node_pod::NodePod;
use super::watch::Victim;

/// How long to wait before a refused eviction is tried again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Evictions that were refused, and when to try again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    by_uid: BTreeMap<String, Attempt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    next: Timestamp,
    wait: Duration,
}

/// What to do about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: nobody is to go, or nobody may.
    Nothing,
    /// A pod that holds memory of the device is ending already.
    AwaitEnd {
        /// Its namespace and name.
        pod: String,
        /// When it is waited for no longer.
        until: Timestamp,
    },
    /// The pod's eviction was refused a while ago.
    AwaitRetry {
        /// When to try again.
        until: Timestamp,
    },
    /// To evict.
    Evict(Victim),
}

impl Attempts {
    /// Takes down that a pod's eviction was refused, and says how long to wait: longer each time, and at least as long as the
    /// API server says.
    pub fn refused(&mut self, uid: &str, now: Timestamp, at_least: Option<Duration>) -> Duration {
        let wait = self.by_uid.get(uid).map_or(BACKOFF.0, |attempt| (attempt.wait * 2).min(BACKOFF.1));
        let pause = wait.max(at_least.unwrap_or_default()).min(BACKOFF.1);
        self.by_uid.insert(uid.to_owned(), Attempt { next: later(now, pause), wait });
        pause
    }

    /// Forgets all but these pods.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.by_uid.retain(|uid, _| is_there(uid));
    }

    fn next(&self, uid: &str) -> Option<Timestamp> {
        self.by_uid.get(uid).map(|attempt| attempt.next)
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// What to do about a device, given whom the rules name and which pods hold memory on it.
///
/// As the kubelet waits for a pod's cleanup before it looks again, nobody goes while a pod is ending that holds memory here:
/// the evictor's own victims until they are overdue, others' as long as the kubelet would wait for one. What tells is the pod's own state, so
/// it holds after a restart in the middle, too.
#[must_use]
pub fn decide<'a>(
    now: Timestamp,
    victim: Option<&Victim>,
    pods: impl IntoIterator<Item = &'a NodePod>,
    attempts: &Attempts,
) -> Decision {
    let Some(victim) = victim else { return Decision::Nothing };
    for pod in pods {
        let Some((deadline, grace)) = pod.deletion else { continue };
        let from = if pod.evicting.is_some() {
            deadline
        } else {
            deadline.checked_sub(SignedDuration::from_secs(grace.max(0))).unwrap_or(deadline)
        };
        let until = later(from, POD_CLEANUP_TIMEOUT);
        if !pod.ended && now < until {
            return Decision::AwaitEnd { pod: pod.pod.full_name(), until };
        }
    }
    match attempts.next(&victim.uid) {
        Some(until) if now < until => Decision::AwaitRetry { until },
        _ => Decision::Evict(victim.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_eviction::pod::Pod;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("a time")
    }

    fn victim() -> Victim {
        Victim {
            uid: "v".to_owned(),
            namespace: "n".to_owned(),
            name: "v".to_owned(),
            grace_period_seconds: 1,
            message: String::new(),
            annotations: BTreeMap::new(),
        }
    }

    fn ending(deadline: i64, grace: i64, own: bool) -> NodePod {
        NodePod {
            pod: Pod { namespace: "n".to_owned(), name: "e".to_owned(), ..Pod::default() },
            containers: BTreeMap::new(),
            deletion: Some((at(deadline), grace)),
            evicting: own.then(String::new),
            ended: false,
            config_hash: None,
        }
    }

    #[test]
    fn nobody_goes_while_a_pod_is_ending() {
        let decide = |now: i64, pod: &NodePod| decide(at(now), Some(&victim()), [pod], &Attempts::default());
        let own = ending(60, 60, true);
        assert_eq!(decide(89, &own), Decision::AwaitEnd { pod: "n/e".to_owned(), until: at(90) });
        assert_eq!(decide(90, &own), Decision::Evict(victim()), "it is overdue");
        // Somebody else deleted it and gave it an hour: that is not waited out.
        let other = ending(3600, 3600, false);
        assert_eq!(decide(29, &other), Decision::AwaitEnd { pod: "n/e".to_owned(), until: at(30) });
        assert_eq!(decide(30, &other), Decision::Evict(victim()));
        assert_eq!(decide(0, &NodePod { ended: true, ..own }), Decision::Evict(victim()));
    }

    #[test]
    fn nothing_is_done_about_nobody() {
        assert_eq!(decide(at(0), None, [&ending(60, 60, true)], &Attempts::default()), Decision::Nothing);
    }

    #[test]
    fn refused_evictions_are_tried_again_ever_later() {
        let mut attempts = Attempts::default();
        let decide = |now: i64, attempts: &Attempts| decide(at(now), Some(&victim()), [], attempts);
        assert_eq!(attempts.refused("v", at(0), None), Duration::from_secs(5));
        assert_eq!(decide(4, &attempts), Decision::AwaitRetry { until: at(5) });
        assert_eq!(decide(5, &attempts), Decision::Evict(victim()));
        assert_eq!(attempts.refused("v", at(5), None), Duration::from_secs(10));
        assert_eq!(attempts.refused("v", at(15), Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert_eq!(attempts.refused("v", at(75), None), Duration::from_secs(40), "its own wait was 20 s");
        for _ in 0..10 {
            attempts.refused("v", at(100), Some(Duration::from_secs(86400)));
        }
        assert_eq!(decide(399, &attempts), Decision::AwaitRetry { until: at(400) });
        attempts.keep(|uid| uid != "v");
        assert_eq!(decide(100, &attempts), Decision::Evict(victim()));
    }
}
