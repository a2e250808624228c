//! [`Series`]: picks the next run of a recurring job.

use crate::calendar::calendars::Except;
use crate::calendar::first_allowed::first_allowed;
use crate::calendar::history::RunHistory;
use crate::calendar::misfire::Misfire;
use crate::calendar::recurrence::Recurrence;
use crate::calendar::timeline::Timeline;
use crate::calendar::zone::time_zone::Zone;
use crate::value::error::ScheduleError;
use crate::value::time_units::{CLOCK_CHANGE_MAX, ClockReading, WallNanos, saturating_nanos};

/// The runs of a recurring job: its times, and what happens to those that are missed.
///
/// It is part of the definition of a job and never changes. What changes from run to
/// run is the [`Coverage`] that its methods take. All times are wall times; `now` is what
/// the clock of the job shows, see
/// [`Position::offset`](crate::job::position::Position::offset).
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) recurrence: Recurrence,
    /// The series has no times before this. An interval counts from it. A replacement with
    /// another start date starts a new series.
    pub(crate) start: Option<WallNanos>,
    /// The series has no times after this.
    pub(crate) until: Option<WallNanos>,
    /// The times that are left out. Boxed, because few series have it.
    pub(crate) except: Option<Box<Except>>,
    pub(crate) misfire: Misfire,
    /// The longest random delay of a run, in nanoseconds.
    pub(crate) jitter: i64,
}

/// Which times of a series are over. The next run follows from it: while a job waits for
/// a run, that run is for [`Series::next_run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    pub(crate) history: RunHistory,
    /// Times up to this one are not run any more: they were run, were left out by the
    /// misfire policy, or lie before the scheduling.
    pub(crate) handled_up_to: WallNanos,
    /// The wall clock was set back behind `handled_up_to`, and has not come to it again.
    pub(crate) set_back: Option<SetBack>,
    /// Missed times that were run late, one after the other, for [`Misfire::All`].
    pub(crate) catch_ups: u32,
    /// The next run is for a missed time and counted in `catch_ups`. It is not judged
    /// and counted again. Other policies count nothing: a run of theirs that is late
    /// again is judged by how late it is then.
    pub(crate) is_catch_up: bool,
    /// The next run is for a time that the series may not have: the moment at which the job
    /// was made.
    pub(crate) is_first_now: bool,
    /// The run for this time was made before it came, because a person has moved it: no time up to
    /// it is run.
    pub(crate) run_early: Option<WallNanos>,
}

/// The wall clock was set back behind times that are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetBack {
    /// The times after this one come again. They are over for good if the clock goes forward
    /// over all of them.
    pub(crate) to: WallNanos,
    /// It went back by more than three hours: it had been wrong, and no time was run by it.
    pub(crate) is_correction: bool,
}

/// A run of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occurrence {
    /// The time that the run stands for.
    pub(crate) nominal: WallNanos,
    /// When it starts: at its nominal time, or at once if that has passed.
    pub(crate) due: WallNanos,
    /// Whether times were missed.
    pub(crate) is_misfire: bool,
}

/// A run that starts this much late or less is on time: a timer that is late by less
/// shows a busy machine, not a missed run. A wall clock that goes back by this much or
/// less repeats no time.
pub(crate) const ON_TIME: i64 = 1_000_000_000;

impl Coverage {
    /// Of a job that was scheduled at `scheduled_at` and has not run.
    pub(crate) fn starting_at(scheduled_at: WallNanos) -> Self {
        Self {
            history: RunHistory::starting_at(scheduled_at),
            handled_up_to: scheduled_at,
            set_back: None,
            catch_ups: 0,
            is_catch_up: false,
            is_first_now: false,
            run_early: None,
        }
    }

    /// The run for `nominal` has ended, which is still to come. The times before it are as over
    /// as they were: a time that is over lies in the past, unless the clock was set back.
    pub(crate) fn enter_early_run(&mut self, nominal: WallNanos) {
        self.run_early = Some(nominal);
        self.is_catch_up = false;
        self.is_first_now = false;
    }

    /// The run for `nominal` of `series` has ended.
    pub(crate) fn enter_run(&mut self, nominal: WallNanos, series: &Series) {
        // A time of day never runs twice. A rate may, after the wall clock was set back: it
        // counts from its last run, whatever it has run before.
        if series.recurrence.is_rate() || self.is_corrected(nominal) {
            self.history = RunHistory::starting_at(nominal);
            self.run_early = self.run_early.filter(|early| *early > nominal);
        }
        let next = |last| series.next_after(nominal, last);
        self.history.enter(nominal, next);
        // A clock that was set back goes on from here.
        self.handled_up_to = nominal;
        self.set_back = None;
        self.is_catch_up = false;
        self.is_first_now = false;
    }

    /// The wall clock was set, or a process starts, and it shows `now`. If it is behind the
    /// last run by more than three hours, it was corrected, perhaps before this process.
    pub(crate) fn follow_clock(&mut self, now: WallNanos, is_correction: bool) {
        let is_correction = is_correction || self.is_corrected(now);
        if is_correction {
            // Its time was one of a clock that was wrong.
            self.run_early = None;
        }
        let to = self.set_back.map_or(now, |before| before.to.min(now));
        let set_back = SetBack { to, is_correction };
        self.set_back = self.is_ahead_of(now).then_some(set_back);
    }

    /// The wall clock was set, or a process starts, and it shows `now` while the run for
    /// `nominal` waits for a retry. A correction is recorded at once, as if the run had ended:
    /// when it ends, the clock may be less than three hours behind `nominal`.
    pub(crate) fn follow_clock_during_run(
        &mut self,
        nominal: WallNanos,
        now: WallNanos,
        is_correction: bool,
    ) {
        let is_far_ahead = nominal > now.saturating_add(CLOCK_CHANGE_MAX);
        if is_correction || is_far_ahead {
            self.handled_up_to = nominal;
            self.set_back = Some(SetBack {
                to: self.set_back.map_or(now, |before| before.to.min(now)),
                is_correction: true,
            });
        }
    }

    /// Whether the clock was corrected while the run for `nominal` waits for a retry.
    pub(crate) fn is_corrected_during_run(&self, nominal: WallNanos) -> bool {
        let is_corrected = self.set_back.is_some_and(|set_back| set_back.is_correction);
        // If the clock was corrected before the run, another time was handled last.
        is_corrected && self.handled_up_to == nominal
    }

    fn is_ahead_of(&self, now: WallNanos) -> bool {
        self.handled_up_to > now.saturating_add(ON_TIME)
    }

    /// Up to which time nothing is run any more, by a clock that shows `now`.
    fn over_up_to(&self, now: WallNanos) -> WallNanos {
        match (self.is_ahead_of(now), self.set_back) {
            (false, _) => self.handled_up_to,
            (true, None) => now,
            (true, Some(set_back)) => set_back.to.min(now),
        }
    }

    /// Nothing is run any more for times up to this one.
    pub(crate) fn handle_up_to(&mut self, time: WallNanos, now: WallNanos) {
        if !self.is_ahead_of(now) {
            self.handled_up_to = self.handled_up_to.max(time);
        } else if let Some(set_back) = &mut self.set_back {
            set_back.to = set_back.to.max(time);
        }
    }

    /// Whether the times that were run are of a clock that was wrong: it shows `now` since it
    /// was corrected.
    fn is_corrected(&self, now: WallNanos) -> bool {
        let is_far_ahead = self.history.last > now.saturating_add(CLOCK_CHANGE_MAX);
        is_far_ahead || self.set_back.is_some_and(|set_back| set_back.is_correction)
    }

    /// Moves all times: the clock by which they were counted was set.
    pub(crate) fn shift(&mut self, by: i64) {
        let history = &mut self.history;
        let skipped = history.skipped.iter_mut();
        let skipped = skipped.flat_map(|range| [&mut range.from, &mut range.to]);
        let set_back = self.set_back.iter_mut().map(|set_back| &mut set_back.to);
        let set_back = set_back.chain(&mut self.run_early);
        let marks = [&mut history.last, &mut self.handled_up_to];
        for time in skipped.chain(set_back).chain(marks) {
            *time = time.saturating_add(by);
        }
    }
}

impl Series {
    /// The error of a series that has no time after `after`. Times are shown in `zone`.
    pub(crate) fn never_due_error(&self, after: WallNanos, zone: &Zone) -> ScheduleError {
        let is_excluded = self.has_only_excluded_after(after, after);
        let except = self.except.as_ref().filter(|_| is_excluded);
        let before_start = self.start.map(|start| start.saturating_sub(1));
        ScheduleError::NeverDue {
            trigger: self.recurrence.to_string(),
            after: zone.time_at(before_start.unwrap_or(after).max(after)),
            until: self.until.map(|until| zone.time_at(until)),
            except: except.map(|except| except.calendar.to_string()),
        }
    }

    /// By which clock the runs are due. What was loaded from a store is due by the wall
    /// clock until it has run.
    pub(crate) fn timeline(&self) -> Timeline {
        match (&self.recurrence, self.start) {
            (Recurrence::Every { .. } | Recurrence::AfterEach { .. }, None) => Timeline::Mono,
            _ => Timeline::Wall,
        }
    }

    /// Up to which time nothing is run of a series that is scheduled now. A start date that has
    /// just passed is not missed: it was read from the same clock. A wall clock that was not
    /// set shows no time.
    pub(crate) fn scheduled_after(&self, clock: ClockReading) -> WallNanos {
        if self.timeline() == Timeline::Mono {
            return clock.now.wall;
        }
        let now = clock.now.wall.max(clock.earliest);
        match self.start {
            Some(start) if now.saturating_sub(ON_TIME) <= start && start <= now => {
                start.saturating_sub(1)
            }
            _ => now,
        }
    }

    /// The first time strictly after `after`. `anchor` is a time of the series.
    pub(crate) fn next_after(&self, anchor: WallNanos, after: WallNanos) -> Option<WallNanos> {
        let next_after = |after| self.next_time(anchor, after);
        match &self.except {
            Some(except) => first_allowed(next_after, after, &except.exclusions, &except.zone),
            None => next_after(after),
        }
    }

    /// Why [`next_after`](Self::next_after) found no time: whether there are later times, all
    /// of them excluded.
    pub(crate) fn has_only_excluded_after(&self, anchor: WallNanos, after: WallNanos) -> bool {
        self.except.is_some() && self.next_time(anchor, after).is_some()
    }

    /// The first time after `after`, excluded or not.
    fn next_time(&self, anchor: WallNanos, after: WallNanos) -> Option<WallNanos> {
        let (anchor, after) = match self.start {
            Some(start) => (start, after.max(start.saturating_sub(1))),
            None => (anchor, after),
        };
        let next = self.recurrence.next_after(anchor, after);
        next.filter(|next| self.until.is_none_or(|until| *next <= until))
    }

    fn is_excluded(&self, time: WallNanos) -> bool {
        let except = self.except.as_deref();
        except.is_some_and(|except| {
            let through = except.exclusions.excluded_through(time, &except.zone);
            through.is_some()
        })
    }

    /// Whether `other` has the same start and recurrence, so that a job goes on with it as
    /// before. Their exclusions may differ.
    pub(crate) fn has_same_times(&self, other: &Series) -> bool {
        self.start == other.start && self.recurrence.has_same_times(&other.recurrence)
    }

    /// Whether `other` excludes the same times.
    pub(crate) fn excludes_same(&self, other: &Series) -> bool {
        match (&self.except, &other.except) {
            (Some(own), Some(others)) => own.calendar == others.calendar && own.zone == others.zone,
            (own, others) => own.is_none() && others.is_none(),
        }
    }

    /// The run that follows the one for `nominal`, which ended at `now` and was entered.
    /// `None` if no time is left. A run for a time before `expired_before` has expired.
    pub(crate) fn after_run(
        &self,
        coverage: &mut Coverage,
        nominal: WallNanos,
        now: WallNanos,
        expired_before: WallNanos,
    ) -> Option<Occurrence> {
        let (next, has_expired) = self.next_unexpired(coverage, nominal, now, expired_before)?;
        // A run that falls due at this nanosecond is on time.
        if next >= now {
            coverage.catch_ups = 0;
            return Some(Occurrence {
                nominal: next,
                due: next,
                is_misfire: has_expired,
            });
        }
        // Times that came during the run are missed, however short the time since then.
        self.missed(coverage, next, now, None)
    }

    /// The time of the next run, without the times that have expired, and whether there were
    /// any.
    fn next_unexpired(
        &self,
        coverage: &mut Coverage,
        nominal: WallNanos,
        now: WallNanos,
        expired_before: WallNanos,
    ) -> Option<(WallNanos, bool)> {
        if let Recurrence::AfterEach { interval } = self.recurrence {
            // From `now`: the end of the run, or the moment at which it was found expired.
            let next = now.saturating_add(interval);
            return (self.until.is_none_or(|until| next <= until)).then_some((next, false));
        }
        let next = self.next_run(coverage, nominal, now)?;
        if next >= expired_before {
            return Some((next, false));
        }
        coverage.handle_up_to(expired_before.saturating_sub(1), now);
        Some((self.next_run(coverage, nominal, now)?, true))
    }

    /// The run for `nominal`, which is before `expired_before`, has expired without an attempt.
    /// Returns the one that takes its place. `on_time`: see [`on_due`](Series::on_due).
    pub(crate) fn after_expiry(
        &self,
        coverage: &mut Coverage,
        nominal: WallNanos,
        now: WallNanos,
        expired_before: WallNanos,
        on_time: i64,
    ) -> Option<Occurrence> {
        coverage.is_first_now = false;
        if std::mem::take(&mut coverage.is_catch_up) {
            // It was not run.
            coverage.catch_ups = coverage.catch_ups.saturating_sub(1);
        }
        let (next, _) = self.next_unexpired(coverage, nominal, now, expired_before)?;
        // A time that falls due at this nanosecond may not be the only one.
        if next > now {
            coverage.catch_ups = 0;
            return Some(Occurrence {
                nominal: next,
                due: next,
                is_misfire: true,
            });
        }
        self.missed(coverage, next, now, Some(on_time))
    }

    /// The timer came at `now` to the run for `nominal`, which was due at `due`.
    /// Returns that run, or the one that takes its place if it was missed. The timer may
    /// come to the same run again, if that could not begin. `on_time` is how late a run is
    /// at most that is not missed.
    pub(crate) fn on_due(
        &self,
        coverage: &mut Coverage,
        nominal: WallNanos,
        due: WallNanos,
        now: WallNanos,
        on_time: i64,
    ) -> Option<Occurrence> {
        if self.until.is_some_and(|until| until < nominal) {
            // The end was declared while the job waited.
            return None;
        }
        let (mut nominal, mut due) = (nominal, due);
        // `Plan::rebase` keeps a time that was run if the series has no later one.
        let history = self.history(coverage, now);
        let has_run = history.is_some_and(|history| history.was_run(nominal));
        // The exclusions were declared while the job waited, or the clock was set.
        let is_over = has_run || self.is_excluded(nominal);
        if is_over && !coverage.is_first_now {
            coverage.handle_up_to(nominal, now);
            nominal = self.next_run(coverage, nominal, now)?;
            due = nominal.max(due);
            if nominal > now {
                return Some(Occurrence {
                    nominal,
                    due: nominal,
                    is_misfire: false,
                });
            }
        }
        let is_late = now.saturating_sub(due) > on_time;
        let is_overtaken = || {
            let next = self.next_after(nominal, due);
            next.is_some_and(|next| next <= now)
        };
        // It misses nothing: its next time comes after the run.
        let never_misses = self.recurrence.is_after_each();
        if never_misses
            || coverage.is_first_now
            || coverage.is_catch_up
            || (!is_late && !is_overtaken())
        {
            return Some(Occurrence {
                nominal,
                due,
                is_misfire: false,
            });
        }
        self.missed(coverage, nominal, now, Some(on_time))
    }

    /// The time of the next run, by a clock that shows `now`: the first that is not over
    /// and was not run. `anchor` is a time of the series.
    pub(crate) fn next_run(
        &self,
        coverage: &Coverage,
        anchor: WallNanos,
        now: WallNanos,
    ) -> Option<WallNanos> {
        let over = coverage.over_up_to(now);
        let over = over.max(coverage.run_early.unwrap_or(WallNanos::MIN));
        self.next_unrun(coverage, anchor, over, now)
    }

    /// The times of day that were run.
    fn history<'a>(&self, coverage: &'a Coverage, now: WallNanos) -> Option<&'a RunHistory> {
        let is_kept = !self.recurrence.is_rate() && !coverage.is_corrected(now);
        is_kept.then_some(&coverage.history)
    }

    /// The first time after `after` that was not run.
    fn next_unrun(
        &self,
        coverage: &Coverage,
        anchor: WallNanos,
        after: WallNanos,
        now: WallNanos,
    ) -> Option<WallNanos> {
        let Some(history) = self.history(coverage, now) else {
            return self.next_after(anchor, after);
        };
        let next = self.next_after(anchor, after.max(history.complete_up_to()))?;
        match history.contains(next) {
            true => self.next_after(anchor, history.last),
            false => Some(next),
        }
    }

    /// The last time up to `to` that was not run. `first` is such a time.
    fn last_unrun(
        &self,
        coverage: &Coverage,
        first: WallNanos,
        to: WallNanos,
        now: WallNanos,
    ) -> WallNanos {
        let last = self.last_up_to(first, to);
        match self.history(coverage, now) {
            Some(history) if history.contains(last) => {
                let skipped = history.skipped.map_or(first, |skipped| skipped.to);
                self.last_up_to(first, skipped.saturating_sub(1).max(first))
            }
            _ => last,
        }
    }

    /// The last time up to `to`. `first` is a time up to `to`. It is found by bisection,
    /// because there may be many times in between.
    fn last_up_to(&self, first: WallNanos, to: WallNanos) -> WallNanos {
        let mut last = first;
        // The time is not after `end`.
        let mut end = to;
        // Most often it is one of the next few.
        for _ in 0..2 {
            match self.next_after(first, last) {
                Some(next) if next <= to => last = next,
                _ => return last,
            }
        }
        while last < end {
            let middle = last + end.saturating_sub(last) / 2;
            match self.next_after(first, middle) {
                Some(next) if next <= to => last = next,
                _ => end = middle,
            }
        }
        last
    }

    /// `nominal` with a random delay: `random`, from 0 to 1, of the jitter. The result
    /// is never before `nominal` and always before the next time.
    pub(crate) fn with_jitter(
        &self,
        nominal: WallNanos,
        random: impl FnOnce() -> f64,
    ) -> WallNanos {
        if self.jitter == 0 {
            return nominal;
        }
        // At most `jitter`, so that the cast does not saturate.
        let room = self.jitter.min(self.room_after(nominal));
        self.delayed(nominal, (room as f64 * random()) as i64)
    }

    /// `nominal` with this delay, but before the next time.
    pub(crate) fn delayed(&self, nominal: WallNanos, delay: i64) -> WallNanos {
        match delay {
            0 => nominal,
            _ => nominal.saturating_add(delay.min(self.room_after(nominal))),
        }
    }

    fn room_after(&self, nominal: WallNanos) -> i64 {
        let next = self.next_after(nominal, nominal).unwrap_or(WallNanos::MAX);
        next.saturating_sub(nominal).saturating_sub(1)
    }

    /// The run that the misfire policy picks. `first` is the earliest missed time. A run
    /// that is late by `on_time` or less is not missed, if its next time has not come.
    fn missed(
        &self,
        coverage: &mut Coverage,
        first: WallNanos,
        now: WallNanos,
        on_time: Option<i64>,
    ) -> Option<Occurrence> {
        let last = self.last_unrun(coverage, first, now, now);
        let earliest_on_time = on_time.map_or(now, |on_time| now.saturating_sub(on_time));
        // Times from here on are run.
        let kept = match last >= earliest_on_time {
            true => last,
            false => now,
        };
        let leave_out_before = |coverage: &mut Coverage, time: WallNanos| {
            let before = time.saturating_sub(1);
            coverage.handle_up_to(before, now);
            self.next_unrun(coverage, first, before, now)
        };
        let nominal = match self.misfire {
            Misfire::Once => {
                coverage.handle_up_to(last.saturating_sub(1), now);
                Some(last)
            }
            Misfire::Skip => leave_out_before(coverage, kept),
            Misfire::All(limit) if coverage.catch_ups < limit => {
                coverage.catch_ups += 1;
                coverage.is_catch_up = true;
                Some(first)
            }
            Misfire::All(_) => {
                coverage.catch_ups = 0;
                leave_out_before(coverage, kept)
            }
            Misfire::Grace(grace) => {
                let oldest = now.saturating_sub(saturating_nanos(grace));
                leave_out_before(coverage, oldest.min(kept).max(first))
            }
        }?;
        Some(Occurrence {
            nominal,
            due: nominal.max(now),
            is_misfire: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::cron::expression::Cron;
    use crate::calendar::zone::time_zone::Zone;
    use crate::sync::primitives::Arc;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000_000;
    /// Nothing has expired.
    const NEVER: WallNanos = WallNanos::MIN;
    const POLICIES: [Misfire; 4] = [
        Misfire::Once,
        Misfire::Skip,
        Misfire::All(2),
        Misfire::Grace(Duration::ZERO),
    ];

    fn series(interval: i64, misfire: Misfire) -> Series {
        Series {
            recurrence: Recurrence::Every { interval },
            start: None,
            until: None,
            except: None,
            misfire,
            jitter: 0,
        }
    }

    /// A rate of one run each ten seconds.
    fn each_ten_seconds(misfire: Misfire) -> (Series, Coverage) {
        (series(10 * SECOND, misfire), Coverage::starting_at(0))
    }

    /// Times of day, one each ten seconds.
    fn times_of_day(misfire: Misfire) -> Series {
        let text = "0,10,20,30,40,50 0-59 0-23 * * * *";
        let series = Series {
            recurrence: Recurrence::Cron {
                cron: Arc::new(Cron::parse(text).unwrap()),
                zone: Zone::UTC,
            },
            ..series(1, misfire)
        };
        assert!(!series.recurrence.is_rate());
        series
    }

    /// Nominal times, in seconds, of the runs after one that ended at `now`.
    fn runs(misfire: Misfire, now: i64, count: usize) -> Vec<i64> {
        let (series, mut coverage) = each_ten_seconds(misfire);
        let mut nominal = 0;
        let next = |_| {
            coverage.enter_run(nominal, &series);
            let now = nominal.max(now * SECOND);
            let next = series.after_run(&mut coverage, nominal, now, NEVER)?;
            nominal = next.nominal;
            Some(nominal / SECOND)
        };
        (0..count).map_while(next).collect()
    }

    #[test]
    fn each_policy_runs_the_next_time_after_a_run_that_ended_in_time() {
        for misfire in POLICIES {
            assert_eq!(runs(misfire, 3, 1), [10]);
            // Due at the nanosecond at which the run before ended: on time.
            assert_eq!(runs(misfire, 10, 1), [10]);
        }
    }

    #[test]
    fn once_runs_the_latest_missed_time_then_goes_on_from_now() {
        assert_eq!(runs(Misfire::Once, 35, 3), [30, 40, 50]);
        assert_eq!(runs(Misfire::Once, 11, 3), [10, 20, 30]);
    }

    #[test]
    fn skip_goes_on_with_the_next_time_to_come() {
        assert_eq!(runs(Misfire::Skip, 35, 1), [40]);
    }

    #[test]
    fn all_runs_each_missed_time_up_to_its_limit() {
        assert_eq!(runs(Misfire::All(9), 35, 5), [10, 20, 30, 40, 50]);
        assert_eq!(runs(Misfire::All(2), 65, 4), [10, 20, 70, 80]);
    }

    #[test]
    fn grace_runs_each_missed_time_that_is_not_older_than_it() {
        let grace = |seconds| Misfire::Grace(Duration::from_secs(seconds));
        assert_eq!(runs(grace(15), 35, 3), [20, 30, 40]);
        assert_eq!(runs(grace(4), 35, 1), [40]);
        let forever = Misfire::Grace(Duration::MAX);
        assert_eq!(runs(forever, 35, 4), [10, 20, 30, 40]);
    }

    /// The run that starts at `now`, in nanoseconds, or later, if `nominal` was waited for.
    /// Times are in seconds.
    fn fire(misfire: Misfire, nominal: i64, now: i64, on_time: i64) -> (i64, bool) {
        let (series, mut coverage) = each_ten_seconds(misfire);
        let due = nominal * SECOND;
        let on_time = on_time * SECOND;
        let run = series
            .on_due(&mut coverage, due, due, now, on_time)
            .unwrap();
        (run.nominal / SECOND, run.is_misfire)
    }

    #[test]
    fn a_run_is_missed_if_it_is_late_or_its_next_time_has_come() {
        assert_eq!(fire(Misfire::Skip, 10, 11 * SECOND, 1), (10, false));
        assert_eq!(fire(Misfire::Skip, 10, 11 * SECOND + 1, 1), (20, true));
        let fast = series(SECOND / 10, Misfire::Skip);
        let mut coverage = Coverage::starting_at(0);
        let run = fast
            .on_due(&mut coverage, 0, 0, SECOND / 10, SECOND)
            .unwrap();
        assert!(run.is_misfire);
    }

    #[test]
    fn a_run_that_the_timer_could_not_see_in_time_is_not_missed() {
        let grace = Misfire::Grace(Duration::ZERO);
        for misfire in [Misfire::Skip, grace, Misfire::All(0), Misfire::Once] {
            assert_eq!(
                fire(misfire, 10, 19 * SECOND, 9),
                (10, false),
                "{misfire:?}"
            );
        }
        assert_eq!(fire(Misfire::Skip, 10, 19 * SECOND + 1, 9), (20, true));
        // The time after it has come.
        assert_eq!(fire(Misfire::Skip, 10, 22 * SECOND, 12), (20, true));
    }

    /// Regression: the tolerance was applied to the first missed time only.
    #[test]
    fn the_last_time_is_on_time_if_times_before_it_were_missed() {
        let grace = Misfire::Grace(Duration::ZERO);
        for misfire in [Misfire::Skip, grace, Misfire::All(0), Misfire::Once] {
            let now = 30 * SECOND + SECOND;
            assert_eq!(fire(misfire, 10, now, 1), (30, true), "{misfire:?}");
        }
        assert_eq!(fire(Misfire::Skip, 10, 31 * SECOND + 1, 1), (40, true));
        assert_eq!(fire(grace, 10, 31 * SECOND + 1, 1), (40, true));
        // Times that come during a run are missed, however late it is by then.
        assert_eq!(runs(Misfire::Skip, 31, 1), [40]);
    }

    #[test]
    fn a_catch_up_is_due_at_once_and_is_not_missed_again() {
        let (series, mut coverage) = each_ten_seconds(Misfire::All(1));
        let now = 35 * SECOND;
        let next = series.after_run(&mut coverage, 0, now, NEVER).unwrap();
        let expected = Occurrence {
            nominal: 10 * SECOND,
            due: now,
            is_misfire: true,
        };
        assert_eq!(next, expected);
        let late = now + 30 * SECOND;
        let run = series.on_due(&mut coverage, next.nominal, next.due, late, SECOND);
        let run = run.unwrap();
        assert_eq!((run.nominal, run.is_misfire), (10 * SECOND, false));
    }

    #[test]
    fn a_run_that_is_late_again_is_judged_again_unless_it_is_a_counted_catch_up() {
        let grace = Misfire::Grace(Duration::from_secs(12));
        for (misfire, first, then) in [
            (Misfire::Once, 10, 60),
            (Misfire::Skip, 20, 70),
            (Misfire::All(1), 10, 10),
            (Misfire::All(0), 20, 70),
            (grace, 10, 60),
        ] {
            let (series, mut coverage) = each_ten_seconds(misfire);
            let next = series
                .after_run(&mut coverage, 0, 15 * SECOND, NEVER)
                .unwrap();
            assert_eq!(next.nominal, first * SECOND, "{misfire:?}");
            // The timer comes at once, then much too late, twice.
            for (now, nominal) in [(next.due, first), (65 * SECOND, then), (65 * SECOND, then)] {
                let run = series.on_due(&mut coverage, next.nominal, next.due, now, SECOND);
                let run = run.unwrap();
                assert_eq!(run.nominal, nominal * SECOND, "{misfire:?} at {now}");
            }
        }
    }

    #[test]
    fn a_time_that_comes_at_the_nanosecond_at_which_a_run_ends_is_not_missed() {
        let (series, mut coverage) = each_ten_seconds(Misfire::Once);
        let next = series
            .after_run(&mut coverage, 0, 10 * SECOND, NEVER)
            .unwrap();
        assert_eq!((next.nominal, next.is_misfire), (10 * SECOND, false));
        let next = series
            .after_run(&mut coverage, 0, 10 * SECOND + 1, NEVER)
            .unwrap();
        assert!(next.is_misfire);
    }

    #[test]
    fn the_limit_of_all_counts_catch_ups_in_a_row() {
        let (series, mut coverage) = each_ten_seconds(Misfire::All(2));
        let mut after = |nominal: i64, now: i64| {
            coverage.enter_run(nominal * SECOND, &series);
            let next = series.after_run(&mut coverage, nominal * SECOND, now * SECOND, NEVER);
            next.unwrap().nominal / SECOND
        };
        assert_eq!((after(0, 25), after(10, 25)), (10, 20));
        // A run on time comes between: two are allowed again.
        assert_eq!(after(20, 25), 30);
        assert_eq!((after(30, 55), after(40, 55)), (40, 50));
        // The rest is left out, and two are allowed again.
        assert_eq!(after(50, 85), 90);
        assert_eq!((after(90, 125), after(100, 125)), (100, 110));
        // Left out again. 130 is late when its turn comes, and is a catch-up.
        assert_eq!((after(110, 155), after(160, 185)), (160, 170));
    }

    #[test]
    fn the_last_time_of_the_range_is_never_overtaken() {
        let last = i64::MAX - 1;
        let series = series(SECOND, Misfire::Skip);
        let mut coverage = Coverage::starting_at(0);
        let run = series.on_due(&mut coverage, last, last, last, SECOND);
        let run = run.unwrap();
        assert_eq!((run.nominal, run.is_misfire), (last, false));
    }

    #[test]
    fn a_rate_goes_on_by_the_new_clock_at_once_after_a_step_back_of_any_size() {
        for by in [2 * SECOND, 3_600 * SECOND, 2 * CLOCK_CHANGE_MAX] {
            let series = series(10 * SECOND, Misfire::Once);
            let ran = 3 * CLOCK_CHANGE_MAX;
            let mut coverage = Coverage::starting_at(0);
            coverage.enter_run(ran, &series);
            let now = ran - by;
            let next = series.next_run(&coverage, ran, now).unwrap();
            assert!((now + 1..=now + 10 * SECOND).contains(&next), "{by}");
            assert_eq!((ran - next) % (10 * SECOND), 0);
        }
    }

    #[test]
    fn a_clock_that_goes_back_by_a_second_repeats_no_time() {
        for series in [
            series(10 * SECOND, Misfire::Once),
            times_of_day(Misfire::Once),
        ] {
            let mut coverage = Coverage::starting_at(0);
            coverage.enter_run(10 * SECOND, &series);
            let next = |now| series.next_run(&coverage, 10 * SECOND, now);
            assert_eq!(next(9 * SECOND), Some(20 * SECOND));
        }
    }

    #[test]
    fn a_time_of_day_that_was_run_is_not_run_again_unless_the_clock_is_corrected() {
        let series = times_of_day(Misfire::Once);
        let ran = 10 * CLOCK_CHANGE_MAX;
        let mut coverage = Coverage::starting_at(0);
        for nominal in [ran - 20 * SECOND, ran - 10 * SECOND, ran] {
            coverage.enter_run(nominal, &series);
        }
        let next = |now| series.next_run(&coverage, ran, now);
        // It did not run before that.
        assert_eq!(next(ran - 25 * SECOND), Some(ran + 10 * SECOND));
        assert_eq!(next(ran - 5 * SECOND), Some(ran + 10 * SECOND));
        let corrected = ran - CLOCK_CHANGE_MAX - SECOND;
        assert_eq!(next(corrected), Some(corrected + SECOND));
    }

    #[test]
    fn times_of_day_that_the_clock_jumped_over_are_run_after_it_is_set_back_and_no_others() {
        let series = times_of_day(Misfire::Once);
        let mut coverage = Coverage::starting_at(10 * SECOND);
        for nominal in [40, 50, 60] {
            coverage.enter_run(nominal * SECOND, &series);
        }
        let skipped = coverage.history.skipped.map(|range| (range.from, range.to));
        assert_eq!(skipped, Some((10 * SECOND, 40 * SECOND)));
        let mut runs = Vec::new();
        let mut next = series.next_run(&coverage, 0, 15 * SECOND);
        while let Some(nominal) = next.filter(|nominal| *nominal < 100 * SECOND) {
            runs.push(nominal / SECOND);
            coverage.enter_run(nominal, &series);
            let after = series.after_run(&mut coverage, nominal, nominal, NEVER);
            next = after.map(|after| after.nominal);
        }
        assert_eq!(runs, [20, 30, 70, 80, 90]);
    }

    /// Regression: a daily job ran at 01:30 UTC, and the app was started again in a zone in
    /// which that was 02:30. It ran at once for 01:30 in that zone, an hour before its run.
    #[test]
    fn times_before_the_last_run_are_over_in_another_zone_too() {
        for misfire in POLICIES {
            let series = times_of_day(misfire);
            let mut coverage = Coverage::starting_at(0);
            // A time of the zone before.
            let nominal = 35 * SECOND;
            coverage.enter_run(nominal, &series);
            let next = series.next_run(&coverage, nominal, nominal);
            assert_eq!(next, Some(40 * SECOND));
        }
    }

    #[test]
    fn a_time_that_was_run_is_not_caught_up() {
        for (misfire, expected) in [
            (Misfire::All(2), [30, 60]),
            (Misfire::Once, [30, 60]),
            (Misfire::Skip, [60, 70]),
        ] {
            let series = times_of_day(misfire);
            let mut coverage = Coverage::starting_at(10 * SECOND);
            coverage.enter_run(40 * SECOND, &series);
            coverage.enter_run(50 * SECOND, &series);
            let back = 15 * SECOND;
            assert_eq!(series.next_run(&coverage, 0, back), Some(20 * SECOND));
            // The run for 20 lasts past 30, and past 40 and 50, which were run.
            let mut nominal = 20 * SECOND;
            let runs = expected.map(|_| {
                coverage.enter_run(nominal, &series);
                let after = series.after_run(&mut coverage, nominal, 55 * SECOND, NEVER);
                nominal = after.unwrap().nominal;
                nominal / SECOND
            });
            assert_eq!(runs, expected, "{misfire:?}");
        }
    }

    /// What [`Coverage`] promises, after each kind of step.
    #[test]
    fn the_next_run_follows_from_what_is_covered() {
        let grace = Misfire::Grace(Duration::from_secs(25));
        let policies = [Misfire::Once, Misfire::Skip, Misfire::All(2), grace];
        for misfire in policies {
            for seed in 0..400 {
                let mut random = fastrand::Rng::with_seed(seed);
                let series = match seed % 2 {
                    0 => times_of_day(misfire),
                    _ => series(10 * SECOND, misfire),
                };
                let mut coverage = Coverage::starting_at(0);
                let (mut now, mut nominal) = (0, 10 * SECOND);
                for _ in 0..30 {
                    let step = random.i64(0..30 * SECOND);
                    if random.u8(..5) == 0 {
                        now -= step;
                        coverage.follow_clock(now, false);
                        nominal = series.next_run(&coverage, nominal, now).unwrap();
                        if nominal > now {
                            coverage.is_catch_up = false;
                        }
                    } else {
                        now = now.max(nominal) + step;
                        let due = series.on_due(&mut coverage, nominal, nominal, now, SECOND);
                        nominal = due.unwrap().nominal;
                        let derived = series.next_run(&coverage, nominal, now);
                        // A clock that has gone over all handled times ends the second pass.
                        let is_over = coverage.set_back.is_some() && !coverage.is_ahead_of(now);
                        if !is_over {
                            assert_eq!(derived, Some(nominal), "{misfire:?}, {seed}, due");
                        }
                        now = now.max(nominal) + random.i64(0..15 * SECOND);
                        coverage.enter_run(nominal, &series);
                        let next = series.after_run(&mut coverage, nominal, now, NEVER);
                        nominal = next.unwrap().nominal;
                    }
                    let derived = series.next_run(&coverage, nominal, now);
                    assert_eq!(derived, Some(nominal), "{misfire:?}, {seed}");
                }
            }
        }
    }

    #[test]
    fn the_last_time_is_found_by_bisection() {
        for series in [
            series(10 * SECOND, Misfire::Once),
            times_of_day(Misfire::Once),
        ] {
            for first in [-50, 0, 70] {
                for to in (first..first + 400).chain([first + 86_400 * 365 + 3]) {
                    let last = series.last_up_to(first * SECOND, to * SECOND);
                    assert_eq!(last / SECOND, first + (to - first) / 10 * 10);
                }
            }
        }
    }

    #[test]
    fn ten_years_of_missed_times_are_not_enumerated() {
        // It returns at once. To go through the times would take minutes.
        let ten_years = 10 * 365 * 86_400 * SECOND;
        for (misfire, first, second) in [
            (Misfire::All(1), 1, ten_years),
            (Misfire::Once, ten_years, ten_years + 1),
        ] {
            let series = series(1, misfire);
            let mut coverage = Coverage::starting_at(0);
            let mut after = |nominal| {
                coverage.enter_run(nominal, &series);
                series.after_run(&mut coverage, nominal, ten_years, NEVER)
            };
            assert_eq!(after(0).unwrap().nominal, first);
            assert_eq!(after(first).unwrap().nominal, second);
        }
    }
}
