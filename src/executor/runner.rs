//! [`Runner`]: a future that starts many jobs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::executor::job_future::JobFuture;
use crate::executor::live_jobs::LiveJobs;
use crate::executor::ready_queue::{LocalQueue, ReadyJob};
use crate::executor::runner_pool::RunnerPool;
use crate::executor::spawned_attempt::SpawnedAttempt;
use crate::job::live_job::Exit;
use crate::sync::primitives::{Arc, Ordering, lock};
use crate::value::time_units::Now;

/// After this many jobs, a runner lets the executor poll other tasks.
const JOBS_PER_POLL: usize = 256;

/// Starts the jobs of the ready queue until it is empty: polls each once, and spawns
/// those that are pending as futures of their own.
///
/// Dropping it before it is ready hands its jobs to another runner. If it was the last,
/// their attempts fail.
pub(crate) struct Runner {
    pool: Arc<RunnerPool>,
    local: Arc<LocalQueue>,
    /// All jobs in the local queue that have not been fired are due by then.
    now: Now,
    state: State,
    finished: FinishedJobs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not being polled, and counted in [`RunnerPool::waiting`].
    Waiting,
    Running,
    /// Removed from the queue's list of runners.
    Ended,
}

/// What a runner does next.
enum Next {
    Start(ReadyJob),
    /// Return from this poll, so that the executor polls other tasks.
    Yield,
    /// The queue is empty, and the runner has been removed from it.
    End,
}

impl Runner {
    fn new(pool: Arc<RunnerPool>, local: Arc<LocalQueue>) -> Self {
        let finished = FinishedJobs {
            jobs: pool.jobs.clone(),
            slots: Vec::new(),
        };
        Self {
            pool,
            local,
            now: Now::UNREAD,
            state: State::Waiting,
            finished,
        }
    }

    /// Spawns runners until one waits or the queue is empty. The caller has
    /// [begun the spawning](RunnerPool::begin_spawning).
    pub(crate) fn spawn(pool: &Arc<RunnerPool>) {
        loop {
            let local = Arc::new(LocalQueue::default());
            {
                let mut queue = lock(&pool.queue);
                if !pool.needs_runner(&queue) {
                    // In one step with the check, so that the next caller of
                    // `begin_spawning` sees both.
                    queue.is_spawning = false;
                    return;
                }
                queue.add_runner(local.clone());
                pool.waiting.fetch_add(1, Ordering::Relaxed);
            }
            let runner = Runner::new(pool.clone(), local);
            if !pool.spawner.spawn(JobFuture::boxed(runner)) {
                lock(&pool.queue).is_spawning = false;
                return;
            }
        }
    }

    /// Takes a job. If more are left, makes sure that another runner can take them.
    fn next(&mut self) -> Next {
        loop {
            let job = lock(&self.local).pop_front();
            let Some(job) = job else {
                if self.refill() {
                    continue;
                }
                return Next::End;
            };
            if self.pool.is_any_waiting() {
                return Next::Start(job);
            }
            let must_spawn = {
                let mut queue = lock(&self.pool.queue);
                self.pool.begin_spawning(&mut queue)
            };
            if must_spawn {
                Runner::spawn(&self.pool);
                if self.pool.is_any_waiting() {
                    // Some executors, such as tokio, keep the task that was spawned last
                    // for the spawning thread, and no other thread can take it. A task
                    // that yields can be taken. So this runner yields, and the new one
                    // goes on in its place.
                    lock(&self.local).push_front(job);
                    return Next::Yield;
                }
            }
            return Next::Start(job);
        }
    }

    /// Fills the local queue, which is empty. If there are no jobs, the runner ends, and
    /// `false` is returned.
    fn refill(&mut self) -> bool {
        let found = {
            let mut queue = lock(&self.pool.queue);
            self.now = queue.now;
            queue.take_or_remove_runner(&self.local)
        };
        let Some(found) = found else {
            self.state = State::Ended;
            return false;
        };
        let jobs = self.pool.look_up(found);
        *lock(&self.local) = jobs;
        true
    }
}

impl Future for Runner {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.state == State::Waiting {
            let _queue = lock(&this.pool.queue);
            this.pool.waiting.fetch_sub(1, Ordering::Relaxed);
            this.state = State::Running;
        }
        for _ in 0..JOBS_PER_POLL {
            let ReadyJob { job, is_fired } = match this.next() {
                Next::Start(job) => job,
                Next::Yield => break,
                Next::End => {
                    this.finished.remove();
                    return Poll::Ready(());
                }
            };
            let slot = job.core().slot;
            let mut attempt = if is_fired {
                SpawnedAttempt::new(job)
            } else {
                SpawnedAttempt::due(job, this.now)
            };
            match attempt.poll(cx) {
                Poll::Ready(Exit::MustRemove) => this.finished.push(slot),
                Poll::Ready(Exit::Done) => {}
                Poll::Ready(Exit::Granted(job)) => {
                    // Jobs in the queue have waited longer, and may be of other lines.
                    lock(&this.pool.queue).push_fired(job);
                    attempt.drop_ended();
                }
                Poll::Pending => {
                    this.pool.spawner.spawn(JobFuture::attempt(attempt));
                }
            }
        }
        this.finished.remove();
        {
            let mut queue = lock(&this.pool.queue);
            queue.take_back(&this.local);
            this.state = State::Waiting;
            this.pool.waiting.fetch_add(1, Ordering::Relaxed);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.finished.remove();
        if self.state == State::Ended {
            return;
        }
        let must_spawn = {
            let mut queue = lock(&self.pool.queue);
            queue.remove_runner(&self.local);
            if self.state == State::Waiting {
                self.pool.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            queue.take_back(&self.local);
            queue.has_runners() && self.pool.begin_spawning(&mut queue)
        };
        if must_spawn {
            Runner::spawn(&self.pool);
        }
        // Without a runner, the executor has dropped the jobs that are left: their
        // attempts fail.
        let abandoned = self.pool.take_abandoned();
        abandoned.map(SpawnedAttempt::new).for_each(drop);
    }
}

/// Slots of finished jobs that are still in the table. They are removed together, since
/// all jobs share the table's lock.
///
/// W3 of `benches/peers`, a million jobs due at once on two idle cores: 2.4 million jobs
/// per second, and 1.7 million if each job is removed by itself.
struct FinishedJobs {
    jobs: Arc<dyn LiveJobs>,
    slots: Vec<u32>,
}

impl FinishedJobs {
    const AT_A_TIME: usize = 64;

    fn push(&mut self, slot: u32) {
        self.jobs.count_finished();
        self.slots.push(slot);
        if self.slots.len() == Self::AT_A_TIME {
            self.remove();
        }
    }

    fn remove(&mut self) {
        if !self.slots.is_empty() {
            self.jobs.remove_finished(&mut self.slots);
        }
    }
}
