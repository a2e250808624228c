//! The dates of an expression: saffron's part.
//!
//! saffron 0.1.0 is right about canonical text and wrong about much of what
//! people write, so it never sees what a user wrote. Each *atom* of the date
//! fields (the plain days of month, the plain days of week, each L, W and #
//! item) becomes a saffron expression of its own, with sorted lists and days by
//! name, and the least of their answers is ours. That also makes OR of the two
//! day fields, and lists of L, W and #, come out right.
//!
//! An atom is only ever asked for *the first matching day after day d*, put as
//! 23:59 of d to `0 0 <days>`. saffron has two searches for days that do not
//! always agree; asked this, it looks at d alone by the first, finds no minute
//! left in it, and goes on by the second, which is the sound one. Hours and
//! minutes are ours (`fields.rs`) along with the seconds: were they saffron's,
//! an `L-3W` atom could only be asked from the day before and then stepped
//! minute by minute, at 50 ns each, to the time of day that is wanted.
//!
//! saffron's dates are chrono's. They are made from chrono's default, the
//! epoch, and read through a method, so that chrono need not be a dependency of
//! ours and cannot be one of another version.

use std::time::Duration;

use time::Date;

use crate::calendar::cron::fields::{Bits, YEAR_MIN};
use crate::calendar::cron::parse::{Expression, Field, Item, WEEKDAYS};
use crate::value::error::{CronError, CronField};

/// Days since 1970-01-01.
pub(crate) type Day = i64;

pub(crate) const SECONDS_PER_DAY: i64 = 86_400;

/// 1970-01-01 as a Julian day.
const EPOCH: i64 = 2_440_588;

/// -9999-01-01 and 9999-12-31, the ends of the calendar of `time`.
pub(crate) const DAY_MIN: Day = -4_371_587;
pub(crate) const DAY_MAX: Day = 2_932_896;

const MONDAY: i64 = 1;

/// The dates of an expression.
#[derive(Debug, Clone)]
pub(crate) struct Days {
    atoms: Vec<Atom>,
    /// Counted from [`YEAR_MIN`]; `None` is every year.
    years: Option<Bits<3>>,
}

impl Days {
    pub(crate) fn new(expression: &Expression) -> Result<Self, CronError> {
        let months = expression.months.values(CronField::Month).collect();
        let days_of_month = &expression.days_of_month;
        let days_of_week = &expression.days_of_week;
        let mut atoms = Atoms {
            months,
            seen: Vec::new(),
            built: Vec::new(),
        };
        if days_of_month.unrestricted && days_of_week.unrestricted {
            atoms.push_plain("*", "*")?;
        }
        if !days_of_month.unrestricted {
            atoms.push_days_of_month(days_of_month)?;
        }
        if !days_of_week.unrestricted {
            atoms.push_days_of_week(days_of_week)?;
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
            atoms: atoms.built,
            years,
        })
    }

    /// The first day at or after one.
    pub(crate) fn first_from(&self, day: Day) -> Option<Day> {
        let Some(years) = &self.years else {
            return self.first_in_any_year(day);
        };
        let mut day = day;
        // Ends: each turn is in a later year of the set than the one before.
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
        self.atoms
            .iter()
            .filter_map(|atom| atom.first_from(day))
            .min()
            // saffron's calendar goes on for 250,000 years.
            .filter(|&found| found <= DAY_MAX)
    }
}

#[derive(Debug, Clone)]
struct Atom {
    dates: saffron::Cron,
    kind: AtomKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtomKind {
    Plain,
    /// `nW`
    NearestWeekday(u16),
    /// `L-nW`
    LastWeekdayBefore,
}

impl Atom {
    fn first_from(&self, day: Day) -> Option<Day> {
        let mut after = day - 1;
        // On a Monday that is no match, saffron's `contains` gets `L-nW` wrong
        // (and its subtraction panics in a debug build). On one that is a
        // match it does not.
        if self.kind == AtomKind::LastWeekdayBefore && weekday(after) == MONDAY {
            after -= 1;
        }
        // Ends: an L-nW atom is asked twice at most, and a 29W that only
        // February could hold is answered by the next leap year.
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
        // chrono reaches to the year 262142, far beyond DAY_MIN and DAY_MAX.
        let epoch = epoch(saffron::Cron::next_after);
        let next = if day < 0 {
            self.dates.next_after(epoch - days + late)
        } else {
            self.dates.next_after(epoch + days + late)
        };
        Some(next?.timestamp().div_euclid(SECONDS_PER_DAY))
    }

    /// saffron puts `29W` into a February without a 29th. The other months that
    /// are too short are left out of the atom.
    fn is_beyond_month(&self, found: Day) -> bool {
        let AtomKind::NearestWeekday(29) = self.kind else {
            return false;
        };
        date(found).is_some_and(|date| {
            date.month() == time::Month::February && !time::util::is_leap_year(date.year())
        })
    }
}

/// Atoms being built, all within the same months.
struct Atoms {
    months: Bits<1>,
    seen: Vec<Item>,
    built: Vec<Atom>,
}

impl Atoms {
    fn push_plain(&mut self, days_of_month: &str, days_of_week: &str) -> Result<(), CronError> {
        self.push(days_of_month, self.months, days_of_week, AtomKind::Plain)
    }

    fn push_days_of_month(&mut self, field: &Field) -> Result<(), CronError> {
        let days: Bits<1> = field.values(CronField::DayOfMonth).collect();
        if !days.is_empty() {
            self.push_plain(&list(days.iter()), "*")?;
        }
        for item in field.extras() {
            if self.is_known(item) {
                continue;
            }
            match item {
                Item::Last { before: 0 } => self.push_plain("L", "*")?,
                Item::Last { before } => self.push_plain(&format!("L-{before}"), "*")?,
                Item::LastWeekday { before: 0 } => self.push_plain("LW", "*")?,
                Item::LastWeekday { before } => {
                    let text = format!("L-{before}W");
                    self.push(&text, self.months, "*", AtomKind::LastWeekdayBefore)?;
                }
                Item::NearestWeekday { day } => {
                    let months = self.months.iter().filter(|&month| longest(month) >= day);
                    let months = months.collect();
                    let text = format!("{day}W");
                    self.push(&text, months, "*", AtomKind::NearestWeekday(day))?;
                }
                Item::Values(_) | Item::LastOf { .. } | Item::Nth { .. } => {}
            }
        }
        Ok(())
    }

    fn push_days_of_week(&mut self, field: &Field) -> Result<(), CronError> {
        let name = |day: u16| WEEKDAYS.get(usize::from(day)).copied().unwrap_or_default();
        let days: Bits<1> = field.values(CronField::DayOfWeek).collect();
        if !days.is_empty() {
            self.push_plain("*", &list(days.iter().map(name)))?;
        }
        for item in field.extras() {
            if self.is_known(item) {
                continue;
            }
            match item {
                Item::LastOf { weekday } => self.push_plain("*", &format!("{}L", name(weekday)))?,
                Item::Nth { weekday, nth } => {
                    self.push_plain("*", &format!("{}#{nth}", name(weekday)))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A kibibyte of one item a hundred times over must not cost a hundred
    /// searches.
    fn is_known(&mut self, item: Item) -> bool {
        let known = self.seen.contains(&item);
        if !known {
            self.seen.push(item);
        }
        known
    }

    /// Adds nothing where no month is left.
    fn push(
        &mut self,
        days_of_month: &str,
        months: Bits<1>,
        days_of_week: &str,
        kind: AtomKind,
    ) -> Result<(), CronError> {
        if months.is_empty() {
            return Ok(());
        }
        let months = list(months.iter());
        let text = format!("0 0 {days_of_month} {months} {days_of_week}");
        match text.parse() {
            Ok(dates) => self.built.push(Atom { dates, kind }),
            Err(_) => return Err(CronError::Unsupported { text }),
        }
        Ok(())
    }
}

/// The default of chrono's `DateTime<Utc>`, by way of a function that takes one.
fn epoch<T: Default>(_: fn(&saffron::Cron, T) -> Option<T>) -> T {
    T::default()
}

fn list<T: ToString>(values: impl Iterator<Item = T>) -> String {
    values
        .map(|value| value.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

fn longest(month: u16) -> u16 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counted from Sunday, 0. The epoch was a Thursday.
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
