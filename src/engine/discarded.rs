//! [`Discarded`]: values of users that are to be dropped.

use std::mem::needs_drop;

use crate::engine::args::Args;
use crate::job::last_result::{Failure, LastResult};

/// Where values of users are dropped: their drop is code of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropOn {
    /// On this thread, which runs code of users anyway.
    ThisThread,
    /// On a thread of the executor: those of the timer and of the writer run no code of
    /// users.
    Executor,
}

/// Values of users, to be dropped when no lock is held.
pub(crate) struct Discarded<A, R> {
    pub(crate) args: Args<A>,
    pub(crate) next_args: Option<A>,
    pub(crate) last_result: LastResult<R>,
    pub(crate) result: Option<Result<Option<R>, Failure>>,
}

impl<A, R> Default for Discarded<A, R> {
    fn default() -> Self {
        Self {
            args: Args::None,
            next_args: None,
            last_result: LastResult::None,
            result: None,
        }
    }
}

impl<A, R> Discarded<A, R> {
    /// Whether dropping it may run code of a user.
    pub(crate) fn runs_user_code(&self) -> bool {
        let args = !self.args.is_none() || self.next_args.is_some();
        let result = match &self.result {
            Some(Ok(_)) => needs_drop::<R>(),
            Some(Err(failure)) => failure.runs_user_code(),
            None => false,
        };
        (args && needs_drop::<A>()) || self.last_result.runs_user_code() || result
    }
}
