//! delay_timer, as its README builds it. Its wheel turns in whole seconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use delay_timer::prelude::{DelayTimer, DelayTimerBuilder, TaskBuilder};

use super::{Argument, Recurring, Scheduler};
use crate::Result;

pub struct DelayTimerPeer<A> {
    timer: DelayTimer,
    run: fn(A),
    /// Its users number their tasks.
    next: AtomicU64,
}

impl<A: Argument> DelayTimerPeer<A> {
    pub fn new(run: fn(A)) -> Self {
        Self {
            timer: DelayTimerBuilder::default().build(),
            run,
            next: AtomicU64::new(1),
        }
    }

    fn add(&self, mut task: TaskBuilder<'_>, arg: A) -> Result<u64> {
        let (id, run) = (self.next.fetch_add(1, Ordering::Relaxed), self.run);
        task.set_task_id(id);
        let task = task.spawn_async_routine(move || {
            let arg = arg.clone();
            async move { run(arg) }
        })?;
        self.timer.add_task(task)?;
        Ok(id)
    }
}

impl<A: Argument> Scheduler<A> for DelayTimerPeer<A> {
    type Handle = u64;

    fn schedule(&self, delay: Duration, arg: A) -> Result<u64> {
        let mut task = TaskBuilder::default();
        // It wants one second at least.
        task.set_frequency_once_by_seconds(delay.as_secs().max(1));
        self.add(task, arg)
    }

    fn cancel(&self, handle: &mut Option<u64>) -> Result {
        if let Some(id) = handle.take() {
            self.timer.remove_task(id)?;
        }
        Ok(())
    }
}

impl Recurring for DelayTimerPeer<u64> {
    const HAS_PHASE: bool = false;

    fn every_second(&self, _first: Duration, arg: u64) -> Result {
        let mut task = TaskBuilder::default();
        task.set_frequency_repeated_by_seconds(1);
        self.add(task, arg)?;
        Ok(())
    }
}
