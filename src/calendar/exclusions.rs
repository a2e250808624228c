//! [`Exclusions`]: the times that a calendar leaves out.

use std::collections::BTreeSet;

use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime, Time, Weekday};

use crate::calendar::cron::expression::Cron;
use crate::calendar::cron::into_cron::IntoCron;
use crate::calendar::zone::time_zone::Zone;
use crate::value::error::ExclusionError;
use crate::value::time_units::WallNanos;

/// Days and times that are left out, such as holidays, weekends and nights.
///
/// An instant is excluded if at least one of the rules matches what local clocks show at this
/// instant. The zone of these clocks is given when the exclusions are read.
///
/// | rule | excludes |
/// |---|---|
/// | [`date`](Self::date), [`dates`](Self::dates) | a whole day; all days of a range |
/// | [`weekday`](Self::weekday) | a whole day in each week |
/// | [`times_of_day`](Self::times_of_day) | on each day, the times from the first until the second, which is not excluded |
/// | [`cron`](Self::cron) | the minutes that match the expression, or, if it has seven fields, the seconds |
///
/// # When clocks change
///
/// Only what the clocks show is compared. If they show a time twice, both are excluded. If
/// they skip an excluded time, the first instant after the gap is excluded only if the time
/// that it shows is. An expression excludes the times that match, and no others: the rule by
/// which a time of day in a gap is due after it does not apply.
///
/// # Text
///
/// [`Display`](std::fmt::Display) and [`FromStr`](std::str::FromStr) use one form. Exclusions
/// are equal if they have the same rules.
///
/// ```
/// use jobber::{Exclusions, Zone};
/// use time::Weekday;
/// use time::macros::{date, datetime, time};
///
/// let closed = Exclusions::new()
///     .date(date!(2026-12-25))
///     .weekday(Weekday::Sunday)
///     .times_of_day(time!(22:00), time!(6:00))?;
/// assert!(closed.excludes(datetime!(2026-12-25 12:00 UTC), &Zone::UTC));
/// assert!(closed.excludes(datetime!(2026-12-29 5:59 UTC), &Zone::UTC));
/// assert!(!closed.excludes(datetime!(2026-12-29 6:00 UTC), &Zone::UTC));
/// assert_eq!(closed.to_string(), "2026-12-25; SUN; 22:00:00/06:00:00");
/// assert_eq!(closed.to_string().parse(), Ok(closed));
/// # Ok::<(), jobber::ExclusionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "exclusions do nothing until they are used"]
pub struct Exclusions {
    /// The first and the last date of each range.
    pub(super) dates: BTreeSet<(Date, Date)>,
    /// A bit for each day of the week, from Monday on.
    pub(super) weekdays: u8,
    /// The beginnings and the ends of times of day. They differ.
    pub(super) times: BTreeSet<(Time, Time)>,
    pub(super) crons: Vec<Cron>,
}

impl Exclusions {
    /// Excludes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Excludes a day.
    pub fn date(mut self, date: Date) -> Self {
        self.dates.insert((date, date));
        self
    }

    /// Excludes all days from the first date to the last, both included.
    ///
    /// # Errors
    ///
    /// Returns [`ExclusionError::DatesReversed`] if the last date is before the first.
    pub fn dates(mut self, first: Date, last: Date) -> Result<Self, ExclusionError> {
        if last < first {
            return Err(ExclusionError::DatesReversed { first, last });
        }
        self.dates.insert((first, last));
        Ok(self)
    }

    /// Excludes a day of the week.
    pub fn weekday(mut self, weekday: Weekday) -> Self {
        self.weekdays |= bit(weekday);
        self
    }

    /// Excludes the times of day from `from` until `until`, which is not excluded.
    ///
    /// If `until` is before `from`, it is a time of the next day: from 22:00 until 6:00 is a
    /// night, and from 22:00 until 0:00 is the rest of the day.
    ///
    /// # Errors
    ///
    /// Returns [`ExclusionError::EmptyTimes`] if the two times are equal.
    pub fn times_of_day(mut self, from: Time, until: Time) -> Result<Self, ExclusionError> {
        if from == until {
            return Err(ExclusionError::EmptyTimes { time: from });
        }
        self.times.insert((from, until));
        Ok(self)
    }

    /// Excludes the times that match a cron expression: whole minutes or, if the expression
    /// has seven fields, whole seconds.
    ///
    /// `* 12 * * MON-FRI` excludes the hour from 12:00 until 13:00. `0 12 * * *` excludes one
    /// minute.
    ///
    /// # Errors
    ///
    /// Returns [`ExclusionError::Cron`] if the expression is invalid.
    pub fn cron(mut self, cron: impl IntoCron) -> Result<Self, ExclusionError> {
        let cron = cron.into_cron()?;
        // The text form of the exclusions has no place for blanks around an expression.
        let cron = Cron::parse(cron.as_str().trim_ascii())?;
        if !self.crons.contains(&cron) {
            self.crons.push(cron);
        }
        Ok(self)
    }

    /// Returns whether nothing is excluded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether an instant is excluded, by what local clocks in a zone show at it.
    #[must_use]
    pub fn excludes(&self, instant: OffsetDateTime, zone: &Zone) -> bool {
        let local = zone.to_local(instant);
        local.is_some_and(|local| self.remaining(local).is_some())
    }

    /// The last instant up to which all instants from `time` on are excluded. `None` if `time`
    /// is not excluded.
    ///
    /// The instant after it may be excluded too: by another rule, or after a clock change.
    pub(crate) fn excluded_through(&self, time: WallNanos, zone: &Zone) -> Option<WallNanos> {
        const NANOS_PER_SECOND: i128 = 1_000_000_000;
        let local = zone.time_at(time);
        let local = PrimitiveDateTime::new(local.date(), local.time());
        let remaining = self.remaining(local)?;
        let mut end = i128::from(time) + remaining.whole_nanoseconds();
        // After a clock change, the local clock does not go on as it is counted here.
        if let Some(change) = zone.period_at(time.div_euclid(1_000_000_000)).end {
            end = end.min(i128::from(change) * NANOS_PER_SECOND);
        }
        Some(i64::try_from(end - 1).unwrap_or(i64::MAX))
    }

    /// How long the exclusion of a local time lasts at least, if no clock changes. `None` if
    /// the time is not excluded.
    fn remaining(&self, local: PrimitiveDateTime) -> Option<Duration> {
        let (date, time) = (local.date(), local.time());
        let until_midnight = Duration::DAY - (time - Time::MIDNIGHT);
        let by_date = self.dates.iter();
        let by_date = by_date
            .filter(|(first, last)| (*first..=*last).contains(&date))
            .map(|(_, last)| *last - date + until_midnight);
        let is_by_weekday = self.weekdays & bit(date.weekday()) != 0;
        let by_weekday = is_by_weekday.then_some(until_midnight);
        let by_time = self.times.iter();
        let by_time = by_time.filter_map(|&(from, until)| {
            let crosses_midnight = until < from;
            if time < until && (crosses_midnight || from <= time) {
                Some(until - time)
            } else if crosses_midnight && from <= time {
                Some(until_midnight + (until - Time::MIDNIGHT))
            } else {
                None
            }
        });
        let shown = local.assume_utc().unix_timestamp();
        let by_cron = self.crons.iter().filter_map(|cron| {
            let end = cron.end_of_match(shown)?;
            let fraction = Duration::nanoseconds(local.nanosecond().into());
            Some(Duration::seconds(end - shown) - fraction)
        });
        by_date
            .chain(by_weekday)
            .chain(by_time)
            .chain(by_cron)
            .max()
    }
}

/// The bit of a day in [`Exclusions::weekdays`].
pub(super) fn bit(weekday: Weekday) -> u8 {
    1 << weekday.number_days_from_monday()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::time_units::{from_wall, to_wall};
    use time::UtcOffset;
    use time::macros::{date, datetime, offset, time};

    fn excluded(exclusions: &Exclusions, zone: &Zone, times: &[(OffsetDateTime, bool)]) {
        for &(time, expected) in times {
            assert_eq!(
                exclusions.excludes(time, zone),
                expected,
                "{time} in {zone} by {exclusions}"
            );
            let through = exclusions.excluded_through(to_wall(time).unwrap(), zone);
            assert_eq!(through.is_some(), expected, "{time}");
        }
    }

    #[test]
    fn dates_are_whole_days() {
        let exclusions = Exclusions::new().date(date!(2026 - 12 - 25));
        let exclusions = exclusions
            .dates(date!(2027 - 01 - 01), date!(2027 - 01 - 03))
            .unwrap();
        excluded(
            &exclusions,
            &Zone::UTC,
            &[
                (datetime!(2026-12-24 23:59:59.999_999_999 UTC), false),
                (datetime!(2026-12-25 0:00 UTC), true),
                (datetime!(2026-12-25 23:59:59.999_999_999 UTC), true),
                (datetime!(2026-12-26 0:00 UTC), false),
                (datetime!(2026-12-31 23:59 UTC), false),
                (datetime!(2027-01-01 0:00 UTC), true),
                (datetime!(2027-01-02 12:00 UTC), true),
                (datetime!(2027-01-03 23:59 UTC), true),
                (datetime!(2027-01-04 0:00 UTC), false),
                (datetime!(2025-12-25 12:00 UTC), false),
            ],
        );
    }

    #[test]
    fn days_of_the_week_come_back_each_week() {
        let weekend = Exclusions::new()
            .weekday(Weekday::Saturday)
            .weekday(Weekday::Sunday);
        excluded(
            &weekend,
            &Zone::UTC,
            &[
                (datetime!(2026-12-04 23:59 UTC), false),
                (datetime!(2026-12-05 0:00 UTC), true),
                (datetime!(2026-12-06 23:59 UTC), true),
                (datetime!(2026-12-07 0:00 UTC), false),
                (datetime!(1969-12-27 12:00 UTC), true),
            ],
        );
    }

    #[test]
    fn times_of_day_end_before_their_second_time_and_may_cross_midnight() {
        let times = |from, until| Exclusions::new().times_of_day(from, until).unwrap();
        let noon = times(time!(12:00), time!(13:00));
        let night = times(time!(22:00), time!(6:00));
        let evening = times(time!(22:00), time!(0:00));
        let morning = times(time!(0:00), time!(6:00));
        for (time, by_noon, by_night, by_evening, by_morning) in [
            (datetime!(2026-12-05 0:00 UTC), false, true, false, true),
            (
                datetime!(2026-12-05 5:59:59.999_999_999 UTC),
                false,
                true,
                false,
                true,
            ),
            (datetime!(2026-12-05 6:00 UTC), false, false, false, false),
            (datetime!(2026-12-05 12:00 UTC), true, false, false, false),
            (datetime!(2026-12-05 12:59 UTC), true, false, false, false),
            (datetime!(2026-12-05 13:00 UTC), false, false, false, false),
            (
                datetime!(2026-12-05 21:59:59.9 UTC),
                false,
                false,
                false,
                false,
            ),
            (datetime!(2026-12-05 22:00 UTC), false, true, true, false),
            (
                datetime!(2026-12-05 23:59:59.9 UTC),
                false,
                true,
                true,
                false,
            ),
        ] {
            for (exclusions, expected) in [
                (&noon, by_noon),
                (&night, by_night),
                (&evening, by_evening),
                (&morning, by_morning),
            ] {
                excluded(exclusions, &Zone::UTC, &[(time, expected)]);
            }
        }
    }

    #[test]
    fn a_cron_expression_excludes_minutes_or_seconds() {
        let cron = |text: &str| Exclusions::new().cron(text).unwrap();
        let minute = cron("30 12 * * *");
        let hour = cron("* 12 * * MON-FRI");
        let second = cron("15 30 12 * * * *");
        let year = cron("* * * * * 2026");
        for (time, by_minute, by_hour, by_second) in [
            (datetime!(2026-12-04 11:59:59.9 UTC), false, false, false),
            (datetime!(2026-12-04 12:00 UTC), false, true, false),
            (datetime!(2026-12-04 12:29:59.9 UTC), false, true, false),
            (datetime!(2026-12-04 12:30 UTC), true, true, false),
            (datetime!(2026-12-04 12:30:15 UTC), true, true, true),
            (datetime!(2026-12-04 12:30:15.9 UTC), true, true, true),
            (datetime!(2026-12-04 12:30:16 UTC), true, true, false),
            (datetime!(2026-12-04 12:31 UTC), false, true, false),
            (datetime!(2026-12-04 13:00 UTC), false, false, false),
            (datetime!(2026-12-05 12:30:15 UTC), true, false, true),
        ] {
            for (exclusions, expected) in
                [(&minute, by_minute), (&hour, by_hour), (&second, by_second)]
            {
                excluded(exclusions, &Zone::UTC, &[(time, expected)]);
            }
            excluded(&year, &Zone::UTC, &[(time, true)]);
        }
        // Before 1970, and before the calendar of expressions.
        excluded(
            &year,
            &Zone::UTC,
            &[(datetime!(1950-01-01 0:00 UTC), false)],
        );
        excluded(
            &hour,
            &Zone::UTC,
            &[(datetime!(1950-01-02 12:30:00.5 UTC), true)],
        );
    }

    #[test]
    fn rules_add_up_and_none_excludes_nothing() {
        let time = datetime!(2026-12-05 12:00 UTC);
        assert!(!Exclusions::new().excludes(time, &Zone::UTC));
        assert!(Exclusions::new().is_empty());
        let both = Exclusions::new()
            .date(date!(2026 - 12 - 07))
            .weekday(Weekday::Saturday);
        assert!(!both.is_empty());
        excluded(
            &both,
            &Zone::UTC,
            &[
                (time, true),
                (datetime!(2026-12-06 12:00 UTC), false),
                (datetime!(2026-12-07 12:00 UTC), true),
            ],
        );
    }

    #[test]
    fn the_zone_decides_what_clocks_show() {
        let saturday = Exclusions::new().weekday(Weekday::Saturday);
        let friday_in_utc = datetime!(2026-12-04 20:00 UTC);
        assert!(!saturday.excludes(friday_in_utc, &Zone::UTC));
        assert!(saturday.excludes(friday_in_utc, &Zone::fixed(offset!(+10))));
        // The offset of the instant plays no part.
        let same = friday_in_utc.to_offset(offset!(+10));
        assert!(!saturday.excludes(same, &Zone::UTC));
    }

    #[test]
    fn a_bad_range_is_an_error() {
        let (first, last) = (date!(2026 - 12 - 26), date!(2026 - 12 - 24));
        let error = Exclusions::new().dates(first, last);
        assert_eq!(error, Err(ExclusionError::DatesReversed { first, last }));
        assert!(Exclusions::new().dates(first, first).is_ok());
        let time = time!(6:00);
        let error = Exclusions::new().times_of_day(time, time);
        assert_eq!(error, Err(ExclusionError::EmptyTimes { time }));
        let error = Exclusions::new().cron("61 * * * *");
        assert!(matches!(error, Err(ExclusionError::Cron(_))));
    }

    #[test]
    fn the_ends_of_the_calendar_do_not_panic() {
        let all = Exclusions::new()
            .dates(Date::MIN, Date::MAX)
            .unwrap()
            .times_of_day(time!(22:00), time!(6:00))
            .unwrap()
            .cron("* * * * *")
            .unwrap();
        for offset in [offset!(+0), offset!(+25:59:59), offset!(-25:59:59)] {
            let zone = Zone::fixed(offset);
            for time in [i64::MIN, -1, 0, i64::MAX] {
                assert_eq!(all.excluded_through(time, &zone), Some(i64::MAX));
            }
            for end in [PrimitiveDateTime::MIN, PrimitiveDateTime::MAX] {
                let _ = all.excludes(end.assume_utc(), &zone);
            }
        }
    }

    /// Random rules whose edges are at whole hours.
    pub(super) fn random(rng: &mut fastrand::Rng) -> Exclusions {
        let hour = |rng: &mut fastrand::Rng| Time::from_hms(rng.u8(0..24), 0, 0).unwrap();
        let mut exclusions = Exclusions::new();
        for _ in 0..rng.u32(1..4) {
            exclusions = match rng.u32(0..5) {
                0 => exclusions.date(date!(2026 - 03 - 29)),
                1 => exclusions
                    .dates(date!(2026 - 10 - 20), date!(2026 - 10 - 26))
                    .unwrap(),
                2 => exclusions.weekday(Weekday::Sunday),
                3 => {
                    let (from, until) = (hour(rng), hour(rng));
                    match exclusions.clone().times_of_day(from, until) {
                        Ok(more) => more,
                        Err(_) => exclusions,
                    }
                }
                _ => exclusions.cron("* 2-3 * * *").unwrap(),
            };
        }
        exclusions
    }

    #[test]
    fn all_instants_up_to_the_reported_one_are_excluded() {
        let mut rng = fastrand::Rng::with_seed(1);
        // Without the feature `tz`, the names are unknown.
        let zones: Vec<_> = ["UTC", "-03:30", "Europe/Berlin", "Pacific/Apia"]
            .into_iter()
            .filter_map(|zone| Zone::parse(zone).ok())
            .collect();
        let starts = [
            datetime!(2026-03-29 0:00 UTC),
            datetime!(2026-10-25 0:00 UTC),
            datetime!(2011-12-30 0:00 UTC),
        ]
        .map(|start| to_wall(start).unwrap());
        let mut stretches = 0;
        for _ in 0..4_000 {
            let exclusions = random(&mut rng);
            let zone = rng.choice(&zones).unwrap();
            let hours = rng.i64(-48..48) * 3_600_000_000_000 + rng.i64(-2..2);
            let time = rng.choice(starts).unwrap() + hours;
            let Some(through) = exclusions.excluded_through(time, zone) else {
                continue;
            };
            stretches += 1;
            assert!(through >= time);
            for between in [time, through]
                .into_iter()
                .chain((0..20).map(|_| rng.i64(time..=through)))
            {
                let instant = from_wall(between, UtcOffset::UTC);
                assert!(
                    exclusions.excludes(instant, zone),
                    "{instant} in {zone} by {exclusions}"
                );
            }
        }
        assert!(stretches > 500, "{stretches}");
    }

    #[cfg(feature = "tz")]
    #[test]
    fn both_passes_of_an_overlap_are_excluded_and_a_gap_moves_nothing() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let night = Exclusions::new()
            .times_of_day(time!(2:15), time!(2:45))
            .unwrap();
        let cron = Exclusions::new().cron("15-44 2 * * *").unwrap();
        for exclusions in [&night, &cron] {
            excluded(
                exclusions,
                &berlin,
                &[
                    // An overlap from 02:00 to 03:00.
                    (datetime!(2026-10-25 2:14:59 +2), false),
                    (datetime!(2026-10-25 2:15 +2), true),
                    (datetime!(2026-10-25 2:45 +2), false),
                    (datetime!(2026-10-25 2:00 +1), false),
                    (datetime!(2026-10-25 2:15 +1), true),
                    (datetime!(2026-10-25 2:44:59 +1), true),
                    (datetime!(2026-10-25 2:45 +1), false),
                    // A gap from 02:00 to 03:00.
                    (datetime!(2026-03-29 1:59:59.9 +1), false),
                    (datetime!(2026-03-29 3:00 +2), false),
                ],
            );
        }
        // The end of an exclusion at the start of an overlap is not its end: the clocks show
        // 02:00 again, and 03:00 an hour later.
        let to_three = Exclusions::new()
            .times_of_day(time!(2:30), time!(3:00))
            .unwrap();
        excluded(
            &to_three,
            &berlin,
            &[
                (datetime!(2026-10-25 2:59 +2), true),
                (datetime!(2026-10-25 2:00 +1), false),
                (datetime!(2026-10-25 2:30 +1), true),
            ],
        );
        // Pacific/Apia had no 2011-12-30.
        let skipped = Exclusions::new().date(date!(2011 - 12 - 30));
        let apia = Zone::named("Pacific/Apia").unwrap();
        excluded(
            &skipped,
            &apia,
            &[
                (datetime!(2011-12-29 23:59:59 -10), false),
                (datetime!(2011-12-31 0:00 +14), false),
            ],
        );
    }
}
