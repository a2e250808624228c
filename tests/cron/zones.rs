//! Time zones.

use jobber::Zone;

use time::macros::{datetime, offset};

use time::{OffsetDateTime, PrimitiveDateTime};

#[test]
fn fixed_zones_print_their_offset() {
    assert_eq!(Zone::UTC.to_string(), "UTC");
    assert_eq!(Zone::fixed(offset!(+0)).to_string(), "UTC");
    assert_eq!(Zone::fixed(offset!(+2)).to_string(), "+02:00");
    assert_eq!(Zone::fixed(offset!(-0:30)).to_string(), "-00:30");
    assert_eq!(Zone::fixed(offset!(-3:30:15)).to_string(), "-03:30:15");
    assert_eq!(format!("{:?}", Zone::fixed(offset!(+2))), "Zone(+02:00)");
}

#[test]
fn fixed_zones_are_equal_if_their_offsets_are() {
    assert_eq!(Zone::fixed(offset!(+0)), Zone::UTC);
    assert_eq!(Zone::fixed(offset!(+2)), Zone::fixed(offset!(+2)));
    assert_ne!(Zone::fixed(offset!(+2)), Zone::UTC);
}

#[test]
fn a_fixed_zone_always_has_its_offset() {
    let zone = Zone::fixed(offset!(-3:30));
    for seconds in [i64::from(i32::MIN), 0, 253_402_300_799] {
        let instant = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        assert_eq!(zone.offset_at(instant), offset!(-3:30));
    }
}

#[test]
fn a_fixed_zone_converts_between_instants_and_local_times() {
    let local = datetime!(2026-12-25 1:30:00.000_000_007);
    for (zone, instant) in [
        (Zone::UTC, local.assume_utc()),
        (
            Zone::fixed(offset!(+5:30)),
            local.assume_offset(offset!(+5:30)),
        ),
        (
            Zone::fixed(offset!(-25:59:59)),
            local.assume_offset(offset!(-25:59:59)),
        ),
    ] {
        let found = zone.at_local(local);
        assert_eq!((found, found.offset()), (instant, instant.offset()));
        assert_eq!(zone.to_local(instant.to_offset(offset!(+3))), Some(local));
    }
}

#[test]
fn a_local_date_outside_the_calendar_is_none_and_every_local_date_is_an_instant() {
    for zone in [
        Zone::fixed(offset!(+2)),
        Zone::fixed(offset!(-2)),
        Zone::UTC,
    ] {
        for local in [PrimitiveDateTime::MIN, PrimitiveDateTime::MAX] {
            let instant = zone.at_local(local);
            assert_eq!(zone.to_local(instant), Some(local), "{zone}");
        }
    }
    let (first, last) = (
        PrimitiveDateTime::MIN.assume_utc(),
        PrimitiveDateTime::MAX.assume_utc(),
    );
    assert_eq!(Zone::fixed(offset!(-2)).to_local(first), None);
    assert_eq!(Zone::fixed(offset!(+2)).to_local(last), None);
    assert!(Zone::fixed(offset!(+2)).to_local(first).is_some());
}

#[cfg(feature = "tz")]
mod named {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use jiff::tz::TimeZoneDatabase;
    use jobber::{IntoZone, Zone, ZoneDatabase, ZoneError, ZoneHint};
    use time::macros::{datetime, offset};
    use time::{Date, Time};

    fn hint(name: &str) -> Option<ZoneHint> {
        match Zone::named(name) {
            Err(ZoneError::Unknown { name: named, hint }) => {
                assert_eq!(named, name);
                hint
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    fn suggestion(name: &str) -> Option<String> {
        match hint(name) {
            Some(ZoneHint::SimilarName(suggestion)) => Some(suggestion),
            _ => None,
        }
    }

    #[test]
    fn a_named_zone_prints_its_name() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.to_string(), "Europe/Berlin");
        assert_eq!(format!("{berlin:?}"), "Zone(Europe/Berlin)");
        assert_eq!(berlin, Zone::named("Europe/Berlin").unwrap());
        assert_ne!(berlin, Zone::named("Europe/Paris").unwrap());
        assert_ne!(berlin, Zone::fixed(offset!(+1)));
        // An alias prints as the alias.
        assert_eq!(
            Zone::named("Asia/Calcutta").unwrap().to_string(),
            "Asia/Calcutta"
        );
    }

    #[test]
    fn the_zone_named_utc_equals_the_constant() {
        assert_eq!(Zone::named("UTC").unwrap(), Zone::UTC);
    }

    #[test]
    fn the_offset_at_an_instant_is_the_one_in_force() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(
            berlin.offset_at(datetime!(2026-03-29 0:59:59 UTC)),
            offset!(+1)
        );
        assert_eq!(
            berlin.offset_at(datetime!(2026-03-29 1:00 UTC)),
            offset!(+2)
        );
        assert_eq!(
            berlin.offset_at(datetime!(2026-10-25 0:59:59 UTC)),
            offset!(+2)
        );
        assert_eq!(
            berlin.offset_at(datetime!(2026-10-25 1:00 UTC)),
            offset!(+1)
        );
        // After the end of the tables, the rules hold.
        assert_eq!(
            berlin.offset_at(datetime!(2150-07-01 0:00 UTC)),
            offset!(+2)
        );
    }

    #[test]
    fn the_offset_at_the_ends_of_the_calendar_is_the_nearest_known() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(
            berlin.offset_at(Date::MIN.midnight().assume_utc()),
            offset!(+0:53:28)
        );
        assert_eq!(
            berlin.offset_at(
                Date::MAX
                    .with_time(Time::MAX)
                    .assume_offset(offset!(-25:59:59))
            ),
            offset!(+1),
        );
    }

    #[test]
    fn zones_come_from_the_database_that_is_compiled_in() {
        // Morocco left +01:00 in 2026; a database of 2025 does not have that.
        let zone = Zone::named("Africa/Casablanca").unwrap();
        assert_eq!(zone.offset_at(datetime!(2026-11-23 12:00 UTC)), offset!(+0));
    }

    #[test]
    fn the_zone_of_the_system_has_a_name() {
        match Zone::local() {
            Ok(zone) => assert_eq!(Zone::named(&zone.to_string()), Ok(zone)),
            Err(ZoneError::NoSystemZone | ZoneError::Unknown { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_database_of_the_system_has_the_zones_that_are_compiled_in() {
        let Ok(system) = ZoneDatabase::system() else {
            return;
        };
        let then = datetime!(2000-07-01 12:00 UTC);
        for name in [
            "Europe/Berlin",
            "America/New_York",
            "Asia/Tokyo",
            "Etc/GMT+5",
        ] {
            let (zone, bundled) = (Zone::named_in(name, &system), Zone::named(name));
            let (zone, bundled) = (zone.unwrap(), bundled.unwrap());
            assert_eq!(zone.offset_at(then), bundled.offset_at(then), "{name}");
            assert_eq!("UTC".into_zone_in(&system), Ok(Zone::UTC));
            assert_eq!(name.into_zone_in(&system), Ok(bundled));
        }
    }

    #[test]
    fn the_error_for_an_unknown_zone_names_it() {
        let error = Zone::named("Mars/Olympus_Mons").unwrap_err();
        assert_eq!(error.to_string(), "unknown time zone `Mars/Olympus_Mons`");
        for name in [
            "",
            "/",
            "Europe",
            "Etc/Unknown",
            "+01:00",
            "../../etc/passwd",
        ] {
            assert!(Zone::named(name).is_err(), "{name}");
        }
        assert_eq!(suggestion(&"x".repeat(10_000)), None);
        assert!(
            Zone::named(&"x".repeat(10_000))
                .unwrap_err()
                .to_string()
                .len()
                < 80
        );
    }

    #[test]
    fn the_error_for_an_unknown_zone_suggests_a_near_name() {
        for (name, near) in [
            ("europe/berlin", "Europe/Berlin"),
            ("EUROPE/BERLIN", "Europe/Berlin"),
            ("utc", "UTC"),
            ("Europe/Berln", "Europe/Berlin"),
            ("Europe/Belrin", "Europe/Berlin"),
            ("Euorpe/Berlin", "Europe/Berlin"),
            ("America/New York", "America/New_York"),
            ("Berlin", "Europe/Berlin"),
            ("new york", "America/New_York"),
            ("Kolkatta", "Asia/Kolkata"),
            ("Buenos_Aires", "America/Buenos_Aires"),
            (" Europe/Paris ", "Europe/Paris"),
            // A name that is as short as an abbreviation.
            ("rome", "Europe/Rome"),
            ("Tokio", "Asia/Tokyo"),
            ("Minsk", "Europe/Minsk"),
            // Abbreviations and offsets that the database has, in another case.
            ("est", "EST"),
            ("nz", "NZ"),
            ("etc/gmt+2", "Etc/GMT+2"),
            (" GMT", "GMT"),
        ] {
            assert_eq!(suggestion(name).as_deref(), Some(near), "{name}");
        }
        assert_eq!(
            Zone::named("Europe/Berln").unwrap_err().to_string(),
            "unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?",
        );
    }

    /// Regression: `GMT+2` suggested `Etc/GMT+2`, which is two hours west of Greenwich.
    #[test]
    fn the_error_for_an_offset_points_to_fixed_zones() {
        for name in [
            "GMT+2",
            "gmt-11",
            "GMT2",
            "GMT +2",
            "UTC+2",
            "utc-05",
            "UTC+02:00",
            "UTC+5:30",
            "UT+1",
            "Etc/GMT+15",
            "etc/utc+2",
            "Etc/GMT+02",
            "Z+1",
            "+02:00",
            "-02:00:30",
            "+2",
            "+0200",
            "\u{2212}3",
            " +02:00 ",
            "02:00",
            "+99:99",
        ] {
            assert_eq!(hint(name), Some(ZoneHint::Offset), "{name}");
        }
        assert_eq!(
            Zone::named("GMT+2").unwrap_err().to_string(),
            "unknown time zone `GMT+2`; for a fixed offset from UTC, use `Zone::fixed`",
        );
        // The sign of a similar name may be the opposite one.
        for name in [
            "GNT+2",
            "Etc/GMP+2",
            "Etc/GMT+x",
            "GMT+",
            "+",
            ":",
            "2",
            "UTC+2x",
        ] {
            assert_eq!(hint(name), None, "{name}");
        }
    }

    /// Regression: `PST` suggested `EST`.
    #[test]
    fn the_error_for_an_abbreviation_points_to_the_names_of_regions() {
        let database = TimeZoneDatabase::bundled();
        let mut abbreviations: BTreeSet<String> = ["PT", "ET", "AoE", "ACT", "NSW", "MSK"]
            .map(str::to_owned)
            .into();
        for name in database.available() {
            let zone = database.get(name.as_str()).unwrap();
            for period in zone.following(Timestamp::MIN).take(400) {
                abbreviations.insert(period.abbreviation().to_owned());
            }
        }
        abbreviations.retain(|name| {
            let is_word = name.bytes().all(|byte| byte.is_ascii_alphabetic());
            is_word && database.get(name).is_err()
        });
        assert!(abbreviations.len() > 100 && abbreviations.contains("CEST"));
        for name in &abbreviations {
            for name in [name.clone(), name.to_lowercase(), format!("Etc/{name}")] {
                assert_eq!(hint(&name), Some(ZoneHint::Abbreviation), "{name}");
            }
        }
        assert_eq!(
            Zone::named("PST").unwrap_err().to_string(),
            "unknown time zone `PST`; an abbreviation may mean several zones: use the name of a \
             region, such as `America/Los_Angeles`",
        );
    }

    #[test]
    fn every_name_of_the_database_is_a_zone() {
        let database = TimeZoneDatabase::bundled();
        let mut count = 0;
        for name in database.available() {
            let zone = Zone::named(name.as_str()).unwrap();
            assert_eq!(zone.to_string(), name.as_str());
            count += 1;
        }
        assert!(count > 500);
    }
}
