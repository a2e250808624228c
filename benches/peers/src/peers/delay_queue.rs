//! tokio-util's `DelayQueue` behind a lock, with one task that takes what is due
//! and spawns it. A lock and no channel, as only that gives the caller the key to
//! cancel by; it is the quicker one too.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::{Expired, Key};

use super::tokio::runtime;
use super::{Argument, Awaited, Recurring, Scheduler};
use crate::Result;

pub struct DelayQueuePeer<A> {
    runtime: Runtime,
    queue: Shared<A>,
}

struct Shared<A>(Arc<Mutex<DelayQueue<A>>>);

impl<A> Clone for Shared<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A> Shared<A> {
    fn lock(&self) -> MutexGuard<'_, DelayQueue<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn next(&self) -> Expired<A> {
        poll_fn(|cx| match self.lock().poll_expired(cx) {
            Poll::Ready(Some(expired)) => Poll::Ready(expired),
            // An empty queue wakes its last caller on the next insertion.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl<A: Send + 'static> DelayQueuePeer<A> {
    pub fn new(run: fn(A)) -> Result<Self> {
        Self::driven(move |_, expired| {
            tokio::spawn(async move { run(expired.into_inner()) });
        })
    }

    fn driven(due: impl Fn(&Shared<A>, Expired<A>) + Send + 'static) -> Result<Self> {
        let runtime = runtime()?;
        let queue = Shared(Arc::new(Mutex::new(DelayQueue::new())));
        let driven = queue.clone();
        runtime.spawn(async move {
            loop {
                let expired = driven.next().await;
                due(&driven, expired);
            }
        });
        Ok(Self { runtime, queue })
    }

    fn insert(&self, delay: Duration, item: A) -> Key {
        self.queue.lock().insert_at(item, Instant::now() + delay)
    }
}

impl<A: Argument> Scheduler<A> for DelayQueuePeer<A> {
    type Handle = Key;

    fn schedule(&self, delay: Duration, arg: A) -> Result<Key> {
        Ok(self.insert(delay, arg))
    }

    fn cancel(&self, handle: &mut Option<Key>) -> Result {
        if let Some(key) = handle.take() {
            self.queue.lock().remove(&key);
        }
        Ok(())
    }

    fn within<T>(&self, calls: impl FnOnce() -> T) -> T {
        let _entered = self.runtime.enter();
        calls()
    }
}

/// A job, and who waits for its end.
pub type WithWaiter = (u64, oneshot::Sender<()>);

impl Awaited for DelayQueuePeer<WithWaiter> {
    type Waiter = oneshot::Receiver<()>;

    fn schedule_awaited(&self, delay: Duration, arg: u64) -> Result<Self::Waiter> {
        let (sender, receiver) = oneshot::channel();
        let _entered = self.runtime.enter();
        self.insert(delay, (arg, sender));
        Ok(receiver)
    }

    fn wait_all(&self, waiters: Vec<Self::Waiter>) -> Result {
        self.runtime.block_on(async {
            for waiter in waiters {
                waiter.await?;
            }
            Ok(())
        })
    }
}

/// A recurring job goes back into the queue before it runs.
pub struct RecurringQueue(DelayQueuePeer<u64>);

impl RecurringQueue {
    pub fn new(run: fn(u64)) -> Result<Self> {
        let peer = DelayQueuePeer::driven(move |queue: &Shared<u64>, expired| {
            let next = expired.deadline() + Duration::from_secs(1);
            let arg = expired.into_inner();
            queue.lock().insert_at(arg, next);
            tokio::spawn(async move { run(arg) });
        });
        Ok(Self(peer?))
    }
}

impl Recurring for RecurringQueue {
    fn every_second(&self, first: Duration, arg: u64) -> Result {
        let _entered = self.0.runtime.enter();
        self.0.insert(first, arg);
        Ok(())
    }
}
