//! [`Pages`]: a list that grows by one page at a time, or shrinks.
//!
//! A `Vec` of a million entries is copied when it grows, and freed as a whole. Each takes
//! milliseconds, under the lock of the list's owner. Here, no step takes longer than a
//! page.

/// Entries in a page.
pub(crate) const PAGE: usize = 1_024;

/// The list of pages has room for at least this many. Smaller lists that were outgrown
/// would lie between the jobs, and the allocator would keep the memory around them from
/// the system.
const MIN_PAGE_LIST: usize = 64;

/// A list whose entries do not move.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Page<T>>,
    len: usize,
}

/// A part of a list. Dropping it may take long, so it is dropped outside locks.
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
        // The first page grows as it fills, since most lists are short.
        let room = if self.len == 0 { 0 } else { PAGE };
        self.pages
            .reserve(if room == 0 { 1 } else { MIN_PAGE_LIST });
        self.pages.push(Vec::with_capacity(room));
    }

    /// Removes the last entry if the predicate is true of it. Returns `None` if nothing
    /// was removed, and otherwise the page that is not needed any more, if there is one.
    pub(crate) fn pop_if(&mut self, is_so: impl FnOnce(&T) -> bool) -> Option<Option<Page<T>>> {
        let last = self.len.checked_sub(1)?;
        self.get(last).filter(|entry| is_so(entry))?;
        self.pages.get_mut(last / PAGE)?.pop();
        self.len = last;
        // One empty page is kept. Otherwise a list at the end of a page would allocate
        // and free one with each entry.
        let is_spare = self.len + PAGE < self.pages.len() * PAGE;
        Some(if is_spare { self.pages.pop() } else { None })
    }

    /// Returns what is not needed of a list that was long: an empty page, and the list of
    /// pages, if that can be much shorter.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_index_and_pages_are_removed_from_the_end() {
        let mut pages = Pages::new();
        let count = 3 * PAGE + 7;
        (0..count).for_each(|entry| pages.push(entry));
        assert_eq!(pages.len(), count);
        assert!((0..count).all(|at| pages.get(at) == Some(&at)));
        assert_eq!(pages.get(count), None);
        assert!(pages.iter().copied().eq(0..count));

        assert!(pages.pop_if(|entry| *entry != count - 1).is_none());
        let mut freed = 0;
        while let Some(page) = pages.pop_if(|_| true) {
            freed += usize::from(page.is_some());
        }
        assert_eq!((pages.len(), freed), (0, 3));
        let (spare, list) = pages.shrink();
        assert!(spare.is_none() && list.capacity() >= MIN_PAGE_LIST);
        pages.push(5);
        assert_eq!((pages.get(0), pages.len()), (Some(&5), 1));
    }
}
