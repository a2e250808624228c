//! [`FailedJob`]: a stored job that has failed.

use std::fmt;

use time::OffsetDateTime;

use crate::api::action::Action;
use crate::api::job::AnyJob;
use crate::engine::hub::Hub;
use crate::job::end_record::EndRecord;
use crate::sync::primitives::Arc;
use crate::value::error::{RetryError, StorageError};
use crate::value::escaped::Escaped;
use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// A stored job that has failed, with its arguments. [`Jobber::failed`](crate::Jobber::failed)
/// returns it. It is not a live job: its id is free.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
///
/// let storage = MemoryStorage::new();
/// let mut sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
/// let mail = async |to: String| Err::<(), _>(format!("no such mailbox: {to}"));
/// let mail = sim.app().task("mail", mail).durable().register()?;
/// mail.schedule("ada".into()).id("m").push().block_on()?;
/// sim.run_until_stalled();
///
/// let failed = sim.app().failed().block_on()?;
/// assert_eq!((failed[0].id().to_string(), failed[0].args()), ("m".into(), Some("\"ada\"")));
/// assert_eq!(failed[0].error(), "no such mailbox: ada");
/// let again = failed[0].retry().block_on()?;
/// assert_eq!(again.id(), "m");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FailedJob {
    hub: Arc<Hub>,
    end: EndRecord,
}

impl FailedJob {
    pub(crate) fn new(hub: Arc<Hub>, end: EndRecord) -> Self {
        Self { hub, end }
    }

    /// The id that the job had.
    pub fn id(&self) -> &JobId {
        &self.end.key.id
    }

    /// The name of the job's task, as it was when the job was scheduled.
    pub fn task_name(&self) -> &str {
        &self.end.task
    }

    /// The arguments, as JSON text. `None` if another `Codec` has written them.
    pub fn args(&self) -> Option<&str> {
        self.end.args.json().map(|json| &**json)
    }

    /// How the job ended: `Failed`, `Timeout` or `PermanentlyFailed`.
    pub fn status(&self) -> JobStatus {
        self.end.status
    }

    /// The message of the last error and of its sources, cut after 4,096 bytes.
    pub fn error(&self) -> &str {
        &self.end.error
    }

    /// The number of attempts of the last run. 0 if the job has ended later, without another
    /// attempt, because no time was left.
    pub fn attempts(&self) -> u32 {
        self.end.attempts
    }

    /// The number of the last run, from 1.
    pub fn run_number(&self) -> u64 {
        self.end.key.run
    }

    /// When the job was scheduled, in UTC.
    pub fn scheduled_at(&self) -> OffsetDateTime {
        self.end.key.scheduled_at
    }

    /// When the first attempt of the last run started, in UTC.
    pub fn started_at(&self) -> OffsetDateTime {
        self.end.started_at
    }

    /// When the last attempt ended, in UTC.
    pub fn finished_at(&self) -> OffsetDateTime {
        self.end.finished_at
    }

    /// Schedules the job again, under its id and with its arguments, and removes it from the
    /// failed ones: the store does both or none. `.await` it, or end it with `.block_on()`.
    ///
    /// A job that ran once is due at once, and has all its attempts. A recurring job goes on
    /// with its series: its runs count on, its failures in a row begin at 0, and times that it
    /// has missed follow its [misfire](crate::Misfire) policy.
    ///
    /// If too many jobs wait for the store, it first waits for a place among them
    /// ([`Storage::busy_timeout`](crate::storage::Storage::busy_timeout)). If you drop this value
    /// before the commit of the job has begun, nothing is scheduled. If you drop it later, it is
    /// not cancel safe: the job is scheduled if the store accepts it.
    ///
    /// # Errors
    /// - [`RetryError::Gone`] if the store does not have the entry any more: it was retried or
    ///   discarded before, or was kept long enough.
    /// - [`RetryError::Schedule`] if a live job has the id, the app does not run, or the store
    ///   could not save the job. Then the entry stays.
    /// - [`RetryError::Unresolved`] if no task can run it.
    /// - [`RetryError::NoTimeLeft`] if it recurs, and no run is left.
    pub fn retry(&self) -> Action<Result<AnyJob, RetryError>> {
        let Self { hub, end } = self.clone();
        Action::new(async move { hub.retry(&end).await.map(AnyJob::new) })
    }

    /// Deletes the entry. `.await` it, or end it with `.block_on()`. If the store does not have
    /// it any more, nothing happens. If you drop this value after its first poll, the entry may
    /// be deleted or not.
    ///
    /// # Errors
    /// If the store could not delete it, or is closed.
    pub fn discard(&self) -> Action<Result<(), StorageError>> {
        let Self { hub, end } = self.clone();
        Action::new(async move { hub.forget_end(end.key).await })
    }
}

impl fmt::Display for FailedJob {
    /// The time, the name of the task, the id of the job, its status and its error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, task, id) = (self.finished_at(), Escaped(self.task_name()), self.id());
        let error = Escaped(self.error());
        write!(f, "{at} {task} {id}: {}: {error}", self.status())
    }
}

impl fmt::Debug for FailedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.end.fmt(f)
    }
}
