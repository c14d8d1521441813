//! How much something holds over time, in closed form: nothing is stepped through.

/// Virtual time in microseconds since the steps began.
pub type Micros = i64;

/// Microseconds of a second.
pub const SECOND: Micros = 1_000_000;

/// What has happened so long ago happened just now.
const JUST_NOW: Micros = 2000;

/// Where a filler is to get to, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Course {
    /// What it holds in the end, in bytes or counts.
    pub amount: i64,
    /// Units a second; absent for as fast as the machine can.
    pub rate: Option<i64>,
    /// What it takes at once, before the pace begins.
    pub start_at: i64,
}

/// An amount that rises in two legs, first as fast as the machine can, then at a pace, and then holds.
///
/// It never falls: what gives something back begins a new curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Curve {
    since: Micros,
    from: i64,
    rush: i64,
    paced_from: Micros,
    paced_from_level: i64,
    pace: i64,
    until: Micros,
    level: i64,
}

/// The time that an amount takes at a rate; the rounding never makes it shorter.
fn time(amount: i64, rate: i64) -> Micros {
    let micros = i128::from(amount.max(0)) * i128::from(SECOND);
    let rate = i128::from(rate.max(1));
    i64::try_from((micros + rate - 1) / rate).unwrap_or(i64::MAX / 4)
}

/// What a rate comes to in some time.
fn taken(rate: i64, time: Micros) -> i64 {
    match rate.checked_mul(time) {
        Some(product) => product / SECOND,
        None => i64::try_from(i128::from(rate) * i128::from(time) / i128::from(SECOND)).unwrap_or(i64::MAX),
    }
}

impl Curve {
    /// Always the same amount.
    #[must_use]
    pub const fn flat(level: i64) -> Self {
        Self {
            since: 0,
            from: level,
            rush: 0,
            paced_from: 0,
            paced_from_level: level,
            pace: 0,
            until: Micros::MIN,
            level,
        }
    }

    /// A filler that sets out at this moment with what it holds already, on a machine that fills so many units a second.
    #[must_use]
    pub fn set_out(since: Micros, holds: i64, course: Course, machine: i64) -> Self {
        if course.amount <= holds {
            return Self::flat(course.amount);
        }
        let head = match course.rate {
            None => course.amount,
            Some(_) => course.start_at.clamp(holds, course.amount),
        };
        let pace = course.rate.unwrap_or(machine).min(machine);
        let paced_from = since.saturating_add(time(head - holds, machine));
        Self {
            since,
            from: holds,
            rush: machine,
            paced_from,
            paced_from_level: head,
            pace,
            until: paced_from.saturating_add(time(course.amount - head, pace)),
            level: course.amount,
        }
    }

    /// What is held at a moment.
    #[must_use]
    pub fn at(&self, now: Micros) -> i64 {
        if now >= self.until {
            self.level
        } else if now >= self.paced_from {
            (self.paced_from_level + taken(self.pace, now - self.paced_from)).min(self.level)
        } else if now > self.since {
            (self.from + taken(self.rush, now - self.since)).min(self.paced_from_level)
        } else {
            self.from
        }
    }

    /// Whether it rises between two moments, or had just come to its end at the first.
    #[must_use]
    pub const fn grows_between(&self, from: Micros, to: Micros) -> bool {
        to >= self.since && from <= self.until.saturating_add(JUST_NOW)
    }

    /// From when on it holds its whole amount.
    #[must_use]
    pub const fn until(&self) -> Micros {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MI: i64 = 1 << 20;

    #[test]
    fn a_curve_rushes_then_keeps_its_pace_then_holds() {
        let course = Course { amount: 100 * MI, rate: Some(10 * MI), start_at: 40 * MI };
        let curve = Curve::set_out(5 * SECOND, 0, course, 400 * MI);
        let seconds = |seconds: f64| (seconds * 1e6) as Micros;
        for (at, level) in
            [(0.0, 0), (5.0, 0), (5.05, 20), (5.1, 40), (6.1, 50), (10.1, 90), (11.1, 100), (99.0, 100)]
        {
            assert_eq!(curve.at(seconds(at)), level * MI, "{at}");
        }
        assert_eq!(curve.until(), seconds(11.1));
    }

    #[test]
    fn what_is_less_than_before_is_given_back_at_once() {
        let curve = Curve::set_out(3, 50, Course { amount: 20, rate: Some(1), start_at: 0 }, 1000);
        assert_eq!((curve.at(3), curve.at(SECOND)), (20, 20));
    }

    #[test]
    fn a_pace_beyond_the_machine_is_the_machine_s() {
        let course = Course { amount: 1000, rate: Some(i64::MAX), start_at: 0 };
        assert_eq!(Curve::set_out(0, 0, course, 100).until(), 10 * SECOND);
        let whole =
            Curve::set_out(0, 0, Course { amount: i64::MAX, rate: Some(i64::MAX), start_at: 0 }, i64::MAX);
        assert!(whole.at(SECOND / 2) >= i64::MAX / 2 - 1 && whole.at(2 * SECOND) == i64::MAX);
    }
}
