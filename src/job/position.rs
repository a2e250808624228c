//! [`Position`]: how far a job has come.

use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::{Coverage, Series, SetBack};
use crate::calendar::timeline::Timeline;
use crate::job::definition::{Definition, Recurring, Trigger};
use crate::job::steering::Move;
use crate::value::status::JobStatus;
use crate::value::time_units::{CLOCK_CHANGE_MAX, ClockReading, Due, MonoNanos, Now, WallNanos};

/// How far a job has come: the runs that have ended, and of the open run the attempts
/// that have ended.
///
/// It does not change while an attempt runs: an attempt enters it when it ends. So the
/// store holds during an attempt what it held before, and after a crash the next process
/// makes that attempt again. (Two things are stored during an attempt or just before it: the
/// start intent of an `at_most_once` attempt, and a replacement.) The open run has the
/// number `runs + 1`.
///
/// All its times are wall times, as the store has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Position {
    /// The time that the open run stands for.
    pub(crate) nominal: WallNanos,
    /// Wall time less monotonic time, for the times of this position. They are due by the
    /// monotonic clock, and move along when the wall clock is set. `None`: they are due by
    /// the wall clock, or the job has no definition, and its lifecycle knows when it is due.
    pub(crate) offset: Option<i64>,
    /// The times were chosen by a wall clock that was not set, and mean nothing to another
    /// process.
    pub(crate) by_unset_clock: bool,
    /// By how much the wall clock was set while the open run waited for a retry, in
    /// nanoseconds. The run keeps its nominal time. If another process ends the run, the other
    /// times move by this much then.
    pub(crate) clock_set_by: i64,
    /// The open run is due at this wall time, to which it was moved by hand, and not at its own.
    pub(crate) moved: Option<WallNanos>,
    /// `moved` is a time of the job's own clock, and not of the wall clock.
    pub(crate) is_moved_by_own_clock: bool,
    /// The attempts of the open run that have ended: they have failed, and the job waits for
    /// the next one. Boxed, because few jobs have it.
    pub(crate) retry: Option<Box<Retry>>,
    /// A recurring job always has it; a job that runs once has it if it has replaced a
    /// recurring job, and shows its last run. Boxed, because most jobs run once, and there
    /// may be a million: without the box, each of them takes 128 bytes more.
    pub(crate) series: Option<Box<SeriesPosition>>,
}

/// A run that has begun, and waits for its next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retry {
    /// How many attempts have failed. 0 if the run was only snoozed.
    pub(crate) attempts: u32,
    /// How often the run was snoozed in this process.
    pub(crate) snoozes: u32,
    /// How the last of them failed: also how the run ends if no attempt follows any more.
    pub(crate) failed_as: JobStatus,
    /// When the first of them started.
    pub(crate) started_at: WallNanos,
    /// When the next one is due.
    pub(crate) due: WallNanos,
    /// How long the job waits for it, in nanoseconds.
    pub(crate) delay: i64,
    /// The run is an extra one, for this moment.
    pub(crate) extra: Option<WallNanos>,
}

/// How far a recurring job has come in its series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesPosition {
    /// When the open run is due: its nominal time and its jitter, or at once if it is late.
    pub(crate) due: WallNanos,
    /// The random delay of the open run, in nanoseconds; 0 if it runs late for a missed time.
    pub(crate) drawn_jitter: i64,
    pub(crate) coverage: Coverage,
    /// Runs that have ended.
    pub(crate) runs: u64,
    /// Of these, the failed ones in a row.
    pub(crate) failures: u32,
    pub(crate) last_run: Option<RunSummary>,
}

/// A run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunSummary {
    pub(crate) number: u64,
    pub(crate) nominal: WallNanos,
    pub(crate) started_at: WallNanos,
    pub(crate) finished_at: WallNanos,
    pub(crate) status: JobStatus,
}

/// Why no run follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The status says it all.
    Ordinary,
    /// The job runs once, and its next attempt would start too late.
    Expired,
    /// As many runs have failed in a row as the job allows.
    FailedTooOften,
    /// All times that come next are excluded, as far as they are searched.
    AllExcluded,
}

/// What follows a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterRun {
    End(JobStatus, EndReason),
    /// The next run is due then. `misfire` is its nominal time if times were missed.
    Next {
        due: Due,
        misfire: Option<WallNanos>,
    },
}

/// A run that the timer has found due: the time that it stands for, and the times that are
/// over with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenRun {
    pub(crate) nominal: WallNanos,
    pub(crate) due: WallNanos,
    pub(crate) drawn_jitter: i64,
    pub(crate) coverage: Coverage,
}

/// What the timer finds when a run is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DueRun {
    /// The run starts. `open` is the run if it is not as the position has it, and `misfire`
    /// is its nominal time if times were missed.
    Start {
        open: Option<Box<OpenRun>>,
        misfire: Option<WallNanos>,
    },
    /// The run was missed or is excluded, and the next one, `open`, is due later. `misfire` is
    /// its nominal time if times were missed.
    Later {
        open: Box<OpenRun>,
        due: Due,
        misfire: Option<WallNanos>,
    },
    /// No run is left, and the job ends with this status: that of the last run, or `Cancelled` if
    /// it never ran or has expired.
    NoneLeft(JobStatus, EndReason),
    /// A run of a series has expired while it waited for a retry: it ends as failed.
    ExpiredBeforeRetry,
}

/// The wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClockSet {
    /// It is right now, and what has run by it has run.
    Moved,
    /// It went back by more than three hours: it had been wrong.
    Corrected,
}

impl Position {
    /// What the clock of the job shows. The times of a loaded run that waits for its retry have
    /// not moved when the wall clock was set.
    pub(crate) fn now(&self, now: Now) -> WallNanos {
        match self.offset {
            Some(offset) => now.mono.saturating_add(offset),
            None => now.wall.saturating_sub(self.clock_set_by),
        }
    }

    /// When a time of the job is due.
    pub(crate) fn due_at(&self, time: WallNanos) -> Due {
        match self.offset {
            Some(offset) => Due::Mono(time.saturating_sub(offset)),
            None => Due::Wall(time),
        }
    }

    /// `due` as a time of the job.
    fn time_of(&self, due: Due, now: Now) -> WallNanos {
        match self.offset {
            Some(offset) => due.as_mono(now).saturating_add(offset),
            None => due.as_wall(now),
        }
    }

    /// Of a job that runs once, at this wall time. `offset`: see
    /// [`offset`](Position::offset).
    pub(crate) fn once(nominal: WallNanos, offset: Option<i64>) -> Self {
        Self {
            nominal,
            offset,
            by_unset_clock: false,
            clock_set_by: 0,
            moved: None,
            is_moved_by_own_clock: false,
            retry: None,
            series: None,
        }
    }

    /// Of a series before its first run. No time up to `after` is run.
    pub(crate) fn recurring(
        recurring: &Recurring,
        (after, nominal): (WallNanos, WallNanos),
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> Self {
        let series = &recurring.series;
        let due = series.with_jitter(nominal, random);
        let own = SeriesPosition {
            due,
            drawn_jitter: due.saturating_sub(nominal),
            coverage: Coverage::starting_at(after),
            runs: 0,
            failures: 0,
            last_run: None,
        };
        let offset = match series.timeline() {
            Timeline::Mono => Some(now.offset()),
            Timeline::Wall => None,
        };
        Self {
            series: Some(Box::new(own)),
            ..Self::once(nominal, offset)
        }
    }

    /// The first run is for this moment, whatever the times of the series are.
    pub(crate) fn start_now(&mut self, now: WallNanos) {
        self.nominal = now;
        if let Some(own) = &mut self.series {
            (own.due, own.drawn_jitter) = (now, 0);
            own.coverage.is_first_now = true;
        }
    }

    /// The job was made before, and has no first run any more.
    pub(crate) fn forget_first_now(&mut self, definition: &Definition) {
        if let Some((recurring, own)) = definition.recurring().zip(self.series.as_mut())
            && std::mem::take(&mut own.coverage.is_first_now)
        {
            let after = own.coverage.handled_up_to;
            let next = recurring.series.next_after(self.nominal, after);
            self.nominal = next.unwrap_or(self.nominal);
            (own.due, own.drawn_jitter) = (self.nominal, 0);
        }
    }

    /// The nominal times of the next `count` runs, as far as they are known: from the run that
    /// the job waits for, or from the one after the run that goes on.
    pub(crate) fn upcoming(
        &self,
        definition: &Definition,
        is_running: bool,
        count: usize,
    ) -> Vec<WallNanos> {
        let Some(recurring) = definition.recurring() else {
            let times = [self.nominal];
            return times
                .into_iter()
                .filter(|_| !is_running)
                .take(count)
                .collect();
        };
        let open = u64::from(is_running);
        let left = recurring.limits.max_runs.map(|max| {
            let left = max.saturating_sub(self.runs()).saturating_sub(open);
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        // The times before a moved run are left out.
        let next = |time: &WallNanos| {
            let after = match self.moved {
                Some(moved) if *time == self.nominal => moved.max(*time),
                _ => *time,
            };
            recurring.series.next_after(self.nominal, after)
        };
        let first = match is_running {
            true => next(&self.nominal),
            false => Some(self.nominal),
        };
        // The end of a run decides when the next one is due.
        let known = match recurring.series.recurrence.is_after_each() {
            true => usize::from(!is_running),
            false => usize::MAX,
        };
        std::iter::successors(first, next)
            .take(count.min(known).min(left.unwrap_or(usize::MAX)))
            .collect()
    }

    /// Attempts of the open run that have ended, and failed.
    pub(crate) fn attempts(&self) -> u32 {
        self.retry.as_ref().map_or(0, |retry| retry.attempts)
    }

    /// Runs of the series that have ended.
    pub(crate) fn runs(&self) -> u64 {
        self.series.as_ref().map_or(0, |series| series.runs)
    }

    pub(crate) fn last_run(&self) -> Option<RunSummary> {
        self.series.as_ref()?.last_run
    }

    /// When the next attempt is due, as the store has it.
    pub(crate) fn due(&self, definition: &Definition) -> WallNanos {
        match (&self.retry, &self.series) {
            (Some(retry), _) => retry.due,
            (None, _) if let Some(moved) = self.moved => moved,
            (None, Some(own)) if definition.recurring().is_some() => own.due,
            (None, _) => self.nominal,
        }
    }

    /// When the open run is due.
    pub(crate) fn run_due(&self, definition: &Definition) -> Option<Due> {
        let (_, own) = definition.recurring().zip(self.series.as_ref())?;
        Some(match self.moved {
            Some(moved) => self.moved_due(moved),
            None => self.due_at(own.due),
        })
    }

    /// The run that the job waits for is due at another time.
    pub(crate) fn move_run(&mut self, definition: Option<&Definition>, to: Move) -> WallNanos {
        let due = definition.map_or(self.nominal, |definition| self.due(definition));
        let moved = to.from(due);
        self.moved = Some(moved);
        self.is_moved_by_own_clock = self.offset.is_some() && matches!(to, Move::By(_));
        moved
    }

    /// When a run is due that was moved to this time.
    pub(crate) fn moved_due(&self, moved: WallNanos) -> Due {
        match self.is_moved_by_own_clock {
            true => self.due_at(moved),
            false => Due::Wall(moved),
        }
    }

    /// When the open run was first due, as a time of the job. A run that is made late, for a
    /// missed time, was due at that time.
    pub(crate) fn first_due(&self, definition: &Definition) -> WallNanos {
        if let Some(moved) = self.moved {
            return moved;
        }
        let recurs = definition.recurring().is_some();
        let own = self.series.as_ref().filter(|_| recurs);
        self.nominal
            .saturating_add(own.map_or(0, |own| own.drawn_jitter))
    }

    /// Whether an attempt of the open run that starts `delay` nanoseconds from now is too late.
    pub(crate) fn is_too_late_in(
        &self,
        definition: &Definition,
        clock: ClockReading,
        delay: i64,
    ) -> bool {
        if definition.expires.is_none() {
            return false;
        }
        let first_due = self.first_due(definition);
        // A wall clock that is not set shows no time, and one that was not set has stored none.
        let is_known = self.offset.is_some() || (clock.is_set() && !self.by_unset_clock);
        let start = self.now(clock.now).saturating_add(delay);
        is_known && first_due < definition.expired_before(start)
    }

    /// An attempt of the open run has failed or is snoozed, and another follows.
    pub(crate) fn enter_attempt(&mut self, started_at: WallNanos, failed: Retry) {
        self.retry = Some(Box::new(match &self.retry {
            Some(before) => Retry {
                attempts: before.attempts.saturating_add(failed.attempts),
                snoozes: before.snoozes.saturating_add(failed.snoozes),
                failed_as: match failed.attempts {
                    0 => before.failed_as,
                    _ => failed.failed_as,
                },
                started_at: before.started_at,
                ..failed
            },
            None => Retry {
                started_at,
                ..failed
            },
        }));
    }

    /// The open run has ended. `started_at` is the start of its last attempt. `extra`: it was an
    /// extra run, for this moment.
    pub(crate) fn enter_run(
        &mut self,
        definition: &Definition,
        (started_at, extra): (WallNanos, Option<WallNanos>),
        status: JobStatus,
        now: Now,
    ) -> Option<RunSummary> {
        let nominal = extra.unwrap_or(self.nominal);
        let retry = self.retry.as_ref();
        let started_at = retry.map_or(started_at, |retry| retry.started_at);
        self.close_run(definition, extra.is_some());
        definition.recurring()?;
        let series = self.series.as_mut()?;
        let run = RunSummary {
            number: series.runs,
            nominal,
            started_at,
            finished_at: now.wall,
            status,
        };
        series.last_run = Some(run);
        series.failures = match status {
            JobStatus::Success => 0,
            // It was cut off.
            JobStatus::Cancelled => series.failures,
            _ => series.failures.saturating_add(1),
        };
        Some(run)
    }

    /// The open run counts, and its time is not run again. An extra run leaves all times as they
    /// are.
    fn close_run(&mut self, definition: &Definition, is_extra: bool) {
        if definition.recurring().is_some()
            && let Some(own) = &mut self.series
        {
            own.runs = own.runs.saturating_add(1);
        }
        if !is_extra {
            self.pass_run(definition);
        }
        self.retry = None;
    }

    /// The time of the open run is over, and is not run again.
    fn pass_run(&mut self, definition: &Definition) {
        if let Some((recurring, own)) = definition.recurring().zip(self.series.as_mut()) {
            match self.moved.take() {
                Some(moved) if moved < self.nominal => own.coverage.enter_early_run(self.nominal),
                moved => {
                    own.coverage.enter_run(self.nominal, &recurring.series);
                    // It has passed these times by.
                    let passed = moved.unwrap_or(self.nominal);
                    own.coverage.handled_up_to = own.coverage.handled_up_to.max(passed);
                }
            }
            let set_by = std::mem::take(&mut self.clock_set_by);
            if self.offset.is_none() {
                own.coverage.shift(set_by);
                self.nominal = self.nominal.saturating_add(set_by);
            }
        }
    }

    /// The open run is missed, and so are the times up to now. It does not count.
    pub(crate) fn miss_run(
        &mut self,
        definition: &Definition,
        clock: ClockReading,
        random: impl FnOnce() -> f64,
    ) -> AfterRun {
        self.pass_run(definition);
        if let Some(now) = self.known_time(clock) {
            self.leave_out_after_run(now);
        }
        let last = self.last_run().map(|run| run.status);
        let last = last.unwrap_or(JobStatus::Cancelled);
        self.next_time(definition, last, clock.now, random)
    }

    /// The position as it is if the running attempt is cut off: its run counts, and
    /// nothing is known of its end.
    pub(crate) fn interrupted(&self, definition: &Definition, is_extra: bool) -> Self {
        let mut position = self.clone();
        position.close_run(definition, is_extra);
        position
    }

    /// The end that the limits of the job set after the run that was just entered.
    fn end_by_limits(&self, definition: &Definition, status: JobStatus) -> Option<AfterRun> {
        let (recurring, own) = definition.recurring().zip(self.series.as_ref())?;
        let limits = &recurring.limits;
        if limits.max_failures.is_some_and(|max| own.failures >= max) {
            let status = JobStatus::PermanentlyFailed;
            return Some(AfterRun::End(status, EndReason::FailedTooOften));
        }
        let is_last = limits.max_runs.is_some_and(|max| own.runs >= max);
        is_last.then_some(AfterRun::End(status, EndReason::Ordinary))
    }

    /// What follows the extra run that was just entered with `status`: the run that the job had
    /// waited for.
    pub(crate) fn after_extra_run(&self, definition: &Definition, status: JobStatus) -> AfterRun {
        let end = self.end_by_limits(definition, status);
        end.unwrap_or_else(|| AfterRun::Next {
            due: self.run_due(definition).unwrap_or(Due::Wall(self.nominal)),
            misfire: None,
        })
    }

    /// When the next run of a series is due that is later than `clock`, without jitter. `None` if
    /// there is none. `is_extra`: an extra run goes on. `is_clock_set`: the wall clock was set
    /// since the run began.
    pub(crate) fn due_during_run(
        &self,
        definition: &Definition,
        clock: ClockReading,
        (is_extra, is_clock_set): (bool, bool),
    ) -> Option<Due> {
        let recurring = definition.recurring()?;
        let max_runs = recurring.limits.max_runs;
        if max_runs.is_some_and(|max| self.runs().saturating_add(1) >= max) {
            return None;
        }
        if is_extra
            && let Some(due) = self.run_due(definition)
            && !due.is_reached(clock.now)
        {
            return Some(due);
        }
        let now = self.now(clock.now);
        // If the clock was set back, a rate runs again, and after a correction everything does. If
        // not, the run is an early one.
        let is_far = self.nominal > now.saturating_add(CLOCK_CHANGE_MAX);
        let runs_again = is_clock_set && (is_far || recurring.series.recurrence.is_rate());
        let after = match runs_again {
            true => now,
            false => now.max(self.nominal),
        };
        let series = &recurring.series;
        let next = series.next_after(self.nominal, after)?;
        let next = match next == self.nominal {
            // The time of the run itself.
            true => series.next_after(self.nominal, next)?,
            false => next,
        };
        Some(match self.offset {
            Some(_) => self.due_at(next),
            None => Due::Wall(next.saturating_add(self.clock_set_by)),
        })
    }

    /// What follows the run that was just entered with `status`.
    pub(crate) fn next_run(
        &mut self,
        definition: &Definition,
        status: JobStatus,
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> AfterRun {
        match self.end_by_limits(definition, status) {
            Some(end) => end,
            None => self.next_time(definition, status, now, random),
        }
    }

    /// The next time of the series. If there is none, the job ends with `status`.
    fn next_time(
        &mut self,
        definition: &Definition,
        status: JobStatus,
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> AfterRun {
        let at = self.now(now);
        let Some((recurring, own)) = definition.recurring().zip(self.series.as_mut()) else {
            return AfterRun::End(status, EndReason::Ordinary);
        };
        let series = &recurring.series;
        let expired_before = definition.expired_before(at);
        let next = series.after_run(&mut own.coverage, self.nominal, at, expired_before);
        let Some(next) = next else {
            let why = end_reason(series, self.nominal, &own.coverage);
            return AfterRun::End(status, why);
        };
        self.nominal = next.nominal;
        own.due = if next.is_misfire && next.nominal <= at {
            // A catch-up starts at once.
            own.drawn_jitter = 0;
            next.due
        } else {
            let due = series.with_jitter(next.due, random);
            own.drawn_jitter = due.saturating_sub(next.due);
            due
        };
        let due = own.due;
        AfterRun::Next {
            due: self.due_at(due),
            misfire: next.is_misfire.then_some(next.nominal),
        }
    }

    /// The run that the timer has found is the open one.
    pub(crate) fn open(&mut self, run: OpenRun) {
        self.nominal = run.nominal;
        self.moved = None;
        if let Some(series) = &mut self.series {
            series.due = run.due;
            series.drawn_jitter = run.drawn_jitter;
            series.coverage = run.coverage;
        }
    }

    /// The run that was due at `due` has come due by `now`. A run is on time if it is late by
    /// `on_time` or less.
    ///
    /// If the run has expired, the times up to `left_out` are left out, too. `expires` is not set
    /// if a person has asked for the attempt.
    pub(crate) fn on_due(
        &self,
        definition: &Definition,
        due: Due,
        clock: ClockReading,
        (on_time, left_out, expires): (i64, Option<WallNanos>, bool),
        random: impl FnOnce() -> f64,
    ) -> DueRun {
        let start = DueRun::Start {
            open: None,
            misfire: None,
        };
        let is_expired = expires && self.is_too_late_in(definition, clock, 0);
        let Some((recurring, own)) = definition.recurring().zip(self.series.as_ref()) else {
            return match is_expired {
                true => DueRun::NoneLeft(JobStatus::Cancelled, EndReason::Expired),
                false => start,
            };
        };
        if is_expired && self.retry.is_some() {
            return DueRun::ExpiredBeforeRetry;
        }
        let series = &recurring.series;
        if self.retry.is_some() || (self.offset.is_none() && !clock.is_set()) {
            // A retry belongs to a run that has started. Without a clock, nothing shows that
            // a run is late.
            return start;
        }
        if self.moved.is_some() && !is_expired {
            // A person has chosen its time: it is made, however late.
            return start;
        }
        let at = self.now(clock.now);
        // An attempt that its executor refused is due by the monotonic clock.
        let due = self.time_of(due, clock.now);
        let mut coverage = own.coverage.clone();
        let run = match is_expired {
            true => {
                let expired_before = definition.expired_before(at);
                if let Some(left_out) = left_out {
                    coverage.handle_up_to(left_out, at);
                }
                series.after_expiry(&mut coverage, self.nominal, at, expired_before, on_time)
            }
            false => series.on_due(&mut coverage, self.nominal, due, at, on_time),
        };
        let Some(run) = run else {
            let last = own.last_run.map(|run| run.status);
            let why = end_reason(series, self.nominal, &coverage);
            return DueRun::NoneLeft(last.unwrap_or(JobStatus::Cancelled), why);
        };
        // A moved run that has expired is not moved any more.
        let is_changed =
            run.nominal != self.nominal || coverage != own.coverage || self.moved.is_some();
        let mut open = OpenRun {
            nominal: run.nominal,
            due: own.due,
            drawn_jitter: match run.nominal == self.nominal {
                true => own.drawn_jitter,
                false => 0,
            },
            coverage,
        };
        if run.due > at {
            open.due = series.with_jitter(run.due, random);
            open.drawn_jitter = open.due.saturating_sub(run.due);
            return DueRun::Later {
                due: self.due_at(open.due),
                open: Box::new(open),
                misfire: run.is_misfire.then_some(run.nominal),
            };
        }
        DueRun::Start {
            open: is_changed.then(|| Box::new(open)),
            misfire: run.is_misfire.then_some(run.nominal),
        }
    }

    /// The wall clock was set, or a process has loaded the job, while no attempt runs. What is
    /// due by the monotonic clock takes its times along. What is due by the wall clock is
    /// derived anew from its times, from those that are over, and from the clock, and nothing
    /// else.
    pub(crate) fn follow_clock(
        &mut self,
        definition: &Definition,
        clock: ClockReading,
        set: ClockSet,
        random: impl FnOnce() -> f64,
    ) {
        if !clock.is_set() {
            return;
        }
        let offset = clock.now.offset();
        if let Some(before) = self.offset {
            self.by_unset_clock = false;
            if self.waits_for_retry_of_own() {
                self.clock_set_by = offset.saturating_sub(before);
                return;
            }
            self.move_with_clock(offset);
            if offset != before && definition.except().is_some() {
                self.keep_to_exclusions(definition, clock.now.wall);
            }
            return;
        }
        let Some((recurring, own)) = definition.recurring().zip(self.series.as_mut()) else {
            return;
        };
        let series = &recurring.series;
        let at = clock.now.wall;
        let is_correction = set == ClockSet::Corrected;
        if self
            .retry
            .as_ref()
            .is_some_and(|retry| retry.extra.is_none())
        {
            // A rate needs no correction: its next run counts from its last one.
            if !series.recurrence.is_rate() {
                let coverage = &mut own.coverage;
                coverage.follow_clock_during_run(self.nominal, at, is_correction);
            }
            return;
        }
        if own.coverage.is_first_now {
            // It starts now, by whatever clock. A clock that was not set showed no moment.
            let by_unset_clock = std::mem::take(&mut self.by_unset_clock);
            let start = match by_unset_clock {
                true => at,
                false => self.nominal.min(at),
            };
            (self.nominal, own.due) = (start, start);
            if by_unset_clock {
                own.coverage = Coverage::starting_at(at);
                own.coverage.is_first_now = true;
            }
            return;
        }
        if series.recurrence.is_after_each() || self.moved.is_some() {
            // It waits for one moment, which no other can take the place of.
            return;
        }
        if std::mem::take(&mut self.by_unset_clock) {
            // Nothing was missed while the clock was not set.
            own.coverage = Coverage::starting_at(at);
        }
        own.coverage.follow_clock(at, is_correction);
        self.set_next_run(series, at, |series, next| series.with_jitter(next, random));
    }

    /// Sets the next run to the first time that is neither over nor excluded, because other times
    /// are excluded than before, or the clock was set. `at` is what the clock of the job shows.
    pub(crate) fn keep_to_exclusions(&mut self, definition: &Definition, at: WallNanos) {
        if self.waits_for_retry_of_own() || self.moved.is_some() {
            return;
        }
        let Some((recurring, own)) = definition.recurring().zip(self.series.as_mut()) else {
            return;
        };
        if own.coverage.is_first_now {
            return;
        }
        // The times before this one were excluded, or are over.
        let before = self.nominal.saturating_sub(1);
        own.coverage.handle_up_to(before.min(at), at);
        // The random delay stays.
        let jitter = own.drawn_jitter;
        self.set_next_run(&recurring.series, at, |series, next| {
            series.delayed(next, jitter.min(series.jitter))
        });
    }

    /// Sets the next run to the first time that is not over, by a clock that shows `at`.
    fn set_next_run(
        &mut self,
        series: &Series,
        at: WallNanos,
        delayed: impl FnOnce(&Series, WallNanos) -> WallNanos,
    ) {
        let Some(own) = &mut self.series else { return };
        let next = series.next_run(&own.coverage, self.nominal, at);
        if next.is_some_and(|next| next > at) {
            own.coverage.catch_ups = 0;
            own.coverage.is_catch_up = false;
        }
        match next {
            Some(next) if next != self.nominal => {
                self.nominal = next;
                own.due = match next <= at {
                    true => next,
                    false => delayed(series, next),
                };
                own.drawn_jitter = own.due.saturating_sub(next);
            }
            // A catch-up was due when its time was found to be missed. If the clock was ahead
            // at that time, this moment is in the future now.
            Some(next) => {
                let due = next.saturating_add(own.drawn_jitter).max(at);
                own.due = own.due.min(due);
            }
            // The time that is left is judged when it is due.
            None => {}
        }
    }

    /// A run has ended, or was scheduled, in this process: from now on the times are due by the
    /// clock that the definition asks for, and follow the wall clock as it is.
    pub(crate) fn count_from_own_clock(&mut self, definition: &Definition, clock: ClockReading) {
        let now = clock.now;
        if let Some(recurring) = definition.recurring()
            && recurring.series.timeline() == Timeline::Mono
            && self.offset.is_none()
        {
            // If the wall clock shows less than the time of the run, it is wrong: the next run
            // is one interval after this one all the same.
            let is_early = was_run_early(self.series.as_deref(), self.nominal);
            let offset = self.nominal.saturating_sub(now.mono);
            self.offset = Some(match is_early {
                true => now.offset(),
                false => offset.max(now.offset()),
            });
        }
        if clock.is_set() {
            self.move_with_clock(now.offset());
            self.by_unset_clock = false;
        }
    }

    /// Takes the times along with the wall clock, if they are due by the monotonic clock.
    fn move_with_clock(&mut self, offset: i64) {
        let Some(before) = self.offset else { return };
        self.offset = Some(offset);
        let by = offset.saturating_sub(before);
        self.nominal = self.nominal.saturating_add(by);
        if self.is_moved_by_own_clock
            && let Some(moved) = &mut self.moved
        {
            *moved = moved.saturating_add(by);
        }
        if let Some(own) = &mut self.series {
            own.coverage.shift(by);
            own.due = own.due.saturating_add(by);
        }
    }

    /// Whether a run of the series waits for a retry. That of an extra run is not one.
    fn waits_for_retry_of_own(&self) -> bool {
        self.retry
            .as_ref()
            .is_some_and(|retry| retry.extra.is_none())
    }

    /// Whether the wall clock was corrected while the open run waits for its retry.
    pub(crate) fn is_corrected_during_retry(&self) -> bool {
        let own = self
            .series
            .as_ref()
            .filter(|_| self.waits_for_retry_of_own());
        own.is_some_and(|own| own.coverage.is_corrected_during_run(self.nominal))
    }

    pub(crate) fn set_back(&self) -> Option<SetBack> {
        self.series.as_ref()?.coverage.set_back
    }

    /// How long the job waits at most for what it waits for, in nanoseconds, whatever the wall
    /// clock shows. `None` if it is due by the wall clock.
    pub(crate) fn longest_wait(&self, definition: &Definition) -> Option<i64> {
        match &self.retry {
            Some(retry) => Some(retry.delay),
            None => self.longest_wait_for_run(definition),
        }
    }

    /// [`longest_wait`](Position::longest_wait) for the next run of the series.
    pub(crate) fn longest_wait_for_run(&self, definition: &Definition) -> Option<i64> {
        if self.moved.is_some() {
            return None;
        }
        match &definition.trigger {
            Trigger::Delay { length } => Some(*length),
            Trigger::At { .. } => None,
            Trigger::Recurring(recurring) => {
                let series = &recurring.series;
                match (series.timeline(), &series.recurrence) {
                    (
                        Timeline::Mono,
                        Recurrence::Every { interval } | Recurrence::AfterEach { interval },
                    ) => Some(interval.saturating_add(series.jitter)),
                    _ => None,
                }
            }
        }
    }

    /// When the job is due that was loaded, and has not run since then: by the wall clock, and
    /// at the latest at `limit`.
    pub(crate) fn loaded_due(
        &self,
        definition: &Definition,
        clock: ClockReading,
        limit: Option<MonoNanos>,
    ) -> Due {
        let due = Due::Wall(self.due(definition));
        let Some(limit) = limit else { return due };
        // A time that was stored by a clock that was not set means nothing.
        let is_known = clock.is_set() && !self.by_unset_clock;
        // Without exclusions, the next time of an interval is never further away than that.
        let is_interval = self.retry.is_none()
            && definition.recurring().is_some_and(|recurring| {
                matches!(recurring.series.recurrence, Recurrence::Every { .. })
            });
        match is_known && (is_interval || due.as_mono(clock.now) <= limit) {
            true => due,
            false => Due::Mono(limit),
        }
    }
}

impl Position {
    /// What the clock of the job shows. `None` if it is a wall clock that was not set.
    pub(crate) fn known_time(&self, clock: ClockReading) -> Option<WallNanos> {
        let is_known = self.offset.is_some() || clock.is_set();
        is_known.then(|| self.now(clock.now))
    }

    /// The times up to `up_to` that come after the run that was just entered are left out.
    pub(crate) fn leave_out_after_run(&mut self, up_to: WallNanos) {
        if let Some(own) = &mut self.series {
            own.coverage.handled_up_to = own.coverage.handled_up_to.max(up_to);
        }
    }

    /// A pause has ended: the times up to `up_to` that were not run are left out. `None` if no
    /// time is left; otherwise, whether anything changed.
    pub(crate) fn leave_out_up_to(
        &mut self,
        definition: &Definition,
        up_to: WallNanos,
        clock: ClockReading,
        random: impl FnOnce() -> f64,
    ) -> Option<bool> {
        let at = self.now(clock.now);
        let is_open = self.moved.is_some() || self.waits_for_retry_of_own();
        let Some((recurring, own)) = definition.recurring().zip(self.series.as_mut()) else {
            return Some(false);
        };
        let series = &recurring.series;
        if is_open || own.due > up_to {
            return Some(false);
        }
        own.coverage.is_first_now = false;
        own.coverage.catch_ups = 0;
        own.coverage.is_catch_up = false;
        let next = match series.recurrence {
            // From the end of the pause on.
            Recurrence::AfterEach { interval } => {
                let next = up_to.saturating_add(interval);
                series
                    .until
                    .is_none_or(|until| next <= until)
                    .then_some(next)
            }
            _ => {
                own.coverage.handle_up_to(up_to, at);
                series.next_run(&own.coverage, self.nominal, at)
            }
        };
        self.nominal = next?;
        own.due = match series.recurrence.is_after_each() {
            true => self.nominal,
            false => series.with_jitter(self.nominal, random),
        };
        own.drawn_jitter = own.due.saturating_sub(self.nominal);
        Some(true)
    }

    /// Why the job ends that has no time left, and with which status: that of its last run.
    pub(crate) fn end_without_time(&self, definition: &Definition) -> (JobStatus, EndReason) {
        let last = self.last_run().map(|run| run.status);
        let why = definition.recurring().zip(self.series.as_ref());
        let why = why.map(|(it, own)| end_reason(&it.series, self.nominal, &own.coverage));
        (
            last.unwrap_or(JobStatus::Cancelled),
            why.unwrap_or(EndReason::Ordinary),
        )
    }
}

/// Whether the run for `nominal` was made before that time, because it was moved.
fn was_run_early(series: Option<&SeriesPosition>, nominal: WallNanos) -> bool {
    series.is_some_and(|own| own.coverage.run_early == Some(nominal))
}

/// Why no time of a series is left.
fn end_reason(series: &Series, anchor: WallNanos, coverage: &Coverage) -> EndReason {
    match series.has_only_excluded_after(anchor, coverage.handled_up_to) {
        true => EndReason::AllExcluded,
        false => EndReason::Ordinary,
    }
}
