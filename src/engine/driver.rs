//! What the timer does when: [`Driver`], and the thread around it.
//!
//! [`Driver::turn`] makes all decisions and never waits; [`run_thread`] waits
//! and decides nothing. A simulation turns the same driver by hand.

use std::task::{Wake as WakeTask, Waker};
use std::time::Duration;

use crate::engine::events::Event;
use crate::engine::hub::{Hub, Live};
use crate::engine::shards::Cursor;
use crate::executor::dispatcher::FEW;
use crate::job::live_job::{Fired, JobView, TimerJob};
use crate::registry::table::Inbox;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, thread, thread::Thread};
use crate::timer::heap::{Key, Kind, TimerQueue};
use crate::value::clock::{Due, Now, to_nanos};
use crate::value::error::StartError;

/// How many keys are taken out, and how many jobs looked up, in one go: at first.
const BATCH: usize = 256;

/// Of many that are due, each batch is twice the last, up to this: the first start
/// soon, and with few batches the timer and the executor's threads seldom meet at a
/// lock.
const MAX_BATCH: usize = 1_024;

/// How many keys a step of a sweep looks at: a step holds the locks of tables.
const SWEEP_STEP: usize = 256;

/// While a job waits for a wall time, the clock is looked at this often, for it
/// may be set.
const WALL_CLOCK_CHECK: i64 = 60 * 1_000_000_000;

/// A difference between the two clocks that is not yet a step: NTP slews by half
/// a millisecond in a second.
const CLOCK_STEP: i64 = 500_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Mono,
    Wall,
}

pub(crate) struct Driver {
    hub: Arc<Hub>,
    mono: TimerQueue,
    wall: TimerQueue,
    /// Wall time less monotonic time, when last looked at.
    offset: i64,
    /// From where on jobs are still to be told of a step back.
    stepping_back: Option<Cursor>,
    /// Where a sweep stands that is going on.
    sweeping: Option<Line>,
    // Kept for their memory.
    inboxes: Vec<Inbox>,
    keys: Vec<Key>,
    starting: Vec<Key>,
    fired: Vec<Live>,
    due: Vec<Live>,
    /// Whether the last turn found anything due.
    has_fired: bool,
}

impl Driver {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let now = hub.clock.now();
        Self {
            hub,
            mono: TimerQueue::default(),
            wall: TimerQueue::default(),
            offset: now.wall.saturating_sub(now.mono),
            stepping_back: None,
            sweeping: None,
            inboxes: Vec::new(),
            keys: Vec::new(),
            starting: Vec::new(),
            fired: Vec::new(),
            due: Vec::new(),
            has_fired: false,
        }
    }

    /// Hands over what is due, and tells when the next turn is. Never waits.
    pub(crate) fn turn(&mut self) -> Turn {
        let now = self.hub.clock.now();
        self.notice_step(now);
        self.collect();
        self.has_fired = false;
        let mut batch = BATCH;
        while self.pop_batch(now, batch) {
            batch = (2 * batch).min(MAX_BATCH);
            self.hand_over(now);
            self.hub.take_due(&mut self.keys, &mut self.fired);
            self.fire(now);
        }
        if self.step_back(now) || self.sweep_step() || self.drop_dead_tops() || self.hub.tidy() {
            return Turn::Again;
        }
        self.next_turn(now)
    }

    /// If there are many keys, hands over those of jobs that start, untouched.
    fn hand_over(&mut self, now: Now) {
        if self.keys.len() <= FEW {
            return;
        }
        let starts = |key: &mut Key| key.tag().kind() == Kind::Start;
        self.starting.extend(self.keys.extract_if(.., starts));
        if self.starting.is_empty() {
            return;
        }
        self.has_fired = true;
        self.hub.hand_over(&self.starting);
        // Without a dispatcher the app has stopped, and nothing starts any more.
        if let Some(dispatcher) = self.hub.dispatcher() {
            dispatcher.submit_due(self.starting.drain(..).map(Key::tag), now);
        }
        self.starting.clear();
    }

    /// Sees to the jobs that have come due, and hands over those that start.
    fn fire(&mut self, now: Now) {
        if self.fired.is_empty() {
            return;
        }
        self.has_fired = true;
        for job in self.fired.drain(..) {
            if job.on_timer(now) == Fired::Start {
                self.due.push(job);
            } else if job.core().status.get().is_final() {
                // This may be the last that has it, and what it holds is
                // foreign.
                self.hub.dispose(Box::new(job));
            }
        }
        match self.hub.dispatcher() {
            Some(dispatcher) => dispatcher.submit(&mut self.due),
            // The app has stopped: nothing starts any more.
            None => drop_catching_panic(std::mem::take(&mut self.due)),
        }
    }

    fn notice_step(&mut self, now: Now) {
        let offset = now.wall.saturating_sub(now.mono);
        let by = offset.saturating_sub(self.offset);
        if by <= -CLOCK_STEP {
            self.stepping_back = Some(Cursor::default());
        }
        if by.saturating_abs() >= CLOCK_STEP && self.hub.events.is_read() {
            self.hub.events.record(Event::ClockStepped {
                by: time::Duration::nanoseconds(by),
            });
            self.hub.events.deliver();
        }
        self.offset = offset;
    }

    /// Tells jobs that the wall clock went back, some at a time. Gives whether
    /// there are more.
    fn step_back(&mut self, now: Now) -> bool {
        let Some(from) = self.stepping_back else {
            return false;
        };
        let (jobs, next) = self.hub.jobs_from(from, BATCH);
        jobs.iter().for_each(|job| job.on_step_back(now));
        self.stepping_back = next;
        // Once more at the end, too, for what has been armed.
        true
    }

    /// Takes over new keys: all of them, so that what is due first starts first.
    /// They are few, for whoever leaves many wakes the timer.
    fn collect(&mut self) {
        self.hub.swap_inboxes(&mut self.inboxes);
        for inbox in &mut self.inboxes {
            inbox.mono.move_to(&mut self.mono);
            inbox.wall.move_to(&mut self.wall);
        }
        // Not under the lock that a sweep holds: this may take a while.
        self.mono.shrink();
        self.wall.shrink();
    }

    /// Whether there was anything due.
    fn pop_batch(&mut self, now: Now, batch: usize) -> bool {
        for (queue, now) in [(&mut self.mono, now.mono), (&mut self.wall, now.wall)] {
            while self.keys.len() < batch {
                let Some(key) = queue.pop_due(now) else { break };
                self.keys.push(key);
            }
        }
        !self.keys.is_empty()
    }

    /// One step of a sweep, if one is needed or going on. Gives whether more are
    /// to follow: between two steps, what has come due is handed over.
    fn sweep_step(&mut self) -> bool {
        let queue = match self.sweeping {
            None if !self.hub.is_sweep_due() => return false,
            None | Some(Line::Mono) => &mut self.mono,
            Some(Line::Wall) => &mut self.wall,
        };
        let mut done = false;
        self.hub.sweep(|is_alive| {
            done = queue.sweep(SWEEP_STEP, is_alive);
        });
        if done {
            queue.drop_short_runs();
        }
        self.sweeping = match (self.sweeping, done) {
            (line, false) => line.or(Some(Line::Mono)),
            (None | Some(Line::Mono), true) => Some(Line::Wall),
            (Some(Line::Wall), true) => None,
        };
        self.sweeping.is_some() || self.hub.is_sweep_due()
    }

    /// A dead key is nothing to wake up for. Gives whether there may be more.
    fn drop_dead_tops(&mut self) -> bool {
        for queue in [&mut self.mono, &mut self.wall] {
            for _ in 0..BATCH {
                let Some(key) = queue.first() else { break };
                if self.hub.keep_key(key.tag()) {
                    break;
                }
                queue.pop_due(key.due());
            }
        }
        let is_dead = |key: Key| !self.hub.is_alive(key.tag());
        self.mono.first().is_some_and(is_dead) || self.wall.first().is_some_and(is_dead)
    }

    fn next_turn(&mut self, now: Now) -> Turn {
        let mono = self.mono.first().map(Key::due);
        let wall = self
            .wall
            .first()
            .map(|key| Due::Wall(key.due()).as_mono(now));
        let Some(due) = mono.into_iter().chain(wall).min() else {
            return Turn::WhenCalled;
        };
        let check = now.mono.saturating_add(WALL_CLOCK_CHECK);
        Turn::At {
            due,
            look: if wall.is_some() { due.min(check) } else { due },
        }
    }
}

/// When the driver is to be turned next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// At once.
    Again,
    /// At a monotonic time.
    At {
        /// When the next job is due, unless the wall clock is set before.
        due: i64,
        /// When to see whether it was.
        look: i64,
    },
    /// When there is something new.
    WhenCalled,
}

/// The loop of the timer's thread: turn, sleep, until the app has stopped.
pub(crate) fn run_thread(mut driver: Driver) {
    sharpen_timer();
    let hub = driver.hub.clone();
    let _ended = Ended(hub.clone());
    hub.set_timer(thread::current());
    hub.clock
        .watch(Waker::from(Arc::new(Unpark(thread::current()))));
    let gap = to_nanos(hub.wake_gap).unwrap_or(i64::MAX);
    // After something was due, it does not look again before the gap is over,
    // however much comes due in it; then it sees to all of that at once.
    let mut not_before = i64::MIN;
    while !hub.has_stopped() {
        let turn = driver.turn();
        if driver.has_fired {
            not_before = hub.clock.mono().saturating_add(gap);
        }
        let until = match turn {
            Turn::Again => continue,
            Turn::At { look, .. } => Some(look.max(not_before)),
            Turn::WhenCalled => None,
        };
        if !hub.fall_asleep(until.unwrap_or(i64::MAX), not_before) || hub.has_stopped() {
            continue;
        }
        match until.and_then(|until| hub.clock.sleep_until(until)) {
            Some(duration) => thread::park_timeout(duration),
            // Until somebody schedules, or the clock is moved by hand.
            None => thread::park(),
        }
    }
}

/// Says that the thread has ended, in whichever way.
struct Ended(Arc<Hub>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.timer_ended();
    }
}

struct Unpark(Thread);

impl WakeTask for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Asks Linux not to add its 50 µs of slack to this thread's sleeps. See
/// `timerslack_ns` in `proc_pid_timerslack_ns(5)`; if it can't be had, sleeps
/// are longer by so much.
fn sharpen_timer() {
    #[cfg(target_os = "linux")]
    if let Ok(thread) = std::fs::read_link("/proc/thread-self")
        && let Some(id) = thread.file_name().and_then(|id| id.to_str())
    {
        let _ = std::fs::write(format!("/proc/{id}/timerslack_ns"), "1");
    }
}

/// The thread's name.
pub(crate) const THREAD_NAME: &str = "jobber-timer";

/// Starts the timer's thread.
pub(crate) fn spawn_thread(hub: &Arc<Hub>) -> Result<(), StartError> {
    let driver = Driver::new(hub.clone());
    hub.timer_starts();
    let thread = thread::Builder::new().name(THREAD_NAME.into());
    match thread.spawn(move || run_thread(driver)) {
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

/// The longest that a wake-up is put off for company, unless the app says
/// otherwise.
pub(crate) const DEFAULT_WAKE_GAP: Duration = Duration::from_micros(250);

/// The longest that it can be.
pub(crate) const MAX_WAKE_GAP: Duration = Duration::from_secs(1);
