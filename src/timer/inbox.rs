//! [`Inbox`]: new keys on their way to the timer's heaps.
//!
//! Threads that schedule push keys here, and the timer's thread collects them, so that
//! the cache misses of the heaps are the timer's alone.

use crate::timer::key::Key;
use crate::timer::queue::TimerQueue;

/// New keys, by the clock that makes them due.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Inbox {
    pub(crate) mono: Keys,
    pub(crate) wall: Keys,
}

impl Inbox {
    pub(crate) fn with_room() -> Self {
        Self {
            mono: Keys::with_room(),
            wall: Keys::with_room(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mono.is_empty() && self.wall.is_empty()
    }
}

/// An unordered list of keys. It grows by a chunk at a time: a `Vec` would be copied
/// under its owner's lock.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Keys {
    /// The chunk that is being filled.
    last: Vec<Key>,
    full: Vec<Vec<Key>>,
}

impl Keys {
    /// Keys in a chunk.
    const CHUNK: usize = 4_096;

    /// The timer sorts this many chunks in less than a millisecond.
    const MANY_CHUNKS: usize = 8;

    /// The list of full chunks has room for at least this many. Smaller lists that were
    /// outgrown would lie between the jobs, and the allocator would keep the memory
    /// around them from the system.
    const MIN_CHUNK_LIST: usize = 64;

    /// An empty list keeps room for at most this many keys.
    const KEPT: usize = 256;

    pub(crate) fn with_room() -> Self {
        Self {
            last: Vec::with_capacity(Self::KEPT),
            full: Vec::new(),
        }
    }

    /// Adds a key. Returns whether the timer should collect the keys now, since they have
    /// become many.
    #[inline]
    pub(crate) fn push(&mut self, key: Key) -> bool {
        if self.last.len() == Self::CHUNK {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(Self::CHUNK));
            self.full.reserve(Self::MIN_CHUNK_LIST);
            self.full.push(full);
        }
        self.last.push(key);
        self.last.len() == Self::CHUNK && self.full.len() + 1 >= Self::MANY_CHUNKS
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty() && self.full.is_empty()
    }

    /// Moves all keys to a heap.
    pub(crate) fn move_to(&mut self, queue: &mut TimerQueue) {
        for chunk in std::mem::take(&mut self.full) {
            queue.push_all(chunk);
        }
        self.last.drain(..).for_each(|key| queue.push(key));
        if self.last.capacity() > Self::KEPT {
            // The memory of a burst is not kept. The new list is allocated on the
            // timer's thread, and so does not lie between the jobs.
            *self = Self::with_room();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::key::KeyKind;
    use crate::timer::key::Tag;

    #[test]
    fn all_keys_of_all_chunks_are_moved_to_the_heap() {
        for count in [0, 1, Keys::CHUNK, 17 * Keys::CHUNK + 1] {
            let mut keys = Keys::default();
            let key = |n: usize| Key::new(n as i64, Tag::new(1, KeyKind::Start, 0));
            for n in 0..count {
                let is_many = n + 1 >= Keys::MANY_CHUNKS * Keys::CHUNK;
                assert_eq!(keys.push(key(n)), is_many && (n + 1) % Keys::CHUNK == 0);
            }
            let mut queue = TimerQueue::default();
            keys.move_to(&mut queue);
            let found = std::iter::from_fn(|| queue.pop_due(i64::MAX));
            assert!(found.eq((0..count).map(key)));
            assert!(keys.is_empty());
        }
    }
}
