//! [`Restore`]: a task without its types.

use std::any::Any;

use crate::engine::pause_switch::PauseSwitch;
use crate::job::end_record::JobEnd;
use crate::job::live_job::LiveJob;
use crate::job::record::JobRecord;
use crate::sync::primitives::Arc;
use crate::value::end_of_job::OnEnd;
use crate::value::error::UnresolvedReason;
use crate::value::event::JobEventKind;
use crate::value::status::JobStatus;
use crate::value::time_units::{Due, Now};

/// A task without its types.
pub(crate) trait Restore: Any + Send + Sync {
    /// The names of the types of its arguments and of its value.
    fn types(&self) -> (&'static str, &'static str);

    /// Its name, then its aliases.
    fn names(&self) -> &[Arc<str>];

    fn pause_switch(&self) -> &PauseSwitch;

    /// The functions that see how its jobs end.
    fn on_end(&self) -> &Arc<[OnEnd]>;

    /// Whether this is a job of the task.
    fn has(&self, job: &dyn LiveJob) -> bool;

    /// Makes a job of a record, or returns why that can't be done.
    fn restore(self: Arc<Self>, record: &JobRecord, now: Now)
    -> Result<Restored, UnresolvedReason>;
}

/// A group of tasks, as its app knows it.
pub(crate) trait NamedGroup: Any + Send + Sync {
    fn pause_switch(&self) -> &PauseSwitch;
}

/// What a record becomes.
pub(crate) enum Restored {
    Job {
        /// Nobody else has it yet.
        job: Arc<dyn LiveJob>,
        due: Option<Due>,
        /// The event that says that its last attempt was interrupted.
        interrupted: Option<JobEventKind>,
        /// Its row is to change: its last attempt was lost.
        is_changed: bool,
    },
    /// Its last attempt was lost, and none may follow.
    Lost {
        status: JobStatus,
        /// The event that says why, if the status does not say it all.
        reason: Option<JobEventKind>,
        /// The end of the job, if the store is to keep it.
        end: Option<JobEnd>,
    },
}

/// A stored job that no task can run.
pub(crate) struct Unresolved {
    /// `None` if the record can't be read.
    pub(crate) record: Option<Box<JobRecord>>,
    pub(crate) task: Arc<str>,
    pub(crate) reason: UnresolvedReason,
}

impl Unresolved {
    pub(crate) fn of(record: Box<JobRecord>, reason: UnresolvedReason) -> Self {
        Self {
            task: record.task.clone(),
            record: Some(record),
            reason,
        }
    }

    /// Whether it is a record of a task of one of these names.
    pub(crate) fn is_of(&self, names: &[Arc<str>]) -> bool {
        self.record.is_some() && names.contains(&self.task)
    }
}
