//! [`Submit`]: the way of a job into the app.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::api::job::Job;
use crate::api::request::{IfTaken, Request, Trigger, ask_program, plan};
use crate::engine::hub::{Hub, TakesOver, When};
use crate::engine::inserting::{Inserted, InsertedAs, insert};
use crate::engine::job_state::{JobState, TaskDef};
use crate::engine::replacing::{Replaced, ReplacedAs, Replacing};
use crate::job::definition::ArgsKeys;
use crate::job::plan::Plan;
use crate::registry::pending::{Full, WaitForRoom};
use crate::storage::backlog::{BacklogPlace, RoomWait};
use crate::sync::panics::drop_catching_panic;
use crate::sync::parker::block_on;
use crate::sync::primitives::{Arc, Event as Signal};
use crate::sync::reply::ReplySent;
use crate::sync::waiter::{Condition, Waiter};
use crate::value::error::{ScheduleError, check_id};
use crate::value::id::JobId;
use crate::value::time_units::Now;

impl<A, R> Request<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Checks the options and the trigger.
    #[inline]
    pub(crate) fn check(self) -> Result<CheckedRequest<A, R>, ScheduleError> {
        let Self {
            task,
            mut args,
            mut options,
            trigger,
        } = self;
        if !task.on_schedule.is_empty() || !task.checks.is_empty() {
            ask_program(&task, &mut args, &mut options, &trigger)?;
        }
        let if_taken = options
            .as_ref()
            .map_or(Ok(IfTaken::Refuse), |it| it.if_taken())?;
        let zone = options.as_mut().and_then(|options| options.zone.take());
        let in_memory = options.as_ref().is_some_and(|options| options.in_memory);
        let when_room = options.as_ref().is_some_and(|options| options.when_room);
        let hub = &task.hub;
        let now = match trigger {
            // A job in memory only displays its wall time: a cached clock will do.
            Trigger::Push | Trigger::Delay(_) if task.durability.is_none() => {
                hub.clock.cached_now()
            }
            _ => hub.clock.now(),
        };
        let stored_args = match in_memory {
            true => None,
            false => task.encode(&args).transpose()?,
        };
        let is_durable = stored_args.is_some();
        let keys = match &task.limits {
            Some(limits) => task.keys(limits, &args)?,
            None => ArgsKeys::default(),
        };
        let data = (stored_args, keys);
        let (plan, when) = plan(&task, trigger, options.as_deref(), zone, data, now)?;
        let id = options.and_then(|options| options.id);
        let is_new = if_taken == IfTaken::Refuse;
        if is_new && let Some(error) = plan.never_due_error(&hub.zone) {
            return Err(error);
        }
        Ok(CheckedRequest {
            task,
            args,
            id,
            if_taken,
            plan,
            when,
            now,
            is_durable,
            when_room,
        })
    }

    /// Checks the options, then does what is possible without waiting.
    fn submit(self) -> Result<Submitted<A, R>, ScheduleError> {
        let checked = self.check()?;
        if checked.is_durable || checked.if_taken != IfTaken::Refuse || checked.when_room {
            let (submission, args) = checked.into_submission();
            return submission.begin(args);
        }
        let CheckedRequest {
            task,
            args,
            id,
            plan,
            when,
            now,
            ..
        } = checked;
        let is_paused = plan.is_paused();
        let mut places = match task.pending.enter(1) {
            Ok(places) => places,
            Err(full) => {
                drop_catching_panic(args);
                let error = error_before_full(&task.hub, id.as_ref(), IfTaken::Refuse, now);
                return Err(error.unwrap_or_else(|| full.into_error()));
            }
        };
        let job = JobState::new(task.clone(), Some(args), plan, when == When::Now);
        let mut job = Arc::new(job);
        task.hub.admit(&mut job, (id, false), when, now)?;
        places.keep_one();
        job.note_pause(is_paused);
        Ok(Submitted::Done(Job::new(job)))
    }
}

/// A request whose options and trigger are valid.
pub(crate) struct CheckedRequest<A, R> {
    task: Arc<TaskDef<A, R>>,
    args: A,
    id: Option<JobId>,
    if_taken: IfTaken,
    plan: Plan,
    when: When,
    now: Now,
    is_durable: bool,
    when_room: bool,
}

impl<A, R> CheckedRequest<A, R> {
    /// With the arguments, if the job is in memory.
    pub(crate) fn into_submission(self) -> (Submission<A, R>, Option<A>) {
        let args = if self.is_durable {
            // A durable job reads them from its JSON, for each attempt.
            drop_catching_panic(self.args);
            None
        } else {
            Some(self.args)
        };
        let submission = Submission {
            task: self.task,
            id: self.id,
            if_taken: self.if_taken,
            plan: self.plan,
            when: self.when,
            now: self.now,
            room: None,
            when_room: self.when_room,
            has_place: false,
        };
        (submission, args)
    }
}

/// A job on its way into the app.
pub(crate) struct Submission<A, R> {
    pub(crate) task: Arc<TaskDef<A, R>>,
    pub(crate) id: Option<JobId>,
    pub(crate) if_taken: IfTaken,
    pub(crate) plan: Plan,
    pub(crate) when: When,
    pub(crate) now: Now,
    /// Waits for a place among those that wait for the store. `None` until it found none.
    pub(crate) room: Option<RoomWait>,
    /// If there are too many live jobs, it waits.
    pub(crate) when_room: bool,
    /// It is counted as live already.
    pub(crate) has_place: bool,
}

/// What a submission that waits has come to.
pub(crate) type Waiting<A, R> = Box<(Submission<A, R>, Step<A, R>)>;

/// What comes of a submission at once.
pub(crate) enum Submitted<A, R> {
    Done(Job<R>),
    Waits(Waiting<A, R>),
}

/// How far a submission has come.
pub(crate) enum Step<A, R> {
    Done(Result<Job<R>, ScheduleError>),
    /// The store is asked whether it accepts a new job.
    Inserting(Waiter<ReplySent<Inserted<A, R>>>),
    /// The store is asked whether it accepts a replacement of this job.
    Replacing(Waiter<ReplySent<Replaced<A>>>, Arc<JobState<A, R>>),
    /// The store is asked about another job of this id. What comes next depends on the
    /// answer.
    Behind(Waiter<Reserved>, Option<A>),
    /// Too many submissions wait for the store.
    NoRoom(Option<A>),
    /// Too many jobs are live.
    Full(WaitForRoom, Option<Waiter<IsLive>>, Option<A>),
}

impl<A, R> Submission<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// Goes as far as it can without waiting. A durable job has no `args`: they are part
    /// of its definition.
    pub(crate) fn begin(self, args: Option<A>) -> Result<Submitted<A, R>, ScheduleError> {
        match self.advance(args) {
            Step::Done(result) => result.map(Submitted::Done),
            step => Ok(Submitted::Waits(Box::new((self, step)))),
        }
    }

    pub(crate) fn advance(&self, mut args: Option<A>) -> Step<A, R> {
        let hub = &self.task.hub;
        // Another thread may take the id, or free it, at each step: then it is the other
        // case, and once more.
        loop {
            if let Some(id) = self
                .id
                .as_ref()
                .filter(|_| self.if_taken != IfTaken::Refuse)
            {
                if let Err(error) = check_id(id).and_then(|()| hub.check_open()) {
                    return Step::Done(Err(error));
                }
                if hub.is_reserved(id) {
                    let reserved = Reserved::new(hub.clone(), id.clone());
                    return Step::Behind(Waiter::new(reserved), args);
                }
                if let Some(job) = self.task.live(id) {
                    let replacing = match self.if_taken {
                        IfTaken::Replace(replace) => {
                            job.replace(args, self.plan.clone(), replace, self.now)
                        }
                        IfTaken::Keep | IfTaken::Refuse => job.keep(args),
                    };
                    match replacing {
                        Replacing::Done => return Step::Done(Ok(Job::new(job))),
                        Replacing::Waits(reply) => {
                            return Step::Replacing(Waiter::new(ReplySent(reply)), job);
                        }
                        Replacing::Refused(error) => return Step::Done(Err(error)),
                        Replacing::Ended(back) => args = back,
                        Replacing::NoRoom(args) => return self.wait_for_room(args),
                    }
                }
            }
            match self.admit(args) {
                Ok(step) => return step,
                Err(back) => args = back,
            }
        }
    }

    /// What a new job may take over the id of.
    pub(crate) fn may_take_over(&self) -> TakesOver<'_> {
        match self.if_taken {
            IfTaken::Replace(_) => TakesOver {
                unresolved_of: &self.task.names,
                ended: true,
            },
            IfTaken::Keep | IfTaken::Refuse => TakesOver::NOTHING,
        }
    }

    /// Makes a new job. Returns the arguments if a job of its id has come before it, and
    /// is to be replaced unless it has ended.
    fn admit(&self, args: Option<A>) -> Result<Step<A, R>, Option<A>> {
        let hub = &self.task.hub;
        if let Some(error) = self.plan.never_due_error(&hub.zone) {
            drop_catching_panic(args);
            return Ok(Step::Done(Err(error)));
        }
        let mut live = match self.task.pending.enter(usize::from(!self.has_place)) {
            Ok(live) => live,
            Err(full) => return Ok(self.wait_for_others(full, args)),
        };
        let is_durable = self.plan.is_durable();
        let place = match is_durable {
            false => None,
            true => match self.enter_backlog() {
                Some(place) => Some(place),
                None => return Ok(self.wait_for_room(args)),
            },
        };
        let is_ready = self.when == When::Now;
        let job = JobState::new(self.task.clone(), args, self.plan.clone(), is_ready);
        let mut job = Arc::new(job);
        let over = self.may_take_over();
        let id = self.id.clone();
        let admitted = match is_durable {
            false => hub.admit(&mut job, (id, over.ended), self.when, self.now),
            true => hub.reserve(&mut job, id, over, self.now),
        };
        if admitted.is_ok() && !self.has_place {
            live.keep_one();
        }
        match admitted {
            Ok(()) => Ok(match place {
                None => {
                    job.note_pause(self.plan.is_paused());
                    Step::Done(Ok(Job::new(job)))
                }
                Some(place) => match insert(job, self.plan.due, place) {
                    Ok(reply) => Step::Inserting(Waiter::new(ReplySent(reply))),
                    Err(error) => Step::Done(Err(error)),
                },
            }),
            // That one may have ended since.
            Err(ScheduleError::DuplicateJob { id, ended: None })
                if self.if_taken != IfTaken::Refuse && !self.task.is_of_another_task(&id) =>
            {
                match Arc::into_inner(job) {
                    Some(job) => Err(job.into_args()),
                    None => Ok(Step::Done(Err(ScheduleError::DuplicateJob {
                        id,
                        ended: None,
                    }))),
                }
            }
            Err(error) => Ok(Step::Done(Err(error))),
        }
    }

    fn wait_for_others(&self, full: Full, args: Option<A>) -> Step<A, R> {
        let hub = &self.task.hub;
        let id = self.id.as_ref();
        let is_new = self.if_taken == IfTaken::Refuse;
        let error = match error_before_full(hub, id, self.if_taken, self.now) {
            None if self.when_room && full.ends() => {
                // A job of the id may come, and is then kept or replaced.
                let live = id.filter(|_| !is_new).map(|id| {
                    Waiter::new(IsLive {
                        hub: hub.clone(),
                        id: id.clone(),
                    })
                });
                return Step::Full(full.wait(), live, args);
            }
            None => full.into_error(),
            Some(error) => error,
        };
        drop_catching_panic(args);
        Step::Done(Err(error))
    }

    /// A place among those that wait for the store, if there is room.
    fn enter_backlog(&self) -> Option<BacklogPlace> {
        let store = self.task.hub.store.as_ref()?;
        store.enter_backlog(self.plan.args_len())
    }

    fn wait_for_room(&self, args: Option<A>) -> Step<A, R> {
        // In a forked process no place becomes free, and no timer fires.
        if let Err(error) = self.task.hub.check_open() {
            drop_catching_panic(args);
            return Step::Done(Err(error));
        }
        match &self.task.hub.store {
            Some(_) => Step::NoRoom(args),
            // A durable task is not registered without a store.
            None => Step::Done(Err(ScheduleError::Stopped)),
        }
    }

    /// Waits for room; for the busy timeout of the store at most, counted from the first call.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ScheduleError>> {
        let Some(store) = &self.task.hub.store else {
            return Poll::Ready(Err(ScheduleError::Stopped));
        };
        let room = self.room.get_or_insert_with(|| store.wait_for_room());
        Pin::new(room).poll(cx).map_err(ScheduleError::from_store)
    }
}

/// Another error than that of too many live jobs: the app is not open, or the id is taken.
fn error_before_full(
    hub: &Hub,
    id: Option<&JobId>,
    if_taken: IfTaken,
    now: Now,
) -> Option<ScheduleError> {
    if let Err(error) = hub.check_open() {
        // In a stopped app no place becomes free.
        return Some(error);
    }
    let id = id?;
    let duplicate = |ended| ScheduleError::DuplicateJob {
        id: id.clone(),
        ended,
    };
    let is_live = || hub.find(id).is_some() || hub.is_reserved(id);
    let ended = || hub.ended_job(id, now).map(|ended| duplicate(Some(ended)));
    match if_taken {
        IfTaken::Refuse if is_live() => Some(duplicate(None)),
        IfTaken::Refuse | IfTaken::Keep => ended(),
        IfTaken::Replace(_) => None,
    }
}

/// Waits until a job of this id is live.
pub(crate) struct IsLive {
    hub: Arc<Hub>,
    id: JobId,
}

impl Condition for IsLive {
    type Output = ();

    fn ready(&self) -> Option<()> {
        let is_live = self.hub.find(&self.id).is_some();
        (self.hub.has_stopped() || is_live).then_some(())
    }

    fn event(&self) -> &Signal {
        self.hub.changed()
    }
}

/// Waits until no place is reserved for an id.
pub(crate) struct Reserved {
    hub: Arc<Hub>,
    id: JobId,
}

impl Reserved {
    pub(crate) fn new(hub: Arc<Hub>, id: JobId) -> Self {
        Self { hub, id }
    }
}

impl Condition for Reserved {
    type Output = ();

    fn ready(&self) -> Option<()> {
        (self.hub.has_stopped() || !self.hub.is_reserved(&self.id)).then_some(())
    }

    fn event(&self) -> &Signal {
        self.hub.changed()
    }
}

/// Schedules a job: returned by the triggers of [`Schedule`](crate::Schedule). `.await` it, or end it
/// with [`.block_on()`](Submit::block_on). Before that, nothing is scheduled and no
/// delay counts. Both return the [`Job`].
///
/// A job in memory is scheduled in the first poll. A durable job is scheduled when
/// the store has saved it. A [replacement](crate::Schedule::replace) of a stored job
/// waits for the store, too.
///
/// If too many jobs wait for the store, it first waits for a place among them
/// ([`Storage::busy_timeout`](crate::storage::Storage::busy_timeout)). With
/// [`when_room`](crate::Schedule::when_room) it waits for a place among the live jobs, too.
///
/// If you drop this value before the commit of the job has begun, nothing is scheduled. If you
/// drop it later, it is not cancel safe: the job is scheduled if the store accepts it.
///
/// ```
/// use jobber::Jobber;
///
/// let app = Jobber::builder().build()?;
/// let hello = app.task("hello", || async { "Hello!" }).register()?;
/// app.start().block_on()?;
///
/// let job = hello.schedule(()).push().block_on()?; // without async
/// smol::block_on(async {
///     let job = hello.schedule(()).push().await?; // in async code
///     assert_eq!(*job.await?, "Hello!");
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is scheduled until it is awaited or ended with `.block_on()`"]
pub struct Submit<A, R>(Stage<A, R>);

enum Stage<A, R> {
    Asked(Request<A, R>),
    Waiting(Waiting<A, R>),
    Done,
}

// Nothing of it is ever pinned.
impl<A, R> Unpin for Submit<A, R> {}

impl<A, R> Submit<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    pub(crate) fn new(request: Request<A, R>) -> Self {
        Self(Stage::Asked(request))
    }

    /// Schedules the job. If it is durable, blocks the thread until the store has saved
    /// it.
    ///
    /// # Errors
    /// If the app does not run, if the id is taken or not allowed, if too many jobs are live
    /// ([`ScheduleError::TooManyPending`]), if an option or the trigger is invalid, if the store
    /// could not save the job, or if no place among the jobs that wait for the store became free in
    /// time ([`StorageError::Busy`](crate::storage::StorageError::Busy)). After an error, no job
    /// exists, unless the store does not know whether it has saved it: then jobber deletes it with
    /// the next commit.
    ///
    /// # Panics
    /// If the value was polled to its end before.
    pub fn block_on(mut self) -> Result<Job<R>, ScheduleError> {
        match self.begin()? {
            Submitted::Done(job) => Ok(job),
            Submitted::Waits(waiting) => {
                self.0 = Stage::Waiting(waiting);
                block_on(self)
            }
        }
    }

    /// # Panics
    /// If it was polled.
    pub(crate) fn into_request(self) -> Request<A, R> {
        match self.0 {
            Stage::Asked(request) => request,
            Stage::Waiting(_) | Stage::Done => panic!("this `Submit` was polled before"),
        }
    }

    /// Begins, or takes up again.
    fn begin(&mut self) -> Result<Submitted<A, R>, ScheduleError> {
        match std::mem::replace(&mut self.0, Stage::Done) {
            Stage::Asked(request) => request.submit(),
            Stage::Waiting(waiting) => Ok(Submitted::Waits(waiting)),
            Stage::Done => panic!("`Submit` was polled after it was ready"),
        }
    }
}

impl<A, R> Future for Submit<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    type Output = Result<Job<R>, ScheduleError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waiting = match self.begin()? {
            Submitted::Done(job) => return Poll::Ready(Ok(job)),
            Submitted::Waits(waiting) => waiting,
        };
        loop {
            let (submission, step) = &mut *waiting;
            let args = match step {
                Step::Done(result) => {
                    return Poll::Ready(std::mem::replace(result, Err(ScheduleError::Stopped)));
                }
                Step::Inserting(reply) => match Pin::new(reply).poll(cx) {
                    Poll::Ready(stored) => {
                        return match stored.end {
                            InsertedAs::Done(job) => Poll::Ready(Ok(Job::new(job))),
                            InsertedAs::Refused(error) => Poll::Ready(Err(error)),
                            // Only a proposal of a group is withdrawn, and this one has none.
                            InsertedAs::Withdrawn => Poll::Ready(Err(ScheduleError::Stopped)),
                        };
                    }
                    Poll::Pending => break,
                },
                Step::Replacing(reply, job) => match Pin::new(reply).poll(cx) {
                    Poll::Ready(answer) => match answer.end {
                        ReplacedAs::Done => return Poll::Ready(Ok(Job::new(job.clone()))),
                        ReplacedAs::Refused(error) => return Poll::Ready(Err(error)),
                        ReplacedAs::Again(args) => args,
                    },
                    Poll::Pending => break,
                },
                Step::Behind(reserved, args) => match Pin::new(reserved).poll(cx) {
                    Poll::Ready(()) => args.take(),
                    Poll::Pending => break,
                },
                Step::Full(room, live, args) => {
                    let is_live = live.as_mut().map(|live| Pin::new(live).poll(cx));
                    match (Pin::new(room).poll(cx), is_live) {
                        (Poll::Pending, None | Some(Poll::Pending)) => break,
                        _ => args.take(),
                    }
                }
                Step::NoRoom(args) => match submission.poll_room(cx) {
                    Poll::Ready(Ok(())) => args.take(),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => break,
                },
            };
            *step = submission.advance(args);
        }
        self.0 = Stage::Waiting(waiting);
        Poll::Pending
    }
}

impl<A, R> fmt::Debug for Submit<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Stage::Asked(request) => f
                .debug_struct("Submit")
                .field("task", &request.task.name)
                .field("options", &request.options)
                .field("trigger", &request.trigger)
                .finish_non_exhaustive(),
            Stage::Waiting(_) => f.write_str("Submit(waiting)"),
            Stage::Done => f.write_str("Submit(done)"),
        }
    }
}
