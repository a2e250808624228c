//! [`ReadyQueue`]: the due jobs of a burst that no runner has started.

use std::collections::VecDeque;
use std::ops::Range;

use crate::job::live_job::{Fired, LiveJob};
use crate::sync::cache_padded::CachePadded;
use crate::sync::primitives::{Arc, Mutex, MutexGuard, lock};
use crate::timer::key::Tag;
use crate::value::time_units::Now;

/// A runner takes this many jobs at a time from a long queue, and half of a short one.
const JOBS_PER_TAKE: usize = 64;

/// After this many spawns in a row without a runner that took a job, no more runners are
/// spawned: the executor seems to drop them.
const MAX_FAILED_SPAWNS: usize = 8;

/// A due job that has not begun.
pub(crate) struct ReadyJob {
    pub(crate) job: Arc<dyn LiveJob>,
    pub(crate) is_fired: bool,
}

impl ReadyJob {
    /// Fires the job, unless that was done. Returns the job if it is to start.
    pub(crate) fn fire(self, now: Now) -> Option<Arc<dyn LiveJob>> {
        if !self.is_fired && self.job.on_timer(now) != Fired::Start {
            // This may be the timer's thread, which must not drop a user's value.
            self.job.drop_safely();
            return None;
        }
        Some(self.job)
    }
}

/// The jobs that one runner has taken and not begun. Other runners steal from it.
///
/// Its lock may be taken while the [`ReadyQueue`] is locked, and not the other way round.
#[derive(Default)]
pub(crate) struct LocalQueue(CachePadded<Mutex<VecDeque<ReadyJob>>>);

impl std::ops::Deref for LocalQueue {
    type Target = Mutex<VecDeque<ReadyJob>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The queue that the runners share.
pub(crate) struct ReadyQueue {
    ready: VecDeque<Segment>,
    /// The time at which the timer last found jobs due. All jobs in the queue that have not been
    /// fired are due by then.
    pub(crate) now: Now,
    /// The local queue of each runner that has not ended.
    runners: Vec<Arc<LocalQueue>>,
    /// A thread is spawning runners. Only one thread does at a time: with an executor
    /// that polls inside `spawn`, the recursion would otherwise be as deep as there are
    /// jobs.
    pub(crate) is_spawning: bool,
    /// How many times a runner has taken jobs. It wraps.
    takes: usize,
    /// The value of `takes` at the last spawn of a runner.
    takes_at_spawn: usize,
    /// The spawns in a row before the last one that led to no take.
    failed_spawns: usize,
}

/// A part of the queue, in the order of due times.
pub(crate) enum Segment {
    /// Jobs that were looked up in the table.
    Jobs(VecDeque<ReadyJob>),
    /// Keys of jobs that were not looked up, and so not fired. The runner that takes them
    /// looks them up, so that a job's memory comes into the caches of the thread that
    /// starts it and of no other.
    Keys(DueKeys),
}

/// A range of the keys that came due together. Taking a part of it copies no key.
#[derive(Clone)]
pub(crate) struct DueKeys {
    tags: Arc<[Tag]>,
    range: Range<usize>,
}

impl DueKeys {
    pub(crate) fn new(tags: Arc<[Tag]>) -> Self {
        let range = 0..tags.len();
        Self { tags, range }
    }

    pub(crate) fn tags(&self) -> &[Tag] {
        &self.tags[self.range.clone()]
    }

    /// `count` is at most the length.
    fn split_first(&mut self, count: usize) -> Self {
        let mut first = self.clone();
        first.range.end = self.range.start + count;
        self.range.start = first.range.end;
        first
    }
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Segment::Jobs(jobs) => jobs.len(),
            Segment::Keys(keys) => keys.range.len(),
        }
    }

    /// `count` is at most the length.
    fn split_first(&mut self, count: usize) -> Self {
        match self {
            Segment::Jobs(jobs) => Segment::Jobs(jobs.drain(..count).collect()),
            Segment::Keys(keys) => Segment::Keys(keys.split_first(count)),
        }
    }
}

impl ReadyQueue {
    pub(crate) fn new() -> Self {
        Self {
            ready: VecDeque::new(),
            now: Now::UNREAD,
            runners: Vec::new(),
            is_spawning: false,
            takes: 0,
            takes_at_spawn: 0,
            failed_spawns: 0,
        }
    }

    pub(crate) fn push(&mut self, segment: Segment) {
        if segment.len() > 0 {
            self.ready.push_back(segment);
        }
        self.failed_spawns = 0;
    }

    /// Adds a job that has been fired.
    pub(crate) fn push_fired(&mut self, job: Arc<dyn LiveJob>) {
        let is_fired = true;
        let job = ReadyJob { job, is_fired };
        match self.ready.back_mut() {
            Some(Segment::Jobs(jobs)) => jobs.push_back(job),
            _ => self.push(Segment::Jobs(VecDeque::from([job]))),
        }
    }

    /// Takes all jobs that are in no local queue.
    pub(crate) fn take_all(&mut self) -> VecDeque<Segment> {
        std::mem::take(&mut self.ready)
    }

    /// Whether there is a job that has not begun.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.ready.is_empty() || self.runners.iter().any(|local| !lock(local).is_empty())
    }

    /// Takes jobs from the queue, or else from the local queue of another runner.
    ///
    /// If there are none, it removes the runner that asks. Both are one step under the
    /// queue's lock, so a thread that pushes jobs later sees that a runner is missing.
    pub(crate) fn take_or_remove_runner(&mut self, own: &Arc<LocalQueue>) -> Option<Segment> {
        let found = self.take_first().or_else(|| self.steal(own));
        if found.is_some() {
            self.takes = self.takes.wrapping_add(1);
        } else {
            self.remove_runner(own);
            // The burst is over, and its memory is not kept.
            self.ready = VecDeque::new();
        }
        found
    }

    fn take_first(&mut self) -> Option<Segment> {
        let is_last = self.ready.len() == 1;
        let first = self.ready.front_mut()?;
        let count = if is_last {
            half_of(first.len())
        } else {
            JOBS_PER_TAKE
        };
        if count >= first.len() {
            return self.ready.pop_front();
        }
        Some(first.split_first(count))
    }

    fn steal(&mut self, own: &Arc<LocalQueue>) -> Option<Segment> {
        let others = self.runners.iter();
        let others = others.filter(|local| !Arc::ptr_eq(local, own));
        others
            .map(|local| lock(local))
            .find_map(|mut local: MutexGuard<'_, _>| {
                let left = local.len() - half_of(local.len());
                let stolen = local.split_off(left);
                (!stolen.is_empty()).then_some(Segment::Jobs(stolen))
            })
    }

    /// Moves the jobs of a local queue back to the front of this queue, where they are
    /// the next to be taken.
    pub(crate) fn take_back(&mut self, local: &LocalQueue) {
        let jobs = std::mem::take(&mut *lock(local));
        if !jobs.is_empty() {
            self.ready.push_front(Segment::Jobs(jobs));
        }
    }

    pub(crate) fn has_runners(&self) -> bool {
        !self.runners.is_empty()
    }

    /// Whether nothing takes jobs: no runner lives, and no thread is spawning one.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.runners.is_empty() && !self.is_spawning
    }

    /// Adds a runner that is about to be spawned.
    pub(crate) fn add_runner(&mut self, local: Arc<LocalQueue>) {
        self.failed_spawns = if self.takes == self.takes_at_spawn {
            self.failed_spawns + 1
        } else {
            0
        };
        self.takes_at_spawn = self.takes;
        self.runners.push(local);
    }

    pub(crate) fn remove_runner(&mut self, local: &Arc<LocalQueue>) {
        self.runners.retain(|other| !Arc::ptr_eq(other, local));
    }

    /// Whether the executor seems to drop every runner.
    pub(crate) fn drops_runners(&self) -> bool {
        self.takes == self.takes_at_spawn && self.failed_spawns > MAX_FAILED_SPAWNS
    }

    /// Takes the jobs of all local queues.
    pub(crate) fn drain_local_queues(&mut self) -> Vec<VecDeque<ReadyJob>> {
        let queues = self.runners.iter();
        queues
            .map(|local| std::mem::take(&mut *lock(local)))
            .collect()
    }
}

/// Half of `len`, rounded up, and at most what a runner takes at a time.
fn half_of(len: usize) -> usize {
    len.div_ceil(2).min(JOBS_PER_TAKE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::key::KeyKind;

    fn keys(count: u32) -> Segment {
        let tags = (0..count).map(|slot| Tag::new(1, KeyKind::Start, slot));
        Segment::Keys(DueKeys::new(tags.collect()))
    }

    fn slots(segment: &Segment) -> Vec<u32> {
        match segment {
            Segment::Keys(keys) => keys.tags().iter().map(|tag| tag.slot()).collect(),
            Segment::Jobs(_) => panic!("only keys were pushed"),
        }
    }

    fn with_runner(queue: &mut ReadyQueue) -> Arc<LocalQueue> {
        let local = Arc::new(LocalQueue::default());
        queue.add_runner(local.clone());
        local
    }

    #[test]
    fn a_runner_takes_jobs_in_order_and_half_of_the_last_segment() {
        let mut queue = ReadyQueue::new();
        let runner = with_runner(&mut queue);
        queue.push(keys(100));
        queue.push(keys(3));
        let takes: Vec<_> = std::iter::from_fn(|| queue.take_or_remove_runner(&runner))
            .map(|segment| slots(&segment))
            .collect();
        let expected: [Vec<u32>; 4] = [(0..64).collect(), (64..100).collect(), vec![0, 1], vec![2]];
        assert_eq!(takes, expected);
        assert!(!queue.has_runners(), "removed when the queue was empty");
    }

    #[test]
    fn an_empty_segment_is_no_job() {
        let mut queue = ReadyQueue::new();
        queue.push(keys(0));
        assert!(!queue.has_jobs());
    }

    #[test]
    fn runners_without_a_take_are_failed_spawns_until_jobs_are_pushed() {
        let mut queue = ReadyQueue::new();
        queue.push(keys(1_000));
        for _ in 0..=MAX_FAILED_SPAWNS {
            assert!(!queue.drops_runners());
            let dropped = with_runner(&mut queue);
            queue.remove_runner(&dropped);
        }
        assert!(queue.drops_runners() && queue.is_abandoned());
        queue.push(keys(1));
        assert!(!queue.drops_runners());
    }

    #[test]
    fn a_take_ends_a_row_of_failed_spawns() {
        let mut queue = ReadyQueue::new();
        queue.push(keys(10_000));
        for _ in 0..3 * MAX_FAILED_SPAWNS {
            let runner = with_runner(&mut queue);
            assert!(queue.take_or_remove_runner(&runner).is_some());
            queue.remove_runner(&runner);
            assert!(!queue.drops_runners());
        }
    }
}
