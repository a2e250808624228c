//! An app on a store that can be held, whose attempts the test polls: every step is in the
//! order of the test.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::support::record::JobRecord;
use crate::support::{HOUR, HeldStore, Log, Result, WATCHDOG, begin, hand_polled_app_with, poll};
use jobber::testing::{Fault, ManualClock};
use jobber::{Clock, JobContext, JobFuture, Jobber, MemoryStorage, Task, storage::StorageError};

pub struct HeldApp {
    pub app: Jobber,
    pub clock: ManualClock,
    pub store: HeldStore,
    pub spawned: Receiver<JobFuture>,
    /// Attempts that have been polled and have not ended.
    running: Vec<JobFuture>,
    tick: Task<(), ()>,
    /// A task for jobs that only pass through the store.
    pub other: Task<u32, ()>,
}

impl HeldApp {
    pub fn new() -> Result<Self> {
        let (store, storage) = HeldStore::new(MemoryStorage::new());
        let (app, clock, spawned) = hand_polled_app_with(|app| app.storage(storage))?;
        let tick = app.task("tick", || async {}).register()?;
        let other = app.task("other", async |_: u32| {}).durable().register()?;
        Ok(Self {
            app,
            clock,
            store,
            spawned,
            running: Vec::new(),
            tick,
            other,
        })
    }

    /// A durable task that logs its run and its argument, and takes `time`.
    pub fn slow(&self, log: &Log<(u64, u32)>, time: Duration) -> Result<Task<u32, ()>> {
        let (log, clock) = (log.clone(), self.clock.clone());
        let task = self.app.task("t", move |cx: JobContext, n: u32| {
            log.add((cx.run_number(), n));
            clock.sleep(time)
        });
        Ok(task.durable().register()?)
    }

    /// Holds the store in the commit of another job, so that what follows waits for it.
    pub fn occupy_store(&self) -> Result {
        self.store.hold();
        // Dropped before its commit begins, it would be withdrawn.
        let mut schedule = self.other.schedule(0).delay(HOUR);
        begin(&mut schedule);
        self.store.requested()?;
        Ok(())
    }

    /// Holds the store no longer; returns when every commit so far is answered.
    pub fn release(&self) -> Result {
        self.store.release();
        let last = self.other.schedule(0).delay(HOUR).block_on()?;
        assert!(last.cancel().block_on()?.took_effect());
        Ok(())
    }

    /// Advances the clock, and polls what is due by then.
    pub fn advance(&mut self, time: Duration) -> Result {
        // It is scheduled last, and jobs that are due by the wall clock start after the others:
        // when it is spawned, all that are due have been.
        let due = self.clock.wall() + time;
        let tick = self.tick.schedule(()).at(due).block_on()?;
        self.clock.advance(time);
        while !tick.is_done() {
            let attempt = self.spawned.recv_timeout(WATCHDOG)?;
            self.start_polling(attempt);
        }
        self.poll_running();
        Ok(())
    }

    /// Polls every attempt that has not ended.
    pub fn poll_running(&mut self) {
        self.running.retain_mut(|attempt| poll(attempt).is_none());
    }

    /// Polls another attempt, and those that have not ended.
    pub fn start_polling(&mut self, attempt: JobFuture) {
        self.running.push(attempt);
        self.poll_running();
    }

    /// Polls the next attempt that the app spawns.
    pub fn poll_next(&mut self) -> Result {
        let attempt = self.spawned.recv_timeout(WATCHDOG)?;
        self.start_polling(attempt);
        Ok(())
    }

    pub fn record(&self, id: &str) -> Option<JobRecord> {
        self.store.record(id)
    }
}

/// The error of a store that has no room.
pub fn full() -> Fault {
    Fault::FailWith(StorageError::Full {
        path: "disk".into(),
    })
}
