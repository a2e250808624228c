//! The lifecycle of an app, from its start to its stop.

use crate::engine::app_phase::AppPhase;
use crate::engine::hub::Hub;
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
use crate::value::shutdown_report::ShutdownReport;
use crate::value::status::JobStatus;

impl Hub {
    /// Begins a start. Only one can be going on.
    pub(crate) fn begin_start(&self) -> Result<(), StartError> {
        if self.is_forked() {
            return Err(StartError::Forked);
        }
        let mut main_shard = lock(&self.main_shard);
        match main_shard.phase {
            AppPhase::New => {
                main_shard.phase = AppPhase::Starting;
                Ok(())
            }
            AppPhase::Starting | AppPhase::Running => Err(StartError::AlreadyStarted),
            AppPhase::Stopping | AppPhase::Stopped => Err(StartError::Stopped),
            AppPhase::Forked => Err(StartError::Forked),
        }
    }

    /// Ends the start: from here on, jobs can be scheduled, and they run.
    pub(crate) fn start(self: &Arc<Self>, executor: Arc<dyn Executor>) -> Result<(), StartError> {
        let mut main_shard = lock(&self.main_shard);
        match main_shard.phase {
            AppPhase::New | AppPhase::Starting => {
                main_shard.phase = AppPhase::Running;
                self.side_shards.set_phase(AppPhase::Running);
                main_shard.dispatcher = Some(Arc::new(Dispatcher::new(executor, self.clone())));
            }
            AppPhase::Running => return Err(StartError::AlreadyStarted),
            AppPhase::Stopping | AppPhase::Stopped => return Err(StartError::Stopped),
            AppPhase::Forked => return Err(StartError::Forked),
        }
        Ok(())
    }

    /// Undoes a start that has failed. The restored jobs are dropped; their rows stay in the
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
            self.count_none_as_held();
            for pending in lock(&self.pending).iter() {
                pending.clear();
            }
            let others = self.side_shards.iter();
            (
                std::mem::take(&mut main_shard.catch_up),
                main_shard.dispatcher.take(),
                main_shard.table.take_all(),
                others
                    .map(|other| lock(other).table.take_all())
                    .collect::<Vec<_>>(),
                std::mem::take(&mut main_shard.unresolved),
                std::mem::take(&mut main_shard.calls_at_start),
            )
        };
        drop_catching_panic(left);
    }

    /// Begins the stop: no attempt starts after this. Jobs that wait are cancelled, or left
    /// to the next process; running attempts are requested to stop. All of this is done when
    /// the method returns, also if another thread does it at the same time.
    pub(crate) fn begin_stop(&self) {
        {
            let mut main_shard = lock(&self.main_shard);
            if main_shard.phase == AppPhase::Stopped {
                return;
            }
            main_shard.phase = AppPhase::Stopping;
            self.set_stopping();
            self.side_shards.set_phase(AppPhase::Stopping);
        }
        // A waker may register a task.
        let pending = lock(&self.pending).clone();
        for pending in pending {
            pending.close();
        }
        // In this phase no job enters a table, so there will be no more slots.
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let (jobs, then) = self.jobs_from(cursor);
            for job in jobs {
                job.stop();
            }
            next = then;
        }
    }

    /// Ends the stop, after [`begin_stop`](Hub::begin_stop): closes the store and ends all
    /// waits. Returns the jobs that are still running, also if it is called again.
    pub(crate) fn end_stop(&self) -> Vec<JobId> {
        // Before the tables are emptied: afterwards the writer gets no message about the jobs.
        for job in self.checkpoint_times.close() {
            job.checkpoint_due();
            job.drop_safely();
        }
        // Locked until the list is complete: another thread that stops the app waits here.
        let mut left_running = lock(&self.left_running);
        let (left, waiting, dispatcher, named) = {
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
                (
                    std::mem::take(&mut main_shard.tasks),
                    std::mem::take(&mut main_shard.groups),
                ),
            );
            // Set before the waiters are read: see `StatusCell::announce_waiter`. And set
            // under this lock, which the timer thread takes before it sleeps: if it took the
            // lock before, its handle is set, and it is woken below.
            self.has_stopped.store(true, Ordering::SeqCst);
            left
        };
        let cores = || {
            left.iter()
                .flat_map(DrainedTable::jobs)
                .map(|job| job.core())
        };
        for core in cores() {
            // A durable job that waits is not in the list: it is left to the next process.
            if core.status.get() == JobStatus::Running {
                left_running.push(core.id.clone());
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
        // These may hold the last references to values and functions of users, so that
        // they are dropped without a lock.
        drop_catching_panic((left, waiting));
        self.limits.forget_all();
        if let Some(dispatcher) = dispatcher {
            dispatcher.close();
        }
        drop_catching_panic(named);
        running
    }

    /// Whether this process was forked from the one that has started the app, so that it has
    /// none of its threads. If so, the app has stopped as far as this process is concerned.
    /// A system call.
    pub(crate) fn is_forked(&self) -> bool {
        if !self.started_by.is_forked() {
            return false;
        }
        if !self.has_stopped() {
            let mut main_shard = lock(&self.main_shard);
            main_shard.phase = AppPhase::Forked;
            self.side_shards.set_phase(AppPhase::Forked);
            self.has_stopped.store(true, Ordering::SeqCst);
            drop(main_shard);
            if let Some(store) = &self.store {
                store.leave_to_parent();
            }
        }
        true
    }

    /// Stops the app and leaves its store to the other process, if this process was forked.
    pub(crate) fn stop_if_forked(&self) {
        // Called for its effect.
        let _ = self.is_forked();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::SeqCst)
    }

    /// Notified when [`has_stopped`](Hub::has_stopped), [`is_idle`](Hub::is_idle) or
    /// [`is_timer_running`](Hub::is_timer_running) may have changed.
    pub(crate) fn changed(&self) -> &Signal {
        &self.changed
    }

    /// Whether no job is live, except those that are left to the next process, and the store has
    /// nothing left to try.
    pub(crate) fn is_idle(&self) -> bool {
        self.has_no_live_jobs() && self.store.as_ref().is_none_or(Store::is_idle)
    }

    /// Whether a shutdown is complete: the app is idle, and no function sees the end of a job any more.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.is_idle() && self.end_calls.are_over()
    }

    /// Whether the store is closed; also `true` if the app has none.
    pub(crate) fn is_store_closed(&self) -> bool {
        self.store.as_ref().is_none_or(Store::is_closed)
    }

    /// What the stop has left until now. `left`: the jobs that ran at its end.
    pub(crate) fn report(&self, left: Vec<JobId>) -> ShutdownReport {
        ShutdownReport {
            left,
            // Read first: a store that is closed gets nothing more.
            is_store_closed: self.is_store_closed(),
            unstored: self.store.as_ref().map_or(0, Store::unstored),
        }
    }

    /// Wakes the writer, after a message was sent to it. The caller holds no lock.
    pub(crate) fn wake_writer(&self) {
        if let Some(store) = &self.store {
            store.wake_writer();
        }
    }
}
