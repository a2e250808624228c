//! Whole apps under a model checker, which tries the orders in which their threads can go
//! on: with real handles, the real timer thread, and a clock that the model moves.
//!
//! Each model returns its outcome and names every possible outcome: a model that never
//! reaches the race that it is about fails. loom switches threads at every atomic, lock and
//! condition variable of jobber and of event-listener. A thread that is never woken is a
//! deadlock, which loom reports with the order that led to it.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --no-default-features --features
//! serde --test loom` runs it. `LOOM_MAX_PREEMPTIONS` replaces the bounds on preemptions
//! that are set here.
#![cfg(loom)]

#[path = "loom/burst.rs"]
mod burst;
#[path = "loom/durable.rs"]
mod durable;
#[path = "loom/limits.rs"]
mod limits;
#[path = "loom/races.rs"]
mod races;
#[path = "loom/stopping.rs"]
mod stopping;
#[path = "loom/timer.rs"]
mod timer;
#[path = "loom/waiters.rs"]
mod waiters;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use jobber::testing::ManualClock;
use jobber::{JobFuture, Jobber, JobberBuilder};
use loom::future::block_on;
use loom::thread;

const SECOND: Duration = Duration::from_secs(1);

/// Runs the model in every order with at most `preemptions` preemptions, and compares the
/// outcomes with the expected ones.
fn explore<T>(preemptions: usize, expected: &[T], model: impl Fn() -> T + Send + Sync + 'static)
where
    T: Ord + Clone + Debug + Send + 'static,
{
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    // The limit of thread switches in one execution.
    builder.max_branches = 100_000;
    // These belong to no execution.
    let seen = Arc::new(Mutex::new((0, BTreeSet::new())));
    let noting = seen.clone();
    builder.check(move || {
        let outcome = model();
        let mut seen = noting.lock().unwrap();
        seen.0 += 1;
        seen.1.insert(outcome);
    });
    let (orders, seen) = &*seen.lock().unwrap();
    println!("{orders} orders, {seen:?}");
    assert_eq!(*seen, expected.iter().cloned().collect());
}

/// An app on a clock that stands still, with the timer thread, and a thread for each future
/// that it spawns.
fn app() -> (Jobber, ManualClock) {
    app_with(|builder| builder)
}

fn app_with(configure: impl FnOnce(JobberBuilder) -> JobberBuilder) -> (Jobber, ManualClock) {
    let clock = ManualClock::new();
    let builder = Jobber::builder()
        // With a seed there is one shard on every machine.
        .seed(0)
        .clock(clock.clone())
        .executor(on_a_thread);
    let app = configure(builder).build().unwrap();
    (app, clock)
}

fn on_a_thread(job: JobFuture) {
    thread::spawn(move || block_on(job));
}

fn stop(app: &Jobber) {
    app.shutdown(Duration::ZERO).block_on();
}

/// loom's `block_on` polls a future once more without a wake-up, which would hide a missing
/// one.
#[derive(Default)]
struct Sleep {
    is_woken: loom::sync::Mutex<bool>,
    woken: loom::sync::Condvar,
}

impl Wake for Sleep {
    fn wake(self: Arc<Self>) {
        *self.is_woken.lock().unwrap() = true;
        self.woken.notify_one();
    }
}

fn poll_only_when_woken(mut job: JobFuture) {
    let sleep = Arc::new(Sleep::default());
    let waker = Waker::from(sleep.clone());
    while Pin::new(&mut job).poll(&mut Context::from_waker(&waker)) == Poll::Pending {
        let mut is_woken = sleep.is_woken.lock().unwrap();
        while !*is_woken {
            is_woken = sleep.woken.wait(is_woken).unwrap();
        }
        *is_woken = false;
    }
}
