//! Calls that are timed.

use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::measure::cpu_of_this_thread;

/// What a thread has done. The calls come from threads of their own, whose part of
/// the heap is theirs: on the measuring thread's, what the measurement allocates
/// would lie between the jobs, and keep their memory from being given back.
pub struct Calls {
    pub start: Instant,
    pub end: Instant,
    pub cpu: Duration,
}

impl Calls {
    fn of(calls: impl FnOnce() -> Result) -> Result<Self> {
        let start = Instant::now();
        calls()?;
        let end = Instant::now();
        let cpu = cpu_of_this_thread()?;
        Ok(Self { start, end, cpu })
    }

    /// One thread for each of `calls`, from the first start to the last end.
    pub fn on_threads<F>(calls: impl Iterator<Item = F>) -> Result<Self>
    where
        F: FnOnce() -> Result + Send,
    {
        thread::scope(|scope| {
            let threads: Vec<_> = calls.map(|calls| scope.spawn(|| Self::of(calls))).collect();
            let calls = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a calling thread panicked")?);
            calls
                .reduce(|sum, one| {
                    let (sum, one) = (sum?, one?);
                    Ok(Self {
                        start: sum.start.min(one.start),
                        end: sum.end.max(one.end),
                        cpu: sum.cpu + one.cpu,
                    })
                })
                .unwrap_or(Err("no thread".into()))
        })
    }

    pub fn on_a_thread(calls: impl FnOnce() -> Result + Send) -> Result<Self> {
        Self::on_threads(std::iter::once(calls))
    }

    pub fn wall(&self) -> Duration {
        self.end - self.start
    }
}
