//! smol with a hand-written timer: what one writes who has no scheduler. The number
//! of its threads is the variable SMOL_THREADS, which the parent sets.

use std::time::{Duration, Instant};

use async_io::Timer;
use smol::Task;
use smol::stream::StreamExt;

use super::{Argument, Awaited, Recurring, RoundTrip, Scheduler};
use crate::Result;

pub struct SmolPeer<A> {
    run: fn(A),
}

impl<A: Argument> SmolPeer<A> {
    pub fn new(run: fn(A)) -> Self {
        Self { run }
    }
}

impl<A: Argument> Scheduler<A> for SmolPeer<A> {
    type Handle = Task<()>;

    fn schedule(&self, delay: Duration, arg: A) -> Result<Task<()>> {
        let (due, run) = (Instant::now() + delay, self.run);
        Ok(smol::spawn(async move {
            Timer::at(due).await;
            run(arg);
        }))
    }

    /// This only asks for the cancellation: the executor's threads drop the future
    /// and its timer later.
    fn cancel(&self, handle: &mut Option<Task<()>>) -> Result {
        drop(handle.take());
        Ok(())
    }
}

impl Awaited for SmolPeer<u64> {
    type Waiter = Task<()>;

    fn schedule_awaited(&self, delay: Duration, arg: u64) -> Result<Task<()>> {
        self.schedule(delay, arg)
    }

    fn wait_all(&self, tasks: Vec<Task<()>>) -> Result {
        smol::block_on(async {
            for task in tasks {
                task.await;
            }
        });
        Ok(())
    }
}

impl Recurring for SmolPeer<u64> {
    fn every_second(&self, first: Duration, arg: u64) -> Result {
        let (first, run) = (Instant::now() + first, self.run);
        smol::spawn(async move {
            let mut ticks = Timer::interval_at(first, Duration::from_secs(1));
            while ticks.next().await.is_some() {
                run(arg);
            }
        })
        .detach();
        Ok(())
    }
}

impl RoundTrip for SmolPeer<u64> {
    fn push_and_wait(&self, arg: u64) -> Result {
        let run = self.run;
        smol::block_on(smol::spawn(async move { run(arg) }));
        Ok(())
    }
}
