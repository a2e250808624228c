//! Stop tokens: a function on a thread, and a future, see the stop exactly once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use jobber::{JobContext, JobError, JobStatus};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::{SECOND, app, app_with, explore, poll_only_when_woken, stop};

#[test]
fn abort_and_the_run_of_a_function_the_first_decides_what_all_see() {
    let all = ["aborted before it ran", "aborted while it ran", "finished"];
    explore(2, &all, || {
        let (app, _) = app();
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = runs.clone();
        let task = app.blocking_task("t", move || {
            counted.fetch_add(1, Ordering::SeqCst);
            7
        });
        let task = task.register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        let aborted = job.abort().block_on().unwrap();
        let ran = runs.load(Ordering::SeqCst);
        let status = job.wait_blocking();
        let result = job.result();
        stop(&app);
        assert_eq!(job.status(), status, "a final status stays");
        match (aborted.took_effect(), ran) {
            (false, ran) => {
                assert_eq!((status, ran), (JobStatus::Success, 1));
                assert_eq!(*result.unwrap(), 7);
                "finished"
            }
            (true, ran) => {
                assert_eq!(status, JobStatus::Cancelled);
                assert!(matches!(result, Err(JobError::Cancelled)));
                match ran {
                    0 => "aborted before it ran",
                    _ => "aborted while it ran",
                }
            }
        }
    });
}

#[test]
fn a_function_that_waits_for_its_token_returns_after_an_abort() {
    explore(2, &[0, 1], || {
        let (app, _) = app();
        let began = Arc::new(AtomicUsize::new(0));
        let counted = began.clone();
        let task = app.blocking_task("t", move |cx: JobContext| {
            counted.fetch_add(1, Ordering::SeqCst);
            // Nothing else ends it: a thread that misses the stop is left over.
            cx.stop_token().stopped().block_on();
            assert!(cx.stop_token().is_stop_requested());
        });
        let task = task.register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        assert!(job.abort().block_on().unwrap().took_effect());
        assert_eq!(job.wait_blocking(), JobStatus::Cancelled);
        let began = began.load(Ordering::SeqCst);
        stop(&app);
        began
    });
}

#[test]
fn a_function_that_waits_for_its_token_returns_after_a_shutdown() {
    explore(2, &["cancelled", "told"], || {
        let (app, _) = app();
        let task = app.blocking_task("t", |cx: JobContext| {
            cx.stop_token().stopped().block_on();
        });
        let task = task.register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        // No time passes: the wait ends with the run, or never.
        let left = app.shutdown(SECOND).block_on().left;
        assert!(left.is_empty());
        match job.status() {
            JobStatus::Cancelled => "cancelled",
            JobStatus::Success => "told",
            status => panic!("{status}"),
        }
    });
}

/// Counts wake-ups.
struct Count {
    woken: Arc<AtomicUsize>,
    waker: Waker,
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.waker.wake_by_ref();
    }
}

#[test]
fn a_future_that_waits_for_its_token_is_woken_by_a_shutdown_and_only_once() {
    let all = ["cancelled", "told at once", "woken"];
    explore(2, &all, || {
        let on_a_thread = |job| drop(thread::spawn(|| poll_only_when_woken(job)));
        let (app, _) = app_with(|app| app.executor(on_a_thread));
        let (polls, woken) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let counts = (polls.clone(), woken.clone());
        let task = app.task("t", move |cx: JobContext| {
            let (polls, woken) = counts.clone();
            async move {
                let mut stopped = cx.stop_token().stopped();
                poll_fn(|cx| {
                    let waker = cx.waker().clone();
                    let woken = woken.clone();
                    let waker = Waker::from(Arc::new(Count { woken, waker }));
                    let poll = Pin::new(&mut stopped).poll(&mut Context::from_waker(&waker));
                    if poll == Poll::Pending {
                        polls.fetch_add(1, Ordering::SeqCst);
                    }
                    poll
                })
                .await;
            }
        });
        let task = task.register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        let left = app.shutdown(SECOND).block_on().left;
        assert!(left.is_empty());
        let counts = (polls.load(Ordering::SeqCst), woken.load(Ordering::SeqCst));
        match (job.status(), counts) {
            (JobStatus::Cancelled, (0, 0)) => "cancelled",
            (JobStatus::Success, (0, 0)) => "told at once",
            (JobStatus::Success, (1, 1)) => "woken",
            other => panic!("status, (waits, wake-ups): {other:?}"),
        }
    });
}
