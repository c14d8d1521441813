//! How much a filler should have taken by now: a pure function of elapsed time.
//!
//! Due amounts are computed from the time since pacing began and never by adding up steps, so that a
//! late wake-up is made good by the next one and the rate does not drift.

use std::num::NonZeroU64;
use std::time::Duration;

/// A course from one amount to another.
#[derive(Clone, Debug)]
pub struct Pace {
    target: u64,
    base: u64,
    rate: Option<NonZeroU64>,
    began: Option<Duration>,
}

const NANOSECONDS: u128 = 1_000_000_000;

impl Pace {
    /// The course from `filled` to `target`. What is below `start_at` is due at once, the rest at `rate`;
    /// a target below `filled` is due at once too.
    pub fn new(filled: u64, start_at: u64, target: u64, rate: Option<NonZeroU64>) -> Pace {
        Pace { target, base: filled.max(start_at).min(target), rate, began: None }
    }

    /// The amount at which this course ends.
    pub fn target(&self) -> u64 {
        self.target
    }

    /// What should be taken at `now`, when `filled` is. The rate counts from the first call at which the
    /// part that is due at once has been taken.
    pub fn due(&mut self, filled: u64, now: Duration) -> u64 {
        let Some(rate) = self.rate else { return self.target };
        if filled > self.target {
            return self.target;
        }
        if filled < self.base {
            return self.base;
        }
        let began = *self.began.get_or_insert(now);
        let earned = now.saturating_sub(began).as_nanos() * u128::from(rate.get()) / NANOSECONDS;
        u64::try_from(earned).unwrap_or(u64::MAX).saturating_add(self.base).min(self.target)
    }

    /// The moment at which `amount` is due; `None` when it is due already, or never.
    pub fn when(&self, amount: u64) -> Option<Duration> {
        let (rate, began) = (self.rate?, self.began?);
        if amount > self.target {
            return None;
        }
        let missing = u128::from(amount.checked_sub(self.base)?);
        let nanoseconds = (missing * NANOSECONDS).div_ceil(u128::from(rate.get()));
        began.checked_add(Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MI: u64 = 1 << 20;

    fn rate(units: u64) -> Option<NonZeroU64> {
        NonZeroU64::new(units)
    }

    #[test]
    fn the_first_part_is_due_at_once_and_the_rest_at_the_rate() {
        let mut pace = Pace::new(0, 200 * MI, 900 * MI, rate(15 * MI));
        assert_eq!(pace.due(0, Duration::ZERO), 200 * MI);
        assert_eq!(pace.due(100 * MI, Duration::from_secs(3)), 200 * MI);
        // The clock of the rate starts where the rush ends.
        assert_eq!(pace.due(200 * MI, Duration::from_secs(4)), 200 * MI);
        assert_eq!(pace.due(200 * MI, Duration::from_secs(6)), 230 * MI);
        assert_eq!(pace.when(230 * MI), Some(Duration::from_secs(6)));
        assert_eq!(pace.due(230 * MI, Duration::from_secs(400)), 900 * MI);
        assert_eq!(pace.when(901 * MI), None);
    }

    #[test]
    fn without_a_rate_all_is_due() {
        assert_eq!(Pace::new(5, 0, 77, None).due(5, Duration::ZERO), 77);
    }

    #[test]
    fn a_smaller_target_is_due_at_once() {
        assert_eq!(Pace::new(900, 0, 100, rate(1)).due(900, Duration::ZERO), 100);
    }

    proptest! {
        #[test]
        fn steps_do_not_matter(units in 1u64..1 << 40, steps in prop::collection::vec(1u64..50_000_000, 1..50)) {
            let mut stepped = Pace::new(0, 0, u64::MAX, rate(units));
            let mut straight = stepped.clone();
            let (mut now, mut filled) = (Duration::ZERO, 0);
            stepped.due(0, now);
            straight.due(0, now);
            for step in steps {
                now += Duration::from_nanos(step);
                let due = stepped.due(filled, now);
                prop_assert!(due >= filled);
                filled = due;
            }
            prop_assert_eq!(filled, straight.due(0, now));
        }

        #[test]
        fn what_is_due_at_when_is_the_amount(units in 1u64..1 << 40, amount in 1u64..1 << 50) {
            let mut pace = Pace::new(0, 0, u64::MAX, rate(units));
            pace.due(0, Duration::ZERO);
            if let Some(at) = pace.when(amount) {
                prop_assert!(pace.due(0, at) >= amount);
                prop_assert!(pace.due(0, at - Duration::from_nanos(1)) < amount);
            }
        }
    }
}
