//! Rules that every history must obey, independent of the model.

use std::collections::{BTreeMap, BTreeSet};

use jobber::SteerOutcome;

use super::calendar::Calendar;
use super::history::{Attempt, End, Entry, Event, Now, Promise, clock};
use super::plan::{Times, is_rate};
use super::program::{Missed, Options, Start, Steer, When};
use super::script::TASKS;
use super::zone_rules::ruled;

const MS: i64 = 1_000_000;
/// "A step back by more than three hours is a correction."
const CLOCK_CHANGE: i64 = 3 * 3_600_000 * MS;

/// A promise, and when it was given.
type Given<'a> = (&'a Promise, Now);

/// What the history so far says of one name.
#[derive(Default)]
struct Known<'a> {
    promise: Option<Given<'a>>,
    /// The replacement that follows the current run.
    next: Option<Given<'a>>,
    /// What was taken back last: the promise, and the replacement.
    taken: (Option<Given<'a>>, Option<Given<'a>>),
    running: Option<&'a Attempt>,
    /// That is of an aborted job, whose name another one has by now.
    is_of_another: bool,
    /// When it took the place of another, if that ran on for a while.
    begun: Option<Now>,
    /// Since the promise.
    started: bool,
    /// The job is cancelled, and that is stored: nothing may start.
    is_over: bool,
    /// When this process has found it in the store.
    restored: Option<Now>,
    /// The latest wall time since then.
    high: i64,
    /// The zones of the apps that it was a job of since then.
    zones: Vec<(Start, bool)>,
    /// In this process, since the promise: which run each time has had.
    runs: BTreeMap<i64, u64>,
    /// In this process, or since the promise where none must be made again.
    attempts: BTreeMap<(u64, u32), i64>,
    /// Those that ended in a step after which the store had all: no process makes
    /// them again.
    stored: BTreeSet<(u64, u32)>,
    /// They have ended in this step.
    ended: Vec<(u64, u32)>,
    /// The nominal time of the last run, and how many runs in a row had it.
    last: Option<(i64, u32)>,
    /// It has nothing to do since then but to wait for its next time.
    idle: Option<Now>,
    /// The wall clock was set since the promise.
    is_stepped: bool,
    /// It took the place of another interval, and is counted from the last run of that.
    is_moved: bool,
    /// Its first run may be for the moment at which it was made.
    first_now: bool,
    /// It may leave out times, or it might have before it was declared again.
    leaves_out: bool,
    /// The process in which it was promised first, with these times.
    boot: u32,
    /// Its longest jitter. A run that is waited for keeps what was drawn for it, if the job is
    /// declared again.
    room_ms: u32,
    /// How far it was set back in all.
    back: i64,
    /// The store may fail, or may have failed since the promise.
    has_faults: bool,
    /// Until every change is stored, the store may have a refused replacement.
    is_torn: bool,
    hand: Hand,
}

/// What was asked for by hand, of a job and of those that take its place.
#[derive(Clone, Default)]
struct Hand {
    is_paused: bool,
    /// The store has that, and the next process knows it.
    is_pause_stored: bool,
    /// It was paused at some time.
    was_paused: bool,
    /// Its task or its app is paused.
    is_held: bool,
    /// A run of it was moved at some time.
    was_moved: bool,
    /// The moments at which a run of it was asked for.
    moments: BTreeSet<i64>,
    /// Runs that were asked for, and whose first attempt has not ended.
    asked: u32,
    /// A retry was asked for.
    is_retry_asked: bool,
    /// The attempt that goes on is one of a run that was asked for.
    is_asked: bool,
    /// It began then.
    begun: Now,
    /// It is of an extra run, and the job had nothing to do but to wait since then.
    idle_before: Option<Now>,
    /// When a run was asked for that has not started.
    owed: Option<(Now, Option<u32>)>,
    /// The last attempt has failed, and a retry may follow.
    may_retry: bool,
    /// When an attempt has ended last.
    ended: Option<Now>,
    /// How often in a row a process has ended during an attempt.
    interrupted: u32,
}

/// Where the history is.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Which process runs. What a stopped process, or the next one, has not done yet is not a
    /// fault.
    boot: Option<u32>,
    boots: u32,
    app: Start,
    has_other_rules: bool,
    calendar: Calendar,
    is_down: bool,
    has_faults: bool,
    pauses: PausesOfAll,
}

/// What is paused as a whole.
#[derive(Clone, Copy, Default)]
struct PausesOfAll {
    app: bool,
    tasks: [bool; TASKS.len()],
    /// Something failed that would have changed it.
    is_unsure: bool,
}

impl PausesOfAll {
    fn hold(&self, task: usize) -> bool {
        !self.is_unsure && (self.app || self.tasks[task])
    }
}

/// Reads a history.
pub fn judge(history: &[Entry]) -> Result<(), String> {
    let mut jobs: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    let mut place = Place::default();
    let mut wall = None;
    for entry in history {
        // A history can be long, and can have many jobs.
        if wall.replace(entry.now.wall) != Some(entry.now.wall) {
            for job in jobs.values_mut() {
                job.high = job.high.max(entry.now.wall);
            }
        }
        match &entry.event {
            Event::Scheduled(promise) => {
                let job = jobs.entry(&promise.id).or_default();
                job.kept(place.boot, entry.now)?;
                job.is_promised((promise, entry.now), place);
            }
            Event::TakenBack { id } | Event::Refused { id } => {
                let job = jobs.entry(id).or_default();
                job.runs_as_asked(entry.now, place)?;
                job.kept(place.boot, entry.now)?;
                job.taken = (job.promise.take(), job.next.take());
            }
            Event::GivenBack { id, is_torn } => {
                let job = jobs.entry(id).or_default();
                (job.promise, job.next) = std::mem::take(&mut job.taken);
                job.is_torn |= *is_torn;
            }
            Event::PausedAll { task, is_paused } => {
                let pauses = &mut place.pauses;
                match (task, is_paused) {
                    (_, None) => pauses.is_unsure = true,
                    (None, Some(is_paused)) => pauses.app = *is_paused,
                    (Some(task), Some(is_paused)) => pauses.tasks[*task] = *is_paused,
                }
                // Its times may pass, and may be made up.
                for job in jobs.values_mut() {
                    job.hand.was_paused = true;
                    (job.idle, job.last, job.hand.idle_before) = (None, None, None);
                }
            }
            Event::Steered { id, how, did } => {
                let job = jobs.entry(id).or_default();
                job.is_steered(*how, *did, entry.now, place);
            }
            Event::Over { id } => {
                let job = jobs.entry(id).or_default();
                job.is_over = true;
                job.hand.owed = None;
            }
            Event::Done { id } => jobs.entry(id).or_default().hand.owed = None,
            Event::Restored { id } => {
                jobs.entry(id).or_default().restored = Some(entry.now);
            }
            Event::Start(attempt) => {
                let job = jobs.entry(&attempt.id).or_default();
                job.starts(attempt, entry.now, place)?;
            }
            Event::End(attempt, end) => {
                let job = jobs.entry(&attempt.id).or_default();
                job.ends(attempt, *end, entry.now, place)?;
            }
            Event::Op(_) => {
                for job in jobs.values_mut() {
                    job.runs_as_asked(entry.now, place)?;
                    let ended = std::mem::take(&mut job.ended);
                    if !place.has_faults && !place.is_down {
                        job.stored.extend(ended);
                    }
                }
            }
            Event::Stepped { by } => {
                for job in jobs.values_mut() {
                    // The model checks which times come again.
                    job.is_stepped = true;
                    job.back += (-by).max(0);
                }
            }
            Event::FaultsOn => {
                place.has_faults = true;
                for job in jobs.values_mut() {
                    job.has_faults = true;
                }
            }
            Event::FaultsOff => {
                place.has_faults = false;
                jobs.values_mut().for_each(|job| job.end_faults(entry.now));
            }
            Event::Down => {
                place.is_down = true;
                for job in jobs.values_mut() {
                    job.kept(place.boot, entry.now)?;
                    job.goes_down(place);
                }
                place.boot = None;
            }
            Event::Up {
                zone,
                calendar,
                has_other_rules,
            } => {
                place.is_down = false;
                place.has_other_rules = *has_other_rules;
                place.calendar = *calendar;
                place.app = *zone;
                place.boot = Some(place.boots);
                place.boots += 1;
                for job in jobs.values_mut() {
                    job.comes_up((*zone, *has_other_rules));
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
            return Err(format!(
                "{attempt:?} has no end, after {} processes",
                place.boots
            ));
        }
        if job.promise.is_some() {
            job.kept(Some(job.boot), end)?;
        }
    }
    Ok(())
}

impl<'a> Known<'a> {
    /// The zone of its times, if it had no other.
    fn zone(&self) -> Option<Start> {
        let (promise, _) = self.promise?;
        let by_rules = |(app, rules): &(Start, bool)| ruled(promise.zone.unwrap_or(*app), *rules);
        let first = self.zones.first().map(by_rules);
        let mut zones = self.zones.iter().map(by_rules);
        first.filter(|first| zones.all(|zone| zone == *first))
    }

    fn is_promised(&mut self, given: Given<'a>, place: Place) {
        let (old, _) = std::mem::take(&mut self.taken);
        if given.0.replaced && self.running.is_some() {
            // "An attempt that goes on ends as it would."
            self.promise = old;
            let same = self.next.filter(|next| has_same_times(*next, given));
            let since = same.map_or(given.1, |(_, since)| since);
            self.next = Some((given.0, since));
            return;
        }
        if given.0.replaced && old.is_none() && options(given.0.when).is_some() {
            // What it has kept is unknown.
            return;
        }
        let idle = self.idle;
        let goes_on = self.begin(old, given, place);
        self.hand.was_paused |= place.pauses.hold(given.0.task) || place.pauses.is_unsure;
        if options(given.0.when).is_none() {
            // What was asked of the job before is given up.
            self.hand.moments.clear();
            self.hand.asked = 0;
        }
        // It may wait for a retry, as before.
        self.idle = if goes_on { idle } else { Some(given.1) };
    }

    /// From now on the job follows this promise; before, it followed that one. Returns whether
    /// it goes on as if nothing had happened.
    fn begin(&mut self, old: Option<Given<'_>>, given: Given<'a>, place: Place) -> bool {
        let goes_on = given.0.replaced && old.is_some_and(|old| goes_on(old, given));
        let same = old.filter(|old| given.0.replaced && has_same_times(*old, given));
        let before = std::mem::take(self);
        // "Replacing a job by the same series keeps its phase, its pending time, what it missed,
        // and a waiting retry."
        let high = given.1.wall;
        let given = (given.0, same.map_or(given.1, |(_, since)| since));
        let mut zones = before.zones;
        if !goes_on {
            zones.clear();
        }
        zones.push((place.app, place.has_other_rules));
        let (attempts, stored) = match goes_on {
            true => (before.attempts, before.stored),
            false => Default::default(),
        };
        *self = Self {
            promise: Some(given),
            running: before.running,
            is_of_another: !given.0.replaced && before.running.is_some(),
            high,
            zones,
            attempts,
            stored,
            started: same.is_some() && before.started,
            // A clock that was not set shows no time.
            is_stepped: goes_on && before.is_stepped || !given.1.is_set(),
            back: if goes_on { before.back } else { 0 },
            first_now: options(given.0.when).is_some_and(|options| options.first_now)
                || goes_on && before.first_now,
            leaves_out: leaves_out(given.0)
                || same.is_some_and(|(old, _)| leaves_out(old))
                || same.is_some() && before.leaves_out,
            boot: match same {
                Some(_) => before.boot,
                None => given.0.boot,
            },
            room_ms: match same {
                Some(_) => before.room_ms.max(jitter(given.0.when)),
                None => jitter(given.0.when),
            },
            is_moved: goes_on && (same.is_none() || before.is_moved),
            has_faults: place.has_faults,
            hand: match given.0.replaced {
                // "A replacement stays paused."
                true => Hand {
                    // What was asked of the old times may be given up with them.
                    owed: before.hand.owed.filter(|_| same.is_some()),
                    // Of one that only the store has known, it is not known.
                    was_paused: before.hand.was_paused || old.is_none(),
                    ..before.hand
                },
                false => Hand {
                    is_paused: given.0.paused,
                    is_pause_stored: given.0.paused,
                    was_paused: given.0.paused,
                    ..Hand::default()
                },
            },
            ..Self::default()
        };
        same.is_some()
    }

    fn ends(
        &mut self,
        attempt: &'a Attempt,
        end: End,
        now: Now,
        place: Place,
    ) -> Result<(), String> {
        if self.running.take() != Some(attempt) {
            return Err(format!("{attempt:?} ends, and does not go on"));
        }
        if self.promise.is_none()
            && self
                .next
                .is_some_and(|(next, _)| options(next.when).is_some())
        {
            // What it has kept is unknown.
            self.next = None;
        }
        self.hand.ended = Some(now);
        if !place.is_down {
            self.hand.interrupted = 0;
            // If the store may not have that, the next process makes it again.
            let is_over = self.hand.is_asked && !place.has_faults;
            self.hand.asked -= u32::from(is_over);
            self.hand.is_asked = false;
        }
        let is_own = !std::mem::take(&mut self.is_of_another);
        let pauses = is_own && self.promise.is_some_and(|(promise, _)| pauses(promise));
        // The failed run of the job before pauses its replacement, too.
        let next_pauses = self.next.is_some_and(|(next, _)| self::pauses(next));
        if (pauses || next_pauses) && end != End::Value && !place.is_down {
            self.hand.was_paused = true;
        }
        if let Some(next) = self.next.take() {
            let (high, is_stepped, is_torn) = (self.high, self.is_stepped, self.is_torn);
            let goes_on = self.begin(self.promise, next, place);
            self.begun = Some(now);
            self.is_stepped = is_stepped;
            self.is_torn = is_torn;
            self.high = high;
            let has_ended = !place.is_down && (!goes_on || end == End::Value);
            self.idle = has_ended.then_some(now);
            return Ok(());
        }
        let task = self.promise.map(|(promise, _)| &TASKS[promise.task]);
        let is_last = task.is_some_and(|task| attempt.attempt as usize > task.retries.len());
        self.hand.may_retry = end != End::Value && !is_last;
        if pauses && end != End::Value && !place.is_down && is_last {
            // "A run that has failed for good."
            self.hand.is_paused = true;
            self.hand.is_pause_stored = !place.has_faults;
        }
        if end != End::Dropped && !place.is_down {
            self.ended.push((attempt.run, attempt.attempt));
        }
        let is_over = end == End::Value && !place.is_down;
        self.idle = is_over.then_some(now);
        if let Some(idle) = self.hand.idle_before.take()
            && is_over
            && self.hand.begun.mono == now.mono
        {
            // An extra run of no time changes nothing.
            self.idle = Some(idle);
        }
        Ok(())
    }

    /// "Runs the job now": what was asked for has started by now, unless the job has ended.
    fn runs_as_asked(&self, now: Now, place: Place) -> Result<(), String> {
        let (Some((asked, boot)), Some((promise, _))) = (self.hand.owed, self.promise) else {
            return Ok(());
        };
        let is_open = self.running.is_some()
            || place.is_down
            || place.has_faults
            || self.has_faults
            || self.is_torn
            || promise.expires_ms.is_some()
            || self.leaves_out
            // Jobs that were interrupted are taken up one at a time.
            || self.hand.interrupted > 0
            // An extra run follows the run, and so its retries.
            || self.hand.may_retry
            || place.boot.is_none()
            || boot != place.boot && self.restored.is_none();
        let since = [Some(asked), self.hand.ended, self.restored];
        let since = since.into_iter().flatten().map(|time| time.mono).max();
        match !is_open && since.is_some_and(|since| now.mono > since) {
            true => Err(format!("{promise:?} was to run at {}", clock(asked.wall))),
            false => Ok(()),
        }
    }

    fn is_steered(&mut self, how: Steer, did: Option<SteerOutcome>, now: Now, place: Place) {
        if did == Some(SteerOutcome::AlreadyDone) {
            return;
        }
        match how {
            Steer::Pause => {
                self.hand.is_paused = true;
                self.hand.is_pause_stored = did.is_some();
                self.hand.was_paused = true;
            }
            Steer::Resume { .. } => {
                self.hand.is_paused = false;
                self.hand.idle_before = None;
            }
            Steer::MoveTo { .. } | Steer::DelayBy { .. } => {
                // The attempt that was to be made now may be the one that is moved.
                (self.hand.was_moved, self.hand.owed) = (true, None);
            }
            Steer::RunNow => {
                self.hand.moments.insert(now.wall);
                if did.is_none_or(SteerOutcome::took_effect) {
                    self.hand.asked += 1;
                    self.hand.is_retry_asked |= self.hand.may_retry;
                }
                if did.is_some_and(SteerOutcome::took_effect) {
                    self.hand.owed.get_or_insert((now, place.boot));
                }
                return;
            }
        }
        // Its times pass while it is paused, and may be made up.
        (self.idle, self.last) = (None, None);
    }

    /// Every change is stored. Attempts that waited for the store have started.
    fn end_faults(&mut self, now: Now) {
        self.is_torn = false;
        self.has_faults = false;
        self.idle = self.idle.map(|_| now);
    }

    fn goes_down(&mut self, place: Place) {
        self.hand.interrupted += u32::from(self.running.is_some());
        let is_marked = |(promise, _): Given<'_>| TASKS[promise.task].at_most_once;
        // An attempt that is made at most once has failed with its process.
        self.hand.was_paused |= self.promise.is_some_and(|(promise, _)| pauses(promise));
        // The store may have the start of an attempt that has not started.
        let is_lost = self.has_faults && self.promise.is_some_and(is_marked);
        let is_known = !self.is_torn && !is_lost;
        // The replacement that follows a run is stored already.
        if let Some(next) = self.next.take() {
            let (high, is_stepped) = (self.high, self.is_stepped);
            self.begin(self.promise, next, place);
            (self.high, self.is_stepped) = (high, is_stepped);
        }
        self.idle = None;
        self.restored = None;
        // Jobs in memory end with their process.
        self.promise = self
            .promise
            .filter(|(promise, _)| promise.durable && is_known);
        self.hand.is_paused &= self.hand.is_pause_stored && self.promise.is_some();
    }

    fn comes_up(&mut self, app: (Start, bool)) {
        // A job in memory is not stored, and the store may have another of its name.
        self.is_over &= self.taken.0.is_some_and(|(promise, _)| promise.durable);
        self.zones.push(app);
        // What is not stored is counted again.
        self.runs.clear();
        // An interrupted run is made again, unless its task is `at_most_once`.
        let task = self.promise.map(|(promise, _)| promise.task);
        if !task.is_some_and(|task| TASKS[task].at_most_once) {
            self.attempts.clear();
        }
    }

    fn starts(&mut self, attempt: &'a Attempt, now: Now, place: Place) -> Result<(), String> {
        if let Some(other) = self.running.replace(attempt) {
            return Err(format!("{attempt:?} starts while there is {other:?}"));
        }
        if self.is_over {
            return Err(format!("{attempt:?} starts, and was cancelled"));
        }
        self.hand.begun = now;
        let is_asked = self.hand.asked > 0 || self.hand.is_retry_asked;
        let task = self.promise.map(|(promise, _)| promise.task);
        self.hand.is_held = task.is_some_and(|task| place.pauses.hold(task));
        if (self.hand.is_paused || self.hand.is_held) && !is_asked {
            return Err(format!("{attempt:?} starts, and is paused"));
        }
        if self.hand.is_held || place.pauses.is_unsure {
            self.idle = None;
        }
        self.started = true;
        let Some((promise, since)) = self.promise else {
            return Ok(());
        };
        let mut by = now;
        if TASKS[promise.task].durable && self.has_faults {
            // The due attempt waits for the store, and the clock may be set back
            // meanwhile.
            by.wall = self.high;
        }
        let recurs = options(promise.when).is_some();
        let is_extra = recurs && self.hand.moments.contains(&attempt.nominal);
        if let Some((asked, _)) = self.hand.owed
            && (!recurs || attempt.attempt > 1 || attempt.nominal == asked.wall)
        {
            self.hand.owed = None;
        }
        if attempt.attempt > 1 && std::mem::take(&mut self.hand.is_retry_asked) {
            self.hand.is_asked = true;
        } else {
            let begins_extra = is_extra && attempt.attempt == 1;
            self.hand.is_asked = (begins_extra || !recurs) && self.hand.asked > 0;
        }
        let is_by_hand =
            is_extra || self.hand.was_moved || !recurs && !self.hand.moments.is_empty();
        if !self.is_moved && !self.first_now && !is_by_hand {
            not_early((promise, since), self.boot, attempt, by)?;
        }
        self.missed_none(attempt.boot, now)?;
        // "What was asked for does not expire."
        let is_asked = is_by_hand || self.hand.is_asked;
        if !self.hand.was_moved && !is_asked {
            self.not_expired((promise, since), attempt, now)?;
        }
        let idle = self.idle.take();
        if is_extra {
            self.hand.idle_before = idle;
            let is_also_regular = match promise.when {
                When::Every { ms, .. } => self
                    .last
                    .is_none_or(|(last, _)| (attempt.nominal - last) % (i64::from(ms) * MS) == 0),
                When::Cron { text, .. } => self.is_a_time(promise, text, attempt.nominal),
                _ => true,
            };
            if is_also_regular {
                // It may be the one, or the other.
                (self.last, self.hand.idle_before) = (None, None);
            }
        } else {
            self.not_excluded(promise, attempt, place)?;
            self.is_for_its_time(attempt)?;
        }
        let which = (attempt.run, attempt.attempt);
        if self.stored.contains(&which) {
            return Err(format!(
                "{attempt:?} has ended before, and the store had that"
            ));
        }
        let again = self.attempts.insert(which, attempt.nominal).is_some();
        let first = self.attempts.get(&(attempt.run, 1));
        let nominal = *first.unwrap_or(&attempt.nominal);
        let run = match is_extra {
            true => attempt.run,
            false => *self.runs.entry(attempt.nominal).or_insert(attempt.run),
        };
        // By the monotonic clock, a time of day comes again when the clock is set.
        let is_by_wall = match promise.when {
            // "A rate follows real time: a nominal minute can run twice."
            When::Cron { text, .. } => {
                !self.is_stepped || !is_rate(text) && self.back <= CLOCK_CHANGE
            }
            When::Calendar { .. } => !self.is_stepped || self.back <= CLOCK_CHANGE,
            When::At { .. } => true,
            _ => false,
        };
        // Runs that were moved to before their times are checked in `tests/store/steer.rs`.
        let is_once = is_by_wall && !self.hand.was_moved;
        if nominal != attempt.nominal || again || is_once && run != attempt.run {
            return Err(format!("{attempt:?} is not the only one: {:?}", self.runs));
        }
        let most = match options(promise.when) {
            Some(options) => options.max_runs,
            None => Some(1),
        };
        match most {
            Some(most) if attempt.run > most.into() => {
                Err(format!("{attempt:?} is one too many of {most}"))
            }
            _ => Ok(()),
        }
    }

    /// A run stands for a time that was promised, and for the next of them where none
    /// may be left out.
    fn is_for_its_time(&mut self, attempt: &Attempt) -> Result<(), String> {
        let Some((promise, since)) = self.promise else {
            return Ok(());
        };
        let is_one = |nominal: i64| match nominal == attempt.nominal {
            true => Ok(()),
            false => Err(format!(
                "{attempt:?} stands for {}, and should for {}",
                clock(attempt.nominal),
                clock(nominal)
            )),
        };
        let (options, text) = match promise.when {
            When::Push | When::Delay { .. } if self.is_stepped => return Ok(()),
            When::Push => return is_one(since.wall),
            When::Delay { ms } => return is_one(since.wall + i64::from(ms) * MS),
            When::At { ms } => return is_one(since.wall + i64::from(ms) * MS),
            // Its zone may be another one in each process.
            When::AtLocal { .. } => return Ok(()),
            When::Every { options, .. }
            | When::Calendar { options, .. }
            | When::AfterEach { options, .. } => (options, None),
            When::Cron { options, text } => (options, Some(text)),
        };
        let in_zone = |text, zone| Times::Cron { text, zone };
        // Or for the moment at which the job was made.
        // Extra runs may come before it.
        let before = self.hand.moments.len() as u64;
        let is_first_now = self.first_now && attempt.run <= 1 + before;
        if text.is_some_and(|text| !is_first_now && !self.is_a_time(promise, text, attempt.nominal))
        {
            return Err(format!("{attempt:?} is for no time of {:?}", promise.when));
        }
        let last = self.last.filter(|_| attempt.attempt == 1);
        if attempt.attempt == 1 {
            let row = last.map_or(0, |(_, row)| row + 1);
            self.last = Some((attempt.nominal, row));
        }
        // The limit allows a catch-up run for each missed time.
        let is_strict = matches!(options.misfire, Missed::All(most) if most > 100)
            && !self.leaves_out
            && !self.is_stepped
            && !self.is_moved
            && !self.hand.was_moved
            && !self.first_now
            && !self.has_faults
            && self.boot == attempt.boot;
        match (last, promise.when) {
            (Some((last, 0..100)), When::Every { ms, .. }) if is_strict => {
                is_one(last + i64::from(ms) * MS)
            }
            (Some((last, 0..100)), When::Cron { text, .. }) if is_strict => match self.zone() {
                Some(zone) => is_one(in_zone(text, zone).after(last)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn is_a_time(&self, promise: &Promise, text: &'static str, nominal: i64) -> bool {
        let zones = self.zones.iter();
        let zones = zones.map(|(app, rules)| ruled(promise.zone.unwrap_or(*app), *rules));
        let mut times = zones.map(|zone| Times::Cron { text, zone });
        times.any(|times| times.has(nominal))
    }

    /// "An excluded time is not a time of the job."
    fn not_excluded(
        &self,
        promise: &Promise,
        attempt: &Attempt,
        place: Place,
    ) -> Result<(), String> {
        let zone = ruled(promise.zone.unwrap_or(place.app), place.has_other_rules);
        // The clock may have been set since a time was chosen, or the exclusions declared.
        let is_open = self.is_stepped || self.first_now || attempt.attempt > 1;
        let is_excluded = place.calendar.excludes(attempt.nominal, zone);
        match excludes(promise) && !is_open && is_excluded {
            true => Err(format!("{attempt:?} is for a time that is excluded")),
            false => Ok(()),
        }
    }

    /// "No attempt of a run starts later than the limit after the run was due."
    fn not_expired(
        &self,
        (promise, since): Given<'_>,
        attempt: &Attempt,
        now: Now,
    ) -> Result<(), String> {
        let Some(limit) = promise.expires_ms else {
            return Ok(());
        };
        let is_same = self.boot == attempt.boot;
        let late = match promise.when {
            When::Push if is_same => now.mono - since.mono,
            When::Delay { ms } if is_same => now.mono - since.mono - i64::from(ms) * MS,
            // Which the clock shows that was not set.
            _ if self.is_stepped => return Ok(()),
            _ => now.wall - attempt.nominal,
        };
        let most = i64::from(limit) * MS + i64::from(self.room_ms) * MS;
        match late > most {
            true => Err(format!("{attempt:?} starts too late, of {promise:?}")),
            false => Ok(()),
        }
    }

    /// A job that does not run misses none of its times.
    fn missed_none(&self, boot: u32, now: Now) -> Result<(), String> {
        let idle = self.idle.filter(|_| !self.hand.is_paused);
        let (Some((promise, since)), Some(idle)) = (self.promise, idle) else {
            return Ok(());
        };
        // In another process, the times may be different.
        if self.boot != boot || TASKS[promise.task].durable && self.has_faults {
            return Ok(());
        }
        let missed = match promise.when {
            _ if self.leaves_out || self.hand.was_moved => false,
            when if options(when).is_some_and(|options| options.until_ms.is_some()) => false,
            When::Every { ms, options } if options.start_ms.is_none() && !self.is_moved => {
                let interval = i64::from(ms) * MS;
                let times = Times::Every {
                    anchor: since.mono + interval,
                    interval,
                };
                // Without a next time, the jitter is not limited by it.
                let room = i64::from(self.room_ms) * MS;
                let next = times.after(idle.mono);
                next + room < now.mono
            }
            When::Cron { text, options } if options.start_ms.is_none() && !self.is_stepped => {
                let room = i64::from(self.room_ms) * MS;
                self.zone().is_some_and(|zone| {
                    let next = Times::Cron { text, zone }.after(idle.wall);
                    next + room < now.wall
                })
            }
            _ => false,
        };
        match missed {
            true => Err(format!("{promise:?} was idle, and let its time pass")),
            false => Ok(()),
        }
    }

    /// A promise that holds was kept, if its time has come.
    fn kept(&self, boot: Option<u32>, now: Now) -> Result<(), String> {
        let Some((promise, since)) = self.promise else {
            return Ok(());
        };
        let has_passed = |ms: i64| now.mono > since.mono + ms * MS;
        let is_due = match promise.when {
            // The attempt waits for the store, and is omitted rather than made twice.
            _ if TASKS[promise.task].durable && self.has_faults => false,
            _ if self.leaves_out || self.hand.was_paused || self.hand.was_moved => false,
            _ if boot.is_some() && boot != Some(self.boot) => self.is_due_again(now),
            _ if boot.is_none() || self.is_moved => false,
            // It may end before its first run, if that is missed.
            when if options(when).is_some_and(|options| options.until_ms.is_some()) => false,
            When::AfterEach { ms, .. } => {
                let most = i64::from(ms) + i64::from(self.room_ms);
                !self.is_stepped && self.begun.is_none() && has_passed(most)
            }
            // Before the next step, perhaps.
            When::Push => has_passed(0),
            // By the wall clock, too, for that is what a store has.
            When::Delay { ms } => {
                has_passed(ms.into()) && now.wall > since.wall + i64::from(ms) * MS
            }
            When::At { ms } => !self.is_stepped && has_passed(ms.max(0).into()),
            When::AtLocal { .. } | When::Calendar { .. } => false,
            When::Every { ms, options } => {
                let first = options.start_ms.map_or(ms.into(), |away| match away {
                    0.. => i64::from(away),
                    // It only places the others.
                    _ => ms.into(),
                });
                let first = since.mono + first * MS;
                let times = Times::Every {
                    anchor: first,
                    interval: i64::from(ms) * MS,
                };
                let begun = self.begun.map(|begun| match options.start_ms {
                    Some(..0) => begun.mono + i64::from(ms) * MS,
                    _ => times.after(begun.mono),
                });
                let first = begun.map_or(first, |begun| begun.max(first));
                !self.is_stepped && now.mono > first + i64::from(self.room_ms) * MS
            }
            When::Cron { text, options } => {
                let start = options.start_ms.unwrap_or(0).max(0);
                // The start date itself may be the first time.
                let after = since.wall + i64::from(start) * MS - i64::from(start > 0);
                let after = self.begun.map_or(after, |begun| after.max(begun.wall));
                let room = i64::from(self.room_ms) * MS;
                !self.is_stepped
                    && self.zone().is_some_and(|zone| {
                        let first = Times::Cron { text, zone }.after(after);
                        now.wall > first + room
                    })
            }
        };
        // The run of the process before may not be stored.
        if is_due && !self.started {
            return Err(format!("{promise:?}, of {}, never ran", clock(since.wall)));
        }
        Ok(())
    }
}

impl Known<'_> {
    /// Whether a job from an earlier process is due.
    fn is_due_again(&self, now: Now) -> bool {
        let (Some((promise, since)), Some(restored)) = (self.promise, self.restored) else {
            return false;
        };
        let room = self.room_ms;
        let first = match promise.when {
            When::Push => since.wall,
            When::Delay { ms } => since.wall + i64::from(ms) * MS,
            When::At { ms } => since.wall + i64::from(ms) * MS,
            When::Every { ms, options }
                if options.start_ms.is_none()
                    && matches!(options.misfire, Missed::Once | Missed::All(1..)) =>
            {
                since.wall + i64::from(ms) * MS
            }
            // The model checks which missed times are skipped.
            When::AtLocal { .. } | When::Calendar { .. } => return false,
            When::Every { .. } | When::Cron { .. } | When::AfterEach { .. } => return false,
        };
        let due = restored.mono + (first - restored.wall).max(0) + i64::from(room) * MS;
        !self.is_stepped && self.begun.is_none() && now.mono > due
    }
}

fn excludes(promise: &Promise) -> bool {
    options(promise.when).is_some_and(|options| options.except)
}

fn pauses(promise: &Promise) -> bool {
    options(promise.when).is_some_and(|options| options.pauses)
}

fn leaves_out(promise: &Promise) -> bool {
    promise.expires_ms.is_some() || excludes(promise)
}

fn jitter(when: When) -> u32 {
    options(when).map_or(0, |options| options.jitter_ms)
}

fn options(when: When) -> Option<Options> {
    match when {
        When::Every { options, .. }
        | When::Cron { options, .. }
        | When::Calendar { options, .. }
        | When::AfterEach { options, .. } => Some(options),
        _ => None,
    }
}

/// Whether a job goes on with a replacement as if nothing had happened.
fn has_same_times(old: Given<'_>, new: Given<'_>) -> bool {
    let times = |given: Given<'_>, app| match given.0.when {
        When::Every { ms, .. } => Some(Times::Every {
            anchor: 0,
            interval: i64::from(ms) * MS,
        }),
        When::AfterEach { ms, .. } => Some(Times::Pause {
            anchor: 0,
            interval: i64::from(ms) * MS,
        }),
        When::Calendar { unit, options } => Some(Times::Calendar {
            unit,
            start: given.1.wall + i64::from(options.start_ms.unwrap_or(0)) * MS,
            zone: given.0.zone.unwrap_or(app),
        }),
        When::Cron { text, .. } => Some(Times::Cron {
            text,
            zone: given.0.zone.unwrap_or(app),
        }),
        _ => None,
    };
    // If only one has a zone of its own, it may be that of the app, or not.
    let is_one_zone = old.0.zone.is_some() == new.0.zone.is_some();
    let app = Start::default();
    let times = times(old, app).zip(times(new, app));
    goes_on(old, new) && is_one_zone && times.is_some_and(|(old, new)| old.same(&new))
}

/// "A recurring job keeps its run number and its failures in a row, unless its start
/// date is another one."
fn goes_on(old: Given<'_>, new: Given<'_>) -> bool {
    let start = |(promise, since): Given<'_>| {
        let start = options(promise.when)?.start_ms;
        Some(start.map(|away| since.wall + i64::from(away) * MS))
    };
    start(old).is_some() && start(old) == start(new)
}

/// "A job never starts early, not by a nanosecond of its clock."
fn not_early(
    (promise, since): Given<'_>,
    boot: u32,
    attempt: &Attempt,
    now: Now,
) -> Result<(), String> {
    let is_early = match promise.when {
        When::Push => false,
        // The monotonic clock ends with its process, and the wall clock may be set.
        When::Delay { .. } | When::Every { .. } | When::AfterEach { .. }
            if boot != attempt.boot =>
        {
            false
        }
        When::AfterEach { ms, .. } => now.mono < since.mono + i64::from(ms) * MS,
        When::Delay { ms } => now.mono < since.mono + i64::from(ms) * MS,
        When::At { ms } => attempt.attempt == 1 && now.wall < since.wall + i64::from(ms) * MS,
        When::Every { ms, options } if options.start_ms.is_none() => {
            now.mono < since.mono + i64::from(ms) * MS
        }
        When::Cron { .. } | When::Every { .. } | When::AtLocal { .. } | When::Calendar { .. } => {
            attempt.attempt == 1 && now.wall < attempt.nominal
        }
    };
    match is_early {
        true => Err(format!("{attempt:?} starts early, at {}", clock(now.wall))),
        false => Ok(()),
    }
}
