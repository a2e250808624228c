//! [`CalendarInterval`]: a number of days or months on the calendar.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use time::{Date, Month, PrimitiveDateTime};

use crate::value::error::CalendarIntervalError;

/// A number of days, weeks, months or years on the calendar, such as "every 3 months".
///
/// Unlike a `Duration`, a calendar interval has no fixed length: a day in which clocks change
/// has 23 or 25 hours, and a month has 28 to 31 days.
///
/// The times of an interval are counted from a start, on local clocks:
///
/// - The first time is the start. The time `k` after it has the time of day of the start, and
///   its date is `k` intervals after the date of the start.
/// - If a month is too short for the day of the start, the date is the last day of this
///   month. The next months are not affected: after 31 January come 28 (or 29) February and
///   31 March.
/// - If clocks skip the time of day, it is the first instant after the gap. If clocks show it
///   twice, it is the first of the two. See [`Zone::at_local`](crate::Zone::at_local).
/// - If two times fall on the same instant, because a zone skipped a whole day, they are one
///   time.
///
/// A week is equal to 7 days, and a year to 12 months. [`Display`](fmt::Display) and
/// [`FromStr`] use the format of ISO 8601:
///
/// ```
/// use jobber::CalendarInterval;
///
/// assert_eq!(CalendarInterval::weeks(2)?, CalendarInterval::days(14)?);
/// assert_eq!(CalendarInterval::months(3)?.to_string(), "P3M");
/// assert_eq!("P1Y".parse(), CalendarInterval::months(12));
/// # Ok::<(), jobber::CalendarIntervalError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CalendarInterval(Length);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Length {
    Days(NonZeroU32),
    Months(NonZeroU32),
}

impl CalendarInterval {
    /// One day.
    pub const DAY: Self = Self(Length::Days(NonZeroU32::MIN));

    /// One week.
    pub const WEEK: Self = Self(Length::Days(NonZeroU32::MIN.saturating_add(6)));

    /// One month.
    pub const MONTH: Self = Self(Length::Months(NonZeroU32::MIN));

    /// One year.
    pub const YEAR: Self = Self(Length::Months(NonZeroU32::MIN.saturating_add(11)));

    /// Creates an interval of `n` days.
    ///
    /// # Errors
    ///
    /// Returns [`CalendarIntervalError::Zero`] if `n` is 0.
    pub fn days(n: u32) -> Result<Self, CalendarIntervalError> {
        times(n, 1).map(|n| Self(Length::Days(n)))
    }

    /// Creates an interval of `n` weeks.
    ///
    /// # Errors
    ///
    /// Returns [`CalendarIntervalError::Zero`] if `n` is 0, and
    /// [`CalendarIntervalError::TooLong`] if the interval has more than `u32::MAX` days.
    pub fn weeks(n: u32) -> Result<Self, CalendarIntervalError> {
        times(n, 7).map(|n| Self(Length::Days(n)))
    }

    /// Creates an interval of `n` months.
    ///
    /// # Errors
    ///
    /// Returns [`CalendarIntervalError::Zero`] if `n` is 0.
    pub fn months(n: u32) -> Result<Self, CalendarIntervalError> {
        times(n, 1).map(|n| Self(Length::Months(n)))
    }

    /// Creates an interval of `n` years.
    ///
    /// # Errors
    ///
    /// Returns [`CalendarIntervalError::Zero`] if `n` is 0, and
    /// [`CalendarIntervalError::TooLong`] if the interval has more than `u32::MAX` months.
    pub fn years(n: u32) -> Result<Self, CalendarIntervalError> {
        times(n, 12).map(|n| Self(Length::Months(n)))
    }

    /// The local time that is `k` intervals after a start. `None` if it is outside the
    /// calendar of `time`.
    pub(crate) fn nth(self, start: PrimitiveDateTime, k: i64) -> Option<PrimitiveDateTime> {
        let date = match self.0 {
            Length::Days(n) => {
                let days = k.checked_mul(n.get().into())?;
                let julian = days.checked_add(start.date().to_julian_day().into())?;
                Date::from_julian_day(julian.try_into().ok()?).ok()?
            }
            Length::Months(n) => {
                let months = k.checked_mul(n.get().into())?;
                let month = month_number(start.date()).checked_add(months)?;
                let year = i32::try_from(month.div_euclid(12)).ok()?;
                let month = Month::try_from(u8::try_from(month.rem_euclid(12) + 1).ok()?).ok()?;
                let day = start.day().min(month.length(year));
                Date::from_calendar_date(year, month, day).ok()?
            }
        };
        Some(start.replace_date(date))
    }

    /// The number of whole intervals from the day, or the month, of a start to that of a local
    /// time.
    ///
    /// All local times `nth(start, k)` with a smaller `k` are before `local`.
    pub(crate) fn intervals_between(
        self,
        start: PrimitiveDateTime,
        local: PrimitiveDateTime,
    ) -> i64 {
        let (from, to) = (start.date(), local.date());
        match self.0 {
            Length::Days(n) => {
                let days = i64::from(to.to_julian_day()) - i64::from(from.to_julian_day());
                days.div_euclid(n.get().into())
            }
            Length::Months(n) => {
                let months = month_number(to) - month_number(from);
                months.div_euclid(n.get().into())
            }
        }
    }
}

/// The product of two numbers, if it is valid as a number of days or months.
fn times(n: u32, factor: u32) -> Result<NonZeroU32, CalendarIntervalError> {
    let product = n.checked_mul(factor);
    NonZeroU32::new(product.ok_or(CalendarIntervalError::TooLong)?)
        .ok_or(CalendarIntervalError::Zero)
}

/// Counts months from January of the year 0.
fn month_number(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(u8::from(date.month())) - 1
}

impl fmt::Display for CalendarInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, unit) = match self.0 {
            Length::Days(n) => (n, 'D'),
            Length::Months(n) => (n, 'M'),
        };
        write!(f, "P{n}{unit}")
    }
}

impl FromStr for CalendarInterval {
    type Err = CalendarIntervalError;

    fn from_str(text: &str) -> Result<Self, CalendarIntervalError> {
        let invalid = || CalendarIntervalError::Invalid { text: text.into() };
        let rest = text.strip_prefix('P').ok_or_else(invalid)?;
        let unit = rest.chars().next_back().ok_or_else(invalid)?;
        let digits = rest.strip_suffix(unit).ok_or_else(invalid)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let n = digits.parse().map_err(|_| invalid())?;
        match unit {
            'D' => Self::days(n),
            'W' => Self::weeks(n),
            'M' => Self::months(n),
            'Y' => Self::years(n),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_nth_time_is_counted_from_the_start_and_keeps_its_time_of_day() {
        let (start, evening) = (datetime!(2027-01-31 9:00), datetime!(2028-02-29 18:30:00.5));
        for (interval, start, expected) in [
            (
                CalendarInterval::DAY,
                start,
                [
                    datetime!(2027-01-31 9:00),
                    datetime!(2027-02-01 9:00),
                    datetime!(2027-02-02 9:00),
                ],
            ),
            (
                CalendarInterval::WEEK,
                start,
                [
                    datetime!(2027-01-31 9:00),
                    datetime!(2027-02-07 9:00),
                    datetime!(2027-02-14 9:00),
                ],
            ),
            (
                CalendarInterval::MONTH,
                start,
                [
                    datetime!(2027-01-31 9:00),
                    datetime!(2027-02-28 9:00),
                    datetime!(2027-03-31 9:00),
                ],
            ),
            (
                CalendarInterval::YEAR,
                evening,
                [
                    datetime!(2028-02-29 18:30:00.5),
                    datetime!(2029-02-28 18:30:00.5),
                    datetime!(2030-02-28 18:30:00.5),
                ],
            ),
        ] {
            let found = [0, 1, 2].map(|k| interval.nth(start, k));
            assert_eq!(found, expected.map(Some), "{interval}");
        }
        // 29 February comes back, but not in 2100.
        let years = |k| CalendarInterval::YEAR.nth(evening, k).unwrap().date();
        assert_eq!(years(4), time::macros::date!(2032 - 02 - 29));
        assert_eq!(years(72), time::macros::date!(2100 - 02 - 28));
        // Across the end of a year, and the end of the calendar.
        let quarter = CalendarInterval::months(3).unwrap();
        let start = datetime!(2027-11-30 0:00);
        assert_eq!(quarter.nth(start, 1), Some(datetime!(2028-02-29 0:00)));
        assert_eq!(quarter.nth(start, 2), Some(datetime!(2028-05-30 0:00)));
        assert_eq!(quarter.nth(start, i64::MAX), None);
        assert_eq!(CalendarInterval::DAY.nth(start, i64::MAX), None);
        assert_eq!(CalendarInterval::DAY.nth(PrimitiveDateTime::MAX, 1), None);
        assert_eq!(CalendarInterval::MONTH.nth(PrimitiveDateTime::MAX, 1), None);
    }

    #[test]
    fn zero_and_an_interval_that_is_too_long_are_errors() {
        for zero in [
            CalendarInterval::days(0),
            CalendarInterval::weeks(0),
            CalendarInterval::months(0),
            CalendarInterval::years(0),
        ] {
            assert_eq!(zero, Err(CalendarIntervalError::Zero));
        }
        assert!(CalendarInterval::days(u32::MAX).is_ok());
        assert!(CalendarInterval::months(u32::MAX).is_ok());
        let too_long = Err(CalendarIntervalError::TooLong);
        assert!(CalendarInterval::weeks(u32::MAX / 7).is_ok());
        assert_eq!(CalendarInterval::weeks(u32::MAX / 7 + 1), too_long);
        assert!(CalendarInterval::years(u32::MAX / 12).is_ok());
        assert_eq!(CalendarInterval::years(u32::MAX / 12 + 1), too_long);
    }

    #[test]
    fn the_text_of_an_interval_parses_to_the_same_interval() {
        for n in [1, 6, 7, 11, 12, 400, u32::MAX] {
            for interval in [CalendarInterval::days(n), CalendarInterval::months(n)] {
                assert_eq!(interval.clone().unwrap().to_string().parse(), interval);
            }
        }
        assert_eq!("P2W".parse(), CalendarInterval::days(14));
        assert_eq!("P1Y".parse(), Ok(CalendarInterval::YEAR));
        assert_eq!("P7D".parse(), Ok(CalendarInterval::WEEK));
        let parse = |text: &str| text.parse::<CalendarInterval>();
        assert_eq!(parse("P0D"), Err(CalendarIntervalError::Zero));
        for text in [
            "",
            "P",
            "PD",
            "1D",
            "P1",
            "P+1D",
            "P-1D",
            "P1H",
            "P1D ",
            "P1M1D",
            "P1€",
            "P99999999999D",
        ] {
            let invalid = CalendarIntervalError::Invalid { text: text.into() };
            assert_eq!(parse(text), Err(invalid), "{text}");
        }
    }
}
