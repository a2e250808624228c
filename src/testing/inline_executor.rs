//! [`InlineExecutor`]: runs the jobs of a simulation, on the thread that calls it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Wake, Waker};

use crate::executor::contract::Executor;
use crate::executor::job_future::{BlockingJob, JobFuture};
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, AtomicBool, Mutex, Ordering, Weak, lock};

/// Polls tasks one after the other, first in, first out, when [`run`](InlineExecutor::run)
/// is called.
#[derive(Debug, Default)]
pub(crate) struct InlineExecutor {
    ready: Arc<Mutex<VecDeque<Arc<InlineTask>>>>,
    /// All tasks that may still exist. A task that waits is held by its waker alone.
    tasks: Mutex<Vec<Weak<InlineTask>>>,
}

#[derive(Debug)]
struct InlineTask {
    /// `None` while the task is being polled, and once it has ended.
    work: Mutex<Option<Work>>,
    is_queued: AtomicBool,
    ready: Weak<Mutex<VecDeque<Arc<InlineTask>>>>,
}

#[derive(Debug)]
enum Work {
    Future(JobFuture),
    Blocking(BlockingJob),
}

impl InlineExecutor {
    fn add(&self, work: Work) {
        let task = Arc::new(InlineTask {
            work: Mutex::new(Some(work)),
            is_queued: AtomicBool::new(false),
            ready: Arc::downgrade(&self.ready),
        });
        let mut tasks = lock(&self.tasks);
        // Forgetting the tasks that have ended only when the list is full keeps its
        // length in proportion to the tasks that exist.
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| task.strong_count() > 0);
        }
        tasks.push(Arc::downgrade(&task));
        drop(tasks);
        task.wake();
    }

    /// Polls ready tasks until there are none, or `limit` were polled. Returns how many
    /// were polled.
    pub(crate) fn run(&self, limit: usize) -> usize {
        let next = || lock(&self.ready).pop_front();
        std::iter::from_fn(next)
            .take(limit)
            .map(InlineTask::run)
            .count()
    }

    pub(crate) fn drop_all(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks.into_iter().filter_map(|task| task.upgrade()) {
            let work = lock(&task.work).take();
            drop_catching_panic(work);
        }
    }
}

impl InlineTask {
    fn run(self: Arc<Self>) {
        self.is_queued.store(false, Ordering::SeqCst);
        // Taken out of the lock: polling may wake this task, or drop the simulation.
        let work = lock(&self.work).take();
        match work {
            Some(Work::Blocking(job)) => job.run(),
            Some(Work::Future(mut future)) => {
                let waker = Waker::from(self.clone());
                let mut cx = Context::from_waker(&waker);
                if Pin::new(&mut future).poll(&mut cx).is_pending() {
                    *lock(&self.work) = Some(Work::Future(future));
                }
            }
            None => {}
        }
    }
}

impl Wake for InlineTask {
    fn wake(self: Arc<Self>) {
        if let Some(ready) = self.ready.upgrade()
            && !self.is_queued.swap(true, Ordering::SeqCst)
        {
            lock(&ready).push_back(self);
        }
    }
}

impl Executor for Arc<InlineExecutor> {
    fn spawn(&self, job: JobFuture) {
        self.add(Work::Future(job));
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        self.add(Work::Blocking(job));
    }
}
