//! [`Drainer`]: what the executor polls to start many jobs.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::{Dispatcher, JOBS_PER_POLL, LiveJobs, Ready, ReadyQueue, TAKEN_AT_A_TIME, Taken};
use crate::clock::Now;
use crate::execution::Exit;
use crate::executor::{Handed, JobFuture};
use crate::sync::{Apart, Arc, Mutex, MutexGuard, Ordering, lock};

/// What a drainer has taken and not begun. Its lock is the queue's inner one, and is
/// nearly always its drainer's alone.
#[derive(Default)]
pub(super) struct Share(Apart<Mutex<VecDeque<Taken>>>);

impl std::ops::Deref for Share {
    type Target = Mutex<VecDeque<Taken>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Starts the jobs of the ready queue, until it is empty.
pub(crate) struct Drainer {
    dispatcher: Arc<Dispatcher>,
    share: Arc<Share>,
    /// By then all that it has taken is due.
    now: Now,
    state: State,
    done: Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the executor's hands, and counted as waiting.
    Waiting,
    Running,
    /// No longer counted at all.
    SignedOff,
}

/// What a drainer is to do next.
enum Next {
    Job(Taken),
    GiveWay,
    /// It has signed off.
    Nothing,
}

/// What a drainer finds in the queue.
enum Found {
    /// Some of what was there; not resolved yet.
    New(Vec<Ready>),
    /// Some that another drainer had taken.
    Stolen(VecDeque<Taken>),
}

impl Drainer {
    pub(super) fn new(dispatcher: Arc<Dispatcher>, share: Arc<Share>) -> Self {
        let done = Done {
            jobs: dispatcher.jobs.clone(),
            slots: Vec::new(),
        };
        Self {
            dispatcher,
            share,
            now: Now::NEVER,
            state: State::Waiting,
            done,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state == State::SignedOff {
            return Poll::Ready(());
        }
        if self.state == State::Waiting {
            let _queue = lock(&self.dispatcher.queue);
            self.dispatcher.waiting.fetch_sub(1, Ordering::Relaxed);
            self.state = State::Running;
        }
        for _ in 0..JOBS_PER_POLL {
            let taken = match self.next_job() {
                Next::Job(taken) => taken,
                Next::GiveWay => break,
                Next::Nothing => {
                    self.done.take_out();
                    return Poll::Ready(());
                }
            };
            let Taken { job, is_fired } = taken;
            if is_fired && job.is_blocking() {
                self.dispatcher.submit_one(job);
                continue;
            }
            let slot = job.core().slot;
            let mut handed = if is_fired {
                Handed::new(job)
            } else {
                Handed::due(job, self.now)
            };
            match handed.poll(cx) {
                Poll::Ready(Exit::Stays) => self.done.push(slot),
                Poll::Ready(Exit::Done) => {}
                Poll::Pending => {
                    self.dispatcher.spawn(JobFuture::handed(handed));
                }
            }
        }
        self.done.take_out();
        {
            let mut queue = lock(&self.dispatcher.queue);
            // First come, first served: whoever is polled next has them.
            queue.take_back(&self.share);
            self.state = State::Waiting;
            self.dispatcher.waiting.fetch_add(1, Ordering::Relaxed);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes a job, and sees to it that another drainer is there for the rest.
    fn next_job(&mut self) -> Next {
        loop {
            let taken = lock(&self.share).pop_front();
            let Some(taken) = taken else {
                match self.take_more() {
                    Some(()) => continue,
                    None => return Next::Nothing,
                }
            };
            if self.dispatcher.is_any_waiting() {
                return Next::Job(taken);
            }
            let must_spawn = {
                let mut queue = lock(&self.dispatcher.queue);
                self.dispatcher.begin_spawning(&mut queue)
            };
            if must_spawn {
                self.dispatcher.spawn_drainer();
                if self.dispatcher.is_any_waiting() {
                    // It may be where no other thread can take it from, as a task
                    // that was spawned last is in tokio. One that gives way is not:
                    // the new one goes on in its place, and this one waits.
                    lock(&self.share).push_front(taken);
                    return Next::GiveWay;
                }
            }
            return Next::Job(taken);
        }
    }

    /// Fills its share, which is empty. `None` when there is nothing left, and it has
    /// signed off.
    fn take_more(&mut self) -> Option<()> {
        let found = {
            let mut queue = lock(&self.dispatcher.queue);
            self.now = queue.now;
            let found = queue.find(&self.share);
            if found.is_some() {
                queue.taken = queue.taken.wrapping_add(1);
            } else {
                // In one step with finding nothing: whoever adds jobs later sees
                // that a drainer is missing.
                queue.sign_off(&self.share);
                self.state = State::SignedOff;
                // A rush is over some time, and its memory is not kept.
                queue.ready.shrink_to(JOBS_PER_POLL);
            }
            found?
        };
        let taken = match found {
            Found::New(ready) => self.dispatcher.resolve(ready.into_iter()).into(),
            Found::Stolen(taken) => taken,
        };
        *lock(&self.share) = taken;
        Some(())
    }
}

impl ReadyQueue {
    /// Takes some of what is in the queue, or else of what another has taken.
    fn find(&mut self, own: &Arc<Share>) -> Option<Found> {
        let half = |len: usize| len.div_ceil(2).min(TAKEN_AT_A_TIME);
        if !self.ready.is_empty() {
            let some = self.ready.drain(..half(self.ready.len()));
            return Some(Found::New(some.collect()));
        }
        let others = self
            .drainers
            .iter()
            .filter(|share| !Arc::ptr_eq(share, own));
        others
            .map(|share| lock(share))
            .find_map(|mut share: MutexGuard<'_, _>| {
                let left = share.len() - half(share.len());
                let stolen = share.split_off(left);
                (!stolen.is_empty()).then_some(Found::Stolen(stolen))
            })
    }

    fn take_back(&mut self, share: &Share) {
        for taken in lock(share).drain(..).rev() {
            self.ready.push_front(Ready::Taken(taken));
        }
    }

    fn sign_off(&mut self, share: &Arc<Share>) {
        self.drainers.retain(|other| !Arc::ptr_eq(other, share));
    }
}

impl Drop for Drainer {
    /// The executor let go of it. If it was the last, so are the jobs in the
    /// queue, and their attempts have failed; if not, another takes its place.
    fn drop(&mut self) {
        self.done.take_out();
        if self.state == State::SignedOff {
            return;
        }
        let must_spawn = {
            let mut queue = lock(&self.dispatcher.queue);
            queue.sign_off(&self.share);
            if self.state == State::Waiting {
                self.dispatcher.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            queue.take_back(&self.share);
            !queue.drainers.is_empty() && self.dispatcher.begin_spawning(&mut queue)
        };
        if must_spawn {
            self.dispatcher.spawn_drainer();
        }
        let orphans = self.dispatcher.take_orphans();
        orphans.map(JobFuture::one).for_each(drop);
    }
}

/// The slots of jobs that are done and still in the table, to be taken out
/// together. They hold nothing but memory.
struct Done {
    jobs: Arc<dyn LiveJobs>,
    slots: Vec<u32>,
}

impl Done {
    const AT_A_TIME: usize = 32;

    fn push(&mut self, slot: u32) {
        self.jobs.stays();
        self.slots.push(slot);
        if self.slots.len() == Self::AT_A_TIME {
            self.take_out();
        }
    }

    fn take_out(&mut self) {
        if !self.slots.is_empty() {
            self.jobs.take_out(&mut self.slots);
        }
    }
}
