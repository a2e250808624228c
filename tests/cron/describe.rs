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
            "Every 15th minute from minute 0 to minute 59 past the hour",
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
            "Every 10th minute from minute 45 to minute 15 past the hour",
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

/// A field: the expression with `{}` in its place, the description of the expression with
/// `{}` in the place of the field's words, and the steps that the field may have.
type Steps = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Regression: `0 0 */2 * *` was described as `on the every 2nd day from the 1st to the 31st`.
#[test]
fn a_step_is_every_nth_of_a_range() {
    let fields: &[Steps] = &[
        (
            "{} * * * * * *",
            "Every {} past the minute",
            &[
                ("*/2", "2nd second from second 0 to second 59"),
                ("1/3", "3rd second from second 1 to second 59"),
                ("2-30/7", "7th second from second 2 to second 30"),
                ("50-10/11", "11th second from second 50 to second 10"),
            ],
        ),
        (
            "{} * * * *",
            "Every {} past the hour",
            &[
                ("*/2", "2nd minute from minute 0 to minute 59"),
                ("1/3", "3rd minute from minute 1 to minute 59"),
                ("2-30/7", "7th minute from minute 2 to minute 30"),
                ("50-10/11", "11th minute from minute 50 to minute 10"),
            ],
        ),
        (
            "{} 9-17 * * *",
            "Every {} past the hour, between 09:00 and 17:59",
            &[
                ("*/2", "2nd minute from minute 0 to minute 59"),
                ("2-30/7", "7th minute from minute 2 to minute 30"),
            ],
        ),
        (
            "* {} * * *",
            "Every minute in every {}",
            &[
                ("*/2", "2nd hour between 00:00 and 23:59"),
                ("1/2", "2nd hour between 01:00 and 23:59"),
                ("2-20/7", "7th hour between 02:00 and 20:59"),
                ("22-4/3", "3rd hour between 22:00 and 04:59"),
            ],
        ),
        (
            "1 {} * * *",
            "At 1 minute past the hour, in every {}",
            &[
                ("*/2", "2nd hour between 00:00 and 23:59"),
                ("2-20/7", "7th hour between 02:00 and 20:59"),
            ],
        ),
        (
            "0 0 {} * *",
            "At 00:00 on every {} of every month",
            &[
                ("*/2", "2nd day from the 1st to the 31st"),
                ("1/2", "2nd day from the 1st to the 31st"),
                ("2-30/7", "7th day from the 2nd to the 30th"),
                ("25-5/3", "3rd day from the 25th to the 5th"),
            ],
        ),
        (
            "0 0 * {} *",
            "At 00:00 every day in every {}",
            &[
                ("*/2", "2nd month from January to December"),
                ("2/3", "3rd month from February to December"),
                ("MAR-OCT/4", "4th month from March to October"),
                ("NOV-FEB/2", "2nd month from November to February"),
            ],
        ),
        (
            "0 0 1 {} *",
            "At 00:00 on the 1st of every {}",
            &[("*/2", "2nd month from January to December")],
        ),
        // A weekday is Monday to Friday, and so it is not a day of the week.
        (
            "0 0 * * {}",
            "At 00:00 on every {}",
            &[
                ("*/2", "2nd day from Sunday through Saturday"),
                ("1/2", "2nd day from Monday through Sunday"),
                ("MON-FRI/2", "2nd day from Monday through Friday"),
                ("FRI-MON/3", "3rd day from Friday through Monday"),
            ],
        ),
        (
            "0 0 * * * {}",
            "At 00:00 every {}",
            &[
                ("1970/2", "2 years from 1970 to 2099"),
                ("2030/3", "3 years from 2030 to 2099"),
                ("2030-2060/21", "21 years from 2030 to 2060"),
            ],
        ),
        (
            "0 0 0 * * * {}",
            "At 00:00 every {}",
            &[("*/2", "2 years from 1970 to 2099")],
        ),
    ];
    for (field, expected, steps) in fields {
        for (step, words) in *steps {
            described(&[(&field.replace("{}", step), &expected.replace("{}", words))]);
        }
    }
}

#[test]
fn a_step_of_one_is_a_range() {
    described(&[
        ("*/1 */1 */1 */1 */1 */1 */1", "Every second"),
        ("*/1 */1 * * *", "Every minute"),
        ("0 0 */1 * *", "At 00:00"),
        (
            "5/1 9/1 * * *",
            "Minutes 5 through 59 past the hour, between 09:00 and 23:59",
        ),
        (
            "0 0 2-5/1 MAR/1 * 2030/1",
            "At 00:00 on the 2nd to 5th of March to December from 2030 to 2099",
        ),
        ("0 0 * * MON-FRI/1", "At 00:00 on Monday through Friday"),
    ]);
}

#[test]
fn a_step_in_a_list_comes_after_the_values() {
    described(&[
        (
            "30-50/10,5 * * * *",
            "At 5 minutes past the hour and every 10th minute from minute 30 to minute 50 past \
             the hour",
        ),
        (
            "0,30/10,10-20/2 * * * *",
            "At 0 minutes past the hour, every 10th minute from minute 30 to minute 59 past the \
             hour, and every 2nd minute from minute 10 to minute 20 past the hour",
        ),
        (
            "0/20,1,2-5 9 * * *",
            "At 1 and 2 through 5 minutes past the hour and every 20th minute from minute 0 to \
             minute 59 past the hour, between 09:00 and 09:59",
        ),
        (
            "0-20/5,59 * * * * * *",
            "At 59 seconds past the minute and every 5th second from second 0 to second 20 past \
             the minute",
        ),
        (
            "* 12/4,9 * * *",
            "Every minute between 09:00 and 09:59 and in every 4th hour between 12:00 and 23:59",
        ),
        (
            "0 12/4,9,10 * * *",
            "At 0 minutes past the hour, between 09:00 and 09:59, between 10:00 and 10:59, and in \
             every 4th hour between 12:00 and 23:59",
        ),
        (
            "0 0 10-20/5,1,2 * *",
            "At 00:00 on the 1st and 2nd or on every 5th day from the 10th to the 20th of every \
             month",
        ),
        (
            "0 0 */10,5/10,L * *",
            "At 00:00 on every 10th day from the 1st to the 31st or on every 10th day from the \
             5th to the 31st or on the last day of every month",
        ),
        (
            "0 0 * 6/2,1,2 *",
            "At 00:00 every day in January, February, and every 2nd month from June to December",
        ),
        (
            "0 0 * * MON-FRI/2,SUN",
            "At 00:00 on Sunday or on every 2nd day from Monday through Friday",
        ),
        (
            "0 0 * * * 2030/4,2027",
            "At 00:00 in 2027 and every 4 years from 2030 to 2099",
        ),
    ]);
}

#[test]
fn one_minute_within_some_hours_is_singular() {
    described(&[(
        "1 9-17 * * *",
        "At 1 minute past the hour, between 09:00 and 17:59",
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
            "Every 10th second from second 0 to second 59 past the minute, at 09:00",
        ),
        ("* 0 9,17 * * ? *", "Every second, at 09:00 and 17:00"),
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
