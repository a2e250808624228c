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
}

/// All that are held.
#[derive(Default)]
pub struct Waits(Vec<Held>);

impl Held {
    /// Whether it is over, and gives what fits.
    fn poll(&mut self, is_stopped: bool) -> Poll<Result<(), String>> {
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
                    // A run that ended meanwhile would have been given.
                    None => {
                        let last = job.last_run();
                        is_stopped || job.is_done() && (last.is_none() || last == *before)
                    }
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
            // A job that starts over has had no run yet.
            Waiting::Next(_, before) => {
                let last = self.job.last_run();
                self.job.is_done() || last.is_some() && last != *before
            }
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
        };
        // What is over at once needs no waking.
        if held.poll(false).is_pending() {
            self.0.push(held);
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
            let result = match held.poll(is_stopped) {
                Poll::Ready(_) if !should => Err("ended too early"),
                Poll::Ready(_) if !was_woken => Err("was not woken"),
                Poll::Ready(Err(text)) => {
                    fault = Err(text);
                    return false;
                }
                Poll::Ready(Ok(())) => return false,
                Poll::Pending if should => Err("should have ended"),
                Poll::Pending => {
                    // It waits anew, and has to be woken anew.
                    held.wakes.0.store(0, Ordering::Relaxed);
                    Ok(())
                }
            };
            if let Err(text) = result {
                fault = Err(format!("a wait {text}: {:?}", held.job));
            }
            true
        });
        fault
    }
}
