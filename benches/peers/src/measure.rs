//! What a process can tell of itself, from `/proc` (proc(5)): CPU time, wake-ups
//! and resident memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// CPU time of each thread, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Cpu {
    measuring: String,
    threads: BTreeMap<String, u64>,
    /// Of the whole process and all threads that it ever had, but only to 10 ms.
    process: Duration,
}

impl Cpu {
    pub fn now() -> Result<Self> {
        let mut threads = BTreeMap::new();
        for (id, path) in threads_of_process()? {
            // A thread may end between the listing and the look.
            let Ok(text) = fs::read_to_string(path.join("schedstat")) else {
                continue;
            };
            threads.insert(id, first_number(&text)?);
        }
        Ok(Self {
            measuring: measuring_thread()?,
            threads,
            process: process_time()?,
        })
    }

    /// What the threads other than the measuring one have used since.
    pub fn others_since(&self, earlier: &Self) -> Duration {
        let used = |id: &String| {
            let (now, then) = (self.threads.get(id), earlier.threads.get(id));
            now.copied()
                .unwrap_or(0)
                .saturating_sub(then.copied().unwrap_or(0))
        };
        let others = self.threads.keys().filter(|id| **id != self.measuring);
        let others = Duration::from_nanos(others.map(used).sum());
        let mut before = earlier.threads.keys();
        if before.all(|id| self.threads.contains_key(id)) {
            return others;
        }
        // What a thread that has ended had used is in the figure of the process only.
        let own = Duration::from_nanos(used(&self.measuring));
        let all = self.process.saturating_sub(earlier.process);
        others.max(all.saturating_sub(own))
    }
}

/// What this thread has used since it began.
pub fn cpu_of_this_thread() -> Result<Duration> {
    // The kernel brings the figure up to date when a thread goes to sleep.
    thread::sleep(Duration::from_nanos(1));
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(first_number(&text)?))
}

/// Waits until the other threads have been quiet for a while, and gives the moment
/// at which the last of them was seen at work, if any was.
pub fn settle(limit: Duration) -> Result<Option<Instant>> {
    // A running thread's figure moves at least with each tick of the kernel, which
    // is 10 ms at most; one that goes to sleep is brought up to date at once.
    const QUIET: Duration = Duration::from_millis(25);
    const LOOK: Duration = Duration::from_micros(250);
    // Less than this is the look itself, and a stray wake-up.
    const NOTHING: Duration = Duration::from_micros(20);
    let started = Instant::now();
    let mut last_busy = None;
    let mut before = Cpu::now()?;
    while last_busy.unwrap_or(started).elapsed() < QUIET {
        if started.elapsed() > limit {
            return Err(format!("still busy after {limit:?}").into());
        }
        thread::sleep(LOOK);
        let now = Cpu::now()?;
        if now.others_since(&before) > NOTHING {
            last_busy = Some(Instant::now());
        }
        before = now;
    }
    Ok(last_busy)
}

/// How often the threads other than this one have gone to sleep so far: each
/// wake-up ends in that.
pub fn wake_ups() -> Result<u64> {
    let measuring = measuring_thread()?;
    let mut sum = 0;
    for (id, path) in threads_of_process()? {
        if id == measuring {
            continue;
        }
        let Ok(status) = fs::read_to_string(path.join("status")) else {
            continue;
        };
        sum += field(&status, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// Resident bytes. From `smaps_rollup`, which counts; `status` is off by some
/// hundred kilobytes, as each CPU keeps its share of the count for a while.
pub fn resident() -> Result<u64> {
    let (text, name) = match fs::read_to_string("/proc/self/smaps_rollup") {
        Ok(text) => (text, "Rss:"),
        Err(_) => (fs::read_to_string("/proc/self/status")?, "VmRSS:"),
    };
    Ok(field(&text, name)? * 1_024)
}

fn threads_of_process() -> Result<Vec<(String, PathBuf)>> {
    let mut threads = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?;
        threads.push((
            thread.file_name().to_string_lossy().into_owned(),
            thread.path(),
        ));
    }
    Ok(threads)
}

fn measuring_thread() -> Result<String> {
    let link = fs::read_link("/proc/thread-self")?;
    let id = link
        .file_name()
        .ok_or("/proc/thread-self names no thread")?;
    Ok(id.to_string_lossy().into_owned())
}

/// utime and stime, in ticks of 10 ms, which is what Linux shows on any machine.
fn process_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field, a name in brackets, may hold blanks.
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let mut ticks = 0;
    for field in rest.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 10))
}

fn field(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    first_number(line.ok_or_else(|| format!("no {name} in /proc"))?)
}

fn first_number(text: &str) -> Result<u64> {
    let number = text.split_whitespace().next().ok_or("an empty line")?;
    Ok(number.parse()?)
}

/// Nanoseconds each.
pub fn each(time: Duration, count: usize) -> f64 {
    time.as_nanos() as f64 / count as f64
}
