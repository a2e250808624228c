//! [`TimesOfDay`]: the times of day of an expression.

use crate::calendar::cron::bit_set::BitSet;

/// The values of the second, minute and hour fields. Each combination is a time of day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimesOfDay {
    pub(crate) seconds: BitSet<1>,
    pub(crate) minutes: BitSet<1>,
    pub(crate) hours: BitSet<1>,
}

impl TimesOfDay {
    /// The first time of day that is at least `second_of_day`. Both are seconds since
    /// midnight.
    pub(crate) fn first_from(&self, second_of_day: u32) -> Option<u32> {
        let (h, m, s) = (
            to_u16(second_of_day / 3600),
            to_u16(second_of_day / 60 % 60),
            to_u16(second_of_day % 60),
        );
        if self.hours.next_from(h)? == h {
            if self.minutes.next_from(m) == Some(m)
                && let Some(second) = self.seconds.next_from(s)
            {
                return Some(second_of(h, m, second));
            }
            if let Some(minute) = self.minutes.next_from(m + 1) {
                return Some(second_of(h, minute, self.seconds.next_from(0)?));
            }
        }
        let hour = self.hours.next_from(h + 1)?;
        Some(second_of(
            hour,
            self.minutes.next_from(0)?,
            self.seconds.next_from(0)?,
        ))
    }
}

fn second_of(hour: u16, minute: u16, second: u16) -> u32 {
    (u32::from(hour) * 60 + u32::from(minute)) * 60 + u32::from(second)
}

/// Saturates. The callers' values are all below 2^16.
fn to_u16(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
