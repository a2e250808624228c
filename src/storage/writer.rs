//! The way to the store: [`Store`] takes in changes, and one [`Writer`] commits
//! them.
//!
//! Whoever has a change queues it up, under the lock of its job, so that a job's
//! changes reach the store in the order in which they were decided; and once
//! that lock is gone wakes the writer. The writer takes all that waits and
//! commits it in one transaction, so that the more there is, the less each
//! costs, and nothing waits for company.
//!
//! A change either *may* fail (a job that is to be scheduled: whoever schedules
//! it is told, and the job does not exist) or *must* be made (the end of a job
//! that has run: there is nobody to turn to). What must be made and was not
//! stays at the head of the queue, and is tried again after a while, or together
//! with the next change that may fail.

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, HashSet};

use std::time::{Duration, Instant};

use crate::job::execution::Execution;
use crate::storage::contract::{Change, Storage};
use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Event as Signal, Mutex, lock, thread, thread::Thread};
use crate::sync::reply::Reply;
use crate::value::app_clock::AppClock;
use crate::value::backoff::Backoff;
use crate::value::error::StorageError;
use crate::value::id::JobId;

/// A change on its way to the store.
pub(crate) struct Entry {
    pub(crate) change: Change,
    pub(crate) need: Need,
    pub(crate) ack: Ack,
}

impl Entry {
    /// Tells that the store is closed.
    pub(crate) fn refuse(mut self) {
        wake(self.ack.tell(Err(&StorageError::Closed)));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    May,
    Must,
}

/// Who is told what became of a change: outside all locks, on the writer's
/// thread, where nothing may wait for the store.
pub(crate) enum Ack {
    Nobody,
    /// The job goes on once the store has been tried.
    Job(Arc<dyn Execution>),
    /// The job starts once the store has it: the number is that of the change.
    Start(Arc<dyn Execution>, u32),
    /// Told the first outcome.
    Caller(Box<dyn Asker>),
}

/// Who waits for what becomes of a change, in two steps: those of one commit are all
/// answered before any of them is woken. A thread that sleeps is then woken once and
/// finds the answers of all of its tasks, and does not go to sleep between them: to
/// wake it takes longer than to store a job.
pub(crate) trait Asker: Send {
    /// What is stored comes back, so that whoever made it can free it: two threads of
    /// which one makes and the other frees wait for each other in the allocator.
    fn answer(&mut self, result: Result<Change, StorageError>);
    fn wake(self: Box<Self>);
}

struct TwoSteps<F, T, G> {
    answer: Option<F>,
    given: Option<T>,
    wake: G,
}

impl<F, T, G> Asker for TwoSteps<F, T, G>
where
    F: FnOnce(Result<Change, StorageError>) -> T + Send,
    T: Send,
    G: FnOnce(T) + Send,
{
    fn answer(&mut self, result: Result<Change, StorageError>) {
        self.given = self.answer.take().map(|answer| answer(result));
    }

    fn wake(self: Box<Self>) {
        if let Some(given) = self.given {
            (self.wake)(given);
        }
    }
}

/// After [`Ack::tell`].
fn wake(askers: impl IntoIterator<Item = Box<dyn Asker>>) {
    for asker in askers {
        let _ = catch_panic(|| asker.wake());
    }
}

impl Ack {
    pub(crate) fn caller<T: Send + 'static>(
        answer: impl FnOnce(Result<Change, StorageError>) -> T + Send + 'static,
        wake: impl FnOnce(T) + Send + 'static,
    ) -> Self {
        Self::Caller(Box::new(TwoSteps {
            answer: Some(answer),
            given: None,
            wake,
        }))
    }

    /// Whoever only waits for the outcome itself.
    pub(crate) fn reply(told: Arc<Reply<Result<(), StorageError>>>) -> Self {
        let wake = told.clone();
        Self::caller(
            move |result| told.set(result.map(drop)),
            move |()| wake.notify(),
        )
    }

    /// Gives who is still to be woken.
    #[must_use]
    fn tell(&mut self, result: Result<Change, &StorageError>) -> Option<Box<dyn Asker>> {
        if matches!((&self, &result), (Ack::Start(..), Err(_))) {
            return None;
        }
        match std::mem::replace(self, Ack::Nobody) {
            Ack::Nobody => {}
            Ack::Job(job) => {
                job.stored();
                job.let_go();
            }
            Ack::Start(job, number) => {
                job.start_stored(number);
                job.let_go();
            }
            Ack::Caller(mut asker) => {
                let answered = catch_panic(|| asker.answer(result.map_err(Clone::clone)));
                return answered.is_ok().then_some(asker);
            }
        }
        None
    }
}

/// What the parts of an app see of its store.
pub(crate) struct Store {
    queue: Mutex<Queue>,
    /// Without a thread of its own, the writer is here.
    by_hand: Option<Mutex<Option<Writer>>>,
    clock: AppClock,
    /// Notified when nothing is left to be tried, and when the store is closed.
    quiet: Arc<Signal>,
}

#[derive(Default)]
struct Queue {
    phase: Phase,
    entries: Vec<Entry>,
    /// Some have been taken out, and what becomes of them is not known yet.
    is_committing: bool,
    /// The writer's thread, while it sleeps.
    asleep: Option<Thread>,
    failure: Option<StorageError>,
    unstored: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing is taken in.
    #[default]
    Closed,
    Open,
    /// What has been taken in is tried once more.
    Closing,
}

impl Queue {
    fn is_quiet(&self) -> bool {
        self.entries.is_empty() && !self.is_committing
    }
}

impl Store {
    pub(crate) fn new(clock: AppClock, is_manual: bool, quiet: Arc<Signal>) -> Self {
        Self {
            queue: Mutex::default(),
            by_hand: is_manual.then(Mutex::default),
            clock,
            quiet,
        }
    }

    /// Takes in a change, unless the store is closed: then gives it back. May be
    /// called under any lock; to be followed by [`kick`](Store::kick) when none
    /// is held.
    pub(crate) fn queue(&self, entry: Entry) -> Result<(), Entry> {
        let mut queue = lock(&self.queue);
        if queue.phase != Phase::Open {
            return Err(entry);
        }
        queue.entries.push(entry);
        Ok(())
    }

    /// Sees that what was queued is committed.
    pub(crate) fn wake_writer(&self) {
        if self.by_hand.is_some() {
            self.run_manually();
            return;
        }
        let sleeper = {
            let mut queue = lock(&self.queue);
            let is_work = !queue.entries.is_empty() || queue.phase == Phase::Closing;
            queue.asleep.take_if(|_| is_work)
        };
        if let Some(thread) = sleeper {
            thread.unpark();
        }
    }

    /// Whether everything has been tried.
    pub(crate) fn is_quiet(&self) -> bool {
        lock(&self.queue).is_quiet()
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.queue).phase == Phase::Closed
    }

    /// Why the last commit failed, and how many changes wait for another.
    pub(crate) fn health(&self) -> (Option<StorageError>, usize) {
        let queue = lock(&self.queue);
        (queue.failure.clone(), queue.unstored)
    }

    pub(crate) fn open(&self) {
        lock(&self.queue).phase = Phase::Open;
    }

    /// Takes nothing in any more. What is there is tried, and the store dropped:
    /// see [`is_closed`](Store::is_closed).
    pub(crate) fn close(&self) {
        {
            let mut queue = lock(&self.queue);
            if queue.phase == Phase::Open {
                queue.phase = Phase::Closing;
            }
        }
        self.wake_writer();
    }

    /// As a process that is killed leaves it: nothing that waits is committed.
    pub(crate) fn simulate_crash(&self) {
        let entries = {
            let mut queue = lock(&self.queue);
            queue.phase = Phase::Closed;
            std::mem::take(&mut queue.entries)
        };
        let writer = self.by_hand.as_ref().and_then(|writer| lock(writer).take());
        drop_catching_panic((entries, writer));
        notify_all(&self.quiet);
    }

    fn take(&self) -> Vec<Entry> {
        let mut queue = lock(&self.queue);
        queue.is_committing = true;
        std::mem::take(&mut queue.entries)
    }

    /// Before anybody is told what became of a commit: who is may look.
    fn set_health(&self, failure: Option<&StorageError>, unstored: usize) {
        let mut queue = lock(&self.queue);
        queue.failure = failure.cloned();
        queue.unstored = unstored;
    }

    fn committed(&self) {
        let is_quiet = {
            let mut queue = lock(&self.queue);
            queue.is_committing = false;
            queue.is_quiet()
        };
        if is_quiet {
            notify_all(&self.quiet);
        }
    }

    /// Takes nothing in any more, and tells whoever waits.
    pub(crate) fn closed(&self) {
        let mut left = {
            let mut queue = lock(&self.queue);
            queue.phase = Phase::Closed;
            queue.is_committing = false;
            std::mem::take(&mut queue.entries)
        };
        let told = left
            .iter_mut()
            .filter_map(|entry| entry.ack.tell(Err(&StorageError::Closed)));
        wake(told.collect::<Vec<_>>());
        notify_all(&self.quiet);
    }

    // With a thread of its own.

    /// The loop of the store's thread: commit, sleep, until the app has stopped.
    pub(crate) fn run_thread(&self, mut writer: Writer) {
        let _ended = Ended(self);
        let origin = Instant::now();
        loop {
            let is_last = {
                let mut queue = lock(&self.queue);
                let is_due = writer.is_due(origin.elapsed());
                match queue.phase {
                    Phase::Open if queue.entries.is_empty() && !is_due => {
                        queue.asleep = Some(thread::current());
                        None
                    }
                    phase => Some(phase != Phase::Open),
                }
            };
            match (is_last, writer.retry_at) {
                (Some(is_last), _) => {
                    writer.turn(self, origin.elapsed(), is_last);
                    if is_last {
                        drop_catching_panic(writer.storage);
                        return;
                    }
                }
                (None, Some(at)) => thread::park_timeout(at.saturating_sub(origin.elapsed())),
                (None, None) => thread::park(),
            }
        }
    }

    // By hand.

    pub(crate) fn set_writer(&self, writer: Writer) {
        if let Some(place) = &self.by_hand {
            *lock(place) = Some(writer);
        }
    }

    /// Commits what there is, by the caller. Gives when it is to be tried again,
    /// if the store fails.
    pub(crate) fn run_manually(&self) -> Option<Duration> {
        let by_hand = self.by_hand.as_ref()?;
        // Who comes here from an acknowledgement leaves it to the loop below.
        let mut place = by_hand.try_lock().ok()?;
        loop {
            let now = Duration::from_nanos(self.clock.mono().max(0) as u64);
            let writer = place.as_mut()?;
            let (phase, is_work) = {
                let queue = lock(&self.queue);
                (queue.phase, !queue.entries.is_empty())
            };
            if phase != Phase::Open {
                writer.turn(self, now, true);
                let writer = place.take();
                drop(place);
                drop_catching_panic(writer);
                self.closed();
                return None;
            }
            if !is_work && !writer.is_due(now) {
                return writer.retry_at;
            }
            writer.turn(self, now, false);
        }
    }
}

/// Says that the thread has ended, in whichever way.
struct Ended<'a>(&'a Store);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// The one who has the storage.
pub(crate) struct Writer {
    storage: Box<dyn Storage>,
    retained: Batch,
    /// Commits that failed, one after the other.
    failures: u32,
    /// When what is retained is to be tried again, on the writer's own clock.
    retry_at: Option<Duration>,
    last_failure: Option<StorageError>,
    backoff: Backoff,
}

/// Changes side by side, as the storage takes them, and what belongs to each.
#[derive(Default)]
struct Batch {
    changes: Vec<Change>,
    rest: Vec<(Need, Ack)>,
}

impl Batch {
    fn push(&mut self, entry: Entry) {
        self.changes.push(entry.change);
        self.rest.push((entry.need, entry.ack));
    }

    fn len(&self) -> usize {
        self.changes.len()
    }

    fn entries(self) -> impl Iterator<Item = Entry> {
        let both = self.changes.into_iter().zip(self.rest);
        both.map(|(change, (need, ack))| Entry { change, need, ack })
    }

    /// Leaves out what a later change of the same job makes void, so that the
    /// store's outage costs no more memory than there are jobs. Those that are
    /// left out have been told.
    fn compact(&mut self) {
        let mut void: HashMap<JobId, Voids> = HashMap::new();
        let mut kept: Vec<Entry> = Vec::new();
        for entry in std::mem::take(self)
            .entries()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let is_whole = !matches!(entry.change, Change::Advance { .. });
            let waits = matches!(entry.ack, Ack::Start(..));
            let is_void = match void.entry(entry.change.id().clone()) {
                Place::Occupied(mut later) => {
                    let is_void = *later.get() == Voids::All || !is_whole;
                    if is_whole {
                        later.insert(Voids::All);
                    }
                    is_void
                }
                Place::Vacant(first) => {
                    first.insert(if is_whole {
                        Voids::All
                    } else {
                        Voids::Advances
                    });
                    false
                }
            };
            if !is_void || waits {
                kept.push(entry);
            }
        }
        kept.into_iter().rev().for_each(|entry| self.push(entry));
    }
}

/// What a change of a job makes void of those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voids {
    Advances,
    All,
}

/// How long the store is left alone after it has failed: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(10);

impl Writer {
    pub(crate) fn new(storage: Box<dyn Storage>) -> Self {
        Self {
            storage,
            retained: Batch::default(),
            failures: 0,
            retry_at: None,
            last_failure: None,
            backoff: Backoff::exponential(u32::MAX)
                .initial(RETRY_FIRST)
                .cap(RETRY_CAP),
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    fn turn(&mut self, store: &Store, now: Duration, is_last: bool) {
        let new = store.take();
        let may_fail = new.iter().any(|entry| entry.need == Need::May);
        match self.last_failure.clone() {
            // It fails at present, and nobody waits for a new answer.
            Some(error)
                if self.retained.len() > 0 && !may_fail && !is_last && !self.is_due(now) =>
            {
                let owed = self.retained.len() + new.len();
                store.set_health(Some(&error), owed);
                let mut told = Vec::new();
                for mut entry in new {
                    told.extend(entry.ack.tell(Err(&error)));
                    self.retained.push(entry);
                }
                wake(told);
            }
            _ => {
                let mut batch = std::mem::take(&mut self.retained);
                new.into_iter().for_each(|entry| batch.push(entry));
                self.commit(store, batch, now);
            }
        }
        // Now and then, so that its cost is that of a push.
        if self.retained.len() > 0 && self.retained.len() == self.retained.changes.capacity() {
            self.retained.compact();
            self.retained
                .changes
                .reserve_exact(self.retained.len() + 64);
            store.set_health(self.last_failure.as_ref(), self.retained.len());
        }
        store.committed();
    }

    fn commit(&mut self, store: &Store, batch: Batch, now: Duration) {
        if batch.changes.is_empty() {
            return;
        }
        match self.try_commit(&batch.changes) {
            Ok(()) => {
                self.failures = 0;
                self.retry_at = None;
                self.last_failure = None;
                store.set_health(None, 0);
                let told = batch
                    .entries()
                    .filter_map(|mut entry| entry.ack.tell(Ok(entry.change)));
                wake(told.collect::<Vec<_>>());
            }
            Err(error) if error.is_of_one_change() && batch.len() > 1 => {
                self.commit_each(store, batch, now);
            }
            // Whoever holds the file would hold it for as long again.
            Err(error @ StorageError::Busy { .. }) => self.fail(store, batch, &error, now),
            Err(error) => {
                // What is new may be what the store can't take: what must be made
                // is not held up by it.
                let (must, may): (Vec<_>, Vec<_>) =
                    batch.entries().partition(|entry| entry.need == Need::Must);
                let is_mixed = !must.is_empty() && !may.is_empty();
                // The store may have a record all the same that it says it has not
                // taken. What belongs to the one before waits until that is there
                // again.
                let new: HashSet<JobId> = may.iter().map(|e| e.change.id().clone()).collect();
                let (behind, must): (Vec<_>, Vec<_>) = must
                    .into_iter()
                    .partition(|entry| new.contains(entry.change.id()));
                let batch_of = |entries: Vec<Entry>| {
                    let mut batch = Batch::default();
                    entries.into_iter().for_each(|entry| batch.push(entry));
                    batch
                };
                self.fail(store, batch_of(may), &error, now);
                if is_mixed {
                    self.commit(store, batch_of(must), now);
                } else {
                    self.fail(store, batch_of(must), &error, now);
                }
                self.fail(store, batch_of(behind), &error, now);
            }
        }
    }

    /// One after the other, for one of them is at fault.
    fn commit_each(&mut self, store: &Store, batch: Batch, now: Duration) {
        for entry in batch.entries() {
            let mut one = Batch::default();
            match &self.last_failure {
                // What must be made keeps its place before what comes later.
                Some(error) if self.retained.len() > 0 => {
                    let error = error.clone();
                    one.push(entry);
                    self.fail(store, one, &error, now);
                }
                _ => {
                    one.push(entry);
                    self.commit(store, one, now);
                }
            }
        }
    }

    fn fail(&mut self, store: &Store, batch: Batch, error: &StorageError, now: Duration) {
        if batch.len() == 0 {
            return;
        }
        let owed = batch.rest.iter().filter(|(need, _)| *need == Need::Must);
        let owed = self.retained.len() + owed.count();
        self.failures = self.failures.saturating_add(1);
        // With nothing to be made good, a failure is over as soon as it is told;
        // whether the store works is seen with the next change.
        self.retry_at = (owed > 0).then(|| now + self.backoff.delay(self.failures, 0.0));
        if owed > 0 || !error.is_of_one_change() {
            self.last_failure = Some(error.clone());
        }
        store.set_health(self.last_failure.as_ref(), owed);
        let mut told = Vec::new();
        for mut entry in batch.entries() {
            told.extend(entry.ack.tell(Err(error)));
            if entry.need == Need::Must {
                self.retained.push(entry);
            }
        }
        wake(told);
    }

    fn try_commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        catch_panic(|| self.storage.commit(changes))
            .unwrap_or_else(|message| Err(StorageError::Panicked { message }))
    }

    pub(crate) fn storage(&mut self) -> &mut dyn Storage {
        &mut *self.storage
    }

    /// Gives the storage back, for another try.
    pub(crate) fn into_storage(self) -> Box<dyn Storage> {
        self.storage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::record::{JobRecord, ProgressRecord, TriggerRecord};
    use time::OffsetDateTime;

    fn progress(attempts: u32) -> ProgressRecord {
        ProgressRecord {
            due: OffsetDateTime::UNIX_EPOCH,
            nominal: OffsetDateTime::UNIX_EPOCH,
            attempts,
            last_failure: None,
            started_at: None,
            recurring: None,
        }
    }

    /// `P` for put, `A` for advance and `R` for remove; the job; and a number that tells
    /// it from others.
    type Short = (char, &'static str, u32);

    fn change((kind, id, number): Short) -> Change {
        match kind {
            'P' => Change::Put(Box::new(JobRecord {
                version: 1,
                id: id.into(),
                task: "t".into(),
                args: "1".into(),
                scheduled_at: OffsetDateTime::UNIX_EPOCH,
                trigger: TriggerRecord::Delay,
                zone: None,
                progress: progress(number),
            })),
            'A' => Change::Advance {
                id: id.into(),
                progress: Box::new(progress(number)),
            },
            _ => Change::Remove(id.into()),
        }
    }

    #[test]
    fn what_a_later_change_makes_void_is_left_out_and_nothing_else_and_the_order_is_kept() {
        let mut batch = Batch::default();
        for short in [
            ('P', "ends", 1),
            ('A', "is replaced", 1),
            ('A', "ends", 2),
            ('P', "is new", 1),
            ('A', "goes on", 1),
            ('P', "is replaced", 2),
            ('R', "comes again", 0),
            ('A', "ends", 3),
            ('A', "is replaced", 3),
            ('P', "has begun", 1),
            ('R', "ends", 0),
            ('A', "goes on", 2),
            ('P', "comes again", 1),
            ('A', "is replaced", 4),
            ('A', "has begun", 2),
            ('P', "twice", 1),
            ('A', "twice", 2),
            ('P', "twice", 3),
            ('A', "twice", 4),
            ('A', "goes on", 3),
        ] {
            batch.push(Entry {
                change: change(short),
                need: Need::Must,
                ack: Ack::Nobody,
            });
        }
        batch.compact();
        let expected = [
            ('P', "is new", 1),
            ('P', "is replaced", 2),
            ('P', "has begun", 1),
            ('R', "ends", 0),
            ('P', "comes again", 1),
            ('A', "is replaced", 4),
            ('A', "has begun", 2),
            ('P', "twice", 3),
            ('A', "twice", 4),
            ('A', "goes on", 3),
        ];
        assert_eq!(batch.changes, expected.map(change));
        assert_eq!(batch.rest.len(), batch.changes.len());
    }
}
