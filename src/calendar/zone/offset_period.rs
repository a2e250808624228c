//! The periods of a zone: in each, the offset from UTC is constant.
//!
//! Instants are Unix seconds, and offsets are seconds east of UTC.

/// An upper bound of all offsets from UTC in `time` and in `jiff`, in seconds.
pub(crate) const OFFSET_BOUND: i64 = 26 * 3600;

/// A period with one offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OffsetPeriod {
    pub(crate) offset: i32,
    /// The first instant after the period. `None` if the period does not end.
    pub(crate) end: Option<i64>,
}

/// The change from one period to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OffsetChange {
    /// The first instant of the later period.
    pub(crate) at: i64,
    pub(crate) offset_before: i32,
}
