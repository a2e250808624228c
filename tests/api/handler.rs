//! What a task's function may take and return.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::Result;
use jobber::testing::{ManualClock, Simulation};
use jobber::{BoxError, Job, JobContext, JobError, MissingState, Task, TaskOutput};

async fn none() -> u32 {
    0
}

async fn one(a: u32) -> u32 {
    a
}

async fn two(a: u32, b: u32) -> u32 {
    a + b
}

async fn three(a: u32, b: u32, c: u32) -> u32 {
    a + b + c
}

async fn four(a: u32, b: u32, c: u32, d: u32) -> u32 {
    a + b + c + d
}

async fn five(a: u32, b: u32, c: u32, d: u32, e: u32) -> u32 {
    a + b + c + d + e
}

async fn six(a: u32, b: u32, c: u32, d: u32, e: u32, f: u32) -> u32 {
    a + b + c + d + e + f
}

async fn cx_none(cx: JobContext) -> u32 {
    cx.attempt()
}

async fn cx_one(cx: JobContext, a: u32) -> u32 {
    cx.attempt() + a
}

async fn cx_two(cx: JobContext, a: u32, b: u32) -> u32 {
    cx.attempt() + a + b
}

async fn cx_three(cx: JobContext, a: u32, b: u32, c: u32) -> u32 {
    cx.attempt() + a + b + c
}

async fn cx_four(cx: JobContext, a: u32, b: u32, c: u32, d: u32) -> u32 {
    cx.attempt() + a + b + c + d
}

async fn cx_five(cx: JobContext, a: u32, b: u32, c: u32, d: u32, e: u32) -> u32 {
    cx.attempt() + a + b + c + d + e
}

async fn cx_six(cx: JobContext, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32) -> u32 {
    cx.attempt() + a + b + c + d + e + f
}

/// Registers the function, runs it with the arguments, and evaluates to its value.
macro_rules! value {
    ($sim:ident, $register:ident, $function:expr, $args:expr) => {{
        let name = stringify!($function).to_string() + stringify!($register);
        let task = $sim.app().$register(name, $function).register()?;
        let job = task.schedule($args).push().block_on()?;
        $sim.run_until_stalled();
        job.result()?
    }};
}

#[test]
fn async_functions_of_none_to_six_arguments() -> Result {
    let mut sim = Simulation::new();
    assert_eq!(*value!(sim, task, none, ()), 0);
    assert_eq!(*value!(sim, task, one, 1), 1);
    assert_eq!(*value!(sim, task, two, (1, 2)), 3);
    assert_eq!(*value!(sim, task, three, (1, 2, 3)), 6);
    assert_eq!(*value!(sim, task, four, (1, 2, 3, 4)), 10);
    assert_eq!(*value!(sim, task, five, (1, 2, 3, 4, 5)), 15);
    assert_eq!(*value!(sim, task, six, (1, 2, 3, 4, 5, 6)), 21);
    Ok(())
}

#[test]
fn async_functions_of_a_context_and_none_to_six_arguments() -> Result {
    let mut sim = Simulation::new();
    assert_eq!(*value!(sim, task, cx_none, ()), 1);
    assert_eq!(*value!(sim, task, cx_one, 1), 2);
    assert_eq!(*value!(sim, task, cx_two, (1, 2)), 4);
    assert_eq!(*value!(sim, task, cx_three, (1, 2, 3)), 7);
    assert_eq!(*value!(sim, task, cx_four, (1, 2, 3, 4)), 11);
    assert_eq!(*value!(sim, task, cx_five, (1, 2, 3, 4, 5)), 16);
    assert_eq!(*value!(sim, task, cx_six, (1, 2, 3, 4, 5, 6)), 22);
    Ok(())
}

#[test]
fn blocking_functions_of_none_to_six_arguments() -> Result {
    let mut sim = Simulation::new();
    let sum = |a: u32, b: u32, c: u32, d: u32, e: u32, f: u32| a + b + c + d + e + f;
    let with = |cx: JobContext, a: u32, b: u32, c: u32, d: u32, e: u32, f: u32| {
        cx.attempt() + a + b + c + d + e + f
    };
    assert_eq!(*value!(sim, blocking_task, || 0_u32, ()), 0);
    assert_eq!(*value!(sim, blocking_task, |a: u32| a, 1), 1);
    assert_eq!(
        *value!(sim, blocking_task, |a: u32, b: u32| a + b, (1, 2)),
        3
    );
    assert_eq!(*value!(sim, blocking_task, sum, (1, 2, 3, 4, 5, 6)), 21);
    assert_eq!(
        *value!(sim, blocking_task, |cx: JobContext| cx.attempt(), ()),
        1
    );
    assert_eq!(*value!(sim, blocking_task, with, (1, 2, 3, 4, 5, 6)), 22);
    Ok(())
}

#[test]
fn closures_async_closures_and_plain_futures() -> Result {
    let mut sim = Simulation::new();
    let captured = Arc::new(AtomicU32::new(40));
    let closure = move |x: u32| {
        let captured = captured.clone();
        async move { captured.fetch_add(x, Ordering::SeqCst) + x }
    };
    assert_eq!(*value!(sim, task, closure, 2), 42);
    assert_eq!(
        *value!(sim, task, async |text: String| text.len(), "four".into()),
        4
    );
    assert_eq!(*value!(sim, task, || std::future::ready("now"), ()), "now");
    Ok(())
}

#[test]
fn one_argument_that_is_a_tuple_is_one_argument() -> Result {
    let mut sim = Simulation::new();
    let sum = async |pair: (u32, u32)| pair.0 + pair.1;
    assert_eq!(*value!(sim, task, sum, (1, 2)), 3);
    Ok(())
}

/// The compiler tells a function of a context from a function of one argument by that.
#[test]
fn a_context_is_not_clone_and_an_argument_is() {
    struct Probe<T>(std::marker::PhantomData<T>);
    trait NotClone {
        const IS_CLONE: bool = false;
    }
    impl<T> NotClone for Probe<T> {}
    #[allow(dead_code, reason = "used only if the type is `Clone`")]
    impl<T: Clone> Probe<T> {
        const IS_CLONE: bool = true;
    }
    const { assert!(Probe::<String>::IS_CLONE) };
    const { assert!(!Probe::<JobContext>::IS_CLONE) };
}

#[test]
fn the_types_of_a_task_can_be_named() -> Result {
    struct App {
        add: Task<(u32, u32), u32>,
        mail: Task<String, ()>,
        tick: Task<(), Option<u8>>,
    }
    let mut sim = Simulation::new();
    let app = App {
        add: sim.app().task("add", two).register()?,
        mail: sim.app().task("mail", async |_: String| {}).register()?,
        tick: sim
            .app()
            .task("tick", async |_: JobContext| Some(1))
            .register()?,
    };
    let job: Job<u32> = app.add.schedule((1, 2)).push().block_on()?;
    let _: Job<()> = app.mail.schedule("x".into()).push().block_on()?;
    let _: Job<Option<u8>> = app.tick.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(*job.result()?, 3);
    Ok(())
}

#[test]
fn values_are_plain_values_results_and_custom_outputs() -> Result {
    #[derive(Debug, PartialEq)]
    struct Own(u8);
    impl TaskOutput for Own {
        type Value = Self;
        fn into_result(self) -> Result<Self, BoxError> {
            if self.0 == 0 {
                Err("zero".into())
            } else {
                Ok(self)
            }
        }
    }
    let mut sim = Simulation::new();
    assert_eq!(*value!(sim, task, async || vec![1_u8], ()), [1]);
    assert_eq!(
        *value!(sim, task, async || HashMap::from([(1_u8, "one")]), ())[&1],
        *"one"
    );
    assert_eq!(*value!(sim, task, async || ("a", 1.5_f64), ()), ("a", 1.5));
    assert_eq!(
        *value!(sim, task, async || Ok::<_, std::fmt::Error>(Some(1_u8)), ()),
        Some(1)
    );
    assert_eq!(*value!(sim, task, async |n: u8| Own(n), 7), Own(7));
    let zero = sim.app().task("zero", async || Own(0)).register()?;
    let job = zero.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert!(matches!(job.result(), Err(JobError::Failed(error)) if error.to_string() == "zero"));
    Ok(())
}

#[test]
fn state_is_found_by_its_type() -> Result {
    #[derive(Debug, PartialEq)]
    struct Pool(u8);
    let builder = |b: jobber::JobberBuilder| b.state(1_u32).state(Pool(7)).state(2_u32);
    let mut sim = Simulation::with(0, ManualClock::new(), builder)?;
    let look = async |cx: JobContext| -> Result<_, MissingState> {
        Ok((*cx.state::<u32>()?, cx.state::<Pool>()?.0))
    };
    assert_eq!(
        *value!(sim, task, look, ()),
        (2, 7),
        "the second value of a type replaces the first"
    );

    let missing = async |cx: JobContext| cx.state::<String>().cloned();
    let missing = sim.app().task("missing", missing).register()?;
    let job = missing.schedule(()).push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(
        job.result().unwrap_err().source().unwrap().to_string(),
        "the app has no state of the type `alloc::string::String`: add it with Jobber::builder().state(..)"
    );
    Ok(())
}
