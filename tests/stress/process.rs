//! What the process has: its threads and its memory.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is allocated and not freed, all of the process. SQLite's own memory is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub blocks: i64,
    pub bytes: i64,
}

pub fn memory() -> Memory {
    let stats = ALLOCATOR.stats();
    Memory {
        blocks: stats.allocations as i64 - stats.deallocations as i64,
        bytes: stats.bytes_allocated as i64 - stats.bytes_deallocated as i64,
    }
}

/// The names of all threads, in order, of which Linux keeps 15 bytes each. None where they
/// can't be had.
///
/// The threads for blocking jobs, ours and those of the crate `blocking`, are left out: they
/// are of no app, and stay for a while.
pub fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let mut names: Vec<String> = tasks
        .filter_map(|task| {
            // One that has ended in between has no name.
            let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
            Some(name.trim_end().to_owned())
        })
        .filter(|name| !name.starts_with("blocking-") && name != "jobber-blocking")
        .collect();
    names.sort();
    names
}

/// The threads but for these.
pub fn new_threads(old: &[String]) -> Vec<String> {
    let mut threads = threads();
    for name in old {
        if let Some(place) = threads.iter().position(|thread| thread == name) {
            threads.remove(place);
        }
    }
    threads
}
