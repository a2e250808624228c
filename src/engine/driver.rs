//! [`Driver`]: the decisions of the timer.
//!
//! [`Driver::drive`] decides, and never waits. The timer's thread waits, and decides
//! nothing. A simulation calls the same driver without a thread.

use std::fmt;

use crate::calendar::timeline::Timeline;
use crate::engine::hub::{Hub, Live};
use crate::engine::side_shards::Cursor;
use crate::executor::dispatcher::FEW;
use crate::job::live_job::Fired;
use crate::sync::primitives::Arc;
use crate::timer::inbox::Inbox;
use crate::timer::key::{Key, KeyKind};
use crate::timer::queue::TimerQueue;
use crate::value::event::Event;
use crate::value::time_units::{Due, MonoNanos, Now};

/// How many due keys the first batch has.
const FIRST_BATCH: usize = 256;

/// Each batch is twice the last, up to this. The first jobs start soon, and with few
/// batches the timer and the executor's threads seldom meet at a lock.
const MAX_BATCH: usize = 1_024;

/// How many keys a step of a sweep looks at. A step holds the locks of tables.
const STEP: usize = 256;

/// While a job waits for a wall time, the clock is read this often, in nanoseconds,
/// since it may be set.
const WALL_CLOCK_CHECK: i64 = 60 * 1_000_000_000;

/// The two clocks may drift apart by this, in nanoseconds, from one call to the next:
/// NTP slews by half a millisecond in a second. More is a step of the wall clock.
const CLOCK_STEP: i64 = 500_000_000;

/// When to call [`Driver::drive`] again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DriveAgain {
    Now,
    At {
        /// When the next key is due, unless the wall clock is set before.
        due: MonoNanos,
        /// When to call: at `due`, or before that to see whether the wall clock was set.
        check: MonoNanos,
    },
    /// When the timer is woken.
    WhenWoken,
}

pub(crate) struct Driver {
    hub: Arc<Hub>,
    mono: TimerQueue,
    wall: TimerQueue,
    /// Wall time less monotonic time, at the last call.
    offset: i64,
    /// The wall clock went back, and the jobs from here on do not know it yet.
    stepping_back: Option<Cursor>,
    /// The queue that is being swept.
    sweeping: Option<Timeline>,
    // These are empty between calls, and kept for their memory.
    inboxes: Vec<Inbox>,
    keys: Vec<Key>,
    starting: Vec<Key>,
    fired: Vec<Live>,
    due: Vec<Live>,
    has_fired: bool,
}

impl Driver {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let now = hub.clock.now();
        Self {
            hub,
            mono: TimerQueue::default(),
            wall: TimerQueue::default(),
            offset: now.offset(),
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

    /// Whether the last call of [`drive`](Driver::drive) found anything due.
    pub(crate) fn has_fired(&self) -> bool {
        self.has_fired
    }

    /// Passes all due jobs to the executor, does one step of the other work, and returns
    /// when to call it again. It never waits.
    pub(crate) fn drive(&mut self) -> DriveAgain {
        let now = self.hub.clock.now();
        self.notice_clock_step(now);
        self.collect();
        self.has_fired = false;
        let mut batch = FIRST_BATCH;
        while self.pop_batch(now, batch) {
            batch = (2 * batch).min(MAX_BATCH);
            self.hand_over(now);
            self.hub.take_due(&mut self.keys, &mut self.fired);
            self.fire(now);
        }
        if self.step_back(now)
            || self.sweep_step()
            || self.drop_dead_first_keys()
            || self.hub.free_memory()
        {
            return DriveAgain::Now;
        }
        self.next_call(now)
    }

    /// If many keys are due, passes those of jobs that start to the dispatcher. The
    /// timer's thread does not touch these jobs.
    fn hand_over(&mut self, now: Now) {
        if self.keys.len() <= FEW {
            return;
        }
        let starts = |key: &mut Key| key.tag().kind() == KeyKind::Start;
        self.starting.extend(self.keys.extract_if(.., starts));
        if self.starting.is_empty() {
            return;
        }
        self.has_fired = true;
        self.hub.hand_over(&self.starting);
        // Without a dispatcher the app has stopped, and nothing starts.
        if let Some(dispatcher) = self.hub.dispatcher() {
            dispatcher.submit_due(self.starting.drain(..).map(Key::tag), now);
        }
        self.starting.clear();
    }

    /// Fires the jobs that have come due, and passes those that start to the dispatcher.
    fn fire(&mut self, now: Now) {
        if self.fired.is_empty() {
            return;
        }
        self.has_fired = true;
        for job in self.fired.drain(..) {
            if job.on_timer(now) == Fired::Start {
                self.due.push(job);
            } else {
                job.drop_safely();
            }
        }
        match self.hub.dispatcher() {
            Some(dispatcher) => dispatcher.submit(&mut self.due),
            // The app has stopped, and nothing starts.
            None => self.due.drain(..).for_each(|job| job.drop_safely()),
        }
    }

    fn notice_clock_step(&mut self, now: Now) {
        let offset = now.offset();
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

    /// Lets some jobs know that the wall clock went back. Returns whether it did: then it
    /// must be called again, even after the last jobs, to collect the keys that they have
    /// armed.
    fn step_back(&mut self, now: Now) -> bool {
        let Some(from) = self.stepping_back else {
            return false;
        };
        let (jobs, next) = self.hub.jobs_from(from);
        for job in jobs {
            job.on_step_back(now);
            job.drop_safely();
        }
        self.stepping_back = next;
        true
    }

    /// Moves all new keys to the queues, so that the job that is due first starts first.
    /// They are few: a thread that adds many wakes the timer.
    fn collect(&mut self) {
        self.hub.swap_inboxes(&mut self.inboxes);
        for inbox in &mut self.inboxes {
            inbox.mono.move_to(&mut self.mono);
            inbox.wall.move_to(&mut self.wall);
        }
        // This may take long. It is done here because a sweep holds a table's lock.
        self.mono.shrink();
        self.wall.shrink();
    }

    /// Takes up to `batch` due keys out of the queues. Returns whether there were any.
    fn pop_batch(&mut self, now: Now, batch: usize) -> bool {
        for (queue, now) in [(&mut self.mono, now.mono), (&mut self.wall, now.wall)] {
            while self.keys.len() < batch {
                let Some(key) = queue.pop_due(now) else { break };
                self.keys.push(key);
            }
        }
        !self.keys.is_empty()
    }

    /// Does one step of a sweep, if one is due or going on. Returns whether there are more
    /// steps. Between two steps, due jobs start.
    fn sweep_step(&mut self) -> bool {
        let queue = match self.sweeping {
            None if !self.hub.is_sweep_due() => return false,
            None | Some(Timeline::Mono) => &mut self.mono,
            Some(Timeline::Wall) => &mut self.wall,
        };
        let mut is_swept = false;
        self.hub.sweep(|is_alive| {
            is_swept = queue.sweep(STEP, is_alive);
        });
        if is_swept {
            queue.dissolve_short_runs();
        }
        self.sweeping = match (self.sweeping, is_swept) {
            (timeline, false) => timeline.or(Some(Timeline::Mono)),
            (None | Some(Timeline::Mono), true) => Some(Timeline::Wall),
            (Some(Timeline::Wall), true) => None,
        };
        self.sweeping.is_some() || self.hub.is_sweep_due()
    }

    /// Removes dead keys from the fronts of the queues, since the timer must not wake up
    /// for them. Returns whether there may be more.
    fn drop_dead_first_keys(&mut self) -> bool {
        for queue in [&mut self.mono, &mut self.wall] {
            for _ in 0..STEP {
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

    fn next_call(&mut self, now: Now) -> DriveAgain {
        let mono = self.mono.first().map(Key::due);
        let wall = self
            .wall
            .first()
            .map(|key| Due::Wall(key.due()).as_mono(now));
        let Some(due) = mono.into_iter().chain(wall).min() else {
            return DriveAgain::WhenWoken;
        };
        let clock_check = now.mono.saturating_add(WALL_CLOCK_CHECK);
        DriveAgain::At {
            due,
            check: if wall.is_some() {
                due.min(clock_check)
            } else {
                due
            },
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver(..)")
    }
}
