//! Random requests for one job, some of them made before the store has answered the others.
//!
//! `JOBBER_SEEDS=50000 cargo test --release --all-features --test store random_requests`
//! runs more of them.

use std::future::{Future, ready};
use std::pin::Pin;

use crate::held_app::{HeldApp, full};
use crate::support::{HOUR, Log, MINUTE, Result, SECOND, poll, wait_until};
use futures_lite::future::block_on;
use jobber::Task;
use jobber::testing::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    NotDone,
    /// It is done, and will be stored later.
    StoredLater,
}

type RequestFuture = Pin<Box<dyn Future<Output = Outcome>>>;

/// What a caller asks of the job `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Replace { n: u32, trigger: Trigger },
    ReplaceInMemory { n: u32 },
    Cancel,
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Delay,
    Every,
    Cron,
}

impl Trigger {
    const ALL: [Self; 3] = [Self::Delay, Self::Every, Self::Cron];

    fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Every => "every",
            Self::Cron => "cron",
        }
    }
}

/// What the store has of the job `x`.
type Stored = Option<(u32, Trigger)>;

impl Request {
    /// What the store has if this request was the last.
    fn stored(self) -> Stored {
        match self {
            Self::Replace { n, trigger } => Some((n, trigger)),
            Self::ReplaceInMemory { .. } | Self::Cancel | Self::Abort => None,
        }
    }

    fn begin(self, task: &Task<u32, ()>) -> RequestFuture {
        let outcome = |did| if did { Outcome::Done } else { Outcome::NotDone };
        match self {
            Self::Replace { n, trigger } => {
                let schedule = task.schedule(n).id("x").replace();
                let submit = match trigger {
                    Trigger::Delay => schedule.delay(HOUR),
                    Trigger::Every => schedule.every(MINUTE),
                    Trigger::Cron => schedule.cron("* * * * *"),
                };
                Box::pin(async move { outcome(submit.await.is_ok()) })
            }
            Self::ReplaceInMemory { n } => {
                let submit = task.schedule(n).id("x").replace().in_memory().every(MINUTE);
                Box::pin(async move { outcome(submit.await.is_ok()) })
            }
            Self::Cancel | Self::Abort => {
                let job = task.job("x");
                Box::pin(async move {
                    let Some(job) = job else {
                        return Outcome::NotDone;
                    };
                    let end = match self {
                        Self::Cancel => job.cancel(),
                        _ => job.abort(),
                    };
                    end.await
                        .map_or(Outcome::StoredLater, |end| outcome(end.took_effect()))
                })
            }
        }
    }
}

/// A request that was made.
struct Made {
    request: Request,
    begun: usize,
    /// When its outcome was known, and the outcome.
    answered: Option<(usize, Outcome)>,
    future: Option<RequestFuture>,
}

/// An app with the job `x`, and the requests so far.
struct RandomCase {
    app: HeldApp,
    task: Task<u32, ()>,
    made: Vec<Made>,
    /// Counts requests and polls, as a time.
    now: usize,
    /// A commit waits for its answer.
    is_waiting: bool,
}

impl RandomCase {
    fn new() -> Result<Self> {
        let app = HeldApp::new()?;
        let task = app.slow(&Log::new(), SECOND)?;
        let mut case = Self {
            app,
            task,
            made: Vec::new(),
            now: 0,
            is_waiting: false,
        };
        let first = Request::Replace {
            n: 0,
            trigger: Trigger::Every,
        };
        let mut future = first.begin(&case.task);
        assert_eq!(block_on(&mut future), Outcome::Done);
        case.push(first, Box::pin(ready(Outcome::Done)));
        case.poll();
        case.app.store.hold();
        Ok(case)
    }

    fn push(&mut self, request: Request, future: RequestFuture) {
        self.now += 1;
        self.made.push(Made {
            request,
            begun: self.now,
            answered: None,
            future: Some(future),
        });
    }

    fn begin(&mut self, request: Request) {
        let future = request.begin(&self.task);
        self.push(request, future);
        self.poll();
        if !self.is_waiting {
            self.wait_for_store();
        }
    }

    /// Answers the commit that waits.
    fn answer(&mut self, fault: Fault) {
        if !self.is_waiting {
            return;
        }
        self.app.store.answer(fault);
        self.is_waiting = false;
        self.wait_for_store();
    }

    /// Returns when each request has its outcome or a commit waits. A request that changes
    /// no row has its outcome without a commit: an abort of a job that was cancelled.
    fn wait_for_store(&mut self) {
        wait_until(|| {
            self.poll();
            self.is_waiting = !self.is_answered() && self.app.store.is_requested();
            self.is_answered() || self.is_waiting
        });
    }

    /// Whether each request has its outcome.
    fn is_answered(&self) -> bool {
        self.made.iter().all(|made| made.answered.is_some())
    }

    fn poll(&mut self) {
        self.now += 1;
        for made in &mut self.made {
            if let Some(future) = &mut made.future
                && let Some(outcome) = poll(future)
            {
                made.future = None;
                made.answered = Some((self.now, outcome));
            }
        }
    }

    /// What the store may have: no request that was answered before a request began that is
    /// known to be done.
    fn may_have(&self, is_over: bool) -> Vec<Stored> {
        // Before the case is over, a job in memory and its end need not reach the store.
        let is_stored = |made: &Made| match (made.request, made.answered) {
            _ if is_over => true,
            (Request::ReplaceInMemory { .. }, _) => false,
            (_, Some((at, _))) => at > made.begun + 1 || made.begun == 1,
            _ => false,
        };
        let is_done =
            |made: &&Made| is_stored(made) && matches!(made.answered, Some((_, Outcome::Done)));
        let last_begun = self
            .made
            .iter()
            .filter(is_done)
            .map(|made| made.begun)
            .max();
        let made = self.made.iter().filter(|made| match made.answered {
            Some((answered, _)) => last_begun.is_none_or(|begun| answered >= begun),
            None => true,
        });
        made.map(|made| made.request.stored()).collect()
    }

    fn has(&self) -> Stored {
        let record = self.app.record("x")?;
        let name = record.trigger.name();
        let trigger = Trigger::ALL.into_iter().find(|t| t.name() == name);
        let trigger = trigger.expect("it is one of those");
        assert_eq!(
            record.progress.recurring.is_some(),
            trigger != Trigger::Delay
        );
        Some((record.args.parse().unwrap(), trigger))
    }

    fn check(&self, is_over: bool, what: &str) {
        let (has, may_have) = (self.has(), self.may_have(is_over));
        let made = self.made.iter();
        let made: Vec<_> = made.map(|m| (m.request, m.begun, m.answered)).collect();
        assert!(
            may_have.contains(&has),
            "{what}: {has:?} of {may_have:?}: {made:#?}"
        );
    }
}

#[test]
fn the_store_has_the_last_request_that_was_done_whenever_an_outcome_is_known() -> Result {
    let seeds = std::env::var("JOBBER_SEEDS").ok();
    for seed in 0..seeds.map_or(Ok(300), |seeds| seeds.parse())? {
        try_seed(seed).map_err(|error| format!("seed {seed}: {error}"))?;
    }
    Ok(())
}

fn try_seed(seed: u64) -> Result {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut case = RandomCase::new()?;
    for n in 1..12 {
        match rng.u8(..10) {
            0..4 => {
                let trigger = Trigger::ALL[rng.usize(..3)];
                case.begin(Request::Replace { n, trigger });
            }
            4 => case.begin(Request::ReplaceInMemory { n }),
            5 => case.begin(if rng.bool() {
                Request::Cancel
            } else {
                Request::Abort
            }),
            6 => case.app.advance(MINUTE)?,
            7 => case.app.advance(SECOND)?,
            _ => {
                let faults = [Fault::None, Fault::None, Fault::Fail, Fault::Tear, full()];
                case.answer(faults[rng.usize(..5)].clone());
            }
        }
        case.check(false, &format!("seed {seed}, step {n}"));
    }
    case.app.release()?;
    wait_until(|| {
        case.poll();
        case.is_answered()
    });
    case.app.release()?;
    for made in &mut case.made {
        // By now, it is stored.
        made.answered = made.answered.map(|(at, outcome)| match outcome {
            Outcome::StoredLater => (at, Outcome::Done),
            outcome => (at, outcome),
        });
    }
    case.made
        .retain(|made| matches!(made.answered, Some((_, Outcome::Done))));
    case.check(true, &format!("seed {seed}, in the end"));
    assert_eq!(case.app.app.health().unstored(), 0, "seed {seed}");
    Ok(())
}
