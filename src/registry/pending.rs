//! [`Pending`]: how many jobs of a task, or of an app, may be live.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::deferred_wakes::{notify_all, notify_one_more};
use crate::sync::primitives::{Arc, AtomicBool, AtomicUsize, Event as Signal, Ordering};
use crate::sync::waiter::{Condition, Waiter};
use crate::value::error::ScheduleError;

/// The number of live jobs of a task or of an app, which has a limit.
#[derive(Debug)]
pub(crate) struct Pending {
    /// `None` if it counts those of the app.
    task: Option<Arc<str>>,
    max: usize,
    live: AtomicUsize,
    /// The app stops.
    is_closed: AtomicBool,
    /// Notified once for each place that becomes free: those listen that need one.
    has_place: Signal,
    /// Notified when a place becomes free: those listen that need several.
    has_places: Signal,
}

impl Pending {
    pub(crate) fn new(task: Option<Arc<str>>, max: usize) -> Self {
        Self {
            task,
            max,
            live: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            has_place: Signal::new(),
            has_places: Signal::new(),
        }
    }

    fn notify(&self, places: usize) {
        for _ in 0..places {
            notify_one_more(&self.has_place);
        }
        notify_all(&self.has_places);
    }

    /// The app stops: nobody waits any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        notify_all(&self.has_place);
        notify_all(&self.has_places);
    }

    /// All jobs are gone.
    pub(crate) fn clear(&self) {
        self.live.store(0, Ordering::SeqCst);
    }

    fn has_room_for(&self, count: usize) -> bool {
        let live = self.live.load(Ordering::SeqCst);
        live.saturating_add(count) <= self.max
    }

    fn enter(self: &Arc<Self>, count: usize) -> Result<(), Full> {
        let more = |live: usize| {
            let more = live.saturating_add(count);
            (more <= self.max).then_some(more)
        };
        let entered = self
            .live
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        entered.map(drop).map_err(|live| Full {
            pending: self.clone(),
            live,
            count,
        })
    }
}

/// The counts in which each job of a task is: of the task, and of its app. Empty if neither has a
/// limit.
#[derive(Debug, Default)]
pub(crate) struct PendingCounts(Box<[Arc<Pending>]>);

impl PendingCounts {
    pub(crate) fn new(counts: impl IntoIterator<Item = Arc<Pending>>) -> Self {
        Self(counts.into_iter().collect())
    }

    /// Takes the places of new jobs, in each count or in none.
    #[inline]
    pub(crate) fn enter(&self, count: usize) -> Result<NewPlaces<'_>, Full> {
        let mut places = NewPlaces { counts: &[], count };
        if count == 0 {
            return Ok(places);
        }
        for (at, pending) in self.0.iter().enumerate() {
            pending.enter(count)?;
            places.counts = &self.0[..=at];
        }
        Ok(places)
    }

    /// Counts a job that enters in any case.
    pub(crate) fn enter_over(&self) {
        for pending in &self.0 {
            pending.live.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A job has left the live jobs. The caller must call [`notify`](PendingCounts::notify) when it holds
    /// no lock.
    #[inline]
    pub(crate) fn leave(&self) {
        for pending in &self.0 {
            pending.live.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A place has become free.
    #[inline]
    pub(crate) fn notify(&self) {
        for pending in &self.0 {
            pending.notify(1);
        }
    }
}

/// Places of jobs that have not entered yet. Dropping it frees those that are left; no lock may be
/// held then.
#[must_use]
pub(crate) struct NewPlaces<'a> {
    counts: &'a [Arc<Pending>],
    count: usize,
}

impl NewPlaces<'_> {
    /// A job has entered with one of the places. Its end frees the place.
    #[inline]
    pub(crate) fn keep_one(&mut self) {
        self.count -= 1;
    }
}

impl Drop for NewPlaces<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        for pending in self.counts {
            pending.live.fetch_sub(self.count, Ordering::SeqCst);
            pending.notify(self.count);
        }
    }
}

/// The refusal of this number of new jobs.
#[derive(Debug)]
pub(crate) struct Full {
    pending: Arc<Pending>,
    live: usize,
    count: usize,
}

impl Full {
    pub(crate) fn into_error(self) -> ScheduleError {
        ScheduleError::TooManyPending {
            task: self.pending.task.as_deref().map(Into::into),
            live: self.live,
            max: self.pending.max,
            wanted: self.count,
        }
    }

    /// Whether there is room for them when others have ended.
    pub(crate) fn ends(&self) -> bool {
        self.count <= self.pending.max
    }

    /// Waits until there may be room, or the app stops.
    pub(crate) fn wait(self) -> WaitForRoom {
        WaitForRoom(Waiter::new(Room(self)))
    }
}

/// Waits until there may be room, or the app stops.
#[derive(Debug)]
pub(crate) struct WaitForRoom(Waiter<Room>);

#[derive(Debug)]
struct Room(Full);

impl Condition for Room {
    type Output = ();

    fn ready(&self) -> Option<()> {
        let Full { pending, count, .. } = &self.0;
        let is_closed = pending.is_closed.load(Ordering::SeqCst);
        (is_closed || pending.has_room_for(*count)).then_some(())
    }

    fn event(&self) -> &Signal {
        match self.0.count {
            1 => &self.0.pending.has_place,
            _ => &self.0.pending.has_places,
        }
    }
}

impl Drop for Room {
    /// One that was notified may wait for another count next, or be given up: then the next in
    /// line has to look.
    fn drop(&mut self) {
        notify_one_more(&self.0.pending.has_place);
    }
}

impl Future for WaitForRoom {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}
