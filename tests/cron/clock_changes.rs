//! Cron expressions where clocks change.

use std::fmt::Write as _;

use jobber::{Zone, cron::Cron};

use time::OffsetDateTime;

use time::macros::datetime;

fn cron(text: &str) -> Cron {
    Cron::parse(text).unwrap()
}

fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

/// The next times, as wall time and offset.
fn times(text: &str, zone_name: &str, after: OffsetDateTime, count: usize) -> Vec<String> {
    let (cron, zone) = (cron(text), zone(zone_name));
    cron.upcoming(after, &zone)
        .take(count)
        .map(|time| {
            let (hours, minutes, _) = time.offset().as_hms();
            let (date, hour, minute) = (time.date(), time.hour(), time.minute());
            let mut shown = format!("{date} {hour:02}:{minute:02}");
            if time.second() != 0 {
                write!(shown, ":{:02}", time.second()).unwrap();
            }
            write!(shown, " {hours:+03}:{:02}", minutes.abs()).unwrap();
            shown
        })
        .collect()
}

// Europe/Berlin: 2026-03-29 02:00 +01:00 becomes 03:00 +02:00, and 2026-10-25
// 03:00 +02:00 becomes 02:00 +01:00.

#[test]
fn a_time_of_day_in_a_gap_is_due_at_the_first_instant_after_it() {
    assert_eq!(
        times(
            "30 2 * * *",
            "Europe/Berlin",
            datetime!(2026-03-28 0:00 UTC),
            3
        ),
        [
            "2026-03-28 02:30 +01:00",
            "2026-03-29 03:00 +02:00",
            "2026-03-30 02:30 +02:00"
        ],
    );
}

#[test]
fn times_of_day_in_one_gap_merge_with_each_other_and_with_the_first_time_after_it() {
    assert_eq!(
        times(
            "0,20,40 2,3 * * *",
            "Europe/Berlin",
            datetime!(2026-03-28 23:00 UTC),
            3
        ),
        [
            "2026-03-29 03:00 +02:00",
            "2026-03-29 03:20 +02:00",
            "2026-03-29 03:40 +02:00"
        ],
    );
}

#[test]
fn the_date_of_a_time_in_a_gap_is_the_date_that_was_skipped_with_it() {
    // America/Sao_Paulo went from 00:00 to 01:00 on 2018-11-04.
    assert_eq!(
        times(
            "30 0 4 11 *",
            "America/Sao_Paulo",
            datetime!(2018-01-01 0:00 UTC),
            1
        ),
        ["2018-11-04 01:00 -02:00"],
    );
    // America/Nuuk had no 23:00 to 24:00 on 2024-03-30.
    assert_eq!(
        times(
            "30 23 30 3 *",
            "America/Nuuk",
            datetime!(2024-01-01 0:00 UTC),
            1
        ),
        ["2024-03-31 00:00 -01:00"],
    );
    assert_eq!(
        times(
            "30 23 31 3 *",
            "America/Nuuk",
            datetime!(2024-01-01 0:00 UTC),
            1
        ),
        ["2024-03-31 23:30 -01:00"],
    );
}

#[test]
fn a_time_of_day_that_is_shown_twice_is_due_the_first_time() {
    assert_eq!(
        times(
            "30 2 * * *",
            "Europe/Berlin",
            datetime!(2026-10-24 12:00 UTC),
            2
        ),
        ["2026-10-25 02:30 +02:00", "2026-10-26 02:30 +01:00"],
    );
}

#[test]
fn a_time_of_day_is_not_due_again_for_a_start_in_the_second_pass() {
    let second_pass = datetime!(2026-10-25 2:10 +1);
    assert_eq!(
        times("30 2 * * *", "Europe/Berlin", second_pass, 1),
        ["2026-10-26 02:30 +01:00"],
    );
    assert_eq!(
        times("30 2,3 * * *", "Europe/Berlin", second_pass, 1),
        ["2026-10-25 03:30 +01:00"],
    );
}

#[test]
fn a_list_or_range_of_hours_names_times_of_day() {
    assert_eq!(
        times(
            "30 1-4 * * *",
            "Europe/Berlin",
            datetime!(2026-10-24 23:00 UTC),
            4
        ),
        [
            "2026-10-25 01:30 +02:00",
            "2026-10-25 02:30 +02:00",
            "2026-10-25 03:30 +01:00",
            "2026-10-25 04:30 +01:00",
        ],
    );
}

#[test]
fn a_rate_is_not_due_in_a_gap() {
    assert_eq!(
        times(
            "*/30 * * * *",
            "Europe/Berlin",
            datetime!(2026-03-29 0:15 UTC),
            3
        ),
        [
            "2026-03-29 01:30 +01:00",
            "2026-03-29 03:00 +02:00",
            "2026-03-29 03:30 +02:00"
        ],
    );
    assert_eq!(
        times(
            "*/30 2 * * *",
            "Europe/Berlin",
            datetime!(2026-03-28 12:00 UTC),
            1
        ),
        ["2026-03-30 02:00 +02:00"],
    );
}

#[test]
fn a_rate_is_due_in_both_passes_of_an_hour_that_is_shown_twice() {
    assert_eq!(
        times(
            "*/30 2 * * *",
            "Europe/Berlin",
            datetime!(2026-10-24 12:00 UTC),
            5
        ),
        [
            "2026-10-25 02:00 +02:00",
            "2026-10-25 02:30 +02:00",
            "2026-10-25 02:00 +01:00",
            "2026-10-25 02:30 +01:00",
            "2026-10-26 02:00 +01:00",
        ],
    );
}

#[test]
fn a_leading_star_in_second_minute_or_hour_makes_a_rate_and_an_implied_second_does_not() {
    let before_gap = datetime!(2026-03-28 12:00 UTC);
    let first = |text| times(text, "Europe/Berlin", before_gap, 1).concat();
    // A rate is not due at 02 on that day; a time of day is due after the gap.
    assert_eq!(first("*/30 30 2 29 3 ? *"), "2027-03-29 02:30 +02:00");
    assert_eq!(first("*,30 2 29 3 ?"), "2027-03-29 02:00 +02:00");
    assert_eq!(first("30 2 29 3 ?"), "2026-03-29 03:00 +02:00");
    assert_eq!(first("0 30 2 29 3 ? *"), "2026-03-29 03:00 +02:00");
    assert_eq!(first("30,* 2 29 3 ?"), "2026-03-29 03:00 +02:00");
    assert_eq!(
        times(
            "30 */2 * * *",
            "Europe/Berlin",
            datetime!(2026-03-29 0:00 UTC),
            1
        ),
        ["2026-03-29 04:30 +02:00"]
    );
}

#[test]
fn an_alias_is_a_rate_or_a_time_of_day_as_its_expression() {
    // @hourly is a rate and is due in both passes; @daily is a time of day.
    assert_eq!(
        times(
            "@hourly",
            "Europe/Berlin",
            datetime!(2026-10-24 23:30 UTC),
            3
        ),
        [
            "2026-10-25 02:00 +02:00",
            "2026-10-25 02:00 +01:00",
            "2026-10-25 03:00 +01:00"
        ],
    );
    assert_eq!(
        times(
            "@daily",
            "America/Sao_Paulo",
            datetime!(2018-11-03 12:00 UTC),
            1
        ),
        ["2018-11-04 01:00 -02:00"],
    );
}

#[test]
fn a_change_of_half_an_hour_is_a_clock_change() {
    // Australia/Lord_Howe moves by 30 minutes at 02:00.
    assert_eq!(
        times(
            "15 2 * * *",
            "Australia/Lord_Howe",
            datetime!(2026-10-03 0:00 UTC),
            2
        ),
        ["2026-10-04 02:30 +11:00", "2026-10-05 02:15 +11:00"],
    );
    assert_eq!(
        times(
            "45 1 * * *",
            "Australia/Lord_Howe",
            datetime!(2026-04-04 12:00 UTC),
            2
        ),
        ["2026-04-05 01:45 +11:00", "2026-04-06 01:45 +10:30"],
    );
}

#[test]
fn a_day_that_a_zone_skips_is_not_due() {
    // Pacific/Apia had no 2011-12-30.
    assert_eq!(
        times(
            "0 9 * * *",
            "Pacific/Apia",
            datetime!(2011-12-29 0:00 UTC),
            3
        ),
        [
            "2011-12-29 09:00 -10:00",
            "2011-12-31 09:00 +14:00",
            "2012-01-01 09:00 +14:00"
        ],
    );
    assert_eq!(
        times(
            "0 9 30 12 *",
            "Pacific/Apia",
            datetime!(2011-12-01 0:00 UTC),
            1
        ),
        ["2012-12-30 09:00 +14:00"],
    );
}

#[test]
fn times_that_a_correction_of_more_than_three_hours_repeats_are_due_again() {
    // Pacific/Kwajalein lost a day in 1993; Antarctica/Vostok went back by
    // seven hours at 1994-02-01 00:00 +07:00.
    assert_eq!(
        times(
            "0 20 * * *",
            "Antarctica/Vostok",
            datetime!(1994-01-31 6:00 UTC),
            3
        ),
        [
            "1994-01-31 20:00 +07:00",
            "1994-01-31 20:00 +00:00",
            "1994-02-01 20:00 +00:00"
        ],
    );
}

#[test]
fn a_change_of_three_hours_is_a_clock_change() {
    // Antarctica/Casey: 2010-03-05 02:00 +11:00 became 2010-03-04 23:00 +08:00.
    assert_eq!(
        times(
            "30 23 * * *",
            "Antarctica/Casey",
            datetime!(2010-03-04 0:00 UTC),
            2
        ),
        ["2010-03-04 23:30 +11:00", "2010-03-05 23:30 +08:00"],
    );
}

#[test]
fn a_rate_that_falls_into_a_gap_each_year_is_never_due() {
    let never = cron("* 2 * 3 SUN#2");
    let now = datetime!(2026-11-23 0:00 UTC);
    assert_eq!(never.next_after(now, &zone("America/New_York")), None);
    assert!(never.next_after(now, &zone("Europe/Berlin")).is_some());
}

#[test]
fn a_rate_is_found_over_many_clock_changes_and_beyond_every_table() {
    // 2100 and 2200 are not leap years.
    assert_eq!(
        times(
            "* 0 29 2 ?",
            "Europe/Berlin",
            datetime!(2096-03-01 0:00 UTC),
            1
        ),
        ["2104-02-29 00:00 +01:00"],
    );
    assert_eq!(
        times(
            "* 3 29 3 SUNL",
            "Europe/Berlin",
            datetime!(2196-04-01 0:00 UTC),
            1
        ),
        ["2197-03-26 03:00 +02:00"],
    );
}

#[test]
fn a_rate_of_a_past_year_is_due_in_the_second_pass_of_its_last_hour() {
    // The last wall time that matches is past, and is shown a second time.
    assert_eq!(
        times(
            "* 1 1 11 * 2026",
            "America/New_York",
            datetime!(2026-11-01 1:59:30 -4),
            1
        ),
        ["2026-11-01 01:00 -05:00"],
    );
}

#[test]
fn offsets_of_whole_seconds_are_kept() {
    // Africa/Monrovia kept -00:44:30 until 1972.
    let next = cron("0 12 * * *")
        .next_after(datetime!(1971-06-01 0:00 UTC), &zone("Africa/Monrovia"))
        .unwrap();
    assert_eq!(next, datetime!(1971-06-01 12:00 -0:44:30));
    assert_eq!(next.offset(), time::macros::offset!(-0:44:30));
}
