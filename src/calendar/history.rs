//! [`RunHistory`]: which times of a recurring job were run.

use crate::value::time_units::WallNanos;

/// Which times of a recurring job were run: all up to `last`, except those in
/// `skipped`.
///
/// Only times of day need the range, and only if the wall clock is set back: it comes to
/// the same times again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunHistory {
    /// The latest time that was run. Before the first run: the time of scheduling.
    pub(crate) last: WallNanos,
    pub(crate) has_run: bool,
    pub(crate) skipped: Option<SkippedRange>,
}

/// The times after `from` and before `to` were not run: the wall clock jumped over
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SkippedRange {
    pub(crate) from: WallNanos,
    pub(crate) to: WallNanos,
}

impl RunHistory {
    /// Of a job that was scheduled at `scheduled_at` and has not run.
    pub(crate) fn starting_at(scheduled_at: WallNanos) -> Self {
        Self {
            last: scheduled_at,
            has_run: false,
            skipped: None,
        }
    }

    /// Every time up to this one was run.
    pub(crate) fn complete_up_to(&self) -> WallNanos {
        if !self.has_run {
            // The clock by which the job was scheduled may have been wrong.
            return WallNanos::MIN;
        }
        self.skipped.map_or(self.last, |skipped| skipped.from)
    }

    /// Whether `nominal` was run, if it is not before
    /// [`complete_up_to`](RunHistory::complete_up_to).
    pub(crate) fn contains(&self, nominal: WallNanos) -> bool {
        self.skipped
            .is_some_and(|skipped| skipped.to <= nominal && nominal <= self.last)
    }

    /// Whether `nominal` was run.
    pub(crate) fn was_run(&self, nominal: WallNanos) -> bool {
        nominal <= self.complete_up_to() || self.contains(nominal)
    }

    /// Enters a run for `nominal`. `next` returns the first time after another one.
    pub(crate) fn enter(
        &mut self,
        nominal: WallNanos,
        next: impl FnOnce(WallNanos) -> Option<WallNanos>,
    ) {
        let is_first = !std::mem::replace(&mut self.has_run, true);
        if nominal > self.last || is_first {
            if next(self.last).is_some_and(|next| next < nominal) {
                self.skipped = Some(SkippedRange {
                    from: self.last,
                    to: nominal,
                });
            }
            self.last = nominal;
        } else if let Some(skipped) = &mut self.skipped {
            skipped.from = skipped.from.max(nominal);
        }
    }
}
