//! Running attempts: the executor trait, the dispatcher, the thread pool.

pub(crate) mod dispatcher;
pub(crate) mod drainer;
pub(crate) mod job_future;
pub(crate) mod ready_queue;
#[cfg(feature = "thread-pool")]
pub(crate) mod thread_pool;
