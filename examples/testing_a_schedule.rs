//! How to test your own schedule: a month of nightly backups, in milliseconds and
//! without a thread.
//!
//! The body of `main` could be a `#[test]`.
//!
//! ```sh
//! cargo run --example testing_a_schedule
//! ```

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jobber::testing::{ManualClock, Simulation};
use jobber::{Backoff, Job, JobStatus, Jobber};
use time::macros::datetime;
use time::{Date, OffsetDateTime, Time};

const HOUR: Duration = Duration::from_secs(3_600);

/// The schedule to test: a backup each day at three. If the disk is away, two retries,
/// one hour apart.
fn schedule_backups(
    app: &Jobber,
    first_day: Date,
    backup: impl Fn() -> Result<(), String> + Send + Sync + 'static,
) -> Result<Job<()>, Box<dyn Error>> {
    let backup = Arc::new(backup);
    let task = app
        .task("backup", move || {
            let backup = backup.clone();
            async move { backup() }
        })
        .retry(Backoff::fixed(2, HOUR))
        .register()?;
    let at_three = first_day.with_hms(3, 0, 0)?.assume_utc();
    let job = task
        .schedule(())
        .id("backup")
        .start_date(at_three)
        .every(24 * HOUR)
        .block_on()?;
    Ok(job)
}

fn main() -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let midnight = datetime!(2026-03-01 00:00 UTC);
    let mut sim = Simulation::with(0, ManualClock::at(midnight), |builder| builder)?;

    // The disk is away from the 10th, 02:00, to the 12th, 04:30.
    let away = datetime!(2026-03-10 02:00 UTC)..datetime!(2026-03-12 04:30 UTC);
    let attempts: Arc<Mutex<Vec<(OffsetDateTime, bool)>>> = Arc::default();
    let job = schedule_backups(sim.app(), midnight.date(), {
        let clock = sim.clock();
        let attempts = attempts.clone();
        move || {
            let now = jobber::Clock::wall(&clock);
            let works = !away.contains(&now);
            // The lock is poisoned only if another thread panicked.
            attempts
                .lock()
                .map_err(|e| e.to_string())?
                .push((now, works));
            works.then_some(()).ok_or_else(|| "no disk".to_string())
        }
    })?;

    sim.advance(11 * 24 * HOUR);
    let run = job.last_run().ok_or("no backup was made")?;
    assert_eq!((run.number, run.status), (11, JobStatus::Failed));
    sim.advance(20 * 24 * HOUR);
    let run = job.last_run().ok_or("no backup was made")?;
    assert_eq!((run.number, run.status), (31, JobStatus::Success));
    assert_eq!(job.exec_at(), datetime!(2026-04-01 03:00 UTC));

    let attempts = attempts.lock().map_err(|e| e.to_string())?.clone();
    // One attempt a day, and two more on the 10th, the 11th and the 12th.
    assert_eq!(attempts.len(), 31 + 2 + 2 + 2);
    let works_at = |at| {
        attempts
            .iter()
            .find(|(when, _)| *when == at)
            .map(|(_, works)| *works)
    };
    assert_eq!(works_at(datetime!(2026-03-11 05:00 UTC)), Some(false));
    assert_eq!(works_at(datetime!(2026-03-12 05:00 UTC)), Some(true));

    println!("From the 8th to the 14th of March:");
    let three = Time::from_hms(3, 0, 0)?;
    for (at, works) in attempts
        .iter()
        .filter(|(at, _)| (8..=14).contains(&at.day()))
    {
        let outcome = if *works { "backup made" } else { "no disk" };
        let kind = if at.time() == three { "" } else { " (retry)" };
        println!("  {} {}  {outcome}{kind}", at.date(), at.time());
    }
    println!("A month took {:?}.", began.elapsed());
    Ok(())
}
