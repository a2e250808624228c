//! The description of an expression in English.
//!
//! saffron describes each part of an expression in canonical form, and this file joins the
//! descriptions as saffron would. It adds what saffron does not support (seconds, years,
//! and lists of special items) and corrects what saffron describes differently (two
//! restricted day fields are joined by *or*).

use saffron::parse::{CronExpr, English, HourFormat};

use crate::calendar::cron::bit_set::BitSet;
use crate::calendar::cron::fields::{YEAR_MAX, YEAR_MIN, cycle};
use crate::calendar::cron::syntax::{Field, Item, ParsedExpression, Values, weekday_name};
use crate::value::error::CronField;

/// Returns `None` if saffron rejects a part. No such part is known.
pub(crate) fn describe(expression: &ParsedExpression) -> Option<String> {
    let time = time(expression)?;
    let date = date(expression)?;
    let years = expression.years.as_ref().map_or_else(String::new, years);
    Some(format!("{time}{date}{years}"))
}

fn time(expression: &ParsedExpression) -> Option<String> {
    let (minutes, hours) = (&expression.minutes, &expression.hours);
    let second = match &expression.seconds {
        Some(seconds) => single(seconds, CronField::Second),
        None => Some(0),
    };
    if let (Some(second), Some(minute)) = (second, single(minutes, CronField::Minute))
        && let Some(times) = clock_times(hours, minute, second)
    {
        return Some(format!("At {times}"));
    }
    let minute_list = list(minutes, CronField::Minute);
    let hour_list = list(hours, CronField::Hour);
    // saffron omits `minutes past the hour` after a list of three or more minutes.
    let time = if minutes.items.len() > 2 && hour_list != "*" && minute_list != "*" {
        let minutes = saffron(&format!("{minute_list} * * * *"))?;
        let hours = saffron(&format!("* {hour_list} * * *"))?;
        format!("{minutes}, {}", hours.strip_prefix("Every minute ")?)
    } else {
        saffron(&format!("{minute_list} {hour_list} * * *"))?
    };
    if second == Some(0) {
        return Some(time);
    }
    let seconds = seconds(expression.seconds.as_ref()?)?;
    Some(match time.as_str() {
        "Every minute" => seconds,
        // Without seconds, `Every hour` means minute 0 of every hour.
        "Every hour" => format!("{seconds}, at 0 minutes past the hour"),
        _ => format!("{seconds}, {}", uncapitalized(&time)),
    })
}

/// Describes seconds of the minute with saffron's words for minutes of the hour.
fn seconds(field: &Field) -> Option<String> {
    let as_minutes = saffron(&format!("{} * * * *", list(field, CronField::Second)))?;
    Some(
        as_minutes
            .replace("minute", "second")
            .replace("Minute", "Second")
            .replace("hour", "minute"),
    )
}

/// A list such as `09:00 and 17:00`. `None` if an item of the hours is a range.
fn clock_times(hours: &Field, minute: u16, second: u16) -> Option<String> {
    let times = hours.items.iter().map(|item| match item {
        Item::Values(Values { first, last, .. }) if first == last => Some(if second == 0 {
            format!("{first:02}:{minute:02}")
        } else {
            format!("{first:02}:{minute:02}:{second:02}")
        }),
        _ => None,
    });
    times.collect::<Option<Vec<_>>>().map(|times| join(&times))
}

fn date(expression: &ParsedExpression) -> Option<String> {
    let days_of_month = &expression.days_of_month;
    let days_of_week = &expression.days_of_week;
    let months = list(&expression.months, CronField::Month);
    let months = if months == "*" {
        None
    } else {
        let text = saffron(&format!("* * * {months} *"))?;
        Some(text.strip_prefix("Every minute every day in ")?.to_owned())
    };
    let mut days = Vec::new();
    if !days_of_month.unrestricted {
        for days_of_month in parts(days_of_month, CronField::DayOfMonth) {
            days.push(days_phrase(&format!("* * {days_of_month} * *"))?);
        }
    }
    if !days_of_week.unrestricted {
        for days_of_week in parts(days_of_week, CronField::DayOfWeek) {
            let phrase = days_phrase(&format!("* * * * {days_of_week}"))?;
            // saffron uses `weekday` for any day of the week. In `15W`, a weekday is Monday
            // to Friday.
            days.push(phrase.replace(" weekday ", " day from "));
        }
    }
    // A field such as `1-31` contains every day without being `*`.
    let every_day = days.is_empty() || days.iter().any(String::is_empty);
    let only_weekdays = days_of_month.unrestricted && days_of_week.special_items().next().is_none();
    Some(match (every_day, months) {
        (true, None) => String::new(),
        (true, Some(months)) => format!(" every day in {months}"),
        (false, None) if only_weekdays => format!(" {}", days.join(" or ")),
        (false, None) => format!(" {} of every month", days.join(" or ")),
        (false, Some(months)) => format!(" {} of {months}", days.join(" or ")),
    })
}

/// A phrase such as `on Monday`. Empty for every day.
fn days_phrase(text: &str) -> Option<String> {
    let text = saffron(text)?;
    let days = text.strip_prefix("Every minute")?.trim_start();
    Some(
        days.strip_suffix(" of every month")
            .unwrap_or(days)
            .to_owned(),
    )
}

fn years(field: &Field) -> String {
    let every = (YEAR_MIN, YEAR_MAX, 1);
    let mut phrases = Vec::new();
    for item in &field.items {
        let Item::Values(values) = item else { continue };
        let Values { first, last, step } = *values;
        if (first, last, step) == every {
            return String::new();
        }
        phrases.push(if step > last - first {
            format!("in {first}")
        } else if step == 1 {
            format!("from {first} to {last}")
        } else {
            format!("every {step} years from {first} to {last}")
        });
    }
    format!(" {}", join(&phrases))
}

/// The value of a field that has exactly one value.
fn single(field: &Field, name: CronField) -> Option<u16> {
    let values: BitSet<1> = field.values(name).collect();
    let mut values = values.iter();
    values.next().filter(|_| values.next().is_none())
}

/// The values of a field as a canonical list, without special items.
fn list(field: &Field, name: CronField) -> String {
    let values: BitSet<1> = field.values(name).collect();
    if values.iter().count() == usize::from(cycle(name)) {
        return "*".to_owned();
    }
    let plain = field.items.iter().filter_map(|item| match item {
        Item::Values(values) => Some(canonical(*values, name)),
        _ => None,
    });
    plain.collect::<Vec<_>>().join(",")
}

/// The list of the values, then each special item.
fn parts(field: &Field, name: CronField) -> impl Iterator<Item = String> {
    let plain = Some(list(field, name)).filter(|list| !list.is_empty());
    plain
        .into_iter()
        .chain(field.special_items().filter_map(Item::special_text))
}

fn canonical(values: Values, name: CronField) -> String {
    let Values { first, last, step } = values;
    let count = values.iter(name).count();
    let [first, last] = [first, last].map(|value| {
        if name == CronField::DayOfWeek {
            weekday_name(value).to_owned()
        } else {
            value.to_string()
        }
    });
    match (count, step) {
        (1, _) => first,
        (_, 1) => format!("{first}-{last}"),
        _ => format!("{first}-{last}/{step}"),
    }
}

/// saffron's description of an expression in canonical form.
fn saffron(canonical: &str) -> Option<String> {
    let expression: CronExpr = canonical.parse().ok()?;
    let mut english = English::new();
    english.hour = HourFormat::Hour24;
    Some(expression.describe(english).to_string())
}

fn uncapitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(chars)
        .collect()
}

/// `a`, `a and b`, `a, b, and c`.
fn join(phrases: &[String]) -> String {
    match phrases {
        [] => String::new(),
        [only] => only.clone(),
        [first, second] => format!("{first} and {second}"),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
    }
}
