//! Sets of field values, and the times of day that three of them span.

use crate::value::error::CronField;

/// A set of small numbers, searched a word at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bits<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Bits<WORDS> {
    pub(crate) const EMPTY: Self = Self([0; WORDS]);

    /// A value beyond the words is left out: no field has one.
    pub(crate) fn insert(&mut self, value: u16) {
        if let Some(word) = self.0.get_mut(usize::from(value / 64)) {
            *word |= 1 << (value % 64);
        }
    }

    /// The least member that is `from` or more.
    pub(crate) fn next_from(&self, from: u16) -> Option<u16> {
        let start = usize::from(from / 64);
        let mut mask = u64::MAX << (from % 64);
        for (index, word) in self.0.iter().enumerate().skip(start) {
            let rest = word & mask;
            if rest != 0 {
                return u16::try_from(index * 64 + rest.trailing_zeros() as usize).ok();
            }
            mask = u64::MAX;
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        std::iter::successors(self.next_from(0), |&last| self.next_from(last + 1))
    }
}

impl<const WORDS: usize> FromIterator<u16> for Bits<WORDS> {
    fn from_iter<I: IntoIterator<Item = u16>>(values: I) -> Self {
        let mut bits = Self::EMPTY;
        values.into_iter().for_each(|value| bits.insert(value));
        bits
    }
}

/// The least and the greatest number that may be written in a field.
pub(crate) fn bounds(field: CronField) -> (u16, u16) {
    match field {
        CronField::Second | CronField::Minute => (0, 59),
        CronField::Hour => (0, 23),
        CronField::DayOfMonth => (1, 31),
        CronField::Month => (1, 12),
        CronField::DayOfWeek => (0, 7),
        CronField::Year => (YEAR_MIN, YEAR_MAX),
    }
}

pub(crate) const YEAR_MIN: u16 = 1970;
pub(crate) const YEAR_MAX: u16 = 2099;

/// How many values a field has; 0 and 7 are one day of the week.
pub(crate) fn cycle(field: CronField) -> u16 {
    let (min, max) = bounds(field);
    if field == CronField::DayOfWeek {
        7
    } else {
        max - min + 1
    }
}

/// The times of day of an expression.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    pub(crate) seconds: Bits<1>,
    pub(crate) minutes: Bits<1>,
    pub(crate) hours: Bits<1>,
}

impl Times {
    /// The first time of day at or after one, both in seconds since midnight.
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
                return Some(time(h, m, second));
            }
            if let Some(minute) = self.minutes.next_from(m + 1) {
                return Some(time(h, minute, self.seconds.next_from(0)?));
            }
        }
        let hour = self.hours.next_from(h + 1)?;
        Some(time(
            hour,
            self.minutes.next_from(0)?,
            self.seconds.next_from(0)?,
        ))
    }
}

fn time(hour: u16, minute: u16, second: u16) -> u32 {
    (u32::from(hour) * 60 + u32::from(minute)) * 60 + u32::from(second)
}

/// Saturates; every caller's value is below 2^16.
fn to_u16(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
