//! From due to running: the [`Dispatcher`].
//!
//! A few due jobs are spawned one by one. Many go into a ready queue instead,
//! and a few *drainers* are spawned, one for each core: each takes a job, polls
//! it once, and gives it a task of its own only if it has to wait. That is two
//! to three times as fast as a spawn for each job, most of which end in their
//! first poll; a slow first poll holds up its own drainer alone.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::available_parallelism;

use crate::execution::Execution;
use crate::executor::{BlockingJob, Executor, JobFuture};
use crate::panics::contain;
use crate::sync::{Arc, Mutex, lock};

type Ready = Arc<dyn Execution>;

/// Up to this many due at once are spawned one by one.
const FEW: usize = 4;

/// A drainer gives way to the executor's other tasks after so many jobs.
const JOBS_PER_POLL: usize = 64;

pub(crate) struct Dispatcher {
    executor: Arc<dyn Executor>,
    max_drainers: usize,
    queue: Mutex<ReadyQueue>,
}

#[derive(Default)]
struct ReadyQueue {
    jobs: VecDeque<Ready>,
    /// Drainers that have not ended.
    drainers: usize,
    /// Calls that are spawning drainers just now, and look after the queue.
    spawning: usize,
}

impl Dispatcher {
    pub(crate) fn new(executor: Arc<dyn Executor>) -> Self {
        Self {
            executor,
            max_drainers: available_parallelism().map_or(1, usize::from),
            queue: Mutex::default(),
        }
    }

    pub(crate) fn submit_one(&self, job: Ready) {
        // A panic drops the future, and with that the attempt has failed.
        let _ = contain(|| {
            if job.is_blocking() {
                self.executor.spawn_blocking(BlockingJob::new(job));
            } else {
                self.executor.spawn(JobFuture::one(job));
            }
        });
    }

    /// Takes all jobs out of `jobs`.
    pub(crate) fn submit(self: &Arc<Self>, jobs: &mut Vec<Ready>) {
        if jobs.len() <= FEW {
            jobs.drain(..).for_each(|job| self.submit_one(job));
            return;
        }
        let mut blocking = Vec::new();
        let wanted = {
            let mut queue = lock(&self.queue);
            for job in jobs.drain(..) {
                if job.is_blocking() {
                    blocking.push(job);
                } else {
                    queue.jobs.push_back(job);
                }
            }
            let wanted = self.max_drainers.min(queue.jobs.len());
            let wanted = wanted.saturating_sub(queue.drainers);
            queue.drainers += wanted;
            queue.spawning += 1;
            wanted
        };
        for _ in 0..wanted {
            let drainer = Drainer {
                dispatcher: self.clone(),
                signed_off: false,
            };
            let _ = contain(|| self.executor.spawn(JobFuture::many(drainer)));
        }
        blocking.into_iter().for_each(|job| self.submit_one(job));
        let orphans = {
            let mut queue = lock(&self.queue);
            queue.spawning -= 1;
            queue.take_orphans()
        };
        // No drainer could be spawned: each job on its own, so that each has
        // its own spawn to fail by.
        orphans.into_iter().for_each(|job| self.submit_one(job));
    }
}

impl ReadyQueue {
    /// What nobody is going to take out.
    fn take_orphans(&mut self) -> VecDeque<Ready> {
        if self.drainers == 0 && self.spawning == 0 {
            std::mem::take(&mut self.jobs)
        } else {
            VecDeque::new()
        }
    }
}

/// Starts the jobs of the ready queue, until it is empty.
pub(crate) struct Drainer {
    dispatcher: Arc<Dispatcher>,
    /// It is no longer counted among the drainers.
    signed_off: bool,
}

impl Drainer {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.signed_off {
            return Poll::Ready(());
        }
        for _ in 0..JOBS_PER_POLL {
            let Some(job) = self.next_job() else {
                return Poll::Ready(());
            };
            let mut job = JobFuture::one(job);
            if Pin::new(&mut job).poll(cx).is_pending() {
                let _ = contain(|| self.dispatcher.executor.spawn(job));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Finding the queue empty and signing off is one step: whoever adds jobs
    /// later sees that a drainer is missing.
    fn next_job(&mut self) -> Option<Ready> {
        let mut queue = lock(&self.dispatcher.queue);
        let job = queue.jobs.pop_front();
        if job.is_none() {
            queue.drainers -= 1;
            self.signed_off = true;
        }
        job
    }
}

impl Drop for Drainer {
    /// The executor let go of it. If it was the last, so are the jobs in the
    /// queue, and their attempts have failed.
    fn drop(&mut self) {
        if !self.signed_off {
            let orphans = {
                let mut queue = lock(&self.dispatcher.queue);
                queue.drainers -= 1;
                queue.take_orphans()
            };
            orphans.into_iter().map(JobFuture::one).for_each(drop);
        }
    }
}
