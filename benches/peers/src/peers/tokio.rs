//! tokio's multi-thread runtime, with a task that sleeps for each job.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at, sleep_until};

use super::{Argument, Awaited, Recurring, RoundTrip, Scheduler, threads};
use crate::Result;

pub struct TokioPeer<A> {
    runtime: Runtime,
    run: fn(A),
}

/// With a thread for each core.
pub fn runtime() -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    Ok(builder.worker_threads(threads()).enable_time().build()?)
}

impl<A: Argument> TokioPeer<A> {
    pub fn new(run: fn(A)) -> Result<Self> {
        Ok(Self {
            runtime: runtime()?,
            run,
        })
    }
}

impl<A: Argument> Scheduler<A> for TokioPeer<A> {
    type Handle = JoinHandle<()>;

    fn schedule(&self, delay: Duration, arg: A) -> Result<JoinHandle<()>> {
        let (due, run) = (Instant::now() + delay, self.run);
        Ok(self.runtime.spawn(async move {
            sleep_until(due).await;
            run(arg);
        }))
    }

    fn cancel(&self, handle: &mut Option<JoinHandle<()>>) -> Result {
        if let Some(task) = handle.take() {
            task.abort();
        }
        Ok(())
    }
}

impl Awaited for TokioPeer<u64> {
    type Waiter = JoinHandle<()>;

    fn schedule_awaited(&self, delay: Duration, arg: u64) -> Result<JoinHandle<()>> {
        self.schedule(delay, arg)
    }

    fn wait_all(&self, tasks: Vec<JoinHandle<()>>) -> Result {
        self.runtime.block_on(async {
            for task in tasks {
                task.await?;
            }
            Ok(())
        })
    }
}

impl Recurring for TokioPeer<u64> {
    fn every_second(&self, first: Duration, arg: u64) -> Result {
        let (first, run) = (Instant::now() + first, self.run);
        self.runtime.spawn(async move {
            let mut ticks = interval_at(first, Duration::from_secs(1));
            loop {
                ticks.tick().await;
                run(arg);
            }
        });
        Ok(())
    }
}

impl RoundTrip for TokioPeer<u64> {
    fn push_and_wait(&self, arg: u64) -> Result {
        let run = self.run;
        let task = self.runtime.spawn(async move { run(arg) });
        Ok(self.runtime.block_on(task)?)
    }
}
