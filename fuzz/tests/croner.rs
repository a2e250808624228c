//! `Cron` beside croner 4, an implementation by others, on the part of the
//! grammar that both read alike. `JOBBER_CRON_CASES` sets how many expressions.
//!
//! Left out, for the rules differ: wrap ranges, a step behind a single value, a
//! stepped star in a day field beside the other day field, the sixth field.

use chrono::{DateTime, Utc};
use fastrand::Rng;
use jobber::{Zone, cron::Cron};
use time::OffsetDateTime;

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field of values from `min` to `max`: a star, a list, a range, a step.
fn field(rng: &mut Rng, min: u32, max: u32, names: &[&str]) -> String {
    let value = |rng: &mut Rng, value: u32| match names.get((value - min) as usize) {
        Some(name) if rng.bool() => name.to_string(),
        _ => value.to_string(),
    };
    let item = |rng: &mut Rng| {
        let (a, b) = (rng.u32(min..=max), rng.u32(min..=max));
        let (a, b) = (a.min(b), a.max(b));
        match rng.u8(..3) {
            0 => value(rng, a),
            // croner reads a range that ends in SUN as one to 7.
            1 if b == min => value(rng, a),
            1 => format!("{}-{}", value(rng, a), value(rng, b)),
            _ => format!("{a}-{b}/{}", rng.u32(1..=max - min)),
        }
    };
    match rng.u8(..6) {
        0 | 1 => "*".into(),
        2 => format!("*/{}", rng.u32(1..=max - min)),
        3 => format!("{},{}", item(rng), item(rng)),
        _ => item(rng),
    }
}

fn expression(rng: &mut Rng) -> String {
    let minute = field(rng, 0, 59, &[]);
    let hour = field(rng, 0, 23, &[]);
    let month = field(rng, 1, 12, &MONTHS);
    let mut day = match rng.u8(..8) {
        0 => "L".into(),
        1 => format!("{}W", rng.u32(1..=28)),
        _ => field(rng, 1, 31, &[]),
    };
    let mut weekday = match rng.u8(..8) {
        0 => format!("{}#{}", rng.u32(0..=6), rng.u32(1..=5)),
        _ => field(rng, 0, 6, &DAYS),
    };
    if day != "*" && weekday != "*" && (day.contains('*') || weekday.contains('*')) {
        match rng.bool() {
            true => day = "*".into(),
            false => weekday = "*".into(),
        }
    }
    format!("{minute} {hour} {day} {month} {weekday}")
}

#[test]
fn the_next_times_are_those_of_croner() {
    let cases = std::env::var("JOBBER_CRON_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(5_000);
    let mut rng = Rng::with_seed(1);
    let mut compared = 0;
    for _ in 0..cases {
        let text = expression(&mut rng);
        // From 1970 to 2069: both have a horizon, and neither is asked near it.
        let start = rng.i64(0..3_155_760_000);
        let Ok(theirs) = text.parse::<croner::Cron>() else {
            continue;
        };
        let ours = Cron::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let after = OffsetDateTime::from_unix_timestamp(start).unwrap();
        let ours: Vec<i64> = ours
            .upcoming(after, &Zone::UTC)
            .take(4)
            .map(|t| t.unix_timestamp())
            .collect();
        let after: DateTime<Utc> = DateTime::from_timestamp(start, 0).unwrap();
        let theirs: Vec<i64> = theirs
            .iter_after(after)
            .take(4)
            .map(|t| t.timestamp())
            .collect();
        if theirs.len() < ours.len() && ours.starts_with(&theirs) {
            // Its search ends after some years without a match.
            continue;
        }
        assert_eq!(ours, theirs, "{text} after {start}");
        compared += 1;
    }
    assert!(
        compared > cases * 9 / 10,
        "only {compared} of {cases} could be compared"
    );
}
