//! delay_timer, as its README builds it. Its wheel turns in whole seconds.

use std::time::Duration;

use delay_timer::prelude::{DelayTimer, DelayTimerBuilder, TaskBuilder};

use super::Recurring;
use crate::Result;

pub struct DelayTimerPeer {
    timer: DelayTimer,
    run: fn(u64),
}

impl DelayTimerPeer {
    pub fn new(run: fn(u64)) -> Self {
        Self {
            timer: DelayTimerBuilder::default().build(),
            run,
        }
    }
}

impl Recurring for DelayTimerPeer {
    const HAS_PHASE: bool = false;

    fn every_second(&self, _first: Duration, arg: u64) -> Result {
        let run = self.run;
        let mut task = TaskBuilder::default();
        task.set_task_id(arg + 1)
            .set_frequency_repeated_by_seconds(1);
        let task = task.spawn_async_routine(move || async move { run(arg) })?;
        Ok(self.timer.add_task(task)?)
    }
}
