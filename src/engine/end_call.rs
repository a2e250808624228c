//! [`EndCall`]: a call of the functions of `on_end`.

use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::{UserValue, catch_panic};
use crate::sync::primitives::{Arc, AtomicUsize, Event as Signal, Ordering};
use crate::value::end_of_job::{EndOfJob, OnEnd};

/// The calls of an app that are not over. A shutdown waits for them.
pub(crate) struct EndCalls {
    count: AtomicUsize,
    /// Notified when a call is over.
    changed: Arc<Signal>,
}

impl EndCalls {
    pub(crate) fn new(changed: Arc<Signal>) -> Self {
        let count = AtomicUsize::new(0);
        Self { count, changed }
    }

    pub(crate) fn are_over(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }
}

/// A call of all functions for the end of one job.
pub(crate) struct EndCall {
    calls: Arc<EndCalls>,
    functions: Arc<[OnEnd]>,
    /// Its error is a value of a user.
    end: UserValue<EndOfJob>,
}

impl EndCall {
    /// It counts from now on.
    pub(crate) fn new(calls: &Arc<EndCalls>, functions: &Arc<[OnEnd]>, end: EndOfJob) -> Self {
        calls.count.fetch_add(1, Ordering::SeqCst);
        Self {
            calls: calls.clone(),
            functions: functions.clone(),
            end: UserValue::new(end),
        }
    }

    pub(crate) fn call(&self) {
        if let Some(end) = &self.end.0 {
            for function in &*self.functions {
                let _ = catch_panic(|| function(end));
            }
        }
    }
}

impl Drop for EndCall {
    fn drop(&mut self) {
        self.calls.count.fetch_sub(1, Ordering::SeqCst);
        notify_all(&self.calls.changed);
    }
}
