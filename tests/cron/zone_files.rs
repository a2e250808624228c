//! Zones of compiled zone files.

use fastrand::Rng;
use jobber::cron::Cron;
use jobber::{Zone, ZoneDatabase};
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::oracle::{Oracle, Stretch, stretches};
use crate::support::zone_file::zone_file;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn zone(contents: &[u8]) -> Zone {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("Zone"), contents).unwrap();
    let database = ZoneDatabase::at(directory.path()).unwrap();
    Zone::named_in("Zone", &database).unwrap()
}

fn instant(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// The first instant at which clocks show a local time or a later one.
fn first_shown(local: i64, stretches: &[Stretch]) -> i64 {
    let shown = |stretch: &&Stretch| local - stretch.offset < stretch.end;
    let stretch = stretches.iter().find(shown).unwrap();
    (local - stretch.offset).max(stretch.start)
}

/// The first offset, the changes with the offset after each, and the rule for the times after
/// the last change.
fn random_zone(rng: &mut Rng) -> (i64, Vec<(i64, i64)>, &'static str) {
    let mut first = rng.i64(-12..=14) * HOUR;
    let mut changes = Vec::new();
    let mut at = 0;
    for _ in 0..rng.usize(..=5) {
        at += rng.i64(2..300) * DAY + rng.i64(0..DAY);
        changes.push((at, rng.i64(-12..=14) * HOUR));
    }
    if rng.bool() {
        return (first, changes, "");
    }
    let last = changes.last_mut().map_or(&mut first, |(_, offset)| offset);
    *last = 5 * HOUR;
    // POSIX counts west as positive: `XXX-5` is five hours ahead of UTC.
    (first, changes, "XXX-5")
}

#[test]
fn the_times_of_a_zone_file_are_those_of_its_changes_with_and_without_a_rule_for_later_times() {
    let rng = &mut Rng::with_seed(7);
    let cron = "30 */5 * * *";
    let (oracle, cron) = (Oracle::parse(cron).unwrap(), Cron::parse(cron).unwrap());
    for _ in 0..200 {
        let (first, changes, rule) = random_zone(rng);
        let zone = zone(&zone_file(first, &changes, rule));
        let stretches = stretches(first, &changes);
        let last = changes.last().map_or(0, |(at, _)| *at);
        let edges = changes.iter().map(|(at, _)| *at);
        for edge in edges.chain([-DAY, last + 400 * DAY]) {
            let (from, to) = (edge - DAY, edge + DAY);
            let due = oracle.due_between(from, to, &stretches);
            let found = cron.upcoming(instant(from - 1), &zone);
            let found = found.map(OffsetDateTime::unix_timestamp);
            let found: Vec<_> = found.take_while(|time| *time < to).collect();
            assert_eq!(found, Vec::from_iter(due), "{first} {changes:?} {rule:?}");
            for by in [-13 * HOUR, -1, 0, 1, HOUR, 13 * HOUR] {
                let local = instant(edge + by);
                let found = zone.at_local(PrimitiveDateTime::new(local.date(), local.time()));
                let expected = first_shown(edge + by, &stretches);
                assert_eq!(
                    found.unix_timestamp(),
                    expected,
                    "{first} {changes:?} {rule:?}"
                );
            }
        }
    }
}
