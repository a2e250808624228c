//! An expression on a wall clock: no zone, no gap, no overlap.

use crate::calendar::cron::days::{DAY_MAX, DAY_MIN, Days, SECONDS_PER_DAY};
use crate::calendar::cron::fields::Times;
use crate::calendar::cron::parse::Expression;
use crate::value::error::{CronError, CronField};

/// Seconds since 1970-01-01 00:00:00, as a clock on the wall shows them.
pub(crate) type Wall = i64;

#[derive(Debug, Clone)]
pub(crate) struct WallPattern {
    times: Times,
    days: Days,
    /// The second, minute or hour is written with a leading `*`: the pattern
    /// means a rate rather than times of day.
    pub(crate) wildcard: bool,
}

impl WallPattern {
    pub(crate) fn new(expression: &Expression) -> Result<Self, CronError> {
        let Expression {
            seconds,
            minutes,
            hours,
            ..
        } = expression;
        Ok(Self {
            times: Times {
                seconds: match seconds {
                    Some(seconds) => seconds.values(CronField::Second).collect(),
                    None => [0].into_iter().collect(),
                },
                minutes: minutes.values(CronField::Minute).collect(),
                hours: hours.values(CronField::Hour).collect(),
            },
            days: Days::new(expression)?,
            wildcard: minutes.starred
                || hours.starred
                || seconds.as_ref().is_some_and(|seconds| seconds.starred),
        })
    }

    /// The first match at or after a time.
    pub(crate) fn first_from(&self, wall: Wall) -> Option<Wall> {
        let wall = wall.max(DAY_MIN * SECONDS_PER_DAY);
        let today = wall.div_euclid(SECONDS_PER_DAY);
        if today > DAY_MAX {
            return None;
        }
        let day = self.days.first_from(today)?;
        if day > today {
            return self.first_of(day);
        }
        let now = u32::try_from(wall.rem_euclid(SECONDS_PER_DAY)).ok()?;
        match self.times.first_from(now) {
            Some(time) => Some(day * SECONDS_PER_DAY + i64::from(time)),
            None => self.first_of(self.days.first_from(today + 1)?),
        }
    }

    fn first_of(&self, day: i64) -> Option<Wall> {
        let time = self.times.first_from(0)?;
        Some(day * SECONDS_PER_DAY + i64::from(time))
    }
}
