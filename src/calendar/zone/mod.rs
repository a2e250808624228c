//! Time zones: fixed offsets and, with the feature `tz`, names.

#[cfg(feature = "tz")]
pub(crate) mod named;
#[cfg(not(feature = "tz"))]
pub(crate) mod nameless;
pub(crate) mod time_zone;
