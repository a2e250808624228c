//! [`Key`]: a due time, with the table slot that it belongs to.

/// An entry of the timer's queue. Keys are ordered by due time, and keys of the same due
/// time by sequence number: first in, first out.
///
/// A key is one integer, so that one comparison orders two keys. The high half is the
/// due time, the low half is the [`Tag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u128);

/// Identifies a key: its table slot, its kind, and its sequence number.
///
/// The slot holds the tag of its live key. A key whose tag differs from its slot's is
/// dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(u64);

/// The lowest 28 bits of a [`Tag`] are the slot, the next bit is the kind, and the
/// highest 35 bits are the sequence number.
const SLOT_BITS: u32 = 28;

/// The kind bit of a [`Tag`]: set for [`KeyKind::Start`].
const START: u64 = 1 << SLOT_BITS;

/// What happens when a key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// A job that runs once starts. A thread of the executor can start it, as soon as one
    /// is free.
    Start,
    /// The timer thread decides about the job at once, without an executor thread.
    Decide,
}

/// The maximum number of slots.
pub(crate) const MAX_SLOTS: usize = 1 << SLOT_BITS;

impl Tag {
    /// The tag of no key.
    pub(crate) const NONE: Tag = Tag(0);

    /// The tag of a slot that is reserved and has no key. No key has this tag, because
    /// sequence numbers begin at 1.
    pub(crate) const RESERVED: Tag = Tag(1);

    /// The largest sequence number.
    pub(crate) const MAX_SEQUENCE: u64 = (1 << (63 - SLOT_BITS)) - 1;

    /// `sequence` counts from 1 to [`MAX_SEQUENCE`](Tag::MAX_SEQUENCE) and then starts
    /// again at 1.
    ///
    /// The restart is harmless. It changes the order only among keys of the same
    /// nanosecond. A dead key could be mistaken for a live key of its slot only if it
    /// stayed in the queue for 34,000,000,000 further keys.
    pub(crate) fn new(sequence: u64, kind: KeyKind, slot: u32) -> Self {
        let start = match kind {
            KeyKind::Start => START,
            KeyKind::Decide => 0,
        };
        Self(sequence << (SLOT_BITS + 1) | start | u64::from(slot))
    }

    pub(crate) fn kind(self) -> KeyKind {
        if self.0 & START == 0 {
            KeyKind::Decide
        } else {
            KeyKind::Start
        }
    }

    pub(crate) fn slot(self) -> u32 {
        (self.0 & (MAX_SLOTS as u64 - 1)) as u32
    }
}

impl Key {
    /// `due` is in nanoseconds, on the clock of the queue.
    pub(crate) fn new(due: i64, tag: Tag) -> Self {
        // With the sign bit flipped, the unsigned order is the signed order.
        let due = due as u64 ^ (1 << 63);
        Self(u128::from(due) << 64 | u128::from(tag.0))
    }

    pub(crate) fn due(self) -> i64 {
        ((self.0 >> 64) as u64 ^ (1 << 63)) as i64
    }

    pub(crate) fn tag(self) -> Tag {
        Tag(self.0 as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_returns_the_parts_that_it_was_made_of() {
        for due in [i64::MIN, -1, 0, 1, i64::MAX] {
            for kind in [KeyKind::Start, KeyKind::Decide] {
                let tag = Tag::new(Tag::MAX_SEQUENCE, kind, MAX_SLOTS as u32 - 1);
                let key = Key::new(due, tag);
                assert_eq!(
                    (key.due(), key.tag(), key.tag().slot(), key.tag().kind()),
                    (due, tag, MAX_SLOTS as u32 - 1, kind)
                );
            }
        }
    }
}
