//! [`Resume`]: the end of a pause.

use std::fmt;
use std::future::IntoFuture;

use crate::api::action::Action;
use crate::engine::hub::Hub;
use crate::engine::pausing::{Pausable, PauseChange};
use crate::job::live_job::{LiveJob, Steer, SteerReply};
use crate::sync::primitives::Arc;
use crate::sync::reply::ReplySent;
use crate::sync::waiter::Waiter;
use crate::value::error::StorageError;
use crate::value::steer_outcome::SteerOutcome;

/// Ends the pause of a job, a task or an app: returned by [`Job::resume`](crate::Job::resume),
/// [`Task::resume`](crate::Task::resume) and [`Jobber::resume`](crate::Jobber::resume).
///
/// `.await` it, or end it with [`.block_on()`](Resume::block_on). Nothing happens before. It owns
/// what it needs.
///
/// ```
/// # use std::time::Duration;
/// # use jobber::testing::Simulation;
/// # let mut sim = Simulation::new();
/// # let hello = sim.app().task("hello", || async {}).register()?;
/// let minute = Duration::from_secs(60);
/// let job = hello.schedule(()).every(minute).block_on()?;
/// job.pause().block_on()?;
/// sim.advance(10 * minute);
/// job.resume().block_on()?;
/// sim.run_until_stalled();
/// assert_eq!(job.last_run(), None, "it makes up nothing");
///
/// job.pause().block_on()?;
/// sim.advance(10 * minute);
/// job.resume().catch_up().block_on()?;
/// sim.run_until_stalled();
/// assert!(job.last_run().is_some(), "its misfire policy makes up one run");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "does nothing until it is awaited or ended with `.block_on()`"]
pub struct Resume {
    of: Paused,
    catches_up: bool,
}

enum Paused {
    Job(Arc<dyn LiveJob>),
    Other(Arc<Hub>, Pausable),
}

impl Resume {
    pub(crate) fn of_job(job: Arc<dyn LiveJob>) -> Self {
        Self {
            of: Paused::Job(job),
            catches_up: false,
        }
    }

    pub(crate) fn of(hub: Arc<Hub>, of: Pausable) -> Self {
        Self {
            of: Paused::Other(hub, of),
            catches_up: false,
        }
    }

    /// The times that have passed during the pause follow the [misfire](crate::Misfire) policy of
    /// their jobs. Without this, they are left out.
    pub fn catch_up(mut self) -> Self {
        self.catches_up = true;
        self
    }

    /// Ends the pause. If it is stored, blocks the thread until the store has that.
    ///
    /// # Errors
    /// The errors of the method that has returned this value.
    pub fn block_on(self) -> Result<SteerOutcome, StorageError> {
        self.into_future().block_on()
    }
}

impl IntoFuture for Resume {
    type Output = Result<SteerOutcome, StorageError>;
    type IntoFuture = Action<Self::Output>;

    fn into_future(self) -> Action<Self::Output> {
        let catches_up = self.catches_up;
        match self.of {
            Paused::Job(job) => steer(job, Steer::Resume { catches_up }),
            Paused::Other(hub, of) => {
                Action::new(hub.change_pause(of, PauseChange::Resume { catches_up }))
            }
        }
    }
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resume")
            .field("catch_up", &self.catches_up)
            .finish_non_exhaustive()
    }
}

/// Steers a job, and waits until the store has it.
pub(crate) fn steer(
    job: Arc<dyn LiveJob>,
    how: Steer,
) -> Action<Result<SteerOutcome, StorageError>> {
    Action::new(async move {
        let SteerReply { outcome, reply } = job.steer(how);
        match reply {
            Some(reply) => Waiter::new(ReplySent(reply)).await.map(|()| outcome),
            None => Ok(outcome),
        }
    })
}
