//! [`Position`]: how far a job has come.

use crate::calendar::series::Coverage;
use crate::calendar::timeline::Timeline;
use crate::job::definition::{Definition, Recurring};
use crate::value::status::JobStatus;
use crate::value::time_units::{Due, Now, WallNanos};

/// How far a job has come: the runs that have ended, and of the open run the attempts
/// that have ended.
///
/// It does not change while an attempt runs: an attempt enters it when it ends. So the
/// store holds during an attempt what it held before, and after a crash the next process
/// makes that attempt again. (Two things are stored during an attempt or just before it: the
/// start intent of an `at_most_once` attempt, and a replacement.) The open run has the
/// number `runs + 1`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Position {
    /// The time that the open run stands for, on the timeline of the definition. Of a
    /// job that runs once: on the wall clock.
    pub(crate) nominal: i64,
    /// Attempts of the open run that have ended, and failed.
    pub(crate) attempts: u32,
    /// How the last of these failed.
    pub(crate) failed_as: Option<JobStatus>,
    /// When the first of these started.
    pub(crate) started_at: Option<WallNanos>,
    /// A recurring job always has it; a job that runs once has it if it has replaced a
    /// recurring job, and shows its last run. Boxed, because most jobs run once, and there
    /// may be a million: without the box, each of them takes 128 bytes more.
    pub(crate) series: Option<Box<SeriesPosition>>,
}

/// How far a recurring job has come in its series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesPosition {
    /// Wall time less monotonic time when the nominal time was chosen. A time of the series
    /// is stored as a wall time by this offset, so that no clock is read to store it.
    pub(crate) offset: i64,
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

/// What follows a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterRun {
    End(JobStatus),
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
    pub(crate) nominal: i64,
    /// See [`SeriesPosition::offset`].
    pub(crate) offset: i64,
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
    /// The run was missed, and the next one, `open`, is due later.
    Later {
        open: Box<OpenRun>,
        due: Due,
        misfire: WallNanos,
    },
    /// The run was missed and was the last. The status is that of the last run.
    NoneLeft(JobStatus),
}

impl Position {
    /// Of a job that runs once, at this wall time.
    pub(crate) fn once(nominal: WallNanos) -> Self {
        Self {
            nominal,
            attempts: 0,
            failed_as: None,
            started_at: None,
            series: None,
        }
    }

    /// Of a series before its first run, which is for `nominal`. No time up to `after` is
    /// run.
    pub(crate) fn recurring(nominal: i64, after: i64, now: Now) -> Self {
        let series = SeriesPosition {
            offset: now.offset(),
            coverage: Coverage::starting_at(after),
            runs: 0,
            failures: 0,
            last_run: None,
        };
        Self {
            series: Some(Box::new(series)),
            ..Self::once(nominal)
        }
    }

    /// Runs of the series that have ended.
    pub(crate) fn runs(&self) -> u64 {
        self.series.as_ref().map_or(0, |series| series.runs)
    }

    pub(crate) fn last_run(&self) -> Option<RunSummary> {
        self.series.as_ref()?.last_run
    }

    /// The nominal time of the open run, as a wall time.
    pub(crate) fn nominal_wall(&self, definition: &Definition) -> WallNanos {
        match definition.recurring().zip(self.series.as_ref()) {
            Some((recurring, own)) => recurring.series.timeline.to_wall(self.nominal, own.offset),
            None => self.nominal,
        }
    }

    /// Chooses the time that the open run stands for.
    fn set_nominal(&mut self, nominal: i64, now: Now) {
        if nominal == self.nominal {
            return;
        }
        self.nominal = nominal;
        if let Some(series) = &mut self.series {
            series.offset = now.offset();
        }
    }

    /// An attempt of the open run has failed, and another follows.
    pub(crate) fn enter_attempt(&mut self, started_at: WallNanos, failed_as: JobStatus) {
        self.attempts = self.attempts.saturating_add(1);
        self.failed_as = Some(failed_as);
        self.started_at.get_or_insert(started_at);
    }

    /// The open run has ended. `started_at` is the start of its last attempt.
    pub(crate) fn enter_run(
        &mut self,
        definition: &Definition,
        started_at: WallNanos,
        status: JobStatus,
        now: Now,
    ) -> Option<RunSummary> {
        let nominal = self.nominal_wall(definition);
        let started_at = self.started_at.unwrap_or(started_at);
        self.close_run(definition);
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
            _ => series.failures.saturating_add(1),
        };
        Some(run)
    }

    /// The open run counts, and its time is not run again.
    fn close_run(&mut self, definition: &Definition) {
        if let Some((recurring, own)) = definition.recurring().zip(self.series.as_mut()) {
            let recurrence = &recurring.series.recurrence;
            own.coverage.enter_run(self.nominal, recurrence);
            own.runs = own.runs.saturating_add(1);
        }
        self.attempts = 0;
        self.failed_as = None;
        self.started_at = None;
    }

    /// The position as it is if the running attempt is cut off: its run counts, and
    /// nothing is known of its end.
    pub(crate) fn interrupted(&self, definition: &Definition) -> Self {
        let mut position = self.clone();
        position.close_run(definition);
        position
    }

    /// What follows the run that was just entered with `status`.
    pub(crate) fn next_run(
        &mut self,
        definition: &Definition,
        status: JobStatus,
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> AfterRun {
        let Some((recurring, own)) = definition.recurring().zip(self.series.as_mut()) else {
            return AfterRun::End(status);
        };
        let Recurring { series, limits, .. } = recurring;
        if own.failures >= limits.max_failures {
            return AfterRun::End(JobStatus::PermanentlyFailed);
        }
        if limits.max_runs.is_some_and(|max| own.runs >= max) {
            return AfterRun::End(status);
        }
        let at = series.timeline.of(now);
        let Some(next) = series.after_run(&mut own.coverage, self.nominal, at) else {
            return AfterRun::End(status);
        };
        self.set_nominal(next.nominal, now);
        let due = if next.is_misfire && next.nominal <= at {
            // A catch-up starts at once.
            next.due
        } else {
            series.with_jitter(next.due, random)
        };
        AfterRun::Next {
            due: series.timeline.due(due),
            misfire: next.is_misfire.then(|| self.nominal_wall(definition)),
        }
    }

    /// The run that the timer has found is the open one.
    pub(crate) fn open(&mut self, run: OpenRun) {
        self.nominal = run.nominal;
        if let Some(series) = &mut self.series {
            series.offset = run.offset;
            series.coverage = run.coverage;
        }
    }

    /// The run that was due at `due` has come due by `now`.
    pub(crate) fn on_due(
        &self,
        definition: &Definition,
        due: Due,
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> DueRun {
        let start = DueRun::Start {
            open: None,
            misfire: None,
        };
        let Some((recurring, own)) = definition.recurring().zip(self.series.as_ref()) else {
            return start;
        };
        let series = &recurring.series;
        if self.attempts > 0 {
            // A retry belongs to a run that has started.
            return start;
        }
        let at = series.timeline.of(now);
        // An attempt that its executor refused is due by the monotonic clock.
        let due = match series.timeline {
            Timeline::Mono => due.as_mono(now),
            Timeline::Wall => due.as_wall(now),
        };
        let mut coverage = own.coverage.clone();
        let Some(run) = series.on_due(&mut coverage, self.nominal, due, at) else {
            let last = own.last_run.map(|run| run.status);
            return DueRun::NoneLeft(last.unwrap_or(JobStatus::Cancelled));
        };
        let offset = match run.nominal == self.nominal {
            true => own.offset,
            false => now.offset(),
        };
        let nominal = series.timeline.to_wall(run.nominal, offset);
        let is_changed = run.nominal != self.nominal || coverage != own.coverage;
        let open = OpenRun {
            nominal: run.nominal,
            offset,
            coverage,
        };
        if run.due > at {
            let due = series.with_jitter(run.due, random);
            return DueRun::Later {
                open: Box::new(open),
                due: series.timeline.due(due),
                misfire: nominal,
            };
        }
        DueRun::Start {
            open: is_changed.then(|| Box::new(open)),
            misfire: run.is_misfire.then_some(nominal),
        }
    }

    /// The wall clock was set back while the job waits. Returns when the next run is due
    /// now, if that has changed.
    pub(crate) fn on_step_back(
        &mut self,
        definition: &Definition,
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> Option<Due> {
        let Recurring {
            series, start_date, ..
        } = definition.recurring()?;
        if self.attempts > 0 || series.timeline == Timeline::Mono {
            return None;
        }
        let from = match start_date {
            Some(start) => now.wall.max(start.saturating_sub(1)),
            None => now.wall,
        };
        let next = series.after_step_back(&mut self.series.as_mut()?.coverage, from)?;
        if next >= self.nominal {
            return None;
        }
        self.set_nominal(next, now);
        Some(series.timeline.due(series.with_jitter(next, random)))
    }
}
