//! Calls in the destructor of a thread-local value, when a thread ends.
//!
//! A fault there aborts the process, so each call is made in a process of its own.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::support::{Result, WATCHDOG, child, poll_with, run_within, wait_until};
use jobber::{Event, Job, JobStatus, Jobber, MemoryStorage, Task, Wait};

/// Set in the process that makes a call: its number.
const CALL: &str = "JOBBER_CALL_AT_THE_END";

struct App {
    app: Jobber,
    quick: Task<u32, u32>,
    stored: Task<u32, u32>,
    running: Job<()>,
}

/// Polls its future in the call to `wake`.
struct PollOnWake(Mutex<Option<Wait>>);

impl Wake for PollOnWake {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(self.clone());
        let mut place = self.0.lock().unwrap();
        if place
            .as_mut()
            .is_some_and(|wait| poll_with(wait, &waker).is_ready())
        {
            *place = None;
        }
    }
}

const CALLS: [fn(App); 9] = [
    |app| {
        let wait = Arc::new(PollOnWake(Mutex::new(Some(app.running.wait()))));
        wait.clone().wake();
        assert!(wait.0.lock().unwrap().is_some());
        assert!(app.running.abort().block_on().unwrap().took_effect());
        assert!(wait.0.lock().unwrap().is_none());
    },
    |app| drop(app),
    |app| {
        assert_eq!(
            app.app
                .shutdown(Duration::from_millis(1))
                .block_on()
                .left
                .len(),
            1
        )
    },
    |app| {
        let job = app.stored.schedule(1).push().block_on().unwrap();
        assert_eq!(job.wait_blocking(), JobStatus::Success);
    },
    |app| {
        let job = app.quick.schedule(1).delay(Duration::from_millis(1));
        assert_eq!(*job.block_on().unwrap().block_on().unwrap(), 1);
    },
    |app| {
        let again = app.stored.schedule(1).id("same").replace();
        let job = again.every(WATCHDOG).block_on().unwrap();
        assert!(job.cancel().block_on().unwrap().took_effect());
    },
    |app| {
        assert!(app.running.abort().block_on().unwrap().took_effect());
        app.app.wait_all().block_on();
    },
    |app| {
        let mut events = app.app.events();
        app.quick.schedule(1).push().block_on().unwrap();
        assert!(matches!(events.next_blocking(), Some(Event::Job(_))));
    },
    |app| {
        let limit = Duration::from_millis(1);
        assert_eq!(
            app.running.wait_timeout(limit).block_on(),
            JobStatus::Running
        );
        let app = Jobber::builder()
            .storage(MemoryStorage::new())
            .build()
            .unwrap();
        app.start().block_on().unwrap();
    },
];

/// Makes its call when its thread ends.
struct AtEnd(Option<(App, fn(App))>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some((app, call)) = self.0.take() {
            call(app);
        }
    }
}

thread_local! {
    static AT_END: RefCell<AtEnd> = const { RefCell::new(AtEnd(None)) };
}

fn call_when_a_thread_ends(call: fn(App)) -> Result {
    let thread = thread::spawn(move || {
        // Before all other values of the thread, so that it is dropped after them.
        AT_END.with(|_| ());
        let app = Jobber::builder().storage(MemoryStorage::new()).build()?;
        let quick = app.task("quick", async |n: u32| n).register()?;
        let stored = app.task("stored", async |n: u32| n).durable().register()?;
        let forever = app.task("forever", std::future::pending::<()>).register()?;
        smol::block_on(app.start())?;
        smol::block_on(stored.schedule(0).push())?.wait_blocking();
        let running = futures_lite::future::block_on(async { forever.schedule(()).push().await })?;
        // It defers wakes on this thread.
        drop(app.events());
        wait_until(|| running.status() == JobStatus::Running);
        let app = App {
            app,
            quick,
            stored,
            running,
        };
        AT_END.with(|at_end| at_end.borrow_mut().0 = Some((app, call)));
        Ok(())
    });
    thread.join().unwrap()
}

/// Regression: the process aborted.
#[test]
fn an_app_is_used_and_stopped_in_the_destructor_of_a_thread_local_value() -> Result {
    if let Ok(call) = std::env::var(CALL) {
        return call_when_a_thread_ends(CALLS[call.parse::<usize>()?]);
    }
    let name = "thread_end::an_app_is_used_and_stopped_in_the_destructor_of_a_thread_local_value";
    for call in 0..CALLS.len() {
        let mut program = child(name)?;
        let (status, stderr) = run_within(WATCHDOG, program.env(CALL, call.to_string()))?;
        assert!(status.success(), "call {call}, {status}: {stderr}");
    }
    Ok(())
}
