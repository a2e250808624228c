//! The errors of invalid cron expressions.

use jobber::cron::{Cron, CronError, CronField, CronReplacement};

fn error(text: &str) -> CronError {
    match Cron::parse(text) {
        Ok(_) => panic!("{text:?} was accepted"),
        Err(error) => error,
    }
}

/// The message; asserts that the span contains the text that it names.
fn message(text: &str) -> String {
    let error = error(text);
    assert_eq!(text.get(error.span()), Some(error.text()), "{text:?}");
    let message = error.to_string();
    assert!(message.ends_with(error.allowed()), "{message}");
    message
}

const LAYOUTS: &str = "allowed: 5 fields `minute hour day-of-month month day-of-week`, \
                       6 with a year last, 7 with seconds first and a year last, \
                       or an alias such as `@daily`";

#[test]
fn a_text_of_blanks_is_empty() {
    for text in ["", " ", " \t\r\n"] {
        assert_eq!(error(text), CronError::Empty);
        assert_eq!(
            message(text),
            format!("the cron expression is empty; {LAYOUTS}")
        );
    }
}

#[test]
fn a_text_of_more_than_a_kibibyte_is_refused() {
    let longest = format!("{:<1024}", "0 0 * * *");
    assert!(Cron::parse(&longest).is_ok());
    let text = format!("{longest} ");
    assert_eq!(error(&text), CronError::TooLong { length: 1025 });
    assert_eq!(
        message(&text),
        "the cron expression has 1025 bytes; allowed: at most 1024 bytes",
    );
}

#[test]
fn the_error_for_a_wrong_number_of_fields_has_the_number() {
    assert_eq!(
        message("0"),
        format!("the cron expression has 1 field; {LAYOUTS}")
    );
    assert_eq!(
        message(" 0 0 * * "),
        format!("the cron expression has 4 fields; {LAYOUTS}"),
    );
    assert!(matches!(
        error("0 0 0 * * * * *"),
        CronError::FieldCount { count: 8, span, .. } if span == (0..15)
    ));
}

#[test]
fn the_error_for_an_unknown_alias_lists_the_aliases() {
    assert_eq!(
        message(" @fortnightly"),
        "`@fortnightly` is not a known alias; allowed: `@yearly`, `@annually`, `@monthly`, \
         `@weekly`, `@daily`, `@midnight`, `@hourly`",
    );
    for text in ["@secondly", "@MINUTELY", "\t@weekdays\n", "@daily 0 0"] {
        assert_eq!(error(text).text(), text.trim());
        assert!(message(text).ends_with("`@weekly`, `@daily`, `@midnight`, `@hourly`"));
    }
}

#[test]
fn the_error_for_six_fields_without_a_year_suggests_five_or_seven() {
    assert_eq!(
        message("*/10 * * * * *"),
        "the sixth of six fields must be a year, but `*` (byte 13) is not; with seconds first, \
         write 7 fields: `*/10 * * * * * *`; without seconds, write 5 fields; \
         allowed: a year such as `2027`, `2026-2028`, `2026/2`",
    );
    // Seconds first, as in Quartz and others.
    for text in [
        "0 0 12 * * ?",
        "0 0 12 ? * MON-FRI",
        "0 0 12 * * 1",
        "0 0 12 * * 1-5",
        "0 0 12 ? * 6L",
        "0 0 12 * * */2",
        "0 0 12 * * 2027,*",
    ] {
        let error = error(text);
        assert!(
            matches!(error, CronError::SixthField { .. }),
            "{text}: {error}"
        );
        assert_eq!(error.field(), Some(CronField::Year));
        assert_eq!(Some(error.text()), text.split(' ').next_back());
    }
}

#[test]
fn the_error_for_six_fields_with_seconds_first_has_the_seven_fields() {
    let seven_fields = |text: &str| match error(text) {
        CronError::SixthField { seven_fields, .. } => seven_fields,
        other => panic!("{text}: {other}"),
    };
    for text in [
        "*/10 * * * * *",
        "0 0 9 * * MON",
        "0 0 12 ? * 6L",
        " 5  0\t12 * * 1-5 \n",
        "30 59 23 L * ?",
    ] {
        let expected = format!("{} *", text.trim());
        assert_eq!(seven_fields(text).as_deref(), Some(&*expected), "{text}");
        assert!(Cron::parse(&expected).is_ok(), "{expected}");
    }
    // Another field is invalid too, or the text would be too long.
    let long = format!("0 0 0 {}1 * *", "1,".repeat(506));
    assert_eq!(long.len(), 1023);
    for text in [
        "0 0 12 * * 2027,*",
        "60 0 9 * * *",
        "0 0 9 * * 31",
        "x * * * * *",
        &long,
    ] {
        assert_eq!(seven_fields(text), None, "{text}");
        assert!(message(text).contains("; write 5 fields, or 7 with seconds first; "));
    }
}

#[test]
fn the_error_for_a_schedule_of_other_tools_names_the_method() {
    for (text, fault, replacement, method) in [
        (
            "@every 5m",
            "@every 5m",
            CronReplacement::Every,
            "`.every(Duration)` in place of `.cron(..)`",
        ),
        (
            " @EVERY\t1h30m10s\n",
            "@EVERY\t1h30m10s",
            CronReplacement::Every,
            "`.every(Duration)` in place of `.cron(..)`",
        ),
        (
            "@every5m",
            "@every5m",
            CronReplacement::Every,
            "`.every(Duration)` in place of `.cron(..)`",
        ),
        (
            "@every",
            "@every",
            CronReplacement::Every,
            "`.every(Duration)` in place of `.cron(..)`",
        ),
        (
            "@reboot",
            "@reboot",
            CronReplacement::Push,
            "`.push()` after the start of the app, in place of `.cron(..)`",
        ),
        (
            "\t@Reboot ",
            "@Reboot",
            CronReplacement::Push,
            "`.push()` after the start of the app, in place of `.cron(..)`",
        ),
        (
            "TZ=Europe/Berlin 0 9 * * *",
            "TZ=Europe/Berlin",
            CronReplacement::Zone("Europe/Berlin".into()),
            "`.zone(\"Europe/Berlin\")` before `.cron(..)`",
        ),
        (
            "  cron_tz=Asia/Tokyo @daily",
            "cron_tz=Asia/Tokyo",
            CronReplacement::Zone("Asia/Tokyo".into()),
            "`.zone(\"Asia/Tokyo\")` before `.cron(..)`",
        ),
        (
            "CRON_TZ=\"UTC\"\n0 9 * * *",
            "CRON_TZ=\"UTC\"",
            CronReplacement::Zone("UTC".into()),
            "`.zone(\"UTC\")` before `.cron(..)`",
        ),
        (
            "TZ= 0 9 * * *",
            "TZ=",
            CronReplacement::Zone(String::new()),
            "`.zone(..)` before `.cron(..)`",
        ),
        (
            "TZ=''",
            "TZ=''",
            CronReplacement::Zone(String::new()),
            "`.zone(..)` before `.cron(..)`",
        ),
    ] {
        let error = error(text);
        assert_eq!(text.get(error.span()), Some(fault), "{text:?}");
        let expected = CronError::NotCron {
            text: fault.into(),
            span: error.span(),
            replacement,
        };
        assert_eq!(error, expected);
        let shown = fault.replace('\t', "\\t");
        assert_eq!(
            error.to_string(),
            format!("`{shown}` is not supported in a cron expression; use {method}"),
        );
        assert_eq!((error.field(), error.text()), (None, fault));
        assert!(
            error
                .allowed()
                .starts_with(&method[..method.find('(').unwrap()])
        );
    }
    // What only begins like one of them.
    for text in ["@everyday", "@reboots", "@reboot now", "@ every 5m", "@"] {
        assert!(
            matches!(error(text), CronError::UnknownAlias { .. }),
            "{text}"
        );
    }
    for text in ["TZX=UTC 0 9 * * *", "=UTC 0 9 * * *", "0 9 * * TZ=UTC"] {
        assert!(!matches!(error(text), CronError::NotCron { .. }), "{text}");
    }
}

#[test]
fn the_error_for_a_number_out_of_range_has_the_range_of_its_field() {
    for (text, expected) in [
        (
            "60 0 0 1 1 ? 2027",
            "`60` is out of range in the second field (byte 0); allowed: 0-59",
        ),
        (
            "0 61 0 1 1 ? 2027",
            "`61` is out of range in the minute field (byte 2); allowed: 0-59",
        ),
        (
            "5-99/2 * * * *",
            "`99` is out of range in the minute field (byte 2); allowed: 0-59",
        ),
        (
            "0 24 * * *",
            "`24` is out of range in the hour field (byte 2); allowed: 0-23",
        ),
        (
            "0 0 0 * *",
            "`0` is out of range in the day-of-month field (byte 4); allowed: 1-31",
        ),
        (
            "0 0 1,32W * *",
            "`32` is out of range in the day-of-month field (byte 6); allowed: `1W` to `31W`",
        ),
        (
            "0 0 L-31 * *",
            "`31` is out of range in the day-of-month field (byte 6); allowed: `L-0` to `L-30`",
        ),
        (
            "0 0 * 13 *",
            "`13` is out of range in the month field (byte 6); allowed: 1-12 or JAN-DEC",
        ),
        (
            "0 0 * * MON-8",
            "`8` is out of range in the day-of-week field (byte 12); allowed: 0-7 or SUN-SAT",
        ),
        (
            "0 0 * * MON#6",
            "`6` is out of range in the day-of-week field (byte 12); allowed: `#1` to `#5`",
        ),
        (
            "0 0 * * * 1969",
            "`1969` is out of range in the year field (byte 10); allowed: 1970-2099",
        ),
        (
            "0 99999999999999999999 * * *",
            "`99999999999999999999` is out of range in the hour field (byte 2); allowed: 0-23",
        ),
    ] {
        assert_eq!(message(text), expected);
        assert!(matches!(error(text), CronError::OutOfRange { .. }));
    }
}

#[test]
fn the_error_for_invalid_text_says_what_its_field_may_contain() {
    const NUMBERS: &str = "`*`, ranges `a-b`, steps `/n`, lists `a,b`";
    let days_of_month =
        "1-31, `*`, `?`, ranges `a-b`, steps `/n`, lists `a,b`, `L`, `L-3`, `LW`, `15W`, `L-3W`";
    let days_of_week =
        "0-7 or SUN-SAT, `*`, `?`, ranges `a-b`, steps `/n`, lists `a,b`, `FRIL`, `MON#2`";
    for (text, fault, field, byte, allowed) in [
        (
            "x 0 0 1 1 ? 2027",
            "`x`",
            "second",
            0,
            format!("0-59, {NUMBERS}"),
        ),
        (
            "5-x/2 * * * *",
            "`x`",
            "minute",
            2,
            format!("0-59, {NUMBERS}"),
        ),
        ("0 ? * * *", "`?`", "hour", 2, format!("0-23, {NUMBERS}")),
        (
            "0 0 * MAYBE *",
            "`MAYBE`",
            "month",
            6,
            format!("1-12 or JAN-DEC, {NUMBERS}"),
        ),
        (
            "0 0 * * * 2027-x",
            "`x`",
            "year",
            15,
            format!("1970-2099, {NUMBERS}"),
        ),
        (
            "0 0 1-5W * *",
            "`1-5W`",
            "day-of-month",
            4,
            days_of_month.to_string(),
        ),
        (
            "0 0 L/2 * *",
            "`L/2`",
            "day-of-month",
            4,
            days_of_month.to_string(),
        ),
        (
            "0 0 1,? * *",
            "`?`",
            "day-of-month",
            6,
            days_of_month.to_string(),
        ),
        (
            "0 0 * * FRI-SATL",
            "`FRI-SATL`",
            "day-of-week",
            8,
            days_of_week.to_string(),
        ),
        (
            "0 0 * * MON#2#3",
            "`MON#2#3`",
            "day-of-week",
            8,
            days_of_week.to_string(),
        ),
        (
            "0 0 * * DAY",
            "`DAY`",
            "day-of-week",
            8,
            days_of_week.to_string(),
        ),
        (
            "-5 * * * *",
            "`-5`",
            "minute",
            0,
            format!("0-59, {NUMBERS}"),
        ),
        (
            "*/ * * * *",
            "`*/`",
            "minute",
            0,
            format!("0-59, {NUMBERS}"),
        ),
        (
            "*-5 * * * *",
            "`*`",
            "minute",
            0,
            format!("0-59, {NUMBERS}"),
        ),
        (
            "1.5 * * * *",
            "`1.5`",
            "minute",
            0,
            format!("0-59, {NUMBERS}"),
        ),
        ("0 ٣ * * *", "`٣`", "hour", 2, format!("0-23, {NUMBERS}")),
        (
            "0 0\n * * *",
            "`0\\n`",
            "hour",
            2,
            format!("0-23, {NUMBERS}"),
        ),
    ] {
        assert_eq!(
            message(text),
            format!("{fault} is not valid in the {field} field (byte {byte}); allowed: {allowed}"),
        );
    }
}

#[test]
fn the_error_for_a_missing_value_points_at_its_place() {
    for (text, byte) in [("1,,2 * * * *", 2), (", * * * *", 0), ("1, * * * *", 2)] {
        assert_eq!(
            message(text),
            format!(
                "a value is missing in the minute field (byte {byte}); \
                 allowed: 0-59, `*`, ranges `a-b`, steps `/n`, lists `a,b`"
            ),
        );
        assert_eq!(error(text).span(), byte..byte);
    }
}

#[test]
fn a_step_of_zero_is_an_error() {
    assert_eq!(
        message("*/0 * * * *"),
        "the step `0` in the minute field (byte 2) is zero; allowed: a step of 1 or more",
    );
    assert!(matches!(
        error("0 0 1-5/00 * *"),
        CronError::ZeroStep {
            field: CronField::DayOfMonth,
            ..
        }
    ));
}

#[test]
fn the_error_for_a_bare_l_in_day_of_week_says_what_to_write() {
    assert_eq!(
        message("0 0 * * L"),
        "`L` without a weekday in the day-of-week field (byte 8) is ambiguous; \
         allowed: `SAT` for Saturday, `FRIL` for the last Friday of the month",
    );
    assert_eq!(error("0 0 * * MON,l").text(), "l");
    assert_eq!(error("0 0 * * L").field(), Some(CronField::DayOfWeek));
}

#[test]
fn a_range_of_years_cannot_run_backwards() {
    assert_eq!(
        message("0 0 * * * 2030-2027"),
        "the year range `2030-2027` (byte 10) ends before it starts; allowed: the earlier year first",
    );
    assert_eq!(
        error("0 0 * * * 2030-2027/2").field(),
        Some(CronField::Year)
    );
}

#[test]
fn an_error_names_its_field() {
    for (text, field) in [
        ("x * * * * * *", CronField::Second),
        ("* x * * * * *", CronField::Minute),
        ("* * x * * * *", CronField::Hour),
        ("* * * x * * *", CronField::DayOfMonth),
        ("* * * * x * *", CronField::Month),
        ("* * * * * x *", CronField::DayOfWeek),
        ("* * * * * * x", CronField::Year),
    ] {
        assert_eq!(error(text).field(), Some(field));
    }
    assert_eq!(error("").field(), None);
}

#[test]
fn a_long_or_unprintable_text_is_shortened_and_escaped_in_the_message() {
    let text = format!("0 {} * * *", "9".repeat(900));
    assert!(message(&text).len() < 120);
    assert!(message(&text).contains(&format!("`{}…`", "9".repeat(40))));
    assert_eq!(error(&text).text().len(), 900);
    assert!(message("0 \u{1b}[2J * * *").starts_with("`\\u{1b}[2J` is not valid"));
    let text = format!("TZ=\u{1b}{} 0 9 * * *", "x".repeat(900));
    let message = error(&text).to_string();
    assert!(message.len() < 200);
    assert!(message.contains(".zone(\"\\u{1b}xxx") && message.contains("xxx…\")`"));
}
