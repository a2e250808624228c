//! [`Timeline`]: the clock on which the times of a job are counted.

use crate::value::time_units::{Due, Now};

/// The clock on which the times of a job are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeline {
    /// The monotonic clock: `delay`, `every`.
    Mono,
    /// The wall clock: `at`, `cron`.
    Wall,
}

impl Timeline {
    /// A time of this timeline, as something that can be due.
    pub(crate) fn due(self, at: i64) -> Due {
        match self {
            Timeline::Mono => Due::Mono(at),
            Timeline::Wall => Due::Wall(at),
        }
    }

    /// The present on this timeline.
    pub(crate) fn of(self, now: Now) -> i64 {
        match self {
            Timeline::Mono => now.mono,
            Timeline::Wall => now.wall,
        }
    }

    /// A time of this timeline as a wall time. `offset` is wall time less monotonic
    /// time.
    pub(crate) fn to_wall(self, at: i64, offset: i64) -> i64 {
        match self {
            Timeline::Mono => at.saturating_add(offset),
            Timeline::Wall => at,
        }
    }

    /// A wall time as a time of this timeline. `offset` is wall time less monotonic
    /// time.
    pub(crate) fn at_wall(self, wall: i64, offset: i64) -> i64 {
        match self {
            Timeline::Mono => wall.saturating_sub(offset),
            Timeline::Wall => wall,
        }
    }
}
