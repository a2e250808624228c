//! When a job of the model is due, and what is stored of that.

use std::cell::Cell;

use jobber::Zone;
use time::OffsetDateTime;

use super::cron;
use super::history::Now;
use super::program::{Missed, Start, When};
use super::script::Script;

const MS: i64 = 1_000_000;
/// "A run that is merely late, by up to a second …, is not a misfire."
const ON_TIME: i64 = 1_000_000_000;

/// A time of the monotonic clock or of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Mono(i64),
    Wall(i64),
}

impl Due {
    pub fn mono(self, now: Now) -> i64 {
        match self {
            Due::Mono(at) => at,
            Due::Wall(at) => now.mono + (at - now.wall),
        }
    }

    pub fn wall(self, now: Now) -> i64 {
        match self {
            Due::Mono(at) => now.wall + (at - now.mono),
            Due::Wall(at) => at,
        }
    }
}

/// The options of a scheduling.
#[derive(Clone, Debug)]
pub struct Plan {
    pub script: Script,
    pub when: When,
    pub durable: bool,
    /// Its own.
    pub zone: Option<Start>,
    /// When it is due, or at the earliest, as long as that is not read.
    pub due: Due,
    /// Its jitter, which is read when it is known.
    pub unread: Option<Draw>,
    /// The predicted wall time of the due time.
    pub exec_at: i64,
    /// The predicted nominal time.
    pub shown: i64,
    pub recurring: Option<Recurring>,
}

/// A random duration, up to `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    pub most: i64,
    /// Which one it is.
    number: u64,
}

impl Draw {
    pub fn new(most: i64) -> Self {
        thread_local! {
            static NUMBER: Cell<u64> = const { Cell::new(0) };
        }
        NUMBER.set(NUMBER.get() + 1);
        Self {
            most,
            number: NUMBER.get(),
        }
    }
}

/// The due time of the `Scheduled` event.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub script: Script,
    pub durable: bool,
    pub zone: Option<Start>,
    pub when: When,
}

#[derive(Clone, Debug)]
pub struct Recurring {
    pub times: Times,
    /// On the line of its times.
    pub nominal: i64,
    pub misfire: Missed,
    pub max_runs: Option<u64>,
    pub max_failures: u32,
    pub start: Option<i64>,
    pub jitter: i64,
    /// The time of the last run that has started.
    pub last_run: i64,
    /// The one before.
    pub run_before: i64,
    /// For `All`: catch-up runs in a row.
    pub catch_ups: u32,
    /// For `Once`: every time up to here is caught up.
    pub covered_up_to: i64,
    /// Times up to here are not run any more: they were run, were left out, or lie before
    /// the scheduling.
    pub handled: i64,
    /// `handled` is just before the next time that was seen to be due: what comes before
    /// that in another zone is not known.
    pub is_handled_seen: bool,
    /// For `Once`: the next run stands for all missed times up to here.
    pub covers: Option<i64>,
    /// For `All`: the next run is a catch-up that counts.
    pub is_catch_up: bool,
}

#[derive(Clone, Debug)]
pub enum Times {
    Every { anchor: i64, interval: i64 },
    Cron { text: &'static str, zone: Start },
}

/// The zone of an app.
pub fn zone(start: Start) -> Zone {
    thread_local! {
        // Reading a zone's rules takes a while.
        static ZONES: [Zone; 3] = ["Europe/Berlin", "Australia/Lord_Howe", "America/Chicago"]
            .map(|name| Zone::named(name).expect("it exists"));
    }
    match cron::number(start) {
        0 => Zone::UTC,
        other => ZONES.with(|zones| zones[other - 1].clone()),
    }
}

/// Where the wall clock stands at the start: seconds since 1970.
pub fn start_time(start: Start) -> OffsetDateTime {
    let seconds = match start {
        Start::Plain => 946_684_800,
        // 2026-03-29 01:00 UTC, less half an hour.
        Start::BerlinForward => 1_774_746_000 - 1_800,
        // 2026-10-25 01:00 UTC, less an hour and a half.
        Start::BerlinBack => 1_792_890_000 - 5_400,
        // 2026-04-04 15:00 UTC, less 40 minutes.
        Start::LordHoweBack => 1_775_314_800 - 2_400,
        // 2026-03-08 08:00 UTC, less half an hour.
        Start::ChicagoForward => 1_772_956_800 - 1_800,
    };
    OffsetDateTime::from_unix_timestamp(seconds).expect("a time")
}

impl Times {
    /// The first one after this.
    pub fn after(&self, at: i64) -> i64 {
        match self {
            Times::Every { anchor, interval } => {
                let steps = (at - anchor).div_euclid(*interval) + 1;
                anchor + steps.max(0) * interval
            }
            Times::Cron { text, zone } => cron::next_after(text, *zone, at),
        }
    }

    pub fn due(&self, at: i64) -> Due {
        match self {
            Times::Every { .. } => Due::Mono(at),
            Times::Cron { .. } => Due::Wall(at),
        }
    }

    pub fn of(&self, now: Now) -> i64 {
        match self {
            Times::Every { .. } => now.mono,
            Times::Cron { .. } => now.wall,
        }
    }

    /// Whether this is one of them.
    pub fn has(&self, at: i64) -> bool {
        self.after(at - 1) == at
    }

    /// The last one until then, if there is one in the days before.
    pub fn until(&self, at: i64) -> Option<i64> {
        const DAYS: i64 = 3 * 86_400;
        let mut back = (0..).map(|n| (1 << n) * 1_000_000_000);
        let back = back.find(|back| *back > DAYS * 1_000_000_000 || self.after(at - back) <= at);
        let first = self.after(at - back?);
        let times = std::iter::successors(Some(first), |time| Some(self.after(*time)));
        times.take_while(|time| *time <= at).last()
    }

    pub fn same(&self, other: &Times) -> bool {
        match (self, other) {
            (
                Times::Cron { text, zone: a },
                Times::Cron {
                    text: other,
                    zone: b,
                },
            ) => text == other && cron::number(*a) == cron::number(*b),
            _ => false,
        }
    }
}

impl Plan {
    pub fn new(asked: Asked, app: Start, now: Now) -> Self {
        let Asked {
            script,
            durable,
            zone,
            when,
        } = asked;
        let (due, recurring) = match when {
            When::Push => (Due::Mono(now.mono), None),
            When::Delay { ms } => (Due::Mono(now.mono + i64::from(ms) * MS), None),
            When::At { ms } => (Due::Wall(now.wall + i64::from(ms) * MS), None),
            When::Every { ms, options } => {
                let interval = i64::from(ms) * MS;
                let start = options.start_ms.map(|ms| i64::from(ms) * MS);
                let nominal = match start {
                    None => now.mono + interval,
                    Some(away @ 0..) => now.mono + away,
                    // The first one to come, on the grid that the date places.
                    Some(away) => now.mono + away.rem_euclid(interval),
                };
                let nominal = match nominal == now.mono && start.is_some_and(|away| away < 0) {
                    true => nominal + interval,
                    false => nominal,
                };
                let times = Times::Every {
                    anchor: nominal,
                    interval,
                };
                (Due::Mono(nominal), Some((times, nominal, options)))
            }
            When::Cron { text, options } => {
                let times = Times::Cron {
                    text,
                    zone: zone.unwrap_or(app),
                };
                let start = options.start_ms.map(|ms| now.wall + i64::from(ms) * MS - 1);
                let nominal = times.after(start.map_or(now.wall, |start| start.max(now.wall)));
                (Due::Wall(nominal), Some((times, nominal, options)))
            }
        };
        let recurring = recurring.map(|(times, nominal, options)| Recurring {
            times,
            nominal,
            misfire: options.misfire,
            max_runs: options.max_runs.map(u64::from),
            max_failures: options.max_failures.map_or(10, u32::from),
            start: options.start_ms.map(|ms| now.wall + i64::from(ms) * MS),
            jitter: i64::from(options.jitter_ms) * MS,
            last_run: i64::MIN,
            run_before: i64::MIN,
            catch_ups: 0,
            covered_up_to: i64::MIN,
            is_handled_seen: false,
            handled: options.start_ms.map_or(now.wall, |ms| {
                now.wall.max(now.wall + i64::from(ms) * MS - 1)
            }),
            covers: None,
            is_catch_up: false,
        });
        let nominal = |r: &Recurring| r.room(r.nominal);
        Self {
            script,
            when,
            durable,
            zone,
            due,
            unread: recurring.as_ref().and_then(nominal),
            exec_at: due.wall(now),
            shown: due.wall(now),
            recurring,
        }
    }

    /// What was drawn at random is known.
    pub fn read(&mut self, by: i64) {
        self.due = match self.due {
            Due::Mono(at) => Due::Mono(at + by),
            Due::Wall(at) => Due::Wall(at + by),
        };
        self.exec_at += by;
        self.unread = None;
    }

    /// "A recurring job keeps its run number and its failures in a row, unless its
    /// start date is another one."
    pub fn is_same_series(&self, new: &Plan) -> bool {
        match (&self.recurring, &new.recurring) {
            (Some(old), Some(new)) => old.start == new.start,
            _ => false,
        }
    }

    /// Continues another plan of the same job: a time that it waits for is not skipped, and a
    /// time that has run does not run again.
    pub fn rebase(&mut self, old: &Plan, pending: bool, now: Now) {
        if !old.is_on_wall() || !self.is_on_wall() {
            return;
        }
        let (Some(before), Some(recurring)) = (&old.recurring, &mut self.recurring) else {
            return;
        };
        recurring.last_run = before.last_run;
        let is_same = before.times.same(&recurring.times) && before.jitter == recurring.jitter;
        if recurring.nominal <= before.last_run {
            recurring.nominal = recurring.times.after(before.last_run.max(now.wall));
            (self.due, self.unread) = (Due::Wall(recurring.nominal), None);
        }
        // If the clock went back while no process ran, other times come first. If the zone
        // of the app has changed, it may be none of the times.
        let comes_first = before.nominal <= recurring.nominal;
        if pending && is_same && (comes_first || !recurring.times.has(before.nominal)) {
            recurring.nominal = before.nominal;
            recurring.handled = recurring.handled.min(before.handled);
            recurring.is_handled_seen |= before.is_handled_seen;
            (self.due, self.unread) = (old.due, old.unread);
        }
        self.shown = recurring.nominal;
        self.exec_at = self.due.wall(now);
    }

    pub fn is_on_wall(&self) -> bool {
        let times = self.recurring.as_ref().map(|recurring| &recurring.times);
        matches!(times, Some(Times::Cron { .. }))
    }
}

/// What happens at a recurring job's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fires {
    /// The run that was waited for.
    Run,
    /// Times are missed, and a run for this time catches up.
    Instead(i64),
    /// The time is missed, and this is the next.
    Later(i64),
}

impl Recurring {
    /// Whether it is known up to which time the times are handled.
    pub fn is_handled_known(&self) -> bool {
        !self.is_handled_seen || self.last_run >= self.handled
    }

    /// By how much later than this time a run may be due, if that is drawn at random:
    /// "but before the next time".
    pub fn room(&self, nominal: i64) -> Option<Draw> {
        let next = || self.times.after(nominal);
        (self.jitter > 0).then(|| Draw::new(self.jitter.min(next() - nominal - 1)))
    }

    /// The run is due at `due`, and it is `at` now.
    pub fn fires(&mut self, due: i64, at: i64) -> Fires {
        // "One that is among those runs, however late it is by then."
        if self.is_catch_up {
            return Fires::Run;
        }
        let overtaken = self.times.after(due) <= at;
        if at - due <= ON_TIME && !overtaken {
            return Fires::Run;
        }
        match self.missed(self.nominal, self.nominal - 1, at) {
            next if next <= at => Fires::Instead(next),
            next => Fires::Later(next),
        }
    }

    /// A run has ended: the time of the next, and whether others were missed. "Times that
    /// come while a run goes on are missed."
    pub fn after_run(&mut self, at: i64) -> (i64, bool) {
        if let Some(covered) = self.covers.take() {
            self.handled = self.handled.max(covered);
        }
        let last = self.nominal.max(self.covered_up_to);
        let first = self.times.after(last);
        if first >= at {
            self.catch_ups = 0;
            return (first, false);
        }
        (self.missed(first, last, at), true)
    }

    /// The first missed time is `first`.
    fn missed(&mut self, first: i64, last: i64, at: i64) -> i64 {
        let to_come = self.times.after(at - 1);
        match self.misfire {
            // "Run once now for all of them, then go on from now."
            Missed::Once => {
                self.covered_up_to = at;
                self.covers = Some(at);
                first
            }
            Missed::Skip => {
                self.handled = self.handled.max(at - 1);
                to_come
            }
            // "At most this many in a row; the rest is left out."
            Missed::All(most) if self.catch_ups < most.into() => {
                self.catch_ups += 1;
                self.is_catch_up = true;
                first
            }
            Missed::All(_) => {
                self.catch_ups = 0;
                self.handled = self.handled.max(at - 1);
                to_come
            }
            Missed::Grace { ms } => {
                let oldest = at - i64::from(ms) * MS;
                self.handled = self.handled.max(last.max(oldest - 1));
                self.times.after(last.max(oldest - 1))
            }
        }
    }
}
