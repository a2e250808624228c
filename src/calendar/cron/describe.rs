//! The description of an expression in English.
//!
//! saffron describes each part of an expression in canonical form, and this file joins the
//! descriptions as saffron would. It adds what saffron does not support (seconds, years,
//! and lists of special items) and corrects what saffron describes differently: two
//! restricted day fields are joined by *or*, and a step is *every 2nd day*, where saffron
//! writes *the every 2nd day*.

use saffron::parse::{CronExpr, English, HourFormat};

use crate::calendar::cron::bit_set::BitSet;
use crate::calendar::cron::fields::{YEAR_MAX, YEAR_MIN, cycle};
use crate::calendar::cron::syntax::{Field, Item, ParsedExpression, Values, weekday_name};
use crate::value::error::CronField;

const FULL_HOUR: &str = "At 0 minutes past the hour";

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
    let times = single(minutes, CronField::Minute)
        .and_then(|minute| clock_times(hours, minute, second.unwrap_or(0)));
    let time = match (times, second) {
        (Some(times), Some(_)) => return Some(format!("At {times}")),
        (Some(times), None) => format!("At {times}"),
        (None, _) => minutes_of_hours(minutes, hours)?,
    };
    if second == Some(0) {
        return Some(if time == FULL_HOUR {
            "Every hour".to_owned()
        } else {
            time
        });
    }
    // Seconds of the minute are described with saffron's words for minutes of the hour.
    let seconds = minutes_past(expression.seconds.as_ref()?, CronField::Second)?
        .replace("minute", "second")
        .replace("Minute", "Second")
        .replace("hour", "minute");
    Some(if time == "Every minute" {
        seconds
    } else {
        format!("{seconds}, {}", uncapitalized(&time))
    })
}

/// A phrase such as `At 5 minutes past the hour, between 09:00 and 17:59`.
fn minutes_of_hours(minutes: &Field, hours: &Field) -> Option<String> {
    let minutes = minutes_past(minutes, CronField::Minute)?;
    let hours = list(hours, CronField::Hour);
    if hours == "*" {
        return Some(minutes);
    }
    let text = saffron(&format!("* {hours} * * *"))?;
    // saffron writes `Every minute every 2nd hour`.
    let hours = text
        .strip_prefix("Every minute ")?
        .replace("every ", "in every ");
    Some(if minutes == "Every minute" {
        format!("{minutes} {hours}")
    } else {
        format!("{minutes}, {hours}")
    })
}

/// A phrase such as `At 5 and 10 minutes past the hour`.
fn minutes_past(field: &Field, name: CronField) -> Option<String> {
    let mut phrases = Vec::new();
    for minutes in parts(field, name) {
        let text = match minutes.as_str() {
            // saffron writes `Every hour`.
            "0" => FULL_HOUR.to_owned(),
            _ => saffron(&format!("{minutes} * * * *"))?.replace("starting from", "from"),
        };
        phrases.push(if phrases.is_empty() {
            text
        } else {
            uncapitalized(&text)
        });
    }
    Some(join(&phrases))
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
    let days = days.strip_suffix(" of every month").unwrap_or(days);
    Some(days.replace("on the every ", "on every "))
}

fn years(field: &Field) -> String {
    let every = (YEAR_MIN, YEAR_MAX, 1);
    let mut phrases = Vec::new();
    let mut steps = Vec::new();
    for item in &field.items {
        let Item::Values(values) = item else { continue };
        let Values { first, last, step } = *values;
        if (first, last, step) == every {
            return String::new();
        }
        if step > last - first {
            phrases.push(format!("in {first}"));
        } else if step == 1 {
            phrases.push(format!("from {first} to {last}"));
        } else {
            steps.push(format!("every {step} years from {first} to {last}"));
        }
    }
    phrases.append(&mut steps);
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
    plain_items(field, name).join(",")
}

/// The list of the values without steps, then each step, then each special item.
fn parts(field: &Field, name: CronField) -> impl Iterator<Item = String> {
    let mut values = plain_items(field, name);
    let steps = values.split_off(values.partition_point(|item| !is_step(item)));
    let values = Some(values.join(",")).filter(|values| !values.is_empty());
    values
        .into_iter()
        .chain(steps)
        .chain(field.special_items().filter_map(Item::special_text))
}

/// The items that are not special in canonical form, with steps last: `every 2nd month from
/// March to June and January` would be ambiguous.
fn plain_items(field: &Field, name: CronField) -> Vec<String> {
    let values: BitSet<1> = field.values(name).collect();
    if values.iter().count() == usize::from(cycle(name)) {
        return vec!["*".to_owned()];
    }
    let plain = field.items.iter().filter_map(|item| match item {
        Item::Values(values) => Some(canonical(*values, name)),
        _ => None,
    });
    let mut plain: Vec<_> = plain.collect();
    plain.sort_by_key(|item| is_step(item));
    plain
}

fn is_step(item: &str) -> bool {
    item.contains('/')
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
