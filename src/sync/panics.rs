//! Catching the panics of user code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sync::primitives::Arc;

/// Runs user code. If it panics, returns the panic's message as the error.
///
/// `AssertUnwindSafe` is correct because the only values that a panic can leave
/// half changed are the user's own, and this crate never returns them to anyone
/// after a panic.
pub(crate) fn catch_panic<T>(f: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    catch_unwind(AssertUnwindSafe(f)).map_err(message)
}

/// Drops a value of a user's type, and ignores a panic of its `Drop`.
pub(crate) fn drop_catching_panic<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        let _ = catch_panic(move || drop(value));
    }
}

/// A value of a user's type whose drop does not panic, also while another panic unwinds: a second
/// panic would end the process. `None` once it was taken out.
pub(crate) struct UserValue<T>(pub(crate) Option<T>);

impl<T> UserValue<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Drop for UserValue<T> {
    fn drop(&mut self) {
        drop_catching_panic(self.0.take());
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
    // The payload is a user's value too. If its drop panics, the second payload is
    // leaked, because its drop could panic as well.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn catch_panic_returns_the_text_of_the_panic() {
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
    fn a_panic_in_drop_is_caught() {
        drop_catching_panic(PanicsInDrop);
        assert!(catch_panic(|| std::panic::panic_any(PanicsInDrop)).is_err());
    }
}
