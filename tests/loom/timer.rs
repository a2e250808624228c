//! The timer thread misses nothing on its way to sleep.

use std::time::Duration;

use jobber::{Clock, JobStatus};
use loom::thread;
// Not the model's: it is not a race who looks first.
use std::sync::atomic::{AtomicU64, Ordering};
use time::OffsetDateTime;

use crate::{SECOND, app, app_with, explore, stop};

/// Regression, found by these models: the flag that ends the timer thread was set without a
/// lock. A thread that had just begun could miss it while the caller missed the handle of
/// the thread, and nothing woke the thread: shutdown waited its whole second, and the thread
/// slept for ever. x86 orders the four accesses; other processors and the language do not.
#[test]
fn an_app_that_is_stopped_while_its_timer_thread_begins_ends() {
    explore(3, &[()], || {
        let (app, _) = app();
        app.start().block_on().unwrap();
        stop(&app);
    });
}

/// A clock that advances by a nanosecond at each reading, and wakes nothing.
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn wall(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + self.monotonic()
    }

    /// A second never passes.
    fn sleep_until(&self, until: Duration) -> Option<Duration> {
        (until < SECOND).then_some(Duration::ZERO)
    }
}

#[test]
fn an_earlier_job_wakes_the_timer_on_its_way_to_sleep() {
    explore(2, &[()], || {
        let (app, _) = app_with(|app| app.clock(Ticking(AtomicU64::new(0))));
        let task = app.task("t", || async {}).register().unwrap();
        app.start().block_on().unwrap();
        let far = task.schedule(()).delay(9 * SECOND).block_on().unwrap();
        let near = task.schedule(()).delay(Duration::from_nanos(1));
        let near = near.block_on().unwrap();
        assert_eq!(near.wait_blocking(), JobStatus::Success);
        assert_eq!(far.status(), JobStatus::Scheduled);
        stop(&app);
        assert_eq!(far.status(), JobStatus::Cancelled);
    });
}

#[test]
fn an_advance_of_the_clock_beside_a_schedule_loses_neither() {
    explore(1, &[()], || {
        let (app, clock) = app();
        let task = app.task("t", || async {}).register().unwrap();
        app.start().block_on().unwrap();
        let turned = clock.clone();
        let turner = thread::spawn(move || turned.advance(SECOND));
        let job = task.schedule(()).delay(SECOND).block_on().unwrap();
        turner.join().unwrap();
        // In either order, it is due by now.
        clock.advance(SECOND);
        assert_eq!(job.wait_blocking(), JobStatus::Success);
        stop(&app);
    });
}
