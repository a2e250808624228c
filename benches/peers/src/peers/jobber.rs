//! jobber, by its public functions.

use std::time::Duration;

use jobber::{Job, Jobber, JobberBuilder, Task};
use time::OffsetDateTime;

use super::{Argument, Awaited, Recurring, RoundTrip, Scheduler};
use crate::Result;

pub struct JobberPeer<A> {
    // It is shut down when it is dropped.
    _app: Jobber,
    task: Task<A, ()>,
}

impl<A: Argument> JobberPeer<A> {
    /// On its own thread pool.
    pub fn pool(run: fn(A)) -> Result<Self> {
        Self::start(Jobber::builder(), run)
    }

    pub fn on_smol(run: fn(A)) -> Result<Self> {
        let builder = Jobber::builder().executor(|job| smol::spawn(job).detach());
        Self::start(builder, run)
    }

    /// Waking at most once in a millisecond.
    pub fn with_gap(run: fn(A)) -> Result<Self> {
        let builder = Jobber::builder().coalescing_window(Duration::from_millis(1));
        Self::start(builder, run)
    }

    fn start(builder: JobberBuilder, run: fn(A)) -> Result<Self> {
        let app = builder.build()?;
        let task = app
            .task("job", move |arg: A| async move { run(arg) })
            .register()?;
        app.start().block_on()?;
        Ok(Self { _app: app, task })
    }
}

impl<A: Argument> Scheduler<A> for JobberPeer<A> {
    type Handle = Job<()>;

    fn schedule(&self, delay: Duration, arg: A) -> Result<Job<()>> {
        Ok(self.task.schedule(arg).delay(delay).block_on()?)
    }

    fn cancel(&self, handle: &mut Option<Job<()>>) -> Result {
        if let Some(job) = handle {
            job.cancel().block_on()?;
        }
        Ok(())
    }
}

impl Awaited for JobberPeer<u64> {
    type Waiter = Job<()>;

    fn schedule_awaited(&self, delay: Duration, arg: u64) -> Result<Job<()>> {
        self.schedule(delay, arg)
    }

    fn wait_all(&self, jobs: Vec<Job<()>>) -> Result {
        for job in &jobs {
            job.wait_blocking();
        }
        Ok(())
    }
}

impl Recurring for JobberPeer<u64> {
    fn every_second(&self, first: Duration, arg: u64) -> Result {
        let start = OffsetDateTime::now_utc() + first;
        let schedule = self.task.schedule(arg).start_date(start);
        let _ = schedule.every(Duration::from_secs(1)).block_on()?;
        Ok(())
    }
}

impl RoundTrip for JobberPeer<u64> {
    fn push_and_wait(&self, arg: u64) -> Result {
        let _ = self.task.schedule(arg).push().block_on()?.block_on();
        Ok(())
    }
}
