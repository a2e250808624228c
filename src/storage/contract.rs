//! [`Storage`]: what an app needs from a store.

use std::fmt;
use std::time::Duration;

use crate::job::end_record::{EndKey, EndRecord, TrimEnds};
use crate::job::pause_record::PauseRecord;
use crate::job::record::{JobRecord, ProgressRecord};
use crate::job::taken_id::TakenId;
use crate::value::error::{StorageError, UnresolvedReason};
use crate::value::escaped::Escaped;
use crate::value::id::JobId;
use crate::value::pause_key::PauseKey;

/// Keeps the jobs of durable tasks.
///
/// An app calls a store from one thread at a time, so that a store may block and needs no lock.
/// It calls [`busy_timeout`](Storage::busy_timeout) when it is built. When it is started, the
/// thread `jobber-store` calls [`open`](Storage::open), [`was_closed`](Storage::was_closed),
/// [`load_pauses`](Storage::load_pauses), [`load_taken_ids`](Storage::load_taken_ids) and
/// [`load`](Storage::load), then [`commit`](Storage::commit), [`load_ends`](Storage::load_ends)
/// and [`has_end`](Storage::has_end) any number of times. When the app stops, it calls
/// [`close`](Storage::close) and drops the store: the store must then release what `open`
/// acquired. A process that is killed calls neither.
///
/// `open`, `load`, `load_ends`, `load_pauses`, `load_taken_ids` and `commit` are required. The others
/// have a default.
///
/// If a store panics, the app treats the panic as an error of that call
/// ([`StorageError::Panicked`]).
///
/// To test a store of your own, call
/// [`testing::storage_conformance`](crate::testing::storage_conformance).
///
/// ```
/// use std::collections::BTreeMap;
/// use jobber::JobId;
/// use jobber::storage::{
///     Change, EndRecord, JobRecord, Loaded, PauseRecord, Storage, StorageError, TakenId,
/// };
///
/// /// A store that does not survive the process, and keeps nothing but jobs.
/// #[derive(Default)]
/// struct Forgetful(BTreeMap<JobId, JobRecord>);
///
/// impl Storage for Forgetful {
///     fn open(&mut self) -> Result<(), StorageError> {
///         Ok(())
///     }
///
///     fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
///         self.0.values().cloned().for_each(|job| each(Loaded::Job(Box::new(job))));
///         Ok(())
///     }
///
///     fn load_ends(&mut self, _: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
///         Ok(())
///     }
///
///     fn load_pauses(&mut self, _: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError> {
///         Ok(())
///     }
///
///     fn load_taken_ids(&mut self, _: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
///         Ok(())
///     }
///
///     fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
///         for change in changes {
///             match change {
///                 Change::Put(job) => {
///                     self.0.insert(job.id().clone(), (**job).clone());
///                 }
///                 Change::Advance { id, progress } => {
///                     if let Some(job) = self.0.get_mut(id) {
///                         job.set_progress((**progress).clone());
///                     }
///                 }
///                 Change::Remove(id) => {
///                     self.0.remove(id);
///                 }
///                 _ => {}
///             }
///         }
///         Ok(())
///     }
/// }
/// let app = jobber::Jobber::builder().storage(Forgetful::default()).build()?;
/// # Ok::<(), jobber::StartError>(())
/// ```
pub trait Storage: Send + 'static {
    /// Opens the store for this app alone: until this value is dropped, no other app can
    /// open the same store. May block.
    ///
    /// After an error, the app may call it again.
    ///
    /// # Errors
    /// If the store can't be opened, for example [`StorageError::InUse`].
    fn open(&mut self) -> Result<(), StorageError>;

    /// Whether the app that had the store open last has called [`close`](Storage::close).
    /// Called after [`open`](Storage::open). Default: `false`.
    ///
    /// If not, its process was killed, or an attempt has ended it. The app then stores the start
    /// of each attempt of an overdue job before it begins
    /// ([`TaskBuilder::max_interruptions`](crate::TaskBuilder::max_interruptions)): one more
    /// commit for each portion of them.
    fn was_closed(&self) -> bool {
        false
    }

    /// Notes that the app has stopped: the attempts that still run did not end its process. No
    /// other call follows. Default: does nothing.
    ///
    /// # Errors
    /// If that could not be noted. Then the app that opens the store next must find that
    /// [`was_closed`](Storage::was_closed) is `false`.
    fn close(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Calls `each` with every record in the store, in any order. May block.
    ///
    /// If a record can't be read, the store passes [`Loaded::Unreadable`] in its place, and
    /// keeps the record.
    ///
    /// # Errors
    /// If the store as a whole can't be read.
    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError>;

    /// Calls `each` with every end of a failed job that the store keeps, in any order. May
    /// block.
    ///
    /// # Errors
    /// If the ends as a whole can't be read.
    fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError>;

    /// Calls `each` with every pause of an app or a task that the store has, in any order. May
    /// block.
    ///
    /// # Errors
    /// If the pauses as a whole can't be read.
    fn load_pauses(&mut self, each: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError>;

    /// Calls `each` with every id that stays taken, in any order. May block.
    ///
    /// # Errors
    /// If the ids as a whole can't be read.
    fn load_taken_ids(&mut self, each: &mut dyn FnMut(TakenId)) -> Result<(), StorageError>;

    /// Whether the store keeps the end with this key. May block. Default: loads all ends.
    ///
    /// # Errors
    /// If the ends can't be read.
    fn has_end(&mut self, key: &EndKey) -> Result<bool, StorageError> {
        let mut is_found = false;
        self.load_ends(&mut |end| is_found |= end.key() == key)?;
        Ok(is_found)
    }

    /// Saves all of these changes, in this order, or none of them. May block.
    ///
    /// If it returns `Ok`, the changes are as durable as the store promises: for example,
    /// they survive a crash of the process.
    ///
    /// # Errors
    /// If the changes were not saved, or if the store does not know whether they were.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError>;

    /// For how long a job may wait for a place among those that wait for this store, in real
    /// time. Then scheduling it fails with [`StorageError::Busy`]. Default: 5 s.
    ///
    /// An app reads it when it is built. There are places for 16,384 jobs with 64 MiB of
    /// arguments together. If a job finds none, none is free before half of them are.
    fn busy_timeout(&self) -> Duration {
        Duration::from_secs(5)
    }
}

/// A change to a store.
///
/// ```
/// use jobber::storage::Change;
///
/// let change = Change::Remove("greeting".into());
/// assert_eq!(change.id(), Some(&"greeting".into()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Save this record. If the store has a record with the same id, replace it.
    Put(Box<JobRecord>),
    /// Replace the progress of the record with this id. If no record has it, do
    /// nothing.
    Advance {
        /// The id of the record.
        id: JobId,
        /// The new progress.
        progress: Box<ProgressRecord>,
    },
    /// Delete the record with this id, if there is one.
    Remove(JobId),
    /// Save the end of a job that has failed, apart from the records. If the store has one with
    /// the same key, replace it.
    KeepEnd(Box<EndRecord>),
    /// Delete the end with this key, if there is one.
    ForgetEnd(EndKey),
    /// Delete the ends that were kept long enough, and the oldest of those that are too many.
    TrimEnds(TrimEnds),
    /// Save this pause of an app or a task. If the store has one with the same key, replace it.
    SetPause(PauseRecord),
    /// Delete the pause with this key, if there is one.
    RemovePause(PauseKey),
    /// First delete the taken ids whose [`until`](TakenId::until) is not later than the
    /// [`ended_at`](TakenId::ended_at) of this one. Then save this one, apart from the records, in
    /// place of an entry with its id.
    TakeId(TakenId),
}

impl Change {
    /// The id of the job whose record, end or id this changes. `None` if it changes a pause, or may
    /// change the ends of several jobs.
    pub fn id(&self) -> Option<&JobId> {
        match self {
            Change::Put(job) => Some(&job.id),
            Change::Advance { id, .. } | Change::Remove(id) => Some(id),
            Change::KeepEnd(end) => Some(&end.key.id),
            Change::ForgetEnd(key) => Some(&key.id),
            Change::TakeId(taken) => Some(&taken.id),
            Change::TrimEnds(_) | Change::SetPause(_) | Change::RemovePause(_) => None,
        }
    }
}

/// What [`Storage::load`] passes for each record.
///
/// ```
/// use jobber::storage::Loaded;
///
/// fn describe(loaded: &Loaded) -> String {
///     match loaded {
///         Loaded::Job(job) => format!("{} is due at {}", job.id(), job.due()),
///         Loaded::OtherVersion { id, version, .. } => format!("{id} has version {version}"),
///         Loaded::Unreadable { id, reason, .. } => format!("{id} can't be read: {reason}"),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// A record of a job.
    Job(Box<JobRecord>),
    /// A record of another version of the format. This version of jobber does not run it.
    OtherVersion {
        /// The id of the record. If it can't be read, a text that shows what is there.
        id: JobId,
        /// The name of the task. If it can't be read, a text that shows what is there.
        task: String,
        /// The version of the record.
        version: u32,
    },
    /// A record that this version of jobber can't read.
    Unreadable {
        /// The id of the record. If it can't be read, a text that shows what is there.
        id: JobId,
        /// The name of the task. If it can't be read, a text that shows what is there.
        task: String,
        /// Why the record can't be read.
        reason: String,
    },
}

/// A stored job that no task can run. [`Jobber::unresolved`](crate::Jobber::unresolved)
/// returns it.
///
/// It stays in the store without a change. If a task that can run it is registered, the
/// job is scheduled.
///
/// ```
/// let app = jobber::Jobber::builder().build()?;
/// for job in app.unresolved() {
///     eprintln!("job {} of task {}: {}", job.id, job.task, job.reason);
/// }
/// # Ok::<(), jobber::StartError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnresolvedJob {
    /// The id of the job. No other job can have this id.
    pub id: JobId,
    /// The name of the job's task.
    pub task: String,
    /// Why no task can run the job.
    pub reason: UnresolvedReason,
}

impl fmt::Display for UnresolvedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", Escaped(&self.task), self.id, self.reason)
    }
}
