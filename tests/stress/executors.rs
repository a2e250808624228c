//! The executors that are put under stress: good ones, slow ones and bad ones.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use async_executor::{Executor as Tasks, LocalExecutor};
use jobber::{BlockingJob, Executor, JobFuture, JobberBuilder, ThreadPool};
use smol::channel;
use smol::future::poll_once;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BuiltIn,
    Smol,
    AsyncStd,
    /// async-executor, on threads that end with the app.
    OwnThreads,
    ThreadForEach,
    /// Runs each future to its end in `spawn`, on whichever thread that is.
    Inline,
    /// One thread that takes its time.
    Late,
    /// Drops some futures at once, and some after their first poll.
    Dropping,
    /// Panics in some calls of `spawn`.
    Panicking,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::BuiltIn,
        Kind::Smol,
        Kind::AsyncStd,
        Kind::OwnThreads,
        Kind::ThreadForEach,
        Kind::Inline,
        Kind::Late,
        Kind::Dropping,
        Kind::Panicking,
    ];

    pub fn give_to(self, builder: JobberBuilder) -> JobberBuilder {
        match self {
            Kind::BuiltIn => builder.executor(ThreadPool::new(2).unwrap()),
            Kind::Smol => builder.executor(|job| smol::spawn(job).detach()),
            Kind::AsyncStd => builder.executor(OnThread(|job| drop(async_std::task::spawn(job)))),
            Kind::OwnThreads => builder.executor(OwnThreads::new(3)),
            Kind::ThreadForEach => builder.executor(OnThread(|job| {
                start("future", move || smol::block_on(job));
            })),
            Kind::Inline => builder.executor(Inline),
            Kind::Late => builder.executor(Late::new()),
            Kind::Dropping => builder.executor(Dropping::default()),
            Kind::Panicking => builder.executor(Panicking::default()),
        }
    }

    /// A job that waits for a timeout may be polled by the timer's own thread, and so wait
    /// for ever.
    pub fn can_wait(self) -> bool {
        self != Kind::Inline
    }

    /// Each future is polled to its end.
    pub fn is_honest(self) -> bool {
        !matches!(self, Kind::Dropping | Kind::Panicking)
    }
}

fn start(name: &str, f: impl FnOnce() + Send + 'static) {
    // Linux shows 15 bytes of a name.
    let name = format!("stress-{name}");
    thread::Builder::new().name(name).spawn(f).unwrap();
}

/// Blocking jobs get a thread each, which ends at once: those of the shared pool stay for
/// a while, and each count of threads would have to wait for them.
struct OnThread<F>(F);

impl<F: Fn(JobFuture) + Send + Sync + 'static> Executor for OnThread<F> {
    fn spawn(&self, job: JobFuture) {
        self.0(job)
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        start("blocking", move || job.run());
    }
}

struct OwnThreads {
    tasks: Arc<Tasks<'static>>,
    /// The threads end when it is dropped.
    _end: channel::Sender<()>,
}

impl OwnThreads {
    fn new(threads: usize) -> Self {
        let tasks = Arc::new(Tasks::new());
        let (end, ended) = channel::bounded(1);
        for _ in 0..threads {
            let (tasks, ended) = (tasks.clone(), ended.clone());
            start("own", move || {
                let _ = smol::block_on(tasks.run(ended.recv()));
            });
        }
        Self { tasks, _end: end }
    }
}

impl Executor for OwnThreads {
    fn spawn(&self, job: JobFuture) {
        self.tasks.spawn(job).detach();
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        start("blocking", move || job.run());
    }
}

struct Inline;

impl Executor for Inline {
    fn spawn(&self, job: JobFuture) {
        smol::block_on(job);
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        job.run();
    }
}

struct Late(Mutex<mpsc::Sender<JobFuture>>);

impl Late {
    fn new() -> Self {
        let (jobs, inbox) = mpsc::channel::<JobFuture>();
        start("late", move || {
            let local = LocalExecutor::new();
            loop {
                let mut has_ended = false;
                // Others run first, many times, and more jobs gather.
                for _ in 0..50 {
                    thread::yield_now();
                }
                loop {
                    match inbox.try_recv() {
                        Ok(job) => local.spawn(job).detach(),
                        Err(mpsc::TryRecvError::Empty) => break,
                        Err(mpsc::TryRecvError::Disconnected) => {
                            has_ended = true;
                            break;
                        }
                    }
                }
                while local.try_tick() {}
                if has_ended && local.is_empty() {
                    break;
                }
            }
        });
        Self(Mutex::new(jobs))
    }
}

impl Executor for Late {
    fn spawn(&self, job: JobFuture) {
        let _ = self.0.lock().unwrap().send(job);
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        start("blocking", move || job.run());
    }
}

#[derive(Default)]
struct Dropping(AtomicUsize);

impl Executor for Dropping {
    fn spawn(&self, job: JobFuture) {
        match self.0.fetch_add(1, Ordering::Relaxed) % 12 {
            3 => drop(job),
            5 => smol::spawn(async {
                let _ = poll_once(job).await;
            })
            .detach(),
            _ => smol::spawn(job).detach(),
        }
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        match self.0.fetch_add(1, Ordering::Relaxed) % 4 {
            3 => drop(job),
            _ => start("blocking", move || job.run()),
        }
    }
}

#[derive(Default)]
struct Panicking(AtomicUsize);

impl Panicking {
    fn panics(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) % 7 == 3
    }
}

impl Executor for Panicking {
    fn spawn(&self, job: JobFuture) {
        if self.panics() {
            resume_unwind(Box::new("in spawn"));
        }
        smol::spawn(job).detach();
    }

    fn spawn_blocking(&self, job: BlockingJob) {
        if self.panics() {
            resume_unwind(Box::new("in spawn_blocking"));
        }
        start("blocking", move || job.run());
    }
}

/// Starts the threads that are shared by the whole process and stay.
pub fn warm_up() {
    smol::block_on(async {
        smol::spawn(async {}).await;
        async_std::task::spawn(async {}).await;
        smol::Timer::after(std::time::Duration::from_millis(1)).await;
    });
}
