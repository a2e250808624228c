//! Waits that are held, polled by hand, and woken by wakers that count.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use jobber::{Job, JobStatus, NextRun, Run, Wait};

#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        // One thread does all.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

enum Waiting {
    Wait(Wait),
    Next(NextRun, Option<Run>),
}

struct Held {
    job: Job<u64>,
    waiting: Waiting,
    wakes: Arc<Wakes>,
    /// It may be over: the job was replaced, and a run may have ended with which
    /// it started over.
    may_be_over: bool,
}

/// All that are held.
#[derive(Default)]
pub struct Waits(Vec<Held>);

impl Held {
    /// Whether it is over, and gives what fits.
    fn poll(&mut self) -> Poll<Result<(), String>> {
        let waker = Waker::from(self.wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let job = &self.job;
        match &mut self.waiting {
            Waiting::Wait(wait) => {
                Pin::new(wait)
                    .poll(&mut cx)
                    .map(|status: JobStatus| match status == job.status() {
                        true => Ok(()),
                        false => Err(format!("a wait gave {status}, and {job:?}")),
                    })
            }
            Waiting::Next(next, before) => Pin::new(next).poll(&mut cx).map(|run| {
                let fits = match run {
                    Some(run) => Some(run) == job.last_run() && Some(run) != *before,
                    None => self.may_be_over || job.last_run() == *before,
                };
                match fits {
                    true => Ok(()),
                    false => Err(format!("a wait for the next run gave {run:?}: {job:?}")),
                }
            }),
        }
    }

    fn is_over(&self) -> bool {
        match &self.waiting {
            Waiting::Wait(_) => self.job.is_done(),
            Waiting::Next(..) if self.may_be_over => self.job.is_done(),
            Waiting::Next(_, before) => self.job.is_done() || self.job.last_run() != *before,
        }
    }
}

impl Waits {
    pub fn begin(&mut self, job: Job<u64>, is_for_run: bool) {
        let waiting = match is_for_run {
            true => Waiting::Next(job.next_run(), job.last_run()),
            false => Waiting::Wait(job.wait()),
        };
        let mut held = Held {
            job,
            waiting,
            wakes: Arc::default(),
            may_be_over: false,
        };
        // What is over at once needs no waking.
        if held.poll().is_pending() {
            self.0.push(held);
        }
    }

    /// A job takes on another trigger.
    pub fn replaced(&mut self, id: &str) {
        for held in &mut self.0 {
            let is_next = matches!(held.waiting, Waiting::Next(..));
            held.may_be_over |= is_next && *held.job.id() == id;
        }
    }

    pub fn drop_first(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
    }

    /// Each is over exactly if it should be, and was woken for it.
    pub fn check(&mut self, is_stopped: bool) -> Result<(), String> {
        let mut fault = Ok(());
        self.0.retain_mut(|held| {
            let should = is_stopped || held.is_over();
            let was_woken = held.wakes.0.load(Ordering::Relaxed) > 0;
            let may = should || held.may_be_over;
            let result = match held.poll() {
                Poll::Ready(_) if !may => Err("ended too early"),
                Poll::Ready(_) if !was_woken => Err("was not woken"),
                Poll::Ready(Err(text)) => {
                    fault = Err(text);
                    return false;
                }
                Poll::Ready(Ok(())) => return false,
                Poll::Pending if should => Err("should have ended"),
                Poll::Pending => Ok(()),
            };
            if let Err(text) = result {
                fault = Err(format!("a wait {text}: {:?}", held.job));
            }
            true
        });
        fault
    }
}
