//! [`Backlog`]: a limit of what waits for the store.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::sync::deferred_wakes::notify_all;
use crate::sync::primitives::{Arc, Event, Mutex, Timer, lock};
use crate::sync::waiter::{Condition, Waiter};
use crate::value::error::StorageError;

/// The most submissions that wait for the store: four commits of them.
pub(crate) const MOST_WAITING: usize = 16_384;

/// The most bytes of arguments that wait for the store.
pub(crate) const MOST_WAITING_BYTES: usize = 64 * 1_024 * 1_024;

/// The submissions that the store has not answered. Once one of them has found no room, none
/// enters before half of the room is free: so those that wait are not overtaken for ever, and
/// are woken together.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    waiting: Mutex<Waiting>,
    has_room: Event,
}

#[derive(Debug, Default)]
struct Waiting {
    count: usize,
    bytes: usize,
    /// A submission found no room. Then `count` is not 0.
    is_full: bool,
}

impl Waiting {
    fn has_room_for(&self, bytes: usize) -> bool {
        // One that is larger than the limit goes alone.
        let fits =
            self.count < MOST_WAITING && self.bytes.saturating_add(bytes) <= MOST_WAITING_BYTES;
        !self.is_full && (fits || self.count == 0)
    }
}

/// The place of a submission among those that wait. Dropping it makes room.
#[derive(Debug)]
pub(crate) struct BacklogPlace {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl Backlog {
    /// Takes a place for a submission of this size, if there is room.
    pub(crate) fn enter(self: &Arc<Self>, bytes: usize) -> Option<BacklogPlace> {
        let mut waiting = lock(&self.waiting);
        if !waiting.has_room_for(bytes) {
            waiting.is_full = true;
            return None;
        }
        waiting.count += 1;
        waiting.bytes += bytes;
        drop(waiting);
        Some(BacklogPlace {
            backlog: self.clone(),
            bytes,
        })
    }
}

impl Drop for BacklogPlace {
    fn drop(&mut self) {
        let mut waiting = lock(&self.backlog.waiting);
        waiting.count -= 1;
        waiting.bytes -= self.bytes;
        let is_half_free =
            waiting.count <= MOST_WAITING / 2 && waiting.bytes <= MOST_WAITING_BYTES / 2;
        // At count 0 this is always so, because then no bytes are left.
        let has_room_again = waiting.is_full && is_half_free;
        if has_room_again {
            waiting.is_full = false;
        }
        drop(waiting);
        if has_room_again {
            notify_all(&self.backlog.has_room);
        }
    }
}

/// True when a submission may try again to enter.
#[derive(Debug)]
struct HasRoom(Arc<Backlog>);

impl Condition for HasRoom {
    type Output = ();

    fn ready(&self) -> Option<()> {
        (!lock(&self.0.waiting).is_full).then_some(())
    }

    fn event(&self) -> &Event {
        &self.0.has_room
    }
}

/// Waits until a submission may try again to enter, for the busy timeout of the store at most.
/// It may be awaited several times; the timeout counts from the first poll.
pub(crate) struct RoomWait {
    has_room: Waiter<HasRoom>,
    busy_timeout: Duration,
    timeout: Option<Timer>,
}

impl RoomWait {
    pub(crate) fn new(backlog: Arc<Backlog>, busy_timeout: Duration) -> Self {
        Self {
            has_room: Waiter::new(HasRoom(backlog)),
            busy_timeout,
            timeout: None,
        }
    }
}

impl Future for RoomWait {
    type Output = Result<(), StorageError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if Pin::new(&mut self.has_room).poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let waited = self.busy_timeout;
        let timeout = self.timeout.get_or_insert_with(|| Timer::after(waited));
        ready!(Pin::new(timeout).poll(cx));
        Poll::Ready(Err(StorageError::Busy { path: None, waited }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_enters_a_full_backlog_before_half_of_it_is_free() {
        let backlog = Arc::<Backlog>::default();
        let mut places: Vec<_> = (0..MOST_WAITING).map(|_| backlog.enter(1)).collect();
        assert!(places.iter().all(Option::is_some));
        for left in (MOST_WAITING / 2 + 1..=MOST_WAITING).rev() {
            assert!(backlog.enter(0).is_none(), "{left} wait");
            places.pop();
        }
        assert!(backlog.enter(0).is_some());
    }

    #[test]
    fn the_bytes_that_wait_are_limited_and_one_that_is_larger_goes_alone() {
        let backlog = Arc::<Backlog>::default();
        let large = backlog.enter(MOST_WAITING_BYTES + 1);
        assert!(large.is_some() && backlog.enter(0).is_none());
        drop(large);
        let half = backlog.enter(MOST_WAITING_BYTES / 2);
        let other = backlog.enter(MOST_WAITING_BYTES / 2);
        assert!(half.is_some() && other.is_some() && backlog.enter(1).is_none());
        drop(half);
        assert!(backlog.enter(1).is_some());
    }
}
