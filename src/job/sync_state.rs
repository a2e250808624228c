//! [`SyncState`]: what is known of the row of a job in the store.

use crate::sync::primitives::Arc;
use crate::sync::reply::Reply;
use crate::value::error::StorageError;

/// A caller that waits until a version of the row was tried.
pub(crate) type CommitWaiter = Arc<Reply<Result<(), StorageError>>>;

/// What is known of the row that the store has under an id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Known {
    /// The store has no row of this id.
    #[default]
    Absent,
    /// There is the row of this job.
    Row,
    /// A commit failed in a way that leaves open what is there. Only a commit that
    /// succeeds ends this.
    Unknown,
}

/// Compares three versions of the row of a job: the present one, the last one that the
/// store was asked for, and the last one that the store has.
///
/// `version >= tried >= stored`. Users see what was tried; an attempt that is made at
/// most once starts when its intent is stored.
#[derive(Debug, Default)]
pub(crate) struct SyncState {
    /// Rises with each change of the row.
    pub(crate) version: u64,
    /// The version that the store was last asked for.
    tried: u64,
    /// The version that the store has.
    stored: u64,
    known: Known,
    /// A message about this job is on its way to the writer.
    is_queued: bool,
    /// Replacements that are not answered yet. The job does not start while there are
    /// any.
    held: u32,
    waiters: Vec<(u64, CommitWaiter)>,
}

/// What a commit came to for a row that was in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommitOutcome<'a> {
    /// The store has what it was asked for.
    Stored { has_row: bool },
    /// The store has refused. `is_unknown`: it may have the change all the same.
    Refused {
        is_unknown: bool,
        error: &'a StorageError,
    },
}

/// The change that makes the store agree with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowChange {
    None,
    /// The row is there: its progress changes.
    Advance,
    /// The whole row is written.
    Put,
    Remove,
}

impl Known {
    /// The change that makes the store agree, if it is to have a row or not.
    pub(crate) fn change(self, has_row: bool) -> RowChange {
        match (self, has_row) {
            (Known::Row, true) => RowChange::Advance,
            (Known::Unknown | Known::Absent, true) => RowChange::Put,
            (Known::Row | Known::Unknown, false) => RowChange::Remove,
            (Known::Absent, false) => RowChange::None,
        }
    }

    pub(crate) fn after(self, outcome: CommitOutcome<'_>) -> Self {
        match outcome {
            CommitOutcome::Stored { has_row: true } => Known::Row,
            CommitOutcome::Stored { has_row: false } => Known::Absent,
            CommitOutcome::Refused {
                is_unknown: true, ..
            } => Known::Unknown,
            CommitOutcome::Refused { .. } => self,
        }
    }
}

impl SyncState {
    /// Of a job that the store has: just loaded, or just scheduled.
    pub(crate) fn of_stored_row() -> Self {
        Self {
            known: Known::Row,
            ..Self::default()
        }
    }

    pub(crate) fn known(&self) -> Known {
        self.known
    }

    /// What is known of the row is known of the id from here on.
    pub(crate) fn take_known(&mut self) -> Known {
        std::mem::take(&mut self.known)
    }

    /// It is unknown what the store has: the whole row is written next.
    pub(crate) fn mark_unknown(&mut self) {
        self.known = Known::Unknown;
    }

    /// A predecessor of the same id leaves this to be known of the row.
    pub(crate) fn inherit(&mut self, known: Known) {
        if self.known == Known::Absent || known == Known::Unknown {
            self.known = known;
        }
    }

    /// The row has changed, or may have. Returns whether a message to the writer is
    /// needed.
    #[must_use]
    pub(crate) fn row_changed(&mut self, has_row: bool) -> bool {
        if !has_row && self.is_clean(false) && self.held == 0 {
            // The store has no row, and is to have none.
            self.mark_stored();
            return false;
        }
        self.version += 1;
        self.queue()
    }

    /// Returns whether a message to the writer is needed.
    #[must_use]
    fn queue(&mut self) -> bool {
        !std::mem::replace(&mut self.is_queued, true)
    }

    /// Whether the store was tried for all that happened, so that users may see it.
    pub(crate) fn is_tried(&self) -> bool {
        self.tried == self.version
    }

    pub(crate) fn is_stored(&self, version: u64) -> bool {
        self.stored >= version
    }

    /// Whether the store has what it is to have.
    pub(crate) fn is_clean(&self, has_row: bool) -> bool {
        self.stored == self.version
            && match self.known {
                Known::Row => has_row,
                Known::Absent => !has_row,
                Known::Unknown => false,
            }
    }

    /// A caller waits for the present version. Also returns whether a message to the
    /// writer is needed; `None` if the caller need not wait.
    #[must_use]
    pub(crate) fn wait(&mut self, has_row: bool) -> Option<(CommitWaiter, bool)> {
        // A replacement on its way may fail, and leave open what the store has.
        if self.is_clean(has_row) && self.held == 0 {
            return None;
        }
        let waiter = Reply::new();
        self.waiters.push((self.version, waiter.clone()));
        Some((waiter, self.queue()))
    }

    pub(crate) fn hold(&mut self) {
        self.held += 1;
    }

    pub(crate) fn release(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held > 0
    }

    /// The writer takes the row as it is now. From here on a change needs a message.
    pub(crate) fn pull(&mut self) -> u64 {
        self.is_queued = false;
        self.version
    }

    /// A commit that had the row of version `pulled` was made, or failed. Returns who
    /// waited for it.
    pub(crate) fn tried(&mut self, pulled: u64, outcome: CommitOutcome<'_>) -> Vec<CommitWaiter> {
        self.known = self.known.after(outcome);
        self.tried = self.tried.max(pulled);
        if let CommitOutcome::Stored { .. } = outcome {
            self.stored = self.stored.max(pulled);
        }
        if self.waiters.is_empty() {
            return Vec::new();
        }
        let due = self
            .waiters
            .extract_if(.., |(version, _)| *version <= pulled);
        due.map(|(_, waiter)| waiter).collect()
    }

    /// Makes a new version, which the store has already.
    pub(crate) fn mark_stored(&mut self) {
        self.version += 1;
        self.tried = self.version;
        self.stored = self.version;
    }

    /// Whether nothing of it matters to a job that has no row.
    pub(crate) fn is_unused(&self) -> bool {
        self.is_clean(false) && self.held == 0 && !self.is_queued && self.waiters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_change_follows_from_what_is_known_and_what_is_to_be() {
        for (known, has_row, change) in [
            (Known::Row, true, RowChange::Advance),
            (Known::Unknown, true, RowChange::Put),
            (Known::Absent, true, RowChange::Put),
            (Known::Row, false, RowChange::Remove),
            (Known::Unknown, false, RowChange::Remove),
            (Known::Absent, false, RowChange::None),
        ] {
            assert_eq!(known.change(has_row), change, "{known:?}, {has_row}");
        }
    }

    #[test]
    fn only_a_commit_that_succeeds_leaves_unknown() {
        let busy = &StorageError::Closed;
        let refused = |is_unknown| CommitOutcome::Refused {
            is_unknown,
            error: busy,
        };
        for known in [Known::Absent, Known::Row, Known::Unknown] {
            assert_eq!(known.after(refused(false)), known);
            assert_eq!(known.after(refused(true)), Known::Unknown);
            assert_eq!(
                known.after(CommitOutcome::Stored { has_row: true }),
                Known::Row
            );
            let gone = known.after(CommitOutcome::Stored { has_row: false });
            assert_eq!(gone, Known::Absent);
        }
    }

    #[test]
    fn what_a_predecessor_leaves_unknown_stays_unknown() {
        for known in [Known::Absent, Known::Row, Known::Unknown] {
            let mut sync = SyncState::of_stored_row();
            sync.inherit(known);
            let expected = match known {
                Known::Unknown => RowChange::Put,
                Known::Absent | Known::Row => RowChange::Advance,
            };
            assert_eq!(sync.known().change(true), expected, "{known:?}");
        }
    }

    #[test]
    fn a_change_during_a_commit_needs_another_message_and_another_commit() {
        let mut sync = SyncState::of_stored_row();
        assert!(sync.row_changed(true), "the first change");
        assert!(!sync.row_changed(true), "a message is on its way");
        let pulled = sync.pull();
        assert!(
            sync.row_changed(true),
            "the writer has taken the row before it"
        );
        sync.tried(pulled, CommitOutcome::Stored { has_row: true });
        assert!(!sync.is_tried() && !sync.is_clean(true));
        let pulled = sync.pull();
        sync.tried(pulled, CommitOutcome::Stored { has_row: true });
        assert!(sync.is_tried() && sync.is_clean(true));
    }

    #[test]
    fn a_waiter_is_answered_by_the_commit_that_has_its_version() {
        let mut sync = SyncState::of_stored_row();
        assert!(sync.wait(true).is_none(), "nothing is to be stored");
        let _ = sync.row_changed(true);
        let early = sync.pull();
        let _ = sync.row_changed(true);
        assert!(sync.wait(true).is_some());
        let answered = sync.tried(early, CommitOutcome::Stored { has_row: true });
        assert!(answered.is_empty());
        let late = sync.pull();
        assert_eq!(
            sync.tried(late, CommitOutcome::Stored { has_row: true })
                .len(),
            1
        );
    }

    #[test]
    fn a_waiter_waits_while_a_replacement_is_on_its_way() {
        let mut sync = SyncState::of_stored_row();
        sync.hold();
        assert!(sync.wait(true).is_some());
    }
}
