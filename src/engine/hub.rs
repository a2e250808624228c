//! [`Hub`]: what the parts of one app share.
//!
//! `ARCHITECTURE.md` lists all locks in their order, under "Locks". No code of a user runs
//! under a lock.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use time::UtcOffset;

use crate::calendar::calendars::Calendars;
use crate::calendar::series::ON_TIME;
use crate::calendar::zone::time_zone::Zone;
use crate::calendar::zone::zone_database::ZoneDatabase;
use crate::engine::app_phase::AppPhase;
use crate::engine::catch_up::CatchUp;
use crate::engine::checkpoint_times::CheckpointTimes;
use crate::engine::end_call::{EndCall, EndCalls};
use crate::engine::event_bus::EventBus;
use crate::engine::limits::Limits;
use crate::engine::outliving_bodies::OutlivingBodies;
use crate::engine::pause_switch::PauseSwitch;
use crate::engine::side_shards::{Cursor, SideShards};
use crate::engine::start_gate::StartGate;
use crate::engine::task_registry::{NamedGroup, Restore, Unresolved};
use crate::executor::dispatcher::Dispatcher;
use crate::executor::live_jobs::LiveJobs;
use crate::job::codec::SharedCodec;
use crate::job::decisions::OnErrorFn;
use crate::job::end_record::KeepFailed;
use crate::job::live_job::LiveJob;
use crate::job::middleware::Layer;
use crate::job::record::JobRecord;
use crate::registry::pending::Pending;
use crate::registry::spawned_jobs::SpawnedJobs;
use crate::registry::table::{Table, Wake};
use crate::registry::taken_ids::TakenIds;
use crate::storage::store::Store;
use crate::sync::cache_padded::CachePadded;
use crate::sync::deferred_wakes::notify_all;
use crate::sync::panics::drop_catching_panic;
use crate::sync::primitives::{
    Arc, AtomicBool, AtomicI64, AtomicUsize, Event as Signal, Mutex, OnceLock, Ordering, lock,
    thread::Thread,
};
use crate::sync::process::StartedBy;
use crate::timer::key::{KeyKind, Tag};
use crate::value::app_clock::AppClock;
use crate::value::end_of_job::OnEnd;
use crate::value::error::{EndedJob, ScheduleError, check_id};
use crate::value::event::{Event, JobEvent, JobEventKind};
use crate::value::id::JobId;
use crate::value::pause_key::PauseKey;
use crate::value::schedule_request::OnSchedule;
use crate::value::shared_state::StateMap;
use crate::value::status::JobStatus;
use crate::value::time_units::{ClockReading, Due, Now, WallNanos, from_wall};

pub(crate) type Live = Arc<dyn LiveJob>;

pub(crate) struct Hub {
    pub(crate) clock: AppClock,
    /// An earlier wall time is known to be wrong.
    pub(crate) earliest: WallNanos,
    /// How late a run is at most that is on time, in nanoseconds: as long as the timer did not
    /// look at the clocks, and at least a second.
    on_time: AtomicI64,
    pub(crate) zone: Zone,
    /// `None`: zones have the rules that they were made with.
    pub(crate) zone_database: Option<ZoneDatabase>,
    pub(crate) calendars: Calendars,
    /// Of tasks that have none of their own. `None` for JSON.
    pub(crate) codec: Option<SharedCodec>,
    pub(crate) coalescing_window: Duration,
    /// The process before has closed the store, so that it has interrupted no attempt.
    pub(crate) was_closed: AtomicBool,
    /// How many ends of failed jobs the store keeps, and for how long.
    pub(crate) keep_failed: KeepFailed,
    pub(crate) state: StateMap,
    /// The middleware of all attempts, the outermost first.
    pub(crate) around: Vec<Layer>,
    /// They see each job that is about to be scheduled.
    pub(crate) on_schedule: Vec<OnSchedule>,
    pub(crate) events: Arc<EventBus>,
    /// `None` if the app has no store.
    pub(crate) store: Option<Store>,
    pub(crate) main_shard: CachePadded<Mutex<MainShard>>,
    pub(crate) side_shards: SideShards,
    /// The number of finished jobs that are still in a table. A runner is about to remove
    /// them together.
    finished_in_table: CachePadded<AtomicUsize>,
    /// The number of live jobs that the stop has left to the next process.
    pub(crate) left_count: AtomicUsize,
    pub(crate) limits: Limits,
    /// All counts of live jobs that have a limit.
    pub(crate) pending: Mutex<Vec<Arc<Pending>>>,
    /// That of the app.
    pub(crate) pending_of_app: Option<Arc<Pending>>,
    /// The jobs that were made for runs of recurring jobs.
    pub(crate) spawned: SpawnedJobs,
    /// Of the app.
    pub(crate) pause: PauseSwitch,
    /// The number of live jobs that a pause holds.
    held_count: AtomicUsize,
    random: Mutex<fastrand::Rng>,
    /// Set when the threads of the app are about to be started.
    pub(crate) started_by: StartedBy,
    /// When a job that entered last checked whether the process was forked, by the monotonic
    /// clock.
    fork_checked_at: AtomicI64,
    pub(crate) start_gate: StartGate,
    pub(crate) checkpoint_times: CheckpointTimes,
    pub(crate) outliving: OutlivingBodies,
    /// They decide what follows a failed attempt, as the next ones after those of tasks and groups.
    pub(crate) on_error: Vec<OnErrorFn>,
    pub(crate) on_end: Vec<OnEnd>,
    pub(crate) end_calls: Arc<EndCalls>,
    /// The timer thread. Unset until it has started, and in a simulation.
    pub(crate) timer: OnceLock<Thread>,
    /// Once this is set, no attempt starts.
    is_stopping: AtomicBool,
    pub(crate) has_stopped: AtomicBool,
    /// The jobs that were running when the stop ended.
    pub(crate) left_running: Mutex<Vec<JobId>>,
    /// Notified when the last live job is gone, when a reservation is filled or released,
    /// when the store has nothing left to try, when a call of functions for the end of a job is
    /// over, when the app has stopped, and when one of its threads has ended.
    pub(crate) changed: Arc<Signal>,
    pub(crate) is_timer_running: AtomicBool,
}

/// The main table, with the tasks and the unresolved jobs of the app.
///
/// `repr(C)` keeps the order of the fields: it decides which fields share the cache lines
/// of the table.
#[repr(C)]
pub(crate) struct MainShard {
    pub(crate) phase: AppPhase,
    pub(crate) table: Table<Live>,
    /// Set from the start of the app to its stop.
    pub(crate) dispatcher: Option<Arc<Dispatcher>>,
    /// Every task by its name and its aliases. The tasks refer to the hub; the stop of
    /// the app breaks this cycle.
    pub(crate) tasks: HashMap<Arc<str>, Arc<dyn Restore>>,
    /// Every group by its full name, until the stop.
    pub(crate) groups: HashMap<Arc<str>, Arc<dyn NamedGroup>>,
    /// The stored jobs that no task can run.
    pub(crate) unresolved: HashMap<JobId, Unresolved>,
    pub(crate) catch_up: CatchUp,
    /// Until the start: for jobs that have ended while they were loaded.
    pub(crate) calls_at_start: Vec<EndCall>,
    /// The jobs that were set aside when they were loaded. Some may have been released or
    /// cancelled since.
    pub(crate) set_aside: BTreeSet<JobId>,
    pub(crate) taken_ids: TakenIds,
    /// When each task and each group was paused and resumed, as the store has it.
    pub(crate) pauses: HashMap<PauseKey, (WallNanos, Option<WallNanos>)>,
}

/// How many slots are visited under one lock.
pub(crate) const SLOTS_AT_A_TIME: usize = 256;

/// How many jobs need about as much memory as [`make_room`] allocates.
const JOBS_PER_ROOM: usize = 256;

/// Whether memory should be allocated for the jobs after the one in this slot: true for
/// the last slot of the table, once for every [`JOBS_PER_ROOM`] slots.
#[inline]
pub(crate) fn needs_room(table: &Table<Live>, slot: u32) -> bool {
    table.is_last(slot) && table.slot_count().is_multiple_of(JOBS_PER_ROOM)
}

/// Allocates memory for many jobs, and frees it at once. On any thread but the first, glibc
/// grows its heap by one system call for each page. For a large block it makes one call,
/// and it keeps the freed memory for later allocations.
///
/// W1 of `benches/peers`, a million jobs: without this, scheduling takes 15 % more time.
pub(crate) fn make_room() {
    const BYTES: usize = 64 * 1_024;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(BYTES)));
}

/// Which jobs a new job may take over the id of.
#[derive(Clone, Copy)]
pub(crate) struct TakesOver<'a> {
    /// The unresolved jobs of the tasks of these names.
    pub(crate) unresolved_of: &'a [Arc<str>],
    /// Jobs that have ended, whose ids stay taken.
    pub(crate) ended: bool,
}

impl TakesOver<'_> {
    pub(crate) const NOTHING: Self = Self {
        unresolved_of: &[],
        ended: false,
    };
}

impl MainShard {
    /// Allocates a slot and an id for a job that is not shared yet.
    fn place<J: LiveJob + ?Sized>(
        &mut self,
        job: &mut Arc<J>,
        id: Option<JobId>,
        over: TakesOver<'_>,
        (now, others): (Now, &SideShards),
    ) -> Result<(), ScheduleError> {
        self.phase.check_open()?;
        if let Some(id) = &id {
            let duplicate = |ended| ScheduleError::DuplicateJob {
                id: id.clone(),
                ended,
            };
            if self.contains(id, others) {
                return Err(duplicate(None));
            }
            if !over.ended
                && let Some(ended) = self.ended_job(id, now)
            {
                return Err(duplicate(Some(ended)));
            }
            let unresolved = self.unresolved.get(id);
            if unresolved.is_some_and(|job| !job.is_of(over.unresolved_of)) {
                return Err(ScheduleError::UnresolvedJob { id: id.clone() });
            }
        }
        place(&mut self.table, job, id, now)
    }

    /// How the job of this id ended, if the id stays taken.
    fn ended_job(&self, id: &JobId, now: Now) -> Option<EndedJob> {
        let (status, until) = self.taken_ids.get(id, now.wall)?;
        Some(EndedJob {
            status,
            taken_until: from_wall(until, UtcOffset::UTC),
        })
    }

    /// Whether a live job has this id, or a slot is reserved for it.
    pub(crate) fn contains(&self, id: &JobId, others: &SideShards) -> bool {
        self.table.contains(id) || others.iter().any(|other| lock(other).table.contains(id))
    }
}

#[inline]
fn place<J: LiveJob + ?Sized>(
    table: &mut Table<Live>,
    job: &mut Arc<J>,
    id: Option<JobId>,
    now: Now,
) -> Result<(), ScheduleError> {
    let place = table.allocate(now);
    let place = place.map_err(|live| ScheduleError::TooManyJobs { live })?;
    if let Some(job) = Arc::get_mut(job) {
        let core = job.core_mut();
        core.slot = place.slot;
        core.is_named = id.is_some();
        core.id = id.unwrap_or(place.id);
    }
    Ok(())
}

/// In nanoseconds.
const FORK_CHECK_INTERVAL: i64 = 1_000_000;

/// When a new job starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// At once, without the timer.
    Now,
    At(Due, KeyKind),
}

/// A job that has entered, with what must be done when no lock is held.
#[must_use]
pub(crate) struct Entered {
    wake: Wake,
    needs_room: bool,
}

/// A job that was removed from its table, with what must be done when no lock is held.
#[derive(Default)]
pub(crate) struct Removed {
    wake: Wake,
    /// The table has no other live job. The other tables are not checked yet.
    may_be_idle: bool,
    _job: Option<Live>,
}

/// The arguments of [`Hub::new`].
pub(crate) struct HubConfig {
    pub(crate) clock: AppClock,
    pub(crate) zone: Zone,
    pub(crate) zone_database: Option<ZoneDatabase>,
    pub(crate) calendars: Calendars,
    pub(crate) codec: Option<SharedCodec>,
    pub(crate) coalescing_window: Duration,
    pub(crate) keep_failed: KeepFailed,
    pub(crate) state: StateMap,
    pub(crate) around: Vec<Layer>,
    pub(crate) on_schedule: Vec<OnSchedule>,
    pub(crate) on_error: Vec<OnErrorFn>,
    pub(crate) on_end: Vec<OnEnd>,
    pub(crate) seed: Option<u64>,
    /// How many attempts run at once, at most.
    pub(crate) max_running: Option<usize>,
    /// How many jobs are live, at most.
    pub(crate) max_pending: Option<usize>,
    /// That of the store. `None` if the app has no store.
    pub(crate) busy_timeout: Option<Duration>,
    /// No job starts before the functions of `on_start` are over.
    pub(crate) closes_start_gate: bool,
    /// The app has no threads of its own: the caller drives it.
    pub(crate) is_manual: bool,
}

impl Hub {
    pub(crate) fn new(config: HubConfig) -> Self {
        let mut random = match config.seed {
            Some(seed) => fastrand::Rng::with_seed(seed),
            None => fastrand::Rng::new(),
        };
        let changed = Arc::new(Signal::new());
        let store = |busy_timeout| {
            let clock = config.clock.clone();
            Store::new(clock, config.is_manual, busy_timeout, changed.clone())
        };
        // With a seed, the ids do not depend on the number of threads and cores.
        let is_alone = config.is_manual || config.seed.is_some();
        let (side_shards, table) = SideShards::new(&mut random, is_alone);
        let pending = config.max_pending.map(|max| Pending::new(None, max));
        let pending_of_app = pending.map(Arc::new);
        Self {
            pending: Mutex::new(pending_of_app.iter().cloned().collect()),
            pending_of_app,
            store: config.busy_timeout.map(store),
            earliest: config.clock.earliest(),
            on_time: AtomicI64::new(ON_TIME),
            clock: config.clock,
            zone: config.zone,
            zone_database: config.zone_database,
            calendars: config.calendars,
            codec: config.codec,
            coalescing_window: config.coalescing_window,
            was_closed: AtomicBool::new(false),
            keep_failed: config.keep_failed,
            state: config.state,
            around: config.around,
            on_schedule: config.on_schedule,
            on_error: config.on_error,
            on_end: config.on_end,
            end_calls: Arc::new(EndCalls::new(changed.clone())),
            events: Arc::default(),
            main_shard: CachePadded(Mutex::new(MainShard {
                table,
                phase: AppPhase::New,
                dispatcher: None,
                tasks: HashMap::new(),
                groups: HashMap::new(),
                unresolved: HashMap::new(),
                catch_up: CatchUp::default(),
                calls_at_start: Vec::new(),
                set_aside: BTreeSet::new(),
                taken_ids: TakenIds::default(),
                pauses: HashMap::new(),
            })),
            side_shards,
            finished_in_table: CachePadded::default(),
            left_count: AtomicUsize::new(0),
            limits: Limits::new(config.max_running),
            spawned: SpawnedJobs::default(),
            pause: PauseSwitch::new(),
            held_count: AtomicUsize::new(0),
            random: Mutex::new(random),
            started_by: StartedBy::nobody(),
            fork_checked_at: AtomicI64::new(i64::MIN),
            start_gate: StartGate::new(config.closes_start_gate),
            checkpoint_times: CheckpointTimes::new(),
            outliving: OutlivingBodies::default(),
            timer: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            has_stopped: AtomicBool::new(false),
            left_running: Mutex::default(),
            changed,
            is_timer_running: AtomicBool::new(false),
        }
    }

    /// What is known about the clocks that were read as `now`.
    pub(crate) fn reading(&self, now: Now) -> ClockReading {
        ClockReading {
            now,
            earliest: self.earliest,
        }
    }

    /// How late a run is at most that is on time, in nanoseconds.
    pub(crate) fn on_time(&self) -> i64 {
        self.on_time.load(Ordering::Relaxed)
    }

    /// The timer looks at the clocks, `since` nanoseconds after the last time. A look that
    /// comes late makes no run missed.
    pub(crate) fn looked_after(&self, since: i64) {
        // Relaxed: the timer's thread reads it, and the executor for jobs that run once.
        self.on_time.store(since.max(ON_TIME), Ordering::Relaxed);
    }

    /// Enters a job that is not shared yet: allocates its slot and its id, and arms it.
    /// `over_ended`: it may take the id of a job that has ended, if that stays taken.
    pub(crate) fn admit<J: LiveJob>(
        &self,
        job: &mut Arc<J>,
        (id, over_ended): (Option<JobId>, bool),
        when: When,
        now: Now,
    ) -> Result<(), ScheduleError> {
        if let Some(id) = &id {
            check_id(id)?;
        }
        if self.is_fork_check_due(now) && self.is_forked() {
            return Err(ScheduleError::Forked);
        }
        let own = self.side_shards.of_this_thread().filter(|_| id.is_none());
        let (wake, needs_room) = match own {
            Some(own) => {
                let mut own = lock(own);
                own.phase.check_open()?;
                place(&mut own.table, job, None, now)?;
                self.enter_new(&mut own.table, job, when, now)
            }
            None => {
                let mut main_shard = lock(&self.main_shard);
                let over = TakesOver {
                    ended: over_ended,
                    ..TakesOver::NOTHING
                };
                main_shard.place(job, id, over, (now, &self.side_shards))?;
                self.enter_new(&mut main_shard.table, job, when, now)
            }
        };
        if wake == Wake::Timer && self.is_forked() {
            return Err(ScheduleError::Forked);
        }
        self.wake(wake);
        self.events.wake_readers();
        if job.core().is_named {
            // Somebody may wait for a job of this id.
            notify_all(&self.changed);
        }
        // Without a dispatcher, the app has stopped and has cancelled the job.
        if when == When::Now
            && job.line_up_new()
            && let Some(dispatcher) = self.dispatcher()
        {
            dispatcher.submit_one(job.clone());
        }
        if needs_room {
            make_room();
        }
        Ok(())
    }

    /// Enters a job that is not shared yet, and that was made for a run of `parent`. The caller has
    /// the lock of that job, and must pass what is returned to [`entered`](Hub::entered) when it
    /// holds no lock.
    pub(crate) fn enter_spawned<J: LiveJob>(
        &self,
        job: &mut Arc<J>,
        parent: &JobId,
        due: Option<Due>,
        now: Now,
    ) -> Result<Entered, ScheduleError> {
        let mut main_shard = lock(&self.main_shard);
        main_shard.place(job, None, TakesOver::NOTHING, (now, &self.side_shards))?;
        // Before it can end, which removes it.
        self.spawned.add(parent.clone(), job.core().id.clone());
        let when = When::At(due.unwrap_or(Due::Mono(now.mono)), KeyKind::Decide);
        let (wake, needs_room) = self.enter_new(&mut main_shard.table, job, when, now);
        Ok(Entered { wake, needs_room })
    }

    /// A job has entered. The caller holds no lock.
    pub(crate) fn entered(&self, entered: Entered) {
        self.wake(entered.wake);
        self.events.wake_readers();
        if entered.needs_room {
            make_room();
        }
    }

    /// Whether a job of this id is live, or a slot is reserved for it. Drops no job: a caller may
    /// hold a lock.
    pub(crate) fn is_live(&self, id: &JobId) -> bool {
        let is_live = id.slot_hint().is_some_and(|slot| {
            let mut tables = self.tables();
            tables.of(slot).find(id).is_some()
        });
        is_live || {
            let main_shard = lock(&self.main_shard);
            main_shard.table.find(id).is_some() || main_shard.table.is_reserved(id)
        }
    }

    /// Whether a job that enters is to check that the process was not forked: one in each
    /// millisecond of the system's clock. To schedule a job needs no other system call.
    ///
    /// `schedule_one` of `benches/parts.rs` takes 150 ns, and 300 ns if each job checks.
    #[inline]
    fn is_fork_check_due(&self, now: Now) -> bool {
        if matches!(self.clock, AppClock::Custom(_)) {
            return true;
        }
        // Relaxed: any thread may check, and two may.
        let last = self.fork_checked_at.load(Ordering::Relaxed);
        let is_due = now.mono.saturating_sub(last) >= FORK_CHECK_INTERVAL;
        if is_due {
            self.fork_checked_at.store(now.mono, Ordering::Relaxed);
        }
        is_due
    }

    /// Inserts a job into its slot. Also returns whether the caller should call
    /// [`make_room`].
    #[inline]
    fn enter_new<J: LiveJob>(
        &self,
        table: &mut Table<Live>,
        job: &Arc<J>,
        when: When,
        now: Now,
    ) -> (Wake, bool) {
        // Recorded before the insertion, so that no other event of the job comes first.
        self.record(&**job, now, || JobEventKind::Scheduled {
            due: job.exec_at(),
        });
        let slot = job.core().slot;
        table.insert(slot, job.clone());
        let wake = match when {
            When::Now => Wake::No,
            When::At(due, kind) => table.arm(slot, due, kind, now),
        };
        (wake, needs_room(table, slot))
    }

    /// Reserves a slot and an id for a job until the store has it. The caller must then
    /// call [`admit_stored`](Hub::admit_stored) or [`give_up`](Hub::give_up).
    pub(crate) fn reserve<J: LiveJob + ?Sized>(
        &self,
        job: &mut Arc<J>,
        id: Option<JobId>,
        over: TakesOver<'_>,
        now: Now,
    ) -> Result<(), ScheduleError> {
        if let Some(id) = &id {
            check_id(id)?;
        }
        if self.is_forked() {
            return Err(ScheduleError::Forked);
        }
        let mut main_shard = lock(&self.main_shard);
        main_shard.place(job, id, over, (now, &self.side_shards))?;
        let core = job.core();
        main_shard
            .table
            .reserve(core.slot, core.is_named.then_some(&core.id));
        Ok(())
    }

    /// Makes a job live that the store has accepted.
    pub(crate) fn admit_stored(&self, job: Live, due: Due) {
        let now = self.clock.now();
        let slot = job.core().slot;
        let is_late;
        let wake = {
            let mut main_shard = lock(&self.main_shard);
            if main_shard.phase == AppPhase::Running {
                self.record(&*job, now, || JobEventKind::Scheduled {
                    due: job.exec_at(),
                });
            }
            if !main_shard.unresolved.is_empty() {
                main_shard.unresolved.remove(&job.core().id);
            }
            let is_there = main_shard.table.fill(slot, job.clone());
            is_late = is_there && main_shard.phase != AppPhase::Running;
            if main_shard.phase == AppPhase::Running {
                main_shard.table.arm(slot, due, KeyKind::Decide, now)
            } else {
                Wake::No
            }
        };
        if is_late {
            // The stop has visited the slot before the job was there.
            job.stop();
        }
        if job.is_held_by_pause() {
            job.follow_pause(None);
        }
        self.wake(wake);
        self.events.wake_readers();
        notify_all(&self.changed);
    }

    /// Releases the reservation of a job that the store has not accepted.
    pub(crate) fn give_up(&self, job: &dyn LiveJob) {
        let core = job.core();
        {
            let mut main_shard = lock(&self.main_shard);
            main_shard
                .table
                .give_up(core.slot, core.is_named.then_some(&core.id));
        }
        job.pending().leave();
        job.pending().notify();
        notify_all(&self.changed);
    }

    /// The record of the unresolved job with this id. It stays in the store if a new job
    /// with the id is refused.
    pub(crate) fn unresolved_record(&self, id: &JobId) -> Option<Box<JobRecord>> {
        lock(&self.main_shard).unresolved.get(id)?.record.clone()
    }

    /// The job of this id has ended, and its id stays taken.
    pub(crate) fn take_id(&self, id: JobId, taken: (JobStatus, WallNanos), now: WallNanos) {
        lock(&self.main_shard).taken_ids.take(id, taken, now);
    }

    /// How the job of this id ended, if the id stays taken.
    pub(crate) fn ended_job(&self, id: &JobId, now: Now) -> Option<EndedJob> {
        lock(&self.main_shard).ended_job(id, now)
    }

    /// Whether the store has a job with this id that no task can run.
    pub(crate) fn is_unresolved(&self, id: &JobId) -> bool {
        lock(&self.main_shard).unresolved.contains_key(id)
    }

    /// The ids of the unresolved jobs that this set declares.
    pub(crate) fn unresolved_of_set(&self, set: &str) -> Vec<JobId> {
        let main_shard = lock(&self.main_shard);
        let unresolved = main_shard.unresolved.iter();
        let of_set = unresolved.filter(|(_, unresolved)| {
            let record = unresolved.record.as_deref();
            record.is_some_and(|record| record.set.as_deref() == Some(set))
        });
        of_set.map(|(id, _)| id.clone()).collect()
    }

    /// Whether a slot is reserved for a job with this id.
    pub(crate) fn is_reserved(&self, id: &JobId) -> bool {
        lock(&self.main_shard).table.is_reserved(id)
    }

    /// Leaves the job in this slot to the next process, because the app stops. The caller
    /// must pass the returned value to [`removed`](Hub::removed) when it holds no lock.
    pub(crate) fn leave_to_next_process(&self, slot: u32) -> Removed {
        let mut tables = self.tables();
        let table = tables.of(slot);
        let wake = table.disarm(slot);
        let is_there = table.get(slot).is_some();
        self.left_count
            .fetch_add(usize::from(is_there), Ordering::SeqCst);
        Removed {
            wake,
            may_be_idle: self.may_be_idle(table),
            _job: None,
        }
    }

    /// Counts a job that was left to the next process as one that ends here, because it
    /// was cancelled.
    pub(crate) fn uncount_left(&self) {
        let less = |count: usize| Some(count.saturating_sub(1));
        let _ = self
            .left_count
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// The job in a slot.
    pub(crate) fn at(&self, slot: u32) -> Option<Live> {
        self.tables().of(slot).get(slot).cloned()
    }

    pub(crate) fn arm(&self, slot: u32, due: Due, kind: KeyKind, now: Now) -> Wake {
        self.tables().of(slot).arm(slot, due, kind, now)
    }

    /// Removes a job that has ended. The caller must pass the returned value to
    /// [`removed`](Hub::removed) when it holds no lock.
    pub(crate) fn remove(&self, slot: u32) -> Removed {
        let mut tables = self.tables();
        let table = tables.of(slot);
        let (job, wake) = table.remove(slot);
        Removed {
            wake,
            may_be_idle: self.may_be_idle(table),
            _job: job,
        }
    }

    /// The number of live jobs for which `wait_all` and a shutdown do not wait: they have ended,
    /// are left to the next process, or are held by a pause.
    fn uncounted(&self) -> usize {
        // A job may be counted as live and not be counted here yet. Then the thread that
        // is about to count it checks again after it.
        self.finished_in_table.load(Ordering::SeqCst)
            + self.left_count.load(Ordering::SeqCst)
            + self.held_count.load(Ordering::SeqCst)
    }

    /// Counts a live job that a pause holds, or does not hold any more. The caller has the lock of
    /// the job.
    pub(crate) fn count_held(&self, is_held: bool) {
        match is_held {
            true => self.held_count.fetch_add(1, Ordering::SeqCst),
            false => self.held_count.fetch_sub(1, Ordering::SeqCst),
        };
    }

    /// The jobs are gone that were counted.
    pub(crate) fn count_none_as_held(&self) {
        self.held_count.store(0, Ordering::SeqCst);
    }

    /// The caller holds no lock.
    pub(crate) fn notify_if_idle(&self) {
        if self.has_no_live_jobs() {
            notify_all(&self.changed);
        }
    }

    /// Whether the app may have no live job, as far as this table shows.
    fn may_be_idle(&self, table: &Table<Live>) -> bool {
        table.live() <= self.uncounted()
    }

    /// Whether no job is live, except those that [`uncounted`](Hub::uncounted) counts. All
    /// tables are locked at the same time, because a job of one table may schedule a job in
    /// another and then end.
    pub(crate) fn has_no_live_jobs(&self) -> bool {
        let main_shard = lock(&self.main_shard);
        let others: Vec<_> = self.side_shards.iter().map(lock).collect();
        let in_others = others.iter().map(|other| other.table.live());
        main_shard.table.live() + in_others.sum::<usize>() <= self.uncounted()
    }
}

impl LiveJobs for Hub {
    fn take_handed_over(&self, tags: &[Tag]) -> Vec<Live> {
        let mut tables = self.tables();
        let mut jobs = Vec::new();
        let mut woken = Wake::No;
        for tags in tags.chunk_by(|one, other| self.are_together(one.slot(), other.slot())) {
            if let Some(first) = tags.first() {
                let wake = tables.of(first.slot()).take_handed_over(tags, &mut jobs);
                if wake != Wake::No {
                    woken = wake;
                }
            }
        }
        drop(tables);
        self.wake(woken);
        jobs
    }

    fn count_finished(&self) {
        self.finished_in_table.fetch_add(1, Ordering::SeqCst);
    }

    fn remove_finished(&self, slots: &mut Vec<u32>) {
        let mut left = Vec::with_capacity(slots.len());
        let mut wake = Wake::No;
        let mut may_be_idle = false;
        // The count changes under the lock of the table, so that `has_no_live_jobs` never
        // sees one change without the other.
        slots.sort_by_key(|slot| self.side_shards.table_of(*slot));
        for slots in slots.chunk_by(|one, other| self.are_together(*one, *other)) {
            let Some(first) = slots.first() else { continue };
            let mut tables = self.tables();
            let table = tables.of(*first);
            for slot in slots {
                let (job, then) = table.remove(*slot);
                left.extend(job);
                if then != Wake::No {
                    wake = then;
                }
            }
            self.finished_in_table
                .fetch_sub(slots.len(), Ordering::SeqCst);
            may_be_idle |= self.may_be_idle(table);
        }
        slots.clear();
        self.removed(Removed {
            wake,
            may_be_idle,
            _job: None,
        });
        // No lock is held here. A job catches the panics of the user's values that it drops.
        drop(left);
    }
}

impl Hub {
    /// Does what the removal of a job requires. The caller holds no lock.
    pub(crate) fn removed(&self, removed: Removed) {
        self.wake(removed.wake);
        if removed.may_be_idle && self.has_no_live_jobs() {
            notify_all(&self.changed);
        }
    }

    pub(crate) fn find(&self, id: &JobId) -> Option<Live> {
        if let Some(slot) = id.slot_hint()
            && let Some(job) = self.tables().of(slot).find(id)
        {
            return Some(job.clone());
        }
        lock(&self.main_shard).table.find(id).cloned()
    }

    /// All live jobs. Each lock is held for [`SLOTS_AT_A_TIME`] slots only.
    pub(crate) fn jobs(&self) -> Vec<Live> {
        let mut jobs = Vec::new();
        let mut next = Some(Cursor::default());
        while let Some(cursor) = next {
            let (more, then) = self.jobs_from(cursor);
            jobs.extend(more);
            next = then;
        }
        jobs
    }

    /// The live job at this address.
    pub(crate) fn live_job_at(&self, address: *const ()) -> Option<Live> {
        let is_there = |job: &Live| Arc::as_ptr(job).cast() == address;
        self.jobs().into_iter().find(is_there)
    }

    /// # Errors
    /// If no job may enter, because the app has not started or has stopped.
    pub(crate) fn check_open(&self) -> Result<(), ScheduleError> {
        if self.is_forked() {
            return Err(ScheduleError::Forked);
        }
        lock(&self.main_shard).phase.check_open()
    }

    /// Drops a value of a user on a thread of the executor, for callers that must not run
    /// user code.
    pub(crate) fn drop_on_executor(&self, value: Box<dyn std::any::Any + Send>) {
        match self.dispatcher() {
            Some(dispatcher) => dispatcher.drop_on_executor(value),
            None => drop_catching_panic(value),
        }
    }

    pub(crate) fn dispatcher(&self) -> Option<Arc<Dispatcher>> {
        lock(&self.main_shard).dispatcher.clone()
    }

    /// A random number from 0 to 1.
    pub(crate) fn random(&self) -> f64 {
        lock(&self.random).f64()
    }

    /// Records an event, if anybody reads events. The caller must call `events.wake_readers()`
    /// when it holds no lock.
    pub(crate) fn record(&self, job: &dyn LiveJob, now: Now, kind: impl FnOnce() -> JobEventKind) {
        if self.events.is_read() {
            self.events.record(Event::Job(JobEvent {
                at: self.time(self.event_time(now)),
                id: job.core().id.clone(),
                task: job.task_name().clone(),
                kind: kind(),
            }));
        }
    }

    /// Whether the app stops, so that no attempt may start. This is set before the stop
    /// takes the lock of any job: a thread that locks a job after the stop sees it.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn set_stopping(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    /// The wall time of an event at `now`.
    pub(crate) fn event_time(&self, now: Now) -> WallNanos {
        // The clock was not read, and a reader has subscribed since then.
        match now == Now::UNREAD {
            true => self.clock.wall(),
            false => now.wall,
        }
    }

    /// A wall time as users see it, in the zone of the app.
    pub(crate) fn time(&self, wall: WallNanos) -> time::OffsetDateTime {
        self.zone.time_at(wall)
    }
}
