//! [`FaultyStorage`]: a store that fails on demand.

use std::fmt;
use std::time::Duration;

use crate::job::end_record::{EndKey, EndRecord};
use crate::job::pause_record::PauseRecord;
use crate::job::taken_id::TakenId;
use crate::storage::contract::{Change, Loaded, Storage};
use crate::value::error::StorageError;

/// A store that fails on demand, to test what an app does then.
///
/// It calls a function, the plan, before each operation. The plan returns the [`Fault`] of
/// that operation.
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use jobber::testing::{Fault, FaultyStorage, ManualClock, Simulation};
/// use jobber::{MemoryStorage, ScheduleError};
///
/// // The third commit fails, and no other.
/// let mut commits = 0;
/// let storage = FaultyStorage::new(MemoryStorage::new(), move |operation| {
///     if let jobber::testing::Operation::Commit(_) = operation {
///         commits += 1;
///     }
///     if commits == 3 { Fault::Fail } else { Fault::None }
/// });
/// let sim = Simulation::with(0, ManualClock::new(), |app| app.storage(storage))?;
/// let task = sim.app().task("t", async || {}).durable().register()?;
/// let hour = std::time::Duration::from_secs(3_600);
/// for n in 1..=4 {
///     let result = task.schedule(()).delay(hour).block_on();
///     assert_eq!(matches!(result, Err(ScheduleError::Storage(_))), n == 3);
/// }
/// assert_eq!(sim.app().jobs().len(), 3);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FaultyStorage<S> {
    inner: S,
    plan: Box<dyn FnMut(&Operation<'_>) -> Fault + Send>,
    is_gone: bool,
}

/// An operation of a [`FaultyStorage`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// [`Storage::open`].
    Open,
    /// [`Storage::load`].
    Load,
    /// [`Storage::has_end`].
    HasEnd(&'a EndKey),
    /// [`Storage::load_ends`].
    LoadEnds,
    /// [`Storage::load_pauses`].
    LoadPauses,
    /// [`Storage::load_taken_ids`].
    LoadTakenIds,
    /// [`Storage::close`].
    Close,
    /// [`Storage::commit`] of these changes.
    Commit(&'a [Change]),
}

/// What a [`FaultyStorage`] does instead of an operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// No fault: it does the operation.
    None,
    /// It does nothing, and returns a [`StorageError::other`].
    Fail,
    /// It does nothing, and returns this error.
    FailWith(StorageError),
    /// It does the operation, and returns an error. The app cannot know whether the
    /// operation was done.
    Tear,
    /// It does nothing, and returns an error. It does so for all later operations too,
    /// whatever the plan returns.
    Die,
    /// It does the operation, and returns an error. For all later operations, it does
    /// nothing, and returns an error.
    TearAndDie,
    /// It panics.
    Panic,
}

impl<S: Storage> FaultyStorage<S> {
    /// Returns a store that does the operations of `inner`, unless `plan` returns a fault.
    pub fn new(inner: S, plan: impl FnMut(&Operation<'_>) -> Fault + Send + 'static) -> Self {
        Self {
            inner,
            plan: Box::new(plan),
            is_gone: false,
        }
    }

    fn during<T>(
        &mut self,
        operation: &Operation<'_>,
        work: impl FnOnce(&mut S) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let failure = || StorageError::other("a fault that was planned");
        let fault = (self.plan)(operation);
        if self.is_gone {
            return Err(failure());
        }
        match fault {
            Fault::None => return work(&mut self.inner),
            Fault::Fail => {}
            Fault::FailWith(error) => return Err(error),
            Fault::Tear => drop(work(&mut self.inner)?),
            Fault::Die => self.is_gone = true,
            Fault::TearAndDie => {
                self.is_gone = true;
                drop(work(&mut self.inner)?);
            }
            Fault::Panic => panic!("a fault that was planned"),
        }
        Err(failure())
    }
}

impl<S: Storage> Storage for FaultyStorage<S> {
    fn open(&mut self) -> Result<(), StorageError> {
        self.during(&Operation::Open, S::open)
    }

    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        self.during(&Operation::Load, |inner| inner.load(each))
    }

    fn was_closed(&self) -> bool {
        !self.is_gone && self.inner.was_closed()
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.during(&Operation::Close, S::close)
    }

    fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        self.during(&Operation::LoadEnds, |inner| inner.load_ends(each))
    }

    fn load_pauses(&mut self, each: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError> {
        self.during(&Operation::LoadPauses, |inner| inner.load_pauses(each))
    }

    fn load_taken_ids(&mut self, each: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
        self.during(&Operation::LoadTakenIds, |inner| inner.load_taken_ids(each))
    }

    fn has_end(&mut self, key: &EndKey) -> Result<bool, StorageError> {
        self.during(&Operation::HasEnd(key), |inner| inner.has_end(key))
    }

    fn busy_timeout(&self) -> Duration {
        self.inner.busy_timeout()
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        self.during(&Operation::Commit(changes), |inner| inner.commit(changes))
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultyStorage<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStorage")
            .field("inner", &self.inner)
            .field("is_gone", &self.is_gone)
            .finish_non_exhaustive()
    }
}
