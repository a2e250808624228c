//! Stored jobs and the tasks that they are for: how they find each other, and
//! what becomes of those that do not.

use crate::engine::hub::{Board, Hub, Live, Phase, make_room, needs_room};
use crate::job::record::JobRecord;
use crate::registry::table::Wake;
use crate::storage::contract::{Change, Loaded, UnresolvedJob};
use crate::storage::writer::{Ack, Entry, Need};
use crate::sync::primitives::{Arc, lock};
use crate::sync::waiter::Reply;
use crate::timer::heap::Kind;
use crate::value::clock::{Due, Now};
use crate::value::error::{RegisterError, StorageError, UnresolvedReason};
use crate::value::event::{Event, JobEvent, JobEventKind};
use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// A task, as a stored job sees it.
pub(crate) trait Restore: Send + Sync {
    /// Makes a job of a record, or says why not.
    fn restore(self: Arc<Self>, record: &JobRecord, now: Now)
    -> Result<Restored, UnresolvedReason>;
}

/// What a record becomes.
pub(crate) enum Restored {
    Job {
        /// Nobody else has it yet.
        job: Live,
        due: Due,
        /// What the store is to know of that.
        change: Option<Change>,
    },
    /// Its last attempt was lost, and none may follow.
    Lost { id: JobId, status: JobStatus },
}

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Loaded,
    /// It was loaded before, and no task could run it.
    Waiting,
}

/// A stored job that no task can run.
pub(crate) struct Unresolved {
    /// `None` for what is no record that can be read.
    record: Option<Box<JobRecord>>,
    task: String,
    reason: UnresolvedReason,
}

impl Hub {
    /// Enters a task under its name and its aliases, and picks up the stored
    /// jobs that have waited for it.
    pub(crate) fn register(
        &self,
        names: &[Arc<str>],
        task: &Arc<impl Restore + 'static>,
    ) -> Result<(), RegisterError> {
        let waiting = {
            let mut board = lock(&self.board);
            if board.phase == Phase::Stopping || board.phase == Phase::Stopped {
                return Err(RegisterError::Stopped);
            }
            if let Some(name) = names.iter().find(|name| board.tasks.contains_key(*name)) {
                return Err(RegisterError::DuplicateTask {
                    name: name.to_string(),
                });
            }
            for name in names {
                board.tasks.insert(name.clone(), task.clone());
            }
            board.waiting_for(names)
        };
        for record in waiting {
            self.restore(Box::new(record), Found::Waiting);
        }
        self.catch_up();
        self.wake_writer();
        Ok(())
    }

    /// Takes in what the store has loaded. `false` when an app can hold no more.
    pub(crate) fn load(&self, loaded: Loaded) -> bool {
        match loaded {
            Loaded::Job(record) => self.restore(record, Found::Loaded),
            Loaded::Unreadable { id, task, reason } => {
                let unresolved = Unresolved {
                    record: None,
                    task,
                    reason: UnresolvedReason::Unreadable(reason),
                };
                let mut board = lock(&self.board);
                board.table.ids_after(&id);
                board.unresolved.insert(id, unresolved);
                true
            }
        }
    }

    /// Makes a job of a record, or keeps that for later.
    fn restore(&self, record: Box<JobRecord>, found: Found) -> bool {
        let task = {
            let mut board = lock(&self.board);
            board.table.ids_after(&record.id);
            match board.tasks.get(&*record.task) {
                Some(task) => task.clone(),
                // In one step with the look: whoever registers it later sees
                // what waits for it.
                None => {
                    board.keep(record, UnresolvedReason::UnknownTask);
                    return true;
                }
            }
        };
        // A step of the wall clock that it does not know of yet might as well come after
        // this.
        let now = self.clock.cached_now();
        match task.restore(&record, now) {
            Ok(Restored::Job { job, due, change }) => {
                self.enter(record, found, (job, due, change), now)
            }
            Ok(Restored::Lost { id, status }) => {
                {
                    let mut board = lock(&self.board);
                    let has_waited = board.unresolved.remove(&id).is_some();
                    if found == Found::Waiting && !has_waited {
                        return true;
                    }
                    self.queue(Change::Remove(id));
                }
                self.record_lost(&record, status, now);
                true
            }
            Err(reason) => {
                let mut board = lock(&self.board);
                if found == Found::Loaded || board.unresolved.contains_key(&record.id) {
                    board.keep(record, reason);
                }
                true
            }
        }
    }

    fn enter(
        &self,
        record: Box<JobRecord>,
        found: Found,
        (mut job, due, change): (Live, Due, Option<Change>),
        now: Now,
    ) -> bool {
        let (wake, needs_room) = {
            let mut board = lock(&self.board);
            if matches!(board.phase, Phase::Stopping | Phase::Stopped) {
                return true;
            }
            let has_waited =
                !board.unresolved.is_empty() && board.unresolved.remove(&record.id).is_some();
            // It was discarded in the meantime; or the store has it twice, which
            // it says it does not.
            let is_gone = found == Found::Waiting && !has_waited;
            if is_gone || board.contains(&record.id, &self.side_shards) {
                return true;
            }
            let by_hint = board.table.allocate_slot_of(&record.id);
            let Some(slot) = by_hint.or_else(|| board.table.allocate_slot()) else {
                board.unresolved.insert(
                    record.id.clone(),
                    Unresolved {
                        task: record.task.clone(),
                        record: Some(record),
                        reason: UnresolvedReason::Unreadable("the app is full".into()),
                    },
                );
                return false;
            };
            if let Some(job) = Arc::get_mut(&mut job) {
                let core = job.core_mut();
                core.slot = slot;
                core.is_named = by_hint.is_none();
            }
            self.record(&*job, now, || JobEventKind::Restored { due: job.exec_at() });
            if let Some(change) = change {
                self.queue(change);
            }
            let is_due = due.is_reached(now);
            if is_due {
                board.catch_up.found(job.clone());
            }
            board.table.insert(slot, job);
            let wake = if is_due {
                Wake::No
            } else {
                board.table.arm(slot, due, Kind::Look, now)
            };
            (wake, needs_room(&board.table, slot))
        };
        self.wake(wake);
        self.events.deliver();
        if needs_room {
            make_room();
        }
        true
    }

    pub(crate) fn queue(&self, change: Change) {
        if let Some(store) = &self.store {
            // If it is closed, another process will do the same again.
            let _ = store.queue(Entry {
                change,
                need: Need::Must,
                ack: Ack::Nobody,
            });
        }
    }

    fn record_lost(&self, record: &JobRecord, status: JobStatus, now: Now) {
        if self.events.is_read() {
            self.events.record(Event::Job(JobEvent {
                at: self.time(now.wall),
                id: record.id.clone(),
                task: record.task.as_str().into(),
                kind: JobEventKind::Ended(status),
            }));
            self.events.deliver();
        }
    }

    /// The stored jobs that no task can run, by id.
    pub(crate) fn unresolved(&self) -> Vec<UnresolvedJob> {
        let mut jobs: Vec<_> = lock(&self.board)
            .unresolved
            .iter()
            .map(|(id, unresolved)| UnresolvedJob {
                id: id.clone(),
                task: unresolved.task.clone(),
                reason: unresolved.reason.clone(),
            })
            .collect();
        jobs.sort_by(|left, right| left.id.cmp(&right.id));
        jobs
    }

    pub(crate) fn unresolved_count(&self) -> usize {
        lock(&self.board).unresolved.len()
    }

    /// Has the store forget a job that no task can run. `None` when there is no
    /// such job.
    pub(crate) fn discard(&self, id: &JobId) -> Option<Arc<Reply<Result<(), StorageError>>>> {
        let store = self.store.as_ref()?;
        let reply = Reply::new();
        let entry = Entry {
            change: Change::Remove(id.clone()),
            need: Need::Must,
            ack: Ack::reply(reply.clone()),
        };
        let queued = {
            let mut board = lock(&self.board);
            if board.contains(id, &self.side_shards) {
                // Its task is about to replace it.
                return None;
            }
            let unresolved = board.unresolved.remove(id)?;
            // Under the lock: whoever takes the id comes after it.
            let queued = store.queue(entry);
            drop(board);
            drop(unresolved);
            queued
        };
        match queued {
            Ok(()) => store.wake_writer(),
            Err(entry) => entry.refuse(),
        }
        Some(reply)
    }
}

impl Unresolved {
    /// Whether it is a record of a task of these names.
    pub(crate) fn is_of(&self, names: &[Arc<str>]) -> bool {
        self.record.is_some() && names.iter().any(|name| **name == *self.task)
    }

    pub(crate) fn record(&self) -> Option<Box<JobRecord>> {
        self.record.clone()
    }
}

impl Board {
    fn keep(&mut self, record: Box<JobRecord>, reason: UnresolvedReason) {
        let (id, task) = (record.id.clone(), record.task.clone());
        let unresolved = Unresolved {
            record: Some(record),
            task,
            reason,
        };
        self.unresolved.insert(id, unresolved);
    }

    /// The records that wait for a task of these names. They stay here until they
    /// are jobs, so that nobody takes their ids.
    fn waiting_for(&self, names: &[Arc<str>]) -> Vec<JobRecord> {
        let unresolved = self.unresolved.values();
        let mut records: Vec<_> = unresolved
            .filter(|unresolved| unresolved.is_of(names))
            .filter_map(|unresolved| unresolved.record.as_deref().cloned())
            .collect();
        // In the order of scheduling, as far as ids tell; the same each time.
        records.sort_by(|left, right| left.id.cmp(&right.id));
        records
    }
}
