//! When a job runs: [`Misfire`], and the arithmetic of recurring jobs.
//!
//! Nothing here reads a clock or knows a thread: times come in, times go out.

use std::time::Duration;

use time::UtcOffset;

use crate::calendar::cron::expression::Cron;
use crate::calendar::zone::time_zone::Zone;
use crate::sync::primitives::Arc;
use crate::value::clock::{from_wall, to_nanos, to_wall};

/// What a recurring job does with missed runs.
///
/// A run is missed if its time passes while the job's last run goes on, if the clock
/// jumps over its time, or if no process runs at its time. A run that starts late is not
/// missed if it is at most one second late and its next time has not come.
///
/// Example: a job is due every 10 seconds. The numbers are seconds.
///
/// | policy | the run at 10 takes until 45: 20, 30 and 40 are missed | nothing runs until 35: 10, 20 and 30 are missed |
/// |---|---|---|
/// | `Once` (default) | one run at 45, for 20; then 50 | one run at 35, for 10; then 40 |
/// | `Skip` | no run at 45; then 50 | no run at 35; then 40 |
/// | `All(9)` | three runs from 45, for 20, 30 and 40; then 50 | three runs from 35, for 10, 20 and 30; then 40 |
/// | `All(2)` | two runs from 45, for 20 and 30; then 50 | two runs from 35, for 10 and 20; then 40 |
/// | `Grace(15 s)` | two runs from 45, for 30 and 40; then 50 | two runs from 35, for 20 and 30; then 40 |
///
/// "For 20" is the run's [nominal time](crate::JobContext::nominal_time). Runs follow one
/// another: a job has one attempt at a time.
///
/// The policy is applied when a run ends, and again when the next run starts. If a process
/// ends in between, or during a run, the next process applies it with the time at which it
/// starts: for example, with `Skip` it does not repeat a run that a crash interrupted, if
/// that run is too late by then.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Misfire, testing::Simulation};
///
/// let mut sim = Simulation::new();
/// let (clock, second) = (sim.clock(), Duration::from_secs(1));
/// // Each run takes 2.5 seconds, on an interval of one.
/// let slow = sim.app().task("slow", move || clock.sleep(second * 5 / 2)).register()?;
/// let job = slow.schedule(()).misfire(Misfire::Skip).every(second).block_on()?;
/// sim.advance(second * 7);
/// // Runs start at 1 s and at 4 s. The runs at 2, 3, 5 and 6 s are skipped.
/// assert_eq!(job.last_run().unwrap().number, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Misfire {
    /// Run once, now, for the first missed time. Skip the other missed times.
    #[default]
    Once,
    /// Skip all missed times. The next run is at the next time in the future.
    Skip,
    /// Run for each missed time, in order, one run after the other, but at most this
    /// number of runs in a row. Skip the rest. `All(0)` is like `Skip`.
    All(u32),
    /// Run for each missed time that is not older than this when its run starts, in
    /// order, one run after the other. Skip older times.
    Grace(Duration),
}

/// What a recurring job takes for the next times. Times are nanoseconds on the
/// job's own time line.
#[derive(Clone, Debug)]
pub(crate) enum Recurrence {
    /// `anchor + k * interval` for `k` from 0.
    Every { anchor: i64, interval: i64 },
    /// Whenever the expression is due in the zone; wall time.
    Cron { cron: Arc<Cron>, zone: Zone },
}

impl Recurrence {
    /// Whether this is one of its times.
    pub(crate) fn has(&self, at: i64) -> bool {
        self.next_after(at.saturating_sub(1)) == Some(at)
    }

    /// The first time that is strictly after `after`; `None` when there is none
    /// that can be counted. Never goes through the times between.
    pub(crate) fn next_after(&self, after: i64) -> Option<i64> {
        match *self {
            Recurrence::Cron { ref cron, ref zone } => {
                let next = cron.next_after(from_wall(after, UtcOffset::UTC), zone)?;
                to_wall(next)
            }
            Recurrence::Every { anchor, .. } if after < anchor => Some(anchor),
            Recurrence::Every { anchor, interval } => {
                // i128: the distance of two i64 needs 65 bits.
                let distance = i128::from(after) - i128::from(anchor);
                let steps = distance / i128::from(interval) + 1;
                i64::try_from(i128::from(anchor) + steps * i128::from(interval)).ok()
            }
        }
    }
}

/// How late a run may start and still be on time. A timer that is late by less
/// than this is a busy machine, not a missed run.
const ON_TIME: i64 = 1_000_000_000;

/// A recurring job's next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// The time it stands for.
    pub(crate) nominal: i64,
    /// When it is to start: then, or at once if that has passed.
    pub(crate) due: i64,
    /// Whether times were missed on the way here.
    pub(crate) misfired: bool,
}

/// Which times have been run, so far as a wall clock that goes back needs it:
/// all up to the last one, but for those that it last jumped over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) last: i64,
    /// If not, `last` is when it was scheduled.
    pub(crate) has_run: bool,
    pub(crate) jumped: Option<Jump>,
}

/// Times after `from` and before `to` were not run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jump {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Done {
    /// None are left to run up to here.
    pub(crate) fn up_to(last: i64) -> Self {
        Self {
            last,
            has_run: false,
            jumped: None,
        }
    }

    fn unrun_from(&self) -> i64 {
        if !self.has_run {
            // The clock that it was scheduled by may have been wrong.
            return i64::MIN;
        }
        self.jumped.map_or(self.last, |jump| jump.from)
    }

    /// The run for this time starts.
    pub(crate) fn enter(&mut self, nominal: i64, recurrence: &Recurrence) {
        let is_first = !std::mem::replace(&mut self.has_run, true);
        if nominal > self.last || is_first {
            if recurrence
                .next_after(self.last)
                .is_some_and(|next| next < nominal)
            {
                self.jumped = Some(Jump {
                    from: self.last,
                    to: nominal,
                });
            }
            self.last = nominal;
        } else if let Some(jump) = &mut self.jumped {
            jump.from = jump.from.max(nominal);
        }
    }
}

/// Picks a recurring job's runs.
#[derive(Clone, Debug)]
pub(crate) struct Ticks {
    pub(crate) recurrence: Recurrence,
    pub(crate) misfire: Misfire,
    /// How much later than its time a run may be put, at random.
    pub(crate) jitter: i64,
    /// Missed runs made up for in a row, for [`Misfire::All`].
    pub(crate) made_up: u32,
    /// Times up to here are dealt with, whether or not they were run.
    pub(crate) settled: i64,
    /// The next run makes up for a missed time and is counted among those: it is
    /// not judged, and counted, once more. The other policies count nothing, and a
    /// run of theirs that is late again is judged by how late it is then.
    pub(crate) makes_up: bool,
}

impl Ticks {
    pub(crate) fn new(recurrence: Recurrence, misfire: Misfire) -> Self {
        Self {
            recurrence,
            misfire,
            jitter: 0,
            made_up: 0,
            settled: i64::MIN,
            makes_up: false,
        }
    }

    /// The run after the one for `nominal`, which ended at `now`.
    pub(crate) fn after_run(&mut self, nominal: i64, now: i64) -> Option<Next> {
        // If it was for a run, for the one that has ended.
        self.makes_up = false;
        let last = nominal.max(self.settled);
        let next = self.recurrence.next_after(last)?;
        // One that falls due at this very nanosecond is on time.
        if next >= now {
            self.made_up = 0;
            return Some(Next {
                nominal: next,
                due: next,
                misfired: false,
            });
        }
        self.missed(last, next, now)
    }

    /// The timer came at `now` to the run for `nominal`, which was due at
    /// `due`: that run, or another in its place if it was missed. It may come to
    /// the same run once more, if that could not begin.
    pub(crate) fn at_fire(&mut self, nominal: i64, due: i64, now: i64) -> Option<Next> {
        let late = now.saturating_sub(due) > ON_TIME;
        let overtaken = || {
            self.recurrence
                .next_after(due)
                .is_some_and(|next| next <= now)
        };
        if self.makes_up || (!late && !overtaken()) {
            return Some(Next {
                nominal,
                due,
                misfired: false,
            });
        }
        self.missed(nominal.saturating_sub(1), nominal, now)
    }

    /// The wall clock went back to `now`: times that it had jumped over are to
    /// come again. Gives the first.
    pub(crate) fn after_step_back(&mut self, done: &Done, now: i64) -> Option<i64> {
        self.settled = self.settled.min(now);
        self.made_up = 0;
        self.makes_up = false;
        self.first_unrun(done, now)
    }

    /// The first time after `now` that is not done.
    pub(crate) fn first_unrun(&mut self, done: &Done, now: i64) -> Option<i64> {
        let next = self.recurrence.next_after(now.max(done.unrun_from()))?;
        self.not_again(done, next, now)
    }

    /// This time, unless it has been run: then the next one that has not.
    pub(crate) fn not_again(&mut self, done: &Done, nominal: i64, now: i64) -> Option<i64> {
        match done.jumped {
            Some(jump) if jump.to <= nominal && nominal <= done.last => {
                let after = done.last.max(now.saturating_sub(1));
                let next = self.recurrence.next_after(after)?;
                if next > now && std::mem::take(&mut self.makes_up) {
                    // One that is still to come makes up for nothing.
                    self.made_up = self.made_up.saturating_sub(1);
                }
                Some(next)
            }
            _ => Some(nominal),
        }
    }

    /// Whether these are the same wall times as those, jitter and all.
    pub(crate) fn same_wall_times(&self, other: &Ticks) -> bool {
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

    /// A time with its jitter: `random`, from 0 to 1, of it, but before the next
    /// time. Never before the time itself.
    pub(crate) fn jittered(&self, nominal: i64, random: impl FnOnce() -> f64) -> i64 {
        if self.jitter == 0 {
            return nominal;
        }
        let next = self.recurrence.next_after(nominal).unwrap_or(i64::MAX);
        let room = next.saturating_sub(nominal).saturating_sub(1);
        // The product of two that are at most their maxima is no larger.
        let jitter = (self.jitter.min(room) as f64 * random()) as i64;
        nominal.saturating_add(jitter.min(room))
    }

    /// `first` is the earliest missed time, the first one after `last`.
    fn missed(&mut self, last: i64, first: i64, now: i64) -> Option<Next> {
        let nominal = match self.misfire {
            Misfire::Once => {
                self.settled = now;
                Some(first)
            }
            // One that is due at this very nanosecond is not missed.
            Misfire::Skip => self.recurrence.next_after(now.saturating_sub(1)),
            Misfire::All(limit) if self.made_up < limit => {
                self.made_up += 1;
                self.makes_up = true;
                Some(first)
            }
            Misfire::All(_) => {
                self.made_up = 0;
                self.recurrence.next_after(now.saturating_sub(1))
            }
            Misfire::Grace(grace) => {
                // Not after this, it is too old.
                let bound = now.saturating_sub(to_nanos(grace).unwrap_or(i64::MAX));
                self.recurrence
                    .next_after(last.max(bound.saturating_sub(1)))
            }
        }?;
        Some(Next {
            nominal,
            due: nominal.max(now),
            misfired: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn every(seconds: i64) -> Recurrence {
        Recurrence::Every {
            anchor: 0,
            interval: seconds * SECOND,
        }
    }

    /// Nominal times, in seconds, of the runs after one that ended at `now`.
    fn runs(misfire: Misfire, now: i64, count: usize) -> Vec<i64> {
        let mut ticks = Ticks::new(every(10), misfire);
        let mut nominal = 0;
        (0..count)
            .map_while(|_| {
                nominal = ticks.after_run(nominal, now * SECOND)?.nominal;
                Some(nominal / SECOND)
            })
            .collect()
    }

    #[test]
    fn next_is_the_first_grid_point_strictly_after() {
        let every = every(10);
        for (after, next) in [
            (-99, 0),
            (-1, 0),
            (0, 10),
            (9, 10),
            (10, 20),
            (1_000_003, 1_000_010),
        ] {
            assert_eq!(every.next_after(after * SECOND), Some(next * SECOND));
        }
    }

    #[test]
    fn the_ends_of_time_neither_wrap_nor_panic() {
        let every = Recurrence::Every {
            anchor: i64::MIN,
            interval: i64::MAX,
        };
        assert_eq!(every.next_after(i64::MIN), Some(-1));
        assert_eq!(every.next_after(-1), Some(i64::MAX - 1));
        assert_eq!(every.next_after(i64::MAX - 1), None);
    }

    #[test]
    fn a_run_that_ends_in_time_is_followed_by_the_next_whatever_the_policy() {
        for misfire in [
            Misfire::Once,
            Misfire::Skip,
            Misfire::All(2),
            Misfire::Grace(Duration::ZERO),
        ] {
            assert_eq!(runs(misfire, 3, 1), [10]);
            // Due at the very nanosecond at which the last one ended: on time.
            assert_eq!(runs(misfire, 10, 1), [10]);
        }
    }

    #[test]
    fn once_runs_one_missed_time_and_goes_on_from_now() {
        assert_eq!(runs(Misfire::Once, 35, 3), [10, 40, 50]);
    }

    #[test]
    fn skip_goes_on_with_the_next_to_come() {
        assert_eq!(runs(Misfire::Skip, 35, 1), [40]);
    }

    #[test]
    fn all_runs_each_up_to_its_limit_and_leaves_out_the_rest() {
        assert_eq!(runs(Misfire::All(9), 35, 5), [10, 20, 30, 40, 50]);
        assert_eq!(runs(Misfire::All(2), 65, 4), [10, 20, 70, 80]);
    }

    #[test]
    fn grace_runs_those_no_older_than_it() {
        let grace = |seconds| Misfire::Grace(Duration::from_secs(seconds));
        assert_eq!(runs(grace(15), 35, 3), [20, 30, 40]);
        assert_eq!(runs(grace(4), 35, 1), [40]);
        assert_eq!(runs(Misfire::Grace(Duration::MAX), 35, 4), [10, 20, 30, 40]);
    }

    #[test]
    fn a_late_timer_is_a_misfire_after_a_second_or_when_overtaken() {
        let fire = |nominal, now| {
            let mut ticks = Ticks::new(every(10), Misfire::Skip);
            let next = ticks.at_fire(nominal * SECOND, nominal * SECOND, now);
            next.map(|next| (next.nominal / SECOND, next.misfired))
        };
        assert_eq!(fire(10, 11 * SECOND), Some((10, false)));
        assert_eq!(fire(10, 11 * SECOND + 1), Some((20, true)));
        let mut fast = Ticks::new(
            Recurrence::Every {
                anchor: 0,
                interval: SECOND / 10,
            },
            Misfire::Skip,
        );
        assert!(fast.at_fire(0, 0, SECOND / 10).unwrap().misfired);
    }

    #[test]
    fn a_run_that_makes_up_for_a_missed_time_is_due_now_and_not_missed_again() {
        let mut ticks = Ticks::new(every(10), Misfire::All(1));
        let now = 35 * SECOND;
        let next = ticks.after_run(0, now).unwrap();
        assert_eq!(
            (next.nominal, next.due, next.misfired),
            (10 * SECOND, now, true)
        );
        // However late the timer is, it is that one.
        let fired = ticks
            .at_fire(next.nominal, next.due, now + 30 * SECOND)
            .unwrap();
        assert_eq!((fired.nominal, fired.misfired), (10 * SECOND, false));
    }

    #[test]
    fn a_run_that_is_late_once_more_is_judged_anew_unless_it_is_counted() {
        let grace = Misfire::Grace(Duration::from_secs(12));
        for (misfire, first, then) in [
            (Misfire::Once, 10, 10),
            (Misfire::Skip, 20, 70),
            (Misfire::All(1), 10, 10),
            (Misfire::All(0), 20, 70),
            (grace, 10, 60),
        ] {
            let mut ticks = Ticks::new(every(10), misfire);
            let next = ticks.after_run(0, 15 * SECOND).unwrap();
            assert_eq!(next.nominal, first * SECOND, "{misfire:?}");
            // The timer comes at once, and then it comes much too late, twice.
            for (now, nominal) in [(next.due, first), (65 * SECOND, then), (65 * SECOND, then)] {
                let fired = ticks.at_fire(next.nominal, next.due, now).unwrap();
                assert_eq!(fired.nominal, nominal * SECOND, "{misfire:?} at {now}");
            }
            // For all those times, it is one.
            if misfire == Misfire::Once {
                assert_eq!(ticks.settled, 65 * SECOND);
            }
        }
    }

    #[test]
    fn due_at_the_nanosecond_at_which_the_last_run_ended_is_no_misfire() {
        let mut ticks = Ticks::new(every(10), Misfire::Once);
        let next = ticks.after_run(0, 10 * SECOND).unwrap();
        assert_eq!((next.nominal, next.misfired), (10 * SECOND, false));
        assert!(ticks.after_run(0, 10 * SECOND + 1).unwrap().misfired);
    }

    #[test]
    fn the_limit_of_runs_made_up_for_counts_those_in_a_row() {
        let mut ticks = Ticks::new(every(10), Misfire::All(2));
        let mut after = |nominal: i64, now: i64| {
            let next = ticks.after_run(nominal * SECOND, now * SECOND).unwrap();
            next.nominal / SECOND
        };
        assert_eq!((after(0, 25), after(10, 25)), (10, 20));
        // One that is on time comes between: there are two again.
        assert_eq!(after(20, 25), 30);
        assert_eq!((after(30, 55), after(40, 55)), (40, 50));
        // The rest of these is left out, and then there are two again.
        assert_eq!(after(50, 85), 90);
        assert_eq!((after(90, 125), after(100, 125)), (100, 110));
        // Left out again: 130 is late by the time that its turn comes, and made up for.
        assert_eq!((after(110, 155), after(160, 185)), (160, 170));
    }

    #[test]
    fn a_clock_that_goes_back_ends_what_was_being_made_up_for() {
        let mut ticks = Ticks::new(every(10), Misfire::All(1));
        assert!(ticks.after_run(0, 35 * SECOND).unwrap().misfired);
        assert_eq!((ticks.made_up, ticks.makes_up), (1, true));
        let done = Done::up_to(0);
        assert_eq!(ticks.after_step_back(&done, 5 * SECOND), Some(10 * SECOND));
        // The next time is one like any other: missed, if the timer is late for it,
        // and the first that is made up for.
        let (due, late) = (10 * SECOND, 15 * SECOND);
        let next = ticks.at_fire(due, due, late).unwrap();
        assert_eq!((next.nominal, next.misfired), (10 * SECOND, true));
    }

    #[test]
    fn the_last_time_of_all_is_overtaken_by_none() {
        let last = i64::MAX - 1;
        let mut ticks = Ticks::new(
            Recurrence::Every {
                anchor: last,
                interval: SECOND,
            },
            Misfire::Skip,
        );
        let next = ticks.at_fire(last, last, last).unwrap();
        assert_eq!((next.nominal, next.misfired), (last, false));
    }

    #[test]
    fn times_that_were_jumped_over_are_remembered_when_the_next_ones_are_run() {
        let mut done = Done::up_to(10);
        let recurrence = Recurrence::Every {
            anchor: 0,
            interval: 10,
        };
        for nominal in [40, 50, 60] {
            done.enter(nominal, &recurrence);
        }
        let jump = done.jumped.map(|jump| (jump.from, jump.to));
        assert_eq!((jump, done.last), (Some((10, 40)), 60));
        // The clock goes back to 15: 20 and 30 are still to be run, and no other is.
        let mut ticks = Ticks::new(recurrence, Misfire::Once);
        let mut runs = Vec::new();
        let mut next = ticks.after_step_back(&done, 15);
        while let Some(nominal) = next.filter(|nominal| *nominal < 100) {
            runs.push(nominal);
            done.enter(nominal, &ticks.recurrence);
            let after = ticks.after_run(nominal, nominal).unwrap();
            next = ticks.not_again(&done, after.nominal, nominal);
        }
        assert_eq!(runs, [20, 30, 70, 80, 90]);
    }

    #[test]
    fn a_time_that_was_run_is_none_that_is_made_up_for() {
        let recurrence = Recurrence::Every {
            anchor: 0,
            interval: 10,
        };
        let mut done = Done::up_to(10);
        done.enter(40, &recurrence);
        done.enter(50, &recurrence);
        // The clock went back, and the run for 20 lasts past 30 and 40, which was run.
        let mut ticks = Ticks::new(recurrence, Misfire::All(2));
        for (nominal, next, made_up) in [(20, Some(30), 1), (30, Some(60), 1)] {
            let after = ticks.after_run(nominal, 45).unwrap();
            assert!(after.misfired);
            assert_eq!(ticks.not_again(&done, after.nominal, 45), next);
            assert_eq!((ticks.made_up, ticks.makes_up), (made_up, next == Some(30)));
        }
    }

    #[test]
    fn ten_years_missed_cost_no_more_than_one_second() {
        // It returns at once; going through the times would take minutes.
        let mut ticks = Ticks::new(
            Recurrence::Every {
                anchor: 0,
                interval: 1,
            },
            Misfire::All(1),
        );
        let ten_years = 10 * 365 * 86_400 * SECOND;
        assert_eq!(ticks.after_run(0, ten_years).unwrap().nominal, 1);
        assert_eq!(ticks.after_run(1, ten_years).unwrap().nominal, ten_years);
    }
}
