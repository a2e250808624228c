//! tokio-cron-scheduler, with its store in memory. It looks each 500 ms whether
//! something is due.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_cron_scheduler::{Job, JobScheduler};
use uuid::Uuid;

use super::tokio::runtime;
use super::{Argument, Recurring, Scheduler};
use crate::Result;

pub struct CronSchedulerPeer<A> {
    runtime: Runtime,
    scheduler: JobScheduler,
    run: fn(A),
}

impl<A: Argument> CronSchedulerPeer<A> {
    pub fn new(run: fn(A)) -> Result<Self> {
        let runtime = runtime()?;
        let scheduler = runtime.block_on(async {
            let scheduler = JobScheduler::new().await?;
            scheduler.start().await?;
            Ok::<_, crate::Error>(scheduler)
        })?;
        Ok(Self {
            runtime,
            scheduler,
            run,
        })
    }
}

impl<A: Argument> Scheduler<A> for CronSchedulerPeer<A> {
    type Handle = Uuid;

    fn schedule(&self, delay: Duration, arg: A) -> Result<Uuid> {
        let run = self.run;
        let job = Job::new_one_shot_async(delay, move |_, _| {
            let arg = arg.clone();
            Box::pin(async move { run(arg) })
        })?;
        Ok(self.runtime.block_on(self.scheduler.add(job))?)
    }

    fn cancel(&self, handle: &mut Option<Uuid>) -> Result {
        if let Some(id) = handle.take() {
            self.runtime.block_on(self.scheduler.remove(&id))?;
        }
        Ok(())
    }
}

impl Recurring for CronSchedulerPeer<u64> {
    const HAS_PHASE: bool = false;

    fn every_second(&self, _first: Duration, arg: u64) -> Result {
        let run = self.run;
        let job = Job::new_repeated_async(Duration::from_secs(1), move |_, _| {
            Box::pin(async move { run(arg) })
        })?;
        self.runtime.block_on(self.scheduler.add(job))?;
        Ok(())
    }
}
