//! Waits that are held, polled by hand, and woken by wakers that count.

use std::collections::BTreeSet;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use jobber::{AnyJob, Job, JobResult, JobStatus, Jobber, NextRun, Run, Wait, WaitTimeout};

use super::history::History;

#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        // One thread does all.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    End,
    /// The same, with a limit of centuries.
    EndAtLast,
    Result,
    NextRun,
}

enum Waiting {
    End(Wait),
    EndAtLast(WaitTimeout),
    Result(JobResult<u64>),
    Next {
        next: NextRun,
        before: Option<Run>,
        /// The attempts that had ended when the wait began.
        ended: usize,
    },
}

enum Held {
    Job(Job<u64>, Waiting),
    All(Jobber, Pin<Box<dyn Future<Output = ()>>>),
}

/// The waits that are held.
#[derive(Default)]
pub struct Waits {
    held: Vec<(Held, Arc<Wakes>)>,
    /// Paused jobs of which an attempt was asked for.
    pub asked: BTreeSet<String>,
    /// Those of which it is not known.
    pub unsure: BTreeSet<String>,
}

impl Held {
    fn new(job: Job<u64>, what: What, history: &History) -> Self {
        let waiting = match what {
            What::End => Waiting::End(job.wait()),
            What::EndAtLast => Waiting::EndAtLast(job.wait_timeout(Duration::MAX)),
            What::Result => Waiting::Result(job.clone().into_future()),
            What::NextRun => Waiting::Next {
                next: job.next_run(),
                before: job.last_run(),
                ended: history.ended(&job.id().to_string()),
            },
        };
        Held::Job(job, waiting)
    }

    /// Whether the wait has ended, with a value that fits.
    fn poll(
        &mut self,
        wakes: &Arc<Wakes>,
        is_stopped: bool,
        history: &History,
    ) -> Poll<Result<(), String>> {
        let may_be_twin = self.may_be_twin(history);
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let (job, waiting) = match self {
            Held::Job(job, waiting) => (job, waiting),
            Held::All(_, all) => return all.as_mut().poll(&mut cx).map(Ok),
        };
        let ends = |status: JobStatus| match status == job.status() {
            true => Ok(()),
            false => Err(format!("a wait gave {status}, and {job:?}")),
        };
        match waiting {
            Waiting::End(wait) => Pin::new(wait).poll(&mut cx).map(ends),
            Waiting::EndAtLast(wait) => Pin::new(wait).poll(&mut cx).map(ends),
            Waiting::Result(wait) => Pin::new(wait).poll(&mut cx).map(|result| {
                let (given, known) = (format!("{result:?}"), format!("{:?}", job.result()));
                match given == known {
                    true => Ok(()),
                    false => Err(format!("a wait gave {given}, and {job:?} {known}")),
                }
            }),
            Waiting::Next { next, before, .. } => Pin::new(next).poll(&mut cx).map(|run| {
                let fits = match run {
                    Some(run) => {
                        Some(run) == job.last_run() && (Some(run) != *before || may_be_twin)
                    }
                    // The wait would have returned a run that ended meanwhile.
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

    fn is_over(&self, asked: &BTreeSet<String>) -> bool {
        match self {
            // "It does not wait for a paused job."
            Held::All(app, _) => app.jobs().iter().all(|job| is_left(job, asked)),
            // A job that starts over has had no run yet.
            Held::Job(job, Waiting::Next { before, .. }) => {
                let last = job.last_run();
                job.is_done() || last.is_some() && last != *before
            }
            Held::Job(job, _) => job.is_done(),
        }
    }

    /// Whether it is not known if it is over.
    fn may_be_over(&self, unsure: &BTreeSet<String>) -> bool {
        let Held::All(app, _) = self else {
            return false;
        };
        let jobs = app.jobs();
        jobs.iter()
            .any(|job| unsure.contains(&job.id().to_string()))
    }

    /// Whether a run that ended since the wait began may be the same in all that it shows as
    /// the one before: the first runs of two series, at the same time.
    fn may_be_twin(&self, history: &History) -> bool {
        match self {
            Held::Job(job, Waiting::Next { before, ended, .. }) => {
                let last = job.last_run();
                last.is_some() && last == *before && history.ended(&job.id().to_string()) > *ended
            }
            _ => false,
        }
    }

    fn name(&self) -> String {
        match self {
            Held::All(..) => "for all jobs".into(),
            Held::Job(job, _) => format!("for {job:?}"),
        }
    }
}

/// Whether a pause holds a job that no run of which was asked for.
fn is_left(job: &AnyJob, asked: &BTreeSet<String>) -> bool {
    let waits = job.status() == JobStatus::Scheduled;
    job.is_paused() && waits && !asked.contains(&job.id().to_string())
}

impl Waits {
    pub fn begin(&mut self, job: Job<u64>, what: What, history: &History) -> Result<(), String> {
        // A wait without time returns the present status.
        let at_once = job.wait_timeout(Duration::ZERO).block_on();
        if at_once != job.status() {
            return Err(format!("a wait of no time gave {at_once}, and {job:?}"));
        }
        self.hold(Held::new(job, what, history), false, history);
        Ok(())
    }

    pub fn begin_all(&mut self, app: Jobber, is_stopped: bool, history: &History) {
        let all = Box::pin({
            let app = app.clone();
            async move { app.wait_all().await }
        });
        self.hold(Held::All(app, all), is_stopped, history);
    }

    fn hold(&mut self, mut held: Held, is_stopped: bool, history: &History) {
        let wakes = Arc::default();
        // What is over at once needs no waking.
        if held.poll(&wakes, is_stopped, history).is_pending() {
            self.held.push((held, wakes));
        }
    }

    pub fn drop_first(&mut self) {
        if !self.held.is_empty() {
            self.held.remove(0);
        }
    }

    /// Drops the waits for all jobs, which hold the app.
    pub fn let_go_of_app(&mut self) {
        self.held.retain(|(held, _)| matches!(held, Held::Job(..)));
    }

    /// Checks that each wait has ended exactly if it should, and was woken for that.
    pub fn check(&mut self, is_stopped: bool, history: &History) -> Result<(), String> {
        let mut fault = Ok(());
        self.held.retain_mut(|(held, wakes)| {
            let should = is_stopped || held.is_over(&self.asked);
            let is_unsure = !is_stopped && held.may_be_over(&self.unsure);
            let was_woken = wakes.0.load(Ordering::Relaxed) > 0;
            let may_be_twin = held.may_be_twin(history);
            let result = match held.poll(wakes, is_stopped, history) {
                Poll::Ready(_) if is_unsure => return false,
                Poll::Pending if is_unsure => Ok(()),
                Poll::Ready(_) if !should && !may_be_twin => Err("ended too early"),
                Poll::Ready(_) if !was_woken => Err("was not woken"),
                Poll::Ready(Err(text)) => {
                    fault = Err(text);
                    return false;
                }
                Poll::Ready(Ok(())) => return false,
                Poll::Pending if should => Err("should have ended"),
                Poll::Pending => {
                    // It waits anew, and has to be woken anew.
                    wakes.0.store(0, Ordering::Relaxed);
                    Ok(())
                }
            };
            if let Err(text) = result {
                fault = Err(format!("a wait {text}: {}", held.name()));
            }
            true
        });
        fault
    }
}
