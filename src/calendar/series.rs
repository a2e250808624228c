//! [`Series`]: picks the next run of a recurring job.

use crate::calendar::history::RunHistory;
use crate::calendar::misfire::Misfire;
use crate::calendar::recurrence::Recurrence;
use crate::calendar::timeline::Timeline;
use crate::value::time_units::saturating_nanos;

/// The runs of a recurring job: its times, and what happens to those that are missed.
///
/// It is part of the definition of a job and never changes. What changes from run to
/// run is the [`Coverage`] that its methods take. Times are nanoseconds on the
/// [`timeline`](Series::timeline).
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) recurrence: Recurrence,
    pub(crate) timeline: Timeline,
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
    /// misfire policy, or lie before the scheduling. A wall clock that is set back takes
    /// it along.
    pub(crate) handled_up_to: i64,
    /// The open run stands for all missed times up to this one, for [`Misfire::Once`].
    /// When it ends, these are handled.
    pub(crate) covers_up_to: Option<i64>,
    /// Missed times that were run late, one after the other, for [`Misfire::All`].
    pub(crate) catch_ups: u32,
    /// The next run is for a missed time and counted in `catch_ups`. It is not judged
    /// and counted again. Other policies count nothing: a run of theirs that is late
    /// again is judged by how late it is then.
    pub(crate) is_catch_up: bool,
}

/// A run of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occurrence {
    /// The time that the run stands for.
    pub(crate) nominal: i64,
    /// When it starts: at its nominal time, or at once if that has passed.
    pub(crate) due: i64,
    /// Whether times before it were missed.
    pub(crate) is_misfire: bool,
}

/// A run that starts this much late or less is on time: a timer that is late by less
/// shows a busy machine, not a missed run.
const ON_TIME: i64 = 1_000_000_000;

impl Coverage {
    /// Of a job that was scheduled at `scheduled_at` and has not run.
    pub(crate) fn starting_at(scheduled_at: i64) -> Self {
        Self {
            history: RunHistory::starting_at(scheduled_at),
            handled_up_to: scheduled_at,
            covers_up_to: None,
            catch_ups: 0,
            is_catch_up: false,
        }
    }

    /// The run for `nominal` has ended.
    pub(crate) fn enter_run(&mut self, nominal: i64, recurrence: &Recurrence) {
        self.history.enter(nominal, recurrence);
        self.handle_up_to(nominal);
        self.is_catch_up = false;
        if let Some(covered) = self.covers_up_to.take() {
            self.handle_up_to(covered);
        }
    }

    fn handle_up_to(&mut self, time: i64) {
        self.handled_up_to = self.handled_up_to.max(time);
    }
}

impl Series {
    /// The run that follows the one for `nominal`, which ended at `now` and was entered.
    /// `None` if no time is left.
    pub(crate) fn after_run(
        &self,
        coverage: &mut Coverage,
        nominal: i64,
        now: i64,
    ) -> Option<Occurrence> {
        let next = self.after_run_by_time(coverage, nominal, now)?;
        self.unless_run(coverage, next, now)
    }

    fn after_run_by_time(
        &self,
        coverage: &mut Coverage,
        nominal: i64,
        now: i64,
    ) -> Option<Occurrence> {
        let last = nominal.max(coverage.handled_up_to);
        let next = self.recurrence.next_after(last)?;
        // A run that falls due at this nanosecond is on time.
        if next >= now {
            coverage.catch_ups = 0;
            return Some(Occurrence {
                nominal: next,
                due: next,
                is_misfire: false,
            });
        }
        self.missed(coverage, last, next, now)
    }

    /// The timer came at `now` to the run for `nominal`, which was due at `due`.
    /// Returns that run, or the one that takes its place if it was missed. The timer may
    /// come to the same run again, if that could not begin.
    pub(crate) fn on_due(
        &self,
        coverage: &mut Coverage,
        nominal: i64,
        due: i64,
        now: i64,
    ) -> Option<Occurrence> {
        let is_late = now.saturating_sub(due) > ON_TIME;
        let is_overtaken = || {
            let next = self.recurrence.next_after(due);
            next.is_some_and(|next| next <= now)
        };
        let run = if coverage.is_catch_up || (!is_late && !is_overtaken()) {
            Occurrence {
                nominal,
                due,
                is_misfire: false,
            }
        } else {
            self.missed(coverage, nominal.saturating_sub(1), nominal, now)?
        };
        self.unless_run(coverage, run, now)
    }

    /// The first time to run after the wall clock was set back to `now`: the clock comes
    /// again to times that it had jumped over.
    pub(crate) fn after_step_back(&self, coverage: &mut Coverage, now: i64) -> Option<i64> {
        coverage.handled_up_to = coverage.handled_up_to.min(now);
        coverage.covers_up_to = coverage.covers_up_to.map(|time| time.min(now));
        coverage.catch_ups = 0;
        coverage.is_catch_up = false;
        self.next_run(coverage)
    }

    /// The time of the next run: the first that is not handled and was not run.
    pub(crate) fn next_run(&self, coverage: &mut Coverage) -> Option<i64> {
        let after = coverage.handled_up_to;
        let from = after.max(coverage.history.complete_up_to());
        let next = self.recurrence.next_after(from)?;
        self.time_unless_run(coverage, next, after)
    }

    /// `run`, or the next one that was not run if `run` was, before the wall clock was
    /// set back.
    fn unless_run(
        &self,
        coverage: &mut Coverage,
        mut run: Occurrence,
        now: i64,
    ) -> Option<Occurrence> {
        if self.timeline == Timeline::Mono {
            // The monotonic clock does not come to a time twice.
            return Some(run);
        }
        let nominal = self.time_unless_run(coverage, run.nominal, now)?;
        if nominal != run.nominal {
            run.nominal = nominal;
            run.due = nominal.max(now);
            if nominal > now && std::mem::take(&mut coverage.is_catch_up) {
                // A run that is still to come is not a catch-up.
                coverage.catch_ups = coverage.catch_ups.saturating_sub(1);
            }
        }
        Some(run)
    }

    fn time_unless_run(&self, coverage: &mut Coverage, nominal: i64, now: i64) -> Option<i64> {
        if !coverage.history.contains(nominal) {
            return Some(nominal);
        }
        coverage.handle_up_to(now.saturating_sub(1));
        let after = coverage.history.last.max(now.saturating_sub(1));
        self.recurrence.next_after(after)
    }

    /// Whether `other` has the same wall times, with the same jitter.
    pub(crate) fn has_same_wall_times(&self, other: &Series) -> bool {
        match (&self.recurrence, &other.recurrence) {
            (
                Recurrence::Cron { cron, zone },
                Recurrence::Cron {
                    cron: other_cron,
                    zone: other_zone,
                },
            ) => cron == other_cron && zone == other_zone && self.jitter == other.jitter,
            _ => false,
        }
    }

    /// `nominal` with a random delay: `random`, from 0 to 1, of the jitter. The result
    /// is never before `nominal` and always before the next time.
    pub(crate) fn with_jitter(&self, nominal: i64, random: impl FnOnce() -> f64) -> i64 {
        if self.jitter == 0 {
            return nominal;
        }
        let next = self.recurrence.next_after(nominal).unwrap_or(i64::MAX);
        let room = next.saturating_sub(nominal).saturating_sub(1);
        // At most `jitter`, so that the cast does not saturate.
        let delay = (self.jitter.min(room) as f64 * random()) as i64;
        nominal.saturating_add(delay.min(room))
    }

    /// The run that the misfire policy picks. `first` is the earliest missed time, the
    /// first one after `last`.
    fn missed(
        &self,
        coverage: &mut Coverage,
        last: i64,
        first: i64,
        now: i64,
    ) -> Option<Occurrence> {
        let leave_out_up_to = |coverage: &mut Coverage, time: i64| {
            coverage.handle_up_to(time);
            self.recurrence.next_after(time)
        };
        // A time that falls due at this nanosecond is not missed.
        let missed = now.saturating_sub(1);
        let nominal = match self.misfire {
            Misfire::Once => {
                coverage.covers_up_to = Some(now);
                Some(first)
            }
            Misfire::Skip => leave_out_up_to(coverage, missed),
            Misfire::All(limit) if coverage.catch_ups < limit => {
                coverage.catch_ups += 1;
                coverage.is_catch_up = true;
                Some(first)
            }
            Misfire::All(_) => {
                coverage.catch_ups = 0;
                leave_out_up_to(coverage, missed)
            }
            Misfire::Grace(grace) => {
                let too_old = missed.saturating_sub(saturating_nanos(grace));
                leave_out_up_to(coverage, last.max(too_old))
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
    use std::time::Duration;

    const SECOND: i64 = 1_000_000_000;
    const POLICIES: [Misfire; 4] = [
        Misfire::Once,
        Misfire::Skip,
        Misfire::All(2),
        Misfire::Grace(Duration::ZERO),
    ];

    fn series(interval: i64, misfire: Misfire) -> Series {
        Series {
            recurrence: Recurrence::Every {
                anchor: 0,
                interval,
            },
            // The rules about a clock that is set back apply to the wall clock only.
            timeline: Timeline::Wall,
            misfire,
            jitter: 0,
        }
    }

    /// A series of one run each ten seconds.
    fn each_ten_seconds(misfire: Misfire) -> (Series, Coverage) {
        (series(10 * SECOND, misfire), Coverage::starting_at(0))
    }

    /// Nominal times, in seconds, of the runs after one that ended at `now`.
    fn runs(misfire: Misfire, now: i64, count: usize) -> Vec<i64> {
        let (series, mut coverage) = each_ten_seconds(misfire);
        let mut nominal = 0;
        let next = |_| {
            coverage.enter_run(nominal, &series.recurrence);
            let next = series.after_run(&mut coverage, nominal, now * SECOND)?;
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
    fn once_runs_one_missed_time_then_goes_on_from_now() {
        assert_eq!(runs(Misfire::Once, 35, 3), [10, 40, 50]);
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

    #[test]
    fn a_run_is_missed_if_it_is_a_second_late_or_its_next_time_has_come() {
        let fire = |nominal, now| {
            let (series, mut coverage) = each_ten_seconds(Misfire::Skip);
            let due = nominal * SECOND;
            let run = series.on_due(&mut coverage, due, due, now).unwrap();
            (run.nominal / SECOND, run.is_misfire)
        };
        assert_eq!(fire(10, 11 * SECOND), (10, false));
        assert_eq!(fire(10, 11 * SECOND + 1), (20, true));
        let fast = series(SECOND / 10, Misfire::Skip);
        let mut coverage = Coverage::starting_at(0);
        let run = fast.on_due(&mut coverage, 0, 0, SECOND / 10).unwrap();
        assert!(run.is_misfire);
    }

    #[test]
    fn a_catch_up_is_due_at_once_and_is_not_missed_again() {
        let (series, mut coverage) = each_ten_seconds(Misfire::All(1));
        let now = 35 * SECOND;
        let next = series.after_run(&mut coverage, 0, now).unwrap();
        let expected = Occurrence {
            nominal: 10 * SECOND,
            due: now,
            is_misfire: true,
        };
        assert_eq!(next, expected);
        let late = now + 30 * SECOND;
        let run = series.on_due(&mut coverage, next.nominal, next.due, late);
        let run = run.unwrap();
        assert_eq!((run.nominal, run.is_misfire), (10 * SECOND, false));
    }

    #[test]
    fn a_run_that_is_late_again_is_judged_again_unless_it_is_a_counted_catch_up() {
        let grace = Misfire::Grace(Duration::from_secs(12));
        for (misfire, first, then) in [
            (Misfire::Once, 10, 10),
            (Misfire::Skip, 20, 70),
            (Misfire::All(1), 10, 10),
            (Misfire::All(0), 20, 70),
            (grace, 10, 60),
        ] {
            let (series, mut coverage) = each_ten_seconds(misfire);
            let next = series.after_run(&mut coverage, 0, 15 * SECOND).unwrap();
            assert_eq!(next.nominal, first * SECOND, "{misfire:?}");
            // The timer comes at once, then much too late, twice.
            for (now, nominal) in [(next.due, first), (65 * SECOND, then), (65 * SECOND, then)] {
                let run = series.on_due(&mut coverage, next.nominal, next.due, now);
                let run = run.unwrap();
                assert_eq!(run.nominal, nominal * SECOND, "{misfire:?} at {now}");
            }
            // One run stands for all those times.
            if misfire == Misfire::Once {
                assert_eq!(coverage.covers_up_to, Some(65 * SECOND));
            }
        }
    }

    #[test]
    fn a_time_that_comes_at_the_nanosecond_at_which_a_run_ends_is_not_missed() {
        let (series, mut coverage) = each_ten_seconds(Misfire::Once);
        let next = series.after_run(&mut coverage, 0, 10 * SECOND).unwrap();
        assert_eq!((next.nominal, next.is_misfire), (10 * SECOND, false));
        let next = series.after_run(&mut coverage, 0, 10 * SECOND + 1).unwrap();
        assert!(next.is_misfire);
    }

    #[test]
    fn the_limit_of_all_counts_catch_ups_in_a_row() {
        let (series, mut coverage) = each_ten_seconds(Misfire::All(2));
        let mut after = |nominal: i64, now: i64| {
            coverage.enter_run(nominal * SECOND, &series.recurrence);
            let next = series.after_run(&mut coverage, nominal * SECOND, now * SECOND);
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
    fn a_clock_that_is_set_back_ends_a_catch_up() {
        let (series, mut coverage) = each_ten_seconds(Misfire::All(1));
        let next = series.after_run(&mut coverage, 0, 35 * SECOND).unwrap();
        assert!(next.is_misfire);
        assert_eq!((coverage.catch_ups, coverage.is_catch_up), (1, true));
        let next = series.after_step_back(&mut coverage, 5 * SECOND);
        assert_eq!(next, Some(10 * SECOND));
        // The next time is like any other: missed if the timer is late for it, and the
        // first catch-up.
        let (due, late) = (10 * SECOND, 15 * SECOND);
        let run = series.on_due(&mut coverage, due, due, late).unwrap();
        assert_eq!((run.nominal, run.is_misfire), (10 * SECOND, true));
    }

    #[test]
    fn the_last_time_of_the_range_is_never_overtaken() {
        let last = i64::MAX - 1;
        let series = Series {
            recurrence: Recurrence::Every {
                anchor: last,
                interval: SECOND,
            },
            ..series(SECOND, Misfire::Skip)
        };
        let mut coverage = Coverage::starting_at(0);
        let run = series.on_due(&mut coverage, last, last, last).unwrap();
        assert_eq!((run.nominal, run.is_misfire), (last, false));
    }

    #[test]
    fn times_that_the_clock_jumped_over_are_run_after_it_is_set_back_and_no_others() {
        let series = series(10, Misfire::Once);
        let mut coverage = Coverage::starting_at(10);
        for nominal in [40, 50, 60] {
            coverage.enter_run(nominal, &series.recurrence);
        }
        let skipped = coverage.history.skipped.map(|range| (range.from, range.to));
        assert_eq!((skipped, coverage.history.last), (Some((10, 40)), 60));
        let mut runs = Vec::new();
        let mut next = series.after_step_back(&mut coverage, 15);
        while let Some(nominal) = next.filter(|nominal| *nominal < 100) {
            runs.push(nominal);
            coverage.enter_run(nominal, &series.recurrence);
            let after = series.after_run(&mut coverage, nominal, nominal);
            next = after.map(|after| after.nominal);
        }
        assert_eq!(runs, [20, 30, 70, 80, 90]);
    }

    /// Regression: a daily job ran at 01:30 UTC, and the app was started again in a zone in
    /// which that was 02:30. It ran at once for 01:30 in that zone, an hour before its run.
    #[test]
    fn times_before_the_last_run_are_over_in_another_zone_too() {
        for misfire in POLICIES {
            let (series, mut coverage) = each_ten_seconds(misfire);
            // A time of the zone before.
            let nominal = 35 * SECOND;
            coverage.enter_run(nominal, &series.recurrence);
            assert_eq!(series.next_run(&mut coverage), Some(40 * SECOND));
        }
    }

    #[test]
    fn a_time_that_was_run_is_not_caught_up() {
        let series = series(10, Misfire::All(2));
        let mut coverage = Coverage::starting_at(10);
        coverage.enter_run(40, &series.recurrence);
        coverage.enter_run(50, &series.recurrence);
        assert_eq!(series.after_step_back(&mut coverage, 15), Some(20));
        // The run for 20 lasts past 30 and 40, which was run.
        for (nominal, next, catch_ups) in [(20, 30, 1), (30, 60, 1)] {
            coverage.enter_run(nominal, &series.recurrence);
            let after = series.after_run(&mut coverage, nominal, 45).unwrap();
            assert!(after.is_misfire);
            assert_eq!(after.nominal, next);
            let state = (coverage.catch_ups, coverage.is_catch_up);
            assert_eq!(state, (catch_ups, next == 30));
        }
    }

    /// What [`Coverage`] promises, after each kind of step.
    #[test]
    fn the_next_run_follows_from_what_is_covered() {
        let grace = Misfire::Grace(Duration::from_secs(25));
        let policies = [Misfire::Once, Misfire::Skip, Misfire::All(2), grace];
        for misfire in policies {
            for seed in 0..200 {
                let mut random = fastrand::Rng::with_seed(seed);
                let (series, mut coverage) = each_ten_seconds(misfire);
                let (mut now, mut nominal) = (0, 10 * SECOND);
                for _ in 0..30 {
                    let step = random.i64(0..30 * SECOND);
                    if random.u8(..5) == 0 {
                        now -= step;
                        let next = series.after_step_back(&mut coverage, now).unwrap();
                        nominal = nominal.min(next);
                    } else {
                        now = now.max(nominal) + step;
                        let due = series.on_due(&mut coverage, nominal, nominal, now);
                        nominal = due.unwrap().nominal;
                        let derived = series.next_run(&mut coverage.clone());
                        assert_eq!(derived, Some(nominal), "{misfire:?}, {seed}, due");
                        now = now.max(nominal) + random.i64(0..15 * SECOND);
                        coverage.enter_run(nominal, &series.recurrence);
                        let next = series.after_run(&mut coverage, nominal, now);
                        nominal = next.unwrap().nominal;
                    }
                    let derived = series.next_run(&mut coverage.clone());
                    assert_eq!(derived, Some(nominal), "{misfire:?}, {seed}");
                }
            }
        }
    }

    #[test]
    fn ten_years_of_missed_times_are_not_enumerated() {
        // It returns at once. To go through the times would take minutes.
        let series = series(1, Misfire::All(1));
        let mut coverage = Coverage::starting_at(0);
        let ten_years = 10 * 365 * 86_400 * SECOND;
        let mut after = |nominal| {
            coverage.enter_run(nominal, &series.recurrence);
            series.after_run(&mut coverage, nominal, ten_years)
        };
        assert_eq!(after(0).unwrap().nominal, 1);
        assert_eq!(after(1).unwrap().nominal, ten_years);
    }
}
