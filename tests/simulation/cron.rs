//! When cron expressions are due, by a second reading that shares no code with the
//! library, in zones whose clock changes are written down here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::program::Start;

#[path = "../cron/oracle/mod.rs"]
mod oracle;

use oracle::{Oracle, Stretch};

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
const NANOS: i64 = 1_000_000_000;
/// Each of them is due each day.
const DAYS: i64 = 3;

/// The seconds of one day at which an expression is due in a zone.
type Times = Rc<Vec<i64>>;

thread_local! {
    static TIMES: RefCell<HashMap<(&'static str, usize, i64), Times>> = RefCell::default();
}

/// Which zone it is, by whichever of its clock changes a program starts.
pub fn number(zone: Start) -> usize {
    match zone {
        Start::Plain => 0,
        Start::BerlinForward | Start::BerlinBack => 1,
        Start::LordHoweBack => 2,
        Start::ChicagoForward => 3,
    }
}

/// The offset of each zone in January 2000, and its clock changes in 2026, in UTC.
pub fn changes_of(zone: usize) -> (i64, &'static [(i64, i64)]) {
    match zone {
        0 => (0, &[]),
        1 => (HOUR, &[(1_774_746_000, 2 * HOUR), (1_792_890_000, HOUR)]),
        2 => (
            11 * HOUR,
            &[(1_775_314_800, 21 * HOUR / 2), (1_791_041_400, 11 * HOUR)],
        ),
        _ => (
            -6 * HOUR,
            &[(1_772_956_800, -5 * HOUR), (1_793_516_400, -6 * HOUR)],
        ),
    }
}

fn stretches(zone: usize) -> Vec<Stretch> {
    let (first, changes) = changes_of(zone);
    oracle::stretches(first, changes)
}

/// How far this zone is ahead of UTC then, in seconds.
pub fn offset_at(zone: Start, wall: i64) -> i32 {
    let second = wall.div_euclid(NANOS);
    let stretches = stretches(number(zone));
    let stretch = stretches.iter().find(|stretch| second < stretch.end);
    stretch.expect("the last has no end").offset as i32
}

/// What clocks in this zone show then, in nanoseconds since 1970 as in UTC.
pub fn local_of(zone: Start, wall: i64) -> i64 {
    wall + i64::from(offset_at(zone, wall)) * NANOS
}

/// When clocks in this zone show a local time: "the first pass", or "the first instant after"
/// a gap.
pub fn instant_of(zone: Start, local: i64) -> i64 {
    for stretch in stretches(number(zone)) {
        let instant = local - stretch.offset * NANOS;
        // It is in an earlier gap if it is before the start.
        if instant < stretch.end.saturating_mul(NANOS) {
            return instant.max(stretch.start.saturating_mul(NANOS));
        }
    }
    unreachable!("the last has no end")
}

fn of_day(text: &'static str, zone: usize, day: i64) -> Times {
    TIMES.with_borrow_mut(|times| {
        let times = times.entry((text, zone, day)).or_insert_with(|| {
            let oracle = Oracle::parse(text).expect("it can be read");
            let due = oracle.due_between(day * DAY, (day + 1) * DAY, &stretches(zone));
            Rc::new(due.into_iter().collect())
        });
        times.clone()
    })
}

/// The first time after this, in nanoseconds.
pub fn next_after(text: &'static str, zone: Start, after: i64) -> i64 {
    let second = after.div_euclid(NANOS);
    let first = second.div_euclid(DAY);
    for day in first..=first + DAYS {
        let times = of_day(text, number(zone), day);
        let place = times.partition_point(|time| *time <= second);
        if let Some(time) = times.get(place) {
            return time * NANOS;
        }
    }
    panic!("{text} is not due for {DAYS} days")
}
