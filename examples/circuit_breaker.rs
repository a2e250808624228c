//! A circuit breaker: after five failures in a row no more attempts reach the server for 30 seconds.
//! Middleware keeps them away; `on_error` counts the failures, because it alone sees timeouts.
//!
//! `cargo run --example circuit_breaker`

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, JobContext, Next, OnError, Outcome, RetryAfter};

const FAILURES: u32 = 5;
const OPEN_FOR: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// What the functions of the group share.
struct Breaker {
    clock: ManualClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    fn new(clock: ManualClock) -> Self {
        let state = Mutex::default();
        Self { clock, state }
    }

    /// How long the breaker stays open.
    fn rest(&self) -> Option<Duration> {
        let until = self.state.lock().ok()?.open_until?;
        let rest = until.saturating_duration_since(jobber::Clock::monotonic(&self.clock));
        (!rest.is_zero()).then_some(rest)
    }

    fn succeeded(&self) {
        if let Ok(mut state) = self.state.lock() {
            *state = State::default();
        }
    }

    fn failed(&self) {
        if let Ok(mut state) = self.state.lock() {
            state.failures += 1;
            if state.failures >= FAILURES {
                state.open_until = Some(jobber::Clock::monotonic(&self.clock) + OPEN_FOR);
            }
        }
    }
}
