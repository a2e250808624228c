//! Running attempts: the executor trait, the dispatcher, the thread pool.

#[cfg_attr(loom, path = "loom_blocking_threads.rs")]
pub(crate) mod blocking_threads;
pub(crate) mod calling_executor;
pub(crate) mod contract;
pub(crate) mod dispatcher;
pub(crate) mod job_future;
pub(crate) mod live_jobs;
pub(crate) mod ready_queue;
pub(crate) mod runner;
pub(crate) mod runner_pool;
pub(crate) mod spawned_attempt;
pub(crate) mod spawner;
#[cfg(feature = "thread-pool")]
pub(crate) mod thread_pool;
