//! [`SpawnedAttempt`]: an attempt of a job that was passed to the executor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::job::live_job::{Attempt, AttemptFailure, Body, Exit, Fired, LiveJob};
use crate::job::stop::ForceStopped;
use crate::sync::panics::catch_panic;
use crate::sync::polling::Polling;
use crate::sync::primitives::Arc;
use crate::sync::waiter::{Condition, Waiter};
use crate::value::id::JobId;
use crate::value::time_units::Now;

/// After this many ends of attempts, a poll returns, so that the executor can poll other futures.
const ENDS_PER_POLL: usize = 4;

/// An attempt that the executor polls, whether or not it has begun. Dropping it before
/// it is ready fails the attempt.
pub(crate) struct SpawnedAttempt {
    job: Arc<dyn LiveJob>,
    state: State,
}

enum State {
    /// Not begun. The timer has fired the job.
    Fired,
    /// Not begun. The timer found the job due at this time and has not fired it.
    Due(Now),
    Running(Running),
    Ended,
}

struct Running {
    attempt: u32,
    body: Body,
    /// The body was ready, and has reported its result to the job.
    has_reported: bool,
    /// Made when the body is pending for the first time.
    force_stop: Option<Waiter<ForceStopped>>,
}

impl SpawnedAttempt {
    /// An attempt of a job that has been fired.
    pub(crate) fn new(job: Arc<dyn LiveJob>) -> Self {
        Self {
            job,
            state: State::Fired,
        }
    }

    /// An attempt of a job that was found due at `now` and has not been fired.
    pub(crate) fn due(job: Arc<dyn LiveJob>, now: Now) -> Self {
        Self {
            job,
            state: State::Due(now),
        }
    }

    /// Drops the attempt, which has ended, while the next job of the line has not begun. To drop the
    /// job may drop its result: that is code of a user, and may wait for the next job. So the executor
    /// drops it.
    pub(crate) fn drop_ended(self) {
        let job = self.job.clone();
        drop(self);
        job.drop_safely();
    }

    pub(crate) fn id(&self) -> &JobId {
        &self.job.core().id
    }

    fn polling(&self) -> Polling {
        Polling::begin(Arc::as_ptr(&self.job).cast())
    }

    /// Polls the attempt, and does what is left to do when it is ready. If there is a next job, this
    /// becomes an attempt of that job.
    pub(crate) fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ENDS_PER_POLL {
            match ready!(self.poll(cx)) {
                Exit::Done => return Poll::Ready(()),
                Exit::MustRemove => {
                    self.job.leave();
                    return Poll::Ready(());
                }
                Exit::Granted(job) => std::mem::replace(self, Self::new(job)).drop_ended(),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls the attempt. The caller does what is left to do when it is ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        let _polling = self.polling();
        if let State::Fired | State::Due(_) = self.state {
            let job = self.job.clone();
            let begun = match std::mem::replace(&mut self.state, State::Ended) {
                State::Due(now) => job.fire_and_begin(now),
                _ => job.begin(),
            };
            let Some(Attempt { number, body }) = begun else {
                return Poll::Ready(Exit::Done);
            };
            self.state = State::Running(Running {
                attempt: number,
                body,
                has_reported: false,
                force_stop: None,
            });
        }
        let State::Running(running) = &mut self.state else {
            return Poll::Ready(Exit::Done);
        };
        let exit = ready!(running.poll(&self.job, cx));
        if let State::Running(running) = std::mem::replace(&mut self.state, State::Ended) {
            running.drop_body(&self.job);
        }
        Poll::Ready(exit)
    }
}

impl Running {
    /// Ready when the body is ready, has panicked, or must be dropped.
    fn poll(&mut self, job: &Arc<dyn LiveJob>, cx: &mut Context<'_>) -> Poll<Exit> {
        let force_stop = self.force_stop.as_ref();
        if force_stop.is_some_and(|waiter| waiter.condition().ready().is_some()) {
            return Poll::Ready(Exit::Done);
        }
        match catch_panic(|| self.body.as_mut().poll(cx)) {
            Ok(Poll::Ready(exit)) => {
                self.has_reported = true;
                Poll::Ready(exit)
            }
            Err(message) => {
                job.fail_attempt(self.attempt, AttemptFailure::Panicked(message));
                Poll::Ready(Exit::Done)
            }
            Ok(Poll::Pending) => {
                let attempt = self.attempt;
                let force_stop = self
                    .force_stop
                    .get_or_insert_with(|| Waiter::new(ForceStopped(job.control(attempt))));
                Pin::new(force_stop).poll(cx).map(|()| Exit::Done)
            }
        }
    }

    /// Drops the body, and then reports to the job that the body is gone.
    fn drop_body(self, job: &Arc<dyn LiveJob>) {
        if let Err(message) = catch_panic(|| drop(self.body)) {
            job.fail_attempt(self.attempt, AttemptFailure::Panicked(message));
        }
        // A body that reports its result reports its end with it.
        if !self.has_reported {
            job.body_gone(self.attempt);
        }
    }
}

impl Drop for SpawnedAttempt {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => {}
            State::Fired => self.job.executor_dropped(),
            State::Due(now) => {
                if self.job.on_timer(now) == Fired::Start {
                    self.job.executor_dropped();
                }
            }
            State::Running(running) => {
                let _polling = self.polling();
                self.job
                    .fail_attempt(running.attempt, AttemptFailure::Dropped);
                running.drop_body(&self.job);
            }
        }
    }
}
