//! A job and its store: what is written when, and how a job comes back.
//!
//! Every change is queued under the job's lock, so that the store sees a job's
//! changes in the order in which they were decided. Whoever has queued one kicks
//! the store when the lock is gone.

use crate::api::job::Job;
use crate::calendar::cron::expression::CronTexts;
use crate::calendar::zone::time_zone::Zone;
use crate::engine::hub::Hub;
use crate::engine::replacing::NotReplaceable;
use crate::engine::restoring::{Restore, Restored};
use crate::engine::run::{Durability, JobState, State, TaskDef};
use crate::job::execution::{Execution, JobCore};
use crate::job::progress::{CatchUp, Closing, Mark, Next, Owed, Plan, Progress};
use crate::job::record::{JobRecord, ProgressRecord, RECORD_VERSION};
use crate::registry::table::Wake;
use crate::storage::contract::Change;
use crate::storage::writer::{Ack, Entry, Need};
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::lock;
use crate::sync::primitives::{Arc, Mutex, MutexGuard};
use crate::sync::waiter::Reply;
use crate::sync::waking::notify_all;
use crate::timer::heap::Kind;
use crate::value::clock::{Due, Look, MonoNanos, Now};
use crate::value::error::{ScheduleError, StorageError, UnresolvedReason};
use crate::value::status::{JobStatus, Show};

type Told = Arc<Reply<Result<(), StorageError>>>;

impl<A, R> TaskDef<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// The text of a job's arguments, if its store is to keep it.
    pub(crate) fn encode(&self, args: &A) -> Option<Result<String, ScheduleError>> {
        let codec = &self.durability.as_ref()?.codec;
        Some(
            codec
                .encode(args)
                .map_err(|reason| ScheduleError::Arguments {
                    task: self.name.to_string(),
                    reason,
                }),
        )
    }
}

/// What comes of a replacement that the store has to know of.
pub(crate) enum Replacing<A> {
    Waits(Arc<Reply<Replaced<A>>>),
    /// It is done, and its id is free again.
    Done(A),
    Refused(ScheduleError, A),
}

/// What came of it.
pub(crate) enum Replaced<A> {
    Yes,
    /// The job ended in the meantime: its id is free again.
    Again(A),
    Refused(ScheduleError, A),
}

/// A job as it was when the store was asked about its replacement.
#[derive(Clone, Copy)]
struct Before {
    was_durable: bool,
    /// It was about to start, and the replacement has taken that back.
    took_back: bool,
    /// That of the change.
    number: u32,
}

/// Whether the store forgets a job that is cancelled.
pub(crate) enum Forgetting {
    /// It does not have it.
    NotStored,
    Asked(Show, Told),
    /// It can't be asked any more: the app has stopped.
    Closed(Told),
}

fn closed() -> Told {
    let reply = Reply::new();
    reply.give(Err(StorageError::Closed));
    reply
}

impl<A, R> JobState<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    /// The record of a job that is new, or is replaced by this plan.
    pub(crate) fn record(&self, args: String, plan: &Plan, now: Now) -> Box<JobRecord> {
        Box::new(JobRecord {
            version: RECORD_VERSION,
            id: self.core.id.clone(),
            task: self.task.name.to_string(),
            args,
            scheduled_at: Zone::UTC.time_at(now.wall),
            trigger: plan.trigger(),
            zone: plan.zone.as_ref().map(ToString::to_string),
            progress: plan.to_record(now),
        })
    }

    /// Its first record has been tried: it is live from here on, or never was.
    pub(crate) fn store_answered(
        self: &Arc<Self>,
        due: Due,
        result: Result<(), StorageError>,
    ) -> Result<Job<R>, ScheduleError> {
        let hub = self.hub();
        match result {
            Ok(()) => {
                hub.admit_stored(self.clone(), due);
                Ok(Job::new(self.clone()))
            }
            Err(error) => {
                if !error.wrote_nothing() {
                    // What the store has is not known; it is to be nothing, or what
                    // was there before.
                    let change = match hub.unresolved_record(&self.core.id) {
                        Some(record) => Change::Put(record),
                        None => Change::Remove(self.core.id.clone()),
                    };
                    self.queue(&mut lock(&self.state), change, Need::Must, Ack::Nobody);
                }
                hub.give_up(&**self);
                Err(ScheduleError::from_store(error))
            }
        }
    }

    /// Queues a change of this job. Gives whether the store takes it in.
    fn queue(&self, state: &mut State<A, R>, change: Change, need: Need, ack: Ack) -> bool {
        let Some(store) = &self.hub().store else {
            return false;
        };
        let is_taken = store.queue(Entry { change, need, ack }).is_ok();
        if is_taken && let Some(durable) = state.progress.durable_mut() {
            durable.changes = durable.changes.wrapping_add(1);
        }
        is_taken
    }

    /// Queues a change that a move goes with, which is hidden until the store has
    /// been told.
    fn queue_move(&self, state: &mut State<A, R>, change: Change) -> Show {
        // Not there any more: the app has stopped, and the store with it.
        let Some(job) = self.hub().at(self.core.slot) else {
            return Show::Now;
        };
        if !self.queue(state, change, Need::Must, Ack::Job(job)) {
            return Show::Now;
        }
        if let Some(durable) = state.progress.durable_mut() {
            durable.unstored += 1;
        }
        Show::WhenStored
    }

    fn advance(&self, state: &State<A, R>, now: Now) -> Change {
        Change::Advance {
            id: self.core.id.clone(),
            progress: Box::new(self.progress_record(state, now)),
        }
    }

    fn progress_record(&self, state: &State<A, R>, now: Now) -> ProgressRecord {
        let is_running = self.core.status.actual() == JobStatus::Running;
        let mut progress = state.progress.to_record(is_running, now);
        if let Some(durable) = state.progress.durable()
            && is_running
            && self.is_at_most_once(state)
        {
            // It has begun, for the store too.
            progress.mark(durable.marked_at);
        }
        progress
    }

    /// The job ends.
    pub(crate) fn store_end(&self, state: &mut State<A, R>) -> Show {
        if !state.progress.is_durable() {
            return Show::Now;
        }
        self.queue_move(state, Change::Remove(self.core.id.clone()))
    }

    /// The job has come further, and goes on.
    pub(crate) fn store_progress(&self, state: &mut State<A, R>, now: Now) -> Show {
        if !state.progress.is_durable() {
            return Show::Now;
        }
        if state.progress.is_being_replaced() {
            // The store may have the new trigger by then, and the progress is that
            // of the old one: once it has answered, it is given both. It is hidden
            // until then, by the count of the replacement.
            state.progress.owe(Owed::Progress);
            return Show::WhenStored;
        }
        // Its attempt has ended already, but for the status.
        let change = Change::Advance {
            id: self.core.id.clone(),
            progress: Box::new(state.progress.to_record(false, now)),
        };
        self.queue_move(state, change)
    }

    /// The job is cancelled or aborted, and whoever does that waits for the
    /// store.
    pub(crate) fn store_cancel(&self, state: &mut State<A, R>) -> Forgetting {
        if !self.is_stored(state) {
            return Forgetting::NotStored;
        }
        let Some(job) = self.hub().at(self.core.slot) else {
            return Forgetting::Closed(closed());
        };
        let reply = Reply::new();
        let told = reply.clone();
        let ack = Ack::caller(
            move |result| {
                job.stored();
                job.let_go();
                told.answer(result.map(drop));
                told
            },
            |told| told.wake(),
        );
        if !self.queue(state, Change::Remove(self.core.id.clone()), Need::Must, ack) {
            return Forgetting::Closed(closed());
        }
        match state.progress.durable_mut() {
            Some(durable) => {
                durable.unstored += 1;
                Forgetting::Asked(Show::WhenStored, reply)
            }
            None => Forgetting::Asked(Show::Now, reply),
        }
    }

    /// The job is cancelled during a run: no other process is to go on with it.
    pub(crate) fn store_forget(&self, state: &mut State<A, R>) -> Option<Told> {
        if !self.is_stored(state) {
            return None;
        }
        let reply = Reply::new();
        let ack = Ack::reply(reply.clone());
        let is_asked = self.queue(state, Change::Remove(self.core.id.clone()), Need::Must, ack);
        Some(if is_asked { reply } else { closed() })
    }

    /// Whether the store has this job, or what is to follow its run.
    fn is_stored(&self, state: &State<A, R>) -> bool {
        state.progress.is_durable() || state.args.replacement().is_some_and(|r| r.plan.is_durable)
    }

    // At most once.

    pub(crate) fn is_at_most_once(&self, state: &State<A, R>) -> bool {
        state.progress.is_durable()
            && self
                .task
                .durability
                .as_ref()
                .is_some_and(|d| d.at_most_once)
    }

    /// The job is due, and starts once the store has it that it does.
    pub(crate) fn mark_start(&self, state: &mut State<A, R>, now: Now) {
        state.progress.is_ready = false;
        let number = match state.progress.durable() {
            Some(durable) => durable.changes.wrapping_add(1),
            None => return,
        };
        let mut progress = self.progress_record(state, now);
        progress.mark(now.wall);
        let change = Change::Advance {
            id: self.core.id.clone(),
            progress: Box::new(progress),
        };
        let Some(job) = self.hub().at(self.core.slot) else {
            return;
        };
        // Without the store it does not start: the app has stopped.
        if self.queue(state, change, Need::Must, Ack::Start(job, number))
            && let Some(durable) = state.progress.durable_mut()
        {
            durable.mark = Mark::Asked(number);
            durable.marked_at = now.wall;
        }
    }

    /// It is not to start now after all. Gives whether the store has something
    /// to do.
    pub(crate) fn take_back_mark(&self, state: &mut State<A, R>, now: Now) -> bool {
        match state.progress.durable_mut() {
            Some(durable) if durable.mark != Mark::None => durable.mark = Mark::None,
            _ => return false,
        }
        let change = self.advance(state, now);
        self.queue(state, change, Need::Must, Ack::Nobody)
    }

    pub(crate) fn start_is_stored(&self, number: u32) {
        let (mut state, now) = self.lock_with_time(|_| Look::Exact);
        let Some(durable) = state.progress.durable_mut() else {
            return;
        };
        if durable.mark != Mark::Asked(number) {
            return;
        }
        durable.mark = Mark::Stored;
        let mut wake = Wake::No;
        if self.core.status.actual() == JobStatus::Scheduled {
            wake = self
                .hub()
                .arm(self.core.slot, Due::Mono(now.mono), Kind::Look, now);
        }
        drop(state);
        self.hub().wake(wake);
    }

    // Catching up.

    pub(crate) fn catch_up_by(&self, at_the_latest: MonoNanos) {
        let (mut state, now) = self.lock_with_time(|_| Look::Exact);
        if self.core.status.actual() != JobStatus::Scheduled {
            return;
        }
        if let Some(durable) = state.progress.durable_mut() {
            durable.catch_up = CatchUp::Waits;
        }
        let due = Due::Mono(at_the_latest);
        let wake = self.hub().arm(self.core.slot, due, Kind::Look, now);
        drop(state);
        self.hub().wake(wake);
    }

    pub(crate) fn has_turn_now(&self) -> bool {
        let (mut state, now) = self.lock_with_time(|_| Look::Exact);
        match state.progress.durable_mut() {
            Some(durable) if durable.catch_up == CatchUp::Waits => {
                durable.catch_up = CatchUp::HasTurn;
            }
            _ => return false,
        }
        let wake = self.arm_again(&state, now);
        drop(state);
        self.hub().wake(wake);
        true
    }

    // What the store answers.

    /// A change that the job had to wait for has been tried.
    pub(crate) fn store_has_been_told(&self) {
        let (mut state, now) =
            self.lock_with_time(|state| Look::exact_if(state.progress.is_overdue));
        if let Some(durable) = state.progress.durable_mut() {
            durable.unstored = durable.unstored.saturating_sub(1);
            if durable.unstored > 0 {
                return;
            }
            durable.unstored_runs = 0;
        }
        let moved = self.core.status.reveal();
        let mut wake = Wake::No;
        if !state.progress.is_occupied && std::mem::take(&mut state.progress.is_overdue) {
            wake = self.arm_again(&state, now);
        }
        drop(state);
        self.hub().wake(wake);
        if moved.is_some_and(|moved| moved.waited_for) {
            notify_all(&self.core.changed);
        }
    }

    /// For a job that came due when it could not start.
    pub(crate) fn arm_again(&self, state: &State<A, R>, now: Now) -> Wake {
        match state.progress.timer() {
            Some(due)
                if self.core.status.actual() == JobStatus::Scheduled
                    && state.progress.closing != Closing::Suspended =>
            {
                let kind = self.key_kind(state);
                self.hub().arm(self.core.slot, due, kind, now)
            }
            _ => Wake::No,
        }
    }

    // Replacing.

    /// Whether a replacement by this plan concerns the store.
    pub(crate) fn concerns_store(&self, plan: &Plan) -> bool {
        plan.is_durable || self.is_stored(&lock(&self.state))
    }

    /// New arguments and another trigger, for a job that goes on: the store is
    /// asked first. `text` is that of the arguments, if it is to keep them.
    ///
    /// Until it has answered, a job that waits for its time does not start.
    pub(crate) fn begin_replace(
        self: &Arc<Self>,
        args: A,
        plan: Plan,
        text: Option<String>,
        now: Now,
    ) -> Replacing<A> {
        let mut state = lock(&self.state);
        match self.check_replace(&state, &plan) {
            Ok(()) => {}
            Err(NotReplaceable::Done) => return Replacing::Done(args),
            Err(NotReplaceable::Refused(error)) => return Replacing::Refused(error, args),
        }
        let mut fitted = plan.clone();
        let is_running = self.core.status.actual() == JobStatus::Running;
        if !is_running {
            state.progress.fit(&mut fitted, now);
        }
        let record = text.map(|text| {
            let mut record = self.record(text, &fitted, now);
            record.progress = state.progress.record_with(&fitted, is_running, now);
            record
        });
        let change = match &record {
            Some(record) => Change::Put(record.clone()),
            None => Change::Remove(self.core.id.clone()),
        };
        // The replacement takes back that it starts.
        let mut before = Before {
            was_durable: false,
            took_back: false,
            number: 0,
        };
        if let Some(durable) = state.progress.durable_mut() {
            before = Before {
                was_durable: true,
                took_back: std::mem::take(&mut durable.mark) != Mark::None,
                number: durable.changes.wrapping_add(1),
            };
        }
        let reply = Reply::new();
        let (job, told) = (self.clone(), reply.clone());
        let ack = Ack::caller(
            move |result| {
                told.answer(job.end_replace(args, plan, record, before, result.map(drop)));
                if before.was_durable {
                    job.stored();
                }
                (job, told)
            },
            |(job, told)| {
                told.wake();
                job.let_go_of(told);
            },
        );
        let Some(store) = &self.hub().store else {
            // There is one: it was asked for by a durable task.
            drop(state);
            return Replacing::Waits(reply);
        };
        let entry = Entry {
            change,
            need: Need::May,
            ack,
        };
        match store.queue(entry) {
            Ok(()) => {
                state.progress.replacement_begins();
                if let Some(durable) = state.progress.durable_mut() {
                    durable.changes = durable.changes.wrapping_add(1);
                    durable.unstored += 1;
                    if before.took_back {
                        // Fired once more when the store has answered.
                        state.progress.is_ready = false;
                        state.progress.is_overdue = true;
                    }
                }
                drop(state);
                store.wake_writer();
            }
            Err(entry) => {
                drop(state);
                // Closed: by the way of every other answer.
                entry.refuse();
            }
        }
        Replacing::Waits(reply)
    }

    /// The store has answered.
    fn end_replace(
        self: &Arc<Self>,
        args: A,
        plan: Plan,
        record: Option<Box<JobRecord>>,
        before: Before,
        result: Result<(), StorageError>,
    ) -> Replaced<A> {
        let hub = self.hub();
        let now = hub.clock.now();
        let owed = self.replacement_answered(before);
        if let Err(error) = result {
            self.replacement_failed(before, owed, &error, now);
            return Replaced::Refused(ScheduleError::from_store(error), args);
        }
        let mut state = lock(&self.state);
        match self.check_replace(&state, &plan) {
            Ok(()) => {}
            Err(NotReplaceable::Done) => {
                self.forget_late(state);
                return Replaced::Again(args);
            }
            Err(NotReplaceable::Refused(error)) => {
                // Somebody is ending the job, or it has had its runs.
                self.store_as_it_is(state, Owed::Whole, now);
                return Replaced::Refused(error, args);
            }
        }
        let leftovers = self.apply_replacement(state, args, plan, record.clone(), now);
        if leftovers.is_foreign() {
            hub.drop_on_executor(Box::new(leftovers));
        }
        // It was free to go on while the store was asked, and what the store has
        // is what was then.
        if owed > Owed::Nothing {
            state = lock(&self.state);
            if state.progress.is_being_replaced() {
                // By another one, which the store is to have last.
                state.progress.owe(Owed::Progress);
            } else if let Some(mut record) = record
                && state.progress.is_durable()
                && self.core.status.actual() == JobStatus::Scheduled
            {
                record.progress = self.progress_record(&state, now);
                // Hidden until then, as every move.
                self.queue_move(&mut state, Change::Put(record));
            }
        }
        Replaced::Yes
    }

    /// What the store is still to be told of the job, that has moved since it was asked.
    fn replacement_answered(&self, before: Before) -> Owed {
        let mut state = lock(&self.state);
        let owed = state.progress.replacement_ends();
        match state.progress.durable() {
            Some(durable) if before.was_durable && durable.changes == before.number => owed,
            _ => owed.max(Owed::Progress),
        }
    }

    /// The job stays as it is. What the store has may be something else.
    fn replacement_failed(&self, before: Before, owed: Owed, error: &StorageError, now: Now) {
        let state = lock(&self.state);
        let is_torn = !error.wrote_nothing();
        if self.core.status.actual().is_final() {
            if is_torn {
                self.forget_late(state);
            }
            return;
        }
        let owed = match owed {
            _ if is_torn => Owed::Whole,
            Owed::Nothing if before.took_back => Owed::Progress,
            owed => owed,
        };
        self.store_as_it_is(state, owed, now);
    }

    /// The job has ended in the meantime, and the store may have what was to replace it.
    /// If it had the job at its end, that is queued behind the replacement.
    fn forget_late(&self, state: MutexGuard<'_, State<A, R>>) {
        let is_durable = state.progress.is_durable();
        drop(state);
        if !is_durable {
            self.hub().forget_unwanted(&self.core.id);
        }
    }

    /// The store may have something else under the id of this job. Gives whether that is
    /// seen to: the job is live.
    pub(crate) fn reconcile(&self) -> bool {
        let now = self.hub().clock.now();
        let state = lock(&self.state);
        if self.core.status.actual().is_final() {
            return false;
        }
        if !state.progress.is_durable() {
            self.store_as_it_is(state, Owed::Whole, now);
        }
        // If it is, its own record was queued behind that.
        true
    }

    /// Tells the store what it is owed of a job that goes on as it was. What the job has
    /// come to meanwhile is hidden until then.
    fn store_as_it_is(&self, mut state: MutexGuard<'_, State<A, R>>, owed: Owed, now: Now) {
        if state.progress.is_being_replaced() {
            // By another one: behind that, this would be what the store has last.
            state.progress.owe(owed);
            return;
        }
        let replacement = state.args.replacement().map(|r| r.record.clone());
        let is_durable = state.progress.is_durable();
        let change = match (owed, replacement) {
            // Of its run the store has nothing, but what is to follow that.
            (Owed::Nothing, _) | (Owed::Progress, Some(_)) => return,
            (Owed::Progress, None) if is_durable => self.advance(&state, now),
            (Owed::Progress, None) => return,
            // Nobody goes on with it, and it may have been forgotten before this.
            _ if state.progress.closing == Closing::Cancelled => {
                Change::Remove(self.core.id.clone())
            }
            (Owed::Whole, Some(Some(record))) => Change::Put(record),
            (Owed::Whole, None) if is_durable => {
                match state.args.take() {
                    Some(args) => {
                        drop(state);
                        self.store_anew(args, now);
                    }
                    // They are being copied for an attempt.
                    None => state.progress.owe(Owed::Whole),
                }
                return;
            }
            // It is for nobody but this process, or what follows its run is.
            (Owed::Whole, _) => Change::Remove(self.core.id.clone()),
        };
        self.queue_move(&mut state, change);
    }

    /// The arguments of the job are back, without which the store could not be told what
    /// it was owed.
    pub(crate) fn arguments_are_back(&self) {
        let now = self.hub().clock.now();
        let mut state = lock(&self.state);
        let owed = state.progress.take_owed();
        if owed == Owed::Nothing || self.core.status.actual().is_final() {
            return;
        }
        self.store_as_it_is(state, owed, now);
        self.hub().wake_writer();
    }

    /// Gives the store the whole job once more. It does not start until that is
    /// queued, for the store has not answered yet; so nobody misses the arguments.
    fn store_anew(&self, args: A, now: Now) {
        let Some(durability) = &self.task.durability else {
            return;
        };
        // Serde's implementations are foreign: not under the lock.
        let text = catch_panic(|| durability.codec.encode(&args));
        let mut spare = Some(args);
        let mut state = lock(&self.state);
        let goes_on = !self.core.status.actual().is_final();
        if goes_on && state.args.is_none() {
            spare = spare.and_then(|args| state.args.put(args));
        }
        let goes_on = goes_on && state.progress.closing != Closing::Cancelled;
        if goes_on && state.progress.is_being_replaced() {
            // Somebody else has come meanwhile, whom the store is to have last.
            state.progress.owe(Owed::Whole);
        } else if goes_on
            && state.progress.is_durable()
            && let Ok(Ok(text)) = text
        {
            let record = Box::new(JobRecord {
                version: RECORD_VERSION,
                id: self.core.id.clone(),
                task: self.task.name.to_string(),
                args: text,
                scheduled_at: Zone::UTC.time_at(now.wall),
                trigger: state.progress.trigger(),
                zone: state.progress.zone().map(ToString::to_string),
                progress: self.progress_record(&state, now),
            });
            self.queue_move(&mut state, Change::Put(record));
        }
        drop(state);
        if spare.is_some() {
            self.hub().drop_on_executor(Box::new(spare));
        }
    }

    /// Drops a reply where foreign values may be dropped, if nobody is there to
    /// take it.
    fn let_go_of(self: Arc<Self>, reply: Arc<Reply<Replaced<A>>>) {
        if Arc::strong_count(&reply) == 1
            && let Some(answer) = reply.take()
        {
            self.hub().drop_on_executor(Box::new(answer));
        }
        self.let_go();
    }
}

impl<A, R> Restore for TaskDef<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn restore(
        self: Arc<Self>,
        record: &JobRecord,
        now: Now,
    ) -> Result<Restored, UnresolvedReason> {
        let Some(Durability { codec, .. }) = &self.durability else {
            return Err(UnresolvedReason::NotDurable);
        };
        if record.version > RECORD_VERSION {
            return Err(UnresolvedReason::NewerVersion {
                found: record.version,
                known: RECORD_VERSION,
            });
        }
        let zone = record.zone.as_deref().map(Zone::read).transpose();
        let zone = zone.map_err(UnresolvedReason::Zone)?.map(Box::new);
        let restored = Progress::restored(record, zone, &self.hub.zone, now);
        let (mut progress, plan) = restored?;
        let hub: &Hub = &self.hub;
        let lost = progress.lose_attempt(&record.progress, now, || hub.random())?;
        // Serde's implementations are foreign.
        let args = catch_panic(|| codec.decode(&record.args))
            .unwrap_or_else(|message| Err(message.to_string().into()))
            .map_err(UnresolvedReason::arguments)?;
        let mut change = None;
        let mut due = plan.due;
        if let Some(lost) = lost {
            match lost.next {
                Next::End(status) => {
                    drop_catching_panic(args);
                    let id = record.id.clone();
                    return Ok(Restored::Lost { id, status });
                }
                Next::Run(next) | Next::Retry(next) => due = next,
            }
            change = Some(Change::Advance {
                id: record.id.clone(),
                progress: Box::new(progress.to_record(false, now)),
            });
        }
        let mut core = JobCore::new();
        core.id = record.id.clone();
        core.is_named = true;
        core.look = Look::Exact;
        let job = Arc::new(JobState {
            core,
            task: self,
            cron: CronTexts::of(plan.cron()),
            state: Mutex::new(State::new(progress, args)),
        });
        Ok(Restored::Job { job, due, change })
    }
}
