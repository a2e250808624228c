//! apalis with its storage in memory, and a worker on tokio as its README builds
//! one. A pushed task cannot be waited for there, so that it carries a channel.

use std::sync::Arc;

use apalis::prelude::{
    MemorySink, MemoryStorage, MemoryStorageError, ParallelizeExt, Task, WorkerBuilder,
    WorkerBuilderExt,
};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::lock::Mutex;
use futures::{SinkExt, StreamExt};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::tokio::runtime;
use super::{RoundTrip, threads};
use crate::Result;

type WithWaiter = (u64, oneshot::Sender<()>);

pub struct ApalisPeer {
    runtime: Runtime,
    tasks: UnboundedSender<Task<WithWaiter>>,
}

impl ApalisPeer {
    pub fn new(run: fn(u64)) -> Result<Self> {
        let runtime = runtime()?;
        // What `MemoryStorage::new` makes, but with an end that stays here.
        let (tasks, receiver) = unbounded();
        let sink = tasks.clone().sink_map_err(MemoryStorageError::from);
        let sink = MemorySink::new(Arc::new(Mutex::new(Box::new(sink))));
        let storage = MemoryStorage::new_with(sink, receiver.boxed());
        let worker = WorkerBuilder::new("peers")
            .backend(storage)
            .concurrency(threads())
            .parallelize(tokio::spawn)
            .build(move |(arg, waiter): WithWaiter| async move {
                run(arg);
                // Who no longer waits is not told.
                let _ = waiter.send(());
            });
        // As from an async main: the worker on its thread, its tasks on the runtime.
        let handle = runtime.handle().clone();
        std::thread::spawn(move || {
            if let Err(error) = handle.block_on(worker.run()) {
                eprintln!("apalis: {error}");
            }
        });
        Ok(Self { runtime, tasks })
    }
}

impl RoundTrip for ApalisPeer {
    fn push_and_wait(&self, arg: u64) -> Result {
        let (sender, receiver) = oneshot::channel();
        self.tasks.unbounded_send(Task::new((arg, sender)))?;
        Ok(self.runtime.block_on(receiver)?)
    }
}
