//! From due to running: the [`Dispatcher`].
//!
//! A few due jobs are spawned one by one. Many go into a ready queue instead,
//! and *drainers* are spawned: each takes some, polls each of them once, and gives
//! those a task of their own that have to wait. That is two to three times as fast
//! as a spawn for each job, most of which end in their first poll.
//!
//! A first poll may be slow, or wait for another job of the queue. So whenever a
//! drainer is about to poll a job and there are more, another drainer is there
//! that the executor can run if it has a thread to spare; with none to spare,
//! there is just that one more. How many run at a time is the executor's affair.
//! What a drainer has taken and not begun, the others take from it once the queue
//! is empty.

use std::any::Any;
use std::collections::VecDeque;

use crate::executor::job_future::{BlockingJob, Executor, JobFuture};
use crate::job::live_job::{ExecutorJob, Fired, JobView, LiveJob, TimerJob};
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, AtomicUsize, CachePadded, Mutex, Ordering, lock};
use crate::timer::heap::Tag;
use crate::value::clock::Now;

use crate::executor::drainer::Drainer;
use crate::executor::ready_queue::{DueTags, Piece, ReadyQueue, Share};

type Job = Arc<dyn LiveJob>;

pub(crate) struct Taken {
    pub(crate) job: Job,
    /// The timer has seen to it.
    pub(crate) is_fired: bool,
}

/// The live jobs, as those see them who start many.
pub(crate) trait LiveJobs: Send + Sync {
    /// Those that these keys stand for, which the timer has handed over.
    fn take_handed(&self, tags: &[Tag]) -> Vec<Job>;
    /// A job is done that will be taken out later.
    fn stays(&self);
    /// Takes out those in these slots.
    fn take_out(&self, slots: &mut Vec<u32>);
}

/// Up to this many due at once are spawned one by one. In a model two are many: the
/// orders of five are too many to be tried.
pub(crate) const FEW: usize = if cfg!(loom) { 1 } else { 4 };

/// A drainer gives way to the executor's other tasks after so many jobs.
pub(crate) const JOBS_PER_POLL: usize = 256;

/// A drainer takes so many at a time, or half of what there is.
pub(crate) const TAKEN_AT_A_TIME: usize = 64;

/// How often a drainer is spawned in place of one that is gone without having
/// taken a job: an executor that drops them all gets no more.
pub(crate) const FRUITLESS_SPAWNS: usize = 8;

pub(crate) struct Dispatcher {
    /// `None` once the app has stopped: the executor may hold drainers, and they
    /// hold this.
    executor: Mutex<Option<Arc<dyn Executor>>>,
    pub(crate) jobs: Arc<dyn LiveJobs>,
    pub(crate) queue: CachePadded<Mutex<ReadyQueue>>,
    /// Drainers that the executor can run, and does not just now. Changed under the
    /// queue's lock, and looked at without it.
    pub(crate) waiting: CachePadded<AtomicUsize>,
}

impl Dispatcher {
    pub(crate) fn new(executor: Arc<dyn Executor>, jobs: Arc<dyn LiveJobs>) -> Self {
        Self {
            executor: Mutex::new(Some(executor)),
            jobs,
            queue: CachePadded(Mutex::new(ReadyQueue::new())),
            waiting: CachePadded::default(),
        }
    }

    pub(crate) fn submit_one(&self, job: Job) {
        if job.is_blocking() {
            let job = BlockingJob::new(job);
            let _ = catch_panic(|| self.executor().map(|executor| executor.spawn_blocking(job)));
        } else {
            self.spawn(JobFuture::one(job));
        }
    }

    fn executor(&self) -> Option<Arc<dyn Executor>> {
        lock(&self.executor).clone()
    }

    /// Gives whether it went well. If not, the future has been dropped, and with
    /// that the attempt has failed.
    pub(crate) fn spawn(&self, job: JobFuture) -> bool {
        catch_panic(|| self.executor().map(|executor| executor.spawn(job))) == Ok(Some(()))
    }

    /// Nothing is spawned any more.
    pub(crate) fn close(&self) {
        let executor = lock(&self.executor).take();
        drop_catching_panic(executor);
        let left = {
            let mut queue = lock(&self.queue);
            (queue.take_all(), queue.empty_shares())
        };
        drop_catching_panic(left);
    }

    /// Takes all jobs out of `jobs`.
    pub(crate) fn submit(self: &Arc<Self>, jobs: &mut Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        // Behind others they queue up, for first come is first served: behind those
        // too that come when a drainer is still there.
        if jobs.len() <= FEW && !lock(&self.queue).has_drainers() {
            jobs.drain(..).for_each(|job| self.submit_one(job));
            return;
        }
        let (blocking, rest): (Vec<_>, Vec<_>) = jobs.drain(..).partition(|job| job.is_blocking());
        let rest = rest.into_iter().map(|job| Taken {
            job,
            is_fired: true,
        });
        self.enqueue(Piece::Taken(rest.collect()), None);
        blocking.into_iter().for_each(|job| self.submit_one(job));
    }

    /// Takes in keys that were found due at `now`. They have been
    /// [handed over](crate::registry::table::Table::hand_over).
    pub(crate) fn submit_due(self: &Arc<Self>, tags: impl Iterator<Item = Tag>, now: Now) {
        self.enqueue(Piece::Due(DueTags::new(tags.collect())), Some(now));
    }

    fn enqueue(self: &Arc<Self>, piece: Piece, now: Option<Now>) {
        let must_spawn = {
            let mut queue = lock(&self.queue);
            queue.now = now.unwrap_or(queue.now);
            queue.push(piece);
            self.begin_spawning(&mut queue)
        };
        if !must_spawn {
            // A drainer is there, or somebody is spawning one.
            return;
        }
        self.spawn_drainer();
        // No drainer could be spawned: each job on its own, so that each has
        // its own spawn to fail by.
        self.take_orphans().for_each(|job| self.submit_one(job));
    }

    /// Whether the caller is the one who has to spawn a drainer now.
    pub(crate) fn begin_spawning(&self, queue: &mut ReadyQueue) -> bool {
        let must = !queue.is_spawning && self.needs_drainer(queue);
        queue.is_spawning |= must;
        must
    }

    fn needs_drainer(&self, queue: &ReadyQueue) -> bool {
        !self.is_any_waiting() && !queue.is_in_vain() && queue.is_any_left()
    }

    /// Relaxed, for it is exact only under the queue's lock, where it is changed;
    /// without that it is a reason to take the lock and look again.
    pub(crate) fn is_any_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Takes out what nobody else is going to, and fires it.
    pub(crate) fn take_orphans(&self) -> impl Iterator<Item = Job> {
        let (orphans, now) = {
            let mut queue = lock(&self.queue);
            let orphans = if queue.is_orphaned() {
                queue.take_all()
            } else {
                VecDeque::new()
            };
            (orphans, queue.now)
        };
        let taken: Vec<_> = orphans
            .into_iter()
            .flat_map(|piece| self.resolve(piece))
            .collect();
        taken.into_iter().filter_map(move |taken| taken.fired(now))
    }

    /// Looks up the jobs that keys stand for.
    pub(crate) fn resolve(&self, piece: Piece) -> VecDeque<Taken> {
        match piece {
            Piece::Taken(taken) => taken,
            Piece::Due(due) => {
                let jobs = self.jobs.take_handed(due.tags()).into_iter();
                jobs.map(|job| Taken {
                    job,
                    is_fired: false,
                })
                .collect()
            }
        }
    }

    /// Drops a foreign value on a thread of the executor.
    pub(crate) fn dispose(&self, value: Box<dyn Any + Send>) {
        self.spawn(JobFuture::disposal(value));
    }

    /// Spawns a drainer, until one waits. The caller has begun the spawning.
    pub(crate) fn spawn_drainer(self: &Arc<Self>) {
        loop {
            let share = Arc::new(Share::default());
            {
                let mut queue = lock(&self.queue);
                if !self.needs_drainer(&queue) {
                    // In one step with the look: whoever comes next sees both.
                    queue.is_spawning = false;
                    return;
                }
                queue.sign_on(share.clone());
                self.waiting.fetch_add(1, Ordering::Relaxed);
            }
            let drainer = Drainer::new(self.clone(), share);
            if !self.spawn(JobFuture::many(drainer)) {
                lock(&self.queue).is_spawning = false;
                return;
            }
        }
    }
}

impl Taken {
    /// The job, if it is to start.
    fn fired(self, now: Now) -> Option<Job> {
        if !self.is_fired && self.job.on_timer(now) != Fired::Start {
            // What it holds is foreign, and this may be the timer's thread.
            self.job.let_go();
            return None;
        }
        Some(self.job)
    }
}
