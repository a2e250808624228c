//! What is known of each job that was scheduled: its arguments lead to a slot, where its
//! attempts leave their marks.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jobber::{BoxError, TaskOutput};

use super::tasks::RoundClock;

/// What has gone wrong where a panic would be the app's to contain.
static FAULTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub fn fault(what: String) {
    let mut faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    // The first ones tell.
    if faults.len() < 20 {
        faults.push(what);
    }
}

pub fn faults() -> Vec<String> {
    std::mem::take(&mut *FAULTS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// How many arguments and values there are.
static ALIVE: AtomicI64 = AtomicI64::new(0);

pub fn alive() -> i64 {
    ALIVE.load(Ordering::SeqCst)
}

/// A part of each argument and value: counts them.
#[derive(Debug)]
struct Counted(());

impl Default for Counted {
    fn default() -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Panics when it is dropped, without the hook's text.
#[derive(Clone, Debug)]
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            resume_unwind(Box::new("in a drop"));
        }
    }
}

/// The argument of all tasks.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Arg {
    pub slot: usize,
    /// The slot that its job began with, whatever it was replaced with.
    pub job: usize,
    #[cfg_attr(feature = "serde", serde(skip))]
    _bomb: Option<Bomb>,
    #[cfg_attr(feature = "serde", serde(skip))]
    _counted: Counted,
}

impl Arg {
    pub fn new(slot: usize, job: usize, has_bomb: bool) -> Self {
        Self {
            slot,
            job,
            _bomb: has_bomb.then(|| Bomb),
            _counted: Counted::default(),
        }
    }
}

/// The value of all tasks.
#[derive(Debug, Default)]
pub struct Value {
    _bomb: Option<Bomb>,
    _counted: Counted,
}

impl TaskOutput for Value {
    type Value = Self;

    fn into_result(self) -> Result<Self, BoxError> {
        Ok(self)
    }
}

impl Value {
    pub fn with_bomb() -> Self {
        Self {
            _bomb: Some(Bomb),
            _counted: Counted::default(),
        }
    }
}

#[derive(Debug, Default)]
pub struct Slot {
    /// Attempts of its job that go on just now.
    running: AtomicU32,
    /// How many more than one there may be: its runs become jobs of their own.
    pub more_at_once: AtomicU32,
    /// How many attempts there may be.
    pub limit: AtomicU32,
    pub starts: AtomicU32,
    /// Attempts that came to their end.
    pub ends: AtomicU32,
    /// It goes by the wall clock.
    is_by_wall: AtomicBool,
    /// By the round's clock: before this, its first run is early.
    not_before: AtomicU64,
    /// Each further run is due by so much later.
    interval: AtomicU64,
}

impl Slot {
    pub fn set_due(&self, due: Duration, interval: Duration) {
        let store = |to: &AtomicU64, value: Duration| {
            to.store(value.as_nanos() as u64, Ordering::SeqCst);
        };
        store(&self.interval, interval);
        store(&self.not_before, due);
    }

    pub fn set_due_by_wall(&self, due: Duration, interval: Duration) {
        self.is_by_wall.store(true, Ordering::SeqCst);
        self.set_due(due, interval);
    }
}

/// The slots of a round. None is allocated while it goes on.
pub struct Slots {
    slots: Box<[Slot]>,
    next: AtomicUsize,
    /// Attempts that go on under the shared limit.
    limited: AtomicUsize,
}

impl Slots {
    pub fn new(count: usize) -> Self {
        Self {
            slots: (0..count).map(|_| Slot::default()).collect(),
            next: AtomicUsize::new(0),
            limited: AtomicUsize::new(0),
        }
    }

    /// A new one, while there are any.
    pub fn claim(&self) -> Option<usize> {
        let slot = self.next.fetch_add(1, Ordering::SeqCst);
        (slot < self.slots.len()).then_some(slot)
    }

    pub fn get(&self, slot: usize) -> &Slot {
        &self.slots[slot]
    }

    pub fn claimed(&self) -> usize {
        self.next.load(Ordering::SeqCst).min(self.slots.len())
    }

    /// An attempt starts, of this run.
    pub fn begin(self: &Arc<Self>, arg: &Arg, run: u64, clock: &RoundClock) -> Attempt {
        let (slot, job) = (self.get(arg.slot), self.get(arg.job));
        // First of all: what is early is not to become less so on the way.
        let now = match slot.is_by_wall.load(Ordering::SeqCst) {
            true => clock.wall_now().unwrap_or(Duration::MAX),
            false => clock.now(),
        };
        let others = job.running.fetch_add(1, Ordering::SeqCst);
        if others > slot.more_at_once.load(Ordering::SeqCst) {
            fault(format!(
                "job {} runs {} attempts at a time",
                arg.job,
                others + 1
            ));
        }
        slot.starts.fetch_add(1, Ordering::SeqCst);
        let load = |from: &AtomicU64| from.load(Ordering::SeqCst);
        let due = load(&slot.not_before) + (run - 1) * load(&slot.interval);
        if let Some(early) = due.checked_sub(now.as_nanos() as u64).filter(|&e| e > 0) {
            fault(format!(
                "run {run} of slot {} is {early} ns early",
                arg.slot
            ));
        }
        Attempt {
            slots: self.clone(),
            slot: arg.slot,
            job: arg.job,
        }
    }
}

/// The highest number that the shared limit is set to.
pub const MOST_LIMITED: usize = 3;

/// An attempt that goes on under the shared limit.
pub struct Limited(Arc<Slots>);

impl Attempt {
    pub fn limited(&self) -> Limited {
        let running = self.slots.limited.fetch_add(1, Ordering::SeqCst) + 1;
        if running > MOST_LIMITED {
            fault(format!(
                "{running} attempts run under a limit of {MOST_LIMITED}"
            ));
        }
        Limited(self.slots.clone())
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.0.limited.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An attempt that goes on.
pub struct Attempt {
    slots: Arc<Slots>,
    slot: usize,
    job: usize,
}

impl Attempt {
    /// It comes to its end, and is not left off.
    pub fn ends(&self) {
        let slot = self.slots.get(self.slot);
        slot.ends.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let job = self.slots.get(self.job);
        job.running.fetch_sub(1, Ordering::SeqCst);
    }
}
