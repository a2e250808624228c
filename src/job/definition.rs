//! [`Definition`]: what a job is, as its scheduling asked for it.

use crate::calendar::cron::expression::Cron;
use crate::calendar::recurrence::Recurrence;
use crate::calendar::series::Series;
use crate::calendar::timeline::Timeline;
use crate::calendar::zone::time_zone::Zone;
use crate::sync::primitives::Arc;
use crate::value::time_units::WallNanos;

/// What a job is, as its scheduling asked for it. It never changes: a replacement
/// brings another one.
#[derive(Debug)]
pub(crate) struct Definition {
    /// The name of the task, as it was when the job was scheduled.
    pub(crate) task: Arc<str>,
    /// The arguments as JSON: of a durable job only.
    pub(crate) args: Option<Arc<str>>,
    pub(crate) trigger: Trigger,
    /// `None` for the zone of the app.
    pub(crate) zone: Option<Zone>,
    pub(crate) scheduled_at: WallNanos,
}

/// What makes a job due.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// Once, at a time on this timeline.
    Once(Timeline),
    /// Boxed, because most jobs run once, and there may be a million.
    Recurring(Box<Recurring>),
}

/// The trigger of a recurring job.
#[derive(Debug)]
pub(crate) struct Recurring {
    pub(crate) series: Series,
    pub(crate) limits: Limits,
    /// The start date as it was given. A replacement with another one starts a new
    /// series.
    pub(crate) start_date: Option<WallNanos>,
}

/// When a recurring job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_runs: Option<u64>,
    /// Failed runs in a row.
    pub(crate) max_failures: u32,
}

/// The limit of failed runs in a row of a recurring job that sets none.
pub(crate) const DEFAULT_MAX_FAILURES: u32 = 10;

impl Definition {
    pub(crate) fn is_durable(&self) -> bool {
        self.args.is_some()
    }

    pub(crate) fn recurring(&self) -> Option<&Recurring> {
        match &self.trigger {
            Trigger::Once(_) => None,
            Trigger::Recurring(recurring) => Some(recurring),
        }
    }

    pub(crate) fn timeline(&self) -> Timeline {
        match &self.trigger {
            Trigger::Once(timeline) => *timeline,
            Trigger::Recurring(recurring) => recurring.series.timeline,
        }
    }

    pub(crate) fn cron(&self) -> Option<&Cron> {
        match &self.recurring()?.series.recurrence {
            Recurrence::Cron { cron, .. } => Some(cron),
            Recurrence::Every { .. } => None,
        }
    }

    /// The wall time after which the first run of a series on the wall clock comes: the
    /// time of scheduling, or just before the start date if that is later.
    pub(crate) fn first_run_is_after(&self) -> WallNanos {
        let start_date = self.recurring().and_then(|recurring| recurring.start_date);
        match start_date {
            Some(start) => self.scheduled_at.max(start.saturating_sub(1)),
            None => self.scheduled_at,
        }
    }

    /// Whether the runs of `other` are counted on by this definition: both recur, with the
    /// same start date.
    pub(crate) fn is_same_series(&self, other: &Definition) -> bool {
        match (self.recurring(), other.recurring()) {
            (Some(own), Some(others)) => own.start_date == others.start_date,
            _ => false,
        }
    }
}
