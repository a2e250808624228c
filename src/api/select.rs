//! [`Selection`]: many jobs at once.

use std::fmt;

use crate::api::action::Action;
use crate::api::job::AnyJob;
use crate::engine::hub::{Hub, Live};
use crate::job::live_job::{CancelReply, Cancelling, Steer, SteerReply};
use crate::job::sync_state::CommitWaiter;
use crate::sync::primitives::Arc;
use crate::sync::reply::ReplySent;
use crate::sync::waiter::Waiter;
use crate::value::error::{SelectError, StorageError};
use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// How many jobs are changed before the store has their changes.
const AT_A_TIME: usize = 1_000;

/// Which live jobs of an app are meant: those that fulfil all conditions.
/// [`Jobber::select`](crate::Jobber::select) takes it.
///
/// ```
/// # let sim = jobber::testing::Simulation::new();
/// # let mail = sim.app().task("mail", async |to: String| to.len()).register()?;
/// use jobber::{JobStatus, Jobs};
///
/// for name in ["a/ada", "a/bob", "b/eve"] {
///     mail.schedule(name.into()).id(name).cron("@daily").block_on()?;
/// }
/// let of_a = Jobs::matching().task("mail").id_prefix("a/").status(JobStatus::Scheduled);
/// assert_eq!(sim.app().select(of_a).count()?, 2);
/// assert_eq!(sim.app().select(Jobs::all()).cancel().block_on()?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it is a condition, and does nothing by itself"]
pub struct Jobs {
    is_all: bool,
    task: Option<String>,
    group: Option<String>,
    status: Option<JobStatus>,
    id_prefix: Option<String>,
    tags: Vec<String>,
    spawned_by: Option<JobId>,
}

impl Jobs {
    /// The jobs that fulfil the conditions that follow. Without one it is an error to use it.
    pub fn matching() -> Self {
        Self::default()
    }

    /// All live jobs, less those that later conditions leave out.
    pub fn all() -> Self {
        Self {
            is_all: true,
            ..Self::default()
        }
    }

    /// Only jobs of the task of this name.
    pub fn task(mut self, name: impl Into<String>) -> Self {
        self.task = Some(name.into());
        self
    }

    /// Only jobs of the tasks of this [group](crate::Group), also of the groups in it. `name` begins
    /// with the names of the groups around it, each with a dot.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.group = Some(name.into());
        self
    }

    /// Only jobs of this status: `Scheduled` or `Running`. No live job has another.
    pub fn status(mut self, status: JobStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Only jobs whose id begins like this.
    pub fn id_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.id_prefix = Some(prefix.into());
        self
    }

    /// Only jobs with this tag ([`Schedule::tag`](crate::Schedule::tag)). It may be called several
    /// times: then jobs with all of these tags.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Only jobs that were made for runs of the recurring job of this id
    /// ([`Overlap::Spawn`](crate::Overlap::Spawn)).
    pub fn spawned_by(mut self, job: impl Into<JobId>) -> Self {
        self.spawned_by = Some(job.into());
        self
    }

    fn check(&self) -> Result<(), SelectError> {
        let conditions = [&self.task, &self.group, &self.id_prefix];
        let has_condition = self.is_all
            || self.status.is_some()
            || self.spawned_by.is_some()
            || !self.tags.is_empty()
            || conditions.iter().any(|condition| condition.is_some());
        has_condition.then_some(()).ok_or(SelectError::NoCondition)
    }

    fn has(&self, job: &Live) -> bool {
        let core = job.core();
        let has_prefix = |prefix: &str| core.id.with_text(|id| id.starts_with(prefix));
        self.task
            .as_deref()
            .is_none_or(|task| **job.task_name() == *task)
            && (self.group.as_deref()).is_none_or(|group| job.is_in_group(group))
            && self.status.is_none_or(|status| core.status.get() == status)
            && self.id_prefix.as_deref().is_none_or(has_prefix)
            && self.has_tags(job)
            && self.spawned_by.as_ref().is_none_or(|parent| {
                let by = job.spawned_by();
                by.is_some_and(|by| by.job == *parent)
            })
    }

    fn has_tags(&self, job: &Live) -> bool {
        if self.tags.is_empty() {
            return true;
        }
        let labels = job.labels();
        let tags = labels.map_or_else(Vec::new, |labels| labels.tags);
        let mut wanted = self.tags.iter();
        wanted.all(|wanted| tags.iter().any(|tag| **tag == **wanted))
    }
}

/// The live jobs that a condition is true of: returned by
/// [`Jobber::select`](crate::Jobber::select).
///
/// Each call looks at all live jobs of the app, and acts on those that fulfil the condition when it
/// comes to them. A job that is scheduled meanwhile may be left out.
///
/// The calls that change jobs wait for the store after each 1,000 of them. If such a call is
/// dropped, the jobs that it has come to are changed, and the others are not.
#[derive(Clone)]
pub struct Selection {
    hub: Arc<Hub>,
    jobs: Jobs,
}

impl Selection {
    pub(crate) fn new(hub: Arc<Hub>, jobs: Jobs) -> Self {
        Self { hub, jobs }
    }

    fn found(&self) -> Result<Vec<Live>, SelectError> {
        self.jobs.check()?;
        let mut found = self.hub.jobs();
        found.retain(|job| self.jobs.has(job));
        Ok(found)
    }

    /// The jobs, in no order. Never blocks.
    ///
    /// # Errors
    /// [`SelectError::NoCondition`] after [`Jobs::matching`] alone.
    pub fn list(&self) -> Result<Vec<AnyJob>, SelectError> {
        Ok(self.found()?.into_iter().map(AnyJob::new).collect())
    }

    /// How many there are. Never blocks.
    ///
    /// # Errors
    /// [`SelectError::NoCondition`] after [`Jobs::matching`] alone.
    pub fn count(&self) -> Result<usize, SelectError> {
        Ok(self.found()?.len())
    }

    /// Cancels each of them ([`Job::cancel`](crate::Job::cancel)). Returns how many were live until
    /// then.
    ///
    /// # Errors
    /// [`SelectError::NoCondition`] after [`Jobs::matching`] alone; [`SelectError::Storage`] if the
    /// store fails.
    pub fn cancel(&self) -> Action<Result<usize, SelectError>> {
        self.each(|job| {
            let CancelReply { outcome, reply } = job.cancel(Cancelling::Cancel);
            (outcome.took_effect(), reply)
        })
    }

    /// Pauses each of them ([`Job::pause`](crate::Job::pause)). Returns how many were not paused
    /// before.
    ///
    /// # Errors
    /// [`SelectError::NoCondition`] after [`Jobs::matching`] alone; [`SelectError::Storage`] if the
    /// store fails.
    pub fn pause(&self) -> Action<Result<usize, SelectError>> {
        self.each(|job| steer(job, Steer::Pause))
    }

    /// Resumes each of them ([`Job::resume`](crate::Job::resume)). Returns how many were paused. The
    /// pauses of tasks and of the app stay.
    ///
    /// # Errors
    /// [`SelectError::NoCondition`] after [`Jobs::matching`] alone; [`SelectError::Storage`] if the
    /// store fails.
    pub fn resume(&self) -> Action<Result<usize, SelectError>> {
        self.each(|job| steer(job, Steer::Resume { catches_up: false }))
    }

    /// Changes each of them: returns whether something changes, and what the store says.
    fn each(
        &self,
        change: impl Fn(&Live) -> (bool, Option<CommitWaiter>) + Send + 'static,
    ) -> Action<Result<usize, SelectError>> {
        let this = self.clone();
        Action::new(async move {
            let jobs = this.found()?;
            let mut changed = 0;
            for some in jobs.chunks(AT_A_TIME) {
                let mut replies = Vec::new();
                for job in some {
                    let (is_changed, reply) = change(job);
                    changed += usize::from(is_changed);
                    replies.extend(reply);
                }
                let mut result: Result<(), StorageError> = Ok(());
                for reply in replies {
                    let stored = Waiter::new(ReplySent(reply)).await;
                    result = result.and(stored);
                }
                result.map_err(|source| SelectError::Storage { changed, source })?;
            }
            Ok(changed)
        })
    }
}

fn steer(job: &Live, how: Steer) -> (bool, Option<CommitWaiter>) {
    let SteerReply { outcome, reply } = job.steer(how);
    (outcome.took_effect(), reply)
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Selection").field(&self.jobs).finish()
    }
}
