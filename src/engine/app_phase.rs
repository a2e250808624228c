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
    /// This process was forked from the one that has started the app.
    Forked,
}

impl AppPhase {
    /// Whether nothing new is accepted any more.
    pub(crate) fn is_over(self) -> bool {
        matches!(
            self,
            AppPhase::Stopping | AppPhase::Stopped | AppPhase::Forked
        )
    }

    /// Whether new jobs may enter, and if not, why.
    #[inline]
    pub(crate) fn check_open(self) -> Result<(), ScheduleError> {
        match self {
            AppPhase::New | AppPhase::Starting => Err(ScheduleError::NotStarted),
            AppPhase::Running => Ok(()),
            AppPhase::Stopping | AppPhase::Stopped => Err(ScheduleError::Stopped),
            AppPhase::Forked => Err(ScheduleError::Forked),
        }
    }
}
