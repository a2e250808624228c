//! The failed jobs of a store, as users see them.

use std::borrow::Cow;

use crate::engine::hub::{Hub, Live, TakesOver};
use crate::engine::task_registry::Restored;
use crate::job::end_record::{EndKey, EndRecord, KeptEnd, TrimEnds};
use crate::job::record::{JobRecord, RECORD_VERSION};
use crate::job::row::{self, AppCalendars, Row};
use crate::storage::backlog::BacklogPlace;
use crate::storage::contract::{Change, Storage};
use crate::storage::inbox::Message;
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::{Proposal, PulledProposal};
use crate::storage::store::Store;
use crate::storage::writer::Writer;
use crate::sync::panics::catch_panic;
use crate::sync::primitives::{Arc, lock};
use crate::sync::reply::{Reply, ReplySent};
use crate::sync::waiter::Waiter;
use crate::value::error::{RetryError, ScheduleError, StorageError, UnresolvedReason};
use crate::value::id::JobId;
use crate::value::time_units::{Due, from_wall};

/// The reply of the store to a job that is scheduled again.
pub(crate) type Retried = Arc<Reply<Result<Live, RetryError>>>;

/// A failed job on its way back to the live ones.
struct Retry {
    hub: Arc<Hub>,
    job: Live,
    due: Due,
    record: Box<JobRecord>,
    /// Its row is to change once more: the wall clock was set back since the job has failed.
    is_changed: bool,
    /// The entry that it leaves.
    end: EndRecord,
    reply: Retried,
    /// Until it is answered.
    place: Option<BacklogPlace>,
}

impl Hub {
    /// Asks the store for the ends of failed jobs, those that finished first at the beginning.
    /// Those that were kept long enough are deleted, and not in the list.
    pub(crate) async fn failed(&self) -> Result<Vec<EndRecord>, StorageError> {
        let trim = TrimEnds {
            task: None,
            most: self.keep_failed.count,
            now: from_wall(self.clock.wall(), time::UtcOffset::UTC),
        };
        self.request(move |storage| {
            let mut ends = Vec::new();
            storage.load_ends(&mut |end| ends.push(end))?;
            let over = trim.removes(ends.iter());
            if !over.is_empty() {
                ends.retain(|end| !over.contains(&end.key));
                // If it fails, the next one deletes them.
                let _ = storage.commit(&[Change::TrimEnds(trim)]);
            }
            ends.sort_by(|left, right| {
                (left.finished_at, &left.key).cmp(&(right.finished_at, &right.key))
            });
            Ok(ends)
        })
        .await
    }

    /// Asks the store to delete the end of a failed job.
    pub(crate) async fn forget_end(&self, key: EndKey) -> Result<(), StorageError> {
        self.request(move |storage| storage.commit(&[Change::ForgetEnd(key)]))
            .await
    }

    /// Carries out a request on the thread of the store, unless nobody waits for it any more.
    pub(crate) async fn request<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Storage) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let Some(store) = &self.store else {
            return Ok(T::default());
        };
        let place = self.wait_for_place(store, 0).await?;
        let reply = Reply::new();
        let replied = reply.clone();
        store.request(Box::new(move |storage| {
            let _place = place;
            if Arc::strong_count(&replied) == 1 {
                return;
            }
            let done = catch_panic(|| storage.map_or(Err(StorageError::Closed), work));
            replied.send(done.unwrap_or_else(|message| Err(StorageError::Panicked { message })));
        }));
        Waiter::new(ReplySent(reply)).await
    }

    /// Waits for a place for arguments of this many bytes, among those that wait for the store.
    pub(crate) async fn wait_for_place(
        &self,
        store: &Store,
        bytes: usize,
    ) -> Result<BacklogPlace, StorageError> {
        let mut room = store.wait_for_room();
        loop {
            // In a forked process no place becomes free, and no timer fires.
            if self.is_forked() {
                return Err(StorageError::Closed);
            }
            if let Some(place) = store.enter_backlog(bytes) {
                return Ok(place);
            }
            (&mut room).await?;
        }
    }

    /// Schedules a failed job again, under its id.
    pub(crate) async fn retry(self: &Arc<Self>, end: &EndRecord) -> Result<Live, RetryError> {
        let schedule = RetryError::Schedule;
        self.check_open().map_err(schedule)?;
        let Some(store) = &self.store else {
            return Err(schedule(ScheduleError::Stopped));
        };
        let place = self.wait_for_place(store, end.args.bytes().len()).await;
        let place = place.map_err(|error| schedule(ScheduleError::from_store(error)))?;
        let reply = self.propose_retry(store, end, place)?;
        Waiter::new(ReplySent(reply)).await
    }

    fn propose_retry(
        self: &Arc<Self>,
        store: &Store,
        end: &EndRecord,
        place: BacklogPlace,
    ) -> Result<Retried, RetryError> {
        let now = self.clock.now();
        let stored = record_of(end).map_err(RetryError::Unresolved)?;
        let app = AppCalendars {
            zone: &self.zone,
            database: self.zone_database.as_ref(),
            calendars: &self.calendars,
        };
        let id = &end.key.id;
        let row = row::read_again(&stored, app, now, || self.random());
        let row = row.map_err(RetryError::Unresolved)?;
        let row = row.ok_or_else(|| RetryError::NoTimeLeft { id: id.clone() })?;
        let record = Row {
            definition: &row.definition,
            position: Cow::Borrowed(&row.position),
            start_intent: None,
            steering: None,
            checkpoint: None,
            extra_checkpoint: None,
            interruptions: 0,
        };
        let record = Box::new(record.to_record(id));
        let task = lock(&self.main_shard).tasks.get(&*record.task).cloned();
        let task = task.ok_or(RetryError::Unresolved(UnresolvedReason::UnknownTask))?;
        let restored = task.restore(&record, now).map_err(RetryError::Unresolved)?;
        let Restored::Job {
            mut job,
            due,
            is_changed,
            ..
        } = restored
        else {
            return Err(RetryError::NoTimeLeft { id: id.clone() });
        };
        let entered = job.pending().enter(1).map(|mut places| places.keep_one());
        entered.map_err(|full| RetryError::Schedule(full.into_error()))?;
        let over = TakesOver {
            ended: true,
            ..TakesOver::NOTHING
        };
        if let Err(error) = self.reserve(&mut job, Some(id.clone()), over, now) {
            job.pending().leave();
            job.pending().notify();
            return Err(RetryError::Schedule(error));
        }
        if let Some(by) = &record.spawned_by {
            self.spawned.add(by.job.clone(), id.clone());
        }
        let reply = Reply::new();
        let retry = Box::new(Retry {
            hub: self.clone(),
            job,
            due: due.unwrap_or(Due::Wall(now.wall)),
            record,
            is_changed,
            end: end.clone(),
            reply: reply.clone(),
            place: Some(place),
        });
        store.request(Box::new(move |storage| retry.propose(storage)));
        Ok(reply)
    }
}

impl Retry {
    /// On the thread of the store: proposes the job, if the store still has the entry. The id is
    /// reserved, so that no other retry of the entry comes in between; and the writer tries the
    /// proposal before the next request, so that no `discard` does.
    fn propose(mut self: Box<Self>, storage: Option<&mut dyn Storage>) {
        let key = &self.end.key;
        let has_end =
            catch_panic(|| storage.map_or(Err(StorageError::Closed), |it| it.has_end(key)));
        let has_end = has_end.unwrap_or_else(|message| Err(StorageError::Panicked { message }));
        let hub = self.hub.clone();
        match (has_end, &hub.store) {
            (Ok(true), Some(store)) => {
                if let Err(message) = store.send(Message::Propose(self)) {
                    Writer::refuse_all(vec![message]);
                }
                return;
            }
            (Ok(_), _) => {
                let id = key.id.clone();
                self.refuse(RetryError::Gone { id });
            }
            (Err(error), _) => self.refuse(RetryError::Schedule(ScheduleError::from_store(error))),
        }
        self.wake();
    }

    fn refuse(&mut self, error: RetryError) {
        self.place = None;
        self.hub.give_up(&*self.job);
        self.reply.set(Err(error));
    }
}

#[cfg(feature = "serde")]
fn record_of(end: &EndRecord) -> Result<JobRecord, UnresolvedReason> {
    if end.version != RECORD_VERSION {
        return Err(UnresolvedReason::OtherVersion {
            found: end.version,
            known: RECORD_VERSION,
        });
    }
    serde_json::from_str(&end.job).map_err(|error| UnresolvedReason::Unreadable(error.to_string()))
}

/// Without the feature `serde` no task is durable.
#[cfg(not(feature = "serde"))]
fn record_of(end: &EndRecord) -> Result<JobRecord, UnresolvedReason> {
    Err(UnresolvedReason::OtherVersion {
        found: end.version,
        known: RECORD_VERSION,
    })
}

impl Proposal for Retry {
    fn id(&self) -> &JobId {
        &self.end.key.id
    }

    fn job(&self) -> JobRef {
        JobRef::new(self.job.clone())
    }

    fn replaced(&self) -> Option<JobRef> {
        None
    }

    fn taken_over(&mut self) -> Option<Box<JobRecord>> {
        None
    }

    fn pull(&mut self) -> Option<PulledProposal> {
        if Arc::strong_count(&self.reply) == 1 {
            // Nobody waits for it any more: it is withdrawn.
            self.hub.give_up(&*self.job);
            return None;
        }
        Some(PulledProposal {
            version: 0,
            record: Some(self.record.clone()),
            forgets: Some(self.end.key.clone()),
        })
    }

    fn forgotten(&self) -> Option<KeptEnd> {
        Some(KeptEnd {
            record: Box::new(self.end.clone()),
            most_of_task: None,
        })
    }

    fn answer(&mut self, result: Result<Option<Change>, StorageError>) {
        if let Err(error) = result {
            self.refuse(RetryError::Schedule(ScheduleError::from_store(error)));
            return;
        }
        self.place = None;
        self.hub.admit_stored(self.job.clone(), self.due);
        if self.is_changed {
            self.hub.send(Message::Changed(self.job()));
        }
        self.reply.set(Ok(self.job.clone()));
    }

    fn wake(self: Box<Self>) {
        let Self { job, reply, .. } = *self;
        reply.notify();
        // It may hold the job, which must not be dropped here.
        drop(Arc::into_inner(reply));
        job.drop_safely();
    }
}
