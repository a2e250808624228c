//! Expressions in English.

use jobber::cron::Cron;

fn described(expectations: &[(&str, &str)]) {
    for (text, expected) in expectations {
        assert_eq!(Cron::parse(text).unwrap().describe(), *expected, "{text}");
    }
}

#[test]
fn expressions_that_saffron_knows_are_described_as_by_saffron() {
    described(&[
        ("* * * * *", "Every minute"),
        ("@hourly", "Every hour"),
        ("@daily", "At 00:00"),
        ("0 9 * * MON-FRI", "At 09:00 on Monday through Friday"),
        ("0 9 * * 1-5", "At 09:00 on Monday through Friday"),
        (
            "30 6 1,15 * *",
            "At 06:30 on the 1st and 15th of every month",
        ),
        ("0 0 1 1 *", "At 00:00 on the 1st of January"),
        ("0 0 * JUN-AUG *", "At 00:00 every day in June to August"),
        ("5 * * * *", "At 5 minutes past the hour"),
        ("* 9-17 * * *", "Every minute between 09:00 and 17:59"),
        (
            "*/15 * * * *",
            "Every 15th minute starting from minute 0 to minute 59 past the hour",
        ),
        (
            "0 0 15W * ?",
            "At 00:00 on the closest weekday to the 15th of every month",
        ),
        (
            "0 0 L-3 * ?",
            "At 00:00 on the 4th to last day of every month",
        ),
        ("0 0 ? * FRIL", "At 00:00 on the last Friday of every month"),
        ("0 0 ? 5 1#2", "At 00:00 on the 2nd Monday of May"),
    ]);
}

#[test]
fn several_hours_are_named_by_the_clock() {
    described(&[
        ("0 9,17 * * *", "At 09:00 and 17:00"),
        (
            "30 6,12,18 * * SAT",
            "At 06:30, 12:30, and 18:30 on Saturday",
        ),
    ]);
}

#[test]
fn three_or_more_minutes_within_some_hours_keep_their_unit() {
    described(&[(
        "0,15,30 9-17 * * *",
        "At 0, 15, and 30 minutes past the hour, between 09:00 and 17:59",
    )]);
}

#[test]
fn ranges_around_the_end_run_from_their_start_to_their_end() {
    described(&[
        ("* 22-2 * * *", "Every minute between 22:00 and 02:59"),
        ("0 0 * * FRI-MON", "At 00:00 on Friday through Monday"),
        (
            "0 0 * NOV-FEB *",
            "At 00:00 every day in November to February",
        ),
        (
            "45-15/10 * * * *",
            "Every 10th minute starting from minute 45 to minute 15 past the hour",
        ),
    ]);
}

#[test]
fn two_restricted_days_are_joined_by_or() {
    described(&[
        (
            "0 0 13 * FRI",
            "At 00:00 on the 13th or on Friday of every month",
        ),
        ("0 0 1 1 MON", "At 00:00 on the 1st or on Monday of January"),
    ]);
}

#[test]
fn extras_in_lists_are_each_named() {
    described(&[
        (
            "0 0 1,15W,L-2 * ?",
            "At 00:00 on the 1st or on the closest weekday to the 15th or on the 3rd to last day \
             of every month",
        ),
        (
            "0 0 ? * WED,MON#1,FRIL",
            "At 00:00 on Wednesday or on the 1st Monday or on the last Friday of every month",
        ),
    ]);
}

#[test]
fn every_second_weekday_is_not_called_a_working_day() {
    described(&[(
        "0 0 * * MON-FRI/2",
        "At 00:00 on every 2nd day from Monday through Friday",
    )]);
}

#[test]
fn a_field_that_holds_every_value_restricts_nothing() {
    described(&[
        ("0-59 */1 1-31 JAN-DEC SUN-SAT", "Every minute"),
        ("0 0 1-31 * MON", "At 00:00"),
        ("*,5 * * * *", "Every minute"),
    ]);
}

#[test]
fn a_step_over_the_range_is_the_first_value() {
    described(&[
        ("*/99 9 * * *", "At 09:00"),
        (
            "0 9 10-12/5 * 0-7/7",
            "At 09:00 on the 10th or on Sunday of every month",
        ),
    ]);
}

#[test]
fn seconds_come_first() {
    described(&[
        ("* * * * * * *", "Every second"),
        ("30 0 9 * * ? *", "At 09:00:30"),
        ("0 0 9 * * ? *", "At 09:00"),
        ("30 * * * * * *", "At 30 seconds past the minute"),
        (
            "*/10 0 9 * * ? *",
            "Every 10th second starting from second 0 to second 59 past the minute, at 09:00",
        ),
        ("* 0 * * * * *", "Every second, at 0 minutes past the hour"),
    ]);
}

#[test]
fn years_come_last() {
    described(&[
        ("0 0 1 1 * 2027", "At 00:00 on the 1st of January in 2027"),
        ("0 0 * * * 2027,2029", "At 00:00 in 2027 and in 2029"),
        ("0 0 0 * * ? 2026-2028", "At 00:00 from 2026 to 2028"),
        (
            "0 0 * * 1 2030/4",
            "At 00:00 on Monday every 4 years from 2030 to 2099",
        ),
        ("0 0 0 * * ? *", "At 00:00"),
    ]);
}
