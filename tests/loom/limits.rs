//! Jobs that wait for limits: no hand-over is lost, and no limit is passed.

use jobber::testing::Simulation;
use jobber::{JobStatus, Limit};
use loom::thread;

use crate::{SECOND, explore};

#[test]
fn cancel_in_line_and_hand_over_the_other_job_runs_in_any_order() {
    explore(
        3,
        &[JobStatus::Cancelled as u8, JobStatus::Success as u8],
        || {
            let mut sim = Simulation::new();
            let limit = Limit::new(1);
            let task = sim.app().task("t", || async {}).limit(&limit);
            let task = task.register().unwrap();
            limit.set(0);
            let first = task.schedule(()).push().block_on().unwrap();
            let second = task.schedule(()).push().block_on().unwrap();
            let cancelled = first.clone();
            let canceller = thread::spawn(move || {
                cancelled.cancel().block_on().unwrap();
            });
            limit.set(1);
            sim.run_until_stalled();
            canceller.join().unwrap();
            sim.run_until_stalled();
            assert_eq!(second.status(), JobStatus::Success);
            assert!(sim.app().jobs().is_empty());
            first.status() as u8
        },
    );
}

#[test]
fn two_limits_that_come_free_at_once_start_the_job_that_needs_both() {
    explore(2, &[true], || {
        let mut sim = Simulation::new();
        let (left, right) = (Limit::new(1), Limit::new(1));
        let both = sim.app().task("both", || async {});
        let both = both.limit(&left).limit(&right).register().unwrap();
        let one = sim.app().task("one", || async {}).limit(&left);
        let one = one.register().unwrap();
        left.set(0);
        right.set(0);
        let job = both.schedule(()).push().block_on().unwrap();
        let other = one.schedule(()).push().block_on().unwrap();
        let opened = thread::spawn(move || left.set(1));
        right.set(1);
        opened.join().unwrap();
        sim.run_until_stalled();
        job.is_done() && other.is_done()
    });
}

#[test]
fn the_end_of_an_attempt_and_a_job_that_becomes_due_pass_no_limit() {
    explore(2, &[2], || {
        let mut sim = Simulation::new();
        let limit = Limit::new(1);
        let task = sim.app().task("t", || async {}).limit(&limit);
        let task = task.register().unwrap();
        let first = task.schedule(()).delay(SECOND).block_on().unwrap();
        let pushed = task.clone();
        let pusher = thread::spawn(move || pushed.schedule(()).push().block_on().unwrap());
        sim.advance(SECOND);
        let second = pusher.join().unwrap();
        sim.run_until_stalled();
        usize::from(first.is_done()) + usize::from(second.is_done())
    });
}

#[test]
fn of_two_calls_that_set_a_limit_at_once_the_same_one_is_last_for_all() {
    explore(2, &[1, 2], || {
        let mut sim = Simulation::new();
        let limit = Limit::new(3);
        let task = sim.app().task("t", std::future::pending::<()>);
        let task = task.limit(&limit).register().unwrap();
        let other = limit.clone();
        let setter = thread::spawn(move || other.set(1));
        limit.set(2);
        setter.join().unwrap();
        for _ in 0..3 {
            task.schedule(()).push().block_on().unwrap();
        }
        sim.run_until_stalled();
        let jobs = task.jobs().into_iter();
        let running = jobs.filter(|job| job.status() == JobStatus::Running);
        let running = running.count();
        assert_eq!(running, limit.get());
        running
    });
}
