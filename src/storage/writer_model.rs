//! The writer beside a model of one id: every short sequence of what can happen to it.
//!
//! A sequence is a list of [`Step`]s. The writer takes a turn whenever it has a reason to;
//! the store takes its answer from the sequence, and what stands before that answer happens
//! while the commit is under way. So no thread is needed, and each sequence is exact. When
//! the sequence is used up, the store answers well until nothing is left to do.
//!
//! The jobs and the proposals are small copies of the ones in `engine/`, on the real
//! [`SyncState`]; the writer and its inbox are the real ones.
//!
//! `JOBBER_LENGTH=8 cargo test --release --all-features --lib writer_model` tries longer
//! sequences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::job::end_record::{EndKey, EndRecord, JobEnd, KeptEnd};
use crate::job::live_job::{PulledChange, PulledRow, Settled, StoredJob};
use crate::job::pause_record::PauseRecord;
use crate::job::record::{JobRecord, ProgressRecord, RECORD_VERSION, TriggerRecord};
use crate::job::sync_state::{CommitOutcome, CommitWaiter, Known, RowChange, SyncState};
use crate::job::taken_id::TakenId;
use crate::storage::contract::{Change, Loaded, Storage};
use crate::storage::inbox::{Inbox, Message};
use crate::storage::job_ref::JobRef;
use crate::storage::proposal::{Proposal, PulledProposal};
use crate::storage::writer::Writer;
use crate::sync::primitives::{Arc, Mutex, lock};
use crate::sync::reply::Reply;
use crate::value::error::StorageError;
use crate::value::id::JobId;
use crate::value::status::JobStatus;

/// One step of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The row of the live job changes, and a caller waits for that.
    Fact,
    /// The row of the live job changes.
    QuietFact,
    /// A caller waits for the present state of the live job, as a second `cancel` does.
    Wait,
    /// The live job ends, and a caller waits for that if it concerns the store. Its id is
    /// free.
    End,
    /// A durable job is scheduled: it replaces the live job, takes over the record, or takes
    /// the free id.
    Propose,
    /// A replacement in memory of the live job.
    ProposeInMemory,
    /// The submitter of the last proposal goes away.
    Withdraw,
    /// A job in memory takes the free id.
    Successor,
    /// The unresolved record is discarded, and a caller waits for that.
    Discard,
    /// The app closes the store.
    Close,
    /// The writer takes its messages. Without this step in the alphabet it does so at once.
    Turn,
    /// The commit is made. Without a commit, here and below: the retry is due, and its
    /// commit is answered so.
    Ok,
    /// The commit fails cleanly.
    Busy,
    /// The commit is made, and returns an error that does not say so.
    Torn,
    /// The commit is not made, and returns an error that does not say so.
    Lost,
    Full,
    TooLarge,
}

/// The steps of the specification.
const MAIN: [Step; 9] = [
    Step::Fact,
    Step::End,
    Step::Propose,
    Step::Successor,
    Step::Discard,
    Step::Ok,
    Step::Busy,
    Step::Torn,
    Step::Lost,
];

/// What can happen between two turns of the writer, too.
const BETWEEN_TURNS: [Step; 10] = [
    Step::Fact,
    Step::End,
    Step::Propose,
    Step::ProposeInMemory,
    Step::Successor,
    Step::Turn,
    Step::Ok,
    Step::Busy,
    Step::Torn,
    Step::Full,
];

const ALL: [Step; 16] = [
    Step::Fact,
    Step::QuietFact,
    Step::Wait,
    Step::End,
    Step::Propose,
    Step::ProposeInMemory,
    Step::Withdraw,
    Step::Successor,
    Step::Discard,
    Step::Close,
    Step::Ok,
    Step::Busy,
    Step::Torn,
    Step::Lost,
    Step::Full,
    Step::TooLarge,
];

/// What there is at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Nothing,
    /// A live job that was loaded.
    Job,
    /// A record that no task can run.
    Record,
}

/// What a row holds: a definition, and a progress that rises with each fact.
type Content = Option<(u32, u32)>;

/// What has the id in the app.
#[derive(Clone)]
enum Holder {
    Nobody,
    Live(Arc<ModelJob>),
    /// A new job is on its way to the store.
    Reserved {
        over: Option<Box<JobRecord>>,
    },
    Record(Box<JobRecord>),
}

/// A caller that is to get exactly one answer.
struct Request {
    what: Step,
    /// Where in the history its cause stands. Of a proposal, that comes with the answer.
    cause: usize,
    /// `None` for a proposal.
    reply: Option<CommitWaiter>,
    answers: u32,
    is_withdrawn: bool,
    /// A commit failed while it waited, or the store was failing or closed already.
    may_fail: bool,
}

/// The sequence of a run, as places in the alphabet. A step that has no meaning where it
/// stands is replaced by the next one of the alphabet, so that each run is of use.
struct Sequence {
    alphabet: &'static [Step],
    places: Vec<usize>,
    taken: usize,
}

/// Everything but the writer.
struct World {
    inbox: Inbox,
    id: JobId,
    state: Mutex<State>,
}

struct State {
    sequence: Sequence,
    disk: Option<JobRecord>,
    /// A commit failed in a way that leaves open what is on the disk.
    is_unknown: bool,
    /// The last commit failed.
    is_failing: bool,
    is_closing: bool,
    /// The writer closes the store in this turn.
    is_last_turn: bool,
    holder: Holder,
    /// What the row was to be, one after the other, with what proposals would make of it.
    history: Vec<Content>,
    /// Where in it the present row stands.
    present: usize,
    requests: Vec<Request>,
    definitions: u32,
    /// The definitions of the durable jobs that have ended, and of those whose ends the disk
    /// has.
    ended: BTreeSet<u32>,
    ends: BTreeSet<u32>,
    /// The store had no room, so that it may have given up an end.
    has_given_up: bool,
    commits: usize,
    is_committing: bool,
    faults: Vec<String>,
}

/// A job as the writer sees it.
struct ModelJob {
    world: Arc<World>,
    state: Mutex<ModelState>,
}

struct ModelState {
    /// As in [`Lifecycle`](crate::job::lifecycle::Lifecycle).
    sync: Option<SyncState>,
    /// `None` in memory.
    definition: Option<u32>,
    progress: u32,
    /// Where in the history its row stands.
    place: usize,
    is_ended: bool,
    /// Users do not see the present state yet.
    is_hidden: bool,
}

struct NewJob {
    job: Arc<ModelJob>,
    request: usize,
}

struct Replacement {
    job: Arc<ModelJob>,
    definition: Option<u32>,
    /// The version of the job at the pull.
    planned: Option<u64>,
    request: usize,
}

struct Disk(Arc<World>);

fn record_of(id: &JobId, (definition, progress): (u32, u32)) -> JobRecord {
    JobRecord {
        version: RECORD_VERSION,
        id: id.clone(),
        task: "t".into(),
        args: "".into(),
        scheduled_at: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(definition.into()),
        trigger: TriggerRecord::Delay {
            length: Duration::ZERO,
        },
        zone: None,
        expires: None,
        timeout: None,
        retry: None,
        priority: None,
        limit_key: None,
        rate_key: None,
        unique_for: None,
        labels: None,
        set: None,
        spawned_by: None,
        progress: progress_of(progress),
    }
}

fn progress_of(progress: u32) -> ProgressRecord {
    ProgressRecord {
        due: OffsetDateTime::UNIX_EPOCH,
        nominal: OffsetDateTime::UNIX_EPOCH,
        attempts: progress,
        last_failure: None,
        retry_delay: None,
        start_intent: None,
        is_start_repeated: false,
        interruptions: 0,
        is_paused: false,
        steering: None,
        checkpoint: None,
        by_unset_clock: false,
        clock_set_by_ns: 0,
        recurring: None,
    }
}

fn content_of(record: &JobRecord) -> (u32, u32) {
    let definition = record.scheduled_at.unix_timestamp() as u32;
    (definition, record.progress.attempts)
}

impl Sequence {
    fn peek(&self) -> Option<Step> {
        let place = self.places.get(self.taken)?;
        Some(self.alphabet[*place])
    }

    /// The present step has no meaning here: there is another in its place, or the sequence
    /// ends.
    fn reject(&mut self) {
        self.places[self.taken] += 1;
        self.places[self.taken + 1..].fill(0);
        if self.places[self.taken] == self.alphabet.len() {
            self.places.truncate(self.taken);
        }
    }

    fn steps(&self) -> Vec<Step> {
        let steps = self.places.iter().map(|place| self.alphabet[*place]);
        steps.collect()
    }

    /// Turns to the next sequence of this length. Returns whether there is one.
    fn advance(&mut self, length: usize) -> bool {
        self.taken = 0;
        while let Some(last) = self.places.pop() {
            if last + 1 < self.alphabet.len() {
                self.places.push(last + 1);
                self.places.resize(length, 0);
                return true;
            }
        }
        false
    }
}

impl State {
    fn fault(&mut self, what: String) {
        self.faults.push(what);
    }

    fn on_disk(&self) -> Content {
        self.disk.as_ref().map(content_of)
    }

    fn new_definition(&mut self) -> u32 {
        self.definitions += 1;
        self.definitions
    }

    /// The row is to be this from now on.
    fn enter(&mut self, row: Content) {
        self.present = self.history.len();
        self.history.push(row);
    }

    /// The row is to be this if the store accepts. If it is refused, no answer comes while
    /// the disk has it.
    fn propose(&mut self, request: usize, row: Content) {
        self.requests[request].cause = self.history.len();
        self.history.push(row);
    }

    fn request(&mut self, what: Step, reply: Option<CommitWaiter>) -> usize {
        self.requests.push(Request {
            what,
            cause: self.present,
            reply,
            answers: 0,
            is_withdrawn: false,
            may_fail: self.is_failing || self.is_closing,
        });
        self.requests.len() - 1
    }

    fn answer(&mut self, request: usize, result: Result<(), &StorageError>) {
        let disk = self.on_disk();
        let Request {
            what,
            cause,
            answers,
            may_fail,
            ..
        } = &mut self.requests[request];
        *answers += 1;
        let (what, cause, answers, may_fail) = (*what, *cause, *answers, *may_fail);
        if answers > 1 {
            self.fault(format!("{what:?} {request} is answered again: {result:?}"));
        }
        match result {
            Err(error) if !may_fail => {
                self.fault(format!(
                    "{what:?} {request} is refused for nothing: {error}"
                ));
            }
            Ok(()) if self.is_unknown => {
                self.fault(format!("{what:?} {request} is answered: unknown"));
            }
            Ok(()) if !self.history[cause..].contains(&disk) => {
                self.fault(format!(
                    "{what:?} {request} is answered before its cause: {disk:?} is stored"
                ));
            }
            _ => {}
        }
    }

    /// A job shows its present state.
    fn check_published(&mut self, job: &ModelState, is_refused: bool) {
        let is_stored = self.history[job.place..].contains(&self.on_disk());
        if !is_stored && !self.is_failing && !self.is_closing {
            self.fault("a state is shown before the store was tried for it".into());
        }
        if self.is_last_turn && job.is_ended && is_refused {
            self.fault("an end is shown that a closing store has refused".into());
        }
    }

    /// Sees which waiters have their answer.
    fn check_replies(&mut self) {
        for request in 0..self.requests.len() {
            let reply = self.requests[request].reply.as_ref();
            if let Some(result) = reply.and_then(|reply| reply.take()) {
                self.answer(request, result.as_ref().map(|_| ()));
            }
        }
    }

    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(record) => self.disk = Some((**record).clone()),
                Change::Remove(_) => self.disk = None,
                Change::Advance { progress, .. } => {
                    if let Some(record) = &mut self.disk {
                        record.set_progress((**progress).clone());
                    }
                }
                Change::KeepEnd(end) => _ = self.ends.insert(end.key.run as u32),
                Change::ForgetEnd(_)
                | Change::TrimEnds(_)
                | Change::SetPause(_)
                | Change::RemovePause(_)
                | Change::TakeId(_) => {}
            }
        }
    }
}

impl World {
    fn new(start: Start, sequence: Sequence) -> Arc<Self> {
        let id: JobId = "x".into();
        let loaded = (start != Start::Nothing).then(|| record_of(&id, (0, 0)));
        let world = Arc::new(Self {
            inbox: Inbox::default(),
            state: Mutex::new(State {
                sequence,
                history: vec![loaded.as_ref().map(content_of)],
                present: 0,
                disk: loaded.clone(),
                is_unknown: false,
                is_failing: false,
                is_closing: false,
                is_last_turn: false,
                holder: match (start, loaded) {
                    (Start::Record, Some(record)) => Holder::Record(Box::new(record)),
                    _ => Holder::Nobody,
                },
                requests: Vec::new(),
                definitions: 0,
                ended: BTreeSet::new(),
                ends: BTreeSet::new(),
                has_given_up: false,
                commits: 0,
                is_committing: false,
                faults: Vec::new(),
            }),
            id,
        });
        if start == Start::Job {
            let job = ModelJob::new(&world, Some(SyncState::of_stored_row()), Some(0));
            lock(&world.state).holder = Holder::Live(job);
        }
        world.inbox.open();
        world
    }

    /// Takes the next step that has a meaning, and lets it happen if it is not an answer.
    fn next_step(self: &Arc<Self>, is_answer_due: bool) -> Option<Step> {
        loop {
            let step = lock(&self.state).sequence.peek()?;
            let has_meaning = match step {
                step if step >= Step::Ok => is_answer_due,
                step => self.happen(step),
            };
            let sequence = &mut lock(&self.state).sequence;
            if has_meaning {
                sequence.taken += 1;
                return Some(step);
            }
            sequence.reject();
        }
    }

    fn happens_between_turns(&self) -> bool {
        lock(&self.state).sequence.alphabet.contains(&Step::Turn)
    }

    /// Lets a step happen that is not an answer of the store. Returns whether it has a
    /// meaning.
    fn happen(self: &Arc<Self>, step: Step) -> bool {
        let holder = lock(&self.state).holder.clone();
        match (step, holder) {
            (Step::Fact, Holder::Live(job)) => job.change(Some(step), |job| job.progress += 1),
            (Step::QuietFact, Holder::Live(job)) => job.change(None, |job| job.progress += 1),
            (Step::Wait, Holder::Live(job)) => {
                if lock(&job.state).sync.is_none() {
                    return false;
                }
                job.wait(step);
                true
            }
            (Step::End, Holder::Live(job)) => {
                if !job.change(Some(step), |job| job.is_ended = true) {
                    lock(&job.state).is_ended = true;
                }
                let definition = lock(&job.state).definition;
                lock(&self.state).ended.extend(definition);
                lock(&self.state).holder = Holder::Nobody;
                true
            }
            (Step::Propose, Holder::Live(job)) => {
                let definition = lock(&self.state).new_definition();
                job.propose(step, Some(definition));
                true
            }
            (Step::ProposeInMemory, Holder::Live(job)) => {
                let concerns_store = lock(&job.state).sync.is_some();
                if concerns_store {
                    job.propose(step, None);
                }
                concerns_store
            }
            (Step::Propose, Holder::Nobody) => self.propose_new(None),
            (Step::Propose, Holder::Record(record)) => self.propose_new(Some(record)),
            (Step::Withdraw, _) => {
                let mut state = lock(&self.state);
                let last = state.requests.iter_mut().rfind(|r| r.reply.is_none());
                let Some(last) = last.filter(|r| r.answers == 0 && !r.is_withdrawn) else {
                    return false;
                };
                last.is_withdrawn = true;
                true
            }
            (Step::Successor, Holder::Nobody) => {
                let job = ModelJob::new(self, None, None);
                lock(&self.state).holder = Holder::Live(job);
                true
            }
            (Step::Discard, Holder::Record(_)) => {
                let waiter = Reply::new();
                {
                    let mut state = lock(&self.state);
                    state.holder = Holder::Nobody;
                    state.enter(None);
                    state.request(step, Some(waiter.clone()));
                }
                self.send(Message::Forget {
                    id: self.id.clone(),
                    waiter: Some(waiter),
                    end: None,
                });
                true
            }
            (Step::Turn, _) => {
                let is_committing = lock(&self.state).is_committing;
                self.inbox.has_work() && !is_committing
            }
            (Step::Close, _) => {
                let mut state = lock(&self.state);
                let is_first = !std::mem::replace(&mut state.is_closing, true);
                for request in &mut state.requests {
                    request.may_fail = true;
                }
                self.inbox.begin_close();
                is_first
            }
            _ => false,
        }
    }

    fn propose_new(self: &Arc<Self>, over: Option<Box<JobRecord>>) -> bool {
        let definition = lock(&self.state).new_definition();
        let job = ModelJob::new(self, Some(SyncState::default()), Some(definition));
        let request = {
            let mut state = lock(&self.state);
            state.holder = Holder::Reserved { over };
            state.request(Step::Propose, None)
        };
        self.send(Message::Propose(Box::new(NewJob { job, request })));
        true
    }

    fn send(&self, message: Message) {
        if let Err(message) = self.inbox.send(message) {
            Writer::refuse_all(vec![message]);
        }
    }

    fn answer(&self, request: usize, result: Result<(), &StorageError>) {
        lock(&self.state).answer(request, result);
    }

    fn is_withdrawn(&self, request: usize) -> bool {
        lock(&self.state).requests[request].is_withdrawn
    }
}

impl ModelJob {
    fn new(world: &Arc<World>, sync: Option<SyncState>, definition: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            state: Mutex::new(ModelState {
                sync,
                definition,
                progress: 0,
                place: 0,
                is_ended: false,
                is_hidden: false,
            }),
        })
    }

    fn send_changed(self: &Arc<Self>) {
        self.world.send(Message::Changed(JobRef::new(self.clone())));
    }

    /// Something happens to the job; `waits`: a caller waits for that. Returns whether it
    /// concerns the store.
    fn change(self: &Arc<Self>, waits: Option<Step>, change: impl FnOnce(&mut ModelState)) -> bool {
        let needs_message = {
            let mut state = lock(&self.state);
            if state.sync.is_none() {
                return false;
            }
            change(&mut state);
            state.is_hidden = true;
            let mut of_world = lock(&self.world.state);
            of_world.enter(state.row());
            state.place = of_world.present;
            drop(of_world);
            let has_row = state.row().is_some();
            let sync = state.sync.as_mut();
            sync.is_some_and(|sync| sync.row_changed(has_row))
        };
        if needs_message {
            self.send_changed();
        }
        if let Some(step) = waits {
            self.wait(step);
        }
        true
    }

    fn wait(self: &Arc<Self>, step: Step) {
        let waits = {
            let mut state = lock(&self.state);
            let has_row = state.row().is_some();
            let sync = state.sync.as_mut();
            sync.and_then(|sync| sync.wait(has_row))
        };
        let (waiter, needs_message) = waits.unzip();
        let is_answered = waiter.is_none();
        let request = lock(&self.world.state).request(step, waiter);
        if is_answered {
            self.world.answer(request, Ok(()));
        }
        if needs_message == Some(true) {
            self.send_changed();
        }
    }

    fn propose(self: &Arc<Self>, step: Step, definition: Option<u32>) {
        let request = lock(&self.world.state).request(step, None);
        lock(&self.state).sync.get_or_insert_default().hold();
        self.world.send(Message::Propose(Box::new(Replacement {
            job: self.clone(),
            definition,
            planned: None,
            request,
        })));
    }
}

impl ModelState {
    fn row(&self) -> Content {
        let definition = self.definition.filter(|_| !self.is_ended)?;
        Some((definition, self.progress))
    }

    /// The end of the job, which each durable one leaves.
    fn end(&self, id: &JobId) -> Option<JobEnd> {
        let definition = self.definition.filter(|_| self.is_ended)?;
        let at = OffsetDateTime::UNIX_EPOCH;
        let kept = KeptEnd {
            record: Box::new(EndRecord {
                key: EndKey {
                    id: id.clone(),
                    scheduled_at: at,
                    run: definition.into(),
                },
                task: "t".into(),
                args: "".into(),
                status: JobStatus::Failed,
                error: "".into(),
                attempts: 1,
                started_at: at,
                finished_at: at,
                keep_until: at,
                version: RECORD_VERSION,
                job: "".into(),
            }),
            most_of_task: None,
        };
        Some(JobEnd {
            kept: Some(kept),
            taken: None,
        })
    }

    fn is_tried(&self) -> bool {
        self.sync.as_ref().is_none_or(SyncState::is_tried)
    }

    fn is_clean(&self) -> bool {
        let has_row = self.row().is_some();
        self.sync.as_ref().is_none_or(|sync| sync.is_clean(has_row))
    }

    fn release(&mut self) {
        if let Some(sync) = &mut self.sync {
            sync.release();
        }
        self.drop_unused_sync();
    }

    fn drop_unused_sync(&mut self) {
        let is_unused = self.sync.as_ref().is_some_and(SyncState::is_unused);
        if self.definition.is_none() && !self.is_hidden && is_unused {
            self.sync = None;
        }
    }
}

impl StoredJob for ModelJob {
    fn row_id(&self) -> &JobId {
        &self.world.id
    }

    fn pull(&self) -> PulledRow {
        let mut state = lock(&self.state);
        let row = state.row();
        let is_clean = state.is_clean();
        let (version, known) = match &mut state.sync {
            Some(sync) => (sync.pull(), sync.known()),
            None => (0, Known::Absent),
        };
        let wanted = if is_clean {
            RowChange::None
        } else {
            known.change(row.is_some())
        };
        let change = match (wanted, row) {
            (RowChange::Advance, Some((_, progress))) => {
                PulledChange::Advance(Box::new(progress_of(progress)))
            }
            (RowChange::Put, Some(content)) => {
                PulledChange::Put(Box::new(record_of(&self.world.id, content)))
            }
            (RowChange::Remove, _) => PulledChange::Remove,
            _ => PulledChange::None,
        };
        PulledRow {
            version,
            change,
            has_row: row.is_some(),
            end: state.end(&self.world.id),
            made: Vec::new(),
        }
    }

    fn settle(&self, pulled: u64, outcome: CommitOutcome<'_>, may_end: bool) -> Settled {
        let mut state = lock(&self.state);
        let waiters = match &mut state.sync {
            Some(sync) => sync.tried(pulled, outcome),
            None => Vec::new(),
        };
        if state.is_hidden && state.is_tried() && (may_end || !state.is_ended) {
            state.is_hidden = false;
            let is_refused = matches!(outcome, CommitOutcome::Refused { .. });
            lock(&self.world.state).check_published(&state, is_refused);
        }
        let settled = Settled {
            waiters,
            is_clean: state.is_clean(),
            is_over: state.is_ended && !state.is_hidden,
            end: match outcome {
                CommitOutcome::Refused { .. } if !state.is_hidden => state.end(&self.world.id),
                _ => None,
            },
        };
        state.drop_unused_sync();
        settled
    }

    fn known(&self) -> Known {
        let state = lock(&self.state);
        state.sync.as_ref().map_or(Known::Absent, SyncState::known)
    }

    fn take_known(&self) -> Known {
        let mut state = lock(&self.state);
        let sync = state.sync.as_mut();
        sync.map_or(Known::Absent, SyncState::take_known)
    }

    fn mark_unknown(&self) {
        let mut state = lock(&self.state);
        state.sync.get_or_insert_default().mark_unknown();
    }

    fn inherit_row(&self, known: Known) {
        if let Some(sync) = &mut lock(&self.state).sync {
            sync.inherit(known);
        }
    }

    fn drop_row_safely(self: Arc<Self>) {}
}

impl NewJob {
    /// The id is free again, or that of the record.
    fn give_up(&self) {
        let mut state = lock(&self.job.world.state);
        if let Holder::Reserved { over } = &mut state.holder {
            state.holder = over.take().map_or(Holder::Nobody, Holder::Record);
        }
    }
}

impl Proposal for NewJob {
    fn id(&self) -> &JobId {
        &self.job.world.id
    }

    fn job(&self) -> JobRef {
        JobRef::new(self.job.clone())
    }

    fn replaced(&self) -> Option<JobRef> {
        None
    }

    fn taken_over(&mut self) -> Option<Box<JobRecord>> {
        match &lock(&self.job.world.state).holder {
            Holder::Reserved { over } => over.clone(),
            _ => None,
        }
    }

    fn pull(&mut self) -> Option<PulledProposal> {
        if self.job.world.is_withdrawn(self.request) {
            self.give_up();
            return None;
        }
        let content = lock(&self.job.state).row()?;
        let mut state = lock(&self.job.world.state);
        state.propose(self.request, Some(content));
        Some(PulledProposal {
            forgets: None,
            version: 0,
            record: Some(Box::new(record_of(&self.job.world.id, content))),
        })
    }

    fn answer(&mut self, result: Result<Option<Change>, StorageError>) {
        match &result {
            Ok(_) => {
                let mut state = lock(&self.job.world.state);
                state.holder = Holder::Live(self.job.clone());
                state.present = state.requests[self.request].cause;
            }
            Err(_) => self.give_up(),
        }
        let result = result.as_ref().map(|_| ());
        self.job.world.answer(self.request, result);
    }

    fn wake(self: Box<Self>) {}
}

impl Proposal for Replacement {
    fn id(&self) -> &JobId {
        &self.job.world.id
    }

    fn job(&self) -> JobRef {
        JobRef::new(self.job.clone())
    }

    fn replaced(&self) -> Option<JobRef> {
        Some(self.job())
    }

    fn taken_over(&mut self) -> Option<Box<JobRecord>> {
        None
    }

    fn pull(&mut self) -> Option<PulledProposal> {
        let world = &self.job.world;
        let mut state = lock(&self.job.state);
        if world.is_withdrawn(self.request) {
            state.release();
            return None;
        }
        if state.is_ended {
            state.release();
            lock(&world.state).requests[self.request].answers += 1;
            return None;
        }
        let content = self.definition.map(|new| (new, state.progress));
        let version = state.sync.as_mut().map_or(0, SyncState::pull);
        self.planned = Some(version);
        lock(&world.state).propose(self.request, content);
        Some(PulledProposal {
            forgets: None,
            version,
            record: content.map(|content| Box::new(record_of(&world.id, content))),
        })
    }

    fn answer(&mut self, result: Result<Option<Change>, StorageError>) {
        let world = &self.job.world;
        let mut job = lock(&self.job.state);
        job.release();
        if let Err(error) = &result {
            drop(job);
            world.answer(self.request, Err(error));
            return;
        }
        if job.is_ended {
            // The store has another row, and the message of the end is on its way.
            lock(&world.state).requests[self.request].answers += 1;
            return;
        }
        let is_current = job.sync.as_ref().map(|sync| sync.version) == self.planned;
        job.definition = self.definition;
        job.is_hidden = true;
        if self.definition.is_some() {
            job.sync.get_or_insert_default();
        }
        {
            let mut state = lock(&world.state);
            match is_current {
                true => state.present = state.requests[self.request].cause,
                false => state.enter(job.row()),
            }
            job.place = state.present;
        }
        let has_row = job.row().is_some();
        let needs_message = match &mut job.sync {
            Some(sync) if is_current => {
                sync.mark_stored();
                false
            }
            Some(sync) => sync.row_changed(has_row),
            None => false,
        };
        if job.is_tried() {
            job.is_hidden = false;
        }
        job.drop_unused_sync();
        drop(job);
        if needs_message {
            self.job.send_changed();
        }
        world.answer(self.request, Ok(()));
    }

    fn wake(self: Box<Self>) {}
}

impl Storage for Disk {
    fn open(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn load(&mut self, _: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        Ok(())
    }

    fn load_ends(&mut self, _: &mut dyn FnMut(EndRecord)) -> Result<(), StorageError> {
        Ok(())
    }

    fn load_pauses(&mut self, _: &mut dyn FnMut(PauseRecord)) -> Result<(), StorageError> {
        Ok(())
    }

    fn load_taken_ids(&mut self, _: &mut dyn FnMut(TakenId)) -> Result<(), StorageError> {
        Ok(())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let world = &self.0;
        if matches!(changes, [Change::TrimEnds(_)]) {
            // It makes no room here, and takes no step.
            return Ok(());
        }
        {
            let mut state = lock(&world.state);
            state.check_replies();
            state.is_committing = true;
        }
        let answer = loop {
            match world.next_step(true) {
                None => break Step::Ok,
                Some(step) if step >= Step::Ok => break step,
                Some(_) => {}
            }
        };
        let mut state = lock(&world.state);
        state.is_committing = false;
        state.commits += 1;
        let is_of_row = |change: &&Change| {
            matches!(
                change,
                Change::Put(_) | Change::Advance { .. } | Change::Remove(_)
            )
        };
        let of_row = changes.iter().filter(is_of_row).count();
        if of_row > 1 {
            state.fault(format!("{of_row} changes of one row in a commit"));
        }
        state.has_given_up |= matches!(answer, Step::Full | Step::TooLarge);
        let is_advance = matches!(changes, [Change::Advance { .. }, ..]);
        if is_advance && state.is_unknown {
            state.fault("progress is written although the row is unknown".into());
        }
        if is_advance && state.disk.is_none() {
            state.fault("progress is written and there is no row".into());
        }
        if matches!(answer, Step::Ok | Step::Torn) {
            state.apply(changes);
        }
        state.is_failing = answer != Step::Ok;
        if state.is_failing {
            for request in &mut state.requests {
                request.may_fail = true;
            }
        }
        let path = PathBuf::from("disk");
        match answer {
            Step::Busy => Err(StorageError::Busy {
                path: Some(path),
                waited: Duration::ZERO,
            }),
            Step::Full => Err(StorageError::Full { path }),
            Step::TooLarge => Err(StorageError::TooLarge {
                detail: "too large".into(),
            }),
            Step::Torn | Step::Lost => {
                state.is_unknown = true;
                Err(StorageError::other("torn"))
            }
            _ => {
                state.is_unknown = false;
                Ok(())
            }
        }
    }
}

/// Lets the writer take its turns until it would sleep.
fn take_turns(world: &Arc<World>, writer: &mut Writer, now: Duration) {
    for _ in 0..20 {
        if world.inbox.has_work() && world.happens_between_turns() {
            while world
                .next_step(false)
                .is_some_and(|step| step != Step::Turn)
            {}
        }
        if !world.inbox.has_work() && !writer.is_due(now) {
            return;
        }
        writer.turn(&world.inbox, now, false);
        world.inbox.commit_ended();
        let mut state = lock(&world.state);
        state.check_replies();
        if state.is_closing {
            return;
        }
    }
    lock(&world.state).fault("the writer does not come to rest".into());
}

/// Runs a sequence. Returns how many commits there were, and what was wrong.
fn run(start: Start, sequence: &mut Sequence) -> (usize, Vec<String>) {
    let own = Sequence {
        alphabet: sequence.alphabet,
        places: std::mem::take(&mut sequence.places),
        taken: 0,
    };
    let world = World::new(start, own);
    let mut writer = Writer::new(Box::new(Disk(world.clone())), 10_000);
    let mut now = Duration::ZERO;
    loop {
        let is_retrying = writer.retry_at().is_some();
        let step = world.next_step(is_retrying);
        if step.is_none_or(|step| step >= Step::Ok) {
            // The answer is for the commit of the retry. At the end, all answers are good.
            let Some(at) = writer.retry_at() else { break };
            now = at;
            lock(&world.state).sequence.taken -= usize::from(step.is_some());
        }
        let commits = lock(&world.state).commits;
        take_turns(&world, &mut writer, now);
        let mut state = lock(&world.state);
        if state.is_closing || !state.faults.is_empty() {
            break;
        }
        if step.is_some_and(|step| step >= Step::Ok) && state.commits == commits {
            // The retry had nothing to commit.
            state.sequence.taken += 1;
        }
    }
    if lock(&world.state).is_closing {
        lock(&world.state).is_last_turn = true;
        writer.turn(&world.inbox, now, true);
        drop(writer);
        Writer::refuse_all(world.inbox.close());
    }
    let mut state = lock(&world.state);
    state.check_replies();
    let holder = std::mem::replace(&mut state.holder, Holder::Nobody);
    let wanted = match &holder {
        Holder::Nobody => None,
        Holder::Live(job) => lock(&job.state).row(),
        Holder::Reserved { over } => over.as_deref().map(content_of),
        Holder::Record(record) => Some(content_of(record)),
    };
    let stored = state.on_disk();
    if !state.is_closing && (stored != wanted || state.is_unknown) {
        let is_unknown = state.is_unknown;
        state.fault(format!(
            "{stored:?} is stored at the end (unknown: {is_unknown}), and not {wanted:?}"
        ));
    }
    if !state.is_closing && !state.has_given_up && state.ends != state.ended {
        let ends = (state.ends.clone(), state.ended.clone());
        state.fault(format!(
            "the ends {:?} are stored, and not {:?}",
            ends.0, ends.1
        ));
    }
    if let (Holder::Live(job), false) = (&holder, state.is_closing) {
        let job = lock(&job.state);
        if job.is_hidden || !job.is_clean() || job.sync.as_ref().is_some_and(|s| s.is_held()) {
            state.fault("the job is hidden, held or unstored at the end".into());
        }
    }
    let unstored = world.inbox.health().1;
    if !state.is_closing && unstored != 0 {
        state.fault(format!("{unstored} are reported as unstored at the end"));
    }
    let unanswered = |request: &&Request| request.answers == 0 && !request.is_withdrawn;
    if let Some(request) = state.requests.iter().find(unanswered) {
        let what = request.what;
        state.fault(format!("{what:?} has no answer"));
    }
    // After a close, nothing has a meaning.
    let taken = state.sequence.taken;
    state.sequence.places.truncate(taken);
    sequence.places = std::mem::take(&mut state.sequence.places);
    (state.commits, std::mem::take(&mut state.faults))
}

/// Runs every sequence of `length` steps.
fn run_all(alphabet: &'static [Step], length: usize) {
    let begun = Instant::now();
    let (mut runs, mut commits) = (0, 0);
    let mut faults: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for start in [Start::Nothing, Start::Job, Start::Record] {
        let mut sequence = Sequence {
            alphabet,
            places: vec![0; length],
            taken: 0,
        };
        loop {
            let (of_run, found) = run(start, &mut sequence);
            runs += 1;
            commits += of_run;
            if let Some(first) = found.first() {
                let steps = sequence.steps();
                let text = || format!("{start:?}, {steps:?}: {found:?}");
                let place = faults.entry(first.clone()).or_insert_with(|| (0, text()));
                place.0 += 1;
            }
            if !sequence.advance(length) {
                break;
            }
        }
    }
    println!(
        "{runs} sequences of {length} steps with {commits} commits in {:.1?}",
        begun.elapsed()
    );
    let shown: Vec<_> = faults.values().take(10).collect();
    assert!(faults.is_empty(), "{} faults: {shown:#?}", faults.len());
    assert!(commits > runs, "few commits were made");
}

#[test]
fn the_store_comes_to_agree_whatever_happens_between_two_turns() {
    run_all(&BETWEEN_TURNS, length(6) + 1);
}

fn length(default: usize) -> usize {
    let length = std::env::var("JOBBER_LENGTH").ok();
    length.map_or(default, |length| length.parse().unwrap())
}

#[test]
fn the_store_agrees_with_the_id_after_every_sequence_and_nothing_is_answered_too_early() {
    run_all(&MAIN, length(6));
}

#[test]
fn the_store_comes_to_agree_after_withdrawals_waits_full_disks_and_a_close() {
    run_all(&ALL, length(6) - 1);
}

/// Runs one sequence, without what has no meaning in it.
fn faults_of(alphabet: &'static [Step], start: Start, steps: &[Step]) -> Vec<String> {
    let place = |step: &Step| alphabet.iter().position(|other| other == step).unwrap();
    let mut sequence = Sequence {
        alphabet,
        places: steps.iter().map(place).collect(),
        taken: 0,
    };
    let (_, faults) = run(start, &mut sequence);
    assert_eq!(
        sequence.steps(),
        steps,
        "a step has no meaning where it stands"
    );
    faults
}

/// Regression: a job that the store had refused was found by the next process.
#[test]
fn a_new_job_whose_commit_is_torn_is_removed_although_the_base_is_a_job_in_memory_that_ended() {
    use Step::{End, Full, Ok, Propose, ProposeInMemory, Successor, Torn};
    for (start, steps) in [
        (
            Start::Nothing,
            &[Successor, Propose, End, Propose, Full, Torn][..],
        ),
        (
            Start::Job,
            &[ProposeInMemory, Propose, Ok, End, Propose, Full, Torn],
        ),
    ] {
        assert_eq!(faults_of(&ALL, start, steps), [""; 0], "{steps:?}");
    }
}

/// Regression: the cancel of the second successor was refused as if the store were closed.
#[test]
fn each_of_two_successors_in_one_turn_has_its_turn() {
    use Step::{End, Fact, Propose, Successor};
    for last in [End, Fact] {
        let steps = [End, Successor, Propose, End, Successor, Propose, last];
        let faults = faults_of(&BETWEEN_TURNS, Start::Job, &steps);
        assert_eq!(faults, [""; 0], "{steps:?}");
    }
}
