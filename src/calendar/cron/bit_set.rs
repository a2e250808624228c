//! [`BitSet`]: a set of small numbers.

/// A set of numbers below `64 * WORDS`. A search examines a word at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BitSet<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> BitSet<WORDS> {
    pub(crate) const EMPTY: Self = Self([0; WORDS]);

    /// Ignores a value that is too large. The values of every field fit.
    pub(crate) fn insert(&mut self, value: u16) {
        if let Some(word) = self.0.get_mut(usize::from(value / 64)) {
            *word |= 1 << (value % 64);
        }
    }

    /// The least member that is at least `from`.
    pub(crate) fn next_from(&self, from: u16) -> Option<u16> {
        let start = usize::from(from / 64);
        let mut mask = u64::MAX << (from % 64);
        for (index, word) in self.0.iter().enumerate().skip(start) {
            let rest = word & mask;
            if rest != 0 {
                return u16::try_from(index * 64 + rest.trailing_zeros() as usize).ok();
            }
            mask = u64::MAX;
        }
        None
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        std::iter::successors(self.next_from(0), |&last| self.next_from(last + 1))
    }
}

impl<const WORDS: usize> FromIterator<u16> for BitSet<WORDS> {
    fn from_iter<I: IntoIterator<Item = u16>>(values: I) -> Self {
        let mut set = Self::EMPTY;
        values.into_iter().for_each(|value| set.insert(value));
        set
    }
}
