//! [`CachePadded`]: a value that shares no cache line with its neighbours.

/// A value with cache lines of its own.
///
/// Without the padding, a core that writes a neighbouring value would invalidate
/// this value in the caches of the other cores ("false sharing"). The alignment is
/// two lines of 64 bytes, because processors prefetch lines in pairs.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> std::ops::Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
