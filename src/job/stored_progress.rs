//! What a store is to know of a job's progress, and how that is made of it again.

use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

use crate::calendar::cron::expression::Cron;
use crate::calendar::recurrence::{Done, Jump, Recurrence, Ticks};
use crate::calendar::zone::time_zone::Zone;
use crate::job::outcome::Failure;
use crate::job::progress::{Limits, Line, Plan, Progress, Recurring, RunRecord, Tally, Verdict};
use crate::job::record::{
    JobRecord, JumpRecord, ProgressRecord, RecurringProgress, RecurringRecord, TriggerRecord,
};
use crate::sync::primitives::Arc;
use crate::value::clock::{Due, Now, WallNanos, from_wall, to_nanos, to_wall};
use crate::value::error::UnresolvedReason;
use crate::value::run::Run;

impl Plan {
    /// What a store is to know of it.
    pub(crate) fn trigger(&self) -> TriggerRecord {
        trigger(self.is_at(), self.recurring.as_deref())
    }

    /// What a store is to know of a job that begins with it.
    pub(crate) fn to_record(&self, now: Now) -> ProgressRecord {
        self.progress_record(&Tally::default(), now)
    }

    fn progress_record(&self, tally: &Tally, now: Now) -> ProgressRecord {
        let recurring = self.recurring.as_ref();
        ProgressRecord {
            due: utc(self.due.as_wall(now)),
            nominal: utc(self.nominal),
            attempts: 0,
            last_failure: None,
            started_at: None,
            recurring: recurring.map(|recurring| recurring.to_record(tally, None, now)),
        }
    }
}

impl Progress {
    /// What a store is to know of it. An attempt that is going on has not begun,
    /// for the store.
    pub(crate) fn to_record(&self, is_running: bool, now: Now) -> ProgressRecord {
        let recurring = self.recurring().zip(self.tally());
        let attempts = self.attempts.saturating_sub(u32::from(is_running));
        let timer = self.timer().filter(|_| !is_running);
        ProgressRecord {
            due: utc(timer.map_or(self.exec_at, |due| due.as_wall(now))),
            nominal: utc(self.nominal()),
            attempts,
            last_failure: (attempts > 0).then_some(self.failed_as()),
            started_at: None,
            recurring: recurring.map(|(recurring, tally)| {
                let started_at = (attempts > 0).then_some(utc(recurring.started_at));
                if is_running && attempts == 0 {
                    recurring.to_record_before_run(*tally, now)
                } else {
                    recurring.to_record(tally, started_at, now)
                }
            }),
        }
    }

    /// What makes it due, for the store.
    pub(crate) fn trigger(&self) -> TriggerRecord {
        let is_at = self.durable().is_some_and(|durable| durable.is_at);
        trigger(is_at, self.recurring())
    }

    /// What a store is to know of it once it goes on with this plan.
    pub(crate) fn record_with(&self, plan: &Plan, is_running: bool, now: Now) -> ProgressRecord {
        let kept = self.tally().filter(|_| self.goes_on_with(plan));
        let mut tally = kept.copied().unwrap_or_default();
        if self.attempts > 0
            && !is_running
            && let (Some(_), Some(recurring)) = (kept, self.recurring())
        {
            // The retry that it waits for will not come.
            tally.enter(self.nominal(), recurring.started_at, self.failed_as(), now);
        }
        plan.progress_record(&tally, now)
    }

    /// Goes on from what a store has kept. `app_zone` is for a job without a zone
    /// of its own.
    pub(crate) fn restored(
        record: &JobRecord,
        zone: Option<Box<Zone>>,
        app_zone: &Zone,
        now: Now,
    ) -> Result<(Self, Plan), UnresolvedReason> {
        let stored = &record.progress;
        let due = wall("due", stored.due)?;
        let nominal = wall("nominal", stored.nominal)?;
        let recurring = match &record.trigger {
            TriggerRecord::Delay | TriggerRecord::At => None,
            TriggerRecord::Every { interval, options } => {
                let interval = to_nanos(*interval).filter(|interval| *interval > 0);
                let recurrence = Recurrence::Every {
                    // Any of its times will do, and no earlier one comes again.
                    anchor: Due::Wall(nominal).as_mono(now),
                    interval: interval.ok_or_else(|| unreadable("the interval is out of range"))?,
                };
                Some(Recurring::restored(recurrence, options, stored, now)?)
            }
            TriggerRecord::Cron {
                expression,
                options,
            } => {
                let cron = Cron::parse(expression).map_err(UnresolvedReason::Cron)?;
                let recurrence = Recurrence::Cron {
                    cron: Arc::new(cron),
                    zone: zone.as_deref().unwrap_or(app_zone).clone(),
                };
                Some(Recurring::restored(recurrence, options, stored, now)?)
            }
        };
        let tally = match &stored.recurring {
            Some(recurring) => Some(Box::new(Tally::restored(recurring)?)),
            None => None,
        };
        let is_wall = match &record.trigger {
            TriggerRecord::At | TriggerRecord::Cron { .. } => stored.attempts == 0,
            TriggerRecord::Delay | TriggerRecord::Every { .. } => false,
        };
        let plan = Plan {
            zone,
            due: if is_wall {
                Due::Wall(due)
            } else {
                Due::Mono(Due::Wall(due).as_mono(now))
            },
            exec_at: due,
            nominal,
            recurring: recurring.map(Box::new),
            is_durable: true,
        };
        let mut progress = Self::new(plan.clone());
        progress.attempts = stored.attempts;
        if let Some(durable) = progress.durable_mut() {
            durable.is_at = record.trigger == TriggerRecord::At;
        }
        progress.more().failed_as = stored.last_failure;
        if let Some(more) = progress.more.as_mut().filter(|m| m.recurring.is_some()) {
            more.tally = Some(tally.unwrap_or_default());
        }
        Ok((progress, plan))
    }

    /// An attempt was about to start when the process ended, and is not to be
    /// made again: its run has failed. `None` if there was none.
    pub(crate) fn lose_attempt(
        &mut self,
        stored: &ProgressRecord,
        now: Now,
        random: impl FnOnce() -> f64,
    ) -> Result<Option<Verdict>, UnresolvedReason> {
        let Some(started_at) = stored.started_at else {
            return Ok(None);
        };
        self.begin(Now {
            wall: wall("started_at", started_at)?,
            ..now
        });
        self.is_occupied = false;
        let failure = Failure::executor_dropped();
        Ok(Some(self.after_attempt(Some(&failure), None, now, random)))
    }
}

impl ProgressRecord {
    /// The attempt that it is about is about to start, and is not to be made again.
    pub(crate) fn mark(&mut self, at: WallNanos) {
        self.started_at = Some(utc(at));
        if let Some(recurring) = &mut self.recurring {
            // The run has that, and the one after it does not inherit it.
            recurring.makes_up = false;
        }
    }
}

impl Recurring {
    /// A time on its line, as a wall time that another process understands.
    fn stored(&self, at: i64, now: Now) -> OffsetDateTime {
        utc(self.line.due(at).as_wall(now))
    }

    fn to_record(
        &self,
        tally: &Tally,
        started_at: Option<OffsetDateTime>,
        now: Now,
    ) -> RecurringProgress {
        let stored = |at| self.stored(at, now);
        RecurringProgress {
            runs: tally.runs,
            failures_in_a_row: tally.failures_in_a_row,
            last_run: tally.last.map(|run| Run {
                number: run.number,
                nominal_time: utc(run.nominal),
                started_at: utc(run.started_at),
                finished_at: utc(run.finished_at),
                status: run.status,
            }),
            started_at,
            run_up_to: stored(self.done.last),
            jumped: self.done.jumped.map(|jump| JumpRecord {
                from: stored(jump.from),
                to: stored(jump.to),
            }),
            dealt_with: (self.ticks.settled != i64::MIN).then(|| stored(self.ticks.settled)),
            made_up: self.ticks.made_up,
            makes_up: self.ticks.makes_up,
        }
    }

    /// As if the run that is going on had not begun: after a crash it is made
    /// again, and is not one of those that have been run.
    fn to_record_before_run(&self, mut tally: Tally, now: Now) -> RecurringProgress {
        tally.runs = tally.runs.saturating_sub(1);
        let mut before = self.clone();
        before.done = self.done_before;
        // It is not counted once more.
        before.ticks.makes_up = self.made_up_for;
        before.to_record(&tally, None, now)
    }

    fn restored(
        recurrence: Recurrence,
        options: &RecurringRecord,
        progress: &ProgressRecord,
        now: Now,
    ) -> Result<Self, UnresolvedReason> {
        let line = match recurrence {
            Recurrence::Every { .. } => Line::Mono,
            Recurrence::Cron { .. } => Line::Wall,
        };
        let at = |field, time| {
            let due = Due::Wall(wall(field, time)?);
            Ok::<_, UnresolvedReason>(match line {
                Line::Mono => due.as_mono(now),
                Line::Wall => due.as_wall(now),
            })
        };
        let stored = progress
            .recurring
            .as_ref()
            .ok_or_else(|| unreadable("a job that recurs has no progress"))?;
        let limits = Limits {
            max_runs: options.max_runs,
            max_failures: options.max_failures,
        };
        if limits.max_runs == Some(0) || limits.max_failures == 0 {
            return Err(unreadable("a limit is 0"));
        }
        let mut ticks = Ticks::new(recurrence, options.misfire);
        ticks.jitter =
            to_nanos(options.jitter).ok_or_else(|| unreadable("the jitter is out of range"))?;
        ticks.made_up = stored.made_up;
        ticks.makes_up = stored.makes_up;
        if let Some(time) = stored.dealt_with {
            ticks.settled = at("dealt_with", time)?;
        }
        let jumped = match stored.jumped {
            None => None,
            Some(jump) => Some(Jump {
                from: at("jumped", jump.from)?,
                to: at("jumped", jump.to)?,
            }),
        };
        let started_at = stored.started_at;
        let done = Done {
            last: at("run_up_to", stored.run_up_to)?,
            has_run: stored.runs > 0,
            jumped,
        };
        Ok(Self {
            ticks,
            line,
            limits,
            start_date: options
                .start_date
                .map(|time| wall("start_date", time))
                .transpose()?,
            nominal: at("nominal", progress.nominal)?,
            done,
            done_before: done,
            made_up_for: false,
            started_at: wall("started_at", started_at.unwrap_or(progress.nominal))?,
        })
    }
}

impl Tally {
    fn restored(stored: &RecurringProgress) -> Result<Self, UnresolvedReason> {
        let last = match stored.last_run {
            None => None,
            Some(run) => Some(RunRecord {
                number: run.number,
                nominal: wall("last_run", run.nominal_time)?,
                started_at: wall("last_run", run.started_at)?,
                finished_at: wall("last_run", run.finished_at)?,
                status: run.status,
            }),
        };
        Ok(Self {
            runs: stored.runs,
            failures_in_a_row: stored.failures_in_a_row,
            last,
        })
    }
}

fn trigger(is_at: bool, recurring: Option<&Recurring>) -> TriggerRecord {
    let Some(recurring) = recurring else {
        return match is_at {
            true => TriggerRecord::At,
            false => TriggerRecord::Delay,
        };
    };
    let options = RecurringRecord {
        misfire: recurring.ticks.misfire,
        jitter: Duration::from_nanos(recurring.ticks.jitter.max(0) as u64),
        max_runs: recurring.limits.max_runs,
        max_failures: recurring.limits.max_failures,
        start_date: recurring.start_date.map(utc),
    };
    match &recurring.ticks.recurrence {
        Recurrence::Every { interval, .. } => TriggerRecord::Every {
            interval: Duration::from_nanos((*interval).max(0) as u64),
            options,
        },
        Recurrence::Cron { cron, .. } => TriggerRecord::Cron {
            expression: cron.to_string(),
            options,
        },
    }
}

fn unreadable(what: &str) -> UnresolvedReason {
    UnresolvedReason::Unreadable(what.into())
}

fn wall(field: &str, time: OffsetDateTime) -> Result<WallNanos, UnresolvedReason> {
    to_wall(time)
        .ok_or_else(|| UnresolvedReason::Unreadable(format!("{field} is out of range: {time}")))
}

fn utc(wall: WallNanos) -> OffsetDateTime {
    from_wall(wall, UtcOffset::UTC)
}
