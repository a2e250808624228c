//! [`ThreadPool`]: the executor for programs that have no runtime.

use std::fmt;

use async_executor::Executor as Tasks;

use crate::executor::contract::Executor;
use crate::executor::job_future::JobFuture;
use crate::sync::deferred_wakes::notify_all;
use crate::sync::polling::mark_pool_thread;
use crate::sync::primitives::{Arc, AtomicBool, Event, Ordering, thread};
use crate::sync::reactor;
use crate::sync::waiter::{Condition, Waiter};
use crate::value::error::StartError;

/// Threads that run jobs. An app without another [`Executor`](crate::Executor) has one of
/// these, with as many threads as there are cores.
///
/// A job that is pending holds no thread, so as many threads as cores are enough. The
/// threads also drive async-io, so tasks may use its timers and sockets. Blocking tasks
/// run elsewhere; see [`Executor::spawn_blocking`]. An async task must not block a thread of
/// the pool to wait for a job or for [all jobs](crate::Jobber::wait_all), which may need that
/// thread: that panics, and fails the attempt. It can `.await` them.
///
/// Its clones are the same pool, so several apps can share it. When the last clone and the
/// last app that uses it have been dropped, the threads end, and the jobs that have not
/// ended fail.
///
/// ```
/// use jobber::{Jobber, ThreadPool};
///
/// let app = Jobber::builder().executor(ThreadPool::new(1)?).build()?;
/// # Ok::<(), jobber::StartError>(())
/// ```
#[derive(Clone)]
pub struct ThreadPool(Arc<Handle>);

/// Ends the threads when it is dropped.
struct Handle {
    shared: Arc<Shared>,
    threads: usize,
}

#[derive(Debug)]
struct Shared {
    tasks: Tasks<'static>,
    is_closed: AtomicBool,
    closed: Event,
}

impl ThreadPool {
    /// Starts this many threads, and at least one. They poll async tasks. Blocking tasks run on other
    /// threads, which this number does not limit:
    /// [`JobberBuilder::max_running`](crate::JobberBuilder::max_running) and
    /// [`TaskBuilder::limit`](crate::TaskBuilder::limit) do.
    ///
    /// # Errors
    /// - [`StartError::Thread`] if the operating system cannot start a thread.
    /// - [`StartError::Forked`] in a process that was forked after one was started.
    /// - [`StartError::Reactor`] if the reactor of async-io cannot be built.
    pub fn new(threads: usize) -> Result<Self, StartError> {
        if reactor::is_forked() {
            return Err(StartError::Forked);
        }
        // A thread that had to build it would end by a panic.
        reactor::build().map_err(StartError::Reactor)?;
        let shared = Shared {
            tasks: Tasks::new(),
            is_closed: AtomicBool::new(false),
            closed: Event::new(),
        };
        let pool = Handle {
            shared: Arc::new(shared),
            threads: threads.max(1),
        };
        for number in 1..=pool.threads {
            let name = format!("jobber-{number}");
            let shared = pool.shared.clone();
            let thread = thread::Builder::new().name(name.clone());
            thread
                .spawn(move || {
                    mark_pool_thread();
                    let closed = Waiter::new(Closed(shared.clone()));
                    async_io::block_on(shared.tasks.run(closed));
                })
                .map_err(|source| StartError::Thread { name, source })?;
        }
        Ok(Self(Arc::new(pool)))
    }

    /// Starts as many threads as there are cores.
    pub(crate) fn for_this_machine() -> Result<Self, StartError> {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Executor for ThreadPool {
    fn spawn(&self, job: JobFuture) {
        self.0.shared.tasks.spawn(job).detach();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Release pairs with the acquire of the threads. The threads are not joined,
        // since this may be one of them.
        self.shared.is_closed.store(true, Ordering::Release);
        notify_all(&self.shared.closed);
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("threads", &self.0.threads)
            .finish_non_exhaustive()
    }
}

struct Closed(Arc<Shared>);

impl Condition for Closed {
    type Output = ();

    fn ready(&self) -> Option<()> {
        self.0.is_closed.load(Ordering::Acquire).then_some(())
    }

    fn event(&self) -> &Event {
        &self.0.closed
    }
}
