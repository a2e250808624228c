//! [`GroupDef`]: a group of tasks.

use std::any::{Any, TypeId};
use std::time::Duration;

use crate::engine::hub::Hub;
use crate::engine::limits::gcra;
use crate::engine::pause_switch::PauseSwitch;
use crate::engine::shared_limit::{LimitOption, check_limits, limits_in_app};
use crate::engine::task_registry::NamedGroup;
use crate::job::decisions::OnErrorFn;
use crate::job::definition::Timeout;
use crate::job::middleware::Layer;
use crate::registry::gcra::Gcra;
use crate::registry::lines::LimitId;
use crate::sync::primitives::{Arc, Mutex, OnceLock, lock};
use crate::value::backoff::Backoff;
use crate::value::end_of_job::OnEnd;
use crate::value::error::RegisterError;
use crate::value::pause_key::PauseKey;
use crate::value::rate::Rate;
use crate::value::schedule_request::OnSchedule;
use crate::value::shared_state::{StateMap, StateValue};
use crate::value::waiting_for::WaitingFor;

/// A group of tasks. In an app, no two have the same name.
pub(crate) struct GroupDef {
    /// With the names of the groups around it.
    pub(crate) name: Arc<str>,
    /// The group that it is in.
    parent: Option<Arc<GroupDef>>,
    /// The name is invalid: no task can be registered.
    name_error: Option<NameError>,
    pub(crate) pause: PauseSwitch,
    /// The options until the first task is registered. Under this lock, only a limit and then the lines
    /// are locked.
    draft: Mutex<GroupDraft>,
    /// The options after that.
    fixed: OnceLock<GroupOptions>,
}

/// A group, as the builder of a task has it.
#[derive(Clone)]
pub(crate) struct GroupRef {
    pub(crate) def: Arc<GroupDef>,
    /// An option that was set after the first task.
    pub(crate) too_late: Option<&'static str>,
}

impl GroupRef {
    /// Whether a task can be registered with this handle.
    pub(crate) fn check(&self, hub: &Arc<Hub>) -> Result<(), RegisterError> {
        match self.too_late {
            None => self.def.check(hub),
            Some(option) => Err(RegisterError::GroupHasTasks {
                group: self.def.name.to_string(),
                option,
            }),
        }
    }

    /// The options, which do not change from now on, after [`check`](GroupRef::check).
    pub(crate) fn fix(&self, hub: &Arc<Hub>) -> Result<&GroupOptions, RegisterError> {
        self.def.fix(hub)
    }
}

/// Why a name is not one of a group.
#[derive(Clone, Debug)]
enum NameError {
    Empty,
    Dot { name: Arc<str> },
}

/// The options of a group that has no task yet.
#[derive(Default)]
pub(crate) struct GroupDraft {
    pub(crate) state: StateMap,
    pub(crate) around: Vec<Layer>,
    pub(crate) on_schedule: Vec<OnSchedule>,
    pub(crate) on_error: Vec<OnErrorFn>,
    pub(crate) on_end: Vec<OnEnd>,
    pub(crate) limits: Vec<LimitOption>,
    pub(crate) rate: Option<Rate>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) backoff: Option<Backoff>,
}

/// What the tasks of a group have: its options, with those of the groups around it.
pub(crate) struct GroupOptions {
    /// Of this group alone: `GroupDef::state` looks at the groups around it.
    state: StateMap,
    pub(crate) timeout: Option<Timeout>,
    pub(crate) backoff: Option<Backoff>,
    /// The outermost group first.
    pub(crate) around: Vec<Layer>,
    /// The outermost group first.
    pub(crate) on_schedule: Vec<OnSchedule>,
    /// The innermost group first.
    pub(crate) on_error: Vec<OnErrorFn>,
    /// The innermost group first.
    pub(crate) on_end: Vec<OnEnd>,
    pub(crate) limits: Vec<(LimitId, WaitingFor)>,
}

impl GroupDraft {
    /// The timeout and the rate. An error if one of them, or the backoff, is invalid.
    fn times(&self) -> Result<(Option<Timeout>, Option<Gcra>), RegisterError> {
        if let Some(backoff) = &self.backoff {
            backoff.check()?;
        }
        let timeout = self.timeout.map(Timeout::of_task).transpose()?;
        let rate = self.rate.map(|rate| gcra(rate, "rate")).transpose()?;
        Ok((timeout, rate))
    }
}

impl GroupDef {
    fn new(parent: Option<Arc<GroupDef>>, own: &str) -> Self {
        let name = full_name(parent.as_deref(), own);
        let of_parent = parent.as_ref().and_then(|parent| parent.name_error.clone());
        let name_error = of_parent.or_else(|| check_name(own).err());
        Self {
            name: name.into(),
            parent,
            name_error,
            pause: PauseSwitch::new(),
            draft: Mutex::default(),
            fixed: OnceLock::new(),
        }
    }

    /// This group, then those around it, from the inside to the outside.
    pub(crate) fn with_parents(&self) -> impl Iterator<Item = &GroupDef> {
        std::iter::successors(Some(self), |group| group.parent.as_deref())
    }

    /// Whether it, or a group around it, is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.with_parents().any(|group| group.pause.is_paused())
    }

    /// Whether tasks can be registered in it.
    pub(crate) fn is_valid(&self) -> bool {
        self.name_error.is_none()
    }

    /// The full name of a task or a group in it.
    pub(crate) fn full_name(&self, own: &str) -> String {
        full_name(Some(self), own)
    }

    /// The value of this type of the nearest group that has one.
    pub(crate) fn state(&self, of: TypeId) -> Option<&StateValue> {
        let options = self.with_parents().map(|group| group.fixed.get());
        options.flatten().find_map(|options| options.state.find(of))
    }

    /// Changes the options. Returns what `change` returns, or `None` if a task fixed them before.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut GroupDraft) -> T) -> Option<T> {
        let mut draft = lock(&self.draft);
        match self.fixed.get() {
            None => Some(change(&mut draft)),
            Some(_) => {
                // It may own values of users: it is dropped without the lock.
                drop(draft);
                drop(change);
                None
            }
        }
    }

    /// Whether a task can be registered in it: whether its name and its options, and those of the groups
    /// around it, are valid.
    fn check(&self, hub: &Arc<Hub>) -> Result<(), RegisterError> {
        match &self.name_error {
            None => {}
            Some(NameError::Empty) => return Err(RegisterError::EmptyGroupName),
            Some(NameError::Dot { name }) => {
                let name = name.to_string();
                return Err(RegisterError::DotInGroupName { name });
            }
        }
        for group in self.with_parents() {
            // Dropped after the lock.
            let mut other_apps = Vec::new();
            let draft = lock(&group.draft);
            draft.times()?;
            check_limits(&draft.limits, hub, &mut other_apps)?;
        }
        Ok(())
    }

    /// The options, which do not change from now on. The caller has checked the group.
    fn fix(&self, hub: &Arc<Hub>) -> Result<&GroupOptions, RegisterError> {
        let above = self.parent.as_ref().map(|parent| parent.fix(hub));
        let above = above.transpose()?;
        // Dropped after the lock.
        let mut other_apps = Vec::new();
        let mut draft = lock(&self.draft);
        if let Some(options) = self.fixed.get() {
            return Ok(options);
        }
        let (timeout, rate) = draft.times()?;
        let own = limits_in_app(&draft.limits, hub, &mut other_apps)?;
        let rate = rate.map(|rate| (hub.limits.add_rate(rate), WaitingFor::GroupRate));
        let draft = std::mem::take(&mut *draft);
        let (mut around, mut on_schedule, mut limits) = (Vec::new(), Vec::new(), Vec::new());
        let (mut on_error, mut on_end) = (draft.on_error, draft.on_end);
        if let Some(above) = above {
            around.extend(above.around.iter().cloned());
            on_schedule.extend(above.on_schedule.iter().cloned());
            limits.extend(above.limits.iter().cloned());
            on_error.extend(above.on_error.iter().cloned());
            on_end.extend(above.on_end.iter().cloned());
        }
        around.extend(draft.around);
        on_schedule.extend(draft.on_schedule);
        limits.extend(own.into_iter().chain(rate));
        Ok(self.fixed.get_or_init(|| GroupOptions {
            state: draft.state,
            timeout: timeout.or(above.and_then(|above| above.timeout)),
            backoff: draft
                .backoff
                .or(above.and_then(|above| above.backoff.clone())),
            around,
            on_schedule,
            on_error,
            on_end,
            limits,
        }))
    }
}

impl NamedGroup for GroupDef {
    fn pause_switch(&self) -> &PauseSwitch {
        &self.pause
    }
}

fn full_name(group: Option<&GroupDef>, own: &str) -> String {
    match group {
        Some(group) => format!("{}.{own}", group.name),
        None => own.into(),
    }
}

fn check_name(own: &str) -> Result<(), NameError> {
    match own {
        "" => Err(NameError::Empty),
        own if own.contains('.') => Err(NameError::Dot { name: own.into() }),
        _ => Ok(()),
    }
}

impl Hub {
    /// The group of this name in `parent`. The first call makes it.
    pub(crate) fn group(&self, parent: Option<&Arc<GroupDef>>, own: &str) -> Arc<GroupDef> {
        let new = Arc::new(GroupDef::new(parent.cloned(), own));
        let mut main_shard = lock(&self.main_shard);
        if let Some(group) = main_shard.groups.get(&new.name).filter(|_| new.is_valid()) {
            let group: Arc<dyn Any + Send + Sync> = group.clone();
            if let Ok(group) = group.downcast() {
                return group;
            }
        }
        // A stop has emptied the list: a group whose state holds the app would keep it.
        if new.is_valid() && !main_shard.phase.is_over() {
            let key = PauseKey::Group(new.name.clone());
            if let Some((paused_at, resumed_at)) = main_shard.pauses.get(&key) {
                new.pause.load(*paused_at, *resumed_at);
            }
            main_shard.groups.insert(new.name.clone(), new.clone());
        }
        new
    }
}
