//! The failed jobs of a store, as users see them.

use crate::engine::hub::{Hub, Live};
use crate::engine::task_registry::Restored;
use crate::job::end_record::{EndKey, EndRecord, KeptEnd, TrimEnds};
use crate::job::record::{JobRecord, RECORD_VERSION};
use crate::job::row::{self, AppCalendars, Row};
use crate::storage::backlog::BacklogPlace;
use crate::storage::contract::{Change, Storage};
use crate::storage::inbox::Message;
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::{Proposal, PulledProposal};
use crate::storage::writer::Writer;
use crate::sync::panics::catch_panic;
use crate::sync::primitives::{Arc, lock};
use crate::sync::reply::Reply;
use crate::value::error::{RetryError, ScheduleError, StorageError, UnresolvedReason};
use crate::value::id::JobId;
use crate::value::time_units::{Due, from_wall};

type Requested<T> = Arc<Reply<Result<T, StorageError>>>;

/// The reply of the store to a job that is scheduled again.
pub(crate) type Retried = Arc<Reply<Result<Live, ScheduleError>>>;

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
    _place: BacklogPlace,
}

impl Hub {
    /// Asks the store for the ends of failed jobs, those that finished first at the beginning.
    /// Those that were kept long enough are deleted, and not in the list.
    pub(crate) fn failed(&self) -> Requested<Vec<EndRecord>> {
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
    }

    /// Asks the store to delete the end of a failed job.
    pub(crate) fn forget_end(&self, key: EndKey) -> Requested<()> {
        self.request(move |storage| storage.commit(&[Change::ForgetEnd(key)]))
    }

    fn request<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Storage) -> Result<T, StorageError> + Send + 'static,
    ) -> Requested<T> {
        // Then the store is closed.
        let _ = self.is_forked();
        let reply = Reply::new();
        let Some(store) = &self.store else {
            reply.set(Ok(T::default()));
            return reply;
        };
        let replied = reply.clone();
        store.request(Box::new(move |storage| {
            let done = catch_panic(|| storage.map_or(Err(StorageError::Closed), work));
            replied.send(done.unwrap_or_else(|message| Err(StorageError::Panicked { message })));
        }));
        reply
    }

    /// Schedules a failed job again, under its id.
    pub(crate) fn retry(self: &Arc<Self>, end: &EndRecord) -> Result<Retried, RetryError> {
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
            position: &row.position,
            start_intent: None,
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
        let schedule = RetryError::Schedule;
        let Some(store) = &self.store else {
            return Err(schedule(ScheduleError::Stopped));
        };
        let place = store.enter_backlog(record.args.len()).ok_or_else(|| {
            let waited = std::time::Duration::ZERO;
            schedule(ScheduleError::Storage(StorageError::Busy {
                path: None,
                waited,
            }))
        })?;
        self.reserve(&mut job, Some(id.clone()), &[], now)
            .map_err(schedule)?;
        let reply = Reply::new();
        let proposal = Retry {
            hub: self.clone(),
            job,
            due: due.unwrap_or(Due::Wall(now.wall)),
            record,
            is_changed,
            end: end.clone(),
            reply: reply.clone(),
            _place: place,
        };
        match store.send(Message::Propose(Box::new(proposal))) {
            Ok(()) => store.wake_writer(),
            Err(message) => Writer::refuse_all(vec![message]),
        }
        Ok(reply)
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
        self.reply.set(match result {
            Ok(_) => {
                self.hub.admit_stored(self.job.clone(), self.due);
                if self.is_changed {
                    self.hub.send(Message::Changed(self.job()));
                }
                Ok(self.job.clone())
            }
            Err(error) => {
                self.hub.give_up(&*self.job);
                Err(ScheduleError::from_store(error))
            }
        });
    }

    fn wake(self: Box<Self>) {
        let Self { job, reply, .. } = *self;
        reply.notify();
        // It may hold the job, which must not be dropped here.
        drop(Arc::into_inner(reply));
        job.drop_safely();
    }
}
