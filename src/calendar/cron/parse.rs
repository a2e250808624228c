//! From text to fields: the grammar, the names, and every error.
//!
//! Nothing here is left to saffron, which reads weekdays, wrap ranges, steps
//! and several other things differently.

use std::ops::{Range, RangeInclusive};

use crate::calendar::cron::fields::{bounds, cycle};
use crate::value::error::{CronError, CronField};

const MAX_BYTES: usize = 1024;
const BLANKS: [char; 2] = [' ', '\t'];
const OUTER_BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// An expression as written, field by field.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) seconds: Option<Field>,
    pub(crate) minutes: Field,
    pub(crate) hours: Field,
    pub(crate) days_of_month: Field,
    pub(crate) months: Field,
    pub(crate) days_of_week: Field,
    pub(crate) years: Option<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) items: Vec<Item>,
    /// `*` or `?`, and nothing else.
    pub(crate) unrestricted: bool,
    /// Its text begins with `*`.
    pub(crate) starred: bool,
}

/// One item of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Values(Values),
    /// `L` and `L-n`: `before` days before the last of the month.
    Last {
        before: u16,
    },
    /// `LW` and `L-nW`: the weekday nearest to that.
    LastWeekday {
        before: u16,
    },
    /// `nW`: the weekday nearest to a day of the month.
    NearestWeekday {
        day: u16,
    },
    /// `FRIL`: the last such day of the month.
    LastOf {
        weekday: u16,
    },
    /// `MON#2`: the n-th such day of the month.
    Nth {
        weekday: u16,
        nth: u16,
    },
}

/// Every `step`-th value from `first` to `last`, cyclic where `last` is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) step: u16,
}

impl Values {
    pub(crate) fn iter(self, field: CronField) -> impl Iterator<Item = u16> {
        let (min, _) = bounds(field);
        let cycle = cycle(field);
        let span = if self.first <= self.last {
            self.last - self.first
        } else {
            self.last + cycle - self.first
        };
        (0..=span)
            .step_by(usize::from(self.step.max(1)))
            .map(move |ahead| min + (self.first - min + ahead) % cycle)
    }
}

impl Field {
    /// The plain values, without the Quartz extras.
    pub(crate) fn values(&self, field: CronField) -> impl Iterator<Item = u16> + '_ {
        self.items
            .iter()
            .filter_map(|item| match item {
                Item::Values(values) => Some(*values),
                _ => None,
            })
            .flat_map(move |values| values.iter(field))
    }

    pub(crate) fn extras(&self) -> impl Iterator<Item = Item> + '_ {
        self.items
            .iter()
            .copied()
            .filter(|item| !matches!(item, Item::Values(_)))
    }
}

pub(crate) fn parse(input: &str) -> Result<Expression, CronError> {
    if input.len() > MAX_BYTES {
        return Err(CronError::TooLong {
            length: input.len(),
        });
    }
    let blanks_before = input.len() - input.trim_start_matches(OUTER_BLANKS).len();
    let whole = Piece {
        text: input.trim_matches(OUTER_BLANKS),
        at: blanks_before,
    };
    if whole.text.is_empty() {
        return Err(CronError::Empty);
    }
    if whole.text.starts_with('@') {
        return fields(expand(whole)?);
    }
    fields(whole)
}

fn expand(alias: Piece<'_>) -> Result<Piece<'static>, CronError> {
    let expanded = match alias.text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            return Err(CronError::UnknownAlias {
                text: alias.text.to_owned(),
                span: alias.span(),
            });
        }
    };
    Ok(Piece {
        text: expanded,
        at: alias.at,
    })
}

fn fields(whole: Piece<'_>) -> Result<Expression, CronError> {
    let pieces: Vec<Piece<'_>> = whole
        .split(BLANKS)
        .filter(|piece| !piece.text.is_empty())
        .collect();
    let (second, five, year) = match *pieces.as_slice() {
        [minute, hour, day, month, weekday] => (None, [minute, hour, day, month, weekday], None),
        [minute, hour, day, month, weekday, year] => {
            // The year first: in six fields it tells whether the others mean
            // what their writer thinks they mean.
            sixth_is_a_year(year)?;
            (None, [minute, hour, day, month, weekday], Some(year))
        }
        [second, minute, hour, day, month, weekday, year] => (
            Some(second),
            [minute, hour, day, month, weekday],
            Some(year),
        ),
        _ => {
            return Err(CronError::FieldCount {
                count: pieces.len(),
                text: whole.text.to_owned(),
                span: whole.span(),
            });
        }
    };
    let [minute, hour, day_of_month, month, day_of_week] = five;
    let optional = |name, piece: Option<Piece<'_>>| piece.map(|p| field(name, p)).transpose();
    Ok(Expression {
        seconds: optional(CronField::Second, second)?,
        minutes: field(CronField::Minute, minute)?,
        hours: field(CronField::Hour, hour)?,
        days_of_month: field(CronField::DayOfMonth, day_of_month)?,
        months: field(CronField::Month, month)?,
        days_of_week: field(CronField::DayOfWeek, day_of_week)?,
        years: optional(CronField::Year, year)?,
    })
}

/// `*/10 * * * * *` means every ten seconds elsewhere; a year must be written
/// out so that it is never read as every ten minutes.
fn sixth_is_a_year(piece: Piece<'_>) -> Result<(), CronError> {
    let digits = piece.text.bytes().take_while(u8::is_ascii_digit);
    // Whatever could be another field is no attempt at a year.
    let year_like = decimal(digits) >= 60;
    if year_like && !piece.text.contains(['*', '?']) {
        return Ok(());
    }
    Err(CronError::SixthField {
        text: piece.text.to_owned(),
        span: piece.span(),
    })
}

fn field(field: CronField, piece: Piece<'_>) -> Result<Field, CronError> {
    let question_mark = piece.text == "?" && has_extras(field);
    let (unrestricted, piece_or_star) = if question_mark {
        (true, Piece { text: "*", ..piece })
    } else {
        (piece.text == "*", piece)
    };
    let items = piece_or_star
        .split([','])
        .map(|item| ItemReader { field, item }.read());
    Ok(Field {
        items: items.collect::<Result<_, _>>()?,
        unrestricted,
        starred: piece.text.starts_with('*'),
    })
}

/// Whether a field may hold more than values.
fn has_extras(field: CronField) -> bool {
    matches!(field, CronField::DayOfMonth | CronField::DayOfWeek)
}

/// Reads one item of a field's list.
struct ItemReader<'a> {
    field: CronField,
    item: Piece<'a>,
}

impl ItemReader<'_> {
    fn read(&self) -> Result<Item, CronError> {
        if let Some((range, step)) = self.item.split_once('/') {
            let step = self.step(step)?;
            return self.values(range, Some(step));
        }
        let extra = match self.field {
            CronField::DayOfMonth => self.day_of_month_extra()?,
            CronField::DayOfWeek => self.day_of_week_extra()?,
            _ => None,
        };
        match extra {
            Some(extra) => Ok(extra),
            None => self.values(self.item, None),
        }
    }

    fn step(&self, piece: Piece<'_>) -> Result<u16, CronError> {
        match piece.number() {
            Some(0) => Err(CronError::ZeroStep {
                field: self.field,
                text: piece.text.to_owned(),
                span: piece.span(),
            }),
            Some(step) => Ok(step),
            None => Err(self.unclear(piece)),
        }
    }

    fn values(&self, range: Piece<'_>, step: Option<u16>) -> Result<Item, CronError> {
        let (min, max) = bounds(self.field);
        let (first, last) = if range.text == "*" {
            (min, max)
        } else if let Some((first, last)) = range.split_once('-') {
            let (first, last) = (self.value(first)?, self.value(last)?);
            if first > last && self.field == CronField::Year {
                return Err(CronError::BackwardYears {
                    text: range.text.to_owned(),
                    span: range.span(),
                });
            }
            (first, last)
        } else {
            let first = self.value(range)?;
            (first, if step.is_some() { max } else { first })
        };
        // Sunday has two numbers, and a whole week one Sunday.
        let whole_week = self.field == CronField::DayOfWeek && (first, last) == (0, 7);
        let last = if whole_week { 6 } else { last };
        Ok(Item::Values(Values {
            first,
            last,
            step: step.unwrap_or(1),
        }))
    }

    /// A number or a name.
    fn value(&self, piece: Piece<'_>) -> Result<u16, CronError> {
        let (names, first): (&[&str], u16) = match self.field {
            CronField::Month => (&MONTHS, 1),
            CronField::DayOfWeek => (&WEEKDAYS, 0),
            _ => (&[], 0),
        };
        let named = names
            .iter()
            .zip(first..)
            .find(|(name, _)| name.eq_ignore_ascii_case(piece.text));
        if let Some((_, value)) = named {
            return Ok(value);
        }
        let (min, max) = bounds(self.field);
        let allowed = match self.field {
            CronField::Second | CronField::Minute => "0-59",
            CronField::Hour => "0-23",
            CronField::DayOfMonth => "1-31",
            CronField::Month => "1-12 or JAN-DEC",
            CronField::DayOfWeek => "0-7 or SUN-SAT",
            CronField::Year => "1970-2099",
        };
        self.number(piece, min..=max, allowed)
    }

    fn number(
        &self,
        piece: Piece<'_>,
        range: RangeInclusive<u16>,
        allowed: &'static str,
    ) -> Result<u16, CronError> {
        match piece.number() {
            Some(number) if range.contains(&number) => Ok(number),
            Some(_) => Err(CronError::OutOfRange {
                field: self.field,
                text: piece.text.to_owned(),
                span: piece.span(),
                allowed,
            }),
            None => Err(self.unclear(piece)),
        }
    }

    fn day_of_month_extra(&self) -> Result<Option<Item>, CronError> {
        let (day, to_weekday) = match self.item.strip_suffix('W') {
            Some(day) => (day, true),
            None => (self.item, false),
        };
        if let Some(rest) = day.strip_prefix('L') {
            let before = if rest.text.is_empty() {
                0
            } else if let Some(before) = rest.strip_prefix('-') {
                self.number(before, 0..=30, "`L-0` to `L-30`")?
            } else {
                return Err(self.unclear(rest));
            };
            return Ok(Some(if to_weekday {
                Item::LastWeekday { before }
            } else {
                Item::Last { before }
            }));
        }
        if to_weekday {
            let day = self.number(day, 1..=31, "`1W` to `31W`")?;
            return Ok(Some(Item::NearestWeekday { day }));
        }
        Ok(None)
    }

    fn day_of_week_extra(&self) -> Result<Option<Item>, CronError> {
        let item = self.item;
        if let Some((weekday, nth)) = item.split_once('#') {
            return Ok(Some(Item::Nth {
                weekday: self.value(weekday)? % 7,
                nth: self.number(nth, 1..=5, "`#1` to `#5`")?,
            }));
        }
        let Some(weekday) = item.strip_suffix('L').or_else(|| item.strip_prefix('L')) else {
            return Ok(None);
        };
        if weekday.text.is_empty() {
            return Err(CronError::BareLast {
                text: item.text.to_owned(),
                span: item.span(),
            });
        }
        Ok(Some(Item::LastOf {
            weekday: self.value(weekday)? % 7,
        }))
    }

    /// Blames a piece of the item, or the whole item where the piece is missing
    /// or might have a meaning by itself, as `L` in `1-L` has.
    fn unclear(&self, piece: Piece<'_>) -> CronError {
        let blamed = if has_extras(self.field) || piece.text.is_empty() {
            self.item
        } else {
            piece
        };
        CronError::Syntax {
            field: self.field,
            text: blamed.text.to_owned(),
            span: blamed.span(),
        }
    }
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
pub(crate) const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A part of the input that knows its place.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl Piece<'_> {
    fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn split<const N: usize>(self, separators: [char; N]) -> impl Iterator<Item = Self> {
        let mut at = self.at;
        self.text.split(separators).map(move |text| {
            let piece = Piece { text, at };
            // Each separator is one byte.
            at += text.len() + 1;
            piece
        })
    }

    fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_once(separator)?;
        let at = self.at + self.text.len() - after.len();
        Some((
            Piece {
                text: before,
                ..self
            },
            Piece { text: after, at },
        ))
    }

    /// Without a letter at its front, in either case.
    fn strip_prefix(self, letter: char) -> Option<Self> {
        let text = self
            .text
            .strip_prefix([letter, letter.to_ascii_lowercase()])?;
        let at = self.at + self.text.len() - text.len();
        Some(Piece { text, at })
    }

    fn strip_suffix(self, letter: char) -> Option<Self> {
        let text = self
            .text
            .strip_suffix([letter, letter.to_ascii_lowercase()])?;
        Some(Piece { text, ..self })
    }

    fn number(self) -> Option<u16> {
        let digits = !self.text.is_empty() && self.text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| decimal(self.text.bytes()))
    }
}

/// The value of some digits. Saturates, as every bound is far below.
fn decimal(digits: impl Iterator<Item = u8>) -> u16 {
    digits.fold(0, |number: u16, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u16::from(digit - b'0'))
    })
}
