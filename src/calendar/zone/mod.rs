//! Time zones: fixed offsets and, with the feature `tz`, names.

pub(crate) mod into_zone;
#[cfg(feature = "tz")]
pub(crate) mod name_hint;
#[cfg(feature = "tz")]
pub(crate) mod named_zone;
#[cfg(not(feature = "tz"))]
pub(crate) mod named_zone_stub;
pub(crate) mod offset_period;
#[cfg(feature = "tz")]
pub(crate) mod similar_name;
pub(crate) mod time_zone;
