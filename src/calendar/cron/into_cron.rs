//! [`IntoCron`]: the types that can be passed as a cron expression.

use crate::calendar::cron::expression::Cron;
use crate::value::error::CronError;

/// A type that can be passed as a cron expression: a [`Cron`], or its text.
///
/// ```
/// use jobber::{testing::Simulation, cron::Cron};
///
/// let sim = Simulation::new();
/// let report = sim.app().task("report", || async {}).register()?;
/// let _ = report.schedule(()).cron("0 9 * * MON-FRI").block_on()?;
/// let _ = report.schedule(()).cron(Cron::parse("@daily")?).block_on()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a cron expression: pass a text or a `Cron`"
)]
pub trait IntoCron {
    /// Returns the expression. A text is parsed with [`Cron::parse`].
    ///
    /// # Errors
    ///
    /// Returns a [`CronError`] if the text is not a valid expression.
    fn into_cron(self) -> Result<Cron, CronError>;
}

impl IntoCron for Cron {
    fn into_cron(self) -> Result<Cron, CronError> {
        Ok(self)
    }
}

impl IntoCron for &Cron {
    fn into_cron(self) -> Result<Cron, CronError> {
        Ok(self.clone())
    }
}

impl IntoCron for &str {
    fn into_cron(self) -> Result<Cron, CronError> {
        Cron::parse(self)
    }
}

impl IntoCron for String {
    fn into_cron(self) -> Result<Cron, CronError> {
        Cron::parse(&self)
    }
}

impl IntoCron for &String {
    fn into_cron(self) -> Result<Cron, CronError> {
        Cron::parse(self)
    }
}
