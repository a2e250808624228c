//! [`AppPhase`]: where an app is in its life.

use crate::value::error::ScheduleError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppPhase {
    New,
    /// The store is being read.
    Starting,
    Running,
    /// Nothing new starts; what runs may end.
    Stopping,
    Stopped,
}

impl AppPhase {
    /// Whether new jobs may enter, and if not, why.
    #[inline]
    pub(crate) fn check_open(self) -> Result<(), ScheduleError> {
        match self {
            AppPhase::New | AppPhase::Starting => Err(ScheduleError::NotStarted),
            AppPhase::Running => Ok(()),
            AppPhase::Stopping | AppPhase::Stopped => Err(ScheduleError::Stopped),
        }
    }
}
