//! Every clock change of every zone, against the oracle laid over the zone.
//!
//! `JOBBER_CRON_ALL_CHANGES` tries all of them instead of a sample (a quarter of a minute in
//! a release build). `JOBBER_CRON_CASES` and `JOBBER_CRON_SEED` are those of
//! `differential.rs`.

use fastrand::Rng;

use jiff::tz::TimeZoneDatabase;

use jobber::{Zone, cron::Cron};

use crate::oracle::{Oracle, Stretch, random};

use crate::stretches::{YEAR_1970, YEAR_2038, stretches};

use time::OffsetDateTime;

const HOUR: i64 = 3600;

fn cron(text: &str) -> Cron {
    Cron::parse(text).unwrap()
}

fn instant(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

fn near(zone: &[Stretch], from: i64, to: i64) -> &[Stretch] {
    let first = zone.partition_point(|stretch| stretch.end <= from);
    let last = zone.partition_point(|stretch| stretch.start < to);
    &zone[first..last]
}

/// Around a change, from hours before it to hours after.
const AROUND: &[(&str, i64)] = &[
    ("30 2 * * *", 40),
    ("0 0 * * *", 40),
    ("59 23 * * *", 40),
    ("30 1-4 * * *", 30),
    ("0,30 2 * * *", 30),
    ("0 0-23 * * *", 30),
    ("15,45 23,0,1,2,3 * * *", 30),
    ("30 0 0-4,22-23 * * ? *", 30),
    ("7-59/20 59 23-3 * * * *", 30),
    ("30 2 * * SUN", 40),
    ("0 12 L * *", 40),
    ("* * * * *", 4),
    ("*/7 * * * *", 8),
    ("0 * * * *", 30),
    ("* 0-3 * * *", 12),
    ("30 */2 * * *", 30),
    ("*/20 30 1-3 * * * *", 30),
    ("0 */1 1-7 * *", 30),
];

#[test]
fn around_every_clock_change_all_is_due_once_in_order_as_the_oracle_has_it() {
    let all = std::env::var_os("JOBBER_CRON_ALL_CHANGES").is_some();
    let sample = if all { 1 } else { 499 };
    let mut patterns: Vec<(Cron, Oracle, i64)> = AROUND
        .iter()
        .map(|&(text, hours)| (cron(text), Oracle::parse(text).unwrap(), hours * HOUR))
        .collect();
    let generic = patterns.len();
    let database = TimeZoneDatabase::bundled();
    let (mut zones, mut changes, mut compared) = (0, 0, 0_u64);
    for name in database.available() {
        let Ok(zone) = Zone::named(name.as_str()) else {
            continue;
        };
        zones += 1;
        let stretches = stretches(&database.get(name.as_str()).unwrap());
        for change in stretches.iter().skip(1) {
            if !(YEAR_1970..YEAR_2038).contains(&change.start) {
                continue;
            }
            changes += 1;
            if changes % sample != 0 {
                continue;
            }
            // An expression that names the middle of what is skipped or repeated.
            let middle = change.start + (change.before + change.offset) / 2;
            let wall = instant(middle);
            let nominal = format!(
                "{} {} {} {} ?",
                wall.minute(),
                wall.hour(),
                wall.day(),
                u8::from(wall.month())
            );
            patterns.truncate(generic);
            patterns.push((cron(&nominal), Oracle::parse(&nominal).unwrap(), 40 * HOUR));
            for (cron, oracle, around) in &patterns {
                let (from, to) = (change.start - around, change.start + around);
                let zone_part = near(&stretches, from - 3 * HOUR, to);
                let expected = oracle.due_between(from, to, zone_part);
                let found: Vec<i64> = cron
                    .upcoming(instant(from - 1), &zone)
                    .map(OffsetDateTime::unix_timestamp)
                    .take_while(|&time| time < to)
                    .collect();
                let expected: Vec<i64> = expected.into_iter().collect();
                assert_eq!(found, expected, "{cron} in {name} around {}", change.start);
                compared += found.len() as u64;
                // From random starts, some of them in the second pass.
                for start in [-3601, -1800, -1, 0, 1, 1799, 3599, 3600, 7200] {
                    let start = change.start + start;
                    let next = cron.next_after(instant(start), &zone);
                    let next = next
                        .map(OffsetDateTime::unix_timestamp)
                        .filter(|&next| next < to);
                    let position = expected.partition_point(|&time| time <= start);
                    assert_eq!(
                        next,
                        expected.get(position).copied(),
                        "{cron} in {name} after {start}"
                    );
                }
            }
        }
    }
    println!("{zones} zones, {changes} changes, one in {sample} tried, {compared} times");
    assert!(zones > 500 && changes > 20_000 && compared > 10_000);
}

#[test]
fn random_expressions_in_random_zones_are_due_as_the_oracle_has_it() {
    let cases: u64 = std::env::var("JOBBER_CRON_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(20_000)
        // A case near a clock change costs as much as ten others.
        / 10;
    let seed = std::env::var("JOBBER_CRON_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut rng = Rng::with_seed(seed.unwrap_or(1));
    let database = TimeZoneDatabase::bundled();
    let zones: Vec<_> = database
        .available()
        .filter_map(|name| {
            Some((
                Zone::named(name.as_str()).ok()?,
                database.get(name.as_str()).ok()?,
            ))
        })
        .map(|(zone, jiff)| (zone, stretches(&jiff)))
        .collect();
    let mut answered = 0;
    for _ in 0..cases {
        let text = random::expression(&mut rng);
        let (cron, oracle) = (cron(&text), Oracle::parse(&text).unwrap());
        let (zone, stretches) = &zones[rng.usize(..zones.len())];
        // Half of the starts are near a change, if the zone has any.
        let start = match stretches.get(rng.usize(..stretches.len())) {
            Some(change) if rng.bool() => change.start + rng.i64(-3 * HOUR..3 * HOUR),
            _ => rng.i64(YEAR_1970..YEAR_2038),
        }
        .clamp(YEAR_1970, YEAR_2038);
        let days = if oracle.times_of_day() > 50 { 3 } else { 40 };
        let end = start + days * 24 * HOUR;
        let zone_part = near(stretches, start - 3 * HOUR, end);
        let expected: Vec<i64> = oracle
            .due_between(start + 1, end, zone_part)
            .into_iter()
            .take(5)
            .collect();
        let found: Vec<i64> = cron
            .upcoming(instant(start), zone)
            .take(5)
            .map(OffsetDateTime::unix_timestamp)
            .take_while(|&time| time < end)
            .collect();
        assert_eq!(found, expected, "{text:?} in {zone} after {start}");
        answered += u64::from(!found.is_empty());
        if let Some(next) = cron.next_after(instant(start), zone) {
            assert_eq!(next.offset(), zone.offset_at(next), "{text:?} in {zone}");
        }
    }
    assert!(
        answered * 5 > cases,
        "only {answered} of {cases} had an answer"
    );
}
