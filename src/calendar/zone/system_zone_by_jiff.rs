//! The name of the zone that the operating system is set to, where jiff finds it.
//!
//! On Windows, jiff translates the system's name to that of the IANA database.

/// The name of the zone that the system is set to. `None` if it names none.
pub(super) fn system_zone_name() -> Option<String> {
    let zone = jiff::tz::TimeZone::try_system().ok()?;
    zone.iana_name().map(Into::into)
}
