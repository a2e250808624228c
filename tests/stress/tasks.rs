//! The tasks: quick ones, and those that block, never wake, or panic wherever they can.

use std::future::{Future, Ready, pending};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use jobber::{
    Backoff, Clock, JobContext, Jobber, Limit, Rate, RegisterError, Task, TaskBuilder, TaskOutput,
};
use smol::future::yield_now;

#[cfg(feature = "serde")]
use super::slots::fault;
use super::slots::{Arg, Attempt, Bomb, MOST_LIMITED, Slots, Value};

/// A task whose jobs are set aside, with this number of interruptions, although they are due.
#[cfg(feature = "serde")]
pub const SET_ASIDE: &str = "set aside";
#[cfg(feature = "serde")]
pub const INTERRUPTIONS: u32 = 3;

pub const RETRIES: u32 = 2;
const RETRY_DELAY: Duration = Duration::from_micros(200);
/// Of those that never wake.
const TIMEOUT: Duration = Duration::from_millis(3);

type Any = Task<Arg, Value>;

/// What a round measures its time by.
#[derive(Clone)]
pub enum RoundClock {
    /// The system's clock, by which the app goes as well, from an origin of its own.
    System(Instant),
    /// In steps, between which it stands still: what starts a little early starts before
    /// its time is there, and can't make up for it on the way to its start.
    Coarse(Instant, Arc<Hands>),
}

/// How the wall clock is set, in the middle of a round.
#[derive(Default)]
pub struct Hands {
    seconds: AtomicU64,
    watchers: Mutex<Vec<Waker>>,
}

const STEP: u64 = 100_000;

impl RoundClock {
    pub fn coarse() -> Self {
        Self::Coarse(Instant::now(), Arc::default())
    }

    pub fn now(&self) -> Duration {
        match self {
            RoundClock::System(origin) => origin.elapsed(),
            RoundClock::Coarse(origin, _) => {
                let nanos = origin.elapsed().as_nanos() as u64;
                Duration::from_nanos(nanos - nanos % STEP)
            }
        }
    }

    /// The wall time since a midnight; `None` where it is unknown.
    pub fn wall_now(&self) -> Option<Duration> {
        match self {
            RoundClock::System(_) => None,
            RoundClock::Coarse(_, hands) => {
                let set = Duration::from_secs(hands.seconds.load(Ordering::SeqCst));
                Some(set + self.now())
            }
        }
    }

    /// Sets the wall clock forward. What is due earlier than by the other is not early.
    pub fn set_forward(&self, seconds: u64) {
        let RoundClock::Coarse(_, hands) = self else {
            return;
        };
        hands.seconds.fetch_add(seconds, Ordering::SeqCst);
        let watchers = hands.watchers.lock().unwrap().clone();
        watchers.iter().for_each(Waker::wake_by_ref);
    }
}

impl Clock for RoundClock {
    fn monotonic(&self) -> Duration {
        self.now()
    }

    /// Bound to the other, and set by the test alone.
    fn wall(&self) -> time::OffsetDateTime {
        let midnight = time::OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        midnight + self.wall_now().unwrap_or_else(|| self.now())
    }

    fn watch(&self, moved: Waker) {
        if let RoundClock::Coarse(_, hands) = self {
            hands.watchers.lock().unwrap().push(moved);
        }
    }
}

#[derive(Clone)]
pub struct Tasks {
    pub quick: Any,
    /// Polled several times.
    pub yields: Any,
    pub blocking: Any,
    pub retried: Any,
    pub never: Any,
    /// Each attempt times out, and the next one is not to begin before its future is gone.
    pub never_in_time: Any,
    pub panics_in_call: Any,
    pub panics_in_poll: Any,
    /// Its future does so when it is dropped, killed or not.
    pub panics_in_drop: Any,
    pub panics_blocking: Any,
    pub gives_bomb: Any,
    /// Waits for its token.
    pub until_told: Any,
    pub until_told_blocking: Any,
    /// Ends when its timeout sets the token.
    pub told_by_timeout: Any,
    /// Under the shared limit.
    pub limited: Any,
    pub limited_blocking: Any,
    pub shared: Limit,
    /// The same as some of these, but durable.
    pub stored: Option<Stored>,
}

#[derive(Clone)]
pub struct Stored {
    pub quick: Any,
    pub blocking: Any,
    pub retried: Any,
    /// At most once.
    pub once: Any,
}

/// Registers tasks under one app.
struct Register<'a> {
    app: &'a Jobber,
    slots: &'a Arc<Slots>,
    clock: RoundClock,
}

impl Register<'_> {
    /// A task whose attempts begin in the call.
    fn task<F, T>(&self, name: &str, rest: fn(Attempt, Arg, u32) -> F) -> TaskBuilder<Arg, Value>
    where
        F: Future<Output = T> + Send + 'static,
        T: TaskOutput<Value = Value>,
    {
        let begin = self.begin();
        self.app.task(name, move |cx: JobContext, arg: Arg| {
            rest(begin(&cx, &arg), arg, cx.attempt())
        })
    }

    fn blocking(&self, name: &str, rest: fn(Attempt, Arg) -> Value) -> TaskBuilder<Arg, Value> {
        let begin = self.begin();
        let f = move |cx: JobContext, arg: Arg| rest(begin(&cx, &arg), arg);
        self.app.blocking_task(name, f)
    }

    /// One that is given its context as well.
    fn task_of_context<F>(
        &self,
        name: &str,
        rest: fn(Attempt, Arg, JobContext) -> F,
    ) -> TaskBuilder<Arg, Value>
    where
        F: Future<Output = Value> + Send + 'static,
    {
        let begin = self.begin();
        self.app.task(name, move |cx: JobContext, arg: Arg| {
            rest(begin(&cx, &arg), arg, cx)
        })
    }

    fn until_told_blocking(&self, name: &str) -> TaskBuilder<Arg, Value> {
        let begin = self.begin();
        self.app
            .blocking_task(name, move |cx: JobContext, arg: Arg| {
                let attempt = begin(&cx, &arg);
                cx.stop_token().stopped().block_on();
                attempt.ends();
                Value::default()
            })
    }

    fn begin(&self) -> impl Fn(&JobContext, &Arg) -> Attempt + Send + Sync + 'static {
        let (slots, clock) = (self.slots.clone(), self.clock.clone());
        move |cx, arg| slots.begin(arg, cx.run_number(), &clock)
    }
}

impl Tasks {
    pub fn register(
        app: &Jobber,
        slots: &Arc<Slots>,
        clock: &RoundClock,
        is_durable: bool,
    ) -> Result<Self, RegisterError> {
        let clock = clock.clone();
        let of = Register { app, slots, clock };
        let backoff = || Backoff::fixed(RETRIES, RETRY_DELAY);
        let shared = Limit::new(MOST_LIMITED);
        Ok(Self {
            limited: of
                .task("limited", limited)
                .limit(&shared)
                .limit_by(2, |arg: &Arg| (arg.slot % 3).to_string())
                .rate(Rate::new(20, Duration::from_millis(2)))
                .register()?,
            limited_blocking: of
                .blocking("limited blocking", limited_blocking)
                .limit(&shared)
                .limit(2)
                .priority(1)
                .register()?,
            shared,
            quick: of.task("quick", quick).register()?,
            yields: of.task("yields", yields).register()?,
            blocking: of.blocking("blocking", blocking).register()?,
            retried: of.task("retried", retried).retry(backoff()).register()?,
            never: of.task("never", never).register()?,
            never_in_time: of
                .task("never in time", never_in_time)
                .timeout(TIMEOUT)
                .retry(backoff())
                .register()?,
            panics_in_call: of.task("panics in call", panics_in_call).register()?,
            panics_in_poll: of.task("panics in poll", panics_in_poll).register()?,
            panics_in_drop: of
                .task("panics in drop", panics_in_drop)
                .timeout(TIMEOUT)
                .register()?,
            panics_blocking: of.blocking("panics blocking", panics_blocking).register()?,
            gives_bomb: of.task("gives bomb", gives_bomb).register()?,
            until_told: of.task_of_context("until told", until_told).register()?,
            until_told_blocking: of.until_told_blocking("until told, blocking").register()?,
            told_by_timeout: of
                .until_told_blocking("told by timeout")
                .timeout(TIMEOUT)
                .register()?,
            stored: is_durable.then(|| of.stored(backoff())).transpose()?,
        })
    }
}

impl Register<'_> {
    #[cfg(feature = "serde")]
    fn stored(&self, backoff: Backoff) -> Result<Stored, RegisterError> {
        let set_aside = || async { fault("a job that is set aside has started".into()) };
        let _ = (self.app.task(SET_ASIDE, set_aside).durable())
            .max_interruptions(INTERRUPTIONS)
            .register()?;
        let retried = self.task("stored retried", retried);
        Ok(Stored {
            quick: self.task("stored quick", quick).durable().register()?,
            blocking: self
                .blocking("stored blocking", blocking)
                .durable()
                .register()?,
            retried: retried.retry(backoff).durable().register()?,
            once: self
                .task("stored once", quick)
                .durable()
                .at_most_once()
                .register()?,
        })
    }

    #[cfg(not(feature = "serde"))]
    fn stored(&self, _: Backoff) -> Result<Stored, RegisterError> {
        unreachable!("there is no store without the feature")
    }
}

async fn quick(attempt: Attempt, arg: Arg, _: u32) -> Value {
    attempt.ends();
    // Not later: the compiler leaks a value that is about to be returned when a local's
    // drop panics (rust-lang/rust#47949).
    drop(arg);
    Value::default()
}

async fn yields(attempt: Attempt, _: Arg, _: u32) -> Value {
    for _ in 0..3 {
        yield_now().await;
    }
    attempt.ends();
    Value::default()
}

async fn limited(attempt: Attempt, _: Arg, _: u32) -> Value {
    let _limited = attempt.limited();
    yield_now().await;
    attempt.ends();
    Value::default()
}

fn limited_blocking(attempt: Attempt, _: Arg) -> Value {
    let _limited = attempt.limited();
    attempt.ends();
    Value::default()
}

fn blocking(attempt: Attempt, _: Arg) -> Value {
    thread::sleep(Duration::from_millis(1));
    attempt.ends();
    Value::default()
}

async fn retried(attempt: Attempt, _: Arg, number: u32) -> Result<Value, &'static str> {
    yield_now().await;
    attempt.ends();
    if number <= RETRIES {
        return Err("not yet");
    }
    Ok(Value::default())
}

async fn never(_attempt: Attempt, _: Arg, _: u32) -> Value {
    pending().await
}

/// Is dropped for longer than a retry takes to come due.
async fn never_in_time(_attempt: Attempt, _: Arg, _: u32) -> Value {
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            thread::sleep(5 * RETRY_DELAY);
        }
    }
    let _slow = Slow;
    pending().await
}

/// The call itself panics, not its future.
fn panics_in_call(_: Attempt, _: Arg, _: u32) -> Ready<Value> {
    resume_unwind(Box::new("in the call"))
}

async fn panics_in_poll(_attempt: Attempt, _: Arg, _: u32) -> Value {
    yield_now().await;
    resume_unwind(Box::new("in a poll"))
}

async fn panics_in_drop(_attempt: Attempt, _: Arg, _: u32) -> Value {
    let _bomb = Bomb;
    pending().await
}

fn panics_blocking(_: Attempt, _: Arg) -> Value {
    resume_unwind(Box::new("on a thread"))
}

async fn gives_bomb(attempt: Attempt, _: Arg, _: u32) -> Value {
    attempt.ends();
    Value::with_bomb()
}

async fn until_told(attempt: Attempt, _: Arg, cx: JobContext) -> Value {
    cx.stop_token().stopped().await;
    attempt.ends();
    Value::default()
}
