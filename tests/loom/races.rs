//! Two things happen to one job at once: one of them is first, and every thread sees the
//! same order.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::yield_now;
use jobber::testing::Simulation;
use jobber::{CancelOutcome, JobError, JobStatus, Jobber, ScheduleError, Task};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::{SECOND, app, explore, stop};

/// Counts runs.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicUsize>);

impl Runs {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// A task whose runs are counted.
    fn count_in(&self, app: &Jobber) -> Task<(), ()> {
        let counted = self.clone();
        let task = app.task("t", move || {
            counted.add();
            async {}
        });
        task.register().unwrap()
    }
}

#[test]
fn cancel_and_start_a_cancelled_job_never_runs_and_another_runs_once() {
    explore(
        3,
        &[JobStatus::Cancelled as u8, JobStatus::Success as u8],
        || {
            let mut sim = Simulation::new();
            let runs = Runs::default();
            let task = runs.count_in(sim.app());
            let job = task.schedule(()).delay(SECOND).block_on().unwrap();
            let cancelled = job.clone();
            let canceller = thread::spawn(move || {
                let did = cancelled.cancel().block_on().unwrap() == CancelOutcome::Cancelled;
                assert_eq!(did, cancelled.status() == JobStatus::Cancelled);
                did
            });
            sim.advance(SECOND);
            let did = canceller.join().unwrap();
            assert_eq!(runs.get(), usize::from(!did));
            let expected = if did {
                JobStatus::Cancelled
            } else {
                JobStatus::Success
            };
            assert_eq!(job.status(), expected);
            assert!(sim.app().jobs().is_empty());
            expected as u8
        },
    );
}

#[test]
fn one_of_two_cancels_takes_effect() {
    explore(3, &[()], || {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async {}).register().unwrap();
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        let other = job.clone();
        let other = thread::spawn(move || other.cancel().block_on().unwrap().took_effect());
        let one = job.cancel().block_on().unwrap().took_effect();
        assert!(one ^ other.join().unwrap());
        sim.advance(SECOND);
        assert_eq!(job.status(), JobStatus::Cancelled);
    });
}

#[test]
fn cancel_and_run_a_recurring_job_ends_and_never_runs_again() {
    explore(3, &[0, 1], || {
        let mut sim = Simulation::new();
        let runs = Runs::default();
        let task = runs.count_in(sim.app());
        let job = task.schedule(()).every(SECOND).block_on().unwrap();
        let cancelled = job.clone();
        let canceller = thread::spawn(move || cancelled.cancel().block_on().unwrap());
        sim.advance(SECOND);
        canceller.join().unwrap();
        let ran = runs.get();
        assert_eq!(job.status(), JobStatus::Cancelled);
        sim.advance(2 * SECOND);
        assert_eq!(runs.get(), ran);
        ran
    });
}

#[test]
fn abort_and_finish_the_first_decides_what_all_see() {
    explore(3, &["aborted", "finished"], || {
        let (app, _) = app();
        let task = app.task("t", || async {
            yield_now().await;
            7
        });
        let task = task.register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        let aborted = job.abort().block_on().unwrap();
        let status = job.wait_blocking();
        let result = job.result();
        stop(&app);
        assert_eq!(job.status(), status, "a final status stays");
        if aborted.took_effect() {
            assert_eq!(status, JobStatus::Cancelled);
            assert!(matches!(result, Err(JobError::Cancelled)));
            "aborted"
        } else {
            assert_eq!(status, JobStatus::Success);
            assert_eq!(*result.unwrap(), 7);
            "finished"
        }
    });
}

#[test]
fn timeout_and_finish_the_first_decides_what_all_see() {
    explore(2, &["finished", "timed out"], || {
        let (app, clock) = app();
        let task = app.task("t", || async {
            yield_now().await;
            7
        });
        let task = task.timeout(SECOND).register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        clock.advance(SECOND);
        let status = job.wait_blocking();
        let result = job.result();
        stop(&app);
        assert_eq!(job.status(), status, "a final status stays");
        match result {
            Ok(value) => {
                assert_eq!((status, *value), (JobStatus::Success, 7));
                "finished"
            }
            Err(JobError::TimedOut { .. }) => {
                assert_eq!(status, JobStatus::Timeout);
                "timed out"
            }
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn replace_and_fire_the_new_arguments_run_once_and_the_old_at_most_once() {
    explore(2, &[vec!["new"], vec!["old", "new"]], || {
        let mut sim = Simulation::new();
        let ran = Arc::new(loom::sync::Mutex::new(Vec::new()));
        let noted = ran.clone();
        let task = sim.app().task("t", move |name: &'static str| {
            noted.lock().unwrap().push(name);
            async {}
        });
        let task = task.register().unwrap();
        let old = task.schedule("old").id("x").delay(SECOND);
        let old = old.block_on().unwrap();
        let replacer = thread::spawn(move || {
            let new = task.schedule("new").id("x").replace().delay(2 * SECOND);
            new.block_on().unwrap()
        });
        sim.advance(SECOND);
        let new = replacer.join().unwrap();
        assert!(!new.is_done(), "it was not due");
        sim.advance(2 * SECOND);
        assert_eq!(old.status(), JobStatus::Success);
        assert_eq!(new.status(), JobStatus::Success);
        let ran = ran.lock().unwrap().clone();
        ran
    });
}

#[test]
fn one_of_two_jobs_with_the_same_id_is_scheduled() {
    explore(2, &[()], || {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", || async {}).register().unwrap();
        let other = task.clone();
        let schedule = move || other.schedule(()).id("x").delay(SECOND).block_on();
        let other = thread::spawn(schedule);
        let one = task.schedule(()).id("x").delay(SECOND).block_on();
        let other = other.join().unwrap();
        let refused = |result| matches!(result, Err(ScheduleError::DuplicateJob { .. }));
        assert!(one.is_ok() ^ other.is_ok());
        assert!(refused(one) ^ refused(other));
        assert_eq!(sim.app().jobs().len(), 1);
        sim.advance(SECOND);
        assert!(sim.app().jobs().is_empty());
    });
}

#[test]
fn shutdown_and_schedule_what_was_accepted_comes_to_an_end() {
    explore(2, &["cancelled", "refused", "ran"], || {
        let (app, _) = app();
        let runs = Runs::default();
        let task = runs.count_in(&app);
        app.start().block_on().unwrap();
        let scheduler = thread::spawn(move || {
            let job = task.schedule(()).push().block_on();
            job.map(|job| (job.wait_blocking(), job))
        });
        stop(&app);
        match scheduler.join().unwrap() {
            Err(ScheduleError::Stopped) => {
                assert_eq!(runs.get(), 0);
                "refused"
            }
            Err(error) => panic!("{error}"),
            Ok((JobStatus::Cancelled, job)) => {
                assert_eq!(job.status(), JobStatus::Cancelled);
                assert_eq!(runs.get(), 0);
                "cancelled"
            }
            Ok((status, job)) => {
                // The wait may have ended with the app, in the midst of the run.
                assert_ne!(status, JobStatus::Scheduled);
                assert_ne!(job.status(), JobStatus::Cancelled);
                assert!(runs.get() <= 1);
                "ran"
            }
        }
    });
}

/// Regression, found by this model: the second caller saw that the app had stopped before
/// the first had recorded what was left running, and returned an empty list.
#[test]
fn two_shutdowns_at_once_return_the_same_list() {
    explore(3, &[()], || {
        let mut sim = Simulation::new();
        let task = sim.app().task("t", std::future::pending::<()>);
        let task = task.register().unwrap();
        let job = task.schedule(()).push().block_on().unwrap();
        sim.run_until_stalled();
        let app = sim.app().clone();
        let other = thread::spawn(move || app.shutdown(Duration::ZERO).block_on());
        let left = sim.app().shutdown(Duration::ZERO).block_on().left;
        assert_eq!(left, [job.id().clone()]);
        assert_eq!(left, other.join().unwrap().left);
    });
}

#[test]
fn a_shutdown_with_a_grace_ends_with_the_last_run() {
    explore(
        2,
        &[JobStatus::Cancelled as u8, JobStatus::Success as u8],
        || {
            let (app, _) = app();
            let task = app.task("t", yield_now).register().unwrap();
            app.start().block_on().unwrap();
            let job = task.schedule(()).push().block_on().unwrap();
            // No time passes: a thread that the end of the run does not wake waits for ever.
            let left = app.shutdown(SECOND).block_on().left;
            assert!(left.is_empty());
            let status = job.status();
            assert!(status.is_final());
            status as u8
        },
    );
}

#[test]
fn replace_and_finish_the_job_goes_on_with_the_last_replacement() {
    explore(1, &["another job", "the same job"], || {
        let (app, clock) = app();
        let ran = Arc::new(loom::sync::Mutex::new(Vec::new()));
        let noted = ran.clone();
        let task = app.task("t", move |name: &'static str| {
            noted.lock().unwrap().push(name);
            yield_now()
        });
        let task = task.register().unwrap();
        app.start().block_on().unwrap();
        let old = task.schedule("old").id("x").push();
        let old = old.block_on().unwrap();
        // Before it, during it, or after it.
        let new = task.schedule("new").id("x").replace().delay(SECOND);
        let new = new.block_on().unwrap();
        let next = new.wait();
        let is_same = !old.is_done();
        clock.advance(SECOND);
        assert_eq!(next.block_on(), JobStatus::Success);
        stop(&app);
        let ran = ran.lock().unwrap();
        assert!(matches!(ran[..], ["new"] | ["old", "new"]), "{ran:?}");
        assert_eq!(old.status(), JobStatus::Success);
        if is_same {
            "the same job"
        } else {
            "another job"
        }
    });
}

#[test]
fn abort_and_finish_of_a_run_ends_a_recurring_job_and_nothing_follows() {
    explore(2, &["aborted"], || {
        let (app, clock) = app();
        let runs = Runs::default();
        let counted = runs.clone();
        let task = app.task("t", move || {
            counted.add();
            yield_now()
        });
        let task = task.register().unwrap();
        app.start().block_on().unwrap();
        let job = task.schedule(()).every(SECOND).block_on().unwrap();
        clock.advance(SECOND);
        assert!(job.abort().block_on().unwrap().took_effect());
        assert_eq!(job.wait_blocking(), JobStatus::Cancelled);
        clock.advance(SECOND);
        stop(&app);
        assert_eq!(job.status(), JobStatus::Cancelled);
        assert!(runs.get() <= 1);
        "aborted"
    });
}

#[test]
fn pause_and_start_nothing_starts_after_the_pause_and_the_resume_starts_it() {
    explore(3, &[0, 1], || {
        let mut sim = Simulation::new();
        let runs = Runs::default();
        let task = runs.count_in(sim.app());
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        let paused = job.clone();
        let pauser = thread::spawn(move || paused.pause().block_on().unwrap());
        sim.advance(SECOND);
        pauser.join().unwrap();
        let ran = runs.get();
        sim.advance(SECOND);
        assert_eq!(runs.get(), ran, "it is paused, or has run");
        job.resume().block_on().unwrap();
        sim.run_until_stalled();
        assert_eq!(runs.get(), 1);
        ran
    });
}

#[test]
fn resume_of_a_task_and_a_new_job_the_new_job_runs_and_is_counted() {
    explore(2, &[()], || {
        let mut sim = Simulation::new();
        let runs = Runs::default();
        let task = runs.count_in(sim.app());
        task.pause().block_on().unwrap();
        let resumed = task.clone();
        let resumer = thread::spawn(move || resumed.resume().block_on().unwrap());
        let job = task.schedule(()).push().block_on().unwrap();
        sim.run_until_stalled();
        resumer.join().unwrap();
        sim.run_until_stalled();
        assert!(job.is_done());
        let mut all = Box::pin(sim.app().wait_all());
        assert!(
            futures_lite::future::block_on(futures_lite::future::poll_once(&mut all)).is_some()
        );
    });
}
