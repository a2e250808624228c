//! [`Pages`] and [`Keys`]: long lists that grow, and shrink, a piece at a time.
//!
//! A `Vec` of a million entries is moved when it grows, and freed as a whole: for
//! milliseconds, and under the lock of whoever has it. Here no step is longer
//! than a page.

use crate::timer::key::Key;
use crate::timer::queue::TimerQueue;

/// Entries to a page.
pub(crate) const PAGE: usize = 1_024;

/// Room for so many pages at least: small blocks that a list has outgrown lie
/// among the jobs, where the allocator keeps them for others, and so keeps the
/// system from having the memory around them back.
const MANY: usize = 64;

/// A list of entries that stay where they are.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Page<T>>,
    len: usize,
}

/// A part of a list, which is to be dropped where that may take a while.
pub(crate) type Page<T> = Vec<T>;

impl<T> Pages<T> {
    pub(crate) const fn new() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?.get(at % PAGE)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pages.get_mut(at / PAGE)?.get_mut(at % PAGE)
    }

    pub(crate) fn last(&self) -> Option<&T> {
        self.get(self.len.checked_sub(1)?)
    }

    #[inline]
    pub(crate) fn push(&mut self, entry: T) {
        if self.len == self.pages.len() * PAGE {
            self.add_page();
        }
        if let Some(page) = self.pages.get_mut(self.len / PAGE) {
            page.push(entry);
            self.len += 1;
        }
    }

    #[cold]
    fn add_page(&mut self) {
        // The first is small, for most lists are. From the second on, it is to be
        // a long one.
        let room = if self.len == 0 { 0 } else { PAGE };
        self.pages.reserve(if room == 0 { 1 } else { MANY });
        self.pages.push(Vec::with_capacity(room));
    }

    /// Takes the last entry out if it is so; and gives a page that nobody needs.
    pub(crate) fn pop_if(&mut self, is_so: impl FnOnce(&T) -> bool) -> Option<Option<Page<T>>> {
        let last = self.len.checked_sub(1)?;
        self.get(last).filter(|entry| is_so(entry))?;
        self.pages.get_mut(last / PAGE)?.pop();
        self.len = last;
        // One to spare, or a list at the end of a page would make and drop one
        // with each entry.
        let is_spare = self.len + PAGE < self.pages.len() * PAGE;
        Some(if is_spare { self.pages.pop() } else { None })
    }

    /// Gives what is left of a list that was long: a page to spare, and the list of
    /// pages, which lies among the jobs of then.
    pub(crate) fn shrink(&mut self) -> (Option<Page<T>>, Vec<Page<T>>) {
        let has_spare = self.pages.len() > 1 && self.len <= (self.pages.len() - 1) * PAGE;
        let spare = if has_spare { self.pages.pop() } else { None };
        if self.pages.len() >= self.pages.capacity() / 4 {
            return (spare, Vec::new());
        }
        let mut few = Vec::with_capacity(self.pages.len());
        few.append(&mut self.pages);
        (spare, std::mem::replace(&mut self.pages, few))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }
}

/// Keys on their way to the heap, in no order.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Keys {
    /// The piece that is being filled.
    last: Vec<Key>,
    full: Vec<Vec<Key>>,
}

impl Keys {
    /// Keys to a piece.
    const PIECE: usize = 4_096;

    /// So many pieces take the timer less than a millisecond to sort.
    const MANY_PIECES: usize = 8;

    /// The most that an empty list keeps room for.
    const KEPT: usize = 256;

    /// Gives whether they have become many.
    #[inline]
    pub(crate) fn push(&mut self, key: Key) -> bool {
        if self.last.len() == Self::PIECE {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(Self::PIECE));
            self.full.reserve(MANY);
            self.full.push(full);
        }
        self.last.push(key);
        self.last.len() == Self::PIECE && self.full.len() + 1 >= Self::MANY_PIECES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty() && self.full.is_empty()
    }

    pub(crate) fn move_to(&mut self, queue: &mut TimerQueue) {
        for piece in std::mem::take(&mut self.full) {
            queue.push_all(piece);
        }
        self.last.drain(..).for_each(|key| queue.push(key));
        if self.last.capacity() > Self::KEPT {
            // A rush is over some time, and its memory is not kept for the next.
            // This comes from the timer's thread, whose small allocations lie in
            // nobody's way.
            *self = Self::with_room();
        }
    }

    pub(crate) fn with_room() -> Self {
        Self {
            last: Vec::with_capacity(Self::KEPT),
            full: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::key::{KeyKind, Tag};

    #[test]
    fn entries_stay_at_their_index_and_pages_go_from_the_end() {
        let mut pages = Pages::new();
        let count = 3 * PAGE + 7;
        (0..count).for_each(|entry| pages.push(entry));
        assert_eq!(pages.len(), count);
        assert!((0..count).all(|at| pages.get(at) == Some(&at)));
        assert_eq!(pages.get(count), None);
        assert!(pages.iter().copied().eq(0..count));

        assert!(pages.pop_if(|entry| *entry != count - 1).is_none());
        let mut given_back = 0;
        while let Some(page) = pages.pop_if(|_| true) {
            given_back += usize::from(page.is_some());
        }
        assert_eq!((pages.len(), given_back), (0, 3));
        let (spare, list) = pages.shrink();
        assert!(spare.is_none() && list.capacity() >= MANY);
        pages.push(5);
        assert_eq!((pages.get(0), pages.len()), (Some(&5), 1));
    }

    #[test]
    fn no_key_is_left_in_any_piece() {
        for count in [0, 1, Keys::PIECE, 17 * Keys::PIECE + 1] {
            let mut keys = Keys::default();
            let key = |n: usize| Key::new(n as i64, Tag::new(1, KeyKind::Start, 0));
            for n in 0..count {
                let is_many = n + 1 >= Keys::MANY_PIECES * Keys::PIECE;
                assert_eq!(keys.push(key(n)), is_many && (n + 1) % Keys::PIECE == 0);
            }
            let mut queue = TimerQueue::default();
            keys.move_to(&mut queue);
            let found = std::iter::from_fn(|| queue.pop_due(i64::MAX));
            assert!(found.eq((0..count).map(key)));
            assert!(keys.is_empty());
        }
    }
}
