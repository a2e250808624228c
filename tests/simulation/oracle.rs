//! What must not be found in any history, whatever the model says.

use std::collections::BTreeMap;

use jobber::Cron;

use super::history::{Attempt, End, Entry, Event, Now, Promise, clock};
use super::plan::Times;
use super::program::When;
use super::script::TASKS;

const MS: i64 = 1_000_000;

/// What is known of one name while the history is read.
#[derive(Default)]
struct Known<'a> {
    promise: Option<(&'a Promise, Now)>,
    running: Option<&'a Attempt>,
    /// Since the promise.
    started: bool,
    /// How far the wall clock has been since then.
    high: i64,
    /// In this process, since the promise: which run each time has had.
    runs: BTreeMap<i64, u64>,
    /// In this process, or since the promise where none must be made again.
    attempts: BTreeMap<(u64, u32), i64>,
    /// It has nothing to do since then but to wait for its next time.
    idle: Option<Now>,
    /// The wall clock was set since the promise.
    is_stepped: bool,
    /// The store may fail, or may have failed since the promise.
    is_in_storm: bool,
}

/// Reads a history.
pub fn judge(history: &[Entry]) -> Result<(), String> {
    let mut jobs: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    // Which process runs; what a stopped one, or the next, has not come to yet, is
    // no fault.
    let mut boot = None;
    let mut boots = 0;
    let mut is_down = false;
    let mut is_in_storm = false;
    for entry in history {
        for job in jobs.values_mut() {
            job.high = job.high.max(entry.now.wall);
        }
        match &entry.event {
            Event::Scheduled(promise) => {
                let job = jobs.entry(&promise.id).or_default();
                job.kept(boot, entry.now)?;
                let is_new = !promise.replaced;
                *job = Known {
                    promise: Some((promise, entry.now)),
                    running: job.running.take(),
                    high: entry.now.wall,
                    idle: is_new.then_some(entry.now),
                    is_in_storm,
                    ..Known::default()
                };
            }
            Event::TakenBack { id } | Event::Refused { id } => {
                let job = jobs.entry(id).or_default();
                job.kept(boot, entry.now)?;
                job.promise = None;
            }
            Event::Start(attempt) => {
                let job = jobs.entry(&attempt.id).or_default();
                job.starts(attempt, entry.now)?;
            }
            Event::End(attempt, end) => {
                let job = jobs.entry(&attempt.id).or_default();
                if job.running.take() != Some(attempt) {
                    return Err(format!("{attempt:?} ends, and does not go on"));
                }
                let is_over = *end == End::Value && !is_down;
                job.idle = is_over.then_some(entry.now);
            }
            Event::Stepped { .. } => {
                for job in jobs.values_mut() {
                    // What comes again, and what does not, is the model's.
                    job.is_stepped = true;
                }
            }
            Event::Storm => {
                is_in_storm = true;
                for job in jobs.values_mut() {
                    job.is_in_storm = true;
                }
            }
            Event::Calm => is_in_storm = false,
            Event::Down => {
                is_down = true;
                for job in jobs.values_mut() {
                    job.kept(boot, entry.now)?;
                    job.idle = None;
                    // What is in memory ends with its process.
                    job.promise = job.promise.filter(|(promise, _)| promise.durable);
                }
                boot = None;
            }
            Event::Up => {
                is_down = false;
                boot = Some(boots);
                boots += 1;
                for job in jobs.values_mut() {
                    // What the store has not been told is counted anew.
                    job.runs.clear();
                    // A run that was cut is made again, but for those that must not be.
                    let task = job.promise.map(|(promise, _)| promise.task);
                    if !task.is_some_and(|task| TASKS[task].at_most_once) {
                        job.attempts.clear();
                    }
                }
            }
            _ => {}
        }
    }
    let Some(end) = history.last().map(|entry| entry.now) else {
        return Ok(());
    };
    for job in jobs.values() {
        if let Some(attempt) = job.running {
            return Err(format!("{attempt:?} has no end, after {boots} processes"));
        }
        if let Some((promise, _)) = job.promise {
            job.kept(Some(promise.boot), end)?;
        }
    }
    Ok(())
}

impl<'a> Known<'a> {
    fn starts(&mut self, attempt: &'a Attempt, now: Now) -> Result<(), String> {
        if let Some(other) = self.running.replace(attempt) {
            return Err(format!("{attempt:?} starts while there is {other:?}"));
        }
        self.started = true;
        let Some((promise, since)) = self.promise else {
            return Ok(());
        };
        let mut by = now;
        if TASKS[promise.task].at_most_once {
            // It waits for the store when it has come due, and the clock may be set
            // back meanwhile.
            by.wall = self.high;
        }
        not_early(promise, since, attempt, by)?;
        self.missed_none(attempt.boot, now)?;
        self.idle = None;
        // A run that goes on is replaced when it ends.
        if promise.replaced {
            return Ok(());
        }
        let which = (attempt.run, attempt.attempt);
        let again = self.attempts.insert(which, attempt.nominal).is_some();
        let first = self.attempts.get(&(attempt.run, 1));
        let nominal = *first.unwrap_or(&attempt.nominal);
        let run = *self.runs.entry(attempt.nominal).or_insert(attempt.run);
        // By the monotonic clock, a time of day comes again when the clock is set.
        let is_by_wall = matches!(promise.when, When::Cron { .. } | When::At { .. });
        if nominal != attempt.nominal || again || is_by_wall && run != attempt.run {
            return Err(format!("{attempt:?} is not the only one: {:?}", self.runs));
        }
        let most = match promise.when {
            When::Every { options, .. } | When::Cron { options, .. } => options.max_runs,
            _ => Some(1),
        };
        match most {
            Some(most) if attempt.run > most.into() => {
                Err(format!("{attempt:?} is one too many of {most}"))
            }
            _ => Ok(()),
        }
    }

    /// An idle job lets no time pass without a run.
    fn missed_none(&self, boot: u32, now: Now) -> Result<(), String> {
        let (Some((promise, since)), Some(idle)) = (self.promise, self.idle) else {
            return Ok(());
        };
        // By another process, the times may lie elsewhere.
        let is_strict = !promise.replaced && promise.boot == boot;
        if !is_strict || TASKS[promise.task].at_most_once {
            return Ok(());
        }
        let missed = match promise.when {
            When::Every { ms, options } if options.start_ms.is_none() => {
                let interval = i64::from(ms) * MS;
                let times = Times::Every {
                    anchor: since.mono + interval,
                    interval,
                };
                let room = i64::from(options.jitter_ms.min(ms)) * MS;
                let next = times.after(idle.mono);
                next + room < now.mono
            }
            When::Cron { text, options } if options.start_ms.is_none() && !self.is_stepped => {
                let times = Times::Cron {
                    cron: Cron::parse(text).expect("it can be read"),
                    zone: promise.zone,
                };
                let next = times.after(idle.wall);
                let room = i64::from(options.jitter_ms) * MS;
                next + room < now.wall
            }
            _ => false,
        };
        match missed {
            true => Err(format!("{promise:?} was idle, and let its time pass")),
            false => Ok(()),
        }
    }

    /// A promise that nobody took back was kept, if its time has come.
    fn kept(&self, boot: Option<u32>, now: Now) -> Result<(), String> {
        let Some((promise, since)) = self.promise else {
            return Ok(());
        };
        let has_passed = |ms: i64| now.mono > since.mono + ms * MS;
        let is_due = match promise.when {
            _ if boot != Some(promise.boot) => false,
            // It waits for the store to know, and is left undone rather than done twice.
            _ if TASKS[promise.task].at_most_once && self.is_in_storm => false,
            // Before the next step, perhaps.
            When::Push => has_passed(0),
            // By the wall clock, too, for that is what a store has.
            When::Delay { ms } => {
                has_passed(ms.into()) && now.wall > since.wall + i64::from(ms) * MS
            }
            When::At { ms } => !self.is_stepped && has_passed(ms.max(0).into()),
            When::Every { ms, options } => {
                let first = options.start_ms.map_or(ms.into(), |away| match away {
                    0.. => i64::from(away),
                    // It only places the others.
                    _ => ms.into(),
                });
                !self.is_stepped && has_passed(first + i64::from(options.jitter_ms))
            }
            // When that is, is the model's.
            When::Cron { .. } => false,
        };
        // That it ran in the process before may be known to nobody.
        if is_due && !promise.replaced && !self.started {
            return Err(format!("{promise:?}, of {}, never ran", clock(since.wall)));
        }
        Ok(())
    }
}

/// "A job never starts early, not by a nanosecond of its clock."
fn not_early(promise: &Promise, since: Now, attempt: &Attempt, now: Now) -> Result<(), String> {
    let is_early = match promise.when {
        When::Push => false,
        // A run may go on that began before.
        _ if promise.replaced => false,
        // The monotonic clock ends with its process, and the wall clock may be set.
        When::Delay { .. } | When::Every { .. } if promise.boot != attempt.boot => false,
        When::Delay { ms } => now.mono < since.mono + i64::from(ms) * MS,
        When::At { ms } => attempt.attempt == 1 && now.wall < since.wall + i64::from(ms) * MS,
        When::Every { ms, options } => {
            let first = match options.start_ms {
                None => i64::from(ms) * MS,
                Some(away @ 0..) => i64::from(away) * MS,
                // It only places the others.
                Some(_) => 1,
            };
            now.mono < since.mono + first
        }
        When::Cron { .. } => attempt.attempt == 1 && now.wall < attempt.nominal,
    };
    match is_early {
        true => Err(format!("{attempt:?} starts early, at {}", clock(now.wall))),
        false => Ok(()),
    }
}
