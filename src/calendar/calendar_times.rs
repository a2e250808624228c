//! [`CalendarTimes`]: the times of a calendar interval from a start.

use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

use crate::calendar::calendar_interval::CalendarInterval;
use crate::calendar::zone::time_zone::Zone;
use crate::value::time_units::{WallNanos, from_wall, to_wall};

/// The times of a calendar interval in a zone, from a start on.
///
/// The rules are in the docs of [`CalendarInterval`].
#[derive(Clone, Debug)]
pub(crate) struct CalendarTimes {
    interval: CalendarInterval,
    zone: Zone,
    /// The local time from which all others are counted.
    start: PrimitiveDateTime,
    /// The first time. It is later than `zone.at_local(start)` if the start was an instant in
    /// the second pass of an overlap.
    first: WallNanos,
}

impl CalendarTimes {
    /// The times from an instant on. This instant is the first of them.
    pub(crate) fn from_instant(first: WallNanos, zone: Zone, interval: CalendarInterval) -> Self {
        let local = zone.time_at(first);
        Self {
            interval,
            zone,
            start: PrimitiveDateTime::new(local.date(), local.time()),
            first,
        }
    }

    /// The times from a local time on. `None` if its instant is outside the range of
    /// [`WallNanos`].
    ///
    /// A start in a gap keeps its time of day for the times after it.
    #[cfg(test)]
    pub(crate) fn from_local(
        start: PrimitiveDateTime,
        zone: Zone,
        interval: CalendarInterval,
    ) -> Option<Self> {
        let first = to_wall(zone.at_local(start))?;
        Some(Self {
            interval,
            zone,
            start,
            first,
        })
    }

    pub(crate) fn interval(&self) -> CalendarInterval {
        self.interval
    }

    pub(crate) fn has_same_times(&self, other: &Self) -> bool {
        (self.interval, self.start, self.first) == (other.interval, other.start, other.first)
            && self.zone == other.zone
    }

    /// The first time strictly after `after`. `None` if there is none within the range of
    /// [`WallNanos`]. The cost does not depend on how many times lie in between.
    pub(crate) fn next_after(&self, after: WallNanos) -> Option<WallNanos> {
        if after < self.first {
            return Some(self.first);
        }
        let shown = self.zone.time_at(after);
        let shown = PrimitiveDateTime::new(shown.date(), shown.time());
        let k = self.interval.intervals_between(self.start, shown);
        self.first_after(k.max(1), from_wall(after, UtcOffset::UTC))
    }

    /// The first time after `after`, of those from the `k`-th on.
    ///
    /// `Zone::at_local` never decreases, and so the first that is found is the earliest. Local
    /// clocks show at most 52 hours more before `after` than at it. So only a few times are
    /// tried if the `k`-th is not more than an interval before the local time of `after`.
    fn first_after(&self, mut k: i64, after: OffsetDateTime) -> Option<WallNanos> {
        loop {
            let instant = self.zone.at_local(self.interval.nth(self.start, k)?);
            if instant > after {
                return to_wall(instant);
            }
            k += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{datetime, offset};
    use time::{Date, Duration};

    fn wall(time: OffsetDateTime) -> WallNanos {
        to_wall(time).unwrap()
    }

    /// The times after an instant, with the offsets of the zone.
    fn after(times: &CalendarTimes, after: OffsetDateTime, count: usize) -> Vec<OffsetDateTime> {
        let first = times.next_after(wall(after));
        std::iter::successors(first, |&time| times.next_after(time))
            .take(count)
            .map(|time| times.zone.time_at(time))
            .collect()
    }

    /// All times from the first on, by counting.
    fn all(times: &CalendarTimes, count: usize) -> Vec<OffsetDateTime> {
        let before = times.zone.time_at(times.first) - Duration::NANOSECOND;
        after(times, before, count)
    }

    fn in_zone(start: OffsetDateTime, zone: &Zone, interval: CalendarInterval) -> CalendarTimes {
        CalendarTimes::from_instant(wall(start), zone.clone(), interval)
    }

    #[test]
    fn the_times_of_a_month_keep_the_day_of_the_start_where_the_month_has_it() {
        let times = in_zone(
            datetime!(2027-10-31 9:00 UTC),
            &Zone::UTC,
            CalendarInterval::MONTH,
        );
        let expected = [
            datetime!(2027-10-31 9:00 UTC),
            datetime!(2027-11-30 9:00 UTC),
            datetime!(2027-12-31 9:00 UTC),
            datetime!(2028-01-31 9:00 UTC),
            datetime!(2028-02-29 9:00 UTC),
            datetime!(2028-03-31 9:00 UTC),
        ];
        assert_eq!(all(&times, 6), expected);
        // From any time in between.
        for (after_time, index) in [
            (datetime!(2026-01-01 0:00 UTC), 0),
            (datetime!(2027-10-31 8:59:59.999 UTC), 0),
            (datetime!(2027-10-31 9:00 UTC), 1),
            (datetime!(2027-11-30 8:59 UTC), 1),
            (datetime!(2027-11-30 9:00 UTC), 2),
            (datetime!(2027-12-01 0:00 UTC), 2),
            (datetime!(2028-02-29 8:59 UTC), 4),
            (datetime!(2028-02-29 9:00 UTC), 5),
            (datetime!(2028-03-30 0:00 UTC), 5),
        ] {
            assert_eq!(
                after(&times, after_time, 1),
                [expected[index]],
                "{after_time}"
            );
        }
    }

    #[test]
    fn the_zone_decides_which_day_it_is() {
        // 31 January in the zone, and still 30 January in UTC.
        let zone = Zone::fixed(offset!(+10));
        let times = in_zone(
            datetime!(2027-01-30 20:00 UTC),
            &zone,
            CalendarInterval::MONTH,
        );
        assert_eq!(
            all(&times, 3),
            [
                datetime!(2027-01-31 6:00 +10),
                datetime!(2027-02-28 6:00 +10),
                datetime!(2027-03-31 6:00 +10),
            ]
        );
    }

    #[test]
    fn a_part_of_a_second_is_kept() {
        let start = datetime!(2027-01-31 9:00:00.000_000_001 UTC);
        let times = in_zone(start, &Zone::UTC, CalendarInterval::WEEK);
        let week = Duration::WEEK;
        assert_eq!(all(&times, 3), [start, start + week, start + week * 2]);
        let before = start + week - Duration::NANOSECOND;
        assert_eq!(after(&times, before, 1), [start + week]);
        assert_eq!(after(&times, start + week, 1), [start + week * 2]);
    }

    #[test]
    fn the_ends_of_the_range_neither_wrap_nor_panic() {
        let longest = CalendarInterval::days(u32::MAX).unwrap();
        let ages = CalendarInterval::months(u32::MAX).unwrap();
        for interval in [CalendarInterval::DAY, CalendarInterval::YEAR, longest, ages] {
            for zone in [
                Zone::UTC,
                Zone::fixed(offset!(+25:59:59)),
                Zone::fixed(offset!(-25:59:59)),
            ] {
                for first in [i64::MIN, -1, 0, i64::MAX] {
                    let times = CalendarTimes::from_instant(first, zone.clone(), interval);
                    if first > i64::MIN {
                        assert_eq!(times.next_after(i64::MIN), Some(first));
                        assert_eq!(times.next_after(first - 1), Some(first));
                    }
                    let is_last = first == i64::MAX;
                    assert_eq!(times.next_after(i64::MAX - 1).is_some(), is_last);
                    assert_eq!(times.next_after(i64::MAX), None);
                }
            }
        }
        // 584 years of days, of which none is enumerated.
        let day = 86_400_000_000_000;
        let times = CalendarTimes::from_instant(i64::MIN, Zone::UTC, CalendarInterval::DAY);
        let last = times.next_after(i64::MAX - day).unwrap();
        assert_eq!(
            (i128::from(last) - i128::from(i64::MIN)) % i128::from(day),
            0
        );
        assert_eq!(times.next_after(last), None);
    }

    #[test]
    fn a_local_start_far_before_the_range_is_none() {
        let start = datetime!(0001-01-01 0:00);
        assert!(CalendarTimes::from_local(start, Zone::UTC, CalendarInterval::DAY).is_none());
    }

    /// The date `units` days or months after a date, found by walking.
    fn walked(start: Date, days: bool, units: u32) -> Option<Date> {
        if days {
            return (0..units).try_fold(start, |date, _| date.next_day());
        }
        let (year, month) = (0..units).fold((start.year(), start.month()), |(year, month), _| {
            let next = month.next();
            (year + i32::from(next == time::Month::January), next)
        });
        (1..=start.day())
            .rev()
            .find_map(|day| Date::from_calendar_date(year, month, day).ok())
    }

    /// All times from the first to some days after `until`, by counting from the start.
    fn counted(times: &CalendarTimes, days: bool, n: u32, until: OffsetDateTime) -> Vec<WallNanos> {
        let mut all = vec![times.first];
        for k in 1.. {
            let Some(date) = walked(times.start.date(), days, k * n) else {
                break;
            };
            let instant = times.zone.at_local(times.start.replace_date(date));
            if let Some(wall) = to_wall(instant) {
                all.push(wall);
            }
            if instant > until + Duration::days(4) {
                break;
            }
        }
        all
    }

    fn next_is_as_counted(times: &CalendarTimes, days: bool, n: u32, after: WallNanos) {
        let until = from_wall(after, UtcOffset::UTC);
        let all = counted(times, days, n, until);
        let expected = all.into_iter().filter(|&time| time > after).min();
        assert_eq!(times.next_after(after), expected, "{times:?} after {until}");
    }

    fn interval(days: bool, n: u32) -> CalendarInterval {
        let interval = if days {
            CalendarInterval::days(n)
        } else {
            CalendarInterval::months(n)
        };
        interval.unwrap()
    }

    #[test]
    fn random_times_in_fixed_zones_are_as_counted() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            let (days, n) = (rng.bool(), rng.u32(1..40));
            let offset = UtcOffset::from_whole_seconds(rng.i32(-93_599..=93_599)).unwrap();
            let day = 86_400_000_000_000;
            let first = rng.i64(-20_000 * day..20_000 * day);
            let times = CalendarTimes::from_instant(first, Zone::fixed(offset), interval(days, n));
            let units = if days { day } else { 31 * day };
            let after = first + rng.i64(-units..units * 300);
            next_is_as_counted(&times, days, n, after);
            // Exactly at a time, and just before it.
            let next = times.next_after(after).unwrap();
            next_is_as_counted(&times, days, n, next);
            next_is_as_counted(&times, days, n, next - 1);
        }
    }

    #[cfg(feature = "tz")]
    mod named {
        use super::*;
        use jiff::Timestamp;
        use jiff::tz::TimeZoneDatabase;

        fn zone(name: &str) -> Zone {
            Zone::named(name).unwrap()
        }

        #[test]
        fn the_time_of_day_stays_where_clocks_change() {
            let daily = |name, start, count| {
                let times = in_zone(start, &zone(name), CalendarInterval::DAY);
                all(&times, count)
            };
            // A gap from 02:00 to 03:00.
            assert_eq!(
                daily("Europe/Berlin", datetime!(2026-03-28 2:30 +1), 3),
                [
                    datetime!(2026-03-28 2:30 +1),
                    datetime!(2026-03-29 3:00 +2),
                    datetime!(2026-03-30 2:30 +2),
                ]
            );
            // An overlap from 02:00 to 03:00.
            assert_eq!(
                daily("Europe/Berlin", datetime!(2026-10-24 2:30 +2), 3),
                [
                    datetime!(2026-10-24 2:30 +2),
                    datetime!(2026-10-25 2:30 +2),
                    datetime!(2026-10-26 2:30 +1),
                ]
            );
            // A gap from 23:00 to 24:00: two times on one date.
            assert_eq!(
                daily("America/Nuuk", datetime!(2024-03-29 23:30 -2), 3),
                [
                    datetime!(2024-03-29 23:30 -2),
                    datetime!(2024-03-31 0:00 -1),
                    datetime!(2024-03-31 23:30 -1),
                ]
            );
        }

        #[test]
        fn a_start_in_a_second_pass_is_the_first_time_and_no_time_is_before_it() {
            let start = datetime!(2026-10-25 2:30 +1);
            let times = in_zone(start, &zone("Europe/Berlin"), CalendarInterval::DAY);
            let expected = [start, datetime!(2026-10-26 2:30 +1)];
            assert_eq!(all(&times, 2), expected);
            assert_eq!(after(&times, start - Duration::HOUR, 2), expected);
        }

        #[test]
        fn a_local_start_in_a_gap_keeps_its_time_of_day() {
            let berlin = zone("Europe/Berlin");
            let times = CalendarTimes::from_local(
                datetime!(2026-03-29 2:30),
                berlin.clone(),
                CalendarInterval::DAY,
            );
            assert_eq!(
                all(&times.unwrap(), 2),
                [datetime!(2026-03-29 3:00 +2), datetime!(2026-03-30 2:30 +2)]
            );
            // An instant has no time of day in a gap.
            let times = in_zone(
                datetime!(2026-03-29 3:00 +2),
                &berlin,
                CalendarInterval::DAY,
            );
            assert_eq!(
                all(&times, 2),
                [datetime!(2026-03-29 3:00 +2), datetime!(2026-03-30 3:00 +2)]
            );
        }

        #[test]
        fn a_time_on_a_day_that_a_zone_skips_is_the_first_instant_after_it() {
            // Pacific/Apia had no 2011-12-30.
            let apia = zone("Pacific/Apia");
            let times = in_zone(datetime!(2011-12-29 9:00 -10), &apia, CalendarInterval::DAY);
            assert_eq!(
                all(&times, 4),
                [
                    datetime!(2011-12-29 9:00 -10),
                    datetime!(2011-12-31 0:00 +14),
                    datetime!(2011-12-31 9:00 +14),
                    datetime!(2012-01-01 9:00 +14),
                ]
            );
            // At midnight, the time of the skipped day is that of the next day.
            let times = in_zone(datetime!(2011-12-29 0:00 -10), &apia, CalendarInterval::DAY);
            assert_eq!(
                all(&times, 3),
                [
                    datetime!(2011-12-29 0:00 -10),
                    datetime!(2011-12-31 0:00 +14),
                    datetime!(2012-01-01 0:00 +14),
                ]
            );
        }

        #[test]
        fn a_time_in_hours_that_a_correction_repeats_comes_once() {
            // Antarctica/Vostok went back by seven hours at 1994-02-01 00:00 +07:00.
            let times = in_zone(
                datetime!(1994-01-30 20:00 +7),
                &zone("Antarctica/Vostok"),
                CalendarInterval::DAY,
            );
            assert_eq!(
                all(&times, 3),
                [
                    datetime!(1994-01-30 20:00 +7),
                    datetime!(1994-01-31 20:00 +7),
                    datetime!(1994-02-01 20:00 +0),
                ]
            );
        }

        /// Starts days or months before each change of a zone, with a time of day near it.
        #[test]
        fn around_clock_changes_times_are_as_counted() {
            let mut rng = fastrand::Rng::with_seed(1);
            let database = TimeZoneDatabase::bundled();
            let mut changes = 0;
            for name in [
                "Africa/Casablanca",
                "America/New_York",
                "America/Nuuk",
                "America/Sao_Paulo",
                "America/St_Johns",
                "Antarctica/Casey",
                "Antarctica/Troll",
                "Antarctica/Vostok",
                "Asia/Manila",
                "Australia/Lord_Howe",
                "Europe/Berlin",
                "Europe/Dublin",
                "Pacific/Apia",
                "Pacific/Kwajalein",
            ] {
                let (zone, jiff) = (zone(name), database.get(name).unwrap());
                let seconds = |seconds| Timestamp::from_second(seconds).unwrap();
                let until = seconds(2_300_000_000);
                let following = jiff.following(seconds(-8_000_000_000));
                for change in following.take_while(|change| change.timestamp() < until) {
                    changes += 1;
                    let change = change.timestamp().as_second() * 1_000_000_000;
                    for _ in 0..4 {
                        let (days, n) = (rng.bool(), rng.u32(1..4));
                        let (hour, day) = (3_600_000_000_000, 86_400_000_000_000);
                        let units = rng.i64(0..=8) * i64::from(n);
                        let back = if days { units * day } else { units * 30 * day };
                        let near = rng.i64(-4 * hour..4 * hour);
                        let first = change - back + near;
                        let interval = interval(days, n);
                        let times = if rng.bool() {
                            CalendarTimes::from_instant(first, zone.clone(), interval)
                        } else {
                            let local = from_wall(first, UtcOffset::UTC);
                            let local = PrimitiveDateTime::new(local.date(), local.time());
                            CalendarTimes::from_local(local, zone.clone(), interval).unwrap()
                        };
                        for near in [-26 * hour, -hour, -1, 0, 1, hour, near, 26 * hour] {
                            next_is_as_counted(&times, days, n, change + near);
                        }
                    }
                }
            }
            assert!(changes > 1_000, "{changes}");
        }
    }
}
