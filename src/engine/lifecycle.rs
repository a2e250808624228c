//! The life of an app, from its start to its stop.

use crate::engine::app_phase::AppPhase;
use crate::engine::hub::{AT_A_TIME, Hub};
use crate::engine::side_shards::Cursor;
use crate::executor::contract::Executor;
use crate::executor::dispatcher::Dispatcher;
use crate::registry::table::DrainedTable;
use crate::storage::store::Store;
use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, Event as Signal, Ordering, lock};
use crate::value::error::StartError;
use crate::value::id::JobId;
use crate::value::status::JobStatus;

impl Hub {
    /// The start begins: one at a time.
    pub(crate) fn begin_start(&self) -> Result<(), StartError> {
        let mut main_shard = lock(&self.main_shard);
        match main_shard.phase {
            AppPhase::New => {
                main_shard.phase = AppPhase::Starting;
                Ok(())
            }
            AppPhase::Starting | AppPhase::Running => Err(StartError::AlreadyStarted),
            AppPhase::Stopping | AppPhase::Stopped => Err(StartError::Stopped),
        }
    }

    /// From here on jobs may be scheduled, and start.
    pub(crate) fn start(self: &Arc<Self>, executor: Arc<dyn Executor>) -> Result<(), StartError> {
        let mut main_shard = lock(&self.main_shard);
        match main_shard.phase {
            AppPhase::New | AppPhase::Starting => {
                main_shard.phase = AppPhase::Running;
                self.side_shards.set_phase(AppPhase::Running);
                main_shard.dispatcher = Some(Arc::new(Dispatcher::new(executor, self.clone())));
                Ok(())
            }
            AppPhase::Running => Err(StartError::AlreadyStarted),
            AppPhase::Stopping | AppPhase::Stopped => Err(StartError::Stopped),
        }
    }

    /// Takes back a start that can't go on. What was restored stays in the
    /// store.
    pub(crate) fn start_failed(&self) {
        if let Some(store) = &self.store {
            store.closed();
        }
        let left = {
            let mut main_shard = lock(&self.main_shard);
            if matches!(main_shard.phase, AppPhase::Starting | AppPhase::Running) {
                main_shard.phase = AppPhase::New;
                self.side_shards.set_phase(AppPhase::New);
            }
            self.left_count.store(0, Ordering::SeqCst);
            let others = self.side_shards.iter();
            (
                std::mem::take(&mut main_shard.catch_up),
                main_shard.dispatcher.take(),
                main_shard.table.take_all(),
                others
                    .map(|other| lock(other).table.take_all())
                    .collect::<Vec<_>>(),
                std::mem::take(&mut main_shard.unresolved),
            )
        };
        drop_catching_panic(left);
    }

    /// Nothing new starts from here on: what has not run is cancelled, what
    /// runs is asked to end. When it returns, that is done, whoever began it.
    pub(crate) fn begin_stop(&self) {
        {
            let mut main_shard = lock(&self.main_shard);
            if main_shard.phase == AppPhase::Stopped {
                return;
            }
            main_shard.phase = AppPhase::Stopping;
            self.set_stopping(true);
            self.side_shards.set_phase(AppPhase::Stopping);
        }
        // No job enters any more, so there will be no more slots.
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let (jobs, then) = self.jobs_from(cursor, AT_A_TIME);
            for job in jobs {
                job.stop();
            }
            next = then;
        }
    }

    /// The end, after [`begin_stop`](Hub::begin_stop): whoever still waits is let
    /// go. Gives what runs on, to each who asks.
    pub(crate) fn end_stop(&self) -> Vec<(JobId, JobStatus)> {
        // Held until the list is there: who stops it at the same time waits for it here.
        let mut left_running = lock(&self.left_running);
        let (left, waiting, dispatcher, tasks) = {
            let mut main_shard = lock(&self.main_shard);
            main_shard.phase = AppPhase::Stopped;
            self.side_shards.set_phase(AppPhase::Stopped);
            let others = self.side_shards.iter();
            let others = others.map(|other| lock(other).table.take_all());
            let left = (
                std::iter::once(main_shard.table.take_all())
                    .chain(others)
                    .collect::<Vec<_>>(),
                std::mem::take(&mut main_shard.catch_up),
                main_shard.dispatcher.take(),
                std::mem::take(&mut main_shard.tasks),
            );
            // Before the look at who waits: see `StatusCell::announce_waiter`. And
            // under this lock, which the timer's thread takes on its way to sleep: if
            // that was before, its handle is there and it will be woken below.
            self.has_stopped.store(true, Ordering::SeqCst);
            left
        };
        let cores = || {
            left.iter()
                .flat_map(DrainedTable::jobs)
                .map(|job| job.core())
        };
        for core in cores() {
            // A durable job that waits is none: another process goes on with it.
            let status = core.status.get();
            if status == JobStatus::Running {
                left_running.push((core.id.clone(), status));
            }
        }
        let running = left_running.clone();
        drop(left_running);
        for core in cores().filter(|core| core.status.is_waited_for()) {
            notify_all(&core.changed);
        }
        self.events.close();
        if let Some(store) = &self.store {
            store.close();
        }
        notify_all(&self.changed);
        self.wake_timer();
        // These may be the last holders of values, functions and threads that
        // are foreign: not under the lock.
        drop_catching_panic((left, waiting));
        if let Some(dispatcher) = dispatcher {
            dispatcher.close();
        }
        drop_catching_panic(tasks);
        running
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::SeqCst)
    }

    /// Notified whenever [`has_stopped`](Hub::has_stopped),
    /// [`is_idle`](Hub::is_idle) or
    /// [`is_timer_running`](Hub::is_timer_running) may have changed.
    pub(crate) fn changed(&self) -> &Signal {
        &self.changed
    }

    /// Whether no job is live, or is left to another process, and the store knows
    /// of it all.
    pub(crate) fn is_idle(&self) -> bool {
        self.has_no_live_jobs() && self.store.as_ref().is_none_or(Store::is_idle)
    }

    /// Whether the store has nothing more to do.
    pub(crate) fn is_store_closed(&self) -> bool {
        self.store.as_ref().is_none_or(Store::is_closed)
    }

    /// Once no lock is held, for whoever has queued a change.
    pub(crate) fn wake_writer(&self) {
        if let Some(store) = &self.store {
            store.wake_writer();
        }
    }
}
