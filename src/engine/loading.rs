//! Loads stored jobs. Those that no task can run become unresolved jobs.

use crate::engine::hub::{Hub, Live, MainShard, make_room, needs_room};
use crate::engine::task_registry::{Restore, Restored, Unresolved};
use crate::job::record::{JobRecord, RECORD_VERSION};
use crate::job::taken_id::TakenId;
use crate::registry::table::Wake;
use crate::storage::contract::{Loaded, UnresolvedJob};
use crate::storage::inbox::Message;
use crate::storage::job_ref::JobRef;
use crate::storage::writer::Writer;
use crate::sync::primitives::{Arc, lock};
use crate::sync::reply::Reply;
use crate::timer::key::KeyKind;
use crate::value::error::{RegisterError, StorageError, TaskError, UnresolvedReason};
use crate::value::event::{Event, JobEvent, JobEventKind};
use crate::value::id::JobId;
use crate::value::pause_key::PauseKey;
use crate::value::time_units::{Due, Now, to_wall};

/// Where a record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    InStore,
    /// Among the unresolved jobs.
    Unresolved,
}

impl MainShard {
    /// The store has this id, which stays taken.
    pub(crate) fn load_taken_id(&mut self, taken: &TakenId) {
        if let (Some(ended_at), Some(until)) = (to_wall(taken.ended_at), to_wall(taken.until)) {
            let end = (taken.status, until);
            self.taken_ids.take(taken.id.clone(), end, ended_at);
        }
    }
}

impl Hub {
    /// Registers a task under its name and its aliases, and restores the unresolved jobs of
    /// these names.
    pub(crate) fn register(
        &self,
        names: &[Arc<str>],
        task: &Arc<impl Restore + 'static>,
    ) -> Result<(), RegisterError> {
        let mut records = {
            let mut main_shard = lock(&self.main_shard);
            main_shard.check_names(names)?;
            for name in names {
                main_shard.tasks.insert(name.clone(), task.clone());
                let key = PauseKey::Task(name.clone());
                if let Some((paused_at, resumed_at)) = main_shard.pauses.get(&key) {
                    task.pause_switch().load(*paused_at, *resumed_at);
                }
            }
            main_shard.unresolved_of(names)
        };
        // By id, so that the order does not depend on the hash map. Generated ids sort by the
        // time of scheduling.
        records.sort_by(|left, right| left.id.cmp(&right.id));
        for record in records {
            self.restore(Box::new(record), Found::Unresolved);
        }
        self.catch_up();
        self.wake_writer();
        Ok(())
    }

    /// Whether a task of these names can be registered.
    pub(crate) fn check_names(&self, names: &[Arc<str>]) -> Result<(), RegisterError> {
        lock(&self.main_shard).check_names(names)
    }

    /// The task of this name, or with this alias.
    pub(crate) fn find_task(&self, name: &str) -> Result<Arc<dyn Restore>, TaskError> {
        let main_shard = lock(&self.main_shard);
        if main_shard.phase.is_over() {
            return Err(TaskError::Stopped);
        }
        let task = main_shard.tasks.get(name).cloned();
        task.ok_or_else(|| TaskError::Unknown { name: name.into() })
    }

    /// Restores a job that the store has loaded, or keeps it as unresolved. Returns `false`
    /// if the app has no free slot.
    pub(crate) fn load(&self, loaded: Loaded) -> bool {
        match loaded {
            Loaded::Job(record) => self.restore(record, Found::InStore),
            Loaded::OtherVersion { id, task, version } => {
                let reason = UnresolvedReason::OtherVersion {
                    found: version,
                    known: RECORD_VERSION,
                };
                self.keep_without_record(id, task, reason);
                true
            }
            Loaded::Unreadable { id, task, reason } => {
                self.keep_without_record(id, task, UnresolvedReason::Unreadable(reason));
                true
            }
        }
    }

    fn keep_without_record(&self, id: JobId, task: String, reason: UnresolvedReason) {
        let unresolved = Unresolved {
            record: None,
            task: task.into(),
            reason,
        };
        let mut main_shard = lock(&self.main_shard);
        main_shard.table.ids_after(&id);
        main_shard.unresolved.insert(id, unresolved);
    }

    /// Makes a job of a record, or keeps the record as unresolved. Returns `false` if the app
    /// has no free slot.
    fn restore(&self, record: Box<JobRecord>, found: Found) -> bool {
        let task = {
            let mut main_shard = lock(&self.main_shard);
            main_shard.table.ids_after(&record.id);
            match main_shard.tasks.get(&*record.task) {
                Some(task) => task.clone(),
                // Under the lock of the look-up, so that a later registration of the task
                // finds the record.
                None => {
                    main_shard.keep(record, UnresolvedReason::UnknownTask);
                    return true;
                }
            }
        };
        // The cached time may miss a step of the wall clock. The driver notices the step
        // and corrects the job, as if the step had come after this.
        let now = self.clock.cached_now();
        match task.clone().restore(&record, now) {
            Ok(Restored::Job {
                job,
                due,
                interrupted,
                is_changed,
            }) => self.enter(
                record,
                (found, &*task),
                (job, due, is_changed, interrupted),
                now,
            ),
            Ok(Restored::Lost {
                status,
                reason,
                end,
            }) => {
                let id = record.id.clone();
                {
                    let mut main_shard = lock(&self.main_shard);
                    let was_unresolved = main_shard.unresolved.remove(&id).is_some();
                    if found == Found::Unresolved && !was_unresolved {
                        return true;
                    }
                    if let Some(taken) = end.as_ref().and_then(|end| end.taken.as_ref()) {
                        main_shard.load_taken_id(taken);
                    }
                    self.send(Message::Forget {
                        id,
                        waiter: None,
                        end,
                    });
                }
                let kinds = reason.into_iter().chain([JobEventKind::Ended(status)]);
                self.record_lost(&record, kinds, now);
                self.call_for_lost(&*task, &record.id, status);
                true
            }
            Err(reason) => {
                let mut main_shard = lock(&self.main_shard);
                if found == Found::InStore || main_shard.unresolved.contains_key(&record.id) {
                    main_shard.keep(record, reason);
                }
                true
            }
        }
    }

    fn enter(
        &self,
        record: Box<JobRecord>,
        (found, task): (Found, &dyn Restore),
        (mut job, due, is_changed, interrupted): (Live, Option<Due>, bool, Option<JobEventKind>),
        now: Now,
    ) -> bool {
        if let Some(by) = &record.spawned_by {
            self.spawned.add(by.job.clone(), record.id.clone());
        }
        let is_held = job.is_held_by_pause();
        let is_set_aside_now = matches!(
            interrupted,
            Some(JobEventKind::Interrupted {
                is_set_aside: true,
                ..
            })
        );
        let (wake, needs_room, held) = {
            let mut main_shard = lock(&self.main_shard);
            if main_shard.phase.is_over() {
                return true;
            }
            // The store has loaded the id twice, which the contract of a store does not allow.
            if main_shard.contains(&record.id, &self.side_shards) {
                return true;
            }
            let was_unresolved = !main_shard.unresolved.is_empty()
                && main_shard.unresolved.remove(&record.id).is_some();
            if found == Found::Unresolved && !was_unresolved {
                // The record was discarded in the meantime.
                return true;
            }
            let by_hint = main_shard.table.allocate_slot_of(&record.id);
            let Some(slot) = by_hint.or_else(|| main_shard.table.allocate_slot()) else {
                main_shard.keep(
                    record,
                    UnresolvedReason::Unreadable("the app is full".into()),
                );
                return false;
            };
            if let Some(job) = Arc::get_mut(&mut job) {
                let core = job.core_mut();
                core.slot = slot;
                core.is_named = by_hint.is_none();
            }
            self.record(&*job, now, || JobEventKind::Restored { due: job.exec_at() });
            if let Some(kind) = interrupted {
                self.record(&*job, now, || kind);
            }
            if job.is_set_aside() {
                main_shard.set_aside.insert(record.id.clone());
            }
            if is_changed {
                self.send(Message::Changed(JobRef::new(job.clone())));
            }
            // What a pause holds takes no turn.
            let overdue = due.filter(|due| due.is_reached(now) && !is_held);
            if let Some(due) = overdue {
                let found = (job.interruptions(), due.as_wall(now), job.clone());
                main_shard.catch_up.found.push(found);
            }
            job.pending().enter_over();
            let held = is_held.then(|| job.clone());
            main_shard.table.insert(slot, job);
            let wake = match due {
                Some(due) if overdue.is_none() => {
                    main_shard.table.arm(slot, due, KeyKind::Decide, now)
                }
                _ => Wake::No,
            };
            (wake, needs_room(&main_shard.table, slot), held)
        };
        if is_set_aside_now {
            self.call_for_set_aside(task, &record.id);
        }
        if let Some(job) = held {
            job.follow_pause(None);
        }
        self.wake(wake);
        self.events.wake_readers();
        if needs_room {
            make_room();
        }
        true
    }

    pub(crate) fn send(&self, message: Message) {
        if let Some(store) = &self.store {
            // If the store is closed, the next process restores the job again.
            let _ = store.send(message);
        }
    }

    fn record_lost(&self, record: &JobRecord, kinds: impl Iterator<Item = JobEventKind>, now: Now) {
        if self.events.is_read() {
            for kind in kinds {
                self.events.record(Event::Job(JobEvent {
                    at: self.time(now.wall),
                    id: record.id.clone(),
                    task: record.task.clone(),
                    kind,
                }));
            }
            self.events.wake_readers();
        }
    }

    /// The stored jobs that no task can run, by id.
    pub(crate) fn unresolved(&self) -> Vec<UnresolvedJob> {
        let mut jobs: Vec<_> = lock(&self.main_shard)
            .unresolved
            .iter()
            .map(|(id, unresolved)| UnresolvedJob {
                id: id.clone(),
                task: unresolved.task.to_string(),
                reason: unresolved.reason.clone(),
            })
            .collect();
        jobs.extend(self.unresolved_set_aside());
        jobs.sort_by(|left, right| left.id.cmp(&right.id));
        jobs
    }

    pub(crate) fn unresolved_count(&self) -> usize {
        lock(&self.main_shard).unresolved.len()
    }

    /// Removes an unresolved job. Returns the reply of the store, or `None` if there is no
    /// such job.
    pub(crate) fn discard(&self, id: &JobId) -> Option<Arc<Reply<Result<(), StorageError>>>> {
        self.stop_if_forked();
        let store = self.store.as_ref()?;
        let reply = Reply::new();
        let message = Message::Forget {
            id: id.clone(),
            waiter: Some(reply.clone()),
            end: None,
        };
        let sent = {
            let mut main_shard = lock(&self.main_shard);
            if main_shard.contains(id, &self.side_shards) {
                // A new job of its task is about to replace it.
                return None;
            }
            let unresolved = main_shard.unresolved.remove(id)?;
            // Sent under the lock, so that a new job with this id is committed after it.
            let sent = store.send(message);
            drop(main_shard);
            drop(unresolved);
            sent
        };
        match sent {
            Ok(()) => store.wake_writer(),
            Err(message) => Writer::refuse_all(vec![message]),
        }
        Some(reply)
    }
}

impl MainShard {
    fn check_names(&self, names: &[Arc<str>]) -> Result<(), RegisterError> {
        if self.phase.is_over() {
            return Err(RegisterError::Stopped);
        }
        let mut names = names.iter();
        match names.find(|name| self.tasks.contains_key(*name)) {
            Some(name) => Err(RegisterError::DuplicateTask {
                name: name.to_string(),
            }),
            None => Ok(()),
        }
    }

    fn keep(&mut self, record: Box<JobRecord>, reason: UnresolvedReason) {
        let id = record.id.clone();
        self.unresolved.insert(id, Unresolved::of(record, reason));
    }

    /// The records of the unresolved jobs of these tasks. They stay unresolved until they
    /// are jobs, so that no other job takes their ids.
    fn unresolved_of(&self, names: &[Arc<str>]) -> Vec<JobRecord> {
        let unresolved = self.unresolved.values();
        let of_names = unresolved.filter(|unresolved| unresolved.is_of(names));
        of_names
            .filter_map(|unresolved| unresolved.record.as_deref().cloned())
            .collect()
    }
}
