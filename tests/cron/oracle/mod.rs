//! A second reading of the cron rules, slow and plain, to judge the first by.
//!
//! It shares no code with the library and tries every day, minute and second in
//! turn. Times are seconds since 1970-01-01 00:00:00, on the wall or in UTC.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeSet;

use time::{Date, Month};

pub mod random;

const DAY: i64 = 86_400;

#[derive(Debug)]
pub struct Oracle {
    seconds: BTreeSet<u32>,
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    months: BTreeSet<u32>,
    /// `None`: any.
    years: Option<BTreeSet<u32>>,
    days_of_month: Option<Vec<DayOfMonth>>,
    days_of_week: Option<Vec<DayOfWeek>>,
    pub wildcard: bool,
}

#[derive(Debug)]
enum DayOfMonth {
    Day(u32),
    FromEnd(u32),
    WeekdayFromEnd(u32),
    WeekdayNear(u32),
}

#[derive(Debug)]
enum DayOfWeek {
    Day(u32),
    Last(u32),
    Nth(u32, u32),
}

/// A stretch of time with one offset, and the offset before it.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    pub start: i64,
    pub end: i64,
    pub before: i64,
    pub offset: i64,
}

/// The stretches of a zone with this offset at first, and these changes: when, and the offset
/// from then on. The first stretch has no beginning, and the last has no end.
pub fn stretches(first: i64, changes: &[(i64, i64)]) -> Vec<Stretch> {
    let (mut start, mut before, mut offset) = (i64::MIN / 2, first, first);
    let mut stretches = Vec::new();
    for &(change, after) in changes.iter().chain([&(i64::MAX, 0)]) {
        stretches.push(Stretch {
            start,
            end: change,
            before,
            offset,
        });
        (start, before, offset) = (change, offset, after);
    }
    stretches
}

impl Oracle {
    /// `None` if the text is not an expression.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 1024 {
            return None;
        }
        let upper = text
            .trim_matches(|c| " \t\r\n".contains(c))
            .to_ascii_uppercase();
        let upper = match upper.as_str() {
            "@YEARLY" | "@ANNUALLY" => "0 0 1 1 *".to_string(),
            "@MONTHLY" => "0 0 1 * *".to_string(),
            "@WEEKLY" => "0 0 * * 0".to_string(),
            "@DAILY" | "@MIDNIGHT" => "0 0 * * *".to_string(),
            "@HOURLY" => "0 * * * *".to_string(),
            _ => upper,
        };
        let fields: Vec<&str> = upper
            .split([' ', '\t'])
            .filter(|field| !field.is_empty())
            .collect();
        let (second, year) = match fields.len() {
            5 => (None, None),
            6 => (None, Some(fields[5])),
            7 => (Some(fields[0]), Some(fields[6])),
            _ => return None,
        };
        if fields.len() == 6 && (fields[5].contains('*') || fields[5].contains('?')) {
            return None;
        }
        let five = &fields[usize::from(second.is_some())..][..5];
        let starred = [second.unwrap_or("0"), five[0], five[1]]
            .iter()
            .any(|field| field.starts_with('*'));
        Some(Self {
            seconds: plain(second.unwrap_or("0"), 0, 59, &[])?,
            minutes: plain(five[0], 0, 59, &[])?,
            hours: plain(five[1], 0, 23, &[])?,
            months: plain(five[3], 1, 12, &MONTHS)?,
            years: match year {
                None | Some("*") => None,
                Some(year) => Some(years(year)?),
            },
            days_of_month: match five[2] {
                "*" | "?" => None,
                list => {
                    let mut days = Vec::new();
                    for item in list.split(',') {
                        days.extend(day_of_month(item)?);
                    }
                    Some(days)
                }
            },
            days_of_week: match five[4] {
                "*" | "?" => None,
                list => {
                    let mut days = Vec::new();
                    for item in list.split(',') {
                        days.extend(day_of_week(item)?);
                    }
                    Some(days)
                }
            },
            wildcard: starred,
        })
    }

    pub fn times_of_day(&self) -> usize {
        self.seconds.len() * self.minutes.len() * self.hours.len()
    }

    pub fn date_matches(&self, day: i64) -> bool {
        let date = date_of(day);
        let year_ok = self
            .years
            .as_ref()
            .is_none_or(|years| u32::try_from(date.year()).is_ok_and(|year| years.contains(&year)));
        if !year_ok || !self.months.contains(&u32::from(u8::from(date.month()))) {
            return false;
        }
        let of_month = |days: &Vec<DayOfMonth>| days.iter().any(|item| item.matches(date));
        let of_week = |days: &Vec<DayOfWeek>| days.iter().any(|item| item.matches(date));
        match (&self.days_of_month, &self.days_of_week) {
            (None, None) => true,
            (Some(days), None) => of_month(days),
            (None, Some(days)) => of_week(days),
            (Some(month), Some(week)) => of_month(month) || of_week(week),
        }
    }

    pub fn minute_matches(&self, wall: i64) -> bool {
        let minute_of_day = u32::try_from(wall.rem_euclid(DAY) / 60).unwrap();
        self.minutes.contains(&(minute_of_day % 60))
            && self.hours.contains(&(minute_of_day / 60))
            && self.date_matches(wall.div_euclid(DAY))
    }

    pub fn matches(&self, wall: i64) -> bool {
        let second = u32::try_from(wall.rem_euclid(60)).unwrap();
        self.seconds.contains(&second) && self.minute_matches(wall)
    }

    /// The first match after a time, if it is within a number of days.
    pub fn next_after(&self, wall: i64, days: i64) -> Option<i64> {
        let today = wall.div_euclid(DAY);
        for day in today..=today + days {
            if !self.date_matches(day) {
                continue;
            }
            for minute in 0..1440 {
                let hour = u32::try_from(minute / 60).unwrap();
                if !self.hours.contains(&hour)
                    || !self.minutes.contains(&u32::try_from(minute % 60).unwrap())
                {
                    continue;
                }
                for second in &self.seconds {
                    let found = day * DAY + minute * 60 + i64::from(*second);
                    if found > wall {
                        return Some(found);
                    }
                }
            }
        }
        None
    }

    /// Every match on the wall from one time to another, exclusive.
    fn matches_between(&self, from: i64, to: i64) -> Vec<i64> {
        let mut found = Vec::new();
        for day in from.div_euclid(DAY)..=to.div_euclid(DAY) {
            if !self.date_matches(day) {
                continue;
            }
            for hour in &self.hours {
                for minute in &self.minutes {
                    for second in &self.seconds {
                        let time = i64::from(hour * 3600 + minute * 60 + second);
                        found.push(day * DAY + time);
                    }
                }
            }
        }
        found.retain(|wall| (from..to).contains(wall));
        found
    }

    /// The instants from one to another, exclusive, at which this is due in a
    /// zone, by the rules for clock changes. The stretches must cover them.
    pub fn due_between(&self, from: i64, to: i64, zone: &[Stretch]) -> BTreeSet<i64> {
        const THREE_HOURS: i64 = 3 * 3600;
        let mut due = BTreeSet::new();
        for stretch in zone {
            let (start, end) = (stretch.start.max(from), stretch.end.min(to));
            if start >= end {
                continue;
            }
            let clock_change = (stretch.offset - stretch.before).abs() <= THREE_HOURS;
            let follows_the_clock = self.wildcard || !clock_change;
            for wall in self.matches_between(start + stretch.offset, end + stretch.offset) {
                let second_pass = wall < stretch.start + stretch.before;
                if follows_the_clock || !second_pass {
                    due.insert(wall - stretch.offset);
                }
            }
            if follows_the_clock || stretch.start < from {
                continue;
            }
            let skipped = stretch.start + stretch.before..stretch.start + stretch.offset;
            if !skipped.is_empty() && !self.matches_between(skipped.start, skipped.end).is_empty() {
                due.insert(stretch.start);
            }
        }
        due
    }
}

impl DayOfMonth {
    fn matches(&self, date: Date) -> bool {
        let length = u32::from(date.month().length(date.year()));
        let day = u32::from(date.day());
        match *self {
            Self::Day(wanted) => day == wanted,
            Self::FromEnd(before) => day + before == length,
            Self::WeekdayFromEnd(before) => {
                before < length && day == weekday_near(date, length - before, length)
            }
            Self::WeekdayNear(wanted) => {
                wanted <= length && day == weekday_near(date, wanted, length)
            }
        }
    }
}

/// The weekday nearest to a day of a date's month, within the month.
fn weekday_near(date: Date, wanted: u32, length: u32) -> u32 {
    let wanted_date = date.replace_day(u8::try_from(wanted).unwrap()).unwrap();
    match wanted_date.weekday() {
        time::Weekday::Saturday if wanted == 1 => 3,
        time::Weekday::Saturday => wanted - 1,
        time::Weekday::Sunday if wanted == length => wanted - 2,
        time::Weekday::Sunday => wanted + 1,
        _ => wanted,
    }
}

impl DayOfWeek {
    fn matches(&self, date: Date) -> bool {
        let weekday = u32::from(date.weekday().number_days_from_sunday());
        let day = u32::from(date.day());
        let length = u32::from(date.month().length(date.year()));
        match *self {
            Self::Day(wanted) => weekday == wanted,
            Self::Last(wanted) => weekday == wanted && day + 7 > length,
            Self::Nth(wanted, nth) => weekday == wanted && (day - 1) / 7 + 1 == nth,
        }
    }
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

fn number(text: &str, min: u32, max: u32) -> Option<u32> {
    if text.is_empty() || !text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let digits = text.trim_start_matches('0');
    let number = if digits.is_empty() {
        0
    } else {
        digits.parse::<u32>().unwrap_or(u32::MAX)
    };
    (min..=max).contains(&number).then_some(number)
}

fn value(text: &str, min: u32, max: u32, names: &[&str]) -> Option<u32> {
    if let Some(index) = names.iter().position(|name| *name == text) {
        // Months count from 1, weekdays from 0.
        return Some(u32::try_from(index).unwrap() + min);
    }
    number(text, min, max)
}

/// The values of one item, in order, walking around the end if need be.
fn walk(item: &str, min: u32, max: u32, names: &[&str], wrap_to: Option<u32>) -> Option<Vec<u32>> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(number(step, 1, u32::MAX)?)),
        None => (item, None),
    };
    let (first, last) = if range == "*" {
        (min, max)
    } else if let Some((first, last)) = range.split_once('-') {
        (
            value(first, min, max, names)?,
            value(last, min, max, names)?,
        )
    } else {
        let first = value(range, min, max, names)?;
        (first, if step.is_some() { max } else { first })
    };
    let mut sequence = Vec::new();
    if first <= last {
        sequence.extend(first..=last);
    } else {
        sequence.extend(first..=wrap_to?);
        sequence.extend(min..=last);
    }
    let step = usize::try_from(step.unwrap_or(1)).unwrap();
    Some(sequence.into_iter().step_by(step).collect())
}

fn plain(field: &str, min: u32, max: u32, names: &[&str]) -> Option<BTreeSet<u32>> {
    let mut values = BTreeSet::new();
    for item in field.split(',') {
        values.extend(walk(item, min, max, names, Some(max))?);
    }
    Some(values)
}

fn years(field: &str) -> Option<BTreeSet<u32>> {
    let mut values = BTreeSet::new();
    for item in field.split(',') {
        values.extend(walk(item, 1970, 2099, &[], None)?);
    }
    Some(values)
}

fn day_of_month(item: &str) -> Option<Vec<DayOfMonth>> {
    if item == "L" {
        return Some(vec![DayOfMonth::FromEnd(0)]);
    }
    if item == "LW" {
        return Some(vec![DayOfMonth::WeekdayFromEnd(0)]);
    }
    if let Some(rest) = item.strip_prefix("L-") {
        return Some(vec![match rest.strip_suffix('W') {
            Some(before) => DayOfMonth::WeekdayFromEnd(number(before, 0, 30)?),
            None => DayOfMonth::FromEnd(number(rest, 0, 30)?),
        }]);
    }
    if let Some(day) = item.strip_suffix('W') {
        return Some(vec![DayOfMonth::WeekdayNear(number(day, 1, 31)?)]);
    }
    let days = walk(item, 1, 31, &[], Some(31))?;
    Some(days.into_iter().map(DayOfMonth::Day).collect())
}

fn day_of_week(item: &str) -> Option<Vec<DayOfWeek>> {
    if let Some((day, nth)) = item.split_once('#') {
        let day = value(day, 0, 7, &WEEKDAYS)? % 7;
        return Some(vec![DayOfWeek::Nth(day, number(nth, 1, 5)?)]);
    }
    if let Some(day) = item.strip_suffix('L').or(item.strip_prefix('L')) {
        return Some(vec![DayOfWeek::Last(value(day, 0, 7, &WEEKDAYS)? % 7)]);
    }
    let mut days = walk(item, 0, 7, &WEEKDAYS, Some(6));
    // A week around its end has no eighth day: 7-2 is what 0-2 is.
    if let Some((first, rest)) = item.split_once('-')
        && number(first, 7, 7).is_some()
        && value(rest.split('/').next()?, 0, 6, &WEEKDAYS).is_some()
    {
        days = walk(&format!("0-{rest}"), 0, 7, &WEEKDAYS, Some(6));
    }
    let days = days?;
    Some(
        days.into_iter()
            .map(|day| DayOfWeek::Day(day % 7))
            .collect(),
    )
}

pub fn date_of(day: i64) -> Date {
    let epoch = Date::from_calendar_date(1970, Month::January, 1).unwrap();
    Date::from_julian_day(epoch.to_julian_day() + i32::try_from(day).unwrap()).unwrap()
}
