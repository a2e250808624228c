//! [`PauseSwitch`]: whether an app or a task is paused.

use crate::sync::primitives::{AtomicBool, AtomicI64, Ordering};
use crate::value::time_units::WallNanos;

/// Whether an app or a task is paused, and when its last pause was.
#[derive(Debug)]
pub(crate) struct PauseSwitch {
    is_paused: AtomicBool,
    /// `MIN` for never.
    paused_at: AtomicI64,
    resumed_at: AtomicI64,
    /// A commit has failed, and the store may have another state.
    is_uncertain: AtomicBool,
}

impl PauseSwitch {
    pub(crate) fn new() -> Self {
        Self {
            is_paused: AtomicBool::new(false),
            paused_at: AtomicI64::new(WallNanos::MIN),
            resumed_at: AtomicI64::new(WallNanos::MIN),
            is_uncertain: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        // SeqCst: who pauses sets this, then visits the jobs; who adds a job inserts it, then
        // reads this. One of the two sees the other.
        self.is_paused.load(Ordering::SeqCst)
    }

    /// Returns whether it was paused before.
    pub(crate) fn set(&self, is_paused: bool) -> bool {
        self.is_paused.swap(is_paused, Ordering::SeqCst)
    }

    /// The store says that it was paused at `paused_at`, and perhaps resumed. A task may have
    /// several names, each with a pause of its own: it is paused if one of them is.
    pub(crate) fn load(&self, paused_at: WallNanos, resumed_at: Option<WallNanos>) {
        let Some(ended) = resumed_at else {
            self.paused_at.store(paused_at, Ordering::SeqCst);
            self.set(true);
            return;
        };
        if ended > self.resumed_at.load(Ordering::SeqCst) {
            self.resumed_at.store(ended, Ordering::SeqCst);
            if !self.is_paused() {
                self.paused_at.store(paused_at, Ordering::SeqCst);
            }
        }
    }

    /// Whether the store may have another state than this.
    pub(crate) fn is_uncertain(&self) -> bool {
        self.is_uncertain.load(Ordering::SeqCst)
    }

    pub(crate) fn set_uncertain(&self, is_uncertain: bool) {
        self.is_uncertain.store(is_uncertain, Ordering::SeqCst);
    }

    /// When it was paused last.
    pub(crate) fn paused_at(&self) -> WallNanos {
        self.paused_at.load(Ordering::SeqCst)
    }

    pub(crate) fn began_at(&self, at: WallNanos) {
        self.paused_at.store(at, Ordering::SeqCst);
    }

    /// When the pause of an earlier process began, and when it ended.
    pub(crate) fn last_pause(&self) -> Option<(WallNanos, WallNanos)> {
        let resumed_at = self.resumed_at.load(Ordering::SeqCst);
        let paused_at = self.paused_at.load(Ordering::SeqCst);
        let has_ended = resumed_at != WallNanos::MIN && !self.is_paused();
        has_ended.then_some((paused_at, resumed_at))
    }
}
