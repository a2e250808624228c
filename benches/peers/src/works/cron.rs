//! W8: read a cron expression, and find when it is next due.

use std::hint::black_box;
use std::str::FromStr;
use std::time::Instant;

use chrono::{DateTime, Utc};
use jobber::{Zone, cron::Cron};
use time::OffsetDateTime;

use super::{arg, cannot};
use crate::Result;
use crate::measure::each;
use crate::peers::Peer;
use crate::stats::geometric_mean;
use crate::work::{Case, Goal, Ratio, Sample, Table, Work, column};

pub const NAME: &str = "cron";

/// Of five fields, as jobber and croner read them.
const ALL: [&str; 20] = [
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "15,45 * * * *",
    "0 0 * * *",
    "30 6 * * MON-FRI",
    "0 9-17 * * MON-FRI",
    "*/10 8-18/2 * * *",
    "0 0 * * SUN",
    "0 12 1 * *",
    "0 0 1,15 * *",
    "0 0 1 */3 *",
    "0 0 1 1 *",
    "59 23 31 12 *",
    "0 0 29 2 *",
    "0 0 L * *",
    "0 18 * * FRIL",
    "0 9 * * MON#2",
    "0 0 13 * FRI",
    "0 2 * 3,10 SUN",
];

/// As the crate `cron` has them too: with a second before and a day of the week by
/// name. It has no `L` and no `#`, and wants day of month and day of week to match
/// both, so that the thirteenth or Friday means something else there.
const SIMPLE: [&str; 16] = [
    ALL[0], ALL[1], ALL[2], ALL[3], ALL[4], ALL[5], ALL[6], ALL[7], ALL[8], ALL[9], ALL[10],
    ALL[11], ALL[12], ALL[13], ALL[14], ALL[19],
];

pub fn work() -> Work {
    let (all, simple) = (format!("{}", ALL.len()), format!("{}", SIMPLE.len()));
    let goal = |title, figure, limit| {
        let goal = Goal::figure(0, Peer::Jobber, title, figure);
        goal.over(Peer::Croner).at_most(limit)
    };
    Work {
        name: NAME,
        rounds: 5,
        once: &[],
        cases: vec![
            Case::new(
                format!("{all} expressions"),
                &[&"all"],
                &[Peer::Jobber, Peer::Croner],
            ),
            Case::new(
                format!("the {simple} that cron reads"),
                &[&"simple"],
                &[Peer::Jobber, Peer::Croner, Peer::Cron],
            ),
        ],
        tables: vec![Table {
            name: "w8",
            title: "Cron expressions in UTC: ns",
            columns: vec![
                column("parse", "parse ns", 0),
                column("next", "next ns", 0),
                column("slowest", "slowest next ns", 0),
            ],
            ratios: vec![
                Ratio {
                    figure: "parse",
                    base: Peer::Croner,
                    title: "parse/croner",
                },
                Ratio {
                    figure: "next",
                    base: Peer::Croner,
                    title: "next/croner",
                },
            ],
            goals: vec![
                goal("next/croner", "next", 1.0),
                goal("parse/croner", "parse", 2.0),
            ],
            notes: vec![
                "Geometric means over the expressions, so that no slow one outweighs the rest; the slowest",
                "expression apart. Next is from 1,000 instants at random, 2000 to 2060.",
            ],
        }],
    }
}

pub fn sample(peer: Peer, args: &[String]) -> Result<Sample> {
    let list: &[&str] = match arg::<String>(args, 0)?.as_str() {
        "all" => &ALL,
        _ => &SIMPLE,
    };
    // The same for each peer and round.
    let mut random = fastrand::Rng::with_seed(4);
    let instants: Vec<i64> = (0..1_000)
        .map(|_| random.i64(946_684_800..2_840_140_800))
        .collect();
    match peer {
        Peer::Jobber => {
            let instants: std::result::Result<Vec<_>, _> = instants
                .iter()
                .map(|second| OffsetDateTime::from_unix_timestamp(*second))
                .collect();
            measure(
                list,
                &instants?,
                |text| Ok(Cron::parse(text)?),
                |cron, from| cron.next_after(*from, &Zone::UTC).is_some(),
            )
        }
        Peer::Croner => {
            let parse = |text: &str| Ok(croner::Cron::from_str(text)?);
            measure(list, &chrono_instants(&instants), parse, |cron, from| {
                cron.find_next_occurrence(from, false).is_ok()
            })
        }
        Peer::Cron => {
            let list: Vec<String> = list.iter().map(|text| format!("0 {text}")).collect();
            let list: Vec<&str> = list.iter().map(String::as_str).collect();
            let parse = |text: &str| Ok(cron::Schedule::from_str(text)?);
            measure(&list, &chrono_instants(&instants), parse, |cron, from| {
                cron.after(from).next().is_some()
            })
        }
        _ => cannot(peer, NAME),
    }
}

fn chrono_instants(seconds: &[i64]) -> Vec<DateTime<Utc>> {
    let instants = seconds.iter();
    instants
        .filter_map(|second| DateTime::from_timestamp(*second, 0))
        .collect()
}

fn measure<C, T>(
    list: &[&str],
    instants: &[T],
    parse: impl Fn(&str) -> Result<C>,
    next: impl Fn(&C, &T) -> bool,
) -> Result<Sample> {
    const PARSES: usize = 1_000;
    let (mut parses, mut nexts) = (Vec::new(), Vec::new());
    for text in list {
        let cron = parse(text).map_err(|error| format!("{text}: {error}"))?;
        // The first pass warms up.
        let mut figures = (0.0, 0.0);
        for _ in 0..2 {
            let start = Instant::now();
            for _ in 0..PARSES {
                drop(black_box(parse(black_box(text))?));
            }
            figures.0 = each(start.elapsed(), PARSES);
            let start = Instant::now();
            for from in instants {
                if !black_box(next(black_box(&cron), black_box(from))) {
                    return Err(format!("{text} is never due").into());
                }
            }
            figures.1 = each(start.elapsed(), instants.len());
        }
        parses.push(figures.0);
        nexts.push(figures.1);
    }
    let slowest = nexts.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        ("parse", geometric_mean(&parses).unwrap_or(0.0)),
        ("next", geometric_mean(&nexts).unwrap_or(0.0)),
        ("slowest", slowest),
    ])
}
