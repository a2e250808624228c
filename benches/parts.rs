//! The parts that every job goes through, one by one, so that a change shows:
//! `cargo bench --bench parts`, or `-- timer_queue` for some of them.
//!
//! What jobs cost as a whole, beside what one would use instead, is measured in
//! `benches/peers/`.

use std::time::Duration;

use divan::{Bencher, black_box};

// These parts are not public, so their files are compiled into this program as well.
#[path = "../src/sync/primitives.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod primitives;
#[path = "../src/registry/pages.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod registry_pages;
#[path = "../src/registry/slots.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod registry_slots;
#[path = "../src/value/status.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod status;
#[path = "../src/job/status_cell.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod status_cell;
#[path = "../src/timer/mod.rs"]
#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
mod timer;

mod sync {
    pub(crate) use super::primitives;
}

mod registry {
    pub(crate) use super::registry_pages as pages;
}

/// What the published status needs of the crate's values.
mod value {
    pub(crate) use super::status;

    pub(crate) mod error {
        pub(crate) mod status {
            #[derive(Debug)]
            pub struct ParseStatusError {
                #[allow(dead_code, reason = "nobody parses here")]
                pub text: String,
            }
        }
    }
}

const HOUR: Duration = Duration::from_secs(3_600);
const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

fn main() {
    divan::main();
}

/// Each with a number of keys, at random times.
mod timer_queue {
    use super::*;
    use crate::timer::key::{Key, KeyKind, Tag};
    use crate::timer::queue::TimerQueue;

    fn keys(count: usize) -> impl Iterator<Item = Key> {
        let mut random = fastrand::Rng::with_seed(count as u64);
        let due = move || random.i64(0..3_600_000_000_000);
        std::iter::repeat_with(due)
            .take(count)
            .enumerate()
            .map(|(n, due)| Key::new(due, Tag::new(n as u64 + 1, KeyKind::Start, n as u32)))
    }

    fn full(count: usize) -> TimerQueue {
        let mut queue = TimerQueue::default();
        keys(count).for_each(|key| queue.push(key));
        queue
    }

    #[divan::bench(args = SIZES, sample_count = 10)]
    fn push_all(bencher: Bencher<'_, '_>, count: usize) {
        bencher
            .with_inputs(|| keys(count).collect::<Vec<_>>())
            .bench_local_values(|keys| {
                let mut queue = TimerQueue::default();
                keys.into_iter().for_each(|key| queue.push(key));
                queue
            });
    }

    #[divan::bench(args = SIZES, sample_count = 10)]
    fn pop_all(bencher: Bencher<'_, '_>, count: usize) {
        bencher
            .with_inputs(|| full(count))
            .bench_local_values(|mut queue| {
                while let Some(key) = queue.pop_due(i64::MAX) {
                    black_box(key);
                }
            });
    }

    /// The step that holds a lock: 256 keys, half of them dead. The 100 steps visit 25,600
    /// keys, and none of them twice.
    #[divan::bench(args = [100_000, 1_000_000], sample_count = 100, sample_size = 1)]
    fn sweep_step(bencher: Bencher<'_, '_>, count: usize) {
        let mut queue = full(count);
        bencher.bench_local(|| queue.sweep(256, |tag| tag.slot() % 2 == 0));
    }
}

/// The memory of a table after a burst of this many jobs, of which ten are left.
mod slots {
    use super::*;
    use crate::registry_slots::{Shard, Slot, Slots};

    const SIZES: [usize; 2] = [100_000, 1_000_000];

    fn after_burst(count: usize) -> Slots<()> {
        let mut slots = Slots::new(Shard { number: 0, bits: 0 });
        for _ in 0..count {
            if let Some(slot) = slots.allocate() {
                slots.occupy(slot, Slot::with(()));
            }
        }
        let mut jobs: Vec<u32> = (10..count as u32).collect();
        fastrand::Rng::with_seed(count as u64).shuffle(&mut jobs);
        for slot in jobs {
            slots.vacate(slot);
            slots.count_freed();
        }
        slots
    }

    /// A step holds the table's lock.
    #[divan::bench(args = SIZES, sample_count = 20, sample_size = 1)]
    fn free_memory_step(bencher: Bencher<'_, '_>, count: usize) {
        bencher
            .with_inputs(|| after_burst(count))
            .bench_local_values(|mut slots| (slots.free_memory(), slots));
    }

    #[divan::bench(args = SIZES, sample_count = 20, sample_size = 1)]
    fn free_memory_all_steps(bencher: Bencher<'_, '_>, count: usize) {
        bencher
            .with_inputs(|| after_burst(count))
            .bench_local_values(|mut slots| {
                let steps = std::iter::from_fn(|| slots.free_memory());
                (steps.collect::<Vec<_>>(), slots)
            });
    }
}

mod published_status {
    use crate::status::JobStatus;
    use crate::status_cell::StatusCell;

    /// What a job publishes that runs once.
    #[divan::bench]
    fn start_and_finish() -> JobStatus {
        let status = divan::black_box(StatusCell::new());
        let _ = status.publish(JobStatus::Running);
        let _ = status.publish(JobStatus::Success);
        status.get()
    }

    #[divan::bench]
    fn cancel() -> JobStatus {
        let status = divan::black_box(StatusCell::new());
        let _ = status.publish(JobStatus::Cancelled);
        status.get()
    }
}

mod cron {
    use super::*;
    use jobber::{Zone, cron::Cron};

    const EXPRESSIONS: [&str; 8] = [
        "* * * * *",
        "*/5 * * * *",
        "0 9 * * MON-FRI",
        "0 0 13 * FRI",
        "0 0 LW * ?",
        "0 0 1,15W,L-3,LW * FRIL,MON#2",
        "0 0 29 2 MON#5",
        "59 59 23 31 12 ? 2099",
    ];

    #[divan::bench(args = EXPRESSIONS)]
    fn parse(expression: &str) -> Result<Cron, jobber::cron::CronError> {
        Cron::parse(black_box(expression))
    }

    #[divan::bench(args = EXPRESSIONS)]
    fn next_after(bencher: Bencher<'_, '_>, expression: &str) {
        // 2026-11-23 21:00 UTC
        let now = time::OffsetDateTime::from_unix_timestamp(1_795_467_600).unwrap();
        let cron = Cron::parse(expression).unwrap();
        bencher.bench(|| cron.next_after(black_box(now), &Zone::UTC));
    }
}

#[cfg(feature = "thread-pool")]
mod jobs {
    use super::*;
    use jobber::testing::Simulation;
    use jobber::{Job, Jobber, Next, Task};

    fn task() -> (Jobber, Task<u64, ()>) {
        let app = Jobber::builder().build().unwrap();
        let task = app.task("noop", async |_: u64| {}).register().unwrap();
        app.start().block_on().unwrap();
        (app, task)
    }

    fn schedule(task: &Task<u64, ()>) -> Job<()> {
        task.schedule(7).delay(HOUR).block_on().unwrap()
    }

    /// They stay until the end, so this is among a growing number of them.
    #[divan::bench]
    fn schedule_one(bencher: Bencher<'_, '_>) {
        let (_app, task) = task();
        bencher.bench_local(|| schedule(&task));
    }

    #[divan::bench]
    fn cancel_one(bencher: Bencher<'_, '_>) {
        let (_app, task) = task();
        bencher
            .with_inputs(|| schedule(&task))
            .bench_local_refs(|job| job.cancel().block_on());
    }

    /// While this many threads read the events of the app.
    #[divan::bench(args = [0, 2, 40])]
    fn schedule_and_cancel_while_events_are_read(bencher: Bencher<'_, '_>, readers: usize) {
        let (app, task) = task();
        for _ in 0..readers {
            let events = app.events();
            std::thread::spawn(move || events.into_iter().for_each(drop));
        }
        bencher.bench_local(|| schedule(&task).cancel().block_on());
    }

    #[divan::bench]
    fn push_and_wait(bencher: Bencher<'_, '_>) {
        let (_app, task) = task();
        bencher.bench_local(|| {
            let job = task.schedule(7).push().block_on().unwrap();
            job.wait_blocking()
        });
    }

    /// 100 attempts on this thread, each with this many middlewares.
    #[divan::bench(args = [0, 1, 4])]
    fn attempts_around(bencher: Bencher<'_, '_>, layers: usize) {
        let mut sim = Simulation::new();
        let mut task = sim.app().task("bench", async |n: u64| n);
        for _ in 0..layers {
            task = task.around(|_, next: Next| next.run());
        }
        let task = task.register().unwrap();
        bencher.bench_local(|| {
            for n in 0..100 {
                drop(task.schedule(n).push().block_on().unwrap());
            }
            sim.run_until_stalled();
        });
    }
}
