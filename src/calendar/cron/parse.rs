//! The parser of cron expressions.
//!
//! The crate saffron has a parser too, but it is not used: it reads weekdays, ranges around
//! the end, steps and several other items differently.

use std::ops::{Range, RangeInclusive};

use crate::calendar::cron::fields::bounds;
use crate::calendar::cron::syntax::{Field, Item, ParsedExpression, Values, WEEKDAYS};
use crate::value::error::{CronError, CronField, CronReplacement};

const MAX_BYTES: usize = 1024;
const BLANKS: [char; 2] = [' ', '\t'];
const OUTER_BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Parses an expression or an alias such as `@daily`.
pub(crate) fn parse(input: &str) -> Result<ParsedExpression, CronError> {
    if input.len() > MAX_BYTES {
        return Err(CronError::TooLong {
            length: input.len(),
        });
    }
    let blanks_before = input.len() - input.trim_start_matches(OUTER_BLANKS).len();
    let whole = Slice {
        text: input.trim_matches(OUTER_BLANKS),
        at: blanks_before,
    };
    if whole.text.is_empty() {
        return Err(CronError::Empty);
    }
    if let Some((slice, replacement)) = not_cron(whole) {
        return Err(CronError::NotCron {
            text: slice.text.to_owned(),
            span: slice.span(),
            replacement,
        });
    }
    if whole.text.starts_with('@') {
        return fields(expand(whole)?);
    }
    fields(whole)
}

/// What other cron programs support in an expression, and the method that does it here.
fn not_cron(whole: Slice<'_>) -> Option<(Slice<'_>, CronReplacement)> {
    let lower = whole.text.to_ascii_lowercase();
    if lower == "@reboot" {
        return Some((whole, CronReplacement::Push));
    }
    if let Some(interval) = lower.strip_prefix("@every")
        && !interval.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        return Some((whole, CronReplacement::Every));
    }
    let first = whole.split(OUTER_BLANKS).next()?;
    let (variable, zone) = first.split_once('=')?;
    let sets_zone = ["TZ", "CRON_TZ"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(variable.text));
    let zone = zone.text.trim_matches(['"', '\'']).to_owned();
    sets_zone.then_some((first, CronReplacement::Zone(zone)))
}

/// The expression that an alias stands for. The result has the position of the alias.
fn expand(alias: Slice<'_>) -> Result<Slice<'static>, CronError> {
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
    Ok(Slice {
        text: expanded,
        at: alias.at,
    })
}

fn fields(whole: Slice<'_>) -> Result<ParsedExpression, CronError> {
    let slices: Vec<Slice<'_>> = whole
        .split(BLANKS)
        .filter(|slice| !slice.text.is_empty())
        .collect();
    let (second, five, year) = match *slices.as_slice() {
        [minute, hour, day, month, weekday] => (None, [minute, hour, day, month, weekday], None),
        [minute, hour, day, month, weekday, year] => {
            // Checked before all other fields: if the sixth field is not a year, the
            // user probably meant the first field as seconds.
            check_sixth_field(whole, year)?;
            (None, [minute, hour, day, month, weekday], Some(year))
        }
        [second, minute, hour, day, month, weekday, year] => (
            Some(second),
            [minute, hour, day, month, weekday],
            Some(year),
        ),
        _ => {
            return Err(CronError::FieldCount {
                count: slices.len(),
                text: whole.text.to_owned(),
                span: whole.span(),
            });
        }
    };
    let [minute, hour, day_of_month, month, day_of_week] = five;
    let optional = |name, slice: Option<Slice<'_>>| slice.map(|p| field(name, p)).transpose();
    Ok(ParsedExpression {
        seconds: optional(CronField::Second, second)?,
        minutes: field(CronField::Minute, minute)?,
        hours: field(CronField::Hour, hour)?,
        days_of_month: field(CronField::DayOfMonth, day_of_month)?,
        months: field(CronField::Month, month)?,
        days_of_week: field(CronField::DayOfWeek, day_of_week)?,
        years: optional(CronField::Year, year)?,
    })
}

/// Checks that the sixth field is a year in digits.
///
/// In other tools, `*/10 * * * * *` means every ten seconds. Without this check it would
/// mean every ten minutes here.
fn check_sixth_field(whole: Slice<'_>, slice: Slice<'_>) -> Result<(), CronError> {
    let digits = slice.text.bytes().take_while(u8::is_ascii_digit);
    // A number below 60 may be meant as the value of another field.
    let is_like_a_year = decimal(digits) >= 60;
    if is_like_a_year && !slice.text.contains(['*', '?']) {
        return Ok(());
    }
    let seven_fields = format!("{} *", whole.text);
    let is_valid = parse(&seven_fields).is_ok();
    Err(CronError::SixthField {
        text: slice.text.to_owned(),
        span: slice.span(),
        seven_fields: is_valid.then_some(seven_fields),
    })
}

/// Parses one field.
fn field(field: CronField, slice: Slice<'_>) -> Result<Field, CronError> {
    let question_mark = slice.text == "?" && allows_special_items(field);
    let (unrestricted, slice_or_star) = if question_mark {
        (true, Slice { text: "*", ..slice })
    } else {
        (slice.text == "*", slice)
    };
    let items = slice_or_star
        .split([','])
        .map(|item| ItemParser { field, item }.parse());
    Ok(Field {
        items: items.collect::<Result<_, _>>()?,
        unrestricted,
        starred: slice.text.starts_with('*'),
    })
}

/// Whether a field may contain `?` and special items.
fn allows_special_items(field: CronField) -> bool {
    matches!(field, CronField::DayOfMonth | CronField::DayOfWeek)
}

/// The parser of one item of a field.
struct ItemParser<'a> {
    field: CronField,
    item: Slice<'a>,
}

impl ItemParser<'_> {
    fn parse(&self) -> Result<Item, CronError> {
        if let Some((range, step)) = self.item.split_once('/') {
            let step = self.step(step)?;
            return self.values(range, Some(step));
        }
        let special = match self.field {
            CronField::DayOfMonth => self.day_of_month_item()?,
            CronField::DayOfWeek => self.day_of_week_item()?,
            _ => None,
        };
        match special {
            Some(item) => Ok(item),
            None => self.values(self.item, None),
        }
    }

    fn step(&self, slice: Slice<'_>) -> Result<u16, CronError> {
        match slice.number() {
            Some(0) => Err(CronError::ZeroStep {
                field: self.field,
                text: slice.text.to_owned(),
                span: slice.span(),
            }),
            Some(step) => Ok(step),
            None => Err(self.syntax_error(slice)),
        }
    }

    fn values(&self, range: Slice<'_>, step: Option<u16>) -> Result<Item, CronError> {
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
        // 0 and 7 are both Sunday, and `0-7` must contain it once.
        let whole_week = self.field == CronField::DayOfWeek && (first, last) == (0, 7);
        let last = if whole_week { 6 } else { last };
        Ok(Item::Values(Values {
            first,
            last,
            step: step.unwrap_or(1),
        }))
    }

    /// Parses a number or a name.
    fn value(&self, slice: Slice<'_>) -> Result<u16, CronError> {
        let (names, first): (&[&str], u16) = match self.field {
            CronField::Month => (&MONTHS, 1),
            CronField::DayOfWeek => (&WEEKDAYS, 0),
            _ => (&[], 0),
        };
        let named = names
            .iter()
            .zip(first..)
            .find(|(name, _)| name.eq_ignore_ascii_case(slice.text));
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
        self.number(slice, min..=max, allowed)
    }

    fn number(
        &self,
        slice: Slice<'_>,
        range: RangeInclusive<u16>,
        allowed: &'static str,
    ) -> Result<u16, CronError> {
        match slice.number() {
            Some(number) if range.contains(&number) => Ok(number),
            Some(_) => Err(CronError::OutOfRange {
                field: self.field,
                text: slice.text.to_owned(),
                span: slice.span(),
                allowed,
            }),
            None => Err(self.syntax_error(slice)),
        }
    }

    fn day_of_month_item(&self) -> Result<Option<Item>, CronError> {
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
                return Err(self.syntax_error(rest));
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

    fn day_of_week_item(&self) -> Result<Option<Item>, CronError> {
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

    /// The syntax error of a part of the item. The error is about the whole item if the part
    /// is empty, or if the part alone could be valid, such as `L` in `1-L`.
    fn syntax_error(&self, slice: Slice<'_>) -> CronError {
        let fault = if allows_special_items(self.field) || slice.text.is_empty() {
            self.item
        } else {
            slice
        };
        CronError::Syntax {
            field: self.field,
            text: fault.text.to_owned(),
            span: fault.span(),
        }
    }
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];

/// A part of the input, with its position in bytes.
#[derive(Debug, Clone, Copy)]
struct Slice<'a> {
    text: &'a str,
    at: usize,
}

impl Slice<'_> {
    fn span(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn split<const N: usize>(self, separators: [char; N]) -> impl Iterator<Item = Self> {
        let mut at = self.at;
        self.text.split(separators).map(move |text| {
            let slice = Slice { text, at };
            // Each separator is one byte.
            at += text.len() + 1;
            slice
        })
    }

    fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_once(separator)?;
        let at = self.at + self.text.len() - after.len();
        Some((
            Slice {
                text: before,
                ..self
            },
            Slice { text: after, at },
        ))
    }

    /// Removes a letter of either case from the front. `None` if it is not there.
    fn strip_prefix(self, letter: char) -> Option<Self> {
        let text = self
            .text
            .strip_prefix([letter, letter.to_ascii_lowercase()])?;
        let at = self.at + self.text.len() - text.len();
        Some(Slice { text, at })
    }

    fn strip_suffix(self, letter: char) -> Option<Self> {
        let text = self
            .text
            .strip_suffix([letter, letter.to_ascii_lowercase()])?;
        Some(Slice { text, ..self })
    }

    fn number(self) -> Option<u16> {
        let digits = !self.text.is_empty() && self.text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| decimal(self.text.bytes()))
    }
}

/// The value of ASCII digits. Saturates at `u16::MAX`, which is greater than every valid
/// value.
fn decimal(digits: impl Iterator<Item = u8>) -> u16 {
    digits.fold(0, |number: u16, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u16::from(digit - b'0'))
    })
}
