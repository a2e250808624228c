//! [`Heap`]: a 4-ary min-heap.

const CHILDREN: usize = 4;

/// A 4-ary min-heap: no entry is greater than its children, which are at the indexes
/// `4 i + 1` to `4 i + 4`.
///
/// With four children instead of two, the heap has half as many levels, and the children
/// of a node are in one or two cache lines.
#[derive(Debug)]
pub(super) struct Heap<T>(pub(super) Vec<T>);

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Heap<T> {
    pub(super) fn first(&self) -> Option<T> {
        self.0.first().copied()
    }

    #[inline]
    pub(super) fn push(&mut self, entry: T) {
        self.0.push(entry);
        self.sift_up(self.0.len() - 1);
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.0.pop()?;
        let Some(first) = self.0.first_mut() else {
            return Some(last);
        };
        let first = std::mem::replace(first, last);
        self.sift_down(0);
        Some(first)
    }

    /// Replaces the least entry.
    ///
    /// # Panics
    /// If the heap is empty.
    pub(super) fn replace_first(&mut self, entry: T) {
        self.0[0] = entry;
        self.sift_down(0);
    }

    /// Visits up to `steps` entries before index `from`, and removes those that `keep`
    /// rejects. Returns the index from which on all entries have been visited.
    ///
    /// Removing an entry moves the last entry into the gap. The sweep runs from the last
    /// index to the first, because the moved entry has then been visited already. Most
    /// entries are leaves, whose removal moves no other entry.
    pub(super) fn sweep(
        &mut self,
        from: usize,
        steps: usize,
        mut keep: impl FnMut(T) -> bool,
    ) -> usize {
        let mut at = from.min(self.0.len());
        let end = at.saturating_sub(steps);
        while at > end {
            at -= 1;
            // Repeated at the same index: the gap may be filled by the former parent,
            // which has not been visited.
            while self.0.get(at).is_some_and(|entry| !keep(*entry)) {
                self.remove_at(at);
            }
        }
        at
    }

    fn remove_at(&mut self, at: usize) {
        let Some(last) = self.0.pop() else { return };
        if at < self.0.len() {
            self.0[at] = last;
            self.sift_down(at);
            self.sift_up(at);
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        let entry = self.0[at];
        while at > 0 {
            let parent = (at - 1) / CHILDREN;
            if self.0[parent] <= entry {
                break;
            }
            self.0[at] = self.0[parent];
            at = parent;
        }
        self.0[at] = entry;
    }

    fn sift_down(&mut self, mut at: usize) {
        let entry = self.0[at];
        loop {
            let first = at * CHILDREN + 1;
            let Some(children) = self.0.get(first..) else {
                break;
            };
            // The position of the least child is unpredictable, and a mispredicted
            // branch costs more than all comparisons. So this code has no branches.
            let child = match children.first_chunk::<CHILDREN>() {
                Some([a, b, c, d]) => {
                    let left = usize::from(b < a);
                    let right = 2 + usize::from(d < c);
                    let is_right = children[right] < children[left];
                    [left, right][usize::from(is_right)]
                }
                None => match (0..children.len()).min_by_key(|at| children[*at]) {
                    Some(child) => child,
                    None => break,
                },
            };
            let least = children[child];
            if entry <= least {
                break;
            }
            self.0[at] = least;
            at = first + child;
        }
        self.0[at] = entry;
    }
}
