//! tokio-cron-scheduler, with its store in memory. It looks each 500 ms whether
//! something is due.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_cron_scheduler::{Job, JobScheduler};

use super::Recurring;
use super::tokio::runtime;
use crate::Result;

pub struct CronSchedulerPeer {
    runtime: Runtime,
    scheduler: JobScheduler,
    run: fn(u64),
}

impl CronSchedulerPeer {
    pub fn new(run: fn(u64)) -> Result<Self> {
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

impl Recurring for CronSchedulerPeer {
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
