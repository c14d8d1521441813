//! Which devices may be given to new pods.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_gpu_reader::report::{Event, Unwatched};

/// What an application, not the device, brings about, so that it says nothing of the device: errors in the graphics engine, faults of
/// memory access, resets of a channel, preemptive clean-ups, video processor and context switch time-outs. The device plugin
/// of NVIDIA ignores the same.
pub const DEFAULT_IGNORED_XIDS: [u64; 6] = [13, 31, 43, 45, 68, 109];

/// Which devices had an error that is theirs. It stays so until this program starts anew, because the driver says only what
/// breaks, never what was mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    ignored: BTreeSet<u64>,
    /// The first error of each device.
    broken: BTreeMap<String, u64>,
    /// An error that concerns every device.
    all: Option<u64>,
    /// Devices whose errors can not be heard, since the reader of the driver was started last.
    unwatched: BTreeSet<String>,
    /// Whether that is so of every device.
    all_unwatched: bool,
}

impl Health {
    /// Nothing has happened yet. The errors of these numbers never count.
    #[must_use]
    pub fn new(ignored: impl IntoIterator<Item = u64>) -> Self {
        Self { ignored: ignored.into_iter().collect(), ..Self::default() }
    }

    /// Takes an event into account, and says whether it changes anything.
    pub fn observe(&mut self, event: &Event) -> bool {
        if self.ignored.contains(&event.xid) {
            return false;
        }
        match &event.uuid {
            Some(uuid) if self.broken.contains_key(uuid) => false,
            Some(uuid) => self.broken.insert(uuid.clone(), event.xid).is_none(),
            None if self.all.is_some() => false,
            None => self.all.replace(event.xid).is_none(),
        }
    }

    /// Takes into account that a device's errors can not be heard.
    pub fn unwatched(&mut self, device: &Unwatched) {
        match &device.uuid {
            Some(uuid) => drop(self.unwatched.insert(uuid.clone())),
            None => self.all_unwatched = true,
        }
    }

    /// Forgets whose errors can not be heard, as a reader is started that will say it anew.
    pub fn listens_anew(&mut self) {
        self.unwatched.clear();
        self.all_unwatched = false;
    }

    /// Whether a device may be given away: it had no error, and would be heard if it had one.
    #[must_use]
    pub fn is_fit(&self, uuid: &str) -> bool {
        self.error(uuid).is_none() && !self.all_unwatched && !self.unwatched.contains(uuid)
    }

    /// The error for which a device is not to be given away; none if it may be.
    #[must_use]
    pub fn error(&self, uuid: &str) -> Option<u64> {
        self.all.or_else(|| self.broken.get(uuid).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(uuid: Option<&str>, xid: u64) -> Event {
        Event { uuid: uuid.map(str::to_owned), xid }
    }

    #[test]
    fn errors_of_the_device_stay_and_those_of_applications_do_not_count() {
        let mut health = Health::new(DEFAULT_IGNORED_XIDS);
        for xid in DEFAULT_IGNORED_XIDS {
            assert!(!health.observe(&event(Some("a"), xid)));
        }
        assert_eq!(health.error("a"), None);
        assert!(health.observe(&event(Some("a"), 79)));
        assert!(!health.observe(&event(Some("a"), 48)), "the first one stays");
        assert_eq!((health.error("a"), health.error("b")), (Some(79), None));
        assert!(health.observe(&event(None, 74)));
        assert_eq!(health.error("b"), Some(74));
    }

    #[test]
    fn who_would_not_be_heard_is_not_fit_until_listening_begins_anew() {
        let unwatched = |uuid: Option<&str>| Unwatched { uuid: uuid.map(str::to_owned), why: String::new() };
        let mut health = Health::default();
        health.unwatched(&unwatched(Some("a")));
        assert!(!health.is_fit("a") && health.is_fit("b"));
        health.listens_anew();
        assert!(health.is_fit("a"));
        health.unwatched(&unwatched(None));
        assert!(!health.is_fit("a") && !health.is_fit("b"));
        health.listens_anew();
        health.observe(&event(Some("a"), 79));
        health.listens_anew();
        assert!(!health.is_fit("a"), "an error stays");
    }

    #[test]
    fn what_is_ignored_is_a_setting() {
        let mut health = Health::new([79]);
        assert!(!health.observe(&event(Some("a"), 79)));
        assert!(health.observe(&event(Some("a"), 13)));
    }
}
