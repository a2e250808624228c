//! An expression laid over a zone: gaps and overlaps.
//!
//! A zone is a row of periods, each with one offset. Within a period, wall time
//! and real time run alike, so the first match on the wall is the answer unless
//! the period ends before it. Then the search goes on in a later period.
//!
//! At a clock change, a rate starts afresh from the new wall time. Times of day
//! go on from where the wall clock stood before: what a gap skips is still
//! ahead of them and falls due at the first instant of the period, and what an
//! overlap repeats is behind them.

use crate::calendar::cron::days::{DAY_MIN, SECONDS_PER_DAY};
use crate::calendar::cron::wall::{Wall, WallPattern};
use crate::calendar::zone::offset_period::OffsetPeriod;
use crate::calendar::zone::time_zone::Zone;

/// Unix seconds.
type Instant = i64;

/// What changes the clock by more is a correction of the calendar.
const CLOCK_CHANGE_MAX: i64 = 3 * 3600;

/// No offset from UTC is as large, in `time` as in `jiff`.
const OFFSET_BOUND: i64 = 26 * 3600;

/// 2100-01-01: by then every zone is past its table and goes on by a rule.
const RULES_SETTLED: Instant = 4_102_444_800;

/// After 400 years dates fall on the same days of the week again, and so do
/// clock changes.
const CALENDAR_CYCLE: i64 = 146_097 * SECONDS_PER_DAY;

/// The first instant at or after `from` at which a pattern is due, and the
/// offset there.
pub(crate) fn first_from(
    pattern: &WallPattern,
    from: Instant,
    zone: &Zone,
) -> Option<(Instant, i32)> {
    // A start with an offset may lie before the calendar of UTC begins.
    let mut from = from.max(DAY_MIN * SECONDS_PER_DAY);
    // A rate may lie in a gap each year it matches, forever. What is not due
    // within a cycle of the calendar never is.
    let horizon = from.max(RULES_SETTLED).checked_add(CALENDAR_CYCLE)?;
    while from <= horizon {
        let period = zone.period_at(from);
        if let Some(wall) = pattern.first_from(wall_from(pattern, from, period, zone)) {
            // Before `from` only if a gap has skipped it.
            let instant = (wall - i64::from(period.offset)).max(from);
            if period.end.is_none_or(|end| instant < end) {
                return Some((instant, period.offset));
            }
        }
        // Over the periods that no match can lie in, whatever their offsets.
        let end = period.end?;
        let wall = pattern.first_from(end - OFFSET_BOUND)?;
        from = end.max(wall - OFFSET_BOUND);
    }
    None
}

/// The least wall time that is still to come at `from`.
fn wall_from(pattern: &WallPattern, from: Instant, period: OffsetPeriod, zone: &Zone) -> Wall {
    let shown = from + i64::from(period.offset);
    if pattern.wildcard {
        return shown;
    }
    // An earlier change has no second pass left.
    let Some(change) = zone.recent_change(from, CLOCK_CHANGE_MAX) else {
        return shown;
    };
    let difference = period.offset - change.offset_before;
    if i64::from(difference).abs() > CLOCK_CHANGE_MAX {
        return shown;
    }
    let went_on = change.at + i64::from(change.offset_before);
    if from == change.at {
        went_on
    } else {
        shown.max(went_on)
    }
}
