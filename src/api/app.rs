//! [`Jobber`]: the app.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use crate::api::action::Action;
use crate::api::declare::JobSet;
use crate::api::events::Events;
use crate::api::failed_job::FailedJob;
use crate::api::group::Group;
use crate::api::handler::{BlockingHandler, Handler, TaskOutput};
use crate::api::hooks::{Hook, Hooks};
use crate::api::job::AnyJob;
use crate::api::resume::Resume;
use crate::api::select::{Jobs, Selection};
use crate::api::start::{DriveMode, Parts, Start};
use crate::api::stopping::{LEAST_TO_END, LONGEST_DROP, ended, shut_down, store_closed, timeout};
use crate::api::task::TaskBuilder;
use crate::engine::driver::Driver;
use crate::engine::hub::Hub;
use crate::engine::pausing::{Pausable, PauseChange};
use crate::engine::{event_bus, timer_thread};
use crate::executor::blocking_threads;
use crate::job::live_job::{CancelReply, Cancelling};
use crate::job::sync_state::CommitWaiter;
use crate::storage::contract::UnresolvedJob;
use crate::sync::parker::block_on;
use crate::sync::polling::{is_pool_thread, polled_job};
use crate::sync::primitives::{Arc, Event as Signal, Mutex, lock};
use crate::sync::reply::ReplySent;
use crate::sync::waiter::{Condition, Waiter};
use crate::value::declared::Declared;
use crate::value::error::{DeclareError, StartError, StorageError};
use crate::value::health::{Attention, Failing, Health};
use crate::value::id::JobId;
use crate::value::shutdown_report::ShutdownReport;
use crate::value::steer_outcome::SteerOutcome;

/// A scheduler that lives in this program. You register tasks with it and schedule
/// jobs on it. One thread of its own starts the jobs that are due. **It stops when the last
/// clone of this value is dropped**, and cancels its jobs: keep it, or
/// [`detach`](Jobber::detach) it.
///
/// All clones are the same app, and can be sent to any thread. When the last one is dropped,
/// the app stops as after a [`shutdown`](Jobber::shutdown) without a grace period: the drop
/// blocks the thread until the functions of [`on_stop`](crate::JobberBuilder::on_stop) have run, for
/// five seconds at most, and until the store is closed, for another five. Tasks and jobs do not
/// keep the app alive.
///
/// **After a `fork`**, the new process has none of the threads of the app. The app has stopped
/// there: [`ScheduleError::Forked`](crate::ScheduleError::Forked) refuses new jobs, waits return
/// at once, and a shutdown or a drop does nothing. Calls that wake the timer, wait or use the
/// store notice the fork. Other calls check once a millisecond, because a check is slow. A job
/// in memory that is scheduled in between is accepted and never runs. No app can be started
/// there ([`StartError::Forked`](crate::StartError::Forked)): fork before the first start. An
/// attempt that forks must end the new process and not return in it: the new process would go
/// on as a copy of a thread of the executor, which would run jobs that the first process runs
/// too.
///
/// A task's function that schedules jobs finds their tasks by
/// [`JobContext::app`](crate::JobContext::app). It should capture no `Jobber`: the app owns
/// the function, and would keep itself alive until it is shut down. Nor should it capture its
/// own [`Task`](crate::Task), which would keep it in memory for ever.
///
/// ```
/// use std::time::Duration;
/// use jobber::{JobStatus, Jobber};
///
/// let app = Jobber::builder().build()?;
/// let add = app.task("add", async |x: i32, y: i32| x + y).register()?;
/// app.start().block_on()?;
///
/// let job = add.schedule((1, 2)).delay(Duration::from_millis(10)).block_on()?;
/// assert_eq!(job.wait_blocking(), JobStatus::Success);
/// assert_eq!(*job.result()?, 3);
///
/// app.shutdown(Duration::from_secs(10)).block_on();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "the app stops when the last clone of it is dropped; `detach` keeps it"]
pub struct Jobber {
    inner: Arc<Inner>,
}

/// What the clones share. Dropping it stops the app.
struct Inner {
    start: Start,
}

impl Jobber {
    pub(crate) fn new(hub: Hub, parts: Parts, drive_mode: DriveMode, hooks: Vec<Hook>) -> Self {
        let start = Start {
            hub: Arc::new(hub),
            parts: Arc::new(Mutex::new(parts)),
            drive_mode,
            hooks: Arc::new(Hooks::new(hooks)),
        };
        Self {
            inner: Arc::new(Inner { start }),
        }
    }

    /// Begins to register an async function as a task.
    ///
    /// `name` is what stored jobs are found by: keep it the same from one version
    /// of the program to the next. The function takes 0 to 6 arguments; a
    /// [`JobContext`](crate::JobContext) may come before them. See [`Handler`].
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// async fn greet(name: String, times: usize) -> String {
    ///     format!("Hello {name}! ").repeat(times)
    /// }
    /// let greet = app.task("greet", greet).register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A closure that uses a value of its own has to clone it in each call, because each call
    /// returns a future that owns what it uses. ([`state`](crate::JobberBuilder::state) shares a
    /// value with all tasks without that.)
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let prefix = String::from("Hello");
    /// let greet = app
    ///     .task("greet", move |name: String| {
    ///         let prefix = prefix.clone();
    ///         async move { format!("{prefix} {name}!") }
    ///     })
    ///     .register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task<H, A, S>(
        &self,
        name: impl Into<String>,
        handler: H,
    ) -> TaskBuilder<A, <<H::Future as Future>::Output as TaskOutput>::Value>
    where
        H: Handler<A, S>,
        H::Future: Future + Send + 'static,
        <H::Future as Future>::Output: TaskOutput,
        A: Clone + Send + Sync + 'static,
        S: 'static,
    {
        TaskBuilder::new(self.hub().clone(), name.into(), handler)
    }

    /// Begins to register a synchronous function as a task. It may block: it runs on
    /// a thread for blocking work
    /// ([`Executor::spawn_blocking`](crate::Executor::spawn_blocking)). Otherwise
    /// this is like [`task`](Jobber::task).
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let count = app
    ///     .blocking_task("count", |path: String| std::fs::read(path).map(|bytes| bytes.len()))
    ///     .register()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocking_task<H, A, S>(
        &self,
        name: impl Into<String>,
        handler: H,
    ) -> TaskBuilder<A, <H::Output as TaskOutput>::Value>
    where
        H: BlockingHandler<A, S>,
        H::Output: TaskOutput,
        A: Clone + Send + Sync + 'static,
        S: 'static,
    {
        TaskBuilder::new_blocking(self.hub().clone(), name.into(), handler)
    }

    /// The group of this name: tasks that share options. The first call makes it, without options;
    /// later ones return the same group.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let reports = app.group("reports").limit(2);
    /// let daily = reports.task("daily", async || {}).register()?;
    /// assert_eq!(daily.name(), "reports.daily");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn group(&self, name: impl AsRef<str>) -> Group {
        Group::new(self.hub().clone(), None, name.as_ref())
    }

    /// Starts the app. `.await` it, or end it with `.block_on()`.
    ///
    /// 1. The store is opened, if there is one, and the jobs in it are restored.
    /// 2. The timer starts. From here on, jobs can be scheduled.
    /// 3. The functions of [`on_start`](crate::JobberBuilder::on_start) run, on the thread that polls or
    ///    blocks on this.
    /// 4. Attempts begin.
    ///
    /// Register durable tasks before. A stored job whose task is not registered
    /// waits until it is ([`unresolved`](Jobber::unresolved)). If this value is
    /// dropped after its first poll, the start goes on; if a function of `on_start` has not ended, the app
    /// stops instead.
    ///
    /// # Errors
    /// - [`StartError::AlreadyStarted`] if `start` was called before.
    /// - [`StartError::Stopped`] if the app was shut down before, or is meanwhile.
    /// - [`StartError::Forked`] in a process that was forked after an app was started.
    /// - [`StartError::Thread`] if the operating system starts no thread;
    ///   [`StartError::Reactor`] if the reactor of async-io cannot be built, because
    ///   descriptors or threads are used up.
    /// - [`StartError::Storage`] if the store can't be opened or read;
    ///   [`StartError::TooManyJobs`] if it holds more jobs than an app can.
    /// - [`StartError::OnStart`] if a function of `on_start` fails. Then the app has stopped.
    ///
    /// After an error other than the first three and the last, `start` can be called again.
    ///
    /// ```
    /// # use jobber::Jobber;
    /// let app = Jobber::builder().build()?;
    /// app.start().block_on()?; // or: app.start().await?
    /// # Ok::<(), jobber::StartError>(())
    /// ```
    pub fn start(&self) -> Action<Result<(), StartError>> {
        let start = self.inner.start.clone();
        Action::new(async move {
            let started = start.clone().begin()?;
            // From now on, the app must not go on without its functions of `on_start`.
            let stop = start.stop_on_drop();
            if let Some(started) = started
                && let Err(error) = Waiter::new(ReplySent(started)).await
            {
                stop.disarm();
                return Err(error);
            }
            start.run_hooks(stop).await
        })
    }

    /// Lets the app run although nobody keeps a clone of it: until
    /// [`shutdown`](Jobber::shutdown) is called on another clone, or the process ends.
    ///
    /// If the process ends during an attempt of a stored job, the next process handles it as
    /// after a crash. Jobs in memory are lost. A shutdown ends the app in order.
    ///
    /// ```
    /// use jobber::{Job, Jobber, JobStatus};
    ///
    /// fn in_the_background() -> Result<Job<u32>, Box<dyn std::error::Error>> {
    ///     let app = Jobber::builder().build()?;
    ///     let answer = app.task("answer", async || 42_u32).register()?;
    ///     app.start().block_on()?;
    ///     let job = answer.schedule(()).push().block_on()?;
    ///     // Otherwise the app would stop at the end of this function, and cancel the job.
    ///     app.detach();
    ///     Ok(job)
    /// }
    ///
    /// let job = in_the_background()?;
    /// assert_eq!(job.wait_blocking(), JobStatus::Success);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn detach(self) {
        // One reference is never dropped.
        std::mem::forget(self);
    }

    /// Stops the app. `.await` it, or end it with `.block_on()`.
    ///
    /// 1. No job starts any more. Jobs that wait are cancelled, unless they are
    ///    stored.
    /// 2. Attempts that run are requested to stop
    ///    ([`StopToken`](crate::StopToken)), and have `grace` of real time to end.
    ///    An attempt that fails in this time is not retried.
    /// 3. The functions of [`on_stop`](crate::JobberBuilder::on_stop) run, the last one first. All of them
    ///    together have the rest of `grace`, and a second at least.
    /// 4. The app has stopped: everyone who still waits for a job is woken, and the
    ///    store is closed. For that it waits until the end of `grace`, and for a second at
    ///    least.
    ///
    /// Returns what is left: the jobs that still ran at the end of the grace period, what the
    /// store does not have, and whether it is closed. The futures of these jobs
    /// belong to the executor and go on there. (The threads of the built-in pool end
    /// with the app: what runs on them fails.)
    ///
    /// Stored jobs stay `Scheduled` in the store, for the next start. If a stored
    /// job fails during the grace period, its retry follows after the next start. If
    /// it still runs at the end of the grace period, or its executor drops it, it runs
    /// again after the next start; until then it shows no final status.
    ///
    /// Not cancel safe: after the first poll, the app stops also if this value is
    /// dropped. (The function of `on_stop` that runs is dropped, too; the others run in the next shutdown,
    /// or when the last clone is dropped.) If a job or a function of `on_start` calls this and waits for
    /// it, it waits for itself until the grace period is over. If there are several calls, the shortest grace counts,
    /// and all calls return the same jobs.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use jobber::{JobStatus, Jobber};
    /// # let app = Jobber::builder().build()?;
    /// let forever = app.task("forever", std::future::pending::<()>).register()?;
    /// app.start().block_on()?;
    /// let job = forever.schedule(()).id("f").push().block_on()?;
    /// while job.status() != JobStatus::Running {
    ///     std::thread::yield_now();
    /// }
    /// let report = app.shutdown(Duration::ZERO).block_on();
    /// assert_eq!(report.left, ["f"]);
    /// assert!(report.is_store_closed && report.unstored == 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, grace: Duration) -> Action<ShutdownReport> {
        let Start { hub, hooks, .. } = self.inner.start.clone();
        Action::new(async move {
            let begun = Instant::now();
            if hub.is_forked() {
                return hub.report(Vec::new());
            }
            hub.begin_stop();
            let jobs_and_start = async {
                shut_down(hub.clone()).await;
                hooks.start_over().await;
            };
            timeout(grace, jobs_and_start).await;
            let rest = grace.saturating_sub(begun.elapsed());
            timeout(rest.max(LEAST_TO_END), hooks.stop()).await;
            hooks.leave_out_rest();
            let left = hub.end_stop();
            let rest = grace.saturating_sub(begun.elapsed());
            timeout(rest.max(LEAST_TO_END), ended(hub.clone())).await;
            hub.report(left)
        })
    }

    /// [Starts](Jobber::start) the app, waits for `future`, [shuts the app down](Jobber::shutdown),
    /// and returns the value of the future: for a `main` function. `.await` it, or end it with
    /// `.block_on()`.
    ///
    /// It holds a clone of the app until then. To see what the shutdown has left, call `start` and
    /// `shutdown` instead. `examples/service.rs`, in the repository, runs until a signal comes.
    ///
    /// # Errors
    /// Those of [`start`](Jobber::start). Then the future is not polled.
    ///
    /// # Cancel safety
    /// If this is dropped before it is ready, the future is dropped, and the app goes on while another
    /// clone exists. If it is dropped while a function of `on_start` runs, the app stops. If it is dropped
    /// during the shutdown, see there.
    ///
    /// # Panics
    /// If `future` panics. The app is not shut down then: it stops when its last clone is dropped.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use jobber::Jobber;
    ///
    /// let app = Jobber::builder().build()?;
    /// let hello = app.task("hello", async |name: String| format!("hello {name}")).register()?;
    /// let main = async move {
    ///     let job = hello.schedule("Ada".into()).push().await?;
    ///     job.wait().await;
    ///     Ok::<_, jobber::ScheduleError>(job.result().map_or(0, |text| text.len()))
    /// };
    /// let length = app.run_until(main, Duration::from_secs(10)).block_on()??;
    /// assert_eq!(length, 9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_until<F>(&self, future: F, grace: Duration) -> Action<Result<F::Output, StartError>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let app = self.clone();
        Action::new(async move {
            app.start().await?;
            let value = future.await;
            app.shutdown(grace).await;
            Ok(value)
        })
    }

    /// Waits until no job is live or the app has stopped. `.await` it, or end it
    /// with `.block_on()`. Cancel safe.
    ///
    /// A recurring job is live until it is cancelled or reaches a limit. A job that is
    /// [paused](crate::Job::pause) and does not run is not waited for.
    ///
    /// # Panics
    /// Panics in two cases, if it has to wait. The panic fails the attempt that waits.
    /// - An attempt of a job of this app waits, in either form: it would wait for itself.
    /// - An async task, also of another app, ends this with `.block_on()` on a thread of the
    ///   built-in `ThreadPool`: a live job may need that thread. `.await` it there. A blocking
    ///   task may block.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let app = jobber::Jobber::builder().build()?;
    /// # let hello = app.task("hello", || async {}).register()?;
    /// # app.start().block_on()?;
    /// for n in 0..10 {
    ///     hello.schedule(()).delay(Duration::from_millis(n)).block_on()?;
    /// }
    /// app.wait_all().block_on();
    /// assert!(app.jobs().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_all(&self) -> Action<()> {
        Action::wait(AllDone(self.hub().clone()))
    }

    /// Waits as [`wait_all`](Jobber::wait_all) does, but not longer than `limit` of real time.
    /// Returns whether no job is live any more. `.await` it, or end it with `.block_on()`. The
    /// limit counts from the first poll. Cancel safe.
    ///
    /// # Panics
    /// As [`wait_all`](Jobber::wait_all).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let app = jobber::Jobber::builder().build()?;
    /// # let hello = app.task("hello", || async {}).register()?;
    /// # app.start().block_on()?;
    /// let job = hello.schedule(()).every(Duration::from_secs(60)).block_on()?;
    /// assert!(!app.wait_all_timeout(Duration::from_millis(1)).block_on());
    /// job.cancel().block_on()?;
    /// assert!(app.wait_all_timeout(Duration::from_secs(10)).block_on());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_all_timeout(&self, limit: Duration) -> Action<bool> {
        let hub = self.hub().clone();
        Action::wait_at_most(AllDone(hub.clone()), limit, move || hub.is_idle())
    }

    /// Pauses the app: no attempt of any job begins until [`resume`](Jobber::resume). Otherwise as
    /// [`Task::pause`](crate::Task::pause): the store keeps the pause, and the next process begins
    /// paused.
    ///
    /// # Errors
    /// If the store could not save it, or is closed: the app has not started or has stopped. Then
    /// nothing is paused.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// sim.app().pause().block_on()?;
    /// let job = hello.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(!job.is_done());
    /// sim.app().resume().block_on()?;
    /// sim.run_until_stalled();
    /// assert!(job.is_done());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) -> Action<Result<SteerOutcome, StorageError>> {
        let hub = self.hub().clone();
        Action::new(hub.change_pause(Pausable::App, PauseChange::Pause))
    }

    /// Ends the pause of the app. Jobs go on from now, as [`Job::resume`](crate::Job::resume) says,
    /// unless they, their tasks or a group of these is paused. `.await` it, or end it with
    /// [`.block_on()`](Resume::block_on). Nothing happens before.
    ///
    /// # Errors
    /// As [`pause`](Jobber::pause): then the app is still paused.
    pub fn resume(&self) -> Resume {
        Resume::of(self.hub().clone(), Pausable::App)
    }

    /// Whether the app is paused. Never blocks.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// assert!(!sim.app().is_paused());
    /// sim.app().pause().block_on()?;
    /// assert!(sim.app().is_paused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_paused(&self) -> bool {
        self.hub().pause.is_paused()
    }

    /// Declares a set of recurring jobs. A program calls it at each start: its jobs are then as it
    /// declares them, and keep their progress. `.await` it, or end it with `.block_on()`.
    ///
    /// Each entry is a schedule with an id and a trigger that recurs. An entry
    /// - makes a new job if no live job has its id: also if the job has ended, in whichever way,
    ///   for example because it has failed too often;
    /// - replaces its live job if the two differ, by the rules of
    ///   [`Schedule::replace`](crate::Schedule::replace);
    /// - changes nothing if the live job is the same and is stored: nothing is written. (Arguments
    ///   in memory can't be compared: such a job is always replaced.)
    /// - with [`keep`](crate::Schedule::keep) leaves its live job as it is;
    /// - that has no time left before its [`until`](crate::Schedule::until) is reported as
    ///   [`over`](crate::Declared::over), and its live job is cancelled.
    ///
    /// A job that an earlier declaration of this set has and this one has not goes on, and is
    /// reported ([`Declared::absent`](crate::Declared::absent)); with [`JobSet::remove_absent`] it
    /// is removed. Sets of other names, and jobs of no set, are left alone. An entry without `keep`
    /// takes over the live job of its id, also from another set. A job that another call replaces
    /// stays in its set. A job that is [set aside](crate::TaskBuilder::max_interruptions) stays so.
    ///
    /// All entries are checked first: if one of them is invalid, nothing changes. What changes
    /// in the store changes in one commit; jobs in memory follow, and then the removals. If a
    /// waiting job of the set is cancelled meanwhile, the set makes a new job of its id; if a
    /// running job is, it ends with its run, and the set is declared. If this
    /// value is dropped after its first poll, the set is declared or not declared as a whole,
    /// except its jobs in memory and the removals.
    ///
    /// The duration grows with the number of live jobs.
    ///
    /// # Errors
    /// - If an entry has no id, the id of another entry, or a trigger that runs once.
    /// - If an entry can't be scheduled: an option, its trigger or its arguments are invalid, its
    ///   id belongs to a job of another task, its job was cancelled and ends with its present run,
    ///   or its job has had all runs that it allows. The error names the entry.
    /// - If the app does not run, or the store refuses the set.
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
    /// # let (storage, clock) = (MemoryStorage::new(), ManualClock::new());
    /// # let start = || Simulation::with(0, clock.clone(), |app| app.storage(storage.clone()));
    /// # let sim = start()?;
    /// # let app = sim.app();
    /// let report = app.task("report", async |of: String| println!("report of {of}"));
    /// let report = report.durable().register()?;
    /// // At each start:
    /// let declared = app.declare("reports", |set| {
    ///     set.add(report.schedule("day".into()).id("daily").cron("0 6 * * *"));
    ///     set.add(report.schedule("week".into()).id("weekly").cron("0 6 * * MON"));
    /// });
    /// assert_eq!(declared.block_on()?.added, ["daily", "weekly"]);
    ///
    /// // The next version of the program:
    /// let declared = app.declare("reports", |set| {
    ///     set.add(report.schedule("day".into()).id("daily").cron("30 6 * * *"));
    /// });
    /// let declared = declared.block_on()?;
    /// assert_eq!((declared.replaced, declared.absent), (vec!["daily".into()], vec!["weekly".into()]));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn declare(
        &self,
        set: impl Into<String>,
        define: impl FnOnce(&mut JobSet),
    ) -> Action<Result<Declared, DeclareError>> {
        let mut jobs = JobSet::new(self.hub().clone(), set.into());
        define(&mut jobs);
        Action::new(jobs.declare())
    }

    /// The live jobs that a condition is true of: to list, count, cancel, pause or resume them.
    ///
    /// ```
    /// # let sim = jobber::testing::Simulation::new();
    /// # let mail = sim.app().task("mail", async |to: String| to.len()).register()?;
    /// use jobber::Jobs;
    ///
    /// mail.schedule("ada".into()).id("mail/ada").cron("@daily").block_on()?;
    /// let mails = sim.app().select(Jobs::matching().id_prefix("mail/"));
    /// assert_eq!(mails.pause().block_on()?, 1);
    /// assert!(mails.list()?[0].is_paused());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select(&self, jobs: Jobs) -> Selection {
        Selection::new(self.hub().clone(), jobs)
    }

    /// The live job with this id. [`Task::job`](crate::Task::job) returns it with
    /// the type of its value. Never blocks.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// hello.schedule(()).id("x").push().block_on()?;
    /// assert!(sim.app().find_job("x").is_some());
    /// assert!(sim.app().find_job("y").is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find_job(&self, id: impl Into<JobId>) -> Option<AnyJob> {
        self.hub().find(&id.into()).map(AnyJob::new)
    }

    /// All live jobs, in no order. A job that is live during the whole call is in
    /// the list; a job that starts or ends during the call may be.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// hello.schedule(()).delay(Duration::from_secs(60)).block_on()?;
    /// for job in sim.app().jobs() {
    ///     println!("{job:?}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn jobs(&self) -> Vec<AnyJob> {
        self.hub().jobs().into_iter().map(AnyJob::new).collect()
    }

    /// A stream of what happens to jobs, from this call on. Each call returns a
    /// stream of its own.
    ///
    /// The app keeps the last 1,024 events while it has a reader. A reader that is further behind
    /// misses the older events, and gets their number
    /// ([`Event::Missed`](crate::Event::Missed)). A reader never holds up a job.
    ///
    /// ```
    /// # let mut sim = jobber::testing::Simulation::new();
    /// # let hello = sim.app().task("hello", || async {}).register()?;
    /// let mut events = sim.app().events();
    /// hello.schedule(()).push().block_on()?;
    /// sim.run_until_stalled();
    /// while let Some(event) = events.try_next() {
    ///     println!("{event}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self) -> Events {
        Events::new(self.hub().events.clone())
    }

    /// The stored jobs that can't run, sorted by id. Of most, no task can run them: their task is
    /// not registered, or is not durable, or does not accept their arguments, or their record
    /// can't be read, for example because another version of jobber wrote it. They stay in the
    /// store. When a task that can run one is registered, now or in a later process, that job is
    /// scheduled.
    ///
    /// The others are set aside
    /// ([`TaskBuilder::max_interruptions`](crate::TaskBuilder::max_interruptions)): live jobs that
    /// do not start until they are [released](Jobber::release).
    ///
    /// ```
    /// # #[cfg(feature = "serde")] {
    /// # use std::time::Duration;
    /// # use jobber::{MemoryStorage, testing::{ManualClock, Simulation}};
    /// # let (storage, clock) = (MemoryStorage::new(), ManualClock::new());
    /// # let start = || Simulation::with(0, clock.clone(), |app| app.storage(storage.clone()));
    /// # let sim = start()?;
    /// # let mail = sim.app().task("mail", async |to: String| to.len()).durable().register()?;
    /// # mail.schedule("ada".into()).id("m").delay(Duration::from_secs(60)).block_on()?;
    /// # sim.crash();
    /// # let sim = start()?;
    /// for job in sim.app().unresolved() {
    ///     println!("{job}"); // mail m: no registered task has this name or alias
    /// }
    /// # assert_eq!(sim.app().unresolved().len(), 1);
    /// let mail = sim.app().task("mail", async |to: String| to.len()).durable().register()?;
    /// assert!(sim.app().unresolved().is_empty());
    /// assert!(mail.job("m").is_some());
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unresolved(&self) -> Vec<UnresolvedJob> {
        self.hub().unresolved()
    }

    /// Deletes an [`unresolved`](Jobber::unresolved) job from the store; cancels it if it is set
    /// aside. Returns whether there was an unresolved job with this id. `.await` it, or end it
    /// with `.block_on()`. If you drop this value after its first poll, the job is deleted all
    /// the same.
    ///
    /// # Errors
    /// If the store could not delete the job. Jobber repeats the deletion until it
    /// succeeds. If the app has stopped, the job stays.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// assert!(!app.discard("no such job").block_on()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn discard(&self, id: impl Into<JobId>) -> Action<Result<bool, StorageError>> {
        let (hub, id) = (self.hub().clone(), id.into());
        Action::new(async move {
            if let Some(job) = hub.find_set_aside(&id) {
                let CancelReply { outcome, reply } = job.cancel(Cancelling::Cancel);
                return stored(reply).await.map(|()| outcome.took_effect());
            }
            match hub.discard(&id) {
                Some(reply) => Waiter::new(ReplySent(reply)).await.map(|()| true),
                None => Ok(false),
            }
        })
    }

    /// Lets a job run again that was set aside
    /// ([`TaskBuilder::max_interruptions`](crate::TaskBuilder::max_interruptions)): its count of
    /// interruptions begins at 0. Returns whether a job with this id was set aside. `.await` it,
    /// or end it with `.block_on()`. If you drop this value after its first poll, the job is
    /// released all the same.
    ///
    /// # Errors
    /// If the store could not save it. The job runs all the same, and jobber repeats that until
    /// it succeeds. If the app has stopped, the job stays as it is.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// assert!(!app.release("no such job").block_on()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(&self, id: impl Into<JobId>) -> Action<Result<bool, StorageError>> {
        let (hub, id) = (self.hub().clone(), id.into());
        Action::new(async move {
            match hub.find(&id).and_then(|job| job.release()) {
                Some(reply) => stored(reply).await.map(|()| true),
                None => Ok(false),
            }
        })
    }

    /// The stored jobs that have failed and that the store keeps, with their arguments; those
    /// that ended first come first. `.await` it, or end it with `.block_on()`.
    ///
    /// A stored job is kept if it ends as `Failed`, `Timeout` or `PermanentlyFailed`, and was
    /// not cancelled. Its id is free at once. By default 10,000 are kept, for seven days:
    /// [`JobberBuilder::keep_failed`](crate::JobberBuilder::keep_failed). Those that were kept
    /// long enough are deleted first. Without a store the list is empty.
    ///
    /// If you drop this value after its first poll, nothing else happens.
    ///
    /// # Errors
    /// [`StorageError::Closed`] if the app has not started, or has stopped;
    /// [`StorageError::Busy`] if too many jobs wait for the store; another error if the store
    /// can't be read.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// # app.start().block_on()?;
    /// for job in app.failed().block_on()? {
    ///     println!("{job}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn failed(&self) -> Action<Result<Vec<FailedJob>, StorageError>> {
        let hub = self.hub().clone();
        Action::new(async move {
            let ends = hub.failed().await?;
            let failed = ends.into_iter().map(|end| FailedJob::new(hub.clone(), end));
            Ok(failed.collect())
        })
    }

    /// What is wrong with the app. Never waits for the store.
    ///
    /// ```
    /// # let app = jobber::Jobber::builder().build()?;
    /// let health = app.health();
    /// if let Some(error) = health.storage_error() {
    ///     eprintln!("{} changes are not stored: {error}", health.unstored());
    /// }
    /// assert!(health.is_healthy());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn health(&self) -> Health {
        let hub = self.hub();
        let (storage_error, unstored) = match &hub.store {
            Some(store) => store.health(),
            None => (None, 0),
        };
        let unresolved = hub.unresolved_count();
        let set_aside = hub.set_aside_count();
        let mut outliving = hub.outliving.all();
        for body in &mut outliving {
            let job = hub.find(&body.id);
            body.is_waited_for = job.is_some_and(|job| job.waits_for_body());
        }
        let is_clock_unset = !hub.reading(hub.clock.now()).is_set();
        Health {
            failing: storage_error
                .map(Failing::Storage)
                .into_iter()
                .chain(is_clock_unset.then_some(Failing::ClockUnset))
                .chain(self.missing_threads().map(|name| Failing::Thread { name }))
                .collect(),
            attention: [
                (unstored > 0).then_some(Attention::Unstored(unstored)),
                (unresolved > 0).then_some(Attention::Unresolved(unresolved)),
                (set_aside > 0).then_some(Attention::SetAside(set_aside)),
                (!outliving.is_empty()).then_some(Attention::Outliving(outliving)),
            ]
            .into_iter()
            .flatten()
            .collect(),
        }
    }

    /// The names of threads that the app needs and does not have.
    fn missing_threads(&self) -> impl Iterator<Item = &'static str> {
        let hub = self.hub();
        let has_timer = self.inner.start.drive_mode == DriveMode::Thread;
        let has_no_timer = has_timer && hub.check_open().is_ok() && !hub.is_timer_running();
        [
            has_no_timer.then_some(timer_thread::THREAD_NAME),
            hub.events.has_no_thread().then_some(event_bus::THREAD_NAME),
            blocking_threads::has_failed().then_some(blocking_threads::THREAD_NAME),
        ]
        .into_iter()
        .flatten()
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.inner.start.hub
    }

    /// The driver of the timer, after a start in [`DriveMode::Manual`].
    pub(crate) fn take_driver(&self) -> Option<Driver> {
        lock(&self.inner.start.parts).driver.take()
    }
}

impl fmt::Debug for Jobber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobber").finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let hub = &self.start.hub;
        if hub.is_forked() {
            return;
        }
        hub.begin_stop();
        let hooks = &self.start.hooks;
        if hooks.has_stop() {
            block_on(timeout(LONGEST_DROP, hooks.stop()));
            hooks.leave_out_rest();
        }
        hub.end_stop();
        // The next app that opens the store finds it closed, and complete.
        block_on(timeout(LONGEST_DROP, store_closed(hub.clone())));
    }
}

/// Waits for what the store says, if that is still to come.
async fn stored(reply: Option<CommitWaiter>) -> Result<(), StorageError> {
    match reply {
        Some(reply) => Waiter::new(ReplySent(reply)).await,
        None => Ok(()),
    }
}

/// True when no live job is left, or the app has stopped.
#[derive(Clone)]
struct AllDone(Arc<Hub>);

impl Condition for AllDone {
    type Output = ();

    fn ready(&self) -> Option<()> {
        (self.0.has_stopped() || self.0.is_idle()).then_some(())
    }

    fn event(&self) -> &Signal {
        self.0.changed()
    }

    fn announce(&self) {
        self.0.stop_if_forked();
    }

    fn check_wait(&self, is_blocking: bool) {
        // A destructor that runs because of a panic would abort the process.
        if std::thread::panicking() {
            return;
        }
        if let Some(polled) = polled_job()
            && let Some(job) = self.0.live_job_at(polled)
        {
            panic!(
                "an attempt of the job `{}` waits for the end of all jobs",
                job.core().id
            );
        }
        if is_blocking && is_pool_thread() {
            panic!(
                "an async task blocks a thread of the thread pool until all jobs are done, \
                 which may need that thread: `.await` their end instead"
            );
        }
    }
}
