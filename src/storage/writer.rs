//! [`Writer`]: makes the store agree with the jobs.
//!
//! The row belongs to the id. For each id with something to do there is a [`Slot`]: its
//! *base*, which is what the store must come to hold, and its *proposals*, which the
//! store may refuse. The writer pulls the rows as they are now, commits them in one
//! transaction, and settles with each job what the store has. So the more waits, the less
//! each row costs, and nobody sends a change that could be out of date.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::job::live_job::PulledChange;
use crate::job::record::JobRecord;
use crate::job::sync_state::{CommitOutcome, CommitWaiter, Known};
use crate::storage::contract::{Change, Storage};
use crate::storage::inbox::{Inbox, Message};
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::Proposal;
use crate::sync::panics::catch_panic;
use crate::value::backoff::Backoff;
use crate::value::error::StorageError;
use crate::value::id::JobId;

/// The most rows of one commit.
const MOST_IN_A_COMMIT: usize = 4_096;

/// How long the store is left alone after a failed commit: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// After this many proposals in a row that a full store has refused one by one, the rest
/// is refused without a try.
const FULL_IN_A_ROW: usize = 8;

/// The one that has the storage.
pub(crate) struct Writer {
    storage: Box<dyn Storage>,
    slots: HashMap<JobId, Slot>,
    /// Ids that were not tried since something happened to them: those of [`List::Untried`].
    untried: VecDeque<JobId>,
    /// Ids that were tried, and of which the store does not have everything: those of
    /// [`List::Unstored`].
    unstored: BTreeSet<JobId>,
    /// Jobs that wait until the end of a predecessor of the same id was tried.
    successors: Vec<JobRef>,
    /// Turns in a row that have left something unstored.
    failures: u32,
    /// When the unstored ids are tried again, on the writer's own clock.
    retry_at: Option<Duration>,
    failure: Option<StorageError>,
    backoff: Backoff,
}

/// What there is to do for one id.
struct Slot {
    base: Base,
    proposals: VecDeque<Box<dyn Proposal>>,
    /// Callers who wait until the row is gone, if the base is not a job.
    waiters: Vec<CommitWaiter>,
    list: List,
    /// The store has refused this row alone: it is committed apart from others.
    is_apart: bool,
}

/// In which list of the writer a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    None,
    Untried,
    Unstored,
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

/// One id in a commit.
struct Pulled {
    id: JobId,
    /// The version of the base.
    version: u64,
    change: Option<Change>,
    /// Its change is in the list that is committed.
    has_change: bool,
    /// The change is that of the first proposal.
    is_proposal: bool,
    /// The base differs from what the store is known to have.
    is_fact: bool,
    has_row: bool,
}

/// How a commit failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Nothing was written, whatever was in it: the file is locked, or read-only.
    Clean,
    /// The disk is full.
    Full,
    /// One of the rows is at fault.
    TooLarge,
    /// It is not known what was written.
    Unknown,
}

impl Failure {
    fn of(error: &StorageError) -> Self {
        match error {
            StorageError::Full { .. } => Failure::Full,
            StorageError::TooLarge { .. } => Failure::TooLarge,
            error if error.wrote_nothing() => Failure::Clean,
            _ => Failure::Unknown,
        }
    }
}

/// What a turn goes by.
struct Turn<'a> {
    inbox: &'a Inbox,
    is_closing: bool,
    answered: Vec<Box<dyn Proposal>>,
    woken: Vec<CommitWaiter>,
}

impl Base {
    fn known(&self) -> Known {
        match self {
            Base::Job(job) => job.known(),
            Base::Record { known, .. } | Base::Gone(known) => *known,
        }
    }

    /// Returns the version, the change that makes the store agree, and whether the store
    /// is to have a row.
    fn pull(&self, id: &JobId) -> (u64, Option<Change>, bool) {
        match self {
            Base::Job(job) => {
                let pulled = job.pull();
                let change = match pulled.change {
                    PulledChange::None => None,
                    PulledChange::Advance(progress) => Some(Change::Advance {
                        id: id.clone(),
                        progress,
                    }),
                    PulledChange::Put(record) => Some(Change::Put(record)),
                    PulledChange::Remove => Some(Change::Remove(id.clone())),
                };
                (pulled.version, change, pulled.has_row)
            }
            Base::Record { record, known } => {
                let change = (*known != Known::Row).then(|| Change::Put(record.clone()));
                (0, change, true)
            }
            Base::Gone(known) => {
                let change = (*known != Known::Absent).then(|| Change::Remove(id.clone()));
                (0, change, false)
            }
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
    fn new(base: Base) -> Self {
        Self {
            base,
            proposals: VecDeque::new(),
            waiters: Vec::new(),
            list: List::None,
            is_apart: false,
        }
    }

    /// The base of a replacement is the job that it replaces, unless a predecessor of that
    /// job still has something to store.
    fn adopt_replaced(&mut self) {
        if let Base::Gone(known) = self.base
            && let Some(job) = self.proposals.front().and_then(|first| first.replaced())
        {
            job.inherit_row(known);
            self.base = Base::Job(job);
        }
    }

    /// Pulls the change that the store must make for this id now.
    fn pull(&mut self, id: &JobId, answered: &mut Vec<Box<dyn Proposal>>) -> Pulled {
        self.adopt_replaced();
        let (version, change, has_row) = self.base.pull(id);
        let is_fact = change.is_some();
        while let Some(proposal) = self.proposals.front_mut() {
            let Some(pulled) = proposal.pull() else {
                answered.extend(self.proposals.pop_front());
                continue;
            };
            let has_row = pulled.record.is_some();
            let change = match pulled.record {
                Some(record) => Some(Change::Put(record)),
                None => (self.base.known() != Known::Absent).then(|| Change::Remove(id.clone())),
            };
            // The base of a replacement is the job itself, which the proposal has pulled
            // again.
            let is_own = match &self.base {
                Base::Job(job) => job.is(&proposal.job()),
                _ => false,
            };
            return Pulled {
                id: id.clone(),
                version: if is_own { pulled.version } else { version },
                has_change: change.is_some(),
                change,
                is_proposal: true,
                is_fact,
                has_row,
            };
        }
        Pulled {
            id: id.clone(),
            version,
            has_change: change.is_some(),
            change,
            is_proposal: false,
            is_fact,
            has_row,
        }
    }
}

impl Writer {
    pub(crate) fn new(storage: Box<dyn Storage>) -> Self {
        Self {
            storage,
            slots: HashMap::new(),
            untried: VecDeque::new(),
            unstored: BTreeSet::new(),
            successors: Vec::new(),
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
                Message::Changed(job) => waiters.extend(job.close()),
                Message::Propose(mut proposal) => {
                    let _ = catch_panic(|| proposal.answer(Err(closed.clone())));
                    proposals.push(proposal);
                }
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
            answered: Vec::new(),
            woken: Vec::new(),
        };
        let mut has_proposals = false;
        for message in inbox.take() {
            has_proposals |= matches!(message, Message::Propose(_));
            self.file(message);
        }
        let is_failing = self.failure.is_some() && self.retry_at.is_some_and(|at| now < at);
        if is_failing && !has_proposals && !is_closing {
            self.refuse_facts(&mut turn);
            while self.file_successors(&mut turn) {
                self.refuse_facts(&mut turn);
            }
        } else {
            for id in std::mem::take(&mut self.unstored) {
                self.list(id, List::Untried);
            }
            self.try_all(&mut turn);
            while self.file_successors(&mut turn) {
                self.try_all(&mut turn);
            }
            if self.unstored.is_empty() {
                self.failures = 0;
                self.retry_at = None;
            } else {
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(now + self.backoff.delay(self.failures, 0.0));
            }
        }
        turn.wake();
    }

    /// Takes in the jobs that have waited behind a predecessor. Returns whether one of them
    /// is to be tried. Others of the same id wait behind that one.
    fn file_successors(&mut self, turn: &mut Turn<'_>) -> bool {
        let successors = std::mem::take(&mut self.successors);
        let waited = successors.len();
        for job in successors {
            self.file(Message::Changed(job));
        }
        if self.successors.len() < waited {
            return true;
        }
        // The end of the predecessor is not visible although it was tried: the store is
        // being closed.
        for job in std::mem::take(&mut self.successors) {
            let outcome = CommitOutcome::Refused {
                is_unknown: false,
                error: &StorageError::Closed,
            };
            turn.answer(job.close(), outcome);
        }
        false
    }

    /// Puts a message where it belongs.
    fn file(&mut self, message: Message) {
        match message {
            Message::Changed(job) => {
                let id = job.row_id().clone();
                let slot = self
                    .slots
                    .entry(id.clone())
                    .or_insert_with(|| Slot::new(Base::Job(job.clone())));
                match &slot.base {
                    Base::Job(base) if base.is(&job) => {}
                    // Its turn comes when the end of this predecessor was tried.
                    Base::Job(_) => {
                        self.successors.push(job);
                        return;
                    }
                    Base::Record { .. } => return,
                    Base::Gone(known) => {
                        job.inherit_row(*known);
                        slot.base = Base::Job(job);
                    }
                }
                self.list(id, List::Untried);
            }
            Message::Propose(mut proposal) => {
                let id = proposal.id().clone();
                let slot = self.slots.entry(id.clone()).or_insert_with(|| {
                    Slot::new(match proposal.taken_over() {
                        Some(record) => Base::Record {
                            record,
                            known: Known::Row,
                        },
                        None => Base::Gone(Known::Absent),
                    })
                });
                slot.proposals.push_back(proposal);
                self.list(id, List::Untried);
            }
            Message::Forget { id, waiter } => {
                let slot = self
                    .slots
                    .entry(id.clone())
                    .or_insert_with(|| Slot::new(Base::Gone(Known::Row)));
                if let Base::Record { known, .. } = slot.base {
                    slot.base = Base::Gone(known);
                }
                slot.waiters.extend(waiter);
                self.list(id, List::Untried);
            }
        }
    }

    /// Puts an id into a list, and takes it out of the one in which it is. What has not
    /// been tried stays untried.
    fn list(&mut self, id: JobId, list: List) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.list == list || slot.list == List::Untried {
            return;
        }
        if slot.list == List::Unstored {
            self.unstored.remove(&id);
        }
        slot.list = list;
        match list {
            List::None => {}
            List::Untried => self.untried.push_back(id),
            List::Unstored => {
                self.unstored.insert(id);
            }
        }
    }

    /// The store fails at present, and nobody asks for a new try: what has happened is
    /// visible all the same.
    fn refuse_facts(&mut self, turn: &mut Turn<'_>) {
        let error = self.failure.clone().unwrap_or(StorageError::Closed);
        let ids: Vec<JobId> = self.untried.drain(..).collect();
        let known = self.unstored.len();
        turn.inbox.set_health(Some(&error), known + ids.len());
        for id in ids {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.list = List::None;
                let (version, ..) = slot.base.pull(&id);
                let outcome = CommitOutcome::Refused {
                    is_unknown: false,
                    error: &error,
                };
                self.settle_base(id, version, outcome, turn);
            }
        }
        turn.inbox.set_health(Some(&error), self.unstored.len());
    }

    fn try_all(&mut self, turn: &mut Turn<'_>) {
        let mut last_error: Option<StorageError> = None;
        while !self.untried.is_empty() {
            let mut pulled = Vec::new();
            let mut apart = Vec::new();
            while pulled.len() < MOST_IN_A_COMMIT
                && let Some(id) = self.untried.pop_front()
            {
                let Some(slot) = self.slots.get_mut(&id) else {
                    continue;
                };
                slot.list = List::None;
                let row = slot.pull(&id, &mut turn.answered);
                match slot.is_apart {
                    true => apart.push(row),
                    false => pulled.push(row),
                }
            }
            for row in apart {
                self.commit(vec![row], turn);
            }
            match &last_error {
                // The file was locked for as long as the store waits: it would be again.
                Some(error) => {
                    let error = error.clone();
                    self.fail(pulled, &error, false, turn);
                }
                None => last_error = self.commit(pulled, turn),
            }
        }
    }

    /// Tries a commit, and settles with everybody what came of it. Returns the error if
    /// another try makes no sense in this turn.
    fn commit(&mut self, mut pulled: Vec<Pulled>, turn: &mut Turn<'_>) -> Option<StorageError> {
        let changes: Vec<Change> = pulled
            .iter_mut()
            .filter_map(|row| row.change.take())
            .collect();
        let error = match self.try_commit(&changes) {
            Ok(()) => {
                self.succeed(pulled, changes, turn);
                return None;
            }
            Err(error) => error,
        };
        let mut changes = changes.into_iter();
        for row in pulled.iter_mut().filter(|row| row.has_change) {
            row.change = changes.next();
        }
        match Failure::of(&error) {
            Failure::TooLarge if pulled.len() > 1 => {
                for row in pulled {
                    self.commit(vec![row], turn);
                }
                None
            }
            Failure::Full if pulled.len() > 1 => {
                self.commit_in_parts(pulled, &error, turn);
                None
            }
            Failure::TooLarge | Failure::Full => {
                for row in pulled {
                    self.refuse_one(row, &error, turn);
                }
                None
            }
            Failure::Clean => {
                self.fail(pulled, &error, false, turn);
                Some(error)
            }
            Failure::Unknown => {
                self.fail_unknown(pulled, &error, turn);
                None
            }
        }
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
        let is_removal =
            |row: &Pulled| !row.is_proposal && matches!(row.change, Some(Change::Remove(_)));
        let (removals, rest): (Vec<_>, Vec<_>) = pulled.into_iter().partition(is_removal);
        if rest.is_empty() {
            // Not even a removal has room.
            self.fail(removals, error, false, turn);
            return;
        }
        self.commit(removals, turn);
        let (proposals, facts): (Vec<_>, Vec<_>) = rest.into_iter().partition(|r| r.is_proposal);
        for row in facts {
            self.commit(vec![row], turn);
        }
        let mut refused = 0;
        for row in proposals {
            if refused >= FULL_IN_A_ROW
                && let Some(error) = self.failure.clone()
            {
                self.refuse_one(row, &error, turn);
                continue;
            }
            self.commit(vec![row], turn);
            refused = if self.failure.is_some() {
                refused + 1
            } else {
                0
            };
        }
    }

    /// The store has everything.
    fn succeed(&mut self, pulled: Vec<Pulled>, changes: Vec<Change>, turn: &mut Turn<'_>) {
        if !changes.is_empty() {
            self.failure = None;
        }
        let unstored = self.unstored.len();
        turn.inbox.set_health(self.failure.as_ref(), unstored);
        let mut changes = changes.into_iter();
        for row in pulled {
            let own = if row.has_change { changes.next() } else { None };
            let outcome = CommitOutcome::Stored {
                has_row: row.has_row,
            };
            if !row.is_proposal {
                self.settle_base(row.id, row.version, outcome, turn);
                continue;
            }
            let Some(slot) = self.slots.get_mut(&row.id) else {
                continue;
            };
            let Some(mut proposal) = slot.proposals.pop_front() else {
                continue;
            };
            let job = proposal.job();
            // The change stands for the base's, too.
            let before = std::mem::replace(&mut slot.base, Base::Job(job.clone()));
            slot.is_apart = false;
            if let Base::Job(base) = before {
                let outcome = CommitOutcome::Stored {
                    has_row: row.has_row && base.is(&job),
                };
                let settled = base.settle(row.version, outcome, true);
                turn.answer(settled.waiters, outcome);
            }
            turn.answer(std::mem::take(&mut slot.waiters), outcome);
            if row.has_row {
                // It may have been that of a predecessor.
                job.inherit_row(Known::Row);
            }
            let _ = catch_panic(|| proposal.answer(Ok(own)));
            turn.answered.push(proposal);
            if !slot.proposals.is_empty() {
                self.list(row.id, List::Untried);
            } else if slot.list == List::None {
                self.slots.remove(&row.id);
            }
        }
    }

    /// A commit has failed, and nothing was written; or, if `is_unknown`, it is not known
    /// what was. Proposals are refused, and what has happened stays to be stored.
    fn fail(
        &mut self,
        pulled: Vec<Pulled>,
        error: &StorageError,
        is_unknown: bool,
        turn: &mut Turn<'_>,
    ) {
        if pulled.is_empty() {
            return;
        }
        self.failure = Some(error.clone());
        let facts = pulled.iter().filter(|row| row.is_fact).count();
        let unstored = self.unstored.len() + facts;
        turn.inbox.set_health(Some(error), unstored);
        let outcome = CommitOutcome::Refused { is_unknown, error };
        for row in pulled {
            if row.is_proposal {
                self.refuse_proposal(&row.id, error, turn);
            }
            self.settle_base(row.id, row.version, outcome, turn);
        }
        let unstored = self.unstored.len();
        turn.inbox.set_health(Some(error), unstored);
    }

    /// Handles a failed commit after which it is unknown what the store has. The proposals
    /// are refused at once, because they may be the cause. All bases are then written whole
    /// in one commit.
    fn fail_unknown(&mut self, pulled: Vec<Pulled>, error: &StorageError, turn: &mut Turn<'_>) {
        if !pulled.iter().any(|row| row.is_proposal) {
            self.fail(pulled, error, true, turn);
            return;
        }
        self.failure = Some(error.clone());
        let unstored = self.unstored.len();
        turn.inbox.set_health(Some(error), unstored + pulled.len());
        let mut again = Vec::new();
        for mut row in pulled {
            if let Some(slot) = self.slots.get_mut(&row.id) {
                slot.base.mark_unknown(error);
            }
            if row.is_proposal {
                self.refuse_proposal(&row.id, error, turn);
                row.is_proposal = false;
            }
            let Some(slot) = self.slots.get_mut(&row.id) else {
                continue;
            };
            let (version, change, has_row) = slot.base.pull(&row.id);
            (row.version, row.has_row) = (version, has_row);
            (row.has_change, row.is_fact) = (change.is_some(), true);
            row.change = change;
            again.push(row);
        }
        let changes: Vec<Change> = again
            .iter_mut()
            .filter_map(|row| row.change.take())
            .collect();
        // They need not wait for that.
        turn.wake();
        match self.try_commit(&changes) {
            Ok(()) => self.succeed(again, changes, turn),
            Err(error) => {
                let is_unknown = Failure::of(&error) == Failure::Unknown;
                self.fail(again, &error, is_unknown, turn);
            }
        }
    }

    /// The store does not take this one row, and others may well be taken.
    fn refuse_one(&mut self, row: Pulled, error: &StorageError, turn: &mut Turn<'_>) {
        if row.is_proposal {
            // It does not answer for its base, which is tried on its own.
            if Failure::of(error) == Failure::Full {
                self.failure = Some(error.clone());
            }
            let unstored = self.unstored.len() + usize::from(row.is_fact);
            turn.inbox.set_health(self.failure.as_ref(), unstored);
            self.refuse_proposal(&row.id, error, turn);
            self.list(row.id, List::Untried);
            return;
        }
        if let Some(slot) = self.slots.get_mut(&row.id) {
            slot.is_apart = true;
        }
        self.fail(vec![row], error, false, turn);
    }

    fn refuse_proposal(&mut self, id: &JobId, error: &StorageError, turn: &mut Turn<'_>) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if let Some(mut proposal) = slot.proposals.pop_front() {
            let _ = catch_panic(|| proposal.answer(Err(error.clone())));
            turn.answered.push(proposal);
        }
    }

    /// Settles with a base what came of a commit.
    fn settle_base(
        &mut self,
        id: JobId,
        version: u64,
        outcome: CommitOutcome<'_>,
        turn: &mut Turn<'_>,
    ) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let is_stored = matches!(outcome, CommitOutcome::Stored { .. });
        let may_end = !turn.is_closing || is_stored;
        let mut is_clean = false;
        match &mut slot.base {
            Base::Job(job) => {
                let settled = job.settle(version, outcome, may_end);
                turn.answer(settled.waiters, outcome);
                is_clean = settled.is_clean;
                if settled.is_over {
                    slot.base = Base::Gone(job.take_known());
                    is_clean = slot.base.is_clean();
                }
            }
            Base::Record { known, .. } | Base::Gone(known) => {
                *known = known.after(outcome);
            }
        }
        if is_stored {
            slot.is_apart = false;
        }
        is_clean |= slot.base.is_clean();
        if is_clean || !matches!(slot.base, Base::Job(_)) {
            turn.answer(std::mem::take(&mut slot.waiters), outcome);
        }
        if !slot.proposals.is_empty() {
            self.list(id, List::Untried);
        } else if !is_clean {
            // If it was stored, it has changed since it was pulled, and its message is on
            // its way.
            if !is_stored {
                self.list(id, List::Unstored);
            }
        } else if slot.list == List::None {
            self.slots.remove(&id);
        }
    }
}

impl Base {
    /// A commit that had it failed in a way that leaves open what the store has.
    fn mark_unknown(&mut self, error: &StorageError) {
        let outcome = CommitOutcome::Refused {
            is_unknown: true,
            error,
        };
        match self {
            Base::Job(job) => job.mark_unknown(outcome),
            Base::Record { known, .. } | Base::Gone(known) => *known = known.after(outcome),
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
