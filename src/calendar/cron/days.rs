//! [`Days`]: the dates of an expression, computed by the crate saffron.
//!
//! saffron 0.1.0 is correct for expressions in a canonical form, and wrong for many others.
//! So it never receives a user's text. Each *date rule* of an expression becomes a saffron
//! expression of its own, in canonical form: sorted lists, and weekdays by name. The rules
//! are the plain days of the month, the plain days of the week, and every special item.
//! The first date of an expression is the earliest first date of its rules. So two
//! restricted day fields, which are joined by OR, and lists of special items need no rule
//! of their own.
//!
//! The only question to saffron is "which is the first matching day after day d?". The
//! start is 23:59 of day d, and the expression is `0 0 <days>`. saffron has two searches
//! for days, which do not always agree. With this question, the first search examines only
//! day d and finds no minute left in it, and the second search, which is correct, finds the
//! result. This crate computes hours, minutes and seconds itself (`times_of_day.rs`). If
//! saffron computed them, a rule `L-3W` would need a search from the day before that
//! advances minute by minute, at 50 ns for each minute.
//!
//! saffron's dates are chrono's. This file creates them with `Default`, which is 1970-01-01,
//! and reads them with a method. So chrono is not a direct dependency, and its version
//! cannot differ from saffron's.

use std::time::Duration;

use time::Date;

use crate::calendar::cron::bit_set::BitSet;
use crate::calendar::cron::fields::YEAR_MIN;
use crate::calendar::cron::syntax::{Field, Item, ParsedExpression, weekday_name};
use crate::value::error::{CronError, CronField};

/// Days since 1970-01-01.
pub(crate) type Day = i64;

pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

/// 1970-01-01 as a Julian day.
const EPOCH: i64 = 2_440_588;

/// -9999-01-01 and 9999-12-31, the first and the last day of the calendar of `time`.
pub(crate) const DAY_MIN: Day = -4_371_587;
pub(crate) const DAY_MAX: Day = 2_932_896;

const MONDAY: i64 = 1;

/// The dates of an expression.
#[derive(Debug, Clone)]
pub(crate) struct Days {
    rules: Vec<DateRule>,
    /// The years, minus [`YEAR_MIN`]. `None` means every year.
    years: Option<BitSet<3>>,
}

impl PartialEq for Days {
    /// The order of the rules does not matter. No rule occurs twice.
    fn eq(&self, other: &Self) -> bool {
        self.years == other.years
            && self.rules.len() == other.rules.len()
            && self.rules.iter().all(|rule| other.rules.contains(rule))
    }
}

impl Days {
    pub(crate) fn new(expression: &ParsedExpression) -> Result<Self, CronError> {
        let months = expression.months.values(CronField::Month).collect();
        let days_of_month = &expression.days_of_month;
        let days_of_week = &expression.days_of_week;
        let mut rules = RulesBuilder {
            months,
            seen: Vec::new(),
            built: Vec::new(),
        };
        if days_of_month.unrestricted && days_of_week.unrestricted {
            rules.push_plain("*", "*")?;
        }
        if !days_of_month.unrestricted {
            rules.push_days_of_month(days_of_month)?;
        }
        if !days_of_week.unrestricted {
            rules.push_days_of_week(days_of_week)?;
        }
        let years = expression
            .years
            .as_ref()
            .filter(|years| !years.unrestricted)
            .map(|years| {
                years
                    .values(CronField::Year)
                    .map(|year| year - YEAR_MIN)
                    .collect()
            });
        Ok(Self {
            rules: rules.built,
            years,
        })
    }

    /// The first matching day that is at or after `day`.
    pub(crate) fn first_from(&self, day: Day) -> Option<Day> {
        let Some(years) = &self.years else {
            return self.first_in_any_year(day);
        };
        let mut day = day;
        // Terminates, because each turn examines a later year of the set than the turn
        // before.
        loop {
            let year = year_of(day)?;
            let from = (year - i32::from(YEAR_MIN)).max(0);
            let next = i32::from(years.next_from(u16::try_from(from).ok()?)?) + i32::from(YEAR_MIN);
            if next > year {
                day = first_of_year(next)?;
            }
            let found = self.first_in_any_year(day)?;
            if year_of(found)? == next {
                return Some(found);
            }
            day = found;
        }
    }

    fn first_in_any_year(&self, day: Day) -> Option<Day> {
        self.rules
            .iter()
            .filter_map(|rule| rule.first_from(day))
            .min()
            // saffron's calendar continues for 250,000 years.
            .filter(|&found| found <= DAY_MAX)
    }
}

/// One part of the date fields, as a saffron expression.
#[derive(Debug, Clone, PartialEq)]
struct DateRule {
    dates: saffron::Cron,
    kind: RuleKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RuleKind {
    Plain,
    /// `nW`
    NearestWeekday(u16),
    /// `L-nW`
    LastWeekdayBefore,
}

impl DateRule {
    fn first_from(&self, day: Day) -> Option<Day> {
        let mut after = day - 1;
        // On a Monday that does not match, saffron's `contains` is wrong for `L-nW`, and
        // its subtraction panics in a debug build. So the search begins a day earlier if
        // it would begin on a Monday. A Monday that matches is safe, so the loop may
        // continue from one.
        if self.kind == RuleKind::LastWeekdayBefore && weekday(after) == MONDAY {
            after -= 1;
        }
        // Terminates: a rule `L-nW` needs at most two turns, and a rule `29W` in February
        // matches in the next leap year.
        loop {
            let found = self.first_after(after)?;
            if found >= day && !self.is_beyond_month(found) {
                return Some(found);
            }
            after = found;
        }
    }

    fn first_after(&self, day: Day) -> Option<Day> {
        let late = Duration::from_secs(23 * 3600 + 59 * 60);
        let days = Duration::from_secs(day.unsigned_abs().checked_mul(86_400)?);
        // chrono's last year is 262142, so all days from DAY_MIN to DAY_MAX fit.
        let epoch = epoch(saffron::Cron::next_after);
        let next = if day < 0 {
            self.dates.next_after(epoch - days + late)
        } else {
            self.dates.next_after(epoch + days + late)
        };
        Some(next?.timestamp().div_euclid(SECONDS_PER_DAY))
    }

    /// Whether a match of `29W` is in a February that has 28 days, which saffron allows. The
    /// rules of longer days do not contain the months that are too short.
    fn is_beyond_month(&self, found: Day) -> bool {
        let RuleKind::NearestWeekday(29) = self.kind else {
            return false;
        };
        date(found).is_some_and(|date| {
            date.month() == time::Month::February && !time::util::is_leap_year(date.year())
        })
    }
}

/// Builds the date rules of an expression. All of them have the same months.
struct RulesBuilder {
    months: BitSet<1>,
    /// The special items that already have a rule.
    seen: Vec<Item>,
    built: Vec<DateRule>,
}

impl RulesBuilder {
    fn push_plain(&mut self, days_of_month: &str, days_of_week: &str) -> Result<(), CronError> {
        self.push(days_of_month, self.months, days_of_week, RuleKind::Plain)
    }

    fn push_days_of_month(&mut self, field: &Field) -> Result<(), CronError> {
        let days: BitSet<1> = field.values(CronField::DayOfMonth).collect();
        if !days.is_empty() {
            self.push_plain(&list(days.iter()), "*")?;
        }
        for item in field.special_items() {
            let Some(text) = self.text_of_new(item) else {
                continue;
            };
            match item {
                Item::LastWeekday { before: 1.. } => {
                    self.push(&text, self.months, "*", RuleKind::LastWeekdayBefore)?;
                }
                Item::NearestWeekday { day } => {
                    let months = self.months.iter().filter(|&month| days_in(month) >= day);
                    let months = months.collect();
                    self.push(&text, months, "*", RuleKind::NearestWeekday(day))?;
                }
                _ => self.push_plain(&text, "*")?,
            }
        }
        Ok(())
    }

    fn push_days_of_week(&mut self, field: &Field) -> Result<(), CronError> {
        let days: BitSet<1> = field.values(CronField::DayOfWeek).collect();
        if !days.is_empty() {
            self.push_plain("*", &list(days.iter().map(weekday_name)))?;
        }
        for item in field.special_items() {
            if let Some(text) = self.text_of_new(item) {
                self.push_plain("*", &text)?;
            }
        }
        Ok(())
    }

    /// The text of a special item. `None` if the item has a rule already: an expression of
    /// 1024 bytes may repeat an item a hundred times, which must not cost a hundred searches.
    fn text_of_new(&mut self, item: Item) -> Option<String> {
        if self.seen.contains(&item) {
            return None;
        }
        self.seen.push(item);
        item.special_text()
    }

    /// Adds a rule, unless it has no month.
    fn push(
        &mut self,
        days_of_month: &str,
        months: BitSet<1>,
        days_of_week: &str,
        kind: RuleKind,
    ) -> Result<(), CronError> {
        if months.is_empty() {
            return Ok(());
        }
        let months = list(months.iter());
        let text = format!("0 0 {days_of_month} {months} {days_of_week}");
        match text.parse() {
            Ok(dates) => self.built.push(DateRule { dates, kind }),
            Err(_) => return Err(CronError::Unsupported { text }),
        }
        Ok(())
    }
}

/// The default value of chrono's `DateTime<Utc>`. The type is inferred from a function that
/// takes one, because chrono is not a dependency.
fn epoch<T: Default>(_: fn(&saffron::Cron, T) -> Option<T>) -> T {
    T::default()
}

fn list<T: ToString>(values: impl Iterator<Item = T>) -> String {
    values
        .map(|value| value.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

/// The greatest number of days that a month has in any year.
fn days_in(month: u16) -> u16 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of the week, from 0 for Sunday. Day 0, 1970-01-01, was a Thursday.
fn weekday(day: Day) -> i64 {
    (day + 4).rem_euclid(7)
}

fn date(day: Day) -> Option<Date> {
    Date::from_julian_day(i32::try_from(day + EPOCH).ok()?).ok()
}

fn year_of(day: Day) -> Option<i32> {
    date(day).map(Date::year)
}

fn first_of_year(year: i32) -> Option<Day> {
    let date = Date::from_ordinal_date(year, 1).ok()?;
    Some(i64::from(date.to_julian_day()) - EPOCH)
}
