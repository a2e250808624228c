//! How the functions of `on_end` are called.

use crate::engine::end_call::EndCall;
use crate::engine::hub::Hub;
use crate::engine::task_registry::Restore;
use crate::sync::primitives::lock;
use crate::value::end_of_job::EndOfJob;
use crate::value::id::JobId;
use crate::value::status::JobStatus;

impl Hub {
    /// Makes the call on the executor; before the app has started, when it has.
    pub(crate) fn call_on_end(&self, call: EndCall) {
        let dispatcher = {
            let mut main_shard = lock(&self.main_shard);
            match &main_shard.dispatcher {
                Some(dispatcher) => dispatcher.clone(),
                None if main_shard.phase.is_over() => return,
                None => {
                    main_shard.calls_at_start.push(call);
                    return;
                }
            }
        };
        dispatcher.run_on_executor(async move { call.call() });
    }

    /// Makes the calls that have waited for the start.
    pub(crate) fn call_at_start(&self) {
        let calls = std::mem::take(&mut lock(&self.main_shard).calls_at_start);
        calls.into_iter().for_each(|call| self.call_on_end(call));
    }

    /// A stored job of this task has ended without another attempt when it was loaded.
    pub(crate) fn call_for_lost(&self, task: &dyn Restore, id: &JobId, status: JobStatus) {
        self.call_for_loaded(task, id, (status, false));
    }

    /// A job of this task is set aside from now on.
    pub(crate) fn call_for_set_aside(&self, task: &dyn Restore, id: &JobId) {
        self.call_for_loaded(task, id, (JobStatus::Scheduled, true));
    }

    fn call_for_loaded(
        &self,
        task: &dyn Restore,
        id: &JobId,
        (status, is_set_aside): (JobStatus, bool),
    ) {
        let functions = task.on_end();
        let Some(name) = task.names().first().filter(|_| !functions.is_empty()) else {
            return;
        };
        let end = EndOfJob {
            id: id.clone(),
            task: name.clone(),
            status,
            error: None,
            attempts: 0,
            is_set_aside,
        };
        self.call_on_end(EndCall::new(&self.end_calls, functions, end));
    }
}
