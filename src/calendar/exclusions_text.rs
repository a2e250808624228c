//! The text form of [`Exclusions`]: rules with semicolons between them.
//!
//! | rule | text |
//! |---|---|
//! | dates | `2026-12-25`, `2026-12-24/2026-12-26` |
//! | a day of the week | `MON` |
//! | times of day | `22:00:00/06:00:00`, with nine digits of a fraction if there is one |
//! | a cron expression | `cron 0 12 * * *` (no expression contains a semicolon) |

use std::fmt;
use std::str::FromStr;

use time::{Date, Month, Time, Weekday};

use crate::calendar::exclusions::{Exclusions, bit};
use crate::value::error::ExclusionError;

const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Monday, "MON"),
    (Weekday::Tuesday, "TUE"),
    (Weekday::Wednesday, "WED"),
    (Weekday::Thursday, "THU"),
    (Weekday::Friday, "FRI"),
    (Weekday::Saturday, "SAT"),
    (Weekday::Sunday, "SUN"),
];

impl fmt::Display for Exclusions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut rule = |f: &mut fmt::Formatter<'_>, rule: fmt::Arguments<'_>| {
            write!(f, "{separator}{rule}")?;
            separator = "; ";
            Ok(())
        };
        for (first, last) in &self.dates {
            if first == last {
                rule(f, format_args!("{first}"))?;
            } else {
                rule(f, format_args!("{first}/{last}"))?;
            }
        }
        for (weekday, name) in WEEKDAYS {
            if self.weekdays & bit(weekday) != 0 {
                rule(f, format_args!("{name}"))?;
            }
        }
        for &(from, until) in &self.times {
            rule(f, format_args!("{}/{}", TimeText(from), TimeText(until)))?;
        }
        for cron in &self.crons {
            rule(f, format_args!("cron {cron}"))?;
        }
        Ok(())
    }
}

struct TimeText(Time);

impl fmt::Display for TimeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hour, minute, second, nanosecond) = self.0.as_hms_nano();
        write!(f, "{hour:02}:{minute:02}:{second:02}")?;
        if nanosecond != 0 {
            write!(f, ".{nanosecond:09}")?;
        }
        Ok(())
    }
}

impl FromStr for Exclusions {
    type Err = ExclusionError;

    fn from_str(text: &str) -> Result<Self, ExclusionError> {
        let mut exclusions = Self::new();
        if text.trim_ascii().is_empty() {
            return Ok(exclusions);
        }
        for rule in text.split(';').map(str::trim_ascii) {
            exclusions = with_rule(exclusions, rule)?;
        }
        Ok(exclusions)
    }
}

fn with_rule(exclusions: Exclusions, rule: &str) -> Result<Exclusions, ExclusionError> {
    if let Some(expression) = rule.strip_prefix("cron ") {
        return exclusions.cron(expression);
    }
    if let Some((weekday, _)) = WEEKDAYS.iter().find(|(_, name)| *name == rule) {
        return Ok(exclusions.weekday(*weekday));
    }
    if let Some(date) = parse_date(rule) {
        return Ok(exclusions.date(date));
    }
    let Some((from, to)) = rule.split_once('/') else {
        return Err(ExclusionError::Invalid { text: rule.into() });
    };
    if let (Some(first), Some(last)) = (parse_date(from), parse_date(to)) {
        return exclusions.dates(first, last);
    }
    if let (Some(from), Some(until)) = (parse_time(from), parse_time(to)) {
        return exclusions.times_of_day(from, until);
    }
    Err(ExclusionError::Invalid { text: rule.into() })
}

/// Parses `2026-12-25`. A year may have a sign and more digits, as `Display` of `Date` writes.
fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.rsplitn(3, '-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = year.strip_prefix(['-', '+']).unwrap_or(year);
    if digits.len() < 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let month = Month::try_from(two_digits(month)?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, two_digits(day)?).ok()
}

/// Parses `22:00:00` and `22:00:00.000000001`.
fn parse_time(text: &str) -> Option<Time> {
    let (text, nanosecond) = match text.split_once('.') {
        Some((text, digits)) => (text, nine_digits(digits)?),
        None => (text, 0),
    };
    let mut parts = text.splitn(3, ':').map(two_digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    Time::from_hms_nano(hour, minute, second, nanosecond).ok()
}

fn two_digits(text: &str) -> Option<u8> {
    let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

fn nine_digits(text: &str) -> Option<u32> {
    let is_plain = text.len() == 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, time};

    #[test]
    fn the_text_of_exclusions_parses_to_the_same_exclusions() {
        let all = Exclusions::new()
            .cron("\t* 12 * * MON-FRI \n")
            .unwrap()
            .cron("0 0 1 1 *")
            .unwrap()
            .cron("* 12 * * MON-FRI")
            .unwrap()
            .times_of_day(time!(22:00), time!(6:00:00.000_000_001))
            .unwrap()
            .times_of_day(time!(12:00), time!(12:30:15))
            .unwrap()
            .weekday(Weekday::Sunday)
            .weekday(Weekday::Monday)
            .date(date!(2026 - 12 - 25))
            .date(Date::MIN)
            .dates(date!(2026 - 12 - 30), date!(2027 - 01 - 02))
            .unwrap();
        let text = "-9999-01-01; 2026-12-25; 2026-12-30/2027-01-02; MON; SUN; \
            12:00:00/12:30:15; 22:00:00/06:00:00.000000001; \
            cron * 12 * * MON-FRI; cron 0 0 1 1 *";
        assert_eq!(all.to_string(), text);
        assert_eq!(text.parse(), Ok(all));
        assert_eq!(Exclusions::new().to_string(), "");
        for empty in ["", " ", "\n"] {
            assert_eq!(empty.parse(), Ok(Exclusions::new()), "{empty:?}");
        }
        assert_eq!(
            " SAT;SUN ".parse(),
            Ok(Exclusions::new()
                .weekday(Weekday::Saturday)
                .weekday(Weekday::Sunday))
        );
    }

    #[test]
    fn a_rule_in_any_other_form_is_an_error_with_the_rule() {
        let parse = |text: &str| text.parse::<Exclusions>();
        for rule in [
            "MONDAY",
            "mon",
            "2026-02-29",
            "2026-2-1",
            "26-02-01",
            "2026-13-01",
            "20２6-01-01",
            "--2026-01-01",
            "2026-12-25/",
            "2026-12-25/22:00:00",
            "2026-12-25/2026-12-26/2026-12-27",
            "22:00/06:00",
            "24:00:00/06:00:00",
            "22:00:00",
            "22:00:00.5/06:00:00",
            "22:00:00:00/06:00:00",
            "+1:00:00/06:00:00",
            "cron",
            "crons 0 0 * * *",
        ] {
            let invalid = Err(ExclusionError::Invalid { text: rule.into() });
            assert_eq!(parse(&format!("SAT; {rule}; SUN")), invalid, "{rule}");
        }
        let invalid = Err(ExclusionError::Invalid { text: "".into() });
        assert_eq!(parse("SAT;"), invalid);
        let reversed = parse("2026-12-25/2026-12-24");
        assert!(matches!(
            reversed,
            Err(ExclusionError::DatesReversed { .. })
        ));
        let empty = parse("06:00:00/06:00:00");
        assert!(matches!(empty, Err(ExclusionError::EmptyTimes { .. })));
        assert!(matches!(
            parse("cron 61 * * * *"),
            Err(ExclusionError::Cron(_))
        ));
    }
}
