//! [`Calendars`]: the exclusions of an app, by name.

use std::collections::HashMap;

use crate::calendar::exclusions::Exclusions;
use crate::calendar::zone::time_zone::Zone;
use crate::sync::primitives::Arc;

/// The exclusions of an app, each under the name of its calendar.
pub(crate) type Calendars = HashMap<Arc<str>, Arc<Exclusions>>;

/// The times that a series leaves out.
#[derive(Clone, Debug)]
pub(crate) struct Except {
    /// The name of the calendar.
    pub(crate) calendar: Arc<str>,
    pub(crate) exclusions: Arc<Exclusions>,
    /// The exclusions are compared with what clocks show in this zone.
    pub(crate) zone: Zone,
}

impl Except {
    /// Returns `None` if no calendar has this name.
    pub(crate) fn find(calendars: &Calendars, name: &str, zone: &Zone) -> Option<Self> {
        let (calendar, exclusions) = calendars.get_key_value(name)?;
        Some(Self {
            calendar: calendar.clone(),
            exclusions: exclusions.clone(),
            zone: zone.clone(),
        })
    }
}
