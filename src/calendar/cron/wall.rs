//! [`WallPattern`]: the wall-clock times of an expression, without a time zone.

use crate::calendar::cron::days::{DAY_MAX, DAY_MIN, Days, SECONDS_PER_DAY};
use crate::calendar::cron::syntax::ParsedExpression;
use crate::calendar::cron::times_of_day::TimesOfDay;
use crate::value::error::{CronError, CronField};

/// A wall-clock time: seconds since 1970-01-01 00:00:00 on a local clock, without an
/// offset.
pub(crate) type WallSeconds = i64;

/// The set of all wall-clock times that match an expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WallPattern {
    times: TimesOfDay,
    days: Days,
    /// Whether the expression is a rate instead of times of day: its second, minute or
    /// hour field begins with `*`.
    pub(crate) is_rate: bool,
    /// Whether the expression has a field for seconds.
    has_seconds: bool,
}

impl WallPattern {
    pub(crate) fn new(expression: &ParsedExpression) -> Result<Self, CronError> {
        let ParsedExpression {
            seconds,
            minutes,
            hours,
            ..
        } = expression;
        Ok(Self {
            times: TimesOfDay {
                seconds: match seconds {
                    Some(seconds) => seconds.values(CronField::Second).collect(),
                    None => [0].into_iter().collect(),
                },
                minutes: minutes.values(CronField::Minute).collect(),
                hours: hours.values(CronField::Hour).collect(),
            },
            days: Days::new(expression)?,
            is_rate: minutes.starred
                || hours.starred
                || seconds.as_ref().is_some_and(|seconds| seconds.starred),
            has_seconds: seconds.is_some(),
        })
    }

    /// The first match that is at or after `wall`.
    pub(crate) fn first_from(&self, wall: WallSeconds) -> Option<WallSeconds> {
        let wall = wall.max(DAY_MIN * SECONDS_PER_DAY);
        let today = wall.div_euclid(SECONDS_PER_DAY);
        if today > DAY_MAX {
            return None;
        }
        let day = self.days.first_from(today)?;
        if day > today {
            return self.first_on(day);
        }
        let now = u32::try_from(wall.rem_euclid(SECONDS_PER_DAY)).ok()?;
        match self.times.first_from(now) {
            Some(time) => Some(day * SECONDS_PER_DAY + i64::from(time)),
            None => self.first_on(self.days.first_from(today + 1)?),
        }
    }

    /// The end of the minute that contains `wall`, if the minute matches. The end of the
    /// second, if the expression has a field for seconds.
    pub(crate) fn end_of_match(&self, wall: WallSeconds) -> Option<WallSeconds> {
        let length = if self.has_seconds { 1 } else { 60 };
        let start = wall - wall.rem_euclid(length);
        (self.first_from(start)? == start).then_some(start + length)
    }

    /// The first time of day of the pattern, on `day`.
    fn first_on(&self, day: i64) -> Option<WallSeconds> {
        let time = self.times.first_from(0)?;
        Some(day * SECONDS_PER_DAY + i64::from(time))
    }
}
