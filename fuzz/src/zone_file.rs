//! Compiled zone files, which come from outside.

use jobber::cron::Cron;
use jobber::{Zone, ZoneDatabase};
use tempfile::TempDir;
use time::{OffsetDateTime, PrimitiveDateTime};

/// Reads the bytes as a compiled zone file. Nothing panics or loops, and in a zone that can be
/// read, an expression has its times in order.
///
/// # Panics
/// When any of that does not hold.
pub fn zone_file(data: &[u8]) {
    thread_local! {
        static DIRECTORY: TempDir = tempfile::tempdir().expect("there is a temporary folder");
    }
    let zone = DIRECTORY.with(|directory| {
        std::fs::write(directory.path().join("Zone"), data).expect("it can be written");
        let database = ZoneDatabase::at(directory.path()).expect("it is a directory");
        Zone::named_in("Zone", &database)
    });
    let Ok(zone) = zone else { return };
    let cron = Cron::parse("30 */7 * * *").expect("it is an expression");
    // From 1900 to 2100, and at a few places that the bytes choose.
    let chosen = data.chunks_exact(8).rev().take(4);
    let chosen = chosen.map(|bytes| i64::from_be_bytes(bytes.try_into().expect("eight")));
    let years = (-70..=130).step_by(25).map(|year| year * 31_556_952);
    for seconds in years.chain(chosen) {
        let Ok(start) = OffsetDateTime::from_unix_timestamp(seconds) else {
            continue;
        };
        let _ = zone.at_local(PrimitiveDateTime::new(start.date(), start.time()));
        let _ = zone.to_local(start);
        let times: Vec<_> = cron.upcoming(start, &zone).take(3).collect();
        assert!(times.first().is_none_or(|first| *first > start));
        assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    }
}
