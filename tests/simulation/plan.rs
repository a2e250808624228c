//! When a job of the model is due, and what is stored of that.

use std::cell::Cell;

use jobber::Zone;
use time::macros::date;
use time::{Date, Month, OffsetDateTime};

use super::calendar::Calendar;
use super::cron;
use super::history::Now;
use super::program::{Missed, Start, Unit, When};
use super::script::Script;

const MS: i64 = 1_000_000;
/// Later than any time.
const NEVER: i64 = i64::MAX / 4;
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
    /// Its own, by its rules.
    pub zone: Option<Start>,
    /// Its name.
    pub zone_name: Option<Start>,
    /// The local time at which it is due, as in UTC.
    pub local: Option<i64>,
    /// When it is due, or at the earliest, as long as that is not read.
    pub due: Due,
    /// It is due for a retry.
    pub is_retry: bool,
    /// Its times were chosen by a clock that was not set.
    pub by_unset: bool,
    /// Its jitter, which is read when it is known.
    pub unread: Option<Draw>,
    /// The predicted wall time of the due time.
    pub exec_at: i64,
    /// The predicted nominal time.
    pub shown: i64,
    /// The run that it waits for is moved to this wall time.
    pub moved: Option<i64>,
    /// The job was restored, and has not run since then.
    pub restored: Option<Restored>,
    /// How late an attempt may start.
    pub expires: Option<i64>,
    /// Of a job that runs once.
    pub once: Once,
    pub recurring: Option<Recurring>,
}

/// The clock of a job that runs once.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    pub by_wall: bool,
    /// Wall time less monotonic time, when the clock was last seen to be set.
    pub offset: i64,
    /// By how much it was set while the job waited for a retry.
    pub set_by: i64,
}

/// "What was restored from a store follows the wall clock until it has run", but a delay, an
/// interval or a retry is due "never later than its own length after the restart".
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// When it is due by the wall clock, as it is stored.
    pub due: i64,
    /// By the monotonic clock.
    pub limit: i64,
}

/// A random duration, up to `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    pub most: i64,
    /// It is the delay of a retry, and not the jitter of a run.
    pub of_retry: bool,
    /// Which one it is.
    number: u64,
}

impl Draw {
    pub fn new(most: i64, of_retry: bool) -> Self {
        thread_local! {
            static NUMBER: Cell<u64> = const { Cell::new(0) };
        }
        NUMBER.set(NUMBER.get() + 1);
        Self {
            most,
            of_retry,
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
    pub zone_name: Option<Start>,
    pub when: When,
    pub expires_ms: Option<u32>,
}

impl Asked {
    pub fn excludes(&self) -> bool {
        match self.when {
            When::Every { options, .. }
            | When::AfterEach { options, .. }
            | When::Cron { options, .. } => options.except,
            When::Calendar { .. } => false,
            When::Push | When::Delay { .. } | When::At { .. } | When::AtLocal { .. } => false,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Recurring {
    pub times: Times,
    /// Whether its times are of the wall clock. Those of an interval are of the monotonic
    /// clock, unless it has a start date, or was restored and has not run since then.
    pub by_wall: bool,
    /// Wall time less monotonic time, when the clock was last seen to be set.
    pub offset: i64,
    /// By how much it was set while the open run waited for a retry.
    pub set_by: i64,
    pub nominal: i64,
    pub misfire: Missed,
    pub max_runs: Option<u64>,
    pub max_failures: Option<u32>,
    pub start: Option<i64>,
    pub jitter: i64,
    /// What was drawn for the run that it waits for.
    pub drawn: i64,
    /// The longest that was asked for: what was drawn for a time stays.
    pub longest_jitter: i64,
    /// The time of the last run that has started; before the first run, of the scheduling.
    pub last_run: i64,
    pub has_run: bool,
    /// The same, before that run.
    pub run_before: (i64, bool),
    /// For `All`: catch-up runs in a row.
    pub catch_ups: u32,
    /// Times up to here are not run any more: they were run, were left out, or lie before
    /// the scheduling.
    pub handled: i64,
    /// `handled` is just before the next time that was seen to be due: what comes before
    /// that in another zone is not known.
    pub is_handled_seen: bool,
    /// The clock was set back behind `handled`, to here.
    pub set_back: Option<i64>,
    /// For `All`: the next run is a catch-up that counts.
    pub is_catch_up: bool,
    /// No time after this one, by the wall clock.
    pub until: Option<i64>,
    /// The run is for the moment at which the job was made.
    pub is_first_now: bool,
    /// A run that has failed for good pauses the job.
    pub pauses: bool,
    /// It was resumed while it waited for a retry: the times up to this one are left out when
    /// that run has ended.
    pub left_out: Option<i64>,
    /// The times that it leaves out, in this zone.
    pub except: Option<(Calendar, Start)>,
}

#[derive(Clone, Debug)]
pub enum Times {
    Every {
        anchor: i64,
        interval: i64,
    },
    /// From the end of each run.
    Pause {
        anchor: i64,
        interval: i64,
    },
    Cron {
        text: &'static str,
        zone: Start,
    },
    /// "Counted from the start, on local clocks."
    Calendar {
        unit: Unit,
        start: i64,
        zone: Start,
    },
}

/// The `k`-th time of a calendar interval.
fn nth(unit: Unit, start: i64, zone: Start, k: i64) -> i64 {
    if k == 0 {
        return start;
    }
    const DAY: i64 = 86_400_000_000_000;
    let local = cron::local_of(zone, start);
    let (day, time) = (local.div_euclid(DAY), local.rem_euclid(DAY));
    let day = match unit {
        Unit::Days(n) => day + i64::from(n) * k,
        Unit::Months(n) => {
            let epoch = date!(1970 - 01 - 01);
            let date = epoch + time::Duration::days(day);
            let months = i64::from(u8::from(date.month())) - 1 + i64::from(n) * k;
            let year = date.year() + months.div_euclid(12) as i32;
            let month = Month::try_from(months.rem_euclid(12) as u8 + 1).expect("it is a month");
            // "If a month is too short, the date is the last day of this month."
            let last = month.length(year);
            let date = Date::from_calendar_date(year, month, date.day().min(last));
            (date.expect("it is a date") - epoch).whole_days()
        }
    };
    cron::instant_of(zone, day * DAY + time)
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

/// What local clocks show in this long, in nanoseconds since 1970 as in UTC.
pub fn local_time(zone: Start, ms: i32, now: Now) -> i64 {
    cron::local_of(zone, now.wall + i64::from(ms) * MS)
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
            Times::Every { anchor, interval } | Times::Pause { anchor, interval } => {
                let steps = (at - anchor).div_euclid(*interval) + 1;
                anchor + steps * interval
            }
            Times::Cron { text, zone } => cron::next_after(text, *zone, at),
            Times::Calendar { unit, start, zone } => {
                let mut times = (0..).map(|k| nth(*unit, *start, *zone, k));
                times.find(|time| *time > at).expect("there is no last one")
            }
        }
    }

    /// Whether this is one of them.
    pub fn has(&self, at: i64) -> bool {
        self.after(at - 1) == at
    }

    /// The last one until then, if there is one in the days before.
    pub fn until(&self, at: i64) -> Option<i64> {
        if let Times::Every { interval, .. } | Times::Pause { interval, .. } = self {
            return Some(self.after(at) - interval);
        }
        if let Times::Calendar { unit, start, zone } = self {
            let times = (0..).map(|k| nth(*unit, *start, *zone, k));
            return times.take_while(|time| *time <= at).last();
        }
        const DAYS: i64 = 3 * 86_400;
        let mut back = (0..).map(|n| (1 << n) * 1_000_000_000);
        let back = back.find(|back| *back > DAYS * 1_000_000_000 || self.after(at - back) <= at);
        let first = self.after(at - back?);
        let times = std::iter::successors(Some(first), |time| Some(self.after(*time)));
        times.take_while(|time| *time <= at).last()
    }

    /// "Same interval and start date; cron expressions with the same fields after parsing, of
    /// the same kind, in the same zone."
    pub fn same(&self, other: &Times) -> bool {
        match (self, other) {
            (
                Times::Every { interval, .. },
                Times::Every {
                    interval: other, ..
                },
            )
            | (
                Times::Pause { interval, .. },
                Times::Pause {
                    interval: other, ..
                },
            ) => interval == other,
            (
                Times::Cron { text, zone: a },
                Times::Cron {
                    text: other,
                    zone: b,
                },
            ) => meaning(text) == meaning(other) && cron::number(*a) == cron::number(*b),
            (
                Times::Calendar { unit, start, zone },
                Times::Calendar {
                    unit: other,
                    start: from,
                    zone: there,
                },
            ) => (unit, start) == (other, from) && cron::number(*zone) == cron::number(*there),
            _ => false,
        }
    }
}

/// The first of the texts of programs that means the same.
fn meaning(text: &str) -> &str {
    match text {
        "*/1 * * * *" => "* * * * *",
        "30 02 ? * *" => "30 2 * * *",
        other => other,
    }
}

/// "A rate: its second, minute or hour begins with `*`."
pub fn is_rate(text: &str) -> bool {
    let fields: Vec<_> = text.split(' ').collect();
    let of_day = match fields.len() {
        7 => 3,
        _ => 2,
    };
    fields[..of_day].iter().any(|field| field.starts_with('*'))
}

impl Plan {
    pub fn new(asked: Asked, (app, calendar): (Start, Calendar), now: Now) -> Self {
        let Asked {
            script,
            durable,
            zone,
            zone_name,
            when,
            expires_ms,
        } = asked;
        let (by_wall, recurring) = match when {
            When::Push | When::Delay { .. } => (false, None),
            When::At { .. } | When::AtLocal { .. } => (true, None),
            When::Every { ms, options } => {
                let interval = i64::from(ms) * MS;
                let start = options.start_ms.map(|ms| now.wall + i64::from(ms) * MS);
                let anchor = start.unwrap_or(now.mono);
                let times = Times::Every { anchor, interval };
                (start.is_some(), Some((times, options)))
            }
            When::AfterEach { ms, options } => {
                let (anchor, interval) = (now.mono, i64::from(ms) * MS);
                (false, Some((Times::Pause { anchor, interval }, options)))
            }
            When::Calendar { unit, options } => {
                let start = now.wall + i64::from(options.start_ms.unwrap_or(0)) * MS;
                let zone = zone.unwrap_or(app);
                (true, Some((Times::Calendar { unit, start, zone }, options)))
            }
            When::Cron { text, options } => {
                let times = Times::Cron {
                    text,
                    zone: zone.unwrap_or(app),
                };
                (true, Some((times, options)))
            }
        };
        let recurring = recurring.map(|(times, options)| {
            let start = options.start_ms.map(|ms| now.wall + i64::from(ms) * MS);
            let at = match by_wall {
                // A clock that was never set shows no time.
                true => now.wall.max(now.earliest),
                false => now.mono,
            };
            // "A start date at most a second in the past is not missed."
            let handled = match start {
                Some(start) if (at - ON_TIME..=at).contains(&start) => start - 1,
                _ => at,
            };
            let mut recurring = Recurring {
                times,
                by_wall,
                offset: now.wall - now.mono,
                set_by: 0,
                nominal: 0,
                misfire: options.misfire,
                max_runs: options.max_runs.map(u64::from),
                max_failures: options.max_failures.map(u32::from),
                start,
                jitter: i64::from(options.jitter_ms) * MS,
                drawn: 0,
                longest_jitter: i64::from(options.jitter_ms) * MS,
                last_run: at,
                has_run: false,
                run_before: (at, false),
                catch_ups: 0,
                handled,
                is_handled_seen: false,
                set_back: None,
                is_catch_up: false,
                until: options.until_ms.map(|ms| now.wall + i64::from(ms) * MS),
                is_first_now: options.first_now,
                pauses: options.pauses,
                left_out: None,
                except: options.except.then(|| (calendar, zone.unwrap_or(app))),
            };
            recurring.nominal = match options.first_now {
                true if by_wall => now.wall,
                true => at,
                false => recurring.after(handled),
            };
            recurring
        });
        let due = match (when, &recurring) {
            (When::Delay { ms }, _) => Due::Mono(now.mono + i64::from(ms) * MS),
            (When::At { ms }, _) => Due::Wall(now.wall + i64::from(ms) * MS),
            (When::AtLocal { ms }, _) => {
                let zone = zone.unwrap_or(app);
                Due::Wall(cron::instant_of(zone, local_time(zone, ms, now)))
            }
            (_, Some(recurring)) => recurring.due(recurring.nominal),
            (_, None) => Due::Mono(now.mono),
        };
        let nominal = |r: &Recurring| r.room(r.nominal).filter(|_| !r.is_first_now);
        let local = match when {
            When::AtLocal { ms } => Some(local_time(zone.unwrap_or(app), ms, now)),
            _ => None,
        };
        Self {
            script,
            when,
            durable,
            zone,
            zone_name,
            local,
            is_retry: false,
            by_unset: !now.is_set() && !matches!(when, When::At { .. } | When::AtLocal { .. }),
            due,
            unread: recurring.as_ref().and_then(nominal),
            exec_at: due.wall(now),
            shown: due.wall(now),
            moved: None,
            restored: None,
            expires: expires_ms.map(|ms| i64::from(ms) * MS),
            once: Once {
                by_wall,
                offset: now.wall - now.mono,
                set_by: 0,
            },
            recurring,
        }
    }

    /// Whether it leaves out times, and in which zone.
    pub fn excluded(&self) -> Option<()> {
        self.recurring.as_ref()?.except.map(|_| ())
    }

    pub fn is_by_wall(&self) -> bool {
        let recurring = self.recurring.as_ref();
        recurring.map_or(self.once.by_wall, |recurring| recurring.by_wall)
    }

    /// What its clock shows.
    pub fn own(&self, now: Now) -> i64 {
        let (by_wall, set_by) = match &self.recurring {
            Some(recurring) => (recurring.by_wall, recurring.set_by),
            None => (self.once.by_wall, self.once.set_by),
        };
        match by_wall {
            true => now.wall - set_by,
            false => now.mono,
        }
    }

    /// When the run that it waits for was first due, by its clock: "the time at which the run
    /// was due with its jitter; a run that misfire makes late counts from its own time".
    pub fn first_due(&self) -> i64 {
        match (&self.recurring, self.due) {
            (Some(recurring), _) => recurring.nominal + recurring.drawn,
            (None, _) if self.once.by_wall => self.stored_due(),
            (None, Due::Mono(at) | Due::Wall(at)) => at,
        }
    }

    /// How long a restored job waits at most, for its run.
    pub fn longest_wait(&self) -> Option<i64> {
        match (self.when, &self.recurring) {
            (When::Push, _) => Some(0),
            (When::Delay { ms }, _) => Some(i64::from(ms) * MS),
            (When::Every { ms, .. } | When::AfterEach { ms, .. }, Some(recurring))
                if recurring.start.is_none() =>
            {
                Some(i64::from(ms) * MS + recurring.jitter)
            }
            _ => None,
        }
    }

    /// "If no run is due up to then, scheduling fails."
    pub fn is_never_due(&self) -> bool {
        self.recurring.as_ref().is_some_and(|recurring| {
            // Even if the first run is now.
            let first = recurring.after(recurring.handled);
            recurring.is_over_at(first)
        })
    }

    /// "It applies when the job is made, and not when a job is replaced."
    pub fn forget_first_now(&mut self, now: Now) {
        if let Some(recurring) = &mut self.recurring
            && std::mem::take(&mut recurring.is_first_now)
        {
            recurring.nominal = recurring.after(recurring.handled);
            recurring.drawn = 0;
            self.due = recurring.due(recurring.nominal);
            self.shown = recurring.as_wall(recurring.nominal);
            self.exec_at = self.due.wall(now);
        }
    }

    /// When the job is due, as it is stored.
    pub fn stored_due(&self) -> i64 {
        match (self.restored, &self.recurring, self.due) {
            (Some(restored), ..) => restored.due,
            // By the clock of the job, which may not be the one that is shown.
            (None, Some(recurring), Due::Mono(at)) if !recurring.by_wall && !self.is_retry => {
                recurring.as_wall(at)
            }
            _ => self.exec_at,
        }
    }

    /// A restored job is due by the wall clock, and at the latest at its limit. "An interval is
    /// never due later than now plus one interval and its jitter": its next time is not.
    pub fn place_restored(&mut self, is_retry: bool, now: Now) {
        if let Some(Restored { due, limit }) = self.restored {
            let wall = Due::Wall(due);
            let is_interval = self.recurring.as_ref().is_some_and(|r| !r.is_pause()) && !is_retry;
            // A time of a clock that was not set means nothing.
            let is_known = now.is_set() && !self.by_unset;
            self.due = match is_known && (is_interval || wall.mono(now) <= limit) {
                true => wall,
                false => Due::Mono(limit),
            };
            self.exec_at = self.due.wall(now);
        }
    }

    /// What was drawn at random is known.
    pub fn read(&mut self, by: i64) {
        self.due = match self.due {
            Due::Mono(at) => Due::Mono(at + by),
            Due::Wall(at) => Due::Wall(at + by),
        };
        self.exec_at += by;
        if let Some(restored) = &mut self.restored {
            restored.due += by;
        }
        let is_jitter = self.unread.is_some_and(|draw| !draw.of_retry);
        if let Some(recurring) = self.recurring.as_mut().filter(|_| is_jitter) {
            recurring.drawn = by;
        }
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

    /// Whether a job goes on with another plan as if nothing had happened.
    pub fn has_same_times(&self, new: &Plan) -> bool {
        match (&self.recurring, &new.recurring) {
            (Some(old), Some(new)) => old.start == new.start && old.times.same(&new.times),
            _ => false,
        }
    }

    /// The same, up to the same end, and with the same exclusions.
    pub fn has_same_times_and_end(&self, new: &Plan) -> bool {
        let until = |plan: &Plan| plan.recurring.as_ref().and_then(|r| r.until);
        let except = |plan: &Plan| plan.recurring.as_ref().and_then(|r| r.except);
        self.has_same_times(new) && until(self) == until(new) && except(self) == except(new)
    }

    /// Whether another plan of a stored job asks for the same.
    pub fn is_declared_as(&self, new: &Plan) -> bool {
        let until = |plan: &Plan| plan.recurring.as_ref().and_then(|r| r.until);
        self.has_same_times(new)
            && until(self) == until(new)
            && (self.durable && new.durable)
            && (self.script, self.when, self.zone) == (new.script, new.when, new.zone)
            && self.expires == new.expires
    }

    /// "Only options and arguments change."
    pub fn with_options_of(&self, new: &Plan) -> Plan {
        let mut plan = Plan {
            script: new.script,
            when: new.when,
            durable: new.durable,
            zone: new.zone,
            zone_name: new.zone_name,
            expires: new.expires,
            ..self.clone()
        };
        if let (Some(own), Some(new)) = (&mut plan.recurring, &new.recurring) {
            own.misfire = new.misfire;
            own.max_runs = new.max_runs;
            own.max_failures = new.max_failures;
            own.until = new.until;
            own.except = new.except;
            own.jitter = new.jitter;
            own.pauses = new.pauses;
            own.longest_jitter = own.longest_jitter.max(new.jitter);
        }
        plan
    }

    /// Continues another plan of the same job, with other times. `self` is new.
    pub fn rebase(&mut self, old: &Plan, has_ended: bool, now: Now) {
        let is_on_wall = self.is_on_wall();
        let (Some(before), Some(recurring)) = (&old.recurring, &mut self.recurring) else {
            return;
        };
        if (old.is_on_wall(), is_on_wall) == (true, true) {
            // "A time of day that has run does not run again."
            (recurring.last_run, recurring.has_run) = match before.has_run {
                true => (before.last_run, true),
                false => (recurring.last_run, false),
            };
            let nominal = recurring.after(recurring.over(now.wall));
            if nominal != recurring.nominal && !recurring.is_over_at(nominal) {
                recurring.nominal = nominal;
                // What was drawn for the other time does not change the order.
                self.unread = recurring.room(nominal);
            }
            self.due = Due::Wall(recurring.nominal);
        } else if !is_on_wall && !old.is_on_wall() {
            // "A changed interval keeps the last run as its anchor."
            let last = match before.by_wall {
                // By the clock as it was set during the wait for a retry.
                true => before.last_run + before.set_by - recurring.offset,
                false => before.last_run,
            };
            let scheduled = recurring.last_run;
            let (Times::Every { anchor, interval } | Times::Pause { anchor, interval }) =
                &mut recurring.times
            else {
                return;
            };
            let is_pause = matches!(self.when, When::AfterEach { .. });
            // "Each time after the end of the run before."
            let last = match &before.times {
                _ if is_pause && (has_ended || before.is_first_now) => scheduled,
                Times::Pause { interval, .. } if is_pause => {
                    let nominal = match before.by_wall {
                        true => before.nominal - recurring.offset,
                        false => before.nominal,
                    };
                    nominal - interval
                }
                _ => last,
            };
            let nominal = (last.min(scheduled) + *interval).max(scheduled);
            *anchor = nominal;
            if !is_pause {
                (recurring.last_run, recurring.has_run) = (last, before.has_run);
            }
            recurring.handled = scheduled.min(nominal - 1);
            let allowed = recurring.after(nominal - 1);
            let nominal = if allowed == NEVER { nominal } else { allowed };
            recurring.nominal = nominal;
            self.due = Due::Mono(nominal);
            self.unread = recurring.room(nominal);
        } else {
            return;
        }
        self.exec_at = self.due.wall(now);
        self.shown = recurring.as_wall(recurring.nominal);
    }

    /// The plan takes over, and the clock may have been set since it was made.
    pub fn see_clock(&mut self, now: Now) {
        let is_plain = !self.durable && self.zone.is_none() && self.expires.is_none();
        if !now.is_set() {
            // Only a plain job has no time of its own that a clock which is not set could change.
            if is_plain && self.recurring.is_none() {
                self.exec_at = self.due.wall(now);
                self.shown = self.exec_at;
            }
            return;
        }
        self.exec_at = self.due.wall(now);
        self.by_unset = false;
        match &mut self.recurring {
            Some(recurring) if !recurring.by_wall => {
                let offset = now.wall - now.mono;
                self.shown += offset - recurring.offset;
                recurring.offset = offset;
            }
            Some(_) => {}
            None => {
                self.shown = self.exec_at;
                self.once.offset = now.wall - now.mono;
            }
        }
    }

    /// Whether its times are of the wall clock by its trigger.
    pub fn is_on_wall(&self) -> bool {
        let recurring = self.recurring.as_ref();
        recurring.is_some_and(|recurring| match recurring.times {
            Times::Every { .. } => recurring.start.is_some(),
            Times::Pause { .. } => false,
            Times::Cron { .. } | Times::Calendar { .. } => true,
        })
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
    /// The time is excluded, and this is the next.
    Moved(i64),
    /// No time is left.
    Over,
}

impl Recurring {
    /// Whether it is known up to which time the times are handled.
    pub fn is_handled_known(&self) -> bool {
        !self.is_handled_seen || self.has_run && self.last_run >= self.handled
    }

    /// Whether this is later than the last time.
    pub fn is_over_at(&self, at: i64) -> bool {
        at == NEVER || self.until.is_some_and(|until| self.as_wall(at) > until)
    }

    pub fn excludes(&self, at: i64) -> bool {
        let except = self.except;
        except.is_some_and(|(calendar, zone)| calendar.excludes(self.as_wall(at), zone))
    }

    /// Whether the job ends because all times that come next are excluded.
    pub fn is_all_excluded(&self) -> bool {
        self.is_over_at(self.after(self.handled)) && !self.is_over_at(self.next(self.handled))
    }

    /// Nothing is run any more for the times before the one that it waits for.
    pub fn keep_to_exclusions(&mut self, at: i64) -> i64 {
        self.handle((self.nominal - 1).min(at), at);
        self.after(self.over(at))
    }

    /// The last time until then that is not excluded.
    pub fn last_until(&self, at: i64) -> Option<i64> {
        let mut last = self.times.until(at)?;
        while self.excludes(last) {
            last = self.times.until(last - 1)?;
            if at - last > 86_400_000_000_000 {
                return None;
            }
        }
        Some(last)
    }

    pub fn is_pause(&self) -> bool {
        matches!(self.times, Times::Pause { .. })
    }

    /// The first time after this that is not excluded.
    pub fn after(&self, at: i64) -> i64 {
        if let (Some((calendar, _)), Times::Cron { text, .. }) = (self.except, &self.times)
            && calendar.excludes_all_of(text)
        {
            return NEVER;
        }
        if let Some((Calendar::Ever, _)) = self.except {
            return NEVER;
        }
        let times = std::iter::successors(Some(self.next(at)), |time| Some(self.next(*time)));
        let mut times = times.take(1_000_000);
        times.find(|time| !self.excludes(*time)).unwrap_or(NEVER)
    }

    /// The first time after this, excluded or not.
    fn next(&self, at: i64) -> i64 {
        match self.start {
            Some(start) => self.times.after(at.max(start - 1)),
            None => self.times.after(at),
        }
    }

    pub fn due(&self, at: i64) -> Due {
        match self.by_wall {
            true => Due::Wall(at),
            false => Due::Mono(at),
        }
    }

    pub fn of(&self, now: Now) -> i64 {
        match self.by_wall {
            true => now.wall,
            false => now.mono,
        }
    }

    /// One of its times as a wall time.
    pub fn as_wall(&self, at: i64) -> i64 {
        match self.by_wall {
            true => at,
            false => at + self.offset,
        }
    }

    pub fn is_rate(&self) -> bool {
        match self.times {
            Times::Every { .. } | Times::Pause { .. } => true,
            Times::Cron { text, .. } => is_rate(text),
            Times::Calendar { .. } => false,
        }
    }

    /// Whether the clock was set back behind times that are over: "by more than a second".
    pub fn is_ahead_of(&self, at: i64) -> bool {
        // What was only seen to be handled says nothing.
        self.is_handled_known() && self.handled > at + ON_TIME
    }

    /// Up to where the times are over. "A rate goes on by the new clock at once."
    pub fn over(&self, at: i64) -> i64 {
        let over = match self.is_ahead_of(at) {
            false => self.handled,
            true => self.set_back.unwrap_or(at).min(at),
        };
        // Times of day that have run do not run again. (After a step back they are not
        // predicted.)
        match self.has_run && !self.is_rate() {
            true => over.max(self.last_run),
            false => over,
        }
    }

    /// The clock was set, or a process starts.
    pub fn see_clock(&mut self, at: i64) {
        self.set_back = match self.is_ahead_of(at) {
            false => None,
            true => Some(self.set_back.unwrap_or(at).min(at)),
        };
    }

    /// Every time by this much later.
    fn shift(&mut self, by: i64) {
        if let Times::Every { anchor, .. } | Times::Pause { anchor, .. } = &mut self.times {
            *anchor += by;
        }
        let marks = [
            &mut self.nominal,
            &mut self.last_run,
            &mut self.run_before.0,
            &mut self.handled,
        ];
        let others = self.set_back.iter_mut().chain(&mut self.left_out);
        for mark in others.chain(marks) {
            *mark += by;
        }
    }

    /// An interval was restored: it is due by the wall clock until it has run.
    pub fn go_on_by_wall(&mut self) {
        if !self.by_wall {
            self.shift(self.offset);
            self.by_wall = true;
        }
    }

    /// It has run: an interval without a start date is due by the monotonic clock.
    pub fn go_on_by_mono(&mut self, now: Now) {
        if !self.by_wall && now.is_set() {
            self.offset = now.wall - now.mono;
        }
        let is_interval = !matches!(self.times, Times::Cron { .. }) && self.start.is_none();
        if self.by_wall && is_interval {
            let offset = (now.wall - now.mono).max(self.nominal - now.mono);
            self.shift(-offset);
            self.offset = match now.is_set() {
                true => now.wall - now.mono,
                false => offset,
            };
            self.by_wall = false;
        }
    }

    fn handle(&mut self, to: i64, at: i64) {
        if !self.is_ahead_of(at) {
            self.handled = self.handled.max(to);
        } else if let Some(set_back) = &mut self.set_back {
            *set_back = (*set_back).max(to);
        }
    }

    /// By how much later than this time a run may be due, if that is drawn at random:
    /// "but before the next time".
    pub fn room(&self, nominal: i64) -> Option<Draw> {
        let most = || match self.after(nominal) {
            next if self.is_over_at(next) => self.jitter,
            next => self.jitter.min(next - nominal - 1),
        };
        (self.jitter > 0).then(|| Draw::new(most(), false))
    }

    /// The clock is set for the first time: nothing was missed before.
    pub fn start_at(&mut self, at: i64) {
        (self.handled, self.set_back) = (at, None);
        (self.last_run, self.has_run) = (at, false);
        (self.catch_ups, self.is_catch_up) = (0, false);
    }

    /// The run is due at `due`, and it is `at` now.
    pub fn fires(&mut self, mut due: i64, at: i64) -> Fires {
        if self.is_over_at(self.nominal) {
            return Fires::Over;
        }
        let has_run = self.has_run && !self.is_rate() && self.last_run >= self.nominal;
        if !self.is_first_now && (has_run || self.excludes(self.nominal)) {
            self.handle(self.nominal, at);
            let next = self.after(self.over(at));
            if self.is_over_at(next) {
                return Fires::Over;
            }
            if next > at {
                return Fires::Moved(next);
            }
            (self.nominal, self.drawn) = (next, 0);
            due = due.max(next);
        }
        // "One that is among those runs, however late it is by then."
        if self.is_catch_up || self.is_first_now || self.is_pause() {
            return Fires::Run;
        }
        let next = self.after(due);
        let overtaken = next <= at && !self.is_over_at(next);
        if at - due <= ON_TIME && !overtaken {
            return Fires::Run;
        }
        match self.missed(self.nominal, at, Some(ON_TIME)) {
            next if self.is_over_at(next) => Fires::Over,
            next if next <= at => Fires::Instead(next),
            next => Fires::Later(next),
        }
    }

    /// The run for its nominal time has ended.
    pub fn enter(&mut self, moved: Option<i64>) {
        // "Those before that time are left out."
        let passed = moved.map(|moved| moved - self.as_wall(0));
        self.handled = self.nominal.max(passed.unwrap_or(self.nominal));
        if let Some(left_out) = self.left_out.take() {
            self.handled = self.handled.max(left_out);
        }
        self.set_back = None;
        self.is_handled_seen = false;
        self.is_first_now = false;
        let set_by = std::mem::take(&mut self.set_by);
        if self.by_wall {
            self.shift(set_by);
        }
    }

    /// The pause has ended: the times that have passed are left out. Returns the next.
    pub fn leave_out_passed(&mut self, at: i64) -> i64 {
        (self.is_first_now, self.is_catch_up, self.catch_ups) = (false, false, 0);
        if let Times::Pause { anchor, interval } = &mut self.times {
            *anchor = at + *interval;
            return at + *interval;
        }
        self.handle(at, at);
        self.after(self.over(at))
    }

    /// The first time that is not over, and has not expired.
    fn first_left(&mut self, at: i64, expires: Option<i64>) -> i64 {
        let first = self.after(self.over(at));
        match expires.map(|limit| at - limit) {
            Some(expired_before) if first < expired_before => {
                self.handle(expired_before - 1, at);
                self.after(self.over(at))
            }
            _ => first,
        }
    }

    /// The run is too late, and no attempt of it was made: "it is left out, as one that was
    /// missed".
    pub fn leave_out(&mut self, at: i64, expires: i64) -> Fires {
        self.is_first_now = false;
        if std::mem::take(&mut self.is_catch_up) {
            self.catch_ups -= 1;
        }
        if let Times::Pause { anchor, interval } = &mut self.times {
            *anchor = at + *interval;
            return match at + *interval {
                next if self.is_over_at(next) => Fires::Over,
                next => Fires::Later(next),
            };
        }
        let next = self.first_left(at, Some(expires));
        if self.is_over_at(next) {
            return Fires::Over;
        }
        if next > at {
            self.catch_ups = 0;
            return Fires::Later(next);
        }
        match self.missed(next, at, Some(ON_TIME)) {
            next if self.is_over_at(next) => Fires::Over,
            next if next <= at => Fires::Instead(next),
            next => Fires::Later(next),
        }
    }

    /// A run was entered: the time of the next, and whether others were missed. "Times that
    /// come while a run goes on are missed."
    pub fn after_run(&mut self, at: i64, expires: Option<i64>) -> (i64, bool) {
        if let Times::Pause { anchor, interval } = &mut self.times {
            *anchor = at + *interval;
            self.catch_ups = 0;
            return (at + *interval, false);
        }
        let next = self.after(self.over(at));
        let first = self.first_left(at, expires);
        if self.is_over_at(first) {
            return (first, false);
        }
        if first >= at {
            self.catch_ups = 0;
            // Those that have expired are missed.
            return (first, first != next);
        }
        (self.missed(first, at, None), true)
    }

    /// The first missed time is `first`. A time that is late by no more than `on_time` is not
    /// missed.
    fn missed(&mut self, first: i64, at: i64, on_time: Option<i64>) -> i64 {
        // Up to the end of the times.
        let line = self.as_wall(0);
        let end = self.until.map_or(at, |until| at.min(until - line));
        let last = self.last_until(end).map_or(first, |last| last.max(first));
        let kept = match on_time {
            Some(on_time) if last >= at - on_time => last,
            _ => at,
        };
        match self.misfire {
            // "Run once now for the latest of them, then go on from now."
            Missed::Once => {
                self.handle(last - 1, at);
                last
            }
            Missed::Skip => self.leave_out_before(kept, at),
            // "At most this many in a row; the rest is left out."
            Missed::All(most) if self.catch_ups < most.into() => {
                self.catch_ups += 1;
                self.is_catch_up = true;
                first
            }
            Missed::All(_) => {
                self.catch_ups = 0;
                self.leave_out_before(kept, at)
            }
            Missed::Grace { ms } => {
                let oldest = at - i64::from(ms) * MS;
                self.leave_out_before(oldest.min(kept).max(first), at)
            }
        }
    }

    fn leave_out_before(&mut self, time: i64, at: i64) -> i64 {
        self.handle(time - 1, at);
        self.after(time - 1)
    }
}
