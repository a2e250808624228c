//! [`Dispatcher`]: passes due jobs to the executor.
//!
//! A few due jobs are spawned one by one. Many, a *burst*, go into a ready queue, and
//! *runners* are spawned. A runner takes some jobs of the queue, polls each once, and
//! spawns a job as a future of its own only if the job is pending. Most jobs end in their
//! first poll, so this is two to three times as fast as one spawn for each job.
//!
//! A first poll may take long, or wait for another job in the queue. So before a runner
//! polls a job while there are more, it makes sure that another runner waits for a thread
//! of the executor. How many runners run at a time is up to the executor. When the queue
//! is empty, runners steal jobs that other runners have taken and not begun.

use std::any::Any;
use std::future::Future;

use crate::executor::contract::Executor;
use crate::executor::job_future::JobFuture;
use crate::executor::live_jobs::LiveJobs;
use crate::executor::ready_queue::{DueKeys, ReadyJob, Segment};
use crate::executor::runner::Runner;
use crate::executor::runner_pool::RunnerPool;
use crate::job::live_job::LiveJob;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, lock};
use crate::timer::key::Tag;
use crate::value::time_units::Now;

type Job = Arc<dyn LiveJob>;

/// Up to this many jobs that are due at once are spawned one by one. In a loom model it
/// is 1, since loom cannot try all orders of five jobs.
pub(crate) const FEW: usize = if cfg!(loom) { 1 } else { 4 };

pub(crate) struct Dispatcher {
    pool: Arc<RunnerPool>,
}

impl Dispatcher {
    pub(crate) fn new(executor: Arc<dyn Executor>, jobs: Arc<dyn LiveJobs>) -> Self {
        Self {
            pool: Arc::new(RunnerPool::new(executor, jobs)),
        }
    }

    /// Spawns one job, which has been fired.
    pub(crate) fn submit_one(&self, job: Job) {
        self.pool.spawner.spawn_attempt(job);
    }

    /// Takes all jobs out of `jobs` and spawns them. They have been fired.
    pub(crate) fn submit(&self, jobs: &mut Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        // If there are runners, even a few jobs go to the end of the queue: first come,
        // first served.
        if jobs.len() <= FEW && !lock(&self.pool.queue).has_runners() {
            jobs.drain(..).for_each(|job| self.submit_one(job));
            return;
        }
        let (blocking, rest): (Vec<_>, Vec<_>) = jobs.drain(..).partition(|job| job.is_blocking());
        let rest = rest.into_iter().map(|job| ReadyJob {
            job,
            is_fired: true,
        });
        self.enqueue(Segment::Jobs(rest.collect()), None);
        blocking.into_iter().for_each(|job| self.submit_one(job));
    }

    /// Spawns the jobs of keys that were found due at `now`. The jobs have not been fired.
    /// The keys have been [handed over](crate::registry::table::Table::hand_over).
    pub(crate) fn submit_due(&self, tags: impl Iterator<Item = Tag>, now: Now) {
        self.enqueue(Segment::Keys(DueKeys::new(tags.collect())), Some(now));
    }

    fn enqueue(&self, segment: Segment, now: Option<Now>) {
        let must_spawn = {
            let mut queue = lock(&self.pool.queue);
            queue.now = now.unwrap_or(queue.now);
            queue.push(segment);
            self.pool.begin_spawning(&mut queue)
        };
        if !must_spawn {
            // A runner waits, or another thread is spawning one.
            return;
        }
        Runner::spawn(&self.pool);
        // If no runner could be spawned, each job is spawned by itself, so that each
        // fails by a spawn of its own.
        let abandoned = self.pool.take_abandoned();
        abandoned.for_each(|job| self.submit_one(job));
    }

    /// Drops a user's value on a thread of the executor. If it cannot be spawned, it is
    /// dropped here.
    pub(crate) fn drop_on_executor(&self, value: Box<dyn Any + Send>) {
        self.run_on_executor(async move { drop_catching_panic(value) });
    }

    /// Polls a future on the executor. If it can't be spawned, it is dropped here.
    pub(crate) fn run_on_executor(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.pool.spawner.spawn(JobFuture::boxed(future));
    }

    /// Nothing is spawned from here on.
    pub(crate) fn close(&self) {
        self.pool.close();
    }
}
