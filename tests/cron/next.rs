//! When expressions are due, by the rules that differ between tools.

use jobber::{Zone, cron::Cron};

use time::macros::{datetime, offset};

use time::{Date, Month, OffsetDateTime, UtcOffset};

fn next(text: &str, after: OffsetDateTime) -> Option<OffsetDateTime> {
    Cron::parse(text).unwrap().next_after(after, &Zone::UTC)
}

fn times(text: &str, after: OffsetDateTime, count: usize) -> Vec<OffsetDateTime> {
    let cron = Cron::parse(text).unwrap();
    cron.upcoming(after, &Zone::UTC).take(count).collect()
}

/// The days of a month on which an expression is due.
fn days(text: &str, year: i32, month: Month) -> Vec<u8> {
    let start = Date::from_calendar_date(year, month, 1)
        .unwrap()
        .midnight()
        .assume_utc();
    let before = start - time::Duration::SECOND;
    let cron = Cron::parse(text).unwrap();
    let due = cron.upcoming(before, &Zone::UTC).map(OffsetDateTime::date);
    let mut days: Vec<u8> = due
        .take_while(|date| (date.year(), date.month()) == (year, month))
        .map(Date::day)
        .collect();
    days.dedup();
    days
}

fn minutes_of_an_hour(field: &str) -> Vec<u8> {
    let start = datetime!(2026-01-01 0:00 UTC) - time::Duration::SECOND;
    let cron = Cron::parse(&format!("{field} * * * *")).unwrap();
    cron.upcoming(start, &Zone::UTC)
        .take_while(|time| *time < datetime!(2026-01-01 1:00 UTC))
        .map(|time| time.minute())
        .collect()
}

fn hours_of_a_day(field: &str) -> Vec<u8> {
    let start = datetime!(2026-01-01 0:00 UTC) - time::Duration::SECOND;
    let cron = Cron::parse(&format!("0 {field} * * *")).unwrap();
    cron.upcoming(start, &Zone::UTC)
        .take_while(|time| *time < datetime!(2026-01-02 0:00 UTC))
        .map(|time| time.hour())
        .collect()
}

// Where saffron 0.1.0 is wrong for the text of a user.

#[test]
fn days_of_the_week_count_from_sunday_and_seven_is_sunday_again() {
    // 2026-11-01 is a Sunday.
    let sundays = [1, 8, 15, 22, 29];
    for sunday in ["0", "7", "SUN", "0,7", "sun"] {
        assert_eq!(
            days(&format!("0 0 * * {sunday}"), 2026, Month::November),
            sundays
        );
    }
    assert_eq!(days("0 0 * * 1", 2026, Month::November), [2, 9, 16, 23, 30]);
    assert_eq!(
        days("0 0 * * 5-7", 2026, Month::November)[..4],
        [1, 6, 7, 8]
    );
}

#[test]
fn a_range_around_the_end_contains_no_other_value() {
    assert_eq!(hours_of_a_day("22-2"), [0, 1, 2, 22, 23]);
    assert_eq!(minutes_of_an_hour("58-1"), [0, 1, 58, 59]);
    assert_eq!(days("0 0 30-2 * *", 2026, Month::November), [1, 2, 30]);
    assert_eq!(
        days("0 0 * * FRI-MON", 2026, Month::November)[..5],
        [1, 2, 6, 7, 8]
    );
    assert_eq!(
        days("0 0 * * 7-2", 2026, Month::November)[..4],
        [1, 2, 3, 8]
    );
}

#[test]
fn a_step_goes_around_the_end() {
    assert_eq!(minutes_of_an_hour("45-15/10"), [5, 15, 45, 55]);
    assert_eq!(hours_of_a_day("22-2/3"), [1, 22]);
    let months: Vec<u8> = times("0 0 1 NOV-FEB/2 *", datetime!(2026-06-01 0:00 UTC), 4)
        .iter()
        .map(|time| u8::from(time.month()))
        .collect();
    assert_eq!(months, [11, 1, 11, 1]);
}

#[test]
fn a_star_within_a_list_is_every_value() {
    assert_eq!(hours_of_a_day("5,*").len(), 24);
    assert_eq!(minutes_of_an_hour("*,7").len(), 60);
}

#[test]
fn a_step_over_the_range_gives_the_first_value_only() {
    assert_eq!(minutes_of_an_hour("*/60"), [0]);
    assert_eq!(minutes_of_an_hour("7/60"), [7]);
    assert_eq!(minutes_of_an_hour("10-20/99999999999"), [10]);
    assert_eq!(hours_of_a_day("22-2/24"), [22]);
}

#[test]
fn a_step_from_a_value_goes_to_the_maximum() {
    assert_eq!(minutes_of_an_hour("50/3"), [50, 53, 56, 59]);
    // 7 is the maximum of the days of the week, and a Sunday.
    assert_eq!(
        days("0 0 * * 5/2", 2026, Month::November)[..4],
        [1, 6, 8, 13]
    );
}

#[test]
fn a_w_day_that_a_month_lacks_is_not_due_in_it() {
    // 2026-11-30 is a Monday, 2027-04-30 a Friday.
    assert!(days("0 0 31W * *", 2026, Month::November).is_empty());
    assert!(days("0 0 31W * *", 2027, Month::April).is_empty());
    assert!(days("0 0 30W * *", 2027, Month::February).is_empty());
    assert!(days("0 0 29W * *", 2027, Month::February).is_empty());
    assert_eq!(days("0 0 29W * *", 2028, Month::February), [29]);
    // Friday 28 February, which saffron takes for the weekday of the 29th.
    assert!(days("0 0 29W * *", 2025, Month::February).is_empty());
}

#[test]
fn a_w_day_that_no_month_has_is_never_due() {
    for text in ["0 0 31W 2 *", "0 0 30W 2 *", "0 0 31W 4,6,9,11 *"] {
        assert_eq!(next(text, datetime!(2026-01-01 0:00 UTC)), None, "{text}");
    }
    assert_eq!(
        next("0 0 29W 2 *", datetime!(2026-01-01 0:00 UTC)),
        Some(datetime!(2028-02-29 0:00 UTC)),
    );
}

#[test]
fn a_w_day_never_leaves_its_month() {
    // 2026-08-01 is a Saturday, 2026-05-31 a Sunday.
    assert_eq!(days("0 0 1W * *", 2026, Month::August), [3]);
    assert_eq!(days("0 0 31W * *", 2026, Month::May), [29]);
    assert_eq!(days("0 0 LW * *", 2026, Month::May), [29]);
    // 2026-02-01 is a Sunday.
    assert_eq!(days("0 0 L-27W * *", 2026, Month::February), [2]);
}

#[test]
fn the_weekday_near_a_day_before_the_last_is_right_from_every_start() {
    // Three days before the end of November 2026 is Friday 27th; of May 2027,
    // Friday 28th; of February 2026, Wednesday 25th; of October 2026, the 28th.
    for (year, month, day) in [
        (2026, Month::November, 27),
        (2027, Month::May, 28),
        (2026, Month::February, 25),
        (2026, Month::October, 28),
        // The 28th is a Sunday, so Monday; the 28th is a Saturday, so Friday.
        (2027, Month::March, 29),
        (2027, Month::August, 27),
    ] {
        let due = Date::from_calendar_date(year, month, day)
            .unwrap()
            .with_hms(12, 0, 0)
            .unwrap()
            .assume_utc();
        let mut start = due.replace_day(1).unwrap();
        while start < due {
            assert_eq!(next("0 12 L-3W * *", start), Some(due), "after {start}");
            start += time::Duration::hours(5);
        }
        assert_eq!(days("*/20 * L-3W * *", year, month), [day]);
        assert!(next("0 12 L-3W * *", due).unwrap().month() != month);
    }
}

#[test]
fn extras_may_be_in_lists() {
    // November 2026: Sundays 1, 8, 15, 22, 29; it ends on Monday 30th.
    assert_eq!(
        days("0 0 3,15W,L-3,LW * *", 2026, Month::November),
        [3, 16, 27, 30],
    );
    assert_eq!(
        days("0 0 ? * MON#2,FRIL,WED", 2026, Month::November),
        [4, 9, 11, 18, 25, 27],
    );
    assert_eq!(days("0 0 L * 1#2", 2026, Month::November), [9, 30]);
}

#[test]
fn the_last_weekday_of_a_month_is_written_in_four_ways() {
    for text in ["FRIL", "5L", "L5", "fril"] {
        assert_eq!(
            days(&format!("0 0 * * {text}"), 2026, Month::November),
            [27],
            "{text}"
        );
    }
    assert_eq!(days("0 0 * * 7L", 2026, Month::November), [29]);
}

#[test]
fn a_fifth_weekday_is_due_only_in_months_that_have_one() {
    assert_eq!(days("0 0 * * MON#5", 2026, Month::November), [30]);
    assert!(days("0 0 * * MON#5", 2026, Month::December).is_empty());
}

#[test]
fn letters_are_read_in_either_case() {
    assert_eq!(days("0 0 lw * *", 2026, Month::May), [29]);
    assert_eq!(days("0 0 15w nov ?", 2026, Month::November), [16]);
    assert_eq!(days("0 0 l-3 * *", 2026, Month::November), [27]);
}

#[test]
fn a_question_mark_is_a_star() {
    assert_eq!(days("0 0 ? * ?", 2026, Month::February).len(), 28);
    assert_eq!(days("0 0 13 * ?", 2026, Month::November), [13]);
    assert_eq!(days("0 0 ? * 5", 2026, Month::November), [6, 13, 20, 27]);
}

#[test]
fn aliases_are_the_expressions_they_stand_for() {
    let start = datetime!(2026-11-23 12:34:56 UTC);
    for (alias, expected) in [
        ("@yearly", datetime!(2027-01-01 0:00 UTC)),
        ("@annually", datetime!(2027-01-01 0:00 UTC)),
        ("@monthly", datetime!(2026-12-01 0:00 UTC)),
        ("@weekly", datetime!(2026-11-29 0:00 UTC)),
        ("@daily", datetime!(2026-11-24 0:00 UTC)),
        ("@Midnight", datetime!(2026-11-24 0:00 UTC)),
        (" @hourly\n", datetime!(2026-11-23 13:00 UTC)),
    ] {
        assert_eq!(next(alias, start), Some(expected), "{alias}");
    }
}

#[test]
fn blanks_part_fields_and_outer_blanks_and_line_ends_are_trimmed() {
    let start = datetime!(2026-11-23 12:00 UTC);
    for text in ["\t30  9 \t * * *\n", " 30 9 * * *\r\n", "0030 09 * * *"] {
        assert_eq!(
            next(text, start),
            Some(datetime!(2026-11-24 9:30 UTC)),
            "{text:?}"
        );
    }
}

#[test]
fn the_next_time_is_after_the_start() {
    let due = datetime!(2026-11-23 9:00 UTC);
    assert_eq!(next("0 9 * * *", due), Some(datetime!(2026-11-24 9:00 UTC)));
    assert_eq!(
        next("0 9 * * *", due - time::Duration::NANOSECOND),
        Some(due)
    );
    assert_eq!(
        next("0 9 * * *", due + time::Duration::NANOSECOND),
        Some(datetime!(2026-11-24 9:00 UTC)),
    );
}

// Beyond saffron.

#[test]
fn two_restricted_days_are_joined_by_or() {
    assert_eq!(
        days("0 0 13 * FRI", 2026, Month::October),
        [2, 9, 13, 16, 23, 30]
    );
    // Restricted, although it holds every day.
    assert_eq!(days("0 0 */1 * FRI", 2026, Month::October).len(), 31);
    assert_eq!(
        days("0 0 1 * */7", 2026, Month::November),
        [1, 8, 15, 22, 29]
    );
}

#[test]
fn six_fields_end_in_a_year() {
    assert_eq!(
        times(
            "0 12 1 1 * 2027,2030-2031",
            datetime!(2026-11-23 0:00 UTC),
            9
        ),
        [
            datetime!(2027-01-01 12:00 UTC),
            datetime!(2030-01-01 12:00 UTC),
            datetime!(2031-01-01 12:00 UTC),
        ],
    );
    assert_eq!(
        next("0 0 1 1 * 2027/10", datetime!(2030-01-01 0:00 UTC)),
        Some(datetime!(2037-01-01 0:00 UTC)),
    );
}

#[test]
fn seven_fields_begin_with_a_second() {
    assert_eq!(
        times("*/25 59 23 31 12 ? 2026", datetime!(2026-01-01 0:00 UTC), 9),
        [
            datetime!(2026-12-31 23:59:00 UTC),
            datetime!(2026-12-31 23:59:25 UTC),
            datetime!(2026-12-31 23:59:50 UTC),
        ],
    );
}

#[test]
fn a_star_for_the_year_does_not_restrict() {
    let start = datetime!(2099-12-31 23:59:59 UTC);
    assert_eq!(
        next("0 0 0 1 1 * *", start),
        Some(datetime!(2100-01-01 0:00 UTC))
    );
    assert_eq!(next("0 0 0 1 1 * 1970-2099", start), None);
}

#[test]
fn an_expression_that_is_not_due_again_has_no_next_time() {
    let now = datetime!(2026-11-23 0:00 UTC);
    for text in [
        "0 0 30 2 *",
        "0 0 31 4,6,9,11 *",
        "0 0 L-30 2 *",
        "0 0 L-29W 2 *",
        "0 0 * * * 2025",
        "0 0 29 2 * 2027",
        "0 0 23 11 * 2026",
    ] {
        assert_eq!(next(text, now), None, "{text}");
        let cron = Cron::parse(text).unwrap();
        let mut upcoming = cron.upcoming(now, &Zone::UTC);
        assert_eq!((upcoming.next(), upcoming.next()), (None, None), "{text}");
    }
}

#[test]
fn the_next_time_of_the_rarest_expressions_is_found() {
    let now = datetime!(2026-11-23 0:00 UTC);
    assert_eq!(
        next("0 0 29 2 * 2096", now),
        Some(datetime!(2096-02-29 0:00 UTC))
    );
    assert_eq!(
        times("0 0 29 2 MON#5 2096", now, 9),
        [datetime!(2096-02-29 0:00 UTC)],
    );
    // A fifth Monday in February needs a leap year that starts right.
    assert_eq!(
        next("0 0 ? 2 MON#5", now),
        Some(datetime!(2044-02-29 0:00 UTC))
    );
    // 2100 is not a leap year.
    assert_eq!(
        next("0 0 29 2 *", datetime!(2096-03-01 0:00 UTC)),
        Some(datetime!(2104-02-29 0:00 UTC)),
    );
}

#[test]
fn the_next_time_in_a_fixed_offset_follows_its_wall_clock_and_has_the_offset() {
    let cron = Cron::parse("30 0 * * MON").unwrap();
    let zone = Zone::fixed(offset!(+5:45));
    let next = cron
        .next_after(datetime!(2026-11-22 12:00 UTC), &zone)
        .unwrap();
    assert_eq!(next, datetime!(2026-11-23 0:30 +5:45));
    assert_eq!(next.offset(), offset!(+5:45));
}

#[test]
fn the_offset_of_the_start_does_not_matter() {
    let cron = Cron::parse("0 9 * * *").unwrap();
    let utc = datetime!(2026-11-23 8:30 UTC);
    let elsewhere = utc.to_offset(offset!(-11));
    assert_eq!(
        cron.next_after(elsewhere, &Zone::UTC),
        cron.next_after(utc, &Zone::UTC)
    );
    assert_eq!(
        cron.next_after(elsewhere, &Zone::UTC).unwrap().offset(),
        UtcOffset::UTC
    );
}

#[test]
fn the_ends_of_the_calendar_are_reached_and_not_passed() {
    let first = Date::MIN.midnight().assume_utc();
    let last = Date::MAX.with_hms(23, 59, 59).unwrap().assume_utc();
    let offsets = [offset!(-25:59:59), offset!(+25:59:59), UtcOffset::UTC];
    for text in [
        "* * * * *",
        "* * * * * * *",
        "0 0 L-3W * *",
        "0 0 29W 2 *",
        "0 0 1 1 * 2050",
    ] {
        let cron = Cron::parse(text).unwrap();
        for zone in offsets.map(Zone::fixed) {
            // With an offset, a time may be beyond the ends of UTC's calendar.
            for (first, last) in
                offsets.map(|at| (first.replace_offset(at), last.replace_offset(at)))
            {
                let next = cron.next_after(first, &zone);
                assert!(
                    next.is_some_and(|next| next > first),
                    "{text} in {zone} after {first}"
                );
                let next = cron.next_after(last, &zone);
                assert!(
                    next.is_none_or(|next| next > last),
                    "{text} in {zone} after {last}"
                );
            }
        }
        assert_eq!(cron.next_after(last, &Zone::UTC), None, "{text}");
    }
    let minute = Cron::parse("* * * * *").unwrap();
    assert_eq!(
        minute.next_after(last - time::Duration::MINUTE, &Zone::UTC),
        Some(last.replace_second(0).unwrap()),
    );
    assert_eq!(
        minute.next_after(first, &Zone::UTC),
        Some(first + time::Duration::MINUTE)
    );
}

#[test]
fn equal_texts_are_equal_expressions_and_print_as_written() {
    let text = "  0 9 * * mon-FRI \n";
    let cron: Cron = text.parse().unwrap();
    assert_eq!(cron.to_string(), text);
    assert_eq!(cron.as_str(), text);
    assert_eq!(cron, Cron::parse(text).unwrap());
    assert_ne!(cron, Cron::parse("0 9 * * 1-5").unwrap());
    assert_eq!(format!("{cron:?}"), format!("Cron({text:?})"));
}

#[test]
fn expressions_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Cron>();
    shared::<Zone>();
    shared::<jobber::cron::CronError>();
}
