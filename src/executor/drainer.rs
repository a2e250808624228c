//! [`Drainer`]: what the executor polls to start many jobs.

use std::task::{Context, Poll};

use crate::executor::dispatcher::{Dispatcher, JOBS_PER_POLL, LiveJobs, Taken};
use crate::executor::job_future::{Handed, JobFuture};
use crate::executor::ready_queue::Share;
use crate::job::live_job::{Exit, JobView};
use crate::sync::primitives::{Arc, Ordering, lock};
use crate::value::clock::Now;

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

impl Drainer {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, share: Arc<Share>) -> Self {
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
            let slot = job.core().slot;
            let mut handed = if is_fired {
                Handed::new(job)
            } else {
                Handed::due(job, self.now)
            };
            match handed.poll(cx) {
                Poll::Ready(Exit::MustRemove) => self.done.push(slot),
                Poll::Ready(Exit::Done) => {}
                Poll::Pending => {
                    self.dispatcher.spawn(JobFuture::handed(handed));
                }
            }
        }
        self.done.take_out();
        {
            let mut queue = lock(&self.dispatcher.queue);
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
            queue.find(&self.share)
        };
        let Some(found) = found else {
            self.state = State::SignedOff;
            return None;
        };
        let taken = self.dispatcher.resolve(found);
        *lock(&self.share) = taken;
        Some(())
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
            queue.has_drainers() && self.dispatcher.begin_spawning(&mut queue)
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
    const AT_A_TIME: usize = 64;

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
