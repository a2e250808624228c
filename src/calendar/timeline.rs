//! [`Timeline`]: the clock by which a job is due.

/// The clock by which a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeline {
    /// The monotonic clock: `delay`, `every`.
    Mono,
    /// The wall clock: `at`, `cron`, `every` with a start date.
    Wall,
}
