//! [`StartGate`]: whether jobs of the app may start yet.

use crate::sync::primitives::{AtomicU8, Ordering};

/// It is closed until the functions of `on_start` are over. Meanwhile the timer fires no job, and a push
/// goes to the timer: so no job starts, and no intent to start is stored.
pub(crate) struct StartGate(AtomicU8);

const CLOSED: u8 = 0;
/// It was opened, and the timer has not looked since.
const OPENED: u8 = 1;
const OPEN: u8 = 2;

impl StartGate {
    pub(crate) fn new(is_closed: bool) -> Self {
        Self(AtomicU8::new(if is_closed { CLOSED } else { OPEN }))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLOSED
    }

    /// The caller must then wake the timer.
    pub(crate) fn open(&self) {
        self.change(CLOSED, OPENED);
    }

    /// The timer looks. Returns whether it may fire jobs.
    pub(crate) fn look(&self) -> bool {
        self.change(OPENED, OPEN);
        !self.is_closed()
    }

    /// Whether the timer has to look.
    pub(crate) fn wakes_timer(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPENED
    }

    fn change(&self, from: u8, to: u8) {
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let _ = self.0.compare_exchange(from, to, success, failure);
    }
}
