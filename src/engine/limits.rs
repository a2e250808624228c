//! [`Limits`]: how many attempts of an app may run at once or start.

use crate::job::definition::ArgsKeys;
use crate::job::live_job::LiveJob;
use crate::registry::gcra::Gcra;
use crate::registry::lines::{Keys, LimitId, LineId, Lines};
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{Arc, AtomicBool, Mutex, Ordering, lock};
use crate::value::app_clock::AppClock;
use crate::value::error::RegisterError;
use crate::value::rate::Rate;
use crate::value::time_units::MonoNanos;
use crate::value::waiting_for::WaitingFor;

type Live = Arc<dyn LiveJob>;

/// The limits of one app, and the jobs that wait for them.
pub(crate) struct Limits {
    /// Nothing is locked under this.
    pub(crate) lines: Mutex<Lines<Live>>,
    /// Jobs that have their limits now, and that the timer hands to the executor. Nothing is
    /// locked under this.
    ///
    /// `None` once the app has stopped: a job that came later would stay, and keep the app.
    granted: Mutex<Option<Vec<Live>>>,
    /// A task has a rate: each step with the lines needs the time.
    has_rates: AtomicBool,
    /// The limit of `max_running`.
    pub(crate) of_app: Option<LimitId>,
}

impl Limits {
    pub(crate) fn new(max_running: Option<usize>) -> Self {
        let mut lines = Lines::new();
        Self {
            of_app: max_running.map(|max| lines.add_limit(max)),
            lines: Mutex::new(lines),
            granted: Mutex::new(Some(Vec::new())),
            has_rates: AtomicBool::new(false),
        }
    }

    /// Must be called before a job has a rate.
    pub(crate) fn set_has_rates(&self) {
        self.has_rates.store(true, Ordering::SeqCst);
    }

    pub(crate) fn add_rate(&self, rate: Gcra) -> LimitId {
        self.set_has_rates();
        lock(&self.lines).add_rate(rate)
    }

    pub(crate) fn has_rates(&self) -> bool {
        self.has_rates.load(Ordering::SeqCst)
    }

    /// Does `step` with the lines. Returns also whether the timer has to look at a rate earlier than
    /// [`next_look`](Limits::next_look) has said.
    pub(crate) fn step<T>(
        &self,
        clock: &AppClock,
        step: impl FnOnce(&mut Lines<Live>) -> T,
    ) -> (T, bool) {
        let mut lines = lock(&self.lines);
        let has_rates = self.has_rates();
        if has_rates {
            // Under the lock, so that the time does not go back.
            lines.set_now(clock.mono());
        }
        let value = step(&mut lines);
        (value, has_rates && lines.is_look_earlier())
    }

    /// Adds the jobs that a rate allows to start now.
    pub(crate) fn look_at_rates(&self, clock: &AppClock) {
        if !self.has_rates() {
            return;
        }
        let mut granted = Vec::new();
        self.step(clock, |lines| lines.look(&mut granted));
        if !granted.is_empty() {
            self.add_granted(granted);
        }
    }

    /// When a rate is to be looked at.
    pub(crate) fn next_look(&self) -> Option<MonoNanos> {
        self.has_rates().then(|| lock(&self.lines).next_look())?
    }

    pub(crate) fn add_granted(&self, granted: Vec<Live>) {
        if let Some(place) = lock(&self.granted).as_mut() {
            place.extend(granted);
            return;
        }
        granted.into_iter().for_each(|job| job.drop_safely());
    }

    pub(crate) fn take_granted(&self) -> Vec<Live> {
        let mut granted = lock(&self.granted);
        granted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether there is something for the timer.
    pub(crate) fn wakes_timer(&self) -> bool {
        let has_granted = {
            let granted = lock(&self.granted);
            granted.as_ref().is_some_and(|granted| !granted.is_empty())
        };
        has_granted || self.has_rates() && lock(&self.lines).is_look_earlier()
    }

    /// Forgets who waits: the app has stopped.
    pub(crate) fn forget_all(&self) {
        let lines = std::mem::replace(&mut *lock(&self.lines), Lines::new());
        let granted = lock(&self.granted).take();
        drop_catching_panic((lines, granted));
    }
}

/// The limits of a task.
pub(crate) struct TaskLimits<A> {
    pub(crate) line: LineId,
    /// What [`waiting_for`](crate::Job::waiting_for) says of a job that waits for this limit.
    pub(crate) names: Vec<(LimitId, WaitingFor)>,
    pub(crate) by: Option<LimitBy<A>>,
    pub(crate) rate_by: Option<RateBy<A>>,
}

impl<A> TaskLimits<A> {
    /// The limits of the keys of a job. `None` if it has none, because its task had none when it
    /// was scheduled.
    pub(crate) fn of_keys<'a>(&self, keys: &'a ArgsKeys) -> Option<Keys<'a>> {
        let limit = keys.limit.as_ref().zip(self.by.as_ref());
        let rate = keys.rate.as_ref().zip(self.rate_by.as_ref());
        let found = Keys {
            limit: limit.map(|(key, by)| (key, by.capacity)),
            rate: rate.map(|(key, by)| (key, by.rate)),
        };
        (found.limit.is_some() || found.rate.is_some()).then_some(found)
    }
}

/// A limit for each key of the arguments.
pub(crate) struct LimitBy<A> {
    pub(crate) capacity: usize,
    pub(crate) key: KeyOf<A>,
}

/// A rate for each key of the arguments.
pub(crate) struct RateBy<A> {
    pub(crate) rate: Gcra,
    pub(crate) key: KeyOf<A>,
}

/// Computes the key of arguments. Code of a user.
pub(crate) type KeyOf<A> = Box<dyn Fn(&A) -> String + Send + Sync>;

/// The rate that an option asks for.
pub(crate) fn gcra(rate: Rate, option: &'static str) -> Result<Gcra, RegisterError> {
    let (starts, per) = rate.check(option)?;
    Ok(Gcra::new(starts, per))
}
