//! One app from its start to its end: threads that use it in peace, then one alone, then
//! threads that go on while it is shut down.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use jobber::{Events, JobStatus, Jobber, JobberBuilder, Next};
use smol::block_on;
use smol::stream::StreamExt;

use super::executors::Kind;
use super::process;
use super::slots::{self, Slots, fault};
#[cfg(feature = "serde")]
use super::tasks::{INTERRUPTIONS, SET_ASIDE};
use super::tasks::{RoundClock, Tasks};
use super::watch::{self, Place};
use super::worker::{HOUR, Kept, Over, Round, Strangers, Worker};

const WORKERS: usize = 4;

/// How much each worker does.
#[derive(Clone, Copy)]
pub struct Load {
    pub in_peace: usize,
    pub alone: usize,
    /// At most: the shutdown comes first.
    pub at_the_end: usize,
}

/// Where durable jobs are kept.
#[cfg_attr(
    not(feature = "sqlite"),
    expect(dead_code, reason = "without the feature there are fewer")
)]
pub enum Store<'a> {
    None,
    #[cfg(feature = "serde")]
    Memory(jobber::MemoryStorage),
    /// It fails now and then, by this seed, and sometimes has done all the same what it
    /// says that it has not.
    #[cfg(feature = "serde")]
    Faulty(jobber::MemoryStorage, u64),
    File(&'a Path),
}

impl Store<'_> {
    fn give_to(&self, builder: JobberBuilder) -> JobberBuilder {
        match self {
            Store::None => builder,
            #[cfg(feature = "serde")]
            Store::Memory(store) => builder.storage(store.clone()),
            #[cfg(feature = "serde")]
            Store::Faulty(store, seed) => builder.storage(failing(store.clone(), *seed)),
            #[cfg(feature = "sqlite")]
            Store::File(path) => builder.storage(
                jobber::SqliteStorage::new(path).synchronous(jobber::storage::Synchronous::Normal),
            ),
            #[cfg(not(feature = "sqlite"))]
            Store::File(_) => builder,
        }
    }

    /// How many records there are, where it can be told.
    fn len(&self) -> usize {
        match self {
            #[cfg(feature = "serde")]
            Store::Memory(store) | Store::Faulty(store, _) => store.records().len(),
            _ => 0,
        }
    }

    fn fails(&self) -> bool {
        match self {
            #[cfg(feature = "serde")]
            Store::Faulty(..) => true,
            _ => false,
        }
    }

    /// The same records, and it does not fail.
    fn mended(&self) -> Store<'_> {
        match self {
            Store::None => Store::None,
            #[cfg(feature = "serde")]
            Store::Memory(store) | Store::Faulty(store, _) => Store::Memory(store.clone()),
            Store::File(path) => Store::File(path),
        }
    }

    fn is_durable(&self) -> bool {
        !matches!(self, Store::None)
    }
}

#[cfg(feature = "serde")]
fn failing(store: jobber::MemoryStorage, seed: u64) -> impl jobber::storage::Storage {
    use jobber::testing::{Fault, FaultyStorage, Operation};
    let mut rng = Rng::with_seed(seed);
    FaultyStorage::new(store, move |operation| match operation {
        Operation::Commit(_) => match rng.u8(..16) {
            0 => Fault::Fail,
            1 => Fault::Tear,
            _ => Fault::None,
        },
        _ => Fault::None,
    })
}

/// Leaves jobs in the store of a task that the app will not have, and jobs that are set aside.
#[cfg(feature = "serde")]
fn leave_strangers(store: &Store<'_>) {
    let builder = Jobber::builder().executor(|job| smol::spawn(job).detach());
    let app = store.mended().give_to(builder).build().unwrap();
    let register = |name| app.task(name, || async {}).durable().register().unwrap();
    let (stranger, set_aside) = (register("stranger"), register(SET_ASIDE));
    app.start().block_on().unwrap();
    for number in 0..Strangers::default().0.len() {
        let task = match Strangers::is_set_aside(number) {
            true => &set_aside,
            false => &stranger,
        };
        let schedule = task.schedule(()).id(Strangers::id(number));
        let _stored = schedule.delay(HOUR).block_on().unwrap();
    }
    app.shutdown(Duration::ZERO).block_on();
    interrupt(store);
}

/// Makes the rows of the jobs that are set aside what processes leave that have ended during
/// their attempts.
#[cfg(feature = "serde")]
fn interrupt(store: &Store<'_>) {
    const DUE: &str = "2020-01-01T00:00:00.000000000Z";
    match store {
        Store::None => {}
        Store::Memory(store) | Store::Faulty(store, _) => {
            use jobber::storage::{Change, Storage};
            let records = store.records().into_iter().map(|record| {
                let mut record = serde_json::to_value(record).unwrap();
                if record["task"] == SET_ASIDE {
                    let progress = &mut record["progress"];
                    (progress["due"], progress["nominal"]) = (DUE.into(), DUE.into());
                    progress["interruptions"] = INTERRUPTIONS.into();
                }
                Change::Put(serde_json::from_value(record).unwrap())
            });
            let records: Vec<_> = records.collect();
            store.clone().commit(&records).unwrap();
        }
        #[cfg(not(feature = "sqlite"))]
        Store::File(_) => {}
        #[cfg(feature = "sqlite")]
        Store::File(path) => {
            let sql = rusqlite::Connection::open(path).unwrap();
            let update = "UPDATE jobs SET due = ?1, nominal = ?1, interruptions = ?2 \
                WHERE task = ?3";
            let values = (DUE, INTERRUPTIONS, SET_ASIDE);
            let _rows = sql.execute(update, values).unwrap();
        }
    }
}

/// Discards the jobs that are set aside and that no thread has discarded: they would not end.
fn discard_set_aside(app: &Jobber, strangers: &Strangers, store_fails: bool) {
    for (number, discarded) in strangers.0.iter().enumerate() {
        if !Strangers::is_set_aside(number) {
            continue;
        }
        match app.discard(&*Strangers::id(number)).block_on() {
            Ok(was_there) => _ = discarded.fetch_add(u32::from(was_there), Ordering::SeqCst),
            // It has ended, and the store is retried.
            Err(_) if store_fails => {}
            Err(error) => fault(format!("discarding stranger {number}: {error}")),
        }
    }
}

/// Discards those that the process before has left.
fn discard_strangers(app: &Jobber, strangers: &Strangers) {
    for job in app.unresolved() {
        let number = (0..strangers.0.len()).find(|&n| job.id.to_string() == Strangers::id(n));
        match (number, app.discard(job.id.clone()).block_on()) {
            (Some(number), Ok(true)) => _ = strangers.0[number].fetch_add(1, Ordering::SeqCst),
            other => fault(format!("discarding {job:?}: {other:?}")),
        }
    }
}

/// How an app ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// What runs is given its time.
    Orderly,
    /// What runs is left.
    AtOnce,
    /// The last handle is dropped, by a thread that is none of its users.
    Dropped,
}

/// Runs one, and sees that it leaves nothing behind.
/// `threads` may be alive when it is over. Returns the number of jobs.
pub fn run(kind: Kind, store: &Store<'_>, load: Load, seed: u64, threads: &[String]) -> usize {
    watch::set_round(format!("a round on {kind:?} with seed {seed}"));
    let place = Place::new("the test");
    let jobs = live(kind, store, load, seed, &place);
    place.until("waits for the app's threads to end", || {
        process::new_threads(threads).is_empty()
    });
    let faults = slots::faults();
    assert!(faults.is_empty(), "{kind:?} with seed {seed}: {faults:#?}");
    jobs
}

/// An app, and what it is used for.
struct Live {
    app: Jobber,
    round: Round,
}

impl Live {
    fn start(
        kind: Kind,
        store: &Store<'_>,
        clock: &RoundClock,
        slots: &Arc<Slots>,
        strangers: &Arc<Strangers>,
        end: End,
        is_blocking: bool,
    ) -> Self {
        let builder = Jobber::builder();
        let builder = match clock {
            RoundClock::System(_) => builder,
            RoundClock::Coarse(..) => builder.clock(clock.clone()),
        };
        let builder = match is_blocking {
            true => builder,
            false => builder.around(|_, next: Next| async move {
                futures_lite::future::yield_now().await;
                next.run().await
            }),
        };
        let app = store.give_to(kind.give_to(builder)).build().unwrap();
        let tasks = Tasks::register(&app, slots, clock, store.is_durable()).unwrap();
        match is_blocking {
            true => app.start().block_on().unwrap(),
            false => block_on(app.start()).unwrap(),
        }
        let round = Round {
            kind,
            clock: clock.clone(),
            slots: slots.clone(),
            tasks,
            in_peace: AtomicBool::new(true),
            may_repeat: end != End::Orderly || !kind.is_honest() || store.fails(),
            store_fails: store.fails(),
            is_stopping: AtomicBool::new(false),
            steps: AtomicUsize::new(0),
            left: Mutex::new(None),
            forgotten: Mutex::default(),
            strangers: strangers.clone(),
        };
        Self { app, round }
    }
}

fn live(kind: Kind, store: &Store<'_>, load: Load, seed: u64, place: &Place) -> usize {
    let mut rng = Rng::with_seed(seed);
    let clock = match rng.bool() {
        true => RoundClock::System(Instant::now()),
        false => RoundClock::coarse(),
    };
    let end = [End::Orderly, End::AtOnce, End::Dropped][rng.usize(..3)];
    // A step makes four jobs at most.
    let steps = WORKERS * (load.in_peace + load.at_the_end) + load.alone;
    let slots = Arc::new(Slots::new(4 * steps));
    let strangers = Arc::new(Strangers::default());
    #[cfg(feature = "serde")]
    if store.is_durable() {
        leave_strangers(store);
    }
    let live = Live::start(kind, store, &clock, &slots, &strangers, end, rng.bool());
    watch::set_app(Some(live.app.clone()));
    let kept = thread::scope(|scope| {
        let events = live.app.events();
        scope.spawn(move || read(events, true));
        let events = live.app.events();
        scope.spawn(move || read(events, false));
        let mut kept = in_peace(&live, store, load, &mut rng, place);
        let Live { app, round } = live;
        watch::set_app(None);
        kept.extend(at_the_end(app, &round, end, load, &mut rng, place));
        kept
    });
    place.does("ends what was left");
    for kept in &kept {
        end_left(kept, end);
    }
    kept.iter().for_each(|kept| kept.check(&slots));
    let restored: Vec<usize> = kept
        .iter()
        .filter(|kept| kept.is_stored && kept.job.status() == JobStatus::Scheduled)
        .filter(|kept| !kept.may_be_lost)
        .map(|kept| kept.slot)
        .collect();
    // Bombs in values go off here.
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(kept)));
    assert!(dropped.is_ok(), "a handle's drop panicked");
    all_gone(&slots, place);
    if store.is_durable() {
        // The next process goes on with what is left.
        let (store, is_faulty) = (store.mended(), store.fails());
        let Live { app, round } =
            Live::start(kind, &store, &clock, &slots, &strangers, end, rng.bool());
        discard_strangers(&app, &strangers);
        place.does("waits for what was restored");
        app.wait_all().block_on();
        app.shutdown(HOUR).block_on();
        if store.len() > 0 && kind.is_honest() {
            fault(format!("{} stay in the store", store.len()));
        }
        for slot in restored {
            if slots.get(slot).starts.load(Ordering::SeqCst) == 0 && kind.is_honest() {
                fault(format!("slot {slot} was stored, and has not run"));
            }
        }
        drop((app, round));
        all_gone(&slots, place);
        for (number, discarded) in strangers.0.iter().enumerate() {
            let discarded = discarded.load(Ordering::SeqCst);
            // Of what a store that fails has done, it is not always known.
            if discarded > 1 || (discarded == 0 && !is_faulty) {
                fault(format!("stranger {number} was discarded {discarded} times"));
            }
        }
    }
    for slot in 0..slots.claimed() {
        let marks = slots.get(slot);
        let (starts, limit) = (&marks.starts, &marks.limit);
        let (starts, limit) = (starts.load(Ordering::SeqCst), limit.load(Ordering::SeqCst));
        if starts > limit {
            fault(format!(
                "slot {slot} was started {starts} times, not {limit}"
            ));
        }
    }
    slots.claimed()
}

fn all_gone(slots: &Arc<Slots>, place: &Place) {
    place.until("waits for all arguments and values to be dropped", || {
        slots::alive() == 0
    });
    place.until("waits for all attempts and tasks to be dropped", || {
        Arc::strong_count(slots) == 1
    });
}

/// Threads that use the app, and then one alone. The app is not stopped, so that each waiter is
/// woken by its own job or by nothing.
fn in_peace(live: &Live, store: &Store<'_>, load: Load, rng: &mut Rng, place: &Place) -> Vec<Kept> {
    let Live { app, round } = live;
    // The timer sleeps for an hour if it does not hear of what is due before.
    let anchor = round.tasks.quick.schedule(slots::Arg::new(0, 0, false));
    let _ = round.slots.claim();
    let anchor = anchor.delay(HOUR).block_on().unwrap();
    place.does("lets threads use the app");
    let seed = rng.u64(..);
    let mut kept = thread::scope(|scope| {
        scope.spawn(|| read_file(store));
        let threads: Vec<_> = (0..WORKERS)
            .map(|number| {
                let worker = Worker::new(round, Some(app.clone()), number, seed);
                scope.spawn(move || work(worker, load.in_peace))
            })
            .collect();
        let kept = threads.into_iter().map(|thread| thread.join().unwrap());
        kept.flatten().collect::<Vec<_>>()
    });
    place.does("uses the app alone");
    let mut worker = Worker::new(round, None, WORKERS, seed);
    for _ in 0..load.alone {
        worker.step_alone().unwrap();
    }
    kept.append(&mut worker.kept);
    discard_set_aside(app, &round.strangers, store.fails());
    thread::scope(|scope| {
        scope.spawn(|| {
            let place = Place::new("one that waits for all");
            place.does("blocks on all");
            app.wait_all().block_on();
        });
        scope.spawn(|| {
            let place = Place::new("another one that waits for all");
            place.does("awaits all");
            block_on(app.wait_all());
        });
        place.does("waits for all to be done");
        assert!(anchor.cancel().block_on().unwrap().took_effect());
        app.wait_all().block_on();
    });
    let jobs = app.jobs();
    // What an executor drops stays in the store, for the next process; and so may what a
    // store that fails has not taken yet.
    let stored = if round.kind.is_honest() && !store.fails() {
        store.len().saturating_sub(app.unresolved().len())
    } else {
        0
    };
    if !jobs.is_empty() || stored > 0 {
        fault(format!(
            "all is done, {stored} are stored, and there are {jobs:?}"
        ));
    }
    for &slot in round.forgotten.lock().unwrap().iter() {
        if round.slots.get(slot).starts.load(Ordering::SeqCst) == 0 {
            fault(format!("slot {slot}, which everybody forgot, has not run"));
        }
    }
    for kept in &kept {
        if !kept.job.is_done() {
            fault(format!("all is done but {:?}", kept.job));
        }
    }
    kept
}

/// Threads that use the app while it ends.
fn at_the_end(
    app: Jobber,
    round: &Round,
    end: End,
    load: Load,
    rng: &mut Rng,
    place: &Place,
) -> Vec<Kept> {
    round.in_peace.store(false, Ordering::SeqCst);
    let begun = round.steps.load(Ordering::SeqCst);
    let seed = rng.u64(..);
    let steps = rng.usize(..load.at_the_end);
    let stoppers = rng.usize(1..3);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS)
            .map(|number| {
                // Tasks keep no app alive.
                let app = (end != End::Dropped).then(|| app.clone());
                let worker = Worker::new(round, app, number, seed);
                let grace = match end {
                    End::Orderly => HOUR,
                    _ => Duration::ZERO,
                };
                let stops = end != End::Dropped && number < stoppers;
                scope.spawn(move || {
                    let mut worker = worker;
                    for step in 0.. {
                        if stops && step == steps {
                            worker.shut_down(grace);
                        }
                        if worker.step().is_err() {
                            break;
                        }
                    }
                    std::mem::take(&mut worker.kept)
                })
            })
            .collect();
        if end == End::Dropped {
            place.until("waits for the threads to be in the middle of it", || {
                round.steps.load(Ordering::SeqCst) - begun >= WORKERS * steps
            });
            round.is_stopping.store(true, Ordering::SeqCst);
        }
        place.does("lets go of the app");
        drop(app);
        place.does("waits for threads that use the app while it ends");
        let kept = threads.into_iter().map(|thread| thread.join().unwrap());
        let kept = kept.flatten().collect();
        let left = round.left.lock().unwrap().take();
        drop(left);
        kept
    })
}

fn work(mut worker: Worker<'_>, steps: usize) -> Vec<Kept> {
    for _ in 0..steps {
        match worker.step() {
            Ok(()) => {}
            Err(Over::NoSlots) => break,
            Err(Over::Stopped) => fault("it stopped by itself".into()),
        }
    }
    std::mem::take(&mut worker.kept)
}

/// After the end: what was left running has to be stopped, for it may never end.
fn end_left(kept: &Kept, end: End) {
    let job = &kept.job;
    let status = job.status();
    if status.is_final() {
        return;
    }
    if kept.is_stored {
        // It is the next process's, or ends by itself.
        return;
    }
    if end == End::Orderly || status != JobStatus::Running {
        fault(format!("after the end, {end:?}: {job:?}"));
    }
    if let Err(error) = job.abort().block_on() {
        fault(format!("aborting {job:?}: {error}"));
    }
    let status = job.wait_blocking();
    if !status.is_final() {
        fault(format!("aborted after the end: {job:?}"));
    }
}

/// Reads the file of the store in the program that has it open.
fn read_file(store: &Store<'_>) {
    #[cfg(feature = "sqlite")]
    if let Store::File(path) = store {
        let copy = path.with_extension("copy");
        for _ in 0..8 {
            let _ = std::fs::read(path).unwrap();
            jobber::SqliteStorage::inspect(path, |_| {}).unwrap();
            jobber::SqliteStorage::backup(path, &copy).unwrap();
            std::fs::remove_file(&copy).unwrap();
        }
    }
    #[cfg(not(feature = "sqlite"))]
    let _ = store;
}

/// Reads events until the app has stopped.
fn read(mut events: Events, is_blocking: bool) {
    let place = Place::new("a reader of events");
    loop {
        place.does("reads events");
        let event = match is_blocking {
            true => events.next_blocking(),
            false => block_on(events.next()),
        };
        if event.is_none() {
            break;
        }
    }
}
