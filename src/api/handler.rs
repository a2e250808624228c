//! The functions that can be a task.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;

use crate::api::context::JobContext;
use crate::sync::primitives::Arc;
use crate::value::error::BoxError;

/// An async function that can be a task: it has 0 to 6 arguments, and may have a
/// [`JobContext`] before them.
///
/// `Args` is the type that [`Task::schedule`](crate::Task::schedule) takes: `()` for no
/// argument, `A` for one, a tuple for more. `Shape` distinguishes functions with a
/// context from functions without one; the compiler infers it.
///
/// You do not have to name or implement this trait.
///
/// ```
/// use jobber::{JobContext, Jobber};
///
/// let app = Jobber::builder().build()?;
/// app.task("none", || async {}).register()?;
/// app.task("one", async |n: u32| n + 1).register()?;
/// app.task("two", async |cx: JobContext, a: u32, b: u32| a + b + cx.attempt()).register()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a task",
    label = "not an async function of up to six owned arguments",
    note = "a task is an `async fn`, or a closure that returns a future, with 0 to 6 arguments that are `Clone + Send + Sync + 'static`",
    note = "`JobContext` can only be the first parameter"
)]
pub trait Handler<Args, Shape>: Send + Sync + 'static {
    /// What a call of the function returns. [`Jobber::task`](crate::Jobber::task) requires that
    /// it is a future, and that this returns a [`TaskOutput`].
    type Future;

    /// Calls the function, with a context if it takes one.
    fn call(&self, cx: impl FnOnce() -> JobContext, args: Args) -> Self::Future;
}

/// A synchronous function that can be a
/// [`blocking_task`](crate::Jobber::blocking_task). Otherwise it is like [`Handler`].
///
/// ```
/// use jobber::Jobber;
///
/// let app = Jobber::builder().build()?;
/// app.blocking_task("sum", |a: u32, b: u32| a + b).register()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be a blocking task",
    label = "not a function of up to six owned arguments",
    note = "a blocking task is a function or closure with 0 to 6 arguments that are `Clone + Send + Sync + 'static`",
    note = "`JobContext` can only be the first parameter"
)]
pub trait BlockingHandler<Args, Shape>: Send + Sync + 'static {
    /// What the function returns. [`Jobber::blocking_task`](crate::Jobber::blocking_task)
    /// requires that it is a [`TaskOutput`].
    type Output;

    /// Calls the function, with a context if it takes one.
    fn call(&self, cx: impl FnOnce() -> JobContext, args: Args) -> Self::Output;
}

/// What a task may return: a plain standard value, or a `Result` whose error can
/// become a [`BoxError`].
///
/// If a task is to return your own type without a `Result`, implement this trait for
/// that type:
///
/// ```
/// use jobber::{BoxError, TaskOutput};
///
/// struct Report { lines: usize }
///
/// impl TaskOutput for Report {
///     type Value = Self;
///     fn into_result(self) -> Result<Self, BoxError> {
///         Ok(self)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a task can't return `{Self}`",
    label = "neither a plain standard value nor a `Result<T, E>`",
    note = "return `Result<{Self}, E>` with any error type `E`, or implement `TaskOutput` for `{Self}`",
    note = "a closure that never returns must say what it would: `async || -> () {{ loop {{ .. }} }}`",
    note = "a blocking task can't return a future: for an async function, use `task`"
)]
pub trait TaskOutput {
    /// The value that [`Job::result`](crate::Job::result) returns.
    type Value: Send + Sync + 'static;

    /// Whether [`into_result`](TaskOutput::into_result) may return an error. If it is `false`, a job
    /// in memory does not keep its arguments for an attempt after a [`Snooze`](crate::Snooze).
    const CAN_FAIL: bool = true;

    /// Returns the value of the attempt, or the error with which it fails.
    ///
    /// # Errors
    /// The error of the task.
    fn into_result(self) -> Result<Self::Value, BoxError>;
}

impl<T, E> TaskOutput for Result<T, E>
where
    T: Send + Sync + 'static,
    E: IntoTaskError,
{
    type Value = T;

    fn into_result(self) -> Result<T, BoxError> {
        self.map_err(IntoTaskError::into_task_error)
    }
}

/// The error of a task: every type that can become a [`BoxError`], such as an error type that is
/// `Send + Sync + 'static`, a text, an `anyhow::Error` or a [`BoxError`].
///
/// You do not have to name or implement this trait.
///
/// ```
/// use jobber::{BoxError, Jobber};
///
/// let app = Jobber::builder().build()?;
/// app.task("read", async |number: String| number.parse::<u32>()).register()?;
/// app.task("sum", async |numbers: Vec<String>| {
///     let mut sum = 0;
///     for number in numbers {
///         sum += number.parse::<u32>()?;
///     }
///     Ok::<_, BoxError>(sum)
/// })
/// .register()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the error of a task",
    label = "not an error that another thread can read",
    note = "the error of a task implements `std::error::Error + Send + Sync + 'static`, or is a `String` or a `&str`",
    note = "`Box<dyn Error>` can't be sent: use `jobber::BoxError`, which is `Box<dyn Error + Send + Sync>`"
)]
pub trait IntoTaskError {
    /// Returns the error in a box.
    fn into_task_error(self) -> BoxError;
}

// The compiler then shows the notes of this trait, and not those of `Into` and `From`.
#[diagnostic::do_not_recommend]
impl<E: Into<BoxError>> IntoTaskError for E {
    fn into_task_error(self) -> BoxError {
        self.into()
    }
}

macro_rules! plain_values {
    ($($({$($generics:tt)*})? $type:ty,)*) => {$(
        impl$(<$($generics)*>)? TaskOutput for $type
        where
            $type: Send + Sync + 'static,
        {
            type Value = Self;

            const CAN_FAIL: bool = false;

            fn into_result(self) -> Result<Self, BoxError> {
                Ok(self)
            }
        }
    )*};
}

plain_values! {
    (), bool, char, String, &'static str,
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64,
    std::time::Duration, std::time::Instant, std::time::SystemTime,
    time::Duration, time::OffsetDateTime, std::path::PathBuf,
    {T} Option<T>, {T} Vec<T>, {T} VecDeque<T>, {T} Box<T>, {T} Arc<T>,
    {T: Ord} BTreeSet<T>, {K: Ord, V} BTreeMap<K, V>,
    {T: Eq + Hash, S} HashSet<T, S>, {K: Eq + Hash, V, S} HashMap<K, V, S>,
    {T: ToOwned + ?Sized} Cow<'static, T>, {T, const N: usize} [T; N],
    {A} (A,), {A, B} (A, B), {A, B, C} (A, B, C), {A, B, C, D} (A, B, C, D),
    {A, B, C, D, E} (A, B, C, D, E), {A, B, C, D, E, F} (A, B, C, D, E, F),
}

/// Implements both traits for one number of arguments, with and without a context.
macro_rules! handlers {
    ($args:ty, $pattern:pat, $($arg:ident $value:ident),*) => {
        impl<Func, Fut, $($arg,)*> Handler<$args, fn($($arg),*)> for Func
        where
            Func: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            $($arg: Clone + Send + Sync + 'static,)*
        {
            type Future = Fut;

            fn call(&self, _: impl FnOnce() -> JobContext, $pattern: $args) -> Fut {
                self($($value),*)
            }
        }

        impl<Func, Fut, $($arg,)*> Handler<$args, fn(JobContext, $($arg),*)> for Func
        where
            Func: Fn(JobContext, $($arg),*) -> Fut + Send + Sync + 'static,
            $($arg: Clone + Send + Sync + 'static,)*
        {
            type Future = Fut;

            fn call(&self, cx: impl FnOnce() -> JobContext, $pattern: $args) -> Fut {
                self(cx(), $($value),*)
            }
        }

        impl<Func, Out, $($arg,)*> BlockingHandler<$args, fn($($arg),*)> for Func
        where
            Func: Fn($($arg),*) -> Out + Send + Sync + 'static,
            $($arg: Clone + Send + Sync + 'static,)*
        {
            type Output = Out;

            fn call(&self, _: impl FnOnce() -> JobContext, $pattern: $args) -> Out {
                self($($value),*)
            }
        }

        impl<Func, Out, $($arg,)*> BlockingHandler<$args, fn(JobContext, $($arg),*)> for Func
        where
            Func: Fn(JobContext, $($arg),*) -> Out + Send + Sync + 'static,
            $($arg: Clone + Send + Sync + 'static,)*
        {
            type Output = Out;

            fn call(&self, cx: impl FnOnce() -> JobContext, $pattern: $args) -> Out {
                self(cx(), $($value),*)
            }
        }
    };
}

handlers!((), (),);
handlers!(A, a, A a);
handlers!((A, B), (a, b), A a, B b);
handlers!((A, B, C), (a, b, c), A a, B b, C c);
handlers!((A, B, C, D), (a, b, c, d), A a, B b, C c, D d);
handlers!((A, B, C, D, E), (a, b, c, d, e), A a, B b, C c, D d, E e);
handlers!((A, B, C, D, E, F), (a, b, c, d, e, f), A a, B b, C c, D d, E e, F f);
