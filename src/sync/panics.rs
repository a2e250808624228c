//! Panics of code that is not ours, kept from spreading.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::primitives::Arc;

/// Runs foreign code; a panic becomes its message.
///
/// Unwind safety is asserted: what a panic may have left half done is the
/// caller's own value, which nobody is shown again.
pub(crate) fn catch_panic<T>(f: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    catch_unwind(AssertUnwindSafe(f)).map_err(message)
}

/// Drops a foreign value. A panic in its drop ends here.
pub(crate) fn drop_catching_panic<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        let _ = catch_panic(move || drop(value));
    }
}

fn message(payload: Box<dyn Any + Send>) -> Arc<str> {
    let text = match payload.downcast_ref::<&'static str>() {
        Some(text) => (*text).into(),
        None => match payload.downcast_ref::<String>() {
            Some(text) => text.as_str().into(),
            None => "(no text)".into(),
        },
    };
    // The payload is foreign too, and may panic when it is dropped.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_panic_becomes_its_text() {
        assert_eq!(
            &*catch_panic(|| panic!("a {}", "text")).unwrap_err(),
            "a text"
        );
        assert_eq!(&*catch_panic(|| panic!("literal")).unwrap_err(), "literal");
        assert_eq!(
            &*catch_panic(|| std::panic::panic_any(7)).unwrap_err(),
            "(no text)"
        );
    }

    #[test]
    fn panics_in_drop_end_here() {
        drop_catching_panic(Bomb);
        assert!(catch_panic(|| std::panic::panic_any(Bomb)).is_err());
    }
}
