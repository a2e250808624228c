//! Time zones: fixed offsets and, with the feature `tz`, names and databases.

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
#[cfg(all(feature = "tz", unix, not(target_os = "android")))]
pub(crate) mod system_zone;
#[cfg(all(feature = "tz", any(not(unix), target_os = "android")))]
pub(crate) mod system_zone_by_jiff;
pub(crate) mod time_zone;
pub(crate) mod zone_database;
