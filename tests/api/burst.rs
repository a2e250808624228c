//! Many jobs that come due at once: they go another way than a few, and nobody is
//! to see that.

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

use crate::support::{Log, MINUTE, Result, SECOND, assert_ends};
use jobber::testing::{ManualClock, Simulation};
use jobber::{BoxError, Executor, Job, JobContext, JobFuture, JobStatus, Jobber, Task};
use smol::future;

/// More than are handed over one by one.
const MANY: usize = 6;

/// Hands the futures to the test, which polls them when and where it will.
struct ToTheTest(Mutex<Sender<JobFuture>>);

impl Executor for ToTheTest {
    fn spawn(&self, job: JobFuture) {
        let _ = self.0.lock().unwrap().send(job);
    }
}

fn app() -> Result<(Jobber, ManualClock, Receiver<JobFuture>)> {
    let (sender, futures) = mpsc::channel();
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .executor(ToTheTest(Mutex::new(sender)))
        .clock(clock.clone())
        .build()?;
    Ok((app, clock, futures))
}

/// Polls the next future that the app spawns to its end, on a thread of its own.
fn run_next(futures: &Receiver<JobFuture>) -> Result {
    let future = futures.recv_timeout(MINUTE)?;
    thread::spawn(move || smol::block_on(future));
    Ok(())
}

/// Each was polled once, and then went on by a way that takes it out of the table.
#[test]
fn a_job_that_is_replaced_in_its_first_poll_leaves_when_it_is_done() -> Result {
    let mut sim = Simulation::new();
    let cell: Arc<OnceLock<Task<usize, ()>>> = Arc::default();
    let runs = Arc::new(AtomicUsize::new(0));
    let (inner, counted) = (cell.clone(), runs.clone());
    let registered = sim
        .app()
        .task("t", move |cx: JobContext, n: usize| {
            let (inner, counted) = (inner.clone(), counted.clone());
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
                if n == 0 {
                    let again = inner.get().unwrap().schedule(MANY).id(cx.id()).replace();
                    let _ = again.delay(SECOND).wait_blocking().unwrap();
                }
            }
        })
        .register()?;
    let task = cell.get_or_init(|| registered);
    for n in 0..MANY {
        let _ = task.schedule(n).delay(SECOND).wait_blocking()?;
    }
    sim.advance(MINUTE);
    assert_eq!(runs.load(Ordering::SeqCst), MANY + 1);
    assert!(sim.app().jobs().is_empty());
    let idle = smol::block_on(future::poll_once(sim.app().wait_all()));
    assert!(idle.is_some(), "all are done, and `wait_all` waits");
    Ok(())
}

#[test]
fn a_value_that_nobody_holds_is_dropped_before_the_next_job_is_polled() -> Result {
    struct Permit(Sender<()>);
    impl Drop for Permit {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (app, clock, futures) = app()?;
    let (sender, permits) = mpsc::channel();
    let permits = Arc::new(Mutex::new(permits));
    let gives = app
        .task("gives", move || {
            let permit = Permit(sender.clone());
            async move { Arc::new(permit) }
        })
        .register()?;
    let takes = app
        .task("takes", move || {
            let permits = permits.clone();
            async move { permits.lock().unwrap().recv_timeout(MINUTE).is_ok() }
        })
        .register()?;
    let quick = app.task("quick", async || {}).register()?;
    app.start().wait_blocking()?;

    let _ = gives.schedule(()).delay(SECOND).wait_blocking()?;
    for _ in 0..MANY {
        let _ = quick.schedule(()).delay(SECOND).wait_blocking()?;
    }
    let job = takes.schedule(()).delay(SECOND).wait_blocking()?;
    clock.advance(SECOND);
    run_next(&futures)?;
    job.wait_blocking();
    assert!(*job.result()?, "the value was kept");
    Ok(())
}

#[test]
fn wait_all_does_not_wait_for_the_poll_of_a_job_that_was_aborted() -> Result {
    let (app, clock, futures) = app()?;
    let quick = app.task("quick", async || {}).register()?;
    let (running, runs) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let stuck = app
        .task("stuck", move || {
            let (running, released) = (running.clone(), released.clone());
            async move {
                let _ = running.send(());
                let _ = released.lock().unwrap().recv();
            }
        })
        .register()?;
    app.start().wait_blocking()?;

    for _ in 0..MANY {
        let _ = quick.schedule(()).delay(SECOND).wait_blocking()?;
    }
    let job = stuck.schedule(()).delay(SECOND).wait_blocking()?;
    clock.advance(SECOND);
    run_next(&futures)?;
    runs.recv_timeout(MINUTE)?;
    assert!(job.abort().wait_blocking()?);
    assert!(app.jobs().is_empty());
    let (sender, idle) = mpsc::channel();
    let waiting = app.clone();
    thread::spawn(move || {
        waiting.wait_all().wait_blocking();
        let _ = sender.send(());
    });
    idle.recv_timeout(MINUTE)?;
    drop(release);
    Ok(())
}

#[test]
fn many_blocking_jobs_need_no_thread_of_the_async_executor() -> Result {
    // It polls nothing.
    let (app, clock, _futures) = app()?;
    let task = app.blocking_task("blocking", || {}).register()?;
    app.start().wait_blocking()?;
    let jobs: Vec<_> = (0..MANY)
        .map(|_| task.schedule(()).delay(SECOND).wait_blocking())
        .collect::<Result<_, _>>()?;
    clock.advance(SECOND);
    for job in &jobs {
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    }
    Ok(())
}

/// A task of which job 0 blocks its thread until as many others have run, and tells that
/// it has begun.
fn first_blocks(app: &Jobber, others: usize) -> Result<(Task<usize, ()>, Receiver<()>)> {
    let (done, are_done) = mpsc::channel();
    let (begun, has_begun) = mpsc::channel();
    let ends = Arc::new((Mutex::new(done), Mutex::new(are_done), Mutex::new(begun)));
    let task = app
        .task("t", move |n: usize| {
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
        })
        .register()?;
    Ok((task, has_begun))
}

/// A job that blocks its thread until all others of its time have run holds back
/// nobody, not those either that were taken out of the queue together with it.
#[test]
fn what_was_taken_together_with_a_job_that_blocks_is_run_by_others() -> Result {
    for count in [7, 20, 100] {
        let (app, clock, futures) = app()?;
        let (task, _begun) = first_blocks(&app, count - 1)?;
        app.start().wait_blocking()?;
        let mut jobs = Vec::new();
        for n in 0..count {
            jobs.push(task.schedule(n).delay(SECOND).wait_blocking()?);
        }
        clock.advance(SECOND);
        while !jobs[0].status().is_final() {
            // Some end without having found anything to do.
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

/// Keeps what is spawned from one of its threads for that thread alone, which runs it
/// when its poll has returned: so does tokio with the task that was spawned last.
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
    /// Polls one future, if there is one, and puts it back if it has to be polled
    /// again, as one that woke itself.
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

/// The other drainer was where no other thread could take it from.
#[test]
fn a_job_that_blocks_holds_back_nobody_where_the_last_task_stays_with_its_thread() -> Result {
    const COUNT: usize = 40;
    let executor = KeepsTheLast::default();
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .executor(executor.clone())
        .clock(clock.clone())
        .build()?;
    let (task, _begun) = first_blocks(&app, COUNT - 1)?;
    app.start().wait_blocking()?;
    let mut jobs = Vec::new();
    for n in 0..COUNT {
        jobs.push(task.schedule(n).delay(SECOND).wait_blocking()?);
    }
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

/// The functions of other tasks were kept, by jobs that had been taken out of the queue
/// together with one that blocks.
#[test]
fn the_stop_lets_go_of_what_was_taken_and_not_begun() -> Result {
    let (app, clock, futures) = app()?;
    let (open, gate) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let ends = Arc::new((Mutex::new(begun), Mutex::new(gate)));
    let blocks = app
        .task("blocks", move || {
            let ends = ends.clone();
            async move {
                let _ = ends.0.lock().unwrap().send(());
                let _ = ends.1.lock().unwrap().recv_timeout(MINUTE);
            }
        })
        .register()?;
    let held = Arc::new(());
    let seen = Arc::downgrade(&held);
    let other = app
        .task("other", move || {
            let held = held.clone();
            async move { drop(held) }
        })
        .register()?;
    app.start().wait_blocking()?;
    let first = blocks.schedule(()).delay(SECOND).wait_blocking()?;
    for _ in 0..19 {
        let _ = other.schedule(()).delay(SECOND).wait_blocking()?;
    }
    clock.advance(SECOND);
    // Gives way to a second one, and is polled once more.
    let drainer = futures.recv_timeout(MINUTE)?;
    let polling = thread::spawn(move || smol::block_on(drainer));
    has_begun.recv_timeout(MINUTE)?;
    let left = app.shutdown(Duration::ZERO).wait_blocking();
    assert_eq!(left, [(first.id().clone(), JobStatus::Running)]);
    drop((blocks, other, app));
    assert_eq!(seen.strong_count(), 0);
    drop(open);
    polling.join().unwrap();
    Ok(())
}

/// One that came alone overtook nobody, and was overtaken by those after it.
#[test]
fn one_that_comes_due_between_two_rushes_starts_between_them() -> Result {
    let (app, clock, futures) = app()?;
    let (started, starts) = mpsc::channel();
    let task = app
        .task("t", move |n: usize| {
            let _ = started.send(n);
            async {}
        })
        .register()?;
    let probe = app.blocking_task("probe", || ()).register()?;
    app.start().wait_blocking()?;
    let last = 2 * MANY + 1;
    for n in 0..last {
        let second = 1 + u32::from(n >= MANY) + u32::from(n > MANY);
        let _ = task.schedule(n).delay(SECOND * second).wait_blocking()?;
    }
    for second in 1..=3 {
        let seen = probe.schedule(()).delay(SECOND).wait_blocking()?;
        clock.advance(SECOND);
        // The timer has seen to all of that time.
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

/// An executor that drops the drainer that waits, while another is in a job that
/// blocks: nobody was there for the rest.
#[test]
fn a_drainer_that_is_dropped_is_replaced() -> Result {
    let (app, clock, futures) = app()?;
    let (task, has_begun) = first_blocks(&app, 19)?;
    app.start().wait_blocking()?;
    let mut jobs = Vec::new();
    for n in 0..20 {
        jobs.push(task.schedule(n).delay(SECOND).wait_blocking()?);
    }
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

/// Runs so many jobs in a simulation; gives the order in which they started.
fn order(count: u32, schedule: impl Fn(&Task<u32, ()>, u32) -> Result) -> Result<Vec<u32>> {
    let mut sim = Simulation::new();
    let started = Arc::new(Mutex::new(Vec::new()));
    let seen = started.clone();
    let task = sim
        .app()
        .task("t", move |n: u32| {
            seen.lock().unwrap().push(n);
            async {}
        })
        .register()?;
    (0..count).try_for_each(|n| schedule(&task, n))?;
    sim.run_until_stalled();
    Ok(std::mem::take(&mut started.lock().unwrap()))
}

#[test]
fn ten_thousand_of_one_time_start_first_in_first_out() -> Result {
    let started = order(10_000, |task, n| {
        let _ = task.schedule(n).delay(Duration::ZERO).wait_blocking()?;
        Ok(())
    })?;
    assert_eq!(started.len(), 10_000);
    assert!(started.is_sorted());
    Ok(())
}

#[test]
fn of_ten_thousand_overdue_the_earliest_start_first() -> Result {
    let base = time::macros::datetime!(1999-01-01 0:00 UTC);
    // Scheduled from the last to the first.
    let started = order(10_000, |task, n| {
        let at = base + SECOND * (10_000 - n);
        let _ = task.schedule(n).at(at).wait_blocking()?;
        Ok(())
    })?;
    assert_eq!(started.len(), 10_000);
    assert!(started.iter().rev().is_sorted());
    Ok(())
}

#[test]
fn a_burst_that_has_passed_leaves_ids_that_start_again_from_the_first_slots() -> Result {
    let mut sim = Simulation::new();
    let task = sim.app().task("t", async |_: u32| {}).register()?;
    let _stays = task.schedule(0).delay(MINUTE * 60).wait_blocking()?;
    for n in 0..20_000 {
        let _ = task.schedule(n).delay(SECOND).wait_blocking()?;
    }
    sim.advance(SECOND);
    assert_eq!(sim.app().jobs().len(), 1);
    let mut slots: Vec<_> = Vec::new();
    for _ in 0..100 {
        let next = task.schedule(0).delay(MINUTE).wait_blocking()?;
        slots.push(u32::from_str_radix(&next.id().to_string()[28..], 16)?);
    }
    assert!(slots.iter().all(|slot| *slot < 2_048), "{slots:?}");
    Ok(())
}

/// The jobs fail, each by a spawn of its own, and it is not asked for ever.
#[test]
fn an_executor_that_drops_all_from_some_time_on_is_not_given_drainers_for_ever() -> Result {
    let spawns = Arc::new(AtomicUsize::new(0));
    let (count, runs) = (spawns.clone(), Arc::new(AtomicBool::new(true)));
    let still_runs = runs.clone();
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .executor(move |job| {
            if still_runs.load(Ordering::SeqCst) {
                return smol::block_on(job);
            }
            let count = count.fetch_add(1, Ordering::SeqCst);
            assert!(count < 1_000, "this goes on for ever");
            drop(job);
        })
        .clock(clock.clone())
        .build()?;
    let task = app.task("t", async || {}).register()?;
    app.start().wait_blocking()?;
    // Once more is as good as the first time.
    for status in [JobStatus::Success, JobStatus::Failed, JobStatus::Failed] {
        runs.store(status == JobStatus::Success, Ordering::SeqCst);
        let mut jobs = Vec::new();
        for _ in 0..MANY {
            jobs.push(task.schedule(()).delay(SECOND).wait_blocking()?);
        }
        clock.advance(SECOND);
        for job in &jobs {
            assert_eq!(job.wait_timeout(MINUTE).wait_blocking(), status);
        }
    }
    let spawned = spawns.load(Ordering::SeqCst);
    assert!(spawned <= 2 * (MANY + 10), "{spawned}");
    Ok(())
}

#[test]
fn jobs_of_a_rush_time_out_at_their_limit_and_not_before() -> Result {
    let mut sim = Simulation::new();
    let hangs = sim.app().task("t", std::future::pending::<()>);
    let hangs = hangs.timeout(MINUTE).register()?;
    let mut jobs = Vec::new();
    for _ in 0..MANY {
        jobs.push(hangs.schedule(()).delay(SECOND).wait_blocking()?);
    }
    let all_are = |status| jobs.iter().all(|job| job.status() == status);
    sim.advance(SECOND + MINUTE - Duration::from_nanos(1));
    assert!(all_are(JobStatus::Running));
    sim.advance(Duration::from_nanos(1));
    assert!(all_are(JobStatus::Timeout));
    Ok(())
}

/// They had been taken out of the queue together with the one that changed them.
#[test]
fn what_changes_before_its_first_poll_starts_as_it_is_then() -> Result {
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
                    0 => again.delay(MINUTE).wait_blocking().unwrap(),
                    1 => again.max_runs(1).every(MINUTE).wait_blocking().unwrap(),
                    _ => {
                        let job = task.job(id.to_string()).unwrap();
                        assert!(job.cancel().wait_blocking().unwrap());
                        job
                    }
                };
            }
        }
    });
    let task = cell.get_or_init(|| registered.register().unwrap());
    for n in 0..COUNT {
        let _ = task
            .schedule(n)
            .id(n.to_string())
            .delay(SECOND)
            .wait_blocking()?;
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

/// Another is asked for when the first has been polled, and there is more to do.
#[test]
fn a_rush_asks_its_executor_for_one_drainer() -> Result {
    let (app, clock, futures) = app()?;
    let task = app.task("t", async || {}).register()?;
    let probe = app.blocking_task("probe", || ()).register()?;
    app.start().wait_blocking()?;
    for second in 1..=2 {
        for _ in 0..100 {
            let _ = task.schedule(()).delay(SECOND * second).wait_blocking()?;
        }
    }
    let mut drainers = Vec::new();
    for _ in 0..2 {
        let seen = probe.schedule(()).delay(SECOND).wait_blocking()?;
        clock.advance(SECOND);
        // The timer has seen to all of that time.
        assert_eq!(seen.wait_blocking(), JobStatus::Success);
        drainers.extend(futures.try_iter());
        assert_eq!(drainers.len(), 1);
    }
    Ok(())
}

/// Regression: a burst had as many runners as cores; when each of them blocked on a job
/// behind it, all waited for ever, although the executor had threads to spare.
#[test]
fn jobs_that_block_on_another_job_of_their_burst_leave_a_runner_for_it() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(|job: JobFuture| {
            thread::spawn(move || smol::block_on(job));
        })
        .build()?;
    let last = Arc::new(OnceLock::<Job<()>>::new());
    let blocks = app
        .task("blocks", {
            let last = last.clone();
            move || {
                let last = last.clone();
                async move { last.get().map(|job| job.wait_blocking()) }
            }
        })
        .register()?;
    let quick = app.task("quick", || async {}).register()?;
    app.start().wait_blocking()?;
    let mut jobs = Vec::new();
    for _ in 0..50 {
        jobs.push(blocks.schedule(()).delay(SECOND).wait_blocking()?);
    }
    let quick = quick.schedule(()).delay(SECOND).wait_blocking()?;
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
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(|job: JobFuture| smol::block_on(job))
        .build()?;
    let count = Arc::new(AtomicUsize::new(0));
    let task = app
        .task("t", {
            let count = count.clone();
            move || {
                count.fetch_add(1, Ordering::SeqCst);
                async {}
            }
        })
        .register()?;
    app.start().wait_blocking()?;
    for _ in 0..10_000 {
        let _ = task.schedule(()).delay(SECOND).wait_blocking()?;
    }
    clock.advance(SECOND);
    app.wait_all().wait_blocking();
    assert_eq!(count.load(Ordering::SeqCst), 10_000);
    Ok(())
}

/// Regression: a runner that was run at once took a job, and no runner was spawned after
/// the eighth: the other jobs waited for the first eight.
#[test]
fn an_executor_that_starts_a_job_within_spawn_runs_any_number_that_block() -> Result {
    let clock = ManualClock::new();
    let app = Jobber::builder()
        .clock(clock.clone())
        .executor(|job: JobFuture| {
            let (sender, started) = std::sync::mpsc::channel();
            thread::spawn(move || {
                let mut job = pin!(job);
                let _ = sender.send(());
                smol::block_on(&mut job)
            });
            let _ = started.recv();
            // So that the drainer has taken its job by now, most of the time.
            thread::yield_now();
        })
        .build()?;
    let barrier = Arc::new(std::sync::Barrier::new(40));
    let task = app
        .task("t", {
            let barrier = barrier.clone();
            move || {
                let barrier = barrier.clone();
                async move {
                    barrier.wait();
                }
            }
        })
        .register()?;
    app.start().wait_blocking()?;
    let mut jobs = Vec::new();
    for _ in 0..40 {
        jobs.push(task.schedule(()).delay(SECOND).wait_blocking()?);
    }
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
        let task = sim
            .app()
            .task("t", {
                let log = log.clone();
                move |n: u32| {
                    log.add(n);
                    async {}
                }
            })
            .register()?;
        for n in 0..count {
            let _ = task.schedule(n).delay(SECOND).wait_blocking()?;
        }
        sim.advance(SECOND);
        assert_eq!(log.entries(), (0..count).collect::<Vec<_>>());
    }
    Ok(())
}
