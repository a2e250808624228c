//! The start of an app: opens the store, restores its jobs, starts the threads.

use crate::api::app_ref::AppRef;
use crate::api::hooks::Hooks;
use crate::api::stopping::{LEAST_TO_END, ended, shut_down, timeout};
use crate::engine::driver::Driver;
use crate::engine::hub::Hub;
use crate::engine::timer_thread;
use crate::executor::contract::Executor;
use crate::storage::contract::Storage;
use crate::storage::writer::Writer;
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Mutex, Ordering, lock, thread};
use crate::sync::reactor;
use crate::sync::reply::Reply;
use crate::value::error::{StartError, StorageError};

/// The name of the store's thread.
const STORE_THREAD: &str = "jobber-store";

/// Who drives the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DriveMode {
    /// A thread of the app.
    Thread,
    /// The owner of the app, by the [`Driver`]: a simulation.
    Manual,
}

/// What an app starts with. A start that fails puts the executor and the store back.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) executor: Option<Arc<dyn Executor>>,
    pub(crate) storage: Option<Box<dyn Storage>>,
    /// Set by a start in [`DriveMode::Manual`].
    pub(crate) driver: Option<Driver>,
}

/// The reply of the store's thread, when the start is done.
pub(crate) type Started = Arc<Reply<Result<(), StartError>>>;

/// One start of an app. Keeps the hub, and not the app, alive.
#[derive(Clone)]
pub(crate) struct Start {
    pub(crate) hub: Arc<Hub>,
    pub(crate) parts: Arc<Mutex<Parts>>,
    pub(crate) drive_mode: DriveMode,
    pub(crate) hooks: Arc<Hooks>,
}

impl Start {
    /// Begins the start. Returns `None` if the start is done.
    pub(crate) fn begin(self) -> Result<Option<Started>, StartError> {
        let has_threads = self.drive_mode == DriveMode::Thread;
        if has_threads && reactor::is_forked() {
            return Err(StartError::Forked);
        }
        self.hub.begin_start()?;
        if has_threads {
            self.hub.started_by.set();
        }
        // First, because from here on a stop has to close it.
        if let Some(store) = &self.hub.store {
            store.open();
        }
        let storage = lock(&self.parts).storage.take();
        let Some(storage) = storage else {
            self.finish().inspect_err(|_| self.hub.start_failed())?;
            return Ok(None);
        };
        let writer = Writer::new(storage, self.hub.keep_failed.count);
        match self.drive_mode {
            DriveMode::Thread => self.spawn_store_thread(writer).map(Some),
            DriveMode::Manual => {
                let writer = self.open(writer)?;
                if let Some(store) = &self.hub.store {
                    store.set_writer(writer);
                    store.wake_writer();
                }
                Ok(None)
            }
        }
    }

    /// Starts the thread that opens the store and then writes to it.
    fn spawn_store_thread(self, writer: Writer) -> Result<Started, StartError> {
        let started = Reply::new();
        let reply = started.clone();
        // Shared, so that the writer is not lost if the thread does not start.
        let writer = Arc::new(Mutex::new(Some(writer)));
        let (start, taken) = (self.clone(), writer.clone());
        let spawned = thread::Builder::new()
            .name(STORE_THREAD.into())
            .spawn(move || {
                let Some(writer) = lock(&taken).take() else {
                    return;
                };
                let hub = start.hub.clone();
                match start.open(writer) {
                    Ok(writer) => {
                        reply.send(Ok(()));
                        if let Some(store) = &hub.store {
                            store.run_thread(writer);
                        }
                    }
                    Err(error) => reply.send(Err(error)),
                }
            });
        if let Err(source) = spawned {
            lock(&self.parts).storage = lock(&writer).take().map(Writer::into_storage);
            self.hub.start_failed();
            return Err(StartError::Thread {
                name: STORE_THREAD.into(),
                source,
            });
        }
        Ok(started)
    }

    /// Opens the store, restores its jobs, and starts the rest.
    fn open(&self, mut writer: Writer) -> Result<Writer, StartError> {
        let opened = self.load(&mut writer).and_then(|()| self.finish());
        match opened {
            Ok(()) => Ok(writer),
            Err(error) => {
                let storage = writer.into_storage();
                if matches!(error, StartError::Stopped) {
                    // No second start is possible: close the store before the
                    // caller learns that the app has stopped.
                    drop_catching_panic(storage);
                } else {
                    lock(&self.parts).storage = Some(storage);
                }
                self.hub.start_failed();
                Err(error)
            }
        }
    }

    fn load(&self, writer: &mut Writer) -> Result<(), StartError> {
        let mut fits = true;
        let loaded = catch_panic(|| {
            let storage = writer.storage();
            storage.open()?;
            let was_closed = storage.was_closed();
            self.hub.was_closed.store(was_closed, Ordering::SeqCst);
            storage.load_pauses(&mut |pause| self.hub.load_pause(pause))?;
            storage.load_taken_ids(&mut |taken| {
                lock(&self.hub.main_shard).load_taken_id(&taken);
            })?;
            storage.load(&mut |loaded| fits = fits && self.hub.load(loaded))
        });
        loaded
            .unwrap_or_else(|message| Err(StorageError::Panicked { message }))
            .map_err(StartError::Storage)?;
        if fits {
            self.hub.catch_up();
            Ok(())
        } else {
            Err(StartError::TooManyJobs {
                held: self.hub.most_in_a_table(),
            })
        }
    }

    /// Starts the executor and the timer.
    fn finish(&self) -> Result<(), StartError> {
        // Timeouts need it, also those of a shutdown, which could not report a failure.
        if self.drive_mode == DriveMode::Thread {
            reactor::build().map_err(StartError::Reactor)?;
        }
        let executor = lock(&self.parts).executor.clone();
        let executor = match executor {
            Some(executor) => executor,
            None => default_executor()?,
        };
        self.hub.start(executor)?;
        match self.drive_mode {
            DriveMode::Thread => {
                self.hub.events.use_thread();
                timer_thread::spawn(&self.hub)?;
            }
            DriveMode::Manual => lock(&self.parts).driver = Some(Driver::new(self.hub.clone())),
        }
        // The hub holds the executor now, and drops it when the app stops.
        lock(&self.parts).executor = None;
        self.hooks.begin();
        self.hub.call_at_start();
        Ok(())
    }
}

impl Start {
    /// Stops the app when it is dropped, if a function of `on_start` is to run before jobs start.
    pub(crate) fn stop_on_drop(&self) -> StopOnDrop {
        let has_start = self.hooks.has_start();
        StopOnDrop(has_start.then(|| self.hub.clone()))
    }

    /// Runs the functions of `on_start`, and then lets jobs start.
    pub(crate) async fn run_hooks(&self, stop: StopOnDrop) -> Result<(), StartError> {
        if !self.hooks.has_start() {
            stop.disarm();
            return Ok(());
        }
        let hub = &self.hub;
        let started = self
            .hooks
            .start(&AppRef::new(hub), || hub.is_stopping())
            .await;
        if hub.is_stopping() {
            // The shutdown ends by itself. If its grace was too short, it has not run the functions of
            // `on_stop` that the start has reached since.
            stop.disarm();
            self.hooks.stop().await;
            return Err(started.map_or_else(StartError::OnStart, |()| StartError::Stopped));
        }
        match started {
            Ok(()) => {
                stop.disarm();
                hub.open_start_gate();
                Ok(())
            }
            Err(error) => {
                hub.begin_stop();
                self.hooks.stop().await;
                timeout(LEAST_TO_END, shut_down(hub.clone())).await;
                drop(stop);
                timeout(LEAST_TO_END, ended(hub.clone())).await;
                Err(StartError::OnStart(error))
            }
        }
    }
}

/// Stops the app when it is dropped.
pub(crate) struct StopOnDrop(Option<Arc<Hub>>);

impl StopOnDrop {
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(hub) = self.0.take() {
            hub.begin_stop();
            hub.end_stop();
        }
    }
}

#[cfg(feature = "thread-pool")]
fn default_executor() -> Result<Arc<dyn Executor>, StartError> {
    use crate::executor::thread_pool::ThreadPool;
    Ok(Arc::new(ThreadPool::for_this_machine()?))
}

#[cfg(not(feature = "thread-pool"))]
fn default_executor() -> Result<Arc<dyn Executor>, StartError> {
    Err(StartError::NoExecutor)
}
