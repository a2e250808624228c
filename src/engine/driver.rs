//! [`Driver`]: the decisions of the timer.
//!
//! [`Driver::drive`] decides, and never waits. The timer's thread waits, and decides
//! nothing. A simulation calls the same driver without a thread.

use std::fmt;
use std::time::Duration;

use crate::calendar::timeline::Timeline;
use crate::engine::hub::{Hub, Live};
use crate::engine::side_shards::Cursor;
use crate::executor::dispatcher::FEW;
use crate::job::live_job::Fired;
use crate::job::position::ClockSet;
use crate::sync::primitives::Arc;
use crate::timer::inbox::Inbox;
use crate::timer::key::{Key, KeyKind};
use crate::timer::queue::TimerQueue;
use crate::value::event::Event;
use crate::value::time_units::{CLOCK_CHANGE_MAX, Due, MonoNanos, Now, WallNanos};

/// How many due keys the first batch has.
const FIRST_BATCH: usize = 256;

/// Each batch is twice the last, up to this. The first jobs start soon, and with few
/// batches the timer and the executor's threads seldom meet at a lock.
const MAX_BATCH: usize = 1_024;

/// How many keys a step of a sweep looks at. A step holds the locks of tables.
const STEP: usize = 256;

/// The wall clock may be set, and a job may be due by it, or be stored. Then it is read this
/// often, in nanoseconds.
const LONGEST_LOOK: i64 = 60 * 1_000_000_000;

/// Shortly before a job is due by the wall clock, it is read more often, but no more often
/// than this.
const SHORTEST_LOOK: i64 = 1_000_000_000;

/// The two clocks may drift apart by this, in nanoseconds, from one call to the next:
/// NTP slews by half a millisecond in a second. More is a step of the wall clock.
const CLOCK_STEP: i64 = 500_000_000;

/// A suspend of less is not noticed, in nanoseconds: what the system says about it is exact to
/// a hundredth of a second.
const SHORTEST_SLEEP: i64 = 50_000_000;

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
    /// The monotonic time of the last call.
    looked_at: MonoNanos,
    /// The last call returned [`DriveAgain::WhenWoken`].
    had_nothing_due: bool,
    /// Wall time less monotonic time, at the last call.
    offset: i64,
    /// The offset that the jobs follow: that of the last
    /// [`on_clock_set`](TimerJob::on_clock_set). `None` until the wall clock is set.
    jobs_offset: Option<i64>,
    /// How long the machine was suspended since then, in nanoseconds.
    slept: i64,
    /// The suspended time that the clock gave at the last call, in nanoseconds.
    suspended: Option<i64>,
    /// The wall clock was set, and the jobs from here on do not know it yet.
    telling: Option<(Cursor, ClockSet)>,
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
            mono: TimerQueue::default(),
            wall: TimerQueue::default(),
            looked_at: now.mono,
            had_nothing_due: false,
            offset: now.offset(),
            jobs_offset: hub.reading(now).is_set().then(|| now.offset()),
            slept: 0,
            suspended: hub.clock.suspended(),
            telling: None,
            sweeping: None,
            inboxes: Vec::new(),
            keys: Vec::new(),
            starting: Vec::new(),
            fired: Vec::new(),
            due: Vec::new(),
            has_fired: false,
            hub,
        }
    }

    /// Whether the last call of [`drive`](Driver::drive) found anything due.
    pub(crate) fn has_fired(&self) -> bool {
        self.has_fired
    }

    /// Passes all due jobs to the executor, if jobs may start; does one step of the other work, and returns
    /// when to call it again. It never waits.
    pub(crate) fn drive(&mut self) -> DriveAgain {
        let again = self.drive_once();
        self.had_nothing_due = again == DriveAgain::WhenWoken;
        again
    }

    fn drive_once(&mut self) -> DriveAgain {
        let now = self.hub.clock.now();
        self.look(now);
        self.collect();
        self.has_fired = false;
        self.hub.limits.look_at_rates(&self.hub.clock);
        while let Some(job) = self.hub.checkpoint_times.take_due(now.mono) {
            self.has_fired = true;
            job.checkpoint_due();
            job.drop_safely();
        }
        let may_start = self.hub.start_gate.look();
        if may_start {
            self.start_granted();
        }
        let mut batch = FIRST_BATCH;
        while may_start && self.pop_batch(now, batch) {
            batch = (2 * batch).min(MAX_BATCH);
            self.hand_over(now);
            self.hub.take_due(&mut self.keys, &mut self.fired);
            self.fire(now);
        }
        if self.tell(now)
            || self.sweep_step()
            || self.drop_dead_first_keys()
            || self.hub.free_memory()
        {
            return DriveAgain::Now;
        }
        match may_start {
            true => self.next_call(now),
            false => DriveAgain::WhenWoken,
        }
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

    /// Passes jobs to the executor that have their limits now.
    fn start_granted(&mut self) {
        for job in self.hub.limits.take_granted() {
            match job.granted() {
                Fired::Start => self.due.push(job),
                Fired::Nothing => job.drop_safely(),
            }
        }
        self.submit_due();
    }

    /// Fires the jobs that have come due, and passes those that start to the dispatcher.
    fn fire(&mut self, now: Now) {
        if self.fired.is_empty() {
            return;
        }
        self.has_fired = true;
        for job in self.fired.drain(..) {
            if let Some((_, set)) = self.telling {
                // It is due by the new clock: that says whether its time is over.
                job.on_clock_set(self.hub.reading(now), set);
            }
            if job.on_timer(now) == Fired::Start {
                self.due.push(job);
            } else {
                job.drop_safely();
            }
        }
        self.submit_due();
    }

    fn submit_due(&mut self) {
        if self.due.is_empty() {
            return;
        }
        match self.hub.dispatcher() {
            Some(dispatcher) => dispatcher.submit(&mut self.due),
            // The app has stopped, and nothing starts.
            None => self.due.drain(..).for_each(|job| job.drop_safely()),
        }
    }

    /// Notices what the clocks did since the last call.
    fn look(&mut self, now: Now) {
        // If the timer had nothing to wait for, the time since the last call is not a delay.
        self.hub.looked_after(match self.had_nothing_due {
            true => 0,
            false => now.mono.saturating_sub(self.looked_at),
        });
        self.looked_at = now.mono;
        let offset = now.offset();
        let by = offset.saturating_sub(self.offset);
        self.offset = offset;
        if by.saturating_abs() >= SHORTEST_SLEEP {
            let slept = self.sleep_since_last_reading();
            self.slept = self.slept.saturating_add(slept);
            self.report(by.saturating_sub(slept), slept);
        }
        if !self.hub.reading(now).is_set() {
            // What it shows means nothing.
            return;
        }
        let set = match self.jobs_offset {
            // It is set for the first time.
            None => ClockSet::Moved,
            Some(before) => {
                let by = offset.saturating_sub(before);
                let step = by.saturating_sub(self.slept);
                if !is_step(by) && !is_step(step) {
                    return;
                }
                match step < -CLOCK_CHANGE_MAX {
                    true => ClockSet::Corrected,
                    false => ClockSet::Moved,
                }
            }
        };
        (self.jobs_offset, self.slept) = (Some(offset), 0);
        let before = self.telling.map_or(set, |(_, before)| before);
        self.telling = Some((Cursor::default(), set.max(before)));
    }

    /// How long the machine was suspended since the last reading, in nanoseconds. 0 if the
    /// clock cannot tell.
    fn sleep_since_last_reading(&mut self) -> i64 {
        let suspended = self.hub.clock.suspended();
        let before = std::mem::replace(&mut self.suspended, suspended);
        let slept = suspended
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before));
        slept.filter(|slept| *slept >= SHORTEST_SLEEP).unwrap_or(0)
    }

    fn report(&self, step: i64, slept: i64) {
        let events = &self.hub.events;
        if !events.is_read() {
            return;
        }
        if is_step(slept) {
            events.record(Event::Resumed {
                after: Duration::from_nanos(slept.unsigned_abs()),
            });
        }
        if is_step(step) {
            events.record(Event::ClockStepped {
                by: time::Duration::nanoseconds(step),
            });
        }
        events.wake_readers();
    }

    /// Lets some jobs know that the wall clock was set. Returns whether it was: then it must
    /// be called again, even after the last jobs, to collect the keys that they have armed.
    fn tell(&mut self, now: Now) -> bool {
        let Some((from, set)) = self.telling else {
            return false;
        };
        let clock = self.hub.reading(now);
        let (jobs, next) = self.hub.jobs_from(from);
        for job in jobs {
            job.on_clock_set(clock, set);
            job.drop_safely();
        }
        self.telling = next.map(|next| (next, set));
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
        // Nothing is due by a clock that was not set.
        let wall = match self.hub.reading(now).is_set() {
            true => now.wall,
            false => WallNanos::MIN,
        };
        for (queue, now) in [(&mut self.mono, now.mono), (&mut self.wall, wall)] {
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
            .map(|key| match self.hub.reading(now).is_set() {
                true => Due::Wall(key.due()).as_mono(now),
                false => MonoNanos::MAX,
            });
        let rate = self.hub.limits.next_look();
        let checkpoint = self.hub.checkpoint_times.next();
        let others = rate.into_iter().chain(checkpoint);
        let Some(due) = mono.into_iter().chain(wall).chain(others).min() else {
            return DriveAgain::WhenWoken;
        };
        let look = match wall {
            // It is to be noticed soon that the clock is set.
            Some(MonoNanos::MAX) => Some(SHORTEST_LOOK),
            // The next job may be due much earlier, if the clock is set.
            Some(wall) => {
                let half = wall.saturating_sub(now.mono) / 2;
                Some(half.clamp(SHORTEST_LOOK, LONGEST_LOOK))
            }
            // The rows of jobs have wall times.
            None if self.hub.store.is_some() => Some(LONGEST_LOOK),
            None => None,
        };
        DriveAgain::At {
            due,
            check: look.map_or(due, |look| due.min(now.mono.saturating_add(look))),
        }
    }
}

/// Whether the wall clock was set, if it moved by this against the monotonic clock.
fn is_step(by: i64) -> bool {
    by.saturating_abs() >= CLOCK_STEP
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver(..)")
    }
}
