//! The pause of an app, a group or a task.

use crate::engine::group::GroupDef;
use crate::engine::hub::Hub;
use crate::engine::pause_switch::PauseSwitch;
use crate::engine::task_registry::Restore;
use crate::job::live_job::LiveJob;
use crate::job::pause_record::PauseRecord;
use crate::storage::contract::Change;
use crate::sync::primitives::{Arc, lock};
use crate::value::error::StorageError;
use crate::value::event::Event;
use crate::value::pause_key::PauseKey;
use crate::value::steer_outcome::SteerOutcome;
use crate::value::time_units::{from_wall, to_wall};

/// What is paused as a whole.
#[derive(Clone)]
pub(crate) enum Pausable {
    App,
    Group(Arc<GroupDef>),
    Task(Arc<dyn Restore>),
}

/// A pause begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PauseChange {
    Pause,
    Resume {
        /// Missed times are made up, as the misfire policy of each job says.
        catches_up: bool,
    },
}

impl Pausable {
    fn switch<'a>(&'a self, hub: &'a Hub) -> &'a PauseSwitch {
        match self {
            Pausable::App => &hub.pause,
            Pausable::Group(group) => &group.pause,
            Pausable::Task(task) => task.pause_switch(),
        }
    }

    /// Its key, and the keys that it had before: a task may have aliases.
    fn keys(&self) -> Vec<PauseKey> {
        match self {
            Pausable::App => vec![PauseKey::App],
            Pausable::Group(group) => vec![PauseKey::Group(group.name.clone())],
            Pausable::Task(task) => {
                let names = task.names().iter().cloned();
                names.map(PauseKey::Task).collect()
            }
        }
    }

    /// Whether it can have jobs.
    fn is_valid(&self) -> bool {
        match self {
            Pausable::App | Pausable::Task(_) => true,
            Pausable::Group(group) => group.is_valid(),
        }
    }

    fn has(&self, job: &dyn LiveJob) -> bool {
        match self {
            Pausable::App => true,
            Pausable::Group(group) => job.is_in_group(&group.name),
            Pausable::Task(task) => task.has(job),
        }
    }
}

impl Hub {
    /// Pauses or resumes an app, a group or a task. The store has it when this returns.
    pub(crate) async fn change_pause(
        self: Arc<Self>,
        of: Pausable,
        change: PauseChange,
    ) -> Result<SteerOutcome, StorageError> {
        let pauses = change == PauseChange::Pause;
        if self.has_stopped() || self.is_forked() {
            return Err(StorageError::Closed);
        }
        if !of.is_valid() {
            return Ok(SteerOutcome::Unchanged);
        }
        if self.store.is_none() {
            return Ok(self.apply_pause(&of, change));
        }
        let hub = self.clone();
        let changed = self.request(move |storage| {
            let switch = of.switch(&hub);
            if switch.is_paused() == pauses && !switch.is_uncertain() {
                return Ok(Some(SteerOutcome::Unchanged));
            }
            // If it fails, the store may have it all the same. The next call writes again.
            switch.set_uncertain(true);
            storage.commit(&hub.pause_changes(&of, change))?;
            switch.set_uncertain(false);
            Ok(Some(hub.apply_pause(&of, change)))
        });
        Ok(changed.await?.unwrap_or(SteerOutcome::Unchanged))
    }

    /// What the store is to have.
    fn pause_changes(&self, of: &Pausable, change: PauseChange) -> Vec<Change> {
        let now = self.clock.now();
        let at = from_wall(now.wall, time::UtcOffset::UTC);
        let mut keys = of.keys().into_iter();
        let key = keys.next();
        let old = keys.map(Change::RemovePause);
        // A clock that was not set shows no time.
        let is_known = self.reading(now).is_set();
        let own = key.map(|key| match change {
            PauseChange::Pause => Change::SetPause(PauseRecord {
                key,
                paused_at: at,
                resumed_at: None,
            }),
            PauseChange::Resume { catches_up: false } if is_known => {
                Change::SetPause(PauseRecord {
                    key,
                    paused_at: from_wall(of.switch(self).paused_at(), time::UtcOffset::UTC),
                    resumed_at: Some(at),
                })
            }
            PauseChange::Resume { .. } => Change::RemovePause(key),
        });
        own.into_iter().chain(old).collect()
    }

    /// Sets the switch, then visits the jobs.
    fn apply_pause(&self, of: &Pausable, change: PauseChange) -> SteerOutcome {
        let switch = of.switch(self);
        let pauses = change == PauseChange::Pause;
        if switch.set(pauses) == pauses {
            return SteerOutcome::Unchanged;
        }
        if pauses {
            switch.began_at(self.clock.wall());
        }
        if self.events.is_read()
            && let Some(of) = of.keys().into_iter().next()
        {
            self.events.record(match pauses {
                true => Event::PauseBegan { of },
                false => Event::PauseEnded { of },
            });
            self.events.wake_readers();
        }
        let resumes = match change {
            PauseChange::Pause => None,
            PauseChange::Resume { catches_up } => Some(catches_up),
        };
        for job in self.jobs() {
            if of.has(&*job) {
                job.follow_pause(resumes);
            }
            job.drop_safely();
        }
        SteerOutcome::Done
    }

    /// A pause that the store has. It is kept for a task or a group that comes later.
    pub(crate) fn load_pause(&self, pause: PauseRecord) {
        let Some(paused_at) = to_wall(pause.paused_at) else {
            return;
        };
        let resumed_at = pause.resumed_at.and_then(to_wall);
        let main_shard = &mut *lock(&self.main_shard);
        let switch = match &pause.key {
            PauseKey::App => Some(&self.pause),
            PauseKey::Group(name) => main_shard.groups.get(name).map(|it| it.pause_switch()),
            PauseKey::Task(name) => main_shard.tasks.get(name).map(|it| it.pause_switch()),
        };
        if let Some(switch) = switch {
            switch.load(paused_at, resumed_at);
        }
        main_shard.pauses.insert(pause.key, (paused_at, resumed_at));
    }
}
