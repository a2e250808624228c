use jobber::testing::{ManualClock, Simulation};
use jobber::{
    Exclusions, JobStatus,
    storage::{
        Change, EndRecord, JobRecord, Loaded, PauseRecord, Storage, StorageError, TakenId,
        UnresolvedJob, UnresolvedReason,
    },
};
use time::macros::time;

use crate::record_decode::AnyRow;

/// A row of the store with any values in it: it becomes a job or an unresolved
/// one, and whatever it becomes can be looked at, run and cancelled. Nothing
/// panics, and the store is not asked to forget what could not be read.
///
/// The data is that of [`record_decode`](crate::record_decode).
///
/// # Panics
/// When any of that does not hold.
pub fn record_restore(data: &[u8]) {
    let loaded = AnyRow::of(data).read();
    let is_readable = matches!(loaded, Loaded::Job(_));
    let has_start_intent = matches!(&loaded, Loaded::Job(record) if has_start_intent(record));

    let clock = ManualClock::new();
    let nights = Exclusions::new().times_of_day(time!(22:00), time!(6:00));
    let nights = nights.expect("it is a night");
    let mut sim = Simulation::with(1, clock, |app| {
        app.storage(OneRow(Some(loaded))).calendar("nights", nights)
    })
    .expect("a row does not keep an app from starting");
    let _task = sim
        .app()
        // It starts, and never ends: times that were missed without number are
        // looked for, and not run.
        .task("t", |_: u32, _: String| std::future::pending::<()>())
        .durable()
        .register()
        .expect("the name is free");
    // A job that is set aside is a live job too.
    let (set_aside, unresolved) = unresolved(&sim);
    let jobs = sim.app().jobs();
    assert!(jobs.len() + unresolved.len() <= 1);
    assert!(set_aside.len() <= jobs.len());
    assert!(is_readable || !unresolved.is_empty(), "it is named");
    assert!(
        has_start_intent || jobs.len() + unresolved.len() == 1,
        "it is kept"
    );
    for job in set_aside.iter().chain(&unresolved) {
        assert!(!job.to_string().is_empty());
    }
    for job in &jobs {
        assert_eq!(job.status(), JobStatus::Scheduled);
        assert!(!format!("{job:?}{:?}{:?}", job.cron_expression(), job.last_run()).is_empty());
    }
    sim.advance(std::time::Duration::from_secs(1));
    // Its runs may have become jobs of their own.
    for job in jobs.iter().chain(&sim.app().jobs()) {
        let _ = job.abort().block_on();
        assert!(job.is_done());
    }
    assert!(sim.app().jobs().is_empty());
    assert_eq!(sim.app().unresolved().len(), unresolved.len());
}

/// The jobs that are set aside, and those that no task can run.
fn unresolved(sim: &Simulation) -> (Vec<UnresolvedJob>, Vec<UnresolvedJob>) {
    let all = sim.app().unresolved().into_iter();
    all.partition(|job| matches!(job.reason, UnresolvedReason::SetAside { .. }))
}

/// Whether an attempt was about to start that another process must not make again: the
/// job of such a row is lost if it does not recur.
fn has_start_intent(record: &JobRecord) -> bool {
    let record = serde_json::to_value(record).expect("a record can be serialized");
    let progress = &record["progress"];
    !progress["start_intent"].is_null() && progress["is_start_repeated"] == false
}

/// A store with this in it.
struct OneRow(Option<Loaded>);

impl Storage for OneRow {
    fn open(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn load(&mut self, each: &mut dyn FnMut(Loaded)) -> Result<(), StorageError> {
        if let Some(loaded) = self.0.take() {
            self.0 = Some(loaded.clone());
            each(loaded);
        }
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
        let is_readable = matches!(self.0, Some(Loaded::Job(_)));
        assert!(
            is_readable || changes.is_empty(),
            "what can't be read is left alone"
        );
        Ok(())
    }
}
