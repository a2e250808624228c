//! The range of values of each field.

use crate::value::error::CronField;

/// The least and the greatest number that can be written in a field.
pub(crate) fn bounds(field: CronField) -> (u16, u16) {
    match field {
        CronField::Second | CronField::Minute => (0, 59),
        CronField::Hour => (0, 23),
        CronField::DayOfMonth => (1, 31),
        CronField::Month => (1, 12),
        CronField::DayOfWeek => (0, 7),
        CronField::Year => (YEAR_MIN, YEAR_MAX),
    }
}

pub(crate) const YEAR_MIN: u16 = 1970;
pub(crate) const YEAR_MAX: u16 = 2099;

/// The number of different values of a field. The days of the week 0 and 7 are one value.
pub(crate) fn cycle(field: CronField) -> u16 {
    let (min, max) = bounds(field);
    if field == CronField::DayOfWeek {
        7
    } else {
        max - min + 1
    }
}
