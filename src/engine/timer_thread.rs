//! The timer's thread: a loop around the driver.

use std::task::{Wake, Waker};
use std::time::Duration;

use crate::engine::driver::{DriveAgain, Driver};
use crate::engine::hub::Hub;
use crate::sync::primitives::{Arc, thread, thread::Thread};
use crate::value::error::StartError;
use crate::value::time_units::to_nanos;

pub(crate) const THREAD_NAME: &str = "jobber-timer";

/// The default of the builder's `coalescing_window`: the longest time that a wake-up is put off so
/// that one wake-up serves several due times.
pub(crate) const DEFAULT_COALESCING_WINDOW: Duration = Duration::from_micros(250);

/// The longest `coalescing_window` that the builder accepts.
pub(crate) const MAX_COALESCING_WINDOW: Duration = Duration::from_secs(1);

/// Starts the timer's thread.
pub(crate) fn spawn(hub: &Arc<Hub>) -> Result<(), StartError> {
    let driver = Driver::new(hub.clone());
    hub.timer_starts();
    let thread = thread::Builder::new().name(THREAD_NAME.into());
    let thread_hub = hub.clone();
    match thread.spawn(move || run(thread_hub, driver)) {
        Ok(_) => Ok(()),
        Err(source) => {
            hub.timer_ended();
            Err(StartError::Thread {
                name: THREAD_NAME.into(),
                source,
            })
        }
    }
}

/// The loop of the thread. It ends when the app has stopped.
fn run(hub: Arc<Hub>, mut driver: Driver) {
    remove_timer_slack();
    let _on_end = ReportEnd(hub.clone());
    hub.set_timer(thread::current());
    hub.clock
        .watch(Waker::from(Arc::new(Unpark(thread::current()))));
    let window = to_nanos(hub.coalescing_window).unwrap_or(i64::MAX);
    // After a key was due, the thread sleeps for the coalescing window. All jobs that come
    // due in the window start together at its end.
    let mut not_before = i64::MIN;
    while !hub.has_stopped() {
        let again = driver.drive();
        if driver.has_fired() {
            not_before = hub.clock.mono().saturating_add(window);
        }
        let until = match again {
            DriveAgain::Now => continue,
            DriveAgain::At { check, .. } => Some(check.max(not_before)),
            DriveAgain::WhenWoken => None,
        };
        if !hub.fall_asleep(until.unwrap_or(i64::MAX), not_before) || hub.has_stopped() {
            continue;
        }
        match until.and_then(|until| hub.clock.sleep_until(until)) {
            Some(duration) => thread::park_timeout(duration),
            // Until a job is scheduled, or the clock is moved by hand.
            None => thread::park(),
        }
    }
}

/// Reports the end of the thread when it is dropped, even by a panic.
struct ReportEnd(Arc<Hub>);

impl Drop for ReportEnd {
    fn drop(&mut self) {
        self.0.timer_ended();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Asks Linux not to add its slack of 50 µs to the sleeps of this thread; see
/// `timerslack_ns` in `proc_pid_timerslack_ns(5)`. If that fails, sleeps may be longer by
/// the slack.
fn remove_timer_slack() {
    #[cfg(target_os = "linux")]
    if let Ok(thread) = std::fs::read_link("/proc/thread-self")
        && let Some(id) = thread.file_name().and_then(|id| id.to_str())
    {
        let _ = std::fs::write(format!("/proc/{id}/timerslack_ns"), "1");
    }
}
