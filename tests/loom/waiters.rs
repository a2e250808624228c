//! Every waiter of a job is woken when the job is done.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use jobber::testing::Simulation;
use jobber::{Job, JobStatus};
use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::{SECOND, app, explore, stop};

#[test]
fn a_thread_and_a_future_that_wait_for_a_job_both_return_with_its_end() {
    explore(2, &[()], || {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async { 7 }).register().unwrap();
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        let (first, second) = (job.clone(), job.clone());
        let future = thread::spawn(move || {
            assert_eq!(block_on(first.wait()), JobStatus::Success);
            assert_eq!(
                *first.result().unwrap(),
                7,
                "who sees the end sees the value"
            );
        });
        let blocked = thread::spawn(move || {
            assert_eq!(second.wait_blocking(), JobStatus::Success);
            assert_eq!(*second.result().unwrap(), 7);
        });
        sim.advance(SECOND);
        future.join().unwrap();
        blocked.join().unwrap();
    });
}

#[test]
fn a_wait_for_a_job_of_an_app_with_threads_returns_at_its_end() {
    explore(2, &[()], || {
        let (app, _) = app();
        let task = app.task("t", || async { 7 }).register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        assert_eq!(job.wait_blocking(), JobStatus::Success);
        assert_eq!(*job.result().unwrap(), 7);
        stop(&app);
    });
}

/// Counts wake-ups, and reads the job within `wake`.
struct Watch {
    job: Job<()>,
    woken: AtomicUsize,
    early: AtomicUsize,
}

impl Wake for Watch {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        if !self.job.is_done() {
            self.early.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_waker_that_was_left_pending_is_woken_once_and_not_before_the_job_is_done() {
    explore(3, &["at once", "woken"], || {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async {}).register().unwrap();
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        let watched = job.clone();
        let waiter = thread::spawn(move || {
            let watch = Arc::new(Watch {
                job: watched.clone(),
                woken: AtomicUsize::new(0),
                early: AtomicUsize::new(0),
            });
            let waker = Waker::from(watch.clone());
            let mut wait = Box::pin(watched.wait());
            let first = wait.as_mut().poll(&mut Context::from_waker(&waker));
            (watch, wait, first)
        });
        sim.advance(SECOND);
        let (watch, mut wait, first) = waiter.join().unwrap();
        assert!(job.is_done());
        assert_eq!(watch.early.load(Ordering::SeqCst), 0);
        let woken = watch.woken.load(Ordering::SeqCst);
        if first.is_ready() {
            assert_eq!(woken, 0);
            return "at once";
        }
        assert_eq!(woken, 1);
        let waker = Waker::noop();
        let again = wait.as_mut().poll(&mut Context::from_waker(waker));
        assert_eq!(again, Poll::Ready(JobStatus::Success));
        "woken"
    });
}

/// Waits for run after run, until there are no more.
fn watch_runs(job: &Job<()>) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        let next = job.next_run();
        // The wait has to return a run that ends from now on.
        let ended = job.last_run().map_or(0, |run| run.number);
        match next.block_on() {
            Some(run) => {
                assert!(seen.last().is_none_or(|last| *last < run.number));
                seen.push(run.number);
            }
            None => {
                assert_eq!(ended, 2, "a run that ended after the wait began is missed");
                return seen;
            }
        }
    }
}

#[test]
fn a_wait_for_the_next_run_returns_no_run_twice() {
    explore(3, &[vec![], vec![1], vec![1, 2], vec![2]], || {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async {}).register().unwrap();
        let twice = task.schedule(()).max_runs(2).every(SECOND);
        let job = twice.block_on().unwrap();
        let watched = job.clone();
        let watcher = thread::spawn(move || watch_runs(&watched));
        sim.advance(SECOND);
        sim.advance(SECOND);
        let seen = watcher.join().unwrap();
        assert_eq!(job.last_run().map(|run| run.number), Some(2));
        seen
    });
}

#[test]
fn a_dropped_wait_does_not_take_the_wake_up_of_another() {
    explore(2, &[()], || {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async {}).register().unwrap();
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        let (first, second) = (job.clone(), job.clone());
        let fickle = thread::spawn(move || {
            let mut wait = pin!(first.wait());
            let _ = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        let patient = thread::spawn(move || second.wait_blocking());
        sim.advance(SECOND);
        assert_eq!(patient.join().unwrap(), JobStatus::Success);
        fickle.join().unwrap();
    });
}

#[test]
fn a_wait_for_all_jobs_returns_when_the_last_has_ended() {
    explore(2, &[()], || {
        let (app, clock) = app();
        let task = app.task("t", || async {}).register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        let turner = thread::spawn(move || clock.advance(SECOND));
        app.wait_all().block_on();
        assert_eq!(job.status(), JobStatus::Success);
        turner.join().unwrap();
        stop(&app);
    });
}

/// A limit that passes at any moment.
const MOMENT: Duration = Duration::from_nanos(1);

/// Polls `wait` to its end and returns its value.
fn status_after(job: &Job<i32>, wait: impl FnOnce(&Job<i32>) -> JobStatus) -> JobStatus {
    let was_done = job.is_done();
    let status = wait(job);
    if status.is_final() {
        assert_eq!(
            *job.result().unwrap(),
            7,
            "who is given the end has the value"
        );
    } else {
        assert!(!was_done, "the end came first, and the limit was given");
    }
    status
}

/// The status after a wait by one thread, while a job ends on another one.
fn wait_while_it_ends(wait: impl FnOnce(&Job<i32>) -> JobStatus + Send + 'static) -> &'static str {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", || async { 7 }).register().unwrap();
    let job = task.schedule(()).delay(SECOND).block_on().unwrap();
    let waiter = job.clone();
    let waiter = thread::spawn(move || status_after(&waiter, wait));
    sim.advance(SECOND);
    let status = waiter.join().unwrap();
    assert_eq!(job.status(), JobStatus::Success);
    match status {
        JobStatus::Scheduled => "before it ran",
        JobStatus::Running => "while it ran",
        JobStatus::Success => "with its end",
        status => panic!("{status}"),
    }
}

const ALL: [&str; 3] = ["before it ran", "while it ran", "with its end"];

#[test]
fn a_wait_whose_limit_passes_at_any_moment_returns_the_end_if_that_came_first() {
    explore(2, &ALL, || {
        wait_while_it_ends(|job| block_on(job.wait_timeout(MOMENT)))
    });
}

#[test]
fn a_blocking_wait_without_time_returns_the_end_if_that_came_first() {
    explore(3, &ALL, || {
        wait_while_it_ends(|job| job.wait_timeout(Duration::ZERO).block_on())
    });
}

#[test]
fn a_blocking_wait_that_was_polled_before_returns_the_end_if_that_came_first() {
    explore(2, &ALL, || {
        wait_while_it_ends(|job| {
            let mut wait = job.wait_timeout(MOMENT);
            let first = Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop()));
            match first {
                Poll::Ready(status) => status,
                Poll::Pending => wait.block_on(),
            }
        })
    });
}

#[test]
fn a_wait_whose_limit_never_passes_returns_with_the_end_in_either_way() {
    explore(3, &[ALL[2]], || {
        wait_while_it_ends(|job| job.wait_timeout(SECOND * 3_600).block_on())
    });
    explore(3, &[ALL[2]], || {
        wait_while_it_ends(|job| block_on(job.wait_timeout(SECOND * 3_600)))
    });
}

#[test]
fn a_wait_for_a_job_that_does_not_end_returns_with_its_limit() {
    explore(3, &[JobStatus::Scheduled as u8], || {
        let sim = Simulation::new();
        let task = sim.app().task("t", || async { 7 }).register().unwrap();
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        status_after(&job, |job| block_on(job.wait_timeout(MOMENT))) as u8
    });
}
