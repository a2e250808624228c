//! [`JobContext`]: what a task can know of the job that it runs for.

use std::fmt;

use time::OffsetDateTime;

use crate::job::lifecycle::Begun;
use crate::job::live_job::{ExecutorJob, JobView, LiveJob};
use crate::job::stop::StopToken;
use crate::sync::primitives::Arc;
use crate::value::error::MissingState;
use crate::value::id::JobId;

/// What a task can know of the job that it runs for: give it as the first
/// parameter.
///
/// ```
/// use jobber::{JobContext, MissingState, Jobber};
///
/// struct Greeting(String);
///
/// async fn greet(cx: JobContext, name: String) -> Result<String, MissingState> {
///     let Greeting(greeting) = cx.state::<Greeting>()?;
///     Ok(format!("{greeting}, {name}! (attempt {} of {})", cx.attempt(), cx.id()))
/// }
///
/// let app = Jobber::builder().state(Greeting("Hello".into())).build()?;
/// let greet = app.task("greet", greet).register()?;
/// app.start().wait_blocking()?;
/// let job = greet.schedule("Ada".into()).id("first").push().wait_blocking()?;
/// job.wait_blocking();
/// assert_eq!(*job.result()?, "Hello, Ada! (attempt 1 of first)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// Not `Clone`: arguments are, and that alone tells a function that takes a
// context from one that takes one more argument. A test pins it.
pub struct JobContext {
    job: Arc<dyn LiveJob>,
    begun: Begun,
}

impl JobContext {
    pub(crate) fn new(job: Arc<dyn LiveJob>, begun: Begun) -> Self {
        Self { job, begun }
    }

    /// The job's id.
    pub fn id(&self) -> &JobId {
        &self.job.core().id
    }

    /// Counts the attempts of this run, from 1. Each retry is one more.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn upload(cx: JobContext, file: String) -> Result<(), String> {
    ///     println!("attempt {} for {file}", cx.attempt());
    ///     Ok(())
    /// }
    /// ```
    pub fn attempt(&self) -> u32 {
        self.begun.attempt
    }

    /// Counts the runs of a recurring job, from 1; 1 for any other.
    pub fn run_number(&self) -> u64 {
        self.begun.run
    }

    /// The time that this run stands for: when it was due, however late it
    /// starts, and whichever attempt it is. In the job's zone.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// async fn report(cx: JobContext) {
    ///     println!("the report of {}", cx.nominal_time().date());
    /// }
    /// ```
    pub fn nominal_time(&self) -> OffsetDateTime {
        self.job.in_zone(self.begun.nominal)
    }

    /// The value of this type that was given to the app.
    ///
    /// # Errors
    /// [`MissingState`] when none was.
    pub fn state<T: Send + Sync + 'static>(&self) -> Result<&T, MissingState> {
        self.job.app_state().get()
    }

    /// Tells when this attempt should end: it was aborted, it took too long, or
    /// the app shuts down.
    ///
    /// ```
    /// use jobber::JobContext;
    ///
    /// fn crunch(cx: JobContext) {
    ///     let stop = cx.stop_token();
    ///     while !stop.is_stopped() {
    ///         // … a piece of the work …
    /// #       break;
    ///     }
    /// }
    /// ```
    pub fn stop_token(&self) -> StopToken {
        StopToken::new(self.job.control(self.begun.number))
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext")
            .field("id", self.id())
            .field("run_number", &self.run_number())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
