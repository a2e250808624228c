//! [`Definition`]: what a job is, as its scheduling asked for it.

use std::time::Duration;

use time::PrimitiveDateTime;

use crate::calendar::calendars::Except;
use crate::calendar::cron::expression::Cron;
use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::Series;
use crate::calendar::zone::time_zone::Zone;
use crate::sync::primitives::Arc;
use crate::value::backoff::Backoff;
use crate::value::encoded::Encoded;
use crate::value::error::RegisterError;
use crate::value::labels::Labels;
use crate::value::overlap::Overlap;
use crate::value::spawned_by::SpawnedBy;
use crate::value::time_units::{MAX_DURATION, WallNanos, to_nanos};

/// What a job is, as its scheduling asked for it. It never changes: a replacement
/// brings another one.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// The name of the task, as it was when the job was scheduled.
    pub(crate) task: Arc<str>,
    /// The arguments as they are stored: of a durable job only.
    pub(crate) args: Option<Encoded>,
    pub(crate) trigger: Trigger,
    /// `None` for the zone of the app.
    pub(crate) zone: Option<Zone>,
    /// How late an attempt of a run may start, in nanoseconds.
    pub(crate) expires: Option<i64>,
    /// Instead of that of the task.
    pub(crate) timeout: Option<Timeout>,
    /// Instead of that of the task. In a box, because few jobs have one.
    pub(crate) backoff: Option<Box<Backoff>>,
    /// Instead of that of the task: among the jobs that wait for limits.
    pub(crate) priority: Option<i8>,
    pub(crate) keys: ArgsKeys,
    /// How long the id stays taken after the end of the job, in nanoseconds.
    pub(crate) unique_for: Option<i64>,
    /// Its tags and notes, with those of its task. Boxed, because few jobs have any.
    pub(crate) labels: Option<Box<Labels>>,
    /// The set that declares the job.
    pub(crate) set: Option<Arc<str>>,
    /// The run of a recurring job that it was made for. Boxed, because few jobs have one.
    pub(crate) spawned_by: Option<Box<SpawnedBy>>,
    pub(crate) scheduled_at: WallNanos,
}

/// The keys of the arguments of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ArgsKeys {
    /// It has a limit of its own.
    pub(crate) limit: Option<Arc<str>>,
    /// It has a rate of its own.
    pub(crate) rate: Option<Arc<str>>,
}

/// The longest time of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout {
    pub(crate) limit: Duration,
    /// `limit` in nanoseconds.
    pub(crate) nanos: i64,
}

impl Timeout {
    /// That of a task, or of the tasks of a group.
    pub(crate) fn of_task(limit: Duration) -> Result<Self, RegisterError> {
        if limit.is_zero() {
            return Err(RegisterError::ZeroTimeout);
        }
        let nanos = to_nanos(limit).ok_or(RegisterError::DurationTooLong {
            field: "timeout",
            value: limit,
            max: MAX_DURATION,
        })?;
        Ok(Self { limit, nanos })
    }
}

/// What makes a job due.
#[derive(Clone, Debug)]
pub(crate) enum Trigger {
    /// Once, after this long, in nanoseconds: by the monotonic clock.
    Delay { length: i64 },
    /// Once, at a time of the wall clock. `local` is that time as the clocks of the zone show
    /// it, if it was given like that.
    At { local: Option<PrimitiveDateTime> },
    /// Boxed, because most jobs run once, and there may be a million.
    Recurring(Box<Recurring>),
}

/// The trigger of a recurring job.
#[derive(Clone, Debug)]
pub(crate) struct Recurring {
    pub(crate) series: Series,
    pub(crate) limits: Limits,
}

/// When a recurring job ends or is paused, and when its attempts are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_runs: Option<u64>,
    /// Failed runs in a row.
    pub(crate) max_failures: Option<u32>,
    /// A run that fails pauses the job.
    pub(crate) pause_on_failure: bool,
    pub(crate) overlap: Overlap,
}

impl Definition {
    /// Of a job in memory without options.
    pub(crate) fn plain(task: Arc<str>, trigger: Trigger, scheduled_at: WallNanos) -> Self {
        Self {
            task,
            args: None,
            trigger,
            zone: None,
            expires: None,
            timeout: None,
            backoff: None,
            priority: None,
            keys: ArgsKeys::default(),
            unique_for: None,
            labels: None,
            set: None,
            spawned_by: None,
            scheduled_at,
        }
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.args.is_some()
    }

    /// Returns the earliest due time of a run that has not expired at `at`.
    pub(crate) fn expired_before(&self, at: WallNanos) -> WallNanos {
        let expires = self.expires;
        expires.map_or(WallNanos::MIN, |limit| at.saturating_sub(limit))
    }

    pub(crate) fn recurring(&self) -> Option<&Recurring> {
        match &self.trigger {
            Trigger::Delay { .. } | Trigger::At { .. } => None,
            Trigger::Recurring(recurring) => Some(recurring),
        }
    }

    /// If its runs become jobs of their own: how many of these may be live.
    pub(crate) fn max_spawned(&self) -> Option<usize> {
        match self.recurring()?.limits.overlap {
            Overlap::Spawn(max) => Some(max),
            Overlap::Wait | Overlap::CancelRunning => None,
        }
    }

    /// The calendar whose times the job leaves out.
    pub(crate) fn except(&self) -> Option<&Except> {
        self.recurring()?.series.except.as_deref()
    }

    pub(crate) fn cron(&self) -> Option<&Cron> {
        match &self.recurring()?.series.recurrence {
            Recurrence::Cron { cron, .. } => Some(cron),
            _ => None,
        }
    }

    /// Whether the runs of `other` are counted on by this definition: both recur, with the
    /// same start date.
    pub(crate) fn is_same_series(&self, other: &Definition) -> bool {
        match (self.recurring(), other.recurring()) {
            (Some(own), Some(others)) => own.series.start == others.series.start,
            _ => false,
        }
    }

    /// Whether a job goes on with `other` as if nothing had happened: both recur, at the
    /// same times.
    pub(crate) fn has_same_times(&self, other: &Definition) -> bool {
        match (self.recurring(), other.recurring()) {
            (Some(own), Some(others)) => own.series.has_same_times(&others.series),
            _ => false,
        }
    }

    /// Whether both have the same times, the same end and the same exclusions.
    pub(crate) fn has_same_times_and_end(&self, other: &Definition) -> bool {
        let until = |definition: &Definition| definition.recurring().map(|own| own.series.until);
        self.has_same_times(other) && self.excludes_same(other) && until(self) == until(other)
    }

    /// Whether both leave out the same times, or none.
    pub(crate) fn excludes_same(&self, other: &Definition) -> bool {
        let recurring = self.recurring().zip(other.recurring());
        recurring.is_none_or(|(own, others)| own.series.excludes_same(&others.series))
    }

    /// Whether both have the same stored arguments. Those in memory can't be compared.
    pub(crate) fn has_same_args(&self, other: &Definition) -> bool {
        let args = self.args.as_ref().zip(other.args.as_ref());
        args.is_some_and(|(own, others)| own.is_same_value(others))
    }

    /// Whether a job of this definition that is declared again as `other` stays as it is. Of a
    /// job that runs once, each scheduling sets a new time. Arguments in memory cannot be
    /// compared.
    pub(crate) fn is_declared_as(&self, other: &Definition) -> bool {
        let (Some(own), Some(others)) = (self.recurring(), other.recurring()) else {
            return false;
        };
        let text = |definition: &Definition| definition.cron().map(ToString::to_string);
        own.series.has_same_times(&others.series)
            && text(self) == text(other)
            && own.series.until == others.series.until
            && own.series.misfire == others.series.misfire
            && own.series.excludes_same(&others.series)
            && own.series.jitter == others.series.jitter
            && own.limits == others.limits
            && self.has_same_args(other)
            && self.zone == other.zone
            && self.expires == other.expires
            && self.timeout == other.timeout
            && self.backoff == other.backoff
            && self.priority == other.priority
            && self.keys == other.keys
            && self.unique_for == other.unique_for
            && self.labels == other.labels
            && (other.set.is_none() || self.set == other.set)
            && self.task == other.task
    }
}
