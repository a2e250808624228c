//! [`Writer`]: makes the store agree with the jobs.
//!
//! The row belongs to the id. For each id with something to do there is a [`Slot`]: its
//! *base*, which is what the store must come to hold, and at most one *proposal*, which the
//! store may refuse. The writer pulls the rows as they are now, commits them in one
//! transaction, and settles with each job what the store has. So the more waits, the less
//! each row costs, and nobody sends a change that could be out of date.
//!
//! A slot is looked up by its id when its messages are filed. From then on it is passed on
//! as a value: a turn takes it from `untried` into the commit, and from there it goes to
//! `unstored`, or is dropped because the store has everything.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use time::OffsetDateTime;

use crate::job::end_record::{JobEnd, KeptEnd, TrimEnds};
use crate::job::live_job::PulledChange;
use crate::job::record::JobRecord;
use crate::job::sync_state::{CommitOutcome, CommitWaiter, Known};
use crate::storage::contract::{Change, Storage};
use crate::storage::inbox::{Inbox, Message};
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::{Proposal, ProposalGroup};
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::Arc;
use crate::value::backoff::Backoff;
use crate::value::error::StorageError;
use crate::value::id::JobId;

/// The most rows of one commit, if no group is among them.
const MOST_IN_A_COMMIT: usize = 4_096;

/// How long the store is left alone after a failed commit: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// After this many proposals in a row that a full store has refused one by one, the rest
/// is refused without a try.
const FULL_IN_A_ROW: usize = 8;

/// Has the storage, and makes it agree with the jobs.
pub(crate) struct Writer {
    storage: Box<dyn Storage>,
    /// Slots that were not tried since something happened to them. Empty between turns.
    untried: VecDeque<Slot>,
    /// Slots that were tried, and of which the store does not have everything.
    unstored: BTreeMap<JobId, Slot>,
    /// The slots that are tried again: those that `was_refused`.
    tried_again: usize,
    /// Whether a group of proposals is among the untried slots.
    has_group: bool,
    /// Whether a slot of `unstored` may carry jobs.
    has_carried: bool,
    /// Messages that wait until the slot of their id was tried. Empty between turns.
    later: Vec<Message>,
    /// Turns in a row that have left something unstored.
    failures: u32,
    /// When the unstored slots are tried again, on the writer's own clock.
    retry_at: Option<Duration>,
    failure: Option<StorageError>,
    backoff: Backoff,
    /// How many ends of failed jobs the store keeps.
    most_ends: u64,
}

/// What there is to do for one id.
struct Slot {
    id: JobId,
    base: Base,
    proposal: Option<Box<dyn Proposal>>,
    /// The ends of predecessors of the base that the store does not have yet. They are in the
    /// next commit that has this slot.
    ends: Vec<JobEnd>,
    /// Jobs that were made for runs of the base. Their rows are in the next commit that has this
    /// slot, so that the end of a run and its job are stored together.
    carried: Vec<Carried>,
    /// Callers who wait until the row is gone.
    waiters: Vec<CommitWaiter>,
    /// The row alone was too large: it is committed apart from others, and only when a
    /// retry is due.
    is_apart: bool,
    /// It is in `untried` or in a commit, and the store has refused it before.
    was_refused: bool,
}

/// A spawned job that the store does not have yet. Its row is committed with that of its recurring
/// job.
struct Carried {
    job: JobRef,
    /// The version of the job at the last pull.
    version: u64,
    /// Whether the store was to have a row of it then.
    has_row: bool,
}

/// What the store must come to hold under an id.
enum Base {
    Job(JobRef),
    /// An unresolved record, as it was loaded.
    Record {
        record: Box<JobRecord>,
        known: Known,
    },
    /// No row.
    Gone(Known),
}

/// A slot in a commit. If it has a proposal, the change is that of the proposal.
struct Pulled {
    slot: Slot,
    /// The version of the base.
    version: u64,
    change: Option<Change>,
    /// Its change is in the list that is committed.
    has_change: bool,
    /// Changes that belong to this change: of the table of ends, and of carried jobs.
    more_changes: Vec<Change>,
    /// How many of them are in the list that is committed.
    more_changes_count: usize,
    /// One of these is not a removal.
    writes_more: bool,
    /// The base differs from what the store is known to have.
    is_fact: bool,
    has_row: bool,
}

/// How a commit failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommitFailure {
    /// Nothing was written, whatever was in it: the file is locked, or read-only.
    NothingWritten,
    /// The disk is full.
    Full,
    /// One of the rows is at fault.
    TooLarge,
    /// It is not known what was written.
    Unknown,
}

impl CommitFailure {
    fn of(error: &StorageError) -> Self {
        match error {
            StorageError::Full { .. } => CommitFailure::Full,
            StorageError::TooLarge { .. } => CommitFailure::TooLarge,
            error if error.wrote_nothing() => CommitFailure::NothingWritten,
            _ => CommitFailure::Unknown,
        }
    }
}

/// One turn of the writer: what it has to know, and who is to be woken after it.
struct Turn<'a> {
    inbox: &'a Inbox,
    is_closing: bool,
    /// Why no other commit is tried in this turn.
    ended_by: Option<StorageError>,
    answered: Vec<Box<dyn Proposal>>,
    woken: Vec<CommitWaiter>,
}

/// What was pulled of a base.
struct PulledBase {
    version: u64,
    change: Option<Change>,
    /// Whether the store is to have a row.
    has_row: bool,
    /// The end of the job, if the store is to keep it.
    end: Option<JobEnd>,
    /// The jobs that the slot has to carry from now on.
    made: Vec<JobRef>,
}

/// The change that makes the store agree with a job.
fn change_of(id: &JobId, change: PulledChange) -> Option<Change> {
    match change {
        PulledChange::None => None,
        PulledChange::Advance(progress) => Some(Change::Advance {
            id: id.clone(),
            progress,
        }),
        PulledChange::Put(record) => Some(Change::Put(record)),
        PulledChange::Remove => Some(Change::Remove(id.clone())),
    }
}

impl Base {
    fn known(&self) -> Known {
        match self {
            Base::Job(job) => job.known(),
            Base::Record { known, .. } | Base::Gone(known) => *known,
        }
    }

    /// Pulls the change that makes the store agree.
    fn pull(&self, id: &JobId) -> PulledBase {
        let (version, change, has_row) = match self {
            Base::Job(job) => {
                let pulled = job.pull();
                return PulledBase {
                    version: pulled.version,
                    change: change_of(id, pulled.change),
                    has_row: pulled.has_row,
                    end: pulled.end,
                    made: pulled.made.into_iter().map(JobRef::new).collect(),
                };
            }
            Base::Record { record, known } => {
                let change = (*known != Known::Row).then(|| Change::Put(record.clone()));
                (0, change, true)
            }
            Base::Gone(known) => {
                let change = (*known != Known::Absent).then(|| Change::Remove(id.clone()));
                (0, change, false)
            }
        };
        PulledBase {
            version,
            change,
            has_row,
            end: None,
            made: Vec::new(),
        }
    }

    fn is_clean(&self) -> bool {
        match self {
            // A job says so when it is settled.
            Base::Job(_) => false,
            Base::Record { known, .. } => *known == Known::Row,
            Base::Gone(known) => *known == Known::Absent,
        }
    }
}

impl Slot {
    fn new(id: JobId, base: Base) -> Self {
        Self {
            id,
            base,
            proposal: None,
            ends: Vec::new(),
            carried: Vec::new(),
            waiters: Vec::new(),
            is_apart: false,
            was_refused: false,
        }
    }

    /// The slot of an id that has none, with its first message. `None` if nothing is to do.
    fn of(mut message: Message) -> Option<Self> {
        let id = message.id()?.clone();
        let base = match &mut message {
            Message::Changed(job) => Base::Job(job.clone()),
            Message::Propose(proposal) => match proposal.taken_over() {
                Some(record) => Base::Record {
                    record,
                    known: Known::Row,
                },
                None => Base::Gone(Known::Absent),
            },
            Message::Await { waiter, .. } => {
                // The store has refused nothing of this id.
                waiter.send(Ok(()));
                return None;
            }
            Message::Forget { .. } => Base::Gone(Known::Row),
            // The recurring job has sent `Changed`, which is still to come. Its slot will pull this job.
            Message::CarriedChanged { .. } => return None,
            Message::ProposeGroup(_) => return None,
        };
        let mut slot = Self::new(id, base);
        // A new slot takes in every message.
        let _ = slot.take_in(message);
        Some(slot)
    }

    /// Takes in a message. Returns it if it has to wait until this slot was tried.
    fn take_in(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Changed(job) => match &self.base {
                Base::Job(base) if base.is(&job) => {}
                // Its turn comes when the end of this predecessor was tried.
                Base::Job(_) => return Some(Message::Changed(job)),
                Base::Record { known, .. } | Base::Gone(known) => {
                    job.inherit_row(*known);
                    self.base = Base::Job(job);
                }
            },
            Message::Propose(proposal) => match self.proposal {
                Some(_) => return Some(Message::Propose(proposal)),
                None => self.proposal = Some(proposal),
            },
            Message::ProposeGroup(_) => return Some(message),
            // The job is pulled with this slot.
            Message::CarriedChanged { .. } => {}
            Message::Await { waiter, .. } if self.was_refused => self.waiters.push(waiter),
            Message::Await { waiter, .. } => waiter.send(Ok(())),
            Message::Forget { waiter, end, .. } => {
                self.ends.extend(end);
                if let Base::Record { known, .. } = self.base {
                    self.base = Base::Gone(known);
                }
                self.waiters.extend(waiter);
            }
        }
        None
    }

    /// The base of a replacement is the job that it replaces, unless a predecessor of that
    /// job still has something to store.
    fn adopt_replaced(&mut self) {
        if let Base::Gone(known) = self.base
            && let Some(job) = self.proposal.as_ref().and_then(|first| first.replaced())
        {
            job.inherit_row(known);
            self.base = Base::Job(job);
        }
    }

    /// Pulls the change that the store must make for this id now.
    fn pull(mut self, answered: &mut Vec<Box<dyn Proposal>>) -> Pulled {
        self.adopt_replaced();
        let PulledBase {
            mut version,
            mut change,
            mut has_row,
            end,
            made,
        } = self.base.pull(&self.id);
        let mut is_fact = change.is_some() || end.is_some() || !self.ends.is_empty();
        let mut more_changes = self.end_changes(end);
        more_changes.extend(self.pull_carried(made));
        is_fact |= !self.carried.is_empty();
        if let Some(mut proposal) = self.proposal.take() {
            match proposal.pull() {
                None => answered.push(proposal),
                Some(pulled) => {
                    // The base of a replacement is the job that it replaces. The proposal
                    // has pulled that job once more, and this version is the newer one.
                    if let Base::Job(job) = &self.base
                        && job.is(&proposal.job())
                    {
                        version = pulled.version;
                    }
                    more_changes.extend(pulled.forgets.map(Change::ForgetEnd));
                    // A run that has ended since the pull of the base is counted by this row.
                    if let Base::Job(job) = &self.base {
                        let made = job.take_made().into_iter().map(JobRef::new).collect();
                        more_changes.extend(self.pull_carried(made));
                    }
                    has_row = pulled.record.is_some();
                    change = match pulled.record {
                        Some(record) => Some(Change::Put(record)),
                        None => (self.base.known() != Known::Absent)
                            .then(|| Change::Remove(self.id.clone())),
                    };
                    self.proposal = Some(proposal);
                }
            }
        }
        Pulled {
            slot: self,
            version,
            has_change: change.is_some(),
            change,
            more_changes,
            more_changes_count: 0,
            writes_more: false,
            is_fact,
            has_row,
        }
    }

    /// Pulls the jobs that the slot carries, with those that were made since the last pull. Returns
    /// their changes.
    fn pull_carried(&mut self, made: Vec<JobRef>) -> Vec<Change> {
        let carry = |job| Carried {
            job,
            version: 0,
            has_row: false,
        };
        let made = made.into_iter().filter(|job| job.is_carried());
        self.carried.extend(made.map(carry));
        let mut changes = Vec::new();
        let mut at = 0;
        while let Some(carried) = self.carried.get_mut(at) {
            let pulled = carried.job.pull();
            (carried.version, carried.has_row) = (pulled.version, pulled.has_row);
            changes.extend(change_of(carried.job.row_id(), pulled.change));
            changes.extend(changes_of_ends(pulled.end));
            let made = pulled.made.into_iter().map(JobRef::new);
            self.carried.extend(made.map(carry));
            at += 1;
        }
        changes
    }

    /// The changes that keep the ends of predecessors, and that of the base.
    fn end_changes(&self, own: Option<JobEnd>) -> Vec<Change> {
        changes_of_ends(self.ends.iter().cloned().chain(own))
    }
}

/// The changes that keep these ends.
fn changes_of_ends(ends: impl IntoIterator<Item = JobEnd>) -> Vec<Change> {
    let mut changes = Vec::new();
    for JobEnd { kept, taken } in ends {
        changes.extend(taken.map(Change::TakeId));
        let Some(KeptEnd {
            record,
            most_of_task,
        }) = kept
        else {
            continue;
        };
        let trim = most_of_task.map(|most| TrimEnds {
            task: Some(record.task.clone()),
            most,
            now: record.finished_at,
        });
        changes.push(Change::KeepEnd(record));
        changes.extend(trim.map(Change::TrimEnds));
    }
    changes
}

impl Pulled {
    /// Returns the changes of a failed commit to their rows.
    fn put_back(pulled: &mut [Pulled], changes: Vec<Change>) {
        let mut changes = changes.into_iter();
        for row in pulled {
            if row.has_change {
                row.change = changes.next();
            }
            row.more_changes = changes.by_ref().take(row.more_changes_count).collect();
        }
    }

    /// Whether its change, if it succeeds, has written something. The removal of a row that may
    /// not exist proves nothing: a store that refuses every write can delete nothing.
    fn has_written(&self) -> bool {
        let changes_row = self.has_row || self.slot.base.known() == Known::Row;
        self.has_change && changes_row || self.writes_more
    }

    /// Drops the ends that the store was to keep with this change, because they may be what it
    /// has no room for. Returns whether there were any.
    fn drop_ends(&mut self) -> bool {
        let count = self.more_changes.len();
        let is_of_end = |change: &Change| {
            matches!(
                change,
                Change::KeepEnd(_) | Change::TakeId(_) | Change::TrimEnds(_)
            )
        };
        self.more_changes.retain(|change| !is_of_end(change));
        self.slot.ends.clear();
        self.more_changes.len() < count
    }

    fn is_proposal(&self) -> bool {
        self.slot.proposal.is_some()
    }

    fn group(&self) -> Option<&Arc<ProposalGroup>> {
        self.slot.proposal.as_ref()?.group()
    }

    /// Whether this is one unit: one row, or all rows of a group. A unit is not split.
    fn is_one_unit(pulled: &[Pulled]) -> bool {
        let group = pulled.first().and_then(Pulled::group).map(Arc::as_ptr);
        let is_of_group = |row: &Pulled| row.group().map(Arc::as_ptr) == group;
        pulled.len() == 1 || group.is_some() && pulled.iter().all(is_of_group)
    }

    /// Splits rows into units.
    fn units(pulled: Vec<Pulled>) -> Vec<Vec<Pulled>> {
        let mut units = Vec::<Vec<Pulled>>::with_capacity(pulled.len());
        let mut of_groups = HashMap::new();
        for row in pulled {
            let next = units.len();
            let at = match row.group() {
                Some(group) => *of_groups.entry(Arc::as_ptr(group)).or_insert(next),
                None => next,
            };
            match units.get_mut(at) {
                Some(unit) => unit.push(row),
                None => units.push(vec![row]),
            }
        }
        units
    }
}

impl Writer {
    /// `most_ends`: how many ends of failed jobs the store keeps.
    pub(crate) fn new(storage: Box<dyn Storage>, most_ends: u64) -> Self {
        Self {
            storage,
            most_ends,
            untried: VecDeque::new(),
            unstored: BTreeMap::new(),
            tried_again: 0,
            has_group: false,
            has_carried: false,
            later: Vec::new(),
            failures: 0,
            retry_at: None,
            failure: None,
            backoff: Backoff::exponential(u32::MAX)
                .initial(FIRST_RETRY)
                .cap(LONGEST_RETRY),
        }
    }

    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.retry_at.is_some_and(|at| at <= now)
    }

    /// When the unstored ids are tried again.
    pub(crate) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    pub(crate) fn storage(&mut self) -> &mut dyn Storage {
        &mut *self.storage
    }

    /// Closes the store, and drops it.
    pub(crate) fn close(mut self) {
        // If that fails, the next app takes this one for killed, which is safe.
        let _ = catch_panic(|| self.storage.close());
        drop_catching_panic(self);
    }

    pub(crate) fn into_storage(self) -> Box<dyn Storage> {
        self.storage
    }

    /// Refuses messages, because the store is closed.
    pub(crate) fn refuse_all(messages: Vec<Message>) {
        let closed = StorageError::Closed;
        let mut waiters = Vec::new();
        let mut proposals = Vec::new();
        for message in messages {
            match message {
                Message::Changed(job) | Message::CarriedChanged { job, .. } => {
                    waiters.extend(job.close());
                }
                Message::Propose(mut proposal) => {
                    let _ = catch_panic(|| proposal.answer(Err(closed.clone())));
                    proposals.push(proposal);
                }
                Message::ProposeGroup(group) => {
                    for mut proposal in group {
                        let _ = catch_panic(|| proposal.answer(Err(closed.clone())));
                        proposals.push(proposal);
                    }
                }
                Message::Await { waiter, .. } => waiters.push(waiter),
                Message::Forget { waiter, .. } => waiters.extend(waiter),
            }
        }
        for waiter in &waiters {
            waiter.set(Err(closed.clone()));
        }
        wake(waiters, proposals);
    }

    /// Takes in the messages, and tries what is to be tried.
    pub(crate) fn turn(&mut self, inbox: &Inbox, now: Duration, is_closing: bool) {
        let mut turn = Turn {
            inbox,
            is_closing,
            ended_by: None,
            answered: Vec::new(),
            woken: Vec::new(),
        };
        let messages = inbox.take();
        let is_proposal =
            |message: &Message| matches!(message, Message::Propose(_) | Message::ProposeGroup(_));
        let has_proposals = messages.iter().any(is_proposal);
        self.file(messages);
        let is_retry = is_closing || self.retry_at.is_none_or(|at| at <= now);
        // In a full store a removal may have room, and its caller waits for it.
        let is_full = matches!(self.failure, Some(StorageError::Full { .. }));
        let tries_all = is_retry || has_proposals;
        if self.failure.is_some() && !tries_all && !is_full {
            self.settle_untried(&mut turn);
            while self.file_later() {
                self.settle_untried(&mut turn);
            }
        } else {
            for (id, slot) in std::mem::take(&mut self.unstored) {
                if is_retry || tries_all && !slot.is_apart {
                    self.try_again(slot);
                } else {
                    self.unstored.insert(id, slot);
                }
            }
            self.try_all(&mut turn);
            while self.file_later() {
                self.try_all(&mut turn);
            }
            if self.unstored.is_empty() {
                self.has_carried = false;
                self.failures = 0;
                self.retry_at = None;
            } else if is_retry {
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(now + self.backoff.delay(self.failures, 0.0));
            }
        }
        turn.wake();
        while let Some(request) = inbox.take_request() {
            let _ = catch_panic(|| request(Some(&mut *self.storage)));
            if inbox.has_messages() {
                // The request may have sent it: then it comes before the next request.
                break;
            }
        }
    }

    /// Takes in the messages that have waited until their slot was tried; of each id the
    /// first, and the others wait behind it. Returns whether there is a slot to be tried.
    fn file_later(&mut self) -> bool {
        let messages = std::mem::take(&mut self.later);
        let waited = messages.len();
        self.file(messages);
        if self.later.len() == waited {
            // The end of their predecessor is not visible although it was tried: the store
            // is being closed.
            Self::refuse_all(std::mem::take(&mut self.later));
        }
        !self.untried.is_empty()
    }

    /// Puts each message into the slot of its id, and the slots into `untried`, which is
    /// empty.
    fn file(&mut self, messages: Vec<Message>) {
        // Where the slot of an id is in `untried`.
        let mut places = HashMap::with_capacity(messages.len());
        for message in messages {
            let Message::ProposeGroup(group) = message else {
                let later = self.file_one(message, &mut places);
                self.later.extend(later);
                continue;
            };
            // The proposals of a group are filed together.
            let has_room = |id| {
                let place = places.get(id);
                place.is_none_or(|place| self.untried[*place].proposal.is_none())
            };
            if group.iter().all(|proposal| has_room(proposal.id())) {
                self.has_group = true;
                for proposal in group {
                    let later = self.file_one(Message::Propose(proposal), &mut places);
                    self.later.extend(later);
                }
            } else {
                self.later.push(Message::ProposeGroup(group));
            }
        }
    }

    /// Puts a message into the slot of its id. Returns it if it has to wait.
    fn file_one(
        &mut self,
        message: Message,
        places: &mut HashMap<JobId, usize>,
    ) -> Option<Message> {
        let message = match message {
            // It was stored meanwhile.
            Message::CarriedChanged { job, .. } if !job.is_carried() => Message::Changed(job),
            Message::Propose(proposal) => {
                self.end_carrying(&*proposal);
                Message::Propose(proposal)
            }
            Message::Await { id, waiter } => Message::Await {
                id: self.carrier_of(&id).unwrap_or(id),
                waiter,
            },
            message => message,
        };
        match places.entry(message.id()?.clone()) {
            Entry::Occupied(place) => self.untried[*place.get()].take_in(message),
            Entry::Vacant(place) => {
                let (slot, later) = match self.unstored.remove(place.key()) {
                    Some(mut slot) => {
                        slot.was_refused = true;
                        self.tried_again += 1;
                        let later = slot.take_in(message);
                        (slot, later)
                    }
                    None => (Slot::of(message)?, None),
                };
                place.insert(self.untried.len());
                self.untried.push_back(slot);
                later
            }
        }
    }

    /// A job that is replaced before the store has it gets a slot of its own: two slots must not have
    /// changes for one row.
    fn end_carrying(&mut self, proposal: &dyn Proposal) {
        let Some(job) = proposal.replaced().filter(|job| job.is_carried()) else {
            return;
        };
        job.end_carrying();
        for slot in self.untried.iter_mut().chain(self.unstored.values_mut()) {
            slot.carried.retain(|carried| !carried.job.is(&job));
        }
    }

    /// The id of the slot that carries the job of this id.
    fn carrier_of(&self, id: &JobId) -> Option<JobId> {
        let mut slots = self.untried.iter().chain(self.unstored.values());
        let carries = |slot: &&Slot| slot.carried.iter().any(|it| it.job.row_id() == id);
        slots.find(carries).map(|slot| slot.id.clone())
    }

    /// Makes no commit: the store has failed, its retry is not due, and no caller waits for an
    /// answer. The changes still become visible in memory.
    fn settle_untried(&mut self, turn: &mut Turn<'_>) {
        let error = self.failure.clone().unwrap_or(StorageError::Closed);
        let unstored = self.unstored.len() + self.untried.len();
        turn.inbox.set_health(Some(&error), unstored);
        let outcome = CommitOutcome::Refused {
            is_unknown: false,
            error: &error,
        };
        self.tried_again = 0;
        while let Some(mut slot) = self.untried.pop_front() {
            slot.was_refused = false;
            let pulled = slot.base.pull(&slot.id);
            let version = pulled.version;
            slot.pull_carried(pulled.made);
            self.settle_base(slot, version, outcome, turn);
        }
        turn.inbox.set_health(Some(&error), self.unstored());
    }

    fn try_all(&mut self, turn: &mut Turn<'_>) {
        while !self.untried.is_empty() {
            // A group must be in one commit: so everything is.
            let has_group = std::mem::take(&mut self.has_group);
            let count = match has_group {
                true => self.untried.len(),
                false => self.untried.len().min(MOST_IN_A_COMMIT),
            };
            let mut pulled = Vec::with_capacity(count);
            for slot in self.untried.drain(..count) {
                pulled.push(slot.pull(&mut turn.answered));
            }
            if has_group {
                self.withdraw_incomplete_groups(&mut pulled, turn);
            }
            let is_apart = |row: &mut Pulled| row.slot.is_apart && row.group().is_none();
            for row in pulled.extract_if(.., is_apart) {
                self.commit(vec![row], turn);
            }
            self.commit(pulled, turn);
        }
    }

    /// If a proposal of a group was withdrawn, so are the others. Their bases are pulled again.
    fn withdraw_incomplete_groups(&mut self, pulled: &mut Vec<Pulled>, turn: &mut Turn<'_>) {
        let mut counts = HashMap::<_, usize>::new();
        for group in pulled.iter().filter_map(Pulled::group) {
            *counts.entry(Arc::as_ptr(group)).or_default() += 1;
        }
        let is_incomplete = |row: &mut Pulled| {
            let group = row.group();
            group.is_some_and(|group| counts.get(&Arc::as_ptr(group)) != Some(&group.size))
        };
        for mut row in pulled.extract_if(.., is_incomplete) {
            if let Some(mut proposal) = row.slot.proposal.take() {
                let _ = catch_panic(|| proposal.withdraw());
                turn.answered.push(proposal);
            }
            self.untried.push_back(row.slot);
        }
    }

    /// The store has refused this slot, and it is tried again.
    fn try_again(&mut self, mut slot: Slot) {
        slot.was_refused = true;
        self.tried_again += 1;
        self.untried.push_back(slot);
    }

    /// These were tried, and what came of it is settled next.
    fn note_tried(&mut self, pulled: &mut [Pulled]) {
        for row in pulled {
            self.tried_again -= usize::from(std::mem::take(&mut row.slot.was_refused));
        }
    }

    /// How many rows the store has refused.
    fn unstored(&self) -> usize {
        let slots = self.unstored.values();
        let carried: usize = match self.has_carried {
            true => slots.map(|slot| slot.carried.len()).sum(),
            false => 0,
        };
        self.unstored.len() + carried + self.tried_again
    }

    /// Tries a commit, and settles with everybody what came of it.
    fn commit(&mut self, mut pulled: Vec<Pulled>, turn: &mut Turn<'_>) {
        if let Some(error) = turn.ended_by.clone() {
            self.fail(pulled, &error, false, turn);
            return;
        }
        let changes = self.take_changes(&mut pulled);
        let mut result = self.try_commit(&changes);
        if matches!(&result, Err(error) if CommitFailure::of(error) == CommitFailure::Full) {
            result = self.commit_with_fewer_ends(&changes, result);
        }
        let error = match result {
            Ok(()) => {
                self.succeed(pulled, changes, turn);
                return;
            }
            Err(error) => error,
        };
        Pulled::put_back(&mut pulled, changes);
        match CommitFailure::of(&error) {
            CommitFailure::TooLarge | CommitFailure::Full
                if pulled.len() == 1 && pulled.iter_mut().any(Pulled::drop_ends) =>
            {
                self.commit(pulled, turn);
            }
            CommitFailure::TooLarge if !Pulled::is_one_unit(&pulled) => {
                for unit in Pulled::units(pulled) {
                    self.commit(unit, turn);
                }
            }
            CommitFailure::Full if !Pulled::is_one_unit(&pulled) => {
                self.commit_in_parts(pulled, &error, turn);
            }
            CommitFailure::TooLarge | CommitFailure::Full => {
                for row in pulled {
                    self.refuse_one(row, &error, turn);
                }
            }
            CommitFailure::NothingWritten => {
                self.fail(pulled, &error, false, turn);
                // Another try in this turn would fail in the same way.
                turn.ended_by = Some(error);
            }
            CommitFailure::Unknown => self.fail_unknown(pulled, &error, turn),
        }
    }

    /// Takes the changes of these rows, to commit them.
    fn take_changes(&mut self, pulled: &mut [Pulled]) -> Vec<Change> {
        let mut changes = Vec::with_capacity(pulled.len());
        let mut latest = None;
        for row in pulled {
            changes.extend(row.change.take());
            row.more_changes_count = row.more_changes.len();
            let is_removal = |change: &Change| matches!(change, Change::Remove(_));
            row.writes_more = !row.more_changes.iter().all(is_removal);
            for change in row.more_changes.drain(..) {
                if let Change::KeepEnd(end) = &change {
                    latest = latest.max(Some(end.finished_at));
                }
                changes.push(change);
            }
        }
        if let Some(now) = latest {
            changes.push(Change::TrimEnds(TrimEnds {
                task: None,
                most: self.most_ends,
                now,
            }));
        }
        changes
    }

    /// The store is full: the oldest ends of failed jobs make room, before it refuses
    /// anything.
    fn commit_with_fewer_ends(
        &mut self,
        changes: &[Change],
        mut result: Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut left = self.count_ends();
        while left > 0 {
            left /= 2;
            let trim = Change::TrimEnds(TrimEnds {
                task: None,
                most: left,
                now: OffsetDateTime::UNIX_EPOCH,
            });
            // In one commit: what does not fit even then deletes nothing.
            let mut all = vec![trim];
            all.extend_from_slice(changes);
            result = self.try_commit(&all);
            let is_full = |error| CommitFailure::of(error) == CommitFailure::Full;
            if !result.as_ref().is_err_and(is_full) {
                break;
            }
        }
        result
    }

    /// The number of ends of failed jobs that the store has.
    fn count_ends(&mut self) -> u64 {
        let mut count = 0;
        let counted = catch_panic(|| self.storage.load_ends(&mut |_| count += 1));
        // Those that it can't read make no room.
        drop(counted);
        count
    }

    fn try_commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        if changes.is_empty() {
            return Ok(());
        }
        catch_panic(|| self.storage.commit(changes))
            .unwrap_or_else(|message| Err(StorageError::Panicked { message }))
    }

    /// The store is full: removals make room, and are tried first, together; then
    /// everything else one by one.
    fn commit_in_parts(&mut self, pulled: Vec<Pulled>, error: &StorageError, turn: &mut Turn<'_>) {
        // The end of a failed job may be what has no room: it is tried apart.
        let is_removal = |row: &Pulled| {
            let removes = matches!(row.change, Some(Change::Remove(_)));
            removes && !row.is_proposal() && row.more_changes.is_empty()
        };
        let (removals, rest): (Vec<_>, Vec<_>) = pulled.into_iter().partition(is_removal);
        if rest.is_empty() {
            // Not even a removal has room.
            self.fail(removals, error, false, turn);
            return;
        }
        self.commit(removals, turn);
        let (proposals, facts): (Vec<_>, Vec<_>) = rest.into_iter().partition(Pulled::is_proposal);
        for row in facts {
            self.commit(vec![row], turn);
        }
        let mut refused = 0;
        for unit in Pulled::units(proposals) {
            if refused >= FULL_IN_A_ROW
                && let Some(error) = self.failure.clone()
            {
                for row in unit {
                    self.refuse_one(row, &error, turn);
                }
                continue;
            }
            self.commit(unit, turn);
            refused = if self.failure.is_some() {
                refused + 1
            } else {
                0
            };
        }
    }

    /// The store has everything.
    fn succeed(&mut self, mut pulled: Vec<Pulled>, changes: Vec<Change>, turn: &mut Turn<'_>) {
        if pulled.iter().any(Pulled::has_written) {
            self.failure = None;
        }
        self.note_tried(&mut pulled);
        turn.inbox
            .set_health(self.failure.as_ref(), self.unstored());
        let mut changes = changes.into_iter();
        for mut row in pulled {
            // Goes back to the submitter with the answer.
            let own = if row.has_change { changes.next() } else { None };
            for _ in 0..row.more_changes_count {
                changes.next();
            }
            row.slot.ends.clear();
            match row.slot.proposal.take() {
                Some(proposal) => turn.accept(row, proposal, own),
                None => {
                    let outcome = CommitOutcome::Stored {
                        has_row: row.has_row,
                    };
                    self.settle_base(row.slot, row.version, outcome, turn);
                }
            }
        }
    }

    /// A commit has failed, and nothing was written; or, if `is_unknown`, it is not known
    /// what was. Proposals are refused, and what has happened stays to be stored.
    fn fail(
        &mut self,
        mut pulled: Vec<Pulled>,
        error: &StorageError,
        is_unknown: bool,
        turn: &mut Turn<'_>,
    ) {
        if pulled.is_empty() {
            return;
        }
        self.failure = Some(error.clone());
        self.note_tried(&mut pulled);
        let facts = pulled.iter().filter(|row| row.is_fact).count();
        let unstored = self.unstored() + facts;
        turn.inbox.set_health(Some(error), unstored);
        let outcome = CommitOutcome::Refused { is_unknown, error };
        for mut row in pulled {
            turn.refuse_proposal(&mut row.slot, error);
            self.settle_base(row.slot, row.version, outcome, turn);
        }
        turn.inbox.set_health(Some(error), self.unstored());
    }

    /// Handles a failed commit after which it is unknown what the store has. The proposals
    /// are refused at once, because they may be the cause. All bases are then written whole
    /// in one commit.
    fn fail_unknown(&mut self, mut pulled: Vec<Pulled>, error: &StorageError, turn: &mut Turn<'_>) {
        if !pulled.iter().any(Pulled::is_proposal) {
            self.fail(pulled, error, true, turn);
            return;
        }
        self.failure = Some(error.clone());
        self.note_tried(&mut pulled);
        let unstored = self.unstored() + pulled.len();
        turn.inbox.set_health(Some(error), unstored);
        for row in &mut pulled {
            row.slot.base.mark_unknown();
            for carried in &row.slot.carried {
                carried.job.mark_unknown();
            }
            // The store may have forgotten it.
            let forgotten = row.slot.proposal.as_ref().and_then(|it| it.forgotten());
            row.slot.ends.extend(forgotten.map(|end| JobEnd {
                kept: Some(end),
                taken: None,
            }));
            turn.refuse_proposal(&mut row.slot, error);
            let base = row.slot.base.pull(&row.slot.id);
            (row.version, row.has_row) = (base.version, base.has_row);
            (row.has_change, row.is_fact) = (base.change.is_some(), true);
            row.change = base.change;
            row.more_changes = row.slot.end_changes(base.end);
            row.more_changes.extend(row.slot.pull_carried(base.made));
        }
        let changes = self.take_changes(&mut pulled);
        // They need not wait for that.
        turn.wake();
        match self.try_commit(&changes) {
            Ok(()) => self.succeed(pulled, changes, turn),
            Err(error) => {
                let is_unknown = CommitFailure::of(&error) == CommitFailure::Unknown;
                self.fail(pulled, &error, is_unknown, turn);
            }
        }
    }

    /// The store does not take this one row, and others may well be taken.
    fn refuse_one(&mut self, mut row: Pulled, error: &StorageError, turn: &mut Turn<'_>) {
        let is_full = CommitFailure::of(error) == CommitFailure::Full;
        if is_full {
            self.failure = Some(error.clone());
        }
        self.note_tried(std::slice::from_mut(&mut row));
        let unstored = self.unstored() + usize::from(row.is_fact);
        if row.is_proposal() {
            turn.inbox.set_health(self.failure.as_ref(), unstored);
            turn.refuse_proposal(&mut row.slot, error);
            // That the proposal is refused says nothing of the base, which is tried on its
            // own.
            if row.is_fact {
                self.try_again(row.slot);
            } else {
                self.untried.push_back(row.slot);
            }
        } else {
            // A row that is too large does not make the store a failing one.
            turn.inbox.set_health(Some(error), unstored);
            row.slot.is_apart = !is_full;
            let outcome = CommitOutcome::Refused {
                is_unknown: false,
                error,
            };
            self.settle_base(row.slot, row.version, outcome, turn);
        }
    }

    /// Settles with a base what came of a commit.
    fn settle_base(
        &mut self,
        mut slot: Slot,
        version: u64,
        outcome: CommitOutcome<'_>,
        turn: &mut Turn<'_>,
    ) {
        let is_stored = matches!(outcome, CommitOutcome::Stored { .. });
        // What a closing store has refused stays hidden: the next process does it again.
        let may_end = !turn.is_closing || is_stored;
        let mut is_clean = false;
        match &mut slot.base {
            Base::Job(job) => {
                let settled = job.settle(version, outcome, may_end);
                turn.answer(settled.waiters, outcome);
                is_clean = settled.is_clean;
                slot.ends.extend(settled.end);
                if settled.is_over {
                    slot.base = Base::Gone(job.take_known());
                }
            }
            Base::Record { known, .. } | Base::Gone(known) => {
                *known = known.after(outcome);
            }
        }
        for over in turn.settle_carried(&mut slot, outcome, may_end) {
            self.unstored.insert(over.id.clone(), over);
        }
        turn.answer(std::mem::take(&mut slot.waiters), outcome);
        // If it was stored and is not clean, it has changed since it was pulled, and its
        // message is on its way.
        let has_more = !slot.ends.is_empty() || !slot.carried.is_empty();
        if !is_stored && (has_more || !is_clean && !slot.base.is_clean()) {
            self.has_carried |= !slot.carried.is_empty();
            self.unstored.insert(slot.id.clone(), slot);
        }
    }
}

impl Base {
    /// A commit that had it failed in a way that leaves open what the store has.
    fn mark_unknown(&mut self) {
        match self {
            Base::Job(job) => job.mark_unknown(),
            Base::Record { known, .. } | Base::Gone(known) => *known = Known::Unknown,
        }
    }
}

impl Turn<'_> {
    /// Wakes everybody who was answered.
    fn wake(&mut self) {
        wake(
            std::mem::take(&mut self.woken),
            std::mem::take(&mut self.answered),
        );
    }

    /// The store has the row of a proposal.
    fn accept(&mut self, mut row: Pulled, mut proposal: Box<dyn Proposal>, own: Option<Change>) {
        let outcome = CommitOutcome::Stored {
            has_row: row.has_row,
        };
        let job = proposal.job();
        // The change stands for the base's, too.
        if let Base::Job(base) = &row.slot.base {
            let outcome = CommitOutcome::Stored {
                has_row: row.has_row && base.is(&job),
            };
            let settled = base.settle(row.version, outcome, true);
            self.answer(settled.waiters, outcome);
        }
        // The store has them: none is left.
        let _ = self.settle_carried(&mut row.slot, outcome, true);
        self.answer(row.slot.waiters, outcome);
        if row.has_row {
            // It may have been that of a predecessor.
            job.inherit_row(Known::Row);
        }
        let _ = catch_panic(|| proposal.answer(Ok(own)));
        self.answered.push(proposal);
    }

    /// Tells the jobs that a slot carries what came of a commit. Those that the store does not have
    /// stay in the slot. Returns slots for those that are over, and that the store may have.
    fn settle_carried(
        &mut self,
        slot: &mut Slot,
        outcome: CommitOutcome<'_>,
        may_end: bool,
    ) -> Vec<Slot> {
        let mut over = Vec::new();
        for carried in std::mem::take(&mut slot.carried) {
            let outcome = match outcome {
                CommitOutcome::Stored { .. } => CommitOutcome::Stored {
                    has_row: carried.has_row,
                },
                refused => refused,
            };
            let settled = carried.job.settle(carried.version, outcome, may_end);
            self.answer(settled.waiters, outcome);
            if matches!(outcome, CommitOutcome::Stored { .. }) {
                continue;
            }
            if !settled.is_over {
                slot.carried.push(carried);
                continue;
            }
            // Its id is free: what is left to do belongs to a slot of its own.
            let known = carried.job.take_known();
            if known != Known::Absent || settled.end.is_some() {
                let id = carried.job.row_id().clone();
                let gone = Slot::new(id, Base::Gone(known));
                let ends = settled.end.into_iter().collect();
                over.push(Slot { ends, ..gone });
            }
        }
        over
    }

    fn refuse_proposal(&mut self, slot: &mut Slot, error: &StorageError) {
        if let Some(mut proposal) = slot.proposal.take() {
            let _ = catch_panic(|| proposal.answer(Err(error.clone())));
            self.answered.push(proposal);
        }
    }

    fn answer(&mut self, waiters: Vec<CommitWaiter>, outcome: CommitOutcome<'_>) {
        for waiter in waiters {
            waiter.set(match outcome {
                CommitOutcome::Stored { .. } => Ok(()),
                CommitOutcome::Refused { error, .. } => Err(error.clone()),
            });
            self.woken.push(waiter);
        }
    }
}

fn wake(waiters: Vec<CommitWaiter>, proposals: Vec<Box<dyn Proposal>>) {
    for waiter in waiters {
        waiter.notify();
    }
    for proposal in proposals {
        let _ = catch_panic(|| proposal.wake());
    }
}
