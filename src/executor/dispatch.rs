//! From due to running: the [`Dispatcher`].
//!
//! A few due jobs are spawned one by one. Many go into a ready queue instead,
//! and *drainers* are spawned: each takes a job, polls it once, and gives it a
//! task of its own only if it has to wait. That is two to three times as fast as
//! a spawn for each job, most of which end in their first poll.
//!
//! A first poll may be slow, or wait for another job of the queue. So whenever a
//! drainer is about to poll a job and there are more, another drainer is there
//! that the executor can run if it has a thread to spare; with none to spare,
//! there is just that one more. How many run at a time is the executor's affair.

use std::any::Any;
use std::collections::VecDeque;
use std::task::{Context, Poll};

use crate::clock::Now;
use crate::execution::{Execution, Exit, Fired};
use crate::executor::{BlockingJob, Executor, Handed, JobFuture};
use crate::panics::{contain, drop_contained};
use crate::sync::{Apart, Arc, Mutex, lock};

type Job = Arc<dyn Execution>;

/// A job in the ready queue.
struct Ready {
    job: Job,
    /// The timer has not touched it: its memory comes into the caches of the
    /// thread that starts it, and of no other.
    is_untouched: bool,
}

/// Up to this many due at once are spawned one by one.
pub(crate) const FEW: usize = 4;

/// A drainer gives way to the executor's other tasks after so many jobs.
const JOBS_PER_POLL: usize = 64;

/// How often a drainer is spawned in place of one that is gone without having
/// taken a job: an executor that drops them all gets no more.
const FRUITLESS_SPAWNS: usize = 8;

pub(crate) struct Dispatcher {
    /// `None` once the app has stopped: the executor may hold drainers, and they
    /// hold this.
    executor: Mutex<Option<Arc<dyn Executor>>>,
    table: Arc<dyn Leaving>,
    queue: Apart<Mutex<ReadyQueue>>,
}

struct ReadyQueue {
    jobs: VecDeque<Ready>,
    /// When the timer last found untouched ones due: by then all of them are.
    now: Now,
    /// Drainers that have not ended.
    drainers: usize,
    /// Those of them that the executor can run, and does not just now.
    waiting: usize,
    /// Somebody is spawning one. Only one at a time: an executor that runs them
    /// inside `spawn` would go as deep as there are jobs.
    is_spawning: bool,
}

impl Dispatcher {
    pub(crate) fn new(executor: Arc<dyn Executor>, table: Arc<dyn Leaving>) -> Self {
        Self {
            executor: Mutex::new(Some(executor)),
            table,
            queue: Apart(Mutex::new(ReadyQueue {
                jobs: VecDeque::new(),
                now: Now::NEVER,
                drainers: 0,
                waiting: 0,
                is_spawning: false,
            })),
        }
    }

    pub(crate) fn submit_one(&self, job: Job) {
        if job.is_blocking() {
            let job = BlockingJob::new(job);
            let _ = contain(|| self.executor().map(|executor| executor.spawn_blocking(job)));
        } else {
            self.spawn(JobFuture::one(job));
        }
    }

    fn executor(&self) -> Option<Arc<dyn Executor>> {
        lock(&self.executor).clone()
    }

    /// Gives whether it went well. If not, the future has been dropped, and with
    /// that the attempt has failed.
    fn spawn(&self, job: JobFuture) -> bool {
        contain(|| self.executor().map(|executor| executor.spawn(job))) == Ok(Some(()))
    }

    /// Nothing is spawned any more.
    pub(crate) fn close(&self) {
        let executor = lock(&self.executor).take();
        drop_contained(executor);
        let jobs = std::mem::take(&mut lock(&self.queue).jobs);
        drop_contained(jobs);
    }

    /// Takes all jobs out of `jobs`.
    pub(crate) fn submit(self: &Arc<Self>, jobs: &mut Vec<Job>) {
        // Behind others they queue up, for first come is first served.
        if jobs.len() <= FEW && lock(&self.queue).jobs.is_empty() {
            jobs.drain(..).for_each(|job| self.submit_one(job));
            return;
        }
        let mut blocking = Vec::new();
        let must_spawn = {
            let mut queue = lock(&self.queue);
            for job in jobs.drain(..) {
                if job.is_blocking() {
                    blocking.push(job);
                } else {
                    queue.jobs.push_back(Ready {
                        job,
                        is_untouched: false,
                    });
                }
            }
            queue.begin_spawning()
        };
        self.see_to_queue(must_spawn);
        blocking.into_iter().for_each(|job| self.submit_one(job));
    }

    /// Takes all jobs out of `jobs`, which were found due at `now` and have not
    /// been fired.
    pub(crate) fn submit_due(self: &Arc<Self>, jobs: &mut Vec<Job>, now: Now) {
        let must_spawn = {
            let mut queue = lock(&self.queue);
            queue.now = now;
            queue.jobs.extend(jobs.drain(..).map(|job| Ready {
                job,
                is_untouched: true,
            }));
            queue.begin_spawning()
        };
        self.see_to_queue(must_spawn);
    }

    fn see_to_queue(self: &Arc<Self>, must_spawn: bool) {
        if must_spawn {
            self.spawn_drainer();
        }
        // No drainer could be spawned: each job on its own, so that each has
        // its own spawn to fail by.
        let (orphans, now) = lock(&self.queue).take_orphans();
        let jobs = orphans.into_iter().filter_map(|ready| ready.fired(now));
        jobs.for_each(|job| self.submit_one(job));
    }

    /// Drops a foreign value on a thread of the executor.
    pub(crate) fn dispose(&self, value: Box<dyn Any + Send>) {
        self.spawn(JobFuture::disposal(value));
    }

    /// Spawns a drainer, until one waits. The caller has begun the spawning.
    fn spawn_drainer(self: &Arc<Self>) {
        let mut fruitless = 0;
        let mut jobs_before = usize::MAX;
        loop {
            {
                let mut queue = lock(&self.queue);
                let jobs = queue.jobs.len();
                fruitless = if jobs < jobs_before { 0 } else { fruitless + 1 };
                jobs_before = jobs;
                if jobs == 0 || queue.waiting > 0 || fruitless > FRUITLESS_SPAWNS {
                    // In one step with the look: whoever comes next sees both.
                    queue.is_spawning = false;
                    return;
                }
                queue.drainers += 1;
                queue.waiting += 1;
            }
            let drainer = Drainer {
                dispatcher: self.clone(),
                state: State::Waiting,
                done: Done {
                    table: self.table.clone(),
                    slots: Vec::new(),
                },
            };
            if !self.spawn(JobFuture::many(drainer)) {
                lock(&self.queue).is_spawning = false;
                return;
            }
        }
    }
}

impl Ready {
    /// The job, if it is to start.
    fn fired(self, now: Now) -> Option<Job> {
        if self.is_untouched && self.job.fire(now) != Fired::Start {
            // What it holds is foreign, and this may be the timer's thread.
            self.job.let_go();
            return None;
        }
        Some(self.job)
    }
}

impl ReadyQueue {
    /// Whether the caller is the one who has to spawn a drainer now.
    fn begin_spawning(&mut self) -> bool {
        let must = !self.jobs.is_empty() && self.waiting == 0 && !self.is_spawning;
        self.is_spawning |= must;
        must
    }

    /// What nobody is going to take out.
    fn take_orphans(&mut self) -> (VecDeque<Ready>, Now) {
        let orphans = if self.drainers == 0 && !self.is_spawning {
            std::mem::take(&mut self.jobs)
        } else {
            VecDeque::new()
        };
        (orphans, self.now)
    }
}

/// Starts the jobs of the ready queue, until it is empty.
pub(crate) struct Drainer {
    dispatcher: Arc<Dispatcher>,
    state: State,
    done: Done,
}

/// The slots of jobs that are done and still in the table, to be taken out
/// together. They hold nothing but memory.
struct Done {
    table: Arc<dyn Leaving>,
    slots: Vec<u32>,
}

/// The table, as those see it who take jobs out.
pub(crate) trait Leaving: Send + Sync {
    /// A job is done that will be taken out later.
    fn stays(&self);
    /// Takes out those in these slots.
    fn take_out(&self, slots: &mut Vec<u32>);
}

impl Done {
    const AT_A_TIME: usize = 32;

    fn push(&mut self, slot: u32) {
        self.table.stays();
        self.slots.push(slot);
        if self.slots.len() == Self::AT_A_TIME {
            self.take_out();
        }
    }

    fn take_out(&mut self) {
        if !self.slots.is_empty() {
            self.table.take_out(&mut self.slots);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the executor's hands, and counted as waiting.
    Waiting,
    Running,
    /// No longer counted at all.
    SignedOff,
}

impl Drainer {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state == State::SignedOff {
            return Poll::Ready(());
        }
        for _ in 0..JOBS_PER_POLL {
            let Some((ready, now)) = self.next_job() else {
                self.done.take_out();
                return Poll::Ready(());
            };
            let Some(job) = ready.fired(now) else {
                continue;
            };
            if job.is_blocking() {
                self.dispatcher.submit_one(job);
                continue;
            }
            let slot = job.core().slot;
            let mut handed = Handed::new(job);
            match handed.poll(cx) {
                Poll::Ready(Exit::Stays) => self.done.push(slot),
                Poll::Ready(Exit::Done) => {}
                Poll::Pending => {
                    self.dispatcher.spawn(JobFuture::handed(handed));
                }
            }
        }
        self.done.take_out();
        self.state = State::Waiting;
        lock(&self.dispatcher.queue).waiting += 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes a job, and sees to it that another drainer is there for the rest.
    fn next_job(&mut self) -> Option<(Ready, Now)> {
        let (job, now, must_spawn) = {
            let mut queue = lock(&self.dispatcher.queue);
            if self.state == State::Waiting {
                self.state = State::Running;
                queue.waiting -= 1;
            }
            let job = queue.jobs.pop_front();
            if job.is_none() {
                // In one step with finding it empty: whoever adds jobs later
                // sees that a drainer is missing.
                queue.drainers -= 1;
                self.state = State::SignedOff;
                // A rush is over some time, and its memory is not kept.
                queue.jobs.shrink_to(JOBS_PER_POLL);
            }
            (job, queue.now, queue.begin_spawning())
        };
        if must_spawn {
            self.dispatcher.spawn_drainer();
        }
        job.map(|job| (job, now))
    }
}

impl Drop for Drainer {
    /// The executor let go of it. If it was the last, so are the jobs in the
    /// queue, and their attempts have failed.
    fn drop(&mut self) {
        self.done.take_out();
        if self.state == State::SignedOff {
            return;
        }
        let (orphans, now) = {
            let mut queue = lock(&self.dispatcher.queue);
            queue.drainers -= 1;
            if self.state == State::Waiting {
                queue.waiting -= 1;
            }
            queue.take_orphans()
        };
        let jobs = orphans.into_iter().filter_map(|ready| ready.fired(now));
        jobs.map(JobFuture::one).for_each(drop);
    }
}
