//! Many threads that use one app: each has a shard of the app's jobs, which must not be
//! visible.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crate::support::{HOUR, Result, manual_app_with, poll};
use jobber::testing::ManualClock;
use jobber::{JobId, JobStatus, Jobber, ScheduleError, Task, ThreadPool};

/// More threads than there are shards on any machine.
const THREADS: usize = 20;

/// Runs `f` on new threads, one after the other.
fn on_each_thread<T: Send>(f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let f = &f;
    (0..THREADS)
        .map(|n| thread::scope(|scope| scope.spawn(move || f(n)).join().unwrap()))
        .collect()
}

fn app_with_noop() -> Result<(Jobber, Task<(), ()>)> {
    let app = Jobber::builder().clock(ManualClock::new()).build()?;
    let task = app.task("noop", async || {}).register()?;
    Ok((app, task))
}

type App = (Jobber, ManualClock, Task<usize, ()>);

/// An app on one thread, and a task that sends which of its jobs have started.
fn app_on_one_thread() -> Result<(App, Receiver<usize>)> {
    let pool = ThreadPool::new(1)?;
    let (app, clock) = manual_app_with(|app| app.executor(pool))?;
    let (started, starts) = mpsc::channel();
    let task = app.task("t", move |n: usize| {
        let _ = started.send(n);
        async {}
    });
    let task = task.register()?;
    Ok(((app, clock, task), starts))
}

#[test]
fn ids_of_all_threads_sort_by_the_time_of_scheduling() -> Result {
    let (app, task) = app_with_noop()?;
    app.start().block_on()?;
    let schedule = |_| task.schedule(()).delay(HOUR).block_on();
    let ids = on_each_thread(|n| schedule(n).map(|job| job.id().clone()));
    let ids: Vec<JobId> = ids.into_iter().collect::<Result<_, _>>()?;
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    Ok(())
}

#[test]
fn every_thread_finds_and_cancels_the_jobs_of_every_thread() -> Result {
    let (app, task) = app_with_noop()?;
    app.start().block_on()?;
    let jobs = on_each_thread(|_| task.schedule(()).delay(HOUR).block_on());
    let jobs: Vec<_> = jobs.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(app.jobs().len(), THREADS);
    on_each_thread(|_| {
        for job in &jobs {
            let found = app.find_job(job.id()).map(|found| found.id().clone());
            assert_eq!(found.as_ref(), Some(job.id()));
        }
    });
    let cancelled = on_each_thread(|n| jobs[THREADS - 1 - n].cancel().block_on());
    assert!(cancelled.into_iter().all(|did| did.unwrap().took_effect()));
    assert!(app.jobs().is_empty());
    app.wait_all().block_on();
    Ok(())
}

#[test]
fn an_id_that_a_job_of_another_thread_has_is_a_duplicate() -> Result {
    let (app, task) = app_with_noop()?;
    app.start().block_on()?;
    let taken = on_each_thread(|n| {
        let schedule = || task.schedule(()).delay(HOUR).block_on();
        let named = task.schedule(()).id(format!("job {n}")).delay(HOUR);
        [named.block_on(), schedule()].map(|job| job.unwrap().id().clone())
    });
    on_each_thread(|_| {
        for id in taken.iter().flatten() {
            match task.schedule(()).id(id).delay(HOUR).block_on() {
                Err(ScheduleError::DuplicateJob { id: found, .. }) => assert_eq!(found, *id),
                other => panic!("{other:?}"),
            }
        }
    });
    Ok(())
}

#[test]
fn no_thread_schedules_before_the_start_or_after_the_stop() -> Result {
    let (app, task) = app_with_noop()?;
    let schedule = |_| task.schedule(()).delay(HOUR).block_on();
    for result in on_each_thread(schedule) {
        assert!(matches!(result, Err(ScheduleError::NotStarted)));
    }
    app.start().block_on()?;
    let jobs = on_each_thread(schedule);
    assert!(app.shutdown(HOUR).block_on().is_complete());
    for job in jobs {
        assert_eq!(job?.status(), JobStatus::Cancelled);
    }
    for result in on_each_thread(schedule) {
        assert!(matches!(result, Err(ScheduleError::Stopped)));
    }
    Ok(())
}

#[test]
fn jobs_of_all_threads_start_in_the_order_of_their_due_times() -> Result {
    let ((app, clock, task), starts) = app_on_one_thread()?;
    on_each_thread(|n| {
        for k in 0..50 {
            // The due times of the threads are interleaved.
            let n = k * THREADS + n;
            let due = Duration::from_millis(n as u64);
            task.schedule(n).delay(due).block_on().map(drop)?;
        }
        Ok::<_, ScheduleError>(())
    })
    .into_iter()
    .collect::<Result<Vec<_>, _>>()?;
    clock.advance(HOUR);
    app.wait_all().block_on();
    assert!(starts.try_iter().eq(0..50 * THREADS));
    Ok(())
}

/// Regression: each shard counted its jobs by itself, and jobs of one due time started in
/// the order of those counts.
#[test]
fn jobs_of_one_due_time_start_in_the_order_of_scheduling_on_any_thread() -> Result {
    let ((app, clock, task), starts) = app_on_one_thread()?;
    for result in on_each_thread(|n| {
        // The shards have had different numbers of jobs.
        for _ in n..THREADS {
            let other = task.schedule(THREADS).delay(2 * HOUR).block_on()?;
            let _ = other.cancel().block_on();
        }
        task.schedule(n).delay(HOUR).block_on().map(drop)
    }) {
        result?;
    }
    clock.advance(HOUR);
    app.wait_all().block_on();
    assert!(starts.try_iter().eq(0..THREADS));
    Ok(())
}

/// Regression: a job in memory that was replaced by a stored one stayed in the shard of its
/// thread, and shutdown looked for it in another one: it waited for the whole grace, and
/// removed the timeout of the job that it found there.
#[cfg(feature = "serde")]
#[test]
fn shutdown_leaves_a_job_that_became_durable_and_affects_no_other() -> Result {
    let app = Jobber::builder()
        .storage(jobber::MemoryStorage::new())
        .executor(ThreadPool::new(2)?)
        .build()?;
    let stored = app.task("t", async |n: usize| n).durable().register()?;
    let (up, is_up) = mpsc::channel();
    let slow = app.task("slow", move || {
        let _ = up.send(());
        std::future::pending::<()>()
    });
    let slow = slow.timeout(Duration::from_millis(200)).register()?;
    app.start().block_on()?;
    // The first job of its shard.
    let running = slow.schedule(()).id("slow").push().block_on()?;
    is_up.recv()?;
    let replaced = on_each_thread(|n| {
        let job = stored.schedule(n).in_memory().delay(HOUR).block_on()?;
        let again = stored.schedule(n).id(job.id()).replace();
        again.delay(HOUR).block_on().map(|job| job.status())
    });
    for status in replaced {
        assert_eq!(status?, JobStatus::Scheduled);
    }
    let (grace, begun) = (HOUR / 60, std::time::Instant::now());
    assert!(app.shutdown(grace).block_on().is_complete());
    assert!(begun.elapsed() < grace);
    assert_eq!(running.status(), JobStatus::Timeout);
    Ok(())
}

/// One job is live at each moment, each time in another shard.
#[test]
fn wait_all_sees_a_job_that_another_thread_schedules_before_the_first_is_done() -> Result {
    const LINKS: usize = 3_000;
    let app = Jobber::builder().executor(ThreadPool::new(2)?).build()?;
    let cell: Arc<OnceLock<Task<usize, ()>>> = Arc::default();
    let runs = Arc::new(AtomicUsize::new(0));
    let (inner, counted) = (cell.clone(), runs.clone());
    let task = app.task("link", move |n: usize| {
        let (inner, counted) = (inner.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            if n < LINKS {
                let _ = inner.wait().schedule(n + 1).push().await?;
            }
            Ok::<_, ScheduleError>(())
        }
    });
    let task = task.register()?;
    assert!(cell.set(task.clone()).is_ok());
    app.start().block_on()?;
    let first = task.schedule(1).push().block_on()?;
    app.wait_all().block_on();
    assert_eq!(runs.load(Ordering::SeqCst), LINKS);
    assert_eq!(first.status(), JobStatus::Success);
    Ok(())
}

#[test]
fn ids_of_one_seed_are_the_same_on_every_thread() -> Result {
    let ids = on_each_thread(|_| {
        let builder = Jobber::builder().clock(ManualClock::new()).seed(7);
        let app = builder.build()?;
        let task = app.task("noop", async || {}).register()?;
        app.start().block_on()?;
        let job = task.schedule(()).delay(HOUR).block_on()?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(job.id().clone())
    });
    let ids = ids.into_iter().collect::<Result<Vec<_>, _>>();
    assert!(ids?.windows(2).all(|both| both[0] == both[1]));
    Ok(())
}

#[test]
fn no_thread_schedules_while_the_app_stops() -> Result {
    let (app, task) = app_with_noop()?;
    let (sender, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let (begun, has_begun) = mpsc::channel();
    let blocks = app.blocking_task("blocks", move || {
        let _ = begun.send(());
        let _ = gate.lock().unwrap().recv();
    });
    let blocks = blocks.register()?;
    app.start().block_on()?;
    let job = blocks.schedule(()).push().block_on()?;
    has_begun.recv()?;
    let mut stop = app.shutdown(HOUR);
    let stopped = poll(&mut stop);
    assert!(stopped.is_none(), "shutdown waits for the job");
    for result in on_each_thread(|_| task.schedule(()).delay(HOUR).block_on()) {
        assert!(matches!(result, Err(ScheduleError::Stopped)));
    }
    drop(sender);
    assert!(stop.block_on().is_complete());
    assert_eq!(job.status(), JobStatus::Success);
    Ok(())
}
