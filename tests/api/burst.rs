//! Many jobs that are due at once: a few runners start them, where a single job is
//! spawned by itself. The difference must not be visible.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use crate::support::{
    Log, MINUTE, Result, SECOND, assert_ends, delay_all, hand_polled_app, manual_app_with, poll,
    slot,
};
use jobber::testing::Simulation;
use jobber::{BoxError, Executor, Job, JobContext, JobFuture, JobStatus, Jobber, Task};

/// More jobs than are spawned one by one.
const MANY: usize = 6;

/// Runs the next future that the app spawns, on a thread of its own.
fn run_next(futures: &Receiver<JobFuture>) -> Result {
    let future = futures.recv_timeout(MINUTE)?;
    thread::spawn(move || smol::block_on(future));
    Ok(())
}

/// Such a job has been polled within the burst and is removed outside of it.
#[test]
fn a_job_that_is_replaced_in_its_first_poll_is_removed_when_it_is_done() -> Result {
    let mut sim = Simulation::new();
    let cell: Arc<OnceLock<Task<usize, ()>>> = Arc::default();
    let runs = Arc::new(AtomicUsize::new(0));
    let (inner, counted) = (cell.clone(), runs.clone());
    let registered = sim.app().task("t", move |cx: JobContext, n: usize| {
        let (inner, counted) = (inner.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            if n == 0 {
                let again = inner.get().unwrap().schedule(MANY).id(cx.id()).replace();
                let _ = again.delay(SECOND).block_on().unwrap();
            }
        }
    });
    let registered = registered.register()?;
    let task = cell.get_or_init(|| registered);
    delay_all(task, SECOND, 0..MANY)?;
    sim.advance(MINUTE);
    assert_eq!(runs.load(Ordering::SeqCst), MANY + 1);
    assert!(sim.app().jobs().is_empty());
    let idle = poll(sim.app().wait_all());
    assert!(idle.is_some(), "all jobs are done");
    Ok(())
}

#[test]
fn a_value_without_a_handle_is_dropped_before_the_next_job_is_polled() -> Result {
    struct Permit(Sender<()>);
    impl Drop for Permit {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (app, clock, futures) = hand_polled_app()?;
    let (sender, permits) = mpsc::channel();
    let permits = Arc::new(Mutex::new(permits));
    let gives = app.task("gives", move || {
        let permit = Permit(sender.clone());
        async move { Arc::new(permit) }
    });
    let gives = gives.register()?;
    let takes = app.task("takes", move || {
        let permits = permits.clone();
        async move { permits.lock().unwrap().recv_timeout(MINUTE).is_ok() }
    });
    let takes = takes.register()?;
    let quick = app.task("quick", async || {}).register()?;

    let _ = gives.schedule(()).delay(SECOND).block_on()?;
    delay_all(&quick, SECOND, [(); MANY])?;
    let job = takes.schedule(()).delay(SECOND).block_on()?;
    clock.advance(SECOND);
    run_next(&futures)?;
    job.wait_blocking();
    assert!(*job.result()?, "the value was kept");
    Ok(())
}

#[test]
fn wait_all_does_not_wait_for_the_poll_of_a_job_that_was_aborted() -> Result {
    let (app, clock, futures) = hand_polled_app()?;
    let quick = app.task("quick", async || {}).register()?;
    let (running, runs) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let stuck = app.task("stuck", move || {
        let (running, released) = (running.clone(), released.clone());
        async move {
            let _ = running.send(());
            let _ = released.lock().unwrap().recv();
        }
    });
    let stuck = stuck.register()?;

    delay_all(&quick, SECOND, [(); MANY])?;
    let job = stuck.schedule(()).delay(SECOND).block_on()?;
    clock.advance(SECOND);
    run_next(&futures)?;
    runs.recv_timeout(MINUTE)?;
    assert!(job.abort().block_on()?.took_effect());
    assert!(app.jobs().is_empty());
    let (sender, idle) = mpsc::channel();
    let waiting = app.clone();
    thread::spawn(move || {
        waiting.wait_all().block_on();
        let _ = sender.send(());
    });
    idle.recv_timeout(MINUTE)?;
    drop(release);
    Ok(())
}

#[test]
fn many_blocking_jobs_need_no_thread_of_the_async_executor() -> Result {
    // The executor polls nothing.
    let (app, clock, _futures) = hand_polled_app()?;
    let task = app.blocking_task("blocking", || {}).register()?;
    let jobs: Vec<_> = (0..MANY)
        .map(|_| task.schedule(()).delay(SECOND).block_on())
        .collect::<Result<_, _>>()?;
    clock.advance(SECOND);
    for job in &jobs {
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

/// A task whose job 0 sends that it has begun and blocks its thread until `others` more
/// jobs have run.
fn task_whose_first_job_blocks(
    app: &Jobber,
    others: usize,
) -> Result<(Task<usize, ()>, Receiver<()>)> {
    let (done, are_done) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let ends = Arc::new((Mutex::new(done), Mutex::new(are_done), Mutex::new(begun)));
    let task = app.task("t", move |n: usize| {
        let ends = ends.clone();
        async move {
            if n > 0 {
                return ends.0.lock().unwrap().send(()).map_err(BoxError::from);
            }
            ends.2.lock().unwrap().send(())?;
            let are_done = ends.1.lock().unwrap();
            (0..others).try_for_each(|_| are_done.recv_timeout(MINUTE))?;
            Ok(())
        }
    });
    let task = task.register()?;
    Ok((task, has_begun))
}

/// A runner takes several jobs from the queue at once.
#[test]
fn jobs_taken_from_the_queue_with_a_job_that_blocks_are_run_by_another_runner() -> Result {
    for count in [7, 20, 100] {
        let (app, clock, futures) = hand_polled_app()?;
        let (task, _begun) = task_whose_first_job_blocks(&app, count - 1)?;
        let jobs = delay_all(&task, SECOND, 0..count)?;
        clock.advance(SECOND);
        while !jobs[0].status().is_final() {
            // Some runners find nothing to do.
            match futures.recv_timeout(Duration::from_millis(1)) {
                Ok(future) => drop(thread::spawn(move || smol::block_on(future))),
                Err(_) => thread::yield_now(),
            }
        }
        for job in &jobs {
            assert_eq!(job.wait_blocking(), JobStatus::Success);
        }
    }
    Ok(())
}

/// Keeps the task that one of its threads spawned last for that thread, which polls it
/// when its current poll has returned. tokio does that.
#[derive(Clone, Default)]
struct KeepsTheLast(Arc<Mutex<VecDeque<JobFuture>>>);

thread_local! {
    static LAST: RefCell<Option<Option<JobFuture>>> = const { RefCell::new(None) };
}

impl Executor for KeepsTheLast {
    fn spawn(&self, job: JobFuture) {
        let others = LAST.with_borrow_mut(|last| match last {
            Some(last) => last.replace(job),
            None => Some(job),
        });
        self.0.lock().unwrap().extend(others);
    }
}

impl KeepsTheLast {
    /// Polls one future, if there is one. A pending future is polled again, as if it had
    /// woken itself.
    fn run_one(&self) {
        let last = LAST.with_borrow_mut(|last| last.get_or_insert_default().take());
        let next = last.or_else(|| self.0.lock().unwrap().pop_front());
        let Some(mut future) = next else {
            return thread::yield_now();
        };
        let mut cx = Context::from_waker(Waker::noop());
        if Pin::new(&mut future).poll(&mut cx).is_pending() {
            self.0.lock().unwrap().push_back(future);
        }
    }
}

/// The second runner is in the slot, where no other thread can take it.
#[test]
fn a_job_that_blocks_delays_no_other_on_an_executor_with_a_slot_for_the_last_task() -> Result {
    const COUNT: usize = 40;
    let executor = KeepsTheLast::default();
    let (app, clock) = manual_app_with(|app| app.executor(executor.clone()))?;
    let (task, _begun) = task_whose_first_job_blocks(&app, COUNT - 1)?;
    let jobs = delay_all(&task, SECOND, 0..COUNT)?;
    clock.advance(SECOND);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !jobs.iter().all(|job| job.status().is_final()) {
                    executor.run_one();
                }
            });
        }
    });
    for job in &jobs {
        assert_eq!(job.status(), JobStatus::Success);
    }
    Ok(())
}

#[test]
fn shutdown_drops_the_functions_of_jobs_that_were_taken_from_the_queue_and_not_begun() -> Result {
    let (app, clock, futures) = hand_polled_app()?;
    let (open, gate) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let ends = Arc::new((Mutex::new(begun), Mutex::new(gate)));
    let blocks = app.task("blocks", move || {
        let ends = ends.clone();
        async move {
            let _ = ends.0.lock().unwrap().send(());
            let _ = ends.1.lock().unwrap().recv_timeout(MINUTE);
        }
    });
    let blocks = blocks.register()?;
    let held = Arc::new(());
    let seen = Arc::downgrade(&held);
    let other = app.task("other", move || {
        let held = held.clone();
        async move { drop(held) }
    });
    let other = other.register()?;
    let first = blocks.schedule(()).delay(SECOND).block_on()?;
    delay_all(&other, SECOND, [(); 19])?;
    clock.advance(SECOND);
    // This runner yields to a second one and is polled again.
    let runner = futures.recv_timeout(MINUTE)?;
    let polling = thread::spawn(move || smol::block_on(runner));
    has_begun.recv_timeout(MINUTE)?;
    let report = app.shutdown(Duration::ZERO).block_on();
    assert_eq!(report.left, [first.id().clone()]);
    drop((blocks, other, app));
    assert_eq!(seen.strong_count(), 0);
    drop(open);
    polling.join().unwrap();
    Ok(())
}

#[test]
fn a_job_that_is_due_between_two_bursts_starts_between_them() -> Result {
    let (app, clock, futures) = hand_polled_app()?;
    let (started, starts) = mpsc::channel();
    let task = app.task("t", move |n: usize| {
        let _ = started.send(n);
        async {}
    });
    let task = task.register()?;
    let probe = app.blocking_task("probe", || ()).register()?;
    let last = 2 * MANY + 1;
    for n in 0..last {
        let second = 1 + u32::from(n >= MANY) + u32::from(n > MANY);
        let _ = task.schedule(n).delay(SECOND * second).block_on()?;
    }
    for second in 1..=3 {
        let seen = probe.schedule(()).delay(SECOND).block_on()?;
        clock.advance(SECOND);
        // The timer has handled everything that was due.
        assert_eq!(seen.wait_blocking(), JobStatus::Success);
        if second == 1 {
            smol::block_on(futures.recv_timeout(MINUTE)?);
        }
    }
    while let Ok(future) = futures.try_recv() {
        smol::block_on(future);
    }
    assert!(starts.try_iter().eq(0..last));
    Ok(())
}

/// The executor drops the runner that waits, while the other is in a job that blocks.
#[test]
fn a_runner_that_the_executor_drops_is_replaced() -> Result {
    let (app, clock, futures) = hand_polled_app()?;
    let (task, has_begun) = task_whose_first_job_blocks(&app, 19)?;
    let jobs = delay_all(&task, SECOND, 0..20)?;
    clock.advance(SECOND);
    run_next(&futures)?;
    let waiting = futures.recv_timeout(MINUTE)?;
    has_begun.recv_timeout(MINUTE)?;
    drop(waiting);
    run_next(&futures)?;
    for job in &jobs {
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

/// Runs `count` jobs in a simulation and returns the order in which they started.
fn start_order(count: u32, schedule: impl Fn(&Task<u32, ()>, u32) -> Result) -> Result<Vec<u32>> {
    let mut sim = Simulation::new();
    let started = Arc::new(Mutex::new(Vec::new()));
    let seen = started.clone();
    let task = sim.app().task("t", move |n: u32| {
        seen.lock().unwrap().push(n);
        async {}
    });
    let task = task.register()?;
    (0..count).try_for_each(|n| schedule(&task, n))?;
    sim.run_until_stalled();
    Ok(std::mem::take(&mut started.lock().unwrap()))
}

#[test]
fn ten_thousand_jobs_of_one_due_time_start_in_the_order_of_scheduling() -> Result {
    let started = start_order(10_000, |task, n| {
        let _ = task.schedule(n).delay(Duration::ZERO).block_on()?;
        Ok(())
    })?;
    assert_eq!(started.len(), 10_000);
    assert!(started.is_sorted());
    Ok(())
}

#[test]
fn ten_thousand_overdue_jobs_start_in_the_order_of_their_due_times() -> Result {
    let base = time::macros::datetime!(1999-01-01 0:00 UTC);
    // Scheduled from the last to the first.
    let started = start_order(10_000, |task, n| {
        let at = base + SECOND * (10_000 - n);
        let _ = task.schedule(n).at(at).block_on()?;
        Ok(())
    })?;
    assert_eq!(started.len(), 10_000);
    assert!(started.iter().rev().is_sorted());
    Ok(())
}

#[test]
fn slots_are_reused_from_the_first_after_a_burst() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: u32| {}).register()?;
    let _stays = task.schedule(0).delay(MINUTE * 60).block_on()?;
    delay_all(&task, SECOND, 0..20_000)?;
    sim.advance(SECOND);
    assert_eq!(sim.app().jobs().len(), 1);
    let mut slots: Vec<_> = Vec::new();
    for _ in 0..100 {
        let next = task.schedule(0).delay(MINUTE).block_on()?;
        slots.push(slot(next.id()));
    }
    assert!(slots.iter().all(|slot| *slot < 2_048), "{slots:?}");
    Ok(())
}

/// The jobs fail, each with a spawn of its own.
#[test]
fn an_executor_that_begins_to_drop_every_job_is_not_asked_for_runners_for_ever() -> Result {
    let spawns = Arc::new(AtomicUsize::new(0));
    let (count, runs) = (spawns.clone(), Arc::new(AtomicBool::new(true)));
    let still_runs = runs.clone();
    let (app, clock) = manual_app_with(|app| {
        app.executor(move |job| {
            if still_runs.load(Ordering::SeqCst) {
                return smol::block_on(job);
            }
            let count = count.fetch_add(1, Ordering::SeqCst);
            assert!(count < 1_000, "this goes on for ever");
            drop(job);
        })
    })?;
    let task = app.task("t", async || {}).register()?;
    // The second failed burst ends as the first.
    for status in [JobStatus::Success, JobStatus::Failed, JobStatus::Failed] {
        runs.store(status == JobStatus::Success, Ordering::SeqCst);
        let jobs = delay_all(&task, SECOND, [(); MANY])?;
        clock.advance(SECOND);
        for job in &jobs {
            assert_eq!(job.wait_timeout(MINUTE).block_on(), status);
        }
    }
    let spawned = spawns.load(Ordering::SeqCst);
    assert!(spawned <= 2 * (MANY + 10), "{spawned}");
    Ok(())
}

#[test]
fn jobs_of_a_burst_time_out_at_their_limit_and_not_before() -> Result {
    let mut sim = Simulation::new();
    let hangs = sim.app().task("t", std::future::pending::<()>);
    let hangs = hangs.timeout(MINUTE).register()?;
    let jobs = delay_all(&hangs, SECOND, [(); MANY])?;
    let all_are = |status| jobs.iter().all(|job| job.status() == status);
    sim.advance(SECOND + MINUTE - Duration::from_nanos(1));
    assert!(all_are(JobStatus::Running));
    sim.advance(Duration::from_nanos(1));
    assert!(all_are(JobStatus::Timeout));
    Ok(())
}

/// The changed jobs were taken from the queue together with the job that changes them.
#[test]
fn a_job_that_is_replaced_or_cancelled_before_its_first_poll_follows_that() -> Result {
    const COUNT: usize = 40;
    let mut sim = Simulation::new();
    let cell: Arc<OnceLock<Task<usize, ()>>> = Arc::default();
    let (clock, starts) = (sim.clock(), Arc::new(Mutex::new(Vec::new())));
    let (inner, log) = (cell.clone(), starts.clone());
    let registered = sim.app().task("t", move |n: usize| {
        log.lock().unwrap().push((clock.elapsed().as_secs(), n));
        let inner = inner.clone();
        async move {
            for id in (1..COUNT).filter(|_| n == 0) {
                let task = inner.get().unwrap();
                let again = task.schedule(100 + id).id(id.to_string()).replace();
                let _ = match id % 3 {
                    0 => again.delay(MINUTE).block_on().unwrap(),
                    1 => again.max_runs(1).every(MINUTE).block_on().unwrap(),
                    _ => {
                        let job = task.job(id.to_string()).unwrap();
                        assert!(job.cancel().block_on().unwrap().took_effect());
                        job
                    }
                };
            }
        }
    });
    let task = cell.get_or_init(|| registered.register().unwrap());
    for n in 0..COUNT {
        let schedule = task.schedule(n).id(n.to_string());
        let _ = schedule.delay(SECOND).block_on()?;
    }
    sim.advance(SECOND);
    assert_eq!(*starts.lock().unwrap(), [(1, 0)]);
    sim.advance(MINUTE);
    let expected = (1..COUNT).filter(|id| id % 3 != 2).map(|id| (61, 100 + id));
    let mut started = starts.lock().unwrap().split_off(1);
    started.sort();
    assert!(started.into_iter().eq(expected));
    assert!(sim.app().jobs().is_empty());
    Ok(())
}

/// It asks for another when the first has been polled and there is more to do.
#[test]
fn a_burst_asks_its_executor_for_one_runner_at_first() -> Result {
    let (app, clock, futures) = hand_polled_app()?;
    let task = app.task("t", async || {}).register()?;
    let probe = app.blocking_task("probe", || ()).register()?;
    for second in 1..=2 {
        for _ in 0..100 {
            let _ = task.schedule(()).delay(SECOND * second).block_on()?;
        }
    }
    let mut runners = Vec::new();
    for _ in 0..2 {
        let seen = probe.schedule(()).delay(SECOND).block_on()?;
        clock.advance(SECOND);
        // The timer has handled everything that was due.
        assert_eq!(seen.wait_blocking(), JobStatus::Success);
        runners.extend(futures.try_iter());
        assert_eq!(runners.len(), 1);
    }
    Ok(())
}

/// Regression: a burst had as many runners as cores; when each of them blocked on a job
/// behind it, all waited for ever, although the executor had threads to spare.
#[test]
fn jobs_that_block_on_another_job_of_their_burst_leave_a_runner_for_it() -> Result {
    let (app, clock) = manual_app_with(|app| {
        app.executor(|job: JobFuture| {
            thread::spawn(move || smol::block_on(job));
        })
    })?;
    let last = Arc::new(OnceLock::<Job<()>>::new());
    let blocks = app.task("blocks", {
        let last = last.clone();
        move || {
            let last = last.clone();
            async move { last.get().map(|job| job.wait_blocking()) }
        }
    });
    let blocks = blocks.register()?;
    let quick = app.task("quick", || async {}).register()?;
    let jobs = delay_all(&blocks, SECOND, [(); 50])?;
    let quick = quick.schedule(()).delay(SECOND).block_on()?;
    let _ = last.set(quick.clone());
    clock.advance(SECOND);
    assert_ends(&quick, JobStatus::Success);
    for job in jobs {
        assert_ends(&job, JobStatus::Success);
        assert_eq!(*job.result()?, Some(JobStatus::Success));
    }
    Ok(())
}

/// Regression: runners that spawn each other, on an executor that runs inside `spawn`,
/// recursed as deep as there were jobs.
#[test]
fn an_executor_that_runs_inside_spawn_starts_ten_thousand_jobs() -> Result {
    let (app, clock) = manual_app_with(|app| app.executor(|job: JobFuture| smol::block_on(job)))?;
    let count = Arc::new(AtomicUsize::new(0));
    let task = app.task("t", {
        let count = count.clone();
        move || {
            count.fetch_add(1, Ordering::SeqCst);
            async {}
        }
    });
    let task = task.register()?;
    delay_all(&task, SECOND, [(); 10_000])?;
    clock.advance(SECOND);
    app.wait_all().block_on();
    assert_eq!(count.load(Ordering::SeqCst), 10_000);
    Ok(())
}

/// Regression: a runner that was run at once took a job, and no runner was spawned after
/// the eighth: the other jobs waited for the first eight.
#[test]
fn an_executor_that_starts_a_job_within_spawn_runs_any_number_that_block() -> Result {
    let (app, clock) = manual_app_with(|app| {
        app.executor(|job: JobFuture| {
            let (sender, started) = std::sync::mpsc::channel();
            thread::spawn(move || {
                let mut job = pin!(job);
                let _ = sender.send(());
                smol::block_on(&mut job)
            });
            let _ = started.recv();
            // Most of the time, the runner has taken its job by now.
            thread::yield_now();
        })
    })?;
    let barrier = Arc::new(std::sync::Barrier::new(40));
    let task = app.task("t", {
        let barrier = barrier.clone();
        move || {
            let barrier = barrier.clone();
            async move {
                barrier.wait();
            }
        }
    });
    let task = task.register()?;
    let jobs = delay_all(&task, SECOND, [(); 40])?;
    clock.advance(SECOND);
    for job in jobs {
        assert_ends(&job, JobStatus::Success);
    }
    Ok(())
}

/// Regression: the last few of many jobs that were due at once overtook those before
/// them.
#[test]
fn the_last_jobs_of_a_burst_do_not_overtake_the_others() -> Result {
    for count in [256, 257, 258, 260, 261, 513] {
        let mut sim = Simulation::new();
        let log = Log::new();
        let task = sim.app().task("t", log.argument()).register()?;
        delay_all(&task, SECOND, 0..count)?;
        sim.advance(SECOND);
        assert_eq!(log.entries(), (0..count).collect::<Vec<_>>());
    }
    Ok(())
}
