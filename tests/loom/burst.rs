//! Many jobs that are due at once: the runners that share them start each of them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use jobber::testing::Simulation;
use jobber::{Executor, Job, JobFuture, JobStatus, Task};
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, JoinHandle, ThreadId};

use crate::{SECOND, explore, poll_only_when_woken, stop};

/// The spawned futures, in order, from which any thread takes one to poll.
#[derive(Clone, Default)]
struct Spawned(Arc<(Mutex<Jobs>, Condvar)>);

#[derive(Default)]
struct Jobs {
    jobs: VecDeque<JobFuture>,
    has_ended: bool,
}

impl Spawned {
    fn end(&self) {
        self.0.0.lock().unwrap().has_ended = true;
        self.0.1.notify_all();
    }

    fn take(&self) -> Option<JobFuture> {
        self.0.0.lock().unwrap().jobs.pop_front()
    }

    /// Until the end.
    fn run(&self) {
        while let Some(job) = self.next() {
            poll_only_when_woken(job);
        }
    }

    fn next(&self) -> Option<JobFuture> {
        let mut jobs = self.0.0.lock().unwrap();
        loop {
            if let Some(job) = jobs.jobs.pop_front() {
                return Some(job);
            }
            if jobs.has_ended {
                return None;
            }
            jobs = self.0.1.wait(jobs).unwrap();
        }
    }
}

impl Executor for Spawned {
    fn spawn(&self, job: JobFuture) {
        self.0.0.lock().unwrap().jobs.push_back(job);
        self.0.1.notify_one();
    }
}

/// The threads that have run a job, one entry for each run.
type RanBy = Arc<Mutex<Vec<ThreadId>>>;

/// An app whose timer the model drives, and whose jobs run on a thread of their own and on
/// any other that takes one.
struct Burst {
    spawned: Spawned,
    sim: Simulation,
    task: Task<(), ()>,
    ran_by: RanBy,
    jobs: Vec<Job<()>>,
    worker: JoinHandle<()>,
}

impl Burst {
    /// Schedules jobs that are due in a second.
    fn of(jobs: usize) -> Self {
        let spawned = Spawned::default();
        let sim = Simulation::on(spawned.clone());
        let ran_by = RanBy::default();
        let noted = ran_by.clone();
        let task = sim.app().task("t", move || {
            noted.lock().unwrap().push(thread::current().id());
            async {}
        });
        let task = task.register().unwrap();
        let schedule = |_| task.schedule(()).delay(SECOND).block_on().unwrap();
        let jobs = (0..jobs).map(schedule).collect();
        let worker = spawned.clone();
        let worker = thread::spawn(move || worker.run());
        Self {
            spawned,
            sim,
            task,
            ran_by,
            jobs,
            worker,
        }
    }

    /// Waits for all jobs and returns how they ended and which threads have run some.
    fn end(self) -> (Vec<JobStatus>, Vec<ThreadId>) {
        let statuses = self.jobs.iter().map(|job| job.wait_blocking()).collect();
        self.spawned.end();
        self.worker.join().unwrap();
        stop(self.sim.app());
        let ran_by = self.ran_by.lock().unwrap().clone();
        (statuses, ran_by)
    }

    /// The same for jobs that all run exactly once. Returns how many threads have run some.
    fn end_well(self) -> usize {
        let (statuses, ran_by) = self.end();
        assert!(statuses.iter().all(|status| *status == JobStatus::Success));
        assert_eq!(ran_by.len(), statuses.len());
        ran_by.iter().collect::<HashSet<_>>().len()
    }
}

#[test]
fn jobs_that_are_due_at_once_run_once_each_on_any_runner() {
    explore(2, &[1, 2], || {
        let mut burst = Burst::of(3);
        burst.sim.advance(SECOND);
        burst
            .spawned
            .take()
            .into_iter()
            .for_each(poll_only_when_woken);
        burst.end_well()
    });
}

#[test]
fn a_job_that_comes_due_while_the_runners_end_runs_once() {
    explore(2, &[1, 2], || {
        let mut burst = Burst::of(2);
        let late = burst.task.schedule(()).delay(2 * SECOND);
        burst.jobs.push(late.block_on().unwrap());
        burst.sim.advance(SECOND);
        burst.sim.advance(SECOND);
        burst
            .spawned
            .take()
            .into_iter()
            .for_each(poll_only_when_woken);
        burst.end_well()
    });
}

#[test]
fn jobs_of_a_dropped_runner_run_on_another_or_fail() {
    // How many ran, and how many failed.
    explore(2, &[(0, 2), (2, 0)], || {
        let mut burst = Burst::of(2);
        burst.sim.advance(SECOND);
        drop(burst.spawned.take());
        let (statuses, ran_by) = burst.end();
        let count = |of| statuses.iter().filter(|status| **status == of).count();
        let counts = (count(JobStatus::Success), count(JobStatus::Failed));
        assert_eq!(counts.0 + counts.1, 2);
        assert_eq!(ran_by.len(), counts.0);
        counts
    });
}
