//! Local times of named zones, as instants and back.

use fastrand::Rng;

use jiff::Timestamp;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use jobber::testing::{ManualClock, Simulation};
use jobber::{CalendarInterval, Exclusions, Zone, cron::Cron};

use time::macros::datetime;

use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::oracle::Stretch;

use crate::stretches::{YEAR_1970, YEAR_2038, stretches};

const HOUR: i64 = 3600;

fn zone(name: &str) -> Zone {
    Zone::named(name).unwrap()
}

/// The local time that a clock in UTC shows at an instant.
fn local(seconds: i64) -> PrimitiveDateTime {
    let utc = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    PrimitiveDateTime::new(utc.date(), utc.time())
}

fn instant(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// Every name of the database, with our zone and jiff's.
fn zones() -> Vec<(Zone, TimeZone)> {
    let database = TimeZoneDatabase::bundled();
    let names = database.available();
    names
        .filter_map(|name| {
            let name = name.as_str();
            Some((Zone::named(name).ok()?, database.get(name).ok()?))
        })
        .collect()
}

/// The first instant at which clocks show a local time or a later one, by the offsets of
/// jiff. (jiff 1.0.1 itself takes an hour of 2023-10-28 in America/Nuuk for an overlap.)
fn first_shown(local: PrimitiveDateTime, zone: &TimeZone) -> OffsetDateTime {
    let wanted = local.assume_utc();
    let day = Duration::DAY + 2 * Duration::HOUR;
    let at = |time: OffsetDateTime| Timestamp::from_second(time.unix_timestamp()).unwrap();
    let offset = |time| Duration::seconds(zone.to_offset(at(time)).seconds().into());
    let changes: Vec<_> = zone
        .following(at(wanted - day))
        .map(|change| instant(change.timestamp().as_second()))
        .take_while(|change| *change < wanted + day)
        .collect();
    // The clocks come to show such a time by running, or by a change.
    let by_running = changes.iter().copied().chain([wanted - day]);
    let by_running = by_running.map(|time| wanted - offset(time));
    by_running
        .chain(changes.iter().copied())
        .filter(|time| *time + offset(*time) >= wanted)
        .min()
        .unwrap()
}

#[test]
fn a_local_time_is_the_first_instant_at_which_clocks_show_it_or_a_later_time() {
    for (name, local, expected) in [
        // Once.
        (
            "Europe/Berlin",
            datetime!(2026-07-01 9:00),
            datetime!(2026-07-01 9:00 +2),
        ),
        (
            "Europe/Berlin",
            datetime!(2026-12-01 9:00:00.5),
            datetime!(2026-12-01 9:00:00.5 +1),
        ),
        // A gap from 02:00 to 03:00.
        (
            "Europe/Berlin",
            datetime!(2026-03-29 1:59:59.999),
            datetime!(2026-03-29 1:59:59.999 +1),
        ),
        (
            "Europe/Berlin",
            datetime!(2026-03-29 2:00),
            datetime!(2026-03-29 3:00 +2),
        ),
        (
            "Europe/Berlin",
            datetime!(2026-03-29 2:59:59.999),
            datetime!(2026-03-29 3:00 +2),
        ),
        (
            "Europe/Berlin",
            datetime!(2026-03-29 3:00),
            datetime!(2026-03-29 3:00 +2),
        ),
        (
            "Europe/Berlin",
            datetime!(2026-03-29 3:00:00.001),
            datetime!(2026-03-29 3:00:00.001 +2),
        ),
        // An overlap from 02:00 to 03:00.
        (
            "Europe/Berlin",
            datetime!(2026-10-25 2:00),
            datetime!(2026-10-25 2:00 +2),
        ),
        (
            "Europe/Berlin",
            datetime!(2026-10-25 2:59:59.999),
            datetime!(2026-10-25 2:59:59.999 +2),
        ),
        (
            "Europe/Berlin",
            datetime!(2026-10-25 3:00),
            datetime!(2026-10-25 3:00 +1),
        ),
        // A gap of half an hour, at 02:00.
        (
            "Australia/Lord_Howe",
            datetime!(2026-10-04 2:15),
            datetime!(2026-10-04 2:30 +11),
        ),
        // A gap from 00:00 to 01:00, and one from 23:00 to 24:00.
        (
            "America/Sao_Paulo",
            datetime!(2018-11-04 0:30),
            datetime!(2018-11-04 1:00 -2),
        ),
        (
            "America/Nuuk",
            datetime!(2024-03-30 23:30),
            datetime!(2024-03-31 0:00 -1),
        ),
        // A change of the rules that does not change the offset.
        (
            "America/Nuuk",
            datetime!(2023-10-28 23:30),
            datetime!(2023-10-28 23:30 -2),
        ),
        // An overlap of three hours, from 23:00 to 02:00.
        (
            "Antarctica/Casey",
            datetime!(2010-03-04 23:30),
            datetime!(2010-03-04 23:30 +11),
        ),
        // Corrections: a skipped day, and seven hours that are repeated.
        (
            "Pacific/Apia",
            datetime!(2011-12-30 12:00),
            datetime!(2011-12-31 0:00 +14),
        ),
        (
            "Pacific/Apia",
            datetime!(2011-12-29 23:59:59),
            datetime!(2011-12-29 23:59:59 -10),
        ),
        (
            "Antarctica/Vostok",
            datetime!(1994-01-31 20:00),
            datetime!(1994-01-31 20:00 +7),
        ),
        // An offset of whole seconds, before the first change, and after the tables.
        (
            "Africa/Monrovia",
            datetime!(1971-06-01 12:00),
            datetime!(1971-06-01 12:00 -0:44:30),
        ),
        (
            "Europe/Berlin",
            datetime!(1800-01-01 0:00),
            datetime!(1800-01-01 0:00 +0:53:28),
        ),
        (
            "Europe/Berlin",
            datetime!(2150-03-29 2:30),
            datetime!(2150-03-29 3:00 +2),
        ),
    ] {
        let found = zone(name).at_local(local);
        assert_eq!(
            (found, found.offset()),
            (expected, expected.offset()),
            "{local} in {name}"
        );
    }
}

#[test]
fn the_ends_of_the_calendar_are_instants_in_every_zone() {
    for (zone, _) in zones() {
        for local in [PrimitiveDateTime::MIN, PrimitiveDateTime::MAX] {
            assert_eq!(zone.to_local(zone.at_local(local)), Some(local), "{zone}");
        }
    }
}

#[test]
fn a_local_time_in_a_second_pass_converts_to_the_first() {
    let berlin = zone("Europe/Berlin");
    let second_pass = datetime!(2026-10-25 2:30:15.25 +1);
    let local = berlin.to_local(second_pass).unwrap();
    assert_eq!(local, datetime!(2026-10-25 2:30:15.25));
    assert_eq!(berlin.at_local(local), second_pass - Duration::HOUR);
}

/// The local times around a change, each with a reason to differ from its neighbour.
fn around(change: &Stretch) -> Vec<PrimitiveDateTime> {
    let (before, after) = (change.start + change.before, change.start + change.offset);
    let edges = [before, after, (before + after) / 2];
    edges
        .into_iter()
        .flat_map(|edge| [-HOUR, -1, 0, 1, HOUR].map(|by| local(edge + by)))
        .collect()
}

#[test]
fn around_every_clock_change_a_local_time_is_the_first_instant_and_due_as_in_cron() {
    let all = std::env::var_os("JOBBER_CRON_ALL_CHANGES").is_some();
    let sample = if all { 1 } else { 97 };
    let (mut changes, mut skipped) = (0, 0);
    for (zone, jiff) in zones() {
        for change in stretches(&jiff).iter().skip(1) {
            if !(YEAR_1970 + 48 * HOUR..YEAR_2038).contains(&change.start) {
                continue;
            }
            let difference = change.offset - change.before;
            changes += 1;
            if changes % sample != 0 && difference.abs() <= 3 * HOUR {
                continue;
            }
            let mut last = None;
            let mut times = around(change);
            times.sort();
            for local in times {
                let found = zone.at_local(local);
                assert_eq!(found, first_shown(local, &jiff), "{local} in {zone}");
                assert_eq!(found.offset(), zone.offset_at(found), "{local} in {zone}");
                assert!(Some(found) >= last, "{local} in {zone}");
                last = Some(found);
                let expression = format!(
                    "{} {} {} {} {} ? {}",
                    local.second(),
                    local.minute(),
                    local.hour(),
                    local.day(),
                    u8::from(local.month()),
                    local.year()
                );
                let cron = Cron::parse(&expression).unwrap();
                let due = cron.next_after(instant(change.start - 60 * HOUR), &zone);
                match due {
                    Some(due) => assert_eq!(found, due, "{local} in {zone}"),
                    // Cron is not due for a time that a correction skips.
                    None => {
                        assert!(difference > 3 * HOUR, "{local} in {zone}");
                        assert_eq!(found, instant(change.start), "{local} in {zone}");
                        skipped += 1;
                    }
                }
            }
        }
    }
    assert!(changes > 20_000 && skipped > 5, "{changes}, {skipped}");
}

#[test]
fn an_instant_survives_its_local_time_outside_a_second_pass() {
    let mut rng = Rng::with_seed(1);
    let zones = zones();
    let stretches: Vec<_> = zones.iter().map(|(_, jiff)| stretches(jiff)).collect();
    let mut passes = [0, 0];
    for _ in 0..20_000 {
        let at = rng.usize(..zones.len());
        let ((zone, jiff), stretches) = (&zones[at], &stretches[at]);
        let stretch = stretches[rng.usize(..stretches.len())];
        // Half of the instants are near a change.
        let seconds = if rng.bool() {
            stretch.start + rng.i64(-3 * HOUR..3 * HOUR)
        } else {
            rng.i64(-10_000_000_000..10_000_000_000)
        };
        let time = instant(seconds) + Duration::nanoseconds(rng.i64(0..1_000_000_000));
        let local = zone.to_local(time).unwrap();
        assert_eq!(local.assume_offset(zone.offset_at(time)), time, "in {zone}");
        let found = zone.at_local(local);
        assert_eq!(found, first_shown(local, jiff), "{local} in {zone}");
        let is_first_pass = found == time;
        assert!(
            found <= time && zone.to_local(found) == Some(local),
            "{time} in {zone}"
        );
        passes[usize::from(is_first_pass)] += 1;
    }
    assert!(passes[0] > 100 && passes[1] > 15_000, "{passes:?}");
}

/// A zone of which `jiff` knows, and a time shortly before one of its clock changes.
fn near_a_change(zones: &[(Zone, TimeZone)], rng: &mut Rng) -> (Zone, TimeZone, OffsetDateTime) {
    loop {
        let (zone, jiff) = rng.choice(zones).unwrap();
        let from = Timestamp::from_second(rng.i64(YEAR_1970..YEAR_2038)).unwrap();
        let Some(change) = jiff.following(from).next() else {
            continue;
        };
        let change = change.timestamp().as_second();
        let before = rng.i64(-3 * HOUR..50 * HOUR) / 60 * 60;
        return (zone.clone(), jiff.clone(), instant(change - before));
    }
}

/// What clocks show at an instant, by the offsets of jiff.
fn shown(time: OffsetDateTime, zone: &TimeZone) -> PrimitiveDateTime {
    let at = Timestamp::from_second(time.unix_timestamp()).unwrap();
    local(time.unix_timestamp() + i64::from(zone.to_offset(at).seconds()))
}

#[test]
fn days_and_excluded_hours_near_all_kinds_of_clock_changes_are_as_jiff_shows_them() {
    let (zones, mut rng) = (zones(), Rng::with_seed(5));
    let mut found = 0;
    for _ in 0..400 {
        let (zone, jiff, start) = near_a_change(&zones, &mut rng);
        let hour = |rng: &mut Rng| time::Time::from_hms(rng.u8(0..24), 0, 0).unwrap();
        let (from, until) = (hour(&mut rng), hour(&mut rng));
        let Ok(closed) = Exclusions::new().times_of_day(from, until) else {
            continue;
        };
        let is_closed = |time: OffsetDateTime| {
            let shown = shown(time, &jiff).time();
            match from < until {
                true => from <= shown && shown < until,
                false => from <= shown || shown < until,
            }
        };
        let clock = ManualClock::at(start - Duration::MINUTE);
        let sim = Simulation::with(0, clock, |app| app.calendar("closed", closed)).unwrap();
        let task = sim.app().task("t", || async {}).register().unwrap();
        // Each day at the same time of the clocks.
        let schedule = task.schedule(()).zone(zone.clone()).start_date(start);
        let days = schedule.every_calendar(CalendarInterval::DAY);
        let mut expected: Vec<_> = (1..6)
            .map(|day| first_shown(shown(start, &jiff) + Duration::days(day), &jiff))
            .collect();
        expected.insert(0, start);
        // A day that a zone has left out falls on the next.
        expected.dedup();
        let upcoming = days.block_on().unwrap().upcoming(5);
        assert_eq!(upcoming, expected[..5], "{zone}");
        // Each quarter of an hour that is not excluded.
        let schedule = task.schedule(()).zone(zone.clone()).start_date(start);
        let quarters = schedule.except("closed").every(HOUR_4TH).block_on();
        let times = (0..).map(|quarter| start + HOUR_4TH * quarter);
        let open: Vec<_> = times.filter(|time| !is_closed(*time)).take(150).collect();
        assert_eq!(quarters.unwrap().upcoming(150), open, "{zone}");
        found += 1;
    }
    assert!(found > 300);
}

const HOUR_4TH: std::time::Duration = std::time::Duration::from_secs(900);
