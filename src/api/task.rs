//! [`TaskBuilder`]: a function that is to be registered.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::api::around::{around, block_on_attempt, layer, on_error, recover, typed_layer};
use crate::api::context::JobContext;
use crate::api::handler::{BlockingHandler, Handler, TaskOutput};
use crate::api::limit::Limit;
use crate::api::registered_task::Task;
use crate::engine::group::GroupRef;
use crate::engine::hub::Hub;
use crate::engine::job_state::{ArgsCheck, BodyMaker, Durability, JobState, Middleware, TaskDef};
use crate::engine::limits::{KeyOf, LimitBy, RateBy, TaskLimits, gcra};
use crate::engine::pause_switch::PauseSwitch;
use crate::engine::shared_limit::{LimitOption, check_limits, limits_in_app};
#[cfg(feature = "serde")]
use crate::job::codec::Codec;
use crate::job::codec::{ArgsCodec, SharedCodec};
use crate::job::decisions::{Decisions, OnErrorFn, RecoverFn};
use crate::job::definition::Timeout;
use crate::job::end_record::KeepFailed;
use crate::job::last_result::Failure;
use crate::job::lifecycle::Begun;
use crate::job::live_job::Body;
use crate::job::middleware::{Layer, Next, Outcome};
use crate::job::typed_middleware::{TypedLayer, TypedNext};
use crate::registry::gcra::Gcra;
use crate::registry::lines::LimitId;
use crate::registry::pending::{Pending, PendingCounts};
use crate::sync::primitives::{Arc, lock};
use crate::value::backoff::Backoff;
use crate::value::end_of_job::{EndOfJob, OnEnd};
use crate::value::error::{BoxError, JobError, RegisterError, check_task_name};
use crate::value::labels::Labels;
use crate::value::on_error::OnError;
use crate::value::rate::Rate;
use crate::value::waiting_for::WaitingFor;

/// With this many interruptions a job is set aside, if its task sets no other limit.
const MAX_INTERRUPTIONS: u32 = 5;

/// The longest arguments of a durable job in bytes of JSON, if its task sets no other limit.
const MAX_ARGS_BYTES: usize = 1_024 * 1_024;

/// A task that is not registered yet: set options, then call
/// [`register`](TaskBuilder::register). [`Jobber::task`](crate::Jobber::task) and
/// [`Jobber::blocking_task`](crate::Jobber::blocking_task) return it.
///
/// ```
/// use std::time::Duration;
/// use jobber::{Backoff, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let fetch = app
///     .task("fetch", async |url: String| url.len())
///     .timeout(Duration::from_secs(30))
///     .retry(Backoff::exponential(3))
///     .register()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the task is not registered until `register` is called"]
pub struct TaskBuilder<A, R> {
    hub: Arc<Hub>,
    /// Without the name of its group.
    name: String,
    group: Option<GroupRef>,
    is_blocking: bool,
    can_fail: bool,
    aliases: Vec<String>,
    timeout: Option<Duration>,
    backoff: Option<Backoff>,
    /// `None` if the task is not durable.
    args_codec: Option<ArgsCodec<A>>,
    codec: Option<SharedCodec>,
    at_most_once: bool,
    keep_failed: Option<KeepFailed>,
    max_interruptions: Option<u32>,
    max_args_bytes: Option<usize>,
    priority: i8,
    labels: Labels,
    checks: Vec<ArgsCheck<A>>,
    on_error: Vec<OnErrorFn>,
    recover: Vec<RecoverFn<R>>,
    on_end: Vec<OnEnd>,
    around: Vec<Layer>,
    around_typed: Vec<TypedLayer<A, R>>,
    limits: Vec<LimitOption>,
    limit_by: Option<LimitBy<A>>,
    max_pending: Option<usize>,
    rate: Option<Rate>,
    rate_by: Option<(Rate, KeyOf<A>)>,
    body: BodyMaker<A, R>,
}

impl<A, R> TaskBuilder<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    pub(crate) fn new<H, S>(hub: Arc<Hub>, name: String, handler: H) -> Self
    where
        H: Handler<A, S>,
        H::Future: Future + Send + 'static,
        <H::Future as Future>::Output: TaskOutput<Value = R>,
        S: 'static,
    {
        let handler = Arc::new(handler);
        let body = move |job: Arc<JobState<A, R>>, begun: Begun, args| -> Body {
            if let Some(middleware) = job.task.around.clone() {
                let handler = handler.clone();
                let task = async move |cx, args| {
                    let output = handler.call(|| cx, args);
                    output.await.into_result()
                };
                return Box::pin(around(middleware, (job, begun), args, task));
            }
            let result = handler.call(|| JobContext::new(job.clone(), begun), args);
            Box::pin(async move {
                let output = result.await;
                job.finish(begun.number, to_result(output))
            })
        };
        let can_fail = <H::Future as Future>::Output::CAN_FAIL;
        Self::with_body(hub, name, (false, can_fail), Box::new(body))
    }

    pub(crate) fn new_blocking<H, S>(hub: Arc<Hub>, name: String, handler: H) -> Self
    where
        H: BlockingHandler<A, S>,
        H::Output: TaskOutput<Value = R>,
        S: 'static,
    {
        let handler = Arc::new(handler);
        let body = move |job: Arc<JobState<A, R>>, begun: Begun, args| -> Body {
            let handler = handler.clone();
            if let Some(middleware) = job.task.around.clone() {
                let task = async move |cx, args| handler.call(|| cx, args).into_result();
                let attempt = around(middleware, (job.clone(), begun), args, task);
                return Box::pin(async move { block_on_attempt(&job, begun.number, attempt) });
            }
            Box::pin(async move {
                let output = handler.call(|| JobContext::new(job.clone(), begun), args);
                job.finish(begun.number, to_result(output))
            })
        };
        Self::with_body(hub, name, (true, H::Output::CAN_FAIL), Box::new(body))
    }

    /// In this group, whose name comes before that of the task.
    pub(crate) fn in_group(mut self, group: GroupRef) -> Self {
        self.group = Some(group);
        self
    }

    fn with_body(
        hub: Arc<Hub>,
        name: String,
        (is_blocking, can_fail): (bool, bool),
        body: BodyMaker<A, R>,
    ) -> Self {
        Self {
            hub,
            name,
            group: None,
            is_blocking,
            can_fail,
            aliases: Vec::new(),
            timeout: None,
            backoff: None,
            args_codec: None,
            codec: None,
            at_most_once: false,
            keep_failed: None,
            max_interruptions: None,
            max_args_bytes: None,
            priority: 0,
            labels: Labels::default(),
            checks: Vec::new(),
            on_error: Vec::new(),
            recover: Vec::new(),
            on_end: Vec::new(),
            around: Vec::new(),
            around_typed: Vec::new(),
            limits: Vec::new(),
            limit_by: None,
            max_pending: None,
            rate: None,
            rate_by: None,
            body,
        }
    }

    /// Adds a limit: how many attempts of this task may run at the same time, or of all tasks that
    /// share the [`Limit`](crate::Limit). Each call adds another one. Default: no limit.
    ///
    /// A job that is due and over a limit waits: it stays `SCHEDULED`, keeps its due time, needs no
    /// thread and no future in the executor, and its timeout does not count yet. A
    /// [cancel](crate::Job::cancel) takes it out of the line. An event says that it waits, and
    /// [`Job::waiting_for`](crate::Job::waiting_for) says for what.
    ///
    /// - The order is that of the [priority](TaskBuilder::priority), then of the due time, then of
    ///   arrival. A job takes all of its limits together or none. A job that waits does not hold up
    ///   jobs that need other limits.
    /// - A job that 1,000 later ones have overtaken at one of its limits comes before them. Its limits
    ///   are kept for it in this order: those of its keys, the [rate](TaskBuilder::rate) and the
    ///   limits of its task, those of its groups, [`max_running`](crate::JobberBuilder::max_running). The next free unit
    ///   is kept at each of them, up to the first that is full. Those after that are not kept yet: so
    ///   a job that waits for another job of its key keeps nothing at the limit of the app.
    /// - An attempt has its limits until its function is gone: also a blocking function that has not
    ///   returned after a timeout. A retry takes them again.
    /// - Limits are kept in memory. With [`at_most_once`](TaskBuilder::at_most_once) the start is
    ///   stored after the job has its limits.
    ///
    /// # Deadlock
    /// An attempt that waits for a job which needs a limit that the attempt holds may wait for
    /// ever. If that limit is one, the wait panics ([`Job::wait`](crate::Job::wait)); with larger
    /// limits nothing notices that all who hold it wait.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// let slow = sim.app().task("slow", std::future::pending::<()>).limit(2).register()?;
    /// for _ in 0..5 {
    ///     slow.schedule(()).push().block_on()?;
    /// }
    /// sim.run_until_stalled();
    /// let jobs = sim.app().jobs();
    /// let running = jobs.iter().filter(|job| job.status() == jobber::JobStatus::Running);
    /// assert_eq!(running.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit(mut self, limit: impl Into<Limit>) -> Self {
        let limit: Limit = limit.into();
        self.limits.push(limit.as_option(WaitingFor::TaskLimit));
        self
    }

    /// Adds a middleware: an async function that runs around each attempt of this task. It gets the
    /// [`JobContext`] of the attempt and the rest of it ([`Next`]), and returns how the attempt has
    /// ended ([`Outcome`]). Several ones run from the outside to the inside in the order of these
    /// calls; those of its [groups](crate::Group::around) and of the
    /// [app](crate::JobberBuilder::around) are outside of all.
    ///
    /// - It runs inside of the timeout of the attempt, and again for each retry.
    /// - It can't make a success: if it does not call the task, the attempt fails.
    /// - A panic fails the attempt; a middleware further out sees it as a failure.
    /// - A timeout or an [abort](crate::Job::abort) drops the middleware with the task. What must
    ///   happen then belongs in the `Drop` of a value that it holds.
    /// - Around a blocking task, it runs on the thread of the task. A timeout or an abort drops it at
    ///   its next `.await`. Neither ends the function of the task; when that returns, the outcome is a
    ///   failure. In a [`Simulation`](crate::testing::Simulation), such a middleware must not wait:
    ///   it would block the thread that moves the clock.
    ///
    /// [`around_typed`](TaskBuilder::around_typed) sees the arguments and the value. Without a
    /// middleware, an attempt costs one branch more; the first one adds 0.4 µs, each further one
    /// 0.1 µs (`attempts_around` of `benches/parts.rs`).
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::{JobContext, Next, Outcome};
    ///
    /// struct Transaction { is_open: bool }
    ///
    /// impl Drop for Transaction {
    ///     /// Also after a timeout or an abort.
    ///     fn drop(&mut self) {
    ///         if self.is_open {
    ///             println!("roll back");
    ///         }
    ///     }
    /// }
    ///
    /// async fn in_transaction(cx: JobContext, next: Next) -> Outcome {
    ///     let mut transaction = Transaction { is_open: true };
    ///     let outcome = next.run().await;
    ///     if outcome.is_success() {
    ///         transaction.is_open = false;
    ///         println!("commit");
    ///     }
    ///     outcome
    /// }
    ///
    /// let book = sim.app().task("book", async |seat: u32| seat).around(in_transaction).register()?;
    /// let job = book.schedule(7).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(*job.result()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn around<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(JobContext, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        self.around.push(layer(middleware));
        self
    }

    /// Adds a middleware that knows the types of the task: it also gets the arguments, and returns the
    /// value or an error. It runs inside of all that [`around`](TaskBuilder::around) sets; several ones
    /// run from the outside to the inside in the order of these calls.
    ///
    /// It can make a success without the task, and change the value. A panic of the task goes through
    /// it. The rest is as [`around`](TaskBuilder::around) says: it runs again for each retry, inside of
    /// the timeout, and is dropped by a timeout or an abort. A blocking task that returns after that
    /// is an error for it ([`AttemptEnded`](crate::AttemptEnded)).
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::{BoxError, JobContext, TypedNext};
    ///
    /// async fn only_small(
    ///     cx: JobContext,
    ///     n: u32,
    ///     next: TypedNext<u32, u64>,
    /// ) -> Result<u64, BoxError> {
    ///     match n {
    ///         0..100 => next.run(n).await,
    ///         _ => Err(format!("{n} is too large").into()),
    ///     }
    /// }
    ///
    /// let square = sim.app().task("square", async |n: u32| u64::from(n) * u64::from(n));
    /// let square = square.around_typed(only_small).register()?;
    /// let (small, large) = (square.schedule(7), square.schedule(700));
    /// let (small, large) = (small.push().block_on()?, large.push().block_on()?);
    /// sim.run_until_stalled();
    /// assert_eq!(*small.result()?, 49);
    /// assert!(large.result().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn around_typed<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(JobContext, A, TypedNext<A, R>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, BoxError>> + Send + 'static,
    {
        self.around_typed.push(typed_layer(middleware));
        self
    }

    /// Adds a function that sees the arguments of each job before it is scheduled, on the thread that
    /// polls or blocks on the schedule. It may change them, or refuse the job: then scheduling fails with
    /// [`ScheduleError::Refused`](crate::ScheduleError::Refused). Several ones are called in the order
    /// of these calls, after those of the [app](crate::JobberBuilder::on_schedule) and of its
    /// [groups](crate::Group::on_schedule).
    ///
    /// It is called once for each schedule, before the key of a limit is computed and the arguments
    /// are stored. Scheduling may fail after that for another reason. It is not called for runs and
    /// retries, when jobs are loaded from the store, and for failed jobs that are
    /// [retried](crate::FailedJob::retry). A panic is a refusal.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// use jobber::ScheduleError;
    ///
    /// let mail = sim.app().task("mail", async |to: String| to.len());
    /// let mail = mail
    ///     .check(|to: &mut String| {
    ///         *to = to.trim().to_lowercase();
    ///         match to.contains('@') {
    ///             true => Ok(()),
    ///             false => Err(format!("{to:?} has no @").into()),
    ///         }
    ///     })
    ///     .register()?;
    /// let refused = mail.schedule("Ada".into()).push().block_on();
    /// assert!(matches!(refused, Err(ScheduleError::Refused { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check<F>(mut self, check: F) -> Self
    where
        F: Fn(&mut A) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.checks.push(Box::new(check));
        self
    }

    /// Adds a function that decides what follows an attempt that has failed. Several ones are called in
    /// the order of these calls, then those of the [groups](crate::Group::on_error) of the task, the
    /// nearest first, then those of the [app](crate::JobberBuilder::on_error), until one does not return
    /// [`OnError::Pass`].
    ///
    /// - It sees what comes out of the middleware, timeouts and panics. It is not called if the next run
    ///   cuts off the attempt ([`Overlap::CancelRunning`](crate::Overlap::CancelRunning)), after an abort, for
    ///   a [`Snooze`](crate::Snooze), and for an attempt that a crash has ended.
    /// - No run has more retries than the [`Backoff`](TaskBuilder::retry) allows. If the attempt has called
    ///   [`no_retry`](crate::JobContext::no_retry) or [`retry_after`](crate::JobContext::retry_after), that
    ///   counts, and not what the function returns.
    /// - It runs on the thread of the attempt; after a timeout, on a thread of the executor. It must not
    ///   block. **With such a function, or with [`recover`](TaskBuilder::recover), a timeout also needs a free
    ///   thread of the executor**: if all are busy, it takes effect later. If the function of the task
    ///   returns before that, there was no timeout.
    /// - A panic is `Pass`. It is not called for an attempt that the executor drops during a stop or within
    ///   `spawn`. If the executor drops the call for a timeout, the attempt ends without it.
    /// - The context shows no [local](crate::JobContext::local) of the attempt. A value that a function
    ///   sets is seen by the later functions of the same failure.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::{Backoff, BoxError, JobError, JobStatus, OnError};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// #[error("the user is unknown")]
    /// struct UnknownUser;
    ///
    /// let mail = sim.app().task("mail", async |to: String| Err::<(), BoxError>(UnknownUser.into()));
    /// let mail = mail
    ///     .retry(Backoff::exponential(5))
    ///     .on_error(|error, cx| match error {
    ///         JobError::Failed(error) if error.is::<UnknownUser>() => OnError::Fail,
    ///         _ => OnError::Pass,
    ///     })
    ///     .register()?;
    /// let job = mail.schedule("nobody".into()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(job.status(), JobStatus::Failed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_error<F>(mut self, function: F) -> Self
    where
        F: Fn(&JobError, &JobContext) -> OnError + Send + Sync + 'static,
    {
        self.on_error.push(on_error(function));
        self
    }

    /// Adds a function that may return a value in place of an error: then the attempt has succeeded with
    /// it. It is called for the same failures as [`on_error`](TaskBuilder::on_error), on the same threads,
    /// and before those functions. Several ones are called in the order of these calls, until one returns a
    /// value.
    ///
    /// If it returns a value, no function of `on_error` is called, and no middleware sees the value. The
    /// attempt has also succeeded if it has called [`no_retry`](crate::JobContext::no_retry). It must not
    /// block. A panic counts as `None`. After a timeout, a blocking function of the task may still run; it
    /// keeps its limits until it returns.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use std::io;
    ///
    /// let read = sim.app().task("read", async |file: String| Err::<String, _>(io::Error::other(file)));
    /// let read = read.recover(|error, cx| Some(String::from("nothing"))).register()?;
    /// let job = read.schedule("a".into()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(*job.result()?, "nothing");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recover<F>(mut self, function: F) -> Self
    where
        F: Fn(&JobError, &JobContext) -> Option<R> + Send + Sync + 'static,
    {
        self.recover.push(recover(function));
        self
    }

    /// Adds a function that sees how each job of this task ends: with success, with a failure, or
    /// cancelled; and each job that is [set aside](TaskBuilder::max_interruptions). It is for alarms. Several
    /// ones are called in the order of these calls, then those of the [groups](crate::Group::on_end) of the
    /// task, the nearest first, then those of the [app](crate::JobberBuilder::on_end).
    ///
    /// A recurring job ends once: a failed run that other runs follow is not shown here, but to
    /// [`on_error`](TaskBuilder::on_error) and as an [event](crate::Jobber::events). In contrast to an event,
    /// no end is left out because the program is slow.
    ///
    /// It is called on a thread of the executor and must not block. The status of the job is final before
    /// that; the store has the end of a stored job, or has refused it. A panic has no effect. Calls for two
    /// jobs may run at the same time, and in any order. A [shutdown](crate::Jobber::shutdown) waits for the calls
    /// within its grace, also for those of jobs that it cancels; the drop of the last clone does not. A
    /// call is lost if it has not run when the app has stopped, if the executor drops it, or if the process
    /// ends before it.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::JobStatus;
    ///
    /// let mail = sim.app().task("mail", async |to: String| Err::<(), _>(std::io::Error::other(to)));
    /// let mail = mail.on_end(|end| {
    ///     assert_eq!(end.to_string(), "mail m: FAILED after 1 attempts: ada");
    ///     println!("{end}");
    /// });
    /// mail.register()?.schedule("ada".into()).id("m").push().block_on()?;
    /// sim.run_until_stalled();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_end<F>(mut self, function: F) -> Self
    where
        F: Fn(&EndOfJob) + Send + Sync + 'static,
    {
        self.on_end.push(Arc::new(function));
        self
    }

    /// Sets how many attempts of this task may run at the same time for each key. `key` computes the
    /// key from the arguments; it has 256 bytes at most. This limit adds to the other
    /// [limits](TaskBuilder::limit); a second call of this method replaces the first.
    ///
    /// The caller that schedules a job computes its key, and a stored job keeps it. If the function
    /// panics, scheduling fails with [`ScheduleError::Key`](crate::ScheduleError::Key); if the key
    /// is too long, with [`ScheduleError::KeyTooLong`](crate::ScheduleError::KeyTooLong). An empty
    /// key is a key like any other. A job that was stored before its task had this option has no
    /// key, and this limit does not apply to it.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::WaitingFor;
    ///
    /// let sync = sim.app().task("sync", |_user: String| std::future::pending::<()>());
    /// let sync = sync.limit_by(1, |user: &String| user.clone()).register()?;
    /// let ada = sync.schedule("ada".into()).push().block_on()?;
    /// let bob = sync.schedule("bob".into()).push().block_on()?;
    /// let again = sync.schedule("ada".into()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert_eq!(bob.waiting_for(), None);
    /// assert_eq!(again.waiting_for(), Some(WaitingFor::Key("ada".into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit_by<K>(
        mut self,
        attempts: usize,
        key: impl Fn(&A) -> K + Send + Sync + 'static,
    ) -> Self
    where
        K: Into<String>,
    {
        self.limit_by = Some(LimitBy {
            capacity: attempts,
            key: Box::new(move |args| key(args).into()),
        });
        self
    }

    /// Sets how often attempts of this task may start. A second call replaces the first. Default:
    /// no rate.
    ///
    /// It is one more [limit](TaskBuilder::limit): a job that is due waits in the same order for
    /// all its limits and its rate, and takes them together. Each attempt counts, also a retry,
    /// when it is handed to the executor, unless a pause or its expiry stops it then. The monotonic
    /// clock counts the time. What is known of earlier starts is kept in memory: in the next process a
    /// whole burst may start.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::{Rate, WaitingFor};
    ///
    /// let sms = sim.app().task("sms", async |to: u32| to);
    /// let sms = sms.rate(Rate::new(2, Duration::from_secs(60))).register()?;
    /// let mut jobs = Vec::new();
    /// for to in 0..4 {
    ///     jobs.push(sms.schedule(to).push().block_on()?);
    /// }
    /// let done = || jobs.iter().filter(|job| job.is_done()).count();
    /// sim.run_until_stalled();
    /// assert_eq!(done(), 2);
    /// assert_eq!(jobs[3].waiting_for(), Some(WaitingFor::Rate));
    /// sim.advance(Duration::from_secs(30));
    /// assert_eq!(done(), 3);
    /// sim.advance(Duration::from_secs(30));
    /// assert_eq!(done(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Sets how often attempts of this task may start for each key, which `key` computes from the
    /// arguments as for [`limit_by`](TaskBuilder::limit_by). It adds to the other rate and to the
    /// limits; a second call of this method replaces the first.
    ///
    /// A key without jobs is forgotten when its whole burst may start again.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::{Rate, WaitingFor};
    ///
    /// let mail = sim.app().task("mail", async |user: String| println!("to {user}"));
    /// let hourly = Rate::new(1, Duration::from_secs(3_600));
    /// let mail = mail.rate_by(hourly, |user: &String| user.clone()).register()?;
    /// let ada = mail.schedule("ada".into()).push().block_on()?;
    /// let bob = mail.schedule("bob".into()).push().block_on()?;
    /// let again = mail.schedule("ada".into()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(ada.is_done() && bob.is_done());
    /// assert_eq!(again.waiting_for(), Some(WaitingFor::RateOfKey("ada".into())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rate_by<K>(mut self, rate: Rate, key: impl Fn(&A) -> K + Send + Sync + 'static) -> Self
    where
        K: Into<String>,
    {
        self.rate_by = Some((rate, Box::new(move |args| key(args).into())));
        self
    }

    /// Sets how many jobs of this task may be live at the same time: those that wait and those that
    /// run. Default: no limit. [`JobberBuilder::max_pending`](crate::JobberBuilder::max_pending)
    /// limits those of all tasks together.
    ///
    /// Scheduling one more fails with
    /// [`ScheduleError::TooManyPending`](crate::ScheduleError::TooManyPending), or waits, if
    /// [`Schedule::when_room`](crate::Schedule::when_room) says so. The runs of a recurring job are
    /// one job. Jobs that are restored from the store count too, but never fail, and neither does
    /// the replacement of a job that is live.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// use jobber::ScheduleError;
    ///
    /// let mail = sim.app().task("mail", async |to: String| to).max_pending(2).register()?;
    /// let ada = mail.schedule("ada".into()).push().block_on()?;
    /// mail.schedule("bob".into()).push().block_on()?;
    /// let error = mail.schedule("eve".into()).push().block_on().unwrap_err();
    /// assert!(matches!(error, ScheduleError::TooManyPending { live: 2, max: 2, .. }));
    /// sim.run_until_stalled();
    /// assert!(ada.is_done());
    /// mail.schedule("eve".into()).push().block_on()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_pending(mut self, jobs: usize) -> Self {
        self.max_pending = Some(jobs);
        self
    }

    /// Adds a tag to all jobs of this task ([`Schedule::tag`](crate::Schedule::tag)).
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.labels.tag(tag.into().into());
        self
    }

    /// Adds a note to all jobs of this task ([`Schedule::note`](crate::Schedule::note)).
    pub fn note(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.note(key.into().into(), value.into().into());
        self
    }

    /// Sets the priority of the jobs of this task among those that are due and wait for
    /// [limits](TaskBuilder::limit) or [rates](TaskBuilder::rate): those with a higher number start
    /// first. A job that 1,000 others have overtaken comes before them. Default: 0.
    pub fn priority(mut self, priority: i8) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the longest time of an attempt, on the monotonic clock. Default: no limit.
    ///
    /// An attempt that takes longer ends with the status
    /// [`Timeout`](crate::JobStatus::Timeout). The future of an async task is dropped.
    /// For a blocking task, the [`StopToken`](crate::StopToken) is set, and the result
    /// is dropped when the function returns. Until then the job does not start again, and
    /// [`Jobber::health`](crate::Jobber::health) shows it
    /// ([`Attention::Outliving`](crate::Attention::Outliving)).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let slow = sim
    ///     .app()
    ///     .task("slow", std::future::pending::<()>)
    ///     .timeout(Duration::from_secs(30))
    ///     .register()?;
    /// let job = slow.schedule(()).push().block_on()?;
    /// sim.advance(Duration::from_secs(30));
    /// assert_eq!(job.status(), jobber::JobStatus::Timeout);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets how often, and after which delays, a failed attempt is retried. Default:
    /// no retry.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// use jobber::Backoff;
    ///
    /// let fetch = app
    ///     .task("fetch", async |url: String| url.parse::<u32>())
    ///     .retry(Backoff::exponential(3))
    ///     .register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Adds an earlier name of this task. Stored jobs with that name are then jobs of
    /// this task. Can be called several times.
    ///
    /// A stored job keeps the name under which it was scheduled, so that an older
    /// version of the program can still run it. Keep the alias as long as the store may
    /// hold such jobs.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # let app = jobber::Jobber::builder().storage(jobber::MemoryStorage::new()).build()?;
    /// let mail = app
    ///     .task("send_mail", async |to: String| println!("to {to}"))
    ///     .durable()
    ///     .alias("mail")
    ///     .register()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn alias(mut self, name: impl Into<String>) -> Self {
        self.aliases.push(name.into());
        self
    }

    /// For durable tasks: makes sure that an attempt which a crash interrupts is not
    /// repeated. Default: such an attempt is repeated, so that each job runs at least
    /// once.
    ///
    /// The start of each attempt is stored before the attempt starts. If the process
    /// ends before the attempt does, the next process does not repeat it: the run has
    /// failed without a retry, and a recurring job continues with its next run. This
    /// also happens if the process ends after the start was stored and before the
    /// function was called: then the attempt never ran.
    ///
    /// An attempt that *fails* is retried as usual ([`retry`](TaskBuilder::retry)),
    /// because its end is known.
    ///
    /// | the process ends | default (at least once) | `at_most_once` |
    /// |---|---|---|
    /// | before the attempt | the next process runs it | the next process runs it |
    /// | during the attempt | the next process runs it again | it has failed, no retry |
    /// | after the attempt, before its end is stored | the next process runs it again | it has failed, no retry |
    /// | after its end is stored | it does not run again | it does not run again |
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # let app = jobber::Jobber::builder().storage(jobber::MemoryStorage::new()).build()?;
    /// let launch = app
    ///     .task("launch", async |rocket: String| println!("{rocket} is off"))
    ///     .durable()
    ///     .at_most_once()
    ///     .register()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at_most_once(mut self) -> Self {
        self.at_most_once = true;
        self
    }

    /// For durable tasks: sets how many of its jobs that have failed the store keeps, with their
    /// arguments, and for how long ([`Jobber::failed`](crate::Jobber::failed)). Default: what
    /// [`JobberBuilder::keep_failed`](crate::JobberBuilder::keep_failed) says for the app, whose
    /// count limits all tasks together. The oldest go first. With a count of 0 none is kept.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # let app = jobber::Jobber::builder().storage(jobber::MemoryStorage::new()).build()?;
    /// use std::time::Duration;
    ///
    /// let day = Duration::from_secs(24 * 3_600);
    /// let mail = app
    ///     .task("mail", async |to: String| Err::<(), _>(format!("no mailbox {to}")))
    ///     .durable()
    ///     .keep_failed(100, 30 * day)
    ///     .register()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keep_failed(mut self, count: u64, age: Duration) -> Self {
        self.keep_failed = Some(KeepFailed { count, age });
        self
    }

    /// For durable tasks: sets aside a job when the process has ended this often in a row during
    /// its attempts, without a shutdown of the app. Default: 5. At least 1.
    ///
    /// An attempt that ends its process (out of memory, a stack overflow, an abort in C code)
    /// would be made again for ever. So if a process has ended without a shutdown, the next one
    /// stores the start of each attempt of an overdue job. The start of a job that was
    /// interrupted before is always stored. If the process ends during such an attempt, the job
    /// was interrupted ([`JobContext::interruptions`](crate::JobContext::interruptions)). The
    /// first end of a process during an attempt is not seen. An attempt that ends, in whichever
    /// way, sets the count to 0. Jobs that were interrupted run after the others, and from the
    /// second time on one at a time.
    ///
    /// A job that is set aside is kept in the store and does not start. It is a live job: its
    /// status is `SCHEDULED`, it can be cancelled, and it can be replaced, which does not release
    /// it. [`Jobber::unresolved`](crate::Jobber::unresolved) lists it,
    /// [`Jobber::release`](crate::Jobber::release) lets it run again.
    ///
    /// A task that is [`at_most_once`](TaskBuilder::at_most_once) makes no attempt again.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # let app = jobber::Jobber::builder().storage(jobber::MemoryStorage::new()).build()?;
    /// let render = app
    ///     .task("render", async |page: String| page.len())
    ///     .durable()
    ///     .max_interruptions(2)
    ///     .register()?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_interruptions(mut self, max: u32) -> Self {
        self.max_interruptions = Some(max);
        self
    }

    /// For durable tasks: sets how long the arguments of a job may be, in bytes as they are stored.
    /// Default: 1 MiB. Scheduling a job with longer ones fails with
    /// [`ScheduleError::ArgumentsTooLong`](crate::ScheduleError::ArgumentsTooLong). Jobs that are
    /// stored already run all the same.
    ///
    /// The arguments are in memory while their job is live, and each attempt reads them. It is
    /// better to store large data elsewhere, and to pass its name.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # let sim = jobber::testing::Simulation::with(
    /// #     0, jobber::testing::ManualClock::new(), |app| app.storage(jobber::MemoryStorage::new()))?;
    /// # let app = sim.app();
    /// use jobber::ScheduleError;
    ///
    /// let mail = app.task("mail", async |to: String| println!("to {to}"));
    /// let mail = mail.durable().max_args_bytes(100).register()?;
    /// let error = mail.schedule("x".repeat(200)).push().block_on().unwrap_err();
    /// assert!(matches!(error, ScheduleError::ArgumentsTooLong { bytes: 202, max: 100, .. }));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_args_bytes(mut self, max: usize) -> Self {
        self.max_args_bytes = Some(max);
        self
    }

    /// For durable tasks: how arguments and checkpoints are stored. Default: that of the
    /// [app](crate::JobberBuilder::codec), and else JSON. See [`Codec`](crate::Codec).
    ///
    /// ```
    /// use jobber::{BoxError, Codec, Decoder, Encoder, Jobber, MemoryStorage};
    ///
    /// struct Backwards;
    ///
    /// impl Codec for Backwards {
    ///     fn name(&self) -> &str {
    ///         "backwards"
    ///     }
    ///
    ///     fn encode(&self, value: Encoder<'_>) -> Result<Vec<u8>, BoxError> {
    ///         let json = serde_json::to_vec(&value)?;
    ///         Ok(json.into_iter().rev().collect())
    ///     }
    ///
    ///     fn decode(&self, bytes: &[u8], value: Decoder<'_>) -> Result<(), BoxError> {
    ///         let json: Vec<u8> = bytes.iter().rev().copied().collect();
    ///         value.read(&mut serde_json::Deserializer::from_slice(&json))
    ///     }
    /// }
    ///
    /// let app = Jobber::builder().storage(MemoryStorage::new()).build()?;
    /// let mail = app.task("mail", async |to: String| println!("mail to {to}"));
    /// let mail = mail.durable().codec(Backwards).register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "serde")]
    pub fn codec(mut self, codec: impl Codec) -> Self {
        self.codec = Some(SharedCodec::new(codec));
        self
    }

    /// Registers the task with its app, before or after the app is started. If the
    /// store holds jobs of the task, they are scheduled then.
    ///
    /// # Errors
    /// - If the name or an alias is empty, longer than 200 bytes, contains control characters, or
    ///   is already in use.
    /// - If the task is in a [group](crate::Group): if an option of the group or its name is invalid,
    ///   or one of its options was set after its first task.
    /// - If a [limit](TaskBuilder::limit), a [rate](TaskBuilder::rate) or
    ///   [`max_pending`](TaskBuilder::max_pending) is 0, the time of a rate is zero or longer than
    ///   292 years, or a limit is one of another app.
    /// - If a tag or a note is not allowed.
    /// - If the timeout or a number of the backoff is invalid, or
    ///   [`max_interruptions`](TaskBuilder::max_interruptions) is 0.
    /// - If the task is durable and the app has no store; if the task is not durable
    ///   and [`at_most_once`](TaskBuilder::at_most_once),
    ///   [`keep_failed`](TaskBuilder::keep_failed),
    ///   [`max_interruptions`](TaskBuilder::max_interruptions) or
    ///   [`max_args_bytes`](TaskBuilder::max_args_bytes) is set.
    /// - If the app was shut down.
    ///
    /// ```
    /// use jobber::{Jobber, RegisterError};
    ///
    /// let app = Jobber::builder().build()?;
    /// app.task("hello", || async {}).register()?;
    /// let error = app.task("hello", || async {}).register().unwrap_err();
    /// assert!(matches!(error, RegisterError::DuplicateTask { .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn register(self) -> Result<Task<A, R>, RegisterError> {
        check_task_name(&self.name)?;
        let group = self.group.as_ref();
        let name = match group {
            Some(group) => group.def.full_name(&self.name),
            None => self.name,
        };
        check_task_name(&name)?;
        self.aliases
            .iter()
            .try_for_each(|name| check_task_name(name))?;
        if let Some(backoff) = &self.backoff {
            backoff.check()?;
        }
        let timeout = self.timeout.map(Timeout::of_task).transpose()?;
        let durable_options = [
            ("at_most_once", self.at_most_once),
            ("keep_failed", self.keep_failed.is_some()),
            ("max_interruptions", self.max_interruptions.is_some()),
            ("max_args_bytes", self.max_args_bytes.is_some()),
            ("codec", self.codec.is_some()),
        ];
        if self.args_codec.is_none()
            && let Some((option, _)) = durable_options.into_iter().find(|(_, is_set)| *is_set)
        {
            return Err(RegisterError::NotDurable { option });
        }
        #[cfg(feature = "serde")]
        if let Some(codec) = self.codec.as_ref().filter(|codec| !codec.has_valid_name()) {
            let name = codec.name.to_string();
            return Err(RegisterError::InvalidCodec { name });
        }
        if self.args_codec.is_some() && self.hub.store.is_none() {
            return Err(RegisterError::NoStorage { name });
        }
        if self.max_interruptions == Some(0) {
            return Err(RegisterError::ZeroLimit {
                option: "max_interruptions",
            });
        }
        let by = self.limit_by.iter().map(|by| ("limit_by", by.capacity));
        let pending = self.max_pending.map(|max| ("max_pending", max));
        let limits = by.chain(pending);
        if let Some((option, _)) = limits.into_iter().find(|(_, number)| *number == 0) {
            return Err(RegisterError::ZeroLimit { option });
        }
        self.labels.check()?;
        let rate = self.rate.map(|rate| gcra(rate, "rate")).transpose()?;
        let rate_by = self.rate_by.map(|(rate, key)| {
            let rate = gcra(rate, "rate_by")?;
            Ok::<_, RegisterError>(RateBy { rate, key })
        });
        let by = (self.limit_by, rate_by.transpose()?);
        let name: Arc<str> = name.into();
        let aliases = self.aliases.into_iter().map(Arc::from);
        let names: Box<[_]> = std::iter::once(name.clone()).chain(aliases).collect();
        // A refused task must not fix its groups, or make a shared limit one of this app.
        self.hub.check_names(&names)?;
        check_limits(&self.limits, &self.hub, &mut Vec::new())?;
        if let Some(group) = group {
            group.check(&self.hub)?;
        }
        let group = group.map(|group| group.fix(&self.hub)).transpose()?;
        let of_groups = group.map_or(&[][..], |group| &group.limits);
        let limits = task_limits(&self.hub, &self.limits, of_groups, rate, by)?;
        let max_interruptions = self.max_interruptions.unwrap_or(MAX_INTERRUPTIONS);
        let max_args_bytes = self.max_args_bytes.unwrap_or(MAX_ARGS_BYTES);
        let (at_most_once, keep_failed) = (self.at_most_once, self.keep_failed);
        let codec = self.codec.or_else(|| self.hub.codec.clone());
        let durability = self.args_codec.map(|args_codec| Durability {
            args_codec,
            at_most_once,
            keep_failed,
            max_interruptions,
            max_args_bytes,
        });
        let (mut layers, mut on_schedule) = (self.hub.around.clone(), self.hub.on_schedule.clone());
        let (mut timeout, mut backoff) = (timeout, self.backoff);
        if let Some(group) = group {
            layers.extend(group.around.iter().cloned());
            on_schedule.extend(group.on_schedule.iter().cloned());
            timeout = timeout.or(group.timeout);
            backoff = backoff.or_else(|| group.backoff.clone());
        }
        layers.extend(self.around);
        let (mut on_error, mut on_end) = (self.on_error, self.on_end);
        if let Some(group) = group {
            on_error.extend(group.on_error.iter().cloned());
            on_end.extend(group.on_end.iter().cloned());
        }
        on_error.extend(self.hub.on_error.iter().cloned());
        on_end.extend(self.hub.on_end.iter().cloned());
        let has_middleware = !layers.is_empty() || !self.around_typed.is_empty();
        let has_decisions = !on_error.is_empty() || !self.recover.is_empty();
        let decisions = Decisions {
            recover: self.recover.into(),
            on_error: on_error.into(),
        };
        let own = self
            .max_pending
            .map(|max| Arc::new(Pending::new(Some(name.clone()), max)));
        let pending = own.iter().chain(&self.hub.pending_of_app).cloned();
        let pending = PendingCounts::new(pending);
        let def = Arc::new(TaskDef {
            names,
            name,
            hub: self.hub,
            group: self.group.map(|group| group.def),
            is_blocking: self.is_blocking,
            may_snooze: self.can_fail || has_middleware,
            timeout,
            backoff,
            pause: PauseSwitch::new(),
            priority: self.priority,
            labels: self.labels,
            limits,
            pending,
            durability,
            codec,
            on_schedule: on_schedule.into(),
            checks: self.checks.into(),
            decisions: has_decisions.then(|| Box::new(decisions)),
            on_end: on_end.into(),
            around: has_middleware.then(|| Middleware {
                layers: layers.into(),
                typed: self.around_typed.into(),
            }),
            body: self.body,
        });
        // Before a job can wait for it.
        lock(&def.hub.pending).extend(own.clone());
        if let Err(error) = def.hub.register(&def.names, &def) {
            let is_own = |it: &Arc<Pending>| own.as_ref().is_some_and(|own| Arc::ptr_eq(own, it));
            lock(&def.hub.pending).retain(|it| !is_own(it));
            return Err(error);
        }
        Ok(Task { def })
    }
}

#[cfg(feature = "serde")]
impl<A, R> TaskBuilder<A, R>
where
    A: serde::Serialize + serde::de::DeserializeOwned,
{
    /// Keeps the jobs of this task in the
    /// [store](crate::JobberBuilder::storage) of the app: they survive the process.
    /// [Durability](crate#durability) describes the promise.
    ///
    /// The arguments are stored as JSON, or by a [codec](TaskBuilder::codec), and each attempt reads
    /// them again. The value that a job returns is not stored.
    ///
    /// If you add an argument to the function, stored jobs no longer match it and become
    /// [unresolved](crate::Jobber::unresolved). Take one struct instead, and mark its new
    /// fields with `#[serde(default)]`.
    ///
    /// ```
    /// use jobber::{Jobber, MemoryStorage};
    ///
    /// let app = Jobber::builder().storage(MemoryStorage::new()).build()?;
    /// let mail = app
    ///     .task("mail", async |to: String, subject: String| println!("{subject} to {to}"))
    ///     .durable()
    ///     .register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn durable(mut self) -> Self {
        self.args_codec = Some(ArgsCodec::new());
        self
    }
}

/// The limits of a task, with those of its groups and of the app. `None` if there are none.
fn task_limits<A>(
    hub: &Arc<Hub>,
    limits: &[LimitOption],
    of_groups: &[(LimitId, WaitingFor)],
    rate: Option<Gcra>,
    (by, rate_by): (Option<LimitBy<A>>, Option<RateBy<A>>),
) -> Result<Option<Box<TaskLimits<A>>>, RegisterError> {
    let of_app = hub.limits.of_app.map(|id| (id, WaitingFor::MaxRunning));
    let mut names: Vec<_> = of_app
        .into_iter()
        .chain(of_groups.iter().cloned())
        .collect();
    names.extend(limits_in_app(limits, hub, &mut Vec::new())?);
    if rate_by.is_some() {
        hub.limits.set_has_rates();
    }
    if let Some(rate) = rate {
        names.push((hub.limits.add_rate(rate), WaitingFor::Rate));
    }
    if names.is_empty() && by.is_none() && rate_by.is_none() {
        return Ok(None);
    }
    let ids: Vec<_> = names.iter().map(|(id, _)| *id).collect();
    let line = lock(&hub.limits.lines).add_line(&ids);
    Ok(Some(Box::new(TaskLimits {
        line,
        names,
        by,
        rate_by,
    })))
}

impl<A, R> fmt::Debug for TaskBuilder<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskBuilder")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .field("retry", &self.backoff)
            .finish_non_exhaustive()
    }
}

fn to_result<T: TaskOutput>(output: T) -> Result<T::Value, Failure> {
    let result = output.into_result();
    result.map_err(|error| Failure::Error(Arc::from(error)))
}
