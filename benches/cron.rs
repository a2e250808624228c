//! How long parsing and `next_after` take: medians of timed batches.
//!
//! `cargo bench --all-features --bench cron`

use std::hint::black_box;
use std::time::{Duration, Instant};

use jobber::{Cron, Zone};
use time::OffsetDateTime;

const EXPRESSIONS: &[&str] = &[
    "* * * * *",
    "*/5 * * * *",
    "0 9 * * MON-FRI",
    "30 2 1 * *",
    "0 0 13 * FRI",
    "0 0 LW * ?",
    "0 0 L-3W * ?",
    "* * L-3W * ?",
    "0 0 1,15W,L-3,LW * FRIL,MON#2",
    "0 0 29 2 *",
    "0 0 29 2 MON#5",
    "0 0 29 2 MON#5 2096",
    "0 0 30 2 *",
    "*/10 * * * * * *",
    "0 0 0 29 2 ? 2096",
    "59 59 23 31 12 ? 2099",
    "* 2 * 3 SUN#2",
];

fn main() {
    let zones: Vec<Zone> = [Zone::UTC].into_iter().chain(named()).collect();
    // 2026-11-23 21:00 UTC
    let now =
        OffsetDateTime::from_unix_timestamp(1_795_467_600).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    print!("{:<32}{:>12}", "median", "parse");
    zones
        .iter()
        .for_each(|zone| print!("{:>18}", zone.to_string()));
    println!();
    for text in EXPRESSIONS {
        let parse = median(|| drop(black_box(Cron::parse(black_box(text)))));
        print!("{text:<32}{parse:>12?}");
        if let Ok(cron) = Cron::parse(text) {
            for zone in &zones {
                let next = median(|| {
                    black_box(cron.next_after(black_box(now), zone));
                });
                print!("{next:>18?}");
            }
        }
        println!();
    }
}

/// Of one call, over batches that are long against the clock's resolution.
fn median(mut call: impl FnMut()) -> Duration {
    let started = Instant::now();
    call();
    let once = started.elapsed().as_nanos().max(1);
    let batch = u32::try_from((20_000 / once).clamp(1, 1000)).unwrap_or(1);
    let mut batches: Vec<Duration> = (0..301)
        .map(|_| {
            let started = Instant::now();
            (0..batch).for_each(|_| call());
            started.elapsed() / batch
        })
        .collect();
    batches.sort_unstable();
    batches.get(150).copied().unwrap_or_default()
}

#[cfg(feature = "tz")]
fn named() -> impl Iterator<Item = Zone> {
    let names = ["Europe/Berlin", "America/New_York"];
    names.into_iter().flat_map(Zone::named)
}

#[cfg(not(feature = "tz"))]
fn named() -> impl Iterator<Item = Zone> {
    std::iter::empty()
}
