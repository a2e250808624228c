//! [`RunnerPool`]: what the runners of an app share.

use std::collections::VecDeque;

use crate::executor::contract::Executor;
use crate::executor::live_jobs::LiveJobs;
use crate::executor::ready_queue::{ReadyJob, ReadyQueue, Segment};
use crate::executor::spawner::Spawner;
use crate::job::live_job::LiveJob;
use crate::sync::cache_padded::CachePadded;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, AtomicUsize, Mutex, Ordering, lock};

/// The queue of due jobs, and the count of the runners that can take from it.
pub(crate) struct RunnerPool {
    pub(crate) spawner: Spawner,
    pub(crate) jobs: Arc<dyn LiveJobs>,
    pub(crate) queue: CachePadded<Mutex<ReadyQueue>>,
    /// The runners that the executor holds and does not poll at the moment. It is changed
    /// under the queue's lock, and read with or without that lock.
    pub(crate) waiting: CachePadded<AtomicUsize>,
}

impl RunnerPool {
    pub(crate) fn new(executor: Arc<dyn Executor>, jobs: Arc<dyn LiveJobs>) -> Self {
        Self {
            spawner: Spawner::new(executor),
            jobs,
            queue: CachePadded(Mutex::new(ReadyQueue::new())),
            waiting: CachePadded::default(),
        }
    }

    /// Whether a runner waits for the executor to poll it.
    ///
    /// Relaxed: the answer is exact only under the queue's lock, where the count is
    /// changed. Without the lock, it is a reason to take the lock and look again.
    pub(crate) fn is_any_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether the queue has jobs and no runner waits to take them.
    pub(crate) fn needs_runner(&self, queue: &ReadyQueue) -> bool {
        !self.is_any_waiting() && !queue.drops_runners() && queue.has_jobs()
    }

    /// Returns whether the caller must spawn runners now. If so, no other thread will.
    pub(crate) fn begin_spawning(&self, queue: &mut ReadyQueue) -> bool {
        let must = !queue.is_spawning && self.needs_runner(queue);
        queue.is_spawning |= must;
        must
    }

    /// Looks up the jobs of a segment.
    pub(crate) fn look_up(&self, segment: Segment) -> VecDeque<ReadyJob> {
        match segment {
            Segment::Jobs(jobs) => jobs,
            Segment::Keys(keys) => {
                let jobs = self.jobs.take_handed_over(keys.tags()).into_iter();
                jobs.map(|job| ReadyJob {
                    job,
                    is_fired: false,
                })
                .collect()
            }
        }
    }

    /// If the queue has no runner and none is being spawned, takes all its jobs, fires
    /// them, and returns those that are to start.
    pub(crate) fn take_abandoned(&self) -> impl Iterator<Item = Arc<dyn LiveJob>> {
        let (abandoned, now) = {
            let mut queue = lock(&self.queue);
            let abandoned = if queue.is_abandoned() {
                queue.take_all()
            } else {
                VecDeque::new()
            };
            (abandoned, queue.now)
        };
        let jobs: Vec<_> = abandoned
            .into_iter()
            .flat_map(|segment| self.look_up(segment))
            .collect();
        jobs.into_iter().filter_map(move |job| job.fire(now))
    }

    /// Drops the executor and all jobs that have not begun. From here on, spawning fails.
    pub(crate) fn close(&self) {
        self.spawner.close();
        let left = {
            let mut queue = lock(&self.queue);
            (queue.take_all(), queue.drain_local_queues())
        };
        drop_catching_panic(left);
    }
}
