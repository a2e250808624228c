//! The times of an expression in a time zone.
//!
//! A zone is a sequence of periods, each with one offset. Within a period, the wall clock
//! and real time advance at the same speed. The first match on the wall clock is therefore
//! the result, unless the period ends before it. If it ends before, the search continues in
//! a later period.
//!
//! A clock change makes a *gap* of wall-clock times that are skipped, or an *overlap* of
//! wall-clock times that occur twice. A rate continues from the wall-clock time after the
//! change. Times of day continue from the wall-clock time before the change: a time in a
//! gap is due at the first instant of the new period, and a time in an overlap is not due
//! again.

use crate::calendar::cron::days::{DAY_MIN, SECONDS_PER_DAY};
use crate::calendar::cron::wall::{WallPattern, WallSeconds};
use crate::calendar::zone::offset_period::{OFFSET_BOUND, OffsetPeriod};
use crate::calendar::zone::time_zone::Zone;
use crate::value::time_units;

type UnixSeconds = i64;

/// The largest clock change, in seconds.
const CLOCK_CHANGE_MAX: i64 = time_units::CLOCK_CHANGE_MAX / 1_000_000_000;

/// 2100-01-01. From then on every zone follows a rule instead of a table of changes.
const ALL_ZONES_USE_RULES: UnixSeconds = 4_102_444_800;

/// 400 years, in seconds. The days of the week, and the clock changes of a rule, repeat
/// after 400 years.
const CALENDAR_CYCLE: i64 = 146_097 * SECONDS_PER_DAY;

/// The first instant at or after `from` at which a pattern is due, with the offset at that
/// instant. `None` if there is none before the end of the calendar of `time`.
pub(crate) fn first_from(
    pattern: &WallPattern,
    from: UnixSeconds,
    zone: &Zone,
) -> Option<(UnixSeconds, i32)> {
    // A start with a positive offset may be before the first day of the UTC calendar.
    let mut from = from.max(DAY_MIN * SECONDS_PER_DAY);
    // All matches of a rate may be in gaps, in every year. If it is not due within one
    // cycle of the calendar, it is never due.
    let horizon = from.max(ALL_ZONES_USE_RULES).checked_add(CALENDAR_CYCLE)?;
    while from <= horizon {
        let period = zone.period_at(from);
        if let Some(wall) = pattern.first_from(wall_from(pattern, from, period, zone)) {
            // The match is before `from` only if it is in a gap.
            let instant = (wall - i64::from(period.offset)).max(from);
            if period.end.is_none_or(|end| instant < end) {
                return Some((instant, period.offset));
            }
        }
        // Skips the periods that cannot contain a match with any offset.
        let end = period.end?;
        let wall = pattern.first_from(end - OFFSET_BOUND)?;
        from = end.max(wall - OFFSET_BOUND);
    }
    None
}

/// The first wall-clock time that is not yet in the past at the instant `from`.
fn wall_from(
    pattern: &WallPattern,
    from: UnixSeconds,
    period: OffsetPeriod,
    zone: &Zone,
) -> WallSeconds {
    let shown = from + i64::from(period.offset);
    if pattern.is_rate {
        return shown;
    }
    // The overlap of an earlier change has ended.
    let Some(change) = zone.recent_change(from, CLOCK_CHANGE_MAX) else {
        return shown;
    };
    let difference = period.offset - change.offset_before;
    if i64::from(difference).abs() > CLOCK_CHANGE_MAX {
        return shown;
    }
    let continued = change.at + i64::from(change.offset_before);
    if from == change.at {
        continued
    } else {
        shown.max(continued)
    }
}
