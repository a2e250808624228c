//! Where durable jobs live: the [`Storage`] trait, and what passes through it.

use std::fmt;

use crate::job::record::{JobRecord, ProgressRecord};
use crate::value::error::{StorageError, UnresolvedReason};
use crate::value::id::JobId;

/// Keeps the jobs of durable tasks.
///
/// An app calls it from one thread of its own and from no other (`jobber-store`),
/// so that it may block and needs no locks: first [`open`](Storage::open), then
/// [`load`](Storage::load), then any number of [`commit`](Storage::commit)s. When
/// the app stops, it is dropped.
///
/// A panic in it is taken for an error. To see that one of your own keeps its
/// promises, run [`testing::storage_conformance`](crate::testing::storage_conformance).
///
/// ```
/// use std::collections::BTreeMap;
/// use jobber::{Change, JobId, JobRecord, Loaded, Storage, StorageError};
///
/// /// One that forgets: a map.
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
///     fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
///         for change in changes {
///             match change {
///                 Change::Put(job) => {
///                     self.0.insert(job.id.clone(), (**job).clone());
///                 }
///                 Change::Advance { id, progress } => {
///                     if let Some(job) = self.0.get_mut(id) {
///                         job.progress = (**progress).clone();
///                     }
///                 }
///                 Change::Remove(id) => {
///                     self.0.remove(id);
///                 }
///             }
///         }
///         Ok(())
///     }
/// }
/// let app = jobber::Jobber::builder().storage(Forgetful::default()).build()?;
/// # Ok::<(), jobber::StartError>(())
/// ```
pub trait Storage: Send + 'static {
    /// Takes hold of the store. Nobody else may have it from here on until this
    /// is dropped.
    ///
    /// After an error it may be called again.
    ///
    /// # Errors
    /// When it can't be had, such as [`StorageError::InUse`].
    fn open(&mut self) -> Result<(), StorageError>;

    /// Hands over every record that the store holds, one after the other and in
    /// any order.
    ///
    /// One that can't be read is handed over as [`Loaded::Unreadable`], and stays
    /// where it is.
    ///
    /// # Errors
    /// When the store as a whole can't be read.
    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError>;

    /// Makes these changes, in this order: all of them, or none.
    ///
    /// When it has returned `Ok`, they survive whatever the store says that it
    /// survives.
    ///
    /// # Errors
    /// When none of them was made, or it is not known.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError>;
}

/// A change to a store.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Keep this record, in place of the one of the same id if there is one.
    Put(Box<JobRecord>),
    /// Keep this progress for the record of that id. Without such a record,
    /// nothing.
    Advance {
        /// Which record.
        id: JobId,
        /// What takes the place of its progress.
        progress: Box<ProgressRecord>,
    },
    /// Forget the record of this id, if there is one.
    Remove(JobId),
}

impl Change {
    /// The id of the record that it changes.
    pub fn id(&self) -> &JobId {
        match self {
            Change::Put(job) => &job.id,
            Change::Advance { id, .. } | Change::Remove(id) => id,
        }
    }
}

/// What a store hands over when it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// A record.
    Job(Box<JobRecord>),
    /// A record of another version of the format.
    OtherVersion {
        /// Its id, as far as it can be read.
        id: JobId,
        /// The name of its task, as far as it can be read.
        task: String,
        /// The version of the record.
        version: u32,
    },
    /// Something that is there, and is no record that this version can read.
    Unreadable {
        /// Its id, as far as it can be told.
        id: JobId,
        /// The name of its task, as far as it can be told.
        task: String,
        /// Why it can't be read.
        reason: String,
    },
}

/// A stored job that no task can run, from
/// [`Jobber::unresolved`](crate::Jobber::unresolved).
///
/// It is kept as it is, and picked up once a task is registered that can run
/// it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnresolvedJob {
    /// Its id. No other job can have it.
    pub id: JobId,
    /// The name of its task.
    pub task: String,
    /// Why it can't be run.
    pub reason: UnresolvedReason,
}

impl fmt::Display for UnresolvedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.task, self.id, self.reason)
    }
}

/// How an app is, from [`Jobber::health`](crate::Jobber::health).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// Why the last commit failed, if no other has succeeded since. The changes
    /// in it are tried again, at growing intervals, and at once when something
    /// new is to be stored.
    pub storage_error: Option<StorageError>,
    /// Changes that the store has refused so far: ends of jobs, and their next
    /// times. Another process would run these jobs once more.
    pub unstored: usize,
    /// Stored jobs that no task can run.
    pub unresolved: usize,
}

impl Health {
    /// Whether there is nothing to see to.
    pub fn is_good(&self) -> bool {
        self.storage_error.is_none() && self.unstored == 0 && self.unresolved == 0
    }
}
