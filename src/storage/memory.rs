//! [`MemoryStorage`]: a store for tests.

use std::collections::BTreeMap;

use crate::job::end_record::{EndKey, EndRecord};
use crate::job::pause_record::PauseRecord;
use crate::job::record::JobRecord;
use crate::job::taken_id::TakenId;
use crate::storage::contract::{Change, Loaded, Storage};
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::value::error::StorageError;
use crate::value::id::JobId;
use crate::value::pause_key::PauseKey;

/// A store in memory, for tests. It survives an app, so that a test can stop one app and
/// start the next with the same jobs. It does not survive the process.
///
/// All clones are the same store.
///
/// ```
/// use std::time::Duration;
/// use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
///
/// let (storage, clock) = (MemoryStorage::new(), ManualClock::new());
/// let start = || Simulation::with(0, clock.clone(), |app| app.storage(storage.clone()));
///
/// let sim = start()?;
/// let mail = sim.app().task("mail", async |to: String| to.len()).durable().register()?;
/// mail.schedule("ada".into()).id("m").delay(Duration::from_secs(60)).block_on()?;
/// sim.crash();
///
/// let mut sim = start()?;
/// let mail = sim.app().task("mail", async |to: String| to.len()).durable().register()?;
/// let job = mail.job("m").unwrap();
/// sim.advance(Duration::from_secs(60));
/// assert_eq!(*job.result()?, 3);
/// assert!(storage.records().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// The app that opened it last has closed it; and the one before that had.
    is_closed: bool,
    was_closed: bool,
    records: BTreeMap<JobId, JobRecord>,
    ends: BTreeMap<EndKey, EndRecord>,
    pauses: BTreeMap<PauseKey, PauseRecord>,
    taken_ids: BTreeMap<JobId, TakenId>,
}

impl MemoryStorage {
    /// Makes an empty store.
    ///
    /// ```
    /// use jobber::{Jobber, MemoryStorage};
    ///
    /// let app = Jobber::builder().storage(MemoryStorage::new()).build()?;
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// All records in the store, sorted by id.
    ///
    /// ```
    /// assert!(jobber::MemoryStorage::new().records().is_empty());
    /// ```
    pub fn records(&self) -> Vec<JobRecord> {
        lock(&self.0).records.values().cloned().collect()
    }

    /// All ends of failed jobs in the store, sorted by their keys.
    ///
    /// ```
    /// assert!(jobber::MemoryStorage::new().ends().is_empty());
    /// ```
    pub fn ends(&self) -> Vec<EndRecord> {
        lock(&self.0).ends.values().cloned().collect()
    }

    /// All pauses of apps and tasks in the store, also those that have ended, sorted by their
    /// keys.
    ///
    /// ```
    /// assert!(jobber::MemoryStorage::new().pauses().is_empty());
    /// ```
    pub fn pauses(&self) -> Vec<PauseRecord> {
        lock(&self.0).pauses.values().cloned().collect()
    }

    /// Adds a record, or replaces the record with the same id.
    pub fn insert(&self, record: JobRecord) {
        lock(&self.0).records.insert(record.id.clone(), record);
    }
}

impl Storage for MemoryStorage {
    fn open(&mut self) -> Result<(), StorageError> {
        let mut contents = lock(&self.0);
        contents.was_closed = std::mem::take(&mut contents.is_closed);
        Ok(())
    }

    fn was_closed(&self) -> bool {
        lock(&self.0).was_closed
    }

    fn close(&mut self) -> Result<(), StorageError> {
        lock(&self.0).is_closed = true;
        Ok(())
    }

    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        for record in self.records() {
            each(Loaded::Job(Box::new(record)));
        }
        Ok(())
    }

    fn load_ends(&mut self, each: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        self.ends().into_iter().for_each(each);
        Ok(())
    }

    fn load_pauses(&mut self, each: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError> {
        self.pauses().into_iter().for_each(each);
        Ok(())
    }

    fn load_taken_ids(&mut self, each: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
        let taken: Vec<_> = lock(&self.0).taken_ids.values().cloned().collect();
        taken.into_iter().for_each(each);
        Ok(())
    }

    fn has_end(&mut self, key: &EndKey) -> Result<bool, StorageError> {
        Ok(lock(&self.0).ends.contains_key(key))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let mut contents = lock(&self.0);
        let Contents {
            records,
            ends,
            pauses,
            taken_ids,
            ..
        } = &mut *contents;
        for change in changes {
            match change {
                Change::Put(record) => {
                    records.insert(record.id.clone(), (**record).clone());
                }
                Change::Advance { id, progress } => {
                    if let Some(record) = records.get_mut(id) {
                        record.progress = (**progress).clone();
                    }
                }
                Change::Remove(id) => {
                    records.remove(id);
                }
                Change::KeepEnd(end) => {
                    ends.insert(end.key.clone(), (**end).clone());
                }
                Change::ForgetEnd(key) => {
                    ends.remove(key);
                }
                Change::TrimEnds(trim) => {
                    for key in trim.removes(ends.values()) {
                        ends.remove(&key);
                    }
                }
                Change::SetPause(pause) => {
                    pauses.insert(pause.key.clone(), pause.clone());
                }
                Change::RemovePause(key) => {
                    pauses.remove(key);
                }
                Change::TakeId(taken) => {
                    taken_ids.retain(|_, old| old.until > taken.ended_at);
                    taken_ids.insert(taken.id.clone(), taken.clone());
                }
            }
        }
        Ok(())
    }
}
