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
}

impl PauseSwitch {
    pub(crate) fn new() -> Self {
        Self {
            is_paused: AtomicBool::new(false),
            paused_at: AtomicI64::new(WallNanos::MIN),
            resumed_at: AtomicI64::new(WallNanos::MIN),
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

    /// The store says that it was paused at `paused_at`, and perhaps resumed.
    pub(crate) fn load(&self, paused_at: WallNanos, resumed_at: Option<WallNanos>) {
        self.paused_at.store(paused_at, Ordering::SeqCst);
        let ended = resumed_at.unwrap_or(WallNanos::MIN);
        self.resumed_at.store(ended, Ordering::SeqCst);
        self.set(resumed_at.is_none());
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
        (resumed_at != WallNanos::MIN).then_some((paused_at, resumed_at))
    }
}
