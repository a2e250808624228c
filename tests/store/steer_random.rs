//! Random calls that steer a job: in memory, stored, and with a crash after each of them, the
//! same follows.

use crate::steer::{MISSES_NOTHING, Process};
use crate::support::{Log, MINUTE, Machine, Result, SECOND, START, poll};
use crate::tasks::at;
use jobber::{Clock, JobStatus, Misfire};

struct Random(fastrand::Rng);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0.u64(..most)
    }
}

/// What a random program sees after each call. `reboots`: the process crashes after each call that
/// leaves the job waiting.
fn random_trace(seed: u64, is_stored: bool, reboots: bool) -> Result<Vec<String>> {
    let mut random = Random(fastrand::Rng::with_seed(seed));
    let at_most_once = is_stored && random.below(4) == 0;
    if !is_stored {
        random.below(4);
    }
    let machine = Machine::new();
    let log = Log::new();
    let mut process = Process::boot_with(&machine, &log, is_stored, at_most_once)?;
    let mut app = process.sim.app().clone();
    let mut trace = Vec::new();
    let take = [0, 5, 30, 90][random.below(4) as usize];
    let fails = random.below(3) as u32;
    let misfire = [
        Misfire::Skip,
        Misfire::Once,
        Misfire::All(3),
        MISSES_NOTHING,
    ][random.below(4) as usize];
    let expires = random.below(3) == 0;
    let pauses = random.below(4) == 0;
    let make = |process: &Process, kind: u64| {
        let mut schedule = process.schedule(take, fails);
        if kind != 1 {
            schedule = schedule.misfire(misfire);
        }
        if expires {
            schedule = schedule.expires(SECOND * 45);
        }
        if pauses {
            schedule = schedule.pause_on_failure();
        }
        match kind {
            0 => schedule.every(MINUTE),
            1 => schedule.after_each(MINUTE),
            2 => schedule.cron("* * * * *"),
            _ => schedule.start_date(START).every(MINUTE),
        }
    };
    let mut kind = random.below(4);
    let mut job = make(&process, kind).block_on()?;
    for _ in 0..40 {
        let now = (process.sim.clock().wall() - START).whole_seconds();
        let what = random.below(15);
        let amount = random.below(150);
        let done = match what {
            0 => format!("pause {:?}", job.pause().block_on()?),
            1 => format!("resume {:?}", job.resume().block_on()?),
            2 => format!("catch up {:?}", job.resume().catch_up().block_on()?),
            3 | 4 => format!("run now {:?}", job.run_now().block_on()?),
            5 => format!(
                "move {} {:?}",
                now + amount as i64 - 30,
                job.move_to(at(now + amount as i64 - 30)).block_on()?
            ),
            6 => format!(
                "delay {amount} {:?}",
                job.delay_by(SECOND * amount as u32).block_on()?
            ),
            7 => format!("task pause {:?}", process.task.pause().block_on()?),
            8 => format!("task resume {:?}", process.task.resume().block_on()?),
            9 => match amount % 2 {
                0 => format!("app pause {:?}", app.pause().block_on()?),
                _ => format!("app resume {:?}", app.resume().block_on()?),
            },
            10 if !job.is_done() => {
                kind = amount % 4;
                let mut schedule = process.schedule(take, fails).replace();
                if kind != 1 {
                    schedule = schedule.misfire(misfire);
                }
                let replaced = match kind {
                    0 => schedule.every(MINUTE * 2),
                    1 => schedule.after_each(MINUTE),
                    2 => schedule.cron("* * * * *"),
                    _ => schedule.every(MINUTE),
                };
                format!("replace {kind} {:?}", replaced.block_on().is_ok())
            }
            _ => {
                process.advance(amount);
                format!("advance {amount}")
            }
        };
        process.sim.run_until_stalled();
        let is_idle = poll(&mut app.wait_all()) == Some(());
        let is_held = job.is_done() || (job.status() == JobStatus::Scheduled && job.is_paused());
        assert_eq!(
            is_idle, is_held,
            "seed {seed}, stored {is_stored}, after {done}: {trace:#?}"
        );
        if reboots && job.status() == JobStatus::Scheduled {
            process.sim.crash();
            process = Process::boot_with(&machine, &log, is_stored, at_most_once)?;
            app = process.sim.app().clone();
            let loaded = process.task.job("x");
            job = loaded.unwrap_or_else(|| panic!("seed {seed}, it is gone: {trace:#?}"));
            process.sim.run_until_stalled();
        }
        trace.push(format!(
            "{now}: {done}: {:?} {:?} {} {:?} {:?}",
            job.status(),
            (job.exec_at() - START).whole_seconds().max(now),
            job.is_paused(),
            job.last_run()
                .map(|run| (run.number, run.nominal_time - START, run.status)),
            process.log.take(),
        ));
    }
    job.resume().block_on()?;
    process.task.resume().block_on()?;
    app.resume().block_on()?;
    process.advance(600);
    if job.is_paused() {
        job.resume().block_on()?;
    }
    process.log.take();
    process.advance(600);
    assert!(
        !process.log.take().is_empty(),
        "seed {seed}, stored {is_stored}: {trace:#?}"
    );
    Ok(trace)
}

/// `JOBBER_SEEDS` says how many, and `JOBBER_SEED` which is the first.
fn seeds() -> Result<std::ops::Range<u64>> {
    let seeds = std::env::var("JOBBER_SEEDS").map_or(Ok(150), |seeds| seeds.parse())?;
    let first = std::env::var("JOBBER_SEED").map_or(Ok(0), |seed| seed.parse())?;
    Ok(first..first + seeds)
}

#[test]
fn random_steering_is_the_same_in_memory_and_stored() -> Result {
    for seed in seeds()? {
        let in_memory = random_trace(seed, false, false)?;
        let stored = random_trace(seed, true, false)?;
        for (step, (one, other)) in in_memory.iter().zip(&stored).enumerate() {
            assert_eq!(
                one,
                other,
                "seed {seed}, step {step}: {:#?}",
                &stored[..step]
            );
        }
    }
    Ok(())
}

#[test]
fn random_steering_is_the_same_if_the_process_crashes_after_each_call() -> Result {
    for seed in seeds()? {
        let stays = random_trace(seed, true, false)?;
        let crashes = random_trace(seed, true, true)?;
        for (step, (one, other)) in stays.iter().zip(&crashes).enumerate() {
            assert_eq!(
                one,
                other,
                "seed {seed}, step {step}: {:#?}",
                &stays[..step]
            );
        }
    }
    Ok(())
}
